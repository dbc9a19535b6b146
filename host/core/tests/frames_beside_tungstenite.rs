//! The frame reader and writer beside tungstenite's, on streams that nobody would write by hand.
//!
//! A stream is made of valid frames with random pieces, lengths and control frames in between, then damaged, then cut at random borders. Both
//! readers get the same pieces. Either both give the same messages, or both refuse the stream behind the same messages. Three differences are
//! on purpose, and each is checked to be what it says:
//!
//! - *length*: a length in more bytes than it needs is refused here, as the standard demands; tungstenite takes it.
//! - *code*: 1014 is registered as a close code and taken here; tungstenite refuses it.
//! - *early*: a header that is wrong is refused here at once; tungstenite waits for the payload. It has to refuse when the payload is there.
//!
//! `AUTOBENCH_SEED=n` begins with that stream, `AUTOBENCH_LONG=1` runs ten minutes from a new seed. A finding prints its seed and the shortest
//! stream that still shows it.

#[cfg(test)]
mod laws {
    use std::collections::BTreeMap;

    use autobench_core::frame::{self, CloseCode, FrameError, FrameReader, Opcode};
    use test_support::{
        Extension, Message, Random, Seeds, Stream, TungsteniteReader, given_seed, is_long, length, text,
    };

    const SHORT_STREAMS: usize = 4_000;

    /// What our reader made of a stream.
    #[derive(Debug)]
    struct Outcome {
        messages: Vec<Message>,
        refused: Option<FrameError>,
    }

    fn ours(stream: &Stream) -> Outcome {
        let mut reader = FrameReader::new(stream.limit_bytes);
        let mut messages = Vec::new();
        for piece in stream.pieces() {
            reader.push(&piece);
            loop {
                match reader.next() {
                    Ok(Some(message)) => messages.push(plain(message)),
                    Ok(None) => break,
                    Err(error) => {
                        return Outcome {
                            messages,
                            refused: Some(error),
                        };
                    }
                }
            }
        }
        Outcome {
            messages,
            refused: None,
        }
    }

    fn plain(message: frame::Message) -> Message {
        match message {
            frame::Message::Text(text) => Message::Text(text),
            frame::Message::Binary(bytes) => Message::Binary(bytes),
            frame::Message::Ping(bytes) => Message::Ping(bytes),
            frame::Message::Pong(bytes) => Message::Pong(bytes),
            frame::Message::Close(reason) => Message::Close(reason.map(|close| (close.code, close.reason))),
        }
    }

    /// How many bytes the stream's last frame lacks. A parser that checks nothing.
    fn missing_bytes(bytes: &[u8]) -> usize {
        let mut rest = bytes;
        loop {
            let (header, length) = match rest {
                [] => return 0,
                [_] => return 1,
                [_, second, behind @ ..] => {
                    let mask = if second & 0x80 == 0 { 0 } else { 4 };
                    match (second & 0x7F, behind) {
                        (126, [a, b, ..]) => (4 + mask, u64::from(u16::from_be_bytes([*a, *b]))),
                        (127, [a, b, c, d, e, f, g, h, ..]) => {
                            (10 + mask, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
                        }
                        (126, _) => return 4 + mask - rest.len(),
                        (127, _) => return 10 + mask - rest.len(),
                        (short, _) => (2 + mask, u64::from(short)),
                    }
                }
            };
            let whole = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .saturating_add(header);
            match rest.get(whole..) {
                Some(behind) => rest = behind,
                None => return whole - rest.len(),
            }
        }
    }

    /// What became of a stream in both readers.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    enum Verdict {
        BothTake,
        BothRefuse,
        Length,
        Code,
        Early,
        Finding(String),
    }

    fn compare(stream: &Stream) -> (Verdict, Option<FrameError>, usize) {
        let ours = ours(stream);
        let mut theirs = TungsteniteReader::of_clients(stream.limit_bytes);
        for piece in stream.pieces() {
            theirs.push(&piece);
        }
        let verdict = match (&ours.refused, &theirs.refused) {
            (None, None) if ours.messages == theirs.messages => Verdict::BothTake,
            (Some(_), Some(_)) if ours.messages == theirs.messages => Verdict::BothRefuse,
            (Some(FrameError::BadLength), _) if theirs.messages.starts_with(&ours.messages) => {
                Verdict::Length
            }
            // The same for a control frame, whose long form is refused here before its length is read.
            (Some(FrameError::LongControl), _) if is_control_behind(&ours, &theirs) => Verdict::Length,
            (None, Some(_)) => match ours.messages.split_last() {
                Some((Message::Close(Some((1014, _))), before)) if before == theirs.messages => Verdict::Code,
                _ => Verdict::Finding("tungstenite refuses alone".into()),
            },
            (Some(_), None) if ours.messages == theirs.messages && !theirs.is_over() => {
                // First what the header lacks, then what it promises. More than the limit is refused as soon as the header is there.
                let mut bytes = stream.frames.concat();
                for _ in 0..2 {
                    let zeros = vec![0; missing_bytes(&bytes).min(stream.limit_bytes + 14)];
                    theirs.push(&zeros);
                    bytes.extend(zeros);
                }
                match (&theirs.refused, &ours.refused) {
                    (Some(_), _) => Verdict::Early,
                    (None, Some(FrameError::LongControl)) if is_control_behind(&ours, &theirs) => {
                        Verdict::Length
                    }
                    (None, _) => Verdict::Finding("tungstenite takes the frame that was refused here".into()),
                }
            }
            _ => Verdict::Finding(format!("{ours:?} here, {theirs:?} there")),
        };
        (verdict, ours.refused, ours.messages.len())
    }

