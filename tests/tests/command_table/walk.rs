//! Goes through the table: asks for each cell, and holds what comes to it.

use super::*;

impl Desk {
    /// Walks the table for a device in a phase, with nothing granted. One that was over before the end is begun anew.
    pub(super) async fn walk(&mut self, callers: &mut Callers, device: &'static str, phase: Phase) {
        let phases: &[Phase] = match phase {
            Phase::Connecting | Phase::Identifying => &[phase, Phase::Error],
            _ => &[phase],
        };
        for _ in 0..TRIES {
            if self.until(callers, device, phases).await == phase {
                let before = self.tally;
                for cell in self.cells(callers, device, phase, false).await {
                    self.ask(callers, &cell).await;
                }
                if self.phase(callers, device).await == Some(phase) {
                    return;
                }
                self.tally = before;
            }
            println!("{device} was not {phase:?} for long enough, and is once more");
            let kind = kind(device);
            self.sim.control().unplug(kind).unwrap();
            self.until(callers, device, &[Phase::Away]).await;
            self.sim.control().replug(kind).unwrap();
        }
        panic!("{device} is never {phase:?} for long enough");
    }

    /// Walks the table for all devices while they obey, and everything is granted. In which order, the PC says: what switches it on is followed by
    /// what wants it on.
    pub(super) async fn walk_granted(&mut self, callers: &mut Callers) {
        let mut cells = Vec::new();
        for (device, _) in DEVICES {
            for power in [Power::Off, Power::On] {
                cells.extend(self.cells(callers, device, Phase::Ready(power), true).await);
            }
        }
        while !cells.is_empty() {
            let now = Phase::Ready(self.power);
            let Some(next) = cells.iter().position(|cell| cell.phase == now) else {
                self.switch(callers).await;
                continue;
            };
            let cell = cells.remove(next);
            self.ask(callers, &cell).await;
        }
    }

    /// Switches the PC on or off, if it takes notice.
    pub(super) async fn switch(&mut self, callers: &mut Callers) {
        let name = match self.power {
            Power::Off => "on",
            Power::On => "force-off",
        };
        let lines = [POWER_HOLD, "POWER_RELEASE"];
        self.does(callers, PANEL, name, &json!({}), &lines).await;
        self.look_at_power(callers).await;
    }

    /// Something that an admin asks for, and gets.
    pub(super) async fn does(
        &mut self,
        callers: &mut Callers,
        device: &'static str,
        name: &str,
        args: &Value,
        lines: &[&str],
    ) {
        let answer = callers.ask(Role::Admin, Way::Http, device, name, args).await;
        let Answer::Taken(id) = answer else {
            panic!("{name}: {answer:?}");
        };
        end_of(callers, &id).await;
        self.judge(device, lines, &name).await;
        self.until_idle(callers, device).await;
    }

    /// Everything that there is to ask of a device in a phase.
    pub(super) async fn cells(
        &self,
        callers: &Callers,
        device: &'static str,
        phase: Phase,
        granted: bool,
    ) -> Vec<Cell> {
        let plugin = plugin(device);
        let manifest = eventually("the manifest", async || {
            callers
                .get(&format!("/api/v1/state?path=/plugins/{plugin}/manifest"))
                .await
        })
        .await;
        let commands = manifest["commands"].as_array().expect("its commands");
        let names: BTreeSet<_> = commands
            .iter()
            .map(|command| command["name"].as_str().unwrap())
            .collect();
        let rows = self.rows.iter().filter(|row| row.device == device);
        let known: BTreeSet<_> = rows.map(|row| row.command).collect();
        assert_eq!(
            names, known,
            "the commands of {device}, and those that the table knows"
        );

        let mut cells = Vec::new();
        let mut every = |command: &str, declared, asked| {
            for role in Role::WALKED {
                cells.extend(Way::ALL.map(|way| Cell {
                    device,
                    command: command.to_owned(),
                    declared,
                    asked,
                    role,
                    way,
                    granted,
                    phase,
                }));
            }
        };
        for command in commands {
            let flag = |name: &str| command[name].as_bool().expect("a flag");
            let declared = Declared {
                dangerous: flag("dangerous"),
                hold: flag("hold"),
            };
            let name = command["name"].as_str().unwrap();
            every(name, declared, Asked::WrongArguments);
            every(name, declared, Asked::Command);
        }
        let undeclared = Declared {
            dangerous: false,
            hold: false,
        };
        every("no-such-command", undeclared, Asked::NoCommand);
        if granted && phase == Phase::Ready(Power::Off) {
            let by_strangers = |cell: &&Cell| {
                cell.role == Role::Admin
                    && cell.way == Way::Http
                    && cell.asked == Asked::Command
                    && cell.declared.dangerous
            };
            let stranger = |cell: &Cell| Cell {
                role: Role::Stranger,
                ..cell.clone()
            };
            let strangers: Vec<_> = cells.iter().filter(by_strangers).map(stranger).collect();
            cells.extend(strangers);
        }
        cells
    }

