//! One telemetry series: its last ten minutes, and the segments for whoever listens.

use std::collections::VecDeque;

use autobench_core::driver::Sample;
use autobench_core::frame;
use autobench_core::outbox::{Cursor, Ring, RingView, Segment};
use autobench_core::wire::{SeriesKind, encode};
use bytes::Bytes;
use parking_lot::Mutex;

/// What a series is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointInfo {
    /// Its number on the wire, stable per data folder.
    pub id: u32,
    /// Device and series with a dot between.
    pub name: String,
    /// Unit of its values.
    pub unit: String,
    /// Measurement or total.
    pub kind: SeriesKind,
}

/// How far back a new subscription sees.
const HISTORY_MS: f64 = 600_000.0;
/// Memory for that: the oldest samples go first, even if they are younger than ten minutes.
const HISTORY_SAMPLES: usize = (1 << 20) / size_of::<Sample>();
/// Encoded segments of a series. A client that falls off them is given what it lacks from the history, which reaches further back.
const SEGMENTS_BYTES: usize = 1 << 20;
/// Samples in one message. A driver that pushes more between two flushes has the rest in the next message of the same flush.
const MESSAGE_SAMPLES: usize = 4096;
/// Samples of the history in one message for one client: some 64 KiB, which is what a client holds whose socket takes nothing.
const PIECE_SAMPLES: usize = 2048;

/// Samples are numbered from 1 in the order in which they came; the number says which ones a client lacks.
#[derive(Debug)]
pub(super) struct Series(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    info: EndpointInfo,
    samples: VecDeque<Sample>,
    /// Samples that have been pushed since the start; the number of the newest.
    newest: u64,
    /// Up to here the samples are in segments, or nobody was there to want them.
    published: u64,
    segments: Ring,
    subscribers: usize,
}

/// Samples of the history for one client, and where it goes on.
#[derive(Debug)]
pub(super) struct Backlog {
    /// A `telemetry` frame; none if there is no sample.
    pub(super) frame: Option<Bytes>,
    pub(super) goes_on: GoesOn,
}

/// Where a client goes on behind some samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoesOn {
    /// In the segments.
    At(Cursor),
    /// In the history, behind this number.
    After(u64),
}

impl Series {
    pub(super) fn new(info: EndpointInfo) -> Self {
        Self(Mutex::new(Inner {
            info,
            samples: VecDeque::new(),
            newest: 0,
            published: 0,
            segments: Ring::new(SEGMENTS_BYTES, 0),
            subscribers: 0,
        }))
    }

    /// What the series is.
    pub(super) fn info(&self) -> EndpointInfo {
        self.0.lock().info.clone()
    }

    /// The series has a new name or unit. Samples, and whoever listens, stay.
    pub(super) fn rename(&self, info: EndpointInfo) {
        let mut inner = self.0.lock();
        inner.publish();
        inner.info = info;
    }

    /// Takes samples in. Values that are no numbers have no place in JSON and are left out.
    pub(super) fn push(&self, samples: &[Sample]) {
        let mut inner = self.0.lock();
        for sample in samples {
            if !sample.value.is_finite() || !sample.timestamp_ms.is_finite() {
                continue;
            }
            inner.samples.push_back(*sample);
            inner.newest += 1;
            // What nobody has encoded yet must not be forgotten below.
            if inner.newest - inner.published >= MESSAGE_SAMPLES as u64 {
                inner.publish();
            }
        }
        inner.forget_old();
    }

    /// Puts what is new into segments, if somebody listens.
    pub(super) fn publish(&self) {
        self.0.lock().publish();
    }

    /// The segments from a number on.
    pub(super) fn view(&self, from: u64, limit_bytes: usize) -> RingView {
        self.0.lock().segments.view(from, limit_bytes)
    }

    /// A client begins to listen. Until its [`leave`](Self::leave) segments are made.
    pub(super) fn join(&self) {
        self.0.lock().subscribers += 1;
    }

    /// A client listens no more.
    pub(super) fn leave(&self) {
        let mut inner = self.0.lock();
        inner.subscribers = inner.subscribers.saturating_sub(1);
    }

