//! Commands of a client, and the commands that it follows.

use autobench_core::commands::{Refused, Stage as CommandStage};
use autobench_core::frame;
use autobench_core::outbox::Channel;
use autobench_core::wire::{Ack, CommandRequest, CommandStatus, ErrorCode, MessageId, ServerMessage};

use super::super::client::{At, Stage};
use super::super::following::FOLLOWED;
use super::super::personal::Full;
use super::Session;
use crate::access::{Actor, AuditEntry, Outcome, command_action};
use crate::commands::Router;

impl Session {
    /// Asks for a command. The answer comes before every stage of it.
    pub(super) fn command(&mut self, id: Option<MessageId>, request: CommandRequest) -> Result<(), Full> {
        let Some(router) = self.router() else {
            return self.refuse(ErrorCode::NotReady, "the daemon is starting".to_owned(), id);
        };
        if !self.shared.following.has_room(&self.client, 1) {
            return self.refuse_following(id);
        }
        let mut said = Ok(());
        let echoed = id.clone();
        let actor = self.actor();
        let actor = actor.as_ref().map_or("nobody", |actor| &actor.name);
        let action = command_action(&request.device, &request.name);
        // Who follows all commands could hear of this one from the ring before its answer is even made.
        self.client.hold();
        self.has_asked = true;
        let submitted = router.submit(request, actor, Some(self.client.holder()), |status| {
            if !status.status.is_final() {
                self.shared.following.follow(&self.client, &status.command_id);
            }
            said = self.client.say(&ServerMessage::Ack(Ack {
                ok: true,
                id: echoed,
                command_id: Some(status.command_id.clone()),
            }));
            // Who follows all of them has heard of a new one from there.
            if status.status != CommandStage::Queued || !self.client.wants(Channel::Commands) {
                self.say_status(status);
            }
        });
        self.record(&action, submitted.as_ref().err());
        match submitted {
            Ok(_) => said,
            Err(Refused { code, message }) => self.refuse(code, message, id),
        }
    }

    /// Withdraws a command. What becomes of it is a stage, which the client hears if it follows the command.
    pub(super) fn cancel_command(&self, id: Option<MessageId>, command_id: &str) -> Result<(), Full> {
        let Some(router) = self.router() else {
            return self.refuse(ErrorCode::NotReady, "the daemon is starting".to_owned(), id);
        };
        let actor = self.actor();
        let actor = actor.as_ref().map_or("nobody", |actor| &actor.name);
        let cancelled = router.cancel(command_id, actor);
        self.record(&format!("cancel {command_id}"), cancelled.as_ref().err());
        match cancelled {
            Ok(status) => self.client.say(&ServerMessage::Ack(Ack {
                ok: true,
                id,
                command_id: Some(status.command_id),
            })),
            Err(Refused { code, message }) => self.refuse(code, message, id),
        }
    }

    /// Goes on holding what a command of this client began.
    pub(super) fn renew_hold(&self, id: Option<MessageId>, command_id: &str) -> Result<(), Full> {
        let renewed = self
            .router()
            .map(|router| router.renew(command_id, self.client.holder()));
        self.answer_hold(id, renewed)
    }

    /// Lets go of it.
    pub(super) fn let_go_of(&self, id: Option<MessageId>, command_id: &str) -> Result<(), Full> {
        let let_go = self
            .router()
            .map(|router| router.let_go(command_id, self.client.holder()));
        if let Some(let_go) = &let_go {
            self.record(&format!("let go of {command_id}"), let_go.as_ref().err());
        }
        self.answer_hold(id, let_go)
    }

    /// Lets go of everything, because nobody is there any more.
    pub(super) fn let_go_of_all(&self) {
        if let (true, Some(router)) = (self.has_asked, self.router()) {
            router.client_gone(self.client.holder());
        }
    }