    /// Asks for what a cell says, and holds what comes of it against the table. On a machine that stands still for a moment a press is too short or
    /// too long for the PC, which then is not as it should be: it is asked for once more.
    pub(super) async fn ask(&mut self, callers: &mut Callers, cell: &Cell) {
        for _ in 0..TRIES {
            let Err(Missed(what)) = self.try_to_ask(callers, cell).await else {
                return;
            };
            println!("once more: {what}");
            while cell.phase != Phase::Ready(self.power) {
                self.switch(callers).await;
            }
        }
        panic!("the PC never is as it should be after {cell:?}");
    }

    pub(super) async fn try_to_ask(&mut self, callers: &mut Callers, cell: &Cell) -> Result<(), Missed> {
        let mut rows = self.rows.iter();
        let row = rows
            .find(|row| row.device == cell.device && row.command == cell.command)
            .cloned();
        let args = match (&row, cell.asked) {
            (Some(row), Asked::Command) => row.right.clone(),
            (Some(row), _) => row.wrong.clone(),
            (None, _) => json!({}),
        };
        let expected = expected(cell, row.as_ref());
        if cell.device == PANEL && cell.declared.hold {
            self.until_rested().await;
        }
        let answer = callers
            .ask(cell.role, cell.way, cell.device, &cell.command, &args)
            .await;
        match (expected, answer) {
            (Expected::Refused(status, code), Answer::Refused(said, as_code)) => {
                assert_eq!(as_code, code, "{cell:?}");
                assert!(said.is_none_or(|said| said == status), "{said:?}: {cell:?}");
                self.tally.refused += 1;
            }
            (Expected::Taken(end), Answer::Taken(id)) => {
                return self.carry_out(callers, cell, end, &id).await;
            }
            (expected, answer) => panic!("{answer:?} in place of {expected:?}: {cell:?}"),
        }
        assert_eq!(self.unjudged(cell.device, cell.phase), [""; 0], "after {cell:?}");
        Ok(())
    }

    /// A command is taken: it ends as it has to, and has written what it has to.
    pub(super) async fn carry_out(
        &mut self,
        callers: &mut Callers,
        cell: &Cell,
        end: End,
        id: &str,
    ) -> Result<(), Missed> {
        if let End::Withdrawn(lines) = end {
            eventually(&format!("the lines of {cell:?}"), async || {
                (self.unjudged(cell.device, cell.phase).len() >= lines.len()).then_some(())
            })
            .await;
            callers.withdraw(id).await;
        }
        let over = end_of(callers, id).await;
        let (status, reason, lines) = match end {
            End::Blocked(reason) => ("blocked", reason, &[][..]),
            End::Fails(reason, lines) => ("failed", reason, lines),
            End::Done(lines) | End::Leaves(_, lines) => ("succeeded", "", lines),
            End::Withdrawn(lines) => ("cancelled", "", lines),
        };
        let said = over["reason"].as_str().unwrap_or_default();
        if over["status"] != status || !said.contains(reason) {
            return self.missed(callers, lines, format!("{over}: {cell:?}")).await;
        }
        if cell.declared.hold && !lines.is_empty() {
            callers.let_go(cell.role, id).await;
        }
        match cell.phase {
            Phase::Ready(_) => self.judge(cell.device, lines, cell).await,
            phase => assert_eq!(self.unjudged(cell.device, phase), lines, "after {cell:?}"),
        }
        if let End::Blocked(_) = end {
            self.tally.refused += 1;
            self.tally.blocked += 1;
            return Ok(());
        }
        self.until_idle(callers, cell.device).await;
        if cell.device == PANEL && matches!(cell.phase, Phase::Ready(_)) {
            let power = match end {
                End::Leaves(power, _) => power,
                _ => self.power,
            };
            self.look_at_power(callers).await;
            if self.power != power {
                return Err(Missed(format!("the PC is {:?} after {cell:?}", self.power)));
            }
        }
        self.tally.taken += 1;
        Ok(())
    }

    /// What presses the power button did not end as it should. It has written what it had to nevertheless, or the beginning of it.
    pub(super) async fn missed(
        &mut self,
        callers: &Callers,
        lines: &[&str],
        what: String,
    ) -> Result<(), Missed> {
        let heard = self.unjudged(PANEL, Phase::Ready(self.power));
        assert!(lines.contains(&POWER_HOLD), "the panel heard {heard:?}: {what}");
        self.until_idle(callers, PANEL).await;
        let heard = self.unjudged(PANEL, Phase::Ready(self.power));
        assert!(
            lines.starts_with(&heard.iter().map(String::as_str).collect::<Vec<_>>()),
            "{heard:?}: {what}"
        );
        *self.judged.entry(PANEL).or_default() += heard.len();
        self.look_at_power(callers).await;
        Err(Missed(what))
    }
}
