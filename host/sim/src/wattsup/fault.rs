//! The faults of a bad cable, and the order in which they act.

use crate::random::Random;
use std::fmt;
use std::str::FromStr;

/// Rows that a fault's turn lasts unless a plan says otherwise.
const TURN_ROWS: u64 = 20;
/// How many of the rows in a turn are struck unless a plan says otherwise.
const STRUCK_PERCENT: u8 = 50;

/// One way in which rows come to harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// NUL bytes between rows and inside them.
    Nuls,
    /// Rows delivered in pieces, with pauses between.
    Split,
    /// Several rows in one write, with and without their line ends; now and then one that is not the first lost part of its head.
    Joined,
    /// Rows that lost one, two or three bytes of their `#d,`.
    Headless,
    /// No rows until the host asks for them again. Strikes once per turn.
    Silence,
    /// The cable is pulled, either after a whole row or in the middle of one, and put back half a second later. Strikes once per turn.
    Unplug,
    /// Junk between rows, and rows damaged beyond reading.
    Garbage,
    /// The meter speaks and hears at another rate, from the first row of the turn to the last.
    WrongBaud,
}

impl Fault {
    /// Every fault, in the order in which `all` takes them.
    pub const ALL: [Self; 8] = [
        Self::Nuls,
        Self::Split,
        Self::Joined,
        Self::Headless,
        Self::Silence,
        Self::Unplug,
        Self::Garbage,
        Self::WrongBaud,
    ];

    /// The name on the command line and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nuls => "nuls",
            Self::Split => "split",
            Self::Joined => "joined",
            Self::Headless => "headless",
            Self::Silence => "silence",
            Self::Unplug => "unplug",
            Self::Garbage => "garbage",
            Self::WrongBaud => "wrong-baud",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|fault| fault.name() == text)
            .ok_or_else(|| FaultPlanError::UnknownFault(text.to_owned()))
    }
}

/// Which faults act, in turn.
///
/// As text: `none`, or `FAULTS[:ROWS[:PERCENT]]`, where FAULTS is `all` or names with commas between, ROWS is how many rows a turn lasts and
/// PERCENT how many of them are struck. `nuls,split:50:20` is fifty rows in which a fifth carries NULs, then fifty in which a fifth is split,
/// and again from the start. Only rows that reach the line count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    faults: Vec<Fault>,
    turn_rows: u64,
    percent: u8,
}

impl FaultPlan {
    /// A good cable.
    pub fn none() -> Self {
        Self::in_turn([])
    }

    /// Every fault in turn.
    pub fn all() -> Self {
        Self::in_turn(Fault::ALL)
    }

    /// These faults, in this order, again and again.
    pub fn in_turn(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self {
            faults: faults.into_iter().collect(),
            turn_rows: TURN_ROWS,
            percent: STRUCK_PERCENT,
        }
    }

    /// How many rows a turn lasts; at least one.
    pub fn with_turn_rows(self, turn_rows: u64) -> Self {
        Self {
            turn_rows: turn_rows.max(1),
            ..self
        }
    }

    /// How many of a hundred rows in a turn are struck.
    pub fn with_percent(self, percent: u8) -> Self {
        Self {
            percent: percent.min(100),
            ..self
        }
    }
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self::none()
    }
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.faults.iter().map(|fault| fault.name()).collect();
        write!(f, "{}:{}:{}", names.join(","), self.turn_rows, self.percent)
    }
}

impl FromStr for FaultPlan {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let plan = match parts.next().unwrap_or_default() {
            "none" => Self::none(),
            "all" => Self::all(),
            names => Self::in_turn(
                names
                    .split(',')
                    .map(|name| name.trim().parse())
                    .collect::<Result<Vec<_>, _>>()?,
            ),
        };
        let plan = match parts.next().map(|rows| (rows, rows.parse())) {
            None => plan,
            Some((_, Ok(rows @ 1..))) => plan.with_turn_rows(rows),
            Some((rows, _)) => return Err(FaultPlanError::Rows(rows.to_owned())),
        };
        let plan = match parts.next().map(|percent| (percent, percent.parse())) {
            None => plan,
            Some((_, Ok(percent @ 1..=100))) => plan.with_percent(percent),
            Some((percent, _)) => return Err(FaultPlanError::Percent(percent.to_owned())),
        };
        match parts.next() {
            None => Ok(plan),
            Some(rest) => Err(FaultPlanError::Trailing(rest.to_owned())),
        }
    }
}

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultPlanError {
    /// No fault has this name.
    #[error(
        "no fault is called `{0}`; there are none, all, nuls, split, joined, headless, silence, unplug, garbage, wrong-baud"
    )]
    UnknownFault(String),
    /// The part after the first colon.
    #[error("`{0}` is no number of rows; write for example `all:20`")]
    Rows(String),
    /// The part after the second colon.
    #[error("`{0}` is no percentage from 1 to 100; write for example `all:20:50`")]
    Percent(String),
    /// A third colon.
    #[error("`{0}` is one part too many; a plan is `FAULTS:ROWS:PERCENT`")]
    Trailing(String),
}

/// Walks through a plan, row by row.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    plan: FaultPlan,
    turn: usize,
    row: u64,
}

impl Turns {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self {
            plan,
            turn: 0,
            row: 0,
        }
    }

    /// The fault whose turn has had a row and will have another.
    pub(crate) fn under_way(&self) -> Option<Fault> {
        self.current().filter(|_| self.row > 0)
    }

    /// Whether the next row is struck, and by what; then the row is over.
    pub(crate) fn next_row(&mut self, random: &mut Random) -> Option<Fault> {
        let fault = self.current()?;
        let struck = match fault {
            Fault::Silence | Fault::Unplug => self.row == 0,
            Fault::WrongBaud => true,
            _ => random.percent(self.plan.percent),
        };
        self.row += 1;
        if self.row >= self.plan.turn_rows {
            self.row = 0;
            self.turn = (self.turn + 1) % self.plan.faults.len().max(1);
        }
        struck.then_some(fault)
    }

    fn current(&self) -> Option<Fault> {
        self.plan.faults.get(self.turn).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_text() {
        for plan in [
            FaultPlan::none(),
            FaultPlan::all(),
            FaultPlan::in_turn([Fault::Split, Fault::WrongBaud])
                .with_turn_rows(7)
                .with_percent(3),
        ] {
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("nul", "nul"),
            ("all:0", "0"),
            ("all:5:0", "0"),
            ("all:5:101", "101"),
            ("all:5:5:x", "x"),
        ] {
            let error = text.parse::<FaultPlan>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{named}`")), "{text}: {error}");
        }
    }

    #[test]
    fn turns_follow_one_another_and_start_again() {
        let mut turns = Turns::new(
            FaultPlan::in_turn([Fault::Nuls, Fault::Silence])
                .with_turn_rows(2)
                .with_percent(100),
        );
        let mut random = Random::new(1);
        let struck: Vec<Option<Fault>> = (0..6).map(|_| turns.next_row(&mut random)).collect();
        let (nuls, silence) = (Some(Fault::Nuls), Some(Fault::Silence));
        assert_eq!(struck, vec![nuls, nuls, silence, None, nuls, nuls]);
    }
}
