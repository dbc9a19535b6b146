//! Finds the tests that are written in a `proptest!` block: a test program's output does not tell them from others.

use std::collections::BTreeSet;
use std::path::Path;

use crate::failure::{About, Failure};

/// The names of all such tests below `folder`, without their modules.
pub fn names(folder: &Path) -> Result<BTreeSet<String>, Failure> {
    let mut found = BTreeSet::new();
    visit(folder, &mut found)?;
    Ok(found)
}

fn visit(folder: &Path, found: &mut BTreeSet<String>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder).about(folder.display())? {
        let path = entry.about(folder.display())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_symlink() || name.starts_with('.') || matches!(&*name, "target" | "node_modules" | "dist")
        {
            continue;
        }
        if path.is_dir() {
            visit(&path, found)?;
        } else if name.ends_with(".rs") {
            read(&std::fs::read_to_string(&path).about(path.display())?, found);
        }
    }
    Ok(())
}

/// A block ends where its indentation comes back: rustfmt sees to that.
fn read(source: &str, found: &mut BTreeSet<String>) {
    let mut end = None;
    for line in source.lines() {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        match end {
            None if code.starts_with("proptest! {") || code.starts_with("proptest::proptest! {") => {
                end = Some(indentation);
            }
            Some(start) if indentation == start && code.starts_with('}') => end = None,
            Some(_) => {
                if let Some((name, _)) = code.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
                    found.insert(name.to_owned());
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_functions_within_a_block_are_found() {
        let source = "\
#[test]
fn before() {}
mod laws {
    proptest! {
        #![proptest_config(cases())]
        #[test]
        fn one(x in 0..3) {
            prop_assert!(x < 3);
        }

        #[test]
        fn two(y in 0..3) {}
    }

    #[test]
    fn after() {}
}
";
        let mut found = BTreeSet::new();
        read(source, &mut found);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["one", "two"]);
    }
}
