//! The daemon's socket against the standard (RFC 6455, and RFC 7692 for what clients compress), case by case: a client of bytes sends what each case says, and the answer has to be what
//! the standard wants, to the byte.
//!
//! Each case is a test with its own name. In brackets behind the name stand the numbers of the corresponding cases of the Autobahn test suite,
//! as a cross-reference; the code and the data are this project's own. What needs messages to come back runs against `/ws/echo`, what is about
//! frames alone also against `/ws`: the two share their code, and this shows it.
#![cfg(test)]

mod close;
mod deflate;
mod frames;
mod fuzz;
mod handshake;
mod inflate;
mod large;
mod peer;
mod script;
mod server;
mod utf8;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = libtest_mimic::Arguments::from_args();
    let server = server::Server::start();
    let mut trials = Vec::new();
    trials.extend(handshake::trials(&server));
    trials.extend(frames::trials(&server));
    trials.extend(utf8::trials(&server));
    trials.extend(close::trials(&server));
    trials.extend(deflate::trials(&server));
    trials.extend(large::trials(&server));
    trials.extend(fuzz::trials(&server));
    let conclusion = libtest_mimic::run(&arguments, trials);
    server.stop();
    conclusion.exit_code()
}
