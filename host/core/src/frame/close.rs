//! Why a connection ends: the codes of a close frame.

/// The close codes that this server sends. They are part of the protocol: a code keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: the client said goodbye. The answer carries the client's own code, and this one if it named none.
    Normal,
    /// 1001: the daemon is stopping. Connect again later.
    GoingAway,
    /// 1002: the bytes were no WebSocket frames as the standard wants them.
    Protocol,
    /// 1003: a binary message; everything here is JSON text.
    Unsupported,
    /// 1007: a text was no UTF-8, or a compressed message not what a compressor makes.
    InvalidPayload,
    /// 1008: the client asked for more than it read, or went on long after it was told that it sends too much.
    Policy,
    /// 1009: a message beyond the size limit that `welcome` names.
    TooBig,
    /// 1011: a fault of the daemon. Connect again.
    Internal,
    /// 4401: a token is required, and none or a wrong one came in time.
    Unauthorized,
    /// 4408: nothing was heard of the client for too long, not even a pong.
    Silent,
    /// 4409: the client took nothing for too long. It rarely reads this, but the log has it.
    Stalled,
}

impl CloseCode {
    /// Every code, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::Normal,
        Self::GoingAway,
        Self::Protocol,
        Self::Unsupported,
        Self::InvalidPayload,
        Self::Policy,
        Self::TooBig,
        Self::Internal,
        Self::Unauthorized,
        Self::Silent,
        Self::Stalled,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::Unsupported => 1003,
            Self::InvalidPayload => 1007,
            Self::Policy => 1008,
            Self::TooBig => 1009,
            Self::Internal => 1011,
            Self::Unauthorized => 4401,
            Self::Silent => 4408,
            Self::Stalled => 4409,
        }
    }
}

/// What a peer's close frame said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReason {
    /// The number; any that the standard lets travel.
    pub code: u16,
    /// For a person; often empty.
    pub reason: String,
}

/// Whether a code may stand in a close frame: 1004 to 1006 and 1015 are for local use, below 1000 and from 1016 to 2999 nothing is
/// defined, 3000 and above belongs to libraries and applications.
pub(super) const fn may_travel(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
