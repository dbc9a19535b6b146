//! Mistakes that people make, and exactly what they are told.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

/// A folder with a bench in it: two plugins, and whatever a test writes.
struct Bench {
    folder: tempfile::TempDir,
    environment: Vec<(&'static str, &'static str)>,
    overrides: Overrides,
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            folder,
            environment: vec![("HOME", "/home/nobody")],
            overrides: Overrides::default(),
        };
        std::fs::create_dir(bench.path("plugins")).unwrap();
        std::fs::set_permissions(bench.path("plugins"), std::fs::Permissions::from_mode(0o755)).unwrap();
        bench
            .file("plugins/power-meter.wasm", "")
            .file("plugins/atx.wasm", "")
            .file("plugins.toml", text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    fn loader(&self) -> ConfigLoader {
        let environment = self.environment.iter().copied().collect();
        ConfigLoader::new(self.path("plugins.toml"), environment, self.overrides.clone())
    }

    fn load(&self) -> Result<BenchConfig, ConfigErrors> {
        self.loader().load()
    }

    /// What is wrong, one line each, with the folder's name left out.
    fn told(&self) -> Vec<String> {
        let problems = match self.load() {
            Ok(config) => config.warnings,
            Err(errors) => errors.problems,
        };
        let folder = self.folder.path().display().to_string();
        problems
            .iter()
            .map(|problem| {
                problem
                    .to_string()
                    .replace(&format!("{folder}/"), "")
                    .replace(&folder, ".")
            })
            .collect()
    }
}

#[track_caller]
fn check(text: &str, told: &[&str]) {
    assert_eq!(Bench::new(text).told(), told, "for:\n{text}");
}

const METER: &str =
    "[devices.meter]\nplugin = \"power-meter\"\n[devices.meter.ports.main]\nsim = \"wattsup\"\n";

#[test]
fn keys_that_nobody_reads_are_errors_with_the_key_that_was_meant() {
    check(
        "[daemon]\nlisen = \"127.0.0.1:1\"\ncolour = 1\n[daemon.limits]\nclient = 5\n[deamon]\n",
        &[
            "plugins.toml:2:1: [daemon] has no key \"lisen\" — did you mean \"listen\"?",
            "plugins.toml:3:1: [daemon] has no key \"colour\" — known here: listen, plugins-dir, data-dir, web-dir, sysfs-root, \
             allowed-hosts, broadcast-interval-ms, deflate, limits, log-file",
            "plugins.toml:5:1: [daemon.limits] has no key \"client\" — did you mean \"clients\"?",
            "plugins.toml:6:2: the file has no key \"deamon\" — did you mean \"daemon\"?",
        ],
    );
    check(
        "[devices.meter]\nplugin = \"power-meter\"\nport = 1\n[devices.meter.ports.main]\nsim = \"wattsup\"\nbaudrate = 9600\n\
         [devices.meter.limits]\nmemory-mb = 3\n[devices.meter.grants]\nread = []\n",
        &[
            "plugins.toml:3:1: [devices.meter] has no key \"port\" — did you mean \"ports\"?",
            "plugins.toml:6:1: [devices.meter.ports.main] has no key \"baudrate\" — did you mean \"baud-rate\"?",
            "plugins.toml:8:1: [devices.meter.limits] has no key \"memory-mb\" — did you mean \"memory-mib\"?",
            "plugins.toml:10:1: [devices.meter.grants] has no key \"read\" — known here: read-slices, dangerous-commands",
        ],
    );
}

#[test]
fn a_wrong_type_says_what_to_write() {
    check(
        "[daemon]\nlisten = 9898\nallowed-hosts = \"bench.local\"\nbroadcast-interval-ms = \"10\"\ndeflate = 1\nlimits = 5\n[devices]\nmeter = \"power-meter\"\n",
        &[
            "plugins.toml:2:10: \"listen\" is an integer, and has to be a text — write listen = \"127.0.0.1:9898\"",
            "plugins.toml:3:17: \"allowed-hosts\" is a text, and has to be a list of texts — write allowed-hosts = [\"bench.local\"]",
            "plugins.toml:4:25: \"broadcast-interval-ms\" is a text, and has to be an integer — write broadcast-interval-ms = 10",
            "plugins.toml:5:11: \"deflate\" is an integer, and has to be true or false — write deflate = true",
            "plugins.toml:6:10: \"limits\" is an integer, and has to be a table — write [daemon.limits] and its keys below it",
            "plugins.toml:8:9: \"meter\" is a text, and has to be a table — write [devices.meter] and its keys below it",
        ],
    );
    check(
        &format!("{METER}dtr = \"on\"\nparity = true\n[layout]\npanes = 3\n"),
        &[
            "plugins.toml:5:7: \"dtr\" is a text, and has to be true or false — write dtr = true",
            "plugins.toml:6:10: \"parity\" is a boolean, and has to be a text — write parity = \"none\"",
            "plugins.toml:7:2: the layout has no panes — write [[layout.panes]], or leave [layout] out",
            "plugins.toml:8:9: \"panes\" is an integer, and has to be a table — write [[layout.panes]] and its keys below it, once for each",
        ],
    );
}

