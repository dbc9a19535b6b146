//! The leases of a driver on a bench.

use crate::LeaseError;

/// As the wit files say.
const MOST_LEASES: usize = 16;
const MOST_RELEASE_BYTES: usize = 1024;
const LONGEST_MS: u32 = 600_000;

/// A hold that ends without the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The driver's number for it.
    pub id: u32,
    /// Where the bytes go.
    pub port: String,
    /// What undoes the hold.
    pub release: Vec<u8>,
    /// When it ends at the latest.
    pub ends_ns: u64,
    /// The command whose sender holds it; none if nobody but the driver does.
    pub holder: Option<String>,
}

/// What a call does to its ports, in order: the bytes of a lease that it gives back go out in their place among what it writes.
#[derive(Debug)]
pub(super) enum Sent {
    Write(String, Vec<u8>),
    Acquire(Lease),
    Release(u32),
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    /// In the order in which they were taken.
    pub(super) open: Vec<Lease>,
    /// Those that the driver takes for open. They differ from those that are only while a driver goes on from a checkpoint.
    pub(super) known: Vec<u32>,
}

impl Leases {
    /// Whether a call that has asked for this much may take a lease, while the bytes of so many others wait for their lines.
    pub(super) fn have_room(&self, id: u32, sent: &[Sent], waiting: usize) -> bool {
        let mut known = self.known.clone();
        know(&mut known, sent);
        known.contains(&id) || known.len() + waiting < MOST_LEASES
    }

    /// What the driver takes for open after a call that asked for this.
    pub(super) fn know(&mut self, sent: &[Sent]) {
        know(&mut self.known, sent);
    }

    /// Takes a lease. The answer is one whose bytes nobody would write any more.
    pub(super) fn acquire(&mut self, lease: Lease) -> Option<Lease> {
        let before = self.release(lease.id);
        let elsewhere = before.filter(|before| before.port != lease.port);
        self.open.push(lease);
        elsewhere
    }

    /// Gives a lease back, if it is open.
    pub(super) fn release(&mut self, id: u32) -> Option<Lease> {
        let index = self.open.iter().position(|lease| lease.id == id)?;
        Some(self.open.remove(index))
    }
}

/// Whether the arguments are what the wit files want.
pub(super) fn in_range(release: &[u8], maximum_ms: u32) -> Result<(), LeaseError> {
    if !(1..=MOST_RELEASE_BYTES).contains(&release.len()) {
        let count = release.len();
        let text = format!("1 to {MOST_RELEASE_BYTES} bytes undo a hold, not {count}");
        return Err(LeaseError::Invalid(text));
    }
    if !(1..=LONGEST_MS).contains(&maximum_ms) {
        let text = format!("a lease lasts 1 to {LONGEST_MS} ms, not {maximum_ms}");
        return Err(LeaseError::Invalid(text));
    }
    Ok(())
}

fn know(known: &mut Vec<u32>, sent: &[Sent]) {
    for sent in sent {
        match sent {
            Sent::Write(..) => {}
            Sent::Acquire(lease) if known.contains(&lease.id) => {}
            Sent::Acquire(lease) => known.push(lease.id),
            Sent::Release(id) => known.retain(|known| known != id),
        }
    }
}
