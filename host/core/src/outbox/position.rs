//! Where a client is in the channels that it gets.

use smallvec::SmallVec;

/// One ordered stream of segments. Order between channels is not promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Patches of the state.
    State,
    /// Log entries.
    Logs,
    /// Alarms raised and cleared.
    Alarms,
    /// Events of drivers and of the daemon.
    Events,
    /// Blocks that begin and end.
    Blocks,
    /// Stages of commands.
    Commands,
    /// Samples of one telemetry series, by its endpoint number.
    Series(u32),
}

/// A place in a ring: everything before `segment` was sent, or never belonged to this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Number of the segment that comes next.
    pub segment: u64,
    /// Last number (version, seq) that the client has. Only needed to say what was missed.
    pub covered: u64,
}

/// The cursors of one client, in the order of their channels. Clients at the same positions are written the same bytes, so comparing
/// positions is how a writer reuses what it gathered for the client before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Positions(SmallVec<[(Channel, Cursor); 2]>);

impl Clone for Positions {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }

    /// Keeps the memory: this runs once per client and flush.
    fn clone_from(&mut self, source: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&source.0);
    }
}

impl Positions {
    /// No channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the client is in this channel; none if it does not get it.
    pub fn get(&self, channel: Channel) -> Option<Cursor> {
        let index = self.find(channel).ok()?;
        self.0.get(index).map(|(_, cursor)| *cursor)
    }

    /// Begins a channel, or moves within it.
    pub fn set(&mut self, channel: Channel, cursor: Cursor) {
        match self.find(channel) {
            Ok(index) => {
                if let Some(slot) = self.0.get_mut(index) {
                    slot.1 = cursor;
                }
            }
            Err(index) => self.0.insert(index, (channel, cursor)),
        }
    }

    /// Ends a channel. False if it was none of this client's.
    pub fn remove(&mut self, channel: Channel) -> bool {
        let found = self.find(channel);
        if let Ok(index) = found {
            self.0.remove(index);
        }
        found.is_ok()
    }

    /// Every channel with its cursor.
    pub fn iter(&self) -> impl Iterator<Item = (Channel, Cursor)> {
        self.0.iter().copied()
    }

    fn find(&self, channel: Channel) -> Result<usize, usize> {
        self.0.binary_search_by_key(&channel, |(c, _)| *c)
    }
}
