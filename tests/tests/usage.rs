//! The command line used wrongly: what was typed is at fault, nothing was done, and the exit code is 2.
//!
//! Covered: bad names, addresses and token files of every command that takes them; with `--json` an object also where the parser of arguments refuses.

use e2e::{Bench, Ran};

const NO_TOKEN: &str = "no-such-token";

/// Was refused for what was typed: code 2, words for a person, and with `--json` one object that says the same.
async fn is_wrong(bench: &Bench, arguments: &[&str], words: &str) {
    let plain = bench.run(arguments).await;
    check(&plain, arguments, words);
    assert_eq!(plain.text, "", "{arguments:?}");
    let json = bench.run(&[&["--json"], arguments].concat()).await;
    check(&json, arguments, words);
    let lines = json.lines();
    assert_eq!(lines.len(), 1, "{arguments:?}: {json:?}");
    let line = lines.first();
    let member = |name: &str| {
        let text = line.and_then(|line| line.get(name)?.as_str());
        text.unwrap_or_default()
    };
    assert!(
        member("event") == "error" && member("message").contains(words),
        "{arguments:?}: {json:?}"
    );
}

fn check(ran: &Ran, arguments: &[&str], words: &str) {
    assert!(ran.errors.contains(words), "{arguments:?}: {ran:?}");
    assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
}

#[tokio::test]
async fn what_was_typed_wrongly_ends_with_two_in_every_command() {
    let bench = Bench::new();
    bench.configure(&[]);
    for command in [
        &["watch"][..],
        &["send", "meter", "reset"],
        &["plugin", "list"],
        &["plugin", "reload", "meter"],
        &["plugin", "rollback", "meter"],
        &["plugin", "grant", "power-meter"],
    ] {
        let url = [command, &["--url", "ftp://bench"]].concat();
        is_wrong(&bench, &url, "is no address of a daemon").await;
        let tls = [command, &["--url", "https://bench"]].concat();
        is_wrong(&bench, &tls, "speaks no TLS").await;
        if command != ["watch"] {
            let token = [command, &["--token-file", NO_TOKEN]].concat();
            is_wrong(&bench, &token, NO_TOKEN).await;
        }
    }
    is_wrong(&bench, &["plugin", "new", "A b"], "is no name for a driver").await;
    is_wrong(&bench, &["plugin", "rollback", "a/b"], "is no name of a device").await;
    let config = bench.config().display().to_string();
    for (what, words) in [
        (&["power-meter", "--device", "a b"][..], "a b"),
        (&["../atx", "--device", "spare"], "../atx"),
        (&["atx", "--device", "spare", "--slice", "a.b"], "a.b"),
        (&["atx", "--device", "spare", "--port", "a b=/dev/null"], "a b"),
    ] {
        let enable = [&["plugin", "enable"], what, &["--config", &config]].concat();
        is_wrong(&bench, &enable, words).await;
    }
}

#[tokio::test]
async fn what_the_parser_of_arguments_refuses_is_an_object_too() {
    let bench = Bench::new();
    is_wrong(&bench, &["srve"], "srve").await;
    is_wrong(&bench, &["plugin", "reload"], "required").await;
    is_wrong(&bench, &["token", "new", "--role", "king"], "king").await;
    // Behind the two dashes nothing is a flag.
    let plain = bench.run(&["srve", "--", "--json"]).await;
    assert_eq!((plain.code, plain.text.as_str()), (Some(2), ""), "{plain:?}");
    // What is asked for is no mistake.
    for asked in [&["--json", "--help"][..], &["--json", "--version"]] {
        let ran = bench.run(asked).await;
        assert!(ran.code == Some(0) && ran.text.contains("autobench"), "{ran:?}");
    }
}
