//! The arguments, as clap reads them.

use std::net::SocketAddr;
use std::path::PathBuf;

use autobench_core::access::Role;
use clap::{Args, Parser, Subcommand};

use super::plugin::PluginArguments;
use super::sim::SimArguments;
use crate::config::Overrides;

/// autobench: one daemon beside a hardware bench.
#[derive(Debug, Parser, PartialEq)]
#[command(name = "autobench", version, about, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
#[command(propagate_version = true, arg_required_else_help = true)]
pub struct Arguments {
    /// Answer with JSON, one object per line
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const LONG_ABOUT: &str = "autobench owns a hardware bench: its serial ports, its state and its logs. Device drivers are WebAssembly \
components that can be replaced while a benchmark runs; browsers show a live mirror.";

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  failed; what went wrong is on standard error
  2  the command was wrong; nothing was done

Environment:
  NO_COLOR          no colours
  LOG_LEVEL         lowest level printed: debug, info (default), warn, error, fatal
  PRETTY_LOGS       true or false; without it, pretty on a terminal
  AUTOBENCH_CONFIG  the bench's file, where --config is not given
The other variables are in docs/configuration.md.";

const WATCH_HELP: &str = "\
A daemon that is away is waited for: one that does not answer, stops, starts again, or is full.

It ends with code 1, and says why, where trying again changes nothing:
  a name that cannot be resolved, unless it was good before
  an address at which the daemon has no socket (404)
  a token that is missing, wrong, or no longer what it was (401, 4401)";

const SEND_HELP: &str = "\
Exit codes:
  0  done; without --wait, taken
  1  failed, or the daemon does not answer
  2  the command line was wrong; nothing was sent
  3  refused by the daemon before the driver heard of it
  4  blocked: the driver did not try it
  5  expired: its deadline came first
  6  cancelled";

/// What can be asked.
#[derive(Debug, Subcommand, PartialEq)]
pub enum Command {
    /// Run the daemon on a bench until it is asked to stop
    Serve(BenchArguments),
    /// Run the daemon on a simulated bench and open its page
    Demo(DemoArguments),
    /// Say whether a configuration is good, and what to write where it is not
    CheckConfig {
        /// The bench's file
        #[arg(value_name = "FILE", default_value = "plugins.toml", env = "AUTOBENCH_CONFIG")]
        file: PathBuf,
    },
    /// Print what the daemon's socket sends
    #[command(after_help = WATCH_HELP)]
    Watch(WatchArguments),
    /// Ask a device for a command, and say what becomes of it
    #[command(after_help = SEND_HELP)]
    Send(SendArguments),
    /// Make, build and look after drivers
    Plugin(PluginArguments),
    /// Make a token for browsers and programs
    Token(TokenArguments),
    /// Be a device on a pseudo-terminal
    Sim(SimArguments),
    /// Measure a daemon under load
    Bench {
        /// What to measure.
        #[command(subcommand)]
        what: BenchCommand,
    },
    /// Compile the plugin on standard input; the daemon calls this
    #[command(hide = true)]
    Compile {
        /// At a low priority, because a benchmark may be running
        #[arg(long)]
        beside: bool,
        /// Keeps lines of the source
        #[arg(long)]
        debug_info: bool,
    },
}

/// Which bench, and what is different this time.
#[derive(Debug, Args, PartialEq)]
pub struct BenchArguments {
    /// The bench's file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "plugins.toml",
        env = "AUTOBENCH_CONFIG"
    )]
    pub config: PathBuf,
    /// Where to serve, for example 127.0.0.1:9898; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,
    /// Folder with the plugins' .wasm files
    #[arg(long, value_name = "FOLDER")]
    pub plugins_dir: Option<PathBuf>,
    /// Folder for what outlives a run
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Folder with the built mirror
    #[arg(long, value_name = "FOLDER")]
    pub web_dir: Option<PathBuf>,
    /// Serve /ws/echo as well, for suites that test the socket from outside
    #[arg(long)]
    pub test_endpoints: bool,
    /// Make load as lines on standard input say, and stop at their end; `autobench bench` starts its own daemon so
    #[arg(long, hide = true)]
    pub load_control: bool,
}

