//! `autobench plugin new`: in each language the folder that it makes passes its tests at once; what it cannot make it refuses, and changes nothing.
//! The one in Rust is built as well; the one in Python is, in the guide, and the one in JavaScript with `--long`.
#![expect(clippy::expect_used, reason = "helpers of a story: what is missing fails it")]

use std::path::Path;
use std::process::{Command, Output};

use e2e::{Artifacts, is_long};

fn plugin(folder: &Path, arguments: &[&str]) -> Output {
    // What cargo builds for the template is kept with the other tools, so that only the first run waits for it.
    let kit = std::env::var_os("AUTOBENCH_KIT").expect("AUTOBENCH_KIT is set; `cargo verify` sets it");
    Command::new(Artifacts::find().binary)
        .arg("plugin")
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", Path::new(&kit).join("rust"))
        .output()
        .expect("autobench runs")
}

fn succeeds(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn passes(folder: &Path, program: &str, arguments: &[&str]) {
    let kit = std::env::var_os("AUTOBENCH_KIT").expect("AUTOBENCH_KIT is set; `cargo verify` sets it");
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", Path::new(&kit).join("rust"))
        .output()
        .expect("the tests run");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{program} in {}: {said}",
        folder.display()
    );
    // A runner that finds no test is content, too.
    assert!(
        ["4 passed", "Ran 4 tests", "pass 4"]
            .iter()
            .any(|four| said.contains(four)),
        "{said}"
    );
}

#[test]
fn a_driver_that_was_begun_passes_its_tests_in_each_language() {
    let folder = tempfile::tempdir().expect("a folder");
    let languages: [(&str, &str, &[&str]); 3] = [
        ("rust", "cargo", &["test"]),
        ("python", "python3", &["-m", "unittest"]),
        ("javascript", "node", &["--test"]),
    ];
    for (language, program, arguments) in languages {
        let name = format!("begun-in-{language}");
        succeeds(&plugin(folder.path(), &["new", &name, "--lang", language]));
        passes(&folder.path().join(&name), program, arguments);
    }
    succeeds(&plugin(folder.path(), &["build", "begun-in-rust", "--out", "."]));
    let wasm = std::fs::read(folder.path().join("begun-in-rust.wasm")).expect("it is built");
    assert!(wasm.starts_with(b"\0asm"));
    if is_long() {
        succeeds(&plugin(folder.path(), &["build", "begun-in-javascript"]));
        assert!(
            folder
                .path()
                .join("begun-in-javascript/target/begun-in-javascript.wasm")
                .is_file()
        );
    }
}

#[test]
fn what_is_there_is_left_alone_and_a_name_that_fits_nothing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let theirs = folder.path().join("mine");
    std::fs::create_dir(&theirs).expect("a folder");
    std::fs::write(theirs.join("driver.py"), "mine").expect("a file");
    let ends = |code: i32, arguments: &[&str], why: &str| {
        let output = plugin(folder.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(why), "{said}");
    };
    ends(1, &["new", "mine", "--lang", "python"], "is there already");
    ends(
        2,
        &["new", "../mine", "--lang", "python"],
        "is no name for a driver",
    );
    ends(1, &["new", "other", "--sdk", "."], "is not the folder `sdk`");
    ends(1, &["build", "mine"], "driver.toml");
    let content = std::fs::read_to_string(theirs.join("driver.py")).expect("it is there");
    assert_eq!(content, "mine");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn a_mistyped_folder_for_what_is_built_is_named_and_is_not_made_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    succeeds(&plugin(folder.path(), &["new", "begun"]));
    for out in ["plugns", "plugns/"] {
        let output = plugin(folder.path(), &["build", "begun", "--out", out]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("there is no folder plugns"), "{said}");
    }
    assert!(!folder.path().join("plugns").exists());
    assert!(!folder.path().join("begun/target").exists(), "nothing was built");
}
