//! The fan-out: what happens on the bench, on as many screens as are open.
//!
//! ```text
//! state --changes--+                      +--> client (socket taken without waiting)
//! logs  --changes--+--> one loop (pass) --+--> client
//! samples, events -+                      +--> client that would block: its own task writes until it has caught up
//! ```
//!
//! Every channel is a ring of segments that are encoded once (`autobench_core::outbox`); a client is a few positions in those rings. One loop,
//! `run`, writes to every client that keeps up, and never waits for any. Each client has one task (`session`) that reads, and that
//! writes while its client does not keep up. Files: `run` the loop, `channels` the rings and how a client joins them, `series` telemetry,
//! `client` what a client is owed, `contexts` how that is compressed once for all, `personal` what goes to one client only, `session` its
//! messages, `feed` listeners over server-sent events, `seat` and `strangers` their places, `counters` what the state says of it all.
//!
//! Bounds: segments 8 MiB per channel, 1 MiB per series; a client that fell off gets a snapshot (state) or is told what it missed (others).
//! 128 personal items per client; a client that fills them is closed with 1008. Clients: one more is refused before the upgrade. A socket
//! that takes nothing for 10 s is dropped. Nothing here can slow a port or a driver: pushing samples, events and state is a short lock.
//!
//! It does not know HTTP: a client begins as a socket whose handshake is done.

mod blocks;
mod channels;
mod client;
mod config;
mod contexts;
mod counters;
mod feed;
mod following;
mod metrics;
mod personal;
mod run;
mod seat;
mod series;
mod session;
mod strangers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autobench_core::driver::Sample;
use autobench_core::frame::CloseCode;
use autobench_core::outbox::{Channel, Cursor, Resume};
use autobench_core::wire::{
    Alarm, ClientEntry, CommandStatus, Event, Limits, PROTOCOL, ServerMessage, Welcome, iso8601,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::access::{Actor, Guard};
use crate::commands::{Router, WeakRouter};
use crate::logs::LogHandle;
use crate::metrics::Page;
use crate::state::StateHandle;
use channels::Channels;
use client::{At, Client, Opening, Stage};
use feed::Listener;
use following::Following;
use metrics::{Lag, LagWatch};
use personal::Full;
use run::Loop;
use seat::Purpose;
use session::Session;
use strangers::Strangers;

pub use config::HubConfig;
pub use feed::{Feed, FeedRequest, Part};
pub use metrics::HubMetrics;
pub use seat::{NoSeat, Seat};
pub use series::EndpointInfo;

/// The fan-out. Cheap to clone; every clone is the same hub.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
    /// Only handles have it, and neither the loop nor the clients' tasks, which live as long as the hub runs.
    _handles: Arc<Handles>,
}

/// Ends the hub when its last handle goes without [`Hub::close`].
#[derive(Debug)]
struct Handles(Arc<Shared>);

impl Drop for Handles {
    fn drop(&mut self) {
        // Closed already, unless nobody took the loop's thread. A thread that is not waited for ends all the same.
        if self.0.run.lock().take().is_some() {
            self.0.is_orphaned.store(true, Ordering::Release);
            self.0.stop.send_replace(true);
        }
    }
}

/// A socket whose handshake is done.
#[derive(Debug)]
pub struct Arrival {
    /// The socket.
    pub stream: TcpStream,
    /// Who is at its other end.
    pub peer: SocketAddr,
    /// What the client sent behind the handshake.
    pub early: Bytes,
    /// The place that was taken for it.
    pub seat: Seat,
    /// Who it is, if that is known.
    pub actor: Option<Actor>,
    /// What the client has already, if it says so.
    pub resume: Option<Resume>,
    /// Alarms and events from the start, for a client that has no message to ask for them.
    pub begins_with: Vec<Channel>,
    /// Whether it asked for our subprotocol. Who did not gets `connected` as well.
    pub speaks_ours: bool,
}

