//! Framing: lengths, control frames, reserved bits, opcodes, masks, fragmentation.

use libtest_mimic::Trial;

use super::peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame, frame_with};
use super::script::Script;
use super::server::Server;

pub fn trials(server: &Server) -> Vec<Trial> {
    let mut scripts = Vec::new();
    lengths(&mut scripts);
    pings(&mut scripts);
    reserved_bits(&mut scripts);
    opcodes(&mut scripts);
    masks_and_lengths(&mut scripts);
    fragments(&mut scripts);
    scripts
        .into_iter()
        .flat_map(|script| script.trials(server))
        .collect()
}

fn lengths(scripts: &mut Vec<Script>) {
    for (opcode, kind, numbers) in [(TEXT, "text", "1.1"), (BINARY, "binary message", "1.2")] {
        for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
            let payload = vec![b'*'; length];
            scripts.push(
                Script::new(
                    "lengths",
                    format!("a {kind} of {length} bytes comes back"),
                    numbers,
                )
                .sends(FIN | opcode, &payload)
                .gets(opcode, &payload),
            );
        }
    }
}

fn pings(scripts: &mut Vec<Script>) {
    let script = |what: String, numbers| Script::new("pings", what, numbers);
    let every_byte: Vec<u8> = (0..=255).cycle().take(125).collect();
    for length in [0, 1, 5, 124, 125] {
        let payload = &every_byte[..length];
        let what = format!("a ping of {length} bytes is answered with the same");
        scripts.push(
            script(what, "2.1-2.4")
                .sends(FIN | PING, payload)
                .gets(PONG, payload),
        );
    }
    for length in [126, 127, 65_536] {
        let what = format!("a ping of {length} bytes is refused");
        scripts.push(
            script(what, "2.5")
                .sends(FIN | PING, vec![0xFE; length])
                .closes_with(1002),
        );
    }
    for payload in [&b""[..], b"unasked"] {
        let what = format!(
            "a pong of {} bytes that nobody asked for is ignored",
            payload.len()
        );
        scripts.push(script(what, "2.7, 2.8").sends(FIN | PONG, payload));
    }
    scripts.push(
        script("a pong and then a ping: only the ping is answered".into(), "2.9")
            .sends(FIN | PONG, "unasked")
            .sends(FIN | PING, "asked")
            .gets(PONG, "asked"),
    );
    let mut ten = script(
        "ten pings in a row are all answered, in order".into(),
        "2.10, 2.11",
    );
    for n in 0..10 {
        let payload = format!("ping {n}");
        ten = ten.sends(FIN | PING, &payload).gets(PONG, &payload);
    }
    scripts.push(ten);
    scripts.push(
        script("a ping behind a message is answered behind it".into(), "")
            .sends(FIN | TEXT, "first")
            .sends(FIN | PING, "second")
            .gets(TEXT, "first")
            .gets(PONG, "second"),
    );
}

fn reserved_bits(scripts: &mut Vec<Script>) {
    for bits in 1..8_u8 {
        let script = |what: &str| {
            Script::new(
                "reserved_bits",
                format!("{what} with reserved bits {bits:03b} is refused"),
                "3",
            )
        };
        let rsv = bits << 4;
        scripts.push(script("a text").sends(FIN | rsv | TEXT, "x").closes_with(1002));
        scripts.push(
            script("a text behind a good one")
                .sends(FIN | TEXT, "good")
                .sends(FIN | rsv | TEXT, "bad")
                .gets(TEXT, "good")
                .closes_with(1002),
        );
        scripts.push(
            script("a binary message")
                .sends(FIN | rsv | BINARY, "x")
                .closes_with(1002),
        );
        scripts.push(script("a ping").sends(FIN | rsv | PING, "x").closes_with(1002));
        scripts.push(
            script("a close")
                .sends(FIN | rsv | CLOSE, [0x03, 0xE8])
                .closes_with(1002),
        );
    }
}

