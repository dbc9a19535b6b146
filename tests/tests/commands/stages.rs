//! Every stage of a command, every way in which it can end, and every refusal.

use super::*;

#[tokio::test]
async fn every_stage_is_heard_on_the_socket_and_over_http() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let mut sender = daemon.client().await;
    let mut other = daemon.client().await;
    assert_eq!(
        other
            .ask(json!({"type": "subscribe", "channel": "commands"}))
            .await["type"],
        "ack"
    );

    let id = send(&mut sender, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), id);
    until_heard(&mut sender, &id, "sent").await;
    relay.say(&format!("ack {id}"));
    until_heard(&mut sender, &id, "acked").await;
    relay.say(&format!("at {id} 0.5 half closed"));
    sender
        .until("progress", |client| {
            client
                .stages
                .last()
                .filter(|stage| stage.get("progress").is_some())
                .map(|_| ())
        })
        .await;
    relay.say(&format!("done {id} true"));
    let stages = until_heard(&mut sender, &id, "succeeded").await;
    assert_eq!(stages, ["queued", "sent", "acked", "acked", "succeeded"]);
    assert_eq!(
        until_heard(&mut other, &id, "succeeded").await,
        stages,
        "who follows all hears the same"
    );

    let last = sender.stages.last().unwrap().clone();
    assert_eq!(last["actualValue"], true);
    assert_eq!(last["progress"], json!({"message": "half closed", "share": 0.5}));
    let times: Vec<&str> = ["queuedAt", "sentAt", "ackedAt", "completedAt"]
        .map(|name| last[name].as_str().unwrap())
        .to_vec();
    assert!(times.is_sorted(), "{times:?}");
    assert!(last["deadlineAt"].as_str().unwrap() > times[3]);

    // The same over HTTP, and at once for who subscribes to it when it is over.
    let mut expected = last.clone();
    expected.as_object_mut().unwrap().remove("type");
    assert_eq!(status(&daemon, &id).await, expected);
    let list = call(&daemon, "GET", "/api/v1/commands", None, "").await.json();
    assert_eq!(list, json!({"commands": [expected]}));
    let mut late = daemon.client().await;
    let follow = json!({"type": "subscribe", "channel": "commands", "commandIds": [id]});
    assert_eq!(late.ask(follow).await["type"], "ack");
    assert_eq!(until_heard(&mut late, &id, "succeeded").await, ["succeeded"]);

    // And begun over HTTP.
    let response = post(&daemon, "", json!({"name": "off"})).await;
    assert_eq!(response.status, 202);
    let id = response.json()["commandId"].as_str().unwrap().to_owned();
    assert_eq!(
        response.header("location"),
        Some(format!("/api/v1/commands/{id}").as_str())
    );
    let mut follower = daemon.client().await;
    let follow = json!({"type": "subscribe", "channel": "commands", "commandIds": [id]});
    assert_eq!(follower.ask(follow).await["type"], "ack");
    assert_eq!(relay.hear("off"), id);
    relay.say(&format!("done {id} false"));
    until_heard(&mut follower, &id, "succeeded").await;
    assert_eq!(status(&daemon, &id).await["actualValue"], false);
    assert_eq!(
        heard(&sender, &id),
        Vec::<String>::new(),
        "who did not ask is not told"
    );
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn refusals_have_their_codes_and_write_nothing() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let mut client = daemon.client().await;
    for (command, code, status, word) in [
        (
            json!({"name": "explode"}),
            "unknown-command",
            422,
            "off, on, pulse, reset, trap",
        ),
        (json!({"name": "pulse"}), "bad-arguments", 422, "ms"),
        (
            json!({"name": "pulse", "args": {"ms": 0}}),
            "bad-arguments",
            422,
            "/ms",
        ),
        (
            json!({"name": "on", "args": {"ms": 1}}),
            "bad-arguments",
            422,
            "ms",
        ),
        (json!({"name": "reset"}), "not-granted", 403, "dangerous-commands"),
        (
            json!({"name": "on", "deadlineMs": 0}),
            "bad-deadline",
            400,
            "deadlineMs",
        ),
        (json!({"name": "on", "idempotencyKey": ""}), "bad-key", 400, "key"),
    ] {
        let response = post(&daemon, "", command.clone()).await;
        let problem = response.json();
        assert_eq!(
            (response.status, problem["code"].as_str()),
            (status, Some(code)),
            "{command}: {problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(word),
            "{command}: {problem}"
        );
        let mut message = command.clone();
        message["type"] = "command".into();
        message["device"] = "relay".into();
        let answer = client.ask(message).await;
        assert_eq!(
            (answer["type"].as_str(), answer["code"].as_str()),
            (Some("error"), Some(code)),
            "{answer}"
        );
    }
    let body = json!({"name": "on"});
    let unknown = call(&daemon, "POST", "/api/v1/devices/lamp/commands", Some(&body), "").await;
    assert_eq!(
        (unknown.status, unknown.json()["code"].as_str()),
        (404, Some("unknown-device"))
    );
    for (method, path) in [
        ("GET", "/api/v1/commands/x-1"),
        ("DELETE", "/api/v1/commands/x-1"),
    ] {
        let unknown = call(&daemon, method, path, None, "").await;
        assert_eq!(
            (unknown.status, unknown.json()["code"].as_str()),
            (404, Some("unknown-command-id"))
        );
    }
    for (message, code) in [
        (
            json!({"type": "command.cancel", "commandId": "x-1"}),
            "unknown-command-id",
        ),
        (
            json!({"type": "subscribe", "channel": "commands", "commandIds": ["x-1"]}),
            "unknown-command-id",
        ),
        (
            json!({"type": "lease.renew", "commandId": "x-1"}),
            "unknown-lease",
        ),
        (json!({"type": "lease.end", "commandId": "x-1"}), "unknown-lease"),
    ] {
        assert_eq!(client.ask(message.clone()).await["code"], code, "{message}");
    }
    // One that is taken is the first of which the board hears.
    let id = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), id);

    // A driver that does not run takes none.
    std::fs::remove_file(relay.bench.plugins().join("relay.wasm")).unwrap();
    eventually("the driver is stopped", async || {
        (daemon.member("/devices/relay/status").await? == "stopped").then_some(())
    })
    .await;
    let over = status(&daemon, &id).await;
    assert_eq!(over["status"], "failed");
    assert!(
        over["reason"].as_str().unwrap().starts_with("unknown-outcome:"),
        "{over}"
    );
    let response = post(&daemon, "", json!({"name": "on"})).await;
    let problem = response.json();
    assert_eq!(
        (response.status, problem["code"].as_str()),
        (503, Some("not-ready"))
    );
    assert!(
        problem["detail"].as_str().unwrap().contains("relay.wasm is gone"),
        "{problem}"
    );
    assert_eq!(relay.board.line_so_far(), None);
}

