//! What devices have of each other: plugins, slices, lines.

use super::*;

#[test]
fn a_missing_plugin_names_those_that_are_there() {
    check(
        "[devices.a]\nplugin = \"power-metre\"\n[devices.b]\nplugin = \"keyboard\"\n[devices.c]\n",
        &[
            "plugins.toml:2:10: there is no power-metre.wasm in plugins — did you mean \"power-meter\"? There are: atx, power-meter",
            "plugins.toml:4:10: there is no keyboard.wasm in plugins — there are: atx, power-meter",
            "plugins.toml:5:10: the device \"c\" has no plugin — write plugin = \"…\" with one of: atx, power-meter",
        ],
    );
    check(
        "[daemon]\nplugins-dir = \"elsewhere\"\n[devices.a]\nplugin = \"atx\"\n",
        &[
            "plugins.toml:4:10: there is no atx.wasm, because there is no plugin folder elsewhere — build the plugins, in a checkout with \
           `cargo demo --build-only`, or name their folder with plugins-dir in [daemon]",
        ],
    );
}

#[test]
fn a_bench_that_runs_does_without_a_plugin_whose_file_is_gone() {
    let bench = Bench::new("[devices.a]\nplugin = \"keyboard\"\n[devices.b]\nplugin = \"atx\"\n");
    let to_start = bench.loader().load_to_run(Waiting::Everybody).unwrap();
    assert_eq!(to_start.devices.len(), 2);
    let codes = |config: &BenchConfig| {
        let warnings = config.warnings.iter();
        warnings.map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&to_start), ["missing-plugin"]);
    // What runs goes on with a file that is gone, and is not bound to one that never was.
    let known = &to_start.devices;
    let again = bench.loader().load_to_run(Waiting::BoundIn(known)).unwrap();
    assert_eq!(again, to_start);
    let bench = bench.file(
        "plugins.toml",
        "[devices.a]\nplugin = \"keyboard\"\n[devices.b]\nplugin = \"atz\"\n",
    );
    let told = bench.loader().load_to_run(Waiting::BoundIn(known)).unwrap_err();
    assert_eq!(told.error_count(), 1, "{told}");
    // Their folder may come with what is in it.
    std::fs::remove_dir_all(bench.path("plugins")).unwrap();
    let to_start = bench.loader().load_to_run(Waiting::Everybody).unwrap();
    assert_eq!(codes(&to_start), ["missing-plugin", "missing-plugin"]);
    let told = bench.loader().load().unwrap_err();
    assert_eq!(told.error_count(), 2, "{told}");
}

#[test]
fn two_devices_on_one_slice_are_told_with_both_places() {
    check(
        "[devices.a]\nplugin = \"atx\"\nslice = \"x\"\n[devices.x]\nplugin = \"atx\"\n",
        &[
            "plugins.toml:4:10: the device \"x\" has the slice \"x\", which is the device \"a\"'s already (plugins.toml:3:9) — \
           write slice = \"x2\" in [devices.x], or another name",
        ],
    );
}

#[test]
fn two_devices_on_one_line_are_told_with_both_places() {
    let two = |one: &str, other: &str| {
        format!(
            "[devices.a]\nplugin = \"atx\"\nports.main.{one}\n[devices.b]\nplugin = \"atx\"\nports.io.{other}\n"
        )
    };
    let told = |column: usize, first: usize, hint: &str| {
        format!(
            "plugins.toml:6:{column}: the port \"io\" of \"b\" is on the line of the port \"main\" of \"a\" (plugins.toml:3:{first}) — {hint}"
        )
    };
    let own = "give each port a line of its own, or remove one of the two devices";
    let serial = "tell them apart by serial number: usb = \"vendor:product:serial\"";
    check(
        &two("path = \"/dev/none0\"", "path = \"/dev//none0\""),
        &[&told(17, 19, own)],
    );
    check(
        &two("usb = \"0403:6001\"", "usb = \"0403:6001:A1\""),
        &[&told(16, 18, serial)],
    );
    check(
        &two("usb = \"0403:6001:A1\"", "usb = \"0403:6001:A1\""),
        &[&told(16, 18, own)],
    );
    check(&two("usb = \"0403:6001:A1\"", "usb = \"0403:6001:A2\""), &[]);
    check(&two("sim = \"wattsup\"", "sim = \"wattsup\""), &[]);
    check(&two("sim = \"atx\"", "sim = \"keyboard\""), &[]);
    check(&two("sim = \"atx\"", "sim = \"atx\""), &[&told(16, 18, own)]);
}

