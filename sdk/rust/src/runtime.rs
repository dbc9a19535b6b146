//! Between the world's exports and a [`Driver`]: parses what comes, keeps account of bytes and timers, publishes what changed.

use serde_json::Value as Json;

use crate::bindings::exports::autobench::driver::guest;
use crate::driver::{Driver, Start, parse};
use crate::host::AnyHost;
#[cfg(target_arch = "wasm32")]
use crate::host::Host as _;
use crate::publisher::{Desk, TRAILING_TIMER};
use crate::slice::Member as _;
use crate::{Context, Level, Refusal, StopReason};

/// The manifest with what the types say: schemas and the snapshot's version.
pub(crate) fn describe<D: Driver>() -> guest::Manifest {
    let mut manifest = D::manifest().into_record();
    manifest.settings_schema = Some(schemars::schema_for!(D::Settings).as_value().to_string());
    manifest.slice_schema = Some(schemars::schema_for!(D::Slice).as_value().to_string());
    manifest.snapshot_version = D::SNAPSHOT_VERSION;
    manifest
}

/// A running driver.
pub(crate) struct Runtime<D: Driver> {
    driver: D,
    desk: Desk<D::Slice>,
    ports: Vec<Delivered>,
}

/// Up to where a port's bytes have come.
struct Delivered {
    port: String,
    next: u64,
}

/// The form of a snapshot's data: a JSON object with these two members.
struct Saved {
    slice: Json,
    driver: Json,
}

impl<D: Driver> Runtime<D> {
    pub(crate) fn start(host: &mut AnyHost, configuration: guest::Configuration) -> Result<Self, Refusal> {
        let guest::Configuration {
            device,
            reason,
            settings,
            ports,
            slice,
            snapshot,
            commands,
            timers,
            leases,
            attributes: _,
        } = configuration;
        let settings = parse(&settings).map_err(Refusal::InvalidSettings)?;
        let (own_slice, memory) = match snapshot {
            Some(snapshot) => {
                let saved = Saved::read::<D>(snapshot)?;
                let slice = D::Slice::from_json(&saved.slice);
                let slice =
                    slice.ok_or_else(|| Refusal::UnknownSnapshot("its slice has another form".to_owned()))?;
                (slice, Some(saved.driver))
            }
            None => (D::Slice::default(), None),
        };
        let delivered = ports
            .iter()
            .map(|port| Delivered {
                port: port.name.clone(),
                next: port.offset,
            })
            .collect();
        let mut desk = Desk::new(host, own_slice, &timers);
        let commands = commands.into_iter().map(Into::into).collect();
        let start = Start {
            device,
            reason,
            settings,
            ports,
            slice,
            commands,
            timers,
            leases,
            memory,
        };
        let driver = D::start(&mut Context::new(host, &mut desk), start)?;
        desk.settle(host, false);
        Ok(Self {
            driver,
            desk,
            ports: delivered,
        })
    }

    pub(crate) fn handle(&mut self, host: &mut AnyHost, event: guest::Event) {
        let replayed = matches!(&event, guest::Event::Bytes(bytes) if bytes.replayed);
        self.dispatch(host, event);
        self.desk.settle(host, replayed);
    }

    pub(crate) fn snapshot(&self, host: &mut AnyHost) -> guest::DriverSnapshot {
        let snapshot = self.driver.snapshot();
        let data = match snapshot.memory {
            Ok(driver) => Saved {
                slice: self.desk.slice.json(),
                driver,
            }
            .into_json()
            .to_string()
            .into_bytes(),
            Err(error) => {
                // Without data a successor refuses the snapshot and the host starts it cold: slower, and honest.
                host.log(
                    Level::Error,
                    &format!("the snapshot cannot be written: {error}"),
                    &[],
                );
                Vec::new()
            }
        };
        let held = |port: &str| {
            let mut rereading = snapshot.rereading.iter().filter(|(name, _)| name == port);
            rereading.next().map_or(0, |&(_, count)| count as u64)
        };
        let consumed = self
            .ports
            .iter()
            .map(|Delivered { port, next }| guest::PortMark {
                port: port.clone(),
                consumed: next.saturating_sub(held(port)),
            })
            .collect();
        guest::DriverSnapshot {
            schema_version: D::SNAPSHOT_VERSION,
            data,
            consumed,
        }
    }

