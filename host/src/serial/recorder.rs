//! What a port does, written into a capture. The port's thread puts records into a queue and never waits; a thread of the recorder's own writes them.
//!
//! A capture that is there when the port starts, or is full, becomes `FILE.1`, in place of the one before, and a new one begins: each is one that can
//! be played by itself. When the disk is too slow the capture says what it lacks; when it fails the capture ends, which the log says, and the port goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use autobench_core::capture::{Header, Intake, Record, What};
use autobench_core::driver::{LineSettings, PortIdentity};
use parking_lot::{Condvar, Mutex};

use crate::clock::{Clock, now_iso};
use crate::config::CaptureConfig;
use crate::serial::Withholding;

/// Records one port. Dropping it writes what still waits.
pub struct Recorder {
    shared: Arc<Shared>,
    clock: Clock,
    withholding: Arc<Withholding>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    intake: Intake,
    is_closed: bool,
    has_failed: bool,
}

impl Recorder {
    /// Opens the file and starts the thread.
    pub fn start(
        config: CaptureConfig,
        device: &str,
        port: &str,
        line: LineSettings,
        clock: Clock,
        withholding: Arc<Withholding>,
    ) -> io::Result<Self> {
        let header = Header {
            device: device.to_owned(),
            port: port.to_owned(),
            line,
            started_at: String::new(),
        };
        let mut writer = Writer {
            out: begin(&config.path)?,
            config,
            header,
            size: 0,
            next_offset: 0,
            attached: None,
        };
        writer.write_header()?;
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("capture-{device}"))
            .spawn(move || writer.run(&seen))?;
        Ok(Self {
            shared,
            clock,
            withholding,
            thread: Some(thread),
        })
    }

    /// The device is there.
    pub fn attached(&self, identity: &Arc<PortIdentity>) {
        let at = self.clock.now();
        self.put(|intake| intake.attached(at, Arc::clone(identity)));
    }

    /// Bytes came.
    pub fn received(&self, data: &[u8]) {
        let at = self.clock.now();
        let is_withheld = self.withholding.is_on(at.monotonic_ns);
        self.put(|intake| match is_withheld {
            true => intake.withhold_received(data.len()),
            false => intake.received(at, data),
        });
    }

    /// Bytes were handed to the line.
    pub fn sent(&self, data: &[u8]) {
        let at = self.clock.now();
        let is_withheld = self.withholding.is_on(at.monotonic_ns);
        self.put(|intake| match is_withheld {
            true => intake.withhold_sent(data.len()),
            false => intake.sent(at, data),
        });
    }

    /// The device is gone.
    pub fn lost(&self, reason: &str) {
        let at = self.clock.now();
        self.put(|intake| intake.lost(at, reason));
    }

    fn put(&self, put: impl FnOnce(&mut Intake)) {
        let mut queue = self.shared.queue.lock();
        if !queue.has_failed {
            put(&mut queue.intake);
            self.shared.news.notify_one();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let at = self.clock.now();
        {
            let mut queue = self.shared.queue.lock();
            queue.intake.close(at);
            queue.is_closed = true;
        }
        self.shared.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of it has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

struct Writer {
    config: CaptureConfig,
    header: Header,
    out: BufWriter<File>,
    size: u64,
    next_offset: u64,
    /// The device as far as the capture knows.
    attached: Option<PortIdentity>,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        loop {
            let records = {
                let mut queue = shared.queue.lock();
                while queue.intake.is_empty() && !queue.is_closed {
                    shared.news.wait(&mut queue);
                }
                if queue.intake.is_empty() {
                    return;
                }
                queue.intake.take_all()
            };
            let written = records.iter().try_for_each(|record| self.write(record));
            if let Err(error) = written.and_then(|()| self.out.flush()) {
                tracing::error!(
                    channel = "device",
                    tag = %self.header.device,
                    "the capture of port {} ends: {} cannot be written: {error}",
                    self.header.port,
                    self.config.path.display()
                );
                shared.queue.lock().has_failed = true;
                return;
            }
        }
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = record.to_line();
        if self.size + line.len() as u64 >= self.config.max_bytes {
            self.begin_anew(record)?;
        }
        self.put(&line)?;
        match &record.what {
            What::Attached { offset, identity } => {
                self.next_offset = *offset;
                self.attached = Some(identity.clone());
            }
            What::Received { offset, data } => self.next_offset = offset + data.len() as u64,
            What::Overrun { to, .. } => self.next_offset = *to,
            What::Lost { .. } => self.attached = None,
            What::Sent { .. } => {}
        }
        Ok(())
    }

    /// The full one is set aside. The new one begins with the device as it is.
    fn begin_anew(&mut self, next: &Record) -> io::Result<()> {
        self.out.flush()?;
        self.out = begin(&self.config.path)?;
        self.size = 0;
        self.write_header()?;
        if let Some(identity) = self.attached.clone() {
            let what = What::Attached {
                offset: self.next_offset,
                identity,
            };
            self.put(&Record { at: next.at, what }.to_line())?;
        }
        Ok(())
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.header.started_at = now_iso();
        self.put(&self.header.to_line())?;
        self.out.flush()
    }

    fn put(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")?;
        self.size += line.len() as u64 + 1;
        Ok(())
    }
}

/// A new file. The one that was there is set aside.
fn begin(path: &PathBuf) -> io::Result<BufWriter<File>> {
    let mut aside = path.clone().into_os_string();
    aside.push(".1");
    match std::fs::rename(path, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(BufWriter::new(file))
}

#[cfg(test)]
mod tests {
    use autobench_core::capture::Capture;
    use autobench_core::driver::{DataBits, FlowControl, Parity, StopBits};

    use super::*;

    const LINE: LineSettings = LineSettings {
        baud_rate: 9600,
        data_bits: DataBits::Eight,
        parity: Parity::None,
        stop_bits: StopBits::One,
        flow_control: FlowControl::None,
    };

    fn read(path: PathBuf) -> Capture {
        Capture::parse(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_full_capture_is_set_aside_and_the_next_one_can_be_played_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meter.jsonl");
        std::fs::write(&path, "of another run").unwrap();
        let config = CaptureConfig {
            path: path.clone(),
            max_bytes: 1000,
        };
        let recorder =
            Recorder::start(config, "meter", "main", LINE, Clock::start(), Arc::default()).unwrap();
        recorder.attached(&Arc::default());
        for _ in 0..9 {
            recorder.received(b"0123456789");
        }
        recorder.sent(b"?");
        recorder.lost("gone");
        drop(recorder);
        let (old, new) = (read(folder.path().join("meter.jsonl.1")), read(path));
        let bytes = |capture: &Capture| {
            let received = capture.records.iter().filter_map(|record| match &record.what {
                What::Received { offset, data } => Some((*offset, data.len())),
                _ => None,
            });
            received.collect::<Vec<_>>()
        };
        assert!(matches!(new.records[0].what, What::Attached { .. }), "{new:?}");
        let all: Vec<_> = (0..9).map(|piece| (piece * 10, 10)).collect();
        assert_eq!(
            [bytes(&old), bytes(&new)].concat(),
            all,
            "only two are needed for these"
        );
        assert!(matches!(new.records.last().unwrap().what, What::Lost { .. }));
        assert!(
            new.records
                .iter()
                .any(|record| matches!(&record.what, What::Sent { data } if data == b"?"))
        );
    }

    #[test]
    fn a_disk_that_fails_ends_the_capture_and_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meter.jsonl");
        let config = CaptureConfig {
            path: path.clone(),
            max_bytes: 400,
        };
        let recorder =
            Recorder::start(config, "meter", "main", LINE, Clock::start(), Arc::default()).unwrap();
        // The next file cannot be begun where a folder is in the way of setting this one aside.
        std::fs::create_dir_all(folder.path().join("meter.jsonl.1/x")).unwrap();
        for _ in 0..100 {
            recorder.received(&[b'a'; 1000]);
        }
        drop(recorder);
        assert!(read(path).records.is_empty());
    }
}
