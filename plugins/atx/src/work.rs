//! What is asked of the buttons, and how far it is. Pure: it knows times as numbers, and neither port nor clock.
//!
//! ```text
//! verb --plan, by the power sense--> legs: press a button so long, then wait until the sense is so
//!
//! Asking --there is something to press--> Resting; there is not: done
//!
//! Resting -> Closed -> Opening -> Confirming -> the next leg, or done
//!    |          |         |           |         the button was left alone long enough; its time is over; the board said that it let go;
//!    |          |         |           |         the sense is as it should be
//!    |          |         `-----------+-------> failed: no word from the board, or the sense stayed as it was
//!    `----------+-----------------------------> over at once, or by way of Opening, when somebody takes it back; Asking comes to its end first
//! ```

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::protocol::Button;
use crate::settings::Settings;
use crate::state::{OperationStatus, Sense};

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verb {
    /// Close a contact for so long.
    Press(Button, u32),
    /// Close a contact until somebody says otherwise, for so long at most.
    Hold(Button, u32),
    /// Have the PC on.
    On,
    /// Have it off, as by a user.
    Off,
    /// Have it off, whatever it does.
    ForceOff,
    /// Start it over.
    Reset,
    /// Have it off, whatever it does, and then on.
    Cycle,
}

impl Verb {
    /// Name of its command.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Press(..) => "press",
            Self::Hold(..) => "hold",
            Self::On => "on",
            Self::Off => "off",
            Self::ForceOff => "force-off",
            Self::Reset => "reset",
            Self::Cycle => "cycle",
        }
    }

    /// Whether it would press nothing for a PC that is so, or less than for one that is not. The press that it lacks would show whether the board
    /// still obeys, and the sense is as old as the last time that it did.
    #[must_use]
    pub fn is_doubtful(self, sense: Sense) -> bool {
        matches!(
            (self, sense),
            (Self::On, Sense::On) | (Self::Off | Self::ForceOff | Self::Reset | Self::Cycle, Sense::Off)
        )
    }

    /// What it does, for a person.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Press(button, ms) => format!("press {} for {ms} ms", button.name()),
            Self::Hold(button, ms) => format!("hold {} for {ms} ms at most", button.name()),
            Self::On => "switch the PC on".to_owned(),
            Self::Off => "switch the PC off".to_owned(),
            Self::ForceOff => "cut the PC's power".to_owned(),
            Self::Reset => "reset the PC".to_owned(),
            Self::Cycle => "cut the PC's power and switch it on again".to_owned(),
        }
    }
}

/// One press, and what has to come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Which button.
    pub button: Button,
    /// For how long; of a hold, for how long at most.
    pub ms: u32,
    /// How the power sense has to be afterwards, and within which time.
    pub want: Option<(Sense, u32)>,
}

/// The legs of a verb for a PC that is so; none where all is as it should be. Otherwise, why it is not to be tried.
pub fn plan(verb: Verb, sense: Sense, settings: &Settings) -> Result<VecDeque<Leg>, &'static str> {
    let on = Leg {
        button: Button::Power,
        ms: settings.press_ms,
        want: Some((Sense::On, settings.confirm_on_ms)),
    };
    let off = Leg {
        want: Some((Sense::Off, settings.confirm_off_ms)),
        ..on
    };
    let force_off = Leg {
        ms: settings.force_off_ms,
        ..off
    };
    let reset = Leg {
        button: Button::Reset,
        ..on
    };
    let legs = match (verb, sense) {
        (Verb::Press(button, ms) | Verb::Hold(button, ms), _) => {
            let want = None;
            vec![Leg { button, ms, want }]
        }
        (_, Sense::Unknown) => return Err("power-unknown: the board has not said whether the PC is on"),
        (Verb::On, Sense::On) | (Verb::Off | Verb::ForceOff, Sense::Off) => Vec::new(),
        (Verb::On | Verb::Cycle, Sense::Off) => vec![on],
        (Verb::Off, Sense::On) => vec![off],
        (Verb::ForceOff, Sense::On) => vec![force_off],
        (Verb::Cycle, Sense::On) => vec![force_off, on],
        (Verb::Reset, Sense::On) => vec![reset],
        (Verb::Reset, Sense::Off) => return Err("power-off: the PC is off, so there is nothing to reset"),
    };
    Ok(legs.into())
}

/// A command that waits, or is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Id of the command.
    pub id: String,
    /// What it asks for.
    pub verb: Verb,
    /// Who asked.
    pub actor: String,
    /// When, in milliseconds since 1970.
    pub created_at: u64,
}

