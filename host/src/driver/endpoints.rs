//! Numbers of telemetry series. A client that subscribes by number finds the same series under it after a restart of the daemon: the numbers
//! are kept in the data folder and never given to another series.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// The numbers, by `<device>.<series>`.
pub struct Endpoints {
    file: PathBuf,
    numbers: BTreeMap<String, u32>,
}

impl Endpoints {
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
        Self { file, numbers }
    }

    /// The number of a series, given now if it has none.
    pub fn number(&mut self, device: &str, series: &str) -> u32 {
        let name = format!("{device}.{series}");
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = self.numbers.values().max().map_or(1, |highest| highest + 1);
        self.numbers.insert(name, number);
        if let Err(error) = self.save() {
            tracing::error!(
                channel = "app",
                "{} is not written ({error}); telemetry series may get other numbers at the next start",
                self.file.display()
            );
        }
        number
    }

    /// Writes the whole beside the old and puts it in its place, so that a crash leaves one or the other.
    fn save(&self) -> std::io::Result<()> {
        let aside = self.file.with_extension("new");
        let mut file = fs::File::create(&aside)?;
        file.write_all(&serde_json::to_vec_pretty(&self.numbers)?)?;
        file.sync_all()?;
        fs::rename(&aside, &self.file)
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
        let mut endpoints = Endpoints::open(file.clone());
        assert_eq!(endpoints.number("meter", "watts"), 1);
        assert_eq!(endpoints.number("meter", "volts"), 2);
        let mut again = Endpoints::open(file);
        assert_eq!(again.number("meter", "amps"), 3);
        assert_eq!(again.number("meter", "watts"), 1);
    }

    #[test]
    fn two_series_with_one_number_are_a_damage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoints.json");
        fs::write(&file, r#"{"meter.watts": 7, "meter.volts": 7}"#).unwrap();
        let mut endpoints = Endpoints::open(file.clone());
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
