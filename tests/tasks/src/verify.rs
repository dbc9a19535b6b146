//! `cargo verify`: every check and every test there is, in one run that goes on after a failure.

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::checkout::Checkout;
use crate::console::{Console, Stream, seconds, wants_colour};
use crate::counts::{Kind, Libtest, Tally, Web};
use crate::failure::Failure;
use crate::run::Ended;
use crate::toolchain::Toolchain;
use crate::{debian, examples, guests, mirror, properties, run};

/// The steps that every run has; the lines count along.
const STEPS: usize = 18;
/// A build from nothing takes a third of this on two cores. What takes longer is stuck, and is ended so that the rest can still run.
const LIMIT: Duration = Duration::from_secs(25 * 60);
/// The same with `--long`.
const LONG_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);
/// Programs that are Chromium under another name.
const CHROMIUM: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// Runs everything. The code tells whether all passed.
pub fn verify(arguments: &[String]) -> Result<ExitCode, Failure> {
    let long = match arguments {
        [] => false,
        [only] if only == "--long" => true,
        _ => return Err(Failure::new("cargo verify takes no argument but --long")),
    };
    let checkout = Checkout::find()?;
    // Browser tests may all be stories of `tests/tests`; the script is run where there is one.
    let manifest = std::fs::read_to_string(checkout.web().join("package.json")).unwrap_or_default();
    let browser_script = manifest.contains("\"test:browser\"");
    let mut verify = Verify {
        checkout,
        console: Console::new(
            Stream::Out,
            STEPS + usize::from(browser_script) + usize::from(long),
        ),
        tally: Tally::default(),
        chromium: None,
        browser_script,
        long,
    };
    verify.set_up();
    verify.web();
    verify.rust();
    Ok(verify.report())
}

struct Verify {
    checkout: Checkout,
    console: Console,
    tally: Tally,
    chromium: Option<PathBuf>,
    browser_script: bool,
    long: bool,
}

impl Verify {
    fn set_up(&mut self) {
        let toolchain = self.prepare("wasm target", |checkout| {
            let toolchain = Toolchain::ensure(checkout)?;
            let origin = toolchain.origin.clone();
            Ok((toolchain, origin))
        });
        self.chromium = self.prepare("chromium", |_| {
            let program = chromium()?;
            let words = program.display().to_string();
            Ok((program, words))
        });
        self.prepare("npm packages", |checkout| Ok(((), mirror::packages(checkout)?)));
        self.prepare("mirror", |checkout| Ok(((), mirror::page(checkout)?)));
        self.prepare("plugins", |checkout| {
            Ok(((), guests::plugins(checkout, needed(&toolchain)?)?))
        });
        self.prepare("fixture drivers", |checkout| {
            Ok(((), guests::fixtures(checkout, needed(&toolchain)?)?))
        });
    }

    fn web(&mut self) {
        self.check("web types", |verify| verify.npm("typecheck"));
        self.check("web lint", |verify| verify.npm("lint"));
        self.web_tests("web tests", "test", Kind::Web);
    }