    /// What is still there after sample number `covered`, a piece of it. The client goes on in the segments behind it where one begins there, and
    /// otherwise with the next piece, without gap or repetition.
    /// Without a number the client begins here, and what is no longer there it has not missed.
    pub(super) fn backlog(&self, covered: Option<u64>) -> Backlog {
        let mut inner = self.0.lock();
        inner.publish();
        let oldest = inner.newest - inner.samples.len() as u64;
        let missed = covered.map_or(0, |covered| oldest.saturating_sub(covered));
        let from = covered.unwrap_or(0).max(oldest);
        let samples = inner.after(from, PIECE_SAMPLES);
        let last = from.min(inner.newest) + samples.len() as u64;
        let goes_on = match inner.cursor_after(last) {
            Some(cursor) => GoesOn::At(cursor),
            None => GoesOn::After(last),
        };
        let info = inner.info.clone();
        // Encoded without the lock, on which a driver that pushes would wait.
        drop(inner);
        Backlog {
            frame: frame(&info, &samples, missed),
            goes_on,
        }
    }

    /// The history, oldest first.
    pub(super) fn history(&self) -> Vec<Sample> {
        self.0.lock().after(0, usize::MAX)
    }
}

impl Inner {
    fn publish(&mut self) {
        if self.subscribers == 0 {
            self.published = self.newest;
        }
        let waiting = self.after(self.published, usize::MAX);
        for samples in waiting.chunks(MESSAGE_SAMPLES) {
            let first = self.published + 1;
            self.published += samples.len() as u64;
            if let Some(bytes) = frame(&self.info, samples, 0) {
                let last = self.published;
                self.segments.push(Segment { bytes, first, last });
            }
        }
    }

    /// Where somebody goes on who has everything up to this number, if a segment begins there.
    fn cursor_after(&self, number: u64) -> Option<Cursor> {
        if number == self.published {
            return Some(Cursor {
                segment: self.segments.end(),
                covered: number,
            });
        }
        self.segments.cursor_after(number)
    }

    fn after(&self, covered: u64, max_samples: usize) -> Vec<Sample> {
        let oldest = self.newest - self.samples.len() as u64;
        let skip = usize::try_from(covered.saturating_sub(oldest)).unwrap_or(usize::MAX);
        self.samples
            .iter()
            .skip(skip)
            .take(max_samples)
            .copied()
            .collect()
    }

    fn forget_old(&mut self) {
        let Some(newest) = self.samples.back() else {
            return;
        };
        let from_ms = newest.timestamp_ms - HISTORY_MS;
        while self.samples.len() > HISTORY_SAMPLES
            || self
                .samples
                .front()
                .is_some_and(|oldest| oldest.timestamp_ms < from_ms)
        {
            let number = self.newest - self.samples.len() as u64 + 1;
            if number > self.published {
                // A long stretch at once, or a clock that was set forward: whoever listens gets it all the same.
                self.publish();
            }
            self.samples.pop_front();
        }
    }
}

