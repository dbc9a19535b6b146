//! Blocks: the steps of a program that runs on the bench, from a driver's events to the messages that dashboards know.
//!
//! A driver says `block_started` and `block_executed` as it says any event; the context's fields become a [`Block`]. [`BlockTracker`] keeps
//! what a client has to be told that comes in the middle. A block is known by its device and its `blockId`.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use super::{Event, MessageId, ServerMessage, iso8601};

/// Blocks that run at once and are remembered; one more, and the oldest is forgotten.
pub const ACTIVE_BLOCKS: usize = 64;
/// Blocks that are over and are remembered; one more, and the oldest is forgotten.
pub const RECENT_BLOCKS: usize = 20;
/// Longest text of a block in bytes; what is longer is cut. These are names and lines on a screen.
const TEXT_BYTES: usize = 512;
/// Largest result of a block, and largest execution context, as JSON; what is larger is left out, and is in the event all the same.
const VALUE_BYTES: usize = 16 << 10;

/// One block. What its driver did not say is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct Block {
    /// Names the block on its device.
    pub block_id: String,
    /// What kind of step it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_type: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_name: Option<String>,
    /// What a person is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_text: Option<String>,
    /// When it began and ended.
    pub timing: BlockTiming,
    /// `running` while it runs; then how it ended: `completed`, or what its driver says, or `aborted` if its driver stopped.
    pub status: String,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(type = "unknown", optional)]
    pub result: Option<Value>,
    /// The device whose driver runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// When a block began and ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[ts(optional_fields)]
pub struct BlockTiming {
    /// ISO 8601. Absent if only the end was heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<String>,
    /// ISO 8601. Absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<String>,
}

/// A block has begun, or is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
pub struct BlockMessage {
    /// The block.
    pub data: Block,
}

/// The answer to `request_initial_state`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[ts(optional_fields)]
pub struct InitialExecutionState {
    /// When it was sent, ISO 8601.
    pub timestamp: String,
    /// What runs and what has run.
    pub data: ExecutionState,
    /// The id of the question, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
}

/// What runs and what has run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionState {
    /// Blocks that run, in the order in which they began.
    pub active: Vec<Block>,
    /// Blocks that are over, newest first.
    pub recent: Vec<Block>,
    /// What a driver last said in `executionContext`; empty before.
    #[ts(type = "{ [key: string]: unknown }")]
    pub execution_context: Map<String, Value>,
}

/// Follows blocks from event to event.
#[derive(Debug, Default)]
pub struct BlockTracker {
    active: VecDeque<Block>,
    recent: VecDeque<Block>,
    execution_context: Map<String, Value>,
}

impl BlockTracker {
    /// Takes an event. If it is about a block, gives the message for clients that follow blocks.
    pub fn take(&mut self, event: &Event) -> Option<ServerMessage> {
        let context = event.event.context.as_object()?;
        let device = event.event.sender.clone();
        // A negative time is before 1970 and becomes 0.
        let at = iso8601(event.timestamp as u64);
        let data = match text(context, "kind")?.as_str() {
            "block_started" => self.start(read(context, device)?, at),
            "block_executed" => self.end(read(context, device)?, at),
            _ => return None,
        };
        if let Some(Value::Object(new)) = context.get("executionContext")
            && is_small(new)
        {
            self.execution_context.clone_from(new);
        }
        Some(if data.timing.end_time.is_none() {
            ServerMessage::BlockStartedEnhanced(BlockMessage { data })
        } else {
            ServerMessage::BlockExecutedEnhanced(BlockMessage { data })
        })
    }

    /// A device's driver runs no more: its blocks are over.
    pub fn abort(&mut self, device: &str, at_ms: u64) -> Vec<ServerMessage> {
        let (over, active) = self
            .active
            .drain(..)
            .partition::<VecDeque<_>, _>(|block| block.device.as_deref() == Some(device));
        self.active = active;
        let ended = over.into_iter().map(|mut block| {
            block.status = "aborted".to_owned();
            block.timing.end_time = Some(iso8601(at_ms));
            self.remember(block.clone());
            ServerMessage::BlockExecutedEnhanced(BlockMessage { data: block })
        });
        ended.collect()
    }

