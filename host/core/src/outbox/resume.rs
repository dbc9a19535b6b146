//! Where a client goes on that was away for a moment.

use std::fmt;

use super::{Cursor, Ring};

/// Longest text that is looked at; the longest that a client can have been given is half of it.
const MAX_TEXT_BYTES: usize = 128;

/// What a client has got: `<bootId>.<version>.<logSeq>` in an address (`/ws?resume=`) or a header (`Last-Event-ID`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The run of the daemon that the numbers belong to.
    pub boot_id: String,
    /// Version of its mirror.
    pub version: u64,
    /// The last log entry that it was told of, or 0 if it has none.
    pub log_seq: u64,
}

impl Resume {
    /// Reads what a client sends. A text that is none of ours is no mistake to be told: its client gets a snapshot, as a new one does.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let mut parts = text.split('.');
        let (boot_id, version, log_seq) = (parts.next()?, parts.next()?, parts.next()?);
        if boot_id.is_empty() || parts.next().is_some() {
            return None;
        }
        Some(Self {
            boot_id: boot_id.to_owned(),
            version: number(version)?,
            log_seq: number(log_seq)?,
        })
    }

    /// The place in the stream of patches where the client goes on, if it can: it speaks of this run of the daemon, of log entries that
    /// exist, and the ring still has every patch behind its version, which is where a patch begins. Otherwise it gets a snapshot and the
    /// newest log entries. Log entries that the log's ring has overwritten meanwhile are no obstacle: they are named as missed.
    pub fn decide(&self, boot_id: &str, patches: &Ring, next_log_seq: u64) -> Option<Cursor> {
        if self.boot_id != boot_id || self.log_seq >= next_log_seq {
            return None;
        }
        // Also the place of a listener that has no document yet; patches would be of no use to it.
        if self.version == 0 {
            return None;
        }
        patches.cursor_after(self.version)
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.boot_id, self.version, self.log_seq)
    }
}

