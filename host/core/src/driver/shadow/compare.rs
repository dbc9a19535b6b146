//! What two versions asked for over one event, held against each other.

use std::sync::Arc;

use serde_json::Value as Json;

use super::lane::Lane;
use super::{Progress, ROW_BYTES};
use crate::driver::offline::difference::differences;
use crate::driver::offline::written;
use crate::driver::{Breakdown, CallTime, Effects, LeaseChange, PortAction, PortIndex};

/// Differences that a report lists. More are counted.
const LISTED: usize = 100;

/// Places of a slice that are compared in one row; where more differ, the others come up in later rows.
const PLACES: usize = 64;

/// What a run came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Events that both were told and that were compared, the start included.
    pub rows: u64,
    /// Bytes among them.
    pub bytes: u64,
    /// Samples that were compared.
    pub samples: u64,
    /// Every difference, in order; those past the first hundred are only counted.
    pub differences: Vec<Difference>,
    /// How many are not listed.
    pub unlisted: u64,
    /// Why it ended before its time, if it did.
    pub end: Option<End>,
}

impl Report {
    /// Whether the candidate did all that the version that runs did, and nothing else, to the end of the run.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty() && self.end.is_none()
    }
}

/// Why a run ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// They wrote something else.
    DivergedInWrites {
        /// Number of the first byte of the row over which they did, on its port.
        offset: u64,
    },
    /// One of them broke down.
    BrokeDown {
        /// Number of the first byte of that row.
        offset: u64,
        /// Whether the version that runs did.
        running: Option<String>,
        /// Whether the candidate did.
        candidate: Option<String>,
    },
    /// The run could not go on.
    GaveUp(String),
    /// The device has ports, and no bytes came on them.
    NothingCompared,
}

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The row, from 0, which is the start.
    pub row: u64,
    /// What both were told.
    pub told: String,
    /// Number of the first byte of the row on its port, or of the next byte where it has none. The row of a line that came in several pieces begins
    /// in an earlier one.
    pub offset: u64,
    /// When.
    pub time: CallTime,
    /// The first bytes of the row, if it has any.
    pub bytes: Vec<u8>,
    /// In what they differ.
    pub differing: Differing,
    /// What the version that runs has there, if it has anything.
    pub running: Option<Json>,
    /// What the candidate has there.
    pub candidate: Option<Json>,
}

/// In what two versions differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Differing {
    /// A place of the slice.
    Slice(String),
    /// A sample: the series, and which sample of the row, from 0.
    Sample(String, usize),
    /// An event for clients, by its place in the row.
    Event(usize),
    /// An alarm.
    Alarm(usize),
    /// An answer to a command.
    Result(usize),
    /// The phase, or that it cannot go on.
    Status(usize),
    /// What goes to a port.
    Write(usize),
    /// A lease taken or given back.
    Lease(usize),
}

/// Where in the run a row is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) told: String,
    pub(super) offset: u64,
    pub(super) time: CallTime,
    pub(super) bytes: Vec<u8>,
    /// Bytes that were told now: a row may have begun before.
    pub(super) told_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Comparison {
    running_series: Vec<String>,
    candidate_series: Vec<String>,
    ports: Vec<Arc<str>>,
    report: Report,
    /// Places of the slice that differ already, and how: they are told once.
    standing: Vec<(String, Option<Json>, Option<Json>)>,
    slices_differ: bool,
}