fn opcodes(scripts: &mut Vec<Script>) {
    for opcode in (3..8).chain(11..16_u8) {
        let numbers = if opcode < 8 { "4.1" } else { "4.2" };
        let script = |what: &str| {
            Script::new(
                "opcodes",
                format!("{what} of opcode {opcode} is refused"),
                numbers,
            )
        };
        scripts.push(script("an empty frame").sends(FIN | opcode, "").closes_with(1002));
        scripts.push(
            script("a frame with payload")
                .sends(FIN | opcode, "reserved")
                .closes_with(1002),
        );
        scripts.push(
            script("behind a good message a frame")
                .sends(FIN | TEXT, "good")
                .sends(FIN | opcode, "reserved")
                .sends(FIN | PING, "never answered")
                .gets(TEXT, "good")
                .closes_with(1002),
        );
    }
}

fn masks_and_lengths(scripts: &mut Vec<Script>) {
    let script = |what: &str| Script::new("masks", what, "");
    for (what, first, payload) in [
        ("an unmasked text", FIN | TEXT, "x"),
        ("an unmasked ping", FIN | PING, ""),
    ] {
        let script = script(&format!("{what} is refused"));
        let bytes = frame_with(first, payload.as_bytes(), None);
        scripts.push(script.sends_bytes(bytes).closes_with(1002));
    }
    scripts.push(
        script("an unmasked continuation of a masked beginning is refused")
            .sends(TEXT, "a")
            .sends_bytes(frame_with(FIN | CONTINUATION, b"b", None))
            .closes_with(1002),
    );
    scripts.push(
        script("a mask of zeros is a mask")
            .sends_bytes(frame_with(FIN | TEXT, b"plain", Some([0; 4])))
            .gets(TEXT, "plain"),
    );
    scripts.push(
        script("each fragment has its own mask")
            .sends_bytes(frame_with(TEXT, b"one,", Some([1, 2, 3, 4])))
            .sends_bytes(frame_with(CONTINUATION, b"two,", Some([0xFF, 0, 0xFF, 0])))
            .sends_bytes(frame_with(FIN | CONTINUATION, b"three", Some([9, 9, 9, 9])))
            .gets(TEXT, "one,two,three"),
    );
    let script = |what: &str| Script::new("lengths", what, "");
    let in_16_bits = |length: u16| [&[FIN | TEXT, 0x80 | 126][..], &length.to_be_bytes()].concat();
    let in_64_bits = |length: u64| [&[FIN | TEXT, 0x80 | 127][..], &length.to_be_bytes()].concat();
    for (what, bytes) in [
        ("a length of 125 in 16 bits", in_16_bits(125)),
        ("a length of 0 in 16 bits", in_16_bits(0)),
        ("a length of 65535 in 64 bits", in_64_bits(65_535)),
        ("a length of 0 in 64 bits", in_64_bits(0)),
        ("a length with the highest bit", in_64_bits(1 << 63)),
    ] {
        let script = script(&format!("{what} is refused"));
        scripts.push(script.sends_bytes(bytes).closes_with(1002));
    }
    scripts.push(
        script("a length beyond every limit is refused by the header alone")
            .sends_bytes([in_64_bits(u64::MAX >> 1), vec![0; 4]].concat())
            .closes_with(1009),
    );
}

