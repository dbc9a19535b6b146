use proptest::prelude::*;

use super::*;
use crate::driver::{DataBits, FlowControl, Parity, StopBits};

const LINE: LineSettings = LineSettings {
    baud_rate: 115_200,
    data_bits: DataBits::Eight,
    parity: Parity::None,
    stop_bits: StopBits::One,
    flow_control: FlowControl::None,
};

fn header() -> Header {
    Header {
        device: "meter".to_owned(),
        port: "main".to_owned(),
        line: LINE,
        started_at: "2026-01-01T00:00:00.000Z".to_owned(),
    }
}

fn line_settings() -> impl Strategy<Value = LineSettings> {
    use DataBits::{Eight, Five, Seven, Six};
    let bits = prop::sample::select(vec![Five, Six, Seven, Eight]);
    let parity = prop::sample::select(vec![Parity::None, Parity::Even, Parity::Odd]);
    let stop = prop::sample::select(vec![StopBits::One, StopBits::Two]);
    let flow = prop::sample::select(vec![
        FlowControl::None,
        FlowControl::Software,
        FlowControl::Hardware,
    ]);
    (any::<u32>(), bits, parity, stop, flow).prop_map(
        |(baud_rate, data_bits, parity, stop_bits, flow_control)| LineSettings {
            baud_rate,
            data_bits,
            parity,
            stop_bits,
            flow_control,
        },
    )
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ -~\r\n\t]{1,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..40),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Receive(Vec<u8>),
    Send(Vec<u8>),
    Border(PortIdentity, String),
    Miss(u64, u64),
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let identity = (
        any::<Option<u16>>(),
        any::<Option<String>>(),
        prop::collection::vec(any::<(String, String)>(), 0..3),
    );
    let identity = identity.prop_map(|(usb_vendor_id, serial_number, attributes)| PortIdentity {
        path: "/dev/ttyUSB0".to_owned(),
        usb_vendor_id,
        usb_product_id: usb_vendor_id.map(|id| id / 2),
        serial_number,
        attributes,
    });
    let what = prop_oneof![
        5 => data().prop_map(Step::Receive),
        2 => data().prop_map(Step::Send),
        1 => (identity, any::<String>()).prop_map(|(identity, reason)| Step::Border(identity, reason)),
        1 => (0u64..99, 0u64..4).prop_map(|(bytes, records)| Step::Miss(bytes, records)),
    ];
    (0u64..3_000_000_000, what)
}

/// What a port does in these steps, with a device that is there from the beginning.
fn records(steps: Vec<(u64, Step)>) -> Vec<Record> {
    let (mut ns, mut next, mut attached) = (1_u64, 0_u64, false);
    let mut records = Vec::new();
    for (after, step) in steps {
        ns += after;
        let at = CallTime {
            monotonic_ns: ns,
            wall_ms: 1_767_225_600_000.0 + ns as f64 / 1.0e6,
        };
        let mut put = |what| records.push(Record { at, what });
        match step {
            Step::Receive(data) => {
                if !attached {
                    attached = true;
                    let identity = PortIdentity::default();
                    put(What::Attached {
                        offset: next,
                        identity,
                    });
                }
                let offset = next;
                next += data.len() as u64;
                put(What::Received { offset, data });
            }
            Step::Send(data) => put(What::Sent { data }),
            Step::Border(identity, reason) => {
                let offset = next;
                put(match attached {
                    true => What::Lost { reason },
                    false => What::Attached { offset, identity },
                });
                attached = !attached;
            }
            Step::Miss(bytes, missing) => {
                let from = next;
                next += bytes;
                put(What::Overrun {
                    from,
                    to: next,
                    records: missing,
                    reason: "slow".to_owned(),
                });
            }
        }
    }
    records
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_to_the_bit(
        line in line_settings(),
        names in any::<(String, String, String)>(),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let (device, port, started_at) = names;
        let capture = Capture {
            header: Header { device, port, line, started_at },
            records: records(steps),
            is_cut: false,
        };
        prop_assert_eq!(Capture::parse(capture.to_text().as_bytes()), Ok(capture));
    }

    #[test]
    fn a_capture_that_is_cut_anywhere_is_what_was_whole_and_says_so(
        steps in prop::collection::vec(step(), 1..12),
        at in any::<prop::sample::Index>(),
    ) {
        let capture = Capture { header: header(), records: records(steps), is_cut: false };
        let text = capture.to_text();
        let bytes = text.as_bytes();
        let head = header().to_line().len();
        let at = head + at.index(bytes.len() - head + 1);
        let kept = &bytes[..at];
        let read = Capture::parse(kept).unwrap();
        // A line is whole from its last brace on, with or without its end.
        let mut whole = 0;
        let mut end = head + 1;
        let mut is_whole = at <= end;
        for record in &capture.records {
            end += record.to_line().len();
            whole += usize::from(end <= at);
            is_whole |= at == end || at == end + 1;
            end += 1;
        }
        prop_assert_eq!(&read.records[..], &capture.records[..whole]);
        prop_assert_eq!(read.is_cut, !is_whole);
    }

    #[test]
    fn a_line_that_is_none_is_named(
        steps in prop::collection::vec(step(), 2..12),
        at in any::<prop::sample::Index>(),
    ) {
        let capture = Capture { header: header(), records: records(steps), is_cut: false };
        let mut lines: Vec<String> = capture.to_text().lines().map(str::to_owned).collect();
        let at = 1 + at.index(lines.len() - 2);
        lines[at] = "{\"kind\":\"received\"".to_owned();
        let error = Capture::parse(lines.join("\n").as_bytes()).unwrap_err();
        prop_assert_eq!(error.line, at + 1);
    }
}

