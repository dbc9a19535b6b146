//! Which panes the mirror shows where: as the configuration says, or as its devices suggest.

use autobench_core::wire::{Layout, Pane};

use crate::config::{BenchConfig, SliceName};

/// The layout of a bench.
pub fn of(config: &BenchConfig) -> Layout {
    config.layout.clone().unwrap_or_else(|| default(config))
}

/// What is wrong with a layout that comes from outside: the same that would be wrong in `[layout]`.
pub fn mistakes(layout: &Layout, is_device: impl Fn(&str) -> bool) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (name, size) in [("rows", layout.rows), ("cols", layout.cols)] {
        if !(1..=MOST_ROWS).contains(&size) {
            mistakes.push(format!(
                "\"{name}\" is {size}, and has to be from 1 to {MOST_ROWS}"
            ));
        }
    }
    if layout.panes.is_empty() {
        mistakes.push("it has no panes".to_owned());
    }
    // As many as fit; what is beyond covers another anyway, and shall not cost the square of its number.
    let most = (MOST_ROWS * MOST_ROWS) as usize;
    if layout.panes.len() > most {
        mistakes.push(format!("it has more than {most} panes"));
        return mistakes;
    }
    for (index, pane) in layout.panes.iter().enumerate() {
        let before = layout.panes.get(..index).unwrap_or_default();
        check_pane(layout, pane, before, &is_device, &mut mistakes);
    }
    mistakes
}

/// Most rows and columns of a grid.
const MOST_ROWS: u32 = 24;

fn check_pane(
    layout: &Layout,
    pane: &Pane,
    before: &[Pane],
    is_device: &impl Fn(&str) -> bool,
    mistakes: &mut Vec<String>,
) {
    let id: String = pane.id.chars().take(64).collect();
    if pane.id.is_empty() || pane.id.len() > 64 || pane.pane.is_empty() || pane.pane.len() > 64 {
        mistakes.push(format!(
            "the pane {id:?} needs an id and a kind of at most 64 letters"
        ));
    }
    if before.iter().any(|other| other.id == pane.id) {
        mistakes.push(format!("there are two panes {id:?}"));
    }
    let ends = |first: u32, span: u32| first.checked_add(span).filter(|_| span > 0);
    let (rows, cols) = (ends(pane.row, pane.row_span), ends(pane.col, pane.col_span));
    let fits = |end: Option<u32>, size: u32| end.is_some_and(|end| end <= size);
    if !fits(rows, layout.rows) || !fits(cols, layout.cols) {
        mistakes.push(format!(
            "the pane {id:?} reaches beyond the grid of {} rows and {} columns, or covers nothing",
            layout.rows, layout.cols
        ));
    } else if let Some(other) = before.iter().find(|other| overlap(other, pane)) {
        let other: String = other.id.chars().take(64).collect();
        mistakes.push(format!("the pane {id:?} covers part of the pane {other:?}"));
    }
    if let Some(device) = pane.device.as_deref().filter(|device| !is_device(device)) {
        mistakes.push(format!(
            "the pane {id:?} names a device {device:?}, which is not there"
        ));
    }
    if let Some(slice) = &pane.slice
        && let Err(error) = SliceName::new(slice)
    {
        mistakes.push(format!(
            "the pane {id:?} names {slice:?}, which is no {}",
            error.what
        ));
    }
}

/// Whether two panes want the same place.
pub fn overlap(one: &Pane, other: &Pane) -> bool {
    let meet = |first: u32, span: u32, other_first: u32, other_span: u32| {
        first < other_first.saturating_add(other_span) && other_first < first.saturating_add(span)
    };
    meet(one.row, one.row_span, other.row, other.row_span)
        && meet(one.col, one.col_span, other.col, other.col_span)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pane(id: &str, row: u32, col: u32) -> Pane {
        Pane {
            id: id.to_owned(),
            pane: "logs".to_owned(),
            slice: None,
            device: None,
            row,
            col,
            row_span: 1,
            col_span: 1,
        }
    }

    fn told(rows: u32, panes: Vec<Pane>) -> Vec<String> {
        let layout = Layout { rows, cols: 2, panes };
        mistakes(&layout, |device| device == "meter")
    }

    #[test]
    fn a_good_layout_has_no_mistake() {
        let metered = Pane {
            device: Some("meter".to_owned()),
            slice: Some("powerMeter".to_owned()),
            ..pane("a", 0, 0)
        };
        assert_eq!(told(2, vec![metered, pane("b", 1, 1)]), [""; 0]);
    }

    #[test]
    fn every_mistake_is_told() {
        let odd = |change: fn(&mut Pane)| {
            let mut odd = pane("b", 1, 1);
            change(&mut odd);
            told(2, vec![pane("a", 0, 0), odd])
        };
        for (told, word) in [
            (told(0, vec![pane("a", 0, 0)]), "\"rows\" is 0"),
            (told(25, vec![pane("a", 0, 0)]), "\"rows\" is 25"),
            (told(2, Vec::new()), "no panes"),
            (odd(|pane| pane.id = "a".to_owned()), "two panes"),
            (odd(|pane| pane.id.clear()), "needs an id"),
            (odd(|pane| pane.row = 2), "reaches beyond"),
            (odd(|pane| pane.row_span = u32::MAX), "reaches beyond"),
            (odd(|pane| pane.col_span = 0), "covers nothing"),
            (odd(|pane| (pane.row, pane.col) = (0, 0)), "covers part"),
            (odd(|pane| pane.device = Some("mouse".to_owned())), "is not there"),
            (
                odd(|pane| pane.slice = Some("__proto__".to_owned())),
                "which is no",
            ),
        ] {
            assert!(told.iter().any(|line| line.contains(word)), "{word}: {told:?}");
        }
    }
}
