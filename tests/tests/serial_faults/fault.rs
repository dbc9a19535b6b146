//! The faults: what happens to a line, and when it is good again.

use std::time::{Duration, Instant};

use autobench_sim::bench::{Control, Device, DeviceStats, Faults, Stats};
use e2e::{Random, eventually, is_long};
use serde_json::json;

use super::watch::{Watch, wall_ms};

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The cable is out for a while; then the device has another terminal.
    Unplug,
    /// The same in the middle of what the device says.
    HangUp,
    /// The device comes anew under another terminal before the old one has gone.
    Rename,
    /// Several losses in a row.
    Flapping,
    /// Bytes that mean nothing, or something else.
    Noise,
    /// Nothing gets through, for longer than anybody waits for an answer; a board has just come then.
    Silence,
    /// The rows stop until the meter is asked for them again; a board says what is old before its token.
    Stray,
    /// Questions and answers are lost, or late.
    Losses,
    /// A board is reset in the middle of its identification or of a command. The meter is restarted with its port open.
    Reset,
    /// Nothing that comes can be read.
    WrongBaud,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Unplug,
        Self::HangUp,
        Self::Rename,
        Self::Flapping,
        Self::Noise,
        Self::Silence,
        Self::Stray,
        Self::Losses,
        Self::Reset,
        Self::WrongBaud,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unplug => "unplug",
            Self::HangUp => "hang-up",
            Self::Rename => "rename",
            Self::Flapping => "flapping",
            Self::Noise => "noise",
            Self::Silence => "silence",
            Self::Stray => "stray",
            Self::Losses => "losses",
            Self::Reset => "reset",
            Self::WrongBaud => "wrong baud",
        }
    }
}

/// Since when a line is good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Good {
    pub(crate) at: Instant,
    pub(crate) wall_ms: u64,
}

impl Good {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            wall_ms: wall_ms(),
        }
    }
}

/// A device's line, and what happens to it.
pub(crate) struct Line {
    pub(crate) device: Device,
    id: &'static str,
    control: Control,
    random: Random,
    /// Kinds that are still to come before all of them come again.
    deck: Vec<Kind>,
    /// How often the reset button was pressed.
    pub(crate) presses: u64,
    /// How often the line was cut.
    pub(crate) cuts: usize,
}

impl Line {
    pub(crate) fn new(device: Device, id: &'static str, control: Control, random: Random) -> Self {
        Self {
            device,
            id,
            control,
            random,
            deck: Vec::new(),
            presses: 0,
            cuts: 0,
        }
    }

    pub(crate) fn next_kind(&mut self) -> Kind {
        if self.deck.is_empty() {
            self.deck = Kind::ALL.to_vec();
        }
        let at = self.random.below(self.deck.len());
        self.deck.swap_remove(at)
    }

    pub(crate) fn is_identified(&self) -> bool {
        self.stats().identified
    }

    /// Does harm to the line, makes it good, and says since when it is.
    pub(crate) async fn strike(&mut self, kind: Kind, watch: &mut Watch) -> Good {
        // It strikes at any moment of what the device does.
        self.pause(watch, 0, 400).await;
        match kind {
            Kind::Unplug => self.unplug(watch).await,
            Kind::HangUp => self.hang_up(watch).await,
            Kind::Rename => self.rename(watch).await,
            Kind::Flapping => self.flap(watch).await,
            Kind::Noise => self.noise(watch).await,
            Kind::Silence => self.silence(watch).await,
            Kind::Stray => self.stray(watch).await,
            Kind::Losses => self.lose(watch).await,
            Kind::Reset => self.reset(watch).await,
            Kind::WrongBaud => self.wrong_baud(watch).await,
        }
        Good::now()
    }

    /// Takes away what is left of a fault that does not keep the device from coming back.
    pub(crate) async fn heal(&mut self, watch: &mut Watch) {
        self.set_faults(watch, "none").await;
    }

    async fn unplug(&mut self, watch: &mut Watch) {
        self.pull(watch).await;
        let longest_ms = if is_long() { 5000 } else { 2500 };
        self.pause(watch, 0, longest_ms).await;
        self.plug(watch).await;
    }

