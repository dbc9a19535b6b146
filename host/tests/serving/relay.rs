//! A device that takes commands, without a driver: the test looks into the inbox and answers as a driver would.

use std::cell::RefCell;
use std::sync::Arc;

use autobench::clock::Clock;
use autobench::commands::{Commands, DeviceCommands};
use autobench::driver::CommandTable;
use autobench::driver::manifest::CommandDescription;
use autobench::driver::record::DeviceRecord;
use autobench_core::driver::{Command, CommandReply, Event, Outcome, SharedInbox, Taken};
use autobench_core::wire::{DeviceEntry, DeviceStatus};
use serde_json::json;

use crate::bench::{BOOT_ID, Bench, until};

/// The device `relay`, whose command `on` takes a text `label`.
pub struct Relay {
    commands: Commands,
    inbox: SharedInbox,
    answers: DeviceCommands,
    clock: Clock,
    _folder: tempfile::TempDir,
}

impl Relay {
    pub fn of(bench: &Bench) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let commands = Commands::start(
            folder.path(),
            BOOT_ID,
            clock,
            bench.logs.clone(),
            bench.hub.clone(),
        )
        .unwrap();
        bench.hub.serve_commands(commands.router());
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
        let record = DeviceRecord::publish(bench.state.clone(), "relay", entry);
        let on = CommandDescription {
            name: "on".to_owned(),
            description: String::new(),
            arguments_schema: json!({
                "type": "object",
                "properties": {"label": {"type": "string", "maxLength": 20}},
                "additionalProperties": false
            }),
            dangerous: false,
            hold: false,
            secret_when: None,
        };
        let table = Arc::new(CommandTable::compile(&[on]).unwrap());
        let inbox = SharedInbox::new([]);
        let router = commands.router();
        router.add_device("relay", record, &[]);
        router.attach("relay", inbox.clone(), table, Arc::default());
        let answers = router.of_device(&"relay".into());
        Self {
            commands,
            inbox,
            answers,
            clock,
            _folder: folder,
        }
    }

    /// The next command, which the driver's call has dealt with then.
    pub async fn take(&self) -> Arc<Command> {
        let taken = RefCell::new(None);
        until("the driver is told of a command", || {
            *taken.borrow_mut() = self.inbox.with(|inbox| {
                let taken = inbox.take(0, &mut Vec::new())?;
                inbox.settle(&taken, &[], &[]).unwrap();
                Some(taken)
            });
            taken.borrow().is_some()
        })
        .await;
        match taken.into_inner() {
            Some(Taken::Event(Event::Command(command))) => {
                self.answers.sent(&command, self.clock.now());
                command
            }
            other => panic!("{other:?}"),
        }
    }

    /// The driver says that a command is done.
    pub fn succeed(&self, command: &Command) {
        let reply = CommandReply::Complete {
            id: command.id.clone(),
            outcome: Outcome::Succeeded(None),
        };
        self.inbox
            .with(|inbox| inbox.apply_replies(std::slice::from_ref(&reply)));
        self.answers.replies([reply].into_iter(), self.clock.now());
    }

    pub fn close(self) {
        self.commands.close();
    }
}