fn frame(info: &EndpointInfo, samples: &[Sample], missed: u64) -> Option<Bytes> {
    let EndpointInfo { id, name, unit, .. } = info;
    frame::build_text(128 + samples.len() * 24, |out| {
        if !encode::telemetry(out, *id, name, unit, samples) {
            return Err(());
        }
        if missed > 0 && out.pop().is_some() {
            out.extend_from_slice(format!(",\"missed\":{missed}}}").as_bytes());
        }
        Ok(())
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use autobench_core::wire::ServerMessage;
    use test_support::payload;

    fn series() -> Series {
        Series::new(EndpointInfo {
            id: 7,
            name: "meter.watts".to_owned(),
            unit: "W".to_owned(),
            kind: SeriesKind::Measurement,
        })
    }

    fn samples(numbers: std::ops::RangeInclusive<u64>) -> Vec<Sample> {
        numbers
            .map(|n| Sample {
                timestamp_ms: n as f64,
                value: n as f64,
            })
            .collect()
    }

    /// The values in frames that follow one another, and what they say was missed.
    fn read(frames: &[Bytes]) -> (Vec<u64>, u64) {
        let mut values = Vec::new();
        let mut missed = 0;
        for frame in frames {
            let ServerMessage::Telemetry(message) = serde_json::from_slice(&payload(frame)).unwrap() else {
                panic!("no telemetry");
            };
            values.extend(message.samples.iter().map(|(_, value)| *value as u64));
            missed += message.missed.unwrap_or_default();
        }
        (values, missed)
    }

    fn live(series: &Series, cursor: Cursor) -> Vec<Bytes> {
        let view = series.view(cursor.segment, usize::MAX);
        view.segments().iter().map(|s| s.bytes.clone()).collect()
    }

    /// The history after a number, piece by piece, and where the segments go on.
    fn history(series: &Series, mut covered: Option<u64>) -> (Vec<Bytes>, Cursor) {
        let mut frames = Vec::new();
        loop {
            let backlog = series.backlog(covered);
            let bytes = backlog.frame.as_ref().map_or(0, Bytes::len);
            assert!(bytes <= 80 << 10, "a piece of {bytes} bytes");
            frames.extend(backlog.frame);
            match backlog.goes_on {
                GoesOn::At(cursor) => return (frames, cursor),
                GoesOn::After(number) => covered = Some(number),
            }
        }
    }

    #[test]
    fn a_subscription_gets_the_history_and_then_what_follows_without_gap_or_repetition() {
        let series = series();
        series.push(&samples(1..=3));
        series.join();
        series.push(&samples(4..=5));
        let (mut frames, cursor) = history(&series, None);
        series.push(&samples(6..=7));
        series.publish();
        frames.extend(live(&series, cursor));
        assert_eq!(read(&frames), ((1..=7).collect(), 0));
    }

    #[test]
    fn a_long_history_comes_in_pieces_between_which_nothing_is_lost() {
        let series = series();
        series.push(&samples(1..=10_000));
        series.join();
        let first = series.backlog(None);
        let GoesOn::After(covered) = first.goes_on else {
            panic!("ten thousand samples are more than a piece");
        };
        // Meanwhile more comes, and goes into segments.
        series.push(&samples(10_001..=10_100));
        series.publish();
        let (more, cursor) = history(&series, Some(covered));
        series.push(&samples(10_101..=10_200));
        series.publish();
        let frames: Vec<_> = first
            .frame
            .into_iter()
            .chain(more)
            .chain(live(&series, cursor))
            .collect();
        assert_eq!(read(&frames), ((1..=10_200).collect(), 0));
    }

    #[test]
    fn nothing_is_encoded_while_nobody_listens() {
        let series = series();
        series.push(&samples(1..=10_000));
        series.publish();
        assert_eq!(series.view(0, usize::MAX).end(), 0);
    }

    #[test]
    fn a_burst_between_two_flushes_is_not_forgotten_before_it_is_sent() {
        let series = series();
        series.join();
        let cursor = history(&series, None).1;
        let many = HISTORY_SAMPLES as u64 / 2;
        series.push(&samples(1..=many));
        series.publish();
        assert_eq!(read(&live(&series, cursor)).0, (1..=many).collect::<Vec<_>>());
    }

    #[test]
    fn the_history_is_bounded_in_time_and_in_memory() {
        let series = series();
        series.push(&samples(1..=HISTORY_SAMPLES as u64 * 2));
        assert_eq!(series.history().len(), HISTORY_SAMPLES);
        series.push(&[Sample {
            timestamp_ms: 1e9,
            value: 1.0,
        }]);
        assert_eq!(series.history().len(), 1);
    }

    #[test]
    fn a_stretch_longer_than_the_history_is_sent_once_and_whole() {
        let series = series();
        series.join();
        let cursor = history(&series, None).1;
        let minutes: Vec<Sample> = (1..=61)
            .map(|n| Sample {
                timestamp_ms: f64::from(n) * 60_000.0,
                value: f64::from(n),
            })
            .collect();
        series.push(&minutes);
        for _ in 0..8 {
            series.publish();
        }
        assert_eq!(read(&live(&series, cursor)), ((1..=61).collect(), 0));
    }

    #[test]
    fn whoever_fell_far_behind_is_told_how_many_samples_are_lost() {
        let series = series();
        series.join();
        series.push(&samples(1..=HISTORY_SAMPLES as u64 + 50));
        let (values, missed) = read(&history(&series, Some(20)).0);
        assert_eq!((values[0], missed), (51, 30));
        // Whoever began before the first sample has missed them all the same.
        assert_eq!(read(&history(&series, Some(0)).0).1, 50);
        assert_eq!(read(&history(&series, Some(60)).0).0[0], 61);
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let series = series();
        series.join();
        series.push(&[Sample {
            timestamp_ms: 1.0,
            value: f64::NAN,
        }]);
        assert!(series.backlog(None).frame.is_none());
    }
}
