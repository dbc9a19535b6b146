use super::super::{TimerId, ring_capacity_bytes};
use super::*;
use crate::driver::{CommandReply, TimerChange};

const PORT: PortIndex = PortIndex(0);
const NOW: CallTime = CallTime {
    monotonic_ns: 1_000,
    wall_ms: 1.0,
};

fn inbox(ports: usize) -> Inbox {
    Inbox::new((0..ports).map(|port| PortSetup {
        name: port.to_string().into(),
        ring_capacity_bytes: ring_capacity_bytes(0),
    }))
}

fn command(id: usize) -> Arc<Command> {
    Arc::new(Command {
        id: CommandId(id.to_string().into()),
        name: String::new(),
        arguments: String::new(),
        actor: String::new(),
        deadline_ns: None,
    })
}

/// Observed slices have the time as their value.
fn take(inbox: &mut Inbox, now_ns: u64) -> Option<Taken> {
    let taken = inbox.take(now_ns, &mut Vec::new()).or_else(|| {
        let slice = inbox.take_changed_slice(now_ns)?;
        let value = Some(now_ns.to_string().into());
        inbox.tell_observed(&slice, value, now_ns).map(Taken::Event)
    })?;
    inbox.settle(&taken, &[], &[]).unwrap();
    Some(taken)
}

