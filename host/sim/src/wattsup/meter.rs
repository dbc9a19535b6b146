//! The meter itself, without a line: bytes and the time in, bytes and rows out. It owns the modes, the memory and the counters of a
//! Watts Up? PRO; it knows nothing of terminals, of faults or of who listens.
//!
//! ```text
//! Internal --#L,W,3,E--> External --#L,W,3,I | #L,R | 0x18 | restart--> Internal
//! ```
//!
//! External logging sends a row every interval until it is told otherwise; internal logging keeps one in memory instead. `0x18` drops what
//! the meter has not sent yet and ends whatever would send more: a dump, or the rows of external logging.

use super::packet::{Packet, PacketReader, Received};
use crate::pc::{Draw, Pc, Stage};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

/// The rate that the meter speaks at.
pub const BAUD_RATE: u32 = 115_200;
/// The firmware's one line that is not a packet.
const BANNER: &str = "EED05F01 $Revision: 4.41 $ 200612212301 60Hz 120V\r\n";
/// What identifies the meter: a PRO with 65,206 bytes of memory, hardware 5.2, firmware 4.41.
const VERSION: &str = "#v,-,8,1,65206,5,2,4,41,200612212301,0;";
const HEADER: &str = "#h,-,18,W,V,A,WH,Cost,WH/Mo,Cost/Mo,Wmax,Vmax,Amax,Wmin,Vmin,Amin,PF,DC,PC,Hz,VA;";
/// Bytes of the memory for logged records.
const MEMORY_BYTES: usize = 65_206;
/// How many bytes each field takes in the memory, in the order of a record.
const FIELD_BYTES: [usize; FIELDS] = [2, 2, 2, 4, 4, 3, 4, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2];
/// Values of a record.
pub const FIELDS: usize = 18;
/// How long a soft restart takes; the meter is deaf meanwhile.
const RESTART: Duration = Duration::from_millis(250);
/// Hours in the month that the meter's estimates mean.
const HOURS_PER_MONTH: f64 = 720.0;
/// Calibration factors: edition, layout, then the same 23 for 50 Hz and 60 Hz.
const CALIBRATION_HEAD: [u32; 2] = [13, 0];
const CALIBRATION: [u32; 23] = [
    0, 3690, 0, 0, 0, 0, 252, 919, 252, 919, 1, 252, 919, 0, 100, 0, 1234, 100, 0, 0, 0, 0, 0,
];

/// What the meter does, in the order in which it does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// An answer, a banner or a stored record: bytes for the line.
    Bytes(Vec<u8>),
    /// A row of external logging.
    Row(Row),
    /// The host asked for rows, whether they were on before or not.
    Started,
    /// What was not sent yet is not to be sent any more.
    Aborted,
}

/// A row of external logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counts from 1 and never restarts.
    pub number: u64,
    /// Simulated time since power-on.
    pub at: Duration,
    /// Tenths of watts.
    pub deciwatts: u64,
    /// The row as it leaves the meter, with its `\r\n`.
    pub text: String,
}

/// What the Wh field of external rows holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnergyField {
    /// The energy since the memory was cleared, as on the real meter.
    Energy,
    /// The number of the row, so that a reader can tell which rows it got.
    RowNumber,
}

/// The meter.
#[derive(Debug)]
pub struct Meter {
    pc: Pc,
    energy_field: EnergyField,
    reader: PacketReader,
    mode: Mode,
    interval_s: u32,
    next_sample: Duration,
    /// Set while the firmware starts over: when it will be done.
    restarting_until: Option<Duration>,
    dump: Option<Dump>,
    rows: u64,
    selection: [bool; FIELDS],
    full_handling: FullHandling,
    /// Cost in mils per kWh, duty threshold in watts, currency.
    user: [u32; 3],
    memory: VecDeque<[u64; FIELDS]>,
    totals: Totals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Internal,
    External,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FullHandling {
    Stop,
    Wrap,
    Condense,
}

/// A memory dump under way. It walks by position; a clear of the memory ends it.
#[derive(Debug)]
struct Dump {
    position: usize,
    count: usize,
    next: Duration,
}

/// What the meter counts since its memory was cleared.
#[derive(Debug)]
struct Totals {
    since: Duration,
    last: Duration,
    energy_wh: f64,
    on_s: f64,
    extremes: Option<Extremes>,
}

#[derive(Clone, Copy, Debug)]
struct Extremes {
    max: [u64; 3],
    min: [u64; 3],
}

impl Meter {
    /// A meter that has just got power: its banner is in `outputs`, it logs to its memory once a second.
    pub fn power_on(pc: Pc, energy_field: EnergyField, outputs: &mut Vec<Output>) -> Self {
        outputs.push(Output::Bytes(BANNER.as_bytes().to_vec()));
        Self {
            pc,
            energy_field,
            reader: PacketReader::default(),
            mode: Mode::Internal,
            interval_s: 1,
            next_sample: Duration::from_secs(1),
            restarting_until: None,
            dump: None,
            rows: 0,
            selection: [true; FIELDS],
            full_handling: FullHandling::Wrap,
            user: [80, 100, 0],
            memory: VecDeque::new(),
            totals: Totals::since(Duration::ZERO),
        }
    }

