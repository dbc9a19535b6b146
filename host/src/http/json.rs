//! Bodies as JSON, read within a size. How long one may take is its connection's.

use axum::body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A body as JSON. Nothing of one that is larger than the limit is looked at.
pub(super) async fn read<T: DeserializeOwned>(body: Body, limit_bytes: usize) -> Result<T, Problem> {
    let whole = Limited::new(body, limit_bytes).collect();
    let bytes = match whole.await {
        Err(error) if error.is::<LengthLimitError>() => return Err(Problem::TooLarge(limit_bytes)),
        Err(_) => return Err(Problem::BadBody("it does not come to its end".to_owned())),
        Ok(collected) => collected.to_bytes(),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        if error.is_data() {
            Problem::BadBody(error.to_string())
        } else {
            Problem::BadJson(error.to_string())
        }
    })
}
