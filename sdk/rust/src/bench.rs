//! A native test bench: a host made of plain code, with scripted ports and a clock that the test owns.
//!
//! It keeps the host's promises: what a call asks for takes effect when the call returns, timers run out in their order, what undoes a hold
//! is written however its lease ends, a swap gives the successor the bytes from its predecessor's consumed offset on, and what comes again is
//! muted. It holds no thread, and time passes only in [`Bench::advance_ms`]. Misuse by the test itself, such as a port that the manifest does
//! not name, panics.
//!
//! On it stand a [`Transcript`], which brings a driver the same bytes in all the ways in which a line may, and a [`Rig`], which puts a model of
//! the device behind the port.

mod host;
mod leases;
mod pointer;
mod reasons;
mod rig;
mod transcript;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde_json::{Value as Json, json};

use crate::bindings::exports::autobench::driver::guest;
use crate::driver::Driver;
use crate::runtime::{Runtime, describe};
use crate::{
    Attached, Bytes, Lost, Outcome, Overrun, PortState, Refusal, Sample, SerialError, Severity, StartReason,
    StopReason,
};

use host::{FakeHost, Record};
pub use host::{LogLine, Publication, Reply};
pub use leases::Lease;
pub use reasons::{blocked, failed};
pub use rig::{Model, Rig};
pub use transcript::{Interruption, Transcript};

pub use guest::{DriverSnapshot, Event};

/// A driver on a bench.
pub struct Bench<D: Driver> {
    runtime: Runtime<D>,
    host: FakeHost,
    settings: Json,
}

/// A bench in the making.
#[derive(Debug)]
pub struct Setup<D> {
    settings: Json,
    detached: Vec<String>,
    driver: PhantomData<D>,
}

/// A snapshot, and how far each port's record had come and which leases were open when it was taken.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    snapshot: DriverSnapshot,
    records: Vec<(String, usize)>,
    leases: Vec<u32>,
}

impl Checkpoint {
    /// What the driver answered.
    #[must_use]
    pub fn snapshot(&self) -> &DriverSnapshot {
        &self.snapshot
    }

    /// The same moment with another answer, as of another version or of a driver gone wrong.
    #[must_use]
    pub fn with(self, snapshot: DriverSnapshot) -> Self {
        Self { snapshot, ..self }
    }
}

impl<D: Driver> Setup<D> {
    /// `[devices.<id>.settings]`.
    #[must_use]
    pub fn settings(mut self, settings: Json) -> Self {
        self.settings = settings;
        self
    }

    /// The device of a port is not there yet.
    #[must_use]
    pub fn detached(mut self, port: &str) -> Self {
        self.detached.push(port.to_owned());
        self
    }

    /// Starts the driver from nothing, with every port that its manifest wants.
    pub fn start(self) -> Result<Bench<D>, Refusal> {
        let mut host = FakeHost::new(&describe::<D>());
        for port in &self.detached {
            host.port(port).attached = false;
        }
        let runtime = start(&mut host, StartReason::Cold, &self.settings, None)?;
        Ok(Bench {
            runtime,
            host,
            settings: self.settings,
        })
    }
}

impl<D: Driver> Bench<D> {
    /// Starts the driver with empty settings and all its devices attached.
    pub fn start() -> Result<Self, Refusal> {
        Self::setup().start()
    }

    /// To start it in another way.
    #[must_use]
    pub fn setup() -> Setup<D> {
        Setup {
            settings: json!({}),
            detached: Vec::new(),
            driver: PhantomData,
        }
    }

    /// What the driver says of itself.
    #[must_use]
    pub fn manifest() -> guest::Manifest {
        describe::<D>()
    }

    // --- what happens ---

    /// Bytes from a port, in one event.
    pub fn feed(&mut self, port: &str, data: &[u8]) {
        let bytes = self.host.receive(port, data);
        self.handle(Event::Bytes(bytes));
    }

    /// Lets time pass; timers and leases run out on the way, each at its time.
    pub fn advance_ms(&mut self, milliseconds: u64) {
        let end_ns = self.host.now_ns + milliseconds * 1_000_000;
        while let Some(event) = self.host.next_due(end_ns) {
            self.handle(event);
        }
        self.host.now_ns = end_ns;
    }

    /// Lets pass as much time as a held-back publication waits.
    pub fn settle(&mut self) {
        self.advance_ms(50);
    }

    /// The device of a port goes away, and the leases on it end: their bytes go out when it is back.
    pub fn lose(&mut self, port: &str, reason: &str) {
        self.host.record(port, Record::Lost(reason.to_owned()));
        self.host.port(port).attached = false;
        let on_port = self.leases().iter().filter(|lease| lease.port == port);
        let lost: Vec<_> = on_port.map(|lease| lease.id).collect();
        self.handle(Event::PortLost(Lost {
            port: port.to_owned(),
            reason: reason.to_owned(),
        }));
        self.end_leases(&lost, "port-lost");
    }

    /// The device of a port comes, or comes back.
    pub fn attach(&mut self, port: &str) {
        self.host.record(port, Record::Attached);
        let event = self.host.attach(port);
        self.handle(Event::PortAttached(event));
    }