    /// Bytes from the host.
    pub fn receive(&mut self, bytes: &[u8], now: Duration, outputs: &mut Vec<Output>) {
        self.advance(now, outputs);
        for byte in bytes {
            if self.restarting_until.is_some() {
                continue;
            }
            match self.reader.push(*byte) {
                Some(Received::Abort) => self.abort(outputs),
                Some(Received::Packet(packet)) => self.command(&packet, now, outputs),
                None => {}
            }
        }
    }

    /// Bytes came that were none: a half-received command does not survive them.
    pub fn line_noise(&mut self) {
        self.reader = PacketReader::default();
    }

    /// The PC behind the meter does something else from now on. What was due before that must have been done.
    pub fn pc_enters(&mut self, stage: Stage, now: Duration) {
        self.pc.enter(stage, now);
    }

    /// Does everything that is due by `now`.
    pub fn advance(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        while let Some(due) = self.next_due().filter(|due| *due <= now) {
            if self.restarting_until.is_some() {
                self.restarting_until = None;
                outputs.push(Output::Bytes(BANNER.as_bytes().to_vec()));
                self.next_sample = due + self.interval();
            } else if self.dump.as_ref().is_some_and(|dump| dump.next <= due) {
                self.dump_next(due, outputs);
            } else {
                self.sample(due, outputs);
            }
        }
    }

    /// When `advance` has something to do again.
    pub fn next_due(&self) -> Option<Duration> {
        if let Some(until) = self.restarting_until {
            return Some(until);
        }
        let dump = self.dump.as_ref().map(|dump| dump.next);
        Some(dump.map_or(self.next_sample, |next| next.min(self.next_sample)))
    }

    /// How long from one row to the next.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(u64::from(self.interval_s))
    }

