//! `autobench bench`: what a daemon does under load.
//!
//! Without `--url` a daemon of its own is started, as a process beside this one, on an empty bench; its load comes from a writer inside it. With
//! `--url` a running daemon is measured, and changes are asked for over HTTP. What the daemon says at `/metrics` before and after gives its
//! processor time and its memory; what the clients count is done here.

mod daemon;
mod report;
mod scrape;
mod updater;

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

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

pub(super) fn bench(arguments: &BenchCommand, json: bool) -> Result<(), Failure> {
    match arguments {
        BenchCommand::Fanout(arguments) => Ok(fanout(arguments, Announcer::new(json))?),
        BenchCommand::Logs(arguments) => Ok(logs(arguments, Announcer::new(json))?),
    }
}

/// A daemon that is measured.
#[derive(Debug)]
struct Target {
    address: SocketAddr,
    authority: String,
    headers: Vec<String>,
}

impl Target {
    fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        if url.starts_with("https:") || url.starts_with("wss:") {
            bail!("the bench speaks no TLS — name the daemon itself, for example ws://127.0.0.1:9898");
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let with_port = if authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        {
            authority.to_owned()
        } else {
            format!("{authority}:9898")
        };
        let address = with_port.to_socket_addrs().ok().and_then(|mut all| all.next());
        let address = address.with_context(|| {
            format!("\"{url}\" is no address of a daemon — write for example ws://127.0.0.1:9898")
        })?;
        let token = std::env::var("AUTOBENCH_TOKEN").ok();
        Ok(Self {
            address,
            authority: authority.to_owned(),
            headers: token
                .map(|token| format!("Authorization: Bearer {token}"))
                .into_iter()
                .collect(),
        })
    }

    fn swarm(&self, clients: usize, samplers: usize, look: Look, deflate: bool) -> anyhow::Result<Swarm> {
        let swarm = Swarm::connect(&SwarmOptions {
            address: self.address,
            authority: self.authority.clone(),
            path: "/ws".to_owned(),
            clients,
            samplers,
            look,
            deflate,
            headers: self.headers.clone(),
        });
        let swarm = swarm.with_context(|| {
            format!("{clients} clients cannot connect to {}; it may allow fewer (daemon.limits.clients), and so may `ulimit -n` here", self.address)
        })?;
        if !swarm.wait_for(FIRST_FRAMES * clients as u64, PATIENCE) {
            bail!(
                "the clients were not sent their first messages within {} s",
                PATIENCE.as_secs()
            );
        }
        Ok(swarm)
    }

    fn scrape(&self) -> anyhow::Result<Scrape> {
        Scrape::take(self)
            .with_context(|| format!("{} does not say what it counts at /metrics", self.address))
    }
}

fn fanout(arguments: &FanoutArguments, announcer: Announcer) -> anyhow::Result<()> {
    let own = match arguments.url {
        None => Some(OwnDaemon::start(arguments.clients, arguments.interval_ms)?),
        Some(_) => None,
    };
    let target = match (&own, &arguments.url) {
        (Some(own), _) => Target::parse(own.url())?,
        (None, Some(url)) => Target::parse(url)?,
        (None, None) => bail!("there is no daemon"),
    };
    drop(target.swarm(
        FORERUNNERS.min(arguments.clients),
        0,
        Look::Latency,
        arguments.deflate,
    )?);
    // Who left is counted out a moment later; then the memory is what it is without clients.
    let begin = Instant::now();
    let mut empty = target.scrape()?;
    while own.is_some() && empty.get("autobench_clients") > 0.0 && begin.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        empty = target.scrape()?;
    }
    let connecting = Instant::now();
    let samplers = arguments.clients.min(10);
    let swarm = target.swarm(arguments.clients, samplers, Look::Latency, arguments.deflate)?;
    let connected = connecting.elapsed();
    let idle = target.scrape()?;

    let updater = match own {
        Some(ref own) => {
            own.order(&format!(
                "updates {} {}",
                arguments.rate, arguments.messages_per_flush
            ))?;
            None
        }
        None if arguments.rate > 0.0 => Some(Updater::start(&target, arguments.rate)?),
        None => None,
    };
    std::thread::sleep(WARM_UP);
    let before = Moment::take(&swarm, &target)?;
    drop(swarm.take_latencies());
    std::thread::sleep(Duration::from_secs_f64(arguments.seconds));
    let latencies = swarm.take_latencies().quantiles();
    let after = Moment::take(&swarm, &target)?;
    if let Some(updater) = updater {
        updater.stop()?;
    }
    let report = Fanout {
        clients: arguments.clients,
        deflated: swarm.deflated(),
        connect_s: connected.as_secs_f64(),
        memory_per_client_bytes: (idle.get(RSS) - empty.get(RSS)) / arguments.clients as f64,
        // A clock is only shared on one machine.
        latencies: latencies.filter(|_| target.address.ip().is_loopback()),
        before,
        after,
    };
    announcer.tell(&report.json(), &report.text());
    Ok(())
}

fn logs(arguments: &LogsArguments, announcer: Announcer) -> anyhow::Result<()> {
    let own = OwnDaemon::start(arguments.clients, 10)?;
    let target = Target::parse(own.url())?;
    let swarm = target.swarm(arguments.clients, arguments.clients.min(10), Look::Logs, false)?;
    // In hundreds at once: a rate as high as this is no even stream in life either, and a thread cannot sleep for five microseconds.
    let burst = (arguments.rate / 1000.0).ceil().max(1.0);
    own.order(&format!("entries {} {burst}", arguments.rate))?;
    std::thread::sleep(WARM_UP);
    let before = Moment::take(&swarm, &target)?;
    let mut most_memory_bytes = before.daemon.get(RSS);
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < arguments.seconds {
        std::thread::sleep(Duration::from_millis(250).min(Duration::from_secs_f64(arguments.seconds)));
        most_memory_bytes = most_memory_bytes.max(target.scrape()?.get(RSS));
    }
    let after = Moment::take(&swarm, &target)?;
    own.order("stop")?;
    // Whoever was behind is told the rest, and what is missing of it; then everybody has the same number.
    let last = target.scrape()?.sum("autobench_log_entries_total");
    let waiting = Instant::now();
    let views = loop {
        let views = swarm.log_views();
        let all_there = views.iter().all(|view| view.covered as f64 >= last);
        if all_there || waiting.elapsed() > PATIENCE {
            break views;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let report = Logs {
        clients: arguments.clients,
        connected: swarm.counts().connected,
        last: last as u64,
        most_memory_bytes,
        views,
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

/// What both sides have counted at one moment.
#[derive(Debug)]
struct Moment {
    at: Instant,
    clients: Counts,
    daemon: Scrape,
}

impl Moment {
    fn take(swarm: &Swarm, target: &Target) -> anyhow::Result<Self> {
        let daemon = target.scrape()?;
        Ok(Self {
            at: Instant::now(),
            clients: swarm.counts(),
            daemon,
        })
    }
}
