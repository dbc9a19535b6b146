//! What wasmtime generates from `wit/`: nothing else lives here.

/// The data behind a `port` handle: its position in the driver's list of ports.
#[derive(Debug, Clone, Copy)]
pub struct PortHandle(pub autobench_core::driver::PortIndex);

wasmtime::component::bindgen!({
    path: "../wit",
    world: "driver",
    ownership: Borrowing { duplicate_if_necessary: true },
    with: {
        "autobench:driver/serial.port": PortHandle,
    },
    imports: { default: trappable },
    require_store_data_send: true,
});