    /// How many rows of external logging there have been.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn abort(&mut self, outputs: &mut Vec<Output>) {
        self.dump = None;
        self.mode = Mode::Internal;
        outputs.push(Output::Aborted);
    }

    fn command(&mut self, packet: &Packet, now: Duration, outputs: &mut Vec<Output>) {
        if let Answer::Text(text) = self.answer(packet, now, outputs) {
            outputs.push(Output::Bytes(text.into_bytes()));
        }
    }

    /// The table of commands. Whatever is well formed and not in it is answered with the version.
    fn answer(&mut self, packet: &Packet, now: Duration, outputs: &mut Vec<Output>) -> Answer {
        let arguments: Vec<&str> = packet.arguments.iter().map(String::as_str).collect();
        let text = match (packet.command, packet.subcommand, arguments.as_slice()) {
            ('H', 'R', []) => HEADER.to_owned(),
            ('V', 'W', []) => {
                self.restart(now, outputs);
                return Answer::Nothing;
            }
            ('L', 'W', ["E", _, interval]) => match interval_of(interval) {
                Some(interval_s) => {
                    self.mode = Mode::External;
                    self.interval_s = interval_s;
                    self.next_sample = now + self.interval();
                    outputs.push(Output::Started);
                    return Answer::Nothing;
                }
                None => VERSION.to_owned(),
            },
            ('L', 'W', ["I", _, interval]) => match interval_of(interval) {
                Some(interval_s) => {
                    self.mode = Mode::Internal;
                    self.set_interval(interval_s, now);
                    self.status()
                }
                None => VERSION.to_owned(),
            },
            ('L', 'R', []) => {
                self.mode = Mode::Internal;
                self.next_sample = now + self.interval();
                format!("#l,-,2,{},{};", now.as_secs(), self.interval_s)
            }
            ('D', 'R', []) => {
                self.dump = Some(Dump {
                    position: 0,
                    count: self.memory.len(),
                    next: now,
                });
                format!("#n,-,3,_,{},{};", self.interval_s, self.memory.len())
            }
            ('S', 'R', []) => self.status(),
            ('S', 'W', [_, interval]) => match interval_of(interval) {
                Some(interval_s) => {
                    self.set_interval(interval_s, now);
                    self.status()
                }
                None => VERSION.to_owned(),
            },
            ('C', 'R', []) => record('c', self.selection.iter().map(|on| u32::from(*on))),
            ('C', 'W', flags) if !flags.is_empty() && flags.len() <= FIELDS => {
                // Flags that are not sent leave their fields as they are.
                for (field, flag) in self.selection.iter_mut().zip(flags) {
                    *field = *flag == "1";
                }
                self.clear(now);
                self.limit_record()
            }
            ('O', 'R', []) => record('o', [self.full_handling.number()]),
            ('O', 'W', [number]) => match FullHandling::of(number) {
                Some(handling) => {
                    self.full_handling = handling;
                    self.clear(now);
                    record('o', [handling.number()])
                }
                None => VERSION.to_owned(),
            },
            ('N', 'R', []) => self.limit_record(),
            ('R', 'W', []) => {
                self.clear(now);
                return Answer::Nothing;
            }
            ('U', 'R', []) => record('u', self.user),
            ('U', 'W', [rate, threshold, currency]) => {
                match (
                    rate.parse::<u32>(),
                    threshold.parse::<u32>(),
                    currency.parse::<u32>(),
                ) {
                    (Ok(rate @ ..=65_500), Ok(threshold @ ..=5_000), Ok(currency @ ..=1)) => {
                        self.user = [rate, threshold, currency];
                        record('u', self.user)
                    }
                    _ => VERSION.to_owned(),
                }
            }
            ('F', 'R', []) => record(
                'f',
                CALIBRATION_HEAD.into_iter().chain(CALIBRATION).chain(CALIBRATION),
            ),
            _ => VERSION.to_owned(),
        };
        Answer::Text(text)
    }

    /// The firmware starts over; memory, counters and settings stay, as they do without power.
    fn restart(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        self.abort(outputs);
        self.reader = PacketReader::default();
        self.restarting_until = Some(now + RESTART);
    }

    fn set_interval(&mut self, interval_s: u32, now: Duration) {
        // A condensing memory chooses its interval itself.
        if self.full_handling != FullHandling::Condense {
            self.interval_s = interval_s;
        }
        self.clear(now);
    }

    fn clear(&mut self, now: Duration) {
        self.memory.clear();
        self.dump = None;
        self.totals = Totals::since(now);
        if self.full_handling == FullHandling::Condense {
            self.interval_s = 1;
        }
        self.next_sample = now + self.interval();
    }

    /// How many records of the chosen fields the memory holds.
    fn limit(&self) -> usize {
        let bytes: usize = FIELD_BYTES
            .iter()
            .zip(self.selection)
            .map(|(bytes, on)| if on { *bytes } else { 0 })
            .sum();
        MEMORY_BYTES / bytes.max(1)
    }

    fn limit_record(&self) -> String {
        format!("#n,-,1,{};", self.limit())
    }

    fn status(&self) -> String {
        let stopped = self.full_handling == FullHandling::Stop && self.memory.len() >= self.limit();
        let logging = match self.mode {
            Mode::External => 2,
            Mode::Internal if stopped => 0,
            Mode::Internal => 1,
        };
        format!("#s,-,3,_,{},{logging};", self.interval_s)
    }

    /// Takes one reading: a row for the host, or a record for the memory.
    fn sample(&mut self, due: Duration, outputs: &mut Vec<Output>) {
        let draw = self.pc.draw(due);
        self.totals.add(&draw, due, self.user);
        let mut fields = self.totals.record(&draw, due, self.user);
        match self.mode {
            Mode::External => {
                self.rows += 1;
                if self.energy_field == EnergyField::RowNumber
                    && let Some(energy) = fields.get_mut(3)
                {
                    *energy = self.rows;
                }
                let deciwatts = fields.first().copied().unwrap_or(0);
                outputs.push(Output::Row(Row {
                    number: self.rows,
                    at: due,
                    deciwatts,
                    text: self.row_text(&fields),
                }));
            }
            Mode::Internal => self.store(fields),
        }
        self.next_sample = due + self.interval();
    }

    fn store(&mut self, fields: [u64; FIELDS]) {
        if self.memory.len() >= self.limit() {
            match self.full_handling {
                FullHandling::Stop => return,
                FullHandling::Wrap => {
                    self.memory.pop_front();
                }
                FullHandling::Condense => {
                    let mut keep = false;
                    self.memory.retain(|_| {
                        keep = !keep;
                        keep
                    });
                    self.interval_s = self.interval_s.saturating_mul(2);
                    self.dump = None;
                }
            }
        }
        self.memory.push_back(fields);
    }

    /// Sends one more record of the dump, or its end, at the pace of the line.
    fn dump_next(&mut self, due: Duration, outputs: &mut Vec<Output>) {
        let Some(dump) = &mut self.dump else { return };
        let stored = if dump.position < dump.count {
            self.memory.get(dump.position).copied()
        } else {
            None
        };
        let text = match stored {
            Some(fields) => {
                dump.position += 1;
                self.row_text(&fields)
            }
            None => {
                self.dump = None;
                format!("#l,-,2,_,{};", self.interval_s)
            }
        };
        if let Some(dump) = &mut self.dump {
            dump.next = due + Duration::from_secs_f64(text.len() as f64 * 10.0 / f64::from(BAUD_RATE));
        }
        outputs.push(Output::Bytes(text.into_bytes()));
    }

    fn row_text(&self, fields: &[u64; FIELDS]) -> String {
        let mut text = String::from("#d,-,18");
        for (value, chosen) in fields.iter().zip(self.selection) {
            if chosen {
                // Writing to a string cannot fail.
                let _ = write!(text, ",{value}");
            } else {
                text.push_str(",_");
            }
        }
        text.push_str(";\r\n");
        text
    }
}

