//! One step of a job after the other: the lease before a key goes down, the line to the adapter, and the next one when it was answered.

use autobench_sdk::{LeaseError, Outcome, Value, debug, iso_8601};

use super::report::{operation, so_far};
use super::{Conversation, Cx, Stage, TICK};
use crate::PORT;
use crate::keys::Key;
use crate::settings::RELEASE_DOUBTFUL;
use crate::state::{Scope, Status};
use crate::work::{Ending, Job, Step, Unit};

/// How long to leave a line alone that takes nothing.
const FULL_MS: u32 = 100;
/// How long a key is guarded that a job holds, and how long before that is renewed.
const GUARD_MS: u32 = 60_000;
const RENEW_NS: u64 = 20_000_000_000;

/// Whether there is more to do at once.
enum After {
    GoOn,
    Wait,
}

impl Conversation {
    /// Goes on until there is something to wait for, or nothing to do.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        while self.memory.stage == Stage::Ready && !self.is_waiting() {
            if let Some(key) = self.memory.doubts.unanswered() {
                // As if the driver had sent what the host has.
                self.await_answers(cx, Step::Up(key), 1);
                break;
            }
            let Some(mut job) = self.memory.running.take().or_else(|| self.begin()) else {
                break;
            };
            let Some(step) = job.next_step() else {
                let is_still_doubtful = job.name == RELEASE_DOUBTFUL && job.ending.is_some();
                self.finish(cx, job);
                if is_still_doubtful {
                    self.start_over(cx, "keys could not be let go; identifying the adapter again");
                }
                continue;
            };
            let after = self.carry_out(cx, &mut job, step);
            self.memory.running = Some(job);
            if let After::Wait = after {
                break;
            }
        }
        if self.memory.stage == Stage::Ready && !self.is_waiting() {
            cx.cancel_timer(TICK);
        }
    }

    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, job: Job) {
        let (status, outcome) = match &job.ending {
            None => {
                let count = (job.unit != Unit::One).then(|| Value::Integer(i64::from(job.done)));
                (Status::Completed, Outcome::Succeeded(count))
            }
            Some(Ending::Cancelled) => (Status::Cancelled, Outcome::Cancelled),
            Some(Ending::Blocked(text)) => (Status::Failed, Outcome::Blocked(text.clone())),
            Some(Ending::Failed(text)) => (Status::Failed, Outcome::Failed(text.clone())),
        };
        if let Some(command) = &job.command {
            // One whose deadline has passed is over already.
            let _ = cx.complete(command, &outcome);
        }
        self.finish_release(cx, &job);
        let now = iso_8601(cx.wall_ms());
        let state = cx.edit();
        state.operation_history.push(operation(&job, status));
        state.updated_at = Some(now);
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.memory.flight.is_some() || self.memory.pausing
    }

    fn begin(&mut self) -> Option<Job> {
        if let Some(job) = self.memory.aside.take() {
            return Some(job);
        }
        let mut job = self.memory.queue.pop_front()?;
        if let Some(key) = job.conflict(&self.memory.held) {
            job.end(Ending::Blocked(format!("{key} is held; release it first")), None);
        }
        Some(job)
    }

    fn carry_out(&mut self, cx: &mut Cx<'_>, job: &mut Job, step: Step) -> After {
        match step {
            Step::Mark(done) => {
                job.done = done;
                self.tell_progress(cx, job);
                return After::GoOn;
            }
            Step::Wait(ms) => {
                self.memory.pausing = true;
                self.wait_ms(cx, ms);
                return After::Wait;
            }
            Step::Keep(key, ms) if self.memory.held.contains(&key) => {
                // Held already: for so much longer.
                if let Err(error) = keep(cx, job, key, ms) {
                    job.end(
                        Ending::Failed(format!("{key} cannot be held longer: {error}")),
                        None,
                    );
                }
                return After::GoOn;
            }
            Step::Down(key) => {
                let guarded = cx.acquire_lease(lease_of(key), PORT, &Step::Up(key).bytes(), GUARD_MS);
                if !self.is_guarded(cx, job, key, guarded) {
                    return After::GoOn;
                }
                self.memory.renewed_ns = cx.monotonic_ns();
            }
            Step::Keep(key, ms) => {
                let guarded = keep(cx, job, key, ms);
                if !self.is_guarded(cx, job, key, guarded) {
                    return After::GoOn;
                }
            }
            Step::Up(key) => {
                let is_ours = job.down.contains(&key);
                job.down.retain(|down| *down != key);
                job.kept.retain(|kept| *kept != key);
                let is_held = self.memory.held.contains(&key);
                self.memory.held.retain(|held| *held != key);
                if is_ours || is_held {
                    // The host writes what undoes the hold.
                    cx.release_lease(lease_of(key));
                    self.await_answers(cx, step, 1);
                    return After::Wait;
                }
            }
            Step::Press(_) | Step::Say(_) | Step::Power(_) => self.renew(cx, job),
        }
        if let Err(error) = cx.write(PORT, &step.bytes()) {
            return self.hold_back(cx, job, step, &error.to_string());
        }
        self.memory.refusals = 0;
        self.memory.doubts.ask(Some(job), step);
        match step {
            Step::Down(key) => job.down.push(key),
            Step::Keep(key, _) => {
                job.kept.push(key);
                self.memory.held.push(key);
            }
            _ => {}
        }
        self.await_answers(cx, step, 1);
        After::Wait
    }

    /// Whether the host has what lets go of a key. If not, it does not go down.
    fn is_guarded(&self, cx: &mut Cx<'_>, job: &mut Job, key: Key, result: Result<(), LeaseError>) -> bool {
        if let Err(error) = &result {
            let text = format!("{key} cannot be held: {error}");
            self.note_error(cx, Scope::Hold, &text);
            job.end(Ending::Failed(text), None);
        }
        result.is_ok()
    }

    /// A long text may need Shift for longer than one lease.
    fn renew(&mut self, cx: &mut Cx<'_>, job: &Job) {
        let now_ns = cx.monotonic_ns();
        if now_ns.saturating_sub(self.memory.renewed_ns) < RENEW_NS {
            return;
        }
        self.memory.renewed_ns = now_ns;
        for key in &job.down {
            if let Err(error) = cx.acquire_lease(lease_of(*key), PORT, &Step::Up(*key).bytes(), GUARD_MS) {
                debug!(cx, "{key} is not guarded for longer: {error}");
            }
        }
    }

    /// The line takes nothing: nothing was sent, so the same is tried again in a while.
    fn hold_back(&mut self, cx: &mut Cx<'_>, job: &mut Job, step: Step, error: &str) -> After {
        if let Step::Down(key) | Step::Keep(key, _) = step {
            cx.release_lease(lease_of(key));
        }
        self.memory.refusals += 1;
        if self.memory.refusals > self.plan.settings.retries {
            self.memory.refusals = 0;
            let text = format!("the line takes nothing ({error}){}", so_far(job));
            self.note_error(cx, Scope::Write, &text);
            job.end(Ending::Failed(text), None);
            return After::GoOn;
        }
        job.put_back(step);
        self.memory.pausing = true;
        self.wait_ms(cx, FULL_MS);
        After::Wait
    }
}

/// The number of a key's lease.
pub(super) fn lease_of(key: Key) -> u32 {
    u32::from(key.number())
}

/// Leaves with the host what lets go of a key that stays down for as long as its client holds it.
fn keep(cx: &mut Cx<'_>, job: &Job, key: Key, ms: u32) -> Result<(), LeaseError> {
    let release = Step::Up(key).bytes();
    match &job.command {
        Some(command) => cx.acquire_lease_for(command, lease_of(key), PORT, &release, ms),
        None => cx.acquire_lease(lease_of(key), PORT, &release, ms),
    }
}
