//! `autobench token`.

use serde_json::json;

use super::{Announcer, TokenArguments, TokenCommand};
use crate::access::NewToken;

/// Makes a token. It is shown here and nowhere else: what the configuration knows is its hash.
pub fn token(arguments: &TokenArguments, json: bool) {
    let TokenCommand::New { role, name } = &arguments.command;
    let token = NewToken::random();
    let sha256 = token.sha256();
    let lines = lines(name, &sha256, role.as_str());
    let announcer = Announcer::new(json);
    if json {
        announcer.say(&json!({
            "event": "token",
            "name": name,
            "role": role,
            "token": token.reveal(),
            "sha256": sha256,
            "toml": lines,
        }));
        return;
    }
    println!("{}", token.reveal());
    eprintln!("This token is shown once. Put these lines into plugins.toml:\n");
    eprint!("{lines}");
}

fn lines(name: &str, sha256: &str, role: &str) -> String {
    // A name with a dot has to be quoted, and quotes do no other any harm.
    format!("[auth.tokens.\"{name}\"]\nsha256 = \"{sha256}\"\nrole = \"{role}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_what_the_configuration_reads() {
        let token = NewToken::random();
        let sha256 = token.sha256();
        let read: toml::Table = toml::from_str(&lines("wall.left", &sha256, "viewer")).unwrap();
        let entry = &read["auth"]["tokens"]["wall.left"];
        assert_eq!(entry["role"].as_str(), Some("viewer"));
        assert_eq!(entry["sha256"].as_str(), Some(sha256.as_str()));
    }
}