    pub(crate) fn stop(&mut self, host: &mut AnyHost, reason: StopReason) {
        self.driver.stop(&mut Context::new(host, &mut self.desk), reason);
        // There is no later, so what a timer would have published goes out now.
        self.desk.urgent = true;
        self.desk.settle(host, false);
    }

    fn dispatch(&mut self, host: &mut AnyHost, event: guest::Event) {
        use guest::Event;

        let driver = &mut self.driver;
        match event {
            Event::Bytes(bytes) => {
                mark(
                    &mut self.ports,
                    &bytes.port,
                    bytes.offset + bytes.data.len() as u64,
                );
                driver.on_bytes(&mut Context::new(host, &mut self.desk), bytes);
            }
            Event::PortAttached(attached) => {
                mark(&mut self.ports, &attached.port, attached.offset);
                driver.on_attached(&mut Context::new(host, &mut self.desk), attached);
            }
            Event::Overrun(overrun) => {
                mark(&mut self.ports, &overrun.port, overrun.to);
                driver.on_overrun(&mut Context::new(host, &mut self.desk), overrun);
            }
            Event::Timer(TRAILING_TIMER) => {
                self.desk.timer_over(TRAILING_TIMER);
                self.desk.trailing_timer_ran_out();
            }
            Event::Timer(id) => {
                self.desk.timer_over(id);
                driver.on_timer(&mut Context::new(host, &mut self.desk), id);
            }
            Event::Settings(text) => match parse(&text) {
                Ok(settings) => driver.on_settings(&mut Context::new(host, &mut self.desk), settings),
                Err(error) => {
                    let text = format!("the new settings are not understood: {error}");
                    host.log(Level::Error, &text, &[]);
                }
            },
            Event::Other(other) => {
                if other.kind == "update-refused" {
                    // The operations of that call are gone; the next publication mends it.
                    self.desk.whole = true;
                }
                driver.on_other(&mut Context::new(host, &mut self.desk), other);
            }
            Event::PortLost(lost) => driver.on_lost(&mut Context::new(host, &mut self.desk), lost),
            Event::LineError(error) => driver.on_line_error(&mut Context::new(host, &mut self.desk), error),
            Event::LinesChanged(changed) => {
                driver.on_lines_changed(&mut Context::new(host, &mut self.desk), changed)
            }
            Event::TransmitDrained(port) => {
                driver.on_transmit_drained(&mut Context::new(host, &mut self.desk), port)
            }
            Event::Command(command) => {
                driver.on_command(&mut Context::new(host, &mut self.desk), command.into())
            }
            Event::CommandCancelled(cancellation) => {
                driver.on_cancel(&mut Context::new(host, &mut self.desk), cancellation);
            }
            Event::LeaseEnded(end) => driver.on_lease_ended(&mut Context::new(host, &mut self.desk), end),
            Event::Observed(observed) => {
                driver.on_observed(&mut Context::new(host, &mut self.desk), observed)
            }
        }
    }
}

impl Saved {
    fn into_json(self) -> Json {
        Json::Object(
            [
                ("slice".to_owned(), self.slice),
                ("driver".to_owned(), self.driver),
            ]
            .into_iter()
            .collect(),
        )
    }

    fn read<D: Driver>(snapshot: guest::DriverSnapshot) -> Result<Self, Refusal> {
        let text =
            String::from_utf8(snapshot.data).map_err(|error| Refusal::UnknownSnapshot(error.to_string()))?;
        let mut json: Json = parse(&text).map_err(Refusal::UnknownSnapshot)?;
        if snapshot.schema_version != D::SNAPSHOT_VERSION {
            json = D::migrate(snapshot.schema_version, json)?;
        }
        let mut member = |name: &str| json.get_mut(name).map(Json::take);
        match (member("slice"), member("driver")) {
            (Some(slice), Some(driver)) => Ok(Self { slice, driver }),
            _ => Err(Refusal::UnknownSnapshot(
                "it has no slice or no driver".to_owned(),
            )),
        }
    }
}

fn mark(ports: &mut [Delivered], port: &str, next: u64) {
    if let Some(delivered) = ports.iter_mut().find(|delivered| delivered.port == port) {
        delivered.next = next;
    }
}
