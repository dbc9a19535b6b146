//! What can happen to a driver. Mirrors `guest.event` of the WIT world, with ports as indices.

use std::sync::Arc;

/// Position of a port in the driver's list of ports, fixed for the life of the cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortIndex(pub usize);

/// A timer's number, chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u32);

/// A lease's number, chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u32);

/// A command's id, unique in one run of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub Arc<str>);

/// Line settings of a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits per second.
    pub baud_rate: u32,
    /// Data bits per character.
    pub data_bits: DataBits,
    /// Parity bit.
    pub parity: Parity,
    /// Stop bits.
    pub stop_bits: StopBits,
    /// Flow control.
    pub flow_control: FlowControl,
}

/// Data bits per character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataBits {
    /// Five.
    Five,
    /// Six.
    Six,
    /// Seven.
    Seven,
    /// Eight.
    Eight,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// Stop bits of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBits {
    /// One.
    One,
    /// Two.
    Two,
}

/// Flow control of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowControl {
    /// None.
    None,
    /// XON and XOFF in the data.
    Software,
    /// RTS and CTS.
    Hardware,
}

/// Lines that the device drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSignals {
    /// CTS.
    pub clear_to_send: bool,
    /// DSR.
    pub data_set_ready: bool,
    /// DCD.
    pub data_carrier_detect: bool,
    /// RI.
    pub ring_indicator: bool,
}

/// What the system knows of the device behind a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortIdentity {
    /// The path the host opened.
    pub path: String,
    /// USB vendor id.
    pub usb_vendor_id: Option<u16>,
    /// USB product id.
    pub usb_product_id: Option<u16>,
    /// USB serial number.
    pub serial_number: Option<String>,
    /// More, as keys and values.
    pub attributes: Vec<(String, String)>,
}

/// One event for a driver. Bytes are borrowed: the hot path copies them out of the ring once, into a buffer that is used again.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// Bytes from a port.
    Bytes {
        /// The port.
        port: PortIndex,
        /// Number of the first byte.
        offset: u64,
        /// When they were received, on the monotonic clock.
        received_ns: u64,
        /// When they were received, in milliseconds since 1970.
        received_ms: f64,
        /// The bytes, at most 64 KiB.
        data: &'a [u8],
        /// Whether they lie below the committed offset.
        replayed: bool,
    },
    /// A device is there.
    PortAttached {
        /// The port.
        port: PortIndex,
        /// Number of the first byte of the new line.
        offset: u64,
        /// What the system knows of it.
        identity: Arc<PortIdentity>,
    },
    /// A device is gone.
    PortLost {
        /// The port.
        port: PortIndex,
        /// What the system said.
        reason: Arc<str>,
    },
    /// Bytes that the driver will not get.
    Overrun {
        /// The port.
        port: PortIndex,
        /// Number of the first byte that is missing.
        from: u64,
        /// Number of the first byte that is not missing.
        to: u64,
        /// Why.
        reason: Arc<str>,
    },
    /// A fault on the line.
    LineError {
        /// The port.
        port: PortIndex,
        /// What the system said.
        reason: Arc<str>,
    },
    /// Lines that the device drives have changed.
    LinesChanged {
        /// The port.
        port: PortIndex,
        /// How they are now.
        signals: InputSignals,
    },
    /// The transmit queue is empty.
    TransmitDrained {
        /// The port.
        port: PortIndex,
    },
    /// A timer has run out.
    Timer(TimerId),
    /// A command.
    Command(Arc<super::Command>),
    /// A command is withdrawn.
    CommandCancelled {
        /// Which.
        id: CommandId,
        /// Why.
        reason: Arc<str>,
        /// Whether it is over already, so that no answer is waited for: its deadline has passed.
        is_over: bool,
    },
    /// A lease is over.
    LeaseEnded {
        /// Which.
        id: LeaseId,
        /// Why.
        reason: Arc<str>,
    },
    /// A foreign slice has changed.
    Observed {
        /// Its name.
        slice: Arc<str>,
        /// Its newest value as JSON, none when it is gone.
        value: Option<Arc<str>>,
    },
    /// New settings, as JSON.
    Settings(Arc<str>),
    /// Something the frozen world does not name.
    Other {
        /// What it is.
        kind: Arc<str>,
        /// What belongs to it, as JSON.
        data: Arc<str>,
    },
}
