//! What the drivers' threads tell the supervisor: who lives, and who broke down.

use std::collections::BTreeMap;
use std::sync::Arc;

use autobench_core::driver::versions::{Broken, VersionHash};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A board on which each driver has one place: what the supervisor has not read yet is overwritten by what is newer, so that nobody waits and
/// nothing that still matters is lost.
#[derive(Clone, Default)]
pub struct Lives(Arc<Board>);

#[derive(Default)]
struct Board {
    turns: Mutex<BTreeMap<Arc<str>, Turn>>,
    notify: Notify,
}

/// What has happened to a driver since the supervisor last looked.
#[derive(Debug, Default)]
pub struct Turn {
    /// It broke down: the last time.
    pub broken: Option<Broken>,
    /// It lives, since then.
    pub live: Option<VersionHash>,
    /// Its thread has ended since then, and nobody asked it to.
    pub has_ended: bool,
}

impl Lives {
    /// The driver lives.
    pub fn live(&self, device: &Arc<str>, version: VersionHash) {
        self.note(device, |turn| turn.live = Some(version));
    }

    /// The driver broke down.
    pub fn broke_down(&self, device: &Arc<str>, broken: Broken) {
        self.note(device, |turn| {
            *turn = Turn {
                broken: Some(broken),
                ..Turn::default()
            };
        });
    }

    /// The driver's thread ends by itself. It is the last that it says.
    fn ended(&self, device: &Arc<str>) {
        self.note(device, |turn| {
            turn.live = None;
            turn.has_ended = true;
        });
    }

    /// Tells of the end of the driver's thread when it is dropped: a panic over what is left to do before does not keep it from being told.
    #[must_use]
    pub fn ending(&self, device: &Arc<str>) -> Ending {
        Ending {
            lives: self.clone(),
            device: Arc::clone(device),
        }
    }

    /// Forgets what a driver said whose thread has ended.
    pub fn forget(&self, device: &str) {
        self.0.turns.lock().remove(device);
    }

    /// Waits for news and takes them. Nothing is lost when the future is dropped.
    pub async fn changed(&self) -> BTreeMap<Arc<str>, Turn> {
        loop {
            let notified = self.0.notify.notified();
            let turns = std::mem::take(&mut *self.0.turns.lock());
            if !turns.is_empty() {
                return turns;
            }
            notified.await;
        }
    }

    fn note(&self, device: &Arc<str>, note: impl FnOnce(&mut Turn)) {
        note(self.0.turns.lock().entry(Arc::clone(device)).or_default());
        self.0.notify.notify_one();
    }
}

/// The last moments of a driver's thread that ends by itself.
pub struct Ending {
    lives: Lives,
    device: Arc<str>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.lives.ended(&self.device);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_thread_is_told_although_its_last_words_panic() {
        let lives = Lives::default();
        let ending = lives.ending(&"meter".into());
        let last_words = std::thread::spawn(move || {
            let _told_last = ending;
            panic!("over the last words");
        });
        assert!(last_words.join().is_err());
        assert!(lives.changed().await.remove("meter").unwrap().has_ended);
    }

    #[tokio::test]
    async fn a_breakdown_is_told_although_the_driver_lives_again_and_not_the_life_before_it() {
        let lives = Lives::default();
        let device: Arc<str> = "meter".into();
        let version = VersionHash([1; 32]);
        let broken = Broken {
            hash: version,
            reason: "trap".to_owned(),
            blame: autobench_core::driver::versions::Blame::Version,
            is_quarantined: false,
        };
        lives.live(&device, version);
        lives.broke_down(&device, broken.clone());
        let turn = lives.changed().await.remove("meter").unwrap();
        assert_eq!((turn.broken, turn.live), (Some(broken.clone()), None));
        lives.broke_down(&device, broken.clone());
        lives.live(&device, version);
        let turn = lives.changed().await.remove("meter").unwrap();
        assert_eq!((turn.broken, turn.live), (Some(broken.clone()), Some(version)));
        // The end of its thread is the last, and what broke down before it is told with it.
        lives.broke_down(&device, broken.clone());
        lives.live(&device, version);
        drop(lives.ending(&device));
        let turn = lives.changed().await.remove("meter").unwrap();
        assert_eq!(
            (turn.broken, turn.live, turn.has_ended),
            (Some(broken), None, true)
        );
    }
}