impl BenchArguments {
    /// What the flags override in the file.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen,
            plugins_dir: self.plugins_dir.clone(),
            data_dir: self.data_dir.clone(),
            web_dir: self.web_dir.clone(),
        }
    }
}

/// `autobench demo`.
#[derive(Debug, Args, PartialEq)]
pub struct DemoArguments {
    /// Which bench.
    #[command(flatten)]
    pub bench: BenchArguments,
    /// Do not open the page in a browser
    #[arg(long)]
    pub no_open: bool,
    /// End after this many seconds
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub for_seconds: Option<f64>,
}

/// `autobench watch`.
#[derive(Debug, Args, PartialEq)]
pub struct WatchArguments {
    /// The daemon's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9898")]
    pub url: String,
    /// End when the connection ends, instead of connecting again
    #[arg(long)]
    pub once: bool,
    /// End after this many messages
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// `autobench send`.
#[derive(Debug, Args, PartialEq)]
pub struct SendArguments {
    /// The device, as in plugins.toml
    #[arg(value_name = "DEVICE")]
    pub device: String,
    /// Name of the command, from the manifest of the device's plugin
    #[arg(value_name = "COMMAND")]
    pub command: String,
    /// One argument; the manifest says whether it is a number, true or false, or a text
    #[arg(long, value_name = "NAME=VALUE", value_parser = named_value)]
    pub arg: Vec<(String, String)>,
    /// All arguments, as a JSON object; @FILE reads them from a file and - from standard input, for what nobody is to see
    #[arg(long, value_name = "JSON")]
    pub args: Option<String>,
    /// Wait until the command is over, and print its stages
    #[arg(long)]
    pub wait: bool,
    /// Of a command that holds something: let go after so many seconds. Without it, when interrupted
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub hold_for: Option<f64>,
    /// How long the command may take, in seconds; 30 if not given
    #[arg(long = "timeout", value_name = "SECONDS", value_parser = seconds)]
    pub timeout_s: Option<f64>,
    /// Idempotency key: with the same key the command is done once, however often it is sent
    #[arg(long, value_name = "TEXT")]
    pub key: Option<String>,
    /// The daemon's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9898")]
    pub url: String,
    /// File with the token; without it the variable AUTOBENCH_TOKEN
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `autobench token`.
#[derive(Debug, Args, PartialEq)]
pub struct TokenArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand, PartialEq)]
pub enum TokenCommand {
    /// Make one, show it once, and print the lines for plugins.toml
    New {
        /// What its bearer may do: viewer, operator or admin
        #[arg(long, value_name = "ROLE", default_value = "operator")]
        role: Role,
        /// Its name in plugins.toml and in the audit
        #[arg(long, value_name = "NAME", default_value = "bench", value_parser = token_name)]
        name: String,
    },
}

/// `autobench bench`.
#[derive(Debug, Subcommand, PartialEq)]
pub enum BenchCommand {
    /// Changes of the state to many clients: deliveries, processor time, latency, memory
    Fanout(FanoutArguments),
    /// Log entries at speed, with clients connected: entries, memory, and whether every client's view is exact
    Logs(LogsArguments),
}