#[test]
fn a_bad_value_says_which_values_are_good() {
    check(
        &format!(
            "[daemon]\nlisten = \"localhost:99\"\nallowed-hosts = [\"http://x\"]\n[daemon.limits]\nclients = 0\nheartbeat-timeout-s = 20\n\
             {METER}baud-rate = 5\ndata-bits = 9\nparity = \"odds\"\nstop-bits = 3\nflow-control = \"rts\"\n\
             [devices.meter.limits]\nmemory-mib = 9999\nslice-kib = -1\n"
        ),
        &[
            "plugins.toml:2:10: \"localhost:99\" is no address to listen on — write listen = \"127.0.0.1:99\"",
            "plugins.toml:3:18: \"http://x\" is no host name — write the name as it stands in the browser's address line, without scheme, \
             port and wildcard: \"bench.local\"",
            "plugins.toml:5:11: \"clients\" is 0, and has to be from 1 to 100000 — write clients = 100, which is what it is without this line",
            "plugins.toml:6:23: a client would be dropped after 20 s, before the ping that is due after 30 s is answered — \
             write heartbeat-timeout-s = 60",
            "plugins.toml:11:13: \"baud-rate\" is 5, and has to be from 50 to 20000000 — write for example baud-rate = 115200, or leave it out",
            "plugins.toml:12:13: \"data-bits\" cannot be 9 — write one of 5, 6, 7, 8",
            "plugins.toml:13:10: \"parity\" cannot be \"odds\" — write one of \"none\", \"even\", \"odd\"",
            "plugins.toml:14:13: \"stop-bits\" cannot be 3 — write one of 1, 2",
            "plugins.toml:15:16: \"flow-control\" cannot be \"rts\" — write one of \"none\", \"software\", \"hardware\"",
            "plugins.toml:17:14: \"memory-mib\" is 9999, and has to be from 1 to 4096 — write memory-mib = 64, which is what it is without this line",
            "plugins.toml:18:13: \"slice-kib\" is -1, and has to be from 1 to 16384 — write slice-kib = 256, which is what it is without this line",
        ],
    );
}

#[test]
fn a_bad_name_says_what_a_good_one_looks_like() {
    check(
        "[devices.Meter]\nplugin = \"../evil\"\nslice = \"Power-Meter\"\n[devices.Meter.ports.Main]\nsim = \"wattsup\"\n[devices.logs]\nplugin = \"atx\"\n",
        &[
            "plugins.toml:1:10: \"Meter\" is no device id — use lower-case letters, digits and dashes, beginning with a letter, at most 64 characters",
            "plugins.toml:2:10: \"../evil\" is no plugin name — write the file's name in the plugin folder without `.wasm`: lower-case letters, \
             digits, dashes and underscores",
            "plugins.toml:3:9: \"Power-Meter\" is no slice name — use camel case, for example `powerMeter`, and none of the host's own members",
            "plugins.toml:4:22: \"Main\" is no port name — use lower-case letters, digits and dashes, beginning with a letter, at most 64 characters",
            "plugins.toml:6:10: the device \"logs\" would have the slice \"logs\", which is a member of the host — \
             write slice = \"logsDriver\" in [devices.logs], or another name",
        ],
    );
}

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

#[test]
fn text_that_is_not_toml_is_told_without_guessing_what_is_missing() {
    let told = Bench::new(
        "[daemon]\nlisten = 127.0.0.1:9898\n[devices.a\nplugin = \"atx\"\n[devices.b]\ncolour = 1\n",
    )
    .told();
    assert!(told.first().unwrap().starts_with("plugins.toml:2:"), "{told:#?}");
    assert!(
        told.iter().all(|line| !line.contains("has no plugin")),
        "{told:#?}"
    );
    assert!(
        told.iter().any(|line| line.starts_with("plugins.toml:3:")),
        "{told:#?}"
    );
    assert!(
        told.iter().any(|line| line.contains("has no key \"colour\"")),
        "{told:#?}"
    );
}

#[test]
fn a_key_written_twice_in_one_file_is_an_error() {
    let told = Bench::new("[daemon]\nlisten = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n").told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with("plugins.toml:3:1: this is not TOML: duplicate key"),
        "{told:#?}"
    );
}

