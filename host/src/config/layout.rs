//! `[layout]`.

use std::collections::BTreeMap;

use autobench_core::wire::{Layout, Pane};

use super::model::DeviceConfig;
use super::name::{DeviceId, SliceName};
use super::problem::nearest;
use super::raw::{RawLayout, RawPane};
use super::tree::Findings;
use super::values::{integer, name};
use crate::layout::overlap;

/// The grid of panes.
pub fn layout(
    raw: &RawLayout,
    devices: &BTreeMap<DeviceId, DeviceConfig>,
    findings: &mut Findings,
) -> Layout {
    let rows = integer(&raw.rows, "rows", 2, 1..=24, findings);
    let cols = integer(&raw.cols, "cols", 2, 1..=24, findings);
    if raw.panes.is_empty() {
        findings.missing(
            "missing-key",
            &raw.at,
            "the layout has no panes",
            "write [[layout.panes]], or leave [layout] out",
        );
    }
    let mut panes: Vec<Pane> = Vec::with_capacity(raw.panes.len());
    for raw in &raw.panes {
        let Some(pane) = pane(raw, devices, findings) else {
            continue;
        };
        if panes.iter().any(|other| other.id == pane.id) {
            let at = raw.id.as_ref().map_or(&raw.at, |written| &written.at);
            findings.error(
                "duplicate",
                at,
                format!("there is a pane \"{}\" already", pane.id),
                "give each pane its own id",
            );
        }
        if pane.row + pane.row_span > rows || pane.col + pane.col_span > cols {
            let message = format!(
                "the pane \"{}\" reaches beyond the grid of {rows} rows and {cols} columns",
                pane.id
            );
            findings.error(
                "bad-value",
                &raw.at,
                message,
                "rows and columns are counted from 0; make the grid larger or the pane smaller",
            );
        } else if let Some(other) = panes.iter().find(|other| overlap(other, &pane)) {
            let message = format!(
                "the pane \"{}\" covers part of the pane \"{}\"",
                pane.id, other.id
            );
            findings.error("bad-value", &raw.at, message, "move one of them");
        }
        panes.push(pane);
    }
    Layout { rows, cols, panes }
}

fn pane(raw: &RawPane, devices: &BTreeMap<DeviceId, DeviceConfig>, findings: &mut Findings) -> Option<Pane> {
    if raw.pane.is_none() {
        findings.missing(
            "missing-key",
            &raw.at,
            "this pane does not say what it shows",
            "write pane = \"power-meter\", \"logs\" or \"state\"",
        );
    }
    let pane = raw.pane.as_ref()?.value.clone();
    let mut slice = raw
        .slice
        .as_ref()
        .and_then(|written| name(written, |text| SliceName::new(text), findings));
    let mut device = None;
    if let Some(written) = &raw.device {
        match devices.get(written.value.as_str()) {
            Some(config) => {
                device = Some(config.id.clone());
                slice = slice.or_else(|| Some(config.slice.clone()));
            }
            None => {
                let ids = devices.keys().map(DeviceId::as_str);
                let hint = match nearest(&written.value, ids.clone()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => format!("there are: {}", ids.collect::<Vec<_>>().join(", ")),
                };
                findings.missing(
                    "unknown-device",
                    &written.at,
                    format!("there is no good device \"{}\"", written.value),
                    hint,
                );
            }
        }
    }
    Some(Pane {
        id: raw
            .id
            .as_ref()
            .map_or_else(|| pane.clone(), |written| written.value.clone()),
        pane,
        slice: slice.map(|slice| slice.to_string()),
        device: device.map(|device| device.to_string()),
        row: integer(&raw.row, "row", 0, 0..=23, findings),
        col: integer(&raw.col, "col", 0, 0..=23, findings),
        row_span: integer(&raw.row_span, "row-span", 1, 1..=24, findings),
        col_span: integer(&raw.col_span, "col-span", 1, 1..=24, findings),
    })
}
