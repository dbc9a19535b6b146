//! The thread of a port.
//!
//! It waits for the line (the device is missing, busy, or may not be opened), then streams until the line is lost, and begins again, for as
//! long as the port is configured. Reading and writing wait together with the stop signal, so that nothing has to be interrupted.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use autobench_core::driver::{LineSettings, PortIdentity};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::QueueSelector;
use serialport::{ClearBuffer, ErrorKind, SerialPort, TTYPort};

use super::control::{Attached, PortControl, Shared};
use super::find::{find, holders};
use super::line::{self, DisplayLine};
use super::transmit::{NextStep, Step};
use crate::config::PortSource;

/// Shortest wait before the line is looked for again.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
/// Longest wait. A line that is good again is streaming well within five seconds.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long a port that closes waits for its last bytes to leave.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often the system is asked, while a change of the line waits for the bytes before it or a closing port for its last ones, whether they
/// have left. A tty becomes writable long before it is empty, and there is no event for the end; `tcdrain` would have to be interrupted.
const SETTLE_POLL: Duration = Duration::from_millis(10);
/// How long the output may make no progress before a change of the line goes ahead of it: the far end has stalled the line for good.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);
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

/// What happens on a port, told on its own thread. None of these may wait.
pub trait PortEvents: Send {
    /// The device is there.
    fn attached(&mut self, identity: Arc<PortIdentity>);
    /// Bytes have come.
    fn bytes(&mut self, data: &[u8]);
    /// The device is gone.
    fn lost(&mut self, reason: &str);
    /// There is room again after a refused write.
    fn drained(&mut self);
}

/// A port and its thread.
pub struct Port {
    control: PortControl,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    /// Starts the thread; it finds and opens the line by itself.
    pub fn start(settings: PortSettings, events: Box<dyn PortEvents>) -> io::Result<Self> {
        let control = PortControl::new(Arc::clone(&settings.name))?;
        let engine = Engine {
            control: control.clone(),
            events,
            said: Said::default(),
            refused: Refused::default(),
            backoff: BACKOFF_MIN,
            jitter: Jitter::seeded(&settings),
            buffer: vec![0; READ_BYTES],
            settings,
        };
        let name = format!("port-{}", engine.settings.device);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || engine.run())?;
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

/// How a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Missing,
    Busy,
    Denied,
    Broken,
    Open,
}

/// What the log was told last; one line for each change of the phase or of its reason.
#[derive(Debug, Default)]
struct Said(Option<(Phase, String)>);

impl Said {
    fn is_news(&mut self, phase: Phase, text: &str) -> bool {
        if self
            .0
            .as_ref()
            .is_some_and(|(said, why)| *said == phase && why == text)
        {
            return false;
        }
        self.0 = Some((phase, text.to_owned()));
        true
    }
}

/// The last refusal of the system and what it turned out to mean. Finding out looks through every process, which is done once for as long
/// as the system says the same.
#[derive(Debug, Default)]
struct Refused(Option<(String, (Phase, String))>);

impl Refused {
    fn explain(&mut self, refusal: String, find_out: impl FnOnce() -> (Phase, String)) -> (Phase, String) {
        if let Some((known, meaning)) = &self.0
            && *known == refusal
        {
            return meaning.clone();
        }
        let meaning = find_out();
        self.0 = Some((refusal, meaning.clone()));
        meaning
    }

    fn forget(&mut self) {
        self.0 = None;
    }
}

/// Whether what was written before a change of the line has left.
#[derive(Debug, Default)]
struct Settling {
    /// The fewest bytes that were seen to wait, and since when they were that few.
    fewest: Option<(u32, Instant)>,
}

impl Settling {
    /// Whether the line may be changed, when so many bytes have not left. Asked again until it may.
    fn is_settled(&mut self, pending_bytes: u32, now: Instant) -> bool {
        match self.fewest {
            _ if pending_bytes == 0 => {}
            Some((fewest, since)) if pending_bytes >= fewest => {
                if now.saturating_duration_since(since) < SETTLE_LIMIT {
                    return false;
                }
            }
            _ => {
                self.fewest = Some((pending_bytes, now));
                return false;
            }
        }
        self.fewest = None;
        true
    }
}

