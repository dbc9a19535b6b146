//! Driver of the ATX front-panel controller `FP`. `protocol.rs` reads and writes its lines, `work.rs` says what a command does step by step,
//! `panel.rs` leads the conversation with the board; this is the glue.
//!
//! ```text
//! Away -> Waking -> Identifying -> Completing -> Ready      attached; awake; the token; the board says how power is
//!                     |  ^  ^          |           |
//!                     v  |  `----------+-----------'        no word in time; Ready: a release that the board has not confirmed, lost bytes
//!                  Waiting                                  six questions without an answer: again after half a second
//! ```
//!
//! Loss of the line leads to `Away` from everywhere, and what was under way has failed then. Nothing is identified after a swap, or after a
//! restart from a checkpoint: the identification opens both contacts, and somebody may be pressing. For the same reason it is what makes the
//! contacts safe again when the board does not say that it has let go. In `Ready` it is also how a command asks that finds nothing to press:
//! `panel/asking.rs`.
//!
//! A contact is never closed without a lease: the host has the bytes that open it before those that close it leave.

mod panel;
pub mod protocol;
pub mod settings;
pub mod state;
pub mod work;

use autobench_sdk::{
    Attached, Bytes, Cancellation, Command, Context, Driver, LeaseEnd, Line, LineFramer, Lost, Manifest,
    NoArguments, Outcome, Overrun, PortWish, Refusal, Snapshot, Start, line, warn,
};
use schemars::JsonSchema;
use serde::Deserialize;

use panel::{Memory, Panel};
use protocol::{Button, Message};
pub use settings::Settings;
pub use state::State;
use work::Verb;

autobench_sdk::export_driver!(Atx);

const PORT: &str = "main";
/// What such boards use. Over USB it means nothing.
const BAUD_RATE: u32 = 9600;

/// Arguments of `press` and `hold`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Closing {
    /// Which button.
    pub button: Button,
    /// For how long, or, of a hold, for how long at most. The board itself lets go after ten seconds.
    #[schemars(range(min = 50, max = 10_000))]
    pub ms: Option<u32>,
}

/// Arguments of `release`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Releasing {
    /// Which button.
    pub button: Button,
}

/// The driver.
pub struct Atx {
    framer: LineFramer,
    panel: Panel,
}

type Cx<'a> = Context<'a, State>;

/// What a command asks for.
enum Request {
    Do(Verb),
    LetGo(Button),
}

impl Driver for Atx {
    type Settings = Settings;
    type Slice = State;

    fn manifest() -> Manifest {
        let port = PortWish::new(PORT, "The USB port of the front-panel controller.")
            .line(line(BAUD_RATE))
            .usb(0x2341, 0x8036)
            .usb(0x2341, 0x8037)
            .usb(0x1b4f, 0x9206)
            .handshake(protocol::IDENTIFY, "(^|\n)FP\r?\n", 5000);
        Manifest::new("atx", env!("CARGO_PKG_VERSION"), "ATX front-panel controller.")
            .slice("frontPanel")
            .port(port)
            .dangerous_command::<Closing>("press", "Presses a button.")
            .dangerous_command::<Closing>(
                "hold",
                "Holds a button down until it is released, or whoever asked for it is gone.",
            )
            .hold()
            .command::<Releasing>("release", "Lets a held button go.")
            .dangerous_command::<NoArguments>("on", "Switches the PC on, if it is off.")
            .dangerous_command::<NoArguments>(
                "off",
                "Presses power, if the PC is on, and waits until it is off.",
            )
            .dangerous_command::<NoArguments>(
                "force-off",
                "Cuts the PC's power with a long press, if it is on.",
            )
            .dangerous_command::<NoArguments>("reset", "Resets the PC, if it is on.")
            .dangerous_command::<NoArguments>("cycle", "Cuts the PC's power and switches it on again.")
            .memory_bytes(16 << 20)
            .slice_bytes(128 << 10)
    }

