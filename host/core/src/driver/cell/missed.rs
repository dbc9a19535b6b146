//! What the predecessor of a version is told when it comes back and does not know what happened meanwhile: not each thing, but how things are now.
//!
//! Of each port a gap from where it had been given bytes until now, with the border in it if the line was another one; the settings; and that the commands
//! that were under way are nothing to wait for.

use std::sync::Arc;

use crate::driver::inbox::Taken;
use crate::driver::journal::Journal;
use crate::driver::{CallTime, Command, Event, PortIndex};

/// What was told of each port, and of the settings, in short. As large as there are ports.
#[derive(Debug, Default)]
pub(super) struct Outline {
    ports: Vec<PortOutline>,
    settings: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct PortOutline {
    /// The last border.
    border: Option<Event<'static>>,
}

/// Where a port was at the flip, and where it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Up to there the predecessor had been given bytes.
    pub(super) from: u64,
    /// Up to there its successor was.
    pub(super) to: u64,
    /// Whether the device was there, as far as it had been told.
    pub(super) was_attached: bool,
}

impl Outline {
    /// Its successor was told this.
    pub(super) fn note(&mut self, taken: &Taken) {
        match taken {
            Taken::Event(event @ (Event::PortAttached { port, .. } | Event::PortLost { port, .. })) => {
                if self.ports.len() <= port.0 {
                    self.ports.resize_with(port.0 + 1, PortOutline::default);
                }
                if let Some(outline) = self.ports.get_mut(port.0) {
                    outline.border = Some(event.clone());
                }
            }
            Taken::Event(Event::Settings(settings)) => self.settings = Some(Arc::clone(settings)),
            _ => {}
        }
    }

    /// All of it, as events at this time. `commands` were under way at the flip.
    pub(super) fn told(&self, commands: &[Arc<Command>], ways: &[Way], time: CallTime, why: &str) -> Journal {
        let mut journal = Journal::default();
        for command in commands {
            let event = Event::CommandCancelled {
                id: command.id.clone(),
                reason: why.into(),
                is_over: true,
            };
            journal.push(Taken::Event(event), 0, time, false);
        }
        for (index, way) in ways.iter().enumerate() {
            let port = PortIndex(index);
            let mut push = |event: Event<'static>, offset: u64| {
                journal.push(Taken::Event(event), offset, time, false);
            };
            let gap = |from: u64, to: u64| Event::Overrun {
                port,
                from,
                to,
                reason: why.into(),
            };
            let border = self.ports.get(index).and_then(|outline| outline.border.as_ref());
            let border_at = match border {
                Some(&Event::PortAttached { offset, .. }) => offset.clamp(way.from, way.to),
                _ => way.to,
            };
            if way.from < border_at {
                push(gap(way.from, border_at), border_at);
            }
            if let (Some(_), true) = (border, way.was_attached) {
                let reason = why.into();
                push(Event::PortLost { port, reason }, border_at);
            }
            if let Some(attached @ Event::PortAttached { .. }) = border {
                push(attached.clone(), border_at);
            }
            if border_at < way.to {
                push(gap(border_at, way.to), way.to);
            }
        }
        if let Some(settings) = &self.settings {
            journal.push(
                Taken::Event(Event::Settings(Arc::clone(settings))),
                0,
                time,
                false,
            );
        }
        journal
    }
}
