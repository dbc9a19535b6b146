//! The journal of holds: what undoes them is kept in the data folder for as long as somebody has to write it.
//!
//! A hold gets into the file before it begins, and leaves it when the bytes that undo it have left on their line. So after a crash of the daemon, or
//! where a line was away until the end, the next start writes them, and nothing else. A crash in between makes them go out twice, which a device that
//! was released already does not mind.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autobench_core::capture::WrittenLine;
use autobench_core::driver::{
    CallTime, InputSignals, Lease, LeaseId, LineSettings, LogLevel, PortIdentity, PortIndex,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::host_state::KeepsHolds;
use crate::clock::now_iso;
use crate::durable;
use crate::logs::{LogHandle, LogRecord};
use crate::serial::PortEvents;

/// Numbers from here on are of holds that an earlier run of the daemon has left; those of this run begin at 1.
const EARLIER: u64 = 1 << 63;

/// The holds of one device. Cheap to clone; every clone is the same journal.
#[derive(Debug, Clone)]
pub struct LeaseJournal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    /// Name of each port of the driver, and the line behind it.
    ports: Vec<JournalPort>,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    holds: BTreeMap<u64, Hold>,
    /// What the call of this time wants to hold.
    call_ns: u64,
    prepared: Vec<WrittenHold>,
    /// What the file says.
    on_disk: Vec<WrittenHold>,
}

/// A port of a driver, as the journal knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPort {
    /// Its name in `plugins.toml`.
    pub name: Arc<str>,
    /// Where its line is found: bytes for another line are not written to this one.
    pub line: String,
    /// How the line is set, where that is known.
    pub settings: Option<LineSettings>,
}

#[derive(Debug, Clone)]
struct Hold {
    written: WrittenHold,
    /// None: of an earlier run, and for no line that the device has now.
    lease: Option<Lease>,
}

/// A hold in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenHold {
    lease: u32,
    port: String,
    line: String,
    /// How the line was set, for a start at which no driver says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<WrittenLine>,
    /// The bytes that undo it.
    release: Vec<u8>,
    since: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    holds: Vec<WrittenHold>,
}

/// What an earlier run has left.
#[derive(Debug, Default)]
pub struct Earlier {
    /// To be written as soon as their lines are there, which were set so.
    pub to_undo: Vec<(Lease, Option<LineSettings>)>,
    /// In words, what is for no line that the device has now, and what is wrong with the file.
    pub problems: Vec<String>,
}

impl LeaseJournal {
    /// Reads what an earlier run has left. A damaged file is set aside: nobody knows what is to be written.
    pub fn open(folder: &Path, device: &str, ports: Vec<JournalPort>) -> (Self, Earlier) {
        let file = file_of(folder, device);
        let mut earlier = Earlier::default();
        let mut holds = BTreeMap::new();
        match read(&file) {
            Ok(left) => {
                for (number, written) in (EARLIER..).zip(left) {
                    let is_its =
                        |port: &JournalPort| *port.name == *written.port && port.line == written.line;
                    let port = ports.iter().position(is_its);
                    let lease = port.map(|index| lease(number, &written, PortIndex(index)));
                    match &lease {
                        Some(lease) => {
                            let settings = written.settings.as_ref().and_then(|line| line.settings().ok());
                            earlier.to_undo.push((lease.clone(), settings));
                        }
                        None => earlier.problems.push(no_such_line(&written, &file)),
                    }
                    holds.insert(number, Hold { written, lease });
                }
            }
            Err(error) => earlier.problems.push(set_aside(&file, &error)),
        }
        let on_disk = holds.values().map(|hold| hold.written.clone()).collect();
        let inner = Inner {
            file,
            ports,
            kept: Mutex::new(Kept {
                holds,
                call_ns: 0,
                prepared: Vec::new(),
                on_disk,
            }),
        };
        (Self(Arc::new(inner)), earlier)
    }

