//! Threads for which something waits: they run for some microseconds at a time, and the system is to give them their turn soon when all processors
//! are busy.
//!
//! Linux, from 6.12 on, lets each thread say how long it wants to run at a time. Whoever asks for little has its turn earlier, and gets no larger
//! share: beside a compiler and other programs a row of the meter comes to a browser sooner, and nobody gets less. It needs no right. A system
//! that does not know it changes nothing.

use std::io;
use std::thread::JoinHandle;

/// What such a thread wants to run at a time: the least that Linux takes.
const SLICE_NS: u64 = 100_000;

/// Starts such a thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(move || {
        ask_for_short_turns();
        run()
    })
}

/// Makes the calling thread such a thread.
pub fn ask_for_short_turns() {
    // Without it everything works all the same, only later when the machine is busy.
    if let Err(error) = set_slice(SLICE_NS) {
        tracing::debug!(%error, "this thread gets the turns that all get");
    }
}

#[cfg(target_os = "linux")]
fn set_slice(slice_ns: u64) -> io::Result<()> {
    let mut attributes = attributes()?;
    let policy = libc::c_int::try_from(attributes.sched_policy).unwrap_or(-1);
    if policy != libc::SCHED_OTHER && policy != libc::SCHED_BATCH {
        // Whoever runs the daemon has chosen how, and there the field means something else.
        return Ok(());
    }
    attributes.sched_runtime = slice_ns;
    // Threads that this one starts get the turns that all get.
    attributes.sched_flags = libc::SCHED_FLAG_RESET_ON_FORK as u64;
    // SAFETY: the structure is whole, says its size, and outlives the call, which only reads it; 0 is the calling thread.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How the calling thread is scheduled.
#[cfg(target_os = "linux")]
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: 0,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the system writes at most `size` bytes, which the structure has, and any bytes are integers; 0 is the calling thread.
    let answer = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if answer == 0 {
        Ok(attributes)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(not(target_os = "linux"))]
fn set_slice(_slice_ns: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_shorter_turns_and_nothing_else_of_it_changes() {
        let before = attributes().unwrap();
        let asked = spawn("asked", attributes).unwrap().join().unwrap().unwrap();
        assert_eq!(
            (asked.sched_policy, asked.sched_nice, asked.sched_priority),
            (before.sched_policy, before.sched_nice, before.sched_priority)
        );
        let child = spawn("asked", || std::thread::spawn(attributes).join());
        let child = child.unwrap().join().unwrap().unwrap().unwrap();
        assert_eq!(
            child.sched_runtime, before.sched_runtime,
            "no thread that it starts"
        );
        // A system that does not know of it says 0.
        if before.sched_runtime != 0 {
            assert_eq!(asked.sched_runtime, SLICE_NS);
        }
        assert_eq!(
            attributes().unwrap().sched_runtime,
            before.sched_runtime,
            "only that one"
        );
    }
}
