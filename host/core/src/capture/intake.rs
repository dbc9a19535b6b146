//! What waits to be written into a capture. A port puts in and never waits; when a disk is too slow, records are left out, and one that says so stands
//! where they would.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Record, What};
use crate::driver::{CallTime, PortIdentity};

/// Bytes that may wait. At 1 MB/s that is a disk that hangs for eight seconds. Past it records are left out, until half of it is written.
pub const WAITING_BYTES: usize = 8 << 20;

/// What a record costs beside its bytes.
const RECORD_BYTES: usize = 128;

/// The queue of one port's capture.
#[derive(Debug, Default)]
pub struct Intake {
    waiting: VecDeque<Record>,
    waiting_bytes: usize,
    /// Number of the next byte.
    next_offset: u64,
    /// The device as it is now.
    attached: Option<Arc<PortIdentity>>,
    gap: Option<Gap>,
}

/// Records that are being left out.
#[derive(Debug)]
struct Gap {
    from: u64,
    records: u64,
    /// Whether the device came or went meanwhile.
    hides_border: bool,
    /// Whether any of them was left out because it is nobody's business.
    is_withheld: bool,
}

impl Intake {
    /// The device is there.
    pub fn attached(&mut self, at: CallTime, identity: Arc<PortIdentity>) {
        let what = What::Attached {
            offset: self.next_offset,
            identity: (*identity).clone(),
        };
        self.put(at, what, 0);
        self.attached = Some(identity);
    }

    /// Bytes came that no capture may have.
    pub fn withhold_received(&mut self, bytes: usize) {
        if bytes > 0 {
            self.leave_out(bytes, false).is_withheld = true;
        }
    }

    /// Bytes were handed to the line that no capture may have.
    pub fn withhold_sent(&mut self, bytes: usize) {
        if bytes > 0 {
            self.leave_out(0, false).is_withheld = true;
        }
    }

    /// Bytes came.
    pub fn received(&mut self, at: CallTime, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let offset = self.next_offset;
        // What is left out is not copied.
        let what = match self.has_room(at, data.len()) {
            true => What::Received {
                offset,
                data: data.to_vec(),
            },
            false => {
                self.leave_out(data.len(), false);
                return;
            }
        };
        self.next_offset += data.len() as u64;
        self.take(at, what, data.len());
    }

    /// Bytes were handed to the line.
    pub fn sent(&mut self, at: CallTime, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        let data = data.to_vec();
        let bytes = data.len();
        self.put(at, What::Sent { data }, bytes);
    }

    /// The device is gone.
    pub fn lost(&mut self, at: CallTime, reason: &str) {
        let reason = reason.to_owned();
        self.put(at, What::Lost { reason }, 0);
        self.attached = None;
    }

    /// Nothing more will come: what is left out at the end is said, too.
    pub fn close(&mut self, at: CallTime) {
        self.end_gap(at);
    }