    /// Leases were taken; each with the number of the one that it takes the place of. Returns when the disk has them.
    pub fn opened(&self, opened: &[(Lease, Option<u64>)]) -> io::Result<()> {
        let mut kept = self.0.kept.lock();
        for (lease, instead_of) in opened {
            let mut written = self.0.written(lease.id, lease.port, &lease.release);
            if let Some(former) = instead_of.and_then(|number| kept.holds.remove(&number)) {
                // It goes on.
                written.since = former.written.since;
            }
            let hold = Hold {
                written,
                lease: Some(lease.clone()),
            };
            kept.holds.insert(lease.number, hold);
        }
        kept.prepared.clear();
        // One that was prepared, or is taken once more with the same bytes, is there already; what is there beside it goes with the next change.
        let is_there = |hold: &Hold| kept.on_disk.iter().any(|other| other.undoes_as(&hold.written));
        if kept.holds.values().all(is_there) {
            return Ok(());
        }
        self.0.save(&mut kept)
    }

    /// The bytes that undo a hold have left. Answers whether it was of an earlier run.
    pub fn undone(&self, number: u64) -> io::Result<bool> {
        let mut kept = self.0.kept.lock();
        kept.holds.remove(&number);
        self.0.save(&mut kept)?;
        Ok(number >= EARLIER)
    }

    /// All that have to be undone by somebody.
    pub fn standing(&self) -> Vec<Lease> {
        let kept = self.0.kept.lock();
        kept.holds
            .values()
            .filter_map(|hold| hold.lease.clone())
            .collect()
    }
}

impl KeepsHolds for LeaseJournal {
    /// If the call comes to nothing, its hold leaves the file with the next change.
    fn prepare(&self, call: CallTime, lease: LeaseId, port: PortIndex, release: &[u8]) -> io::Result<()> {
        let mut kept = self.0.kept.lock();
        if kept.call_ns != call.monotonic_ns {
            kept.call_ns = call.monotonic_ns;
            kept.prepared.clear();
        }
        let written = self.0.written(lease, port, release);
        if kept.on_disk.iter().any(|other| other.undoes_as(&written)) {
            return Ok(());
        }
        kept.prepared.push(written);
        let saved = self.0.save(&mut kept);
        if saved.is_err() {
            kept.prepared.pop();
        }
        saved
    }
}

impl Inner {
    fn written(&self, lease: LeaseId, port: PortIndex, release: &[u8]) -> WrittenHold {
        let port = self.ports.get(port.0);
        WrittenHold {
            lease: lease.0,
            port: port.map_or_else(String::new, |port| port.name.to_string()),
            line: port.map_or_else(String::new, |port| port.line.clone()),
            settings: port.and_then(|port| port.settings).map(WrittenLine::of),
            release: release.to_vec(),
            since: now_iso(),
        }
    }

    /// Writes what stands and what is prepared. Returns when the disk has it.
    fn save(&self, kept: &mut Kept) -> io::Result<()> {
        let standing = kept.holds.values().map(|hold| &hold.written);
        let holds: Vec<_> = standing.chain(&kept.prepared).cloned().collect();
        if holds.is_empty() {
            match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else {
            if let Some(folder) = self.file.parent() {
                fs::create_dir_all(folder)?;
            }
            durable::replace(
                &self.file,
                &serde_json::to_vec_pretty(&File { holds: holds.clone() })?,
            )?;
        }
        kept.on_disk = holds;
        Ok(())
    }
}

impl WrittenHold {
    /// Whether the same bytes go to the same line for it.
    fn undoes_as(&self, other: &Self) -> bool {
        (self.lease, &self.port, &self.line, &self.release)
            == (other.lease, &other.port, &other.line, &other.release)
    }
}

/// Hears of holds that are undone, and says so of those of an earlier run.
#[derive(Debug, Clone)]
pub struct UndoneHolds {
    /// Their journal.
    pub journal: LeaseJournal,
    /// Their device.
    pub device: Arc<str>,
    /// Where it is said.
    pub logs: LogHandle,
}

impl UndoneHolds {
    /// What undoes a hold has left on this port.
    pub fn undone(&self, port: &str, lease: &Lease) {
        let hold = lease.id.0;
        let (level, message) = match self.journal.undone(lease.number) {
            Ok(false) => return,
            Ok(true) => (
                LogLevel::Warn,
                format!(
                    "port {port}: what undoes the hold {hold} of an earlier run is written: {} bytes",
                    lease.release.len()
                ),
            ),
            Err(error) => (
                LogLevel::Error,
                format!(
                    "port {port}: that the hold {hold} is undone cannot be written down ({error}): the next start may undo it once more"
                ),
            ),
        };
        self.logs
            .append(LogRecord::new("device", level, message).of_device(&*self.device));
    }
}

/// A port without a driver, open for what undoes holds of an earlier run. What comes in is for nobody.
pub struct UndoFeed {
    /// Its name.
    pub name: Arc<str>,
    /// Who hears of it.
    pub holds: UndoneHolds,
}

impl PortEvents for UndoFeed {
    fn attached(&mut self, _identity: Arc<PortIdentity>) {}

