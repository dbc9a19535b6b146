//! What a version wants, what a device was consented to, and what the one is beyond the other.
//!
//! Consent is to wants and not to a version: whoever has agreed that a driver may read a slice has agreed to it for the versions after this one, too.
//! It only lets a version run. What that may reach is what `plugins.toml` gives it, as ever.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a version wants, by its manifest. As a set it is ordered: there is a least one, which wants nothing, and any two have a join.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Wants {
    /// Names of the ports.
    pub ports: BTreeSet<String>,
    /// Foreign slices that it reads.
    pub slices: BTreeSet<String>,
    /// Commands that can harm what the bench runs.
    pub dangerous_commands: BTreeSet<String>,
    /// Memory; the highest number for as much as there is.
    pub memory_bytes: u64,
    /// Size of its slice; the highest number for as much as there is.
    pub slice_bytes: u64,
}

/// What `plugins.toml` says of a device. What it names there is consented to; what it does not, has limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Ports that it gives.
    pub ports: BTreeSet<String>,
    /// Foreign slices that it lets be read.
    pub slices: BTreeSet<String>,
    /// Dangerous commands that it lets be used.
    pub dangerous_commands: BTreeSet<String>,
    /// Memory that a driver gets at most, whatever it wants.
    pub memory_bytes: u64,
    /// Size that its slice has at most, whatever it wants.
    pub slice_bytes: u64,
}

/// One thing that a version wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// A port.
    Port(String),
    /// To read a foreign slice.
    Slice(String),
    /// A command that can harm what the bench runs.
    DangerousCommand(String),
    /// So much memory.
    Memory(u64),
    /// A slice of this size.
    SliceSize(u64),
}

impl Default for Granted {
    fn default() -> Self {
        Self {
            ports: BTreeSet::new(),
            slices: BTreeSet::new(),
            dangerous_commands: BTreeSet::new(),
            memory_bytes: u64::MAX,
            slice_bytes: u64::MAX,
        }
    }
}

impl Wants {
    /// What it wants and was neither consented to nor is named in `plugins.toml`. Of a limit that is beyond what there is, only what there is counts.
    pub fn beyond(&self, consented: &Self, granted: &Granted) -> Vec<Want> {
        let named = [
            (
                &self.ports,
                &consented.ports,
                &granted.ports,
                Want::Port as fn(String) -> Want,
            ),
            (&self.slices, &consented.slices, &granted.slices, Want::Slice),
            (
                &self.dangerous_commands,
                &consented.dangerous_commands,
                &granted.dangerous_commands,
                Want::DangerousCommand,
            ),
        ];
        let limits = [
            (
                self.memory_bytes,
                consented.memory_bytes,
                granted.memory_bytes,
                Want::Memory as fn(u64) -> Want,
            ),
            (
                self.slice_bytes,
                consented.slice_bytes,
                granted.slice_bytes,
                Want::SliceSize,
            ),
        ];
        let names = named.into_iter().flat_map(|(wanted, consented, granted, want)| {
            wanted
                .iter()
                .filter(|name| !consented.contains(*name) && !granted.contains(*name))
                .map(move |name| want(name.clone()))
        });
        let sizes = limits.into_iter().filter_map(|(wanted, consented, most, want)| {
            let wanted = wanted.min(most);
            (wanted > consented).then(|| want(wanted))
        });
        names.chain(sizes).collect()
    }

    /// Adds what another wants. Answers whether there was something to add.
    pub fn take_in(&mut self, other: &Self) -> bool {
        let before = self.clone();
        self.ports.extend(other.ports.iter().cloned());
        self.slices.extend(other.slices.iter().cloned());
        self.dangerous_commands
            .extend(other.dangerous_commands.iter().cloned());
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.slice_bytes = self.slice_bytes.max(other.slice_bytes);
        *self != before
    }
}

impl Want {
    /// What kind it is, on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Port(_) => "port",
            Self::Slice(_) => "slice",
            Self::DangerousCommand(_) => "dangerous-command",
            Self::Memory(_) => "memory-bytes",
            Self::SliceSize(_) => "slice-bytes",
        }
    }

    /// Its name, or its number.
    pub fn value(&self) -> String {
        match self {
            Self::Port(name) | Self::Slice(name) | Self::DangerousCommand(name) => name.clone(),
            Self::Memory(bytes) | Self::SliceSize(bytes) => bytes.to_string(),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(name) => write!(f, "the port {name:?}"),
            Self::Slice(name) => write!(f, "to read the slice {name:?}"),
            Self::DangerousCommand(name) => write!(f, "the dangerous command {name:?}"),
            Self::Memory(u64::MAX) => f.write_str("as much memory as there is"),
            Self::SliceSize(u64::MAX) => f.write_str("a slice of any size"),
            Self::Memory(bytes) => write!(f, "{} KiB of memory", bytes.div_ceil(1024)),
            Self::SliceSize(bytes) => write!(f, "a slice of {} KiB", bytes.div_ceil(1024)),
        }
    }
}

