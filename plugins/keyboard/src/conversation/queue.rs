//! What is asked of the adapter: whether it may wait, and its end when somebody withdraws it, the PC is off, or the adapter is gone.

use std::collections::VecDeque;

use autobench_sdk::{debug, info, whole_ms};

use super::report::{say_why, so_far};
use super::steps::lease_of;
use super::{Conversation, Cx, Stage};
use crate::settings;
use crate::state::Power;
use crate::work::{Ending, Job, Unit};

/// Strokes of all jobs together: a snapshot with them is well under its limit of 1 MiB.
const MOST_STROKES: usize = 8000;

impl Conversation {
    /// Puts a job into the queue, or says why not.
    pub(crate) fn take(&mut self, cx: &mut Cx<'_>, mut job: Job) -> Result<(), String> {
        if self.memory.stage != Stage::Ready {
            return Err(format!("the adapter is not ready: {}", cx.slice().phase.name()));
        }
        if job.is_input && cx.slice().power_sense == Power::Off {
            return Err("the PC is off, as the front panel says".to_owned());
        }
        if job.unit == Unit::Characters && cx.slice().lights.is_some_and(|lights| lights.caps) {
            return Err(
                "the PC has Caps Lock on, so the text would come out wrong; press CapsLock first".to_owned(),
            );
        }
        let most = self.plan.settings.queue_depth;
        if self.memory.queue.len() >= most {
            return Err(format!("the queue is full: {most} commands wait"));
        }
        let waiting = self
            .memory
            .queue
            .iter()
            .chain(&self.memory.running)
            .chain(&self.memory.aside);
        let strokes: usize = waiting.map(Job::size).sum();
        if strokes + job.size() > MOST_STROKES {
            return Err(format!(
                "{strokes} strokes wait already, and at most {MOST_STROKES} do"
            ));
        }
        job.created_ms = whole_ms(cx.wall_ms());
        self.memory.queue.push_back(job);
        self.pump(cx);
        self.show(cx);
        Ok(())
    }

    /// Lets go of everything, now.
    pub(crate) fn release_all(&mut self, cx: &mut Cx<'_>, command: &str, by: &str) -> Result<(), String> {
        if self.memory.stage != Stage::Ready {
            return Err(format!("the adapter is not ready: {}", cx.slice().phase.name()));
        }
        self.withdraw_all(cx, "everything is released");
        let doubtful = self.memory.doubts.keys();
        let also = doubtful.filter(|key| !self.memory.held.contains(key));
        let down: Vec<_> = self.memory.held.iter().copied().chain(also).collect();
        let mut job = settings::release_all(&down);
        job.command = Some(command.to_owned());
        by.clone_into(&mut job.by);
        self.take(cx, job)
    }

    /// Withdraws what is under way and what waits. Keys that are held stay so. The answer is how many commands that were.
    pub(crate) fn withdraw_all(&mut self, cx: &mut Cx<'_>, reason: &str) -> usize {
        self.withdraw(cx, reason, |_| true)
    }

    pub(crate) fn cancel(&mut self, cx: &mut Cx<'_>, command: &str, reason: &str) {
        self.withdraw(cx, reason, |job| job.command.as_deref() == Some(command));
    }

    /// The front panel says whether the PC has power.
    pub(crate) fn sense_power(&mut self, cx: &mut Cx<'_>, sense: Power) {
        if cx.slice().power_sense == sense {
            return;
        }
        cx.set_now(|state| state.power_sense = sense);
        if sense != Power::Off {
            return;
        }
        cx.edit().lights = None;
        self.memory.doubts.forget_all();
        let over = self.withdraw(cx, "the PC is off", |job| job.is_input);
        if over > 0 {
            info!(cx, "the PC is off: {over} commands are cancelled");
        }
        if !self.memory.held.is_empty() && self.memory.stage == Stage::Ready {
            let job = settings::release_held(&self.memory.held);
            if let Err(error) = self.take(cx, job) {
                debug!(cx, "keys stay held until their time is over: {error}");
            }
        }
        self.show(cx);
    }

    /// A lease is over without the driver.
    pub(crate) fn lease_ended(&mut self, cx: &mut Cx<'_>, lease: u32, reason: &str) {
        let Some(key) = self.doubt_release(cx, lease) else {
            return;
        };
        debug!(cx, "{key} is let go: {reason}");
        self.show(cx);
    }

    /// All that was asked of the adapter is over, because it is not there. What is held is let go by the host.
    pub(super) fn give_up(&mut self, cx: &mut Cx<'_>, message: &str) {
        self.memory.flight = None;
        self.memory.pausing = false;
        self.memory.refusals = 0;
        let under_way = [self.memory.running.take(), self.memory.aside.take()];
        for mut job in under_way.into_iter().flatten() {
            for key in std::mem::take(&mut job.down) {
                cx.release_lease(lease_of(key));
            }
            let text = format!("{message}{}", so_far(&job));
            job.end(Ending::Failed(text), None);
            self.finish(cx, job);
        }
        for mut job in std::mem::take(&mut self.memory.queue) {
            job.end(Ending::Blocked(message.to_owned()), None);
            self.finish(cx, job);
        }
        for key in std::mem::take(&mut self.memory.held) {
            cx.release_lease(lease_of(key));
        }
    }

    /// What the driver does by itself is not withdrawn.
    fn withdraw(&mut self, cx: &mut Cx<'_>, reason: &str, concerns: impl Fn(&Job) -> bool) -> usize {
        let concerns = |job: &Job| job.command.is_some() && concerns(job);
        let (over, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.memory.queue)
            .into_iter()
            .partition(&concerns);
        self.memory.queue = stay;
        let mut count = over.len();
        for mut job in over {
            job.end(Ending::Cancelled, None);
            say_why(cx, &job, reason);
            self.finish(cx, job);
        }
        if let Some(job) = &mut self.memory.aside
            && concerns(job)
            && job.ending.is_none()
        {
            job.end(Ending::Cancelled, None);
            say_why(cx, job, reason);
            count += 1;
        }
        if let Some(job) = self
            .memory
            .running
            .as_mut()
            .filter(|job| concerns(job) && job.ending.is_none())
        {
            job.end(Ending::Cancelled, None);
            say_why(cx, job, reason);
            count += 1;
            // A pause need not be waited for; an answer is, because the adapter does one thing at a time.
            self.memory.pausing = false;
            self.pump(cx);
        }
        self.show(cx);
        count
    }
}