/// `autobench bench fanout`.
#[derive(Debug, Args, PartialEq)]
pub struct FanoutArguments {
    /// Clients that are connected
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clients)]
    pub clients: usize,
    /// Changes of the state per second; with --url they are asked for over HTTP, and 0 leaves the bench to itself
    #[arg(long, value_name = "PER SECOND", default_value_t = 1000.0, value_parser = rate)]
    pub rate: f64,
    /// A running daemon, for example ws://127.0.0.1:9898; without it one is started for the bench. AUTOBENCH_TOKEN holds a token for it
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Changes made at once, at the same rate
    #[arg(long, value_name = "NUMBER", default_value_t = 1, conflicts_with = "url", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub messages_per_flush: u32,
    /// broadcast-interval-ms of the bench's own daemon; 0 sends each change by itself
    #[arg(long, value_name = "MS", default_value_t = 0, conflicts_with = "url", value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub interval_ms: u64,
    /// Offer permessage-deflate
    #[arg(long)]
    pub deflate: bool,
}

/// `autobench bench logs`.
#[derive(Debug, Args, PartialEq)]
pub struct LogsArguments {
    /// Clients that are connected
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clients)]
    pub clients: usize,
    /// How many of them want only every tenth entry, and so get messages of their own
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub filtering: usize,
    /// Log entries per second
    #[arg(long, value_name = "PER SECOND", default_value_t = 200_000.0, value_parser = rate)]
    pub rate: f64,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "write address and port, for example {}",
            crate::config::likely_address(text)
        )
    })
}

fn token_name(text: &str) -> Result<String, String> {
    if crate::config::is_token_name(text) {
        Ok(text.to_owned())
    } else {
        Err("take letters, digits, dashes, dots and underscores, at most 64, and not local".to_owned())
    }
}

fn named_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, for example ms=200".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e9 => Ok(seconds),
        _ => Err("write a number of seconds above 0".into()),
    }
}

