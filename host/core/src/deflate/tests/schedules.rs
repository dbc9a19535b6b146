//! Clients that join, leave, stall, ask again and choose channels at random: each decodes what a plain client is sent.

use super::client::{Client, Source, Sources, by_channel};
use super::*;

const CHANNELS: [Channel; 4] = [
    Channel::State,
    Channel::Logs,
    Channel::Series(1),
    Channel::Series(2),
];

#[derive(Debug, Clone)]
enum Act {
    /// So many numbers more in this channel, with so much padding.
    Push(usize, u64, usize),
    /// The hub's loop looks, after so many milliseconds.
    Pass(u64),
    /// A client's own writer runs, with a socket that takes so many bytes.
    Pump(usize, usize),
    /// A client's socket takes so many bytes from now on.
    Room(usize, usize),
    /// A client asks for the state again.
    Resync(usize),
    /// A client is told something that is nobody else's.
    Personal(usize),
    /// A client begins or ends a channel.
    Toggle(usize, usize),
    /// A client goes, and another takes its place.
    Replace(usize, Option<Compression>),
}

fn compression() -> impl Strategy<Value = Option<Compression>> {
    prop_oneof![
        3 => Just(Some(Compression::Shared)),
        1 => Just(Some(Compression::Alone)),
        1 => Just(None),
    ]
}

const CLIENTS: usize = 5;

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let room = prop_oneof![Just(usize::MAX), 0..600_usize];
    let act = prop_oneof![
        8 => (0..CHANNELS.len(), 1..4_u64, 0..60_usize).prop_map(|(c, n, p)| Act::Push(c, n, p)),
        8 => (0..200_u64).prop_map(Act::Pass),
        5 => (0..CLIENTS, room.clone()).prop_map(|(c, r)| Act::Pump(c, r)),
        1 => (0..CLIENTS, room).prop_map(|(c, r)| Act::Room(c, r)),
        1 => (0..CLIENTS).prop_map(Act::Resync),
        1 => (0..CLIENTS).prop_map(Act::Personal),
        1 => (0..CLIENTS, 0..CHANNELS.len()).prop_map(|(c, ch)| Act::Toggle(c, ch)),
        1 => (0..CLIENTS, compression()).prop_map(|(c, z)| Act::Replace(c, z)),
    ];
    proptest::collection::vec(act, 1..300)
}

/// How often what a test is about has happened: a property that never meets it would hold for nothing.
#[derive(Default, Debug)]
struct Met {
    joins: usize,
    leaves: usize,
    follows: usize,
}

fn play(acts: &[Act], bound_bytes: usize, limit_bytes: usize, met: &mut Met) {
    let source = || Source {
        ring: Ring::new(bound_bytes, 0),
        history: Vec::new(),
    };
    let mut rings: Sources = CHANNELS.into_iter().map(|channel| (channel, source())).collect();
    let mut seen: BTreeMap<Channel, u64> = BTreeMap::new();
    let (mut contexts, mut tails) = (Contexts::new(), Tails::new());
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|index| Client::new((index > 0).then_some(Compression::Shared), &rings))
        .collect();
    let mut now = Duration::ZERO;
    let mut pass = |now, rings: &Sources, clients: &mut Vec<Client>, tails: &mut Tails, met: &mut Met| {
        let mut view = View::new();
        for (channel, Source { ring, .. }) in rings {
            let place = seen.entry(*channel).or_default();
            if ring.end() != *place {
                view.insert(*channel, ring.view(*place, usize::MAX));
                *place = ring.end();
            }
        }
        if view.is_empty() {
            return;
        }
        let mut pass = contexts.encode(&view, now);
        tails.take(&pass);
        for client in clients {
            let was = client.membership.is_some();
            client.write_shared(rings, &view, &mut pass);
            met.joins += usize::from(!was && client.membership.is_some());
            met.leaves += usize::from(was && client.membership.is_none());
        }
        contexts.end_pass(pass, now);
    };
    for act in acts {
        match *act {
            Act::Push(channel, count, padding) => {
                let channel = CHANNELS[channel];
                rings.get_mut(&channel).unwrap().push(channel, count, padding);
            }
            Act::Pass(ms) => {
                now += Duration::from_millis(ms);
                pass(now, &rings, &mut clients, &mut tails, met);
            }
            Act::Pump(client, room) => {
                let client = &mut clients[client];
                let was = client.membership.is_some();
                client.room = room;
                client.pump(&rings, &tails, limit_bytes);
                met.leaves += usize::from(was && client.membership.is_none());
                met.follows += usize::from(was && client.membership.is_some());
                if client.room > 0 {
                    client.room = usize::MAX;
                }
            }
            Act::Room(client, room) => clients[client].room = room,
            Act::Resync(client) => clients[client].snapshot(&rings),
            Act::Personal(client) => clients[client].say("personal:you"),
            Act::Toggle(client, channel) => clients[client].toggle(CHANNELS[channel], &rings),
            Act::Replace(client, compression) => {
                let old = std::mem::replace(&mut clients[client], Client::new(compression, &rings));
                // It went in the middle of something; what it has got is right as far as it goes.
                let meant = by_channel(&old.meant);
                for (name, messages) in by_channel(&old.browser.messages) {
                    assert!(
                        meant.get(name).is_some_and(|meant| meant.starts_with(&messages)),
                        "{name}"
                    );
                }
            }
        }
    }
    // Then the sockets take everything.
    for round in 0..400 {
        for client in &mut clients {
            client.room = usize::MAX;
            client.pump(&rings, &tails, usize::MAX);
        }
        now += Duration::from_millis(100);
        if round % 10 == 0 {
            for (channel, source) in &mut rings {
                source.push(*channel, 1, 10);
            }
        }
        pass(now, &rings, &mut clients, &mut tails, met);
    }
    for client in &clients {
        client.check();
        let may_share = client.compression.is_some() && client.positions.iter().next().is_some();
        assert_eq!(
            may_share,
            client.membership.is_some(),
            "whoever may share a context does in the end"
        );
        for (channel, cursor) in client.positions.iter() {
            assert_eq!(cursor, rings[&channel].ring.cursor());
        }
    }
    assert!(tails.held_bytes() <= CONTEXTS * TAIL_BYTES);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_client_decodes_with_its_own_inflater_what_a_plain_client_is_sent(
        acts in acts(),
        bound_bytes in prop_oneof![600..4000_usize, Just(1 << 20)],
        limit_bytes in 1..4000_usize,
    ) {
        play(&acts, bound_bytes, limit_bytes, &mut Met::default());
    }
}

#[test]
fn the_schedules_really_join_leave_and_lag() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut met = Met::default();
    for _ in 0..20 {
        let acts = acts().new_tree(&mut runner).unwrap().current();
        play(&acts, 3000, 500, &mut met);
    }
    println!("{met:?}");
    assert!(met.joins > 100 && met.leaves > 20 && met.follows > 20, "{met:?}");
}
