//! Driver of the Watts Up? PRO power meter. `protocol.rs` reads and writes the meter's packets; this is the glue: when to ask what, what to
//! publish, and what to do when the meter is silent.
//!
//! ```text
//! Away -> Identifying -> Asking -> Streaming <-> Silent     attached; version record; first row; no row in time, asked again
//!              |  ^         |                      |
//!              v  +---------+----------------------+        no row although asked twice
//!           Waiting                                         three questions without an answer: again after five seconds
//! ```
//!
//! Rows are taken at every stage, because a meter that streamed before may still have some on the line. Loss of the line leads to `Away` from
//! everywhere.

pub mod protocol;

use autobench_sdk::{
    Attached, Bytes, Context, Driver, Lost, Manifest, Overrun, PacketFramer, Piece, PortWish, Refusal, Slice,
    Snapshot, Start, StopReason, debug, info, iso_8601, line, warn,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use protocol::{Message, Reading, Reserved, Version};

autobench_sdk::export_driver!(PowerMeter);

const PORT: &str = "main";

/// The one timer. It may come early or late: what is due is decided by `Memory::deadline_ns`.
const TICK: u32 = 1;

/// The meter answers within this time, or not at all.
const REPLY_MS: u64 = 2000;
const QUESTIONS: u8 = 3;
/// How long to leave a meter alone that does not answer.
const WAIT_MS: u64 = 5000;
/// No meter is called silent sooner than this, however short its interval.
const SILENCE_MS: u64 = 3000;
/// In how many intervals at least one row has to come.
const SILENCE_INTERVALS: u64 = 3;

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

/// How the device is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The line is away.
    #[default]
    Disconnected,
    /// The meter is being identified or asked for rows.
    Connecting,
    /// Rows are coming.
    Streaming,
    /// The meter does not answer.
    Error,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Error => "error",
        }
    }
}

/// The slice.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// How the device is.
    pub phase: Phase,
    /// What there is to say, for a person.
    #[slice(absent)]
    pub message: Option<String>,
    /// Counts since the driver started without a predecessor.
    pub stats: Stats,
    /// The newest row.
    pub last_sample: Option<LastSample>,
}

/// Counts.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Rows that were read.
    pub total_samples: u64,
    /// Rows that were lost in damage.
    pub bad_rows: u64,
    /// Bytes that came from the line.
    pub bytes_received: u64,
    /// Milliseconds since 1970.
    pub last_sample_at: Option<u64>,
    /// Milliseconds since 1970.
    pub last_error_at: Option<u64>,
}

/// The newest row. What the meter does not log is not there.
#[derive(Debug, Clone, Default, PartialEq, JsonSchema, Slice)]
#[serde(rename_all = "camelCase")]
pub struct LastSample {
    /// When its last byte was received.
    pub ts: String,
    /// Real power.
    #[slice(absent)]
    pub watts: Option<f64>,
    /// Voltage.
    #[slice(absent)]
    pub volts: Option<f64>,
    /// Current.
    #[slice(absent)]
    pub amps: Option<f64>,
    /// Line frequency.
    #[slice(absent)]
    pub frequency_hz: Option<f64>,
    /// From 0 to 1.
    #[slice(absent)]
    pub power_factor: Option<f64>,
    /// Energy since the meter's memory was cleared.
    #[slice(absent)]
    pub energy_wh: Option<f64>,
}

impl LastSample {
    fn new(reading: &Reading, received_ms: f64) -> Self {
        Self {
            ts: iso_8601(received_ms),
            watts: reading.watts,
            volts: reading.volts,
            amps: reading.amps,
            frequency_hz: reading.frequency_hz,
            power_factor: reading.power_factor,
            energy_wh: reading.energy_wh,
        }
    }
}

/// Where the conversation with the meter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    /// The line is away.
    Away,
    /// Asked who it is.
    Identifying,
    /// Asked for rows.
    Asking,
    /// Asked for rows in the other form of the command.
    AskingAgain,
    /// Rows are coming.
    Streaming,
    /// Rows came and stopped; asked for them again.
    Silent,
    /// Left alone for a while.
    Waiting,
}

