//! Drivers that say what is not so: what breaks the contract, and what is only answered.

use super::{Case, End, made};
use crate::acts::{UpdateValue, demand, log, one_update, publish, push, says_contained, update};
use crate::guest::{ANSWER, Guest, Import, Text, at, pages};

/// What is not so.
pub fn lies() -> Vec<Case> {
    let beyond = Text { at: 0, len: i32::MAX };
    vec![
        made(
            "log-line-of-nowhere",
            End::Breaks("handle", "contract", "bounds"),
            move |guest| {
                guest.handle = Some(Box::new(move |sink| log(sink, beyond)));
            },
        ),
        made(
            "list-of-nowhere",
            End::Breaks("handle", "contract", "bounds"),
            move |guest| {
                guest.handle = Some(Box::new(move |sink| update(sink, beyond)));
            },
        ),
        made(
            "text-of-no-characters",
            End::Breaks("handle", "contract", "utf-8"),
            |guest| {
                let text = guest.bytes(&[0xff, 0xfe, 0xc0]);
                guest.handle = Some(Box::new(move |sink| log(sink, text)));
            },
        ),
        made(
            "listens-on-the-network",
            End::Breaks("handle", "contract", "nothing of WASI"),
            |guest| {
                guest.wants_wasi = true;
                guest.handle = Some(Box::new(Guest::listen));
            },
        ),
        made(
            "operation-of-no-kind",
            End::Breaks("handle", "contract", "discriminant"),
            |guest| {
                let bytes = guest.bytes(&[9; 48]);
                let one = Text { len: 1, ..bytes };
                guest.handle = Some(Box::new(move |sink| update(sink, one)));
            },
        ),
        made(
            "description-of-no-characters",
            End::Refused("describe", "utf-8"),
            |guest| {
                guest.manifest.name = vec![0xff, 0xfe];
            },
        ),
        made("giant-description", End::Refused("describe", "handed"), |guest| {
            guest.pages = pages(48 << 20);
            guest.describe = Some(Box::new(|sink| {
                // A name of 40 MiB: all else in the record is zero, and so is what it points to.
                sink.i32_const(ANSWER).i32_const(40 << 20).i32_store(at(4));
                sink.i32_const(ANSWER).return_();
            }));
        }),
    ]
}

/// What is not taken, and answered.
pub fn answered() -> Vec<Case> {
    const INVALID_PATH: i32 = 1;
    const INVALID_VALUE: i32 = 2;
    let texts: [(&'static str, i32, &'static str, UpdateValue); 9] = [
        (
            "proto-in-a-path",
            INVALID_PATH,
            "/__proto__",
            UpdateValue::Json("1"),
        ),
        (
            "prototype-in-a-path",
            INVALID_PATH,
            "/prototype/x",
            UpdateValue::Json("1"),
        ),
        (
            "constructor-in-a-path",
            INVALID_PATH,
            "/constructor",
            UpdateValue::Json("1"),
        ),
        (
            "proto-in-a-value",
            INVALID_VALUE,
            "",
            UpdateValue::Json("{\"a\":[{\"__proto__\":{}}]}"),
        ),
        (
            "large-integer-in-a-value",
            INVALID_VALUE,
            "",
            UpdateValue::Json("{\"a\":9007199254740992}"),
        ),
        (
            "infinite-value",
            INVALID_VALUE,
            "/x",
            UpdateValue::Number(f64::INFINITY),
        ),
        (
            "value-that-is-no-number",
            INVALID_VALUE,
            "/x",
            UpdateValue::Number(f64::NAN),
        ),
        (
            "large-integer",
            INVALID_VALUE,
            "/x",
            UpdateValue::Integer(1 << 53),
        ),
        ("no-json", INVALID_VALUE, "", UpdateValue::Json("{\"a\":1e999}")),
    ];
    let mut cases: Vec<Case> = texts
        .into_iter()
        .map(|(name, error, path, value)| {
            made(name, End::Contained, move |guest| {
                let one = one_update(guest, path, value);
                guest.handle = says_contained(guest, move |sink| {
                    update(sink, one);
                    demand(sink, 0, 1);
                    demand(sink, 8, error);
                });
            })
        })
        .collect();
    cases.push(made("foreign-port", End::Contained, |guest| {
        let port = guest.text("meter");
        guest.handle = says_contained(guest, move |sink| {
            sink.i32_const(port.at).i32_const(port.len).i32_const(ANSWER);
            sink.call(Import::OpenPort.index());
            demand(sink, 0, 1);
            demand(sink, 4, 0);
        });
    }));
    cases.push(made("series-of-nobody", End::Contained, |guest| {
        let sample = guest.bytes(&[7; 24]);
        let one = Text { len: 1, ..sample };
        guest.handle = says_contained(guest, move |sink| {
            push(sink, one);
            demand(sink, 0, 1);
            demand(sink, 4, 1);
        });
    }));
    cases.push(made("infinite-sample", End::Contained, |guest| {
        guest.manifest.series = vec!["volts".to_owned()];
        let mut sample = vec![0; 16];
        sample.extend(f64::NEG_INFINITY.to_le_bytes());
        let sample = guest.bytes(&sample);
        let one = Text { len: 1, ..sample };
        guest.handle = says_contained(guest, move |sink| {
            push(sink, one);
            demand(sink, 0, 1);
            demand(sink, 4, 2);
        });
    }));
    cases.push(made("proto-in-an-event", End::Contained, |guest| {
        let (kind, context) = (guest.text("news"), guest.text("{\"__proto__\":1}"));
        guest.handle = says_contained(guest, move |sink| {
            publish(sink, kind, context);
            demand(sink, 0, 1);
            demand(sink, 4, 1);
        });
    }));
    cases
}
