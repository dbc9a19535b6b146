//! The thread of a port.
//!
//! It waits for the line (the device is missing, busy, or may not be opened), then streams until the line is lost, and begins again, for as
//! long as the port is configured. Reading and writing wait together with the stop signal, so that nothing has to be interrupted.
//!
//! The log has one line for each change: the port is open, with the device's identity; its line is lost, with the reason. Both are told here and by
//! nobody else: a driver shows in its phase that its line is away, and has a line of its own only when its device is ready, or does not answer.
//! What keeps a line away is told when it is more than that the device is gone (see `Said`).

mod output;
mod retry;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::driver::{InputSignals, Lease, LineNews, LineSettings, PortIdentity};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use serialport::{SerialPort, TTYPort};

use self::output::{Left, Settling, pending_output_bytes, write_queued};
use self::retry::{Jitter, Phase, Refused, Said, refusal};
use super::control::{Attached, PortControl};
use super::find::{FindError, find};
use super::line::{self, DisplayLine};
use super::modem::{self, LineWatch, TtyLines};
use super::recorder::Recorder;
use crate::config::PortSource;
use crate::sched;

/// Shortest wait before the line is looked for again.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest wait. A line that is good again is streaming well within five seconds.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long a port that closes waits for its last bytes to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The same where what undoes a hold is among them.
const LAST_UNDOS: Duration = Duration::from_secs(3);
/// How often the system is asked, while a change of the line waits for the bytes before it or a closing port for its last ones, whether they
/// have left. A tty becomes writable long before it is empty, and there is no event for the end; `tcdrain` would have to be interrupted.
const SETTLE_POLL: Duration = Duration::from_millis(10);
/// Bytes taken from the line at once: what one call of a driver gets at most.
const READ_BYTES: usize = 64 << 10;

/// How a port is opened.
#[derive(Debug, Clone)]
pub struct PortSettings {
    /// Id of its device, for the log.
    pub device: Arc<str>,
    /// Its name in `plugins.toml`.
    pub name: Arc<str>,
    /// Where the line is found.
    pub source: PortSource,
    /// The link of the emulator behind a `sim` port.
    pub simulated: Option<PathBuf>,
    /// Line settings.
    pub line: LineSettings,
    /// DTR after opening, if the configuration says so.
    pub dtr: Option<bool>,
    /// RTS after opening, if the configuration says so.
    pub rts: Option<bool>,
    /// Whether the system drops the modem lines at the last close, if the configuration says so.
    pub hangup_on_close: Option<bool>,
    /// Whether the port is for the daemon alone.
    pub exclusive: bool,
    /// Where USB identities are read.
    pub sysfs_root: PathBuf,
}

/// What happens on a port, told on its own thread. None of these may wait, but for the disk where a hold is undone.
pub trait PortEvents: Send {
    /// The device is there.
    fn attached(&mut self, identity: Arc<PortIdentity>);
    /// Bytes have come.
    fn bytes(&mut self, data: &[u8]);
    /// The device is gone.
    fn lost(&mut self, reason: &str);
    /// There is room again after a refused write.
    fn drained(&mut self);
    /// What undoes a hold has left.
    fn undone(&mut self, lease: &Lease);
    /// Faults on the line since this was told last, in words. They concern the bytes around this place.
    fn line_error(&mut self, reason: &str);
    /// The lines that the device drives are so from now on.
    fn lines_changed(&mut self, signals: InputSignals);
}

/// A port and its thread.
pub struct Port {
    control: PortControl,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Starts the thread; it finds and opens the line by itself.
    pub fn start(
        settings: PortSettings,
        events: Box<dyn PortEvents>,
        recorder: Option<Recorder>,
    ) -> io::Result<Self> {
        let control = PortControl::new(Arc::clone(&settings.name))?;
        let engine = Engine {
            control: control.clone(),
            events,
            recorder,
            said: Said::default(),
            refused: Refused::default(),
            backoff: BACKOFF_MIN,
            jitter: Jitter::seeded(&settings),
            buffer: vec![0; READ_BYTES],
            began: Instant::now(),
            news: LineNews::default(),
            watch: None,
            settings,
        };
        let name = format!("port-{}", engine.settings.device);
        let thread = sched::spawn(name, move || engine.run())?;
        Ok(Self {
            control,
            thread: Some(thread),
        })
    }

    /// The port's handle.
    pub fn control(&self) -> &PortControl {
        &self.control
    }

