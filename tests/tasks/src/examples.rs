//! Drivers in other languages than Rust, built by the daemon's own `autobench plugin build`.

use std::path::PathBuf;
use std::process::Command;

use crate::checkout::Checkout;
use crate::failure::Failure;
use crate::fingerprint::Stamp;
use crate::run;

/// What lies beside the sources and is made from them.
const MADE: [&str; 2] = ["target", "__pycache__"];

/// The power meter in Python.
const PYTHON: &str = "sdk/python/examples/power-meter";
/// The drivers in JavaScript.
const JAVASCRIPT: &str = "sdk/js/examples";

/// Builds the power meter in Python.
pub fn python(checkout: &Checkout) -> Result<String, Failure> {
    build(checkout, "python", &[(PYTHON, "power-meter-python")])
}

/// Builds the relay board and the power meter in JavaScript.
pub fn javascript(checkout: &Checkout) -> Result<String, Failure> {
    let relay = format!("{JAVASCRIPT}/relay");
    let power_meter = format!("{JAVASCRIPT}/power-meter");
    let examples = [
        (relay.as_str(), "relay-javascript"),
        (power_meter.as_str(), "power-meter-javascript"),
    ];
    build(checkout, "js", &examples)
}

/// Builds the examples of an SDK into `target/autobench/examples`. Their tools are installed below `target/autobench/kit`.
fn build(checkout: &Checkout, sdk: &str, examples: &[(&str, &str)]) -> Result<String, Failure> {
    let file = |stem: &str| folder(checkout).join(format!("{stem}.wasm"));
    let sources = [checkout.root.join("sdk").join(sdk), checkout.root.join("wit")];
    let stamp = Stamp::of(checkout.stamps().join(sdk), &sources, &MADE)?;
    if stamp.is_current() && examples.iter().all(|(_, stem)| file(stem).is_file()) {
        return Ok("up to date".to_owned());
    }
    for (example, stem) in examples {
        run::stream(
            Command::new(checkout.daemon())
                .args(["plugin", "build", example, "--out"])
                .arg(file(stem))
                .current_dir(&checkout.root)
                .env("AUTOBENCH_KIT", kit(checkout)),
        )?;
    }
    stamp.keep()?;
    Ok("built".to_owned())
}

/// The tests of the SDK for Python, or of its example, in plain Python.
pub fn python_tests(checkout: &Checkout, example: bool) -> Command {
    let sdk = checkout.root.join("sdk/python");
    let folder = if example {
        checkout.root.join(PYTHON)
    } else {
        sdk.clone()
    };
    let mut command = Command::new("python3");
    command
        .args(["-m", "unittest", "discover", "--start-directory", "tests"])
        .env("PYTHONPATH", format!("{}:{}", sdk.display(), folder.display()))
        // A checkout stays as it is.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder);
    command
}

/// The tests of the drivers in JavaScript, which are those of their SDK, too.
pub fn javascript_tests(checkout: &Checkout) -> Command {
    let mut command = Command::new("node");
    command.arg("--test").current_dir(checkout.root.join(JAVASCRIPT));
    command
}

/// Where the stories find them.
pub fn folder(checkout: &Checkout) -> PathBuf {
    checkout.out.join("examples")
}

/// Where their tools are installed.
pub fn kit(checkout: &Checkout) -> PathBuf {
    checkout.out.join("kit")
}