enum Answer {
    Text(String),
    Nothing,
}

impl FullHandling {
    fn of(text: &str) -> Option<Self> {
        match text {
            "0" => Some(Self::Stop),
            "1" => Some(Self::Wrap),
            "2" => Some(Self::Condense),
            _ => None,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Stop => 0,
            Self::Wrap => 1,
            Self::Condense => 2,
        }
    }
}

impl Totals {
    fn since(now: Duration) -> Self {
        Self {
            since: now,
            last: now,
            energy_wh: 0.0,
            on_s: 0.0,
            extremes: None,
        }
    }

    fn add(&mut self, draw: &Draw, at: Duration, user: [u32; 3]) {
        let passed_s = at.saturating_sub(self.last).as_secs_f64();
        let [_, threshold_w, _] = user;
        self.last = at;
        self.energy_wh += draw.watts * passed_s / 3600.0;
        if draw.watts >= f64::from(threshold_w) {
            self.on_s += passed_s;
        }
        let now = electrical(draw);
        self.extremes = Some(match self.extremes {
            None => Extremes { max: now, min: now },
            Some(Extremes {
                max: [w1, v1, a1],
                min: [w0, v0, a0],
            }) => {
                let [w, v, a] = now;
                Extremes {
                    max: [w1.max(w), v1.max(v), a1.max(a)],
                    min: [w0.min(w), v0.min(v), a0.min(a)],
                }
            }
        });
    }

    fn record(&self, draw: &Draw, at: Duration, user: [u32; 3]) -> [u64; FIELDS] {
        let [w, v, a] = electrical(draw);
        let extremes = self.extremes.unwrap_or(Extremes {
            max: [w, v, a],
            min: [w, v, a],
        });
        let ([w_max, v_max, a_max], [w_min, v_min, a_min]) = (extremes.max, extremes.min);
        let [mils_per_kwh, ..] = user.map(f64::from);
        let month_wh = draw.watts * HOURS_PER_MONTH;
        let passed_s = at.saturating_sub(self.since).as_secs_f64();
        let duty = if passed_s > 0.0 {
            100.0 * self.on_s / passed_s
        } else {
            0.0
        };
        [
            w,
            v,
            a,
            rounded(self.energy_wh * 10.0),
            rounded(self.energy_wh / 1000.0 * mils_per_kwh),
            rounded(month_wh),
            rounded(month_wh / 1000.0 * mils_per_kwh),
            w_max,
            v_max,
            a_max,
            w_min,
            v_min,
            a_min,
            rounded(draw.power_factor * 100.0).min(100),
            rounded(duty).min(100),
            0,
            rounded(draw.hertz * 10.0),
            rounded(draw.volt_amperes * 10.0).min(50_000),
        ]
    }
}

/// Watts, volts and amperes in the meter's units and ranges.
fn electrical(draw: &Draw) -> [u64; 3] {
    [
        rounded(draw.watts * 10.0).min(50_000),
        rounded(draw.volts * 10.0).clamp(900, 2_800),
        rounded(draw.amps * 1000.0).min(20_000),
    ]
}

fn rounded(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

fn interval_of(text: &str) -> Option<u32> {
    text.parse().ok().filter(|seconds| (1..=65_535).contains(seconds))
}

fn record(command: char, values: impl IntoIterator<Item = u32>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("#{command},-,{},{};", values.len(), values.join(","))
}