/// Digits only: a sign or a blank is nothing that a client was given.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::{Channel, Next, Positions, Segment, View};
    use super::*;
    use crate::driver::LogLevel;
    use crate::logs::{LogPolicy, LogRecord, LogRing};
    use crate::testing::config;

    const BOOT: &str = "7f3a91c04be25d68";

    #[test]
    fn what_is_written_is_read_back() {
        let resume = Resume {
            boot_id: BOOT.to_owned(),
            version: 12,
            log_seq: 0,
        };
        assert_eq!(resume.to_string(), "7f3a91c04be25d68.12.0");
        assert_eq!(Resume::parse(&resume.to_string()), Some(resume));
    }

    #[test]
    fn a_text_that_is_none_of_ours_is_no_place_to_go_on() {
        for text in [
            "",
            "a",
            "a.1",
            "a.1.2.3",
            ".1.2",
            "a..2",
            "a.1.",
            "a.+1.2",
            "a.1. 2",
            "a.-1.2",
            "a.1.2x",
            "a.99999999999999999999.1",
        ] {
            assert_eq!(Resume::parse(text), None, "{text:?}");
        }
        assert_eq!(Resume::parse(&format!("{}.1.2", "a".repeat(200))), None);
    }

    #[test]
    fn another_run_of_the_daemon_and_numbers_from_the_future_are_not_resumed() {
        let ring = Ring::new(10_000, 5);
        let at = |boot_id: &str, version, log_seq| {
            Resume {
                boot_id: boot_id.to_owned(),
                version,
                log_seq,
            }
            .decide(BOOT, &ring, 8)
        };
        assert_eq!(at(BOOT, 5, 7), Some(ring.cursor()));
        assert_eq!(at("00112233aabbccdd", 5, 7), None);
        assert_eq!(at(BOOT, 6, 7), None);
        assert_eq!(at(BOOT, 5, 8), None);
    }

    #[test]
    fn who_has_no_document_is_not_sent_patches_even_where_the_first_of_all_begins() {
        let mut ring = Ring::new(10_000, 0);
        let at = |ring: &Ring, version| {
            Resume {
                boot_id: BOOT.to_owned(),
                version,
                log_seq: 0,
            }
            .decide(BOOT, ring, 1)
        };
        assert_eq!(at(&ring, 0), None);
        ring.push(Segment {
            bytes: Bytes::from_static(b"1-2;"),
            first: 1,
            last: 2,
        });
        assert!(
            ring.cursor_after(0).is_some(),
            "the ring would know where to go on"
        );
        assert_eq!(at(&ring, 0), None);
        assert_eq!(at(&ring, 2), Some(ring.cursor()));
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// So many versions in one patch.
        Patch(u64),
        /// So many log entries.
        Log(u64),
        /// The client takes what there is.
        Catch,
        /// The client goes, and comes back with what it has.
        Return,
        /// The client comes back and says that it stands so many versions further back than it does.
        ReturnEarlier(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1_u64..5).prop_map(Step::Patch),
            4 => (1_u64..4).prop_map(Step::Log),
            2 => Just(Step::Catch),
            2 => Just(Step::Return),
            1 => (1_u64..9).prop_map(Step::ReturnEarlier),
        ]
    }

    /// The daemon's rings, and one client as its own bookkeeping has it.
    struct Bench {
        patches: Ring,
        logs: LogRing,
        positions: Positions,
        /// Version of the client's mirror, and how it got there: the patches since its last snapshot.
        version: u64,
        log_seq: u64,
        resumed: u64,
        snapshots: u64,
    }

    impl Bench {
        fn patch(&mut self, versions: u64) {
            let first = self.patches.cursor().covered + 1;
            let last = first + versions - 1;
            self.patches.push(Segment {
                bytes: Bytes::from(format!("{first}-{last};")),
                first,
                last,
            });
        }

        fn log(&mut self) {
            self.logs.append(&LogRecord {
                ts_ms: 0,
                channel: "app",
                level: LogLevel::Info,
                message: "m",
                tag: None,
                module: None,
                emoji: None,
                color: None,
            });
        }

        /// Takes patches as a mirror does, which accepts none that does not begin where it is.
        fn catch_up(&mut self) {
            loop {
                let mut view = View::new();
                let from = self.positions.get(Channel::State).unwrap().segment;
                view.insert(Channel::State, self.patches.view(from, usize::MAX));
                match view.next(&self.positions) {
                    Next::UpToDate => break,
                    Next::Snapshot => self.snapshot(),
                    Next::Missed(..) => panic!("the state is recovered by a snapshot"),
                    Next::Write(batch) => {
                        let bytes: Vec<u8> = batch.slices().iter().flat_map(|s| s.to_vec()).collect();
                        for patch in String::from_utf8(bytes).unwrap().split_terminator(';') {
                            let (first, last) = patch.split_once('-').unwrap();
                            assert_eq!(
                                first.parse::<u64>().unwrap(),
                                self.version + 1,
                                "skipped or doubled"
                            );
                            self.version = last.parse().unwrap();
                        }
                        self.positions = batch.complete().clone();
                    }
                }
            }
            assert_eq!(self.version, self.patches.cursor().covered);
        }

        fn snapshot(&mut self) {
            self.snapshots += 1;
            let cursor = self.patches.cursor();
            self.version = cursor.covered;
            self.positions.set(Channel::State, cursor);
        }

        fn log_entries(&mut self) {
            let range = self.logs.since(self.log_seq, usize::MAX);
            assert_eq!(range.from_seq, self.log_seq + 1, "skipped or doubled");
            let named = range
                .missed
                .map_or(0, |missed| missed.to_seq - missed.from_seq + 1);
            assert_eq!(range.to_seq - self.log_seq, named + range.entries.len() as u64);
            self.log_seq = range.to_seq;
        }

        fn come_back(&mut self, version: u64) {
            let resume = Resume {
                boot_id: BOOT.to_owned(),
                version,
                log_seq: self.log_seq,
            };
            self.positions = Positions::new();
            match resume.decide(BOOT, &self.patches, self.logs.next_seq()) {
                Some(cursor) => {
                    self.resumed += 1;
                    self.version = version;
                    self.positions.set(Channel::State, cursor);
                }
                None => self.snapshot(),
            }
            self.log_entries();
        }
    }

    #[test]
    fn a_client_that_was_away_skips_nothing_and_gets_nothing_twice() {
        let (resumed, snapshots) = (Cell::new(0), Cell::new(0));
        proptest!(config(300, 30_000), |(ring_bytes in 150_usize..1500, capacity in 1_usize..20, steps in prop::collection::vec(step(), 0..80))| {
            let mut bench = Bench {
                patches: Ring::new(ring_bytes, 1),
                logs: LogRing::new(LogPolicy::default(), capacity, 1 << 20),
                positions: Positions::new(),
                version: 0,
                log_seq: 0,
                resumed: 0,
                snapshots: 0,
            };
            bench.snapshot();
            for step in steps {
                match step {
                    Step::Patch(versions) => bench.patch(versions),
                    Step::Log(entries) => (0..entries).for_each(|_| bench.log()),
                    Step::Catch => {
                        bench.catch_up();
                        bench.log_entries();
                    }
                    Step::Return => bench.come_back(bench.version),
                    Step::ReturnEarlier(versions) => bench.come_back(bench.version.saturating_sub(versions)),
                }
            }
            bench.catch_up();
            bench.log_entries();
            resumed.set(resumed.get() + bench.resumed);
            snapshots.set(snapshots.get() + bench.snapshots);
        });
        let both = (resumed.get(), snapshots.get());
        println!("{} resumed, {} snapshots", both.0, both.1);
        assert!(both.0 > 300 && both.1 > 300, "both ways are walked: {both:?}");
    }
}
