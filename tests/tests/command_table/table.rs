//! The table: what each command does in each phase of its device, and what the answer to whoever asks for it has to be. Pure.

use serde_json::{Value, json};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Somebody without a token.
    Nobody,
    /// Somebody with a token that opens nothing.
    Stranger,
    /// Who may look.
    Viewer,
    /// Who may act.
    Operator,
    /// Who may do everything.
    Admin,
}

impl Role {
    /// Whom the table is walked with. Of strangers ten are looked at, and then nobody from their address any more.
    pub const WALKED: [Self; 4] = [Self::Nobody, Self::Viewer, Self::Operator, Self::Admin];
}

/// By which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `POST /api/v1/devices/{id}/commands`.
    Http,
    /// The socket's `command`.
    Socket,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http, Self::Socket];
}

/// Whether the PC has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// It has not.
    Off,
    /// It has.
    On,
}

/// What the device and its driver are at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The device is not configured any more.
    Gone,
    /// The driver does not run.
    Down,
    /// The line is away.
    Away,
    /// The line is there, and the device has not said what it is, or has not been asked yet.
    Connecting,
    /// The device was asked what it is, and is silent.
    Identifying,
    /// The device was asked more than once, and left alone.
    Error,
    /// The device obeys.
    Ready(Power),
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The command, with arguments that fit.
    Command,
    /// The command, with arguments that do not.
    WrongArguments,
    /// What is in no manifest.
    NoCommand,
}

/// What the manifest says of a command.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// It needs a grant.
    pub dangerous: bool,
    /// It needs somebody who can let go.
    pub hold: bool,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Cell {
    pub device: &'static str,
    pub command: String,
    pub declared: Declared,
    pub asked: Asked,
    pub role: Role,
    pub way: Way,
    pub granted: bool,
    pub phase: Phase,
}

/// How a command ends that the daemon takes, and every line that it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The driver refuses it, with a reason that contains this; nothing is written.
    Blocked(&'static str),
    /// The driver asks its device with these lines, and the command fails by the answer, for a reason that contains this.
    Fails(&'static str, &'static [&'static str]),
    /// It is done, and the PC is as it was.
    Done(&'static [&'static str]),
    /// It is done, and the PC is so.
    Leaves(Power, &'static [&'static str]),
    /// It waits for something that does not come, until it is withdrawn.
    Withdrawn(&'static [&'static str]),
}

/// What has to become of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is refused with this status over HTTP, and this code.
    Refused(u16, &'static str),
    /// It is taken, and ends so.
    Taken(End),
}

/// What has to become of a cell. In the order in which the reasons are looked at: of several the first is told.
pub fn expected(cell: &Cell, row: Option<&Row>) -> Expected {
    let Declared { dangerous, hold } = cell.declared;
    match (cell.role, cell.way) {
        (Role::Stranger, Way::Http) => return Expected::Refused(401, "wrong-token"),
        (Role::Nobody | Role::Stranger, _) => return Expected::Refused(401, "unauthorized"),
        (Role::Viewer, _) => return Expected::Refused(403, "forbidden"),
        (Role::Operator | Role::Admin, _) => {}
    }
    match cell.phase {
        Phase::Gone => return Expected::Refused(404, "unknown-device"),
        Phase::Down => return Expected::Refused(503, "not-ready"),
        _ => {}
    }
    let Some(row) = row.filter(|_| cell.asked != Asked::NoCommand) else {
        return Expected::Refused(422, "unknown-command");
    };
    if dangerous && !cell.granted {
        return Expected::Refused(403, "not-granted");
    }
    if cell.asked == Asked::WrongArguments {
        return Expected::Refused(422, "bad-arguments");
    }
    if hold && cell.way == Way::Http {
        return Expected::Refused(422, "needs-socket");
    }
    Expected::Taken(match cell.phase {
        Phase::Ready(Power::On) => row.on,
        Phase::Ready(Power::Off) => row.off,
        _ => row.unready,
    })
}

/// A command of a device.
#[derive(Debug, Clone)]
pub struct Row {
    pub device: &'static str,
    pub command: &'static str,
    /// Arguments that fit.
    pub right: Value,
    /// Arguments that do not.
    pub wrong: Value,
    /// How it ends while the device is not ready.
    pub unready: End,
    /// How it ends while the PC is off.
    pub off: End,
    /// How it ends while the PC is on.
    pub on: End,
}