/// What goes into a snapshot, next to the slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Memory {
    stage: Stage,
    /// How many times it was asked who it is, without an answer.
    questions: u8,
    /// When the stage has lasted too long, on the monotonic clock.
    deadline_ns: u64,
    /// The interval that the meter was last asked for.
    interval_s: u32,
    /// Number of the first byte that is not yet in `bytesReceived`. Bytes that come again after a swap are not counted again.
    counted_to: u64,
    /// Whether the last row was bad, so that a noisy line is logged once.
    noisy: bool,
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
        // In the order of `Conversation::push`.
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
        if !(1..=3600).contains(&start.settings.interval_s) {
            return Err(Refusal::InvalidSettings(
                "interval-s is a number of seconds from 1 to 3600".to_owned(),
            ));
        }
        let memory = start.memory()?;
        let interval_s = start.settings.interval_s;
        let port = start.port(PORT)?;
        let mut conversation = Conversation {
            memory: memory.unwrap_or(Memory {
                stage: Stage::Away,
                questions: 0,
                deadline_ns: 0,
                interval_s,
                counted_to: port.offset,
                noisy: false,
            }),
        };
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
        if (1..=3600).contains(&settings.interval_s) {
            self.conversation.change_interval(cx, settings.interval_s);
        } else {
            warn!(
                cx,
                "interval-s is a number of seconds from 1 to 3600; it stays as it was"
            );
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.conversation.memory).rereading(PORT, self.framer.held())
    }

    fn stop(&mut self, cx: &mut Cx<'_>, _reason: StopReason) {
        if self.conversation.memory.stage != Stage::Away {
            let command = protocol::log_internally(self.conversation.memory.interval_s);
            send(cx, command.as_bytes());
        }
    }
}

/// Who asked what of whom, and until when.
struct Conversation {
    memory: Memory,
}

impl Conversation {
    /// Takes up what the memory says. A meter that is being talked to is not spoken to: it would answer twice.
    fn go_on(&mut self, cx: &mut Cx<'_>, attached: bool, interval_s: u32) {
        match (self.memory.stage, attached) {
            (Stage::Away, true) => {
                self.memory.interval_s = interval_s;
                self.connect(cx);
            }
            (Stage::Away, false) => {
                self.memory.interval_s = interval_s;
                cx.phase(Phase::Disconnected.name());
            }
            (_, false) => self.leave(cx, "it was away when the driver started"),
            (_, true) => {
                let phase = cx.slice().phase;
                cx.phase(phase.name());
                if !cx.timer_runs(TICK) {
                    self.arm(cx);
                }
                self.change_interval(cx, interval_s);
            }
        }
    }

    fn connect(&mut self, cx: &mut Cx<'_>) {
        change_phase(cx, Phase::Connecting, None);
        self.memory.questions = 0;
        self.identify(cx);
    }

    fn leave(&mut self, cx: &mut Cx<'_>, reason: &str) {
        cx.cancel_timer(TICK);
        self.memory.stage = Stage::Away;
        self.note_error(cx);
        change_phase(
            cx,
            Phase::Disconnected,
            Some(format!("the line is away: {reason}")),
        );
        warn!(cx, "the line is away: {reason}");
    }

    fn identify(&mut self, cx: &mut Cx<'_>) {
        self.memory.questions += 1;
        let mut question = vec![protocol::ABORT];
        question.extend_from_slice(protocol::IDENTIFY);
        send(cx, &question);
        self.enter(cx, Stage::Identifying, REPLY_MS);
    }

    fn ask(&mut self, cx: &mut Cx<'_>, reserved: Reserved) {
        send(
            cx,
            protocol::log_externally(self.memory.interval_s, reserved).as_bytes(),
        );
        let stage = match reserved {
            Reserved::Underscore => Stage::Asking,
            Reserved::Zero => Stage::AskingAgain,
        };
        self.enter(cx, stage, REPLY_MS + self.interval_ms());
    }

