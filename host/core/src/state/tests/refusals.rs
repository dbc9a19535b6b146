//! What the store refuses, by name, and what is just small enough.

use super::*;

#[test]
fn what_is_refused_is_refused_by_name() {
    let deep = (0..MAX_DEPTH).fold(json!(1), |inner, _| json!({ "a": inner }));
    let set = |path: &str, value: Json| {
        store(json!({"s": {"a": 1, "list": [1]}}))
            .set(&at(path), value)
            .unwrap_err()
    };
    let path = |text: &str| text.to_owned();
    assert_eq!(
        set("/s/a", json!({"b": 9_007_199_254_740_992_i64})),
        StateError::IntegerOutOfRange {
            path: path("/s/a"),
            value: 9_007_199_254_740_992
        }
    );
    assert_eq!(
        set("/s/a", json!(-9_007_199_254_740_992_i64)),
        StateError::IntegerOutOfRange {
            path: path("/s/a"),
            value: -9_007_199_254_740_992
        }
    );
    assert_eq!(
        set("/s/a", json!([{"prototype": 1}])),
        StateError::ForbiddenKey {
            path: path("/s/a"),
            key: path("prototype")
        }
    );
    assert_eq!(
        set("/s/b/c", json!(1)),
        StateError::MissingParent { path: path("/s/b/c") }
    );
    assert_eq!(
        set("/t/a", json!(1)),
        StateError::NoSuchMember { member: path("t") }
    );
    assert_eq!(
        set("/s/a/b", json!(1)),
        StateError::NoObject {
            path: path("/s/a/b"),
            found: "a number"
        }
    );
    assert_eq!(
        set("/s/list/1", json!(1)),
        StateError::NoSuchElement {
            path: path("/s/list/1"),
            length: 1
        }
    );
    assert_eq!(
        set("/s/list/-", json!(1)),
        StateError::NoSuchElement {
            path: path("/s/list/-"),
            length: 1
        }
    );
    assert_eq!(set("/s/a", deep), StateError::TooDeep { path: path("/s/a") });
    assert_eq!(
        set("/version", json!(1)),
        StateError::Reserved {
            path: path("/version")
        }
    );
    assert_eq!(set("", json!({})), StateError::Reserved { path: path("") });

    let mut store = store(json!({"s": {"a": 1, "list": [1]}}));
    let float = [set_operation("/a", Value::Float(f64::NAN))];
    assert_eq!(
        store.apply("s", &float),
        Err(StateError::NotFinite { path: path("/s/a") })
    );
    assert_eq!(
        store.append(&at("/s/a"), json!(1), 3),
        Err(StateError::NotAnArray {
            path: path("/s/a"),
            found: "a number"
        })
    );
    assert_eq!(
        store.append(&at("/s/list"), json!(1), 0),
        Err(StateError::ZeroBound {
            path: path("/s/list")
        })
    );
    assert_eq!(
        store.apply("meta", &[]),
        Err(StateError::HostOwned { member: path("meta") })
    );
    assert_eq!(
        store.apply("t", &float),
        Err(StateError::NoSuchMember { member: path("t") })
    );
    let whole = [Operation::Remove {
        path: Arc::new(at("")),
    }];
    assert_eq!(
        store.apply("s", &whole),
        Err(StateError::RemovesSlice { member: path("s") })
    );
    assert_eq!(store.version(), 0);
    assert!(!store.has_pending());
}

#[test]
fn the_largest_exact_integers_pass() {
    let mut store = store(json!({"s": {}}));
    store.set(&at("/s/a"), json!(9_007_199_254_740_991_i64)).unwrap();
    store.set(&at("/s/b"), json!(-9_007_199_254_740_991_i64)).unwrap();
}

#[test]
fn what_is_as_deep_as_allowed_can_be_read_back() {
    let mut store = store(json!({"s": {}}));
    let deep = (0..MAX_DEPTH - 1).fold(json!(1), |inner, _| json!([inner]));
    store.set(&at("/s"), deep).unwrap();
    serde_json::from_slice::<Json>(&store.snapshot().data).unwrap();
}

#[test]
fn of_operations_with_a_bad_one_none_is_applied() {
    let mut store = store(json!({"s": {"a": 1, "list": [1, 2]}}));
    let before = (
        store.document(),
        store.pending_text(),
        store.member_size_bytes("s"),
    );
    let operations = [
        set_operation("/a", Value::Text("long enough to change the size".into())),
        Operation::Append {
            path: Arc::new(at("/list")),
            value: Value::Integer(3),
            bound: 1,
        },
        Operation::Remove {
            path: Arc::new(at("/a")),
        },
        set_operation("", Value::Json(json!({"x": 1}))),
        set_operation("/x", Value::Integer(2)),
        set_operation("/missing/x", Value::Null),
    ];
    store.apply("s", &operations).unwrap_err();
    assert_eq!(
        (
            store.document(),
            store.pending_text(),
            store.member_size_bytes("s")
        ),
        before
    );
}

#[test]
fn a_slice_cannot_pass_its_limit_but_a_large_one_can_shrink() {
    let mut store = store(json!({"s": {"a": ""}}));
    let long = "x".repeat(DEFAULT_SLICE_LIMIT_BYTES);
    assert!(matches!(
        store.set(&at("/s/a"), json!(long)),
        Err(StateError::TooLarge {
            limit: DEFAULT_SLICE_LIMIT_BYTES,
            ..
        })
    ));
    assert!(matches!(
        store.set(&at("/new"), json!(long)),
        Err(StateError::TooLarge { .. })
    ));
    assert_eq!(store.get(&at("/new")), None);
    store.set_limit("s", DEFAULT_SLICE_LIMIT_BYTES * 2);
    store.set(&at("/s/a"), json!(long)).unwrap();
    store.set_limit("s", 100);
    store.set(&at("/s/b"), json!(1)).unwrap_err();
    store.set(&at("/s/a"), json!("x".repeat(1000))).unwrap();
    assert_eq!(store.set(&at("/s/a"), json!("short")), Ok(Some(3)));
}

#[test]
fn the_host_s_members_have_no_limit() {
    let mut store = store(json!({"plugins": {}}));
    store
        .set(&at("/plugins/p"), json!("x".repeat(DEFAULT_SLICE_LIMIT_BYTES)))
        .unwrap();
}
