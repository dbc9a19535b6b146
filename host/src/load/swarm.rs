//! One thread that reads many sockets and counts what comes.
//!
//! It has to cost less than what it measures: one epoll for all sockets, one buffer for all reads, frames counted by their headers. Only every
//! n-th client looks into what it is sent, for the time that it took.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::frames::FrameCounter;
use super::handshake::{filter_logs, handshake};
use super::latency::{Latencies, monotonic_ns, sent_ns, since};
use super::log_view::LogView;

/// A daemon drops whom it does not hear for a minute, and asks after half of that.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// A pong that nobody asked for, masked with zeros: the smallest thing that a client may say.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
const READ_BYTES: usize = 256 << 10;
/// What the stop signal is called among the sockets.
const STOP: u64 = u64::MAX;

/// How clients connect.
#[derive(Debug, Clone)]
pub struct SwarmOptions {
    /// Where.
    pub address: SocketAddr,
    /// What goes into `Host`.
    pub authority: String,
    /// Path of the socket.
    pub path: String,
    /// How many.
    pub clients: usize,
    /// How many of them look into what they are sent. They are spread evenly, and take no compressed frames.
    pub samplers: usize,
    /// How many more of them look for log entries and want only every tenth; the last ones that connect. They take no compressed frames either.
    pub filtering: usize,
    /// What the first look for.
    pub look: Look,
    /// Whether the others offer permessage-deflate.
    pub deflate: bool,
    /// Further header lines, without line ends.
    pub headers: Vec<String>,
}

/// What a client that looks into its messages looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Look {
    /// The moments that patches name.
    #[default]
    Latency,
    /// Log entries and what is missing of them.
    Logs,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Text frames.
    pub frames: u64,
    /// Bytes, with headers.
    pub bytes: u64,
    /// Sockets that are still there.
    pub connected: usize,
    /// Processor time of the reading thread.
    pub cpu: Duration,
}

/// The clients. Dropping it closes them.
#[derive(Debug)]
pub struct Swarm {
    tally: Arc<Tally>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
    tid: u64,
    /// How many of the clients were given compression.
    deflated: usize,
    log_views: Vec<Arc<Mutex<LogView>>>,
}

#[derive(Debug, Default)]
struct Tally {
    frames: AtomicU64,
    bytes: AtomicU64,
    connected: AtomicUsize,
    tid: AtomicU64,
    stop: AtomicBool,
    /// Text frames of the first client.
    first: AtomicU64,
    /// What is waited for: so many frames of all, and of the first.
    target: AtomicU64,
    first_target: AtomicU64,
    waiter: Mutex<Option<Thread>>,
    latencies: Mutex<Latencies>,
}

/// What a member looks into.
enum Sampler {
    Latency,
    Logs(Arc<Mutex<LogView>>),
}

struct Member {
    stream: TcpStream,
    frames: FrameCounter,
    /// The frame under way and what is looked for in it, for those who look.
    sampled: Option<(Sampler, Vec<u8>)>,
}

impl Swarm {
    /// Connects clients, one after the other, with the handshake of the socket.
    pub fn connect(options: &SwarmOptions) -> io::Result<Self> {
        let mut members = Vec::with_capacity(options.clients);
        let mut early = Vec::new();
        let mut deflated = 0;
        let mut log_views = Vec::new();
        for number in 0..options.clients {
            let sampler = options.sampler(number);
            if let Some(Sampler::Logs(view)) = &sampler {
                log_views.push(Arc::clone(view));
            }
            let (mut stream, behind, is_deflated) = handshake(options, options.deflate && sampler.is_none())?;
            if options.is_filtering(number) {
                filter_logs(&mut stream)?;
            }
            deflated += usize::from(is_deflated);
            members.push(Member {
                stream,
                frames: FrameCounter::default(),
                sampled: sampler.map(|sampler| (sampler, Vec::new())),
            });
            early.push(behind);
        }
        let mut swarm = Self::start(members, &early, true, deflated)?;
        swarm.log_views = log_views;
        Ok(swarm)
    }

