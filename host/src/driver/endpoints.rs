//! Numbers of telemetry series. A client that subscribes by number finds the same series under it after a restart of the daemon: the numbers
//! are kept in the data folder and never given to another series.
//!
//! Drivers' series and those that come in from outside are numbered together. In the file the latter stand behind `outside:`, so that the two
//! cannot be taken for each other, and so that there is a bound on what others can make the daemon remember.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::durable;

/// Series from outside that ever get a number. One more is refused.
pub const OUTSIDE_SERIES: usize = 256;

const OUTSIDE: &str = "outside:";

/// The numbers. Cheap to clone; every clone gives the same.
#[derive(Debug, Clone)]
pub struct Endpoints(Arc<Mutex<Numbers>>);

#[derive(Debug)]
struct Numbers {
    /// None: they do not outlive the process, as in a test.
    file: Option<PathBuf>,
    /// By `<device>.<series>`, or `outside:<name>`.
    numbers: BTreeMap<String, u32>,
}

/// Why a series from outside gets no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotNumbered {
    /// A driver has a series of this name.
    Owned(String),
    /// There would be more than [`OUTSIDE_SERIES`].
    Full,
    /// It has another number than the one that was given, or none yet.
    Other {
        /// Its name.
        name: String,
        /// Its number.
        number: Option<u32>,
    },
}

/// A series from outside that somebody means.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// The number that it has to have, if one was given.
    pub number: Option<u32>,
}

impl Endpoints {
    /// Numbers that end with the process.
    pub fn in_memory() -> Self {
        Self::with(None, BTreeMap::new())
    }

