//! The wasmtime engine, the linker with the world's imports, and the ticker that enforces deadlines.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, OptLevel, WasmBacktraceDetails};

use super::bindings::Driver;
use super::core_dump::CoreDumps;
use super::host_state::HostState;

/// How often deadlines are looked at while a driver is inside a call.
const TICK: Duration = Duration::from_millis(5);

/// How many ticks without any call pass before the ticker goes to sleep. A bench that is quiet costs no wake-ups; a busy one does not set the
/// timer at each call.
const IDLE_TICKS_BEFORE_SLEEP: u32 = 4;

/// Stack of a guest. Deep recursion traps here instead of in the thread's own stack.
const GUEST_STACK_BYTES: usize = 512 << 10;

/// Everything that all drivers share.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    linker: Linker<HostState>,
    ticker: Ticker,
    core_dumps: Option<CoreDumps>,
}

/// What is kept of drivers so that a person can find out why one broke down. By default nothing is.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// Whether compiled code keeps which line of the source it comes from, if the plugin says so.
    pub debug_info: DebugInfo,
    /// Where the memory of one that breaks down is kept.
    pub core_dumps: Option<CoreDumps>,
}

/// Whether compiled code keeps which line of the source it comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DebugInfo {
    /// It keeps it.
    Kept,
    /// It does not.
    #[default]
    LeftOut,
}

impl Engine {
    /// Builds the engine and starts its ticker.
    pub fn new(diagnosis: Diagnosis) -> wasmtime::Result<Self> {
        let mut config = config(diagnosis.debug_info);
        // Nothing that is compiled depends on it.
        config.coredump_on_trap(diagnosis.core_dumps.is_some());
        let wasmtime = wasmtime::Engine::new(&config)?;
        let mut linker = Linker::new(&wasmtime);
        Driver::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        let ticker = Ticker::start(wasmtime.clone())?;
        Ok(Self {
            wasmtime,
            linker,
            ticker,
            core_dumps: diagnosis.core_dumps,
        })
    }

    /// The engine itself.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// The world's imports, and no others. What a component gets of `wasi:*` beside them is in `wasi.rs`; one that imports anything else does
    /// not link.
    pub fn linker(&self) -> &Linker<HostState> {
        &self.linker
    }

    /// Where the memory of a driver that breaks down is kept, if it is.
    pub fn core_dumps(&self) -> Option<&CoreDumps> {
        self.core_dumps.as_ref()
    }

    /// What a call holds so that the ticker runs.
    pub fn calls(&self) -> CallGate {
        CallGate {
            shared: Arc::clone(&self.ticker.shared),
        }
    }
}

/// The configuration of every engine of this daemon, in the process that compiles as in the one that runs: a difference here makes the
/// compiled code unloadable.
pub fn config(debug_info: DebugInfo) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        // Said either way: otherwise an environment variable would, which the compiling process does not have.
        .wasm_backtrace_details(match debug_info {
            DebugInfo::Kept => WasmBacktraceDetails::Enable,
            DebugInfo::LeftOut => WasmBacktraceDetails::Disable,
        })
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    config
}

/// Counts the calls that are running; the first one after a pause sets the ticker's timer.
#[derive(Clone)]
pub struct CallGate {
    shared: Arc<TickerShared>,
}

impl CallGate {
    /// Marks one call as running until the guard is dropped.
    pub fn enter(&self) -> RunningCall<'_> {
        // Sequentially consistent on both sides: either the ticker sees this call before it sleeps, or this call sees that it sleeps.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.shared.rouse();
        }
        RunningCall { shared: &self.shared }
    }
}

/// A call that is running.
pub struct RunningCall<'a> {
    shared: &'a TickerShared,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
    }
}

struct TickerShared {
    running: AtomicUsize,
    /// Nobody has set the timer.
    asleep: AtomicBool,
    stop: AtomicBool,
    /// What the ticker waits for. A call that begins sets it and wakes nobody: most calls are over long before the first tick, and a thread that is
    /// woken at once would run on the processor that the way of the row needs next.
    timer: OwnedFd,
    setting: Trouble,
    reading: Trouble,
}

