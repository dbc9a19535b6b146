//! Which panes the mirror shows where: as the configuration says, or as its devices suggest.

use autobench_core::wire::{Layout, Pane};

use crate::config::BenchConfig;

/// The layout of a bench.
pub fn of(config: &BenchConfig) -> Layout {
    config.layout.clone().unwrap_or_else(|| default(config))
}

/// One pane per device in the left column, the log beside them, the state below.
fn default(config: &BenchConfig) -> Layout {
    let device_rows = u32::try_from(config.devices.len()).unwrap_or(u32::MAX - 1).max(1);
    let pane = |id: &str, pane: &str, row, col, row_span, col_span| Pane {
        id: id.to_owned(),
        pane: pane.to_owned(),
        slice: None,
        device: None,
        row,
        col,
        row_span,
        col_span,
    };
    let devices = config.devices.values().zip(0..).map(|(device, row)| Pane {
        slice: Some(device.slice.to_string()),
        device: Some(device.id.to_string()),
        ..pane(device.id.as_str(), device.plugin.as_str(), row, 0, 1, 1)
    });
    let others = [
        pane("logs", "logs", 0, 1, device_rows, 1),
        pane("state", "state", device_rows, 0, 1, 2),
    ];
    Layout {
        rows: device_rows + 1,
        cols: 2,
        panes: devices.chain(others).collect(),
    }
}