fn clients(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(clients) if (1..=50_000).contains(&clients) => Ok(clients),
        _ => Err("write a number of clients from 1 to 50000".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("write a number per second from 0 to 10000000".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::SimCommand;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_arguments_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn serve_takes_a_file_an_address_and_folders() {
        let arguments =
            parse("autobench serve --config b.toml --listen 127.0.0.1:0 --web-dir w --data-dir d --plugins-dir p --json").unwrap();
        assert!(arguments.json);
        let Command::Serve(bench) = arguments.command else {
            panic!("{arguments:?}")
        };
        assert_eq!(bench.config, PathBuf::from("b.toml"));
        let overrides = bench.overrides();
        assert_eq!(overrides.listen, Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(overrides.web_dir, Some("w".into()));
        assert_eq!(overrides.data_dir, Some("d".into()));
        assert_eq!(overrides.plugins_dir, Some("p".into()));
    }

    #[test]
    fn json_stands_before_or_behind_the_command() {
        for line in [
            "autobench --json check-config",
            "autobench check-config --json",
            "autobench check-config x.toml --json",
        ] {
            assert!(parse(line).unwrap().json, "{line}");
        }
    }

    #[test]
    fn a_demo_can_end_by_itself_and_leave_the_browser_alone() {
        let Command::Demo(demo) = parse("autobench demo --no-open --for 1.5 --listen [::1]:0")
            .unwrap()
            .command
        else {
            panic!("no demo");
        };
        assert_eq!((demo.no_open, demo.for_seconds), (true, Some(1.5)));
        let Command::Demo(demo) = parse("autobench demo").unwrap().command else {
            panic!("no demo")
        };
        assert_eq!(
            (demo.no_open, demo.for_seconds, demo.bench.listen),
            (false, None, None)
        );
    }

    #[test]
    fn a_simulated_meter_takes_seed_speed_faults_and_journal() {
        let line = "autobench sim wattsup --link /tmp/m --seed 7 --speed 20 --fault nuls,split:50:20 --journal j --control";
        let Command::Sim(sim) = parse(line).unwrap().command else {
            panic!("no sim")
        };
        let SimCommand::Wattsup(meter) = sim.device else {
            panic!("no meter")
        };
        assert_eq!((meter.seed, meter.speed, meter.control), (Some(7), 20.0, true));
        assert_eq!(meter.fault.to_string(), "nuls,split:50:20");
        assert_eq!(meter.journal, Some("j".into()));
    }

    #[test]
    fn a_simulated_bench_has_faults_for_each_device_and_a_single_board_has_a_link() {
        let device = |line: &str| match parse(line).unwrap().command {
            Command::Sim(sim) => sim.device,
            other => panic!("{other:?}"),
        };
        let SimCommand::Bench(bench) = device(
            "autobench sim bench --folder d --atx-fault stray,lost:20 --meter-fault nuls --seed 7 --control",
        ) else {
            panic!("no bench")
        };
        assert_eq!(
            (
                bench.atx_fault.to_string(),
                bench.keyboard_fault.to_string(),
                bench.meter_fault.to_string()
            ),
            ("stray:100,lost:20".into(), "none".into(), "nuls:20:50".into())
        );
        assert_eq!((bench.run.seed, bench.run.control), (Some(7), true));
        for name in ["front-panel", "keyboard"] {
            let (SimCommand::FrontPanel(board) | SimCommand::Keyboard(board)) =
                device(&format!("autobench sim {name} --link l --fault all"))
            else {
                panic!("no board")
            };
            assert_eq!(board.link, PathBuf::from("l"));
        }
    }

    #[test]
    fn a_bench_has_its_own_daemon_or_a_running_one() {
        let fanout = |line: &str| match parse(line).unwrap().command {
            Command::Bench {
                what: BenchCommand::Fanout(fanout),
            } => fanout,
            other => panic!("{other:?}"),
        };
        let own = fanout(
            "autobench bench fanout --clients 1000 --rate 500 --messages-per-flush 16 --deflate --json",
        );
        assert_eq!(
            (
                own.clients,
                own.rate,
                own.messages_per_flush,
                own.deflate,
                own.url
            ),
            (1000, 500.0, 16, true, None)
        );
        let running = fanout("autobench bench fanout --url ws://127.0.0.1:9898 --seconds 2.5 --rate 0");
        assert_eq!((running.seconds, running.rate), (2.5, 0.0));
        assert!(parse("autobench bench fanout --url ws://x --messages-per-flush 2").is_err());
    }

    #[test]
    fn wrong_usage_ends_with_two_and_says_what_to_write() {
        for (line, hint) in [
            (
                "autobench serve --listen localhost:99",
                "for example 127.0.0.1:99",
            ),
            ("autobench demo --for 0", "number of seconds above 0"),
            ("autobench demo --for NaN", "number of seconds above 0"),
            ("autobench sim wattsup --link x --speed 0", "factor from 0.001"),
            ("autobench sim wattsup --link x --fault nul", "nuls"),
            ("autobench sim wattsup", "--link"),
            ("autobench sim bench", "--folder"),
            ("autobench sim keyboard --link x --fault nuls", "stray"),
            ("autobench watch --count 0", "1.."),
            ("autobench token new --role root", "viewer, operator or admin"),
            ("autobench token new --name local", "not local"),
            ("autobench token new --name a/b", "letters, digits"),
            ("autobench bench fanout --clients 0", "from 1 to 50000"),
            ("autobench bench logs --rate=-1", "from 0 to"),
            ("autobench send relay", "COMMAND"),
            ("autobench send relay pulse --arg ms", "NAME=VALUE"),
            ("autobench serv", "serve"),
            ("autobench", "Usage"),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(hint), "{line}: {error}");
        }
        assert_eq!(parse("autobench --version").unwrap_err().exit_code(), 0);
    }

    #[test]
    fn the_help_names_the_exit_codes_and_hides_the_compiler() {
        let help = Arguments::command().render_long_help().to_string();
        assert!(
            help.contains("Exit codes:") && help.contains("NO_COLOR"),
            "{help}"
        );
        assert!(!help.contains("compile"), "{help}");
        assert!(matches!(
            parse("autobench compile --beside").unwrap().command,
            Command::Compile { .. }
        ));
    }
}