#[test]
fn a_file_in_plugins_d_adds_and_never_replaces() {
    let bench = Bench::new(METER)
        .file("plugins.d/10-atx.toml", "[devices.panel]\nplugin = \"atx\"\n")
        .file("plugins.d/.hidden.toml", "garbage")
        .file("plugins.d/notes.txt", "garbage");
    assert_eq!(bench.told(), [""; 0]);
    assert_eq!(bench.load().unwrap().devices.len(), 2);

    let bench = bench.file(
        "plugins.d/20-again.toml",
        "[daemon]\nlisten = \"127.0.0.1:0\"\n[devices.meter]\nslice = \"x\"\n[devices.panel]\n",
    );
    assert_eq!(
        bench.told(),
        [
            "plugins.d/20-again.toml:3:10: devices.meter is already set in plugins.toml:1:10 — keep one of the two: files in plugins.d add to \
             the bench and replace nothing",
            "plugins.d/20-again.toml:5:10: devices.panel is already set in plugins.d/10-atx.toml:1:10 — keep one of the two: files in plugins.d \
             add to the bench and replace nothing",
        ]
    );
}

#[test]
fn problems_of_all_files_come_in_the_order_of_files_and_lines() {
    let bench =
        Bench::new("[devices.a]\nplugin = \"nix\"\n[daemon]\nx = 1\n").file("plugins.d/a.toml", "y = 1\n");
    let told = bench.told();
    let places: Vec<_> = told.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        ["plugins.toml:2:10", "plugins.toml:4:1", "plugins.d/a.toml:1:1"]
    );
}

#[test]
fn a_file_that_cannot_be_read_says_what_to_do() {
    let bench = Bench::new("");
    std::fs::remove_file(bench.path("plugins.toml")).unwrap();
    assert_eq!(
        bench.told(),
        [
            "plugins.toml: there is no such file — name the bench's file, for example --config plugins.toml, or write one: \
          docs/configuration.md shows how"
        ]
    );
    std::fs::create_dir(bench.path("plugins.toml")).unwrap();
    assert_eq!(
        bench.told(),
        ["plugins.toml: it is not a regular file — name a TOML file"]
    );
    std::fs::remove_dir(bench.path("plugins.toml")).unwrap();
    std::fs::write(bench.path("plugins.toml"), b"a = \"\xff\"").unwrap();
    assert_eq!(bench.told(), ["plugins.toml: it is not UTF-8 — save it as UTF-8"]);
}

#[test]
fn the_network_stays_out_while_there_is_no_token() {
    let hint = "run autobench token new and write the lines that it prints, or listen on 127.0.0.1";
    check(
        "[daemon]\nlisten = \"0.0.0.0:9898\"\n",
        &[&format!(
            "plugins.toml:2:10: listening on 0.0.0.0:9898 without any token would let everyone on the network operate the bench — {hint}:9898"
        )],
    );
    let mut bench = Bench::new("");
    bench.overrides.listen = Some("[::]:80".parse().unwrap());
    assert!(
        bench.told()[0].starts_with("--listen: listening on [::]:80 without any token"),
        "{:?}",
        bench.told()
    );
    let bench = Bench::new("").variable("AUTOBENCH_LISTEN", "192.0.2.1:80");
    assert!(
        bench.told()[0].starts_with("AUTOBENCH_LISTEN: listening on 192.0.2.1:80 without"),
        "{:?}",
        bench.told()
    );
}

#[test]
fn with_a_token_the_network_is_let_in_and_the_token_is_known() {
    // Of sixteen a's.
    let sha256 = "0c0beacef8877bbf2416eb00f2b5dc96354e26dd1df5517320459b1236860f8c";
    let text = format!(
        "[daemon]\nlisten = \"0.0.0.0:9898\"\n[auth.tokens.lab]\nsha256 = \"{sha256}\"\nrole = \"operator\"\n"
    );
    let config = Bench::new(&text).load().unwrap();
    let token = &config.auth.tokens["lab"];
    assert_eq!(
        (token.sha256, token.role),
        (crate::access::digest("aaaaaaaaaaaaaaaa"), super::Role::Operator)
    );
}

