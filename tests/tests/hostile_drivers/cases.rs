//! What hostile drivers do, and what becomes of each.

use wasm_encoder::{BlockType, Function, HeapType, InstructionSink, ValType};

use super::acts::{
    UpdateValue, demand, endless_loop, log, number_update, one_update, publish, push, recursion,
    says_contained, snapshot_of, trap, update,
};
use super::guest::{ANSWER, Body, Guest, Import, Text, at, component, pages};

/// A hostile file.
pub struct Case {
    /// Its name, which is also that of its plugin and its device.
    pub name: &'static str,
    /// What is in it.
    pub file: Vec<u8>,
    /// What becomes of it.
    pub end: End,
}

/// What becomes of a hostile file.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// It never becomes a driver: with this code, and these words in the reason.
    Refused(&'static str, &'static str),
    /// It breaks down: in this export, with this code, and these words in the reason.
    Breaks(&'static str, &'static str, &'static str),
    /// It is answered as the contract has it, and says so.
    Contained,
}

/// Every one of them.
pub fn all() -> Vec<Case> {
    let mut cases = per_export();
    cases.extend(use_up());
    cases.extend(floods());
    cases.extend(lies());
    cases.extend(answered());
    cases.extend(manifests());
    cases.extend(no_drivers());
    cases
}

/// A loop, a trap and a recursion in each export, and in what runs before all of them.
fn per_export() -> Vec<Case> {
    type Place = fn(&mut Guest) -> &mut Option<Body>;
    let places: [(&str, &str, Place); 5] = [
        ("start", "start", |guest| &mut guest.start),
        ("handle", "handle", |guest| &mut guest.handle),
        ("snapshot", "snapshot", |guest| &mut guest.snapshot),
        ("stop", "stop", |guest| &mut guest.stop),
        ("describe", "describe", |guest| &mut guest.describe),
    ];
    let mut cases = Vec::new();
    for (place, export, body) in places {
        for (name, code, words, mischief) in [
            (
                names("loop", place),
                "deadline",
                "in one call",
                endless_loop as fn(&mut InstructionSink<'_>),
            ),
            (names("trap", place), "trap", "unreachable", trap),
            (names("recursion", place), "trap", "stack", recursion),
        ] {
            let end = match export {
                "describe" => End::Refused("describe", words),
                export => End::Breaks(export, code, words),
            };
            cases.push(made(name, end, |guest| *body(guest) = Some(Box::new(mischief))));
        }
    }
    let words = "in one call";
    cases.push(made(
        "loop-before-all",
        End::Refused("describe", words),
        |guest| {
            guest.instantiate = Some(Box::new(endless_loop));
        },
    ));
    cases
}

fn names(what: &str, place: &str) -> &'static str {
    // A name lives as long as the story.
    Box::leak(format!("{what}-in-{place}").into_boxed_str())
}

/// Memory, in every form there is.
fn use_up() -> Vec<Case> {
    const LIMIT: &str = "bytes of memory";
    let limited = End::Breaks("handle", "limit", LIMIT);
    vec![
        made("memory-grows", limited, |guest| {
            guest.handle = Some(Box::new(|sink| {
                sink.loop_(BlockType::Empty)
                    .i32_const(64)
                    .memory_grow(0)
                    .drop()
                    .br(0)
                    .end();
            }));
        }),
        made(
            "memory-grows-in-describe",
            End::Refused("describe", LIMIT),
            |guest| {
                guest.describe = Some(Box::new(|sink| {
                    sink.loop_(BlockType::Empty)
                        .i32_const(64)
                        .memory_grow(0)
                        .drop()
                        .br(0)
                        .end();
                }));
            },
        ),
        made("table-grows", limited, |guest| {
            guest.handle = Some(Box::new(|sink| {
                sink.loop_(BlockType::Empty).ref_null(HeapType::FUNC);
                // Each step copies the table: in small ones it would be the processor's time that is up first.
                sink.i32_const(5_000_000).table_grow(0).drop().br(0).end();
            }));
        }),
        made(
            "memory-from-the-start",
            End::Refused("describe", LIMIT),
            |guest| {
                guest.pages = pages(3 << 30);
            },
        ),
        made("table-from-the-start", End::Refused("describe", LIMIT), |guest| {
            guest.tables = (1, 9_000_000)
        }),
        made("many-memories", End::Refused("describe", "memor"), |guest| {
            guest.memories = 90
        }),
        made("many-tables", End::Refused("describe", "table"), |guest| {
            guest.tables = (90, 1)
        }),
        made(
            "snapshot-of-100-mb",
            End::Breaks("snapshot", "limit", LIMIT),
            |guest| {
                guest.snapshot = Some(Box::new(|sink| snapshot_of(sink, 100 << 20)));
            },
        ),
        made(
            "snapshot-of-40-mb",
            End::Breaks("snapshot", "limit", "bytes handed"),
            |guest| {
                guest.snapshot = Some(Box::new(|sink| snapshot_of(sink, 40 << 20)));
            },
        ),
        made(
            "snapshot-past-the-limit",
            End::Breaks("snapshot", "contract", "bytes"),
            |guest| {
                guest.snapshot = Some(Box::new(|sink| snapshot_of(sink, (1 << 20) + 1)));
            },
        ),
        made(
            "snapshot-of-nowhere",
            End::Breaks("snapshot", "contract", "bounds"),
            |guest| {
                guest.snapshot = Some(Box::new(|sink| {
                    sink.i32_const(ANSWER).i32_const(1 << 20).i32_store(at(4));
                    sink.i32_const(ANSWER).i32_const(1 << 20).i32_store(at(8));
                    sink.i32_const(ANSWER).return_();
                }));
            },
        ),
    ]
}

