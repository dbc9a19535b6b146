//! Where two JSON values differ.

use serde_json::Value as Json;

/// One place at which two values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The place, as a JSON pointer; empty for the whole.
    pub path: String,
    /// What stands there on one side, if anything does.
    pub left: Option<Json>,
    /// And on the other.
    pub right: Option<Json>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |value: &Option<Json>| value.as_ref().map_or("absent".to_owned(), Json::to_string);
        let place = match self.path.as_str() {
            "" => "the whole",
            path => path,
        };
        write!(
            f,
            "{place} is {} on one side and {} on the other",
            side(&self.left),
            side(&self.right)
        )
    }
}

/// The innermost places at which two values differ, at most so many. Elements of arrays are compared by position. Numbers that are equal are equal
/// however they are written: nobody who reads JSON can tell 1 from 1.0.
pub fn differences(left: &Json, right: &Json, limit: usize) -> Vec<Difference> {
    let mut found = Vec::new();
    collect(&mut String::new(), Some(left), Some(right), limit, &mut found);
    found
}

fn collect(
    path: &mut String,
    left: Option<&Json>,
    right: Option<&Json>,
    limit: usize,
    found: &mut Vec<Difference>,
) {
    if found.len() >= limit {
        return;
    }
    match (left, right) {
        (Some(Json::Object(left)), Some(Json::Object(right))) => {
            let only_right = right.keys().filter(|key| !left.contains_key(*key));
            for key in left.keys().chain(only_right) {
                let end = path.len();
                path.push('/');
                path.push_str(&key.replace('~', "~0").replace('/', "~1"));
                collect(path, left.get(key), right.get(key), limit, found);
                path.truncate(end);
            }
        }
        (Some(Json::Array(left)), Some(Json::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                let end = path.len();
                path.push('/');
                path.push_str(&index.to_string());
                collect(path, left.get(index), right.get(index), limit, found);
                path.truncate(end);
            }
        }
        (Some(Json::Number(one)), Some(Json::Number(other))) if one.as_f64() == other.as_f64() => {}
        _ if left == right => {}
        _ => found.push(Difference {
            path: path.clone(),
            left: left.cloned(),
            right: right.cloned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn paths(left: &Json, right: &Json) -> Vec<String> {
        let found = differences(left, right, 10);
        found.into_iter().map(|difference| difference.path).collect()
    }

    #[test]
    fn the_innermost_places_are_named() {
        let left = json!({"a": {"b": [1, 2, {"c": 3}]}, "same": 1, "gone": null});
        let right = json!({"a": {"b": [1, 5, {"c": "3"}, 4]}, "same": 1.0, "a/~b": 0});
        assert_eq!(
            paths(&left, &right),
            ["/a/b/1", "/a/b/2/c", "/a/b/3", "/gone", "/a~1~0b"]
        );
        assert_eq!(differences(&left, &right, 2).len(), 2);
        let gone = differences(&json!({"x": 1}), &json!({}), 9);
        assert_eq!(gone[0].to_string(), "/x is 1 on one side and absent on the other");
    }

    fn value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            (-3i64..3).prop_map(Json::from),
            "[a-c/~]{0,2}".prop_map(Json::from)
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[a-c/~]{1,2}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_values_have_none_and_each_place_that_is_named_does_differ(left in value(), right in value()) {
            prop_assert!(differences(&left, &left, 99).is_empty());
            let found = differences(&left, &right, 99);
            prop_assert_eq!(found.is_empty(), left == right);
            for difference in found {
                prop_assert_eq!(left.pointer(&difference.path), difference.left.as_ref());
                prop_assert_eq!(right.pointer(&difference.path), difference.right.as_ref());
                prop_assert_ne!(difference.left, difference.right);
            }
        }
    }
}
