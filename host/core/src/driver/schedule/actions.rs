//! What happens to the driver of a schedule.

use std::sync::Arc;

use super::super::leases::reason;
use super::super::*;
use super::guest::FOREIGN_SLICES;
use super::memory::{LEASES_USED, holder};
use super::{PORTS, Schedule};

impl Schedule {
    pub(super) fn act(&mut self) {
        let port = PortIndex(self.rng.below(PORTS as u64) as usize);
        match self.rng.below(100) {
            0..40 => self.push(port),
            40..70 => {
                for _ in 0..=self.rng.below(6) {
                    self.step();
                }
            }
            70..80 => {
                let us = [300, 3_000, 30_000, 1_200_000][self.rng.below(4) as usize];
                let us = self.rng.below(us);
                self.pass_time(us);
            }
            80..82 => self.plug(port),
            82..86 => self.command(),
            86 => self.cancel(),
            87 => self.settle(),
            88..90 => self.minor_event(port),
            90 => {
                let at = self.world.ports[port.0].bytes.len() as u64 + self.rng.below(100);
                self.world.plan.borrow_mut().poison.get_or_insert((port, at));
            }
            91 => {
                let id = TimerId(1 + self.rng.below(5) as u32);
                self.world.plan.borrow_mut().poison_timer.get_or_insert(id);
            }
            92 if self.rng.chance(300) => {
                let id = LeaseId(self.rng.below(LEASES_USED.into()) as u32);
                self.world.plan.borrow_mut().poison_lease.get_or_insert(id);
            }
            92 if self.rng.chance(100) => self.pass_time(70_000_000),
            93..96 => self.bring_back(),
            _ => self.swap(),
        }
    }

    pub(super) fn push(&mut self, port: PortIndex) {
        let most = if self.rng.chance(30) { 3_000 } else { 60 };
        let length = 1 + self.rng.below(most) as usize;
        let data: Vec<u8> = (0..length).map(|_| self.rng.next() as u8).collect();
        let lost = self.inbox.push_bytes(port, &data, self.now);
        let stream = &mut self.world.ports[port.0];
        stream.pushes.push((stream.bytes.len() as u64, self.now));
        stream.bytes.extend_from_slice(&data);
        if let Some(lost) = lost {
            stream.dropped_below = stream.dropped_below.max(lost.end);
        }
        let marks = self.inbox.marks(port).unwrap();
        assert_eq!(
            marks.head,
            stream.bytes.len() as u64,
            "byte numbers never restart"
        );
    }

    pub(super) fn plug(&mut self, port: PortIndex) {
        let plugged = &mut self.plugged[port.0];
        *plugged = !*plugged;
        let lost = match *plugged {
            true => self.inbox.attach(port, Arc::default()),
            false => self.inbox.lose(port, "unplugged"),
        };
        if let Some(lost) = lost {
            let stream = &mut self.world.ports[port.0];
            stream.dropped_below = stream.dropped_below.max(lost.end);
        }
    }

    pub(super) fn command(&mut self) {
        self.commands += 1;
        let id = CommandId(format!("c{}", self.commands).into());
        let command = Arc::new(Command {
            id: id.clone(),
            name: "press".to_owned(),
            arguments: "{}".to_owned(),
            actor: "a test".to_owned(),
            deadline_ns: None,
        });
        if self.inbox.command(command).is_ok() {
            self.world.open_commands.insert(id);
        }
    }

    pub(super) fn cancel(&mut self) {
        let index = self.rng.below(8) as usize;
        let Some(id) = self.world.open_commands.iter().nth(index).cloned() else {
            return;
        };
        if let Cancelled::BeforeDelivery(command) = self.inbox.cancel_command(&id, "changed my mind") {
            assert!(self.world.open_commands.remove(&command.id));
        }
    }

    pub(super) fn minor_event(&mut self, port: PortIndex) {
        match self.rng.below(10) {
            0 => self.inbox.line_error(port, "framing"),
            1 => self.inbox.transmit_drained(port),
            2 => {
                let settings: Arc<str> = format!("{{\"a\":{}}}", self.rng.below(1000)).into();
                self.cell.reconfigure(Arc::clone(&settings));
                if self.cell.status() != Status::Running
                    && let Some(former) = &mut self.world.former
                {
                    former.settings_changed(settings);
                }
            }
            3 => {
                let holder = holder(self.rng.below(LEASES_USED.into()) as u32);
                // One that it has ended before is held until the driver's next step.
                let ended = self.inbox.end_held(&holder, reason::CLIENT_GONE);
                assert!(ended.into_iter().all(|id| self.world.is_held(id)));
            }
            4 => assert!(self.inbox.other("news", "{}")),
            _ => self.change_foreign_slice(),
        }
    }

    fn change_foreign_slice(&mut self) {
        let slice: Arc<str> = FOREIGN_SLICES[self.rng.below(3) as usize].into();
        match self.rng.below(4) {
            0 => self.world.foreign.remove(&slice),
            value => self.world.foreign.insert(Arc::clone(&slice), value),
        };
        if self.world.watched.contains(&slice) {
            self.inbox.slice_changed(&slice);
        }
    }
}
