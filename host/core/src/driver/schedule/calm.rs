//! Laws of restarts and returns, each over a schedule in which nothing happens but what it says.

use std::rc::Rc;

use super::super::*;
use super::Schedule;

const PORT: PortIndex = PortIndex(0);

#[test]
fn what_a_version_was_spared_comes_to_the_one_that_returns_as_bytes() {
    let mut schedule = Schedule::calm();
    schedule.send(&[0; 10]);
    schedule.settle();
    schedule.swap_at_rest();
    schedule.poison();
    schedule.send(&[0; 10]);
    schedule.fall();
    // Nobody has decided anything by then, and it breaks down once more.
    schedule.pass_time(2_000_000);
    assert_eq!(schedule.step(), Step::Busy);
    assert_eq!(schedule.cell.status(), Status::Running);
    schedule.fall();
    assert_eq!(schedule.world.plan.borrow().counts.skipped_bytes, 10);
    schedule.bring_back();
    assert_eq!(schedule.cell.status(), Status::Running);
    schedule.settle();
    let memory = schedule.world.live.borrow();
    assert_eq!((memory.ports[0].position, memory.ports[0].records), (20, 20));
    assert_eq!(memory.gap_bytes, 0, "it is told of no gap");
}

#[test]
fn a_driver_that_never_runs_again_is_dropped_when_nothing_else_is_to_be_done() {
    let mut schedule = Schedule::calm();
    let first = Rc::downgrade(&schedule.world.live);
    schedule.swap_at_rest();
    schedule.settle();
    assert!(first.upgrade().is_some(), "it may come back");
    let second = Rc::downgrade(&schedule.world.live);
    schedule.send(&[0; 10]);
    schedule.swap_at_rest();
    assert!(first.upgrade().is_some(), "not while the driver rests");
    assert_eq!(schedule.step(), Step::Busy);
    assert!(first.upgrade().is_some(), "not before the bytes");
    schedule.settle();
    assert!(first.upgrade().is_none(), "its successor is what may come back");
    assert!(second.upgrade().is_some());
    // The model of it goes, too.
    schedule.world.former = None;
    schedule.pass_time(PROBATION_NS / 1_000 + 2_000_000);
    schedule.send(&[0; 10]);
    assert_eq!(schedule.step(), Step::Busy);
    assert!(second.upgrade().is_some(), "not before the bytes");
    schedule.settle();
    assert!(second.upgrade().is_none());
}

#[test]
fn bytes_that_a_version_lost_are_not_counted_once_more_when_another_returns() {
    // Its records are long, and the driver says of none that it cannot go on.
    const FILL: u8 = 22;
    let mut schedule = Schedule::calm();
    schedule.swap_at_rest();
    let capacity = 8_000;
    let lost: u64 = (0..3)
        .filter_map(|_| {
            schedule
                .inbox
                .push_bytes(PORT, &vec![FILL; capacity], schedule.now)
        })
        .map(|lost| lost.end - lost.start)
        .sum();
    assert!(lost > 0, "no ring of a schedule has room for all of them");
    let stream = &mut schedule.world.ports[PORT.0];
    stream.pushes.push((0, schedule.now));
    stream.bytes.extend(vec![FILL; 3 * capacity]);
    stream.dropped_below = lost;
    schedule.settle();
    assert_eq!(schedule.world.plan.borrow().counts.overruns, 1);
    schedule.bring_back();
    assert_eq!(schedule.world.plan.borrow().counts.returns, 1);
    assert_eq!(schedule.world.plan.borrow().counts.returns_with_loss, 0);
    assert_eq!(
        schedule.world.live.borrow().gap_bytes,
        lost,
        "it is told of the gap"
    );
}

#[test]
fn settings_that_were_corrected_while_a_driver_is_down_are_not_followed_by_the_old_ones() {
    let mut schedule = Schedule::calm();
    let heard = schedule.world.live.borrow().heard;
    schedule.poison();
    schedule.send(&[0]);
    schedule.cell.reconfigure("{\"a\":1}".into());
    schedule.fall();
    schedule.cell.reconfigure("{\"a\":2}".into());
    schedule.settle();
    assert_eq!(schedule.cell.setup.settings.as_ref(), "{\"a\":2}");
    assert_eq!(
        schedule.world.live.borrow().heard,
        heard,
        "its start has the new ones"
    );
}

impl Schedule {
    /// One in which nothing goes wrong of itself, with a driver that runs.
    fn calm() -> Self {
        let mut schedule = Self::new(1);
        {
            let mut plan = schedule.world.plan.borrow_mut();
            plan.trap_per_mille = 0;
            plan.refuse_per_mille = 0;
        }
        schedule.settle();
        schedule
    }

    fn send(&mut self, data: &[u8]) {
        assert_eq!(
            self.inbox.push_bytes(PORT, data, self.now),
            None,
            "the ring has room"
        );
        let stream = &mut self.world.ports[PORT.0];
        stream.pushes.push((stream.bytes.len() as u64, self.now));
        stream.bytes.extend_from_slice(data);
    }

    /// Lets the driver break down over what comes next.
    fn poison(&mut self) {
        let at = self.world.ports[PORT.0].bytes.len() as u64;
        self.world.plan.borrow_mut().poison = Some((PORT, at));
    }

    /// Steps until the driver is down.
    fn fall(&mut self) {
        while self.cell.status() == Status::Running {
            assert_eq!(self.step(), Step::Busy, "it has something to break down over");
        }
    }
}
