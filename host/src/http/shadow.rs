//! Shadow runs: a candidate beside the version that runs on a device.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::gate::{Deed, Visitor};
use super::places::Taken;
use super::problem::Problem;
use super::routes::json_value;
use super::{Shared, json};
use crate::driver::package::PACKAGE_LIMIT_BYTES;
use crate::driver::shadow::{NoRun, ShadowReport, Verdict, Wanted};

/// Largest body: the largest plugin in base64, and a little for the rest.
const BODY_BYTES: usize = (PACKAGE_LIMIT_BYTES as usize / 3 + 1) * 4 + 4096;
/// The longest run, in seconds.
const LONGEST_S: f64 = 3600.0;
/// When whoever may not wait may ask again.
const RETRY_S: u64 = 1;

/// `POST .../shadow-runs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShadowRunBody {
    /// The candidate's file in base64.
    plugin: String,
    /// How long live bytes are compared, in seconds; 10 if not given, at most 3600.
    #[serde(default = "ten_seconds")]
    seconds: f64,
    /// Whether the candidate is put into the plugin folder in place of the version that runs, if it is equal.
    #[serde(default)]
    adopt: bool,
}

fn ten_seconds() -> f64 {
    10.0
}

/// Runs a candidate beside the version that runs, and answers when the run is over. It ends with the request.
pub(super) async fn run(
    State(shared): State<Arc<Shared>>,
    Path(device): Path<String>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    body: Body,
) -> Result<Response, Problem> {
    let body: ShadowRunBody = json::read(body, BODY_BYTES).await?;
    let duration = match Duration::try_from_secs_f64(body.seconds) {
        Ok(duration) if body.seconds <= LONGEST_S => duration,
        _ => {
            return Err(Problem::BadBody(format!(
                "seconds is {}, and has to be from 0 to {LONGEST_S}",
                body.seconds
            )));
        }
    };
    let plugin = STANDARD
        .decode(body.plugin)
        .map_err(|error| Problem::BadBody(format!("plugin is not base64: {error}")))?;
    let taker = visitor.taker(&shared).whose_share();
    // Like a request that waits for a command's end: it takes no place of those for connections meanwhile.
    let _wait = shared.waits.take(taker).ok_or(Problem::TooManyWaits(RETRY_S))?;
    let _away = taken.away();
    let wanted = Wanted {
        plugin,
        duration,
        adopts: body.adopt,
    };
    let report = shared.shadow_runs.run(&device, wanted).await?;
    let mut response = json_value(&report).into_response();
    response.extensions_mut().insert(Deed(deed(&report)));
    Ok(response)
}

/// What is recorded beside the route.
fn deed(report: &ShadowReport) -> String {
    let hash = report.candidate.sha256.get(..12).unwrap_or_default();
    let verdict = match report.verdict {
        Verdict::Equal if report.adopted => "equal, adopted",
        Verdict::Equal => "equal",
        Verdict::Differs => "differs",
        Verdict::DivergedInWrites => "diverged in writes",
        Verdict::BrokeDown => "broke down",
        Verdict::GaveUp => "gave up",
        Verdict::NothingCompared => "nothing compared",
    };
    format!("{hash} on {}: {verdict}", report.device)
}

impl From<NoRun> for Problem {
    fn from(why: NoRun) -> Self {
        match why {
            NoRun::NotRunning(device) => Self::NoDriverRuns(device),
            NoRun::Busy(device) => Self::ShadowRunUnderWay(device),
            refused @ (NoRun::Candidate(_) | NoRun::Instance(..)) => {
                Self::CandidateRefused(refused.to_string())
            }
            broken @ (NoRun::Host(_) | NoRun::Adopt(..)) => Self::ShadowRunFailed(broken.to_string()),
        }
    }
}