#[derive(Debug)]
struct Shared {
    config: HubConfig,
    channels: Channels,
    /// Who follows which commands.
    following: Following,
    /// Takes commands. It tells the hub of every stage, so it is the one that keeps the other alive.
    router: OnceLock<WeakRouter>,
    /// Copied when it changes, so that a pass over it holds no lock.
    clients: Mutex<Arc<Vec<Arc<Client>>>>,
    /// Their number, for those who may not wait for that lock: the counters hold the store's.
    client_count: AtomicUsize,
    /// Listeners over server-sent events, by number.
    listeners: Mutex<BTreeMap<u64, Arc<Listener>>>,
    listener_count: AtomicUsize,
    /// What `meta` says of how far they are behind.
    lag: LagWatch,
    seats: AtomicUsize,
    /// Those of them for somebody whom nobody knows.
    strangers: Strangers,
    next_number: AtomicU64,
    /// Numbers the events that clients cause.
    next_event: AtomicU64,
    /// Samples or messages wait to be put into segments; only the first of them wakes the loop.
    has_news: AtomicBool,
    news: Notify,
    /// Rises when everybody who keeps up was written what is new: listeners look at the rings then.
    passed: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    /// Closed behind the loop's last pass, however the loop ended: nothing comes any more, and listeners end.
    over: watch::Receiver<()>,
    /// Nobody closes the hub any more: the loop says goodbye to the clients itself.
    is_orphaned: AtomicBool,
    run: Mutex<Option<Loop>>,
    sessions: Mutex<JoinSet<()>>,
}

impl Hub {
    /// Starts the loop. Needs a tokio runtime, on which the clients' tasks run.
    pub fn start(config: HubConfig, state: StateHandle, logs: LogHandle) -> Self {
        let (running, over) = watch::channel(());
        let shared = Arc::new(Shared {
            channels: Channels::new(state.clone(), logs, config.ring_bytes),
            strangers: Strangers::in_a_house_of(config.limits.clients as usize),
            config,
            following: Following::default(),
            router: OnceLock::new(),
            clients: Mutex::default(),
            client_count: AtomicUsize::new(0),
            listeners: Mutex::default(),
            listener_count: AtomicUsize::new(0),
            lag: LagWatch::default(),
            seats: AtomicUsize::new(0),
            next_number: AtomicU64::new(1),
            next_event: AtomicU64::new(1),
            has_news: AtomicBool::new(false),
            news: Notify::new(),
            passed: watch::channel(0).0,
            stop: watch::channel(false).0,
            over,
            is_orphaned: AtomicBool::new(false),
            run: Mutex::new(None),
            sessions: Mutex::new(JoinSet::new()),
        });
        counters::count(&shared, &state);
        *shared.run.lock() = run::begin_loop(&shared, running);
        Self {
            _handles: Arc::new(Handles(Arc::clone(&shared))),
            shared,
        }
    }

    /// Makes a telemetry series known, or gives a known one a new name or unit.
    pub fn register_endpoint(&self, info: EndpointInfo) {
        self.shared.channels.register(info);
    }

    /// Every telemetry series that is known, by number.
    pub fn endpoints(&self) -> Vec<EndpointInfo> {
        self.shared.channels.endpoints()
    }

    /// A telemetry series, if it is known.
    pub fn endpoint(&self, endpoint_id: u32) -> Option<EndpointInfo> {
        let series = self.shared.channels.series(endpoint_id)?;
        Some(series.info())
    }

    /// The last ten minutes of a series; none if it is not known.
    pub fn history(&self, endpoint_id: u32) -> Option<(EndpointInfo, Vec<Sample>)> {
        let series = self.shared.channels.series(endpoint_id)?;
        Some((series.info(), series.history()))
    }

    /// Takes samples of a series in, oldest first. Never waits for a client. Samples of an unknown series are dropped.
    pub fn push_samples(&self, endpoint_id: u32, samples: &[Sample]) {
        if let Some(series) = self.shared.channels.series(endpoint_id) {
            series.push(samples);
            self.shared.wake();
        }
    }

    /// Sends an event to whoever subscribed to events.
    pub fn publish_event(&self, event: Event) {
        self.shared.publish_event(event);
    }

    /// The driver of a device runs no more: the blocks that it ran are over.
    pub fn abort_blocks(&self, device: &str) {
        self.shared.channels.blocks.abort(device);
        self.shared.wake();
    }

