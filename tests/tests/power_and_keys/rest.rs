//! Nothing moves unless somebody asks for it.

use e2e::is_long;
use serde_json::json;

use super::{DRIVERS, Desk};

#[tokio::test]
async fn restarts_of_the_daemon_and_swaps_of_the_drivers_move_nothing() {
    let (restarts, swaps) = if is_long() { (100, 100) } else { (10, 10) };
    let desk = Desk::new(1.0);
    for restart in 0..restarts {
        let (daemon, _) = desk.start().await;
        if restart % 2 == 0 {
            assert!(daemon.stop().success());
        } else {
            daemon.kill();
        }
    }
    assert_eq!(desk.edge_count(), 0, "{:?}", desk.edges());

    let (daemon, mut client) = desk.start().await;
    let generation = |device: &str| format!("/devices/{device}/driver/generation");
    for swap in 0..swaps {
        for (device, plugin) in DRIVERS {
            let pointer = generation(device);
            let before = client.member(&pointer).cloned().unwrap();
            desk.install(plugin, (swap + 1) % 2);
            client
                .until("the next generation", |client| {
                    (client.member(&pointer)? != &before).then_some(())
                })
                .await;
        }
    }
    for (device, _) in DRIVERS {
        client
            .until_member(
                &format!("/devices/{device}/driver/lastReload/verdict"),
                &json!("swapped"),
            )
            .await;
    }
    super::until_ready(&mut client).await;
    assert_eq!(desk.edge_count(), 0, "{:?}", desk.edges());
    assert!(daemon.stop().success());
    println!("{restarts} restarts and {swaps} swaps of each driver without an edge");
}