    /// So many bytes of a port are lost.
    pub fn overrun(&mut self, port: &str, count: u64) {
        let state = self.host.port(port);
        let from = state.next;
        state.next += count;
        let to = state.next;
        self.host.record(port, Record::Overrun { from, to });
        self.handle(Event::Overrun(Overrun {
            port: port.to_owned(),
            from,
            to,
            reason: "bench".to_owned(),
        }));
    }

    /// New settings.
    pub fn change_settings(&mut self, settings: Json) {
        let text = settings.to_string();
        self.settings = settings;
        self.handle(Event::Settings(text));
    }

    /// A command; the answer is its id.
    pub fn command(&mut self, name: &str, arguments: &Json) -> String {
        let command = self.host.command(name, arguments);
        let id = command.id.clone();
        self.handle(Event::Command(command));
        id
    }

    /// A command is withdrawn.
    pub fn cancel_command(&mut self, id: &str, reason: &str) {
        self.handle(Event::CommandCancelled(guest::Cancellation {
            id: id.to_owned(),
            reason: reason.to_owned(),
        }));
    }

    /// A lease that is open ends; the host writes its bytes first.
    #[expect(
        clippy::panic,
        reason = "the test ends a lease that is not open; the host tells of no such end"
    )]
    pub fn end_lease(&mut self, id: u32, reason: &str) {
        let Some(event) = self.host.end_lease(id, reason) else {
            panic!("no lease {id} is open")
        };
        self.handle(event);
    }

    /// Ends those of these leases that the driver still takes for open.
    fn end_leases(&mut self, ids: &[u32], reason: &str) {
        for &id in ids {
            if let Some(event) = self.host.end_lease(id, reason) {
                self.handle(event);
            }
        }
    }

    /// A foreign slice has this value from now on.
    pub fn observe(&mut self, slice: &str, value: &Json) {
        let text = value.to_string();
        self.host.foreign.insert(slice.to_owned(), text.clone());
        self.handle(Event::Observed(guest::Observed {
            slice: slice.to_owned(),
            value: Some(text),
        }));
    }

    /// A foreign slice is gone from now on.
    pub fn forget(&mut self, slice: &str) {
        self.host.foreign.remove(slice);
        self.handle(Event::Observed(guest::Observed {
            slice: slice.to_owned(),
            value: None,
        }));
    }

    /// Any other event.
    pub fn handle(&mut self, event: Event) {
        self.runtime.handle(&mut self.host, event);
        if let Err(refused) = self.host.commit() {
            let event = guest::OtherEvent {
                kind: "update-refused".to_owned(),
                data: json!(refused).to_string(),
            };
            self.runtime.handle(&mut self.host, Event::Other(event));
            // What a driver does about a refusal is as refused as the first, or it is not.
            let _ = self.host.commit();
        }
    }

    /// Stops the driver and gives what went out to a port at last: its last words, and what undoes its holds.
    #[must_use]
    pub fn stop(mut self, reason: StopReason, port: &str) -> Vec<u8> {
        self.host.port(port).written.clear();
        self.runtime.stop(&mut self.host, reason);
        let _ = self.host.commit();
        self.host.end_leases();
        std::mem::take(&mut self.host.port(port).written)
    }

    /// Lets every write to a port be refused from now on, or none.
    pub fn refuse_writes(&mut self, port: &str, error: Option<SerialError>) {
        self.host.port(port).refuses = error;
    }

    // --- swaps and restarts ---

    /// A checkpoint, as the host takes one at rest. It has no effects.
    pub fn checkpoint(&mut self) -> Checkpoint {
        let snapshot = self.runtime.snapshot(&mut self.host);
        self.host.discard();
        Checkpoint {
            snapshot,
            records: self.host.record_lengths(),
            leases: self.host.leases.known.clone(),
        }
    }

    /// Replaces the driver with a new instance of itself.
    pub fn swap(self) -> Result<Self, Refusal> {
        self.swap_to::<D>()
    }

    /// Replaces the driver with another version.
    pub fn swap_to<E: Driver>(mut self) -> Result<Bench<E>, Refusal> {
        let checkpoint = self.checkpoint();
        self.go_on(StartReason::Swap, Some(&checkpoint))
    }

    /// Drops the driver, as after a trap, which ends its leases, and starts it from a checkpoint, or from nothing.
    pub fn restart(mut self, checkpoint: Option<&Checkpoint>) -> Result<Self, Refusal> {
        self.host.end_leases();
        self.go_on(StartReason::Restart, checkpoint)
    }

    fn go_on<E: Driver>(
        self,
        reason: StartReason,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Bench<E>, Refusal> {
        let Self {
            mut host,
            settings,
            runtime: _,
        } = self;
        host.begin_instance();
        host.leases.known = checkpoint
            .map(|checkpoint| checkpoint.leases.clone())
            .unwrap_or_default();
        let runtime = start(&mut host, reason, &settings, checkpoint)?;
        let mut bench = Bench {
            runtime,
            host,
            settings,
        };
        if let Some(checkpoint) = checkpoint {
            bench.replay(checkpoint);
        }
        let over = bench.host.go_on_with_leases();
        bench.end_leases(&over, "driver-failed");
        Ok(bench)
    }

    /// What lies between the checkpoint and now comes again, muted and at its own time.
    fn replay(&mut self, checkpoint: &Checkpoint) {
        let now_ns = self.host.now_ns;
        for mark in &checkpoint.snapshot.consumed {
            let seen = checkpoint
                .records
                .iter()
                .find(|(port, _)| *port == mark.port)
                .map_or(0, |(_, length)| *length);
            for (event, at_ns) in self.host.since(&mark.port, mark.consumed, seen) {
                self.host.now_ns = at_ns;
                self.host.muted = true;
                self.handle(event);
                self.host.muted = false;
            }
        }
        self.host.now_ns = now_ns;
    }

    // --- what the driver did ---

    /// Its slice; null before the first publication.
    #[must_use]
    pub fn slice(&self) -> &Json {
        &self.host.slice
    }

    /// How many times the slice was updated.
    #[must_use]
    pub fn publications(&self) -> usize {
        self.host.publications
    }

    /// The operations of the last update.
    #[must_use]
    pub fn last_operations(&self) -> &[crate::Operation] {
        &self.host.last_operations
    }

    /// Everything that was pushed to a series.
    #[must_use]
    pub fn samples(&self, series: &str) -> &[Sample] {
        self.host.samples(series)
    }

    /// What it has written to a port since this was asked last.
    pub fn written(&mut self, port: &str) -> Vec<u8> {
        std::mem::take(&mut self.host.port(port).written)
    }

    /// Its log lines.
    #[must_use]
    pub fn logs(&self) -> &[LogLine] {
        &self.host.logs
    }

    /// The phases it has named, oldest first.
    #[must_use]
    pub fn phases(&self) -> &[String] {
        &self.host.phases
    }

    /// Why it said that it has failed, each time.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.host.failures
    }

    /// Its answers to commands.
    #[must_use]
    pub fn replies(&self) -> &[Reply] {
        &self.host.replies
    }

    /// How a command ended, if it has.
    #[must_use]
    pub fn outcome(&self, command: &str) -> Option<&Outcome> {
        self.host.replies.iter().find_map(|reply| match reply {
            Reply::Completed(id, outcome) if id == command => Some(outcome),
            _ => None,
        })
    }

    /// The events it has published, oldest first.
    #[must_use]
    pub fn events(&self) -> &[Publication] {
        &self.host.events
    }

    /// The alarms that stand, with severity and message.
    #[must_use]
    pub fn alarms(&self) -> &BTreeMap<String, (Severity, String)> {
        &self.host.alarms
    }

    /// The leases that are open, oldest first.
    #[must_use]
    pub fn leases(&self) -> &[Lease] {
        &self.host.leases.open
    }

    /// The clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.host.now_ns
    }

    /// Timers that run, and when they run out.
    #[must_use]
    pub fn timers(&self) -> Vec<(u32, u64)> {
        self.host.timers.iter().map(|(&id, &at_ns)| (id, at_ns)).collect()
    }
}

