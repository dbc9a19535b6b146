//! `autobench send`: one command to one device, and what becomes of it.

mod arguments;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use autobench_core::commands::{RENEW_MS, Stage};
use autobench_core::wire::CommandStatus;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use self::arguments::{command_arguments, description};
use super::link::Link;
use super::target::Target;
use super::watch::{Away, connect};
use super::{Failure, SendArguments, usage};

/// How much longer than the command itself its end is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the daemon may take to say how the bench is, and to take the command.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Names of the messages of this connection.
const MESSAGE_ID: &str = "send";
const RENEWAL_ID: &str = "renew";
const END_ID: &str = "end";

const UNTOLD: &str = "the daemon does not say in time what became of the command";

/// The command was not taken.
const REFUSED: u8 = 3;

pub(super) fn send(arguments: &SendArguments, token: Option<&str>, json: bool) -> Result<ExitCode, Failure> {
    let token = usage::token(arguments.token_file.as_deref(), token)?;
    let target = Target::parse(&arguments.url)?.with_token(token.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let code = runtime.block_on(run(&target, arguments, json, &mut std::io::stdout()))?;
    Ok(ExitCode::from(code))
}

async fn run(
    target: &Target,
    arguments: &SendArguments,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<u8> {
    let mut link = Link::new(connect(target).await.map_err(Away::into_error)?);
    let state = within(ANSWER_WAIT, "the daemon does not say how the bench is", async {
        loop {
            let message = link.receive().await?;
            match kind(&message) {
                "state.snapshot" => return Ok(message.get("data").cloned().unwrap_or_default()),
                "welcome" if message.get("authRequired").and_then(Value::as_bool) == Some(true) => {
                    bail!("the daemon wants a token; give one with --token-file, or in AUTOBENCH_TOKEN")
                }
                _ => {}
            }
        }
    })
    .await?;
    let command = description(&state, arguments);
    let schema = command.and_then(|command| command.get("argumentsSchema"));
    let is_hold = command.and_then(|command| command.get("hold")) == Some(&Value::Bool(true));
    let args = match command_arguments(arguments, schema) {
        Ok(args) => args,
        Err(problem) => {
            eprintln!("autobench: {problem}");
            return Ok(2);
        }
    };
    if command.is_some() && !is_hold && arguments.hold_for.is_some() {
        eprintln!(
            "autobench: --hold-for: {:?} of {} holds nothing",
            arguments.command, arguments.device
        );
        return Ok(2);
    }
    if is_hold && arguments.key.is_some() {
        eprintln!(
            "autobench: --key: what {:?} of {} begins is held by this connection alone, so sending it again would hold nothing",
            arguments.command, arguments.device
        );
        return Ok(2);
    }
    let deadline_ms = arguments.timeout_s.map(|seconds| (seconds * 1e3).ceil() as u64);
    let mut message = json!({
        "type": "command",
        "id": MESSAGE_ID,
        "device": arguments.device,
        "name": arguments.command,
        "args": args,
    });
    if let Some(members) = message.as_object_mut() {
        members.extend(
            arguments
                .key
                .clone()
                .map(|key| ("idempotencyKey".to_owned(), key.into())),
        );
        members.extend(deadline_ms.map(|deadline| ("deadlineMs".to_owned(), deadline.into())));
    }
    // Asked for before anything is held, so that there is no moment in which an interrupt would lose it.
    let hold = match is_hold {
        true => Some(Holding::new(arguments.hold_for).context("cannot wait for interrupts")?),
        false => None,
    };
    link.send(&message).await.context("the command cannot be sent")?;
    let longest = Duration::from_millis(deadline_ms.unwrap_or(autobench_core::commands::DEADLINE_DEFAULT_MS));
    let following = Following {
        link,
        waits: arguments.wait || is_hold,
        json,
        out,
        command: None,
        patience: Some(Instant::now() + longest + PATIENCE),
    };
    match hold {
        None => following.until_over().await,
        Some(hold) => following.holding(hold).await,
    }
}

/// A command that is on its way, and who is told of it.
struct Following<'a, W> {
    link: Link,
    waits: bool,
    json: bool,
    out: &'a mut W,
    /// Its id, once it is taken.
    command: Option<String>,
    /// Until when the daemon has to say something.
    patience: Option<Instant>,
}

/// What a message says of the command.
enum Told {
    /// Nothing that matters.
    Nothing,
    /// It goes on.
    Stage,
    /// It is over, or was not taken.
    Over(u8),
    /// What it began is held no more; so said to this message.
    Unheld(&'static str),
}

impl<W: Write> Following<'_, W> {
    /// Prints stages until the last, or until the command is taken. The answer is the exit code.
    async fn until_over(mut self) -> anyhow::Result<u8> {
        loop {
            let told = tokio::select! {
                message = self.link.receive() => self.told(message?)?,
                () = until(self.patience) => bail!(UNTOLD),
            };
            match told {
                Told::Over(code) => return Ok(code),
                Told::Stage if !self.waits => return Ok(0),
                Told::Stage | Told::Nothing | Told::Unheld(_) => {}
            }
        }
    }

    /// Holds from when the command is taken until it is to let go, or until nothing is held any more.
    async fn holding(mut self, mut hold: Holding) -> anyhow::Result<u8> {
        loop {
            let told = tokio::select! {
                message = self.link.receive() => self.told(message?)?,
                () = until(self.patience) => bail!(UNTOLD),
                due = hold.due(), if !hold.is_let_go => {
                    match (due, &self.command) {
                        (Due::Renewal, None) => {}
                        (Due::Renewal, Some(_)) => self.ask("lease.renew", RENEWAL_ID).await?,
                        // Nothing is held yet; whatever becomes of the command ends with this connection.
                        (Due::End, None) => return Ok(exit_code(Stage::Cancelled)),
                        (Due::End, Some(_)) => {
                            self.ask("lease.end", END_ID).await?;
                            hold.is_let_go = true;
                            self.patience = Some(Instant::now() + ANSWER_WAIT);
                        }
                    }
                    continue;
                }
            };
            match told {
                // Let go, or ended by something else, before its last stage was told.
                Told::Over(0) if hold.is_over => return Ok(self.ended(&hold)),
                Told::Over(0) if hold.is_let_go => hold.is_held = true,
                Told::Over(0) => {
                    hold.begin();
                    self.patience = None;
                    self.remark(
                        "held",
                        "held until interrupted, or until its longest time is over",
                    );
                }
                Told::Over(code) => return Ok(code),
                Told::Unheld(RENEWAL_ID) if hold.is_let_go => {}
                Told::Unheld(_) if hold.is_held => return Ok(self.ended(&hold)),
                // Its last stage says what became of the command.
                Told::Unheld(_) => {
                    hold.is_over = true;
                    self.patience = Some(Instant::now() + ANSWER_WAIT);
                }
                Told::Stage | Told::Nothing => {}
            }
        }
    }

    /// Says how a hold ended that has begun. The answer is the exit code.
    fn ended(&mut self, hold: &Holding) -> u8 {
        if hold.is_let_go {
            self.remark("released", "let go");
            return 0;
        }
        self.remark(
            "over",
            "nothing is held any more: its longest time is over, or something else ended it",
        );
        match hold.longest {
            Some(_) => exit_code(Stage::Expired),
            None => 0,
        }
    }

    fn told(&mut self, message: Value) -> anyhow::Result<Told> {
        let word = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
        match (kind(&message), word("id")) {
            ("error", MESSAGE_ID) => {
                if self.json {
                    let refused =
                        json!({"event": "refused", "code": word("code"), "message": word("message")});
                    say(self.out, &refused.to_string());
                }
                eprintln!("autobench: refused, {}: {}", word("code"), word("message"));
                return Ok(Told::Over(REFUSED));
            }
            // A client that says too much is told so, and goes on: the next renewal is in time.
            ("error", RENEWAL_ID) if word("code") == "unknown-lease" => return Ok(Told::Unheld(RENEWAL_ID)),
            ("ack" | "error", END_ID) => return Ok(Told::Unheld(END_ID)),
            ("ack", MESSAGE_ID) => self.command = Some(word("commandId").to_owned()),
            ("command_status", _) if Some(word("commandId")) == self.command.as_deref() => {
                let status: CommandStatus = serde_json::from_value(message)
                    .context("the daemon says something else than this autobench knows")?;
                let line = if self.json {
                    let mut value = serde_json::to_value(&status)?;
                    if let Some(members) = value.as_object_mut() {
                        members.insert("event".to_owned(), "command".into());
                    }
                    value.to_string()
                } else {
                    described(&status)
                };
                say(self.out, &line);
                return Ok(match status.status.is_final() {
                    true => Told::Over(exit_code(status.status)),
                    false => Told::Stage,
                });
            }
            _ => {}
        }
        Ok(Told::Nothing)
    }

    async fn ask(&self, what: &str, id: &str) -> anyhow::Result<()> {
        let message = json!({"type": what, "id": id, "commandId": self.command});
        self.link.send(&message).await
    }

    /// Something that is no stage of the command.
    fn remark(&mut self, event: &str, words: &str) {
        match self.json {
            true => say(
                self.out,
                &json!({"event": event, "commandId": self.command}).to_string(),
            ),
            false => eprintln!("autobench: {words}"),
        }
    }
}

/// What is to be said of a hold.
enum Due {
    /// That it goes on.
    Renewal,
    /// That it ends.
    End,
}

/// How long something is held, and when that is said again.
struct Holding {
    interrupt: Signal,
    terminate: Signal,
    renewals: Interval,
    longest: Option<Duration>,
    /// When it is let go, from when it is held.
    ends: Option<Instant>,
    /// The command has succeeded.
    is_held: bool,
    is_let_go: bool,
    /// Nothing is held any more, and the command's last stage has not been told.
    is_over: bool,
}

impl Holding {
    fn new(hold_for: Option<f64>) -> anyhow::Result<Self> {
        let mut renewals = tokio::time::interval(Duration::from_millis(RENEW_MS));
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            renewals,
            longest: hold_for.map(Duration::from_secs_f64),
            ends: None,
            is_held: false,
            is_let_go: false,
            is_over: false,
        })
    }

    fn begin(&mut self) {
        self.is_held = true;
        self.ends = self.longest.map(|longest| Instant::now() + longest);
    }

    async fn due(&mut self) -> Due {
        tokio::select! {
            _ = self.interrupt.recv() => Due::End,
            _ = self.terminate.recv() => Due::End,
            () = until(self.ends) => Due::End,
            _ = self.renewals.tick() => Due::Renewal,
        }
    }
}

