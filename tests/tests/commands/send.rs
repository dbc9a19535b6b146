//! `autobench send`: what it prints, and what its exit code says.

use super::*;

#[tokio::test]
async fn autobench_send_prints_stages_and_its_exit_code_says_how_it_ended() {
    let mut relay = Relay::new();
    let daemon = relay.start().await;
    let (binary, url) = (relay.bench.artifacts.binary.clone(), daemon.url());
    let begin = move |arguments: &[&str]| {
        let (binary, url): (PathBuf, String) = (binary.clone(), url.clone());
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let output = std::process::Command::new(binary)
                .args(["--json", "send", "--url", &url])
                .args(arguments)
                .output()
                .expect("autobench runs");
            let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), lines, errors)
        })
    };
    let pulse = begin(&[
        "relay",
        "pulse",
        "--arg",
        "ms=50",
        "--arg",
        "loud=true",
        "--arg",
        "label=7",
        "--wait",
    ]);
    let id = relay.hear("loud-on");
    assert_eq!(relay.hear("off"), id);
    let (code, lines, errors) = pulse.await.unwrap();
    assert_eq!(code, Some(0), "{errors}");
    let stages: Vec<&str> = lines
        .iter()
        .map(|line| line["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        (stages.first(), stages.last()),
        (Some(&"queued"), Some(&"succeeded")),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .all(|line| line["event"] == "command" && line["commandId"] == id.as_str())
    );
    assert_eq!(
        lines.last().unwrap()["progress"]["message"],
        "closed for 50 ms (7)"
    );

    let failing = begin(&["relay", "on", "--wait"]);
    let id = relay.hear("on");
    relay.say(&format!("error {id} welded"));
    assert_eq!(failing.await.unwrap().0, Some(1));
    let blocked = begin(&["relay", "on", "--wait"]);
    let id = relay.hear("on");
    relay.say(&format!("blocked {id} lid"));
    assert_eq!(blocked.await.unwrap().0, Some(4));
    let (code, lines, _) = begin(&["relay", "on", "--wait", "--timeout", "0.1"])
        .await
        .unwrap();
    assert_eq!(
        (code, lines.last().unwrap()["status"].as_str()),
        (Some(5), Some("expired"))
    );
    let (code, lines, errors) = begin(&["relay", "explode"]).await.unwrap();
    assert_eq!(
        (code, lines[0]["code"].as_str()),
        (Some(3), Some("unknown-command")),
        "{errors}"
    );
    let (code, _, errors) = begin(&["relay", "pulse", "--arg", "ms=long"]).await.unwrap();
    assert_eq!(code, Some(2));
    assert!(errors.contains("ms is integer"), "{errors}");
    let (code, lines, _) = begin(&["relay", "on"]).await.unwrap();
    assert_eq!(
        (code, lines.len()),
        (Some(0), 1),
        "without --wait it is enough that it is taken"
    );
    assert!(daemon.stop().success());
}
