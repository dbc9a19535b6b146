//! Files that are no driver, or none that can be compiled.

use wasm_encoder::{BlockType, Function, ValType};

use super::{Case, End};
use crate::guest::{Guest, component};

/// What is no driver at all.
pub fn no_drivers() -> Vec<Case> {
    let case = |name, file: Vec<u8>, code, words| Case {
        name,
        file,
        end: End::Refused(code, words),
    };
    let good = Guest::new("good").module();
    let whole = component(&good);
    let mut garbage = b"\0asm\x01\0\0\0".to_vec();
    garbage.extend((0..10_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8));
    let mut of_elsewhere = good.clone();
    of_elsewhere[4] = 0x77;
    vec![
        case("zeros", vec![0; 4096], "no-webassembly", "does not begin with"),
        case("garbage", garbage, "invalid", "not valid"),
        case(
            "cut-module",
            good[..good.len() / 2].to_vec(),
            "invalid",
            "not valid",
        ),
        case(
            "cut-component",
            whole[..whole.len() * 3 / 4].to_vec(),
            "invalid",
            "",
        ),
        case(
            "of-another-layer",
            of_elsewhere,
            "invalid",
            "neither a core module nor a component",
        ),
        case("empty", Vec::new(), "empty", "empty"),
        case("wasi-module", wasi_module(), "invalid", "wasi"),
        case(
            "compiles-to-no-end",
            compiles_to_no_end(),
            "compile",
            "the compiling process failed",
        ),
        case("beyond-the-size", vec![0; (64 << 20) + 1], "too-large", "at most"),
    ]
}

/// A module that Cranelift is at for minutes.
pub fn compiles_for_ever() -> Vec<u8> {
    let mut guest = Guest::new("compiles-for-ever");
    guest.filler = vec![thicket(100, 500); 3_000];
    guest.module()
}

/// Many values that live through many branches.
fn thicket(values: u32, branches: u32) -> Function {
    let mut function = Function::new([(values, ValType::I32)]);
    let mut sink = function.instructions();
    sink.loop_(BlockType::Empty);
    for branch in 0..branches {
        let (one, other) = (1 + branch % values, 1 + (branch * 7 + 3) % values);
        sink.local_get(0).local_get(one).i32_xor();
        sink.if_(BlockType::Empty);
        sink.local_get(one).local_get(other).i32_mul().local_set(other);
        sink.else_();
        sink.local_get(other).local_get(one).i32_add().local_set(one);
        sink.end();
    }
    sink.local_get(1).br_if(0).end();
    sink.local_get(values).end();
    function
}

fn wasi_module() -> Vec<u8> {
    use wasm_encoder::{EntityType, ImportSection, Module, TypeSection};
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], []);
    let mut imports = ImportSection::new();
    imports.import("wasi_snapshot_preview1", "proc_exit", EntityType::Function(0));
    let mut module = Module::new();
    module.section(&types).section(&imports);
    module.finish()
}

/// One for which Cranelift takes more memory than there is.
fn compiles_to_no_end() -> Vec<u8> {
    let mut guest = Guest::new("compiles-to-no-end");
    guest.filler = vec![thicket(6_000, 6_000); 2];
    guest.module()
}