    fn start(cx: &mut Cx<'_>, mut start: Start<Settings>) -> Result<Self, Refusal> {
        start.settings.check().map_err(Refusal::InvalidSettings)?;
        let memory: Memory = start.memory()?.unwrap_or_default();
        let attached = start.port(PORT)?.attached;
        let framer = LineFramer::new(protocol::LIMIT_BYTES).skipping(memory.skipping);
        let mut panel = Panel::new(memory, start.settings);
        panel.go_on(cx, attached);
        Ok(Self { framer, panel })
    }

    fn on_bytes(&mut self, cx: &mut Cx<'_>, bytes: Bytes) {
        let panel = &mut self.panel;
        self.framer.feed(&bytes.data, |line| {
            let message = match line {
                // The firmware ends a line with CR LF, so an empty one is noise that nobody has to count.
                Line::Whole([]) => return,
                Line::Whole(text) => protocol::read_line(text),
                Line::Cut(_) => Message::Unknown,
            };
            panel.take(cx, message);
        });
        panel.settle(cx);
    }

    fn on_attached(&mut self, cx: &mut Cx<'_>, attached: Attached) {
        self.framer.reset();
        self.panel.connect(cx, Some(&attached.identity));
        self.panel.settle(cx);
    }

    fn on_lost(&mut self, cx: &mut Cx<'_>, lost: Lost) {
        self.framer.reset();
        self.panel.leave(cx, &lost.reason);
        self.panel.settle(cx);
    }

    fn on_overrun(&mut self, cx: &mut Cx<'_>, overrun: Overrun) {
        self.framer.reset();
        let count = overrun.to.saturating_sub(overrun.from);
        self.panel
            .miss(cx, &format!("{count} bytes are missing: {}", overrun.reason));
        self.panel.settle(cx);
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, id: u32) {
        if id == panel::TICK {
            if self.panel.is_unanswered(cx) {
                // Half a line from before would spoil the answer to what is asked next.
                self.framer.reset();
            }
            self.panel.tick(cx);
            self.panel.settle(cx);
        }
    }

    fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) {
        match self.request(&command) {
            Ok(Request::Do(verb)) => self.panel.ask(cx, &command, verb),
            Ok(Request::LetGo(button)) => self.panel.release(cx, &command.id, button),
            Err(reason) => {
                // The host is the one that knows whether the command is still in flight.
                let _ = cx.complete(&command.id, &Outcome::Blocked(reason));
            }
        }
        self.panel.settle(cx);
    }

    fn on_cancel(&mut self, cx: &mut Cx<'_>, cancellation: Cancellation) {
        self.panel.cancel(cx, &cancellation.id, &cancellation.reason);
        self.panel.settle(cx);
    }

    fn on_lease_ended(&mut self, cx: &mut Cx<'_>, end: LeaseEnd) {
        self.panel.lease_ended(cx, end.id, &end.reason);
        self.panel.settle(cx);
    }

    fn on_settings(&mut self, cx: &mut Cx<'_>, settings: Settings) {
        match settings.check() {
            Ok(()) => self.panel.settings = settings,
            Err(error) => warn!(cx, "{error}; all settings stay as they were"),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut memory = self.panel.memory.clone();
        memory.skipping = self.framer.is_skipping();
        Snapshot::of(&memory).rereading(PORT, self.framer.held())
    }
}

impl Atx {
    fn request(&self, command: &Command) -> Result<Request, String> {
        let settings = &self.panel.settings;
        let closing = |default_ms| {
            let Closing { button, ms } = command.arguments()?;
            let ms = ms.unwrap_or(default_ms);
            if (50..=10_000).contains(&ms) {
                Ok((button, ms))
            } else {
                Err("ms is a number from 50 to 10000".to_owned())
            }
        };
        let verb = match command.name.as_str() {
            "press" => closing(settings.press_ms).map(|(button, ms)| Verb::Press(button, ms))?,
            "hold" => closing(settings.hold_ms).map(|(button, ms)| Verb::Hold(button, ms))?,
            "release" => {
                let Releasing { button } = command.arguments()?;
                return Ok(Request::LetGo(button));
            }
            "on" => Verb::On,
            "off" => Verb::Off,
            "force-off" => Verb::ForceOff,
            "reset" => Verb::Reset,
            "cycle" => Verb::Cycle,
            other => return Err(format!("there is no command {other}")),
        };
        Ok(Request::Do(verb))
    }
}
