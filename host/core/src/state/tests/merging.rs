//! What a flush may merge.

use super::*;

#[test]
fn a_later_value_takes_the_place_of_an_earlier_one() {
    let mut store = store(json!({"s": {"a": 1, "b": 1}}));
    store.set(&at("/s/a"), json!(2)).unwrap();
    store.set(&at("/s/b"), json!(2)).unwrap();
    store.set(&at("/s/a"), json!(3)).unwrap();
    assert_eq!(flushed(&mut store), ["replace /s/a 3", "replace /s/b 2"]);
}

#[test]
fn an_added_member_takes_a_later_value_and_stays_an_add() {
    let mut store = store(json!({"s": {}}));
    store.set(&at("/s/a"), json!(1)).unwrap();
    store.set(&at("/s/a"), json!({"b": 2})).unwrap();
    assert_eq!(flushed(&mut store), [r#"add /s/a {"b":2}"#]);
}

#[test]
fn a_whole_member_takes_a_later_value_too() {
    let mut store = store(json!({"s": {}}));
    store.set(&at("/s"), json!(1)).unwrap();
    store.set(&at("/t"), json!(1)).unwrap();
    store.set(&at("/s"), json!(2)).unwrap();
    store.set(&at("/t"), json!(2)).unwrap();
    assert_eq!(flushed(&mut store), ["replace /s 2", "add /t 2"]);
}

#[test]
fn operations_of_one_transaction_are_merged_like_those_of_several() {
    let mut store = store(json!({"s": {"a": 1}}));
    store
        .apply(
            "s",
            &[
                set_operation("/a", Value::Integer(2)),
                set_operation("/a", Value::Integer(3)),
            ],
        )
        .unwrap();
    assert_eq!(flushed(&mut store), ["replace /s/a 3"]);
}

#[test]
fn nothing_is_merged_over_a_removal_of_the_same_path() {
    let mut store = store(json!({"s": {"a": 1}}));
    store.set(&at("/s/a"), json!(2)).unwrap();
    store.remove(&at("/s/a")).unwrap();
    store.set(&at("/s/a"), json!(3)).unwrap();
    store.set(&at("/s/a"), json!(4)).unwrap();
    assert_eq!(
        flushed(&mut store),
        ["replace /s/a 2", "remove /s/a", "add /s/a 4"]
    );
}

#[test]
fn an_add_and_a_removal_do_not_cancel_out() {
    let mut store = store(json!({"s": {}}));
    store.set(&at("/s/a"), json!(1)).unwrap();
    store.remove(&at("/s/a")).unwrap();
    assert_eq!(flushed(&mut store), ["add /s/a 1", "remove /s/a"]);
}

#[test]
fn nothing_is_merged_over_a_change_above() {
    let mut store = store(json!({"s": {"a": {"b": 1}}}));
    store.set(&at("/s/a/b"), json!(2)).unwrap();
    store.set(&at("/s/a"), json!({"b": 0})).unwrap();
    store.set(&at("/s/a/b"), json!(3)).unwrap();
    assert_eq!(
        flushed(&mut store),
        ["replace /s/a/b 2", r#"replace /s/a {"b":0}"#, "replace /s/a/b 3"]
    );
}

#[test]
fn nothing_is_merged_over_a_change_below() {
    let mut store = store(json!({"s": {"a": {"b": 1}}}));
    store.set(&at("/s/a"), json!({"b": 2})).unwrap();
    store.set(&at("/s/a/b"), json!(3)).unwrap();
    store.set(&at("/s/a"), json!({"b": 4})).unwrap();
    assert_eq!(
        flushed(&mut store),
        [
            r#"replace /s/a {"b":2}"#,
            "replace /s/a/b 3",
            r#"replace /s/a {"b":4}"#
        ]
    );
}

#[test]
fn a_change_beside_does_not_hinder() {
    let mut store = store(json!({"s": {"a": {"b": 1, "c": 1}, "aa": 1}}));
    store.set(&at("/s/a/b"), json!(2)).unwrap();
    store.set(&at("/s/a/c"), json!(2)).unwrap();
    store.set(&at("/s/aa"), json!(2)).unwrap();
    store.set(&at("/s/a/b"), json!(3)).unwrap();
    assert_eq!(
        flushed(&mut store),
        ["replace /s/a/b 3", "replace /s/a/c 2", "replace /s/aa 2"]
    );
}

#[test]
fn nothing_in_an_array_is_merged() {
    let mut store = store(json!({"s": {"list": [{"a": 1}, 1]}}));
    store.set(&at("/s/list/1"), json!(2)).unwrap();
    store.set(&at("/s/list/1"), json!(3)).unwrap();
    store.set(&at("/s/list/0/a"), json!(2)).unwrap();
    store.set(&at("/s/list/0/a"), json!(3)).unwrap();
    assert_eq!(
        flushed(&mut store),
        [
            "replace /s/list/1 2",
            "replace /s/list/1 3",
            "replace /s/list/0/a 2",
            "replace /s/list/0/a 3"
        ]
    );
}

#[test]
fn appends_are_never_merged_and_drop_from_the_start() {
    let mut store = store(json!({"s": {"list": []}}));
    for value in 1..=3 {
        store.append(&at("/s/list"), json!(value), 2).unwrap();
    }
    assert_eq!(
        flushed(&mut store),
        [
            "add /s/list/- 1",
            "add /s/list/- 2",
            "add /s/list/- 3",
            "remove /s/list/0"
        ]
    );
    assert_eq!(store.get(&at("/s/list")), Some(&json!([2, 3])));
}

#[test]
fn an_array_as_a_whole_is_an_object_member_like_any_other() {
    let mut store = store(json!({"s": {"list": []}}));
    store.set(&at("/s/list"), json!([1])).unwrap();
    store.set(&at("/s/list"), json!([2])).unwrap();
    store.append(&at("/s/list"), json!(3), 9).unwrap();
    store.set(&at("/s/list"), json!([4])).unwrap();
    assert_eq!(
        flushed(&mut store),
        ["replace /s/list [2]", "add /s/list/- 3", "replace /s/list [4]"]
    );
}

#[test]
fn nothing_is_merged_across_a_flush() {
    let mut store = store(json!({"s": {"a": 1}}));
    store.set(&at("/s/a"), json!(2)).unwrap();
    assert_eq!(flushed(&mut store), ["replace /s/a 2"]);
    store.set(&at("/s/a"), json!(3)).unwrap();
    assert_eq!(flushed(&mut store), ["replace /s/a 3"]);
}

#[test]
fn a_flood_on_one_place_keeps_the_pending_flush_small() {
    let mut store = store(json!({"s": {"a": ""}}));
    for round in 0..10_000 {
        store.set(&at("/s/a"), json!(format!("{round:0100}"))).unwrap();
    }
    assert!(!store.pending_is_full());
    assert!(store.pending_text().len() < 2_000_000, "the arena is not tidied");
    assert_eq!(flushed(&mut store), [format!("replace /s/a \"{:0100}\"", 9_999)]);
}

#[test]
fn a_pending_flush_that_grows_says_that_it_is_full() {
    let mut store = store(json!({"s": {"a": []}}));
    for round in 0..10_000 {
        store.append(&at("/s/a"), json!(round), 5).unwrap();
    }
    assert!(store.pending_is_full());
    assert_eq!(flushed(&mut store).len(), 10_000 + 9_995);
    assert!(!store.pending_is_full());
}
