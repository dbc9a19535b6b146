//! The text that Prometheus reads, version 0.0.4.

use std::fmt::{Display, Write};

use super::Histogram;

/// What the page is, for the answer's head.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page under way. Each metric is written once, with all its series.
#[derive(Debug, Default)]
pub struct Page(String);

/// Names and values of labels.
type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// A number that only rises.
    pub fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.counters(name, help, [(&[] as Labels<'_>, value)]);
    }

    /// The same for several series.
    pub fn counters<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        self.family(name, "counter", help, series);
    }

    /// A number that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help, [(&[] as Labels<'_>, value)]);
    }

    /// The same for several series.
    pub fn gauges<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        self.family(name, "gauge", help, series);
    }

    /// Durations, in seconds.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.histograms(name, help, [(&[] as Labels<'_>, histogram)]);
    }

    /// The same for several series.
    pub fn histograms<'a>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, &'a Histogram)>,
    ) {
        self.head(name, "histogram", help);
        for (labels, histogram) in series {
            let mut below = 0;
            for (bound_ns, count) in histogram.counts() {
                below += count;
                let bound = bound_ns.map_or("+Inf".to_owned(), |ns| (ns as f64 / 1e9).to_string());
                let labels = [labels, &[("le", bound.as_str())]].concat();
                self.sample(&format!("{name}_bucket"), &labels, below);
            }
            self.sample(&format!("{name}_sum"), labels, histogram.sum_s());
            // The last bucket, and not a count of its own: the two must agree in every scrape.
            self.sample(&format!("{name}_count"), labels, below);
        }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }

    fn family<'a, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) {
        self.head(name, kind, help);
        for (labels, value) in series {
            self.sample(name, labels, value);
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        if labels.is_empty() {
            return self.line(format_args!("{name} {value}"));
        }
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| {
                let value = value
                    .replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n");
                format!("{label}=\"{value}\"")
            })
            .collect();
        self.line(format_args!("{name}{{{}}} {value}", labels.join(",")));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.counter("autobench_things_total", "Things\\that came\nin", 3);
        page.gauges(
            "autobench_room_bytes",
            "Room",
            [
                (&[("name", "a \"b\"")] as Labels<'_>, 0.5),
                (&[("name", "c\\d\n")], 2.0),
            ],
        );
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(3));
        histogram.observe(Duration::from_secs(2));
        page.histogram("autobench_work_seconds", "Work", &histogram);
        let text = page.into_text();
        assert!(text.starts_with(
            "# HELP autobench_things_total Things\\\\that came\\nin\n# TYPE autobench_things_total counter\nautobench_things_total 3\n"
        ));
        assert!(text.contains(
            "autobench_room_bytes{name=\"a \\\"b\\\"\"} 0.5\nautobench_room_bytes{name=\"c\\\\d\\n\"} 2\n"
        ));
        assert!(text.contains("autobench_work_seconds_bucket{le=\"0.000001\"} 0\nautobench_work_seconds_bucket{le=\"0.000005\"} 1\n"));
        assert!(text.ends_with(
            "autobench_work_seconds_bucket{le=\"+Inf\"} 2\nautobench_work_seconds_sum 2.000003\nautobench_work_seconds_count 2\n"
        ));
    }
}