#[tokio::test]
async fn every_way_in_which_a_command_can_end() {
    let mut relay = Relay::granting("[devices.relay.grants]\ndangerous-commands = [\"reset\"]\n");
    let daemon = relay.start().await;
    let mut client = daemon.client().await;

    let late = send(&mut client, json!({"name": "on", "deadlineMs": 3000})).await;
    assert_eq!(relay.hear("on"), late);
    assert_eq!(
        until_heard(&mut client, &late, "expired").await,
        ["queued", "sent", "expired"]
    );
    assert!(
        client.stages.last().unwrap()["reason"]
            .as_str()
            .unwrap()
            .starts_with("deadline:")
    );
    // The driver is told too, and what it says then is not heard.
    assert_eq!(relay.hear("cancel"), late);

    let cancelled = send(
        &mut client,
        json!({"name": "pulse", "args": {"ms": 60_000}, "deadlineMs": 90_000}),
    )
    .await;
    assert_eq!(relay.hear("on"), cancelled);
    until_heard(&mut client, &cancelled, "acked").await;
    assert_eq!(
        client
            .ask(json!({"type": "command.cancel", "commandId": cancelled}))
            .await["type"],
        "ack"
    );
    until_heard(&mut client, &cancelled, "cancelled").await;
    assert_eq!(relay.hear("cancel"), cancelled);

    let deleted = send(&mut client, json!({"name": "reset"})).await;
    assert_eq!(
        relay.hear("reset"),
        deleted,
        "a dangerous command that is granted"
    );
    let response = call(
        &daemon,
        "DELETE",
        &format!("/api/v1/commands/{deleted}"),
        None,
        "",
    )
    .await;
    assert!([200, 202].contains(&response.status), "{}", response.status);
    until_heard(&mut client, &deleted, "cancelled").await;
    assert_eq!(relay.hear("cancel"), deleted);
    let again = call(
        &daemon,
        "DELETE",
        &format!("/api/v1/commands/{deleted}"),
        None,
        "",
    )
    .await;
    assert_eq!(
        (again.status, again.json()["status"].as_str()),
        (200, Some("cancelled"))
    );

    for (answer, stage, reason) in [
        ("error", "failed", "the contact is welded"),
        ("blocked", "blocked", "the lid is open"),
    ] {
        let id = send(&mut client, json!({"name": "off"})).await;
        assert_eq!(relay.hear("off"), id);
        relay.say(&format!("{answer} {id} {reason}"));
        until_heard(&mut client, &id, stage).await;
        assert_eq!(client.stages.last().unwrap()["reason"], reason);
    }

    // A command that breaks its driver down is failed and not tried again; one that was under way goes on.
    let held = send(&mut client, json!({"name": "pulse", "args": {"ms": 3000}})).await;
    assert_eq!(relay.hear("on"), held);
    let trap = send(&mut client, json!({"name": "trap"})).await;
    until_heard(&mut client, &trap, "failed").await;
    let reason = client
        .stages
        .iter()
        .rfind(|stage| stage["commandId"] == trap.as_str())
        .unwrap()["reason"]
        .clone();
    assert!(reason.as_str().unwrap().starts_with("broke-down:"), "{reason}");
    until_heard(&mut client, &held, "succeeded").await;
    assert_eq!(
        relay.hear("off"),
        held,
        "the pulse was ended by the driver that was started again"
    );
    ready(&daemon).await;
    let on = send(&mut client, json!({"name": "on"})).await;
    assert_eq!(relay.hear("on"), on);
    assert!(daemon.stop().success());
}
