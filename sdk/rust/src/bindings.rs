//! What `wit-bindgen` makes of the world in `wit/`: the types, on every target, and the imports, which exist in a component only.
//!
//! Nothing outside `wasm.rs` and `export_driver!` calls an import, because natively each of them panics.

#![expect(
    missing_docs,
    reason = "generated code; what an item means stands in the wit files"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "driver",
    additional_derives: [PartialEq],
    generate_unused_types: true,
    pub_export_macro: true,
    export_macro_name: "export_guest",
    default_bindings_module: "autobench_sdk::bindings",
});