    /// Reads sockets that are connected already and speak at once. With `latency`, each of them looks for the moments of changes.
    pub fn over(streams: Vec<TcpStream>, latency: bool) -> io::Result<Self> {
        let members = streams.into_iter().map(|stream| Member {
            stream,
            frames: FrameCounter::default(),
            sampled: latency.then(|| (Sampler::Latency, Vec::new())),
        });
        Self::start(members.collect(), &[], false, 0)
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let tally = &self.tally;
        Counts {
            frames: tally.frames.load(Ordering::Acquire),
            bytes: tally.bytes.load(Ordering::Relaxed),
            connected: tally.connected.load(Ordering::Relaxed),
            cpu: thread_cpu(self.tid),
        }
    }

    /// How many clients were given permessage-deflate.
    pub fn deflated(&self) -> usize {
        self.deflated
    }

    /// What the clients that look for log entries have of them.
    pub fn log_views(&self) -> Vec<LogView> {
        self.log_views.iter().map(|view| view.lock().clone()).collect()
    }

    /// What the sampling clients saw since the last call.
    pub fn take_latencies(&self) -> Latencies {
        std::mem::take(&mut *self.tally.latencies.lock())
    }

    /// Waits until so many text frames have come since the start. False when they have not within the limit.
    pub fn wait_for(&self, frames: u64, limit: Duration) -> bool {
        self.wait(frames, 0, limit)
    }

