//! The store's rules one by one.

mod merging;
mod refusals;

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::{
    DEFAULT_SLICE_LIMIT_BYTES, HOST_MEMBERS, MAX_DEPTH, OFFERED_MEMBERS, Operation, Pointer, StateError,
    Store, Value,
};
use crate::wire::AppState;

fn at(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

fn store(document: Json) -> Store {
    let Json::Object(members) = document else {
        panic!("no object")
    };
    Store::from_members(members).unwrap()
}

fn set_operation(path: &str, value: Value) -> Operation {
    Operation::Set {
        path: Arc::new(at(path)),
        value,
    }
}

/// The operations of the next flush, without `/version`, as `op path value`.
fn flushed(store: &mut Store) -> Vec<String> {
    let Some(flush) = store.take_flush() else {
        return Vec::new();
    };
    let frame: Json = serde_json::from_slice(&flush.frame).unwrap();
    let mut lines: Vec<String> = frame["patch"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| {
            let value = operation
                .get("value")
                .map(|value| format!(" {value}"))
                .unwrap_or_default();
            format!(
                "{} {}{value}",
                operation["op"].as_str().unwrap(),
                operation["path"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(lines.pop(), Some(format!("replace /version {}", store.version())));
    lines
}

// Versions.

#[test]
fn what_changes_nothing_is_no_mutation() {
    let mut store = store(json!({"version": 3, "s": {"a": 1, "n": null, "list": [1], "full": [7, 7]}}));
    for nothing in [
        store.set(&at("/s/a"), json!(1)),
        store.set(&at("/s"), json!({"a": 1, "n": null, "list": [1], "full": [7, 7]})),
        store.merge(&at("/s"), json!({"a": 1, "gone": null})),
        store.merge(&at("/s"), json!({})),
        store.replace(&at("/s/list"), json!([1])),
        store.remove(&at("/s/gone")),
        store.remove(&at("/s/gone/deeper")),
        store.remove(&at("/gone")),
        store.append(&at("/s/full"), json!(7), 2),
        store.apply("s", &[]),
        store.apply(
            "s",
            &[
                set_operation("/a", Value::Integer(1)),
                set_operation("/n", Value::Null),
            ],
        ),
    ] {
        assert_eq!(nothing, Ok(None));
    }
    assert_eq!(store.version(), 3);
    assert!(!store.has_pending());
    assert_eq!(store.take_flush(), None);
}

#[test]
fn null_and_absent_are_different_things() {
    let mut store = store(json!({"s": {"a": 1}}));
    assert_eq!(store.set(&at("/s/a"), Json::Null), Ok(Some(1)));
    assert_eq!(store.get(&at("/s/a")), Some(&Json::Null));
    assert_eq!(store.merge(&at("/s"), json!({"a": null})), Ok(Some(2)));
    assert_eq!(store.get(&at("/s/a")), None);
    assert_eq!(
        store.merge(&at("/s"), json!({"b": {"c": null, "d": [null]}})),
        Ok(Some(3))
    );
    assert_eq!(store.get(&at("/s")), Some(&json!({"b": {"d": [null]}})));
}

#[test]
fn an_integer_and_the_same_float_are_different_values() {
    let mut store = store(json!({"s": {"a": 50}}));
    assert_eq!(
        store.apply("s", &[set_operation("/a", Value::Float(50.0))]),
        Ok(Some(1))
    );
    assert_eq!(
        store.apply("s", &[set_operation("/a", Value::Float(50.0))]),
        Ok(None)
    );
}

#[test]
fn all_operations_of_a_call_are_one_version() {
    let mut store = store(json!({"s": {"a": 1}}));
    let operations = [
        set_operation("/a", Value::Integer(2)),
        set_operation("/b", Value::Integer(3)),
    ];
    assert_eq!(store.apply("s", &operations), Ok(Some(1)));
}

#[test]
fn a_transaction_over_several_members_is_one_version() {
    let mut store = store(json!({"meta": {"clients": 0}, "logs": {"size": 0}}));
    let (answer, version) = store
        .transaction(|transaction| {
            transaction.set(&at("/meta/clients"), json!(2))?;
            transaction.merge(&at("/logs"), json!({"size": 5}))?;
            Ok::<_, StateError>(transaction.get(&at("/meta/clients")).cloned())
        })
        .unwrap();
    assert_eq!((answer, version), (Some(json!(2)), Some(1)));
    assert_eq!(
        flushed(&mut store),
        ["replace /meta/clients 2", "replace /logs/size 5"]
    );
}

#[test]
fn a_transaction_that_panics_leaves_nothing_behind() {
    let mut store = store(json!({"s": {"a": 1}, "t": 1}));
    let before = store.document();
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = store.transaction(|transaction| -> Result<(), StateError> {
            transaction.set(&at("/s/a"), json!(2))?;
            transaction.remove(&at("/t"))?;
            panic!("broken off")
        });
    }));
    assert!(broken.is_err());
    assert_eq!(store.document(), before);
    assert!(!store.has_pending());
    assert_eq!(store.set(&at("/t"), json!(2)), Ok(Some(1)));
    assert_eq!(flushed(&mut store), ["replace /t 2"]);
}

#[test]
fn a_flush_spans_the_versions_since_the_last_one() {
    let mut store = store(json!({"version": 10, "s": {"a": 1, "b": 1}}));
    store.set(&at("/s/a"), json!(2)).unwrap();
    store.set(&at("/s/a"), json!(3)).unwrap();
    let flush = store.take_flush().unwrap();
    assert_eq!((flush.from_version, flush.to_version), (10, 12));
    assert_eq!(
        &flush.frame[..],
        br#"{"type":"state.patch","fromVersion":10,"toVersion":12,"patch":[{"op":"replace","path":"/s/a","value":3},{"op":"replace","path":"/version","value":12}]}"#
    );
    store.set(&at("/s/b"), json!(2)).unwrap();
    let flush = store.take_flush().unwrap();
    assert_eq!((flush.from_version, flush.to_version), (12, 13));
}

// Snapshots.

#[test]
fn a_snapshot_closes_the_pending_flush_at_its_own_version() {
    let mut store = store(json!({"s": {"a": 1}}));
    store.set(&at("/s/a"), json!(2)).unwrap();
    let snapshot = store.snapshot();
    assert_eq!(
        snapshot.closed.as_ref().map(|flush| flush.to_version),
        Some(snapshot.version)
    );
    assert_eq!(&snapshot.data[..], br#"{"version":1,"s":{"a":2}}"#);
    assert!(store.snapshot().closed.is_none());
}

#[test]
fn a_snapshot_serialises_only_what_has_changed() {
    let mut store = store(json!({"s": {"a": 1}, "t": {"a": 1}}));
    let (s, t) = (store.member_bytes("s").unwrap(), store.member_bytes("t").unwrap());
    store.set(&at("/s/a"), json!(2)).unwrap();
    store.snapshot();
    assert_ne!(store.member_bytes("s").unwrap().as_ptr(), s.as_ptr());
    assert_eq!(store.member_bytes("t").unwrap().as_ptr(), t.as_ptr());
    let first = store.snapshot().data;
    assert_eq!(
        store.snapshot().data.as_ptr(),
        first.as_ptr(),
        "an unchanged document is joined once"
    );
}

#[test]
fn a_refused_change_keeps_the_cached_bytes() {
    let mut store = store(json!({"s": {"a": 1}}));
    let bytes = store.member_bytes("s").unwrap();
    store
        .apply(
            "s",
            &[
                set_operation("/a", Value::Integer(2)),
                set_operation("/x/y", Value::Null),
            ],
        )
        .unwrap_err();
    assert_eq!(store.member_bytes("s").unwrap().as_ptr(), bytes.as_ptr());
    assert_eq!(&bytes[..], br#"{"a":1}"#);
}

#[test]
fn the_host_s_members_are_those_of_its_type() {
    let state = AppState {
        version: 4,
        message: "hello".into(),
        ..AppState::default()
    };
    let mut store = Store::new(&state).unwrap();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.version, 4);
    assert_eq!(serde_json::from_slice::<AppState>(&snapshot.data).unwrap(), state);
    let mut names: Vec<&str> = store.member_names().chain(["version"]).collect();
    names.sort_unstable();
    let mut expected = [&HOST_MEMBERS[..], &OFFERED_MEMBERS].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(store.get(&at("/version")), Some(&json!(4)));
}

// Differences.

#[test]
fn a_replace_touches_only_what_differs() {
    let mut store =
        store(json!({"s": {"same": [1, 2], "list": [1, 2, 3], "deep": {"a": 1, "b": 2}, "gone": 1}}));
    let new = json!({"same": [1, 2], "list": [2, 3, 4], "deep": {"a": 1, "b": 3}, "new": null});
    store.replace_slice("s", new.clone()).unwrap();
    assert_eq!(store.get(&at("/s")), Some(&new));
    assert_eq!(
        flushed(&mut store),
        [
            "remove /s/gone",
            "replace /s/deep/b 3",
            "replace /s/list [2,3,4]",
            "add /s/new null"
        ]
    );
}

#[test]
fn paths_are_escaped_twice_over() {
    let mut store = store(json!({"s": {}}));
    store.merge(&at("/s"), json!({"a/b~c\"d\n": 1})).unwrap();
    let flush = store.take_flush().unwrap();
    assert!(String::from_utf8_lossy(&flush.frame).contains(r#""/s/a~1b~0c\"d\n""#));
}

// Members and who observes them.

#[test]
fn an_offered_member_is_a_driver_s_and_is_as_by_default_when_that_goes() {
    let mut store = Store::new(&AppState::default()).unwrap();
    let before = store.document();
    let job = json!({"queue": [{"id": "j-1"}], "running": []});
    store
        .apply("jobs", &[set_operation("", Value::Json(job.clone()))])
        .unwrap();
    assert_eq!(store.get(&at("/jobs")), Some(&job));
    assert!(store.remove_slice("jobs").unwrap().is_some());
    assert_eq!(store.get(&at("/jobs")), Some(&before["jobs"]));
    assert_eq!(store.remove_slice("jobs"), Ok(None));
    for member in HOST_MEMBERS {
        let member = member.to_owned();
        assert_eq!(
            store.remove_slice(&member),
            Err(StateError::HostOwned {
                member: member.clone()
            })
        );
    }
}

#[test]
fn an_offered_member_that_is_not_of_its_type_is_refused_with_all_that_came_with_it() {
    let mut store = Store::new(&AppState::default()).unwrap();
    let (before, pending) = (store.document(), store.pending_text());
    let operations = [
        set_operation("/queue", Value::Json(json!([1]))),
        set_operation("/running", Value::Integer(3)),
    ];
    let refused = store.apply("jobs", &operations).unwrap_err();
    assert!(
        matches!(&refused, StateError::Misfit { member, .. } if member == "jobs"),
        "{refused}"
    );
    // What is wrong in between is nobody's business.
    let mended = [
        set_operation("", Value::Json(json!({}))),
        set_operation("/queue", Value::Json(json!([]))),
        set_operation("/running", Value::Json(json!([]))),
    ];
    assert_eq!((store.document(), store.pending_text()), (before, pending));
    store.apply("jobs", &mended).unwrap();
}

#[test]
fn a_slice_comes_and_goes() {
    let mut store = store(json!({"meta": {}}));
    store
        .apply(
            "s",
            &[
                set_operation("", Value::Json(json!({"a": 1}))),
                set_operation("/b", Value::Null),
            ],
        )
        .unwrap();
    assert_eq!(flushed(&mut store), [r#"add /s {"a":1}"#, "add /s/b null"]);
    assert_eq!(store.remove_slice("s"), Ok(Some(2)));
    assert_eq!(store.remove_slice("s"), Ok(None));
    assert_eq!(flushed(&mut store), ["remove /s"]);
    assert_eq!(store.document(), json!({"version": 2, "meta": {}}));
    store.replace_slice("t", json!({})).unwrap();
    assert_eq!(&store.snapshot().data[..], br#"{"version":3,"meta":{},"t":{}}"#);
    let empty: Map<String, Json> = Map::new();
    assert_eq!(store.get(&at("/t")), Some(&Json::Object(empty)));
}

#[test]
fn changes_of_observed_members_are_noted_once_and_those_of_others_and_what_is_taken_back_are_not() {
    let mut store = store(json!({"meta": {"a": 0}, "s": {"a": 0}}));
    let noted = |store: &mut Store| -> Vec<String> {
        let changes = store.take_observed_changes();
        changes.iter().map(|name| name.to_string()).collect()
    };
    store.observe("s");
    store.observe("t");
    store.set(&at("/meta/a"), json!(1)).unwrap();
    store.set(&at("/s/a"), json!(0)).unwrap();
    assert_eq!(noted(&mut store), [""; 0], "nothing observed has changed");
    store.set(&at("/s/a"), json!(1)).unwrap();
    store.set(&at("/s/a"), json!(2)).unwrap();
    assert_eq!(noted(&mut store), ["s"]);
    // It comes, is refused, changes and goes.
    store.replace_slice("t", json!({})).unwrap();
    assert_eq!(noted(&mut store), ["t"]);
    store
        .apply("t", &[set_operation("/no/such", Value::Null)])
        .unwrap_err();
    assert_eq!(noted(&mut store), [""; 0]);
    store.set(&at("/t/a"), json!(1)).unwrap();
    assert_eq!(noted(&mut store), ["t"]);
    store.remove_slice("t").unwrap();
    assert_eq!(noted(&mut store), ["t"]);
    store.unobserve("s");
    store.set(&at("/s/a"), json!(3)).unwrap();
    assert_eq!(noted(&mut store), [""; 0]);
}