/// What a round of writing left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The queue is empty.
    Nothing,
    /// The line takes no more now.
    Bytes,
    /// A change waits until the bytes before it have left.
    Change,
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
    said: Said,
    refused: Refused,
    backoff: Duration,
    jitter: Jitter,
    buffer: Vec<u8>,
}

impl Engine {
    fn run(mut self) {
        while !self.stopping() {
            match self.open() {
                Ok(()) => {
                    let end = self.stream();
                    self.detach(&end);
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
            (Phase::Missing, error.to_string())
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
            state.attached = Some(Attached {
                tty,
                identity: Arc::clone(&identity),
                has_control_lines,
            });
        }
        self.backoff = BACKOFF_MIN;
        self.say(Phase::Open, &format!("{path}, {}", DisplayLine(line)));
        self.events.attached(identity);
        Ok(())
    }

    /// Reads and writes until the line is lost or the port is stopped, and says why it ended.
    fn stream(&mut self) -> End {
        let mut last_words: Option<Instant> = None;
        let mut settling = Settling::default();
        loop {
            if self.stopping() && last_words.is_none() {
                last_words = Some(Instant::now() + LAST_WORDS);
            }
            let left = match write_queued(self.control.shared(), &self.settings.device, &mut settling) {
                Ok(left) => left,
                Err(error) => return End::lost(error),
            };
            if left == Left::Nothing && self.control.shared().line.lock().transmit.take_drained() {
                self.events.drained();
            }
            // Only the settling of output is asked for again and again; everything else wakes the poll.
            let mut timeout = (left == Left::Change).then_some(SETTLE_POLL);
            if let Some(until) = last_words {
                let has_output = left != Left::Nothing || self.pending_output_bytes() > 0;
                let time_left = until.saturating_duration_since(Instant::now());
                if !has_output || time_left.is_zero() {
                    return End {
                        reason: "the port is closed".to_owned(),
                        drops_output: has_output,
                    };
                }
                timeout = Some(if left == Left::Bytes {
                    time_left
                } else {
                    time_left.min(SETTLE_POLL)
                });
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
                self.events.bytes(self.buffer.get(..count).unwrap_or_default());
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(Errno::IO) => Err("the device is gone".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn detach(&mut self, end: &End) {
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
        if !self.stopping() {
            self.say(Phase::Missing, &format!("lost: {}", end.reason));
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
            _ => {
                tracing::warn!(channel = "device", tag = %device, "port {port} is not open: {text}; trying again until it is")
            }
        }
    }
}

/// Writes what is queued until the line takes no more, or until a change has to wait for what was written before it.
fn write_queued(shared: &Shared, device: &str, settling: &mut Settling) -> Result<Left, Errno> {
    let mut guard = shared.line.lock();
    let line = &mut *guard;
    let Some(attached) = &mut line.attached else {
        return Ok(Left::Nothing);
    };
    if line.transmit.take_discard() {
        let _ = attached.tty.clear(ClearBuffer::Output);
    }
    loop {
        // The library changes a line at once; what the system has not sent by then would leave under the new settings.
        if line.transmit.is_change_next()
            && !settling.is_settled(pending_output_bytes(&attached.tty), Instant::now())
        {
            return Ok(Left::Change);
        }
        match line.transmit.next() {
            None => return Ok(Left::Nothing),
            Some(NextStep::Bytes(data)) => {
                match with_descriptor(&attached.tty, |tty| rustix::io::write(tty, data)) {
                    Ok(count) => line.transmit.sent(count),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(Left::Bytes),
                    Err(error) => return Err(error),
                }
            }
            Some(NextStep::Change(change)) => {
                if let Err(error) = apply(&mut attached.tty, &change) {
                    tracing::warn!(channel = "device", tag = %device, "the line does not take {change:?}: {error}");
                }
            }
        }
    }
}

/// A line that cannot say counts as empty.
fn pending_output_bytes(tty: &TTYPort) -> u32 {
    tty.bytes_to_write().unwrap_or(0)
}

fn apply(tty: &mut TTYPort, change: &Step) -> serialport::Result<()> {
    match change {
        Step::Bytes(_) => Ok(()),
        Step::SetLine(line) => {
            tty.set_baud_rate(line.baud_rate)?;
            tty.set_data_bits(line::data_bits(line.data_bits))?;
            tty.set_parity(line::parity(line.parity))?;
            tty.set_stop_bits(line::stop_bits(line.stop_bits))?;
            tty.set_flow_control(line::flow_control(line.flow_control))
        }
        Step::SetSignals {
            data_terminal_ready,
            request_to_send,
            break_condition,
        } => {
            if let Some(level) = *data_terminal_ready {
                tty.write_data_terminal_ready(level)?;
            }
            if let Some(level) = *request_to_send {
                tty.write_request_to_send(level)?;
            }
            match *break_condition {
                Some(true) => tty.set_break(),
                Some(false) => tty.clear_break(),
                None => Ok(()),
            }
        }
    }
}

fn with_descriptor<R>(tty: &TTYPort, use_it: impl FnOnce(BorrowedFd<'_>) -> R) -> R {
    // SAFETY: the descriptor stays open as long as `tty` is borrowed.
    use_it(unsafe { BorrowedFd::borrow_raw(tty.as_raw_fd()) })
}

/// Names why a line that is there cannot be opened.
fn refusal(path: &std::path::Path, error: &serialport::Error) -> (Phase, String) {
    let shown = path.display();
    let held = holders(path);
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => (
            Phase::Denied,
            format!("{shown} may not be opened by this user; add the user to the group that owns it"),
        ),
        ErrorKind::Io(io::ErrorKind::NotFound) => (Phase::Missing, format!("{shown} is not there")),
        _ if !held.is_empty() => (Phase::Busy, format!("{shown} is held by {}", held.join(", "))),
        _ => (Phase::Broken, format!("{shown} cannot be opened: {error}")),
    }
}

/// Spreads waits, so that several ports on one hub that went away together do not come back in step.
struct Jitter(u64);

impl Jitter {
    fn seeded(settings: &PortSettings) -> Self {
        let mut seed = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(std::process::id());
        for byte in settings.device.bytes().chain(settings.name.bytes()) {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(seed | 1)
    }

    /// Between three quarters of a duration and all of it.
    fn spread(&mut self, duration: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = u32::try_from(self.0 % 256).unwrap_or(0);
        duration * (768 + share) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_within_a_quarter() {
        let mut jitter = Jitter(7);
        for _ in 0..1000 {
            let wait = jitter.spread(Duration::from_secs(1));
            assert!(
                (Duration::from_millis(750)..=Duration::from_secs(1)).contains(&wait),
                "{wait:?}"
            );
        }
    }

    #[test]
    fn a_change_waits_for_the_bytes_before_it_as_long_as_they_leave() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut settling = Settling::default();
        assert!(settling.is_settled(0, at(0)), "nothing was written");
        assert!(!settling.is_settled(900, at(0)));
        assert!(!settling.is_settled(500, at(900)));
        assert!(
            !settling.is_settled(100, at(1800)),
            "slow, but the bytes are leaving"
        );
        assert!(settling.is_settled(0, at(1900)));
        assert!(!settling.is_settled(100, at(5000)), "a new wait begins");
    }

    #[test]
    fn a_change_does_not_wait_for_a_stalled_line_for_ever() {
        let begin = Instant::now();
        let mut settling = Settling::default();
        assert!(!settling.is_settled(100, begin));
        assert!(!settling.is_settled(100, begin + SETTLE_LIMIT / 2));
        assert!(settling.is_settled(100, begin + SETTLE_LIMIT));
    }

    #[test]
    fn a_new_reason_is_said_even_when_the_phase_is_the_same_and_each_once() {
        let mut said = Said::default();
        assert!(said.is_news(Phase::Missing, "a is not there"));
        assert!(!said.is_news(Phase::Missing, "a is not there"));
        assert!(said.is_news(Phase::Missing, "two lines fit"));
        assert!(said.is_news(Phase::Busy, "two lines fit"));
    }

    #[test]
    fn who_holds_a_line_is_found_out_once_per_refusal() {
        let mut refused = Refused::default();
        let busy = (Phase::Busy, "held by minicom".to_owned());
        assert_eq!(refused.explain("busy".to_owned(), || busy.clone()), busy);
        let again = refused.explain("busy".to_owned(), || unreachable!("it is known"));
        assert_eq!(again, busy);
        let denied = (Phase::Denied, "not for you".to_owned());
        assert_eq!(refused.explain("denied".to_owned(), || denied.clone()), denied);
        refused.forget();
        assert_eq!(refused.explain("denied".to_owned(), || busy.clone()), busy);
    }
}
