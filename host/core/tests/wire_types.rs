//! The mirror's TypeScript types are those of the daemon.

use std::path::Path;

/// Renewed by `UPDATE_TYPES=1 cargo test -p autobench-core --test wire_types`.
const COMMITTED: &str = "../../web/src/wire/generated/wire.ts";

#[test]
fn the_committed_typescript_is_what_the_rust_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    let generated = autobench_core::wire::typescript();
    if std::env::var_os("UPDATE_TYPES").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "web/src/wire/generated/wire.ts is stale; renew it with\n    \
         UPDATE_TYPES=1 cargo test -p autobench-core --test wire_types"
    );
}