fn start<D: Driver>(
    host: &mut FakeHost,
    reason: StartReason,
    settings: &Json,
    checkpoint: Option<&Checkpoint>,
) -> Result<Runtime<D>, Refusal> {
    let snapshot = checkpoint.map(|checkpoint| checkpoint.snapshot.clone());
    let consumed = |port: &str| {
        let marks = snapshot
            .as_ref()
            .map(|snapshot| snapshot.consumed.as_slice())
            .unwrap_or_default();
        marks
            .iter()
            .find(|mark| mark.port == port)
            .map(|mark| mark.consumed)
    };
    let ports = host
        .ports
        .iter()
        .map(|(name, port)| PortState {
            name: name.clone(),
            attached: port.attached,
            offset: consumed(name).unwrap_or(port.next),
        })
        .collect();
    let configuration = guest::Configuration {
        device: "bench".to_owned(),
        reason,
        settings: settings.to_string(),
        ports,
        slice: (!host.slice.is_null()).then(|| host.slice.to_string()),
        snapshot,
        commands: host.commands.clone(),
        timers: host.timers.keys().copied().collect(),
        leases: host.leases.known.clone(),
        attributes: Vec::new(),
    };
    let started = Runtime::start(host, configuration);
    match started {
        // Nothing of a start that was refused takes effect.
        Err(_) => host.discard(),
        Ok(_) => host.commit().map_err(Refusal::Other)?,
    }
    started
}

/// Bytes of one event.
pub(crate) fn bytes_event(
    port: &str,
    offset: u64,
    data: &[u8],
    at_ns: u64,
    at_ms: f64,
    replayed: bool,
) -> Bytes {
    Bytes {
        port: port.to_owned(),
        offset,
        received_ns: at_ns,
        received_ms: at_ms,
        data: data.to_vec(),
        replayed,
    }
}

/// The attachment of one event.
pub(crate) fn attached_event(port: &str, offset: u64, identity: crate::Identity) -> Attached {
    Attached {
        port: port.to_owned(),
        offset,
        identity,
    }
}
