//! HTTP: what is asked for, by whom it may be asked, and where a socket begins.
//!
//! ```text
//! accept -> (house full? 503) -> hyper -> Host, Origin, body type, who asks -> the route's gate -> answer + headers -> request log
//!                                                                                    |
//!                                                                                 /ws: handshake -> bare socket -> hub
//! ```
//!
//! Each connection is one task of the accepting task, which ends when they have ended: nothing is detached. A connection that does not send
//! its request's head or body in time is cut, and so is one that takes nothing of its answer (`stream`, `body`). Large answers are handed over
//! piece by piece, and whoever has a number of bytes of them under way gets no more (`answers`). There is room for only so many connections;
//! when one more comes, the one that has waited longest for its peer goes (`places`). Sockets do not count here once they are the hub's, which
//! has a limit of its own, and counts listeners over server-sent events too; nor do requests that wait for something to happen, which are limited
//! by themselves (`commands`).

mod answers;
mod bench;
mod body;
mod commands;
mod events;
mod gate;
mod ingest;
mod json;
mod metrics;
mod names;
mod often;
mod openapi;
mod page;
mod places;
mod plugins;
mod problem;
mod query;
mod request_log;
mod routes;
mod session;
mod shadow;
mod socket;
mod stream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

use crate::access::Guard;
use crate::driver::desk::Desk;
use crate::driver::endpoints::Endpoints;
use crate::driver::shadow::ShadowRuns;
use crate::hub::Hub;
use crate::logs::LogHandle;
use crate::metrics::Registry;
use crate::shares::Shares;
use crate::state::StateHandle;
use answers::{Answers, Taker};
use body::{Lateness, Timed};
use gate::Visitor;
use ingest::Intake;
use metrics::HttpMetrics;
use names::Names;
use often::Often;
use page::Files;
use places::{Place, Places, Room, Taken};
use problem::Problem;
use request_log::RequestLog;
use socket::Handshake;
use stream::{Pace, Stream};

/// How the daemon serves HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Names beside the listen address and localhost that a `Host` header may carry: `name` or `name:port`.
    pub allowed_hosts: Vec<String>,
    /// The built mirror.
    pub web_dir: Option<PathBuf>,
    /// How long a client may take for a request's head, and again for its body, and a connection may idle.
    pub header_timeout: Duration,
    /// How long a socket may take nothing of its answer, or so little that it is below `least_bytes_per_s`.
    pub stall_timeout: Duration,
    /// What a socket has to take of an answer per second, over each such time in which it holds the daemon up.
    pub least_bytes_per_s: u32,
    /// Connections at once that speak HTTP. When one more comes, the one that has waited longest for its peer is cut; if the daemon is busy
    /// with all of them, the new one is answered 503.
    pub connections: usize,
    /// How long each of them may at least wait before it has to make room.
    pub least_wait: Duration,
    /// Requests at once that wait for something to happen, such as a command's end. They are none of the connections meanwhile. One more does not
    /// wait: 429, or where it has done something the answer as it is then.
    pub waits: usize,
    /// How many of them may be one actor's, or one address's where nobody has to say who it is; this machine may have all of them then.
    pub waits_of_one: usize,
    /// Bytes of large answers under way to one actor, or to one address where nobody has to say who it is; four times as many to this machine
    /// then. Whoever has them gets no further one, with 429; below that the next one may be of any size, and counts as at most half of this.
    pub answer_bytes: u64,
    /// Whether `/ws/echo` is there, for suites that test the socket from outside.
    pub test_endpoints: bool,
    /// Share of the requests that went well and changed nothing that is printed, from 0 to 1.
    pub request_sample: f64,
    /// Channels of the log that may be written to from outside; empty for all but the audit's.
    pub ingest_channels: Vec<String>,
    /// Numbers of telemetry series.
    pub series: Endpoints,
    /// How long answers under way, and clients, may take at the end.
    pub grace: Duration,
    /// Where orders about versions of drivers are laid down.
    pub desk: Desk,
    /// Where shadow runs are asked for.
    pub shadow_runs: ShadowRuns,
    /// What `/metrics` asks. State, log, hub and HTTP add themselves.
    pub metrics: Registry,
}

impl HttpConfig {
    /// The documented defaults.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            allowed_hosts: Vec::new(),
            web_dir: None,
            header_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(10),
            least_bytes_per_s: 1024,
            connections: 256,
            least_wait: Duration::from_millis(250),
            waits: 256,
            waits_of_one: 64,
            answer_bytes: 32 << 20,
            test_endpoints: false,
            request_sample: 1.0,
            ingest_channels: Vec::new(),
            series: Endpoints::in_memory(),
            grace: Duration::from_secs(3),
            desk: Desk::closed(),
            shadow_runs: ShadowRuns::default(),
            metrics: Registry::default(),
        }
    }
}

