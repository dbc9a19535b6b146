//! The log appended to a file: one entry per line, as JSON, with a bounded number of older files beside it.
//!
//! A disk may be slow or full; a port must not wait for it. Entries wait in a queue of [`QUEUE_BYTES`], the ring's own bytes and no copy. When it
//! is full, or the file cannot be written, entries are left out of the file and counted; the log says so once when it begins and the file says
//! how many are missing where they would stand. After a failure the file is tried again at most once a second.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::driver::LogLevel;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::{Inner, LogHandle, LogRecord};
use crate::config::LogFileConfig;
use crate::metrics::{Counter, Page};

/// What may wait for the disk: two seconds of a log that pours.
const QUEUE_BYTES: usize = 8 << 20;
/// What an entry costs in the queue beside its bytes.
const ENTRY_OVERHEAD_BYTES: usize = 64;
/// How long a file that could not be written is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// The queue and the thread behind it. Dropping it writes what still waits.
#[derive(Debug)]
pub(super) struct LogFile {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write, or nothing more will come.
    news: Condvar,
    /// Everything that was queued is written, or was left out.
    idle: Condvar,
    written_entries: Counter,
    written_bytes: Counter,
    left_out: Counter,
    rotations: Counter,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Bytes>,
    bytes: usize,
    /// Left out since the writer last looked.
    left_out: u64,
    is_writing: bool,
    is_closed: bool,
}

impl LogFile {
    /// Opens the file and starts the thread. That the file can be opened at all is for whoever starts the daemon to know at once.
    pub(super) fn start(config: LogFileConfig, log: Weak<Inner>) -> io::Result<Self> {
        let file = Rotating::open(config)?;
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: Arc::clone(&shared),
            file,
            log,
            missing: 0,
            failed_at: None,
        };
        let thread = std::thread::Builder::new()
            .name("log-file".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues an entry; never waits.
    pub(super) fn push(&self, entry: Bytes) {
        let mut queue = self.shared.queue.lock();
        let bytes = entry.len() + ENTRY_OVERHEAD_BYTES;
        if queue.bytes + bytes > QUEUE_BYTES {
            queue.left_out += 1;
            self.shared.left_out.inc();
            return;
        }
        queue.bytes += bytes;
        queue.entries.push_back(entry);
        if !queue.is_writing {
            // The writer looks at the queue again before it waits.
            self.shared.news.notify_one();
        }
    }

    /// Waits until what was queued so far is written, at most so long.
    pub(super) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut queue = self.shared.queue.lock();
        while !queue.entries.is_empty() || queue.is_writing {
            if self.shared.idle.wait_until(&mut queue, until).timed_out() {
                return;
            }
        }
    }

    pub(super) fn page(&self, page: &mut Page) {
        let shared = &self.shared;
        page.counter(
            "autobench_log_file_entries_total",
            "Log entries that were written to the log file",
            shared.written_entries.get(),
        );
        page.counter(
            "autobench_log_file_bytes_total",
            "Bytes that were written to the log file",
            shared.written_bytes.get(),
        );
        page.counter(
            "autobench_log_file_left_out_total",
            "Log entries that the log file lacks, because the disk was too slow or failed",
            shared.left_out.get(),
        );
        page.counter(
            "autobench_log_file_rotations_total",
            "Times that a new log file was begun because the last was full",
            shared.rotations.get(),
        );
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        self.shared.queue.lock().is_closed = true;
        self.shared.news.notify_one();
        // The writer itself may hold the log for a moment, and be the last to let go of it.
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    file: Rotating,
    log: Weak<Inner>,
    /// Entries that the file lacks and does not know of yet.
    missing: u64,
    failed_at: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        let mut entries = VecDeque::new();
        while self.take(&mut entries) {
            let count = entries.len() as u64;
            let was_whole = self.missing == 0 && self.failed_at.is_none();
            match self.write(&entries) {
                Ok(bytes) => {
                    self.shared.written_entries.add(count);
                    self.shared.written_bytes.add(bytes);
                    self.missing = 0;
                    self.failed_at = None;
                }
                Err(error) => {
                    self.shared.left_out.add(count);
                    self.missing += count;
                    if was_whole {
                        self.tell(&format!("cannot be written: {error}"));
                    }
                    self.failed_at.get_or_insert_with(Instant::now);
                }
            }
            entries.clear();
        }
    }

    /// Waits for entries and takes all there are. False when there is nothing more to come.
    fn take(&mut self, entries: &mut VecDeque<Bytes>) -> bool {
        let mut queue = self.shared.queue.lock();
        queue.is_writing = false;
        if queue.entries.is_empty() {
            self.shared.idle.notify_all();
        }
        while queue.entries.is_empty() {
            if queue.is_closed {
                return false;
            }
            self.shared.news.wait(&mut queue);
        }
        queue.is_writing = true;
        std::mem::swap(&mut queue.entries, entries);
        queue.bytes = 0;
        let left_out = std::mem::take(&mut queue.left_out);
        drop(queue);
        if left_out > 0 {
            if self.missing == 0 {
                self.tell("takes entries too slowly");
            }
            self.missing += left_out;
        }
        true
    }

