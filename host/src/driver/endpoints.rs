//! Numbers of telemetry series. A client that subscribes by number finds the same series under it after a restart of the daemon: the numbers
//! are kept in the data folder and never given to another series.
//!
//! Drivers' series and those that come in from outside are numbered together. In the file the latter stand behind `outside:`, so that the two
//! cannot be taken for each other, and so that there is a bound on what others can make the daemon remember.

use std::collections::BTreeMap;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNumbered {
    /// A driver has a series of this name.
    Owned,
    /// There are [`OUTSIDE_SERIES`] already.
    Full,
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
        self.0.lock().number(format!("{device}.{series}"))
    }

    /// The number of a series that no driver owns, given now if it has none.
    pub fn outside(&self, name: &str) -> Result<u32, NotNumbered> {
        let mut all = self.0.lock();
        if all.numbers.contains_key(name) {
            return Err(NotNumbered::Owned);
        }
        let key = format!("{OUTSIDE}{name}");
        let is_new = !all.numbers.contains_key(&key);
        let outside = all.numbers.keys().filter(|key| key.starts_with(OUTSIDE));
        if is_new && outside.count() >= OUTSIDE_SERIES {
            return Err(NotNumbered::Full);
        }
        Ok(all.number(key))
    }
}

impl Numbers {
    fn number(&mut self, name: String) -> u32 {
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.numbers.values().max().map_or(1, |highest| highest + 1);
        self.numbers.insert(name, number);
        if let Some(file) = &self.file
            && let Err(error) = self.save(file)
        {
            tracing::error!(
                channel = "app",
                "{} is not written ({error}); telemetry series may get other numbers at the next start",
                file.display()
            );
        }
        number
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
        assert_eq!(endpoints.outside("room.temperature"), Ok(2));
        assert_eq!(endpoints.outside("meter.watts"), Err(NotNumbered::Owned));
        let again = Endpoints::open(file);
        assert_eq!(again.outside("room.temperature"), Ok(2));
        for number in 1..OUTSIDE_SERIES {
            again.outside(&format!("room.{number}")).unwrap();
        }
        assert_eq!(again.outside("room.more"), Err(NotNumbered::Full));
        assert_eq!(again.outside("room.temperature"), Ok(2));
        // A driver that comes later has its own number, and the name is its own from then on.
        let driver = again.number("room", "temperature");
        assert_ne!(driver, 2);
        assert_eq!(again.outside("room.temperature"), Err(NotNumbered::Owned));
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
