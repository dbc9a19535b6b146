//! What a call changes in the state, as one version, and the alarms that go with it.

use autobench_core::driver::{AlarmChange, Effects, LogLevel, Severity};
use autobench_core::state::StateError;

use super::{DeviceSink, newest_phase};
use crate::driver::alarms::AlarmUpdate;

impl DeviceSink {
    /// Raises a critical alarm of the device that no driver has asked for.
    pub fn raise(&mut self, key: &str, message: String) {
        let raised = self.alarms.change(AlarmChange::Raise {
            key: key.to_owned(),
            severity: Severity::Critical,
            message,
        });
        self.tell_alarms(raised.into_iter().collect());
    }

    /// Slice, phase and alarms of one call, as one version. If the slice refuses its operations, the rest is applied all the same.
    pub(super) fn apply_to_state(&mut self, effects: &mut Effects) -> Result<(), StateError> {
        // A failure is the cell's to act on; of several phases in one call only the last ever was the phase.
        let phase = newest_phase(&effects.status);
        effects.status.clear();
        let alarms: Vec<_> = effects
            .alarms
            .drain(..)
            .filter_map(|change| self.alarms.change(change))
            .collect();
        if phase.is_none() && alarms.is_empty() {
            if effects.operations.is_empty() {
                return Ok(());
            }
            return self
                .state
                .apply_slice(&self.slice, &effects.operations)
                .map(|_| ());
        }
        let mut applied = Ok(());
        let published = self.record.change_with(
            |entry| {
                if let Some(phase) = phase {
                    entry.phase = Some(phase);
                }
            },
            |transaction| {
                applied = transaction.apply(&self.slice, &effects.operations);
                alarms.iter().for_each(|alarm| alarm.apply(transaction));
            },
        );
        if let Err(error) = published {
            // The size of a slice is only known at the end: everything else goes out without it.
            applied = Err(error);
            self.publish_alarms(&alarms);
        }
        for alarm in alarms {
            self.hub.publish_alarm(alarm.message);
        }
        applied
    }

    /// The version that rested is back, and its alarms with it.
    pub fn bring_alarms_back(&mut self) {
        if let Some(former) = self.former_alarms.take() {
            let alarms = self.alarms.go_back_to(former);
            self.tell_alarms(alarms);
        }
    }

    pub(super) fn clear_alarms(&mut self) {
        let alarms = self.alarms.clear_all();
        self.tell_alarms(alarms);
    }

    fn tell_alarms(&self, alarms: Vec<AlarmUpdate>) {
        if alarms.is_empty() {
            return;
        }
        self.publish_alarms(&alarms);
        for alarm in alarms {
            self.hub.publish_alarm(alarm.message);
        }
    }

    fn publish_alarms(&self, alarms: &[AlarmUpdate]) {
        let published = self.record.change_with(
            |_| (),
            |transaction| alarms.iter().for_each(|alarm| alarm.apply(transaction)),
        );
        if let Err(error) = published {
            self.log(LogLevel::Error, format!("its alarms are not published: {error}"));
        }
    }
}
