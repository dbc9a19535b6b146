//! Driver of the PS/2 keyboard adapter. `keys.rs`, `layout.rs`, `work.rs` and `protocol.rs` turn commands into lines and lines into answers;
//! `conversation.rs` sends one after the other; this is the glue.
//!
//! ```text
//! Away -> Identifying -> Ready           attached; token
//!              |  ^        |
//!              v  +--------+             it does not answer any more, or was reset
//!           Waiting                      six questions without an answer: again after half a second
//!
//! Ready:   idle -> in flight -> pausing -> in flight ...  -> idle         a line; its answer; the next line
//! ```
//!
//! Loss of the line leads to `Away` from everywhere, and ends what was asked. Over a swap, and after a restart from a checkpoint, an adapter that
//! was ready is not identified again, and a text goes on where it was.

pub mod keys;
pub mod layout;
pub mod protocol;
pub mod settings;
pub mod work;

mod conversation;
mod state;

use autobench_sdk::{
    Attached, Bytes, Cancellation, Command, Driver, LeaseEnd, Line, LineFramer, Lost, Manifest, NoArguments,
    Observed, Outcome, Overrun, PortWish, Refusal, Snapshot, Start, Value, line, warn,
};

use conversation::{Conversation, Cx};
use settings::{Combo, Hold, Keys, Macro, Plan, Press, Release, Settings, Type};
pub use state::State;

autobench_sdk::export_driver!(Keyboard);

pub(crate) const PORT: &str = "main";
/// The slice that says whether the PC has power, in its member `powerSense`.
const FRONT_PANEL: &str = "frontPanel";
const BAUD_RATE: u32 = 9600;

/// The driver.
pub struct Keyboard {
    framer: LineFramer,
    conversation: Conversation,
}

impl Driver for Keyboard {
    type Settings = Settings;
    type Slice = State;

    fn manifest() -> Manifest {
        let port = PortWish::new(PORT, "The adapter's USB port.")
            .line(line(BAUD_RATE))
            .handshake(protocol::IDENTIFY, "(?m)^KB\r?$", 3000);
        Manifest::new(
            "keyboard",
            env!("CARGO_PKG_VERSION"),
            "PS/2 keyboard adapter: presses keys of a PC.",
        )
        .slice("ps2Keyboard")
        .port(port)
        .observes(FRONT_PANEL)
        .command::<Press>("press", "Presses a key and lets it go.")
        .command::<Hold>(
            "hold",
            "Holds a key until it is released, its time is over, or whoever asked for it is gone. Of a key that is held, the time begins anew.",
        )
        .hold()
        .command::<Keys>("keys", "Puts keys down and up, one after the other, as somebody at the keyboard does.")
        .hold()
        .command::<Release>("release", "Lets a key go.")
        .command::<NoArguments>(
            "release-all",
            "Withdraws all other commands, and lets all keys and modifiers go.",
        )
        .command::<Combo>("combo", "Strikes a key while modifiers are held.")
        .command::<Type>("type", "Types a text.")
        .secret_when("secret")
        .command::<Macro>("macro", "Does what the settings say under a name.")
        .command::<settings::Power>("power", "Says who tells the mouse adapter whether the PC is on.")
        .command::<NoArguments>("cancel-all", "Withdraws all other commands. Keys that are held stay held.")
        .memory_bytes(16 << 20)
        .slice_bytes(128 << 10)
    }

    fn start(cx: &mut Cx<'_>, mut start: Start<Settings>) -> Result<Self, Refusal> {
        let memory = start.memory()?;
        let attached = start.port(PORT)?.attached;
        let plan = Plan::new(start.settings).map_err(Refusal::InvalidSettings)?;
        let mut conversation = Conversation {
            memory: memory.unwrap_or_default(),
            plan,
        };
        cx.edit().baud_rate = Some(BAUD_RATE);
        conversation.show_choices(cx);
        conversation.go_on(cx, attached);
        conversation.show(cx);
        Ok(Self {
            framer: LineFramer::new(protocol::LINE_LIMIT_BYTES),
            conversation,
        })
    }

    fn on_bytes(&mut self, cx: &mut Cx<'_>, bytes: Bytes) {
        let conversation = &mut self.conversation;
        self.framer.feed(&bytes.data, |line| {
            if let Line::Whole(line) = line {
                conversation.hear(cx, line);
            }
        });
        conversation.show(cx);
    }