const RESET: &[&str] = &["RESET_HOLD", "RESET_RELEASE"];
const POWER: &[&str] = &["POWER_HOLD", "POWER_RELEASE"];
/// A panel that finds nothing to press has the board say how power is.
const ASKED: &[&str] = &["identify", "identify_complete"];
const ASKED_POWER: &[&str] = &["identify", "identify_complete", "POWER_HOLD", "POWER_RELEASE"];
const POWER_TWICE: &[&str] = &["POWER_HOLD", "POWER_RELEASE", "POWER_HOLD", "POWER_RELEASE"];
const STRUCK: &[&str] = &["press 0:1c"];
const HELD: &[&str] = &["hold 0:1c", "release 0:1c"];
const STRUCK_WITH_CONTROL: &[&str] = &["hold 0:14", "press 0:1c", "release 0:14"];
const LET_GO: &[&str] = &["release 0:1c"];
/// The eight modifiers. Of a key with a prefix, the prefix goes out as a key of its own.
const ALL_LET_GO: &[&str] = &[
    "release 0:14",
    "release 0:12",
    "release 0:11",
    "hold 0:e0",
    "release 0:1f",
    "hold 0:e0",
    "release 0:14",
    "release 0:59",
    "hold 0:e0",
    "release 0:11",
    "hold 0:e0",
    "release 0:27",
];
const NOT_READY: End = End::Blocked("not-ready: the front panel is");
const NO_ADAPTER: End = End::Blocked("the adapter is not ready");
const NOTHING: End = End::Done(&[]);
const PC_OFF: End = End::Blocked("the PC is off");

/// Every command that there is.
pub fn rows() -> Vec<Row> {
    let panel = |command, right, wrong, off, on| Row {
        device: "panel",
        command,
        right,
        wrong,
        unready: NOT_READY,
        off,
        on,
    };
    let keyboard = |command, right, wrong, off, on| Row {
        device: "keyboard",
        command,
        right,
        wrong,
        unready: NO_ADAPTER,
        off,
        on,
    };
    let surplus = || json!({"surplus": 1});
    let key = || json!({"key": "KeyA"});
    let pressed = || json!({"key": "KeyA", "down": true});
    let released = || json!({"key": "KeyA", "down": false});
    let reset = || json!({"button": "reset"});
    vec![
        panel(
            "press",
            json!({"button": "reset", "ms": 50}),
            json!({"button": "reset", "ms": 49}),
            End::Done(RESET),
            End::Done(RESET),
        ),
        panel(
            "hold",
            reset(),
            json!({"button": "eject"}),
            End::Done(RESET),
            End::Done(RESET),
        ),
        Row {
            // What nobody holds is let go already, whatever the board is at.
            unready: NOTHING,
            ..panel("release", reset(), json!({}), NOTHING, NOTHING)
        },
        panel(
            "on",
            json!({}),
            surplus(),
            End::Leaves(Power::On, POWER),
            End::Done(ASKED),
        ),
        // The PC takes no notice of a short press, so that it never goes off.
        panel(
            "off",
            json!({}),
            surplus(),
            End::Done(ASKED),
            End::Withdrawn(POWER),
        ),
        panel(
            "force-off",
            json!({}),
            surplus(),
            End::Done(ASKED),
            End::Leaves(Power::Off, POWER),
        ),
        panel(
            "reset",
            json!({}),
            surplus(),
            End::Fails("power-off: ", ASKED),
            End::Done(RESET),
        ),
        panel(
            "cycle",
            json!({}),
            surplus(),
            End::Leaves(Power::On, ASKED_POWER),
            End::Done(POWER_TWICE),
        ),
        keyboard("press", key(), json!({"key": 1}), PC_OFF, End::Done(STRUCK)),
        keyboard("hold", key(), json!({}), PC_OFF, End::Done(HELD)),
        keyboard(
            "keys",
            json!({"events": [pressed(), released()]}),
            json!({"events": []}),
            PC_OFF,
            End::Done(HELD),
        ),
        keyboard("release", key(), json!({}), End::Done(LET_GO), End::Done(LET_GO)),
        keyboard(
            "release-all",
            json!({}),
            surplus(),
            End::Done(ALL_LET_GO),
            End::Done(ALL_LET_GO),
        ),
        keyboard(
            "combo",
            json!({"keys": ["ControlLeft", "KeyA"]}),
            json!({"keys": []}),
            PC_OFF,
            End::Done(STRUCK_WITH_CONTROL),
        ),
        keyboard(
            "type",
            json!({"text": "a"}),
            json!({"text": 1}),
            PC_OFF,
            End::Done(STRUCK),
        ),
        keyboard(
            "macro",
            json!({"name": "a"}),
            json!({}),
            PC_OFF,
            End::Done(STRUCK),
        ),
        keyboard(
            "power",
            json!({"mode": "auto"}),
            json!({"mode": "never"}),
            End::Done(&["power_auto"]),
            End::Done(&["power_auto"]),
        ),
        Row {
            unready: NOTHING,
            ..keyboard("cancel-all", json!({}), surplus(), NOTHING, NOTHING)
        },
    ]
}
