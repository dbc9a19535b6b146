//! What a driver may use up: memory over all its memories and tables, and time per call.

use std::time::{Duration, Instant};

use wasmtime::ResourceLimiter;

use super::host_state::LimitExceeded;

/// Bytes that a table element is counted as.
const TABLE_ELEMENT_BYTES: usize = 16;

/// Sums what all memories and tables of a store use. wasmtime's own `StoreLimits` limits each memory by itself and would let a driver have
/// thousands of them.
#[derive(Debug)]
pub struct MemoryLimit {
    limit_bytes: usize,
    used_bytes: usize,
    peak_bytes: usize,
}

impl MemoryLimit {
    /// Nothing used yet.
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
            peak_bytes: 0,
        }
    }

    /// Bytes in use.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// The most that was in use.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Counts growth, or ends the call. A refusal that the guest could answer would come back as whatever its language makes of it; ended
    /// here, it is named for what it is.
    fn grow(&mut self, added_bytes: usize) -> wasmtime::Result<bool> {
        let wanted = self.used_bytes.saturating_add(added_bytes);
        if wanted > self.limit_bytes {
            return Err(LimitExceeded(format!("more than {} bytes of memory", self.limit_bytes)).into());
        }
        self.used_bytes = wanted;
        self.peak_bytes = self.peak_bytes.max(wanted);
        Ok(true)
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(
            desired
                .saturating_sub(current)
                .saturating_mul(TABLE_ELEMENT_BYTES),
        )
    }

    fn instances(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }
}

/// How long one call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// Processor time of the thread.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
}

impl Deadline {
    /// A call while the driver runs.
    pub const CALL: Self = Self {
        cpu: Duration::from_millis(50),
        wall: Duration::from_secs(2),
    };
    /// A cold start or a description: a large language runtime needs its time, and nobody waits.
    pub const COLD_START: Self = Self {
        cpu: Duration::from_secs(2),
        wall: Duration::from_secs(10),
    };
    /// A start in a swap: the predecessor is at rest meanwhile.
    pub const SWAP_START: Self = Self {
        cpu: Duration::from_millis(200),
        wall: Duration::from_secs(2),
    };
}

/// Watches one call. The clocks are read at the first tick inside the call and not at its start: reading a thread's processor time is a system
/// call, which would cost more than most calls do. The price is that a call may run one tick longer.
#[derive(Debug)]
pub struct Watch {
    deadline: Deadline,
    first_tick: Option<(Duration, Instant)>,
    passed: Option<String>,
}

impl Watch {
    /// A watch for a call that begins now.
    pub fn new(deadline: Deadline) -> Self {
        Self {
            deadline,
            first_tick: None,
            passed: None,
        }
    }

    /// Called at each tick inside the call; true when the call is to end.
    pub fn tick(&mut self) -> bool {
        let cpu = thread_cpu_time();
        let now = Instant::now();
        let (cpu_start, wall_start) = *self.first_tick.get_or_insert((cpu, now));
        let cpu_used = cpu.saturating_sub(cpu_start);
        let wall_used = now.saturating_duration_since(wall_start);
        if cpu_used > self.deadline.cpu {
            self.passed = Some(format!(
                "more than {} ms of processor time in one call",
                self.deadline.cpu.as_millis()
            ));
        } else if wall_used > self.deadline.wall {
            self.passed = Some(format!(
                "more than {} ms in one call",
                self.deadline.wall.as_millis()
            ));
        }
        self.passed.is_some()
    }

    /// Why the call was ended, if it was.
    pub fn take_passed(&mut self) -> Option<String> {
        self.passed.take()
    }
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_for_the_sum_over_memories_and_tables() {
        let mut limit = MemoryLimit::new(100 << 10);
        assert!(limit.memory_growing(0, 64 << 10, None).unwrap());
        let second = limit.memory_growing(0, 64 << 10, None).unwrap_err();
        assert_eq!(
            second.downcast_ref(),
            Some(&LimitExceeded("more than 102400 bytes of memory".to_owned()))
        );
        assert!(limit.table_growing(0, 2048, None).unwrap());
        assert!(limit.table_growing(2048, 4096, None).is_err());
        assert_eq!(limit.used_bytes(), (64 << 10) + 2048 * TABLE_ELEMENT_BYTES);
    }

    #[test]
    fn a_call_within_its_deadline_is_left_alone() {
        let mut watch = Watch::new(Deadline::CALL);
        assert!(!watch.tick());
        assert_eq!(watch.take_passed(), None);
    }

    #[test]
    fn a_call_past_its_deadline_is_ended_with_the_reason() {
        let mut watch = Watch::new(Deadline {
            cpu: Duration::ZERO,
            wall: Duration::from_secs(60),
        });
        let mut turns = 0_u64;
        while !watch.tick() {
            turns += 1;
            assert!(turns < 10_000_000, "processor time does not pass");
        }
        assert!(watch.take_passed().unwrap().contains("processor time"));
    }
}