fn problem(records: &[&str]) -> String {
    let mut text = header().to_line();
    for record in records {
        text.push('\n');
        text.push_str(record);
    }
    text.push('\n');
    Capture::parse(text.as_bytes()).unwrap_err().to_string()
}

const ATTACHED: &str = r#"{"kind":"attached","ns":10,"ms":1.0,"offset":5,"path":"/dev/ttyUSB0"}"#;

#[test]
fn what_no_port_does_is_refused_with_its_line() {
    for (records, what) in [
        (
            &[r#"{"kind":"received","ns":1,"ms":1.0,"offset":0,"text":"a"}"#][..],
            "line 2: bytes are received, and no device is attached",
        ),
        (&[ATTACHED, ATTACHED], "line 3: the device is attached"),
        (
            &[r#"{"kind":"lost","ns":1,"ms":1.0,"reason":""}"#],
            "line 2: the device is lost, and was not attached",
        ),
        (
            &[ATTACHED, r#"{"kind":"sent","ns":9,"ms":1.0,"text":"a"}"#],
            "line 3: its time, 9 ns, is before",
        ),
        (
            &[
                ATTACHED,
                r#"{"kind":"received","ns":10,"ms":1.0,"offset":6,"text":"a"}"#,
            ],
            "line 3: it begins at byte 6, where byte 5 is to follow",
        ),
        (
            &[
                ATTACHED,
                r#"{"kind":"overrun","ns":10,"ms":1.0,"from":5,"to":4,"records":1,"reason":""}"#,
            ],
            "line 3: it ends at byte 4",
        ),
        (
            &[
                ATTACHED,
                r#"{"kind":"received","ns":10,"ms":1.0,"offset":18446744073709551615,"text":"ab"}"#,
            ],
            "line 3: its offset is too large",
        ),
        (
            &[r#"{"kind":"sent","ns":1,"ms":1.0}"#],
            "line 2: it has neither text nor hex",
        ),
        (
            &[r#"{"kind":"sent","ns":1,"ms":1.0,"text":"a","hex":"61"}"#],
            "line 2: it has both",
        ),
        (
            &[r#"{"kind":"sent","ns":1,"ms":1.0,"text":"ä"}"#],
            "line 2: its text is not ASCII",
        ),
        (
            &[r#"{"kind":"sent","ns":1,"ms":1.0,"hex":"6"}"#],
            "line 2: its hex",
        ),
        (
            &[r#"{"kind":"sent","ns":1,"ms":1.0,"text":""}"#],
            "line 2: it has no bytes",
        ),
        (
            &[r#"{"kind":"sent","ns":1,"ms":1.0,"text":"a","colour":1}"#],
            "line 2: it is no record: unknown field `colour`",
        ),
        (
            &[r#"{"kind":"spent","ns":1,"ms":1.0,"text":"a"}"#],
            "line 2: it is no record: unknown variant `spent`",
        ),
    ] {
        let problem = problem(records);
        assert!(problem.starts_with(what), "{problem}");
    }
}

#[test]
fn what_is_no_capture_is_refused_by_its_first_line() {
    let newer = header().to_line().replace("\"version\":1", "\"version\":2");
    let odd = header().to_line().replace("\"dataBits\":8", "\"dataBits\":9");
    for (text, what) in [
        ("", "line 1: the file is empty"),
        ("\0asm", "line 1: it is no header of a capture"),
        (
            "{\"format\":\"pcap\",\"version\":1}\n",
            "line 1: its format is \"pcap\"",
        ),
        (&newer, "line 1: it is of version 2; this program reads version 1"),
        (&odd, "line 1: dataBits is 9"),
    ] {
        let problem = Capture::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(problem.starts_with(what), "{problem}");
    }
}

#[test]
fn a_gap_may_have_hidden_that_the_device_came_and_went() {
    let text = [
        &header().to_line(),
        ATTACHED,
        r#"{"kind":"overrun","ns":10,"ms":1.0,"from":5,"to":9,"records":4,"reason":"slow"}"#,
        r#"{"kind":"attached","ns":11,"ms":1.0,"offset":9,"path":"/dev/ttyUSB1"}"#,
    ]
    .join("\n");
    let capture = Capture::parse(text.as_bytes()).unwrap();
    assert_eq!((capture.records.len(), capture.is_cut), (3, false));
}

#[test]
fn bytes_are_text_where_a_person_can_read_them() {
    let at = CallTime {
        monotonic_ns: 1,
        wall_ms: 2.5,
    };
    let line = |data: &[u8]| {
        let data = data.to_vec();
        Record {
            at,
            what: What::Sent { data },
        }
        .to_line()
    };
    assert_eq!(
        line(b"#L\r\n"),
        r##"{"kind":"sent","ns":1,"ms":2.5,"text":"#L\r\n"}"##
    );
    assert_eq!(
        line(b"\x00\xff"),
        r#"{"kind":"sent","ns":1,"ms":2.5,"hex":"00ff"}"#
    );
}
