//! The manual names what there is.

use super::*;

const MANUAL: &str = include_str!("../../../../docs/configuration.md");

#[test]
fn the_manual_names_every_key() {
    let unknown = "qqqqqq = 1\n";
    let told = Bench::new(&format!(
        "{unknown}[daemon]\n{unknown}[daemon.limits]\n{unknown}[auth]\n{unknown}[auth.tokens.a]\n{unknown}[layout]\n{unknown}\
         [[layout.panes]]\n{unknown}[devices.a]\n{unknown}[devices.a.ports.b]\n{unknown}[devices.a.limits]\n{unknown}\
         [devices.a.grants]\n{unknown}[devices.a.ports.c.sim]\n{unknown}"
    ))
    .told();
    let known: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split_once(" — known here: "))
        .flat_map(|(_, keys)| keys.split(", "))
        .collect();
    assert!(known.len() > 50, "{told:#?}");
    for key in known {
        let is_named = MANUAL.contains(&format!("`{key}`"))
            || MANUAL.contains(&format!(".{key}"))
            || MANUAL.contains(&format!("[{key}"));
        assert!(is_named, "docs/configuration.md does not name {key}");
    }
}

#[test]
fn the_manual_names_every_variable() {
    for variable in variables::KNOWN {
        assert!(
            MANUAL.contains(&format!("`{variable}`")),
            "docs/configuration.md does not name {variable}"
        );
    }
}