    fn bytes(&mut self, _data: &[u8]) {}

    fn lost(&mut self, _reason: &str) {}

    fn drained(&mut self) {}

    fn undone(&mut self, lease: &Lease) {
        self.holds.undone(&self.name, lease);
    }

    fn line_error(&mut self, _reason: &str) {}

    fn lines_changed(&mut self, _signals: InputSignals) {}
}

/// What earlier runs have left for devices that are not configured any more, in words.
pub fn of_strangers(folder: &Path, is_configured: impl Fn(&str) -> bool) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut told = Vec::new();
    for path in files.map(|entry| entry.path()) {
        let device = path.file_stem().and_then(|stem| stem.to_str());
        let is_journal = path.extension().is_some_and(|extension| extension == "json");
        if let (true, Some(device)) = (is_journal, device)
            && !is_configured(device)
        {
            told.push(format!(
                "{} names holds of the device {device:?}, which is not configured: what undoes them was never written; \
                 put the device back into plugins.toml, or see to it by hand and remove the file",
                path.display()
            ));
        }
    }
    told
}

/// How many holds of a device nobody has undone.
pub fn left_of(folder: &Path, device: &str) -> usize {
    read(&file_of(folder, device)).map_or(0, |left| left.len())
}

fn file_of(folder: &Path, device: &str) -> PathBuf {
    folder.join(format!("{device}.json"))
}

fn read(file: &Path) -> io::Result<Vec<WrittenHold>> {
    match fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice::<File>(&bytes)?.holds),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn lease(number: u64, written: &WrittenHold, port: PortIndex) -> Lease {
    Lease {
        number,
        id: LeaseId(written.lease),
        port,
        release: written.release.as_slice().into(),
        ends_ns: 0,
        holder: None,
    }
}

fn no_such_line(written: &WrittenHold, file: &Path) -> String {
    format!(
        "a hold of an earlier run, begun {} on port {} ({}), is not undone: the device has no such line now; \
         give it that port back, or see to it by hand and remove {}",
        written.since,
        written.port,
        written.line,
        file.display()
    )
}

