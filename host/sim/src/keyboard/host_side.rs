//! What the firmware understands: the words of its host's lines, and the commands of the PC. The spelling of what it says is the firmware's.

use super::firmware::{Keyboard, Outputs, say};

/// The command of a PC is followed by a byte that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    Lights,
    ScanCodeSet,
    Typematic,
}

pub(super) fn argument_of(command: u8) -> Option<Argument> {
    match command {
        0xED => Some(Argument::Lights),
        0xF0 => Some(Argument::ScanCodeSet),
        0xF3 => Some(Argument::Typematic),
        _ => None,
    }
}

/// Verb, prefix and code of a line such as `press e0:75`. A number is read as far as it is one, as C's `strtol` does.
pub(super) fn command_line(line: &str) -> Option<(&str, u8, u8)> {
    let (verb, key) = line.split_once(' ')?;
    let (prefix, code) = key.split_once(':').unwrap_or(("", key));
    Some((verb, hex(prefix), hex(code)))
}

fn hex(text: &str) -> u8 {
    let text = text.trim_start();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let text = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    let value = text
        .chars()
        .map_while(|digit| digit.to_digit(16))
        // Only the lowest byte is looked at.
        .fold(0u8, |value, digit| (value << 4) | (digit & 0xF) as u8);
    if negative { value.wrapping_neg() } else { value }
}

fn name_of(command: u8) -> &'static str {
    match command {
        0xFF => "RESET",
        0xFE => "RESEND",
        0xF2 => "READ_ID",
        0xED => "SET_LEDS",
        0xEE => "ECHO",
        0xF0 => "SCAN_CODE_SET",
        0xF3 => "TYPEMATIC_RATE_DELAY",
        0xF4 => "ENABLE_SCANNING",
        0xF5 => "DISABLE_SCANNING",
        0xF6 => "SET_DEFAULTS",
        0xF7 => "SET_ALL_KEYS_TYPEMATIC",
        0xF8 => "SET_ALL_KEYS_MAKE_BREAK",
        0xF9 => "SET_ALL_KEYS_MAKE",
        0xFA => "SET_ALL_KEYS_TYPEMATIC_MAKE_BREAK",
        0xFB => "SET_KEY_TYPE_TYPEMATIC",
        0xFC => "SET_KEY_TYPE_MAKE_BREAK",
        0xFD => "SET_KEY_TYPE_MAKE",
        _ => "UNKNOWN",
    }
}

impl Keyboard {
    /// Answers a command of the PC, as far as it can without the command's second byte or the time that a test takes.
    pub(super) fn answer(&mut self, command: u8, outputs: &mut Outputs) {
        say(
            outputs,
            &format!(
                "debug: keyboard sim recieved 0x{command:02X} ({})",
                name_of(command)
            ),
        );
        match command {
            0xFF => say(outputs, "debug: handling reset command"),
            0xFE => {
                say(outputs, "debug: handling resend command");
                return self.send_to_pc(self.last_byte, outputs);
            }
            0xF2 => say(outputs, "debug: handling identify command"),
            0xED => say(outputs, "debug: handling set/reset LEDs command"),
            0xEE => {
                say(outputs, "debug: keyboard sim handling echo");
                return self.send_to_pc(0xEE, outputs);
            }
            0xF0 => say(outputs, "debug: keyboard sim handling scan code set"),
            0xF3 => say(outputs, "debug: keyboard sim handling typematic rate"),
            0xF4 => say(outputs, "debug: keyboard handling enable scanning"),
            0xF5 => say(outputs, "debug: keyboard handling disable scanning"),
            0xF6 => {
                say(outputs, "debug: keyboard set defaults");
                self.scan_code_set = 2;
            }
            0xF7..=0xFD => say(
                outputs,
                &format!("debug: handling key-type command 0x{command:02X} (ACK only)"),
            ),
            _ => say(outputs, &format!("debug: received unknown command {command:X}")),
        }
        self.acknowledge(outputs);
        if command == 0xF2 {
            self.send_to_pc(0xAB, outputs);
            self.send_to_pc(0x83, outputs);
            say(outputs, "debug: sent device id bytes 0xAB 0x83");
        }
    }

