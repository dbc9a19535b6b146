//! Who asked what of whom, and until when. One line of the adapter's is under way at a time; the next one leaves when it was answered.
//!
//! A line that is not answered is sent again only where the PC takes it for nothing new when it comes twice: releases, modifiers, the pin. A key
//! that was pressed is never pressed again, because nobody knows whether the line or its answer was lost: the command fails, and says how far it
//! came. It is sent again where the adapter itself says that it has not understood, because then it has done nothing.

use std::collections::VecDeque;

use autobench_sdk::{Context, Outcome, Value, debug, info, iso_8601, warn};
use serde::{Deserialize, Serialize};

use crate::PORT;
use crate::keys::{Key, Verb};
use crate::protocol::{self, Message};
use crate::settings::{self, Plan};
use crate::state::{Fault, Operation, Phase, Power, Scope, State, Status};
use crate::work::{Ending, Job, Step, Unit};

/// The one timer. It may come early or late: what is due is decided by `Memory::deadline_ns`.
const TICK: u32 = 1;

/// A board that opening resets is deaf for 2 s.
const IDENTIFY_MS: u32 = 3000;
const QUESTIONS: u8 = 3;
/// How long to leave a board alone that does not answer.
const WAIT_MS: u32 = 5000;
/// How long to leave a line alone that takes nothing.
const FULL_MS: u32 = 100;
/// How long a key is guarded that a job holds, and how long before that is renewed.
const GUARD_MS: u32 = 60_000;
const RENEW_NS: u64 = 20_000_000_000;
/// How often a long job says how far it is.
const PROGRESS_NS: u64 = 500_000_000;
/// Strokes of all jobs together: a snapshot with them is well under its limit of 1 MiB.
const MOST_STROKES: usize = 8000;

pub(crate) type Cx<'a> = Context<'a, State>;

/// Where the conversation with the adapter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    /// The line is away.
    Away,
    /// Asked who it is.
    Identifying,
    /// Left alone for a while.
    Waiting,
    /// It takes commands.
    Ready,
}

/// What an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Expected {
    Done(Verb, u8),
    Power,
}

/// A step that waits for its answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Flight {
    step: Step,
    answers: VecDeque<Expected>,
    tries: u8,
}

/// What goes into a snapshot, next to the slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    stage: Stage,
    /// How many times it was asked who it is, without an answer.
    questions: u8,
    /// When the stage, the answer or the pause has lasted too long, on the monotonic clock.
    deadline_ns: u64,
    queue: VecDeque<Job>,
    running: Option<Job>,
    flight: Option<Flight>,
    /// Whether the next step waits for the deadline.
    pausing: bool,
    /// Keys that stay down after the command that asked for it, each with its lease.
    held: Vec<Key>,
    /// How many times in a row the line took nothing.
    refusals: u8,
    renewed_ns: u64,
    progress_ns: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            stage: Stage::Away,
            questions: 0,
            deadline_ns: 0,
            queue: VecDeque::new(),
            running: None,
            flight: None,
            pausing: false,
            held: Vec::new(),
            refusals: 0,
            renewed_ns: 0,
            progress_ns: 0,
        }
    }
}

pub(crate) struct Conversation {
    pub(crate) memory: Memory,
    pub(crate) plan: Plan,
}

/// Whether there is more to do at once.
enum After {
    GoOn,
    Wait,
}

impl Conversation {
    // --- the line ---

    /// Takes up what the memory says. An adapter that is being talked to is not identified again.
    pub(crate) fn go_on(&mut self, cx: &mut Cx<'_>, attached: bool) {
        match (self.memory.stage, attached) {
            (Stage::Away, true) => self.connect(cx),
            (Stage::Away, false) => cx.phase(Phase::Disconnected.name()),
            (_, false) => self.leave(cx, "it was away when the driver started"),
            (_, true) => {
                let phase = cx.slice().phase;
                cx.phase(phase.name());
                let waits = self.memory.stage != Stage::Ready || self.is_waiting();
                if waits && !cx.timer_runs(TICK) {
                    self.arm(cx);
                }
                self.pump(cx);
            }
        }
    }

