//! How much a panel may ask for, and how long it may be silent.

use std::time::Instant;

use super::*;

#[tokio::test]
async fn the_limits_of_a_client_are_told_and_kept() {
    let Brewery { bench, devices, .. } = &Brewery::new();
    bench.configure_with(
        "[daemon.limits]\nclients = 2\nsubscriptions = 2\nmessages-per-second = 10\n",
        devices,
    );
    let daemon = bench.start();
    let (watts, volts, amps) = (
        endpoint(&daemon, "watts").await,
        endpoint(&daemon, "volts").await,
        endpoint(&daemon, "amps").await,
    );
    let url = socket_of(daemon.address());
    let mut panel = Panel::open(&url).await;
    for id in [watts, volts, amps] {
        panel
            .send(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [id]}))
            .await;
    }
    panel
        .until("three answers", |panel| panel.answers.len() == 3)
        .await;
    let codes: Vec<_> = panel
        .answers
        .drain(..)
        .map(|answer| answer["code"].clone())
        .collect();
    assert_eq!(codes, [Value::Null, Value::Null, json!("too-many-subscriptions")]);
    // More than ten in a second, and more than may come at once.
    let begin = Instant::now();
    for number in 0..40 {
        panel.send(json!({"type": "ping", "id": number})).await;
    }
    panel
        .until("forty answers", |panel| panel.answers.len() == 40)
        .await;
    let refused = panel
        .answers
        .iter()
        .filter(|answer| answer["code"] == "rate-limited")
        .count();
    // Twenty at once, and ten for each second that all of it took.
    let most = 21 + begin.elapsed().as_millis() / 100;
    let taken = 40 - refused as u128;
    assert!(
        (1..=most).contains(&taken),
        "{taken} of 40, and {most} were in order"
    );
    let _second = Panel::open(&url).await;
    assert!(
        Socket::open(&url).await.is_none(),
        "a third client finds no place"
    );
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn what_nobody_has_configured_is_a_hundred_clients_fifty_subscriptions_and_ten_messages_a_second() {
    let daemon = Brewery::new().start().await;
    let url = socket_of(daemon.address());
    let mut panels = vec![Socket::open(&url).await.expect("the socket opens")];
    let limits = panels[0].next().await["limits"].clone();
    for (name, value) in [
        ("clients", 100),
        ("subscriptions", 50),
        ("messagesPerS", 10),
        ("heartbeatIntervalMs", 30_000),
        ("heartbeatTimeoutMs", 60_000),
    ] {
        assert_eq!(limits[name], value, "{name}: {limits}");
    }
    // A hundred find a place, and the next one does when one has gone.
    while panels.len() < 100 {
        panels.push(Socket::open(&url).await.expect("a place"));
    }
    assert!(Socket::open(&url).await.is_none(), "a hundred and one");
    drop(panels.pop());
    let panel = eventually("the place of the one that went", async || {
        Socket::open(&url).await
    })
    .await;
    drop((panels, panel));
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_panel_that_answers_no_ping_is_let_go_and_one_that_does_stays() {
    let Brewery { bench, devices, .. } = &Brewery::new();
    bench.configure_with(
        "[daemon.limits]\nheartbeat-interval-s = 1\nheartbeat-timeout-s = 2\n",
        devices,
    );
    let daemon = bench.start();
    let url = socket_of(daemon.address());
    // Whoever does not read answers no ping either.
    let mut silent = Panel::open(&url).await;
    let mut awake = Panel::open(&url).await;
    let (gone, stays) = (silent.client_id.clone(), awake.client_id.clone());
    let connected = async || -> Vec<String> {
        let clients = e2e::get(daemon.address(), "/api/v1/clients").await.json();
        let ids = clients.as_array().expect("clients").iter();
        ids.map(|client| client["clientId"].as_str().expect("an id").to_owned())
            .collect()
    };
    let reading = async {
        loop {
            assert!(awake.on_message().await, "the one that answers was let go");
        }
    };
    let waiting = eventually("the silent one is let go", async || {
        let connected = connected().await;
        assert!(connected.contains(&stays), "{connected:?}");
        (!connected.contains(&gone)).then_some(())
    });
    tokio::select! {
        () = reading => {}
        () = waiting => {}
    }
    // It notices when it looks again, and comes back.
    while silent.on_message().await {}
    assert!(silent.connect().await);
    assert!(daemon.stop().success());
}
