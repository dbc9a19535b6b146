//! Answers to commands.

use autobench_core::driver as core;

use crate::driver::bindings::autobench::driver::{commands, types};
use crate::driver::convert;
use crate::driver::host_state::HostState;

/// Largest outcome of a command: it is kept as long as the command can be looked up.
const OUTCOME_LIMIT_BYTES: usize = 4 << 10;

impl commands::Host for HostState {
    fn acknowledge(&mut self, id: String) -> wasmtime::Result<Result<(), commands::CommandError>> {
        self.charge(id.len())?;
        Ok(self.reply(&id, |id| Ok(core::CommandReply::Acknowledge { id })))
    }

    fn progress(
        &mut self,
        id: String,
        message: String,
        share: Option<f64>,
    ) -> wasmtime::Result<Result<(), commands::CommandError>> {
        self.charge(id.len() + message.len())?;
        Ok(self.reply(&id, |id| match share {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(commands::CommandError::InvalidValue(
                format!("the share {share} is not within 0 and 1"),
            )),
            _ => Ok(core::CommandReply::Progress { id, message, share }),
        }))
    }

    fn complete(
        &mut self,
        id: String,
        outcome: commands::Outcome,
    ) -> wasmtime::Result<Result<(), commands::CommandError>> {
        let bytes = outcome_bytes(&outcome);
        self.charge(id.len() + bytes)?;
        Ok(self.reply(&id, |id| {
            if bytes > OUTCOME_LIMIT_BYTES {
                return Err(commands::CommandError::InvalidValue(format!(
                    "the outcome has {bytes} bytes; at most {OUTCOME_LIMIT_BYTES} are taken"
                )));
            }
            let outcome = convert::outcome(outcome).map_err(commands::CommandError::InvalidValue)?;
            Ok(core::CommandReply::Complete { id, outcome })
        }))
    }
}

impl HostState {
    fn reply(
        &mut self,
        id: &str,
        reply: impl FnOnce(core::CommandId) -> Result<core::CommandReply, commands::CommandError>,
    ) -> Result<(), commands::CommandError> {
        if self.rights().is_none() {
            return Err(commands::CommandError::NotGranted);
        }
        let id = core::CommandId(id.into());
        if !self.own.commands.contains(&id) {
            return Err(commands::CommandError::UnknownCommand);
        }
        let reply = reply(id)?;
        if let core::CommandReply::Complete { id, .. } = &reply {
            self.own.commands.remove(id);
        }
        self.effects.replies.push(reply);
        Ok(())
    }
}

fn outcome_bytes(outcome: &commands::Outcome) -> usize {
    match outcome {
        commands::Outcome::Succeeded(Some(types::Value::Text(text) | types::Value::Json(text)))
        | commands::Outcome::Failed(text)
        | commands::Outcome::Blocked(text) => text.len(),
        commands::Outcome::Succeeded(_) | commands::Outcome::Cancelled => 0,
    }
}