    /// What runs and what has run.
    pub fn state(&self) -> ExecutionState {
        ExecutionState {
            active: self.active.iter().cloned().collect(),
            recent: self.recent.iter().cloned().collect(),
            execution_context: self.execution_context.clone(),
        }
    }

    fn start(&mut self, mut block: Block, at: String) -> Block {
        block.timing.start_time.get_or_insert(at);
        block.timing.end_time = None;
        if block.status.is_empty() {
            block.status.push_str("running");
        }
        // The same block begins anew: a loop.
        self.forget(&block);
        self.active.push_back(block.clone());
        while self.active.len() > ACTIVE_BLOCKS {
            self.active.pop_front();
        }
        block
    }

    fn end(&mut self, mut block: Block, at: String) -> Block {
        if let Some(begun) = self.forget(&block) {
            block.block_type = block.block_type.or(begun.block_type);
            block.block_name = block.block_name.or(begun.block_name);
            block.display_text = block.display_text.or(begun.display_text);
            block.timing.start_time = block.timing.start_time.or(begun.timing.start_time);
        }
        block.timing.end_time.get_or_insert(at);
        if block.status.is_empty() {
            block.status.push_str("completed");
        }
        self.remember(block.clone());
        block
    }

    fn forget(&mut self, block: &Block) -> Option<Block> {
        let is_it = |known: &Block| known.block_id == block.block_id && known.device == block.device;
        self.active.remove(self.active.iter().position(is_it)?)
    }

    fn remember(&mut self, block: Block) {
        self.recent.push_front(block);
        self.recent.truncate(RECENT_BLOCKS);
    }
}

fn read(context: &Map<String, Value>, device: Option<String>) -> Option<Block> {
    let timing = context.get("timing").and_then(Value::as_object);
    let time = |name| timing.and_then(|timing| text(timing, name));
    Some(Block {
        block_id: text(context, "blockId")?,
        block_type: text(context, "blockType"),
        block_name: text(context, "blockName"),
        display_text: text(context, "displayText"),
        timing: BlockTiming {
            start_time: time("startTime"),
            end_time: time("endTime"),
        },
        status: text(context, "status").unwrap_or_default(),
        result: context.get("result").filter(|result| is_small(*result)).cloned(),
        device,
    })
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    let text = fields.get(name)?.as_str()?;
    let end = text.floor_char_boundary(TEXT_BYTES);
    text.get(..end).map(str::to_owned)
}

