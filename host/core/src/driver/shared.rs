//! The inbox as several threads see it: readers of ports and the command router put in, the driver's thread takes out.
//!
//! The lock is held for one copy of at most a read's bytes and never over a call into the driver.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::inbox::{Busy, Cancelled, Inbox, PortSetup};
use super::{CallTime, Command, CommandId, Event, InputSignals, LeaseId, Marks, PortIdentity, PortIndex};

/// A handle on one driver's inbox.
#[derive(Debug, Clone)]
pub struct SharedInbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    inbox: Inbox,
    /// Something came in since the driver's thread last waited. It is what makes a wake-up between a look and a wait impossible to lose.
    changed: bool,
    /// Somebody waits; without it every push would pay for a system call.
    waiting: bool,
    /// Nobody takes anything out any more.
    is_abandoned: bool,
}

impl SharedInbox {
    /// An empty inbox of a driver with these ports.
    pub fn new(ports: impl IntoIterator<Item = PortSetup>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    inbox: Inbox::new(ports),
                    changed: false,
                    waiting: false,
                    is_abandoned: false,
                }),
                changed: Condvar::new(),
            }),
        }
    }

    /// Bytes from the line. Answers which bytes at or above consumed were lost for them, to be logged.
    pub fn push_bytes(&self, port: PortIndex, data: &[u8], received: CallTime) -> Option<Range<u64>> {
        self.put(|inbox| inbox.push_bytes(port, data, received))
    }

    /// The device is there; later bytes are of its new line. Answers bytes lost because too many borders wait.
    pub fn attach(&self, port: PortIndex, identity: Arc<PortIdentity>) -> Option<Range<u64>> {
        self.put(|inbox| inbox.attach(port, identity))
    }

    /// The device is gone. Answers bytes lost because too many borders wait.
    pub fn lose(&self, port: PortIndex, reason: impl Into<Arc<str>>) -> Option<Range<u64>> {
        let reason = reason.into();
        self.put(|inbox| inbox.lose(port, reason))
    }

    /// A fault on the line.
    pub fn line_error(&self, port: PortIndex, reason: impl Into<Arc<str>>) {
        let reason = reason.into();
        self.put(|inbox| inbox.line_error(port, reason));
    }

    /// The lines that the device drives have changed.
    pub fn lines_changed(&self, port: PortIndex, signals: InputSignals) {
        self.put(|inbox| inbox.lines_changed(port, signals));
    }

    /// The transmit queue is empty.
    pub fn transmit_drained(&self, port: PortIndex) {
        self.put(|inbox| inbox.transmit_drained(port));
    }

    /// A command; refused when the driver has too many already.
    pub fn command(&self, command: Arc<Command>) -> Result<(), Busy> {
        self.put(|inbox| inbox.push_command(command))
    }

    /// A command is withdrawn.
    pub fn cancel_command(&self, id: &CommandId, reason: impl Into<Arc<str>>) -> Cancelled {
        let reason = reason.into();
        self.put(|inbox| inbox.cancel_command(id, reason))
    }

    /// A command's deadline has passed.
    pub fn expire_command(&self, id: &CommandId, reason: impl Into<Arc<str>>) {
        let reason = reason.into();
        self.put(|inbox| inbox.expire_command(id, reason));
    }

    /// A command in flight is over without the driver's answer.
    pub fn forget_command(&self, id: &CommandId) {
        self.put(|inbox| inbox.forget_command(id));
    }

    /// Whoever sent this command holds nothing any more. Answers which of its leases were open.
    pub fn end_held(&self, holder: &CommandId, reason: &str) -> Vec<LeaseId> {
        self.put(|inbox| inbox.end_held(holder, reason))
    }

    /// Something that the frozen world does not name. False if too many urgent events wait.
    pub fn other(&self, kind: impl Into<Arc<str>>, data: impl Into<Arc<str>>) -> bool {
        let event = Event::Other {
            kind: kind.into(),
            data: data.into(),
        };
        self.put(|inbox| inbox.push_urgent(event))
    }

    /// A slice has changed. Wakes nobody if the driver does not observe it, or is to be told already: a slice may change far more often than that.
    pub fn slice_changed(&self, slice: &str) {
        let is_news = self.lock().inbox.slice_changed(slice);
        if is_news {
            self.wake();
        }
    }

    /// Where the marks of a port are.
    pub fn marks(&self, port: PortIndex) -> Option<Marks> {
        self.lock().inbox.marks(port)
    }

    /// Waits until something comes in, somebody [wakes](Self::wake), or the time is over. Returns at once if that happened since the last
    /// wait. Called by the driver's thread alone.
    pub fn wait(&self, timeout: Option<Duration>) {
        let mut state = self.lock();
        state.waiting = true;
        let mut state = match timeout {
            None => self
                .shared
                .changed
                .wait_while(state, |state| !state.changed)
                .unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                self.shared
                    .changed
                    .wait_timeout_while(state, timeout, |state| !state.changed)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        state.waiting = false;
        state.changed = false;
    }

    /// Ends the present or the next [`wait`](Self::wait).
    pub fn wake(&self) {
        self.put(|_| ());
    }

    /// The driver's thread has ended: what comes in from now on is for nobody.
    pub fn abandon(&self) {
        self.lock().is_abandoned = true;
    }

    /// Whether the driver's thread has ended.
    pub fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    /// Looks at or changes the inbox without waking anybody: for the driver's own thread.
    pub fn with<R>(&self, f: impl FnOnce(&mut Inbox) -> R) -> R {
        f(&mut self.lock().inbox)
    }

    fn put<R>(&self, f: impl FnOnce(&mut Inbox) -> R) -> R {
        let mut state = self.lock();
        let answer = f(&mut state.inbox);
        state.changed = true;
        let waiting = state.waiting;
        drop(state);
        if waiting {
            self.shared.changed.notify_one();
        }
        answer
    }

    /// A panic of another thread leaves the inbox usable: no change of it is made in several steps that could be cut in half by a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Taken;
    use super::*;

    #[test]
    fn no_push_is_slept_through() {
        const PUSHES: u64 = 20_000;
        let inbox = SharedInbox::new([PortSetup {
            name: "main".into(),
            ring_capacity_bytes: 1 << 20,
        }]);
        let reader = inbox.clone();
        let port = std::thread::spawn(move || {
            for at in 0..PUSHES {
                let received = CallTime {
                    monotonic_ns: at,
                    wall_ms: 0.0,
                };
                reader.push_bytes(PortIndex(0), &at.to_le_bytes(), received);
            }
        });
        let mut buffer = Vec::new();
        let mut bytes = Vec::new();
        while bytes.len() < 8 * PUSHES as usize {
            let taken = inbox.with(|inbox| {
                let taken = inbox.take(0, &mut buffer)?;
                inbox.pass(&taken);
                Some(taken)
            });
            match taken {
                Some(Taken::Bytes(_)) => bytes.extend_from_slice(&buffer),
                Some(other) => panic!("{other:?}"),
                // Without a time: a push that was slept through would hang here.
                None => inbox.wait(None),
            }
        }
        port.join().unwrap();
        let numbers = bytes
            .chunks_exact(8)
            .map(|number| u64::from_le_bytes(number.try_into().unwrap()));
        assert!(numbers.eq(0..PUSHES));
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let inbox = SharedInbox::new([]);
        inbox.wake();
        inbox.wait(None);
    }
}
