//! What is seen of the conversation: the slice, and how far a command is.

use autobench_sdk::iso_8601;

use super::{Conversation, Cx};
use crate::layout;
use crate::protocol;
use crate::state::{Fault, LayoutName, Operation, Phase, Scope, Status};
use crate::work::{Ending, Job, Unit};

/// How often a long job says how far it is.
const PROGRESS_NS: u64 = 500_000_000;

impl Conversation {
    /// Shows in the slice how it stands.
    pub(crate) fn show(&self, cx: &mut Cx<'_>) {
        let running = self.memory.running.as_ref();
        let state = cx.edit();
        state.busy = running.is_some();
        state.current_op = running.map(|job| operation(job, Status::Running));
        state.queue_depth = u32::try_from(self.memory.queue.len()).unwrap_or(u32::MAX);
        state.held_keys = self.memory.held.iter().map(|key| key.name().to_owned()).collect();
    }

    /// Shows in the slice what the settings have to choose from.
    pub(crate) fn show_choices(&self, cx: &mut Cx<'_>) {
        let settings = &self.plan.settings;
        cx.set_now(|state| {
            settings.layout.clone_into(&mut state.layout);
            state.layouts = layout::titles()
                .map(|(name, title)| LayoutName {
                    name: name.to_owned(),
                    title: title.to_owned(),
                })
                .collect();
            state.macros = settings.macros.keys().cloned().collect();
        });
    }

    pub(super) fn tell_progress(&mut self, cx: &mut Cx<'_>, job: &Job) {
        let now_ns = cx.monotonic_ns();
        if job.total < 2 || now_ns.saturating_sub(self.memory.progress_ns) < PROGRESS_NS {
            return;
        }
        self.memory.progress_ns = now_ns;
        if let Some(command) = &job.command {
            let share = f64::from(job.done) / f64::from(job.total);
            let _ = cx.progress(command, &job.progress(), Some(share));
        }
    }

    pub(super) fn note_error(&self, cx: &mut Cx<'_>, scope: Scope, message: &str) {
        let fault = Fault {
            at: iso_8601(cx.wall_ms()),
            scope,
            message: message.to_owned(),
            retryable: true,
        };
        let state = cx.edit();
        state.last_error = Some(fault.clone());
        state.error_history.push(fault);
    }

    pub(super) fn change_phase(&self, cx: &mut Cx<'_>, phase: Phase, message: Option<String>) {
        let now = iso_8601(cx.wall_ms());
        cx.phase(phase.name());
        cx.set_now(|state| {
            state.phase = phase;
            state.message = message;
            state.identified = phase == Phase::Ready;
            state.device_id = (phase == Phase::Ready).then(|| protocol::TOKEN.to_owned());
            state.updated_at = Some(now);
        });
    }
}

/// The reason of an end that has none of its own.
pub(super) fn say_why(cx: &mut Cx<'_>, job: &Job, reason: &str) {
    if let Some(command) = &job.command {
        let _ = cx.progress(command, reason, None);
    }
}

/// How much of a job was done, where that can be said.
pub(super) fn so_far(job: &Job) -> String {
    match job.unit {
        Unit::One => String::new(),
        Unit::Characters | Unit::Strokes => format!("; {} were done", job.progress()),
    }
}

pub(super) fn operation(job: &Job, status: Status) -> Operation {
    Operation {
        id: job.command.clone(),
        kind: job.name.clone(),
        status,
        created_at: iso_8601(job.created_ms as f64),
        requested_by: job.by.clone(),
        label: job.label.clone(),
        reason: match &job.ending {
            Some(Ending::Blocked(reason) | Ending::Failed(reason)) => Some(reason.clone()),
            Some(Ending::Cancelled) | None => None,
        },
    }
}