    async fn hang_up(&mut self, watch: &mut Watch) {
        if self.device == Device::PowerMeter {
            // It pulls its cable behind a row, or within one.
            self.cuts += 1;
            self.set_faults(watch, "unplug:1").await;
            let control = self.control.clone();
            watch
                .beside(eventually("the cable is out", async || {
                    (!stats_of(&control, Device::PowerMeter).plugged).then_some(())
                }))
                .await;
            self.set_faults(watch, "none").await;
        } else {
            let line = self.half_a_line();
            self.make_noise(watch, line).await;
            self.pull(watch).await;
        }
        self.pause(watch, 0, 450).await;
        self.plug(watch).await;
    }

    async fn flap(&mut self, watch: &mut Watch) {
        for loss in 0..2 + self.random.below(4) {
            if loss > 0 {
                self.pause(watch, 0, 900).await;
            }
            self.pull(watch).await;
            self.pause(watch, 0, 600).await;
            self.plug(watch).await;
        }
    }

    async fn noise(&mut self, watch: &mut Watch) {
        for _ in 0..1 + self.random.below(5) {
            let bytes = self.junk(3000);
            self.make_noise(watch, bytes).await;
            self.pause(watch, 0, 100).await;
        }
    }

    async fn silence(&mut self, watch: &mut Watch) {
        let comes_anew = self.device != Device::PowerMeter || self.random.below(2) == 0;
        if comes_anew {
            self.pull(watch).await;
        }
        self.mute(watch, true).await;
        if comes_anew {
            self.plug(watch).await;
        }
        let longest_ms = if is_long() { 13_000 } else { 7000 };
        self.pause(watch, 200, longest_ms).await;
        self.mute(watch, false).await;
    }

    async fn stray(&mut self, watch: &mut Watch) {
        if self.device == Device::PowerMeter {
            let before = self.rows_lost();
            self.set_faults(watch, "silence:1").await;
            let control = self.control.clone();
            watch
                .beside(eventually("the rows stop", async || {
                    (rows_lost(&control) > before).then_some(())
                }))
                .await;
            self.set_faults(watch, "none").await;
        } else {
            self.set_faults(watch, "stray:100,late:30").await;
            self.pull(watch).await;
            self.plug(watch).await;
            self.pause(watch, 0, 1500).await;
            self.set_faults(watch, "stray:100").await;
        }
    }

    async fn lose(&mut self, watch: &mut Watch) {
        self.pull(watch).await;
        if self.device == Device::PowerMeter {
            self.plug(watch).await;
            for _ in 0..1 + self.random.below(6) {
                self.mute(watch, true).await;
                self.pause(watch, 20, 700).await;
                self.mute(watch, false).await;
                self.pause(watch, 0, 300).await;
            }
        } else {
            self.set_faults(watch, "lost:50,late:50").await;
            self.plug(watch).await;
            self.pause(watch, 500, 4500).await;
            self.set_faults(watch, "none").await;
        }
    }

    async fn reset(&mut self, watch: &mut Watch) {
        let resets = self.stats().resets;
        let device = self.device;
        let within_command = self.random.below(2) == 0;
        let command = match device {
            Device::PowerMeter => {
                // Without its supply for a moment: it logs into its memory again.
                self.make_noise(watch, b"EED05F01 $Revision: 4.41 $ 2006".to_vec())
                    .await;
                self.rename(watch).await;
                return;
            }
            Device::Atx => (
                "press",
                json!({"button": "reset", "ms": 50 + self.random.below(300)}),
            ),
            Device::Keyboard => ("power", json!({"mode": "auto"})),
        };
        if within_command {
            self.set_faults(watch, "reset:100").await;
            let (name, args) = command;
            let id = format!("{}-{}", self.id, watch.client().mirror.version);
            let message = json!({"type": "command", "id": id, "device": self.id, "name": name, "args": args});
            watch.client().send(&message).await;
            self.presses += u64::from(device == Device::Atx);
        } else {
            self.pull(watch).await;
            self.set_faults(watch, "reset:100").await;
            self.plug(watch).await;
        }
        let control = self.control.clone();
        watch
            .beside(eventually("the board is reset", async || {
                (stats_of(&control, device).resets > resets).then_some(())
            }))
            .await;
        self.set_faults(watch, "none").await;
    }

