//! The router with a driver made of plain code on the other side of the inbox.

use std::path::Path;
use std::sync::Arc;

use autobench_core::commands::Refused;
use autobench_core::driver::{CommandReply, Event, Outcome, Taken};
use autobench_core::state::Store;
use autobench_core::wire::{AppState, CommandRequest, DeviceEntry, DeviceStatus, ErrorCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::router::{canonical, fingerprint};
use super::*;
use crate::access::{Audit, Guard};
use crate::config::{AuthConfig, LogConfig};
use crate::driver::manifest::CommandDescription;
use crate::http::{HttpConfig, Server};
use crate::hub::HubConfig;
use crate::serial::{ABANDONED_NS, AFTERMATH_NS};
use crate::state::{StateConfig, StateHandle};

mod waiting;

struct Bench {
    state: StateHandle,
    logs: LogHandle,
    hub: Hub,
    commands: Commands,
    record: DeviceRecord,
    inbox: SharedInbox,
    answers: DeviceCommands,
    withholding: Arc<Withholding>,
    clock: Clock,
}

fn bench(data_dir: &Path, boot_id: &str) -> Bench {
    bench_with(data_dir, boot_id, |_| Guard::open())
}

fn bench_with(data_dir: &Path, boot_id: &str, guard: impl FnOnce(LogHandle) -> Guard) -> Bench {
    let state = StateHandle::start(
        Store::new(&AppState::default()).unwrap(),
        StateConfig::new(boot_id),
    );
    let logs = LogHandle::new(LogConfig::silent(100));
    let config = HubConfig {
        guard: guard(logs.clone()),
        ..HubConfig::default()
    };
    let hub = Hub::start(config, state.clone(), logs.clone());
    let clock = Clock::start();
    let commands = Commands::start(data_dir, boot_id, clock, logs.clone(), hub.clone()).unwrap();
    hub.serve_commands(commands.router());
    let entry = DeviceEntry {
        kind: "relay".into(),
        plugin: "relay".into(),
        slice: "relay".into(),
        status: DeviceStatus::Running,
        reason: None,
        phase: Some("ready".into()),
        driver: None,
        ports: Default::default(),
        series: Default::default(),
        last_seen: None,
        stale_since: None,
    };
    let record = DeviceRecord::publish(state.clone(), "relay", entry);
    let describe = |name: &str, dangerous| CommandDescription {
        name: name.to_owned(),
        description: String::new(),
        arguments_schema: json!({"type": "object", "properties": {"ms": {"type": "integer"}, "quietly": {"type": "boolean"}}, "additionalProperties": false}),
        dangerous,
        hold: name == "hold",
        secret_when: Some("quietly".to_owned()),
    };
    let table = CommandTable::compile(&[describe("on", false), describe("explode", true)]).unwrap();
    let inbox = SharedInbox::new([]);
    let withholding = Arc::<Withholding>::default();
    let router = commands.router();
    router.add_device("relay", record.clone(), &[]);
    router.attach("relay", inbox.clone(), Arc::new(table), Arc::clone(&withholding));
    let answers = router.of_device(&"relay".into());
    Bench {
        state,
        logs,
        hub,
        record,
        inbox,
        answers,
        withholding,
        clock,
        commands,
    }
}

fn request(value: Value) -> CommandRequest {
    CommandRequest::read(value.as_object().unwrap()).unwrap()
}

impl Bench {
    fn submit(&self, value: Value) -> Result<CommandStatus, Refused> {
        self.commands
            .router()
            .submit(request(value), "local", None, |_| ())
    }

    fn code(&self, value: Value) -> (ErrorCode, String) {
        let refused = self.submit(value).unwrap_err();
        (refused.code, refused.message)
    }

    /// The next event of the driver, whose call returns without a word.
    fn take(&self) -> Event<'static> {
        loop {
            let taken = self.inbox.with(|inbox| {
                let taken = inbox.take(0, &mut Vec::new())?;
                inbox.settle(&taken, &[], &[]).unwrap();
                Some(taken)
            });
            match taken {
                Some(Taken::Event(event)) => {
                    if let Event::Command(command) = &event {
                        self.answers.sent(command, self.clock.now());
                    }
                    return event;
                }
                Some(other) => panic!("{other:?}"),
                None => self.inbox.wait(Some(Duration::from_secs(20))),
            }
        }
    }

    fn take_command(&self) -> Arc<Command> {
        match self.take() {
            Event::Command(command) => command,
            other => panic!("{other:?}"),
        }
    }

    fn reply(&self, reply: CommandReply) {
        self.inbox
            .with(|inbox| inbox.apply_replies(std::slice::from_ref(&reply)));
        self.answers.replies([reply].into_iter(), self.clock.now());
    }

    fn succeed(&self, id: &str) {
        self.reply(CommandReply::Complete {
            id: CommandId(id.into()),
            outcome: Outcome::Succeeded(None),
        });
    }

    fn status(&self, id: &str) -> CommandStatus {
        self.commands.router().status(id).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_code_and_reaches_no_driver() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    for (value, code, word) in [
        (
            json!({"device": "lamp", "name": "on"}),
            ErrorCode::UnknownDevice,
            "relay",
        ),
        (
            json!({"device": "relay", "name": "off"}),
            ErrorCode::UnknownCommand,
            "explode, on",
        ),
        (
            json!({"device": "relay", "name": "on", "args": {"ms": "5"}}),
            ErrorCode::BadArguments,
            "/ms",
        ),
        (
            json!({"device": "relay", "name": "explode"}),
            ErrorCode::NotGranted,
            "dangerous-commands",
        ),
        (
            json!({"device": "relay", "name": "on", "deadlineMs": 0}),
            ErrorCode::BadDeadline,
            "3600000",
        ),
        (
            json!({"device": "relay", "name": "on", "idempotencyKey": ""}),
            ErrorCode::BadKey,
            "200",
        ),
    ] {
        let (refused, message) = bench.code(value.clone());
        assert_eq!(refused, code, "{value}");
        assert!(message.contains(word), "{value}: {message}");
    }
    bench.record.change(|entry| {
        entry.status = DeviceStatus::Quarantined;
        entry.reason = Some("it trapped".to_owned());
    });
    let (code, message) = bench.code(json!({"device": "relay", "name": "on"}));
    assert_eq!(code, ErrorCode::NotReady);
    assert!(
        ["quarantined", "ready", "it trapped"]
            .iter()
            .all(|word| message.contains(word)),
        "{message}"
    );
    let refused = bench
        .commands
        .router()
        .cancel("01234567-99", "local")
        .unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownCommandId);
    assert_eq!(bench.commands.router().recent(), []);
    assert_eq!(bench.inbox.with(|inbox| inbox.take(0, &mut Vec::new())), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_goes_to_its_driver_and_its_answer_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    let queued = bench
        .submit(json!({"device": "relay", "name": "on", "args": {"ms": 5}}))
        .unwrap();
    assert_eq!(queued.status, Stage::Queued);
    let command = bench.take_command();
    assert_eq!(*command.id.0, queued.command_id);
    assert_eq!(command.arguments, "{\"ms\":5}");
    assert_eq!(bench.status(&queued.command_id).status, Stage::Sent);
    bench.reply(CommandReply::Acknowledge {
        id: command.id.clone(),
    });
    bench.succeed(&queued.command_id);
    let over = bench
        .commands
        .router()
        .wait(&queued.command_id, Duration::from_secs(20))
        .await;
    let over = over.unwrap();
    assert_eq!(over.status, Stage::Succeeded);
    assert!(over.sent_at.is_some() && over.acked_at.is_some() && over.completed_at.is_some());
    assert_eq!(bench.commands.router().recent(), [over]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_can_be_cancelled_before_and_after_its_driver_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    let router = bench.commands.router();
    let first = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    let taken = bench.take_command();
    let second = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    assert_eq!(
        router.cancel(&second.command_id, "local").unwrap().status,
        Stage::Cancelled
    );
    assert_eq!(
        router.cancel(&first.command_id, "local").unwrap().status,
        Stage::Sent
    );
    match bench.take() {
        Event::CommandCancelled { id, is_over, .. } => assert_eq!((id, is_over), (taken.id.clone(), false)),
        other => panic!("{other:?}"),
    }
    bench.reply(CommandReply::Complete {
        id: taken.id.clone(),
        outcome: Outcome::Cancelled,
    });
    assert_eq!(bench.status(&first.command_id).status, Stage::Cancelled);
    assert_eq!(
        router.cancel(&first.command_id, "local").unwrap().status,
        Stage::Cancelled
    );
    assert_eq!(bench.inbox.with(|inbox| inbox.take(0, &mut Vec::new())), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_command_and_frees_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    let router = bench.commands.router();
    let sent = bench
        .submit(json!({"device": "relay", "name": "on", "deadlineMs": 30}))
        .unwrap();
    bench.take_command();
    let queued = bench
        .submit(json!({"device": "relay", "name": "on", "deadlineMs": 30}))
        .unwrap();
    for id in [&sent.command_id, &queued.command_id] {
        let over = router.wait(id, Duration::from_secs(20)).await.unwrap();
        assert_eq!(over.status, Stage::Expired, "{over:?}");
        assert!(over.reason.as_ref().unwrap().starts_with("deadline:"), "{over:?}");
    }
    assert!(matches!(
        bench.take(),
        Event::CommandCancelled { is_over: true, .. }
    ));
    bench
        .inbox
        .with(|inbox| assert_eq!(inbox.commands_in_flight(), []));
    bench.succeed(&sent.command_id);
    assert_eq!(
        bench.status(&sent.command_id).status,
        Stage::Expired,
        "a final stage is final"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixty_fifth_command_is_refused_as_busy() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    let ids: Vec<_> = (0..autobench_core::driver::COMMANDS)
        .map(|_| {
            bench
                .submit(json!({"device": "relay", "name": "on"}))
                .unwrap()
                .command_id
        })
        .collect();
    assert_eq!(
        bench.code(json!({"device": "relay", "name": "on"})).0,
        ErrorCode::Busy
    );
    for id in &ids {
        assert_eq!(*bench.take_command().id.0, **id, "they come in order");
        bench.succeed(id);
    }
    bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_the_same_command_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let keyed = |key: &str, ms: u64| json!({"device": "relay", "name": "on", "args": {"ms": ms}, "idempotencyKey": key});
    let (done, open) = {
        let bench = bench(folder.path(), "first---");
        let done = bench.submit(keyed("done", 1)).unwrap();
        bench.take_command();
        bench.succeed(&done.command_id);
        assert_eq!(
            bench.submit(keyed("done", 1)).unwrap(),
            bench.status(&done.command_id)
        );
        assert_eq!(bench.code(keyed("done", 2)).0, ErrorCode::IdempotencyMismatch);
        let open = bench.submit(keyed("open", 1)).unwrap();
        bench.take_command();
        let ledger = std::fs::read_to_string(folder.path().join(LEDGER)).unwrap();
        assert!(
            ledger.contains(&open.command_id),
            "its key is on the disk before its driver has it"
        );
        assert!(
            !ledger.contains("\"ms\""),
            "what it was asked for is nobody's business"
        );
        // A driver that is down does not matter to a key that is known.
        bench
            .record
            .change(|entry| entry.status = DeviceStatus::Restarting);
        assert_eq!(
            bench.submit(keyed("done", 1)).unwrap().command_id,
            done.command_id
        );
        (bench.status(&done.command_id), open)
    };
    let bench = bench(folder.path(), "second--");
    assert_eq!(bench.submit(keyed("done", 1)).unwrap(), done);
    let unknown = bench.submit(keyed("open", 1)).unwrap();
    assert_eq!(
        (unknown.command_id, unknown.status),
        (open.command_id.clone(), Stage::Failed)
    );
    assert!(unknown.reason.unwrap().starts_with("unknown-outcome:"));
    assert_eq!(bench.code(keyed("open", 2)).0, ErrorCode::IdempotencyMismatch);
    assert_eq!(
        bench.status(&open.command_id).status,
        Stage::Failed,
        "it can be looked up by its id"
    );
    assert_eq!(bench.inbox.with(|inbox| inbox.take(0, &mut Vec::new())), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_command_is_withheld_from_captures_until_it_is_over_and_a_little_longer() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "secret--");
    let now = || bench.clock.monotonic_ns();
    let ask = |quietly: bool| {
        let asked = json!({"device": "relay", "name": "on", "args": {"quietly": quietly}});
        bench.submit(asked).unwrap().command_id
    };
    ask(false);
    assert!(!bench.withholding.is_on(now()));
    let (first, second) = (ask(true), ask(true));
    let one_day = 86_400_000_000_000;
    assert!(bench.withholding.is_on(now() + one_day));
    for _ in 0..3 {
        bench.take_command();
    }
    bench.succeed(&first);
    assert!(bench.withholding.is_on(now() + one_day), "one is under way");
    bench.answers.down("the driver was stopped", true);
    assert!(bench.status(&second).status.is_final());
    assert!(
        bench.withholding.is_on(now() + AFTERMATH_NS),
        "a line of it may be on its way"
    );
    assert!(!bench.withholding.is_on(now() + ABANDONED_NS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_key_cannot_be_written_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    // A folder in the place of the file: it can be neither opened nor made.
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let bench = bench(&data, "0123456789abcdef");
    std::fs::create_dir(data.join(LEDGER)).unwrap();
    let keyed = bench
        .submit(json!({"device": "relay", "name": "on", "idempotencyKey": "k"}))
        .unwrap();
    let over = bench
        .commands
        .router()
        .wait(&keyed.command_id, Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(over.status, Stage::Failed);
    assert!(
        over.reason.as_ref().unwrap().starts_with("not-recorded:"),
        "{over:?}"
    );
    let plain = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    assert_eq!(
        *bench.take_command().id.0,
        plain.command_id,
        "one without a key goes through"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_is_gone_or_has_forgotten_leaves_no_command_open() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path(), "0123456789abcdef");
    let forgotten = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    bench.take_command();
    let claimed = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    let claimed_id = bench.take_command().id.clone();
    let queued = bench.submit(json!({"device": "relay", "name": "on"})).unwrap();
    bench.answers.forgotten(&[claimed_id]);
    assert!(
        bench
            .status(&forgotten.command_id)
            .reason
            .unwrap()
            .starts_with("unknown-outcome:")
    );
    assert_eq!(bench.status(&claimed.command_id).status, Stage::Sent);
    assert_eq!(bench.status(&queued.command_id).status, Stage::Queued);

    bench.answers.down("the driver was stopped", true);
    assert!(
        bench
            .status(&claimed.command_id)
            .reason
            .unwrap()
            .starts_with("unknown-outcome:")
    );
    let queued = bench.status(&queued.command_id);
    assert_eq!(queued.status, Stage::Failed);
    assert!(queued.reason.unwrap().starts_with("not-sent:"));
    assert_eq!(
        bench.code(json!({"device": "relay", "name": "on"})).0,
        ErrorCode::NotReady
    );
}

#[test]
fn arguments_are_the_same_however_they_are_written() {
    let one: Value = serde_json::from_str(r#"{"b":{"y":1,"x":[1,{"q":2,"p":1}]},"a":"\u0041"}"#).unwrap();
    let other: Value =
        serde_json::from_str(r#"{ "a": "A", "b": {"x": [1, {"p": 1, "q": 2}], "y": 1} }"#).unwrap();
    assert_eq!(canonical(&one), canonical(&other));
    let key = [7; file::KEY_BYTES];
    assert_ne!(fingerprint(&key, "on", "{}"), fingerprint(&key, "off", "{}"));
    assert_ne!(
        fingerprint(&key, "on", "{}"),
        fingerprint(&[8; file::KEY_BYTES], "on", "{}"),
        "who does not have the key cannot try what it was"
    );
    // HMAC-SHA-256 of a zero byte, as other programs compute it.
    assert_eq!(
        format!("{:?}", fingerprint(&key, "", "")),
        "fdd716d598c266c3a3737925159e5923a0f707ef3b1e362124ed7cad2317d075"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_taken_over_http_stands_in_the_audit_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench_with(folder.path(), "0123456789abcdef", |logs| {
        let audit = Audit::open(folder.path(), logs).unwrap();
        Guard::new(&AuthConfig::default(), None, audit)
    });
    let config = HttpConfig::new("127.0.0.1:0".parse().unwrap());
    let server = Server::start(config, bench.state.clone(), bench.logs.clone(), bench.hub.clone())
        .await
        .unwrap();
    let body = json!({"name": "on", "args": {"ms": 4711}}).to_string();
    let request = format!(
        "POST /api/v1/devices/relay/commands HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    let command = bench.take_command();
    let id = &command.id.0;
    assert!(answer.contains(&format!("\"commandId\":\"{id}\"")), "{answer}");

    let audit = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let line: Value = serde_json::from_str(audit.trim_end()).unwrap();
    assert_eq!(
        (&line["action"], &line["outcome"], &line["detail"]),
        (
            &json!(format!(
                "POST /api/v1/devices/relay/commands: command relay on {id}"
            )),
            &json!("done"),
            &json!("202")
        )
    );
    assert!(!audit.contains("4711"), "{audit}");
    server.close().await;
}
