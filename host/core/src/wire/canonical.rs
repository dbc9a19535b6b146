//! One text for one JSON value, by RFC 8785: what two mirrors are compared by, and hashed.

use serde_json::Value;

/// The canonical JSON of a value: members in the order of their names as UTF-16, no blanks, and each number as JavaScript writes it (so 50.0
/// and 50 are one). A number beyond 64-bit floating point has no canonical form there; it is written as the nearest that has.
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    put(&mut out, value);
    out
}

fn put(out: &mut String, value: &Value) {
    match value {
        Value::Null | Value::Bool(_) => out.push_str(&value.to_string()),
        // serde_json escapes what the standard escapes, in the same way.
        Value::String(_) => out.push_str(&value.to_string()),
        Value::Number(number) => out.push_str(&script_number(number.as_f64().unwrap_or_default())),
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                put(out, value);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                put(out, value);
            }
            out.push('}');
        }
    }
}

/// `Number.prototype.toString`: the shortest digits that give the number back, with an exponent only from 1e21 on and below 1e-6.
fn script_number(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 {
        return "0".to_owned();
    }
    if (1e-6..1e21).contains(&size) {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        let value: Value = serde_json::from_str(
            r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
        )
        .unwrap();
        assert_eq!(
            canonical(&value),
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
    }

    #[test]
    fn members_are_in_the_order_of_utf_16() {
        let value: Value =
            serde_json::from_str(r#"{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3,"1":4,"\r":5}"#).unwrap();
        let names: Vec<String> = canonical(&value)
            .trim_matches(['{', '}'])
            .split(',')
            .map(|member| member.rsplit_once(':').unwrap().1.to_owned())
            .collect();
        assert_eq!(names, ["5", "4", "3", "2", "1"]);
    }

    #[test]
    fn numbers_are_those_of_a_browser() {
        for (number, text) in [
            (50.0, "50"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (1e21, "1e+21"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1.5e-7, "1.5e-7"),
            (0.000_001, "0.000001"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(script_number(number), text);
        }
    }
}
