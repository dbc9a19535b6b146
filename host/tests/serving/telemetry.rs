//! Series: their history, each sample once, and which of them a client hears.

use serde_json::{Value, json};

use crate::bench::{Bench, Settings};

/// The values in telemetry messages, in order.
fn values(message: &Value) -> Vec<u64> {
    let samples = message["samples"].as_array().unwrap();
    samples
        .iter()
        .map(|sample| sample[1].as_f64().unwrap() as u64)
        .collect()
}

#[tokio::test]
async fn a_subscription_to_telemetry_gets_the_history_and_then_every_sample_once() {
    let bench = Bench::start().await;
    bench.add_series(1);
    bench.add_series(2);
    const LAST: u64 = 20_000;
    let hub = bench.hub.clone();
    let writer = std::thread::spawn(move || {
        for n in 1..=LAST {
            for id in [1, 2] {
                let sample = autobench_core::driver::Sample {
                    timestamp_ms: 1e12 + n as f64,
                    value: n as f64,
                };
                hub.push_samples(id, &[sample]);
            }
        }
    });
    for _ in 0..4 {
        let (mut client, _) = bench.join().await;
        client
            .say(json!({"type": "subscribe", "channel": "telemetry", "endpointIds": [1, 2]}))
            .await;
        client.wait_for("ack").await;
        let mut got = [Vec::new(), Vec::new()];
        while got.iter().any(|values| values.last() != Some(&LAST)) {
            let message = client.wait_for("telemetry").await;
            let index = message["endpointId"].as_u64().unwrap() as usize - 1;
            assert_eq!(message["endpoint"], format!("meter.series{}", index + 1));
            assert_eq!(message["value"], *values(&message).last().unwrap());
            got[index].extend(values(&message));
        }
        for values in got {
            assert!(
                values.windows(2).all(|pair| pair[0] + 1 == pair[1]),
                "no gap and nothing twice"
            );
            assert_eq!(values[0], 1, "the history reaches back to the start");
        }
    }
    writer.join().unwrap();
    bench.close().await;
}

#[tokio::test]
async fn the_series_that_there_are_come_and_the_answer_names_the_others() {
    let bench = Bench::start().await;
    (1..=2).for_each(|id| bench.add_series(id));
    let (mut client, _) = bench.join().await;
    let subscribe =
        |ids: Value| json!({"type": "subscribe", "channel": "telemetry", "endpointIds": ids, "id": "s"});
    client.say(subscribe(json!([2, 99, 1, 77, 99, 2]))).await;
    let error = client.wait_for("error").await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("unknown-endpoint"), &json!("s"))
    );
    assert!(error["message"].as_str().unwrap().contains(" 77, 99;"), "{error}");
    (1..=2).for_each(|id| bench.push_samples(id, 1..=1));
    let mut heard = [0, 0];
    for id in &mut heard {
        *id = client.wait_for("telemetry").await["endpointId"].as_u64().unwrap();
    }
    heard.sort_unstable();
    assert_eq!(heard, [1, 2]);
    // Once more of what it has already, and one that there is not.
    client.say(subscribe(json!([1, 5]))).await;
    assert_eq!(client.wait_for("error").await["code"], "unknown-endpoint");
    client.say(subscribe(json!([1, 2, 2]))).await;
    client.wait_for("ack").await;
    client.say(subscribe(json!([5, 6]))).await;
    assert_eq!(client.wait_for("error").await["code"], "unknown-endpoint");
    let many: Vec<u32> = (0..=1024).collect();
    client.say(subscribe(json!(many))).await;
    assert_eq!(client.wait_for("error").await["code"], "bad-message");
    let unsubscribe =
        |ids: Value| json!({"type": "unsubscribe", "channel": "telemetry", "endpointIds": ids, "id": "u"});
    client.say(unsubscribe(json!(many))).await;
    let error = client.wait_for("error").await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("bad-message"), &json!("u"))
    );
    // It has both series still, and none when it names them as often as it may.
    (1..=2).for_each(|id| bench.push_samples(id, 2..=2));
    for _ in 0..2 {
        client.wait_for("telemetry").await;
    }
    let repeated: Vec<u32> = (0..1024).map(|n| n % 3).collect();
    client.say(unsubscribe(json!(repeated))).await;
    assert_eq!(client.wait_for("ack").await["id"], "u");
    let page = bench.get("/api/v1/clients").await.json();
    assert_eq!(page[0]["subscriptions"], json!(["state", "logs"]));
    bench.close().await;
}

#[tokio::test]
async fn a_series_that_is_no_longer_wanted_is_silent_and_the_limit_counts_lists_as_one() {
    let mut settings = Settings::default();
    settings.hub.limits.subscriptions = 2;
    let bench = Bench::with(settings).await;
    (1..=5).for_each(|id| bench.add_series(id));
    let (mut client, _) = bench.join().await;
    let subscribe = |ids: Value| json!({"type": "subscribe", "channel": "telemetry", "endpointIds": ids});
    client.say(subscribe(json!([1, 2, 3]))).await;
    client.wait_for("ack").await;
    client.say(subscribe(json!([4]))).await;
    client.wait_for("ack").await;
    client.say(subscribe(json!([1, 2]))).await;
    client.wait_for("ack").await;
    client.say(subscribe(json!([5]))).await;
    assert_eq!(client.wait_for("error").await["code"], "too-many-subscriptions");
    client
        .say(json!({"type": "subscribe", "channel": "events"}))
        .await;
    assert_eq!(client.wait_for("error").await["code"], "too-many-subscriptions");
    client
        .say(json!({"type": "unsubscribe", "channel": "telemetry", "endpointIds": [4]}))
        .await;
    client.wait_for("ack").await;
    client.say(subscribe(json!([5]))).await;
    client.wait_for("ack").await;
    (1..=5).for_each(|id| bench.push_samples(id, 1..=1));
    let mut heard = Vec::new();
    while heard.len() < 4 {
        heard.push(client.wait_for("telemetry").await["endpointId"].as_u64().unwrap());
    }
    heard.sort_unstable();
    assert_eq!(heard, [1, 2, 3, 5]);
    client
        .say(json!({"type": "unsubscribe", "channel": "telemetry"}))
        .await;
    client.wait_for("ack").await;
    (1..=5).for_each(|id| bench.push_samples(id, 2..=2));
    client.say(json!({"type": "hello"})).await;
    loop {
        let message = client.next().await;
        assert_ne!(message["type"], "telemetry");
        if message["type"] == "ack" {
            break;
        }
    }
    bench.close().await;
}
