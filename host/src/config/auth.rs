//! `[auth]`, and the doors that may not stand open.

use std::collections::BTreeMap;

use autobench_core::access::Role;

use super::model::{AuthConfig, DaemonConfig, TokenConfig};
use super::problem::{Place, Weight};
use super::raw::{RawBench, RawToken, Written};
use super::tree::Findings;
use super::values::choice;
use super::variables::{Environment, Overrides};
use crate::access::{self, LOCAL, TOKEN_CHARS_MIN, is_long_enough};

/// What people write who have no token yet. Of a hash nobody sees how long the token is, but of these it is known.
const USUAL: [&str; 24] = [
    "",
    "0000",
    "1234",
    "12345678",
    "abc",
    "admin",
    "autobench",
    "bench",
    "changeme",
    "demo",
    "guest",
    "hunter2",
    "lab",
    "letmein",
    "local",
    "operator",
    "pass",
    "password",
    "root",
    "secret",
    "test",
    "token",
    "viewer",
    "xxxx",
];

/// Tokens by name.
pub fn auth(raw: &[RawToken], findings: &mut Findings) -> AuthConfig {
    let mut tokens = BTreeMap::new();
    for token in raw {
        let header = &token.name;
        if !is_token_name(&header.value) {
            findings.error(
                "bad-name",
                &header.at,
                format!("\"{}\" is no name for a token", header.value),
                "take letters, digits, dashes, dots and underscores, at most 64, and not \"local\"",
            );
        }
        let role = match &token.role {
            Some(_) => choice(
                &token.role,
                "role",
                &[
                    ("viewer", Role::Viewer),
                    ("operator", Role::Operator),
                    ("admin", Role::Admin),
                ],
                findings,
            ),
            None => {
                let message = format!("the token \"{}\" has no role", header.value);
                findings.missing(
                    "missing-key",
                    &header.at,
                    message,
                    "write role = \"viewer\", \"operator\" or \"admin\"",
                );
                None
            }
        };
        let sha256 = match &token.sha256 {
            Some(written) => digest(written, findings)
                .filter(|sha256| refuse_usual(sha256, &header.value, written, findings)),
            None => {
                let message = format!("the token \"{}\" has no sha256", header.value);
                let hint = "run autobench token new and write the lines that it prints";
                findings.missing("missing-key", &header.at, message, hint);
                None
            }
        };
        if let (Some(role), Some(sha256)) = (role, sha256) {
            tokens.insert(header.value.clone(), TokenConfig { sha256, role });
        }
    }
    AuthConfig { tokens }
}

/// Beyond loopback nobody may be let in without a token.
pub fn refuse_network(
    daemon: &DaemonConfig,
    auth: &AuthConfig,
    raw: &RawBench,
    environment: &Environment,
    overrides: &Overrides,
    findings: &mut Findings,
) {
    let listen = daemon.listen;
    // A token with a mistake in it is a problem of its own; there is one to be mended, and not none.
    if listen.ip().is_loopback() || !auth.tokens.is_empty() || !raw.tokens.is_empty() {
        return;
    }
    let place = if overrides.listen.is_some() {
        Place::Flag("--listen")
    } else if environment.get("AUTOBENCH_LISTEN").is_some() {
        Place::Variable("AUTOBENCH_LISTEN")
    } else {
        match &raw.daemon.listen {
            Some(written) => findings.place(&written.at),
            None => return,
        }
    };
    let message = format!(
        "listening on {listen} without any token would let everyone on the network operate the bench"
    );
    let hint = format!(
        "run autobench token new and write the lines that it prints, or listen on 127.0.0.1:{}",
        listen.port()
    );
    findings.problem(Weight::Error, "open-to-network", place, message, hint);
}

/// A token's name stands in the audit, beside that of whoever needs none.
pub fn is_token_name(name: &str) -> bool {
    let is_part = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && name.chars().all(is_part) && name != LOCAL
}

/// Whether this may be the hash of a token; says so if it is that of a text which everybody tries first.
fn refuse_usual(sha256: &[u8; 32], name: &str, written: &Written<String>, findings: &mut Findings) -> bool {
    let mut usual = USUAL.iter().copied().chain([name]);
    let is_good = usual.all(|text| is_long_enough(text) || access::digest(text) != *sha256);
    if !is_good {
        findings.error(
            "bad-value",
            &written.at,
            format!(
                "this is the SHA-256 of a usual word; a token has at least {TOKEN_CHARS_MIN} characters, and the daemon takes no shorter one"
            ),
            "run autobench token new and write the lines that it prints",
        );
    }
    is_good
}

fn digest(written: &Written<String>, findings: &mut Findings) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let digits = written.value.as_bytes();
    let is_hex = digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_hex {
        // The value is not repeated: it may be the token itself.
        findings.error(
            "bad-value",
            &written.at,
            "\"sha256\" is not a SHA-256 in hexadecimal digits",
            "write the 64 digits that `printf %s TOKEN | sha256sum` prints, never the token itself",
        );
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(written.value.as_bytes().chunks(2)) {
        *byte = std::str::from_utf8(pair)
            .ok()
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())?;
    }
    Some(digest)
}
