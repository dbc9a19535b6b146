//! A driver and a model of its device, with the cable between them and one clock for both.
//!
//! A transcript says what a device once said; a model answers what the driver writes, so that a test can ask what became of the device. The
//! rig carries bytes to and fro after whatever it does to the driver, and once in each millisecond that passes.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Bench, Setup};
use crate::driver::Driver;
use crate::{Outcome, Refusal};

/// No command of a driver takes longer, so one that does never ends.
const PATIENCE_MS: u64 = 3_600_000;

/// A device, as far as a test needs it.
pub trait Model {
    /// Takes what the driver has written, which may be nothing, does what is due by `now`, and gives what the device says to it, in pieces
    /// that arrive each by itself. It is asked again for the same `now` until neither side has anything more to say.
    fn exchange(&mut self, written: &[u8], now: Duration) -> Vec<Vec<u8>>;
}

/// A driver on a bench, with a model of its device behind one of its ports.
///
/// ```
/// # use autobench_sdk::{Bytes, Context, Driver, LineFramer, Manifest, PortWish, Refusal, Slice, Snapshot, Start};
/// # #[derive(Clone, Default, schemars::JsonSchema, Slice)]
/// # struct Seen { lines: u64 }
/// # struct Asker(LineFramer);
/// # impl Driver for Asker {
/// #     type Settings = autobench_sdk::NoSettings;
/// #     type Slice = Seen;
/// #     fn manifest() -> Manifest {
/// #         Manifest::new("asker", "1.0.0", "Asks.").port(PortWish::new("main", "Any text."))
/// #     }
/// #     fn start(cx: &mut Context<'_, Seen>, _: Start<Self::Settings>) -> Result<Self, Refusal> {
/// #         let _ = cx.write("main", b"who\n");
/// #         Ok(Self(LineFramer::new(1024)))
/// #     }
/// #     fn on_bytes(&mut self, cx: &mut Context<'_, Seen>, bytes: Bytes) {
/// #         self.0.feed(&bytes.data, |_line| cx.edit().lines += 1);
/// #     }
/// #     fn snapshot(&self) -> Snapshot {
/// #         Snapshot::of(&()).rereading("main", self.0.held())
/// #     }
/// # }
/// use autobench_sdk::bench::{Bench, Model, Rig};
/// use std::time::Duration;
///
/// struct Device;
///
/// impl Model for Device {
///     fn exchange(&mut self, written: &[u8], _now: Duration) -> Vec<Vec<u8>> {
///         match written {
///             b"who\n" => vec![b"a device\n".to_vec()],
///             _ => Vec::new(),
///         }
///     }
/// }
///
/// # fn main() -> Result<(), Refusal> {
/// let mut rig = Rig::start(Bench::<Asker>::setup(), "main", Device)?;
/// rig.advance_ms(50);
/// assert_eq!(rig.slice()["lines"], 1);
/// # Ok(())
/// # }
/// ```
pub struct Rig<D: Driver, M> {
    /// The device.
    pub device: M,
    /// Into events of how many bytes the line cuts what the device says.
    pub chunk_bytes: usize,
    port: String,
    /// Away only within a swap or a restart, which take the bench by value.
    bench: Option<Bench<D>>,
    began_ns: u64,
}

impl<D: Driver, M: Model> Rig<D, M> {
    /// Starts the driver with the device behind this port.
    pub fn start(setup: Setup<D>, port: &str, device: M) -> Result<Self, Refusal> {
        let bench = setup.start()?;
        let mut rig = Self {
            device,
            chunk_bytes: usize::MAX,
            port: port.to_owned(),
            began_ns: bench.now_ns(),
            bench: Some(bench),
        };
        rig.exchange();
        Ok(rig)
    }

    // --- what happens ---

    /// Gives a command, and what it writes arrives; the answer is its id.
    pub fn command(&mut self, name: &str, arguments: &Json) -> String {
        let id = self.bench_mut().command(name, arguments);
        self.exchange();
        id
    }