fn set_aside(file: &Path, error: &io::Error) -> String {
    let aside = file.with_extension("damaged");
    let kept = match fs::rename(file, &aside) {
        Ok(()) => format!("set aside as {}", aside.display()),
        Err(error) => format!("left where it is ({error})"),
    };
    format!(
        "{} cannot be read ({error}) and is {kept}: if it named a hold, nobody undoes it",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(number: u64, id: u32, release: &[u8]) -> Lease {
        Lease {
            number,
            id: LeaseId(id),
            port: PortIndex(0),
            release: release.into(),
            ends_ns: 1,
            holder: None,
        }
    }

    fn prepare(journal: &LeaseJournal, call: u64, id: u32, release: &[u8]) -> io::Result<()> {
        let call = CallTime {
            monotonic_ns: call,
            wall_ms: 0.0,
        };
        journal.prepare(call, LeaseId(id), PortIndex(0), release)
    }

    fn ports(line: &str) -> Vec<JournalPort> {
        vec![JournalPort {
            name: "main".into(),
            line: line.to_owned(),
            settings: None,
        }]
    }

    fn left(folder: &Path, line: &str) -> (LeaseJournal, Vec<Vec<u8>>, usize) {
        let (journal, earlier) = LeaseJournal::open(folder, "panel", ports(line));
        let to_undo = earlier.to_undo.iter().map(|(lease, _)| lease.release.to_vec());
        (journal, to_undo.collect(), earlier.problems.len())
    }

    #[test]
    fn what_was_not_undone_is_undone_by_the_next_run_on_the_same_line() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, before, _) = left(folder.path(), "/dev/a");
        assert!(before.is_empty());
        journal
            .opened(&[(hold(1, 7, b"up"), None), (hold(2, 8, b"off"), None)])
            .unwrap();
        journal.opened(&[(hold(3, 7, b"up!"), Some(1))]).unwrap();
        assert!(!journal.undone(2).unwrap(), "it is of this run");

        let (elsewhere, to_undo, problems) = left(folder.path(), "/dev/b");
        assert_eq!((to_undo.len(), problems), (0, 1), "it is another line");
        assert!(elsewhere.standing().is_empty());
        elsewhere.opened(&[(hold(1, 9, b"x"), None)]).unwrap();
        elsewhere.undone(1).unwrap();

        let (again, to_undo, problems) = left(folder.path(), "/dev/a");
        assert_eq!((to_undo, problems), (vec![b"up!".to_vec()], 0));
        let number = again.standing()[0].number;
        assert!(again.undone(number).unwrap(), "it is of an earlier run");
        assert_eq!(left(folder.path(), "/dev/a").1.len(), 0);
        assert!(!file_of(folder.path(), "panel").exists());
    }

    #[test]
    fn a_hold_that_cannot_be_written_down_is_refused_and_may_be_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let leases = folder.path().join("leases");
        let (journal, _, _) = left(&leases, "/dev/a");
        // Where a folder has to be is a file.
        fs::write(&leases, "").unwrap();
        assert!(prepare(&journal, 1, 7, b"up").is_err());
        assert!(journal.opened(&[(hold(1, 7, b"up"), None)]).is_err());
        fs::remove_file(&leases).unwrap();
        journal.opened(&[(hold(2, 7, b"up"), Some(1))]).unwrap();
        assert_eq!(left(&leases, "/dev/a").1, [b"up".to_vec()]);
    }

    #[test]
    fn what_a_call_that_failed_has_prepared_goes_with_the_next_change() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _, _) = left(folder.path(), "/dev/a");
        prepare(&journal, 1, 7, b"up").unwrap();
        assert_eq!(left(folder.path(), "/dev/a").1, [b"up".to_vec()]);
        prepare(&journal, 2, 8, b"off").unwrap();
        assert_eq!(left(folder.path(), "/dev/a").1, [b"off".to_vec()]);
        journal.opened(&[(hold(1, 8, b"off"), None)]).unwrap();
        journal.undone(1).unwrap();
        assert!(left(folder.path(), "/dev/a").1.is_empty());
    }

    #[test]
    fn a_damaged_journal_is_set_aside_and_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(file_of(folder.path(), "panel"), "{").unwrap();
        assert_eq!(left(folder.path(), "/dev/a").2, 1);
        assert!(folder.path().join("panel.damaged").exists());
        assert_eq!(left(folder.path(), "/dev/a").2, 0);
    }

    #[test]
    fn what_was_left_for_a_device_that_is_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _, _) = left(folder.path(), "/dev/a");
        journal.opened(&[(hold(1, 7, b"up"), None)]).unwrap();
        assert_eq!(of_strangers(folder.path(), |device| device == "panel").len(), 0);
        let told = of_strangers(folder.path(), |_| false);
        assert!(told[0].contains("panel"), "{told:?}");
    }
}
