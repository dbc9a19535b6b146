//! Who holds what: commands whose effect lasts only as long as the client that sent them is there and says so.
//!
//! ```text
//!   command taken ----> held --- the command is over and no lease of it is open ----> forgotten
//!                        |
//!                        +------ let go, not renewed for a while, its client is gone ----> ended
//! ```
//!
//! A client holds from when its command is taken. What it holds are the [leases](crate::driver::leases) that the driver takes for the command, none yet
//! at first, and maybe several. Whatever is asked of a hold that is over is refused, and a lease that a driver takes for one may not stand: so there is
//! no moment in which something is held and nobody would let it go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::driver::CommandId;

/// How often a client says that it still holds.
pub const RENEW_MS: u64 = 500;

/// How long a hold stands without being renewed.
pub const HOLD_MS: u64 = 1_500;

const HOLD_NS: u64 = HOLD_MS * 1_000_000;

/// A connection of a client, by a number that no other one gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A hold that is over: the device's leases for it are to be ended, and the command, if it is under way, to be withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The device.
    pub device: Arc<str>,
    /// The command.
    pub command: CommandId,
}

/// Nobody holds anything by this command, or somebody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotHeld;

/// The holds of all clients. At most as many as there are commands under way and open leases, which both are bounded.
#[derive(Debug, Default)]
pub struct Holds {
    holds: HashMap<CommandId, Hold>,
    of_client: BTreeMap<ClientId, BTreeSet<CommandId>>,
    due: BTreeSet<(u64, CommandId)>,
}

#[derive(Debug)]
struct Hold {
    device: Arc<str>,
    client: ClientId,
    ends_ns: u64,
    /// Numbers of its open leases.
    leases: BTreeSet<u64>,
    is_under_way: bool,
}

impl Holds {
    /// A client's command that holds is taken.
    pub fn begin(&mut self, device: &Arc<str>, command: &CommandId, client: ClientId, now_ns: u64) {
        let ends_ns = now_ns.saturating_add(HOLD_NS);
        let hold = Hold {
            device: Arc::clone(device),
            client,
            ends_ns,
            leases: BTreeSet::new(),
            is_under_way: true,
        };
        self.remove(command);
        self.due.insert((ends_ns, command.clone()));
        self.of_client.entry(client).or_default().insert(command.clone());
        self.holds.insert(command.clone(), hold);
    }

    /// Its client says that it still holds.
    pub fn renew(&mut self, command: &CommandId, client: ClientId, now_ns: u64) -> Result<(), NotHeld> {
        let hold = self.holds.get_mut(command).filter(|hold| hold.client == client);
        // One whose time is over is over, also where nobody has looked since.
        let hold = hold.filter(|hold| hold.ends_ns > now_ns).ok_or(NotHeld)?;
        self.due.remove(&(hold.ends_ns, command.clone()));
        hold.ends_ns = now_ns.saturating_add(HOLD_NS);
        self.due.insert((hold.ends_ns, command.clone()));
        Ok(())
    }

    /// Its client lets go.
    pub fn let_go(&mut self, command: &CommandId, client: ClientId) -> Result<Ended, NotHeld> {
        match self.holds.get(command) {
            Some(hold) if hold.client == client => self.remove(command).ok_or(NotHeld),
            _ => Err(NotHeld),
        }
    }

    /// A client is gone, and lets go of everything.
    pub fn client_gone(&mut self, client: ClientId) -> Vec<Ended> {
        let held = self.of_client.remove(&client).unwrap_or_default();
        held.iter().filter_map(|command| self.remove(command)).collect()
    }

    /// Ends what was not renewed in time.
    pub fn expire(&mut self, now_ns: u64) -> Vec<Ended> {
        let mut ended = Vec::new();
        while let Some((ends_ns, command)) = self.due.first()
            && *ends_ns <= now_ns
        {
            let command = command.clone();
            ended.extend(self.remove(&command));
        }
        ended
    }

    /// When [`expire`](Self::expire) has something to do.
    pub fn next_ns(&self) -> Option<u64> {
        self.due.first().map(|(ends_ns, _)| *ends_ns)
    }

