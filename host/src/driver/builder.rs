//! Instances of one version for one device: with which ports, slices and memory, and whom they count for.

use std::collections::BTreeSet;
use std::sync::Arc;

use autobench_core::driver::Fault;

use super::engine::Engine;
use super::health::Health;
use super::host_state::{KeepsHolds, NoHolds, ReadSlices, Rights};
use super::instance::Instance;
use super::loader::Prepared;
use crate::serial::PortView;

/// Makes instances of a version.
#[derive(Clone)]
pub struct InstanceBuilder {
    pub(super) engine: Arc<Engine>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) memory_limit_bytes: usize,
    pub(super) device: Arc<str>,
    pub(super) ports: Arc<[Arc<dyn PortView>]>,
    pub(super) readable_slices: Arc<[Arc<str>]>,
    pub(super) slices: Arc<dyn ReadSlices>,
    pub(super) holds: Arc<dyn KeepsHolds>,
    pub(super) health: Arc<Health>,
}

impl InstanceBuilder {
    /// The same for another version, which counts by itself.
    pub(super) fn clone_for(&self, prepared: Arc<Prepared>, readable_slices: Arc<[Arc<str>]>) -> Self {
        Self {
            prepared,
            readable_slices,
            ..self.clone()
        }
    }

    /// The ports of the device.
    pub(super) fn ports(&self) -> &[Arc<dyn PortView>] {
        &self.ports
    }

    /// An instance with other ports, which holds nothing, and whose use of memory is not the driver's.
    pub(super) fn build_with(
        &self,
        ports: Arc<[Arc<dyn PortView>]>,
        standing_alarms: &BTreeSet<String>,
    ) -> Result<Instance, Fault> {
        let aside = Self {
            ports,
            holds: Arc::new(NoHolds),
            health: Arc::default(),
            ..self.clone()
        };
        aside.build(standing_alarms)
    }

    pub(super) fn build(&self, standing_alarms: &BTreeSet<String>) -> Result<Instance, Fault> {
        let rights = self.rights(standing_alarms);
        Instance::new(
            &self.engine,
            &self.prepared.pre,
            rights,
            self.memory_limit_bytes(),
        )
    }

    fn memory_limit_bytes(&self) -> usize {
        memory_limit_bytes(&self.prepared, self.memory_limit_bytes)
    }

    pub(super) fn rights(&self, standing_alarms: &BTreeSet<String>) -> Rights {
        Rights {
            device: Arc::clone(&self.device),
            ports: Arc::clone(&self.ports),
            readable_slices: Arc::clone(&self.readable_slices),
            slices: Arc::clone(&self.slices),
            holds: Arc::clone(&self.holds),
            series_count: self.prepared.manifest.series.len(),
            standing_alarms: standing_alarms.clone(),
            version: self.prepared.hash,
            health: Arc::clone(&self.health),
        }
    }
}

/// What the manifest asks for, at most what the device may have.
pub(super) fn memory_limit_bytes(prepared: &Prepared, granted: usize) -> usize {
    let asked = prepared.manifest.memory_bytes;
    asked
        .and_then(|bytes| usize::try_from(bytes).ok())
        .map_or(granted, |asked| asked.min(granted))
}