    fn write(&mut self, entries: &VecDeque<Bytes>) -> io::Result<u64> {
        if let Some(failed_at) = self.failed_at {
            if failed_at.elapsed() < RETRY {
                return Err(io::Error::other("it could not be written a moment ago"));
            }
            self.failed_at = Some(Instant::now());
            self.file.reopen()?;
        }
        let mut bytes = 0;
        if self.missing > 0 {
            let line = format!("{{\"leftOut\":{}}}\n", self.missing);
            bytes += self.file.line(line.as_bytes(), &self.shared.rotations)?;
        }
        for entry in entries {
            bytes += self.file.line(&harmless(entry), &self.shared.rotations)?;
        }
        self.file.flush()?;
        Ok(bytes)
    }

    /// In the log itself, where the ring has it for every client even if the file never will.
    fn tell(&self, what: &str) {
        if let Some(inner) = self.log.upgrade() {
            let message = format!(
                "the log file {} {what}; it lacks entries from here on, and says how many when it goes on",
                self.file.config.path.display()
            );
            LogHandle { inner }.append(LogRecord::new("app", LogLevel::Warn, message));
        }
    }
}

/// A file that is set aside when it is full.
#[derive(Debug)]
struct Rotating {
    config: LogFileConfig,
    out: BufWriter<File>,
    size: u64,
}

