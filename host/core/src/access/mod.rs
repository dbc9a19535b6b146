//! Who may do what: one table of every HTTP route and one of every message of a client, each with the role that it takes.
//!
//! The router is built from [`ROUTES`], so a route that is not in the table is not served; [`message_role`] is an exhaustive match, so a message
//! without a role does not compile. `docs/access.md` is held to both by a test. Nothing here looks at a token: that is the host's.

mod messages;
mod routes;

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

pub use messages::{MESSAGES, MessageEntry, message_role};
pub use routes::{Access, Method, ROUTES, Route, RouteId};

/// What somebody may do. Each role may do what those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything.
    Viewer,
    /// Act on the bench as well: send commands, samples, texts.
    Operator,
    /// Change the bench as well.
    Admin,
}

impl Role {
    /// All of them, the weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name in `plugins.toml` and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a role is viewer, operator or admin")]
pub struct NoRole;

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(text: &str) -> Result<Self, NoRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(NoRole)
    }
}

/// Both tables, as they stand in `docs/access.md`.
pub fn markdown() -> String {
    use std::fmt::Write;
    let mut text = String::from("| method | path | takes | what |\n|---|---|---|---|\n");
    for route in ROUTES {
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} |",
            route.method.as_str(),
            route.path,
            route.access,
            route.about
        );
    }
    text.push_str("\n| message | takes |\n|---|---|\n");
    for message in MESSAGES {
        let _ = writeln!(text, "| `{}` | {} |", message.name, message.role);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wire::ClientFrame;

    #[test]
    fn each_role_may_what_the_one_before_may() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(NoRole));
    }

    #[test]
    fn no_route_is_there_twice_and_no_read_acts() {
        let keys: BTreeSet<_> = ROUTES.iter().map(|route| (route.path, route.method)).collect();
        assert_eq!(keys.len(), ROUTES.len());
        let ids: BTreeSet<_> = ROUTES.iter().map(|route| route.id).collect();
        // The socket has two names; everything else has one.
        assert_eq!(ids.len() + 1, ROUTES.len());
        for route in ROUTES.iter().filter(|route| route.method != Method::Get) {
            assert!(
                route.access != Access::Role(Role::Viewer),
                "{} {} acts, and a viewer may only look",
                route.method.as_str(),
                route.path
            );
        }
    }

    #[test]
    fn the_table_of_messages_is_what_the_match_says() {
        for entry in MESSAGES {
            let frame = ClientFrame::parse(entry.example.as_bytes())
                .unwrap_or_else(|error| panic!("{}: {error}", entry.name));
            assert_eq!(message_role(&frame.message), entry.role, "{}", entry.name);
            let written = serde_json::to_value(&frame).unwrap();
            assert_eq!(written["type"], entry.name);
        }
    }

    #[test]
    fn the_manual_has_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/access.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- tables -->\n", "<!-- end -->");
        let (head, rest) = text.split_once(begin).unwrap();
        let (tables, tail) = rest.split_once(end).unwrap();
        if tables == markdown() {
            return;
        }
        assert!(
            std::env::var_os("UPDATE_DOCS").is_some(),
            "docs/access.md is stale; run the test with UPDATE_DOCS=1"
        );
        std::fs::write(path, format!("{head}{begin}{}{end}{tail}", markdown())).unwrap();
    }
}
