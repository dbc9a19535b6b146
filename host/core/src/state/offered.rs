//! Members that are always there and whose content is a driver's: whichever names one of them as its slice.
//!
//! Every client knows their type ([`AppState`](crate::wire::AppState)), whatever driver writes them, or none. So they are never missing, and no
//! transaction may end with one that is not of its type. Only what a client cannot read the rest without is looked at, and none of it costs
//! more for a longer queue.

use serde_json::Value as Json;

use crate::wire::{JobsEntry, PnoEntry};

/// Members of the state that a driver may have as its slice, and that are as by default while none has.
pub const OFFERED_MEMBERS: [&str; 3] = ["streams", "jobs", "pno"];

/// What an offered member is while no driver writes it. None for any other member.
pub(super) fn default_of(member: &str) -> Option<Json> {
    let default = match member {
        "streams" => Ok(Json::Object(serde_json::Map::new())),
        "jobs" => serde_json::to_value(JobsEntry::default()),
        "pno" => serde_json::to_value(PnoEntry::default()),
        _ => return None,
    };
    // Structs of texts and lists can always be written.
    default.ok()
}

/// What an offered member would have to be, if it is not that. None for any other member.
pub(super) fn misfit(member: &str, value: &Json) -> Option<&'static str> {
    let has = |name: &str, is: fn(&Json) -> bool| value.get(name).is_some_and(is);
    let (fits, wanted) = match member {
        "streams" => (value.is_object(), "an object"),
        "jobs" => (
            has("queue", Json::is_array) && has("running", Json::is_array),
            "an object with the arrays queue and running",
        ),
        "pno" => (
            has("status", Json::is_string)
                && has("findings", Json::is_array)
                && value
                    .get("progress")
                    .is_none_or(|progress| progress.is_number() || progress.is_null())
                && value
                    .get("lastRunAt")
                    .is_none_or(|at| at.is_string() || at.is_null()),
            "an object with the text status and the array findings, and, if at all, progress as a number and lastRunAt as a text",
        ),
        _ => return None,
    };
    (!fits).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::AppState;

    /// The state with one member in another form, as a client of its type reads it.
    fn reads(member: &str, value: &Json) -> bool {
        let mut state = serde_json::to_value(AppState::default()).unwrap();
        state[member] = value.clone();
        serde_json::from_value::<AppState>(state).is_ok()
    }

    #[test]
    fn an_offered_member_fits_by_default() {
        let state = serde_json::to_value(AppState::default()).unwrap();
        for member in OFFERED_MEMBERS {
            let default = default_of(member).unwrap();
            assert_eq!(default, state[member], "{member}");
            assert_eq!(misfit(member, &default), None, "{member}");
        }
        assert_eq!(default_of("meta"), None);
        assert_eq!(misfit("meta", &json!(1)), None);
    }

    #[test]
    fn what_fits_is_of_the_type_that_every_client_knows_and_nothing_else_fits() {
        let cases = [
            (
                "streams",
                json!({"recorder": {"status": "recording", "url": "rtsp://bench"}}),
                true,
            ),
            ("streams", json!([]), false),
            ("streams", json!(null), false),
            (
                "jobs",
                json!({"queue": [1], "running": [{}], "lastCompleted": {"id": 3}}),
                true,
            ),
            ("jobs", json!({"queue": [], "running": [], "more": 1}), true),
            ("jobs", json!({"queue": []}), false),
            ("jobs", json!({"queue": [], "running": {}}), false),
            ("jobs", json!([]), false),
            ("jobs", json!("idle"), false),
            (
                "pno",
                json!({"status": "busy", "progress": 0.5, "lastRunAt": "2026-01-01T00:00:00Z", "findings": [1]}),
                true,
            ),
            ("pno", json!({"status": "busy"}), false),
            ("pno", json!({"status": 1, "findings": []}), false),
            (
                "pno",
                json!({"status": "busy", "findings": [], "progress": "half"}),
                false,
            ),
            (
                "pno",
                json!({"status": "busy", "findings": [], "lastRunAt": 5}),
                false,
            ),
        ];
        for (member, value, fits) in cases {
            assert_eq!(misfit(member, &value).is_none(), fits, "{member}: {value}");
            assert_eq!(reads(member, &value), fits, "{member}: {value}");
        }
    }
}
