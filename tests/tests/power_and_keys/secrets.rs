//! A text that is marked as secret is typed, and stands nowhere: not in the log, not in the state, not in the audit, not in the port's capture.

use std::time::Instant;

use e2e::PATIENCE;

use super::*;

/// What is typed, and what the adapter is sent and says for it. None of it is said for anything else.
const SECRET: &str = "qzjx";
const CODES: [&str; 4] = ["15", "1a", "3b", "22"];

#[tokio::test]
async fn a_secret_text_is_typed_and_stands_nowhere() {
    let desk = Desk::with_keyboard(4.0, "capture = \"keyboard.jsonl\"\n");
    let (daemon, mut client) = desk.start().await;
    succeeds(&mut client, "panel", "on", json!({})).await;
    client.until_member("/ps2Keyboard/powerSense", &json!("on")).await;
    eventually("the prompt", async || desk.screen().contains('>').then_some(())).await;

    let secret = json!({"text": SECRET, "secret": true});
    succeeds(&mut client, "keyboard", "type", secret).await;
    eventually("it is typed", async || {
        desk.screen().contains(SECRET).then_some(())
    })
    .await;
    // What is typed afterwards is in the capture again.
    let capture = || std::fs::read_to_string(desk.bench.folder().join("keyboard.jsonl")).unwrap_or_default();
    let begin = Instant::now();
    while !capture().contains("press 0:21") {
        assert!(begin.elapsed() < PATIENCE, "{}", capture());
        succeeds(&mut client, "keyboard", "type", json!({"text": "c"})).await;
    }
    assert!(daemon.stop().success());

    let captured = capture();
    assert!(
        captured.contains("withheld: a secret command was under way"),
        "{captured}"
    );
    for code in CODES {
        assert!(!captured.contains(&format!("press 0:{code}")), "{captured}");
        let said = format!("scan code {}\\r", code.to_uppercase());
        assert!(!captured.contains(&said), "{captured}");
    }
    let seen = [
        ("the state", client.mirror.document.to_string()),
        ("the log", json!(client.logs).to_string()),
        ("what the client was told", json!(client.stages).to_string()),
    ];
    for (place, text) in seen {
        assert!(!text.contains(SECRET), "{place}: {text}");
    }
    let data = desk.bench.folder().join("data");
    let kept = std::fs::read_dir(&data).unwrap().map(|file| file.unwrap().path());
    for file in kept.filter(|path| path.is_file()) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains(SECRET), "{}", file.display());
    }
}