/// How far a leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// There is nothing to press, if the board's last word on power still holds: it is asked, by way of its identification.
    Asking {
        /// How many times.
        questions: u8,
        /// Whether it has said what it is, and has to say how power is.
        has_answered: bool,
        /// By when it has to say the one or the other.
        by_ns: u64,
    },
    /// The button was let go a moment ago, and is left alone.
    Resting {
        /// Until then.
        until_ns: u64,
    },
    /// The contact is closed.
    Closed {
        /// Until then; a hold has a lease instead.
        until_ns: Option<u64>,
        /// By when the board has to say so, unless it has.
        reply_by_ns: Option<u64>,
        /// Whether the board has said already that it let go.
        opened: bool,
    },
    /// The contact was opened, and the board has to say so.
    Opening {
        /// By then.
        reply_by_ns: u64,
    },
    /// The power sense has to become as it is wanted.
    Confirming {
        /// By then.
        by_ns: u64,
    },
}

/// What is under way. It goes on after its command has been answered, until the contact is known to be open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The command.
    pub order: Order,
    /// Whether somebody waits for the answer.
    pub open: bool,
    /// Whether the board has taken the command.
    pub acknowledged: bool,
    /// What is done now.
    pub leg: Leg,
    /// What comes then.
    pub rest: VecDeque<Leg>,
    /// How far it is.
    pub step: Step,
    /// Whether the board has said that the contact of this leg is closed.
    pub held: bool,
    /// How it ended, and why, while the contact is still to be opened.
    pub ended: Option<(OperationStatus, Option<String>)>,
    /// Commands that wait until the button is let go.
    pub releases: Vec<String>,
}

impl Action {
    /// When something has to happen by itself.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        match self.step {
            Step::Resting { until_ns } => Some(until_ns),
            Step::Closed {
                until_ns,
                reply_by_ns,
                ..
            } => [until_ns, reply_by_ns].into_iter().flatten().min(),
            Step::Opening { reply_by_ns } => Some(reply_by_ns),
            Step::Asking { by_ns, .. } | Step::Confirming { by_ns } => Some(by_ns),
        }
    }

    /// Whether it is a hold.
    #[must_use]
    pub fn is_hold(&self) -> bool {
        matches!(self.order.verb, Verb::Hold(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(verb: Verb, sense: Sense) -> Vec<(Button, u32, Option<Sense>)> {
        let legs = plan(verb, sense, &Settings::default()).unwrap();
        legs.iter()
            .map(|leg| (leg.button, leg.ms, leg.want.map(|(sense, _)| sense)))
            .collect()
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        assert_eq!(planned(Verb::On, Sense::On), []);
        assert_eq!(planned(Verb::Off, Sense::Off), []);
        assert_eq!(planned(Verb::ForceOff, Sense::Off), []);
    }

    #[test]
    fn what_presses_less_for_one_sense_than_for_the_other_doubts_it() {
        let (button, ms) = (Button::Power, 100);
        for verb in [
            Verb::Press(button, ms),
            Verb::Hold(button, ms),
            Verb::On,
            Verb::Off,
            Verb::ForceOff,
            Verb::Reset,
            Verb::Cycle,
        ] {
            let presses = |sense| plan(verb, sense, &Settings::default()).map_or(0, |legs| legs.len());
            for sense in [Sense::Off, Sense::On] {
                let is_doubtful = presses(sense) < presses(sense.opposite());
                assert_eq!(verb.is_doubtful(sense), is_doubtful, "{verb:?}, {sense:?}");
            }
            assert!(!verb.is_doubtful(Sense::Unknown));
        }
    }

    #[test]
    fn an_intent_presses_what_leads_to_it() {
        let (power, reset) = (Button::Power, Button::Reset);
        assert_eq!(planned(Verb::On, Sense::Off), [(power, 250, Some(Sense::On))]);
        assert_eq!(planned(Verb::Off, Sense::On), [(power, 250, Some(Sense::Off))]);
        assert_eq!(
            planned(Verb::ForceOff, Sense::On),
            [(power, 5500, Some(Sense::Off))]
        );
        assert_eq!(planned(Verb::Reset, Sense::On), [(reset, 250, Some(Sense::On))]);
        assert_eq!(
            planned(Verb::Cycle, Sense::On),
            [(power, 5500, Some(Sense::Off)), (power, 250, Some(Sense::On))]
        );
        assert_eq!(planned(Verb::Cycle, Sense::Off), [(power, 250, Some(Sense::On))]);
    }

    #[test]
    fn no_intent_is_tried_blindly_and_a_press_always_is() {
        for verb in [Verb::On, Verb::Off, Verb::ForceOff, Verb::Reset, Verb::Cycle] {
            assert!(
                plan(verb, Sense::Unknown, &Settings::default()).is_err(),
                "{verb:?}"
            );
        }
        assert!(plan(Verb::Reset, Sense::Off, &Settings::default()).is_err());
        assert_eq!(
            planned(Verb::Press(Button::Reset, 100), Sense::Unknown),
            [(Button::Reset, 100, None)]
        );
    }
}
