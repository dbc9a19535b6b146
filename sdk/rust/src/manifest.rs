//! What a driver says of itself before it runs.

use schemars::JsonSchema;

use crate::bindings::exports::autobench::driver::guest;
use crate::{Attribute, DataBits, FlowControl, IdentityHint, LineSettings, Parity, StopBits};

/// A manifest in the making. Schemas of settings and slice and the snapshot's version come from the [`Driver`](crate::Driver)'s types.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest(guest::Manifest);

impl Manifest {
    /// Name (lower case with dashes), version, and one sentence for a person. The device's type is the name, and the slice is the name in
    /// camel case, unless said otherwise.
    #[must_use]
    pub fn new(name: &str, version: &str, description: &str) -> Self {
        Self(guest::Manifest {
            name: name.to_owned(),
            version: version.to_owned(),
            description: description.to_owned(),
            device_type: name.to_owned(),
            slice: camel_case(name),
            ports: Vec::new(),
            series: Vec::new(),
            commands: Vec::new(),
            observes: Vec::new(),
            limits: Vec::new(),
            settings_schema: None,
            slice_schema: None,
            pane: None,
            snapshot_version: 1,
            attributes: Vec::new(),
        })
    }

    /// Type of the device.
    #[must_use]
    pub fn device_type(mut self, name: &str) -> Self {
        name.clone_into(&mut self.0.device_type);
        self
    }

    /// The slice it would like; `plugins.toml` decides. The members `streams`, `jobs` and `pno` of the state are only for a driver that names one of
    /// them here.
    #[must_use]
    pub fn slice(mut self, name: &str) -> Self {
        name.clone_into(&mut self.0.slice);
        self
    }

    /// Adds a port that it wants.
    #[must_use]
    pub fn port(mut self, wish: PortWish) -> Self {
        self.0.ports.push(wish.0);
        self
    }

    /// Adds a series whose samples stand each for itself. The number of a series is its position.
    #[must_use]
    pub fn measurement(self, name: &str, unit: &str, description: &str) -> Self {
        self.series(name, unit, guest::SeriesKind::Measurement, description)
    }

    /// Adds a series whose samples are running totals.
    #[must_use]
    pub fn total(self, name: &str, unit: &str, description: &str) -> Self {
        self.series(name, unit, guest::SeriesKind::Total, description)
    }

    fn series(mut self, name: &str, unit: &str, kind: guest::SeriesKind, description: &str) -> Self {
        self.0.series.push(guest::Series {
            name: name.to_owned(),
            unit: unit.to_owned(),
            kind,
            description: description.to_owned(),
            attributes: Vec::new(),
        });
        self
    }

    /// Adds a command with arguments of this type.
    #[must_use]
    pub fn command<A: JsonSchema>(self, name: &str, description: &str) -> Self {
        self.add_command::<A>(name, description, false)
    }

    /// Adds a command that can harm or stop what the bench runs.
    #[must_use]
    pub fn dangerous_command<A: JsonSchema>(self, name: &str, description: &str) -> Self {
        self.add_command::<A>(name, description, true)
    }

    fn add_command<A: JsonSchema>(mut self, name: &str, description: &str, dangerous: bool) -> Self {
        self.0.commands.push(guest::CommandDescription {
            name: name.to_owned(),
            description: description.to_owned(),
            arguments_schema: schemars::schema_for!(A).as_value().to_string(),
            dangerous,
            hold: false,
            attributes: Vec::new(),
        });
        self
    }

    /// Marks the command that was added last as a hold: what it begins lasts only as long as the client that asked for it says so. Its lease is taken with
    /// [`Context::acquire_lease_for`](crate::Context::acquire_lease_for).
    #[must_use]
    pub fn hold(mut self) -> Self {
        if let Some(command) = self.0.commands.last_mut() {
            command.hold = true;
        }
        self
    }

    /// Names the argument of the command that was added last which, when it is true, makes the others nobody's business: while such a command is under way, and for
    /// two seconds after, no capture of the device's ports has what travels.
    #[must_use]
    pub fn secret_when(mut self, argument: &str) -> Self {
        if let Some(command) = self.0.commands.last_mut() {
            command.attributes.push(Attribute {
                key: "secret-when".to_owned(),
                value: argument.to_owned(),
            });
        }
        self
    }

    /// Adds a foreign slice that it wants to observe.
    #[must_use]
    pub fn observes(mut self, slice: &str) -> Self {
        self.0.observes.push(slice.to_owned());
        self
    }

    /// Asks for at most this much memory.
    #[must_use]
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.0.limits.push(guest::Limit::MemoryBytes(bytes));
        self
    }

    /// Asks for a slice of at most this size.
    #[must_use]
    pub fn slice_bytes(mut self, bytes: u64) -> Self {
        self.0.limits.push(guest::Limit::SliceBytes(bytes));
        self
    }

    /// How a generic pane should show it.
    #[must_use]
    pub fn pane(mut self, pane: &serde_json::Value) -> Self {
        self.0.pane = Some(pane.to_string());
        self
    }

    pub(crate) fn into_record(self) -> guest::Manifest {
        self.0
    }
}

/// A serial port that a driver wants, 115200 8N1 and required unless said otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct PortWish(guest::PortWish);

impl PortWish {
    /// The name by which `plugins.toml` gives it, and what it is for.
    #[must_use]
    pub fn new(name: &str, description: &str) -> Self {
        Self(guest::PortWish {
            name: name.to_owned(),
            description: description.to_owned(),
            line: line(115_200),
            hints: Vec::new(),
            required: true,
            attributes: Vec::new(),
        })
    }

    /// The line settings that the device has.
    #[must_use]
    pub fn line(mut self, settings: LineSettings) -> Self {
        self.0.line = settings;
        self
    }

    /// The driver can run without it.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.0.required = false;
        self
    }

    /// The device may have this USB vendor and product id.
    #[must_use]
    pub fn usb(mut self, vendor: u16, product: u16) -> Self {
        self.0.hints.push(IdentityHint::Usb((vendor, product)));
        self
    }

    /// The device answers to `send` with what the regular expression `expect` matches.
    #[must_use]
    pub fn handshake(mut self, send: &[u8], expect: &str, timeout_ms: u32) -> Self {
        self.0.hints.push(IdentityHint::Handshake(guest::Handshake {
            send: send.to_owned(),
            expect: expect.to_owned(),
            timeout_ms,
        }));
        self
    }
}

/// A line with eight data bits, no parity, one stop bit and no flow control.
#[must_use]
pub fn line(baud_rate: u32) -> LineSettings {
    LineSettings {
        baud_rate,
        data_bits: DataBits::Eight,
        parity: Parity::None,
        stop_bits: StopBits::One,
        flow_control: FlowControl::None,
    }
}

fn camel_case(dashed: &str) -> String {
    let mut words = dashed.split('-');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name
}