    /// Whether tungstenite took what was taken here, and then a control frame.
    fn is_control_behind(ours: &Outcome, theirs: &TungsteniteReader) -> bool {
        theirs.messages.starts_with(&ours.messages)
            && matches!(
                theirs.messages.get(ours.messages.len()),
                Some(Message::Ping(_) | Message::Pong(_) | Message::Close(_))
            )
    }

    #[test]
    fn both_readers_take_and_refuse_the_same() {
        let mut verdicts = BTreeMap::<Verdict, u64>::new();
        let mut errors = BTreeMap::<String, u64>::new();
        let (mut count, mut bytes, mut messages) = (0_u64, 0, 0);
        for seed in Seeds::new("frames beside tungstenite", SHORT_STREAMS) {
            let stream = Stream::generate(seed, Extension::None);
            bytes += stream.frames.iter().map(Vec::len).sum::<usize>();
            let (verdict, error, read) = compare(&stream);
            if let Verdict::Finding(what) = &verdict {
                let shortest = stream.shortest(|stream| matches!(compare(stream).0, Verdict::Finding(_)));
                panic!(
                    "seed {seed}: {what}\nlimit {}\nframes {:02x?}\nhere {:?}",
                    shortest.limit_bytes,
                    shortest.frames,
                    ours(&shortest)
                );
            }
            *verdicts.entry(verdict).or_default() += 1;
            if let Some(error) = error {
                let name = format!("{error:?}");
                let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
                *errors.entry(name).or_default() += 1;
            }
            count += 1;
            messages += read;
        }
        println!(
            "{count} streams, {:.1} MB, {messages} messages; {verdicts:?}; refused because of {errors:?}",
            bytes as f64 / 1e6
        );
        if !is_long() {
            // A generator that stops reaching a branch would find nothing in it.
            for verdict in [
                Verdict::BothTake,
                Verdict::BothRefuse,
                Verdict::Length,
                Verdict::Code,
                Verdict::Early,
            ] {
                assert!(verdicts.contains_key(&verdict), "{verdict:?} never happened");
            }
            assert_eq!(errors.len(), 12, "every reason to refuse happens: {errors:?}");
        }
    }

    #[test]
    fn what_the_writer_makes_is_read_the_same_by_tungstenite() {
        let mut random = Random::new(given_seed().unwrap_or(1));
        for _ in 0..1000 {
            let mut stream = Vec::new();
            let mut meant = Vec::new();
            for _ in 0..=random.below(8) {
                let count = length(&mut random, 100_000);
                match random.below(6) {
                    0 => {
                        let text = text(&mut random, count);
                        stream.extend_from_slice(&frame::text(&text));
                        meant.push(Message::Text(String::from_utf8(text).unwrap()));
                    }
                    1 => {
                        let text = text(&mut random, count);
                        let capacity = random.below(count + 1);
                        let built = frame::build_text::<()>(capacity, |out| {
                            out.extend_from_slice(&text);
                            Ok(())
                        });
                        stream.extend_from_slice(&built.unwrap());
                        meant.push(Message::Text(String::from_utf8(text).unwrap()));
                    }
                    2 => {
                        let bytes = random.bytes(count);
                        frame::append(&mut stream, Opcode::Binary, &bytes);
                        meant.push(Message::Binary(bytes));
                    }
                    3 => {
                        let bytes = random.bytes(count.min(200));
                        stream.extend_from_slice(&frame::ping(&bytes));
                        meant.push(Message::Ping(bytes[..bytes.len().min(125)].to_vec()));
                    }
                    4 => {
                        let bytes = random.bytes(count.min(200));
                        stream.extend_from_slice(&frame::pong(&bytes));
                        meant.push(Message::Pong(bytes[..bytes.len().min(125)].to_vec()));
                    }
                    _ => {}
                }
            }
            let code = random.pick(&CloseCode::ALL);
            let reason = String::from_utf8(text(&mut random, 40)).unwrap();
            stream.extend_from_slice(&frame::close(code, &reason));
            meant.push(Message::Close(Some((code.number(), reason))));
            let mut theirs = TungsteniteReader::of_the_daemon(1 << 20);
            let borders_seed = random.next();
            let stream = Stream {
                frames: vec![stream],
                limit_bytes: 1 << 20,
                borders_seed,
            };
            for piece in stream.pieces() {
                theirs.push(&piece);
            }
            assert!(theirs.refused.is_none(), "{:?}", theirs.refused);
            assert_eq!(theirs.messages, meant);
        }
    }

    #[test]
    fn an_answered_close_is_a_close_of_that_code() {
        for code in (1000..=1003).chain(1007..=1013).chain(3000..5000_u16) {
            let mut theirs = TungsteniteReader::of_the_daemon(1000);
            theirs.push(&frame::close_answer(Some(code)));
            let meant = Message::Close(Some((code, String::new())));
            assert_eq!(theirs.messages, [meant]);
        }
    }
}