    /// Lets what is queued leave, for a moment, and closes the port.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.control.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why streaming ended.
struct End {
    reason: String,
    /// Whether what the system still holds for the line is thrown away. Else closing would wait for it, for as long as the line is stalled.
    drops_output: bool,
}

impl End {
    fn lost(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
            drops_output: true,
        }
    }
}

struct Engine {
    settings: PortSettings,
    control: PortControl,
    events: Box<dyn PortEvents>,
    recorder: Option<Recorder>,
    said: Said,
    refused: Refused,
    backoff: Duration,
    jitter: Jitter,
    buffer: Vec<u8>,
    began: Instant,
    /// What the open line says besides bytes.
    news: LineNews,
    /// Watches the lines that the device drives, where there are any. It ends before the line is closed.
    watch: Option<LineWatch>,
}

impl Engine {
    fn run(mut self) {
        while !self.stopping() {
            match self.open() {
                Ok(()) => {
                    let end = self.stream();
                    self.detach(&end);
                    // A line that can be opened and is lost at once would else be opened without a pause, with two lines of log each time.
                    self.wait_to_retry();
                }
                Err((phase, reason)) => {
                    self.say(phase, &reason);
                    self.wait_to_retry();
                }
            }
        }
    }

    fn stopping(&self) -> bool {
        self.control.shared().stop.load(Ordering::SeqCst)
    }

    fn open(&mut self) -> Result<(), (Phase, String)> {
        let found = find(
            &self.settings.source,
            self.settings.simulated.as_deref(),
            &self.settings.sysfs_root,
        )
        .map_err(|error| {
            self.refused.forget();
            let phase = match error {
                FindError::NoPath(_) | FindError::NoUsb(_) => Phase::Missing,
                FindError::Ambiguous(..) => Phase::Ambiguous,
            };
            (phase, error.to_string())
        })?;
        let path = found.path.display().to_string();
        let line = self.settings.line;
        let tty = serialport::new(&path, line.baud_rate)
            .data_bits(line::data_bits(line.data_bits))
            .parity(line::parity(line.parity))
            .stop_bits(line::stop_bits(line.stop_bits))
            .flow_control(line::flow_control(line.flow_control))
            .exclusive(self.settings.exclusive)
            .open_native()
            .map_err(|error| {
                let key = format!("{path}: {:?}: {error}", error.kind());
                self.refused.explain(key, || refusal(&found.path, &error))
            })?;
        self.refused.forget();
        let broken =
            |what: &str, error: &dyn std::fmt::Display| (Phase::Broken, format!("{path}: {what}: {error}"));
        let mut tty = tty;
        let has_control_lines = tty.read_clear_to_send().is_ok();
        if let Some(dtr) = self.settings.dtr
            && has_control_lines
        {
            tty.write_data_terminal_ready(dtr)
                .map_err(|error| broken("setting DTR", &error))?;
        }
        if let Some(rts) = self.settings.rts
            && has_control_lines
        {
            tty.write_request_to_send(rts)
                .map_err(|error| broken("setting RTS", &error))?;
        }
        with_descriptor(&tty, |descriptor| {
            if let Some(hangup) = self.settings.hangup_on_close {
                let mut termios = rustix::termios::tcgetattr(descriptor)?;
                termios
                    .control_modes
                    .set(rustix::termios::ControlModes::HUPCL, hangup);
                rustix::termios::tcsetattr(descriptor, rustix::termios::OptionalActions::Now, &termios)?;
            }
            // What came while nobody listened is from another time and possibly from another speed.
            rustix::termios::tcflush(descriptor, QueueSelector::IFlush)?;
            rustix::fs::fcntl_setfl(descriptor, rustix::fs::OFlags::NONBLOCK)
        })
        .map_err(|error| broken("preparing the line", &error))?;

        let identity = Arc::new(found.identity);
        {
            let mut state = self.control.shared().line.lock();
            state.transmit.clear();
            state.seen = None;
            state.attached = Some(Attached {
                tty,
                identity: Arc::clone(&identity),
                has_control_lines,
            });
        }
        self.backoff = BACKOFF_MIN;
        self.news = LineNews::default();
        self.count_faults();
        if has_control_lines {
            self.watch_lines();
        }
        self.say(
            Phase::Open,
            &format!("{}, {}", named(&identity), DisplayLine(line)),
        );
        if let Some(recorder) = &self.recorder {
            recorder.attached(&identity);
        }
        self.events.attached(identity);
        Ok(())
    }

