//! `autobench bench`: what a daemon does under load.
//!
//! Without `--url` a daemon of its own is started, as a process beside this one, on an empty bench; its load comes from a writer inside it. With
//! `--url` a running daemon is measured, and changes are asked for over HTTP. What the daemon says at `/metrics` before and after gives its
//! processor time and its memory; what the clients count is done here.

mod daemon;
mod http;
mod report;
mod scrape;
mod updater;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::target::Target;
use super::{BenchCommand, Failure, FanoutArguments, LogsArguments};
use crate::cli::Announcer;
use crate::load::{Counts, Look, Swarm, SwarmOptions};
use daemon::OwnDaemon;
use report::{Fanout, Logs};
use scrape::Scrape;
use updater::Updater;

/// How long a daemon may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// Load before the measurement begins: caches and branches are warm then.
const WARM_UP: Duration = Duration::from_secs(1);
/// Frames that every client is sent first: welcome, snapshot, history.
const FIRST_FRAMES: u64 = 3;
/// Clients that come and go before the memory of the others is measured, so that what is allocated once is there.
const FORERUNNERS: usize = 50;
/// Clients that look into what they are sent: enough to speak for all, and few enough to cost nothing beside them.
const LOOKING: usize = 10;
/// How often a daemon is asked whether something has become true there.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often a daemon is asked how much memory it has.
const MEMORY_INTERVAL: Duration = Duration::from_millis(250);

pub(super) fn bench(arguments: &BenchCommand, token: Option<&str>, json: bool) -> Result<(), Failure> {
    match arguments {
        BenchCommand::Fanout(arguments) => Ok(fanout(arguments, token, Announcer::new(json))?),
        BenchCommand::Logs(arguments) => Ok(logs(arguments, Announcer::new(json))?),
    }
}

/// A daemon that is measured.
#[derive(Debug)]
struct Measured {
    target: Target,
    address: SocketAddr,
}

/// How its clients differ.
#[derive(Debug, Default)]
struct Mix {
    clients: usize,
    looking: usize,
    filtering: usize,
    look: Look,
    deflate: bool,
}

impl Measured {
    fn at(url: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let target = Target::parse(url)?.with_token(token);
        let mut all = target
            .address
            .to_socket_addrs()
            .with_context(|| format!("the name in {} cannot be resolved", target.address))?;
        let address = all
            .next()
            .with_context(|| format!("the name in {} has no address", target.address))?;
        Ok(Self { target, address })
    }

    /// What every request carries besides `Host`.
    fn headers(&self) -> Vec<String> {
        let token = self.target.token.iter();
        token
            .map(|token| format!("Authorization: Bearer {}", token.reveal()))
            .collect()
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        TcpStream::connect_timeout(&self.address, PATIENCE).with_context(|| {
            format!(
                "no daemon answers on {} — start one with `autobench serve`, or leave --url away",
                self.address
            )
        })
    }

    fn swarm(&self, mix: &Mix) -> anyhow::Result<Swarm> {
        let Mix {
            clients, filtering, ..
        } = *mix;
        let swarm = Swarm::connect(&SwarmOptions {
            address: self.address,
            authority: self.target.authority.clone(),
            path: self.target.path.clone(),
            clients,
            samplers: mix.looking,
            filtering,
            look: mix.look,
            deflate: mix.deflate,
            headers: self.headers(),
        });
        let swarm = swarm.with_context(|| {
            format!("{clients} clients cannot connect to {}; it may allow fewer (daemon.limits.clients), and so may `ulimit -n` here", self.address)
        })?;
        // A filter is acknowledged.
        let first = FIRST_FRAMES * clients as u64 + filtering as u64;
        if !swarm.wait_for(first, PATIENCE) {
            bail!(
                "the clients were not sent their first messages within {} s by {}",
                PATIENCE.as_secs(),
                self.address
            );
        }
        Ok(swarm)
    }

    fn scrape(&self) -> anyhow::Result<Scrape> {
        Scrape::take(self).with_context(|| format!("{} cannot be measured", self.address))
    }
}