/// Whether something fails that is tried again up to two hundred times per second: told when it begins and when it is over.
#[derive(Default)]
struct Trouble(AtomicBool);

impl Trouble {
    /// Whether this failure is the first.
    fn begins(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether this success is the first after failures.
    fn is_over(&self) -> bool {
        // Looked at first, because there hardly ever was a failure and a look costs next to nothing.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

impl TickerShared {
    fn new(timer: OwnedFd) -> Self {
        Self {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            timer,
            setting: Trouble::default(),
            reading: Trouble::default(),
        }
    }

    /// Sets the timer, if nobody else has.
    fn rouse(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.set(TICK);
        }
    }

    fn set(&self, after: Duration) {
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once) {
            Ok(_) if self.setting.is_over() => {
                tracing::info!("the timer of the drivers' deadlines is set again");
            }
            Ok(_) => {}
            Err(error) => {
                if self.setting.begins() {
                    tracing::error!(%error, "the timer of the drivers' deadlines cannot be set: a call that loops may go on for ever");
                }
                // The next call tries again.
                self.asleep.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Until the timer expires.
    fn wait(&self) {
        let mut expirations = [0; 8];
        while let Err(error) = rustix::io::read(&self.timer, &mut expirations) {
            if error != rustix::io::Errno::INTR {
                if self.reading.begins() {
                    tracing::error!(%error, "the timer of the drivers' deadlines cannot be read; they are looked at without it");
                }
                // A tick and no wait for somebody: without it the loop would spin.
                std::thread::sleep(TICK);
                return;
            }
        }
        if self.reading.is_over() {
            tracing::info!("the timer of the drivers' deadlines is read again");
        }
    }
}

/// The one thread that raises the epoch.
struct Ticker {
    shared: Arc<TickerShared>,
    handle: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let shared = Arc::new(TickerShared::new(timer));
        let seen = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || tick(&engine, &seen))?;
        Ok(Self {
            shared,
            handle: Some(handle),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.set(Duration::from_nanos(1));
        if let Some(handle) = self.handle.take() {
            // A panic of the ticker has been reported by the panic hook already.
            let _ = handle.join();
        }
    }
}

fn tick(engine: &wasmtime::Engine, shared: &TickerShared) {
    let mut idle_ticks = 0;
    loop {
        shared.wait();
        // Whoever stops it sets the timer, too; where both set it at once, this look comes a tick later.
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        engine.increment_epoch();
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle_ticks = 0;
        } else {
            idle_ticks += 1;
        }
        if idle_ticks < IDLE_TICKS_BEFORE_SLEEP {
            shared.set(TICK);
        } else {
            idle_ticks = 0;
            shared.asleep.store(true, Ordering::SeqCst);
            if shared.running.load(Ordering::SeqCst) > 0 {
                // It may have begun before it could see that nobody looks.
                shared.rouse();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use rustix::pipe::{PipeFlags, pipe_with};
    use tracing::{Event, Level, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    /// The levels of what was told.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<Level>>>);

    impl<S: Subscriber> Layer<S> for Told {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().push(*event.metadata().level());
        }
    }

    #[test]
    fn a_timer_that_fails_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let told = Told::default();
        let levels = || told.0.lock().clone();
        // A pipe is no timer, and cannot be set; read it can only be when something is in it.
        let (timer, end) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let shared = TickerShared::new(timer);
        let subscriber = tracing_subscriber::registry().with(told.clone());
        tracing::subscriber::with_default(subscriber, || {
            shared.wait();
            shared.wait();
            assert_eq!(levels(), [Level::ERROR]);
            rustix::io::write(&end, &[0; 8]).unwrap();
            shared.wait();
            assert_eq!(levels(), [Level::ERROR, Level::INFO]);
            shared.set(TICK);
            shared.set(TICK);
            assert_eq!(levels(), [Level::ERROR, Level::INFO, Level::ERROR]);
        });
    }
}