    /// Reads and writes until the line is lost or the port is stopped, and says why it ended.
    fn stream(&mut self) -> End {
        let mut closes_since: Option<Instant> = None;
        let mut settling = Settling::default();
        loop {
            if self.stopping() {
                closes_since.get_or_insert_with(Instant::now);
            }
            let left = match write_queued(
                self.control.shared(),
                &self.settings.device,
                &mut settling,
                |data| {
                    if let Some(recorder) = &self.recorder {
                        recorder.sent(data);
                    }
                },
            ) {
                Ok(left) => left,
                Err(error) => return End::lost(error),
            };
            let (has_drained, is_leaving) = {
                let transmit = &mut self.control.shared().line.lock().transmit;
                let has_drained = left == Left::Nothing && transmit.take_drained();
                (has_drained, transmit.has_undos_leaving())
            };
            if has_drained {
                self.events.drained();
            }
            let is_leaving = is_leaving && self.tell_undone();
            let next_news = self.tell_news();
            // Only whether output has left is asked for again and again; everything else wakes the poll.
            let settling_ends = (left == Left::Change || is_leaving).then_some(SETTLE_POLL);
            let mut timeout = settling_ends.into_iter().chain(next_news).min();
            if let Some(since) = closes_since {
                let undos = self.control.shared().line.lock().transmit.waiting_undos();
                let until = since + if undos > 0 { LAST_UNDOS } else { LAST_WORDS };
                let has_output = left != Left::Nothing || self.pending_output_bytes() > 0;
                let time_left = until.saturating_duration_since(Instant::now());
                if !has_output || time_left.is_zero() {
                    return End {
                        reason: "the port is closed".to_owned(),
                        drops_output: has_output,
                    };
                }
                let until_looked_at = if left == Left::Bytes {
                    time_left
                } else {
                    time_left.min(SETTLE_POLL)
                };
                timeout = Some(timeout.map_or(until_looked_at, |timeout| timeout.min(until_looked_at)));
            }
            match self.wait(left == Left::Bytes, timeout) {
                Ok(readable) => {
                    if readable && let Err(reason) = self.read() {
                        return End::lost(reason);
                    }
                }
                Err(error) => return End::lost(error),
            }
        }
    }

    /// Tells which holds are undone. True while the system has not sent all that undoes some.
    fn tell_undone(&mut self) -> bool {
        let (undone, is_leaving) = {
            let mut line = self.control.shared().line.lock();
            let pending = line
                .attached
                .as_ref()
                .map_or(0, |attached| pending_output_bytes(&attached.tty));
            let undone = line.transmit.take_undone(pending);
            (undone, line.transmit.has_undos_leaving())
        };
        undone.iter().for_each(|lease| self.events.undone(lease));
        is_leaving
    }

    /// What the system holds for the line.
    fn pending_output_bytes(&self) -> u32 {
        let line = self.control.shared().line.lock();
        line.attached
            .as_ref()
            .map_or(0, |attached| pending_output_bytes(&attached.tty))
    }

    /// Waits for the line or a wake-up; true when the line has something to say, be it that it is gone.
    fn wait(&self, for_writing: bool, timeout: Option<Duration>) -> io::Result<bool> {
        let shared = self.control.shared();
        let Some(raw) = shared
            .line
            .lock()
            .attached
            .as_ref()
            .map(|attached| attached.tty.as_raw_fd())
        else {
            return Ok(false);
        };
        // SAFETY: the descriptor belongs to `attached.tty`, which only this thread replaces or drops, and not while it waits here.
        let tty = unsafe { BorrowedFd::borrow_raw(raw) };
        let interest = if for_writing {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        let mut descriptors = [
            PollFd::from_borrowed_fd(tty, interest),
            PollFd::new(&shared.wake, PollFlags::IN),
        ];
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [line, wake] = descriptors;
        if wake.revents().contains(PollFlags::IN) {
            let mut counter = [0; 8];
            // Emptying the counter is all that matters.
            let _ = rustix::io::read(&shared.wake, &mut counter);
        }
        Ok(line
            .revents()
            .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL))
    }