    /// Every client, listeners too, in the order in which they came.
    pub fn entries(&self) -> Vec<ClientEntry> {
        let channels = &self.shared.channels;
        let (version, newest_seq) = (channels.state.version(), channels.logs.metadata().next_seq - 1);
        let clients = Arc::clone(&self.shared.clients.lock());
        let mut entries: BTreeMap<u64, ClientEntry> = clients
            .iter()
            .map(|client| (client.number, client.entry(version, newest_seq)))
            .collect();
        for (number, listener) in self.shared.listeners.lock().iter() {
            entries.insert(*number, listener.entry(version, newest_seq));
        }
        entries.into_values().collect()
    }

    /// Sends an alarm to whoever subscribed to alarms.
    pub fn publish_alarm(&self, alarm: Alarm) {
        self.shared
            .channels
            .publish_message(Channel::Alarms, &ServerMessage::Alarm(alarm));
        self.shared.wake();
    }

    /// Sends a stage of a command to whoever follows it, or all of them.
    pub fn publish_command(&self, status: &CommandStatus) {
        let message = ServerMessage::CommandStatus(status.clone());
        let shared = &self.shared;
        shared
            .following
            .tell(&status.command_id, status.status.is_final(), || {
                let (number, frame) = shared.channels.publish_message(Channel::Commands, &message);
                Stage {
                    at: At::Segment(number),
                    frame,
                }
            });
        shared.wake();
    }

    /// Lets clients ask for commands from now on.
    pub fn serve_commands(&self, router: &Router) {
        // There is one router in a daemon; a second is not heard.
        let _ = self.shared.router.set(router.downgrade());
    }

    /// Who takes commands, once the daemon has come so far.
    pub fn commands(&self) -> Option<Router> {
        self.shared.router.get()?.upgrade()
    }

    /// How many clients are connected, listeners among them.
    pub fn clients(&self) -> usize {
        self.shared.client_count()
    }

    /// What was counted.
    pub fn metrics(&self) -> &HubMetrics {
        &self.shared.channels.metrics
    }

    /// Says it to a scraper, with how far clients are behind now.
    pub fn page(&self, page: &mut Page) {
        let version = self.shared.channels.state.published();
        let lag = self.shared.lag(version, std::time::Instant::now());
        self.metrics().page(page, self.clients(), lag);
    }

    /// Whether an offer of permessage-deflate is to be taken.
    pub fn accepts_deflate(&self) -> bool {
        self.shared.config.deflate
    }

    /// Who a client can be.
    pub fn guard(&self) -> &Guard {
        &self.shared.config.guard
    }

    /// What clients may ask for.
    pub fn limits(&self) -> &Limits {
        &self.shared.config.limits
    }

    /// Where a client goes on that was away, if it can: behind this place of the stream of patches, and behind `resume.log_seq` in the log.
    pub fn resume(&self, resume: &Resume) -> Option<Cursor> {
        let channels = &self.shared.channels;
        channels.state.resume(resume, channels.logs.metadata().next_seq)
    }

    /// Serves a socket. Without an actor the client has to say who it is before it gets anything. Returns at once; the client's task belongs to the hub.
    pub fn adopt(&self, arrival: Arrival) {
        let Arrival {
            stream,
            peer,
            early,
            seat,
            actor,
            resume,
            begins_with,
            speaks_ours,
        } = arrival;
        let shared = &self.shared;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "the socket cannot send small messages at once");
        }
        // The system takes what a stalled client does not; this much is enough for a fast one.
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
        let number = shared.next_number.fetch_add(1, Ordering::Relaxed);
        let client = match seat.purpose {
            Purpose::Bench => {
                let resumed = resume.and_then(|resume| Some((self.resume(&resume)?, resume.log_seq)));
                let welcome = shared.welcome(number, resumed.is_some(), actor.is_none());
                let opening = Opening {
                    resumed,
                    history_entries: shared.config.history_entries,
                    begins_with,
                    says_connected: !speaks_ours,
                };
                Client::new(number, peer, stream, &welcome, actor, opening, &shared.channels)
            }
            Purpose::Echo { .. } => Client::bare(number, peer, stream, actor),
        };
        let compression = seat.deflate.map(|agreement| agreement.compression);
        let client = Arc::new(client.compressed(compression));
        let session = Session::new(Arc::clone(&client), Arc::clone(shared), seat);
        let mut sessions = shared.sessions.lock();
        // Under this lock, which `close` takes after it has said stop: a client is either told to go there or not begun here.
        if *shared.stop.borrow() {
            return;
        }
        shared.change_clients(|clients| clients.push(client));
        shared.channels.metrics.clients.inc();
        while sessions.try_join_next().is_some() {}
        sessions.spawn(session.run(early));
    }

    /// Whether the loop runs: without it nobody hears anything.
    pub fn is_running(&self) -> bool {
        let run = self.shared.run.lock();
        run.as_ref().is_some_and(|run| !run.thread.is_finished()) && !*self.shared.stop.borrow()
    }

    /// Says goodbye to every client (1001), waits at most `grace` for them, and stops the loop.
    pub async fn close(&self, grace: Duration) {
        let shared = &self.shared;
        shared.stop.send_replace(true);
        // First, because its last pass is how clients see what stopping did.
        let run = shared.run.lock().take();
        if let Some(run) = run {
            // An error says that the sender is gone: so is the thread.
            let _ = run.ended.await;
            if run.thread.join().is_err() {
                tracing::error!("the hub's loop ended badly; standard error says how");
            }
        }
        let mut sessions = std::mem::take(&mut *shared.sessions.lock());
        // A copy, as in every pass: closing takes the client's own lock, behind which somebody may wait for the store.
        let clients = Arc::clone(&shared.clients.lock());
        for client in clients.iter() {
            client.close(CloseCode::GoingAway, "the daemon is stopping");
        }
        let all_gone = async { while sessions.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all_gone).await.is_err() {
            tracing::warn!(clients = sessions.len(), "did not go within {grace:?}; dropped");
            sessions.shutdown().await;
        }
    }
}

