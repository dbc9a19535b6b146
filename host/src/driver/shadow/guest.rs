//! An instance whose ports are there when it is told so: in a shadow run nothing is written, and a port is as it was then and not as it is now.

use std::sync::Arc;

use autobench_core::driver::{
    CallTime, Effects, Event, Fault, Guest, PortIdentity, Refusal, Snapshot, StartInput, StopReason,
};

use crate::driver::instance::Instance;
use crate::driver::offline::PlayedPort;

/// The instance and its ports.
pub(super) struct ShadowGuest {
    pub(super) instance: Instance,
    pub(super) ports: Vec<ShadowPort>,
}

/// A port, and what is known of its device until another one comes.
pub(super) struct ShadowPort {
    pub(super) port: Arc<PlayedPort>,
    pub(super) identity: Arc<PortIdentity>,
}

impl Guest for ShadowGuest {
    fn start(
        &mut self,
        input: &StartInput,
        time: CallTime,
        effects: &mut Effects,
    ) -> Result<Result<(), Refusal>, Fault> {
        for (port, state) in self.ports.iter().zip(&input.ports) {
            port.port
                .set_attached(state.attached.then(|| Arc::clone(&port.identity)));
        }
        self.instance.start(input, time, effects)
    }

    fn handle(&mut self, event: &Event<'_>, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        let (index, identity) = match event {
            Event::PortAttached { port, identity, .. } => (Some(port.0), Some(Arc::clone(identity))),
            Event::PortLost { port, .. } => (Some(port.0), None),
            _ => (None, None),
        };
        if let Some(port) = index.and_then(|index| self.ports.get(index)) {
            port.port.set_attached(identity);
        }
        self.instance.handle(event, time, effects)
    }

    fn snapshot(&mut self, time: CallTime) -> Result<Snapshot, Fault> {
        self.instance.snapshot(time)
    }

    fn observes(&self) -> &[Arc<str>] {
        self.instance.observes()
    }

    fn stop(&mut self, reason: StopReason, time: CallTime, effects: &mut Effects) -> Result<(), Fault> {
        self.instance.stop(reason, time, effects)
    }
}
