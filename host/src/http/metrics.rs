//! `/metrics`: what the daemon counts, for a scraper.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::Shared;
use crate::hub::Hub;
use crate::logs::LogHandle;
use crate::metrics::{self, Counter, Histogram, Page, Registry};
use crate::state::StateHandle;

/// What is counted about requests. It only rises.
#[derive(Debug, Default)]
pub(super) struct HttpMetrics {
    /// Connections that were accepted.
    pub(super) connections: Counter,
    /// Those of them that were turned away because there were too many.
    pub(super) turned_away: Counter,
    /// Answers, by the first digit of their status, from 1 to 5.
    answers: [Counter; 5],
    time: Histogram,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl HttpMetrics {
    pub(super) fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).saturating_sub(1);
        if let Some(counter) = self.answers.get(class) {
            counter.inc();
        }
        self.time.observe(took);
    }

    fn page(&self, page: &mut Page) {
        let names = CLASSES.map(|class| [("code", class)]);
        let answers = names
            .iter()
            .zip(&self.answers)
            .map(|(name, count)| (&name[..], count.get()));
        page.counters(
            "autobench_http_requests_total",
            "Requests that were answered, by class of the status",
            answers,
        );
        page.histogram(
            "autobench_http_request_duration_seconds",
            "How long it took to answer a request",
            &self.time,
        );
        page.counter(
            "autobench_http_connections_total",
            "Connections that were accepted",
            self.connections.get(),
        );
        page.counter(
            "autobench_http_turned_away_total",
            "Connections that were turned away because there were too many at once",
            self.turned_away.get(),
        );
    }
}

/// Lets everybody who counts something here speak at a scrape.
pub(super) fn register(
    registry: &Registry,
    state: &StateHandle,
    logs: &LogHandle,
    hub: &Hub,
    http: &Arc<HttpMetrics>,
) {
    registry.register(|page| {
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        page.gauges(
            "autobench_build_info",
            "Always 1; the label is the daemon's version",
            [(&labels[..], 1)],
        );
    });
    let state = state.clone();
    registry.register(move |page| state.page(page));
    let hub = hub.clone();
    registry.register(move |page| hub.page(page));
    let logs = logs.clone();
    registry.register(move |page| logs.page(page));
    let http = Arc::clone(http);
    registry.register(move |page| http.page(page));
    registry.register(metrics::process);
}

/// The page.
pub(super) async fn handle(State(shared): State<Arc<Shared>>) -> Response {
    let headers = [(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")];
    (headers, shared.registry.render()).into_response()
}
