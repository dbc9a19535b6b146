use proptest::prelude::*;
use test_support::{client_frame, client_frame_with, is_long};

use super::*;

fn frame(is_final: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    client_frame((u8::from(is_final) << 7) | opcode.bits(), payload)
}

/// Everything a reader says about a stream that arrives in these pieces, up to its first error.
fn read<'a>(
    limit_bytes: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Option<FrameError>) {
    let mut reader = FrameReader::new(limit_bytes);
    let mut messages = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(), Err(error), "an error stays");
                    assert_eq!(reader.held_bytes(), 0, "a failed reader holds nothing");
                    return (messages, Some(error));
                }
            }
        }
    }
    (messages, None)
}

fn error_of(stream: &[u8]) -> Option<FrameError> {
    read(1000, [stream]).1
}

/// Takes a frame of ours apart with nothing of the writer's code.
fn unframe(frame: &[u8]) -> (u8, Vec<u8>) {
    let (length, skip) = match frame[1] {
        126 => (u16::from_be_bytes([frame[2], frame[3]]) as usize, 4),
        127 => (u64::from_be_bytes(frame[2..10].try_into().unwrap()) as usize, 10),
        n => (n as usize, 2),
    };
    assert_eq!(frame.len(), skip + length);
    (frame[0], frame[skip..].to_vec())
}

#[test]
fn each_fault_has_its_error_and_its_code() {
    use FrameError::*;
    let long = [0; 126];
    let cases: Vec<(Vec<u8>, FrameError, u16)> = vec![
        (client_frame_with(0xC1, b"x", Some([1; 4])), ReservedBits, 1002),
        (client_frame_with(0xA1, b"x", Some([1; 4])), ReservedBits, 1002),
        (client_frame_with(0x91, b"x", Some([1; 4])), ReservedBits, 1002),
        (
            client_frame_with(0x83, b"x", Some([1; 4])),
            ReservedOpcode(3),
            1002,
        ),
        (
            client_frame_with(0x8F, b"x", Some([1; 4])),
            ReservedOpcode(15),
            1002,
        ),
        (vec![0x81, 0x01, b'x'], NotMasked, 1002),
        (vec![0x81, 0x80 | 126, 0, 125], BadLength, 1002),
        (
            vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
            BadLength,
            1002,
        ),
        (vec![0x81, 0x80 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0], BadLength, 1002),
        (frame(true, Opcode::Ping, &long), LongControl, 1002),
        (frame(false, Opcode::Ping, b""), FragmentedControl, 1002),
        (
            frame(true, Opcode::Continuation, b"x"),
            UnexpectedContinuation,
            1002,
        ),
        (
            [frame(false, Opcode::Text, b"x"), frame(true, Opcode::Text, b"y")].concat(),
            ExpectedContinuation,
            1002,
        ),
        (frame(true, Opcode::Close, &[3]), BadClose, 1002),
        (frame(true, Opcode::Close, &[3, 0xE8, 0xFF]), BadText, 1007),
        (
            frame(true, Opcode::Text, &[0xCE, 0xBA, 0xED, 0xA0, 0x80]),
            BadText,
            1007,
        ),
        (frame(true, Opcode::Text, &[0xCE]), BadText, 1007),
        // The bad byte is found in its piece, with the rest of the message still to come.
        (frame(false, Opcode::Text, &[0xCE, 0xBA, 0xFF]), BadText, 1007),
        // The size is refused by the header alone.
        (
            vec![0x81, 0x80 | 126, 0x03, 0xE9, 1, 2, 3, 4],
            TooBig { limit_bytes: 1000 },
            1009,
        ),
        (
            vec![
                0x82,
                0x80 | 127,
                0x7F,
                0xFF,
                0xFF,
                0xFF,
                0xFF,
                0xFF,
                0xFF,
                0xFF,
                1,
                2,
                3,
                4,
            ],
            TooBig { limit_bytes: 1000 },
            1009,
        ),
        (
            [
                frame(false, Opcode::Binary, &[0; 600]),
                frame(true, Opcode::Continuation, &[0; 401]),
            ]
            .concat(),
            TooBig { limit_bytes: 1000 },
            1009,
        ),
    ];
    for (stream, error, code) in cases {
        assert_eq!(error_of(&stream), Some(error), "{stream:02x?}");
        assert_eq!(error.close_code().number(), code, "{error}");
    }
}