#[test]
fn a_token_with_a_mistake_is_told_and_never_repeated() {
    check(
        "[auth.tokens.me]\nsha256 = \"hunter2\"\nrole = \"root\"\n[auth.tokens.local]\n",
        &[
            "plugins.toml:2:10: \"sha256\" is not a SHA-256 in hexadecimal digits — write the 64 digits that `printf %s TOKEN | sha256sum` \
             prints, never the token itself",
            "plugins.toml:3:8: \"role\" cannot be \"root\" — write one of \"viewer\", \"operator\", \"admin\"",
            "plugins.toml:4:14: \"local\" is no name for a token — take letters, digits, dashes, dots and underscores, at most 64, and not \
             \"local\"",
            "plugins.toml:4:14: the token \"local\" has no role — write role = \"viewer\", \"operator\" or \"admin\"",
            "plugins.toml:4:14: the token \"local\" has no sha256 — run autobench token new and write the lines that it prints",
        ],
    );
    for variable in ["LOG_INGEST_TOKEN", "AUTOBENCH_TOKEN"] {
        let told = Bench::new("").variable(variable, "hunter2").told();
        assert_eq!(
            told,
            [format!(
                "{variable}: it is shorter than 16 characters and soon guessed — set it to what `autobench token new` prints"
            )]
        );
    }
}

