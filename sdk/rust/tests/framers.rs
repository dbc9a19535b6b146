//! Framers give the same lines and packets wherever the chunk borders fall, hold no more than their limit, and go on from the bytes they hold.

use autobench_sdk::{Line, LineFramer, PacketFramer, Piece};
use proptest::prelude::*;

fn lines(framer: &mut LineFramer, chunk: &[u8], out: &mut Vec<(bool, Vec<u8>)>) {
    framer.feed(chunk, |line| match line {
        Line::Whole(text) => out.push((true, text.to_vec())),
        Line::Cut(text) => out.push((false, text.to_vec())),
    });
}

fn pieces(framer: &mut PacketFramer, chunk: &[u8], out: &mut Vec<(char, Vec<u8>)>) {
    framer.feed(chunk, |piece| {
        out.push(match piece {
            Piece::Packet(text) => ('p', text.to_vec()),
            Piece::Endless(text) => ('e', text.to_vec()),
            Piece::Headless(text) => ('h', text.to_vec()),
            Piece::Junk(text) => ('j', text.to_vec()),
            Piece::TooLong(text) => ('l', text.to_vec()),
        });
    });
}

fn packets() -> PacketFramer {
    PacketFramer::new(b'#', b';', 6).ignoring(b"\0\r\n")
}

fn all_lines(text: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut out = Vec::new();
    lines(&mut LineFramer::new(6), text, &mut out);
    out
}

fn all_pieces(text: &[u8]) -> Vec<(char, Vec<u8>)> {
    let mut out = Vec::new();
    pieces(&mut packets(), text, &mut out);
    out
}

fn text(of: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(of), 0..120)
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_chunks(
        text in text(b"ab\r\n"),
        chunks in prop::collection::vec((1..20_usize, any::<bool>()), 0..60),
    ) {
        let (mut framer, mut out, mut at) = (LineFramer::new(6), Vec::new(), 0);
        for (length, anew) in chunks {
            let end = (at + length).min(text.len());
            lines(&mut framer, &text[at..end], &mut out);
            at = end;
            prop_assert!(framer.held() <= 7);
            if anew {
                let held = framer.held();
                framer = LineFramer::new(6).skipping(framer.is_skipping());
                lines(&mut framer, &text[at - held..at], &mut out);
            }
        }
        lines(&mut framer, &text[at..], &mut out);
        prop_assert_eq!(out, all_lines(&text));
    }

    #[test]
    fn lines_are_what_splitting_gives(text in text(b"ab\r\n")) {
        let mut expected = Vec::new();
        let mut parts: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
        parts.pop();
        for part in parts {
            let bare = part.strip_suffix(b"\r").unwrap_or(part);
            expected.push(if bare.len() <= 6 { (true, bare.to_vec()) } else { (false, part[..6].to_vec()) });
        }
        let mut got = all_lines(&text);
        // A line that is too long is given before its end has come.
        got.truncate(expected.len());
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn packets_do_not_depend_on_chunks(
        text in text(b"ab,#;\0\r"),
        chunks in prop::collection::vec((1..20_usize, any::<bool>()), 0..60),
    ) {
        let (mut framer, mut out, mut at) = (packets(), Vec::new(), 0);
        for (length, anew) in chunks {
            let end = (at + length).min(text.len());
            pieces(&mut framer, &text[at..end], &mut out);
            at = end;
            if anew {
                let held = framer.held();
                framer = packets();
                pieces(&mut framer, &text[at - held..at], &mut out);
                prop_assert_eq!(framer.held(), held);
            }
        }
        pieces(&mut framer, &text[at..], &mut out);
        prop_assert_eq!(out, all_pieces(&text));
    }

    #[test]
    fn no_byte_is_lost_between_pieces(text in text(b"ab,#;\0\r")) {
        let plain = |bytes: &[u8]| bytes.iter().copied().filter(|byte| b"ab,".contains(byte)).collect::<Vec<u8>>();
        let mut whole = text.clone();
        // An end, so that nothing is held.
        whole.push(b';');
        let given: Vec<u8> = all_pieces(&whole).into_iter().flat_map(|(_, bytes)| bytes).collect();
        prop_assert_eq!(given, plain(&text));
    }
}

#[test]
fn packets_stand_among_anything() {
    let got = all_pieces(b"hi\r\n#a\0b;\r\n;c,d;#e#f;#;#1234567;x");
    let expected: &[(char, &[u8])] = &[
        ('j', b"hi"),
        ('p', b"ab"),
        ('h', b"c,d"),
        ('e', b"e"),
        ('p', b"f"),
        ('p', b""),
        ('l', b"123456"),
        ('h', b"7"),
    ];
    let got: Vec<(char, &[u8])> = got.iter().map(|(kind, text)| (*kind, text.as_slice())).collect();
    assert_eq!(got, expected);
}

#[test]
fn a_packet_of_just_the_limit_is_whole() {
    assert_eq!(all_pieces(b"#123456;"), [('p', b"123456".to_vec())]);
    assert_eq!(
        all_lines(b"123456\r\n1234567\r\n"),
        [(true, b"123456".to_vec()), (false, b"123456".to_vec())]
    );
}
