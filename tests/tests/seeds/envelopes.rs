//! Stores that follow envelopes of events: the kind of a context says which store it belongs to, a context within a context updates that one's
//! store too, and the newest by arrival wins. The client sends nothing at all.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::common::{Narrated, Socket};

/// One store per entity.
#[derive(Debug, Default, PartialEq)]
struct Stores {
    composer: Option<Value>,
    reader: Option<Value>,
    drivers: BTreeMap<String, Value>,
    workers: BTreeMap<String, Value>,
    documents: BTreeMap<String, Value>,
    components: BTreeMap<String, Value>,
    instances: BTreeMap<String, Value>,
}

impl Stores {
    fn dispatch_event(&mut self, message: &Value) {
        assert!(message["timestamp"].is_number(), "{message}");
        let event = &message["event"];
        for field in ["_id", "process_id", "message", "level"] {
            assert!(event[field].is_string(), "{field}: {event}");
        }
        assert!(event["sender"].is_string() || event["sender"].is_null());
        self.dispatch_context(&event["context"]);
    }

    fn dispatch_context(&mut self, context: &Value) {
        let key = |name: &str| context[name].as_str().expect(name).to_owned();
        match context["kind"].as_str().expect("a kind") {
            "ComposerContext" => self.composer = Some(context.clone()),
            "ReaderContext" => self.reader = Some(context.clone()),
            "DriverContext" => drop(self.drivers.insert(key("driver"), context.clone())),
            "WorkerContext" => {
                self.workers.insert(key("thread"), context.clone());
                self.dispatch_context(&context["composer"]);
            }
            "DocumentContext" => drop(self.documents.insert(key("path"), context.clone())),
            "ComponentContext" => drop(self.components.insert(key("component"), context.clone())),
            "InstantiatedComponentContext" => {
                self.instances.insert(key("instance_id"), context.clone());
                self.dispatch_context(&context["component"]);
            }
            "DocumentProcessContext" => {
                self.dispatch_context(&context["document"]);
                self.dispatch_context(&context["composer"]);
            }
            "DocumentComponentProcessContext" => {
                self.dispatch_context(&context["document"]);
                self.dispatch_context(&context["instantiated_component"]);
            }
            // Events of the daemon and of other drivers.
            _ => {}
        }
    }
}

fn common(kind: &str, id: u32, mut more: Value) -> Value {
    let fields = more.as_object_mut().expect("fields");
    fields.insert("kind".to_owned(), kind.into());
    fields.insert("event_id".to_owned(), format!("e{id}").into());
    fields.insert("status".to_owned(), "ACTIVE".into());
    fields.insert("thread".to_owned(), format!("worker-{}", id % 2).into());
    fields.insert("payload".to_owned(), json!({"content": "", "type": "NONE"}));
    more
}

fn composer(id: u32) -> Value {
    common(
        "ComposerContext",
        id,
        json!({"runKey": "run", "pipeline_status": {"a": "ok"}, "progress": id, "total": 9}),
    )
}

fn document(id: u32, path: &str) -> Value {
    common(
        "DocumentContext",
        id,
        json!({"path": path, "name": path, "size": 12, "progress": id, "error": null, "is_finished": id > 5, "duration_decode": 1,
            "duration_deserialize": 2, "duration_wait": 0, "started_at": 1, "finished_at": 0}),
    )
}

fn component(id: u32) -> Value {
    common(
        "ComponentContext",
        id,
        json!({"component": "c1", "name": "tagger", "driver": "docker", "instance_ids": ["i1"]}),
    )
}

/// One of each kind.
fn contexts() -> Vec<Value> {
    let process = |id| {
        common(
            "DocumentProcessContext",
            id,
            json!({"document": document(id, "/a.txt"), "composer": composer(id)}),
        )
    };
    let instance = |id| {
        common(
            "InstantiatedComponentContext",
            id,
            json!({"component": component(id), "instance_id": "i1", "endpoint": "http://localhost:9000"}),
        )
    };
    vec![
        composer(1),
        common("DriverContext", 2, json!({"driver": "docker"})),
        common(
            "WorkerContext",
            3,
            json!({"composer": composer(3), "name": "w", "activeWorkers": 2}),
        ),
        document(4, "/a.txt"),
        document(4, "/b.txt"),
        process(5),
        component(6),
        instance(7),
        common(
            "DocumentComponentProcessContext",
            8,
            json!({"document": process(8), "instantiated_component": instance(8)}),
        ),
        common(
            "ReaderContext",
            9,
            json!({"total": 9, "skipped": 0, "read": 2, "remaining": 7, "used_bytes": 10, "total_bytes": 90}),
        ),
    ]
}

#[tokio::test]
async fn envelopes_reach_the_store_of_each_entity_in_the_order_in_which_they_came() {
    let mut narrated = Narrated::new("gateway");
    let daemon = narrated.start("gateway").await;
    // The gateway's address is all that is configured; nothing is sent.
    let mut ws = Socket::open(&format!("ws://{}/ws?subscribe=events", daemon.address()))
        .await
        .expect("the socket opens");
    // The handshake is answered before the client is one; what happens from its welcome on reaches it.
    while ws.next().await["type"] != "welcome" {}
    let mut expected = Stores::default();
    for context in contexts() {
        expected.dispatch_context(&context);
        let kind = context["kind"].clone();
        narrated.say(&json!({"event": {"kind": kind, "message": "an event", "context": context}}));
    }
    let mut stores = Stores::default();
    let mut ids = Vec::new();
    while stores.reader.is_none() {
        let message = ws.next().await;
        if message["type"] == "event" && message["event"]["sender"] == "gateway" {
            ids.push(message["event"]["_id"].as_str().expect("an id").to_owned());
            stores.dispatch_event(&message);
        }
    }
    assert_eq!(stores, expected);
    // Contexts within contexts have updated their own stores, and the newest has won.
    assert_eq!(stores.documents["/a.txt"]["event_id"], "e8");
    assert_eq!(stores.documents["/b.txt"]["event_id"], "e4");
    assert_eq!(stores.composer.as_ref().expect("a composer")["progress"], 8);
    assert_eq!(stores.components["c1"]["event_id"], "e8");
    assert_eq!(stores.instances["i1"]["event_id"], "e8");
    assert_eq!(stores.workers["worker-1"]["event_id"], "e3");
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "each envelope has a name of its own");
    assert!(daemon.stop().success());
}
