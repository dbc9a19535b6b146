//! The devices that a program can open a port of, and their names.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// A device with a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// The Watts Up? PRO between the wall and the PC.
    PowerMeter,
    /// The front-panel controller.
    Atx,
    /// The keyboard adapter.
    Keyboard,
}

impl Device {
    /// Every device.
    pub const ALL: [Self; 3] = [Self::PowerMeter, Self::Atx, Self::Keyboard];

    /// Its name on the command line, in the journal, and of its link.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerMeter => "power-meter",
            Self::Atx => "atx",
            Self::Keyboard => "keyboard",
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Device {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|device| device.name() == text)
            .ok_or_else(|| UnknownDevice(text.to_owned()))
    }
}

/// No device has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no device is called `{0}`; there are power-meter, atx, keyboard")]
pub struct UnknownDevice(String);
