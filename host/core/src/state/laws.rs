//! Laws of the store over random sequences of changes, good and bad.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::{Operation, Pointer, Snapshot, StateError, Store, Value};
use crate::testing::config;

/// One step of a sequence.
#[derive(Debug, Clone)]
enum Step {
    Set(Pointer, Json),
    Merge(Pointer, Json),
    Replace(Pointer, Json),
    Remove(Pointer),
    Append(Pointer, Json, u32),
    Apply(&'static str, Vec<Operation>),
    ReplaceSlice(&'static str, Json),
    RemoveSlice(&'static str),
    /// Several as one; broken off at the end if the flag is set.
    Together(Vec<Step>, bool),
    Limit(&'static str, usize),
    Flush,
    Snapshot,
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(vec!["a", "b", "c"]),
        2 => prop::sample::select(vec!["x/y", "m~n", "", "é\"\n", "0", "-"]),
    ]
    .prop_map(str::to_owned)
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => key().prop_map(|key| key.replace('~', "~0").replace('/', "~1")),
        2 => prop::sample::select(vec!["0", "1", "2", "00", "-", "99"]).prop_map(str::to_owned),
    ]
}

fn pointer_of(member: &str, rest: &[String]) -> Pointer {
    let text: String = std::iter::once(member)
        .chain(rest.iter().map(String::as_str))
        .fold(String::new(), |mut text, token| {
            text.push('/');
            text.push_str(token);
            text
        });
    Pointer::parse(&text).unwrap()
}

fn pointer() -> impl Strategy<Value = Pointer> {
    let member = prop::sample::select(vec!["s", "t", "meta", "s~1~0", "version"]);
    (member, prop::collection::vec(token(), 0..4)).prop_map(|(member, rest)| pointer_of(member, &rest))
}

fn relative() -> impl Strategy<Value = Arc<Pointer>> {
    prop::collection::vec(token(), 0..4).prop_map(|rest| match rest.split_first() {
        None => Arc::new(Pointer::parse("").unwrap()),
        Some((first, rest)) => Arc::new(pointer_of(first, rest)),
    })
}

fn number() -> impl Strategy<Value = Json> {
    prop_oneof![
        4 => (-2_i64..3).prop_map(Json::from),
        2 => any::<i32>().prop_map(Json::from),
        1 => prop::sample::select(vec![9_007_199_254_740_991_i64, -9_007_199_254_740_991]).prop_map(Json::from),
        3 => prop::num::f64::NORMAL.prop_map(Json::from),
        1 => prop::sample::select(vec![0.0, -0.0, 0.5, 50.0, 1e300]).prop_map(Json::from),
    ]
}

fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        2 => Just(Json::Null),
        2 => any::<bool>().prop_map(Json::from),
        6 => number(),
        3 => prop::sample::select(vec!["", "text", "\"\\\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}", "é😀\u{2028}"]).prop_map(Json::from),
        1 => any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec((key(), inner.clone()), 0..4).prop_map(|members| Json::Object(members.into_iter().collect())),
            2 => prop::collection::vec(inner, 0..4).prop_map(Json::Array),
        ]
    })
}

/// Sometimes what must be refused.
fn any_tree() -> impl Strategy<Value = Json> {
    prop_oneof![
        24 => tree(),
        1 => Just(json!(9_007_199_254_740_992_i64)),
        1 => Just(json!({"a": 1, "b": {"c": [u64::MAX]}})),
        1 => Just(json!({"a": {"__proto__": 1}, "b": 2})),
        1 => Just(json!({"a": 1, "constructor": null})),
        1 => Just((0..70).fold(json!(1), |inner, _| json!([inner]))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        (-3_i64..3).prop_map(Value::Integer),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Float),
        prop::sample::select(vec![0.5, 1.0, f64::NAN, f64::INFINITY]).prop_map(Value::Float),
        prop::sample::select(vec!["", "text", "é\"\n"]).prop_map(|text| Value::Text(text.to_owned())),
        any_tree().prop_map(Value::Json),
        any_tree().prop_map(Value::Json),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => (relative(), value()).prop_map(|(path, value)| Operation::Set { path, value }),
        2 => relative().prop_map(|path| Operation::Remove { path }),
        3 => (relative(), value(), 0_u32..4).prop_map(|(path, value, bound)| Operation::Append { path, value, bound }),
    ]
}

fn slice() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["s", "s", "s", "t", "s/~", "new", "meta", "__proto__"])
}

/// Small changes at few places above and below one another: where a flush might merge what it must not.
fn close_change() -> impl Strategy<Value = Step> {
    let places = [
        "/s", "/s/a", "/s/a", "/s/a/b", "/s/a/b", "/s/a/b/c", "/s/c", "/s/c/0",
    ];
    let values = [
        json!(1),
        json!(2),
        json!([1]),
        json!({"b": {"c": 1}}),
        json!({"b": {"c": 2}}),
        json!({"b": 1}),
        json!({"c": 2}),
        json!({"a": {"b": {"c": 3}}, "c": [1, 2]}),
        json!({"a": {"b": 1}, "c": [3]}),
    ];
    let place = prop::sample::select(places.to_vec()).prop_map(|text| Pointer::parse(text).unwrap());
    (place, prop::sample::select(values.to_vec()), 0..10).prop_map(|(at, value, kind)| match kind {
        0 => Step::Remove(at),
        1 => Step::Append(at, value, 3),
        _ => Step::Set(at, value),
    })
}