    /// The driver of this device has taken a lease for this command. False: nobody holds anything of the device by it, so the lease has to be ended.
    #[must_use]
    pub fn opened(&mut self, device: &str, command: &CommandId, lease: u64) -> bool {
        let hold = self.holds.get_mut(command).filter(|hold| &*hold.device == device);
        hold.is_some_and(|hold| {
            hold.leases.insert(lease);
            true
        })
    }

    /// A lease of this device is over, or another one is in its place.
    pub fn lease_over(&mut self, device: &str, lease: u64) {
        let its = self.holds.iter_mut().find_map(|(command, hold)| {
            let is_its = &*hold.device == device && hold.leases.remove(&lease);
            is_its.then(|| command.clone())
        });
        if let Some(command) = its {
            self.forget_if_over(&command);
        }
    }

    /// A device is gone, and so is whatever was held by its commands.
    pub fn device_gone(&mut self, device: &str) {
        let of_device = self.holds.iter().filter(|(_, hold)| &*hold.device == device);
        let commands: Vec<_> = of_device.map(|(command, _)| command.clone()).collect();
        for command in &commands {
            self.remove(command);
        }
    }

    /// The command is over. If leases of it are open, they are what is held from now on.
    pub fn command_over(&mut self, command: &CommandId) {
        if let Some(hold) = self.holds.get_mut(command) {
            hold.is_under_way = false;
            self.forget_if_over(command);
        }
    }

    fn forget_if_over(&mut self, command: &CommandId) {
        let is_over = |hold: &Hold| !hold.is_under_way && hold.leases.is_empty();
        if self.holds.get(command).is_some_and(is_over) {
            self.remove(command);
        }
    }

