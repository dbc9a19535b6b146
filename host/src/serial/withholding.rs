//! What no capture of a device's ports may have: what travels while a command is under way whose arguments are secret.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How long something is still withheld after a driver has said that such a command is over: what is on its way by then, and an answer that repeats it.
pub const AFTERMATH_NS: u64 = 2_000_000_000;

/// How long after the host has ended one with its driver in the middle of it, which may try to get an answer to a line of it for a while.
pub const ABANDONED_NS: u64 = 120_000_000_000;

/// One per device. Commands open and close it, the captures of its ports look.
#[derive(Debug, Default)]
pub struct Withholding {
    under_way: AtomicU32,
    until_ns: AtomicU64,
}

impl Withholding {
    /// A secret command is taken. Nothing of it has travelled yet.
    pub fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::SeqCst);
    }

    /// It is over.
    pub fn end(&self, now_ns: u64, aftermath_ns: u64) {
        // The moment first: there is none in which neither holds.
        self.until_ns
            .fetch_max(now_ns.saturating_add(aftermath_ns), Ordering::SeqCst);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether what travels now is to be withheld.
    pub fn is_on(&self, now_ns: u64) -> bool {
        self.under_way.load(Ordering::SeqCst) > 0 || now_ns < self.until_ns.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_any_of_them_and_a_little_longer() {
        let withholding = Withholding::default();
        assert!(!withholding.is_on(0));
        withholding.begin();
        withholding.begin();
        withholding.end(10, AFTERMATH_NS);
        assert!(withholding.is_on(10 + AFTERMATH_NS), "the other one is under way");
        withholding.end(20, AFTERMATH_NS);
        assert!(withholding.is_on(19 + AFTERMATH_NS));
        assert!(!withholding.is_on(20 + AFTERMATH_NS));
    }
}
