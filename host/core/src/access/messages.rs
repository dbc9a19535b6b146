//! The roles of a client's messages.

use super::Role;
use crate::wire::ClientMessage;

/// A message of a client and who may send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageEntry {
    /// Its `type`.
    pub name: &'static str,
    /// The least role that may send it.
    pub role: Role,
    /// One such message.
    pub example: &'static str,
}

/// Makes the match and the table from the same lines, so that neither can lack what the other has.
macro_rules! roles {
    ($($pattern:pat => $name:literal, $role:ident, $example:literal;)+) => {
        /// The least role that may send a message. `ping` and `auth` are also taken from a client that nobody knows yet.
        pub const fn message_role(message: &ClientMessage) -> Role {
            match message {
                $($pattern => Role::$role,)+
            }
        }

        /// Every message of a client, in the order of the protocol.
        pub const MESSAGES: &[MessageEntry] = &[
            $(MessageEntry { name: $name, role: Role::$role, example: $example },)+
        ];
    };
}

roles! {
    ClientMessage::Hello { .. } => "hello", Viewer, r#"{"type":"hello","name":"wall","page":"/"}"#;
    ClientMessage::Auth { .. } => "auth", Viewer, r#"{"type":"auth","token":"…"}"#;
    ClientMessage::Ping => "ping", Viewer, r#"{"type":"ping"}"#;
    ClientMessage::StateResync => "state.resync", Viewer, r#"{"type":"state.resync"}"#;
    ClientMessage::LogsReplay { .. } => "logs.replay", Viewer, r#"{"type":"logs.replay","sinceSeq":12}"#;
    ClientMessage::Subscribe(_) => "subscribe", Viewer, r#"{"type":"subscribe","channel":"telemetry","endpointIds":[1]}"#;
    ClientMessage::Command(_) => "command", Operator, r#"{"type":"command","id":1,"device":"relay","name":"on"}"#;
    ClientMessage::CommandCancel { .. } => "command.cancel", Operator, r#"{"type":"command.cancel","commandId":"7f3a0000-1"}"#;
    ClientMessage::LeaseRenew { .. } => "lease.renew", Operator, r#"{"type":"lease.renew","commandId":"a-1"}"#;
    ClientMessage::LeaseEnd { .. } => "lease.end", Operator, r#"{"type":"lease.end","commandId":"a-1"}"#;
    ClientMessage::Unsubscribe(_) => "unsubscribe", Viewer, r#"{"type":"unsubscribe","channel":"events"}"#;
    ClientMessage::SubscribeLogs { .. } => "subscribe_logs", Viewer, r#"{"type":"subscribe_logs","filters":{"level":"error"}}"#;
    ClientMessage::UnsubscribeLogs => "unsubscribe_logs", Viewer, r#"{"type":"unsubscribe_logs"}"#;
    ClientMessage::IdentifyClient { .. } => "identify_client", Viewer, r#"{"type":"identify_client","clientInfo":{"name":"dashboard"}}"#;
    ClientMessage::RequestInitialState => "request_initial_state", Viewer, r#"{"type":"request_initial_state"}"#;
    ClientMessage::HardwareHealthUpdate(_) => "hardware_health_update", Viewer, r#"{"type":"hardware_health_update","data":{}}"#;
}