    fn change_interval(&mut self, cx: &mut Cx<'_>, interval_s: u32) {
        if self.memory.interval_s == interval_s {
            return;
        }
        self.memory.interval_s = interval_s;
        match self.memory.stage {
            // The new interval goes out when the meter is asked for rows.
            Stage::Away | Stage::Identifying | Stage::Waiting => {}
            Stage::Asking | Stage::AskingAgain | Stage::Streaming | Stage::Silent => {
                self.ask(cx, Reserved::Underscore);
            }
        }
    }

    /// Deals with a message that was complete with these bytes, and gives the row if it is one.
    fn take(&mut self, cx: &mut Cx<'_>, message: &Message, bytes: &Bytes) -> Option<Reading> {
        match message {
            Message::Row(reading) => {
                self.take_row(cx, reading, bytes);
                Some(*reading)
            }
            Message::Recovered {
                reading,
                damaged_before,
            } => {
                if *damaged_before {
                    self.take_bad_row(cx, bytes.received_ms);
                }
                self.take_row(cx, reading, bytes);
                Some(*reading)
            }
            Message::Version(version) => {
                self.take_version(cx, version);
                None
            }
            Message::Bad => {
                self.take_bad_row(cx, bytes.received_ms);
                None
            }
            Message::Other | Message::Junk => None,
        }
    }

    fn take_version(&mut self, cx: &mut Cx<'_>, version: &Version) {
        // An answer that comes after its time is still one.
        if let Stage::Identifying | Stage::Waiting = self.memory.stage {
            let ((hardware, step), (firmware, patch)) = (version.hardware, version.firmware);
            let model = version.model;
            info!(
                cx,
                "Watts Up? {model}, hardware {hardware}.{step}, firmware {firmware}.{patch}"
            );
            change_phase(cx, Phase::Connecting, None);
            self.ask(cx, Reserved::Underscore);
        }
    }

    fn take_row(&mut self, cx: &mut Cx<'_>, reading: &Reading, bytes: &Bytes) {
        self.memory.noisy = false;
        push(cx, reading, bytes.received_ms);
        let state = cx.edit();
        state.stats.total_samples += 1;
        state.stats.last_sample_at = Some(whole_ms(bytes.received_ms));
        match self.memory.stage {
            // The timer stays as it is: when it comes it finds the deadline moved.
            Stage::Streaming => {
                self.memory.deadline_ns = bytes.received_ns + self.silence_ms() * 1_000_000;
            }
            Stage::Asking | Stage::AskingAgain | Stage::Silent | Stage::Waiting => {
                if state.phase != Phase::Streaming {
                    info!(cx, "streaming, a row every {} s", self.memory.interval_s);
                }
                change_phase(cx, Phase::Streaming, None);
                self.enter(cx, Stage::Streaming, self.silence_ms());
            }
            // What was on the line before the meter was stopped says nothing about whether it listens.
            Stage::Identifying | Stage::Away => {}
        }
    }

    fn take_bad_row(&mut self, cx: &mut Cx<'_>, received_ms: f64) {
        let stats = &mut cx.edit().stats;
        stats.bad_rows += 1;
        stats.last_error_at = Some(whole_ms(received_ms));
        if !self.memory.noisy {
            debug!(
                cx,
                "a damaged row is left out; further ones are only counted until a good one comes"
            );
        }
        self.memory.noisy = true;
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        if self.memory.stage == Stage::Away {
            return;
        }
        if cx.monotonic_ns() < self.memory.deadline_ns {
            self.arm(cx);
            return;
        }
        match self.memory.stage {
            Stage::Away => {}
            Stage::Identifying if self.memory.questions < QUESTIONS => self.identify(cx),
            Stage::Identifying => {
                self.note_error(cx);
                if cx.slice().phase != Phase::Error {
                    warn!(cx, "the meter does not answer; asking again every few seconds");
                    let message =
                        "the meter does not answer; check that it has power and the baud rate of its model";
                    change_phase(cx, Phase::Error, Some(message.to_owned()));
                }
                self.enter(cx, Stage::Waiting, WAIT_MS);
            }
            Stage::Waiting => {
                self.memory.questions = 0;
                self.identify(cx);
            }
            Stage::Asking => self.ask(cx, Reserved::Zero),
            Stage::AskingAgain => {
                self.start_over(cx, "the meter answers, but sends no rows; identifying it again");
            }
            Stage::Streaming => {
                self.note_error(cx);
                let message = format!("no row for {} s; asked for them again", self.silence_ms() / 1000);
                warn!(cx, "{message}");
                cx.set_now(|state| state.message = Some(message));
                send(
                    cx,
                    protocol::log_externally(self.memory.interval_s, Reserved::Underscore).as_bytes(),
                );
                self.enter(cx, Stage::Silent, self.silence_ms());
            }
            Stage::Silent => self.start_over(cx, "the meter is silent; identifying it again"),
        }
    }