/// Looks until a look gives something; nothing if that takes too long. A daemon says what it counts when it is asked, and the clients are
/// read by a thread that wakes nobody for it: so this asks again after a moment.
fn poll<T>(mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<Option<T>> {
    let begin = Instant::now();
    loop {
        let found = look()?;
        if found.is_some() || begin.elapsed() > PATIENCE {
            return Ok(found);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Lets the load go on for so long. What is measured is what happens meanwhile in other threads and in the daemon, so this only waits; less
/// long if the load ends.
fn let_run(updater: Option<&Updater>, duration: Duration) -> anyhow::Result<()> {
    match updater {
        Some(updater) => updater.run_for(duration),
        None => {
            std::thread::sleep(duration);
            Ok(())
        }
    }
}

fn fanout(arguments: &FanoutArguments, token: Option<&str>, announcer: Announcer) -> anyhow::Result<()> {
    let (mut own, daemon) = match &arguments.url {
        Some(url) => (None, Measured::at(url, token)?),
        None => {
            let own = OwnDaemon::start(arguments.clients, arguments.interval_ms)?;
            let daemon = Measured::at(own.url(), None)?;
            (Some(own), daemon)
        }
    };
    // Who looks takes no compressed frames, so that of clients with deflate at most every tenth may look.
    let mix = |clients: usize| Mix {
        clients,
        looking: LOOKING.min(if arguments.deflate { clients / 10 } else { clients }),
        look: Look::Latency,
        deflate: arguments.deflate,
        ..Mix::default()
    };
    let others = daemon.scrape()?.get(CLIENTS);
    drop(daemon.swarm(&mix(FORERUNNERS.min(arguments.clients)))?);
    // Who left is counted out a moment later; then the memory is what it is without them, and their places are free.
    let without = || {
        let now = daemon.scrape()?;
        Ok((now.get(CLIENTS) <= others).then_some(now))
    };
    let empty = match poll(without)? {
        Some(empty) => empty,
        // Somebody else has come.
        None => daemon.scrape()?,
    };
    let connecting = Instant::now();
    let swarm = daemon.swarm(&mix(arguments.clients))?;
    let connected = connecting.elapsed();
    if arguments.deflate && swarm.deflated() == 0 {
        bail!(
            "{} compresses for none of the clients: deflate is off there (daemon.deflate); switch it on, or leave --deflate away",
            daemon.address
        );
    }
    let idle = daemon.scrape()?;

    let updater = match own {
        Some(ref mut own) => {
            own.order(&format!(
                "updates {} {}",
                arguments.rate, arguments.messages_per_flush
            ))?;
            None
        }
        None if arguments.rate > 0.0 => Some(Updater::start(&daemon, arguments.rate)?),
        None => None,
    };
    let_run(updater.as_ref(), WARM_UP)?;
    let before = Moment::take(&swarm, &daemon)?;
    drop(swarm.take_latencies());
    let_run(updater.as_ref(), Duration::from_secs_f64(arguments.seconds))?;
    let latencies = swarm.take_latencies().quantiles();
    let after = Moment::take(&swarm, &daemon)?;
    drop(updater);
    let report = Fanout {
        clients: arguments.clients,
        deflated: swarm.deflated(),
        connect_s: connected.as_secs_f64(),
        memory_per_client_bytes: (idle.get(RSS) - empty.get(RSS)) / arguments.clients as f64,
        // A clock is only shared on one machine.
        latencies: latencies.filter(|_| daemon.address.ip().is_loopback()),
        before,
        after,
    };
    announcer.tell(&report.json(), &report.text());
    Ok(())
}

fn logs(arguments: &LogsArguments, announcer: Announcer) -> anyhow::Result<()> {
    let mut own = OwnDaemon::start(arguments.clients, 10)?;
    let daemon = Measured::at(own.url(), None)?;
    let swarm = daemon.swarm(&Mix {
        clients: arguments.clients,
        looking: LOOKING,
        filtering: arguments.filtering.min(arguments.clients),
        look: Look::Logs,
        ..Mix::default()
    })?;
    // In hundreds at once: a rate as high as this is no even stream in life either, and a thread cannot sleep for five microseconds.
    let burst = (arguments.rate / 1000.0).ceil().max(1.0);
    own.order(&format!("entries {} {burst}", arguments.rate))?;
    let_run(None, WARM_UP)?;
    let before = Moment::take(&swarm, &daemon)?;
    let mut most_memory_bytes = before.daemon.get(RSS);
    let end = before.at + Duration::from_secs_f64(arguments.seconds);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let_run(None, MEMORY_INTERVAL.min(left))?;
        most_memory_bytes = most_memory_bytes.max(daemon.scrape()?.get(RSS));
    }
    let after = Moment::take(&swarm, &daemon)?;
    most_memory_bytes = most_memory_bytes.max(after.daemon.get(RSS));
    own.order("stop")?;
    // Whoever was behind is told the rest, and what is missing of it; then everybody has the same number.
    let last = daemon.scrape()?.sum("autobench_log_entries_total") as u64;
    let is_there = || {
        let all = swarm.log_views().iter().all(|view| view.is_up_to(last));
        Ok(all.then_some(()))
    };
    // Whether they got there is judged by the report.
    let _ = poll(is_there)?;
    let report = Logs {
        clients: arguments.clients,
        connected: swarm.counts().connected,
        last,
        most_memory_bytes,
        views: swarm.log_views(),
        before,
        after,
    };
    announcer.tell(&report.json(), &report.text());
    match report.fault() {
        Some(fault) => bail!("a client's view of the log is wrong: {fault}"),
        None => Ok(()),
    }
}

const RSS: &str = "process_resident_memory_bytes";
const CLIENTS: &str = "autobench_clients";

/// What both sides have counted at one moment.
#[derive(Debug)]
struct Moment {
    at: Instant,
    clients: Counts,
    daemon: Scrape,
}

impl Moment {
    fn take(swarm: &Swarm, daemon: &Measured) -> anyhow::Result<Self> {
        let daemon = daemon.scrape()?;
        Ok(Self {
            at: Instant::now(),
            clients: swarm.counts(),
            daemon,
        })
    }
}