    /// Reads the numbers. A file that is not there is an empty one; a damaged one is set aside, because numbers can be given anew but a wrong
    /// one would show another series.
    pub fn open(file: PathBuf) -> Self {
        let numbers = match fs::read(&file) {
            Ok(bytes) => read(&bytes).unwrap_or_else(|error| {
                let aside = file.with_extension("damaged");
                tracing::error!(
                    channel = "app",
                    "{} is damaged ({error}) and set aside as {}; telemetry series get new numbers",
                    file.display(),
                    aside.display()
                );
                let _ = fs::rename(&file, &aside);
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Self::with(Some(file), numbers)
    }

    fn with(file: Option<PathBuf>, numbers: BTreeMap<String, u32>) -> Self {
        Self(Arc::new(Mutex::new(Numbers { file, numbers })))
    }

    /// The number of a driver's series, given now if it has none.
    pub fn number(&self, device: &str, series: &str) -> u32 {
        let mut all = self.0.lock();
        let before = all.numbers.len();
        let number = all.number(format!("{device}.{series}"));
        all.keep(before);
        number
    }

    /// The numbers of series that no driver owns, given now to those that have none: to all of them, or, if one is refused, to none.
    pub fn outside(&self, wanted: &[Wanted<'_>]) -> Result<Vec<u32>, NotNumbered> {
        let mut all = self.0.lock();
        let mut new = BTreeSet::new();
        for Wanted { name, number } in wanted {
            if all.numbers.contains_key(*name) {
                return Err(NotNumbered::Owned((*name).to_owned()));
            }
            let present = all.numbers.get(&outside_key(name)).copied();
            if present.is_none() {
                new.insert(*name);
            }
            if number.is_some() && *number != present {
                let (name, number) = ((*name).to_owned(), present);
                return Err(NotNumbered::Other { name, number });
            }
        }
        let outside = all.numbers.keys().filter(|key| key.starts_with(OUTSIDE));
        if !new.is_empty() && outside.count() + new.len() > OUTSIDE_SERIES {
            return Err(NotNumbered::Full);
        }
        let before = all.numbers.len();
        let numbers = wanted
            .iter()
            .map(|one| all.number(outside_key(one.name)))
            .collect();
        all.keep(before);
        Ok(numbers)
    }
}

fn outside_key(name: &str) -> String {
    format!("{OUTSIDE}{name}")
}

impl Numbers {
    /// The number of a series, given now if it has none. The caller keeps what is new.
    fn number(&mut self, name: String) -> u32 {
        let next = self.numbers.values().max().map_or(1, |highest| highest + 1);
        *self.numbers.entry(name).or_insert(next)
    }

    /// Writes the file if there are more numbers than there were.
    fn keep(&self, before: usize) {
        if self.numbers.len() == before {
            return;
        }
        if let Some(file) = &self.file
            && let Err(error) = self.save(file)
        {
            tracing::error!(
                channel = "app",
                "{} is not written ({error}); telemetry series may get other numbers at the next start",
                file.display()
            );
        }
    }

    fn save(&self, path: &std::path::Path) -> std::io::Result<()> {
        durable::replace(path, &serde_json::to_vec_pretty(&self.numbers)?)
    }
}

/// The numbers in a file, each given once.
fn read(bytes: &[u8]) -> Result<BTreeMap<String, u32>, String> {
    let numbers: BTreeMap<String, u32> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut seen = BTreeMap::new();
    for (name, number) in &numbers {
        if let Some(other) = seen.insert(number, name) {
            return Err(format!("{other} and {name} have the same number"));
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(endpoints: &Endpoints, name: &str) -> Result<u32, NotNumbered> {
        let numbers = endpoints.outside(&[Wanted { name, number: None }])?;
        Ok(numbers[0])
    }

    #[test]
    fn of_several_series_all_are_numbered_or_none() {
        let endpoints = Endpoints::in_memory();
        let watts = endpoints.number("meter", "watts");
        let wanted = |name, number| Wanted { name, number };
        let room = wanted("room.a", None);
        assert_eq!(
            endpoints.outside(&[room, wanted("meter.watts", None)]),
            Err(NotNumbered::Owned("meter.watts".to_owned()))
        );
        let other = endpoints.outside(&[room, wanted("room.b", Some(9))]);
        let (name, number) = ("room.b".to_owned(), None);
        assert_eq!(other, Err(NotNumbered::Other { name, number }));
        assert_eq!(endpoints.outside(&[room, room]), Ok(vec![watts + 1, watts + 1]));
        assert_eq!(
            endpoints.outside(&[wanted("room.a", Some(watts + 1))]),
            Ok(vec![watts + 1])
        );
        assert_eq!(endpoints.number("meter", "volts"), watts + 2);
    }

    #[test]
    fn numbers_outlive_the_daemon_and_are_never_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoints.json");
        let endpoints = Endpoints::open(file.clone());
        assert_eq!(endpoints.number("meter", "watts"), 1);
        assert_eq!(endpoints.number("meter", "volts"), 2);
        let again = Endpoints::open(file);
        assert_eq!(again.number("meter", "amps"), 3);
        assert_eq!(again.number("meter", "watts"), 1);
    }

    #[test]
    fn series_from_outside_are_numbered_with_the_drivers_and_bounded_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoints.json");
        let endpoints = Endpoints::open(file.clone());
        assert_eq!(endpoints.number("meter", "watts"), 1);
        assert_eq!(outside(&endpoints, "room.temperature"), Ok(2));
        assert_eq!(
            outside(&endpoints, "meter.watts"),
            Err(NotNumbered::Owned("meter.watts".to_owned()))
        );
        let again = Endpoints::open(file);
        assert_eq!(outside(&again, "room.temperature"), Ok(2));
        for number in 1..OUTSIDE_SERIES {
            outside(&again, &format!("room.{number}")).unwrap();
        }
        assert_eq!(outside(&again, "room.more"), Err(NotNumbered::Full));
        assert_eq!(outside(&again, "room.temperature"), Ok(2));
        // A driver that comes later has its own number, and the name is its own from then on.
        let driver = again.number("room", "temperature");
        assert_ne!(driver, 2);
        assert_eq!(
            outside(&again, "room.temperature"),
            Err(NotNumbered::Owned("room.temperature".to_owned()))
        );
    }

    #[test]
    fn two_series_with_one_number_are_a_damage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoints.json");
        fs::write(&file, r#"{"meter.watts": 7, "meter.volts": 7}"#).unwrap();
        let endpoints = Endpoints::open(file.clone());
        assert_ne!(
            endpoints.number("meter", "watts"),
            endpoints.number("meter", "volts")
        );
        assert!(file.with_extension("damaged").exists());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoints.json");
        fs::write(&file, "{").unwrap();
        assert_eq!(Endpoints::open(file.clone()).number("meter", "watts"), 1);
        assert!(file.with_extension("damaged").exists());
        assert_eq!(Endpoints::open(file).number("meter", "watts"), 1);
    }
}
