//! Who a request may be addressed to, and whose page it may come from.
//!
//! A web page in the engineer's browser can reach the loopback interface. Two things give it away: the name by which it reached the daemon
//! (`Host`, also after its own name was bound to another address), and where it came from (`Origin`). Both are checked here, as text.

use std::net::{IpAddr, SocketAddr};

use hyper::http::uri::{Authority, Uri};
use hyper::{HeaderMap, Method, header};

use super::problem::Problem;

/// The names by which the daemon may be reached.
#[derive(Debug)]
pub(super) struct Names(Vec<Name>);

/// A host in lower case, with the port if only that one is meant.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    host: String,
    port: Option<u16>,
}

impl Names {
    /// The listen address, the names of the loopback interface, and the configured names, each `name` or `name:port`. The first two count with
    /// any port: a tunnel ends on another one, and a port proves nothing about a name.
    pub(super) fn new(listen: SocketAddr, configured: &[String]) -> Self {
        let mut names = vec![any_port("localhost"), any_port("127.0.0.1"), any_port("[::1]")];
        if !listen.ip().is_unspecified() {
            names.push(any_port(&match listen.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            }));
        }
        names.extend(
            configured
                .iter()
                .filter_map(|text| text.parse().ok())
                .map(|a| Name::of(&a)),
        );
        Self(names)
    }

    /// Checks a request before anything else looks at it.
    pub(super) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        is_upgrade: bool,
    ) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::NoHost);
        };
        let host: Authority = host
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(Problem::NoHost)?;
        if host.as_str().contains('@') {
            return Err(Problem::NoHost);
        }
        for authority in std::iter::once(&host).chain(uri.authority()) {
            if !self.has(authority) {
                return Err(Problem::ForbiddenHost(authority.to_string()));
            }
        }
        let only_reads = matches!(*method, Method::GET | Method::HEAD) && !is_upgrade;
        match headers.get(header::ORIGIN) {
            Some(origin) if !only_reads => {
                let origin = origin.to_str().unwrap_or_default();
                if self.is_ours(origin, &host) {
                    Ok(())
                } else {
                    Err(Problem::ForbiddenOrigin(origin.to_owned()))
                }
            }
            _ => Ok(()),
        }
    }

    fn has(&self, authority: &Authority) -> bool {
        let asked = Name::of(authority);
        self.0
            .iter()
            .any(|name| name.host == asked.host && (name.port.is_none() || name.port == asked.port))
    }

    /// A page's origin has to be the very place that it talks to, port included: another port is another program. Only what is configured
    /// with its port is trusted besides.
    fn is_ours(&self, origin: &str, host: &Authority) -> bool {
        let Ok(origin) = origin.parse::<Uri>() else {
            return false;
        };
        let default_port = match origin.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return false,
        };
        let Some(authority) = origin.authority() else {
            return false;
        };
        let mut from = Name::of(authority);
        from.port.get_or_insert(default_port);
        let mut to = Name::of(host);
        // Without a port the host leaves it to the scheme, which behind a proxy only the origin knows.
        to.port.get_or_insert(default_port);
        from == to || self.0.contains(&from)
    }
}

impl Name {
    fn of(authority: &Authority) -> Self {
        Self {
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16(),
        }
    }
}

fn any_port(host: &str) -> Name {
    Name {
        host: host.to_owned(),
        port: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>, method: Method, is_upgrade: bool) -> Result<(), Problem> {
        let configured = ["bench.local".to_owned(), "dev.local:5173".to_owned()];
        let names = Names::new("192.0.2.7:9898".parse().unwrap(), &configured);
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        names.check(&method, &Uri::from_static("/"), &headers, is_upgrade)
    }

    #[test]
    fn the_daemon_answers_only_to_its_own_names() {
        for host in [
            "localhost",
            "LOCALHOST:9898",
            "127.0.0.1:9898",
            "[::1]:9898",
            "192.0.2.7:9898",
            "localhost:8080",
            "bench.local",
            "bench.local:443",
            "dev.local:5173",
        ] {
            assert_eq!(check(host, None, Method::GET, false), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.2",
            "dev.local",
            "dev.local:80",
            "0.0.0.0:9898",
        ] {
            let refused = check(host, None, Method::GET, false);
            assert_eq!(refused, Err(Problem::ForbiddenHost(host.to_owned())));
        }
        for host in ["", "a b", "user@localhost"] {
            assert_eq!(
                check(host, None, Method::GET, false),
                Err(Problem::NoHost),
                "{host}"
            );
        }
    }

    #[test]
    fn only_a_page_of_the_very_same_place_may_act_or_open_a_socket() {
        let ours = [
            ("localhost:9898", "http://localhost:9898"),
            ("LocalHost:9898", "http://localhost:9898"),
            ("bench.local", "https://bench.local"),
            ("bench.local", "http://bench.local"),
            ("bench.local:80", "http://bench.local"),
            ("[::1]:9898", "http://[::1]:9898"),
            ("localhost:9898", "http://dev.local:5173"),
        ];
        for (host, origin) in ours {
            assert_eq!(
                check(host, Some(origin), Method::GET, true),
                Ok(()),
                "{origin} to {host}"
            );
            assert_eq!(
                check(host, Some(origin), Method::POST, false),
                Ok(()),
                "{origin} to {host}"
            );
        }
        let foreign = [
            ("localhost:9898", "http://evil.example"),
            ("localhost:9898", "http://localhost:3000"),
            ("localhost:9898", "http://localhost"),
            ("localhost:9898", "https://127.0.0.1:9898"),
            ("bench.local:8443", "https://bench.local"),
            ("localhost:9898", "null"),
            ("localhost:9898", ""),
            ("localhost:9898", "file://"),
            ("localhost:9898", "ftp://localhost:9898"),
        ];
        for (host, origin) in foreign {
            let refused = Err(Problem::ForbiddenOrigin(origin.to_owned()));
            assert_eq!(check(host, Some(origin), Method::GET, true), refused);
            assert_eq!(check(host, Some(origin), Method::POST, false), refused);
            assert_eq!(check(host, Some(origin), Method::DELETE, false), refused);
            assert_eq!(
                check(host, Some(origin), Method::GET, false),
                Ok(()),
                "reading is the browser's to forbid"
            );
        }
    }

    #[test]
    fn a_second_host_and_a_foreign_target_are_refused() {
        let names = Names::new("127.0.0.1:9898".parse().unwrap(), &[]);
        let mut headers = HeaderMap::new();
        assert_eq!(
            names.check(&Method::GET, &Uri::from_static("/"), &headers, false),
            Err(Problem::NoHost)
        );
        headers.append(header::HOST, "localhost".parse().unwrap());
        let foreign = Uri::from_static("http://evil.example/");
        assert!(matches!(
            names.check(&Method::GET, &foreign, &headers, false),
            Err(Problem::ForbiddenHost(_))
        ));
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert_eq!(
            names.check(&Method::GET, &Uri::from_static("/"), &headers, false),
            Err(Problem::NoHost)
        );
    }
}