    /// Waits until so many text frames have come to all together, and so many to the first that connected.
    pub fn wait(&self, frames: u64, first: u64, limit: Duration) -> bool {
        let tally = &self.tally;
        let is_there = |order| tally.frames.load(order) >= frames && tally.first.load(order) >= first;
        if is_there(Ordering::Acquire) {
            return true;
        }
        let until = Instant::now() + limit;
        *tally.waiter.lock() = Some(std::thread::current());
        // Ordered with the reader's look at it: one of the two sees what the other has written.
        tally.first_target.store(first, Ordering::SeqCst);
        tally.target.store(frames, Ordering::SeqCst);
        loop {
            if is_there(Ordering::SeqCst) {
                tally.target.store(u64::MAX, Ordering::SeqCst);
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Text frames that the first client was sent.
    pub fn first_frames(&self) -> u64 {
        self.tally.first.load(Ordering::Acquire)
    }

    fn start(members: Vec<Member>, early: &[Vec<u8>], speaks: bool, deflated: usize) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(
            &poll,
            &*wake,
            epoll::EventData::new_u64(STOP),
            epoll::EventFlags::IN,
        )?;
        for (number, member) in members.iter().enumerate() {
            member.stream.set_nonblocking(true)?;
            epoll::add(
                &poll,
                &member.stream,
                epoll::EventData::new_u64(number as u64),
                epoll::EventFlags::IN,
            )?;
        }
        let tally = Arc::new(Tally::default());
        tally.target.store(u64::MAX, Ordering::Relaxed);
        tally.connected.store(members.len(), Ordering::Relaxed);
        let mut reader = Reader {
            members: members.into_iter().map(Some).collect(),
            poll,
            tally: Arc::clone(&tally),
            speaks,
            spoken_at: Instant::now(),
        };
        for (number, bytes) in early.iter().enumerate() {
            reader.take(number, bytes);
        }
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("swarm".to_owned())
            .spawn(move || {
                reader.tally.tid.store(tid(), Ordering::Relaxed);
                let _ = ready.send(());
                reader.run();
            })?;
        let _ = is_ready.recv();
        Ok(Self {
            tid: tally.tid.load(Ordering::Relaxed),
            tally,
            wake,
            thread: Some(thread),
            deflated,
            log_views: Vec::new(),
        })
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.tally.stop.store(true, Ordering::Release);
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl SwarmOptions {
    fn is_filtering(&self, number: usize) -> bool {
        number + self.filtering >= self.clients
    }

    /// What a client looks for, if it does.
    fn sampler(&self, number: usize) -> Option<Sampler> {
        let logs = |view| Some(Sampler::Logs(Arc::new(Mutex::new(view))));
        if self.is_filtering(number) {
            return logs(LogView::of_marked());
        }
        let others = self.clients - self.filtering;
        let samplers = self.samplers.min(others);
        if samplers == 0 {
            return None;
        }
        // One in the middle of each of as many parts as there are samplers.
        let part = number * samplers / others;
        let middle = (2 * part + 1) * others / (2 * samplers);
        match self.look {
            _ if number != middle.min(others - 1) => None,
            Look::Latency => Some(Sampler::Latency),
            Look::Logs => logs(LogView::default()),
        }
    }
}

struct Reader {
    members: Vec<Option<Member>>,
    poll: OwnedFd,
    tally: Arc<Tally>,
    speaks: bool,
    spoken_at: Instant,
}

impl Reader {
    fn run(&mut self) {
        let mut buffer = vec![0; READ_BYTES];
        let mut events = Vec::with_capacity(1024);
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        while !self.tally.stop.load(Ordering::Acquire) {
            events.clear();
            match epoll::wait(
                &self.poll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&second),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &events {
                let number = event.data.u64();
                if number != STOP {
                    self.read(usize::try_from(number).unwrap_or(usize::MAX), &mut buffer);
                }
                if number == 0 {
                    self.tell();
                }
            }
            self.tell();
            if self.speaks && self.spoken_at.elapsed() >= SIGN_OF_LIFE {
                self.spoken_at = Instant::now();
                for member in self.members.iter_mut().flatten() {
                    // Whoever cannot take six bytes has not been silent.
                    let _ = member.stream.write(&PONG);
                }
            }
        }
    }

    fn read(&mut self, number: usize, buffer: &mut [u8]) {
        let Some(Some(member)) = self.members.get_mut(number) else {
            return;
        };
        match member.stream.read(buffer) {
            Ok(count) if count > 0 => {
                self.take(number, buffer.get(..count).unwrap_or_default());
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Ok(_) | Err(_) => {
                if let Some(place) = self.members.get_mut(number) {
                    // Closing it takes it out of the epoll.
                    *place = None;
                    self.tally.connected.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn take(&mut self, number: usize, bytes: &[u8]) {
        let Some(Some(Member { frames, sampled, .. })) = self.members.get_mut(number) else {
            return;
        };
        let ended = match sampled {
            None => frames.take(bytes, |_, _| {}),
            Some((sampler, payload)) => {
                let now = monotonic_ns();
                let latencies = &self.tally.latencies;
                frames.take(bytes, |part, is_last| {
                    payload.extend_from_slice(part);
                    if is_last {
                        match sampler {
                            Sampler::Latency => {
                                if let Some(sent) = sent_ns(payload) {
                                    latencies.lock().add(since(sent, now));
                                }
                            }
                            Sampler::Logs(view) => view.lock().take(payload),
                        }
                        payload.clear();
                    }
                })
            }
        };
        // Only this thread writes them.
        self.tally.frames.fetch_add(ended, Ordering::SeqCst);
        if number == 0 {
            self.tally.first.fetch_add(ended, Ordering::SeqCst);
        }
        self.tally.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    fn tell(&self) {
        let tally = &self.tally;
        if tally.frames.load(Ordering::SeqCst) >= tally.target.load(Ordering::SeqCst)
            && tally.first.load(Ordering::SeqCst) >= tally.first_target.load(Ordering::SeqCst)
        {
            tally.target.store(u64::MAX, Ordering::SeqCst);
            if let Some(waiter) = &*tally.waiter.lock() {
                waiter.unpark();
            }
        }
    }
}

fn tid() -> u64 {
    u64::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap_or(0)
}

/// Processor time of a thread of this process, as the scheduler counts it; zero for one that is gone.
fn thread_cpu(tid: u64) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use autobench_core::frame;

    use super::*;

    #[test]
    fn a_swarm_counts_what_every_socket_is_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            far.push(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            near.push(listener.accept().unwrap().0);
        }
        let swarm = Swarm::over(far, false).unwrap();
        let bytes = [frame::text(b"one"), frame::ping(b""), frame::text(b"two")].concat();
        for socket in &mut near {
            socket.write_all(&bytes).unwrap();
        }
        assert!(swarm.wait_for(40, Duration::from_secs(10)));
        let counts = swarm.counts();
        assert_eq!(
            (counts.frames, counts.bytes, counts.connected),
            (40, 20 * bytes.len() as u64, 20)
        );
        assert!(!swarm.wait_for(41, Duration::from_millis(20)));
    }
}