/// The serving daemon.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    grace: Duration,
    hub: Hub,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: StateHandle,
    logs: LogHandle,
    hub: Hub,
    files: Files,
    names: Names,
    registry: Registry,
    metrics: Arc<HttpMetrics>,
    stop: watch::Receiver<bool>,
    body_timeout: Duration,
    has_test_endpoints: bool,
    /// Name of the session's cookie. Cookies know no ports, so it has this daemon's in it: two daemons on one machine do not end each other's
    /// sessions.
    cookie: String,
    series: Endpoints,
    intake: Intake,
    often: Often,
    requests: RequestLog,
    answers: Answers,
    waits: Arc<Shares<Taker>>,
    desk: Desk,
    shadow_runs: ShadowRuns,
}

impl Server {
    /// Binds and serves. Needs a tokio runtime.
    pub async fn start(
        config: HttpConfig,
        state: StateHandle,
        logs: LogHandle,
        hub: Hub,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let local_addr = listener.local_addr()?;
        let stop = watch::channel(false).0;
        let metrics = Arc::new(HttpMetrics::default());
        metrics::register(&config.metrics, &state, &logs, &hub, &metrics);
        let shared = Arc::new(Shared {
            registry: config.metrics.clone(),
            metrics,
            stop: stop.subscribe(),
            requests: RequestLog::new(logs.clone(), config.request_sample),
            cookie: format!("autobench-session-{}", local_addr.port()),
            series: config.series.clone(),
            intake: Intake::new(config.ingest_channels.clone()),
            answers: Answers::new(config.answer_bytes),
            waits: Shares::new(config.waits, config.waits_of_one),
            often: Often::default(),
            desk: config.desk.clone(),
            shadow_runs: config.shadow_runs.clone(),
            state,
            logs,
            hub: hub.clone(),
            files: Files::new(config.web_dir.clone()),
            names: Names::new(local_addr, &config.allowed_hosts),
            body_timeout: config.header_timeout,
            has_test_endpoints: config.test_endpoints,
        });
        let grace = config.grace;
        let accepting = tokio::spawn(accept(listener, config, shared, stop.subscribe()));
        Ok(Self {
            local_addr,
            grace,
            hub,
            stop,
            accepting,
        })
    }

    /// Where it serves; the port is a real one.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, lets answers under way end, says goodbye to every client (1001), all within the grace period.
    pub async fn close(self) {
        self.stop.send_replace(true);
        self.hub.close(self.grace).await;
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the server ended badly");
        }
    }
}

/// Accepts until it is told to stop, then sees its connections out.
async fn accept(
    listener: TcpListener,
    config: HttpConfig,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let router = routes::router(Arc::clone(&shared));
    let places = Places::new(config.connections, config.least_wait);
    let porch = Arc::new(Semaphore::new(PORCH));
    let mut connections = JoinSet::new();
    connections.spawn(settle_record(shared.hub.guard().clone(), stop.clone()));
    loop {
        let (stream, mut peer) = tokio::select! {
            () = told_to_stop(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the peer was gone at once. The first goes on until somebody closes one, which the system tells
                    // nobody: a pause, so that this does not spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        // A listener for both families names an IPv4 peer as an IPv6 address, which would be no loopback and not the one that a proxy names.
        peer.set_ip(peer.ip().to_canonical());
        shared.metrics.connections.inc();
        let room = loop {
            match places.take() {
                Room::Taken(taken) => break Some(taken),
                Room::None => break None,
                Room::Soon(at) => tokio::select! {
                    () = told_to_stop(&mut stop) => break None,
                    () = places.freed() => {}
                    () = tokio::time::sleep_until(at.into()) => {}
                },
            }
        };
        let Some(taken) = room else {
            shared.metrics.turned_away.inc();
            turn_away(stream, &porch, &mut connections);
            continue;
        };
        let pace = Pace {
            window: config.stall_timeout,
            least_bytes_per_s: config.least_bytes_per_s,
        };
        let taken = Arc::new(taken);
        let stream = Stream::new(stream, Arc::clone(taken.place()), pace);
        let (router, shared, header_timeout) = (router.clone(), Arc::clone(&shared), config.header_timeout);
        let stop = stop.clone();
        connections.spawn(async move {
            let handshake = serve(stream, peer, &taken, router, &shared, header_timeout, stop).await;
            drop(taken);
            handshake.finish(&shared.hub).await;
        });
    }
    drop(listener);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(config.grace, all_gone).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "did not end within {:?}; dropped",
            config.grace
        );
        connections.shutdown().await;
    }
}