/// Several of them in one sentence.
pub fn in_words(wants: &[Want]) -> String {
    let words: Vec<String> = wants.iter().map(Want::to_string).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = BTreeSet<String>> {
        prop::collection::btree_set("[a-d]", 0..4)
    }

    fn wants() -> impl Strategy<Value = Wants> {
        (
            names(),
            names(),
            names(),
            0u64..5,
            prop_oneof![0u64..5, Just(u64::MAX)],
        )
            .prop_map(
                |(ports, slices, dangerous_commands, memory_bytes, slice_bytes)| Wants {
                    ports,
                    slices,
                    dangerous_commands,
                    memory_bytes,
                    slice_bytes,
                },
            )
    }

    fn granted() -> impl Strategy<Value = Granted> {
        (wants(), 1u64..6, 1u64..6).prop_map(|(named, memory_bytes, slice_bytes)| Granted {
            ports: named.ports,
            slices: named.slices,
            dangerous_commands: named.dangerous_commands,
            memory_bytes,
            slice_bytes,
        })
    }

    fn join(a: &Wants, b: &Wants) -> Wants {
        let mut joined = a.clone();
        joined.take_in(b);
        joined
    }

    proptest! {
        #[test]
        fn wanting_less_or_the_same_never_waits(a in wants(), b in wants(), granted in granted()) {
            let more = join(&a, &b);
            prop_assert_eq!(a.beyond(&a, &granted), []);
            prop_assert_eq!(a.beyond(&more, &granted), []);
            // What waits for less waits for more.
            let waits = |wants: &Wants, consented: &Wants| !wants.beyond(consented, &granted).is_empty();
            let consented = &b;
            prop_assert!(!waits(&a, consented) || waits(&join(&a, &more), consented));
        }

        #[test]
        fn consent_to_more_leaves_no_more_to_wait_for(a in wants(), b in wants(), c in wants(), granted in granted()) {
            let less = a.beyond(&b, &granted);
            let more = a.beyond(&join(&b, &c), &granted);
            prop_assert!(more.iter().all(|want| less.contains(want)), "{more:?} {less:?}");
            // Who has consented to what two want has consented to what they want together.
            let all = join(&b, &c);
            prop_assert!(!(b.beyond(&a, &granted).is_empty() && c.beyond(&a, &granted).is_empty()) || all.beyond(&a, &granted).is_empty());
        }

        #[test]
        fn what_is_asked_for_is_all_that_is_missing(a in wants(), b in wants(), granted in granted()) {
            let mut consented = b.clone();
            for want in a.beyond(&b, &granted) {
                match want {
                    Want::Port(name) => drop(consented.ports.insert(name)),
                    Want::Slice(name) => drop(consented.slices.insert(name)),
                    Want::DangerousCommand(name) => drop(consented.dangerous_commands.insert(name)),
                    Want::Memory(bytes) => consented.memory_bytes = bytes,
                    Want::SliceSize(bytes) => consented.slice_bytes = bytes,
                }
            }
            prop_assert_eq!(a.beyond(&consented, &granted), []);
            prop_assert!(!consented.clone().take_in(&b), "it only ever grows");
        }

        #[test]
        fn what_plugins_toml_names_waits_for_nobody(a in wants(), b in wants()) {
            let granted = Granted {
                ports: a.ports.clone(),
                slices: a.slices.clone(),
                dangerous_commands: a.dangerous_commands.clone(),
                memory_bytes: b.memory_bytes,
                slice_bytes: b.slice_bytes,
            };
            prop_assert_eq!(a.beyond(&b, &granted), []);
        }
    }

    #[test]
    fn a_want_is_told_in_words() {
        let wants = [
            Want::Port("aux".to_owned()),
            Want::Slice("meter".to_owned()),
            Want::DangerousCommand("reset".to_owned()),
            Want::Memory(1 << 20),
            Want::SliceSize(u64::MAX),
        ];
        assert_eq!(
            in_words(&wants),
            "the port \"aux\", to read the slice \"meter\", the dangerous command \"reset\", 1024 KiB of memory, a slice of any size"
        );
    }
}
