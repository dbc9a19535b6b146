//! Tokens, and the network.

use super::*;

#[test]
fn the_network_stays_out_while_there_is_no_token() {
    let hint = "run autobench token new and write the lines that it prints, or listen on 127.0.0.1";
    check(
        "[daemon]\nlisten = \"0.0.0.0:9898\"\n",
        &[&format!(
            "plugins.toml:2:10: listening on 0.0.0.0:9898 without any token would let everyone on the network operate the bench — {hint}:9898"
        )],
    );
    let mut bench = Bench::new("");
    bench.overrides.listen = Some("[::]:80".parse().unwrap());
    assert!(
        bench.told()[0].starts_with("--listen: listening on [::]:80 without any token"),
        "{:?}",
        bench.told()
    );
    let bench = Bench::new("").variable("AUTOBENCH_LISTEN", "192.0.2.1:80");
    assert!(
        bench.told()[0].starts_with("AUTOBENCH_LISTEN: listening on 192.0.2.1:80 without"),
        "{:?}",
        bench.told()
    );
}

#[test]
fn with_a_token_the_network_is_let_in_and_the_token_is_known() {
    // Of sixteen a's.
    let sha256 = "0c0beacef8877bbf2416eb00f2b5dc96354e26dd1df5517320459b1236860f8c";
    let text = format!(
        "[daemon]\nlisten = \"0.0.0.0:9898\"\n[auth.tokens.lab]\nsha256 = \"{sha256}\"\nrole = \"operator\"\n"
    );
    let config = Bench::new(&text).load().unwrap();
    let token = &config.auth.tokens["lab"];
    assert_eq!(
        (token.sha256, token.role),
        (crate::access::digest("aaaaaaaaaaaaaaaa"), Role::Operator)
    );
}

#[test]
fn a_token_with_a_mistake_is_told_and_never_repeated() {
    check(
        "[auth.tokens.me]\nsha256 = \"hunter2\"\nrole = \"root\"\n[auth.tokens.local]\n",
        &[
            "plugins.toml:2:10: \"sha256\" is not a SHA-256 in hexadecimal digits — write the 64 digits that `printf %s TOKEN | sha256sum` \
             prints, never the token itself",
            "plugins.toml:3:8: \"role\" cannot be \"root\" — write one of \"viewer\", \"operator\", \"admin\"",
            "plugins.toml:4:14: \"local\" is no name for a token — take letters, digits, dashes, dots and underscores, at most 64, and not \
             \"local\"",
            "plugins.toml:4:14: the token \"local\" has no role — write role = \"viewer\", \"operator\" or \"admin\"",
            "plugins.toml:4:14: the token \"local\" has no sha256 — run autobench token new and write the lines that it prints",
        ],
    );
    for variable in ["LOG_INGEST_TOKEN", "AUTOBENCH_TOKEN"] {
        let told = Bench::new("").variable(variable, "hunter2").told();
        assert_eq!(
            told,
            [format!(
                "{variable}: it is shorter than 16 characters and soon guessed — set it to what `autobench token new` prints"
            )]
        );
    }
}

#[test]
fn a_token_that_everybody_tries_first_is_refused_by_its_hash() {
    // The words "abc", and the token's own name.
    for (name, sha256) in [
        (
            "me",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        ("wall", "WALL"),
    ] {
        let own: String = crate::access::digest(name)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let sha256 = sha256.replace("WALL", &own);
        check(
            &format!("[auth.tokens.{name}]\nrole = \"viewer\"\nsha256 = \"{sha256}\"\n"),
            &[
                "plugins.toml:3:10: this is the SHA-256 of a usual word; a token has at least 16 characters, and the daemon takes no shorter one — \
                 run autobench token new and write the lines that it prints",
            ],
        );
    }
}