fn fragments(scripts: &mut Vec<Script>) {
    let script = |what: &str, numbers| Script::new("fragments", what, numbers);
    scripts.push(
        script("a ping in pieces is refused", "5.1")
            .sends(PING, "frag")
            .sends(FIN | CONTINUATION, "ment")
            .closes_with(1002),
    );
    scripts.push(
        script("a pong in pieces is refused", "5.2")
            .sends(PONG, "frag")
            .sends(FIN | CONTINUATION, "ment")
            .closes_with(1002),
    );
    scripts.push(
        script("a close in pieces is refused", "")
            .sends(CLOSE, [0x03, 0xE8])
            .closes_with(1002),
    );
    for (opcode, kind) in [(TEXT, "text"), (BINARY, "binary message")] {
        scripts.push(
            script(&format!("a {kind} in two pieces is one message"), "5.3-5.5")
                .sends(opcode, "frag")
                .sends(FIN | CONTINUATION, "ment")
                .gets(opcode, "fragment"),
        );
        scripts.push(
            script(&format!("a {kind} in three empty pieces is an empty message"), "")
                .sends(opcode, "")
                .sends(CONTINUATION, "")
                .sends(FIN | CONTINUATION, "")
                .gets(opcode, ""),
        );
        scripts.push(
            script(
                &format!("a ping between the pieces of a {kind} is answered first"),
                "5.6-5.8",
            )
            .sends(opcode, "frag")
            .sends(FIN | PING, "between")
            .sends(FIN | CONTINUATION, "ment")
            .gets(PONG, "between")
            .gets(opcode, "fragment"),
        );
        scripts.push(
            script(
                &format!("pings between the five pieces of a {kind} are answered first"),
                "5.19, 5.20",
            )
            .sends(opcode, "1")
            .sends(CONTINUATION, "2")
            .sends(FIN | PING, "a")
            .sends(CONTINUATION, "3")
            .sends(CONTINUATION, "4")
            .sends(FIN | PING, "b")
            .sends(FIN | CONTINUATION, "5")
            .gets(PONG, "a")
            .gets(PONG, "b")
            .gets(opcode, "12345"),
        );
    }
    scripts.push(
        script("pongs between the pieces are ignored", "")
            .sends(TEXT, "frag")
            .sends(FIN | PONG, "between")
            .sends(FIN | CONTINUATION, "ment")
            .gets(TEXT, "fragment"),
    );
    for (first, is_last, numbers) in [(FIN, "last", "5.9-5.11"), (0, "further", "5.12-5.14")] {
        scripts.push(
            script(&format!("a {is_last} piece of nothing is refused"), numbers)
                .sends(first | CONTINUATION, "of nothing")
                .sends(FIN | TEXT, "good")
                .closes_with(1002),
        );
        scripts.push(
            script(
                &format!("a {is_last} piece behind a whole message is refused"),
                numbers,
            )
            .sends(FIN | TEXT, "whole")
            .sends(first | CONTINUATION, "of nothing")
            .gets(TEXT, "whole")
            .closes_with(1002),
        );
        scripts.push(
            script(
                &format!("a {is_last} piece behind a message in pieces is refused"),
                "5.15",
            )
            .sends(TEXT, "frag")
            .sends(FIN | CONTINUATION, "ment")
            .sends(first | CONTINUATION, "of nothing")
            .sends(FIN | TEXT, "good")
            .gets(TEXT, "fragment")
            .closes_with(1002),
        );
    }
    scripts.push(
        script(
            "two further pieces of nothing are refused at the first",
            "5.16, 5.17",
        )
        .sends(CONTINUATION, "frag")
        .sends(FIN | CONTINUATION, "ment")
        .sends(FIN | TEXT, "good")
        .closes_with(1002),
    );
    scripts.push(
        script("a new text inside another is refused", "5.18")
            .sends(TEXT, "one")
            .sends(FIN | TEXT, "two")
            .closes_with(1002),
    );
    scripts.push(
        script("a new binary message inside a text is refused", "")
            .sends(TEXT, "one")
            .sends(FIN | BINARY, "two")
            .closes_with(1002),
    );
    scripts.push(
        script("a close between the pieces ends it, and nothing comes back", "")
            .sends(TEXT, "frag")
            .sends(FIN | CLOSE, [0x03, 0xE8])
            .sends_bytes(frame(FIN | CONTINUATION, b"ment"))
            .closes_with(1000),
    );
    let mut many = script("a text in a thousand pieces is one message", "");
    for n in 0..1000 {
        let first = if n == 0 { TEXT } else { CONTINUATION };
        many = many.sends(first | if n == 999 { FIN } else { 0 }, "piece ");
    }
    scripts.push(many.gets(TEXT, "piece ".repeat(1000)));
}
