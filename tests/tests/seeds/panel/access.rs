//! Who may do what, endpoint by endpoint and message by message, and the ways in which a panel says who it is.

use super::*;

const VIEWER: &str = "ab-viewer-00112233445566778899aabbccddeeff";
const OPERATOR: &str = "ab-operator-00112233445566778899aabbccddeeff";
const TOKENS: &str = "\
[auth.tokens.wall]
role = \"viewer\"
sha256 = \"e28e7d11b45bfcf3d64249060df09a0db153f9ade0fa7fab0de881ebf3e4a7d9\"
[auth.tokens.desk]
role = \"operator\"
sha256 = \"dab59bcabf713d09e5821f4eea0cbc1674a9e02c6eeb20e0eb646b610ce197e9\"
";

/// A brewery that asks for tokens, with its pump ready.
async fn locked() -> (Brewery, Daemon) {
    let brewery = Brewery::new();
    brewery.bench.configure_with(TOKENS, &brewery.devices);
    let daemon = brewery.bench.start();
    eventually("the pump", async || {
        let answer = call(
            daemon.address(),
            "GET",
            "/api/v1/devices/pump",
            &bearer(Some(VIEWER)),
            None,
        )
        .await;
        (answer.json()["phase"] == "ready").then_some(())
    })
    .await;
    (brewery, daemon)
}

#[tokio::test]
async fn each_endpoint_asks_for_its_role() {
    let (mut brewery, daemon) = locked().await;
    let sample = json!({"endpoint": "hlt.temperature", "unit": "°F", "value": 1});
    let button = json!({"name": "on"});
    // What a panel uses, and what nobody, a viewer and an operator are answered.
    for (method, path, body, expected) in [
        ("GET", "/api/v1/state", None, [401, 200, 200]),
        ("GET", "/api/v1/devices", None, [401, 200, 200]),
        ("GET", "/api/v1/telemetry", None, [401, 200, 200]),
        ("POST", "/api/v1/telemetry", Some(&sample), [401, 403, 200]),
        ("GET", "/api/v1/commands", None, [401, 200, 200]),
        (
            "POST",
            "/api/v1/devices/pump/commands",
            Some(&button),
            [401, 403, 202],
        ),
        ("GET", "/api/v1/clients", None, [401, 403, 200]),
    ] {
        let mut statuses = Vec::new();
        for token in [None, Some(VIEWER), Some(OPERATOR)] {
            let answer = call(daemon.address(), method, path, &bearer(token), body).await;
            statuses.push(answer.status);
        }
        assert_eq!(statuses, expected, "{method} {path}");
    }
    let events = call(daemon.address(), "GET", "/api/v1/events", "", None).await;
    assert_eq!(events.status, 401, "nobody listens unknown");
    // The one that was allowed is the only one of which the board has heard.
    let on = brewery.board_hears("on");
    let commands = call(
        daemon.address(),
        "GET",
        "/api/v1/commands",
        &bearer(Some(VIEWER)),
        None,
    )
    .await;
    let commands = commands.json();
    let taken = commands["commands"].as_array().expect("commands");
    assert_eq!((taken.len(), &taken[0]["commandId"]), (1, &json!(on)));
    assert_eq!(taken[0]["actor"], "desk", "{commands}");
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_panel_says_who_it_is_in_its_first_message_and_may_do_what_its_role_may() {
    let (mut brewery, daemon) = locked().await;
    let url = socket_of(daemon.address());
    for (token, may_press) in [(VIEWER, false), (OPERATOR, true)] {
        // The socket asks for the token in the first message, and gives nothing before.
        let mut socket = Socket::open(&url).await.expect("the socket opens");
        let welcome = socket.next().await;
        assert_eq!(
            (&welcome["type"], &welcome["authRequired"]),
            (&json!("welcome"), &json!(true))
        );
        socket
            .send(&json!({"type": "subscribe", "channel": "alarms", "id": "early"}))
            .await;
        assert_eq!(socket.next().await["code"], "unauthorized");
        socket.send(&json!({"type": "auth", "token": token})).await;
        let mut types = Vec::new();
        while types.last().is_none_or(|kind| kind != "connected") {
            types.push(socket.next().await["type"].as_str().expect("a type").to_owned());
        }
        assert_eq!(types[..2], ["state.snapshot", "logs.history"]);

        // Everybody sees everything; only an operator presses.
        let answer_to = async |socket: &mut Socket, mut message: Value| {
            message["id"] = message["type"].clone();
            socket.send(&message).await;
            loop {
                let answer = socket.next().await;
                if answer["id"] == message["id"] {
                    return answer;
                }
            }
        };
        for channel in ["alarms", "commands", "events"] {
            let asked = json!({"type": "subscribe", "channel": channel});
            assert_eq!(answer_to(&mut socket, asked).await["type"], "ack", "{channel}");
        }
        let pressed = json!({"type": "command", "device": "pump", "name": "on"});
        let answer = answer_to(&mut socket, pressed).await;
        if may_press {
            assert_eq!(answer["commandId"], brewery.board_hears("on").as_str());
        } else {
            assert_eq!(answer["code"], "forbidden", "{answer}");
            assert_eq!(brewery.board.line_so_far(), None);
        }
    }
    // A wrong token ends it.
    let mut stranger = Socket::open(&url).await.expect("the socket opens");
    stranger.next().await;
    stranger
        .send(&json!({"type": "auth", "token": "ab-nobody-00112233445566778899aabbccddeeff"}))
        .await;
    while stranger.receive().await.is_some() {}
    assert!(daemon.stop().success());
}

#[tokio::test]
async fn a_page_of_the_same_origin_has_a_session_and_no_token_in_its_address() {
    let (_brewery, daemon) = locked().await;
    let address = daemon.address();
    let asked = json!({"token": OPERATOR});
    let answer = call(address, "POST", "/api/v1/session", "", Some(&asked)).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    let cookie = answer.header("set-cookie").expect("a session").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let session = cookie.split(';').next().expect("a name and a value");
    let more = [("Cookie", session)];
    let mut socket = Socket::open_with(&socket_of(address), &more)
        .await
        .expect("the socket opens");
    let welcome = socket.next().await;
    assert!(
        welcome.get("authRequired").is_none_or(|asked| asked == false),
        "{welcome}"
    );
    assert_eq!(socket.next().await["type"], "state.snapshot");
    // What stands in an address is written down in many places, so nobody is let in by it.
    let by_address = format!("{}?token={OPERATOR}", socket_of(address));
    assert!(Socket::open(&by_address).await.is_none());
    assert!(daemon.stop().success());
}
