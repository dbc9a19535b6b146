//! What a driver gets of WASI: an empty environment, two streams that lead to its log, and nothing that it could reach anything with.
//!
//! Runtimes of other languages bring imports named `wasi:*` along, whether they use them or not. Each function among them is defined here, by the
//! type that the component itself gives it, and ends the call when it is used: a clock, a random number or a file would make two runs over the
//! same bytes differ. The environment is answered, with nothing in it, because such runtimes ask for it before they do anything else; standard output
//! and standard error are, because that is where they say why they give up.
//!
//! This is not wasmtime's `define_unknown_imports_as_traps`: that takes every import of every name, so that a component of a foreign world would
//! link, and a good import of an older version would turn into a trap.

use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, ComponentType, Linker, LinkerInstance, Lower, Resource, ResourceType};
use wasmtime::{StoreContextMut, bail};

use super::engine::Engine;
use super::host_state::{HostState, StandardStream};

/// Whose imports are defined here.
const PREFIX: &str = "wasi:";
/// The one resource that can be had.
const STREAM: &str = "output-stream";
/// How many bytes a stream says that it takes at once.
const STREAM_ROOM_BYTES: u64 = 4 << 10;

/// A stream that leads to the log.
struct Stream;

/// What cannot be had: there are no values of these resources.
struct Nothing;

/// `wasi:io/streams.stream-error`, of which no stream here ever gives one.
#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[expect(dead_code, reason = "the type has to be whole to be the interface's")]
    LastOperationFailed(Resource<Nothing>),
    #[component(name = "closed")]
    #[expect(dead_code, reason = "the same")]
    Closed,
}

/// The world's linker; for a component that imports `wasi:*`, a copy with those imports, as the component types them.
pub fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<HostState>> {
    let mut linker = engine.linker().clone();
    for (name, import) in component.component_type().imports(engine.wasmtime()) {
        if let (true, ComponentItem::ComponentInstance(interface)) = (name.starts_with(PREFIX), import.ty) {
            define(&mut linker.instance(name)?, name, &interface, engine)?;
        }
    }
    Ok(linker)
}

fn define(
    linker: &mut LinkerInstance<'_, HostState>,
    interface: &str,
    content: &ComponentInstance,
    engine: &Engine,
) -> wasmtime::Result<()> {
    for (name, item) in content.exports(engine.wasmtime()) {
        match item.ty {
            ComponentItem::Resource(_) if name == STREAM => {
                linker.resource(name, ResourceType::host::<Stream>(), |_, _| Ok(()))?;
            }
            ComponentItem::Resource(_) => {
                linker.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
            }
            ComponentItem::ComponentFunc(_) if !is_answered(linker, interface, name)? => {
                let function = format!("{interface}#{name}");
                linker.func_new(name, move |_, _, _, _| {
                    bail!("it called {function}, and a driver has nothing of WASI")
                })?;
            }
            // Types come with what uses them; what is left has no place in an interface of WASI, and does not link.
            _ => {}
        }
    }
    Ok(())
}

/// Defines a function that has an answer, if it is one: the streams that lead to the log, and an environment with nothing in it.
fn is_answered(
    linker: &mut LinkerInstance<'_, HostState>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    let interface = interface
        .split_once('@')
        .map_or(interface, |(interface, _version)| interface);
    match (interface, name) {
        // A runtime asks for these when it is first called, and goes on without.
        ("wasi:cli/environment", "get-environment") => {
            linker.func_wrap(name, |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
        }
        ("wasi:cli/environment", "get-arguments") => {
            linker.func_wrap(name, |_, ()| Ok((Vec::<String>::new(),)))?;
        }
        ("wasi:cli/environment", "initial-cwd") => {
            linker.func_wrap(name, |_, ()| Ok((None::<String>,)))?;
        }
        ("wasi:cli/stdout", "get-stdout") => {
            linker.func_wrap(name, |_, ()| Ok((handle(StandardStream::Output),)))?;
        }
        ("wasi:cli/stderr", "get-stderr") => {
            linker.func_wrap(name, |_, ()| Ok((handle(StandardStream::Error),)))?;
        }
        ("wasi:io/streams", "[method]output-stream.check-write") => {
            linker.func_wrap(name, |_, (_stream,): (Resource<Stream>,)| {
                Ok((Ok::<u64, StreamError>(STREAM_ROOM_BYTES),))
            })?;
        }
        (
            "wasi:io/streams",
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
        ) => {
            linker.func_wrap(name, write)?;
        }
        ("wasi:io/streams", "[method]output-stream.flush" | "[method]output-stream.blocking-flush") => {
            linker.func_wrap(name, |_, (_stream,): (Resource<Stream>,)| {
                Ok((Ok::<(), StreamError>(()),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The number behind a handle says which stream it is; nothing is kept for it.
fn handle(stream: StandardStream) -> Resource<Stream> {
    Resource::new_own(match stream {
        StandardStream::Output => 1,
        StandardStream::Error => 2,
    })
}

fn write(
    mut store: StoreContextMut<'_, HostState>,
    (stream, bytes): (Resource<Stream>, Vec<u8>),
) -> wasmtime::Result<(Result<(), StreamError>,)> {
    let stream = match stream.rep() {
        1 => StandardStream::Output,
        _ => StandardStream::Error,
    };
    store.data_mut().write_to_stream(stream, &bytes)?;
    Ok((Ok(()),))
}
