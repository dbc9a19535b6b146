//! The faults of boards and of their cables.

use crate::random::Random;
use std::fmt;
use std::str::FromStr;

/// One way in which a talk with a board goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BoardFault {
    /// Old telemetry stands before the token. Strikes identifications.
    Stray,
    /// A line of the board is lost. Strikes lines.
    Lost,
    /// A line of the board is late, and all after it. Strikes lines.
    Late,
    /// Junk before a line of the board, or in its place. Strikes lines.
    Garbage,
    /// The board resets in the middle of a command: it has heard it, may have begun with it, and answers with half a line or nothing. Strikes
    /// commands.
    Reset,
    /// The board is pulled within a fifth of a second after a command, and put back half a second later. Strikes commands.
    Unplug,
}

impl BoardFault {
    /// Every fault.
    pub const ALL: [Self; 6] = [
        Self::Stray,
        Self::Lost,
        Self::Late,
        Self::Garbage,
        Self::Reset,
        Self::Unplug,
    ];

    /// The name on the command line and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stray => "stray",
            Self::Lost => "lost",
            Self::Late => "late",
            Self::Garbage => "garbage",
            Self::Reset => "reset",
            Self::Unplug => "unplug",
        }
    }

    /// How often it strikes unless a plan says otherwise.
    fn usual_percent(self) -> u8 {
        match self {
            Self::Stray => 100,
            Self::Lost | Self::Late | Self::Garbage => 10,
            Self::Reset | Self::Unplug => 5,
        }
    }
}

impl fmt::Display for BoardFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which faults act, and how often.
///
/// As text: `none`, `all`, or names with commas between, each with `:PERCENT` if it is not to strike as often as usual. `stray,lost:20` is old
/// telemetry before every token, and a fifth of all lines lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardFaults {
    percents: Vec<(BoardFault, u8)>,
}

impl BoardFaults {
    /// A good board on a good cable.
    pub fn none() -> Self {
        Self::default()
    }

    /// Every fault, as often as usual.
    pub fn all() -> Self {
        Self {
            percents: BoardFault::ALL.map(|fault| (fault, fault.usual_percent())).into(),
        }
    }

    /// One more fault, which strikes so often.
    pub fn with(mut self, fault: BoardFault, percent: u8) -> Self {
        self.percents.retain(|(other, _)| *other != fault);
        self.percents.push((fault, percent.min(100)));
        self
    }

    /// Whether a fault strikes now.
    pub(super) fn strikes(&self, fault: BoardFault, random: &mut Random) -> bool {
        self.percents
            .iter()
            .any(|(other, percent)| *other == fault && random.percent(*percent))
    }
}

impl fmt::Display for BoardFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.percents.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<String> = self
            .percents
            .iter()
            .map(|(fault, percent)| format!("{fault}:{percent}"))
            .collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for BoardFaults {
    type Err = BoardFaultsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => return Ok(Self::none()),
            "all" => return Ok(Self::all()),
            _ => {}
        }
        text.split(',').try_fold(Self::none(), |faults, item| {
            let (name, percent) = item
                .trim()
                .split_once(':')
                .map_or((item.trim(), None), |(name, percent)| (name, Some(percent)));
            let fault = BoardFault::ALL
                .into_iter()
                .find(|fault| fault.name() == name)
                .ok_or_else(|| BoardFaultsError::UnknownFault(name.to_owned()))?;
            let percent = match percent.map(|percent| (percent, percent.parse())) {
                None => fault.usual_percent(),
                Some((_, Ok(percent @ 1..=100))) => percent,
                Some((percent, _)) => return Err(BoardFaultsError::Percent(percent.to_owned())),
            };
            Ok(faults.with(fault, percent))
        })
    }
}

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoardFaultsError {
    /// No fault has this name.
    #[error(
        "no fault of a board is called `{0}`; there are none, all, stray, lost, late, garbage, reset, unplug"
    )]
    UnknownFault(String),
    /// The part after the colon.
    #[error("`{0}` is no percentage from 1 to 100; write for example `lost:20`")]
    Percent(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_text() {
        for plan in [
            BoardFaults::none(),
            BoardFaults::all(),
            BoardFaults::none()
                .with(BoardFault::Late, 3)
                .with(BoardFault::Stray, 100),
        ] {
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        assert_eq!(
            "stray, lost:20".parse(),
            Ok(BoardFaults::none()
                .with(BoardFault::Stray, 100)
                .with(BoardFault::Lost, 20))
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("nuls", "nuls"),
            ("", ""),
            ("lost:0", "0"),
            ("lost:101", "101"),
            ("lost:5:5", "5:5"),
        ] {
            let error = text.parse::<BoardFaults>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{named}`")), "{text}: {error}");
        }
    }
}
