//! Writing what is queued, and changing the line between two writes.

use std::time::{Duration, Instant};

use rustix::io::Errno;
use serialport::{ClearBuffer, SerialPort, TTYPort};

use super::with_descriptor;
use crate::serial::control::Shared;
use crate::serial::line;
use crate::serial::transmit::{NextStep, Step};

/// How long the output may make no progress before a change of the line goes ahead of it: the far end has stalled the line for good.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// Whether what was written before a change of the line has left.
#[derive(Debug, Default)]
pub(super) struct Settling {
    /// The fewest bytes that were seen to wait, and since when they were that few.
    fewest: Option<(u32, Instant)>,
}

impl Settling {
    /// Whether the line may be changed, when so many bytes have not left. Asked again until it may.
    pub(super) fn is_settled(&mut self, pending_bytes: u32, now: Instant) -> bool {
        match self.fewest {
            _ if pending_bytes == 0 => {}
            Some((fewest, since)) if pending_bytes >= fewest => {
                if now.saturating_duration_since(since) < SETTLE_LIMIT {
                    return false;
                }
            }
            _ => {
                self.fewest = Some((pending_bytes, now));
                return false;
            }
        }
        self.fewest = None;
        true
    }
}

/// What a round of writing left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// The queue is empty.
    Nothing,
    /// The line takes no more now.
    Bytes,
    /// A change waits until the bytes before it have left.
    Change,
}

/// Writes what is queued until the line takes no more, or until a change has to wait for what was written before it.
///
/// `sent` hears of bytes that the system has taken.
pub(super) fn write_queued(
    shared: &Shared,
    device: &str,
    settling: &mut Settling,
    mut sent: impl FnMut(&[u8]),
) -> Result<Left, Errno> {
    let mut guard = shared.line.lock();
    let line = &mut *guard;
    let Some(attached) = &mut line.attached else {
        return Ok(Left::Nothing);
    };
    if line.transmit.take_discard() {
        let _ = attached.tty.clear(ClearBuffer::Output);
    }
    loop {
        // The library changes a line at once; what the system has not sent by then would leave under the new settings.
        if line.transmit.is_change_next()
            && !settling.is_settled(pending_output_bytes(&attached.tty), Instant::now())
        {
            return Ok(Left::Change);
        }
        match line.transmit.next() {
            None => return Ok(Left::Nothing),
            Some(NextStep::Bytes(data)) => {
                match with_descriptor(&attached.tty, |tty| rustix::io::write(tty, data)) {
                    Ok(count) => {
                        sent(data.get(..count).unwrap_or_default());
                        line.transmit.sent(count);
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(Left::Bytes),
                    Err(error) => return Err(error),
                }
            }
            Some(NextStep::Change(change)) => {
                if let Err(error) = apply(&mut attached.tty, &change) {
                    tracing::warn!(channel = "device", tag = %device, "the line does not take {change:?}: {error}");
                }
            }
        }
    }
}

/// A line that cannot say counts as empty.
pub(super) fn pending_output_bytes(tty: &TTYPort) -> u32 {
    tty.bytes_to_write().unwrap_or(0)
}

fn apply(tty: &mut TTYPort, change: &Step) -> serialport::Result<()> {
    match change {
        Step::Bytes(_) | Step::Undo(_) => Ok(()),
        Step::SetLine(line) => {
            tty.set_baud_rate(line.baud_rate)?;
            tty.set_data_bits(line::data_bits(line.data_bits))?;
            tty.set_parity(line::parity(line.parity))?;
            tty.set_stop_bits(line::stop_bits(line.stop_bits))?;
            tty.set_flow_control(line::flow_control(line.flow_control))
        }
        Step::SetSignals {
            data_terminal_ready,
            request_to_send,
            break_condition,
        } => {
            if let Some(level) = *data_terminal_ready {
                tty.write_data_terminal_ready(level)?;
            }
            if let Some(level) = *request_to_send {
                tty.write_request_to_send(level)?;
            }
            match *break_condition {
                Some(true) => tty.set_break(),
                Some(false) => tty.clear_break(),
                None => Ok(()),
            }
        }
    }
}
