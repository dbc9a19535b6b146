//! What stands behind a key: unknown keys, wrong types, bad values, bad names.

use super::*;

#[test]
fn keys_that_nobody_reads_are_errors_with_the_key_that_was_meant() {
    check(
        "[daemon]\nlisen = \"127.0.0.1:1\"\ncolour = 1\n[daemon.limits]\nclient = 5\n[deamon]\n",
        &[
            "plugins.toml:2:1: [daemon] has no key \"lisen\" — did you mean \"listen\"?",
            "plugins.toml:3:1: [daemon] has no key \"colour\" — known here: listen, plugins-dir, data-dir, web-dir, sysfs-root, \
             allowed-hosts, broadcast-interval-ms, deflate, debug-info, core-dumps, limits, log-file",
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
