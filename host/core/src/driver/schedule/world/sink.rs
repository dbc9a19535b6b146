//! The effects of each call, as they come, held against those of the uninterrupted driver.

use super::*;

impl Sink for World {
    fn commit(&mut self, effects: &mut Effects, commit: Commit<'_>) -> Result<(), SliceRefused> {
        self.plan.borrow_mut().counts.commits += 1;
        self.plan.borrow_mut().counts.samples += effects.samples.len() as u64;
        self.undo_holds(effects);
        match commit.cause {
            Cause::Start {
                reason: StartReason::Return,
                forgets_commands,
                ..
            } => {
                assert_same(effects, &Effects::default());
                if forgets_commands {
                    for command in self.in_flight.drain(..) {
                        assert!(self.open_commands.remove(&command.id));
                    }
                }
            }
            Cause::Start {
                from_snapshot: true, ..
            } => {
                assert!(
                    effects.operations.is_empty(),
                    "a start from a snapshot replaces the slice"
                );
                assert!(effects.port_actions.is_empty() && effects.replies.is_empty());
                assert_eq!(effects.samples.len(), 1, "the replay is muted");
            }
            Cause::Start { reason, .. } => {
                let expected = self.reference.start(&self.cold_input(reason), commit.time);
                assert_same(effects, &expected);
                self.timers.clear();
                self.slice_is_behind = false;
            }
            Cause::Event(taken) => {
                self.note(taken, commit.time);
                let expected = self.follow(taken, commit.time);
                assert_same(effects, &expected);
                if let Taken::Event(Event::Other { kind, .. }) = taken
                    && &**kind == "update-refused"
                {
                    self.slice_is_behind = false;
                }
            }
            Cause::Stop(_) => assert_eq!(effects.port_actions.len(), 1, "last words are written"),
        }
        self.apply_outside(effects);
        for change in &effects.leases {
            let (LeaseChange::Acquire { id, .. } | LeaseChange::Release { id, .. }) = change;
            self.leases_unheard.remove(id);
        }
        let refused = effects.operations.iter().any(|operation| {
            matches!(operation, Operation::Set { path, value }
                if path.as_str() == "/not/there" || *value == Value::Json(TOO_LARGE.into()))
        });
        if refused {
            self.slice_is_behind = true;
            self.plan.borrow_mut().counts.refused_updates += 1;
            return Err(SliceRefused("no such place, or too large".to_owned()));
        }
        self.apply_to_slice(&effects.operations);
        Ok(())
    }

    fn logs(&mut self, _lines: &mut Vec<LogLine>, _suppressed: u64, _origin: LogOrigin) {}

    fn slice(&mut self) -> Option<Arc<str>> {
        // What a successor's predecessor would come back to is no checkpoint.
        self.published_unseen &= self.is_successors;
        (!self.slice.is_null()).then(|| self.slice.to_string().into())
    }

    fn take_over(
        &mut self,
        value: Json,
        _effects: &mut Effects,
        _generation: u64,
    ) -> Result<(), SliceRefused> {
        if self.refuse_next_slice {
            return Err(SliceRefused("too large".to_owned()));
        }
        self.slice_before = std::mem::replace(&mut self.slice, value);
        Ok(())
    }

    fn observe(&mut self, slices: &[Arc<str>]) {
        self.watched = slices.iter().cloned().collect();
    }

    fn foreign_slice(&mut self, slice: &str) -> Option<Arc<str>> {
        self.foreign.get(slice).map(|value| value.to_string().into())
    }

    fn relived(&mut self, effects: &Effects) {
        if let Some(alarms) = &mut self.former_alarms {
            change_alarms(alarms, effects);
        }
    }

    fn leases_opened(&mut self, opened: &[(Lease, Option<u64>)]) {
        for (lease, instead_of) in opened {
            let counts = &mut self.plan.borrow_mut().counts;
            counts.leases_taken += 1;
            if let Some(number) = instead_of {
                counts.leases_taken_once_more += 1;
                let before = self.leases.remove(number).expect("it is held");
                assert_eq!((before.id, before.port), (lease.id, lease.port));
            }
            assert_eq!(self.leases.insert(lease.number, lease.clone()), None);
        }
    }

    fn lease_over(&mut self, over: &LeaseOver) {
        let mut plan = self.plan.borrow_mut();
        let counts = &mut plan.counts;
        match &*over.reason {
            leases::reason::GIVEN_BACK => counts.leases_left_for_another_port += 1,
            leases::reason::DRIVER_FAILED => counts.leases_ended_by_breakdown += 1,
            _ => counts.leases_over += 1,
        }
        drop(plan);
        self.undo(&over.lease);
    }

