//! What others are told of a client.

use std::time::Instant;

use autobench_core::outbox::Channel;
use autobench_core::wire::{ClientEntry, ClientLag, HardwareHealth, iso8601};

use super::super::metrics::Lag;
use super::Client;
use super::out::{Phase, name};

/// What a client says of itself.
#[derive(Debug, Default)]
pub(super) struct About {
    name: String,
    page: String,
    health: Option<Box<HardwareHealth>>,
}

impl Client {
    /// Takes in who the client says it is.
    pub(in crate::hub) fn introduce(&self, name: &str, page: &str) {
        let mut about = self.about.lock();
        name.clone_into(&mut about.name);
        page.clone_into(&mut about.page);
    }

    /// Takes in how the client's hardware is.
    pub(in crate::hub) fn set_health(&self, health: HardwareHealth) {
        self.about.lock().health = Some(Box::new(health));
    }

    /// What it calls itself, and its page.
    pub(in crate::hub) fn introduction(&self) -> (String, String) {
        let about = self.about.lock();
        (about.name.clone(), about.page.clone())
    }

    /// What an engineer is shown of it.
    pub(in crate::hub) fn entry(&self, state_version: u64, newest_seq: u64) -> ClientEntry {
        let about = self.about.lock();
        let (name, page, health) = (about.name.clone(), about.page.clone(), about.health.clone());
        drop(about);
        let out = self.out.lock();
        let covered = |channel| out.positions.get(channel).map(|cursor| cursor.covered);
        let seq = match &out.log {
            Some(logs) => logs.next(),
            None => covered(Channel::Logs),
        };
        let filter = out.log.as_ref().filter(|logs| !logs.is_open());
        ClientEntry {
            client_id: self.id(),
            peer: self.peer.to_string(),
            name,
            page,
            since: iso8601(self.since_ms),
            subscriptions: out.wanted.iter().map(|channel| subscription(*channel)).collect(),
            filter: filter.map(|logs| logs.filter().clone()),
            lag: ClientLag {
                versions: covered(Channel::State).map(|version| state_version.saturating_sub(version)),
                log_entries: seq.map(|seq| newest_seq.saturating_sub(seq)),
                waiting: (out.personal.len() + self.stages.lock().len()) as u64,
                stalled_ms: out
                    .stall
                    .as_ref()
                    .map(|stall| u64::try_from(stall.since.elapsed().as_millis()).unwrap_or(u64::MAX)),
            },
            health: health.map(|health| *health),
        }
    }

    /// Adds how far this client is behind `version`.
    pub(in crate::hub) fn add_lag(&self, lag: &mut Lag, version: u64, now: Instant) {
        let out = self.out.lock();
        if out.phase != Phase::Open {
            return;
        }
        lag.behind += u64::from(out.has_own_writer);
        if let Some(cursor) = out.positions.get(Channel::State) {
            lag.missing(version.saturating_sub(cursor.covered));
        }
        if let Some(stall) = &out.stall {
            lag.longest_stall = lag.longest_stall.max(now.saturating_duration_since(stall.since));
        }
    }
}

/// How a channel is called in a list of what somebody gets.
pub(in crate::hub) fn subscription(channel: Channel) -> String {
    match channel {
        Channel::Series(id) => format!("{}:{id}", name(channel)),
        _ => name(channel).to_owned(),
    }
}
