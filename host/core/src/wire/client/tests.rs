use super::*;
use crate::driver::LogLevel;
use crate::wire::OneOrMany;

fn parse(text: &str) -> ClientMessage {
    ClientFrame::parse(text.as_bytes()).unwrap().message
}

fn refusal(text: &str) -> ClientError {
    ClientFrame::parse(text.as_bytes()).unwrap_err()
}

#[test]
fn every_message_of_a_client_is_read() {
    assert_eq!(
        parse(r#"{"type":"hello","name":"wall","page":"/"}"#),
        ClientMessage::Hello {
            name: Some("wall".into()),
            page: Some("/".into())
        }
    );
    assert_eq!(
        parse(r#"{"type":"hello"}"#),
        ClientMessage::Hello {
            name: None,
            page: None
        }
    );
    assert_eq!(
        parse(r#"{"type":"auth","token":"abc"}"#),
        ClientMessage::Auth {
            token: Secret::new("abc")
        }
    );
    assert_eq!(parse(r#"{"type":"ping"}"#), ClientMessage::Ping);
    assert_eq!(parse(r#"{"type":"state.resync"}"#), ClientMessage::StateResync);
    assert_eq!(
        parse(r#"{"type":"logs.replay","sinceSeq":12}"#),
        ClientMessage::LogsReplay { since_seq: 12 }
    );
    assert_eq!(
        parse(r#"{"type":"subscribe","channel":"telemetry","endpointIds":[1,2]}"#),
        ClientMessage::Subscribe(Subscription::Topic(Topic::Telemetry {
            endpoint_ids: Some(vec![1, 2])
        }))
    );
    assert_eq!(
        parse(r#"{"type":"unsubscribe","channel":"telemetry"}"#),
        ClientMessage::Unsubscribe(Topic::Telemetry { endpoint_ids: None })
    );
    for (name, topic) in [
        ("state", Topic::State),
        ("logs", Topic::Logs),
        ("alarms", Topic::Alarms),
        ("events", Topic::Events),
    ] {
        assert_eq!(
            parse(&format!(r#"{{"type":"subscribe","channel":"{name}"}}"#)),
            ClientMessage::Subscribe(Subscription::Topic(topic.clone()))
        );
        assert_eq!(
            parse(&format!(r#"{{"type":"unsubscribe","channel":"{name}"}}"#)),
            ClientMessage::Unsubscribe(topic)
        );
    }
    assert_eq!(
        parse(r#"{"type":"subscribe","payload":{"includeSnapshot":false,"logsHistory":100}}"#),
        ClientMessage::Subscribe(Subscription::Snapshot {
            payload: SnapshotRequest {
                include_snapshot: false,
                logs_history: Some(100)
            }
        })
    );
    assert_eq!(
        parse(r#"{"type":"subscribe"}"#),
        ClientMessage::Subscribe(Subscription::Snapshot {
            payload: SnapshotRequest {
                include_snapshot: true,
                logs_history: None
            }
        })
    );
}

#[test]
fn what_is_written_is_read_back_as_it_was() {
    for message in [
        ClientMessage::Ping,
        ClientMessage::LogsReplay { since_seq: 7 },
        ClientMessage::Subscribe(Subscription::Topic(Topic::Telemetry {
            endpoint_ids: Some(vec![3]),
        })),
        ClientMessage::Subscribe(Subscription::Topic(Topic::Logs)),
        ClientMessage::Subscribe(Subscription::Snapshot {
            payload: SnapshotRequest {
                include_snapshot: true,
                logs_history: Some(5),
            },
        }),
        ClientMessage::Unsubscribe(Topic::Events),
        ClientMessage::Subscribe(Subscription::Topic(Topic::Commands { command_ids: None })),
        ClientMessage::Unsubscribe(Topic::Commands {
            command_ids: Some(vec!["a-1".into()]),
        }),
        ClientMessage::Command(CommandRequest {
            device: "relay".into(),
            name: "on".into(),
            args: None,
            idempotency_key: Some("k".into()),
            deadline_ms: Some(5),
        }),
        ClientMessage::CommandCancel {
            command_id: "a-1".into(),
        },
        ClientMessage::LeaseRenew {
            command_id: "a-1".into(),
        },
        ClientMessage::LeaseEnd {
            command_id: "a-1".into(),
        },
    ] {
        let frame = ClientFrame {
            id: Some(MessageId::Number(4)),
            message,
        };
        let text = serde_json::to_vec(&frame).unwrap();
        assert_eq!(ClientFrame::parse(&text).unwrap(), frame);
    }
}

#[test]
fn a_token_is_not_shown() {
    let frame = ClientFrame::parse(br#"{"type":"auth","token":"hunter2"}"#).unwrap();
    assert!(!format!("{frame:?}").contains("hunter2"), "{frame:?}");
    let error = refusal(r#"{"type":"auth","token":["hunter2"]}"#);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[test]
fn the_messages_of_dashboards_are_read_as_they_write_them() {
    assert_eq!(
        parse(r#"{"type":"identify_client","clientInfo":{"name":"ProgramDashboard","page":"dashboard"}}"#),
        ClientMessage::IdentifyClient {
            client_info: ClientInfo {
                name: Some("ProgramDashboard".into()),
                page: Some("dashboard".into())
            }
        }
    );
    assert_eq!(
        parse(r#"{"type":"identify_client"}"#),
        ClientMessage::IdentifyClient {
            client_info: ClientInfo::default()
        }
    );
    assert_eq!(
        parse(r#"{"type":"request_initial_state"}"#),
        ClientMessage::RequestInitialState
    );
    assert_eq!(
        parse(
            r#"{"type":"subscribe_logs","filters":{"level":["info","error"],"tag":"FlowExecutor","module":"sensor"}}"#
        ),
        ClientMessage::SubscribeLogs {
            filters: LogFilter {
                level: Some(OneOrMany(vec![LogLevel::Info, LogLevel::Error])),
                tag: Some(OneOrMany(vec!["FlowExecutor".into()])),
                module: Some(OneOrMany(vec!["sensor".into()])),
                ..LogFilter::default()
            }
        }
    );
    for open in [
        r#"{"type":"subscribe_logs"}"#,
        r#"{"type":"subscribe_logs","filters":{"level":null}}"#,
    ] {
        assert_eq!(
            parse(open),
            ClientMessage::SubscribeLogs {
                filters: LogFilter::default()
            }
        );
    }
    assert_eq!(
        parse(r#"{"type":"unsubscribe_logs"}"#),
        ClientMessage::UnsubscribeLogs
    );
    let ClientMessage::HardwareHealthUpdate(health) =
        parse(r#"{"type":"hardware_health_update","id":3,"data":{"cpu":0.4},"ok":true}"#)
    else {
        panic!("no health")
    };
    assert_eq!(
        Value::from(health.0),
        serde_json::json!({"data": {"cpu": 0.4}, "ok": true})
    );
}

#[test]
fn what_is_kept_of_a_client_is_bounded_and_does_no_harm() {
    let large = format!(
        r#"{{"type":"hardware_health_update","data":"{}"}}"#,
        "x".repeat(HEALTH_BYTES)
    );
    assert_eq!(refusal(&large).code, ErrorCode::TooLarge);
    let poison = refusal(r#"{"type":"hardware_health_update","data":[{"__proto__":{}}]}"#);
    assert_eq!(poison.code, ErrorCode::BadMessage);
    assert!(poison.message.contains("__proto__"));
    let many = serde_json::json!({"type": "subscribe_logs", "filters": {"tag": vec!["x"; 33]}});
    assert!(refusal(&many.to_string()).message.contains("filters.tag"));
}

#[test]
fn unknown_fields_do_not_matter() {
    assert_eq!(
        parse(r#"{"type":"ping","at":1,"payload":{"x":[]}}"#),
        ClientMessage::Ping
    );
}

#[test]
fn a_refusal_names_what_is_wrong_and_echoes_the_id() {
    for (text, code, word) in [
        ("{", ErrorCode::BadJson, "JSON"),
        ("[1]", ErrorCode::BadMessage, "object"),
        (r#"{"id":"a"}"#, ErrorCode::BadMessage, "type"),
        (r#"{"id":"a","type":7}"#, ErrorCode::BadMessage, "type"),
        (r#"{"id":"a","type":"reboot"}"#, ErrorCode::UnknownType, "reboot"),
        (
            r#"{"id":"a","type":"hello","name":1}"#,
            ErrorCode::BadMessage,
            "name",
        ),
        (
            r#"{"id":"a","type":"logs.replay"}"#,
            ErrorCode::BadMessage,
            "sinceSeq",
        ),
        (
            r#"{"id":"a","type":"logs.replay","sinceSeq":-1}"#,
            ErrorCode::BadMessage,
            "sinceSeq",
        ),
        (
            r#"{"id":"a","type":"subscribe","channel":"weather"}"#,
            ErrorCode::UnknownChannel,
            "weather",
        ),
        (
            r#"{"id":"a","type":"subscribe","channel":3}"#,
            ErrorCode::BadMessage,
            "channel",
        ),
        (
            r#"{"id":"a","type":"subscribe","channel":"telemetry"}"#,
            ErrorCode::BadMessage,
            "endpointIds",
        ),
        (
            r#"{"id":"a","type":"subscribe","channel":"telemetry","endpointIds":["1"]}"#,
            ErrorCode::BadMessage,
            "endpointIds",
        ),
        (
            r#"{"id":"a","type":"subscribe","payload":3}"#,
            ErrorCode::BadMessage,
            "payload",
        ),
        (
            r#"{"id":"a","type":"subscribe","payload":{"logsHistory":"x"}}"#,
            ErrorCode::BadMessage,
            "logsHistory",
        ),
        (
            r#"{"id":"a","type":"subscribe_logs","filters":[]}"#,
            ErrorCode::BadMessage,
            "filters",
        ),
        (
            r#"{"id":"a","type":"subscribe_logs","filters":{"level":["loud"]}}"#,
            ErrorCode::BadMessage,
            "filters.level",
        ),
        (
            r#"{"id":"a","type":"subscribe_logs","filters":{"module":7}}"#,
            ErrorCode::BadMessage,
            "filters.module",
        ),
        (
            r#"{"id":"a","type":"identify_client","clientInfo":"me"}"#,
            ErrorCode::BadMessage,
            "clientInfo",
        ),
        (
            r#"{"id":"a","type":"identify_client","clientInfo":{"page":1}}"#,
            ErrorCode::BadMessage,
            "page",
        ),
        (
            r#"{"id":"a","type":"unsubscribe"}"#,
            ErrorCode::BadMessage,
            "channel",
        ),
        (
            r#"{"id":"a","type":"subscribe","channel":"commands","commandIds":[1]}"#,
            ErrorCode::BadMessage,
            "commandIds",
        ),
        (
            r#"{"id":"a","type":"command","device":"relay"}"#,
            ErrorCode::BadMessage,
            "name",
        ),
        (
            r#"{"id":"a","type":"command.cancel"}"#,
            ErrorCode::BadMessage,
            "commandId",
        ),
        (
            r#"{"id":"a","type":"lease.renew","commandId":1}"#,
            ErrorCode::BadMessage,
            "commandId",
        ),
    ] {
        let refused = refusal(text);
        assert_eq!(refused.code, code, "{text}");
        assert!(refused.message.contains(word), "{text}: {}", refused.message);
        assert_eq!(
            refused.id,
            text.contains("\"id\"").then(|| MessageId::Text("a".into())),
            "{text}"
        );
    }
    assert_eq!(refusal(r#"{"id":17,"type":"x"}"#).id, Some(MessageId::Number(17)));
}

#[test]
fn a_long_unknown_type_is_not_said_back_in_full() {
    let refused = refusal(&format!(r#"{{"type":"{}"}}"#, "é".repeat(10_000)));
    assert!(refused.message.len() < 400, "{}", refused.message.len());
}

#[test]
fn an_id_that_is_repeated_is_short() {
    let message = |id: &str| format!(r#"{{"type":"ping","id":"{id}"}}"#);
    assert!(ClientFrame::parse(message(&"a".repeat(128)).as_bytes()).is_ok());
    let refused = ClientFrame::parse(message(&"a".repeat(129)).as_bytes()).unwrap_err();
    assert_eq!((refused.code, refused.id), (ErrorCode::BadMessage, None));
    assert!(refused.message.contains("129 bytes"), "{}", refused.message);
    for (kind, field, ids) in [
        ("subscribe", "commandIds", format!("[\"{}\"]", "a".repeat(129))),
        ("command.cancel", "commandId", format!("\"{}\"", "a".repeat(129))),
    ] {
        let text = format!(r#"{{"type":"{kind}","channel":"commands","{field}":{ids}}}"#);
        let refused = ClientFrame::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::BadMessage);
        assert!(refused.message.contains(field) && refused.message.len() < 200);
    }
}
