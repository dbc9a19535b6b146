//! Commands: pressed over HTTP and over the socket, followed by number through every stage, over a connection that breaks meanwhile.

use super::*;

fn follow(ids: &[&str]) -> Value {
    json!({"type": "subscribe", "channel": "commands", "commandIds": ids})
}

#[tokio::test]
async fn a_panel_toggles_a_pump_and_shows_every_stage() {
    let mut brewery = Brewery::new();
    let daemon = brewery.start().await;
    let mut panel = Panel::open(&socket_of(daemon.address())).await;

    // Pressed over HTTP, followed by its number: where it is now comes at once, then each stage.
    let on = press(&daemon, "on").await;
    assert_eq!(brewery.board_hears("on"), on);
    panel.subscribe(follow(&[&on])).await;
    panel.until_stage(&on, "sent").await;
    brewery.board_says(&format!("ack {on}"));
    let acked = panel.until_stage(&on, "acked").await;
    assert!(
        acked.get("completedAt").is_none() && acked.get("actualValue").is_none(),
        "{acked}"
    );
    brewery.board_says(&format!("done {on} true"));
    let done = panel.until_stage(&on, "succeeded").await;
    assert_eq!(done["actualValue"], true, "{done}");
    assert!(
        done["completedAt"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{done}"
    );
    assert!(
        ["queued", "sent", "acked", "succeeded"].ends_with(&panel.stages(&on)),
        "{:?}",
        panel.stages(&on)
    );

    // Several operators see the same: another panel follows two commands in one message, and hears of no third.
    let mut other = Panel::open(&socket_of(daemon.address())).await;
    let off = press(&daemon, "off").await;
    assert_eq!(brewery.board_hears("off"), off);
    other.subscribe(follow(&[&on, &off])).await;
    other.until_stage(&on, "succeeded").await;
    panel.subscribe(follow(&[&off])).await;
    panel.until_stage(&off, "sent").await;

    // It fails, and says why; the pump has no value then.
    brewery.board_says(&format!("error {off} the contact is welded"));
    for page in [&mut panel, &mut other] {
        let failed = page.until_stage(&off, "failed").await;
        assert_eq!(failed["reason"], "the contact is welded", "{failed}");
        assert!(failed.get("actualValue").is_none_or(Value::is_null), "{failed}");
        assert!(failed["completedAt"].is_string(), "{failed}");
    }

    // Pressed over the socket, it is followed without a subscription, and none of its stages is missed. An interlock refuses it.
    panel
        .send(json!({"type": "command", "id": "press", "device": "pump", "name": "on"}))
        .await;
    panel
        .until("that it is taken", |panel| {
            panel.answers.last().is_some_and(|answer| answer["id"] == "press")
        })
        .await;
    let taken = panel.answers.last().expect("an answer")["commandId"].clone();
    let interlocked = brewery.board_hears("on");
    assert_eq!(taken, interlocked.as_str());
    brewery.board_says(&format!("blocked {interlocked} the tank is empty"));
    panel
        .subscribe(json!({"type": "subscribe", "channel": "alarms"}))
        .await;
    panel.settle().await;
    brewery.raise("pump 1 was refused: the tank is empty");
    let blocked = panel.until_stage(&interlocked, "blocked").await;
    assert_eq!(blocked["reason"], "the tank is empty", "{blocked}");
    assert_eq!(panel.stages(&interlocked), ["queued", "sent", "blocked"]);
    panel.until("the alarm", |panel| panel.alarms.len() == 1).await;

    // Who does not follow a command any more hears no more of it; nobody was told of what he did not ask for.
    let last = press(&daemon, "off").await;
    assert_eq!(brewery.board_hears("off"), last);
    panel.subscribe(follow(&[&last])).await;
    panel.until_stage(&last, "sent").await;
    panel
        .send(json!({"type": "unsubscribe", "channel": "commands", "commandIds": [last]}))
        .await;
    panel.settle().await;
    brewery.board_says(&format!("done {last} false"));
    other.subscribe(follow(&[&last])).await;
    other.until_stage(&last, "succeeded").await;
    panel.settle().await;
    assert_eq!(panel.stages(&last).last(), Some(&"sent"));
    assert!(!other.statuses.contains_key(&interlocked), "{:?}", other.statuses);
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn what_was_pressed_while_the_line_was_down_is_done_once_and_nothing_is_forgotten() {
    let mut brewery = Brewery::new();
    let daemon = brewery.start().await;
    let wire = Relay::to(daemon.address()).await;
    let mut panel = Panel::open(&socket_of(wire.address())).await;
    let first_id = panel.client_id.clone();
    panel
        .subscribe(json!({"type": "subscribe", "channel": "alarms"}))
        .await;
    let on = press(&daemon, "on").await;
    assert_eq!(brewery.board_hears("on"), on);
    panel.subscribe(follow(&[&on])).await;
    brewery.board_says(&format!("ack {on}"));
    panel.until_stage(&on, "acked").await;

    // The line breaks. The pump goes on, and the page keeps what its user does.
    wire.cut();
    while panel.on_message().await {}
    assert!(panel.ws.is_none(), "the page shows that it is away");
    brewery.board_says(&format!("done {on} true"));
    panel
        .send(json!({"type": "command", "id": "press", "device": "pump", "name": "off", "idempotencyKey": "press-7"}))
        .await;
    let series = post(
        &daemon,
        "/api/v1/telemetry",
        None,
        &json!({"endpoint": "hlt.temperature", "unit": "°F", "value": 180.5}),
    )
    .await
    .json();
    let hlt = series["series"][0]["endpointId"].as_u64().expect("a number");
    panel
        .subscribe(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [hlt]}))
        .await;
    assert_eq!(panel.queue.len(), 2, "the page keeps what its user does");
    assert_eq!(brewery.board.line_so_far(), None);

    panel.come_back().await;
    assert_ne!(panel.client_id, first_id);
    assert!(panel.queue.is_empty());
    // What it followed it follows again, and it is told how that ended; what it wanted to say has been said.
    let done = panel.until_stage(&on, "succeeded").await;
    assert_eq!(done["actualValue"], true);
    let off = brewery.board_hears("off");
    brewery.board_says(&format!("done {off} false"));
    panel.until_stage(&off, "succeeded").await;
    assert_eq!(panel.stages(&off), ["queued", "sent", "succeeded"]);
    panel
        .until("the series that it asked for while it was away", |panel| {
            panel.temperature.get(&hlt) == Some(&180.5)
        })
        .await;
    brewery.raise("HLT temperature exceeded 212 F");
    panel.until("the alarm", |panel| panel.alarms.len() == 1).await;

    // Another break just then: the page does not know whether it was heard, says it again, and it is the same command.
    wire.cut();
    while panel.on_message().await {}
    panel
        .send(json!({"type": "command", "id": "again", "device": "pump", "name": "off", "idempotencyKey": "press-7"}))
        .await;
    panel.come_back().await;
    panel
        .until("the answer", |panel| {
            panel.answers.iter().any(|answer| answer["id"] == "again")
        })
        .await;
    let again = panel.answers.iter().find(|answer| answer["id"] == "again");
    assert_eq!(again.expect("an answer")["commandId"], off.as_str());
    let next = press(&daemon, "on").await;
    assert_eq!(brewery.board_hears("on"), next, "nothing reached the board twice");
    assert!(daemon.stop().success());
}