    fn read(&mut self) -> Result<(), String> {
        let Some(raw) = self
            .control
            .shared()
            .line
            .lock()
            .attached
            .as_ref()
            .map(|attached| attached.tty.as_raw_fd())
        else {
            return Err("the line is closed".to_owned());
        };
        // SAFETY: as in `wait`: only this thread closes the descriptor.
        let tty = unsafe { BorrowedFd::borrow_raw(raw) };
        match rustix::io::read(tty, &mut self.buffer[..]) {
            Ok(0) => Err("the device hung up".to_owned()),
            Ok(count) => {
                // Before the bytes, so that whoever takes them has been warned.
                self.count_faults();
                self.tell_news();
                let data = self.buffer.get(..count).unwrap_or_default();
                if let Some(recorder) = &self.recorder {
                    recorder.received(data);
                }
                self.events.bytes(data);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(Errno::IO) => Err("the device is gone".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A line that cannot say has none.
    fn count_faults(&mut self) {
        let line = self.control.shared().line.lock();
        let Some(attached) = &line.attached else { return };
        if let Some(faults) = with_descriptor(&attached.tty, modem::faults) {
            self.news.count(faults);
        }
    }

    fn watch_lines(&mut self) {
        let copy = {
            let line = self.control.shared().line.lock();
            let Some(attached) = &line.attached else { return };
            with_descriptor(&attached.tty, |tty| rustix::io::fcntl_dupfd_cloexec(tty, 0))
        };
        let (control, name) = (self.control.clone(), format!("lines-{}", self.settings.device));
        let watch = copy
            .map_err(io::Error::from)
            .and_then(|copy| LineWatch::start(name, TtyLines(copy), move |signals| control.see(signals)));
        match watch {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                let (device, port) = (&self.settings.device, &self.settings.name);
                tracing::warn!(channel = "device", tag = %device, "the lines of port {port} are not watched: {error}");
            }
        }
    }

    /// Tells what the line says besides bytes, and answers after what time there is more to tell.
    fn tell_news(&mut self) -> Option<Duration> {
        if let Some(signals) = self.control.shared().line.lock().seen.take() {
            self.news.see(signals);
        }
        let now = self.began.elapsed();
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        if let Some(reason) = self.news.take_faults(now_ns) {
            self.events.line_error(&reason);
        }
        if let Some(signals) = self.news.take_signals(now_ns) {
            self.events.lines_changed(signals);
        }
        let due_ns = self.news.due_ns()?;
        Some(Duration::from_nanos(due_ns.saturating_sub(now_ns)))
    }

    fn detach(&mut self, end: &End) {
        // It holds the line open.
        self.watch = None;
        let attached = {
            let mut line = self.control.shared().line.lock();
            line.transmit.clear();
            line.attached.take()
        };
        if let Some(attached) = attached {
            if end.drops_output {
                // A line that is gone may refuse; then it holds nothing either.
                let _ = with_descriptor(&attached.tty, |tty| {
                    rustix::termios::tcflush(tty, QueueSelector::OFlush)
                });
            }
            // Outside of the lock: closing a tty may wait for its output, and a driver that writes would wait with it.
            drop(attached);
        }
        if let Some(recorder) = &self.recorder {
            recorder.lost(&end.reason);
        }
        if !self.stopping() {
            self.say(Phase::Lost, &end.reason);
            self.events.lost(&end.reason);
        }
    }

    fn wait_to_retry(&mut self) {
        let pause = self.jitter.spread(self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        let shared = self.control.shared();
        let until = Instant::now() + pause;
        while !self.stopping() {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(timeout) = Timespec::try_from(left) else {
                return;
            };
            if left.is_zero() {
                return;
            }
            let mut descriptors = [PollFd::new(&shared.wake, PollFlags::IN)];
            if poll(&mut descriptors, Some(&timeout)).is_ok_and(|ready| ready > 0) {
                let mut counter = [0; 8];
                let _ = rustix::io::read(&shared.wake, &mut counter);
            }
        }
    }

    fn say(&mut self, phase: Phase, text: &str) {
        if !self.said.is_news(phase, text) {
            return;
        }
        let (device, port) = (&self.settings.device, &self.settings.name);
        match phase {
            Phase::Open => tracing::info!(channel = "device", tag = %device, "port {port} is open: {text}"),
            Phase::Lost => {
                tracing::warn!(channel = "device", tag = %device, "port {port} is lost: {text}; looking for it until it is back")
            }
            _ => {
                tracing::warn!(channel = "device", tag = %device, "port {port} is not open: {text}; trying again until it is")
            }
        }
    }
}

/// A device for the log: the path, and what its USB descriptors say.
fn named(identity: &PortIdentity) -> String {
    let mut name = identity.path.clone();
    if let (Some(vendor), Some(product)) = (identity.usb_vendor_id, identity.usb_product_id) {
        name.push_str(&format!(", USB {vendor:04x}:{product:04x}"));
        if let Some(serial) = &identity.serial_number {
            name.push_str(&format!(":{serial}"));
        }
    }
    name
}

pub(super) fn with_descriptor<R>(tty: &TTYPort, use_it: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
    // SAFETY: the descriptor stays open as long as `tty` is borrowed.
    use_it(unsafe { BorrowedFd::borrow_raw(tty.as_raw_fd()) })
}

#[cfg(test)]
mod tests;
