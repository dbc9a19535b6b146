//! Which clients follow which commands by their ids.
//!
//! Whoever follows all commands reads them from a ring, as events. Whoever follows some is told of each stage of those alone
//! (`client::Stages`). So nothing here waits for a client, what a client holds is bounded by the commands that it may follow, and how a command
//! ended is always told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::client::{Client, Stage};

/// Commands that one client may follow by id. Those that are over do not count.
pub(super) const FOLLOWED: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Following(Mutex<Index>);

#[derive(Debug, Default)]
struct Index {
    clients: HashMap<String, Vec<Arc<Client>>>,
    commands: HashMap<u64, HashSet<String>>,
}

impl Following {
    /// Lets a client follow a command. False if it follows too many.
    pub(super) fn follow(&self, client: &Arc<Client>, id: &str) -> bool {
        let mut index = self.0.lock();
        let commands = index.commands.entry(client.number).or_default();
        if commands.contains(id) {
            return true;
        }
        if commands.len() >= FOLLOWED {
            return false;
        }
        commands.insert(id.to_owned());
        index
            .clients
            .entry(id.to_owned())
            .or_default()
            .push(Arc::clone(client));
        true
    }

    /// Whether a client may follow so many more.
    pub(super) fn has_room(&self, client: &Client, more: usize) -> bool {
        let index = self.0.lock();
        let held = index.commands.get(&client.number).map_or(0, HashSet::len);
        held + more <= FOLLOWED
    }

    /// How many of these a client does not follow yet, each counted once.
    pub(super) fn new_among(&self, client: &Client, ids: &[&str]) -> usize {
        let index = self.0.lock();
        let followed = index.commands.get(&client.number);
        let is_new = |id: &&str| followed.is_none_or(|followed| !followed.contains(*id));
        let new: HashSet<&str> = ids.iter().copied().filter(is_new).collect();
        new.len()
    }

    pub(super) fn follows(&self, client: &Client, id: &str) -> bool {
        let index = self.0.lock();
        index
            .commands
            .get(&client.number)
            .is_some_and(|commands| commands.contains(id))
    }

    /// Ends it for one command.
    pub(super) fn leave(&self, client: &Client, id: &str) {
        let mut index = self.0.lock();
        if let Some(commands) = index.commands.get_mut(&client.number) {
            commands.remove(id);
            if commands.is_empty() {
                index.commands.remove(&client.number);
            }
        }
        index.forget(client.number, id);
    }

    /// Ends it for all of a client's commands.
    pub(super) fn leave_all(&self, client: &Client) {
        let mut index = self.0.lock();
        for id in index.commands.remove(&client.number).unwrap_or_default() {
            index.forget(client.number, &id);
        }
    }

    /// Does something, such as beginning or ending to follow all commands, while no stage is in the ring and not told yet.
    pub(super) fn between_stages<R>(&self, act: impl FnOnce() -> R) -> R {
        let _index = self.0.lock();
        act()
    }

    /// Puts a stage into the ring and tells those who follow its command. After its last stage nobody does.
    pub(super) fn tell(&self, id: &str, is_last: bool, publish: impl FnOnce() -> Stage) {
        let mut index = self.0.lock();
        let stage = publish();
        let Some(clients) = index.clients.get(id) else {
            return;
        };
        clients
            .iter()
            .for_each(|client| client.tell_stage(id, stage.clone()));
        if is_last {
            let numbers: Vec<u64> = clients.iter().map(|client| client.number).collect();
            index.clients.remove(id);
            for number in numbers {
                if let Some(commands) = index.commands.get_mut(&number) {
                    commands.remove(id);
                    if commands.is_empty() {
                        index.commands.remove(&number);
                    }
                }
            }
        }
    }
}

impl Index {
    fn forget(&mut self, number: u64, id: &str) {
        if let Some(clients) = self.clients.get_mut(id) {
            clients.retain(|client| client.number != number);
            if clients.is_empty() {
                self.clients.remove(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn only_what_is_new_takes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = stream.peer_addr().unwrap();
        let client = Arc::new(Client::bare(1, peer, stream, None));
        let ids: Vec<String> = (0..=FOLLOWED)
            .map(|number| format!("7f3a0000-{number}"))
            .collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let following = Following::default();
        let has_room = |ids: &[&str]| following.has_room(&client, following.new_among(&client, ids));
        for id in &ids[..600] {
            assert!(following.follow(&client, id));
        }
        assert!(has_room(&ids[..600]), "the same once more");
        assert!(has_room(&ids[..FOLLOWED]) && !has_room(&ids));
        let twice = [&ids[600..FOLLOWED], &ids[600..FOLLOWED]].concat();
        assert!(has_room(&twice), "each once, however often it is named");
    }
}
