//! What a daemon says at `/metrics`.

use std::collections::BTreeMap;

use super::Measured;
use super::http::Connection;

/// Every series with its value, by name and labels as they are written.
#[derive(Debug, Default)]
pub(super) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(super) fn take(daemon: &Measured) -> anyhow::Result<Self> {
        Ok(Self::read(
            &Connection::open(daemon)?.ask("GET", "/metrics", None)?,
        ))
    }

    fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// One series; 0 if it is not there.
    pub(super) fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// All series of one name together.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let series = self.0.iter().filter(|(series, _)| {
            series
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        });
        series.map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_and_added_up_by_name() {
        let scrape = Scrape::read(
            "# HELP a b\n# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3.5\na_total_more 9\nb 1\n",
        );
        assert_eq!(
            (scrape.get("b"), scrape.get("c"), scrape.get("a_total{x=\"2\"}")),
            (1.0, 0.0, 3.5)
        );
        assert_eq!(
            (scrape.sum("a_total"), scrape.sum("b"), scrape.sum("c")),
            (5.5, 1.0, 0.0)
        );
    }
}