fn change() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => close_change(),
        6 => (pointer(), any_tree()).prop_map(|(at, value)| Step::Set(at, value)),
        4 => (pointer(), any_tree()).prop_map(|(at, value)| Step::Merge(at, value)),
        4 => (pointer(), any_tree()).prop_map(|(at, value)| Step::Replace(at, value)),
        2 => pointer().prop_map(Step::Remove),
        3 => (pointer(), any_tree(), 0_u32..4).prop_map(|(at, value, bound)| Step::Append(at, value, bound)),
        6 => (slice(), prop::collection::vec(operation(), 0..5)).prop_map(|(slice, operations)| Step::Apply(slice, operations)),
        2 => (slice(), any_tree()).prop_map(|(slice, value)| Step::ReplaceSlice(slice, value)),
        1 => slice().prop_map(Step::RemoveSlice),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => change(),
        4 => (prop::collection::vec(change(), 0..5), prop::bool::weighted(0.3)).prop_map(|(steps, fails)| Step::Together(steps, fails)),
        1 => (slice(), 0_usize..200).prop_map(|(slice, limit)| Step::Limit(slice, limit)),
        5 => Just(Step::Flush),
        2 => Just(Step::Snapshot),
    ]
}

#[derive(Debug)]
enum Broken {
    Refused,
    Off,
}

impl From<StateError> for Broken {
    fn from(_: StateError) -> Self {
        Self::Refused
    }
}

fn take(store: &mut Store, step: &Step) -> Result<Option<u64>, Broken> {
    Ok(match step {
        Step::Set(at, value) => store.set(at, value.clone())?,
        Step::Merge(at, patch) => store.merge(at, patch.clone())?,
        Step::Replace(at, value) => store.replace(at, value.clone())?,
        Step::Remove(at) => store.remove(at)?,
        Step::Append(at, value, bound) => store.append(at, value.clone(), *bound)?,
        Step::Apply(slice, operations) => store.apply(slice, operations)?,
        Step::ReplaceSlice(slice, value) => store.replace_slice(slice, value.clone())?,
        Step::RemoveSlice(slice) => store.remove_slice(slice)?,
        Step::Together(steps, fails) => {
            let result = store.transaction(|transaction| {
                for step in steps {
                    // A refused change inside a transaction does not end it, and must leave nothing behind.
                    let _ = match step {
                        Step::Set(at, value) => transaction.set(at, value.clone()),
                        Step::Merge(at, patch) => transaction.merge(at, patch.clone()),
                        Step::Replace(at, value) => transaction.replace(at, value.clone()),
                        Step::Remove(at) => transaction.remove(at),
                        Step::Append(at, value, bound) => transaction.append(at, value.clone(), *bound),
                        Step::Apply(slice, operations) => transaction.apply(slice, operations),
                        Step::ReplaceSlice(slice, value) => transaction.replace_slice(slice, value.clone()),
                        Step::RemoveSlice(slice) => transaction.remove_slice(slice),
                        other => unreachable!("{other:?} is no change"),
                    };
                }
                if *fails { Err(Broken::Off) } else { Ok(()) }
            });
            result?.1
        }
        Step::Limit(slice, limit) => {
            store.set_limit(slice, *limit);
            None
        }
        Step::Flush | Step::Snapshot => None,
    })
}

/// A client: knows the first snapshot and then only patches.
struct Mirror {
    document: Json,
    version: u64,
}

impl Mirror {
    fn new(snapshot: &Snapshot) -> Self {
        Self {
            document: serde_json::from_slice(&snapshot.data).unwrap(),
            version: snapshot.version,
        }
    }

    fn follow(&mut self, flush: Option<super::Flush>) {
        let Some(flush) = flush else { return };
        let frame: crate::wire::StatePatch = serde_json::from_slice(&flush.frame).unwrap();
        assert_eq!(
            (frame.from_version, frame.to_version),
            (flush.from_version, flush.to_version)
        );
        assert_eq!(flush.from_version, self.version, "versions have a gap");
        let patch: json_patch::Patch =
            serde_json::from_value(serde_json::to_value(frame.patch).unwrap()).unwrap();
        let last = patch.0.last().unwrap();
        assert_eq!(last.path().as_str(), "/version");
        assert_eq!(
            patch
                .0
                .iter()
                .filter(|operation| operation.path().as_str() == "/version")
                .count(),
            1
        );
        json_patch::patch(&mut self.document, &patch).unwrap();
        self.version = flush.to_version;
    }
}

