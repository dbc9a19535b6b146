//! What follows when a driver broke down: what becomes of the event in hand, and when the driver is started again.

use super::{Cell, FAULTS_PER_EVENT, InHand, Life, drop_effects};
use crate::driver::inbox::{Chunk, Taken};
use crate::driver::journal::Own;
use crate::driver::leases::reason;
use crate::driver::sink::fnv1a;
use crate::driver::versions::Blame;
use crate::driver::{Breakdown, CallTime, Event, Guest, LifeChange, LogOrigin, Sink, Skipped, Verdict};

impl<G: Guest> Cell<G> {
    /// Drops the guest, and decides what becomes of the event and of the driver.
    ///
    /// The event comes again after the restart. What breaks the driver down twice is left out: bytes become an overrun, a timer is gone, and
    /// after a border or a gap the driver starts cold, so that it sees the ports as they are. A command is never tried again: its call had no
    /// effect, and whoever sent it can decide.
    pub(super) fn break_down(
        &mut self,
        breakdown: Breakdown,
        in_hand: Option<InHand>,
        now: CallTime,
        sink: &mut impl Sink,
    ) {
        self.drop_effects(LogOrigin::FailedCall, sink);
        self.end_leases(reason::DRIVER_FAILED, sink);
        self.checkpoint_due_ns = None;
        let not_before_ns = self.keep_former(now.monotonic_ns).unwrap_or_default();
        let verdict = match breakdown.blame() {
            Blame::Circumstances => Verdict::AwaitsConfiguration,
            Blame::Version => match self.supervision.strike(now.monotonic_ns) {
                Verdict::Restart { at_ns } => Verdict::Restart {
                    at_ns: at_ns.max(not_before_ns),
                },
                down => down,
            },
        };
        self.life = match verdict {
            Verdict::Restart { at_ns } => Life::Waiting { at_ns },
            Verdict::Quarantine | Verdict::AwaitsConfiguration => Life::Quarantined,
        };
        match in_hand {
            None => {}
            Some(InHand {
                taken: Taken::Event(Event::Command(command)),
                ..
            }) => sink.command_failed(&command, &breakdown),
            Some(InHand { taken, faults }) if faults + 1 < FAULTS_PER_EVENT => {
                self.retry = Some(InHand {
                    taken,
                    faults: faults + 1,
                });
            }
            Some(InHand { taken, .. }) => self.leave_out(taken, &breakdown, now, sink),
        }
        sink.life(LifeChange::BrokeDown {
            breakdown: &breakdown,
            verdict,
        });
    }

    fn leave_out(&mut self, taken: Taken, breakdown: &Breakdown, now: CallTime, sink: &mut impl Sink) {
        let bytes: &[u8] = match taken {
            Taken::Bytes(_) => &self.buffer,
            Taken::Event(_) => &[],
        };
        sink.skipped(Skipped {
            taken: &taken,
            bytes,
            hash: fnv1a(bytes),
            breakdown,
        });
        match taken {
            Taken::Bytes(Chunk { port, from, to, .. }) => {
                // The driver is told of the gap first of all; they are behind it when that call returns.
                let reason = format!("the driver broke down over it twice: {breakdown}").into();
                let taken = Taken::Event(Event::Overrun {
                    port,
                    from,
                    to,
                    reason,
                });
                self.retry = Some(InHand { taken, faults: 0 });
            }
            Taken::Event(Event::Timer(id)) => self.journal.gone(Own::Timer(id)),
            Taken::Event(Event::LeaseEnded { id, .. }) => {
                self.journal.gone(Own::Lease(id));
                self.note(&taken, 0, now);
            }
            Taken::Event(Event::PortAttached { .. } | Event::PortLost { .. } | Event::Overrun { .. }) => {
                let settled = self.inbox.with(|inbox| inbox.pass(&taken));
                // Its predecessor can take what broke this one down.
                self.note(&taken, settled.committed, now);
                self.drop_checkpoint(breakdown, sink);
            }
            Taken::Event(_) => self.note(&taken, 0, now),
        }
    }

    pub(super) fn drop_checkpoint(&mut self, breakdown: &Breakdown, sink: &mut impl Sink) {
        self.forget_checkpoint();
        sink.life(LifeChange::CheckpointDropped { breakdown });
    }

    /// Forgets what a call asked for, but not what it logged.
    pub(super) fn drop_effects(&mut self, origin: LogOrigin, sink: &mut impl Sink) {
        drop_effects(&mut self.effects, origin, sink);
    }
}