#[test]
fn close_codes_are_checked_as_the_standard_says() {
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 3999, 4000, 4999_u16,
    ] {
        let (messages, error) = read(100, [&frame(true, Opcode::Close, &code.to_be_bytes())[..]]);
        let reason = CloseReason {
            code,
            reason: String::new(),
        };
        assert_eq!((messages, error), (vec![Message::Close(Some(reason))], None));
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535_u16,
    ] {
        let (_, error) = read(100, [&frame(true, Opcode::Close, &code.to_be_bytes())[..]]);
        assert_eq!(error, Some(FrameError::BadCloseCode(code)));
    }
    let mut numbers = CloseCode::ALL.map(CloseCode::number).to_vec();
    assert!(numbers.iter().all(|&code| close::may_travel(code)));
    numbers.dedup();
    assert_eq!(
        numbers.len(),
        CloseCode::ALL.len(),
        "no two reasons share a number"
    );
}

#[test]
fn a_control_frame_may_stand_between_the_pieces_of_a_message() {
    let stream = [
        frame(false, Opcode::Text, "a\u{e4}".as_bytes().split_at(2).0),
        frame(true, Opcode::Ping, b"?"),
        frame(false, Opcode::Continuation, "a\u{e4}".as_bytes().split_at(2).1),
        frame(true, Opcode::Continuation, b""),
    ]
    .concat();
    let (messages, error) = read(100, [&stream[..]]);
    assert_eq!(error, None);
    assert_eq!(
        messages,
        [Message::Ping(b"?".to_vec()), Message::Text("a\u{e4}".to_owned())]
    );
}

#[test]
fn nothing_after_a_close_frame_is_looked_at() {
    let stream = [frame(true, Opcode::Close, b""), vec![0xFF; 100]].concat();
    assert_eq!(read(100, [&stream[..]]), (vec![Message::Close(None)], None));
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    let (messages, error) = read(1000, [&frame(true, Opcode::Binary, &[7; 1000])[..]]);
    assert_eq!((messages.len(), error), (1, None));
}

#[test]
fn a_reader_at_rest_holds_next_to_nothing() {
    let mut reader = FrameReader::new(1 << 20);
    reader.push(&frame(true, Opcode::Text, &[b'x'; 100_000]));
    assert!(matches!(reader.next(), Ok(Some(Message::Text(_)))));
    assert_eq!(reader.next(), Ok(None));
    assert!(reader.held_bytes() <= 256, "{}", reader.held_bytes());
}

#[test]
fn a_reason_is_cut_at_a_character() {
    let (first, payload) = unframe(&close(CloseCode::Policy, &"\u{1F50C}".repeat(50)));
    assert_eq!(first, 0x88);
    assert_eq!(payload.len(), 2 + 30 * 4);
    assert!(std::str::from_utf8(&payload[2..]).is_ok());
}

/// A stream that a correct client could send, and what it means.
fn valid_stream() -> impl Strategy<Value = (Vec<u8>, Vec<Message>)> {
    stream_of(66_000)
}

/// The same, with some binary messages of this length among the short ones.
fn stream_of(long_bytes: usize) -> impl Strategy<Value = (Vec<u8>, Vec<Message>)> {
    let piece_borders = proptest::collection::vec(0.0..1.0f64, 0..4);
    let control = proptest::option::of((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..126)));
    let message = (
        prop_oneof![
            ".{0,300}".prop_map(Message::Text),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Message::Binary),
            Just(Message::Binary(vec![5; long_bytes])),
        ],
        piece_borders,
        control,
        any::<[u8; 4]>(),
    );
    proptest::collection::vec(message, 1..6).prop_map(|messages| {
        let mut stream = Vec::new();
        let mut meant = Vec::new();
        for (message, borders, control, mask) in messages {
            let (opcode, payload) = match &message {
                Message::Text(text) => (Opcode::Text, text.as_bytes().to_vec()),
                Message::Binary(bytes) => (Opcode::Binary, bytes.clone()),
                _ => continue,
            };
            let mut at: Vec<usize> = borders
                .iter()
                .map(|b| (b * payload.len() as f64) as usize)
                .collect();
            at.sort_unstable();
            at.push(payload.len());
            let mut from = 0;
            for (index, &to) in at.iter().enumerate() {
                let opcode = if index == 0 { opcode } else { Opcode::Continuation };
                let fin = u8::from(index + 1 == at.len()) << 7;
                stream.extend(client_frame_with(
                    fin | opcode.bits(),
                    &payload[from..to],
                    Some(mask),
                ));
                from = to;
                if let (0, Some((is_ping, bytes))) = (index, &control) {
                    let opcode = if *is_ping { Opcode::Ping } else { Opcode::Pong };
                    stream.extend(client_frame_with(0x80 | opcode.bits(), bytes, Some(mask)));
                    if at.len() > 1 {
                        meant.push(match is_ping {
                            true => Message::Ping(bytes.clone()),
                            false => Message::Pong(bytes.clone()),
                        });
                    }
                }
            }
            meant.push(message);
            if let (1, Some((is_ping, bytes))) = (at.len(), control) {
                meant.push(match is_ping {
                    true => Message::Ping(bytes),
                    false => Message::Pong(bytes),
                });
            }
        }
        (stream, meant)
    })
}

