//! What the state says of the hub: who is connected and how far behind, what went wrong, how long things take.

use std::sync::Arc;

use autobench_core::state::Pointer;
use serde_json::{Map, Value};

use super::Shared;
use crate::state::StateHandle;

/// `meta` and `logs` follow what they count.
pub(super) fn count(shared: &Arc<Shared>, state: &StateHandle) {
    let clients_at = Pointer::of(["meta", "clients"]);
    let lag_at = Pointer::of(["meta", "maxClientLagVersions"]);
    let errors_at = Pointer::of(["meta", "errors"]);
    let timings_at = Pointer::of(["meta", "timings"]);
    let logs_at = Pointer::of(["logs"]);
    let weak = Arc::downgrade(shared);
    state.register_counters(move |store| {
        let Some(shared) = weak.upgrade() else {
            return;
        };
        let clients = shared.client_count();
        // A document without these members, as in a test, has nothing to count.
        if store.get(&clients_at).is_some() {
            let _ = store.set(&clients_at, clients.into());
        }
        if store.get(&lag_at).is_some() {
            let _ = store.set(&lag_at, shared.lag.most_versions().into());
        }
        if store.get(&errors_at).is_some() {
            let _ = store.set(&errors_at, shared.channels.logs.metrics().errors().into());
        }
        if let Some(Value::Object(present)) = store.get(&timings_at) {
            let timings = timings(&shared, present.clone());
            let _ = store.replace(&timings_at, Value::Object(timings));
        }
        if store.get(&logs_at).is_some()
            && let Ok(logs) = serde_json::to_value(shared.channels.logs.metadata())
        {
            let _ = store.replace(&logs_at, logs);
        }
    });
}

/// How long things take, beside what is there already (the start). The bounds of buckets and no exact times: what changed with every pass would
/// make a pass itself.
fn timings(shared: &Shared, mut present: Map<String, Value>) -> Map<String, Value> {
    let hub = &shared.channels.metrics;
    let state = shared.channels.state.metrics();
    for (p50, p99, histogram) in [
        ("hubPassP50", "hubPassP99", &hub.pass_time),
        ("stateFlushP50", "stateFlushP99", &state.flush_time),
        ("messageP50", "messageP99", &hub.message_time),
    ] {
        for (name, part) in [(p50, 0.5), (p99, 0.99)] {
            if let Some(ms) = histogram.quantile_ms(part) {
                present.insert(name.to_owned(), ms.into());
            }
        }
    }
    present
}
