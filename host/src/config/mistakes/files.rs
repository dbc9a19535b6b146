//! The files themselves: what cannot be read, what is written twice, what others may write, and how a problem is shown.

use super::*;

#[test]
fn text_that_is_not_toml_is_told_without_guessing_what_is_missing() {
    let told = Bench::new(
        "[daemon]\nlisten = 127.0.0.1:9898\n[devices.a\nplugin = \"atx\"\n[devices.b]\ncolour = 1\n",
    )
    .told();
    assert!(told.first().unwrap().starts_with("plugins.toml:2:"), "{told:#?}");
    assert!(
        told.iter().all(|line| !line.contains("has no plugin")),
        "{told:#?}"
    );
    assert!(
        told.iter().any(|line| line.starts_with("plugins.toml:3:")),
        "{told:#?}"
    );
    assert!(
        told.iter().any(|line| line.contains("has no key \"colour\"")),
        "{told:#?}"
    );
}

#[test]
fn a_key_written_twice_in_one_file_is_an_error() {
    let told = Bench::new("[daemon]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n").told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("plugins.toml:3:1: this is not TOML: duplicate key"),
        "{told:#?}"
    );
}

#[test]
fn a_file_in_plugins_d_adds_and_never_replaces() {
    let bench = Bench::new(METER)
        .file("plugins.d/10-atx.toml", "[devices.panel]\nplugin = \"atx\"\n")
        .file("plugins.d/.hidden.toml", "garbage")
        .file("plugins.d/notes.txt", "garbage");
    assert_eq!(bench.told(), [""; 0]);
    assert_eq!(bench.load().unwrap().devices.len(), 2);

    let bench = bench.file(
        "plugins.d/20-again.toml",
        "[daemon]\nlisten = \"127.0.0.1:0\"\n[devices.meter]\nslice = \"x\"\n[devices.panel]\n",
    );
    assert_eq!(
        bench.told(),
        [
            "plugins.d/20-again.toml:3:10: devices.meter is already set in plugins.toml:1:10 — keep one of the two: files in plugins.d add to \
             the bench and replace nothing",
            "plugins.d/20-again.toml:5:10: devices.panel is already set in plugins.d/10-atx.toml:1:10 — keep one of the two: files in plugins.d \
             add to the bench and replace nothing",
        ]
    );
}

#[test]
fn problems_of_all_files_come_in_the_order_of_files_and_lines() {
    let bench =
        Bench::new("[devices.a]\nplugin = \"nix\"\n[daemon]\nx = 1\n").file("plugins.d/a.toml", "y = 1\n");
    let told = bench.told();
    let places: Vec<_> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["plugins.toml:2:10", "plugins.toml:4:1", "plugins.d/a.toml:1:1"]
    );
}

#[test]
fn a_file_that_cannot_be_read_says_what_to_do() {
    let bench = Bench::new("");
    std::fs::remove_file(bench.path("plugins.toml")).unwrap();
    assert_eq!(
        bench.told(),
        [
            "plugins.toml: there is no such file — name the bench's file, for example --config plugins.toml, or write one: \
          docs/configuration.md shows how"
        ]
    );
    std::fs::create_dir(bench.path("plugins.toml")).unwrap();
    assert_eq!(
        bench.told(),
        ["plugins.toml: it is not a regular file — name a TOML file"]
    );
    std::fs::remove_dir(bench.path("plugins.toml")).unwrap();
    std::fs::write(bench.path("plugins.toml"), b"a = \"\xff\"").unwrap();
    assert_eq!(bench.told(), ["plugins.toml: it is not UTF-8 — save it as UTF-8"]);
}

#[test]
fn what_others_may_write_is_a_warning_on_loopback_and_an_error_beyond() {
    let mut bench = Bench::new(METER);
    std::fs::set_permissions(bench.path("plugins"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(bench.path("plugins.toml"), std::fs::Permissions::from_mode(0o664)).unwrap();
    let config = bench.load().unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(bench.told()[0].starts_with(
        "plugins.toml: warning: others than its owner may write it (mode 664), and with it decide what runs on the bench — run chmod go-w "
    ));
    assert!(bench.told()[1].starts_with("plugins: warning: others"));
    bench.overrides.listen = Some("0.0.0.0:0".parse().unwrap());
    let errors = bench.load().unwrap_err();
    assert!(
        errors
            .problems
            .iter()
            .filter(|problem| problem.code == "writable-by-others")
            .all(|problem| problem.weight == Weight::Error)
    );

    std::fs::set_permissions(
        bench.path("plugins/power-meter.wasm"),
        std::fs::Permissions::from_mode(0o666),
    )
    .unwrap();
    assert!(
        bench
            .told()
            .iter()
            .any(|line| line.starts_with("plugins/power-meter.wasm: others")),
        "{:?}",
        bench.told()
    );

    // In a sticky folder, as /tmp is one, others cannot replace a file.
    std::fs::set_permissions(bench.path("plugins"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(!bench.told().iter().any(|line| line.starts_with("plugins: ")));
}

#[test]
fn without_a_home_there_is_no_place_for_data() {
    let mut bench = Bench::new("");
    bench.environment.clear();
    assert_eq!(
        bench.told(),
        [
            "plugins.toml: there is no place for data: neither HOME nor XDG_STATE_HOME is set — write data-dir = \"/var/lib/autobench\" in [daemon]"
        ]
    );
}

#[test]
fn a_problem_is_drawn_into_its_text() {
    let errors = Bench::new("[daemon]\nlisen = 1\n").load().unwrap_err();
    let drawn = errors.render(Colour::None, 100);
    for part in [
        "plugins.toml:2:1",
        "lisen = 1",
        "here",
        "did you mean \"listen\"?",
        "unknown-key",
    ] {
        assert!(drawn.contains(part), "{part} is missing in:\n{drawn}");
    }
    assert!(!drawn.contains('\u{1b}'));
    assert!(errors.render(Colour::Ansi, 100).contains('\u{1b}'));
}

#[test]
fn a_problem_as_json_carries_its_place() {
    let bench = Bench::new("[daemon]\nlisen = 1\n");
    let errors = bench.load().unwrap_err();
    let file = bench.path("plugins.toml").display().to_string();
    assert_eq!(
        errors.problems[0].to_json(),
        serde_json::json!({
            "weight": "error", "code": "unknown-key", "message": "[daemon] has no key \"lisen\"", "place": format!("{file}:2:1"),
            "hint": "did you mean \"listen\"?", "file": file, "line": 2, "column": 1,
        })
    );
}
