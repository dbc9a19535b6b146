//! Where a driver spends its time, as a profile that the Firefox Profiler reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::{AsContext, GuestProfiler};

use super::{Play, PlayError, Player};

/// How often the driver is looked at. A call is looked at where its code checks the epoch, so that more would not show more.
const INTERVAL: Duration = Duration::from_micros(200);

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The capture is not played.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// This program's own fault.
    #[error("no profile can be made: {0}")]
    Host(String),
}

/// A profile that was made.
#[derive(Debug)]
pub struct Profile {
    /// The profile as JSON.
    pub json: Vec<u8>,
    /// How often the capture was played.
    pub rounds: u32,
    /// How often the driver was looked at.
    pub samples: u64,
}

/// Looks into a store at each tick of the epoch.
#[derive(Clone)]
pub struct Sampler(Arc<Mutex<Sampling>>);

struct Sampling {
    /// None once the profile is finished.
    profiler: Option<GuestProfiler>,
    last: Instant,
    samples: u64,
}

impl Sampler {
    /// Notes what the store's guest is doing.
    pub fn sample(&self, store: impl AsContext) {
        let sampling = &mut *self.0.lock();
        if let Some(profiler) = &mut sampling.profiler {
            profiler.sample(store, sampling.last.elapsed());
            sampling.last = Instant::now();
            sampling.samples += 1;
        }
    }
}

/// Plays a capture again and again, at full speed and for at least so long, and looks where the driver is meanwhile.
pub fn profile(play: &Play<'_>, at_least: Duration) -> Result<Profile, ProfileError> {
    let host = |error: wasmtime::Error| ProfileError::Host(format!("{error:#}"));
    let engine = play.engine.wasmtime();
    let component = play.prepared.pre.instance_pre().component().clone();
    let name = &play.prepared.manifest.name;
    let profiler = GuestProfiler::new_component(engine, name, INTERVAL, component, []).map_err(host)?;
    let began = Instant::now();
    let sampler = Sampler(Arc::new(Mutex::new(Sampling {
        profiler: Some(profiler),
        last: began,
        samples: 0,
    })));
    let ticking = Ticking::start(engine.clone()).map_err(|error| ProfileError::Host(error.to_string()))?;
    let mut rounds = 0;
    while rounds == 0 || began.elapsed() < at_least {
        let mut player = Player::new(play.clone())?;
        player.sample_with(&sampler);
        while let Some(played) = player.play_next() {
            played?;
        }
        rounds += 1;
    }
    drop(ticking);
    let mut sampling = sampler.0.lock();
    let mut json = Vec::new();
    if let Some(profiler) = sampling.profiler.take() {
        profiler.finish(&mut json).map_err(host)?;
    }
    Ok(Profile {
        json,
        rounds,
        samples: sampling.samples,
    })
}

/// Raises the epoch at the interval: the engine's own ticker looks far less often, because it looks for something else.
struct Ticking {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ticking {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || {
                while !seen.load(Ordering::Relaxed) {
                    std::thread::park_timeout(INTERVAL);
                    engine.increment_epoch();
                }
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
