//! `[auth]`, and the doors that may not stand open.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::model::{AuthConfig, Role, TokenConfig};
use super::problem::{Place, Weight};
use super::raw::{RawToken, Written};
use super::tree::Findings;
use super::values::choice;

/// Tokens by name.
pub fn auth(raw: &[RawToken], findings: &mut Findings) -> AuthConfig {
    let mut tokens = BTreeMap::new();
    for token in raw {
        let header = &token.name;
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
            Some(written) => digest(written, findings),
            None => {
                let message = format!("the token \"{}\" has no sha256", header.value);
                let hint = "write sha256 = \"…\" with what `printf %s TOKEN | sha256sum` prints";
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

/// Nothing may look protected that is not.
pub fn refuse_tokens(raw: &[RawToken], findings: &mut Findings) {
    if let Some(token) = raw.first() {
        findings.error(
            "tokens-not-enforced",
            &token.name.at,
            "this version does not check tokens yet, so [auth.tokens] would protect nothing",
            "remove it, listen on 127.0.0.1, and reach the bench through an SSH tunnel or a proxy that authenticates",
        );
    }
}

/// Without tokens nobody but this machine may be let in.
pub fn refuse_network(listen: SocketAddr, written: Place, findings: &mut Findings) {
    if listen.ip().is_loopback() {
        return;
    }
    let message = format!(
        "listening on {listen} would let everyone on the network operate the bench, and this version checks no tokens yet"
    );
    let hint = format!(
        "listen on 127.0.0.1:{} and reach the bench through an SSH tunnel or a proxy that authenticates",
        listen.port()
    );
    findings.problem(Weight::Error, "open-to-network", written, message, hint);
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
