//! The running daemon that a command talks to: its address, and how its refusals read.

use anyhow::{Context, bail};
use autobench_core::wire::Secret;
use hyper::Uri;
use serde_json::Value;

use super::usage;

/// Where to connect to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// What goes into `Host`.
    pub(super) authority: String,
    /// Host and port.
    pub(super) address: String,
    /// Of the socket, with its query.
    pub(super) path: String,
    pub(super) token: Option<Secret>,
}

impl Target {
    /// The same address, for somebody with a token.
    pub(super) fn with_token(self, token: Option<&str>) -> Self {
        Self {
            token: token.map(Secret::new),
            ..self
        }
    }

    /// An address as people write it: with or without scheme, port and path.
    pub(super) fn parse(url: &str) -> anyhow::Result<Self> {
        Self::read(url).map_err(usage::wrong)
    }

    fn read(url: &str) -> anyhow::Result<Self> {
        let has_scheme = url.contains("://");
        let url = if has_scheme {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = url
            .parse()
            .with_context(|| format!("\"{url}\" is no address — write for example http://127.0.0.1:9898"))?;
        match uri.scheme_str() {
            Some("http" | "ws") => {}
            Some("https" | "wss") => {
                bail!(
                    "autobench speaks no TLS as a client — name the daemon itself, for example http://127.0.0.1:9898"
                )
            }
            _ => bail!("\"{url}\" is no address of a daemon — write for example http://127.0.0.1:9898"),
        }
        let Some(authority) = uri.authority() else {
            bail!("\"{url}\" names no host — write for example http://127.0.0.1:9898");
        };
        let address = match authority.port() {
            Some(_) => authority.as_str().to_owned(),
            // A scheme says which port it is without one; a bare name means the daemon's own.
            None if has_scheme => format!("{authority}:80"),
            None => format!("{authority}:9898"),
        };
        let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
            "/" => "/ws".to_owned(),
            path => path.to_owned(),
        };
        Ok(Self {
            authority: authority.as_str().to_owned(),
            address,
            path,
            token: None,
        })
    }
}

/// What a problem document says, or the text itself.
pub(super) fn problem_text(body: &str) -> String {
    let problem: Option<Value> = serde_json::from_str(body).ok();
    let member = |name: &str| {
        problem
            .as_ref()
            .and_then(|problem| problem.get(name))
            .and_then(Value::as_str)
    };
    match member("detail").or_else(|| member("title")) {
        Some(text) => text.to_owned(),
        None => body.trim().chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_people_write_it() {
        for (url, address, path) in [
            ("http://127.0.0.1:9898", "127.0.0.1:9898", "/ws"),
            (
                "ws://bench.local:80/ws?resume=a.1.2",
                "bench.local:80",
                "/ws?resume=a.1.2",
            ),
            ("localhost:9898", "localhost:9898", "/ws"),
            ("http://[::1]:9898/", "[::1]:9898", "/ws"),
            ("http://bench.local", "bench.local:80", "/ws"),
            ("bench.local", "bench.local:9898", "/ws"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(
                (target.address.as_str(), target.path.as_str()),
                (address, path),
                "{url}"
            );
        }
        for bad in ["https://x", "wss://x/ws", "ftp://x", "http://", "a b"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refused_upgrade_is_told_in_the_words_of_the_daemon() {
        assert_eq!(
            problem_text(r#"{"title":"Forbidden","detail":"this Host is not allowed"}"#),
            "this Host is not allowed"
        );
        assert_eq!(problem_text("plain"), "plain");
    }
}
