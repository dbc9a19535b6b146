//! `cargo demo`: everything from a checkout to a running bench.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use crate::checkout::Checkout;
use crate::console::{Console, Stream, seconds};
use crate::failure::Failure;
use crate::toolchain::Toolchain;
use crate::{guests, mirror, run};

/// Builds what changed and becomes `autobench demo`. Returns only after `--build-only` or a failure.
pub fn demo(arguments: &[String]) -> Result<ExitCode, Failure> {
    let build_only = arguments.iter().any(|argument| argument == "--build-only");
    let arguments = arguments.iter().filter(|argument| *argument != "--build-only");

    let mut console = Console::new(Stream::Err, 5);
    let checkout = Checkout::find()?;
    let toolchain = console.step("wasm target", |_| {
        let toolchain = Toolchain::ensure(&checkout)?;
        let origin = toolchain.origin.clone();
        Ok((toolchain, origin))
    })?;
    console.step("plugins", |_| Ok(((), guests::plugins(&checkout, &toolchain)?)))?;
    console.step("npm packages", |_| Ok(((), mirror::packages(&checkout)?)))?;
    console.step("mirror", |_| Ok(((), mirror::page(&checkout)?)))?;
    console.step("daemon", |_| {
        // The whole workspace chooses the features, as in `cargo verify`: with `--package` some dependencies would have fewer, and
        // the two commands would each compile wasmtime anew after the other.
        run::stream(
            checkout
                .cargo()
                .args(["build", "--workspace", "--bin", "autobench"]),
        )?;
        Ok(((), "built".to_owned()))
    })?;
    if build_only {
        console.say(&format!(
            "{} is ready ({})",
            checkout.out.display(),
            seconds(console.elapsed())
        ));
        return Ok(ExitCode::SUCCESS);
    }
    console.say(&format!("starting the bench ({})", seconds(console.elapsed())));
    // Becoming the daemon, and not its parent, hands it every signal and the terminal.
    let error = Command::new(checkout.daemon())
        .arg("demo")
        .args(arguments)
        .current_dir(&checkout.root)
        .exec();
    Err(Failure::new(format!("{}: {error}", checkout.daemon().display())))
}