    /// Takes the second byte of a command, or goes on without it.
    pub(super) fn pc_argument(&mut self, command: u8, byte: Option<u8>, outputs: &mut Outputs) {
        let Some(argument) = argument_of(command) else {
            return;
        };
        if byte.is_some() {
            self.acknowledge(outputs);
        }
        match (argument, byte) {
            (Argument::Lights, Some(lights)) => say(
                outputs,
                &format!(
                    "debug: LED arg=0x{lights:02X} scroll={} num={} caps={}",
                    lights & 1,
                    lights >> 1 & 1,
                    lights >> 2 & 1
                ),
            ),
            (Argument::Lights, None) => say(outputs, "debug: LED argument read failed (no reliable byte)"),
            (Argument::ScanCodeSet, Some(0)) => {
                let set = self.scan_code_set;
                self.send_to_pc(set, outputs);
                say(
                    outputs,
                    &format!("debug: scan code set query; replied current=0x{set:02X}"),
                );
            }
            (Argument::ScanCodeSet, Some(set)) => {
                // It remembers the set, and goes on sending set 2.
                self.scan_code_set = set;
                say(
                    outputs,
                    &format!(
                        "debug: scan code set requested=0x{set:02X} (note: injected scan codes are Set 2)"
                    ),
                );
            }
            (Argument::ScanCodeSet, None) => {
                say(
                    outputs,
                    "debug: scan code set argument read failed (no reliable byte)",
                );
            }
            (Argument::Typematic, Some(value)) => say(outputs, &typematic(value)),
            (Argument::Typematic, None) => {
                say(
                    outputs,
                    "debug: typematic argument read failed (no reliable byte)",
                );
            }
        }
        if argument == Argument::Lights {
            say(outputs, "debug: keyboard sim sent LED state change");
        }
    }

    fn acknowledge(&mut self, outputs: &mut Outputs) {
        say(outputs, "debug: acknowledge");
        self.send_to_pc(0xFA, outputs);
    }
}

/// Delay and rate as PS/2 counts them: the rate is 240 / ((8 + A) 2^B) a second.
fn typematic(value: u8) -> String {
    let delay_ms = (u32::from(value >> 5 & 3) + 1) * 250;
    let (mantissa, exponent) = (f64::from(value & 7), i32::from(value >> 3 & 3));
    let rate = 240.0 / ((8.0 + mantissa) * 2f64.powi(exponent));
    format!("debug: typematic arg=0x{value:02X} delayMs={delay_ms} rateCps={rate:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_far_as_they_are_numbers() {
        for (line, read) in [
            ("press 0:1c", ("press", 0, 0x1C)),
            ("hold e0:75", ("hold", 0xE0, 0x75)),
            ("release E0:7D", ("release", 0xE0, 0x7D)),
            ("press 1c", ("press", 0, 0x1C)),
            ("press 0: 1c", ("press", 0, 0x1C)),
            ("press 0x0:0x1cz", ("press", 0, 0x1C)),
            ("press x:y", ("press", 0, 0)),
            ("press 0:11c", ("press", 0, 0x1C)),
        ] {
            assert_eq!(command_line(line), Some(read), "{line}");
        }
    }

    #[test]
    fn rates_are_those_of_the_table() {
        for (value, text) in [
            (0x20, "delayMs=500 rateCps=30.0"),
            (0x0B, "delayMs=250 rateCps=10.9"),
            (0x7F, "delayMs=1000 rateCps=2.0"),
            (0x45, "delayMs=750 rateCps=18.5"),
        ] {
            assert!(typematic(value).ends_with(text), "{}", typematic(value));
        }
    }
}