    fn remove(&mut self, command: &CommandId) -> Option<Ended> {
        let hold = self.holds.remove(command)?;
        self.due.remove(&(hold.ends_ns, command.clone()));
        if let Some(held) = self.of_client.get_mut(&hold.client) {
            held.remove(command);
            if held.is_empty() {
                self.of_client.remove(&hold.client);
            }
        }
        Some(Ended {
            device: hold.device,
            command: command.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::config;

    const MS: u64 = 1_000_000;

    #[derive(Debug, Clone)]
    enum Act {
        Begin(u8, u8),
        Renew(u8, u8),
        LetGo(u8, u8),
        Gone(u8),
        Opened(u8, bool),
        LeaseOver(u8),
        CommandOver(u8),
        DeviceGone(bool),
        Pass(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let (command, client) = (0..5u8, 0..3u8);
        let act = prop_oneof![
            3 => (command.clone(), client.clone()).prop_map(|(command, client)| Act::Begin(command, client)),
            4 => (command.clone(), client.clone()).prop_map(|(command, client)| Act::Renew(command, client)),
            1 => (command.clone(), client.clone()).prop_map(|(command, client)| Act::LetGo(command, client)),
            1 => client.prop_map(Act::Gone),
            4 => command.clone().prop_flat_map(|id| any::<bool>().prop_map(move |is_its| Act::Opened(id, is_its))),
            2 => command.clone().prop_map(Act::LeaseOver),
            2 => command.prop_map(Act::CommandOver),
            1 => any::<bool>().prop_map(Act::DeviceGone),
            4 => (0..900u64).prop_map(Act::Pass),
        ];
        prop::collection::vec(act, 0..120)
    }

    fn command(number: u8) -> CommandId {
        CommandId(number.to_string().into())
    }

    fn client(number: u8) -> ClientId {
        ClientId(number.into())
    }

    /// What is known of one hold, written down without any of the indices.
    #[derive(Debug)]
    struct Known {
        client: u8,
        ends_ns: u64,
        leases: Vec<u64>,
        is_under_way: bool,
    }

    proptest! {
        #![proptest_config(config(500, 50_000))]

        /// Against a list of what there is: whoever holds can renew and let go, nobody else can; a hold ends once, at the latest when it was not renewed for
        /// its time; and a lease stands only while somebody holds it.
        #[test]
        fn a_lease_stands_only_while_a_client_holds_it(acts in acts()) {
            let device: Arc<str> = "panel".into();
            let mut holds = Holds::default();
            let mut known: BTreeMap<u8, Known> = BTreeMap::new();
            let mut open: BTreeMap<u64, u8> = BTreeMap::new();
            let (mut now_ns, mut number) = (0, 0);
            for act in acts {
                let mut ended = Vec::new();
                match act {
                    Act::Begin(id, by) => {
                        // No two commands have one id.
                        if let Entry::Vacant(place) = known.entry(id) {
                            holds.begin(&device, &command(id), client(by), now_ns);
                            place.insert(Known {
                                client: by,
                                ends_ns: now_ns + HOLD_NS,
                                leases: Vec::new(),
                                is_under_way: true,
                            });
                        }
                    }
                    Act::Renew(id, by) => {
                        let held = known.get_mut(&id).filter(|hold| hold.client == by);
                        prop_assert_eq!(holds.renew(&command(id), client(by), now_ns).is_ok(), held.is_some());
                        if let Some(hold) = held {
                            hold.ends_ns = now_ns + HOLD_NS;
                        }
                    }
                    Act::LetGo(id, by) => {
                        let is_held = known.get(&id).is_some_and(|hold| hold.client == by);
                        let let_go = holds.let_go(&command(id), client(by));
                        prop_assert_eq!(let_go.is_ok(), is_held);
                        ended.extend(let_go.ok());
                    }
                    Act::Gone(by) => {
                        let count = known.values().filter(|hold| hold.client == by).count();
                        ended = holds.client_gone(client(by));
                        prop_assert_eq!(ended.len(), count);
                    }
                    Act::Opened(id, is_its) => {
                        number += 1;
                        let stands = holds.opened(if is_its { &device } else { "meter" }, &command(id), number);
                        prop_assert_eq!(stands, is_its && known.contains_key(&id), "nobody holds by another device's command");
                        if let Some(hold) = known.get_mut(&id).filter(|_| is_its) {
                            hold.leases.push(number);
                            open.insert(number, id);
                        }
                    }
                    Act::LeaseOver(id) => {
                        if let Some(lease) = known.get_mut(&id).and_then(|hold| hold.leases.pop()) {
                            open.remove(&lease);
                            holds.lease_over("meter", lease);
                            holds.lease_over(&device, lease);
                        }
                    }
                    Act::CommandOver(id) => {
                        holds.command_over(&command(id));
                        if let Some(hold) = known.get_mut(&id) {
                            hold.is_under_way = false;
                        }
                    }
                    Act::DeviceGone(is_its) => {
                        holds.device_gone(if is_its { &device } else { "meter" });
                        if is_its {
                            known.clear();
                            open.clear();
                        }
                    }
                    Act::Pass(ms) => {
                        now_ns += ms * MS;
                        ended = holds.expire(now_ns);
                    }
                }
                for Ended { command, .. } in ended {
                    let hold = known.remove(&command.0.parse().unwrap());
                    prop_assert!(hold.is_some(), "it ends once");
                    open.retain(|lease, _| !hold.as_ref().unwrap().leases.contains(lease));
                }
                known.retain(|_, hold| hold.is_under_way || !hold.leases.is_empty());
                prop_assert!(known.values().all(|hold| hold.ends_ns > now_ns));
                prop_assert_eq!(holds.next_ns(), known.values().map(|hold| hold.ends_ns).min());
                prop_assert_eq!(holds.holds.len(), known.len());
                let clients: BTreeSet<_> = known.values().map(|hold| hold.client).collect();
                prop_assert_eq!(holds.of_client.len(), clients.len(), "nothing is left of who is gone");
                prop_assert!(open.values().all(|id| known.contains_key(id)));
            }
        }
    }

    #[test]
    fn what_comes_late_is_refused_although_nobody_has_looked() {
        let mut holds = Holds::default();
        holds.begin(&"panel".into(), &command(1), client(1), 0);
        assert_eq!(holds.renew(&command(1), client(1), HOLD_NS), Err(NotHeld));
        assert_eq!(holds.renew(&command(1), client(1), HOLD_NS - 1), Ok(()));
    }
}
