//! Why a line cannot be opened, what the log is told of it, and how long to wait.

use std::io;
use std::time::Duration;

use serialport::ErrorKind;

use super::PortSettings;
use crate::serial::find::holders;

/// How a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// It was open, and its line has gone.
    Lost,
    Missing,
    /// Several devices fit.
    Ambiguous,
    Busy,
    Denied,
    Broken,
}

/// What the log was told last, and what keeps the line away now.
///
/// A loss is told once with its reason, a return once, and between the two nothing, unless something else than the absence of the device keeps the
/// line away: that it is held by another program, may not be opened, or cannot be told from another one. A device that comes passes through such
/// reasons on its way, while its file is there and its rights are not yet, so they are told only when a second look finds the same. What a port
/// meets at its very first look is told at once.
#[derive(Debug, Default)]
pub(super) struct Said {
    told: Option<(Phase, String)>,
    seen: Option<(Phase, String)>,
}

impl Said {
    pub(super) fn is_news(&mut self, phase: Phase, text: &str) -> bool {
        let now = (phase, text.to_owned());
        let is_same = self.told.as_ref() == Some(&now);
        let stays = self.seen.as_ref() == Some(&now);
        let is_news = match (self.told.as_ref().map(|(told, _)| *told), phase) {
            (None, _) | (_, Phase::Open | Phase::Lost) => true,
            // Whatever is lost is not there.
            (Some(Phase::Lost), Phase::Missing) => false,
            _ => stays && !is_same,
        };
        if is_news {
            self.told = Some(now.clone());
        }
        self.seen = Some(now);
        is_news
    }
}

/// The last refusal of the system and what it turned out to mean. Finding out looks through every process, which is done once for as long
/// as the system says the same.
#[derive(Debug, Default)]
pub(super) struct Refused(Option<(String, (Phase, String))>);

impl Refused {
    pub(super) fn explain(
        &mut self,
        refusal: String,
        find_out: impl FnOnce() -> (Phase, String),
    ) -> (Phase, String) {
        if let Some((known, meaning)) = &self.0
            && *known == refusal
        {
            return meaning.clone();
        }
        let meaning = find_out();
        self.0 = Some((refusal, meaning.clone()));
        meaning
    }

    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

/// Names why a line that is there cannot be opened.
pub(super) fn refusal(path: &std::path::Path, error: &serialport::Error) -> (Phase, String) {
    let shown = path.display();
    let held = holders(path);
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => (
            Phase::Denied,
            format!("{shown} may not be opened by this user; add the user to the group that owns it"),
        ),
        ErrorKind::Io(io::ErrorKind::NotFound) => (Phase::Missing, format!("{shown} is not there")),
        _ if !held.is_empty() => (Phase::Busy, format!("{shown} is held by {}", held.join(", "))),
        _ => (Phase::Broken, format!("{shown} cannot be opened: {error}")),
    }
}

/// Spreads waits, so that several ports on one hub that went away together do not come back in step.
pub(super) struct Jitter(pub(super) u64);

impl Jitter {
    pub(super) fn seeded(settings: &PortSettings) -> Self {
        let mut seed = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(std::process::id());
        for byte in settings.device.bytes().chain(settings.name.bytes()) {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self(seed | 1)
    }

    /// Between three quarters of a duration and all of it.
    pub(super) fn spread(&mut self, duration: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = u32::try_from(self.0 % 256).unwrap_or(0);
        duration * (768 + share) / 1024
    }
}
