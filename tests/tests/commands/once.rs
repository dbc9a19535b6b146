//! A command is done once: over a swap, a return and a crash of the daemon, and in a flood.

use super::*;

#[tokio::test]
async fn a_version_returns_over_a_gap_where_a_command_has_come_since() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let mut client = daemon.client().await;
    let first = client.member("/devices/relay/driver/sha256").cloned();
    let before = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), before);
    relay.say(&format!("done {before} true"));
    until_heard(&mut client, &before, "succeeded").await;

    let wasm = relay.bench.artifacts.fixture("relay");
    relay.bench.install("relay", &variant_of(&wasm, 1));
    client
        .until_member("/devices/relay/driver/lastReload/verdict", &json!("swapped"))
        .await;
    let open = send(&mut client, json!({"name": "off"})).await;
    assert_eq!(relay.hear("off"), open);
    relay.say(&format!("ack {open}"));
    until_heard(&mut client, &open, "acked").await;
    let trap = send(&mut client, json!({"name": "trap"})).await;
    until_heard(&mut client, &trap, "failed").await;
    client
        .until_member("/devices/relay/driver/lastReload/verdict", &json!("returned"))
        .await;
    // It says how, and why. What became of the command that was under way nobody knows, and it is not done again.
    assert_eq!(
        client.member("/devices/relay/driver/lastReload/reason"),
        Some(&json!("over a gap: a command has come since it was replaced"))
    );
    until_heard(&mut client, &open, "failed").await;
    let of_open = client
        .stages
        .iter()
        .rfind(|stage| stage["commandId"] == open.as_str());
    let reason = of_open.unwrap()["reason"].as_str().unwrap();
    assert!(reason.starts_with("unknown-outcome:"), "{reason}");
    assert_eq!(client.member("/devices/relay/driver/sha256").cloned(), first);
    // It goes on from what it knew when it was replaced, and not from what the failed version made of it.
    client.until_member("/relay/commands", &json!(1)).await;
    client.until_member("/relay/on", &json!(true)).await;
    relay.say(&format!("done {open} false"));
    let next = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), next, "nothing was written in between");
    relay.say(&format!("done {next} true"));
    until_heard(&mut client, &next, "succeeded").await;
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_key_is_one_command_over_a_swap_and_a_crash_of_the_daemon() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let keyed = |name: &str, key: &str| json!({"name": name, "idempotencyKey": key, "deadlineMs": 120_000});
    let id_of = |response: &Response| response.json()["commandId"].as_str().unwrap().to_owned();
    let id = id_of(&post(&daemon, "", keyed("on", "press")).await);
    assert_eq!(relay.hear("on"), id);

    // The driver is replaced while the command is under way.
    let wasm = relay.bench.artifacts.fixture("relay");
    relay.bench.install("relay", &variant_of(&wasm, 1));
    eventually("the swap", async || {
        let verdict = daemon.member("/devices/relay/driver/lastReload/verdict").await?;
        (verdict == "swapped").then_some(())
    })
    .await;
    let same = post(&daemon, "", keyed("on", "press")).await;
    assert_eq!((same.status, id_of(&same)), (202, id.clone()));
    relay.say(&format!("done {id} true"));
    assert_eq!(
        status(&daemon, &id).await["status"],
        "succeeded",
        "the successor knows it"
    );
    let other = post(&daemon, "", keyed("off", "press")).await;
    assert_eq!(
        (other.status, other.json()["code"].as_str()),
        (422, Some("idempotency-mismatch"))
    );
    // The key may come in the header, as drafted for HTTP.
    let body = json!({"name": "on", "args": {}});
    let path = "/api/v1/devices/relay/commands";
    let by_header = call(
        &daemon,
        "POST",
        path,
        Some(&body),
        "Idempotency-Key: \"press\"\r\n",
    )
    .await;
    assert_eq!((by_header.status, id_of(&by_header)), (200, id.clone()));

    // The daemon is killed while one is under way; of the other it knew how it ended.
    let open = id_of(&post(&daemon, "", keyed("on", "open")).await);
    assert_eq!(relay.hear("on"), open);
    daemon.kill();
    let daemon = relay.start().await;
    let done = post(&daemon, "", keyed("on", "press")).await.json();
    assert_eq!(
        (&done["commandId"], &done["status"]),
        (&json!(id), &json!("succeeded"))
    );
    let unknown = post(&daemon, "", keyed("on", "open")).await.json();
    assert_eq!(
        (&unknown["commandId"], &unknown["status"]),
        (&json!(open), &json!("failed"))
    );
    let reason = unknown["reason"].as_str().unwrap();
    assert!(reason.starts_with("unknown-outcome:"), "{unknown}");
    assert_eq!(status(&daemon, &open).await, unknown);
    // The next line that the board is sent belongs to the next command: nothing was written twice.
    let fresh = id_of(&post(&daemon, "", keyed("off", "fresh")).await);
    assert_eq!(relay.hear("off"), fresh);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_flood_of_a_thousand_commands_is_done_once_each_and_heard_in_order() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    // A board that says nothing: as many as may be are taken, the next is refused.
    let mut waiting = Vec::new();
    for number in 0..COMMANDS_AT_ONCE {
        let response = post(
            &daemon,
            "",
            json!({"name": "on", "idempotencyKey": format!("wait-{number}")}),
        )
        .await;
        assert_eq!(response.status, 202, "{number}");
        waiting.push(response.json()["commandId"].as_str().unwrap().to_owned());
    }
    let response = post(&daemon, "", json!({"name": "on"})).await;
    assert_eq!(
        (response.status, response.json()["code"].as_str()),
        (429, Some("busy"))
    );
    let mut all = daemon.client().await;
    assert_eq!(
        all.ask(json!({"type": "subscribe", "channel": "commands"})).await["type"],
        "ack"
    );
    let mut some = daemon.client().await;
    let follow = json!({"type": "subscribe", "channel": "commands", "commandIds": waiting});
    assert_eq!(some.ask(follow).await["type"], "ack");
    for id in &waiting {
        assert_eq!(relay.hear("on"), *id, "they come in order");
        relay.say(&format!("done {id} true"));
    }
    for id in &waiting {
        until_heard(&mut all, id, "succeeded").await;
        until_heard(&mut some, id, "succeeded").await;
    }

    // From here on the board answers at once.
    let Relay { bench, mut board } = relay;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let player = std::thread::spawn(move || {
        let mut heard = Vec::new();
        loop {
            match board.line_so_far() {
                Some(line) => {
                    let (_, id) = line.split_once(' ').expect("a word and an id");
                    board.send(format!("ack {id}\ndone {id} true\n").as_bytes());
                    heard.push(id.to_owned());
                }
                None if stopped.try_recv().is_ok() => return heard,
                // How often the board looks; what it answers does not depend on it.
                None => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    });
    let flood = async {
        let (mut taken, mut refused) = (Vec::new(), 0);
        while taken.len() < 1000 {
            let key = format!("flood-{}", taken.len());
            let response = post(&daemon, "", json!({"name": "on", "idempotencyKey": key})).await;
            match response.status {
                202 => taken.push(response.json()["commandId"].as_str().unwrap().to_owned()),
                429 => refused += 1,
                other => panic!("{other}: {}", String::from_utf8_lossy(&response.body)),
            }
        }
        (taken, refused)
    };
    let (taken, refused) = all.beside(flood).await;
    let last = taken.last().unwrap().clone();
    until_heard(&mut all, &last, "succeeded").await;
    for id in &taken {
        assert_eq!(heard(&all, id), ["queued", "sent", "acked", "succeeded"], "{id}");
    }
    stop.send(()).unwrap();
    assert_eq!(
        player.join().unwrap(),
        taken,
        "each reached the board once, in order"
    );
    println!("1000 commands, {refused} refused as busy on the way");
    let list = call(&daemon, "GET", "/api/v1/commands", None, "").await.json();
    assert_eq!(
        list["commands"].as_array().unwrap().len(),
        1000,
        "the newest thousand can be looked up"
    );
    drop(bench);
}