impl Comparison {
    pub(super) fn new(
        running_series: Vec<String>,
        candidate_series: Vec<String>,
        ports: Vec<Arc<str>>,
    ) -> Self {
        Self {
            running_series,
            candidate_series,
            ports,
            report: Report {
                rows: 0,
                bytes: 0,
                samples: 0,
                differences: Vec::new(),
                unlisted: 0,
                end: None,
            },
            standing: Vec::new(),
            slices_differ: false,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        match self.report.end {
            None => Progress::GoesOn,
            Some(_) => Progress::Over,
        }
    }

    /// What has been found so far.
    #[cfg(test)]
    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    pub(super) fn end(&mut self, end: End) {
        self.report.end.get_or_insert(end);
    }

    /// A device with ports on which nothing came has shown nothing of a candidate.
    pub(super) fn into_report(mut self) -> Report {
        if self.report.is_equal() && self.report.bytes == 0 && !self.ports.is_empty() {
            self.report.end = Some(End::NothingCompared);
        }
        self.report
    }

    /// Compares what both asked for since the last row, and forgets it.
    pub(super) fn row<G>(
        &mut self,
        running: &mut Lane<G>,
        candidate: &mut Lane<G>,
        done: (Result<(), Breakdown>, Result<(), Breakdown>),
        place: Place,
    ) {
        let row = Row {
            number: self.report.rows,
            place,
        };
        self.report.rows += 1;
        self.report.bytes += row.place.told_bytes;
        if let (running, candidate) = (done.0.err(), done.1.err())
            && (running.is_some() || candidate.is_some())
        {
            self.end(End::BrokeDown {
                offset: row.place.offset,
                running: running.map(|breakdown| breakdown.to_string()),
                candidate: candidate.map(|breakdown| breakdown.to_string()),
            });
            return;
        }
        self.compare_slices(running, candidate, &row);
        self.compare_samples(running, candidate, &row);
        let (left, right) = (&running.asked, &candidate.asked);
        self.pairs(
            &row,
            left.publications.iter().map(written::publication),
            right.publications.iter().map(written::publication),
            Differing::Event,
        );
        let alarms = (left.alarms.iter(), right.alarms.iter());
        self.pairs(
            &row,
            alarms.0.map(written::alarm),
            alarms.1.map(written::alarm),
            Differing::Alarm,
        );
        let results = (left.replies.iter(), right.replies.iter());
        self.pairs(
            &row,
            results.0.map(written::reply),
            results.1.map(written::reply),
            Differing::Result,
        );
        let status = (left.status.iter(), right.status.iter());
        self.pairs(
            &row,
            status.0.map(written::status),
            status.1.map(written::status),
            Differing::Status,
        );
        let writes = (joined(&left.port_actions), joined(&right.port_actions));
        let writes_differ = writes.0 != writes.1;
        // What they leave with the host is written, too.
        let leases = (
            self.leases(left, writes_differ),
            self.leases(right, writes_differ),
        );
        if writes_differ {
            let ports = self.ports.clone();
            let in_words = |(port, action): (PortIndex, PortAction)| {
                let name = ports.get(port.0).map_or("", |name| &**name);
                written::port_action(name, &action)
            };
            self.pairs(
                &row,
                writes.0.into_iter().map(in_words),
                writes.1.into_iter().map(in_words),
                Differing::Write,
            );
        }
        let leases_differ = leases.0 != leases.1;
        if leases_differ {
            self.pairs(&row, leases.0.into_iter(), leases.1.into_iter(), Differing::Lease);
        }
        if writes_differ || leases_differ {
            self.end(End::DivergedInWrites {
                offset: row.place.offset,
            });
        }
        running.asked.clear();
        candidate.asked.clear();
    }

    fn compare_slices<G>(&mut self, running: &Lane<G>, candidate: &Lane<G>, row: &Row) {
        // Equal operations on equal slices make equal slices, and that is nearly every row.
        if !self.slices_differ && running.asked.operations == candidate.asked.operations {
            return;
        }
        let (left, right) = (
            running.slice.clone().into_value(),
            candidate.slice.clone().into_value(),
        );
        let found = differences(&left, &right, PLACES);
        self.slices_differ = !found.is_empty();
        let mut standing = Vec::with_capacity(found.len());
        for place in found {
            let now = (place.path, place.left, place.right);
            if !self.standing.contains(&now) {
                self.note(row, Differing::Slice(now.0.clone()), now.1.clone(), now.2.clone());
            }
            standing.push(now);
        }
        self.standing = standing;
    }

    /// Samples are paired by series, whatever its number in either manifest.
    fn compare_samples<G>(&mut self, running: &Lane<G>, candidate: &Lane<G>, row: &Row) {
        let (left, right) = (&running.asked.samples, &candidate.asked.samples);
        self.report.samples += left.len() as u64;
        if left == right && self.running_series == self.candidate_series {
            return;
        }
        let mut names: Vec<String> = self.running_series.clone();
        for name in &self.candidate_series {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        for name in names {
            let of = |series: &[String], samples: &[(u32, crate::driver::Sample)]| -> Vec<Json> {
                let number = series.iter().position(|series| *series == name);
                let its = samples
                    .iter()
                    .filter(|(index, _)| usize::try_from(*index).ok() == number);
                its.map(|(_, sample)| serde_json::json!([sample.timestamp_ms, sample.value]))
                    .collect()
            };
            let left = of(&self.running_series, &running.asked.samples);
            let right = of(&self.candidate_series, &candidate.asked.samples);
            self.pairs(row, left.into_iter(), right.into_iter(), |index| {
                Differing::Sample(name.clone(), index)
            });
        }
    }

    /// The leases that were taken and given back, as they are written. Where the writes are the same, with how much went to the ports before a lease
    /// was given back: what undoes it is written there.
    fn leases(&self, asked: &Effects, writes_differ: bool) -> Vec<Json> {
        let in_words = |change: &LeaseChange| {
            let mut words = written::lease(change, |port| self.ports.get(port.0).map_or("", |name| &**name));
            if let (LeaseChange::Release { actions_before, .. }, Some(members), false) =
                (change, words.as_object_mut(), writes_differ)
            {
                let before = asked.port_actions.iter().take(*actions_before);
                members.insert("after".to_owned(), before.map(weight).sum::<u64>().into());
            }
            words
        };
        asked.leases.iter().map(in_words).collect()
    }

    fn pairs(
        &mut self,
        row: &Row,
        mut left: impl Iterator<Item = Json>,
        mut right: impl Iterator<Item = Json>,
        differing: impl Fn(usize) -> Differing,
    ) {
        for index in 0.. {
            match (left.next(), right.next()) {
                (None, None) => return,
                (left, right) if left == right => {}
                (left, right) => self.note(row, differing(index), left, right),
            }
        }
    }

    fn note(&mut self, row: &Row, differing: Differing, running: Option<Json>, candidate: Option<Json>) {
        if self.report.differences.len() >= LISTED {
            self.report.unlisted += 1;
            return;
        }
        let shown = row.place.bytes.len().min(ROW_BYTES);
        self.report.differences.push(Difference {
            row: row.number,
            told: row.place.told.clone(),
            offset: row.place.offset,
            time: row.place.time,
            bytes: row.place.bytes.get(..shown).unwrap_or_default().to_vec(),
            differing,
            running,
            candidate,
        });
    }
}

struct Row {
    number: u64,
    place: Place,
}

/// Bytes that follow one another on a port are one write: nobody on the line can tell.
fn joined(actions: &[(PortIndex, PortAction)]) -> Vec<(PortIndex, PortAction)> {
    let mut joined: Vec<(PortIndex, PortAction)> = Vec::new();
    for (port, action) in actions {
        if let (Some((last, PortAction::Write(bytes))), PortAction::Write(more)) = (joined.last_mut(), action)
            && last == port
        {
            bytes.extend_from_slice(more);
        } else {
            joined.push((*port, action.clone()));
        }
    }
    joined
}

/// What an action counts where a place among actions is told: its bytes, or one for what has none.
fn weight((_, action): &(PortIndex, PortAction)) -> u64 {
    match action {
        PortAction::Write(bytes) => bytes.len() as u64,
        _ => 1,
    }
}
