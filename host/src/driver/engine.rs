//! The wasmtime engine, the linker with the world's imports, and the ticker that enforces deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Config, OptLevel};

use super::bindings::Driver;
use super::host_state::HostState;

/// How often deadlines are looked at while a driver is inside a call.
const TICK: Duration = Duration::from_millis(5);

/// How many ticks without any call pass before the ticker goes to sleep. A bench that is quiet costs no wake-ups; a busy one does not pay for
/// waking the ticker at each call.
const IDLE_TICKS_BEFORE_SLEEP: u32 = 4;

/// Stack of a guest. Deep recursion traps here instead of in the thread's own stack.
const GUEST_STACK_BYTES: usize = 512 << 10;

/// Everything that all drivers share.
pub struct Engine {
    wasmtime: wasmtime::Engine,
    linker: Linker<HostState>,
    ticker: Ticker,
}

impl Engine {
    /// Builds the engine and starts its ticker.
    pub fn new() -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(&config())?;
        let mut linker = Linker::new(&wasmtime);
        Driver::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        let ticker = Ticker::start(wasmtime.clone())?;
        Ok(Self {
            wasmtime,
            linker,
            ticker,
        })
    }

    /// The engine itself.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// The world's imports, and no others: a component that imports anything else does not link.
    pub fn linker(&self) -> &Linker<HostState> {
        &self.linker
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
pub fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16));
    config
}

/// Counts the calls that are running and wakes the ticker when the first one begins.
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
            self.shared.wake();
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
    asleep: AtomicBool,
    stop: AtomicBool,
    thread: parking_lot::Mutex<Option<Thread>>,
}

impl TickerShared {
    fn wake(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.unpark();
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
        let shared = Arc::new(TickerShared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: parking_lot::Mutex::new(None),
        });
        let seen = Arc::clone(&shared);
        let handle = std::thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || tick(&engine, &seen))?;
        *shared.thread.lock() = Some(handle.thread().clone());
        Ok(Self {
            shared,
            handle: Some(handle),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.wake();
        if let Some(handle) = self.handle.take() {
            // A panic of the ticker has been reported by the panic hook already.
            let _ = handle.join();
        }
    }
}

fn tick(engine: &wasmtime::Engine, shared: &TickerShared) {
    let mut idle_ticks = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.running.load(Ordering::SeqCst) > 0 {
            idle_ticks = 0;
        } else {
            idle_ticks += 1;
        }
        if idle_ticks < IDLE_TICKS_BEFORE_SLEEP {
            std::thread::park_timeout(TICK);
            engine.increment_epoch();
            continue;
        }
        shared.asleep.store(true, Ordering::SeqCst);
        while shared.running.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
            std::thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        idle_ticks = 0;
    }
}
