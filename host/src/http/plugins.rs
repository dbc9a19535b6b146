//! What may be done about versions of drivers: try the newest file again, go back to an earlier version.

use std::sync::Arc;
use std::time::Duration;

use autobench_core::driver::versions::{NoHash, Reload};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use hyper::{StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gate::{Deed, Visitor};
use super::places::Taken;
use super::problem::Problem;
use super::query::Query;
use super::routes::json_value;
use super::{Shared, json};
use crate::driver::desk::{NotDone, NotTaken, Order, Outcome};

/// Largest body.
const BODY_BYTES: usize = 4 << 10;
/// How long what comes of an order is waited for unless the query says otherwise: a plugin may take a while to compile.
const WAIT_MS: u64 = 30_000;
/// The longest that is waited.
const LONGEST_WAIT_MS: u64 = 600_000;
/// When whoever may not wait may ask again.
const RETRY_S: u64 = 1;

/// `POST .../reload`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ReloadBody {
    /// Whether a version that was refused is offered again, too.
    #[serde(default)]
    force: bool,
}

/// `POST .../rollback`: nothing has to be said.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RollbackBody {}

/// `POST .../grant`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct GrantBody {
    /// Hash of the version that waits, as `plugins.<name>.waiting.sha256` has it: what is consented to is what somebody has seen.
    sha256: String,
}

/// What came of it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OutcomesBody {
    /// One for each device, or one for a plugin that no device names; empty while it is under way.
    outcomes: Vec<Outcome>,
}

/// Tries the newest file of a plugin again, on every device that it is bound to.
pub(super) async fn reload_plugin(
    State(shared): State<Arc<Shared>>,
    Path(plugin): Path<String>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let how = how(body).await?;
    ordered(&shared, &visitor, &taken, &uri, Order::ReloadPlugin(plugin, how)).await
}

/// Tries the newest file of a device's plugin again, on this device.
pub(super) async fn reload_device(
    State(shared): State<Arc<Shared>>,
    Path(device): Path<String>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let how = how(body).await?;
    ordered(&shared, &visitor, &taken, &uri, Order::ReloadDevice(device, how)).await
}

/// Goes back to the good version before the one that runs.
pub(super) async fn roll_back(
    State(shared): State<Arc<Shared>>,
    Path(device): Path<String>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let RollbackBody {} = json::read(body, BODY_BYTES).await?;
    ordered(&shared, &visitor, &taken, &uri, Order::RollBack(device)).await
}

/// Consents to what the version wants that waits.
pub(super) async fn grant(
    State(shared): State<Arc<Shared>>,
    Path(plugin): Path<String>,
    Extension(visitor): Extension<Visitor>,
    Extension(taken): Extension<Arc<Taken>>,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let GrantBody { sha256 } = json::read(body, BODY_BYTES).await?;
    let hash = sha256
        .parse()
        .map_err(|error: NoHash| Problem::BadBody(error.to_string()))?;
    ordered(&shared, &visitor, &taken, &uri, Order::Consent(plugin, hash)).await
}

async fn how(body: Body) -> Result<Reload, Problem> {
    let body: ReloadBody = json::read(body, BODY_BYTES).await?;
    Ok(match body.force {
        true => Reload::Forced,
        false => Reload::Plain,
    })
}

/// Lays the order down and waits for what comes of it: 200, or 202 when the time is over before. It goes on all the same then.
async fn ordered(
    shared: &Shared,
    visitor: &Visitor,
    taken: &Arc<Taken>,
    uri: &Uri,
    order: Order,
) -> Result<Response, Problem> {
    let wait_ms = Query::of(uri).number("wait")?.unwrap_or(WAIT_MS);
    let wait = Duration::from_millis(wait_ms.min(LONGEST_WAIT_MS));
    let taker = visitor.taker(shared).whose_share();
    // Like a request that waits for a command's end: it takes no place of those for connections meanwhile.
    let _wait = shared.waits.take(taker).ok_or(Problem::TooManyWaits(RETRY_S))?;
    let _away = taken.away();
    let deed = deed(&order);
    // The gate lets nobody in whom nobody knows.
    let by = visitor.actor.as_ref().map_or("nobody", |actor| &actor.name);
    let answered = shared.desk.ask(order, by).map_err(|refused| match refused {
        NotTaken::Full => Problem::TooManyWaits(RETRY_S),
        NotTaken::Closed => Problem::NotReady("without a supervisor".to_owned()),
    })?;
    let (status, outcomes) = match tokio::time::timeout(wait, answered).await {
        Ok(Ok(Ok(outcomes))) => (StatusCode::OK, outcomes),
        Ok(Ok(Err(refused))) => return Err(refused.into()),
        Ok(Err(_)) => return Err(Problem::NotReady("stopping".to_owned())),
        Err(_) => (StatusCode::ACCEPTED, Vec::new()),
    };
    let verdicts: Vec<String> = outcomes
        .iter()
        .map(|outcome| {
            let whom = outcome.device.as_deref().unwrap_or(&outcome.plugin);
            format!("{whom} {}", outcome.verdict.as_str())
        })
        .collect();
    let mut response = (status, json_value(&OutcomesBody { outcomes })).into_response();
    response
        .extensions_mut()
        .insert(Deed(format!("{deed}: {}", verdicts.join(", "))));
    Ok(response)
}

/// What is recorded beside the route.
fn deed(order: &Order) -> String {
    let deed = match order {
        Order::Consent(_, hash) => return format!("to what {} wants", hash.short()),
        Order::ReloadPlugin(_, Reload::Forced) | Order::ReloadDevice(_, Reload::Forced) => "forced",
        Order::ReloadPlugin(..) | Order::ReloadDevice(..) => "not forced",
        Order::RollBack(_) => "to the good version before",
    };
    deed.to_owned()
}

impl From<NotDone> for Problem {
    fn from(why: NotDone) -> Self {
        match why {
            NotDone::UnknownPlugin(plugin) => Self::UnknownPlugin(plugin),
            NotDone::UnknownDevice(device) => Self::UnknownDevice(device),
            NotDone::NoEarlier(reason) => Self::NoEarlierVersion(reason),
            NotDone::NothingWaits(plugin) => Self::NothingWaits(plugin),
            NotDone::OtherWaits(hash) => Self::OtherWaits(hash.to_string()),
            NotDone::Busy => Self::TooManyWaits(RETRY_S),
        }
    }
}