impl Rotating {
    fn open(config: LogFileConfig) -> io::Result<Self> {
        if let Some(folder) = config.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append_to(&config.path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            out: BufWriter::with_capacity(64 << 10, file),
            config,
            size,
        })
    }

    /// After a failure: whatever the buffer still holds is counted as left out already.
    fn reopen(&mut self) -> io::Result<()> {
        let file = append_to(&self.config.path)?;
        self.size = file.metadata()?.len();
        let failed = std::mem::replace(&mut self.out, BufWriter::with_capacity(64 << 10, file));
        // Without a last try to write.
        let _ = failed.into_parts();
        // A failure may have cut a line in two.
        if self.size > 0 {
            self.out.write_all(b"\n")?;
            self.size += 1;
        }
        Ok(())
    }

    /// Writes one line; gives what it came to in bytes.
    fn line(&mut self, line: &[u8], rotations: &Counter) -> io::Result<u64> {
        let bytes = line.len() as u64 + 1;
        if self.size > 0 && self.size + bytes > self.config.max_bytes {
            self.rotate()?;
            rotations.inc();
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        self.out.write_all(line)?;
        self.out.write_all(b"\n")?;
        self.size += bytes;
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// `log` becomes `log.1`, `log.1` becomes `log.2`, and the oldest goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.out.flush()?;
        for number in (1..self.config.count).rev() {
            match std::fs::rename(self.older(number - 1), self.older(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.config.count == 1 {
            std::fs::remove_file(&self.config.path)?;
        }
        self.out = BufWriter::with_capacity(64 << 10, append_to(&self.config.path)?);
        self.size = 0;
        Ok(())
    }

    fn older(&self, number: u32) -> PathBuf {
        if number == 0 {
            return self.config.path.clone();
        }
        let mut name = self.config.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// JSON in which no character commands the terminal on which somebody looks at it: what JSON lets stand, DEL and those of C1, is spelt out. The
/// value is the same.
pub(crate) fn harmless(json: &[u8]) -> Cow<'_, [u8]> {
    // C1 is U+0080 to U+009F, in UTF-8 C2 80 to C2 9F. In JSON either stands inside of a text only.
    let length_of = |at: usize| match (json.get(at), json.get(at + 1)) {
        (Some(0x7f), _) => Some((1, 0x7f)),
        (Some(0xc2), Some(low @ 0x80..=0x9f)) => Some((2, *low)),
        _ => None,
    };
    if !(0..json.len()).any(|at| length_of(at).is_some()) {
        return Cow::Borrowed(json);
    }
    let mut out = Vec::with_capacity(json.len() + 16);
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        match length_of(at) {
            Some((length, code)) => {
                out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
                at += length;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// What is logged may be nobody else's business.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::LogConfig;

    fn log(capacity: usize) -> LogHandle {
        LogHandle::new(LogConfig::silent(capacity))
    }

    fn config(folder: &Path, max_bytes: u64, count: u32) -> LogFileConfig {
        LogFileConfig {
            path: folder.join("logs/bench.jsonl"),
            max_bytes,
            count,
        }
    }

    /// The numbers of the entries in a file, and what it says is left out.
    fn read(path: &Path) -> (Vec<u64>, u64) {
        let text = std::fs::read_to_string(path).unwrap();
        let mut left_out = 0;
        let mut numbers = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            left_out += line["leftOut"].as_u64().unwrap_or(0);
            numbers.extend(line["seq"].as_u64());
        }
        (numbers, left_out)
    }

    fn say(log: &LogHandle, count: u64) {
        for n in 0..count {
            log.append(LogRecord::new("app", LogLevel::Info, format!("line {n}\nof two")));
        }
    }

    #[test]
    fn every_entry_is_a_line_and_a_full_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 2000, 3);
        let log = log(10);
        log.append_to(config.clone()).unwrap();
        say(&log, 60);
        log.flush_file();
        let mut all = Vec::new();
        for name in ["bench.jsonl.2", "bench.jsonl.1", "bench.jsonl"] {
            let path = folder.path().join("logs").join(name);
            assert!(std::fs::metadata(&path).unwrap().len() <= 2000, "{name}");
            all.extend(read(&path).0);
        }
        assert!(
            !folder.path().join("logs/bench.jsonl.3").exists(),
            "the oldest are gone"
        );
        let first = *all.first().unwrap();
        assert!(first > 1);
        assert_eq!(
            all,
            (first..=60).collect::<Vec<_>>(),
            "in order, without a gap, up to the newest"
        );
    }

    #[test]
    fn what_a_last_run_wrote_stays_and_the_next_goes_on_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 1 << 20, 2);
        for _ in 0..2 {
            let log = log(10);
            log.append_to(config.clone()).unwrap();
            say(&log, 3);
            // Dropping the log writes what waits.
        }
        assert_eq!(read(&config.path).0, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn a_disk_that_fails_costs_entries_that_are_counted_and_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(1000);
        // The system's own full disk.
        let full = LogFileConfig {
            path: "/dev/full".into(),
            max_bytes: u64::MAX,
            count: 2,
        };
        log.append_to(full).unwrap();
        for _ in 0..20 {
            say(&log, 5);
            log.flush_file();
        }
        let told = log.history(1000).entries;
        let told: Vec<_> = told
            .iter()
            .filter(|entry| entry.message.contains("/dev/full cannot be written"))
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        let mut page = Page::default();
        log.page(&mut page);
        let text = page.into_text();
        let left_out = text
            .lines()
            .find_map(|line| line.strip_prefix("autobench_log_file_left_out_total "));
        assert_eq!(left_out, Some("101"), "what was said of it is an entry, too");
        assert!(text.contains("\nautobench_log_file_entries_total 0\n"));
        drop(folder);
    }

    #[test]
    fn a_writer_that_is_held_up_leaves_out_what_the_queue_cannot_hold_and_the_file_says_how_much() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 1 << 30, 2);
        let shared = Arc::new(Shared::default());
        let file = LogFile {
            shared: Arc::clone(&shared),
            thread: Mutex::new(None),
        };
        // Nobody writes yet.
        let entry = |n: u64| Bytes::from(format!("{{\"seq\":{n},\"message\":\"{}\"}}", "x".repeat(10_000)));
        for n in 1..=2000 {
            file.push(entry(n));
        }
        assert!(shared.queue.lock().bytes <= QUEUE_BYTES);
        let left_out = shared.left_out.get();
        assert!((1000..1900).contains(&left_out), "{left_out}");
        let writer = Writer {
            shared: Arc::clone(&shared),
            file: Rotating::open(config.clone()).unwrap(),
            log: Weak::new(),
            missing: 0,
            failed_at: None,
        };
        *file.thread.lock() = Some(std::thread::spawn(move || writer.run()));
        file.flush(Duration::from_secs(10));
        file.push(entry(2001));
        drop(file);
        let (numbers, told) = read(&config.path);
        assert_eq!(told, left_out);
        let held = 2000 - left_out;
        assert_eq!(numbers, (1..=held).chain([2001]).collect::<Vec<_>>());
    }

    #[test]
    fn no_entry_of_the_file_commands_the_terminal_of_whoever_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), 1 << 20, 2);
        let log = log(10);
        log.append_to(config.clone()).unwrap();
        let message = "a\u{1b}[2Jb\u{7f}c\u{9b}31md\u{80}\u{9f}e\u{a0}f\tg\nh ä €";
        log.append(LogRecord::new("device", LogLevel::Info, message));
        log.flush_file();
        let text = std::fs::read_to_string(&config.path).unwrap();
        let (line, rest) = text.split_once('\n').unwrap();
        assert_eq!(rest, "");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["message"], message, "a program reads what was said");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_at_the_start() {
        let config = LogFileConfig {
            path: "/proc/nowhere/log".into(),
            max_bytes: 1000,
            count: 1,
        };
        assert!(log(10).append_to(config).is_err());
    }
}
