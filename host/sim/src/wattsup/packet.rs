//! The packets that a host sends, taken out of a stream of bytes: `#C,S,N,a1,...,aN;`.

/// The longest command is a field selection of under fifty bytes. What grows beyond this is not a command: it is dropped, and the next `#`
/// begins anew.
const PACKET_BYTES: usize = 256;
/// Ctrl-X.
const ABORT: u8 = 0x18;

/// A well-formed packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The first argument.
    pub command: char,
    /// The second argument.
    pub subcommand: char,
    /// As many as the packet's count says. One of them may be empty, although the maker says otherwise: hosts in the field send that.
    pub arguments: Vec<String>,
}

/// What a byte completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A packet.
    Packet(Packet),
    /// The host wants the meter to be quiet.
    Abort,
}

/// Takes bytes one by one.
#[derive(Clone, Debug, Default)]
pub struct PacketReader {
    /// What came since the last `#`; none outside of a packet.
    packet: Option<String>,
}

impl PacketReader {
    /// Takes a byte and says what it completed. A malformed packet completes nothing.
    pub fn push(&mut self, byte: u8) -> Option<Received> {
        match byte {
            ABORT => {
                self.packet = None;
                return Some(Received::Abort);
            }
            b'#' => self.packet = Some(String::new()),
            b';' => {
                return self
                    .packet
                    .take()
                    .and_then(|text| parse(&text))
                    .map(Received::Packet);
            }
            b'\r' | b'\n' | b'\t' => {}
            _ => {
                if let Some(packet) = &mut self.packet {
                    packet.push(char::from(byte));
                    if packet.len() > PACKET_BYTES {
                        self.packet = None;
                    }
                }
            }
        }
        None
    }
}

fn parse(text: &str) -> Option<Packet> {
    let mut tokens = text.split(',');
    let command = single(tokens.next()?)?;
    let subcommand = single(tokens.next()?)?;
    let count: usize = tokens.next()?.parse().ok()?;
    let arguments: Vec<String> = tokens.map(str::to_owned).collect();
    (arguments.len() == count).then_some(Packet {
        command,
        subcommand,
        arguments,
    })
}

fn single(token: &str) -> Option<char> {
    let mut characters = token.chars();
    characters.next().filter(|_| characters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Received> {
        let mut reader = PacketReader::default();
        bytes.iter().filter_map(|byte| reader.push(*byte)).collect()
    }

    fn packet(command: char, subcommand: char, arguments: &[&str]) -> Received {
        Received::Packet(Packet {
            command,
            subcommand,
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
        })
    }

    #[test]
    fn control_characters_inside_and_everything_outside_are_ignored() {
        assert_eq!(read(b"xx\r\n#V,\r\nR\t,0;tail"), vec![packet('V', 'R', &[])]);
    }

    #[test]
    fn an_empty_argument_is_accepted() {
        assert_eq!(read(b"#L,W,3,E,,1;"), vec![packet('L', 'W', &["E", "", "1"])]);
    }

    #[test]
    fn malformed_packets_complete_nothing() {
        assert_eq!(read(b"#V,3;#;#V;#V,R,1;#VV,R,0;#V,R,x;#V,R,0,1;"), vec![]);
    }

    #[test]
    fn a_hash_begins_anew_and_a_control_x_ends_a_half_packet() {
        assert_eq!(read(b"#L,W,#H,R,0;"), vec![packet('H', 'R', &[])]);
        assert_eq!(read(b"#V,R\x18,0;"), vec![Received::Abort]);
    }

    #[test]
    fn an_endless_packet_is_dropped_and_the_next_one_read() {
        let mut bytes = b"#V,".to_vec();
        bytes.extend(std::iter::repeat_n(b'9', 10_000));
        bytes.extend_from_slice(b";#V,R,0;");
        assert_eq!(read(&bytes), vec![packet('V', 'R', &[])]);
    }
}
