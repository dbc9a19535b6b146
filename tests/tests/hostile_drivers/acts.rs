//! What a hostile driver does within a call, instruction by instruction.

use wasm_encoder::{BlockType, InstructionSink};

use super::guest::{ANSWER, Body, Guest, Import, Text, at};

pub fn endless_loop(sink: &mut InstructionSink<'_>) {
    sink.loop_(BlockType::Empty).br(0).end();
}

pub fn trap(sink: &mut InstructionSink<'_>) {
    sink.unreachable();
}

pub fn recursion(sink: &mut InstructionSink<'_>) {
    Guest::recurse(sink);
}

pub fn snapshot_of(sink: &mut InstructionSink<'_>, bytes: i32) {
    sink.i32_const((bytes >> 16) + 1).memory_grow(0).drop();
    sink.i32_const(ANSWER).i32_const(bytes).i32_store(at(8));
    sink.i32_const(ANSWER).return_();
}

pub fn log(sink: &mut InstructionSink<'_>, line: Text) {
    sink.i32_const(1)
        .i32_const(line.at)
        .i32_const(line.len)
        .i32_const(0)
        .i32_const(0);
    sink.call(Import::Log.index());
}

pub fn publish(sink: &mut InstructionSink<'_>, kind: Text, context: Text) {
    sink.i32_const(1).i32_const(kind.at).i32_const(kind.len);
    sink.i32_const(0)
        .i32_const(0)
        .i32_const(context.at)
        .i32_const(context.len);
    sink.i32_const(ANSWER).call(Import::Publish.index());
}

/// A list of operations.
pub fn update(sink: &mut InstructionSink<'_>, list: Text) {
    sink.i32_const(list.at).i32_const(list.len).i32_const(ANSWER);
    sink.call(Import::Update.index());
}

/// A list of samples.
pub fn push(sink: &mut InstructionSink<'_>, list: Text) {
    sink.i32_const(list.at).i32_const(list.len).i32_const(ANSWER);
    sink.call(Import::Push.index());
}

/// Traps unless the answer has this byte at this place.
pub fn demand(sink: &mut InstructionSink<'_>, offset: u64, byte: i32) {
    sink.i32_const(ANSWER)
        .i32_load8_u(at(offset))
        .i32_const(byte)
        .i32_ne();
    sink.if_(BlockType::Empty).unreachable().end();
}

/// Says so when everything was answered as it has to be.
pub fn says_contained(guest: &mut Guest, body: impl Fn(&mut InstructionSink<'_>) + 'static) -> Option<Body> {
    let phase = guest.text("contained");
    Some(Box::new(move |sink| {
        body(sink);
        sink.i32_const(phase.at)
            .i32_const(phase.len)
            .call(Import::Phase.index());
    }))
}

#[derive(Clone, Copy)]
pub enum UpdateValue {
    Integer(i64),
    Number(f64),
    Json(&'static str),
}

pub fn number_update(guest: &mut Guest, value: f64) -> Text {
    one_update(guest, "", UpdateValue::Number(value))
}

/// A list of one operation that sets a value.
pub fn one_update(guest: &mut Guest, path: &str, value: UpdateValue) -> Text {
    let path = guest.text(path);
    let mut operation = vec![0; 12];
    operation.extend(path.at.to_le_bytes());
    operation.extend(path.len.to_le_bytes());
    operation.extend([0; 4]);
    let (kind, payload) = match value {
        UpdateValue::Integer(value) => (2_u64, value.to_le_bytes()),
        UpdateValue::Number(value) => (3, value.to_le_bytes()),
        UpdateValue::Json(text) => {
            let text = guest.text(text);
            let payload = u64::from(text.at as u32) | u64::from(text.len as u32) << 32;
            (5, payload.to_le_bytes())
        }
    };
    operation.extend(kind.to_le_bytes());
    operation.extend(payload);
    operation.extend([0; 8]);
    let placed = guest.bytes(&operation);
    Text { len: 1, ..placed }
}