    pub(crate) fn connect(&mut self, cx: &mut Cx<'_>) {
        let path = cx.identity(PORT).ok().map(|identity| identity.path);
        cx.edit().device_path = path;
        self.memory.questions = 0;
        self.change_phase(cx, Phase::Identifying, None);
        self.identify(cx);
    }

    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, reason: &str) {
        cx.cancel_timer(TICK);
        self.memory.stage = Stage::Away;
        let message = format!("the line is away: {reason}");
        self.give_up(cx, &message);
        self.note_error(cx, Scope::Open, &message);
        warn!(cx, "{message}");
        let state = cx.edit();
        state.device_path = None;
        state.power = Power::Unknown;
        state.lights = None;
        self.change_phase(cx, Phase::Disconnected, Some(message));
        self.show(cx);
    }

    fn identify(&mut self, cx: &mut Cx<'_>) {
        self.memory.questions += 1;
        self.memory.stage = Stage::Identifying;
        if let Err(error) = cx.write(PORT, protocol::IDENTIFY) {
            debug!(cx, "the adapter could not be asked who it is: {error}");
        }
        self.wait_ms(cx, IDENTIFY_MS);
    }

    /// It did not answer although it was asked more than once. What was asked of it is over; it is identified as if it had just come.
    fn start_over(&mut self, cx: &mut Cx<'_>, message: &str) {
        self.give_up(cx, message);
        self.note_error(cx, Scope::Protocol, message);
        warn!(cx, "{message}");
        self.memory.questions = 0;
        self.change_phase(cx, Phase::Identifying, Some(message.to_owned()));
        self.identify(cx);
    }

    fn fail_identification(&mut self, cx: &mut Cx<'_>, message: &str) {
        self.memory.stage = Stage::Waiting;
        if cx.slice().phase != Phase::Error {
            self.give_up(cx, message);
            self.note_error(cx, Scope::Identify, message);
            warn!(cx, "{message}; asking again every few seconds");
            self.change_phase(cx, Phase::Error, Some(message.to_owned()));
        }
        self.wait_ms(cx, WAIT_MS);
    }

    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        if self.memory.stage == Stage::Away {
            return;
        }
        if cx.monotonic_ns() < self.memory.deadline_ns {
            self.arm(cx);
            return;
        }
        match self.memory.stage {
            Stage::Away => {}
            Stage::Identifying if self.memory.questions < QUESTIONS => self.identify(cx),
            Stage::Identifying => self.fail_identification(
                cx,
                "no keyboard adapter answers; check the cable, and that the port is the adapter's",
            ),
            Stage::Waiting => {
                self.memory.questions = 0;
                self.identify(cx);
            }
            Stage::Ready if self.memory.flight.is_some() => self.miss_answer(cx),
            Stage::Ready => {
                self.memory.pausing = false;
                self.pump(cx);
            }
        }
        self.show(cx);
    }

    /// Deals with a line of the adapter's.
    pub(crate) fn hear(&mut self, cx: &mut Cx<'_>, line: &[u8]) {
        match protocol::read(line) {
            Message::Token => self.take_token(cx),
            Message::OtherToken(token) => {
                if let Stage::Identifying = self.memory.stage {
                    let message = format!("the board says {token}: it is no keyboard adapter");
                    self.fail_identification(cx, &message);
                }
            }
            Message::Done(verb, code) => self.take_answer(cx, Expected::Done(verb, code)),
            Message::NothingToDo(command) => self.take_refusal(cx, command),
            Message::Power(is_on) => {
                cx.edit().power = if is_on { Power::On } else { Power::Off };
                self.take_answer(cx, Expected::Power);
            }
            Message::PcTalks => cx.edit().power = Power::On,
            Message::PcReset => cx.edit().lights = None,
            Message::Lights(lights) => cx.edit().lights = Some(lights.into()),
            Message::Other => {}
        }
    }

    /// An answer that comes after its time is still one.
    fn take_token(&mut self, cx: &mut Cx<'_>) {
        let (Stage::Identifying | Stage::Waiting) = self.memory.stage else {
            return;
        };
        if let Err(error) = cx.write(PORT, protocol::COMPLETE) {
            debug!(cx, "the adapter could not be told that it is identified: {error}");
            return;
        }
        cx.cancel_timer(TICK);
        self.memory.stage = Stage::Ready;
        info!(cx, "the keyboard adapter is identified");
        cx.edit().last_error = None;
        self.change_phase(cx, Phase::Ready, None);
        self.pump(cx);
    }

    // --- commands ---

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
        let waiting = self.memory.queue.iter().chain(&self.memory.running);
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
        let mut job = settings::release_all(&self.memory.held);
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

    /// A lease is over without the driver: the key is up, or will be as soon as the line is back.
    pub(crate) fn lease_ended(&mut self, cx: &mut Cx<'_>, lease: u32, reason: &str) {
        let Some(key) = Key::all().find(|key| lease_of(*key) == lease) else {
            return;
        };
        self.memory.held.retain(|held| *held != key);
        if let Some(job) = &mut self.memory.running {
            job.let_go(key);
        }
        debug!(cx, "{key} is let go: {reason}");
        self.show(cx);
    }

    fn withdraw(&mut self, cx: &mut Cx<'_>, reason: &str, concerns: impl Fn(&Job) -> bool) -> usize {
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

    /// All that was asked of the adapter is over, because it is not there. What is held is let go by the host.
    fn give_up(&mut self, cx: &mut Cx<'_>, message: &str) {
        self.memory.flight = None;
        self.memory.pausing = false;
        self.memory.refusals = 0;
        let running = self.memory.running.take();
        if let Some(mut job) = running {
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

    // --- one step after the other ---

    fn is_waiting(&self) -> bool {
        self.memory.flight.is_some() || self.memory.pausing
    }

    /// Goes on until there is something to wait for, or nothing to do.
    fn pump(&mut self, cx: &mut Cx<'_>) {
        while self.memory.stage == Stage::Ready && !self.is_waiting() {
            let Some(mut job) = self.memory.running.take().or_else(|| self.begin()) else {
                break;
            };
            let Some(step) = job.next_step() else {
                self.finish(cx, job);
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

    fn begin(&mut self) -> Option<Job> {
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
                if let Err(error) = cx.acquire_lease(lease_of(key), PORT, &Step::Up(key).bytes(), ms) {
                    job.end(
                        Ending::Failed(format!("{key} cannot be held longer: {error}")),
                        None,
                    );
                }
                return After::GoOn;
            }
            Step::Down(key) => {
                if !self.guard(cx, job, key, GUARD_MS) {
                    return After::GoOn;
                }
                self.memory.renewed_ns = cx.monotonic_ns();
            }
            Step::Keep(key, ms) => {
                if !self.guard(cx, job, key, ms) {
                    return After::GoOn;
                }
            }
            Step::Up(key) => {
                let is_ours = job.down.contains(&key);
                job.down.retain(|down| *down != key);
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
        match step {
            Step::Down(key) => job.down.push(key),
            Step::Keep(key, _) => self.memory.held.push(key),
            _ => {}
        }
        self.await_answers(cx, step, 1);
        After::Wait
    }

    /// Leaves with the host what lets go of a key, before it goes down.
    fn guard(&self, cx: &mut Cx<'_>, job: &mut Job, key: Key, ms: u32) -> bool {
        let result = cx.acquire_lease(lease_of(key), PORT, &Step::Up(key).bytes(), ms);
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

    fn await_answers(&mut self, cx: &mut Cx<'_>, step: Step, tries: u8) {
        let pieces = step.pieces().into_iter();
        let mut answers: VecDeque<_> = pieces
            .map(|piece| Expected::Done(piece.verb, piece.code))
            .collect();
        if let Step::Power(_) = step {
            answers.push_back(Expected::Power);
        }
        self.memory.flight = Some(Flight { step, answers, tries });
        self.wait_ms(cx, self.plan.settings.reply_timeout_ms);
    }

    fn take_answer(&mut self, cx: &mut Cx<'_>, answer: Expected) {
        let Some(flight) = &mut self.memory.flight else {
            return;
        };
        // Answers to what the host has written by itself, and such as come late, are nobody's.
        if flight.answers.front() != Some(&answer) {
            return;
        }
        flight.answers.pop_front();
        if !flight.answers.is_empty() {
            return;
        }
        self.memory.flight = None;
        self.acknowledge(cx);
        let pacing_ms = self.plan.settings.pacing_ms;
        if pacing_ms > 0 {
            self.memory.pausing = true;
            self.wait_ms(cx, pacing_ms);
        } else {
            self.pump(cx);
        }
    }

    /// The first answer says that the adapter has taken the command.
    fn acknowledge(&mut self, cx: &mut Cx<'_>) {
        let Some(job) = self.memory.running.as_mut().filter(|job| !job.acknowledged) else {
            return;
        };
        job.acknowledged = true;
        if let Some(command) = &job.command {
            // One whose deadline has passed is over already.
            let _ = cx.acknowledge(command);
        }
    }

    /// The adapter has not understood, or has forgotten that it is identified. Either way it has done nothing.
    fn take_refusal(&mut self, cx: &mut Cx<'_>, command: &str) {
        if self.memory.stage != Stage::Ready {
            return;
        }
        let Some(flight) = self.memory.flight.take() else {
            return;
        };
        let bytes = flight.step.bytes();
        let is_whole = bytes
            .split(|byte| *byte == b'\n')
            .any(|line| line == command.as_bytes());
        if is_whole {
            self.take_back(flight.step);
            let message = "the adapter has been reset; identifying it again";
            warn!(cx, "{message}");
            self.memory.questions = 0;
            self.change_phase(cx, Phase::Identifying, Some(message.to_owned()));
            self.identify(cx);
        } else if flight.tries <= self.plan.settings.retries {
            self.send_again(cx, flight);
        } else {
            self.memory.flight = Some(flight);
        }
    }

    /// Nothing came of a step; it is the next one again. Its lease is taken once more then.
    fn take_back(&mut self, step: Step) {
        let Some(job) = &mut self.memory.running else {
            return;
        };
        job.put_back(step);
        match step {
            Step::Down(key) => job.down.retain(|down| *down != key),
            Step::Keep(key, _) => self.memory.held.retain(|held| *held != key),
            _ => {}
        }
    }

    fn miss_answer(&mut self, cx: &mut Cx<'_>) {
        let Some(flight) = self.memory.flight.take() else {
            return;
        };
        if flight.step.may_repeat() && flight.tries <= self.plan.settings.retries {
            self.send_again(cx, flight);
        } else if flight.step.may_repeat() {
            self.start_over(cx, "the adapter does not answer any more; identifying it again");
        } else {
            self.lose(cx, flight.step);
        }
    }

    fn send_again(&mut self, cx: &mut Cx<'_>, flight: Flight) {
        if let Err(error) = cx.write(PORT, &flight.step.bytes()) {
            debug!(cx, "a line could not be sent again: {error}");
        }
        self.await_answers(cx, flight.step, flight.tries + 1);
    }

    /// Nobody knows whether a key went down. It is let go, and the command ends.
    fn lose(&mut self, cx: &mut Cx<'_>, step: Step) {
        let Some(job) = &mut self.memory.running else {
            return;
        };
        let what = match job.unit {
            Unit::Characters => "the next one may have been typed",
            Unit::Strokes | Unit::One => "the key may have gone down",
        };
        let text = format!("the adapter did not answer{}; {what}", so_far(job));
        let last = match step {
            Step::Press(key) | Step::Keep(key, _) => Some(Step::Up(key)),
            _ => None,
        };
        job.end(Ending::Failed(text.clone()), last);
        self.note_error(cx, Scope::Protocol, &text);
        self.pump(cx);
    }

    fn finish(&mut self, cx: &mut Cx<'_>, job: Job) {
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
        let now = iso_8601(cx.wall_ms());
        let state = cx.edit();
        state.operation_history.push(operation(&job, status));
        state.updated_at = Some(now);
    }

    // --- what is seen ---

    /// Shows in the slice how it stands.
    pub(crate) fn show(&self, cx: &mut Cx<'_>) {
        let running = self.memory.running.as_ref();
        let state = cx.edit();
        state.busy = running.is_some();
        state.current_op = running.map(|job| operation(job, Status::Running));
        state.queue_depth = u32::try_from(self.memory.queue.len()).unwrap_or(u32::MAX);
        state.held_keys = self.memory.held.iter().map(|key| key.name().to_owned()).collect();
    }

    fn tell_progress(&mut self, cx: &mut Cx<'_>, job: &Job) {
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

    fn note_error(&self, cx: &mut Cx<'_>, scope: Scope, message: &str) {
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

    fn change_phase(&self, cx: &mut Cx<'_>, phase: Phase, message: Option<String>) {
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

    // --- time ---

    fn wait_ms(&mut self, cx: &mut Cx<'_>, ms: u32) {
        self.memory.deadline_ns = cx.monotonic_ns() + u64::from(ms) * 1_000_000;
        self.arm(cx);
    }

    fn arm(&self, cx: &mut Cx<'_>) {
        let remaining_ns = self.memory.deadline_ns.saturating_sub(cx.monotonic_ns());
        let after_ms = u32::try_from(remaining_ns.div_ceil(1_000_000)).unwrap_or(u32::MAX);
        if let Err(error) = cx.set_timer(TICK, after_ms) {
            warn!(
                cx,
                "no timer, so an adapter that is silent will not be noticed: {error}"
            );
        }
    }
}

/// The reason of an end that has none of its own.
fn say_why(cx: &mut Cx<'_>, job: &Job, reason: &str) {
    if let Some(command) = &job.command {
        let _ = cx.progress(command, reason, None);
    }
}

/// How much of a job was done, where that can be said.
fn so_far(job: &Job) -> String {
    match job.unit {
        Unit::One => String::new(),
        Unit::Characters | Unit::Strokes => format!("; {} were done", job.progress()),
    }
}

fn operation(job: &Job, status: Status) -> Operation {
    Operation {
        id: job.command.clone(),
        kind: job.name.clone(),
        status,
        created_at: iso_8601(job.created_ms as f64),
        requested_by: job.by.clone(),
        label: job.label.clone(),
    }
}

fn lease_of(key: Key) -> u32 {
    u32::from(key.number())
}

/// Times in a slice are whole milliseconds.
fn whole_ms(milliseconds: f64) -> u64 {
    milliseconds as u64
}
