//! The guide in `docs/writing-a-driver.md`, followed to the letter in an empty folder: each file is written as it is shown, each command is run in
//! its order, and what the guide says of the page is looked for in Chromium.
//!
//! What differs from what a reader does: the port of the daemon is one that is free here, the device lies in the test's own folder, and `CHECKOUT`
//! is where the page lies.
#![expect(clippy::expect_used, reason = "helpers of a story: what is missing fails it")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use e2e::{Artifacts, Browser, eventually};

/// The port that the guide names.
const PORT: &str = "9898";
/// Where the guide's device lies.
const DEVICE: &str = "/tmp/thermometer";

/// As it stands in the checkout, wherever that was moved after the build.
fn guide() -> String {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    std::fs::read_to_string(package.join("../docs/writing-a-driver.md")).expect("the guide is there")
}

/// A component with an interpreter in it takes its ten seconds to compile, and while the former version streams at a low priority.
const COMPILING: Duration = Duration::from_secs(300);

/// What stands between two fences.
struct Block {
    /// The words behind the opening fence: `sh`, or a language and the path of a file.
    words: Vec<String>,
    text: String,
}

fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("```") {
            let text: String = lines
                .by_ref()
                .take_while(|line| *line != "```")
                .map(|line| format!("{line}\n"))
                .collect();
            let words = words.split(' ').map(str::to_owned).collect();
            blocks.push(Block { words, text });
        }
    }
    blocks
}

/// A shell that a reader types into, and everything that was started from it.
struct Shell {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Shell {
    fn open(folder: &Path, artifacts: &Artifacts) -> Self {
        let tools = folder.join(".tools");
        std::fs::create_dir(&tools).expect("a folder");
        std::os::unix::fs::symlink(&artifacts.binary, tools.join("autobench")).expect("a link");
        let path = std::env::var("PATH").expect("a path");
        // Three folders above the page: target/autobench/web.
        let checkout = artifacts.web.ancestors().nth(3).expect("a checkout");
        let mut child = Command::new("bash")
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", tools.display()))
            .env("CHECKOUT", checkout)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("bash starts");
        let stdin = child.stdin.take().expect("it was piped");
        let stdout = BufReader::new(child.stdout.take().expect("it was piped"));
        Self { child, stdin, stdout }
    }

    /// Runs commands and waits for their end. What goes on in the background says what it says on standard error.
    fn run(&mut self, commands: &str) {
        println!("{commands}");
        writeln!(
            self.stdin,
            "{{ set -e\n{commands}set +e\n}} 1>&2; echo \"@ended $?\""
        )
        .expect("the shell listens");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the shell answers");
        assert_eq!(line.trim(), "@ended 0", "{commands}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The shell leads a group of its own, in which everything is that was started from it.
        let group = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn the_guide_leads_from_nothing_to_a_device_in_the_browser() {
    let artifacts = Artifacts::find();
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let device = folder.path().join("device");
    let guide = guide()
        .replace(PORT, &port.to_string())
        .replace(DEVICE, device.to_str().expect("a path of text"));
    let blocks = blocks(&guide);
    let mut shell = Shell::open(folder.path(), &artifacts);
    let mut browser: Option<Browser> = None;
    let (mut files, mut commands) = (0, 0);
    for block in &blocks {
        match block.words.as_slice() {
            [kind] if kind == "sh" => {
                shell.run(&block.text);
                commands += 1;
            }
            [_, file] => {
                std::fs::write(folder.path().join(PathBuf::from(file)), &block.text)
                    .expect("the file is written");
                files += 1;
            }
            words => panic!("a block of the guide is neither commands nor a file: {words:?}"),
        }
        if block.text.contains("autobench serve") {
            eventually("the daemon that the guide starts serves", async || {
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
            })
            .await;
            let mut opened = Browser::open(&format!("http://127.0.0.1:{port}/"));
            opened.until_said_within(COMPILING, "device-phase", "streaming");
            opened.until_said("series-value", "20.7");
            opened.until_said("series-value", "40");
            opened.until_said("field", "Bad lines0");
            opened.until_said("port", "attached");
            browser = Some(opened);
        }
    }
    assert!(
        files >= 4 && commands >= 6,
        "{files} files and {commands} blocks of commands"
    );
    let mut browser = browser.expect("the guide starts the daemon");
    browser.until_said_within(COMPILING, "reload", "swapped at");
    browser.until_said("driver", "thermometer 0.2.0, generation 2");
    browser.until_said("series-value", "21");
    assert_eq!(browser.complaints(), [""; 0]);
}