fn kinds(inbox: &mut Inbox) -> Vec<&'static str> {
    std::iter::from_fn(|| take(inbox, NOW.monotonic_ns))
        .map(|taken| match taken {
            Taken::Bytes(_) => "bytes",
            Taken::Event(Event::LeaseEnded { .. }) => "lease",
            Taken::Event(Event::Timer(_)) => "timer",
            Taken::Event(Event::Command(_)) => "command",
            Taken::Event(Event::PortLost { .. }) => "lost",
            Taken::Event(Event::PortAttached { .. }) => "attached",
            Taken::Event(Event::Settings(_)) => "settings",
            Taken::Event(Event::Observed { .. }) => "observed",
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn events_come_in_the_order_of_their_urgency() {
    let mut inbox = inbox(1);
    inbox.observe_from_now_on(&["other".into()], Known::Nothing);
    inbox.set_settings("{}".into());
    inbox.push_bytes(PORT, b"old", NOW);
    inbox.lose(PORT, "gone".into());
    inbox.attach(PORT, Arc::default());
    inbox.push_bytes(PORT, b"new", NOW);
    inbox.push_command(command(1)).unwrap();
    let mut timers = Timers::default();
    timers.apply(TimerChange::Set {
        id: TimerId(1),
        at_ns: NOW.monotonic_ns,
    });
    timers.apply(TimerChange::Set {
        id: TimerId(2),
        at_ns: NOW.monotonic_ns + 1,
    });
    inbox.set_timers(timers);
    inbox.push_urgent(Event::LeaseEnded {
        id: LeaseId(1),
        reason: "maximum".into(),
    });
    assert_eq!(
        kinds(&mut inbox),
        [
            "lease", "timer", "command", "bytes", "lost", "attached", "bytes", "settings", "observed"
        ]
    );
    assert_eq!(inbox.next_deadline_ns(), Some(NOW.monotonic_ns + 1));
}

#[test]
fn ports_take_turns() {
    let mut inbox = inbox(2);
    for port in [0, 1] {
        inbox.push_bytes(PortIndex(port), &vec![0; 200_000], NOW);
    }
    let order: Vec<_> = std::iter::from_fn(|| take(&mut inbox, 0))
        .map(|taken| match taken {
            Taken::Bytes(chunk) => {
                assert!(chunk.to - chunk.from <= 64 * 1024);
                chunk.port.0
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn a_driver_whose_timers_chase_each_other_still_hears_its_port() {
    let mut inbox = inbox(1);
    inbox.push_bytes(PORT, b"x", NOW);
    let mut events = 0;
    loop {
        inbox.timers.apply(TimerChange::Set {
            id: TimerId(1),
            at_ns: 0,
        });
        match take(&mut inbox, 0) {
            Some(Taken::Bytes(_)) => break,
            _ => events += 1,
        }
    }
    assert_eq!(events, EVENTS_BEFORE_BYTES);
}

#[test]
fn commands_are_bounded_until_they_are_complete() {
    let mut inbox = inbox(1);
    for id in 0..COMMANDS {
        inbox.push_command(command(id)).unwrap();
    }
    assert_eq!(inbox.push_command(command(64)), Err(Busy));
    let taken = inbox.take(0, &mut Vec::new()).unwrap();
    let reply = CommandReply::Complete {
        id: command(0).id.clone(),
        outcome: super::super::Outcome::Cancelled,
    };
    inbox.settle(&taken, &[], &[]).unwrap();
    assert_eq!(
        inbox.push_command(command(64)),
        Err(Busy),
        "in flight is not done"
    );
    inbox.apply_replies(&[reply]);
    assert_eq!(inbox.push_command(command(64)), Ok(()));
}

#[test]
fn a_cancel_is_told_only_of_commands_that_the_driver_has() {
    let mut inbox = inbox(1);
    inbox.push_command(command(1)).unwrap();
    inbox.push_command(command(2)).unwrap();
    take(&mut inbox, 0).unwrap();
    let id = |id: usize| command(id).id.clone();
    assert_eq!(inbox.cancel_command(&id(1), "".into()), Cancelled::Requested);
    assert_eq!(inbox.cancel_command(&id(1), "again".into()), Cancelled::Requested);
    assert_eq!(
        inbox.cancel_command(&id(2), "".into()),
        Cancelled::BeforeDelivery(command(2))
    );
    assert_eq!(inbox.cancel_command(&id(3), "".into()), Cancelled::Unknown);
    assert!(matches!(
        take(&mut inbox, 0),
        Some(Taken::Event(Event::CommandCancelled { .. }))
    ));
    assert_eq!(take(&mut inbox, 0), None);
}

#[test]
fn a_command_that_is_with_the_driver_right_now_can_be_cancelled_and_can_expire() {
    let id = |id: usize| command(id).id.clone();
    let mut inbox = inbox(1);
    inbox.push_command(command(1)).unwrap();
    let taken = inbox.take(0, &mut Vec::new()).unwrap();
    assert_eq!(inbox.cancel_command(&id(1), "".into()), Cancelled::Requested);
    inbox.settle(&taken, &[], &[]).unwrap();
    assert_eq!(inbox.commands_in_flight(), [command(1)]);
    inbox.expire_command(&id(1), "late".into());
    assert_eq!(inbox.commands_in_flight(), []);
    // Told once, and that it is over.
    assert!(matches!(
        take(&mut inbox, 0),
        Some(Taken::Event(Event::CommandCancelled { is_over: true, .. }))
    ));
    assert_eq!(take(&mut inbox, 0), None);

    inbox.push_command(command(2)).unwrap();
    let taken = inbox.take(0, &mut Vec::new()).unwrap();
    inbox.expire_command(&id(2), "late".into());
    inbox.settle(&taken, &[], &[]).unwrap();
    assert_eq!(inbox.commands_in_flight(), [], "it keeps no place");
    assert_eq!(inbox.cancel_command(&id(2), "".into()), Cancelled::Unknown);

    inbox.push_command(command(3)).unwrap();
    inbox.expire_command(&id(3), "late".into());
    take(&mut inbox, 0).unwrap();
    assert_eq!(
        take(&mut inbox, 0),
        None,
        "the driver never hears of what expired in the queue"
    );
}

#[test]
fn only_the_newest_observed_value_comes_and_at_most_twenty_a_second() {
    let mut inbox = inbox(1);
    inbox.observe_from_now_on(&["other".into()], Known::Nothing);
    let mut seen = Vec::new();
    for ms in 0..1000 {
        inbox.slice_changed("other");
        if let Some(Taken::Event(Event::Observed { value, .. })) = take(&mut inbox, ms * 1_000_000) {
            seen.push(value.unwrap().parse::<u64>().unwrap() / 1_000_000);
        }
    }
    assert_eq!(seen, (0..20).map(|turn| turn * 50).collect::<Vec<_>>());
    assert_eq!(inbox.next_deadline_ns(), Some(1_000_000_000));
}

#[test]
fn an_impossible_mark_changes_no_port() {
    let mut inbox = inbox(2);
    for port in [PortIndex(0), PortIndex(1)] {
        inbox.push_bytes(port, b"abc", NOW);
    }
    while take(&mut inbox, 0).is_some() {}
    assert_eq!(inbox.consume(&[(PortIndex(0), 2), (PortIndex(1), 4)]), None);
    assert_eq!(inbox.consume(&[(PortIndex(0), 2), (PortIndex(2), 0)]), None);
    assert_eq!(inbox.marks(PortIndex(0)).unwrap().consumed, 0);
    assert_eq!(inbox.consume(&[(PortIndex(0), 2)]), Some(()));
    assert_eq!(
        inbox.consume(&[(PortIndex(0), 1)]),
        None,
        "consumed never goes back"
    );
    assert_eq!(
        inbox.marks(PortIndex(1)).unwrap().consumed,
        3,
        "a port that is not named is dealt with"
    );
}

#[test]
fn a_call_that_sets_too_many_timers_sets_none() {
    let mut inbox = inbox(1);
    inbox.push_bytes(PORT, b"x", NOW);
    let taken = inbox.take(0, &mut Vec::new()).unwrap();
    let set = |id| TimerChange::Set {
        id: TimerId(id),
        at_ns: 5,
    };
    let changes: Vec<_> = (0..65).map(set).collect();
    assert_eq!(inbox.settle(&taken, &changes, &[]), Err(TooManyTimers));
    assert_eq!(inbox.timers().next_ns(), None);
    assert_eq!(inbox.marks(PORT).unwrap().committed, 0);
}

#[test]
fn what_waits_is_counted_until_a_call_has_returned_from_it() {
    let mut inbox = inbox(2);
    assert_eq!(inbox.depth(), Depth::default());
    for port in 0..2 {
        inbox.attach(PortIndex(port), Arc::default());
        inbox.push_bytes(PortIndex(port), b"12345", NOW);
    }
    inbox.push_command(command(1)).unwrap();
    inbox.set_settings("{}".into());
    assert_eq!(inbox.depth(), Depth { bytes: 10, events: 2 });
    // With the driver it has not been dealt with.
    let mut taken = inbox.take(NOW.monotonic_ns, &mut Vec::new()).unwrap();
    while !matches!(taken, Taken::Bytes(_)) {
        inbox.settle(&taken, &[], &[]).unwrap();
        taken = inbox.take(NOW.monotonic_ns, &mut Vec::new()).unwrap();
    }
    assert_eq!(inbox.depth().bytes, 10);
    inbox.settle(&taken, &[], &[]).unwrap();
    assert_eq!(inbox.depth().bytes, 5);
    kinds(&mut inbox);
    assert_eq!(inbox.depth(), Depth::default());
}
