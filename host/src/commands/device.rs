//! What a driver's thread tells the router of its device's commands.

use autobench_core::commands::{Ending, Stage};
use autobench_core::driver::{Breakdown, CallTime, Command, CommandId, CommandReply};

use super::DeviceCommands;

impl DeviceCommands {
    /// The driver's call with a command has returned.
    pub fn sent(&self, command: &Command, now: CallTime) {
        let mut inner = self.router.shared.inner.lock();
        if let Some(change) = inner.book.sent(&command.id, now) {
            self.router.shared.publish(&mut inner, change);
        }
    }

    /// The driver answers.
    pub fn replies(&self, replies: impl Iterator<Item = CommandReply>, now: CallTime) {
        let mut inner = self.router.shared.inner.lock();
        for reply in replies {
            if let Some(change) = inner.book.reply(&reply, now) {
                self.router.shared.publish_of(&mut inner, change, true);
            }
        }
    }

    /// The driver's call with a command broke down: it had no effect.
    pub fn broke_down(&self, command: &Command, breakdown: &Breakdown) {
        let mut inner = self.router.shared.inner.lock();
        let reason = format!("broke-down: the driver broke down over it, without effect: {breakdown}");
        self.router
            .shared
            .end(&mut inner, &command.id, Ending::Failed, &reason);
    }

    /// The driver starts without memory of what it had been sent. It goes on with what it has answered in its start; how the rest ended
    /// nobody will know.
    pub fn forgotten(&self, answered: &[CommandId]) {
        let shared = &self.router.shared;
        let mut inner = shared.inner.lock();
        for (id, stage) in inner.book.under_way(&self.device) {
            if stage == Stage::Queued || answered.contains(&id) {
                continue;
            }
            if let Some(inbox) = inner.inbox(&self.device) {
                inbox.forget_command(&id);
            }
            let reason = "unknown-outcome: the driver started again without memory of the command";
            shared.end(&mut inner, &id, Ending::Failed, reason);
        }
    }

    /// The driver is down and is not started again by itself, or is gone.
    pub fn down(&self, why: &str, is_gone: bool) {
        let shared = &self.router.shared;
        let mut inner = shared.inner.lock();
        for (id, stage) in inner.book.under_way(&self.device) {
            if let Some(inbox) = inner.inbox(&self.device) {
                // Should it be started again, it is told that nobody waits for this one any more.
                inbox.expire_command(&id, why);
            }
            let reason = match stage {
                Stage::Queued => format!("not-sent: {why}"),
                _ => format!("unknown-outcome: {why}"),
            };
            shared.end(&mut inner, &id, Ending::Failed, &reason);
        }
        if is_gone {
            inner.holds.device_gone(&self.device);
            if let Some(device) = inner.devices.get_mut(&self.device) {
                device.driver = None;
            }
        }
    }
}
