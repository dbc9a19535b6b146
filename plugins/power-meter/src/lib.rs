//! Driver of the Watts Up? PRO power meter. `protocol.rs` reads and writes the meter's packets, `conversation.rs` knows when to ask what and what
//! to do when the meter is silent; this is the glue.
//!
//! ```text
//! Away -> Identifying -> Asking -> Streaming <-> Silent     attached; version record; first row; no row in time, asked again
//!              |  ^         |                      |
//!              v  +---------+----------------------+        no row although asked twice
//!           Waiting                                         three questions without an answer: again after half a second
//! ```
//!
//! Rows are taken at every stage, because a meter that streamed before may still have some on the line. Loss of the line leads to `Away` from
//! everywhere.

mod conversation;
pub mod protocol;
mod state;

use autobench_sdk::{
    Attached, Bytes, Context, Driver, Lost, Manifest, Overrun, PacketFramer, Piece, PortWish, Refusal,
    Snapshot, Start, StopReason, line, warn,
};
use schemars::JsonSchema;
use serde::Deserialize;

use conversation::{Conversation, Memory, TICK};
pub use state::{LastSample, Phase, State, Stats};

autobench_sdk::export_driver!(PowerMeter);

const PORT: &str = "main";

/// `[devices.<id>.settings]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Seconds between two rows.
    #[serde(default = "one_second")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_s: u32,
}

fn one_second() -> u32 {
    1
}

impl Settings {
    fn check(&self) -> Result<(), &'static str> {
        if (1..=3600).contains(&self.interval_s) {
            Ok(())
        } else {
            Err("interval-s is a number of seconds from 1 to 3600")
        }
    }
}

/// The driver.
pub struct PowerMeter {
    framer: PacketFramer,
    conversation: Conversation,
}

type Cx<'a> = Context<'a, State>;

impl Driver for PowerMeter {
    type Settings = Settings;
    type Slice = State;

    fn manifest() -> Manifest {
        let port = PortWish::new(
            PORT,
            "The meter's USB port, an FTDI serial adapter inside the case.",
        )
        .line(line(115_200))
        .usb(0x0403, 0x6001)
        .handshake(protocol::IDENTIFY, "#v,-,8,[0-9]", 2000);
        // In the order of `conversation::push`.
        Manifest::new(
            "power-meter",
            env!("CARGO_PKG_VERSION"),
            "Watts Up? PRO power meter.",
        )
        .port(port)
        .measurement("watts", "W", "Real power")
        .measurement("volts", "V", "Voltage")
        .measurement("amps", "A", "Current")
        .measurement("powerFactor", "1", "Power factor")
        .measurement("frequency", "Hz", "Line frequency")
        .total("energy", "Wh", "Energy since the meter's memory was cleared")
        .measurement("apparentPower", "VA", "Apparent power")
        .memory_bytes(16 << 20)
        .slice_bytes(4 << 10)
    }

    fn start(cx: &mut Cx<'_>, mut start: Start<Settings>) -> Result<Self, Refusal> {
        let wrong = |error: &str| Refusal::InvalidSettings(error.to_owned());
        start.settings.check().map_err(wrong)?;
        let memory = start.memory()?;
        let interval_s = start.settings.interval_s;
        let port = start.port(PORT)?;
        let memory = memory.unwrap_or(Memory::new(interval_s, port.offset));
        let mut conversation = Conversation::new(memory);
        conversation.go_on(cx, port.attached, interval_s);
        let framer = PacketFramer::new(protocol::START, protocol::END, protocol::LIMIT_BYTES)
            .ignoring(protocol::IGNORED);
        Ok(Self { framer, conversation })
    }

    fn on_bytes(&mut self, cx: &mut Cx<'_>, bytes: Bytes) {
        self.conversation.count_bytes(cx, bytes.offset, bytes.data.len());
        let mut newest = None;
        self.framer.feed(&bytes.data, |piece| {
            let message = match piece {
                Piece::Packet(text) => protocol::read_packet(text),
                Piece::Headless(text) => protocol::read_headless(text),
                Piece::Endless(text) | Piece::Junk(text) | Piece::TooLong(text) => {
                    protocol::read_endless(text)
                }
            };
            if let Some(reading) = self.conversation.take(cx, &message, &bytes) {
                newest = Some(reading);
            }
        });
        // Of several rows in one call only the last is ever seen in the slice.
        if let Some(reading) = newest {
            cx.edit().last_sample = Some(LastSample::new(&reading, bytes.received_ms));
        }
    }

    fn on_attached(&mut self, cx: &mut Cx<'_>, attached: Attached) {
        self.framer.reset();
        self.conversation.skip_to(attached.offset);
        self.conversation.connect(cx);
    }

    fn on_lost(&mut self, cx: &mut Cx<'_>, lost: Lost) {
        self.framer.reset();
        self.conversation.leave(cx, &lost.reason);
    }

    fn on_overrun(&mut self, cx: &mut Cx<'_>, overrun: Overrun) {
        self.framer.reset();
        self.conversation.skip_to(overrun.to);
        self.conversation.note_error(cx);
        warn!(
            cx,
            "{} bytes are missing: {}",
            overrun.to.saturating_sub(overrun.from),
            overrun.reason
        );
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, id: u32) {
        if id == TICK {
            self.conversation.tick(cx);
        }
    }

    fn on_settings(&mut self, cx: &mut Cx<'_>, settings: Settings) {
        match settings.check() {
            Ok(()) => self.conversation.change_interval(cx, settings.interval_s),
            Err(error) => warn!(cx, "{error}; it stays as it was"),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.conversation.memory).rereading(PORT, self.framer.held())
    }

    fn stop(&mut self, cx: &mut Cx<'_>, _reason: StopReason) {
        self.conversation.stop(cx);
    }
}