    fn rust(&mut self) {
        self.check("format", |verify| verify.cargo(&["fmt", "--all", "--check"]));
        // One call builds daemon and tests with the same features, so that no dependency is compiled twice for them.
        self.prepare("build", |checkout| {
            let targets = ["--lib", "--bins", "--tests", "--examples"];
            run::stream(checkout.cargo().args(["build", "--workspace"]).args(targets))?;
            Ok(((), "daemon and tests".to_owned()))
        });
        self.other_languages();
        self.rust_tests();
        // Only now, because the script may start the daemon.
        if self.browser_script {
            self.web_tests("browser tests", "test:browser", Kind::Browser);
        }
        self.check("clippy", |verify| {
            verify.cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ])
        });
        self.check("documentation", |verify| {
            let mut command = verify.cargo(&["doc", "--workspace", "--no-deps"]);
            command.env("RUSTDOCFLAGS", "-D warnings");
            command
        });
    }

    fn other_languages(&mut self) {
        self.prepare("driver in Python", |checkout| {
            Ok(((), examples::python(checkout)?))
        });
        for (name, example) in [("SDK for Python", false), ("its example", true)] {
            self.check(name, |verify| {
                let mut command = examples::python_tests(&verify.checkout, example);
                verify.tell_tests(&mut command);
                command
            });
        }
        self.check("SDK for JavaScript", |verify| {
            let mut command = examples::javascript_tests(&verify.checkout);
            verify.tell_tests(&mut command);
            command
        });
        // Their tools are 400 MB, and their components are built for one story and a benchmark.
        if self.long {
            self.prepare("drivers in JavaScript", |checkout| {
                Ok(((), examples::javascript(checkout)?))
            });
        }
    }

    /// A step that makes something ready. It counts only when it fails; what needed it then fails too, and says how.
    fn prepare<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&Checkout) -> Result<(T, String), Failure>,
    ) -> Option<T> {
        match self.console.step(name, |_| work(&self.checkout)) {
            Ok(made) => Some(made),
            Err(failure) => {
                self.console.say(&format!("{failure}"));
                self.tally.fail(Kind::Check, name);
                None
            }
        }
    }

    /// A command that passes or fails as a whole.
    fn check(&mut self, name: &str, command: impl FnOnce(&Self) -> Command) {
        let command = command(self);
        match self.watched(name, command, |_| ()) {
            Ok(Ended::Well) => self.tally.add(Kind::Check, 1, 0),
            _ => self.tally.fail(Kind::Check, name),
        }
    }

    fn web_tests(&mut self, name: &str, script: &str, kind: Kind) {
        let command = self.npm(script);
        let mut reader = Web::default();
        let ended = self.watched(name, command, |line| reader.line(line));
        reader.finish(kind, matches!(ended, Ok(Ended::Well)), &mut self.tally);
    }

    fn rust_tests(&mut self) {
        let stories = guests::source_names(&self.checkout.root.join("tests/tests")).unwrap_or_default();
        let properties = properties::names(&self.checkout.root).unwrap_or_default();
        // What the tests measured and which seeds they drew is worth a look also when they pass.
        let command = self.cargo(&["test", "--workspace", "--no-fail-fast", "--", "--show-output"]);
        // The reader borrows the tally while the step borrows the rest.
        let mut tally = std::mem::take(&mut self.tally);
        let mut reader = Libtest::new(&stories, &properties, &mut tally);
        let ended = self.watched("tests", command, |line| reader.line(line));
        reader.finish(matches!(ended, Ok(Ended::Well)));
        self.tally = tally;
    }

    /// Runs a command as a step of its own, shown and read.
    fn watched(
        &mut self,
        name: &str,
        mut command: Command,
        read: impl FnMut(&str),
    ) -> Result<Ended, Failure> {
        let limit = if self.long { LONG_LIMIT } else { LIMIT };
        self.console.step(name, |console| {
            let ended = run::watch(&mut command, &mut io::stdout(), limit, read);
            if let Err(failure) = &ended {
                console.say(&format!("{failure}"));
            }
            let words = match &ended {
                Ok(Ended::Well) => "ok".to_owned(),
                Ok(Ended::Badly) => "FAILED".to_owned(),
                Ok(Ended::OverTime) => format!("ended after {}", seconds(limit)),
                Err(_) => "did not start".to_owned(),
            };
            Ok((ended, words))
        })?
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.checkout.cargo();
        command.args(arguments);
        if wants_colour() {
            command.env("CARGO_TERM_COLOR", "always");
        }
        self.tell_tests(&mut command);
        command
    }

    fn npm(&self, script: &str) -> Command {
        let mut command = mirror::npm(&self.checkout);
        command.args(["run", script]);
        if wants_colour() {
            command.env("FORCE_COLOR", "1");
        }
        self.tell_tests(&mut command);
        command
    }

    /// The paths that stories and browser tests work with. A test run by hand sets them itself or takes the same places.
    fn tell_tests(&self, command: &mut Command) {
        let out = &self.checkout.out;
        command
            .env("AUTOBENCH_BIN", self.checkout.daemon())
            .env("AUTOBENCH_PLUGINS", out.join("plugins"))
            .env("AUTOBENCH_FIXTURES", out.join("fixtures"))
            .env("AUTOBENCH_WEB", out.join("web"))
            .env("AUTOBENCH_EXAMPLES", examples::folder(&self.checkout))
            .env("AUTOBENCH_KIT", examples::kit(&self.checkout));
        if let Some(chromium) = &self.chromium {
            command.env("AUTOBENCH_CHROMIUM", chromium);
        }
        if self.long {
            command.env("AUTOBENCH_LONG", "1");
        }
    }

    fn report(mut self) -> ExitCode {
        self.tally.demand_all();
        let console = &self.console;
        console.say("");
        for (name, took) in console.times() {
            console.say(&format!("{:>14}  {name}", seconds(*took)));
        }
        console.say(&format!("{:>14}  in all\n", seconds(console.elapsed())));
        for failure in self.tally.failures() {
            console.say(&format!("failed  {failure}"));
        }
        for kind in Kind::ALL {
            console.say(&format!("{kind}: {}", self.tally.count(kind)));
        }
        let total = self.tally.total();
        console.say(&total.to_string());
        if total.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

fn needed(toolchain: &Option<Toolchain>) -> Result<&Toolchain, Failure> {
    toolchain
        .as_ref()
        .ok_or_else(|| Failure::new("there is no wasm target to build for"))
}

/// Finds Chromium, or installs it where that can be done without asking.
fn chromium() -> Result<PathBuf, Failure> {
    if let Some(chosen) = std::env::var_os("AUTOBENCH_CHROMIUM").map(PathBuf::from) {
        return if chosen.is_file() {
            Ok(chosen)
        } else {
            Err(Failure::new(format!(
                "AUTOBENCH_CHROMIUM is {}, which is no file",
                chosen.display()
            )))
        };
    }
    if let Some(found) = run::find(&CHROMIUM) {
        return Ok(found);
    }
    if debian::is_debian() && debian::is_root() {
        debian::update()?;
        debian::install(&["chromium"])?;
    }
    run::find(&CHROMIUM).ok_or_else(|| {
        Failure::new("the browser tests need Chromium, which is not here").remedy(
            "Install it (on Debian: apt-get install chromium), or set AUTOBENCH_CHROMIUM to the program.",
        )
    })
}
