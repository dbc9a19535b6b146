//! Drivers that describe themselves so that somebody else trips over it.

use super::{Case, End, made};
use crate::acts::says_contained;
use crate::guest::{ANSWER, Import, at};

/// What it says of itself.
pub fn manifests() -> Vec<Case> {
    let schema = |name: &'static str, words: &'static str, schema: &'static str| {
        made(name, End::Refused("commands", words), move |guest| {
            guest.manifest.commands = vec![("press".to_owned(), schema.to_owned())];
        })
    };
    vec![
        schema(
            "pattern-of-a-giant",
            "regex",
            r#"{"properties":{"a":{"pattern":"(\\w{500}){500}"}}}"#,
        ),
        schema(
            "pattern-with-a-look-back",
            "regex",
            r#"{"properties":{"a":{"pattern":"(a)\\1"}}}"#,
        ),
        schema(
            "schema-of-elsewhere",
            "outside",
            r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#,
        ),
        schema(
            "schema-without-end",
            "back to itself",
            r##"{"properties":{"a":{"$ref":"#"}}}"##,
        ),
        made(
            "settings-schema-of-elsewhere",
            End::Refused("describe", "outside"),
            |guest| {
                guest.manifest.settings_schema = Some(r#"{"$ref":"file:///etc/passwd"}"#.to_owned());
            },
        ),
        // Read in time that rises with the text, as every pattern is: nothing is wrong with it here.
        made("pattern-that-backtracks", End::Contained, |guest| {
            let schema = r#"{"properties":{"a":{"pattern":"^(a+)+$"}}}"#;
            guest.manifest.commands = vec![("press".to_owned(), schema.to_owned())];
            guest.handle = says_contained(guest, |_| {});
        }),
        made(
            "series-that-poisons",
            End::Refused("describe", "__proto__"),
            |guest| {
                guest.manifest.series = vec!["__proto__".to_owned()];
            },
        ),
        made(
            "command-that-poisons",
            End::Refused("describe", "constructor"),
            |guest| {
                guest.manifest.commands = vec![("constructor".to_owned(), "{}".to_owned())];
            },
        ),
        made(
            "schema-that-poisons",
            End::Refused("describe", "__proto__"),
            |guest| {
                guest.manifest.slice_schema = Some(r#"{"properties":{"__proto__":{}}}"#.to_owned());
            },
        ),
        made(
            "schema-with-a-large-integer",
            End::Refused("describe", "2^53"),
            |guest| {
                guest.manifest.slice_schema = Some(r#"{"maximum":18446744073709551615}"#.to_owned());
            },
        ),
        made("wish-for-all-memory", End::Contained, |guest| {
            guest.manifest.memory_bytes = Some(u64::MAX);
            guest.handle = says_contained(guest, |_| {});
        }),
        made(
            "description-of-a-book",
            End::Refused("describe", "description"),
            |guest| {
                guest.manifest.description = "a".repeat(100_000);
            },
        ),
        made(
            "describes-by-counting",
            End::Refused("describe", "describes itself differently"),
            |guest| {
                // One more in the first digit each time it is asked, as often as one memory is asked.
                let version = guest.text("1.6.6");
                guest.describe = Some(Box::new(move |sink| {
                    sink.i32_const(version.at)
                        .i32_const(version.at)
                        .i32_load8_u(at(0));
                    sink.i32_const(1).i32_add().i32_store8(at(0));
                }));
                guest.version_at = Some(version);
            },
        ),
        made("describes-by-the-clock", End::Contained, |guest| {
            // A digit from every clock that there is, and one from what a port answers.
            let version = guest.text("6.6.6");
            let port = guest.text("main");
            guest.describe = Some(Box::new(move |sink| {
                sink.i32_const(version.at).call(Import::Monotonic.index());
                sink.call(Import::Wall.index())
                    .i64_trunc_sat_f64_u()
                    .i64_add()
                    .i32_wrap_i64();
                sink.i32_const(3)
                    .i32_rem_u()
                    .i32_const(0x36)
                    .i32_add()
                    .i32_store8(at(0));
                sink.i32_const(port.at).i32_const(port.len).i32_const(ANSWER);
                sink.call(Import::OpenPort.index());
                sink.i32_const(version.at).i32_const(ANSWER).i32_load8_u(at(4));
                sink.i32_const(0x36).i32_add().i32_store8(at(4));
            }));
            guest.version_at = Some(version);
            guest.handle = says_contained(guest, |_| {});
        }),
    ]
}