fn is_small(value: &impl Serialize) -> bool {
    serde_json::to_vec(value).is_ok_and(|bytes| bytes.len() <= VALUE_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::driver::LogLevel;
    use crate::testing::config;
    use crate::wire::EventBody;

    fn event(device: &str, context: Value) -> Event {
        Event {
            timestamp: 1_758_223_260_007.0,
            event: EventBody {
                _id: "boot-1".to_owned(),
                process_id: "boot".to_owned(),
                sender: Some(device.to_owned()),
                message: String::new(),
                level: LogLevel::Info,
                context,
            },
        }
    }

    fn json_of(message: Option<ServerMessage>) -> Value {
        serde_json::to_value(message).unwrap()
    }

    #[test]
    fn a_block_begins_runs_and_is_over() {
        let mut tracker = BlockTracker::default();
        let begun = tracker.take(&event(
            "flow",
            json!({"kind": "block_started", "blockId": "b1", "blockType": "sensor", "blockName": "EC", "displayText": "Измерва EC...",
                "executionContext": {"program": "p"}}),
        ));
        assert_eq!(
            json_of(begun),
            json!({"type": "block_started_enhanced", "data": {"blockId": "b1", "blockType": "sensor", "blockName": "EC",
                "displayText": "Измерва EC...", "timing": {"startTime": "2025-09-18T19:21:00.007Z"}, "status": "running", "device": "flow"}})
        );
        assert_eq!(tracker.state().active.len(), 1);
        let over = tracker.take(&event(
            "flow",
            json!({"kind": "block_executed", "blockId": "b1", "timing": {"endTime": "2025-09-18T19:21:02.000Z"}, "result": {"ec": 1.4}}),
        ));
        assert_eq!(
            json_of(over),
            json!({"type": "block_executed_enhanced", "data": {"blockId": "b1", "blockType": "sensor", "blockName": "EC",
                "displayText": "Измерва EC...",
                "timing": {"startTime": "2025-09-18T19:21:00.007Z", "endTime": "2025-09-18T19:21:02.000Z"},
                "status": "completed", "result": {"ec": 1.4}, "device": "flow"}})
        );
        let state = tracker.state();
        assert_eq!((state.active.len(), state.recent.len()), (0, 1));
        assert_eq!(Value::from(state.execution_context), json!({"program": "p"}));
    }

    #[test]
    fn other_events_and_blocks_without_a_name_are_not_about_blocks() {
        let mut tracker = BlockTracker::default();
        for context in [
            json!({"kind": "reload", "blockId": "b"}),
            json!({"kind": "block_started"}),
            json!({"kind": "block_started", "blockId": 7}),
            json!({"blockId": "b"}),
            json!(null),
        ] {
            assert_eq!(tracker.take(&event("flow", context)), None);
        }
        assert_eq!(tracker.state(), BlockTracker::default().state());
    }

    #[test]
    fn the_blocks_of_a_driver_that_stops_are_over() {
        let mut tracker = BlockTracker::default();
        for device in ["a", "b"] {
            tracker.take(&event(
                device,
                json!({"kind": "block_started", "blockId": "same"}),
            ));
        }
        let ended = tracker.abort("a", 1_758_223_261_000);
        assert_eq!(ended.len(), 1);
        let ended = json_of(ended.into_iter().next());
        assert_eq!(
            (&ended["data"]["device"], &ended["data"]["status"]),
            (&json!("a"), &json!("aborted"))
        );
        assert_eq!(tracker.state().active.len(), 1);
        assert!(tracker.abort("a", 0).is_empty());
    }

    #[test]
    fn what_is_too_large_is_left_out() {
        let mut tracker = BlockTracker::default();
        let large = "é".repeat(40_000);
        let over = tracker.take(&event(
            "flow",
            json!({"kind": "block_executed", "blockId": "b", "displayText": large, "result": large, "executionContext": {"x": large}}),
        ));
        let over = json_of(over);
        assert_eq!(over["data"]["displayText"].as_str().unwrap().len(), TEXT_BYTES);
        assert_eq!(over["data"].get("result"), None);
        assert!(tracker.state().execution_context.is_empty());
    }

    #[test]
    fn whatever_happens_what_is_remembered_is_bounded_and_no_block_is_in_both_lists_of_one_run() {
        let step = (0_u32..120, 0_u32..3, prop::bool::weighted(0.6));
        proptest!(config(200, 20_000), |(steps in prop::collection::vec(step, 0..300))| {
            let mut tracker = BlockTracker::default();
            let mut running = Vec::new();
            for (block, device, starts) in steps {
                let (block, device) = (format!("b{block}"), format!("d{device}"));
                let kind = if starts { "block_started" } else { "block_executed" };
                tracker.take(&event(&device, json!({"kind": kind, "blockId": block})));
                running.retain(|known| *known != (block.clone(), device.clone()));
                if starts {
                    running.push((block, device));
                    if running.len() > ACTIVE_BLOCKS {
                        running.remove(0);
                    }
                }
                let state = tracker.state();
                let active: Vec<_> = state.active.iter().map(|b| (b.block_id.clone(), b.device.clone().unwrap())).collect();
                prop_assert_eq!(&active, &running);
                prop_assert!(state.recent.len() <= RECENT_BLOCKS);
                prop_assert!(state.active.iter().all(|b| b.timing.end_time.is_none()));
                prop_assert!(state.recent.iter().all(|b| b.timing.end_time.is_some()));
            }
        });
    }
}