    fn skipped(&mut self, skipped: Skipped<'_>) {
        let mut plan = self.plan.borrow_mut();
        match skipped.taken {
            Taken::Bytes(chunk) => {
                plan.counts.skipped_bytes += chunk.to - chunk.from;
                let stream = &mut self.ports[chunk.port.0];
                assert_eq!(stream.committed, chunk.from);
                assert_eq!(
                    skipped.bytes,
                    &stream.bytes[chunk.from as usize..chunk.to as usize]
                );
                stream.left_out = Some((chunk.from, chunk.to));
                if plan
                    .poison
                    .is_some_and(|(port, at)| port == chunk.port && at < chunk.to)
                {
                    plan.poison = None;
                }
            }
            Taken::Event(event) => {
                plan.counts.skipped_events += 1;
                match event {
                    Event::Timer(id) => {
                        plan.poison_timer = plan.poison_timer.filter(|poison| poison != id);
                        self.timers.remove(id);
                    }
                    Event::PortAttached { port, .. } => self.ports[port.0].attached = true,
                    Event::PortLost { port, .. } => self.ports[port.0].attached = false,
                    Event::Overrun { port, to, .. } => self.ports[port.0].committed = *to,
                    Event::Observed { slice, .. } => {
                        self.unheard.insert(Arc::clone(slice));
                    }
                    Event::LeaseEnded { id, .. } => {
                        plan.poison_lease = plan.poison_lease.filter(|poison| poison != id);
                        self.leases_unheard.insert(*id);
                    }
                    _ => {}
                }
                drop(plan);
                if let Some(former) = &mut self.former {
                    former.was_left_out(event);
                }
            }
        }
    }

    fn command_failed(&mut self, command: &Arc<Command>, _breakdown: &Breakdown) {
        self.plan.borrow_mut().counts.commands_failed += 1;
        assert!(
            self.open_commands.remove(&command.id),
            "{:?} fails twice",
            command.id
        );
    }

    fn life(&mut self, change: LifeChange<'_>) {
        if self.is_returning
            && let LifeChange::Started { lost_bytes, .. } = change
        {
            return self.came_back(lost_bytes);
        }
        let (newest, published) = {
            let plan = self.plan.borrow();
            (Rc::clone(&plan.newest), plan.newest_published)
        };
        if let LifeChange::Started { .. } = change {
            self.live = Rc::clone(&newest);
            let before = std::mem::replace(
                &mut self.live_observes,
                self.plan.borrow().newest_observes.clone(),
            );
            // A replay tells a version what it observes of that, whoever ran since the checkpoint. It is told of it anew.
            let is_observed_by_both = |slice: &str| {
                let observes = |slices: &[Arc<str>]| slices.iter().any(|name| **name == *slice);
                observes(&before) && observes(&self.live_observes)
            };
            let known = newest.borrow();
            let observed = &mut self.reference.memory.observed;
            observed.retain(|slice, _| is_observed_by_both(slice));
            let other = known
                .observed
                .iter()
                .filter(|(slice, _)| !is_observed_by_both(slice));
            observed.extend(other.map(|(slice, value)| (slice.clone(), value.clone())));
        }
        let counts = &mut self.plan.borrow_mut().counts;
        match change {
            LifeChange::CheckpointDropped { .. }
            | LifeChange::LastWordsLost { .. }
            | LifeChange::Stopped(_) => {}
            LifeChange::BrokeDown { .. } => {
                assert!(!self.is_successors, "a successor's breakdown is a refusal");
                assert!(self.leases.is_empty(), "nobody holds what is left");
                counts.breakdowns += 1;
            }
            LifeChange::Started {
                from_snapshot: false, ..
            } => {
                counts.cold_starts += 1;
                self.leases_unheard.clear();
                self.leases_unknown = false;
            }
            LifeChange::Started {
                reason,
                replayed_bytes,
                lost_bytes,
                ..
            } => {
                if reason == StartReason::Restart {
                    counts.bytes_replayed_in_restarts += replayed_bytes;
                }
                if published {
                    self.published_unseen = true;
                } else if lost_bytes == 0 && !self.published_unseen {
                    assert_eq!(self.slice, self.slice_before, "a start that publishes nothing");
                }
                if lost_bytes > 0 {
                    // The ring had dropped a part of the past, so the driver is another one now.
                    counts.replays_with_loss += 1;
                    self.reference.memory = newest.borrow().clone();
                    self.slice_is_behind = true;
                    self.timers_unknown = true;
                    self.leases_unknown = true;
                }
                assert_eq!(
                    *newest.borrow(),
                    self.reference.memory,
                    "what the driver remembers"
                );
                self.check_slice();
            }
        }
    }
}

fn assert_same(effects: &Effects, expected: &Effects) {
    assert_eq!(effects.operations, expected.operations);
    assert_eq!(effects.samples, expected.samples);
    assert_eq!(effects.port_actions, expected.port_actions);
    assert_eq!(effects.replies, expected.replies);
    assert_eq!(effects.timers, expected.timers);
    assert_eq!(effects.leases, expected.leases);
    assert_eq!(effects.status, expected.status);
    assert_eq!(effects.alarms, expected.alarms);
}
