//! What a client gets because it asked for it.

use autobench_core::outbox::Channel;
use autobench_core::wire::{ErrorCode, MessageId, SnapshotRequest, Topic};
use smallvec::SmallVec;

use super::super::channels::LogStart;
use super::super::personal::{Full, Item};
use super::Session;

/// Most series that one message may name: some four times as many as a bench has.
const ENDPOINT_IDS: usize = 1024;

impl Session {
    /// A subscription without a channel: state and newest log entries, once more.
    pub(super) fn send_again(&mut self, id: Option<MessageId>, wanted: SnapshotRequest) -> Result<(), Full> {
        self.acknowledge(id)?;
        if wanted.include_snapshot {
            self.client.push(Item::Snapshot)?;
        }
        let count = wanted
            .logs_history
            .map_or(self.shared.config.history_entries, u64::from);
        self.client.push(Item::Logs(LogStart::Newest(count)))
    }

    pub(super) fn subscribe(&mut self, id: Option<MessageId>, topic: Topic) -> Result<(), Full> {
        let channels = &self.shared.channels;
        let mut unknown = Vec::new();
        let wanted: SmallVec<[Channel; 1]> = match topic {
            Topic::State | Topic::Logs => {
                // On from the start, so they count as no subscription.
                self.acknowledge(id)?;
                let channel = if topic == Topic::State {
                    Channel::State
                } else {
                    Channel::Logs
                };
                return self.shared.begin(&self.client, channel);
            }
            Topic::Alarms => SmallVec::from_slice(&[Channel::Alarms]),
            Topic::Events => SmallVec::from_slice(&[Channel::Events]),
            Topic::Commands { .. } => SmallVec::from_slice(&[Channel::Commands]),
            Topic::Telemetry { endpoint_ids } => {
                let Some(ids) = each_once(endpoint_ids.unwrap_or_default()) else {
                    return self.refuse_list(id);
                };
                let known;
                // A client that comes back to another run asks for all that it had: one that is gone must not cost it the others.
                (known, unknown) = ids.into_iter().partition(|id| channels.series(*id).is_some());
                let known: Vec<u32> = known;
                known.into_iter().map(Channel::Series).collect()
            }
        };
        let new = self.client.not_wanted(wanted);
        let limit = self.shared.config.limits.subscriptions;
        if !new.is_empty() && self.subscription_count() >= limit as usize {
            let message = format!("a client may have {limit} subscriptions; end one first");
            return self.refuse(ErrorCode::TooManySubscriptions, message, id);
        }
        if unknown.is_empty() {
            self.acknowledge(id)?;
        } else {
            let message = format!(
                "there is no telemetry series {}; what else was named is subscribed to. See devices.<id>.series in the state",
                listed(&unknown)
            );
            self.refuse(ErrorCode::UnknownEndpoint, message, id)?;
        }
        if new.is_empty() {
            return Ok(());
        }
        // Noted before the queue may turn out to be full: what is noted is given back at the end.
        for channel in &new {
            self.joined(*channel);
        }
        self.subscriptions.push(new.clone());
        for channel in new {
            self.shared.begin(&self.client, channel)?;
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, id: Option<MessageId>, topic: Topic) -> Result<(), Full> {
        let leaving: SmallVec<[Channel; 1]> = match topic {
            Topic::State => SmallVec::from_slice(&[Channel::State]),
            Topic::Logs => SmallVec::from_slice(&[Channel::Logs]),
            Topic::Alarms => SmallVec::from_slice(&[Channel::Alarms]),
            Topic::Events => SmallVec::from_slice(&[Channel::Events]),
            Topic::Commands { command_ids } => {
                self.unsubscribe_commands(command_ids.as_deref());
                match command_ids {
                    Some(_) => SmallVec::new(),
                    None => SmallVec::from_slice(&[Channel::Commands]),
                }
            }
            Topic::Telemetry {
                endpoint_ids: Some(ids),
            } => match each_once(ids) {
                Some(ids) => ids.into_iter().map(Channel::Series).collect(),
                None => return self.refuse_list(id),
            },
            Topic::Telemetry { endpoint_ids: None } => {
                let all = self.subscriptions.iter().flatten().copied();
                all.filter(|channel| matches!(channel, Channel::Series(_)))
                    .collect()
            }
        };
        let mut held: SmallVec<[Channel; 1]> = SmallVec::new();
        for subscription in &mut self.subscriptions {
            held.extend(subscription.iter().copied().filter(|one| leaving.contains(one)));
            subscription.retain(|one| !leaving.contains(one));
        }
        for channel in leaving {
            self.shared.end(&self.client, channel);
        }
        for channel in held {
            self.left(channel);
        }
        self.subscriptions.retain(|subscription| !subscription.is_empty());
        self.acknowledge(id)
    }

    fn refuse_list(&self, id: Option<MessageId>) -> Result<(), Full> {
        let message = format!("\"endpointIds\" has more than {ENDPOINT_IDS} numbers; send several messages");
        self.refuse(ErrorCode::BadMessage, message, id)
    }

    fn joined(&self, channel: Channel) {
        if let Channel::Series(id) = channel
            && let Some(series) = self.shared.channels.series(id)
        {
            series.join();
        }
    }

    pub(super) fn left(&self, channel: Channel) {
        if let Channel::Series(id) = channel
            && let Some(series) = self.shared.channels.series(id)
        {
            series.leave();
        }
    }
}

/// The numbers in order. None if a message may not name so many.
fn each_once(mut ids: Vec<u32>) -> Option<Vec<u32>> {
    if ids.len() > ENDPOINT_IDS {
        return None;
    }
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

fn listed(ids: &[u32]) -> String {
    let texts: Vec<String> = ids.iter().map(u32::to_string).collect();
    texts.join(", ")
}
