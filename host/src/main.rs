//! The command line of autobench.

use std::process::ExitCode;

use autobench::{app, cli, driver};

fn main() -> ExitCode {
    cli::main(cli::Programs {
        serve: app::run,
        compile: driver::compile::run,
    })
}
