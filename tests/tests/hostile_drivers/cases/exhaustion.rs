//! Drivers that use up what there is: memory, and what they may hand to the host.

use wasm_encoder::{BlockType, HeapType};

use super::{Case, End, made};
use crate::acts::{log, number_update, publish, push, snapshot_of, update};
use crate::guest::{ANSWER, Text, at, pages};

/// Memory, in every form there is.
pub fn use_up() -> Vec<Case> {
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
pub fn floods() -> Vec<Case> {
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
