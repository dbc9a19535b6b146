//! Commands: from a client's wish to an answer that one can trust.
//!
//! ```text
//!            the driver's call with it returned        the driver says so
//!   queued ------------------------------------> sent ------------------> acked
//!     |                                           |                         |
//!     +-------------------------------------------+-------------------------+----> succeeded | failed | blocked | expired | cancelled
//! ```
//!
//! - *queued*: taken. If it has an idempotency key, that is on the disk before the driver hears of it.
//! - *sent*: the driver has dealt with it once, and the bytes that it wrote for it are with its port. Never sent twice.
//! - *acked*: the device has taken it.
//! - *succeeded*, *failed*, *blocked*, *cancelled*: as the driver says; *expired*: the deadline came first. Each is final: nothing follows, and
//!   what a driver says later is not heard.
//!
//! [`Life`] is one command's stages and their times, [`Book`] the commands of a run and the keys of a day, [`Ledger`] the keys on the disk,
//! [`Holds`] which client holds what, [`schema`] what a manifest's schema may be. Whoever sends commands to drivers, and whoever is told of stages, is not known here.

mod book;
mod holds;
mod keys;
mod ledger;
mod life;
pub mod schema;

pub use book::{Admission, Book, Change, DEADLINE_DEFAULT_MS, DEADLINE_MAX_MS, RECENT, Refused, Request};
pub use holds::{ClientId, Ended, HOLD_MS, Holds, NotHeld, RENEW_MS};
pub use keys::{Fingerprint, KEY_CHARS, KEYS, KEYS_KEPT_MS};
pub use ledger::{Ledger, Line, Restored, Storage};
pub use life::{Ending, Life, Stage, Times};
