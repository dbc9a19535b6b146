//! Load that another process asks for, line by line.

use std::io::{self, BufRead};
use std::str::FromStr;

use super::source::{LoadPlan, Source};
use crate::logs::LogHandle;
use crate::state::StateHandle;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    /// `updates RATE BURST`: change the state so often per second, so many times at once.
    Updates(LoadPlan),
    /// `entries RATE BURST`: log as much.
    Entries(LoadPlan),
    /// `stop`: neither.
    Stop,
}

impl FromStr for Order {
    type Err = io::Error;

    fn from_str(line: &str) -> io::Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let plan = |rate: &str, burst: &str| {
            Some(LoadPlan {
                per_s: rate.parse().ok()?,
                burst: burst.parse().ok()?,
            })
        };
        let order = match words[..] {
            ["updates", rate, burst] => plan(rate, burst).map(Self::Updates),
            ["entries", rate, burst] => plan(rate, burst).map(Self::Entries),
            ["stop"] => Some(Self::Stop),
            _ => None,
        };
        order.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{line:?} is no order for the load"),
            )
        })
    }
}

/// Obeys until the orders end, and says so of each line. Then whoever gave them is gone, and so is the reason for the load.
pub fn obey(
    orders: impl BufRead,
    state: &StateHandle,
    logs: &LogHandle,
    mut obeyed: impl FnMut(&str),
) -> io::Result<()> {
    let mut updates = None;
    let mut entries = None;
    for line in orders.lines() {
        let line = line?;
        match line.parse()? {
            // The one before ends first: two at once would be more than was asked for.
            Order::Updates(plan) => {
                drop(updates.take());
                updates = Some(Source::updates(state, plan)?);
            }
            Order::Entries(plan) => {
                drop(entries.take());
                entries = Some(Source::entries(logs, plan)?);
            }
            Order::Stop => {
                drop(updates.take());
                drop(entries.take());
            }
        }
        obeyed(&line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_and_anything_else_is_refused() {
        let plan = LoadPlan {
            per_s: 2.5,
            burst: 16,
        };
        assert_eq!("updates 2.5 16".parse::<Order>().unwrap(), Order::Updates(plan));
        assert_eq!(
            " entries 2.5  16 ".parse::<Order>().unwrap(),
            Order::Entries(plan)
        );
        assert_eq!("stop".parse::<Order>().unwrap(), Order::Stop);
        for wrong in [
            "",
            "updates",
            "updates 1",
            "updates x 1",
            "updates 1 -1",
            "stop it",
        ] {
            assert!(wrong.parse::<Order>().is_err(), "{wrong:?}");
        }
    }
}