    fn answer_hold(&self, id: Option<MessageId>, done: Option<Result<(), Refused>>) -> Result<(), Full> {
        match done {
            Some(Ok(())) if id.is_some() => self.acknowledge(id),
            // It comes twice a second.
            Some(Ok(())) => Ok(()),
            Some(Err(Refused { code, message })) => self.refuse(code, message, id),
            None => self.refuse(ErrorCode::NotReady, "the daemon is starting".to_owned(), id),
        }
    }

    /// Follows some commands, whose stages come at once as they are now. All of them, or none if one is not known.
    pub(super) fn subscribe_commands(&mut self, id: Option<MessageId>, ids: &[String]) -> Result<(), Full> {
        let Some(router) = self.router() else {
            return self.refuse(ErrorCode::NotReady, "the daemon is starting".to_owned(), id);
        };
        let mut under_way = Vec::new();
        for named in ids {
            match router.status(named) {
                Some(status) if status.status.is_final() => {}
                Some(_) => under_way.push(named.as_str()),
                None => {
                    let message = format!("no command {named:?} is known");
                    return self.refuse(ErrorCode::UnknownCommandId, message, id);
                }
            }
        }
        let new = self.shared.following.new_among(&self.client, &under_way);
        let limit = self.shared.config.limits.subscriptions;
        if new > 0 && self.subscription_count() >= limit as usize {
            let message = format!("a client may have {limit} subscriptions; end one first");
            return self.refuse(ErrorCode::TooManySubscriptions, message, id);
        }
        if !self.shared.following.has_room(&self.client, new) {
            return self.refuse_following(id);
        }
        self.acknowledge(id)?;
        for id in ids {
            router.look(id, |status| {
                if !status.status.is_final() {
                    self.shared.following.follow(&self.client, id);
                }
                self.say_status(status);
            });
        }
        if new > 0 {
            self.command_lists.push(ids.to_vec());
        }
        Ok(())
    }

    /// Ends following some commands, or all that were followed by id.
    pub(super) fn unsubscribe_commands(&mut self, ids: Option<&[String]>) {
        match ids {
            Some(ids) => ids
                .iter()
                .for_each(|id| self.shared.following.leave(&self.client, id)),
            None => self.shared.following.leave_all(&self.client),
        }
    }

    /// What the limit of subscriptions counts. A list of commands that are over counts no more.
    pub(super) fn subscription_count(&mut self) -> usize {
        let (client, following) = (&self.client, &self.shared.following);
        self.command_lists
            .retain(|ids| ids.iter().any(|id| following.follows(client, id)));
        self.subscriptions.len() + self.command_lists.len()
    }

    /// Under the router's lock, so that what follows comes later. A list of a thousand commands is more than the queue for answers holds, so
    /// this goes the way of every other stage.
    fn say_status(&self, status: &CommandStatus) {
        let frame = frame::text(&ServerMessage::CommandStatus(status.clone()).to_json());
        let number = self.shared.channels.cursor(Channel::Commands).segment;
        let stage = Stage {
            at: At::Before(number),
            frame,
        };
        self.client.tell_stage(&status.command_id, stage);
    }

    fn refuse_following(&self, id: Option<MessageId>) -> Result<(), Full> {
        let message =
            format!("a client may follow {FOLLOWED} commands that are under way; wait for one to end");
        self.refuse(ErrorCode::TooManySubscriptions, message, id)
    }

    fn router(&self) -> Option<Router> {
        self.shared.router.get()?.upgrade()
    }

    /// Who the client acts for. Nobody comes here whom nobody knows.
    fn actor(&self) -> Option<Actor> {
        self.client.actor()
    }

    fn record(&self, action: &str, refused: Option<&Refused>) {
        let actor = self.actor();
        // The code alone: the message may repeat an argument, which is nobody's business.
        let code = refused.and_then(|refused| serde_json::to_value(refused.code).ok());
        self.shared.config.guard.audit().record(&AuditEntry {
            actor: actor.as_ref(),
            peer: Some(self.client.peer.ip()),
            action,
            outcome: match refused {
                None => Outcome::Done,
                Some(_) => Outcome::Refused,
            },
            detail: code.as_ref().and_then(serde_json::Value::as_str),
        });
    }
}