/// Cuts a stream at these places.
fn cut<'a>(stream: &'a [u8], borders: &[f64]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = borders
        .iter()
        .map(|b| (b * stream.len() as f64) as usize)
        .collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &stream[w[0]..w[1]]).collect()
}

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(if is_long() { 20_000 } else { 200 })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_split_of_a_valid_stream_gives_the_same_messages(
        (stream, meant) in valid_stream(),
        borders in proptest::collection::vec(0.0..1.0f64, 0..30),
    ) {
        let (messages, error) = read(1 << 20, cut(&stream, &borders));
        prop_assert_eq!(error, None);
        prop_assert_eq!(messages, meant);
    }

    #[test]
    fn a_byte_at_a_time_is_a_split_too((stream, meant) in stream_of(660)) {
        let (messages, error) = read(1 << 20, stream.chunks(1));
        prop_assert_eq!(error, None);
        prop_assert_eq!(messages, meant);
    }

    #[test]
    fn hostile_bytes_end_in_an_error_whatever_the_split_or_wait_for_more(
        mut stream in proptest::collection::vec(any::<u8>(), 0..400),
        masks in any::<bool>(),
        borders in proptest::collection::vec(0.0..1.0f64, 0..10),
    ) {
        // Most random bytes fail at the mask; set it so that the rest of the reader sees them too.
        if masks && let [_, second, ..] = &mut stream[..] {
            *second |= 0x80;
        }
        let whole = read(200, [&stream[..]]);
        prop_assert_eq!(&read(200, cut(&stream, &borders)), &whole);
        if let Some(error) = whole.1 {
            prop_assert!([1002, 1007, 1009].contains(&error.close_code().number()));
        }
    }

    #[test]
    fn a_changed_byte_never_panics_and_never_holds_more_than_it_was_given(
        (mut stream, _) in valid_stream(),
        at in 0.0..1.0f64,
        value in any::<u8>(),
    ) {
        let index = (at * stream.len() as f64) as usize;
        stream[index] = value;
        let mut reader = FrameReader::new(70_000);
        reader.push(&stream);
        while let Ok(Some(_)) = reader.next() {}
        prop_assert!(reader.held_bytes() <= 4 * stream.len() + 1024);
    }

    #[test]
    fn what_the_writer_builds_is_what_a_peer_reads(
        payload in prop_oneof![
            ".{0,200}".prop_map(String::into_bytes),
            Just(vec![b'x'; 125]), Just(vec![b'x'; 126]), Just(vec![b'x'; 65_535]), Just(vec![b'x'; 65_536]),
        ],
        mask in any::<[u8; 4]>(),
    ) {
        let built = build_text::<()>(0, |out| { out.extend_from_slice(&payload); Ok(()) }).unwrap();
        prop_assert_eq!(&built, &text(&payload));
        let (first, body) = unframe(&built);
        prop_assert_eq!((first, &body), (0x81, &payload));
        // The same frame with a mask is a client's frame: the reader takes what the writer means.
        let (messages, error) = read(1 << 20, [&client_frame_with(first, &body, Some(mask))[..]]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(messages, vec![Message::Text(String::from_utf8(payload).unwrap())]);
    }
}
