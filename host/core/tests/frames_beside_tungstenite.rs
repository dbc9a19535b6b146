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
    use std::io::{self, Read, Write};
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use autobench_core::frame::{self, CloseCode, FrameError, FrameReader, Message, Opcode};
    use tungstenite::Error;
    use tungstenite::protocol::frame::coding;
    use tungstenite::protocol::{self, Role, WebSocket, WebSocketConfig};

    const SHORT_STREAMS: u64 = 4_000;
    const LONG: Duration = Duration::from_secs(600);

    /// A small generator whose every step follows from the seed.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound.max(1) as u64) as usize
        }

        fn one_in(&mut self, n: usize) -> bool {
            self.below(n) == 0
        }

        fn pick<T: Copy>(&mut self, from: &[T]) -> T {
            from[self.below(from.len())]
        }

        fn bytes(&mut self, count: usize) -> Vec<u8> {
            (0..count).map(|_| self.next() as u8).collect()
        }
    }

    /// What a reader made of a stream.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Outcome<E> {
        messages: Vec<Message>,
        refused: Option<E>,
    }

    /// A stream before it is cut: pieces that are mostly frames, and the limit of the readers.
    #[derive(Debug, Clone)]
    struct Stream {
        frames: Vec<Vec<u8>>,
        limit_bytes: usize,
        borders_seed: u64,
    }

    impl Stream {
        fn generate(seed: u64) -> Self {
            let mut random = Random(seed);
            let limit_bytes = random.pick(&[200, 1000, 70_000, 200_000]);
            let mut frames = Vec::new();
            for _ in 0..=random.below(6) {
                match random.below(8) {
                    0 => frames.push(control(&mut random)),
                    1 if random.one_in(3) => frames.push(close(&mut random)),
                    _ => message(&mut random, limit_bytes, &mut frames),
                }
            }
            // Half of all streams stay as they are.
            if random.one_in(2) {
                for _ in 0..=random.below(2) {
                    damage(&mut random, &mut frames);
                }
            }
            Self {
                frames,
                limit_bytes,
                borders_seed: random.next(),
            }
        }

        fn pieces(&self) -> Vec<Vec<u8>> {
            let bytes = self.frames.concat();
            let mut random = Random(self.borders_seed);
            let longest = match random.below(4) {
                0 => return vec![bytes],
                // A byte at a time where that is bearable.
                1 => bytes.len() / 2000 + 1,
                2 => 20 + bytes.len() / 500,
                _ => bytes.len() / 3 + 1,
            };
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((1 + random.below(longest)).min(rest.len()));
                pieces.push(piece.to_vec());
                rest = behind;
            }
            pieces
        }
    }

    fn masked(random: &mut Random, first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..126 => out.push(0x80 | n as u8),
            n @ 126..65536 => {
                out.push(0x80 | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(0x80 | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        let mask = (random.next() as u32).to_be_bytes();
        out.extend(mask);
        out.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
        out
    }

    fn length(random: &mut Random, limit_bytes: usize) -> usize {
        match random.below(10) {
            0 => random.pick(&[0, 1, 125, 126, 127, 128]),
            1 if random.one_in(4) => random.pick(&[65_535, 65_536, limit_bytes, limit_bytes + 1]),
            2 => random.below(2000),
            _ => random.below(60),
        }
    }

    /// Characters of every width, and near every border of UTF-8.
    fn text(random: &mut Random, count: usize) -> Vec<u8> {
        let mut out = String::new();
        while out.len() < count {
            out.push(match random.below(6) {
                0 => random.pick(&[
                    '\0', '\u{7F}', '\u{80}', '\u{7FF}', '\u{800}', '\u{D7FF}', '\u{E000}',
                ]),
                1 => random.pick(&['\u{FFFD}', '\u{FFFF}', '\u{10000}', '\u{10FFFF}', '🔌', 'é']),
                2 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('x'),
                _ => char::from(b'a' + random.below(26) as u8),
            });
        }
        out.into_bytes()
    }

    fn control(random: &mut Random) -> Vec<u8> {
        let count = random.pick(&[0, 1, 5, 60, 124, 125]);
        let payload = random.bytes(count);
        let first = random.pick(&[0x89, 0x8A]);
        masked(random, first, &payload)
    }

    fn close(random: &mut Random) -> Vec<u8> {
        let code = match random.below(3) {
            0 => random.pick(&[
                0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65_535,
            ]),
            1 => random.next() as u16,
            _ => random.pick(&[1000, 1001, 1003, 1007, 1011, 3500, 4401]),
        };
        let count = random.below(40);
        let mut payload = [&code.to_be_bytes()[..], &text(random, count)].concat();
        match random.below(6) {
            0 => payload.truncate(random.below(2)),
            1 => payload.push(random.next() as u8),
            _ => {}
        }
        masked(random, 0x88, &payload)
    }

    /// A message in random pieces, with control frames in between.
    fn message(random: &mut Random, limit_bytes: usize, frames: &mut Vec<Vec<u8>>) {
        let count = length(random, limit_bytes);
        let is_text = !random.one_in(3);
        let mut payload = if is_text {
            text(random, count)
        } else {
            random.bytes(count)
        };
        if is_text && random.one_in(12) && !payload.is_empty() {
            let at = random.below(payload.len());
            payload[at] = random.pick(&[0x80, 0xBF, 0xC0, 0xC1, 0xE0, 0xED, 0xF0, 0xF4, 0xF5, 0xFF]);
        }
        let mut first = if is_text { 0x01 } else { 0x02 };
        let mut rest = &payload[..];
        for _ in 0..random.pick(&[0, 0, 0, 1, 2, 5]) {
            let (piece, behind) = rest.split_at(random.below(rest.len() + 1));
            frames.push(masked(random, first, piece));
            rest = behind;
            first = 0x00;
            if random.one_in(3) {
                frames.push(control(random));
            }
        }
        frames.push(masked(random, 0x80 | first, rest));
    }

    /// Something that no good client does.
    fn damage(random: &mut Random, frames: &mut Vec<Vec<u8>>) {
        let at = random.below(frames.len());
        let frame = &mut frames[at];
        if frame.len() < 2 {
            // What was cut to a byte is damaged enough.
            return;
        }
        match random.below(14) {
            // Reserved bits, opcodes, the last-piece bit: anything in the first byte.
            0 => frame[0] ^= 1 << random.below(8),
            1 => frame[0] = random.next() as u8,
            2 => frame[1] ^= 0x80,
            3 => frame[1] = random.next() as u8,
            // A length in more bytes than it needs.
            4 => {
                let length = frame[1] & 0x7F;
                if length < 126 {
                    let long = [&[0x80 | 126, 0, length][..], &frame[2..]].concat();
                    let longer = [&[0x80 | 127, 0, 0, 0, 0, 0, 0, 0, length][..], &frame[2..]].concat();
                    frame.truncate(1);
                    frame.extend(if random.one_in(2) { long } else { longer });
                }
            }
            // A length that promises too much, or what no length may.
            5 => {
                let length = random.pick(&[1 << 20, 1 << 40, u64::MAX >> 1, u64::MAX]);
                frame.splice(1..2, [&[0x80 | 127][..], &length.to_be_bytes()].concat());
            }
            // A control frame that is too long, or in pieces.
            6 => {
                let count = random.pick(&[126, 200]);
                let first = random.pick(&[0x88, 0x89, 0x8A]);
                let payload = random.bytes(count);
                frames[at] = masked(random, first, &payload);
            }
            7 => {
                let first = random.pick(&[0x08, 0x09, 0x0A]);
                frames[at] = masked(random, first, b"");
            }
            8 => {
                frames.remove(at);
            }
            9 => {
                let again = frames[random.below(frames.len())].clone();
                frames.insert(at, again);
            }
            10 => frame.truncate(random.below(frame.len() + 1)),
            11 => {
                let count = random.below(8);
                frame.extend(random.bytes(count));
            }
            12 => frames.insert(at, close(&mut Random(random.next()))),
            _ => {
                for _ in 0..=random.below(3) {
                    let at = random.below(frame.len());
                    frame[at] = random.next() as u8;
                }
            }
        }
        frames.retain(|frame| !frame.is_empty());
        if frames.is_empty() {
            frames.push(control(random));
        }
    }

    fn ours(stream: &Stream) -> Outcome<FrameError> {
        let mut reader = FrameReader::new(stream.limit_bytes);
        let mut messages = Vec::new();
        for piece in stream.pieces() {
            reader.push(&piece);
            loop {
                match reader.next() {
                    Ok(Some(message)) => messages.push(message),
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

    /// A socket that gives what it was given, and says that more may come.
    #[derive(Default)]
    struct Pipe {
        bytes: Vec<u8>,
        at: usize,
    }

    impl Read for Pipe {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = &self.bytes[self.at..];
            if rest.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            self.at += count;
            Ok(count)
        }
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What tungstenite says of pieces, one after another.
    struct Theirs {
        socket: WebSocket<Pipe>,
        read: Outcome<Error>,
        is_over: bool,
    }

    impl Theirs {
        fn new(role: Role, limit_bytes: usize) -> Self {
            let config = WebSocketConfig::default()
                .read_buffer_size(4096)
                .max_message_size(Some(limit_bytes))
                .max_frame_size(Some(limit_bytes));
            Self {
                socket: WebSocket::from_raw_socket(Pipe::default(), role, Some(config)),
                read: Outcome {
                    messages: Vec::new(),
                    refused: None,
                },
                is_over: false,
            }
        }

        fn push(&mut self, piece: &[u8]) {
            let pipe = self.socket.get_mut();
            pipe.bytes.drain(..pipe.at);
            pipe.at = 0;
            pipe.bytes.extend_from_slice(piece);
            while !self.is_over {
                match self.socket.read() {
                    Ok(message) => self.take(message),
                    Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                    Err(Error::ConnectionClosed) => self.is_over = true,
                    Err(error) => self.refuse(error),
                }
            }
        }

        fn refuse(&mut self, error: Error) {
            self.read.refused = Some(error);
            self.is_over = true;
        }

        fn take(&mut self, message: protocol::Message) {
            use protocol::Message as Theirs;
            self.read.messages.push(match message {
                Theirs::Text(text) => Message::Text(text.to_string()),
                Theirs::Binary(bytes) => Message::Binary(bytes.into()),
                Theirs::Ping(bytes) => Message::Ping(bytes.into()),
                Theirs::Pong(bytes) => Message::Pong(bytes.into()),
                Theirs::Close(None) => Message::Close(None),
                // The way in which it says that it refuses a code.
                Theirs::Close(Some(close)) if close.reason.as_str() == "Protocol violation" => {
                    let error = tungstenite::error::ProtocolError::InvalidCloseSequence;
                    return self.refuse(Error::Protocol(error));
                }
                Theirs::Close(Some(close)) => Message::Close(Some(frame::CloseReason {
                    code: close.code.into(),
                    reason: close.reason.to_string(),
                })),
                Theirs::Frame(_) => unreachable!("reading never gives a bare frame"),
            });
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
        let mut theirs = Theirs::new(Role::Server, stream.limit_bytes);
        for piece in stream.pieces() {
            theirs.push(&piece);
        }
        let verdict = match (&ours.refused, &theirs.read.refused) {
            (None, None) if ours.messages == theirs.read.messages => Verdict::BothTake,
            (Some(_), Some(_)) if ours.messages == theirs.read.messages => Verdict::BothRefuse,
            (Some(FrameError::BadLength), _) if theirs.read.messages.starts_with(&ours.messages) => {
                Verdict::Length
            }
            // The same for a control frame, whose long form is refused here before its length is read.
            (Some(FrameError::LongControl), _) if is_control_behind(&ours, &theirs.read) => Verdict::Length,
            (None, Some(_)) => match ours.messages.split_last() {
                Some((Message::Close(Some(reason)), before))
                    if reason.code == 1014 && before == theirs.read.messages =>
                {
                    Verdict::Code
                }
                _ => Verdict::Finding("tungstenite refuses alone".into()),
            },
            (Some(_), None) if ours.messages == theirs.read.messages && !theirs.is_over => {
                // First what the header lacks, then what it promises. More than the limit is refused as soon as the header is there.
                let mut bytes = stream.frames.concat();
                for _ in 0..2 {
                    let zeros = vec![0; missing_bytes(&bytes).min(stream.limit_bytes + 14)];
                    theirs.push(&zeros);
                    bytes.extend(zeros);
                }
                match (&theirs.read.refused, &ours.refused) {
                    (Some(_), _) => Verdict::Early,
                    (None, Some(FrameError::LongControl)) if is_control_behind(&ours, &theirs.read) => {
                        Verdict::Length
                    }
                    (None, _) => Verdict::Finding("tungstenite takes the frame that was refused here".into()),
                }
            }
            (ours, theirs) => Verdict::Finding(format!("{ours:?} here, {theirs:?} there")),
        };
        (verdict, ours.refused, ours.messages.len())
    }

    /// Whether tungstenite took what was taken here, and then a control frame.
    fn is_control_behind(ours: &Outcome<FrameError>, theirs: &Outcome<Error>) -> bool {
        theirs.messages.starts_with(&ours.messages)
            && matches!(
                theirs.messages.get(ours.messages.len()),
                Some(Message::Ping(_) | Message::Pong(_) | Message::Close(_))
            )
    }

    /// Takes away what a finding does not need.
    fn shortest(stream: &Stream) -> Stream {
        let is_finding = |stream: &Stream| matches!(compare(stream).0, Verdict::Finding(_));
        let mut shortest = stream.clone();
        let mut at = 0;
        while at < shortest.frames.len() {
            let mut shorter = shortest.clone();
            shorter.frames.remove(at);
            if is_finding(&shorter) {
                shortest = shorter;
            } else {
                at += 1;
            }
        }
        shortest
    }

    struct Run {
        seed: u64,
        end: Option<Instant>,
        is_long: bool,
    }

    impl Run {
        fn new() -> Self {
            let is_long = std::env::var("AUTOBENCH_LONG").is_ok_and(|value| value == "1");
            let given = std::env::var("AUTOBENCH_SEED")
                .ok()
                .and_then(|seed| seed.parse().ok());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let seed = given.unwrap_or(if is_long { now.as_nanos() as u64 } else { 1 });
            Self {
                seed,
                end: is_long.then(|| Instant::now() + LONG),
                is_long,
            }
        }

        fn goes_on(&self, count: u64) -> bool {
            match self.end {
                Some(end) => Instant::now() < end,
                None => count < SHORT_STREAMS,
            }
        }
    }

    #[test]
    fn both_readers_take_and_refuse_the_same() {
        let run = Run::new();
        println!("seed {}", run.seed);
        let mut verdicts = BTreeMap::<Verdict, u64>::new();
        let mut errors = BTreeMap::<String, u64>::new();
        let (mut count, mut bytes, mut messages) = (0_u64, 0, 0);
        while run.goes_on(count) {
            let seed = run.seed.wrapping_add(count);
            let stream = Stream::generate(seed);
            bytes += stream.frames.iter().map(Vec::len).sum::<usize>();
            let (verdict, error, read) = compare(&stream);
            if let Verdict::Finding(what) = &verdict {
                let shortest = shortest(&stream);
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
        if !run.is_long {
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
        let mut random = Random(Run::new().seed);
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
            meant.push(Message::Close(Some(frame::CloseReason {
                code: code.number(),
                reason,
            })));
            let mut theirs = Theirs::new(Role::Client, 1 << 20);
            let borders_seed = random.next();
            let stream = Stream {
                frames: vec![stream],
                limit_bytes: 1 << 20,
                borders_seed,
            };
            for piece in stream.pieces() {
                theirs.push(&piece);
            }
            assert!(theirs.read.refused.is_none(), "{:?}", theirs.read.refused);
            assert_eq!(theirs.read.messages, meant);
        }
    }

    #[test]
    fn an_answered_close_is_a_close_of_that_code() {
        for code in (1000..=1003).chain(1007..=1013).chain(3000..5000_u16) {
            let mut theirs = Theirs::new(Role::Client, 1000);
            theirs.push(&frame::close_answer(Some(code)));
            let meant = Message::Close(Some(frame::CloseReason {
                code: coding::CloseCode::from(code).into(),
                reason: String::new(),
            }));
            assert_eq!(theirs.read.messages, [meant]);
        }
    }
}