fn initial() -> Map<String, Json> {
    let Json::Object(members) = json!({
        "version": 7,
        "meta": {"a": {"b": 1}, "c": [1, {"a": 2}]},
        "s": {"a": {"b": {"c": 1}}, "b": [], "c": [1, 2, 3]},
        "t": [{"a": 1}, [], 3],
        "s/~": {"a": null},
    }) else {
        unreachable!()
    };
    members
}

fn check_sizes(store: &Store) {
    let document = store.document();
    for (name, value) in document
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "version")
    {
        let real = serde_json::to_vec(value).unwrap().len();
        assert_eq!(
            store.member_size_bytes(name),
            Some(real),
            "size of {name:?}: {value}"
        );
    }
}

/// What a single change must have led to, computed in the slow and obvious way.
fn check_outcome(before: &Json, store: &Store, step: &Step) {
    let mut expected = before.clone();
    match step {
        Step::Set(at, value) | Step::Replace(at, value) => assert_eq!(store.get(at), Some(value)),
        Step::Remove(at) => {
            let parent = at.as_str().rsplit_once('/').unwrap().0;
            if before.pointer(parent).is_some_and(Json::is_object) {
                assert_eq!(store.get(at), None);
            }
        }
        Step::Merge(at, patch) => {
            let (parent, _) = at.as_str().rsplit_once('/').unwrap();
            let wrapped = json!({ &**at.tokens().last().unwrap(): patch });
            json_patch::merge(expected.pointer_mut(parent).unwrap(), &wrapped);
            expected["version"] = store.version().into();
            assert_eq!(store.document(), expected);
        }
        Step::Append(at, value, bound) => {
            let list = expected.pointer_mut(at.as_str()).unwrap().as_array_mut().unwrap();
            list.push(value.clone());
            while list.len() > *bound as usize {
                list.remove(0);
            }
            expected["version"] = store.version().into();
            assert_eq!(store.document(), expected);
        }
        _ => {}
    }
}

fn run(steps: &[Step], coalesced: bool) -> Json {
    let mut store = Store::from_members(initial()).unwrap();
    let mut mirror = Mirror::new(&store.snapshot());
    assert_eq!(mirror.document, store.document());
    for step in steps {
        let before = (store.document(), store.pending_text());
        let version = store.version();
        match take(&mut store, step) {
            Ok(Some(new)) => {
                assert_eq!((new, store.version()), (version + 1, version + 1));
                assert!(store.has_pending());
            }
            Ok(None) => {
                assert_eq!(
                    (store.document(), store.pending_text()),
                    before,
                    "no version, and yet a change: {step:?}"
                );
            }
            Err(_) => {
                assert_eq!(
                    (store.document(), store.pending_text()),
                    before,
                    "refused, and yet a change: {step:?}"
                );
            }
        }
        check_sizes(&store);
        if store.version() > version {
            check_outcome(&before.0, &store, step);
        }
        match step {
            Step::Snapshot => {
                let snapshot = store.snapshot();
                mirror.follow(snapshot.closed.clone());
                assert_eq!(snapshot.version, store.version());
                assert_eq!(
                    serde_json::from_slice::<Json>(&snapshot.data).unwrap(),
                    store.document()
                );
                assert_eq!(
                    (mirror.version, &mirror.document),
                    (store.version(), &store.document())
                );
                assert!(!store.has_pending());
            }
            Step::Flush => {
                mirror.follow(store.take_flush());
                assert_eq!(
                    (mirror.version, &mirror.document),
                    (store.version(), &store.document())
                );
            }
            _ if !coalesced => {
                mirror.follow(store.take_flush());
                assert_eq!(
                    (mirror.version, &mirror.document),
                    (store.version(), &store.document())
                );
            }
            _ => {}
        }
    }
    mirror.follow(store.take_flush());
    assert_eq!(mirror.document, store.document());
    store.document()
}

#[test]
fn every_patch_in_order_gives_the_document_coalesced_and_plain() {
    proptest!(config(400, 40_000), |(steps in prop::collection::vec(step(), 1..50))| {
        let coalesced = run(&steps, true);
        let plain = run(&steps, false);
        prop_assert_eq!(coalesced, plain);
    });
}

#[test]
fn the_length_of_a_value_is_the_length_of_its_json() {
    proptest!(config(1000, 100_000), |(value in tree(), text in any::<String>(), float in any::<f64>(), integer in any::<i64>())| {
        for value in [value, text.into(), float.into(), integer.into()] {
            prop_assert_eq!(super::value::json_len(&value), serde_json::to_vec(&value).unwrap().len());
        }
    });
}

#[test]
fn a_sound_value_is_written_as_any_json_writer_writes_it() {
    proptest!(config(500, 50_000), |(value in tree())| {
        let mut written = Vec::new();
        super::value::write_checked(&mut written, &value, 1).unwrap();
        prop_assert_eq!(String::from_utf8(written).unwrap(), value.to_string());
    });
}
