//! What clients do, and what happens beside: changes, floods of them, and entries of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{Random, call, client_frame};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::follower::{Follower, Heard};
use super::ledger::{Part, Shared};

/// Entries in one body, so few that the daemon's own feed never loses one.
const POSTED_ENTRIES: usize = 120;
/// Changes of a flood, each of some 2 KiB: several rings and lines full.
const FLOOD_CHANGES: usize = 100;

/// The life of one client.
pub async fn live(
    number: u64,
    seed: u64,
    address: String,
    series: u64,
    ledger: Shared,
    stop: Arc<AtomicBool>,
) {
    let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    let mut follower = Follower::new(format!("client {number}"), &ledger, false);
    follower.deflates = number.is_multiple_of(3);
    follower.wants = (number / 3).is_multiple_of(3).then(|| random.pick(&Part::ALL));
    let count = |what| ledger.lock().unwrap().count(what);
    // They arrive one by one and not in a row.
    tokio::time::sleep(random.ms(0, 2000)).await;
    while !stop.load(Ordering::Acquire) {
        let small = random.one_in(2).then_some(4096);
        follower.connect(&address, small).await;
        let mut has_state = true;
        let mut has_series = false;
        while !stop.load(Ordering::Acquire) {
            let pause = random.ms(50, 1500);
            follower.read_for(pause).await;
            match random.below(26) {
                0..4 => {
                    count("changed");
                    let text = if random.one_in(3) {
                        large_text(&mut random)
                    } else {
                        format!(
                            "client {number} says {}",
                            "\u{1F50C}é~\"\\/".repeat(random.below(20))
                        )
                    };
                    change(&address, &text).await;
                }
                4..7 => {
                    count("stalled");
                    // It reads nothing for a while: that is what it is here for, and nothing waits for it.
                    tokio::time::sleep(random.ms(100, 6000)).await;
                }
                7 | 8 => {
                    count("resynced");
                    follower.say(&json!({"type": "state.resync"})).await;
                }
                9 | 10 => {
                    count("switched the state");
                    let kind = if has_state { "unsubscribe" } else { "subscribe" };
                    follower.say(&json!({"type": kind, "channel": "state"})).await;
                    has_state = !has_state;
                }
                11 | 12 => {
                    count("switched telemetry");
                    let kind = if has_series { "unsubscribe" } else { "subscribe" };
                    follower
                        .say(&json!({"type": kind, "channel": "telemetry", "endpointIds": [series]}))
                        .await;
                    has_series = !has_series;
                }
                13 => follower.say(&json!({"type": "ping"})).await,
                14..17 => {
                    count("vanished");
                    follower.vanish();
                    break;
                }
                17 => {
                    count("said goodbye");
                    let close = client_frame(0x88, &1000_u16.to_be_bytes());
                    follower
                        .stream
                        .as_mut()
                        .unwrap()
                        .write_all(&close)
                        .await
                        .expect("it is sent");
                    while let Heard::Message = follower.hear().await {}
                    // It comes back as a stranger.
                    follower.mirror = None;
                    break;
                }
                18 => {
                    // One question at a time, so that it is known which answer is whose.
                    if let (None, Some(covered)) = (follower.log.asked, follower.log.covered) {
                        count("asked for the log again");
                        let since = covered.saturating_sub(random.below(300) as u64);
                        follower.log.asked = Some(since);
                        follower
                            .say(&json!({"type": "logs.replay", "sinceSeq": since}))
                            .await;
                    }
                }
                _ => {}
            }
        }
        if !has_state {
            // What it missed it did not want; it begins anew.
            follower.mirror = None;
        }
        // How long it is away is up to it, as long as the daemon still may have what it missed, and longer.
        let away = random.ms(0, 2000);
        follower.vanish();
        tokio::time::sleep(away).await;
    }
}

/// Shows a text to all mirrors: the change that anybody may make.
async fn change(address: &str, text: &str) {
    let body = json!({ "message": text });
    let response = call(address, "PUT", "/api/v1/message", "", Some(&body)).await;
    assert!((200..300).contains(&response.status), "{response:?}");
}

/// A text that no compressor makes much smaller, nearly as long as one may be.
fn large_text(random: &mut Random) -> String {
    (0..490)
        .map(|_| char::from_u32(0x1F300 + random.below(0x300) as u32).expect("a character"))
        .collect()
}

/// Entries for each part of the log, and for none.
pub async fn post_entries(address: &str, random: &mut Random) {
    let entries: Vec<Value> = (0..POSTED_ENTRIES)
        .map(|_| {
            json!({
                "channel": random.pick(&["soak", "soak:left", "soak:left:hand", "soak:right"]),
                "level": random.pick(&["debug", "info", "warn", "error"]),
                "message": format!("{} {}", random.pick(&["odd", "Odd", "even"]), random.next()),
                "tag": random.pick(&["one", "two"]),
            })
        })
        .collect();
    let response = call(address, "POST", "/api/v1/logs", "", Some(&json!(entries))).await;
    assert!((200..300).contains(&response.status), "{response:?}");
    assert_eq!(response.json()["accepted"], POSTED_ENTRIES, "{response:?}");
}

/// Now and then many large changes in a row.
pub async fn flood(address: String, seed: u64, stop: Arc<AtomicBool>) {
    let mut random = Random::new(seed ^ 0xF100D);
    // The pace of the changes: slower than flushes, so that each is a patch of its own.
    let mut pace = tokio::time::interval(Duration::from_millis(15));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.load(Ordering::Acquire) {
        for _ in 0..FLOOD_CHANGES {
            pace.tick().await;
            change(&address, &large_text(&mut random)).await;
        }
        // A pause between floods, in which those who read may get all of it; nothing waits for it.
        tokio::time::sleep(random.ms(2000, 5000)).await;
    }
}
