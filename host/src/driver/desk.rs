//! Where people's orders about versions lie until the supervisor takes them: a reload, a way back. It answers each when it knows what came of it.

use std::sync::Arc;

use autobench_core::driver::versions::{Reload, VersionHash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Orders that lie here. One more is refused: the supervisor takes them between two swaps, so a handful is there for a moment.
const LYING: usize = 64;

/// Takes orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    orders: mpsc::Sender<Asked>,
}

/// The supervisor's side of the desk.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<Asked>);

/// An order, and who waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// What is wanted.
    pub order: Order,
    /// Who wants it.
    pub by: Arc<str>,
    /// Where the answer goes. Whoever waited may have gone.
    pub answer: oneshot::Sender<Answer>,
}

/// What the supervisor answers: one outcome for each device, or why nothing was done.
pub type Answer = Result<Vec<Outcome>, NotDone>;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The newest file of a plugin is to be tried again, on all its devices.
    ReloadPlugin(String, Reload),
    /// The same, on one device.
    ReloadDevice(String, Reload),
    /// Somebody consents to what this version of a plugin wants.
    Consent(String, VersionHash),
    /// The device is to go back to the good version before the one that runs.
    RollBack(String),
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDone {
    /// There is no such plugin.
    UnknownPlugin(String),
    /// There is no such device.
    UnknownDevice(String),
    /// There is nothing to go back to, and why.
    NoEarlier(String),
    /// No version of the plugin waits for consent.
    NothingWaits(String),
    /// Another version waits than the one that was consented to.
    OtherWaits(VersionHash),
    /// Too many orders wait for their answers.
    Busy,
}

/// What came of an order, for one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// File stem of the plugin.
    pub plugin: String,
    /// The device; absent for a plugin that no device names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// Hash of the version that ran; absent if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Hash of the version that runs now; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Its version in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long no driver was fed, in microseconds; absent without a swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// Bytes that the new one was given again; absent without a swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_bytes: Option<u64>,
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Another version runs, and goes on from the former one's snapshot.
    Swapped,
    /// Another version runs, from nothing.
    Cold,
    /// A version runs where none did.
    Started,
    /// The version that was in quarantine runs again.
    Released,
    /// It ran already.
    Unchanged,
    /// It is good, and no device names it.
    Unbound,
    /// It does not run; the reason says why. What ran before goes on.
    Refused,
    /// It wants more than was consented to, and waits; the reason says what. What ran before goes on.
    WaitingForConsent,
    /// It has the device and broke down.
    Down,
}

impl Verdict {
    /// Whether what was asked for is so now.
    pub const fn is_good(self) -> bool {
        match self {
            Self::Swapped | Self::Cold | Self::Started | Self::Released | Self::Unchanged | Self::Unbound => {
                true
            }
            Self::Refused | Self::WaitingForConsent | Self::Down => false,
        }
    }

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Cold => "cold",
            Self::Started => "started",
            Self::Released => "released",
            Self::Unchanged => "unchanged",
            Self::Unbound => "unbound",
            Self::Refused => "refused",
            Self::WaitingForConsent => "waiting-for-consent",
            Self::Down => "down",
        }
    }
}

/// Why an order does not lie on the desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// There are as many as may be.
    Full,
    /// Nobody takes any: the daemon has no supervisor, or no more.
    Closed,
}

impl Desk {
    /// A desk, and the side from which orders are taken.
    pub fn new() -> (Self, Orders) {
        let (orders, taken) = mpsc::channel(LYING);
        (Self { orders }, Orders(taken))
    }

    /// A desk from which nobody takes anything.
    pub fn closed() -> Self {
        Self::new().0
    }

    /// Lays an order down. The answer comes when it is known what came of it.
    pub fn ask(&self, order: Order, by: &str) -> Result<oneshot::Receiver<Answer>, NotTaken> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            order,
            by: by.into(),
            answer,
        };
        self.orders.try_send(asked).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Closed,
        })?;
        Ok(answered)
    }
}

impl Orders {
    /// The next order; none ever if there is nobody left who could ask. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Asked {
        match self.0.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_on_the_desk_is_refused_and_the_rest_comes_in_order() {
        let (desk, mut orders) = Desk::new();
        let order = |number: usize| Order::RollBack(number.to_string());
        for number in 0..LYING {
            desk.ask(order(number), "somebody").unwrap();
        }
        assert_eq!(desk.ask(order(LYING), "somebody").unwrap_err(), NotTaken::Full);
        for number in 0..LYING {
            assert_eq!(orders.next().await.order, order(number));
        }
        assert_eq!(
            Desk::closed().ask(order(0), "somebody").unwrap_err(),
            NotTaken::Closed
        );
    }
}