    fn on_attached(&mut self, cx: &mut Cx<'_>, _attached: Attached) {
        self.framer.reset();
        self.conversation.connect(cx);
    }

    fn on_lost(&mut self, cx: &mut Cx<'_>, lost: Lost) {
        self.framer.reset();
        self.conversation.leave(cx, &lost.reason);
    }

    fn on_overrun(&mut self, cx: &mut Cx<'_>, overrun: Overrun) {
        self.framer.reset();
        // An answer that was among them is missed in its time.
        warn!(
            cx,
            "{} bytes are missing: {}",
            overrun.to.saturating_sub(overrun.from),
            overrun.reason
        );
    }

    fn on_timer(&mut self, cx: &mut Cx<'_>, _id: u32) {
        if self.conversation.is_unanswered(cx) {
            // Half a line from before would spoil the answer to what is asked next.
            self.framer.reset();
        }
        self.conversation.tick(cx);
    }

    fn on_command(&mut self, cx: &mut Cx<'_>, command: Command) {
        if let Err(reason) = self.take(cx, &command) {
            // The command is in flight: it has only just come.
            let _ = cx.complete(&command.id, &Outcome::Blocked(reason));
        }
    }

    fn on_cancel(&mut self, cx: &mut Cx<'_>, cancellation: Cancellation) {
        self.conversation
            .cancel(cx, &cancellation.id, &cancellation.reason);
    }

    fn on_lease_ended(&mut self, cx: &mut Cx<'_>, end: LeaseEnd) {
        self.conversation.lease_ended(cx, end.id, &end.reason);
    }

    fn on_observed(&mut self, cx: &mut Cx<'_>, observed: Observed) {
        if observed.slice == FRONT_PANEL {
            self.conversation
                .sense_power(cx, power_sense(observed.value.as_deref()));
        }
    }

    fn on_settings(&mut self, cx: &mut Cx<'_>, settings: Settings) {
        match Plan::new(settings) {
            Ok(plan) => {
                self.conversation.plan = plan;
                self.conversation.show_choices(cx);
            }
            Err(problems) => warn!(cx, "the settings stay as they were: {problems}"),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.conversation.memory).rereading(PORT, self.framer.held())
    }
}

impl Keyboard {
    /// Takes a command, or says why not.
    fn take(&mut self, cx: &mut Cx<'_>, command: &Command) -> Result<(), String> {
        let plan = &self.conversation.plan;
        let mut job = match command.name.as_str() {
            "press" => command.arguments::<Press>()?.job()?,
            "hold" => command.arguments::<Hold>()?.job(plan)?,
            "keys" => command.arguments::<Keys>()?.job(plan)?,
            "release" => command.arguments::<Release>()?.job()?,
            "combo" => command.arguments::<Combo>()?.job()?,
            "type" => {
                // The complaint might quote the text.
                let arguments = command.arguments::<Type>();
                let arguments = arguments.map_err(|_| "these are not the arguments of `type`".to_owned())?;
                arguments.job(plan)?
            }
            "macro" => command.arguments::<Macro>()?.job(plan)?,
            "power" => command.arguments::<settings::Power>()?.job(),
            "release-all" => {
                return self.conversation.release_all(cx, &command.id, &command.actor);
            }
            "cancel-all" => {
                let count = self.conversation.withdraw_all(cx, "all are cancelled");
                let count = Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
                let _ = cx.complete(&command.id, &Outcome::Succeeded(Some(count)));
                return Ok(());
            }
            _ => return Err("this driver has no such command".to_owned()),
        };
        job.command = Some(command.id.clone());
        command.actor.clone_into(&mut job.by);
        self.conversation.take(cx, job)
    }
}

/// What another slice says of the PC's power. What cannot be read, or is not there, is unknown, and forbids nothing.
fn power_sense(slice: Option<&str>) -> state::Power {
    let slice: Option<serde_json::Value> = slice.and_then(|text| serde_json::from_str(text).ok());
    match slice.as_ref().and_then(|slice| slice.get("powerSense")?.as_str()) {
        Some("on") => state::Power::On,
        Some("off") => state::Power::Off,
        _ => state::Power::Unknown,
    }
}
