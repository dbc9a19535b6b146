//! From a change of the state to the sockets.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use autobench::load::{Swarm, monotonic_ns, prepare};
use autobench_core::frame;
use serde_json::Map;

use crate::daemon::{Clients, Daemon, pairs};
use crate::{Pauses, head, line, ratio};

const CLIENTS: [usize; 3] = [1, 100, 1000];
const WARM_UP: usize = 20;
const PAUSE_US: (usize, usize) = (5_000, 25_000);
/// No update takes this long.
const STUCK: Duration = Duration::from_secs(20);

pub fn run(updates: usize, pauses: &mut Pauses) {
    head(&format!(
        "change of the state to socket, {updates} changes each, over all sockets"
    ));
    for clients in CLIENTS {
        let daemon = Daemon::start(Map::new());
        let change = prepare(&daemon.state).unwrap();
        let ours = daemon.swarm(&Clients {
            count: clients,
            looking: clients,
            deflate: false,
        });
        let (mut near, far) = pairs(clients);
        let bare = Swarm::over(far, true).unwrap();
        for round in 0..WARM_UP + updates {
            if round == WARM_UP {
                drop((ours.take_latencies(), bare.take_latencies()));
            }
            pauses.pause_us(PAUSE_US.0, PAUSE_US.1);
            until_everywhere(&ours, clients, &change);
            pauses.pause_us(PAUSE_US.0, PAUSE_US.1);
            until_everywhere(&bare, clients, || write_to_all(&mut near));
        }
        let who = if clients == 1 {
            "1 socket".to_owned()
        } else {
            format!("{clients} sockets")
        };
        let ours = line(&format!("{who}, daemon"), ours.take_latencies());
        let bare = line(&format!("{who}, bare loop"), bare.take_latencies());
        ratio(&format!("{who}, daemon : bare loop"), &ours, &bare, "");
    }
}

fn until_everywhere(swarm: &Swarm, clients: usize, act: impl FnOnce()) {
    let before = swarm.counts().frames;
    act();
    assert!(swarm.wait_for(before + clients as u64, STUCK), "a change is lost");
}

/// A frame as the daemon's, with the moment in it.
fn write_to_all(sockets: &mut [TcpStream]) {
    let text = format!(
        "{{\"type\":\"state.patch\",\"fromVersion\":1000000,\"toVersion\":1000001,\"patch\":[\
         {{\"op\":\"replace\",\"path\":\"/load/lastSample/sentNs\",\"value\":{}}},\
         {{\"op\":\"replace\",\"path\":\"/version\",\"value\":1000001}}]}}",
        monotonic_ns()
    );
    let frame = frame::text(text.as_bytes());
    for socket in sockets {
        // Whoever was sent nothing for a while has room for it.
        socket.write_all(&frame).unwrap();
    }
}