#[test]
fn a_token_that_everybody_tries_first_is_refused_by_its_hash() {
    // The words "abc", and the token's own name.
    for (name, sha256) in [
        (
            "me",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        ("wall", "WALL"),
    ] {
        let own: String = crate::access::digest(name)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let sha256 = sha256.replace("WALL", &own);
        check(
            &format!("[auth.tokens.{name}]\nrole = \"viewer\"\nsha256 = \"{sha256}\"\n"),
            &[
                "plugins.toml:3:10: this is the SHA-256 of a usual word; a token has at least 16 characters, and the daemon takes no shorter one — \
                 run autobench token new and write the lines that it prints",
            ],
        );
    }
}

#[test]
fn what_others_may_write_is_a_warning_on_loopback_and_an_error_beyond() {
    let mut bench = Bench::new(METER);
    std::fs::set_permissions(bench.path("plugins"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::set_permissions(bench.path("plugins.toml"), std::fs::Permissions::from_mode(0o664)).unwrap();
    let config = bench.load().unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(bench.told()[0].starts_with(
        "plugins.toml: warning: others than its owner may write it (mode 664), and with it decide what runs on the bench — run chmod go-w "
    ));
    assert!(bench.told()[1].starts_with("plugins: warning: others"));
    bench.overrides.listen = Some("0.0.0.0:0".parse().unwrap());
    let errors = bench.load().unwrap_err();
    assert!(
        errors
            .problems
            .iter()
            .filter(|problem| problem.code == "writable-by-others")
            .all(|problem| problem.weight == Weight::Error)
    );

    std::fs::set_permissions(
        bench.path("plugins/power-meter.wasm"),
        std::fs::Permissions::from_mode(0o666),
    )
    .unwrap();
    assert!(
        bench
            .told()
            .iter()
            .any(|line| line.starts_with("plugins/power-meter.wasm: others")),
        "{:?}",
        bench.told()
    );

    // In a sticky folder, as /tmp is one, others cannot replace a file.
    std::fs::set_permissions(bench.path("plugins"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(!bench.told().iter().any(|line| line.starts_with("plugins: ")));
}

#[test]
fn settings_take_only_what_a_browser_can_hold() {
    check(
        &format!(
            "{METER}[devices.meter.settings]\n__proto__ = 1\nbig = 9007199254740992\nhuge = 99999999999999999999\nnan = nan\nlist = [{{ constructor = 1 }}]\n"
        ),
        &[
            "plugins.toml:6:1: \"__proto__\" cannot be a key of settings — choose another name: this one breaks browsers that show it",
            "plugins.toml:7:7: 9007199254740992 is beyond ±(2^53 − 1), where browsers lose digits — write it as a text",
            "plugins.toml:8:8: 99999999999999999999 is too large for an integer — write a number of at most 63 bits",
            "plugins.toml:9:7: NaN is no finite number — leave the key out",
            "plugins.toml:10:11: \"constructor\" cannot be a key of settings — choose another name: this one breaks browsers that show it",
        ],
    );
}

#[test]
fn a_grant_names_a_slice_of_the_bench() {
    check(
        &format!(
            "{METER}[devices.panel]\nplugin = \"atx\"\ngrants.read-slices = [\"metre\", \"logs\", \"meter\"]\n"
        ),
        &[
            "plugins.toml:7:23: no device has the slice \"metre\" — did you mean \"meter\"?",
            "plugins.toml:7:32: \"logs\" is no slice name — use camel case, for example `powerMeter`, and none of the host's own members",
        ],
    );
}

#[test]
fn panes_lie_in_the_grid_and_not_on_each_other() {
    check(
        &format!(
            "{METER}[layout]\nrows = 2\ncols = 2\n[[layout.panes]]\npane = \"power-meter\"\ndevice = \"meter\"\ncol-span = 2\n\
             [[layout.panes]]\npane = \"logs\"\ncol = 1\n[[layout.panes]]\npane = \"state\"\nrow = 2\n\
             [[layout.panes]]\npane = \"state\"\nid = \"logs\"\nrow = 1\ndevice = \"metre\"\n[[layout.panes]]\nid = \"x\"\nrow = 1\ncol = 1\n"
        ),
        &[
            "plugins.toml:12:1: the pane \"logs\" covers part of the pane \"power-meter\" — move one of them",
            "plugins.toml:15:1: the pane \"state\" reaches beyond the grid of 2 rows and 2 columns — rows and columns are counted from 0; make \
             the grid larger or the pane smaller",
            "plugins.toml:20:6: there is a pane \"logs\" already — give each pane its own id",
            "plugins.toml:22:10: there is no good device \"metre\" — did you mean \"meter\"?",
            "plugins.toml:23:1: this pane does not say what it shows — write pane = \"power-meter\", \"logs\" or \"state\"",
        ],
    );
}

#[test]
fn every_variable_with_a_bad_value_is_named() {
    for (variable, value, told) in [
        (
            "CLIENT_LOGS_SNAPSHOT",
            "-1",
            "\"-1\" is no number from 0 to 1000000 — set it to 200, or leave it out",
        ),
        (
            "CLIENT_LOGS_CAPACITY",
            "x",
            "\"x\" is no number from 1 to 1000000 — set it to 500, or leave it out",
        ),
        (
            "CLIENT_LOGS_TO_KEEP",
            "0",
            "\"0\" is no number from 1 to 1000000 — set it to 500, or leave it out",
        ),
        (
            "LOG_LEVEL_MIN",
            "loud",
            "\"loud\" is no level — set it to debug, info, warn, error or fatal",
        ),
        (
            "LOG_LEVEL",
            "2",
            "\"2\" is no level — set it to debug, info, warn, error or fatal",
        ),
        (
            "PRETTY_LOGS",
            "maybe",
            "\"maybe\" is neither true nor false — set it to true or false",
        ),
        (
            "WS_HEARTBEAT_LOG",
            "2",
            "\"2\" is neither true nor false — set it to true or false",
        ),
        (
            "LOG_REDACT_REGEX",
            "(",
            "it is no regular expression: unclosed group — nothing would be redacted; correct it or leave it out",
        ),
        (
            "VITE_WS_HEARTBEAT_INTERVAL_MS",
            "1",
            "\"1\" is no number from 100 to 3600000 — set it to 10000, or leave it out",
        ),
        (
            "VITE_WS_HEARTBEAT_TIMEOUT_MS",
            "1e9",
            "\"1e9\" is no number from 100 to 3600000 — set it to 5000, or leave it out",
        ),
        (
            "VITE_WS_RECONNECT_ENABLED",
            "ja",
            "\"ja\" is neither true nor false — set it to true or false",
        ),
        (
            "VITE_WS_RECONNECT_MIN_MS",
            "0",
            "\"0\" is no number from 1 to 3600000 — set it to 1000, or leave it out",
        ),
        (
            "VITE_WS_RECONNECT_MAX_MS",
            "500",
            "the longest wait of 500 ms is shorter than the first of 1000 ms — set it to VITE_WS_RECONNECT_MIN_MS or more",
        ),
        (
            "VITE_WS_RECONNECT_FACTOR",
            "0.5",
            "\"0.5\" is no number from 1 to 100 — set it to 1.8, or leave it out",
        ),
        (
            "VITE_WS_RECONNECT_JITTER",
            "NaN",
            "\"NaN\" is no number from 0 to 1 — set it to 0.2, or leave it out",
        ),
        (
            "AUTOBENCH_LISTEN",
            "9898",
            "\"9898\" is no address to listen on — set it to 127.0.0.1:9898",
        ),
    ] {
        let bench = Bench::new(METER).variable(variable, value);
        assert!(bench.load().is_err(), "{variable}");
        assert_eq!(bench.told(), [format!("{variable}: {told}")]);
    }
}

#[test]
fn a_variable_whose_name_is_nearly_right_is_a_warning() {
    let bench = Bench::new(METER)
        .variable("CLIENT_LOG_CAPACITY", "9")
        .variable("LOG_FORMAT", "x")
        .variable("CLIENT_LOGS_CAPACITI", "9");
    assert!(bench.load().is_ok());
    assert_eq!(
        bench.told(),
        [
            "CLIENT_LOGS_CAPACITY: warning: CLIENT_LOGS_CAPACITI is set, which nothing reads — did you mean CLIENT_LOGS_CAPACITY?"
        ]
    );
}

#[test]
fn without_a_home_there_is_no_place_for_data() {
    let mut bench = Bench::new("");
    bench.environment.clear();
    assert_eq!(
        bench.told(),
        [
            "plugins.toml: there is no place for data: neither HOME nor XDG_STATE_HOME is set — write data-dir = \"/var/lib/autobench\" in [daemon]"
        ]
    );
}

#[test]
fn a_problem_is_drawn_into_its_text() {
    let errors = Bench::new("[daemon]\nlisen = 1\n").load().unwrap_err();
    let drawn = errors.render(Colour::None, 100);
    for part in [
        "plugins.toml:2:1",
        "lisen = 1",
        "here",
        "did you mean \"listen\"?",
        "unknown-key",
    ] {
        assert!(drawn.contains(part), "{part} is missing in:\n{drawn}");
    }
    assert!(!drawn.contains('\u{1b}'));
    assert!(errors.render(Colour::Ansi, 100).contains('\u{1b}'));
}

#[test]
fn a_problem_as_json_carries_its_place() {
    let bench = Bench::new("[daemon]\nlisen = 1\n");
    let errors = bench.load().unwrap_err();
    let file = bench.path("plugins.toml").display().to_string();
    assert_eq!(
        errors.problems[0].to_json(),
        serde_json::json!({
            "weight": "error", "code": "unknown-key", "message": "[daemon] has no key \"lisen\"", "place": format!("{file}:2:1"),
            "hint": "did you mean \"listen\"?", "file": file, "line": 2, "column": 1,
        })
    );
}

// --- good ones ---

#[test]
fn an_empty_file_is_a_bench_without_devices() {
    let bench = Bench::new("");
    let config = bench.load().unwrap();
    let folder = bench.folder.path();
    assert_eq!(config.daemon.listen, "127.0.0.1:9898".parse().unwrap());
    assert_eq!(config.daemon.plugins_dir, folder.join("plugins"));
    assert_eq!(
        config.daemon.data_dir,
        PathBuf::from("/home/nobody/.local/state/autobench")
    );
    assert_eq!(config.daemon.web_dir, None);
    assert_eq!(config.daemon.broadcast_interval_ms, 10);
    assert!(config.daemon.deflate);
    assert_eq!(config.daemon.limits.message_bytes, 65_536);
    assert_eq!(
        (
            config.daemon.limits.heartbeat_interval_ms,
            config.daemon.limits.heartbeat_timeout_ms
        ),
        (30_000, 60_000)
    );
    assert_eq!(
        (config.layout, config.devices.len(), config.warnings),
        (None, 0, vec![])
    );
    assert_eq!(config.client, autobench_core::wire::ServerConfig::default());
    assert_eq!(config.logs.capacity, 500);
}

#[test]
fn a_bench_with_everything_means_what_it_says() {
    use autobench_core::driver::{DataBits, FlowControl, Parity, StopBits};
    let bench = Bench::new(
        r#"
[daemon]
listen = "[::1]:0"
plugins-dir = "plugins"
data-dir = "/var/lib/x"
web-dir = "web"
sysfs-root = "sys"
allowed-hosts = ["Bench.local.", "192.0.2.7"]
broadcast-interval-ms = 0
deflate = false
[daemon.limits]
clients = 7
message-kib = 1
[devices.front-panel]
plugin = "atx"
[devices.front-panel.ports.main]
usb = "0403:6001:A:B"
baud-rate = 9600
data-bits = 7
parity = "even"
stop-bits = 2
flow-control = "hardware"
dtr = false
rts = true
hangup-on-close = false
exclusive = false
[devices.front-panel.settings]
nested = { list = [1, 2.5, "x", true, 2024-01-01] }
[devices.front-panel.limits]
memory-mib = 8
slice-kib = 16
[devices.front-panel.grants]
read-slices = ["powerMeter"]
[devices.meter]
plugin = "power-meter"
slice = "powerMeter"
ports.main.sim = { device = "wattsup", seed = 7, speed = 2, faults = "nuls,split:50:20" }
[layout]
rows = 1
cols = 2
panes = [{ pane = "power-meter", device = "meter" }, { pane = "logs", col = 1 }]
"#,
    );
    let config = bench.load().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, []);
    assert_eq!(config.daemon.allowed_hosts, ["bench.local", "192.0.2.7"]);
    assert!(!config.daemon.deflate);
    assert_eq!(config.daemon.sysfs_root, bench.path("sys"));
    assert_eq!(config.daemon.web_dir, Some(bench.path("web")));
    assert_eq!(
        (config.daemon.limits.clients, config.daemon.limits.message_bytes),
        (7, 1024)
    );

    let panel = &config.devices["front-panel"];
    assert_eq!(panel.slice.as_str(), "frontPanel");
    let port = &panel.ports["main"];
    assert_eq!(
        port.source,
        PortSource::Usb {
            vendor: 0x0403,
            product: 0x6001,
            serial: Some("A:B".into())
        }
    );
    assert_eq!(
        port.line,
        LineOverrides {
            baud_rate: Some(9600),
            data_bits: Some(DataBits::Seven),
            parity: Some(Parity::Even),
            stop_bits: Some(StopBits::Two),
            flow_control: Some(FlowControl::Hardware),
        }
    );
    assert_eq!(
        (port.dtr, port.rts, port.hangup_on_close, port.exclusive),
        (Some(false), Some(true), Some(false), false)
    );
    assert_eq!(
        panel.settings,
        serde_json::json!({"nested": {"list": [1, 2.5, "x", true, "2024-01-01"]}})
    );
    assert_eq!(
        panel.limits,
        DriverLimits {
            memory_bytes: 8 << 20,
            slice_bytes: 16 << 10
        }
    );
    assert_eq!(panel.grants.read_slices[0].as_str(), "powerMeter");

    let meter = &config.devices["meter"];
    assert_eq!(meter.settings, serde_json::json!({}));
    assert_eq!(meter.limits, DriverLimits::default());
    let PortSource::Sim(sim) = &meter.ports["main"].source else {
        panic!("{meter:?}")
    };
    assert_eq!(
        (sim.seed, sim.speed, sim.faults.to_string().as_str()),
        (Some(7), 2.0, "nuls,split:50:20")
    );
    assert!(meter.ports["main"].exclusive);

    let layout = serde_json::to_value(config.layout).unwrap();
    assert_eq!(
        layout,
        serde_json::json!({"rows": 1, "cols": 2, "panes": [
            {"id": "power-meter", "pane": "power-meter", "slice": "powerMeter", "device": "meter", "row": 0, "col": 0, "rowSpan": 1, "colSpan": 1},
            {"id": "logs", "pane": "logs", "row": 0, "col": 1, "rowSpan": 1, "colSpan": 1},
        ]})
    );
}

#[test]
fn variables_override_the_file_and_flags_override_variables() {
    let bench = Bench::new("[daemon]\nlisten = \"127.0.0.1:1\"\nweb-dir = \"a\"\n");
    assert_eq!(bench.load().unwrap().daemon.listen.port(), 1);
    let mut bench = bench
        .variable("AUTOBENCH_LISTEN", "127.0.0.1:2")
        .variable("AUTOBENCH_WEB_DIR", "/b");
    let config = bench.load().unwrap();
    assert_eq!(
        (config.daemon.listen.port(), config.daemon.web_dir),
        (2, Some("/b".into()))
    );
    bench.overrides = Overrides {
        listen: Some("127.0.0.1:3".parse().unwrap()),
        web_dir: Some("c".into()),
        ..Overrides::default()
    };
    let config = bench.load().unwrap();
    assert_eq!(
        (config.daemon.listen.port(), config.daemon.web_dir),
        (3, Some(std::env::current_dir().unwrap().join("c")))
    );
}

#[test]
fn the_variables_of_the_log_and_of_browsers_are_taken_under_their_names() {
    let config = Bench::new("")
        .variable("LOG_CHANNEL_ALLOWLIST", "websocket, app,,request")
        .variable("LOG_LEVEL_MIN", "WARN")
        .variable("LOG_REDACT_REGEX", "token=\\S+")
        .variable("LOG_LEVEL", "error")
        .variable("PRETTY_LOGS", "false")
        .variable("NO_COLOR", "1")
        .variable("CLIENT_LOGS_SNAPSHOT", "20")
        .variable("CLIENT_LOGS_CAPACITY", "50")
        .variable("CLIENT_LOGS_TO_KEEP", "70")
        .variable("VITE_WS_HEARTBEAT_INTERVAL_MS", "1000")
        .variable("VITE_WS_HEARTBEAT_TIMEOUT_MS", "500")
        .variable("VITE_WS_RECONNECT_ENABLED", "false")
        .variable("VITE_WS_RECONNECT_MIN_MS", "10")
        .variable("VITE_WS_RECONNECT_MAX_MS", "20")
        .variable("VITE_WS_RECONNECT_FACTOR", "2")
        .variable("VITE_WS_RECONNECT_JITTER", "0")
        .variable("WS_HEARTBEAT_LOG", "true")
        .variable("LOG_INGEST_TOKEN", "0123456789abcdef")
        .variable("LOG_INGEST_ALLOWED_CHANNELS", "sidecar,ffmpeg")
        .load()
        .unwrap();
    assert_eq!(
        serde_json::to_value(&config.client).unwrap(),
        serde_json::json!({
            "logs": {"snapshot": 20, "capacity": 50, "allowedChannels": ["websocket", "app", "request"], "minLevel": "warn"},
            "ws": {"heartbeatIntervalMs": 1000, "heartbeatTimeoutMs": 500, "reconnectEnabled": false, "reconnectMinMs": 10,
                   "reconnectMaxMs": 20, "reconnectFactor": 2.0, "reconnectJitter": 0.0},
        })
    );
    assert_eq!((config.logs.capacity, config.logs.heartbeat), (70, true));
    assert_eq!(config.ingest.token.as_deref(), Some("0123456789abcdef"));
    assert_eq!(config.ingest.allowed_channels, ["sidecar", "ffmpeg"]);
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
    assert_eq!(config.logs.policy().presentable("a token=5 b"), "a [redacted] b");
    assert_eq!(config.logs.terminal.is_pretty, Some(false));
    assert!(config.logs.terminal.no_color);
}

#[test]
fn an_edit_changes_only_the_entry_it_touches() {
    let bench = Bench::new(&format!("{METER}[devices.panel]\nplugin = \"atx\"\n"));
    let before = bench.load().unwrap();
    let bench = bench.file(
        "plugins.toml",
        &format!("# a comment\n{METER}[devices.panel]\nplugin = \"atx\"\nsettings.press-ms = 250\n"),
    );
    let after = bench.load().unwrap();
    assert_eq!(before.devices["meter"], after.devices["meter"]);
    assert_ne!(before.devices["panel"], after.devices["panel"]);
    assert_eq!(before.daemon, after.daemon);
}

#[test]
fn a_line_setting_that_is_not_written_comes_from_the_manifest() {
    use autobench_core::driver::{DataBits, FlowControl, LineSettings, Parity, StopBits};
    let manifest = LineSettings {
        baud_rate: 115_200,
        data_bits: DataBits::Eight,
        parity: Parity::None,
        stop_bits: StopBits::One,
        flow_control: FlowControl::None,
    };
    assert_eq!(LineOverrides::default().over(manifest), manifest);
    let overrides = LineOverrides {
        parity: Some(Parity::Odd),
        ..LineOverrides::default()
    };
    assert_eq!(
        overrides.over(manifest),
        LineSettings {
            parity: Parity::Odd,
            ..manifest
        }
    );
}

// --- what is written about it ---

const MANUAL: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_manual_names_every_key() {
    let unknown = "qqqqqq = 1\n";
    let told = Bench::new(&format!(
        "{unknown}[daemon]\n{unknown}[daemon.limits]\n{unknown}[auth]\n{unknown}[auth.tokens.a]\n{unknown}[layout]\n{unknown}\
         [[layout.panes]]\n{unknown}[devices.a]\n{unknown}[devices.a.ports.b]\n{unknown}[devices.a.limits]\n{unknown}\
         [devices.a.grants]\n{unknown}[devices.a.ports.c.sim]\n{unknown}"
    ))
    .told();
    let known: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split_once(" — known here: "))
        .flat_map(|(_, keys)| keys.split(", "))
        .collect();
    assert!(known.len() > 50, "{told:#?}");
    for key in known {
        let is_named = MANUAL.contains(&format!("`{key}`"))
            || MANUAL.contains(&format!(".{key}"))
            || MANUAL.contains(&format!("[{key}"));
        assert!(is_named, "docs/configuration.md does not name {key}");
    }
}

#[test]
fn the_manual_names_every_variable() {
    for variable in variables::KNOWN {
        assert!(
            MANUAL.contains(&format!("`{variable}`")),
            "docs/configuration.md does not name {variable}"
        );
    }
}

#[test]
fn the_demo_bench_is_good_once_its_plugin_is_built() {
    let bench = Bench::new(include_str!("../../../plugins.toml"))
        .file("target/autobench/plugins/power-meter.wasm", "");
    let config = bench.load().unwrap_or_else(|errors| panic!("{errors}"));
    let meter = &config.devices["meter"];
    assert_eq!(
        (meter.plugin.as_str(), meter.slice.as_str()),
        ("power-meter", "powerMeter")
    );
    assert!(matches!(&meter.ports["main"].source, PortSource::Sim(sim) if sim.device == SimDevice::WattsUp));
    assert_eq!(config.daemon.listen, DEFAULT_LISTEN);
}
