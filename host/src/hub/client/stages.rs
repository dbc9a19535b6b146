//! Stages of commands that wait for a client which follows them by their ids.
//!
//! They lie beside what else a client is owed, behind a lock of their own that is held for a few pointers: whoever tells of a stage, a driver's
//! thread among them, never waits for a socket, nor for what is made for the client meanwhile.
//!
//! A client may follow all commands as well, and then reads them from the ring. Every stage has the number of its segment there, which says
//! which of the two ways tells it: each stage is told once, also while a client begins or ends to follow all.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

/// So many stages wait in the order in which they came. Of further ones only the newest of each command waits, which has the times of those before
/// it: how a command ended is always told, and what waits is bounded by the commands that a client may follow.
const IN_ORDER: usize = 64;

#[derive(Debug, Default)]
pub(in crate::hub) struct Stages {
    in_order: VecDeque<(String, Stage)>,
    newest: BTreeMap<String, Stage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hub) struct Stage {
    pub(in crate::hub) at: At,
    pub(in crate::hub) frame: Bytes,
}

/// Where a stage belongs among those of all commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum At {
    /// It is this segment of the ring.
    Segment(u64),
    /// It is how the command was before this segment, for a client that asked.
    Before(u64),
}

/// What a client is told from the ring because it follows all commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Segments from this one on.
    pub(super) from: u64,
    /// Those before this one are out.
    pub(super) until: u64,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextStage {
    Write(Bytes),
    /// The ring is first; what waits is only for it to tell.
    None,
    /// The ring is first, and something comes behind it.
    BehindRing,
}

enum Turn {
    Write,
    /// The ring has told it.
    Told,
    RingTells,
    BehindRing,
}

impl Stages {
    pub(in crate::hub) fn push(&mut self, id: &str, stage: Stage) {
        if self.in_order.len() >= IN_ORDER || self.newest.contains_key(id) {
            self.newest.insert(id.to_owned(), stage);
        } else {
            self.in_order.push_back((id.to_owned(), stage));
        }
    }

    /// Takes out what is written next, and forgets what the ring has told.
    pub(super) fn next(&mut self, all: Option<Told>) -> NextStage {
        while let Some((_, stage)) = self.in_order.front() {
            let turn = stage.turn(all);
            if matches!(turn, Turn::RingTells | Turn::BehindRing) {
                return turn.waits();
            }
            let Some((_, stage)) = self.in_order.pop_front() else {
                break;
            };
            if let Turn::Write = turn {
                return NextStage::Write(stage.frame);
            }
        }
        if self.in_order.capacity() > 0 {
            // An idle client keeps no buffer.
            self.in_order = VecDeque::new();
        }
        while let Some(entry) = self.newest.first_entry() {
            let turn = entry.get().turn(all);
            if matches!(turn, Turn::RingTells | Turn::BehindRing) {
                return turn.waits();
            }
            let stage = entry.remove();
            if let Turn::Write = turn {
                return NextStage::Write(stage.frame);
            }
        }
        NextStage::None
    }

    /// The client does not read the ring any more, or fell off it: what it was told from there is done with, and the rest is told from here.
    pub(super) fn leave_ring(&mut self, told: Told) {
        let is_left = |stage: &Stage| !matches!(stage.turn(Some(told)), Turn::Told);
        self.in_order.retain(|(_, stage)| is_left(stage));
        self.newest.retain(|_, stage| is_left(stage));
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn len(&self) -> usize {
        self.in_order.len() + self.newest.len()
    }
}

impl Stage {
    fn turn(&self, all: Option<Told>) -> Turn {
        let Some(Told { from, until }) = all else {
            return Turn::Write;
        };
        match self.at {
            At::Segment(number) if number < from => Turn::Write,
            At::Segment(number) if number < until => Turn::Told,
            At::Segment(_) => Turn::RingTells,
            At::Before(number) if number <= until => Turn::Write,
            At::Before(_) => Turn::BehindRing,
        }
    }
}

impl Turn {
    fn waits(&self) -> NextStage {
        match self {
            Self::BehindRing => NextStage::BehindRing,
            _ => NextStage::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(at: At) -> Stage {
        let number = match at {
            At::Segment(number) | At::Before(number) => number,
        };
        Stage {
            at,
            frame: number.to_string().into(),
        }
    }

    fn write(number: u64) -> NextStage {
        NextStage::Write(number.to_string().into())
    }

    #[test]
    fn who_follows_by_id_alone_is_told_every_stage_in_order() {
        let mut stages = Stages::default();
        for number in 0..3 {
            stages.push("a", stage(At::Segment(number)));
        }
        for number in 0..3 {
            assert_eq!(stages.next(None), write(number));
        }
        assert_eq!(stages.next(None), NextStage::None);
    }

    #[test]
    fn each_stage_is_told_once_while_a_client_begins_and_ends_to_follow_all() {
        let mut stages = Stages::default();
        for number in 0..6 {
            stages.push("a", stage(At::Segment(number)));
        }
        // It began to follow all at 2, and the ring has told 2 and 3.
        let all = Told { from: 2, until: 4 };
        assert_eq!(stages.next(Some(all)), write(0));
        assert_eq!(stages.next(Some(all)), write(1));
        assert_eq!(stages.next(Some(all)), NextStage::None, "the ring tells 4");
        // It ends that before the ring could.
        stages.leave_ring(all);
        assert_eq!(stages.next(None), write(4));
        assert_eq!(stages.next(None), write(5));
        assert_eq!(stages.next(None), NextStage::None);
    }

    #[test]
    fn an_answer_does_not_overtake_what_the_ring_has_still_to_tell() {
        let mut stages = Stages::default();
        stages.push("a", stage(At::Before(7)));
        let all = |until| Some(Told { from: 2, until });
        assert_eq!(stages.next(all(6)), NextStage::BehindRing);
        assert_eq!(stages.next(all(7)), write(7));
    }

    #[test]
    fn of_many_stages_the_newest_of_each_command_is_kept() {
        let mut stages = Stages::default();
        for number in 0..1_000 {
            stages.push(["a", "b"][number as usize % 2], stage(At::Segment(number)));
        }
        assert_eq!(stages.len(), IN_ORDER + 2);
        let mut last = None;
        while let NextStage::Write(frame) = stages.next(None) {
            last = Some(frame);
        }
        assert_eq!(last, Some("999".into()));
    }
}