/// Ends at this moment; without one never.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Nobody reads any more, for example behind `head`: the command goes on, and the exit code still tells.
fn say(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

const fn exit_code(stage: Stage) -> u8 {
    match stage {
        Stage::Queued | Stage::Sent | Stage::Acked | Stage::Succeeded => 0,
        Stage::Failed => 1,
        Stage::Blocked => 4,
        Stage::Expired => 5,
        Stage::Cancelled => 6,
    }
}

/// One stage in one line for a person.
fn described(status: &CommandStatus) -> String {
    let newest = [&status.completed_at, &status.acked_at, &status.sent_at];
    let at = newest.into_iter().flatten().next().unwrap_or(&status.queued_at);
    let mut line = format!(
        "{at}  {:<9}  {} {} ({})",
        status.status, status.device, status.name, status.command_id
    );
    if let Some(reason) = &status.reason {
        line.push_str(&format!(": {reason}"));
    } else if let Some(value) = &status.actual_value {
        line.push_str(&format!(": {value}"));
    } else if let Some(progress) = status.progress.as_ref().filter(|_| !status.status.is_final()) {
        let share = progress.share.map(|share| format!(" {:.0} %", share * 100.0));
        line.push_str(&format!(": {}{}", progress.message, share.unwrap_or_default()));
    }
    line
}

// --- the socket ---

async fn within<T>(
    duration: Duration,
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    match tokio::time::timeout(duration, work).await {
        Ok(done) => done,
        Err(_) => bail!("{what} within {} s", duration.as_secs()),
    }
}

fn kind(message: &Value) -> &str {
    message.get("type").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_exit_code() {
        let codes = [
            Stage::Succeeded,
            Stage::Failed,
            Stage::Blocked,
            Stage::Expired,
            Stage::Cancelled,
        ]
        .map(exit_code);
        assert_eq!(codes, [0, 1, 4, 5, 6]);
    }
}