/// What the system may hold of a client's bytes before they are sent: more only hides that a client does not read.
const UNSENT_BYTES: u32 = 256 << 10;

impl Shared {
    fn wake(&self) {
        if !self.has_news.swap(true, Ordering::AcqRel) {
            self.news.notify_one();
        }
    }

    fn publish_event(&self, event: Event) {
        self.channels.blocks.take(&event);
        self.channels
            .publish_message(Channel::Events, &ServerMessage::Event(event));
        self.wake();
    }

    /// Lets a client have a channel.
    fn begin(&self, client: &Client, channel: Channel) -> Result<(), Full> {
        match channel {
            Channel::Commands => self
                .following
                .between_stages(|| client.want(channel, &self.channels)),
            _ => client.want(channel, &self.channels),
        }
    }

    /// Ends a channel for a client.
    fn end(&self, client: &Client, channel: Channel) {
        match channel {
            Channel::Commands => self.following.between_stages(|| client.unwant(channel)),
            _ => client.unwant(channel),
        }
    }

    fn forget(&self, client: &Arc<Client>) {
        self.change_clients(|clients| clients.retain(|known| known.number != client.number));
    }

    fn change_clients(&self, change: impl FnOnce(&mut Vec<Arc<Client>>)) {
        let mut clients = self.clients.lock();
        change(Arc::make_mut(&mut clients));
        self.client_count.store(clients.len(), Ordering::Release);
    }

    fn change_listeners(&self, change: impl FnOnce(&mut BTreeMap<u64, Arc<Listener>>)) {
        let mut listeners = self.listeners.lock();
        change(&mut listeners);
        self.listener_count.store(listeners.len(), Ordering::Release);
    }

    fn client_count(&self) -> usize {
        self.client_count.load(Ordering::Acquire) + self.listener_count.load(Ordering::Acquire)
    }

    fn welcome(&self, number: u64, resumed: bool, auth_required: bool) -> ServerMessage {
        ServerMessage::Welcome(Welcome {
            protocol: PROTOCOL.to_owned(),
            server_time: iso8601(now_ms()),
            server_version: self.config.server_version.clone(),
            boot_id: self.channels.state.boot_id().to_owned(),
            client_id: client::id(number),
            limits: self.config.limits,
            features: ["telemetry", "events", "alarms", "commands", "replay", "resume"]
                .map(str::to_owned)
                .to_vec(),
            resumed,
            auth_required,
        })
    }

    /// How far clients and listeners are behind `version`.
    fn lag(&self, version: u64, now: std::time::Instant) -> Lag {
        let clients = Arc::clone(&self.clients.lock());
        let mut lag = Lag::default();
        for client in clients.iter() {
            client.add_lag(&mut lag, version, now);
        }
        for listener in self.listeners.lock().values() {
            listener.add_lag(&mut lag, version, now);
        }
        lag
    }
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
