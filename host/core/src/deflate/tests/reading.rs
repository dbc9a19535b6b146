//! What clients send compressed.

use super::*;

/// What a browser sends: one masked frame, or several.
fn from_client(is_compressed: bool, opcode: u8, payload: &[u8], pieces: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let size = payload.len().div_ceil(pieces).max(1);
    let mut chunks: Vec<&[u8]> = payload.chunks(size).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    for (index, chunk) in chunks.into_iter().enumerate() {
        let mut first = if index == 0 { opcode } else { 0 };
        first |= if index == 0 && is_compressed { 0x40 } else { 0 };
        first |= if index == last { 0x80 } else { 0 };
        out.extend(client_frame(first, chunk));
    }
    out
}

fn read(limit_bytes: usize, stream: &[u8]) -> Result<Vec<Message>, FrameError> {
    let mut reader = FrameReader::new(limit_bytes).with_deflate();
    reader.push(stream);
    let mut messages = Vec::new();
    while let Some(message) = reader.next()? {
        messages.push(message);
    }
    Ok(messages)
}

#[test]
fn the_samples_of_the_standard_are_read() {
    // RFC 7692 section 7.2.3: one block, a message in two pieces, without compression, with a last block, and two blocks.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two = [
        0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
    ];
    for (payload, pieces) in [
        (&hello[..], 1),
        (&hello[..], 2),
        (&stored[..], 1),
        (&last[..], 1),
        (&two[..], 3),
    ] {
        let stream = from_client(true, 1, payload, pieces);
        assert_eq!(
            read(100, &stream),
            Ok(vec![Message::Text("Hello".to_owned())]),
            "{payload:02x?}"
        );
    }
}

#[test]
fn a_bomb_is_refused_before_it_is_held() {
    let bomb = compressed(&vec![b' '; 16 << 20], 9);
    assert!(bomb.len() < 20_000);
    let limit_bytes = 64 << 10;
    for pieces in [1, 7] {
        let stream = from_client(true, 1, &bomb, pieces);
        assert_eq!(
            read(limit_bytes, &stream),
            Err(FrameError::TooBig { limit_bytes })
        );
    }
    // Exactly the limit passes, one byte more does not.
    for (length, passes) in [(limit_bytes, true), (limit_bytes + 1, false)] {
        let stream = from_client(true, 2, &compressed(&vec![7; length], 6), 1);
        assert_eq!(read(limit_bytes, &stream).is_ok(), passes, "{length}");
    }
    // A message that compressing made longer is judged by what it says.
    let noise: Vec<u8> = (0..limit_bytes as u64)
        .map(|n| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect();
    let grown = compressed(&noise, 0);
    assert!(grown.len() > limit_bytes);
    assert!(read(limit_bytes, &from_client(true, 2, &grown, 1)).is_ok());
    // Last blocks without end say nothing and cost time.
    let blocks = [0x03, 0x00].repeat(10_000);
    assert_eq!(
        read(limit_bytes, &from_client(true, 1, &blocks, 1)),
        Err(FrameError::BadDeflate)
    );
}

#[test]
fn each_fault_of_a_compressed_message_has_its_error() {
    let good = compressed(b"{}", 6);
    let no_text = compressed(&[0xFF, 0xFE], 6);
    // A reference to what was never said, and a kind of block that does not exist.
    let mut window = Compress::new(flate2::Compression::new(6), false);
    let text = b"said once, said once more and never said again";
    let mut out = Vec::with_capacity(1000);
    window.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    out.clear();
    window.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    let cases: [(&[u8], u8, bool, FrameError); 6] = [
        (&no_text, 1, true, FrameError::BadText),
        (&out, 1, true, FrameError::BadDeflate),
        (&[0x06], 1, true, FrameError::BadDeflate),
        (&good, 9, true, FrameError::ReservedBits),
        (&good, 8, true, FrameError::ReservedBits),
        (&good, 0, true, FrameError::ReservedBits),
    ];
    for (payload, opcode, is_compressed, error) in cases {
        let stream = from_client(is_compressed, opcode, payload, 1);
        assert_eq!(read(1000, &stream), Err(error), "{payload:02x?}");
        let code = if error == FrameError::ReservedBits {
            1002
        } else {
            1007
        };
        assert_eq!(error.close_code().number(), code);
    }
    // The bit in a further piece of a message.
    let mut pieces = from_client(true, 1, &good, 1);
    pieces[0] = 0x41;
    let mut second = from_client(true, 0, &[], 1);
    second[0] = 0xC0;
    pieces.extend(second);
    assert_eq!(read(1000, &pieces), Err(FrameError::ReservedBits));
    // Without an agreement there is no compressed message.
    let mut reader = FrameReader::new(1000);
    reader.push(&from_client(true, 1, &good, 1));
    assert_eq!(reader.next(), Err(FrameError::ReservedBits));
}

#[test]
fn each_message_of_a_client_stands_alone() {
    let text = b"{\"type\":\"ping\",\"id\":1}";
    let one = compressed(text, 6);
    let plain = from_client(false, 1, text, 1);
    let stream = [
        from_client(true, 1, &one, 1),
        plain,
        from_client(true, 1, &one, 3),
        from_client(true, 1, &[], 1),
    ]
    .concat();
    let said = Message::Text(String::from_utf8(text.to_vec()).unwrap());
    let empty = Message::Text(String::new());
    assert_eq!(
        read(100, &stream),
        Ok(vec![said.clone(), said.clone(), said, empty])
    );
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_compressed_message_is_read_whatever_compressed_it(
        texts in proptest::collection::vec((".{0,400}", 0..10_u32, any::<bool>(), 1..5_usize, any::<bool>()), 1..8),
    ) {
        let mut stream = Vec::new();
        let mut meant = Vec::new();
        for (text, level, is_finished, pieces, is_compressed) in texts {
            let compress = if is_finished { finished } else { compressed };
            match is_compressed {
                // A compressor that has nothing to say says nothing.
                true if !text.is_empty() => {
                    stream.extend(from_client(true, 1, &compress(text.as_bytes(), level), pieces));
                }
                _ => stream.extend(from_client(false, 1, text.as_bytes(), pieces)),
            }
            meant.push(Message::Text(text));
        }
        prop_assert_eq!(read(10_000, &stream), Ok(meant));
    }

    #[test]
    fn noise_is_no_message_and_harms_nobody(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        pieces in 1..4_usize,
    ) {
        match read(5_000, &from_client(true, 2, &noise, pieces)) {
            Ok(messages) => prop_assert!(matches!(&messages[..], [Message::Binary(bytes)] if bytes.len() <= 5_000)),
            Err(error) => prop_assert!([1007, 1009].contains(&error.close_code().number()), "{}", error),
        }
        // The inflater belongs to the thread: whatever it was fed, the next message begins anew.
        let text = "after the noise";
        let stream = from_client(true, 1, &compressed(text.as_bytes(), 6), 1);
        prop_assert_eq!(read(100, &stream), Ok(vec![Message::Text(text.to_owned())]));
    }
}
