//! Who a client is, and whether it may say what it says.

use autobench_core::access::message_role;
use autobench_core::frame::CloseCode;
use autobench_core::wire::{ClientMessage, ErrorCode, ErrorMessage, MessageId, Secret, ServerMessage};

use super::super::personal::Full;
use super::Session;
use crate::access::{AuditEntry, Outcome, Refused};

impl Session {
    /// Whether a message is to be answered. If not, the client was told why.
    pub(super) fn admits(&self, id: Option<&MessageId>, message: &ClientMessage) -> Result<bool, Full> {
        if matches!(message, ClientMessage::Ping | ClientMessage::Auth { .. }) {
            return Ok(true);
        }
        let needed = message_role(message);
        let guard = &self.shared.config.guard;
        let actor = self.client.actor();
        // It is looked after once a second as well; until then nothing is done for it.
        if let Some(reason) = actor.as_ref().and_then(|actor| guard.why_over(actor)) {
            self.client.close(CloseCode::Unauthorized, reason);
            return Ok(false);
        }
        let (code, text) = match actor {
            None => (
                ErrorCode::Unauthorized,
                "say who you are first: {\"type\":\"auth\",\"token\":…}".to_owned(),
            ),
            Some(actor) if actor.role >= needed => return Ok(true),
            Some(actor) => {
                guard.audit().record(&AuditEntry {
                    actor: Some(&actor),
                    peer: Some(self.client.peer.ip()),
                    action: "a message of the socket",
                    outcome: Outcome::Refused,
                    detail: Some(needed.as_str()),
                });
                let text = format!(
                    "this message takes the role {needed}, and {} is {}",
                    actor.name, actor.role
                );
                (ErrorCode::Forbidden, text)
            }
        };
        self.refuse(code, text, id.cloned())?;
        Ok(false)
    }

    /// The client shows its token: it is somebody from now on, or the connection is over.
    pub(super) fn authenticate(&mut self, id: Option<MessageId>, token: &Secret) -> Result<(), Full> {
        let guard = &self.shared.config.guard;
        let from = self.client.peer.ip();
        match guard.authenticate(token.reveal(), from) {
            Ok(actor) => {
                guard.audit().record(&AuditEntry {
                    actor: Some(&actor),
                    peer: Some(from),
                    action: "opens a socket",
                    outcome: Outcome::Done,
                    detail: Some(&self.client.id()),
                });
                if id.is_some() {
                    self.acknowledge(id)?;
                }
                self.seat.know();
                self.client.admit(actor, &self.shared.channels)
            }
            Err(refused) => {
                let message = match refused {
                    Refused::WrongToken => "this token is not known".to_owned(),
                    Refused::TooMany(wait) => format!(
                        "too many wrong tokens came from this address, so none is looked at; try again in {} s",
                        wait.as_secs() + 1
                    ),
                };
                let error = ServerMessage::Error(ErrorMessage {
                    code: ErrorCode::Unauthorized,
                    message,
                    id,
                });
                self.client
                    .close_with(CloseCode::Unauthorized, "the token is not known", &error);
                Ok(())
            }
        }
    }
}