    /// Everything that waits.
    pub fn take_all(&mut self) -> VecDeque<Record> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// Whether something waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn put(&mut self, at: CallTime, what: What, bytes: usize) {
        let is_border = matches!(what, What::Attached { .. } | What::Lost { .. });
        match self.has_room(at, bytes) {
            true => self.take(at, what, bytes),
            false => {
                self.leave_out(0, is_border);
            }
        }
    }

    fn take(&mut self, at: CallTime, what: What, bytes: usize) {
        self.waiting_bytes += bytes + RECORD_BYTES;
        self.waiting.push_back(Record { at, what });
    }

    fn has_room(&mut self, at: CallTime, bytes: usize) -> bool {
        if self.gap.is_some() && self.waiting_bytes <= WAITING_BYTES / 2 {
            self.end_gap(at);
        }
        self.gap.is_none() && self.waiting_bytes + bytes + RECORD_BYTES <= WAITING_BYTES
    }

    fn leave_out(&mut self, received_bytes: usize, is_border: bool) -> &mut Gap {
        let from = self.next_offset;
        self.next_offset += received_bytes as u64;
        let gap = self.gap.get_or_insert(Gap {
            from,
            records: 0,
            hides_border: false,
            is_withheld: false,
        });
        gap.records += 1;
        gap.hides_border |= is_border;
        gap
    }

    /// Says what is missing, and how the device is by now.
    fn end_gap(&mut self, at: CallTime) {
        let Some(gap) = self.gap.take() else { return };
        let missing = What::Overrun {
            from: gap.from,
            to: self.next_offset,
            records: gap.records,
            reason: match gap.is_withheld {
                true => "withheld: a secret command was under way".to_owned(),
                false => "the disk was too slow".to_owned(),
            },
        };
        self.take(at, missing, 0);
        if gap.hides_border {
            let now = match &self.attached {
                Some(identity) => What::Attached {
                    offset: self.next_offset,
                    identity: (**identity).clone(),
                },
                None => What::Lost {
                    reason: "it was lost while records were left out".to_owned(),
                },
            };
            self.take(at, now, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Capture, Header};
    use super::*;
    use crate::driver::{DataBits, FlowControl, LineSettings, Parity, StopBits};

    #[derive(Debug, Clone)]
    enum Step {
        Attach,
        Lose,
        Receive(usize),
        Send(usize),
        WithholdReceived(usize),
        WithholdSent(usize),
        Write,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => Just(Step::Attach),
            1 => Just(Step::Lose),
            6 => (1usize..(2 << 20)).prop_map(Step::Receive),
            2 => (1usize..(1 << 20)).prop_map(Step::Send),
            1 => (1usize..(1 << 20)).prop_map(Step::WithholdReceived),
            1 => (1usize..(1 << 20)).prop_map(Step::WithholdSent),
            2 => Just(Step::Write),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn what_is_written_is_a_capture_whatever_is_left_out_and_every_byte_is_in_it_or_said_to_be_missing(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let mut intake = Intake::default();
            let (mut is_attached, mut ns, mut received, mut asked) = (false, 0, 0_u64, 0_u64);
            let mut records = Vec::new();
            for step in steps {
                ns += 1;
                let at = CallTime { monotonic_ns: ns, wall_ms: ns as f64 };
                match step {
                    Step::Attach if !is_attached => {
                        is_attached = true;
                        asked += 1;
                        intake.attached(at, Arc::default());
                    }
                    Step::Lose if is_attached => {
                        is_attached = false;
                        asked += 1;
                        intake.lost(at, "gone");
                    }
                    Step::Receive(count) if is_attached => {
                        received += count as u64;
                        asked += 1;
                        intake.received(at, &vec![7; count]);
                    }
                    Step::Send(count) if is_attached => {
                        asked += 1;
                        intake.sent(at, &vec![9; count]);
                    }
                    Step::WithholdReceived(count) if is_attached => {
                        received += count as u64;
                        asked += 1;
                        intake.withhold_received(count);
                    }
                    Step::WithholdSent(count) if is_attached => {
                        asked += 1;
                        intake.withhold_sent(count);
                    }
                    Step::Write => records.extend(intake.take_all()),
                    _ => {}
                }
                prop_assert!(intake.waiting_bytes <= WAITING_BYTES + 2 * RECORD_BYTES);
            }
            intake.close(CallTime { monotonic_ns: ns, wall_ms: ns as f64 });
            records.extend(intake.take_all());
            prop_assert!(intake.is_empty());
            let (mut seen, mut missing, mut kept) = (0, 0, 0_u64);
            for record in &records {
                match &record.what {
                    What::Overrun { from, to, records, .. } => {
                        seen += to - from;
                        missing += records;
                    }
                    What::Received { data, .. } => {
                        seen += data.len() as u64;
                        kept += 1;
                    }
                    What::Sent { .. } => kept += 1,
                    What::Attached { .. } | What::Lost { .. } => {}
                }
            }
            prop_assert_eq!(seen, received);
            prop_assert!(kept + missing <= asked && asked <= kept + missing + records.len() as u64);
            let header = Header {
                device: "meter".to_owned(),
                port: "main".to_owned(),
                line: LineSettings {
                    baud_rate: 9600,
                    data_bits: DataBits::Eight,
                    parity: Parity::None,
                    stop_bits: StopBits::One,
                    flow_control: FlowControl::None,
                },
                started_at: String::new(),
            };
            // The reader refuses what no port does; bytes are many, so that only the small captures are worth its time.
            if received < (4 << 20) {
                let capture = Capture { header, records, is_cut: false };
                let again = Capture::parse(capture.to_text().as_bytes());
                prop_assert!(again.is_ok(), "{:?}", again.err());
            }
        }
    }

    #[test]
    fn a_disk_that_hangs_costs_records_and_says_how_many_and_which_bytes() {
        let at = |ns| CallTime {
            monotonic_ns: ns,
            wall_ms: 0.0,
        };
        let mut intake = Intake::default();
        intake.attached(at(1), Arc::default());
        for ns in 2..12 {
            intake.received(at(ns), &[0; 1 << 20]);
        }
        intake.lost(at(12), "unplugged");
        let kept = intake.take_all().len();
        assert_eq!(kept, 8, "the border and seven pieces fit");
        intake.attached(at(13), Arc::default());
        let records: Vec<_> = intake.take_all().into_iter().map(|record| record.what).collect();
        let missing = What::Overrun {
            from: 7 << 20,
            to: 10 << 20,
            records: 4,
            reason: "the disk was too slow".to_owned(),
        };
        assert_eq!(records[0], missing);
        assert!(matches!(records[1], What::Lost { .. }), "{records:?}");
        assert!(matches!(records[2], What::Attached { .. }), "{records:?}");
    }

    #[test]
    fn what_is_withheld_is_said_to_be_missing_and_nothing_of_it_is_there() {
        let at = |ns| CallTime {
            monotonic_ns: ns,
            wall_ms: 0.0,
        };
        let mut intake = Intake::default();
        intake.attached(at(1), Arc::default());
        intake.sent(at(2), b"before");
        intake.withhold_sent(9);
        intake.withhold_received(11);
        intake.received(at(3), b"behind");
        let records: Vec<_> = intake.take_all().into_iter().map(|record| record.what).collect();
        let missing = What::Overrun {
            from: 0,
            to: 11,
            records: 2,
            reason: "withheld: a secret command was under way".to_owned(),
        };
        let behind = What::Received {
            offset: 11,
            data: b"behind".to_vec(),
        };
        assert_eq!(records[2..], [missing, behind]);
    }
}