    async fn wrong_baud(&mut self, watch: &mut Watch) {
        if self.device == Device::PowerMeter {
            self.set_faults(watch, "wrong-baud:1000000").await;
            self.pause(watch, 500, 6000).await;
            self.set_faults(watch, "none").await;
            return;
        }
        // The rate of such a board means nothing; what else is on the line is the same.
        self.pull(watch).await;
        self.mute(watch, true).await;
        self.plug(watch).await;
        let until = Instant::now() + Duration::from_millis(500 + self.random.below(3500) as u64);
        while Instant::now() < until {
            let bytes = self.junk(60);
            self.make_noise(watch, bytes).await;
            self.pause(watch, 10, 300).await;
        }
        self.mute(watch, false).await;
    }

    async fn rename(&mut self, watch: &mut Watch) {
        self.cuts += 1;
        self.ask(watch, |control, device| control.rename(device)).await;
    }

    async fn pull(&mut self, watch: &mut Watch) {
        self.cuts += 1;
        self.ask(watch, |control, device| control.unplug(device)).await;
    }

    /// Puts the cable back, half of the time under another name.
    async fn plug(&mut self, watch: &mut Watch) {
        // The number that has become free would be taken again.
        let taken = (self.random.below(2) == 0).then(|| {
            rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY)
                .expect("a terminal")
        });
        self.ask(watch, |control, device| control.replug(device)).await;
        drop(taken);
    }

    async fn mute(&self, watch: &mut Watch, muted: bool) {
        self.ask(watch, move |control, device| control.mute(device, muted))
            .await;
    }

    async fn make_noise(&self, watch: &mut Watch, bytes: Vec<u8>) {
        self.ask(watch, move |control, device| control.noise(device, &bytes))
            .await;
    }

    async fn set_faults(&self, watch: &mut Watch, plan: &str) {
        let faults = match self.device {
            Device::PowerMeter => Faults::PowerMeter(plan.parse().expect("a plan")),
            Device::Atx => Faults::Atx(plan.parse().expect("a plan")),
            Device::Keyboard => Faults::Keyboard(plan.parse().expect("a plan")),
        };
        self.ask(watch, |control, _| control.set_faults(faults)).await;
    }

    /// Asks the emulator, which may wait until the daemon has read what is on the line, while this client goes on reading.
    async fn ask(
        &self,
        watch: &mut Watch,
        request: impl FnOnce(&Control, Device) -> std::io::Result<Stats> + Send + 'static,
    ) {
        let (control, device) = (self.control.clone(), self.device);
        let asked = tokio::task::spawn_blocking(move || request(&control, device));
        let answer = watch.beside(asked).await.expect("the request ends");
        answer.expect("the simulated bench runs");
    }

    /// How long a fault lasts: part of the fault, and nothing that the story waits for.
    async fn pause(&mut self, watch: &mut Watch, from_ms: usize, to_ms: usize) {
        let ms = from_ms + self.random.below(to_ms - from_ms + 1);
        watch
            .beside(tokio::time::sleep(Duration::from_millis(ms as u64)))
            .await;
    }

    /// What the device might have been saying.
    fn half_a_line(&mut self) -> Vec<u8> {
        let line: &[u8] = match self.device {
            Device::PowerMeter => b"#d,-,18,965,1204,792,1,0,69384,5550,965,1205",
            Device::Atx => b"HDD_ACTIVE_ON\r\nHDD_ACTIVE_OF",
            Device::Keyboard => b"debug: keyboard sim recieved 0xED (SET_LEDS)\r\ndebug: ackn",
        };
        line[..1 + self.random.below(line.len())].to_vec()
    }

    /// Bytes of every kind, and some that mean something to the driver.
    fn junk(&mut self, longest: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..1 + self.random.below(longest))
            .map(|_| match self.random.below(12) {
                0 => b'\n',
                1 => b'#',
                2 => b',',
                _ => (self.random.below(256)) as u8,
            })
            .collect();
        if self.random.below(2) == 0 {
            bytes.extend(self.half_a_line());
        }
        bytes
    }

    fn stats(&self) -> DeviceStats {
        stats_of(&self.control, self.device)
    }

    fn rows_lost(&self) -> u64 {
        rows_lost(&self.control)
    }
}

fn stats_of(control: &Control, device: Device) -> DeviceStats {
    let stats = control.stats().expect("the simulated bench runs");
    let mut devices = stats.devices.into_iter();
    devices
        .find(|stats| stats.device == device)
        .expect("it has a terminal")
}

fn rows_lost(control: &Control) -> u64 {
    control
        .stats()
        .expect("the simulated bench runs")
        .counts
        .rows
        .lost
}
