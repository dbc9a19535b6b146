//! Behind `cargo demo` and `cargo verify`: makes ready what is missing, builds, runs, and says what it is doing.
//!
//! This package has no dependencies, so that it compiles in a second and its first line appears at once on a fresh machine.

mod checkout;
mod console;
mod counts;
mod debian;
mod demo;
mod examples;
mod failure;
mod fingerprint;
mod guests;
mod mirror;
mod properties;
mod run;
mod toolchain;
mod verify;

use std::process::ExitCode;

const USAGE: &str = "\
cargo demo [--build-only] [arguments of `autobench demo`]
    Builds the plugins, the mirror and the daemon, then starts a simulated bench and the daemon on it and prints the URL.
    --build-only   stop when plugins and mirror lie in target/autobench/

cargo verify [--long]
    Installs what is missing for the tests and runs every test there is.
    --long         full counts: longer stories, more random cases
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let done = match task.as_deref() {
        Some("demo") => demo::demo(&rest),
        Some("verify") => verify::verify(&rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}
