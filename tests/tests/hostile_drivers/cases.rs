//! What hostile drivers do, and what becomes of each.

mod exhaustion;
mod files;
mod lies;
mod manifests;

use wasm_encoder::InstructionSink;

use super::acts::{endless_loop, recursion, trap};
use super::guest::{Body, Guest};
pub use files::compiles_for_ever;

/// A hostile file.
pub struct Case {
    /// Its name, which is also that of its plugin and its device.
    pub name: &'static str,
    /// What is in it.
    pub file: Vec<u8>,
    /// What becomes of it.
    pub end: End,
}

/// What becomes of a hostile file.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// It never becomes a driver: with this code, and these words in the reason.
    Refused(&'static str, &'static str),
    /// It breaks down: in this export, with this code, and these words in the reason.
    Breaks(&'static str, &'static str, &'static str),
    /// It is answered as the contract has it, and says so.
    Contained,
}

/// Every one of them.
pub fn all() -> Vec<Case> {
    let mut cases = per_export();
    cases.extend(exhaustion::use_up());
    cases.extend(exhaustion::floods());
    cases.extend(lies::lies());
    cases.extend(lies::answered());
    cases.extend(manifests::manifests());
    cases.extend(files::no_drivers());
    cases
}

/// A loop, a trap and a recursion in each export, and in what runs before all of them.
fn per_export() -> Vec<Case> {
    type Place = fn(&mut Guest) -> &mut Option<Body>;
    let places: [(&str, &str, Place); 5] = [
        ("start", "start", |guest| &mut guest.start),
        ("handle", "handle", |guest| &mut guest.handle),
        ("snapshot", "snapshot", |guest| &mut guest.snapshot),
        ("stop", "stop", |guest| &mut guest.stop),
        ("describe", "describe", |guest| &mut guest.describe),
    ];
    let mut cases = Vec::new();
    for (place, export, body) in places {
        for (name, code, words, mischief) in [
            (
                names("loop", place),
                "deadline",
                "in one call",
                endless_loop as fn(&mut InstructionSink<'_>),
            ),
            (names("trap", place), "trap", "unreachable", trap),
            (names("recursion", place), "trap", "stack", recursion),
        ] {
            let end = match export {
                "describe" => End::Refused("describe", words),
                export => End::Breaks(export, code, words),
            };
            cases.push(made(name, end, |guest| *body(guest) = Some(Box::new(mischief))));
        }
    }
    let words = "in one call";
    cases.push(made(
        "loop-before-all",
        End::Refused("describe", words),
        |guest| {
            guest.instantiate = Some(Box::new(endless_loop));
        },
    ));
    cases
}

fn names(what: &str, place: &str) -> &'static str {
    // A name lives as long as the story.
    Box::leak(format!("{what}-in-{place}").into_boxed_str())
}

fn made(name: &'static str, end: End, make: impl FnOnce(&mut Guest)) -> Case {
    let mut guest = Guest::new(name);
    make(&mut guest);
    Case {
        name,
        file: guest.module(),
        end,
    }
}