/// As much as it can, as fast as it can.
fn floods() -> Vec<Case> {
    let limited = End::Breaks("handle", "limit", "bytes handed to the host");
    vec![
        made("update-flood", limited, |guest| {
            let one = number_update(guest, 1.0);
            guest.handle = Some(Box::new(move |sink| {
                sink.loop_(BlockType::Empty);
                update(sink, one);
                sink.br(0).end();
            }));
        }),
        made("log-flood", limited, |guest| {
            let line = guest.text("again");
            guest.handle = Some(Box::new(move |sink| {
                sink.loop_(BlockType::Empty);
                log(sink, line);
                sink.br(0).end();
            }));
        }),
        made(
            "log-flood-in-describe",
            End::Refused("describe", "bytes handed"),
            |guest| {
                let line = guest.text("again");
                guest.describe = Some(Box::new(move |sink| {
                    sink.loop_(BlockType::Empty);
                    log(sink, line);
                    sink.br(0).end();
                }));
            },
        ),
        made("event-flood", limited, |guest| {
            let (kind, context) = (guest.text("flood"), guest.text("{}"));
            guest.handle = Some(Box::new(move |sink| {
                sink.loop_(BlockType::Empty);
                publish(sink, kind, context);
                sink.br(0).end();
            }));
        }),
        made("giant-log-line", limited, |guest| {
            guest.handle = Some(Box::new(|sink| {
                sink.i32_const(800).memory_grow(0).drop();
                log(sink, Text { at: 0, len: 48 << 20 });
            }));
        }),
        made("giant-list-of-updates", limited, |guest| {
            guest.handle = Some(Box::new(|sink| {
                sink.i32_const(800).memory_grow(0).drop();
                update(
                    sink,
                    Text {
                        at: 1 << 18,
                        len: 900_000,
                    },
                );
            }));
        }),
        made("giant-list-of-samples", limited, |guest| {
            guest.manifest.series = vec!["volts".to_owned()];
            guest.handle = Some(Box::new(|sink| {
                sink.i32_const(800).memory_grow(0).drop();
                push(
                    sink,
                    Text {
                        at: 1 << 18,
                        len: 1_800_000,
                    },
                );
            }));
        }),
    ]
}

/// What is not so.
fn lies() -> Vec<Case> {
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
fn answered() -> Vec<Case> {
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

/// What it says of itself.
fn manifests() -> Vec<Case> {
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

/// What is no driver at all.
fn no_drivers() -> Vec<Case> {
    let case = |name, file: Vec<u8>, code, words| Case {
        name,
        file,
        end: End::Refused(code, words),
    };
    let good = Guest::new("good").module();
    let whole = component(&good);
    let mut garbage = b"\0asm\x01\0\0\0".to_vec();
    garbage.extend((0..10_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8));
    let mut of_elsewhere = good.clone();
    of_elsewhere[4] = 0x77;
    vec![
        case("zeros", vec![0; 4096], "no-webassembly", "does not begin with"),
        case("garbage", garbage, "invalid", "not valid"),
        case(
            "cut-module",
            good[..good.len() / 2].to_vec(),
            "invalid",
            "not valid",
        ),
        case(
            "cut-component",
            whole[..whole.len() * 3 / 4].to_vec(),
            "invalid",
            "",
        ),
        case(
            "of-another-layer",
            of_elsewhere,
            "invalid",
            "neither a core module nor a component",
        ),
        case("empty", Vec::new(), "empty", "empty"),
        case("wasi-module", wasi_module(), "invalid", "wasi"),
        case(
            "compiles-to-no-end",
            compiles_to_no_end(),
            "compile",
            "the compiling process failed",
        ),
        case("beyond-the-size", vec![0; (64 << 20) + 1], "too-large", "at most"),
    ]
}

/// A module that Cranelift is at for minutes.
pub fn compiles_for_ever() -> Vec<u8> {
    let mut guest = Guest::new("compiles-for-ever");
    guest.filler = vec![thicket(100, 500); 3_000];
    guest.module()
}

/// Many values that live through many branches.
fn thicket(values: u32, branches: u32) -> Function {
    let mut function = Function::new([(values, ValType::I32)]);
    let mut sink = function.instructions();
    sink.loop_(BlockType::Empty);
    for branch in 0..branches {
        let (one, other) = (1 + branch % values, 1 + (branch * 7 + 3) % values);
        sink.local_get(0).local_get(one).i32_xor();
        sink.if_(BlockType::Empty);
        sink.local_get(one).local_get(other).i32_mul().local_set(other);
        sink.else_();
        sink.local_get(other).local_get(one).i32_add().local_set(one);
        sink.end();
    }
    sink.local_get(1).br_if(0).end();
    sink.local_get(values).end();
    function
}

fn wasi_module() -> Vec<u8> {
    use wasm_encoder::{EntityType, ImportSection, Module, TypeSection};
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    let mut imports = ImportSection::new();
    imports.import("wasi_snapshot_preview1", "proc_exit", EntityType::Function(0));
    let mut module = Module::new();
    module.section(&types).section(&imports);
    module.finish()
}

/// One for which Cranelift takes more memory than there is.
fn compiles_to_no_end() -> Vec<u8> {
    let mut guest = Guest::new("compiles-to-no-end");
    guest.filler = vec![thicket(6_000, 6_000); 2];
    guest.module()
}

fn made(name: &'static str, end: End, make: impl FnOnce(&mut Guest)) -> Case {
    let mut guest = Guest::new(name);
    make(&mut guest);
    Case {
        name,
        file: guest.module(),
        end,
    }
}