#[test]
fn the_simulated_pc_has_one_seed_and_one_speed() {
    let two = |one: &str, other: &str| {
        format!(
            "[devices.a]\nplugin = \"atx\"\nports.main.sim = {{ device = \"atx\", {one} }}\n\
             [devices.b]\nplugin = \"atx\"\nports.io.sim = {{ device = \"keyboard\", {other} }}\n"
        )
    };
    check(
        &two("seed = 7, speed = 2", "speed = 2.0, faults = \"lost:20\""),
        &[],
    );
    let twice = two("speed = 2", "speed = 3, faults = \"nuls\"");
    let told = Bench::new(&twice).told().concat();
    let differs = "\"speed\" is 3, and 2 at another device of the same simulated PC";
    assert!(told.contains(differs) && told.contains("write it once"), "{told}");
    assert!(
        told.contains("\"nuls\" is no plan of faults"),
        "a keyboard has no rows: {told}"
    );
}

#[test]
fn two_links_to_one_terminal_are_one_line() {
    let bench = Bench::new("").file("tty", "");
    std::os::unix::fs::symlink(bench.path("tty"), bench.path("by-id")).unwrap();
    let port = |name: &str| bench.path(name).display().to_string();
    let text = format!(
        "[devices.a]\nplugin = \"atx\"\nports.main.path = \"{}\"\n[devices.b]\nplugin = \"atx\"\nports.main.path = \"{}\"\n",
        port("tty"),
        port("by-id")
    );
    let bench = bench.file("plugins.toml", &text);
    assert!(
        bench
            .told()
            .concat()
            .contains("is on the line of the port \"main\" of \"a\""),
        "{:?}",
        bench.told()
    );
}

#[test]
fn a_port_has_exactly_one_source() {
    check(
        "[devices.a]\nplugin = \"atx\"\n[devices.a.ports.none]\nbaud-rate = 9600\n\
         [devices.a.ports.two]\npath = \"/dev/x\"\nsim = \"wattsup\"\n\
         [devices.a.ports.relative]\npath = \"ttyUSB0\"\n[devices.a.ports.usb]\nusb = \"403:6001\"\n\
         [devices.a.ports.sim]\nsim = { device = \"watsup\" }\n[devices.a.ports.plan]\nsim = { device = \"wattsup\", faults = \"nul\", speed = 0 }\n",
        &[
            "plugins.toml:3:18: the port \"none\" of \"a\" has no line — write one of path = \"/dev/serial/by-id/…\", usb = \"0403:6001\", sim = \"wattsup\"",
            "plugins.toml:7:7: the port \"two\" of \"a\" has both path and sim — keep one of path, usb and sim",
            "plugins.toml:9:8: \"ttyUSB0\" does not begin at the root — write path = \"/dev/ttyUSB0\"",
            "plugins.toml:11:7: \"403:6001\" is no USB identity — write vendor and product as four hexadecimal digits each, and the serial number \
             where there are several: \"0403:6001\" or \"0403:6001:A9014J7K\"",
            "plugins.toml:13:18: there is no emulator \"watsup\" — did you mean \"wattsup\"?",
            "plugins.toml:15:38: \"nul\" is no plan of faults — no fault is called `nul`; there are none, all, nuls, split, joined, headless, \
             silence, unplug, garbage, wrong-baud",
            "plugins.toml:15:53: \"speed\" is 0, and has to be from 0.001 to 10000 — write speed = 1.0 for the pace of the real thing",
        ],
    );
}