    fn start_over(&mut self, cx: &mut Cx<'_>, message: &str) {
        self.note_error(cx);
        warn!(cx, "{message}");
        change_phase(cx, Phase::Connecting, Some(message.to_owned()));
        self.memory.questions = 0;
        self.identify(cx);
    }

    fn enter(&mut self, cx: &mut Cx<'_>, stage: Stage, after_ms: u64) {
        self.memory.stage = stage;
        self.memory.deadline_ns = cx.monotonic_ns() + after_ms * 1_000_000;
        self.arm(cx);
    }

    fn arm(&self, cx: &mut Cx<'_>) {
        let remaining_ns = self.memory.deadline_ns.saturating_sub(cx.monotonic_ns());
        let after_ms = u32::try_from(remaining_ns.div_ceil(1_000_000)).unwrap_or(u32::MAX);
        if let Err(error) = cx.set_timer(TICK, after_ms) {
            warn!(cx, "no timer, so a silent meter will not be noticed: {error}");
        }
    }

    fn count_bytes(&mut self, cx: &mut Cx<'_>, offset: u64, length: usize) {
        let end = offset + length as u64;
        let fresh = end.saturating_sub(self.memory.counted_to.max(offset));
        self.memory.counted_to = self.memory.counted_to.max(end);
        cx.edit().stats.bytes_received += fresh;
    }

    /// Bytes below this will not come and were not received.
    fn skip_to(&mut self, offset: u64) {
        self.memory.counted_to = self.memory.counted_to.max(offset);
    }

    fn note_error(&self, cx: &mut Cx<'_>) {
        let now_ms = whole_ms(cx.wall_ms());
        cx.edit().stats.last_error_at = Some(now_ms);
    }

    fn interval_ms(&self) -> u64 {
        u64::from(self.memory.interval_s) * 1000
    }

    fn silence_ms(&self) -> u64 {
        SILENCE_MS.max(SILENCE_INTERVALS * self.interval_ms())
    }
}

/// Every quantity of a row as telemetry, in the order of the manifest's series.
fn push(cx: &mut Cx<'_>, reading: &Reading, received_ms: f64) {
    let quantities = [
        reading.watts,
        reading.volts,
        reading.amps,
        reading.power_factor,
        reading.frequency_hz,
        reading.energy_wh,
        reading.apparent_va,
    ];
    for (series, quantity) in (0..).zip(quantities) {
        if let Some(value) = quantity {
            cx.sample(series, received_ms, value);
        }
    }
}

fn change_phase(cx: &mut Cx<'_>, phase: Phase, message: Option<String>) {
    cx.phase(phase.name());
    cx.set_now(|state| {
        state.phase = phase;
        state.message = message;
    });
}

/// A write that the line does not take is not repeated here: the timer asks again.
fn send(cx: &mut Cx<'_>, data: &[u8]) {
    if let Err(error) = cx.write(PORT, data) {
        warn!(cx, "the meter could not be asked: {error}");
    }
}

/// Times in a slice are whole milliseconds.
fn whole_ms(milliseconds: f64) -> u64 {
    milliseconds as u64
}