/// One connection, from its first request to its last, or to its upgrade.
async fn serve(
    stream: Stream,
    peer: SocketAddr,
    taken: &Arc<Taken>,
    router: Router,
    shared: &Arc<Shared>,
    header_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) -> Handshake {
    let handshake = Handshake::default();
    let place = taken.place();
    let service = service_fn(|request| {
        let busy = place.busy();
        let answer = answer(
            Arc::clone(shared),
            router.clone(),
            handshake.clone(),
            peer,
            Arc::clone(taken),
            request,
        );
        async { Ok::<_, Infallible>(answer.await?.map(|body| body::hold(body, busy))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = place.told_to_leave() => {
            tracing::debug!(%peer, "a connection that waited made room for another");
            Ok(())
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
    handshake
}

/// Has the record say what it left out, as soon as it may, where nobody waits for the disk.
async fn settle_record(guard: Guard, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = told_to_stop(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        if guard.audit().counts() {
            let guard = guard.clone();
            // It is over when the line is written, or its thread has panicked, which the panic hook has said.
            let _ = tokio::task::spawn_blocking(move || guard.audit().settle()).await;
        }
    }
}

/// Also when whoever could say so is gone.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// One request: checked, answered, protected, logged.
async fn answer(
    shared: Arc<Shared>,
    router: Router,
    handshake: Handshake,
    peer: SocketAddr,
    taken: Arc<Taken>,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let begin = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let visitor = check(&shared.names, &request)
        .and_then(|()| Visitor::of(&shared, request.uri(), request.headers(), peer));
    let mut response = match visitor {
        Ok(visitor) => {
            let taker = visitor.taker(&shared);
            request.extensions_mut().insert(handshake);
            request.extensions_mut().insert(visitor);
            let place = Arc::clone(taken.place());
            request.extensions_mut().insert(taken);
            let (request, lateness) = timed(request, shared.body_timeout, place);
            let response = router.oneshot(request).await?;
            match lateness {
                Some(lateness) if lateness.is_late() => Problem::RequestTimeout.into_response(),
                _ if method == Method::GET => shared.answers.begin(taker, response),
                _ => response,
            }
        }
        Err(problem) => problem.into_response(),
    };
    page::protect(&mut response);
    if response.status().is_informational() {
        // The router counts the bytes of every body; an upgrade has none, and may not name a length.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let (status, took) = (response.status(), begin.elapsed());
    shared.metrics.answered(status.as_u16(), took);
    shared.requests.note(&method, &path, status, took);
    Ok(response)
}

/// Gives a body its time. A request without one needs no timer.
fn timed(
    request: Request<Incoming>,
    limit: Duration,
    place: Arc<Place>,
) -> (Request<Body>, Option<Lateness>) {
    if request.body().is_end_stream() {
        return (request.map(Body::new), None);
    }
    let (head, body) = request.into_parts();
    let (body, lateness) = Timed::new(body, limit, place);
    (Request::from_parts(head, Body::new(body)), Some(lateness))
}

fn check(names: &Names, request: &Request<Incoming>) -> Result<(), Problem> {
    let is_upgrade =
        request.headers().contains_key(header::UPGRADE) || request.uri().path().starts_with("/ws");
    names.check(request.method(), request.uri(), request.headers(), is_upgrade)?;
    if !request.body().is_end_stream() && !is_json(request.headers()) {
        return Err(Problem::UnsupportedMediaType);
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// The daemon is busy with every connection. The answer fits into any socket's buffer, so nobody waits for it to be read; but the peer has
/// often sent its request already, and closing with unread bytes would take the answer back with a reset. So it is heard out, off the road:
/// beyond [`PORCH`] such peers, one more is closed at once.
fn turn_away(stream: TcpStream, porch: &Arc<Semaphore>, connections: &mut JoinSet<()>) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/problem+json\r\n\
        Content-Length: 135\r\n\r\n{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\
        \"code\":\"too-many-connections\",\"detail\":\"too many connections at once\"}";
    let _ = stream.try_write(ANSWER);
    if let Ok(permit) = Arc::clone(porch).try_acquire_owned() {
        connections.spawn(async move {
            stream::hear_out(stream).await;
            drop(permit);
        });
    }
}

/// Connections that are told that there is no room, at once.
const PORCH: usize = 64;