    /// Gives a command and lets time pass until it is over.
    pub fn run(&mut self, name: &str, arguments: &Json) -> Outcome {
        let id = self.command(name, arguments);
        self.end_of(&id)
    }

    /// Lets time pass until a command is over.
    #[expect(clippy::panic, reason = "a test whose command never ends has failed")]
    pub fn end_of(&mut self, id: &str) -> Outcome {
        for _ in 0..PATIENCE_MS {
            if let Some(outcome) = self.bench().outcome(id) {
                return outcome.clone();
            }
            self.advance_ms(1);
        }
        panic!("{id} never ends")
    }

    /// Lets time pass.
    pub fn advance_ms(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.bench_mut().advance_ms(1);
            self.exchange();
        }
    }

    /// The line goes away.
    pub fn lose(&mut self, reason: &str) {
        let port = self.port.clone();
        self.bench_mut().lose(&port, reason);
        self.exchange();
    }

    /// The line is back.
    pub fn attach(&mut self) {
        let port = self.port.clone();
        self.bench_mut().attach(&port);
        self.exchange();
    }

    /// A new instance of the driver takes over.
    #[expect(
        clippy::expect_used,
        reason = "a test whose driver refuses its own snapshot has failed"
    )]
    pub fn swap(&mut self) {
        let swapped = self.take_bench().swap();
        self.bench = Some(swapped.expect("the successor starts"));
        self.exchange();
    }

    /// The driver breaks down, and starts again from a checkpoint that was taken just before.
    #[expect(
        clippy::expect_used,
        reason = "a test whose driver refuses its own snapshot has failed"
    )]
    pub fn restart(&mut self) {
        let mut bench = self.take_bench();
        let checkpoint = bench.checkpoint();
        let restarted = bench.restart(Some(&checkpoint));
        self.bench = Some(restarted.expect("the driver starts again"));
        self.exchange();
    }

    /// The driver breaks down, and starts again without knowing anything.
    #[expect(clippy::expect_used, reason = "a test whose driver does not start has failed")]
    pub fn restart_from_nothing(&mut self) {
        let restarted = self.take_bench().restart(None);
        self.bench = Some(restarted.expect("the driver starts again"));
        self.exchange();
    }

    /// Carries bytes to and fro, until neither side says anything. Only a test that has touched the bench or the device by itself, and looks
    /// before time passes, has to ask for it.
    pub fn exchange(&mut self) {
        let port = self.port.clone();
        loop {
            let now = self.now();
            let written = self.bench_mut().written(&port);
            let said = self.device.exchange(&written, now);
            let chunk_bytes = self.chunk_bytes;
            for chunk in said.iter().flat_map(|piece| piece.chunks(chunk_bytes)) {
                self.bench_mut().feed(&port, chunk);
            }
            if written.is_empty() && said.is_empty() {
                return;
            }
        }
    }

    // --- what there is ---

    /// The driver's bench, to look at.
    #[must_use]
    #[expect(clippy::expect_used, reason = "it is away only within a swap or a restart")]
    pub fn bench(&self) -> &Bench<D> {
        self.bench.as_ref().expect("the driver runs")
    }

    /// The driver's bench, for what the rig has no word for.
    #[expect(clippy::expect_used, reason = "it is away only within a swap or a restart")]
    pub fn bench_mut(&mut self) -> &mut Bench<D> {
        self.bench.as_mut().expect("the driver runs")
    }

    /// The driver's bench, without the device.
    #[must_use]
    pub fn into_bench(mut self) -> Bench<D> {
        self.take_bench()
    }

    /// The driver's slice.
    #[must_use]
    pub fn slice(&self) -> &Json {
        self.bench().slice()
    }

    /// How long the rig has run, by its clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.bench().now_ns() - self.began_ns)
    }

    #[expect(clippy::expect_used, reason = "it is away only within a swap or a restart")]
    fn take_bench(&mut self) -> Bench<D> {
        self.bench.take().expect("the driver runs")
    }
}
