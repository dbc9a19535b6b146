//! Chromium with one page, in a process of its own, steered through `web/tests-browser/remote.mjs`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;

/// A cold Chromium on a machine that builds beside takes its time.
const START: Duration = Duration::from_secs(90);

/// A browser with the page.
pub struct Browser {
    child: Child,
    // Taken when it is to end: the script ends with its standard input.
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    /// Its profile, which a browser that is killed does not tidy away.
    _folder: TempDir,
}

/// What a person sees on the page. What is not there is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// The large number.
    pub watts: String,
    /// The meter's phase.
    pub phase: String,
    /// The badge's word.
    pub link: String,
    /// The badge's status, as the page names it.
    pub link_status: String,
    /// Whether the power meter's pane is marked as stale; none while there is no pane.
    pub is_stale: Option<bool>,
    /// What the pane says about that.
    pub stale_text: String,
    /// How many samples the chart shows.
    pub chart_samples: u64,
    /// Which run of the daemon the page shows.
    pub boot_id: String,
}

impl Look {
    /// The large number as one.
    pub fn number(&self) -> Option<f64> {
        self.watts.parse().ok()
    }

    /// Whether the page is connected and what it shows is live.
    pub fn is_live(&self) -> bool {
        self.link_status == "live" && self.is_stale == Some(false) && self.number().is_some()
    }
}

impl Browser {
    /// Starts a browser and opens the page in a dark window on a desk.
    pub fn open(url: &str) -> Self {
        Self::open_sized(url, 1280, 800)
    }

    /// As [`Self::open`], with the window's size in pixels.
    pub fn open_sized(url: &str, width: u32, height: u32) -> Self {
        let script = web().join("tests-browser/remote.mjs");
        assert!(
            std::env::var_os("AUTOBENCH_CHROMIUM").is_some_and(|program| Path::new(&program).is_file()),
            "AUTOBENCH_CHROMIUM names no program; the browser stories are run by `cargo verify`, which finds Chromium"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new("node")
            .arg(&script)
            .current_dir(web())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // One answer per request, and the requests wait for it: there is never a second line.
        let (sender, answers) = sync_channel(1);
        // Ends with the script, which is killed at the latest when the browser is dropped.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            stdin: child.stdin.take(),
            child,
            answers,
            _folder: folder,
        };
        let request = json!({"do": "open", "url": url, "width": width, "height": height, "scheme": "dark"});
        browser.ask_within(&request, START);
        browser
    }

    /// Loads the page anew.
    pub fn reload(&mut self) {
        self.ask(&json!({"do": "reload"}));
    }

    /// Looks at the page.
    pub fn look(&mut self) -> Look {
        let seen = self.ask(&json!({"do": "look"}));
        let text = |name: &str| seen[name].as_str().unwrap_or_default().to_owned();
        Look {
            watts: text("watts"),
            phase: text("phase"),
            link: text("link"),
            link_status: text("linkStatus"),
            is_stale: seen["stale"].as_str().map(|value| value == "true"),
            stale_text: text("staleText"),
            chart_samples: seen["chartSamples"].as_u64().unwrap_or_default(),
            boot_id: text("bootId"),
        }
    }

    /// Looks until the look gives something.
    pub fn until<T>(&mut self, what: &str, mut judge: impl FnMut(&Look) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let look = self.look();
            if let Some(found) = judge(&look) {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "not within {PATIENCE:?}: {what}; the page shows {look:?} and complains {:?}",
                self.complaints()
            );
            // How often it looks; what it waits for is the look.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The page's copy of the state, and the watts that it shows at the same moment.
    pub fn document(&mut self) -> (Value, String) {
        let mut both = self.ask(&json!({"do": "document"}));
        let watts = both["watts"].as_str().unwrap_or_default().to_owned();
        (both["document"].take(), watts)
    }

    /// The samples that the page holds of a series, as times and values.
    pub fn series(&mut self, endpoint: u64) -> Vec<(f64, f64)> {
        let samples = self.ask(&json!({"do": "series", "endpointId": endpoint}));
        let number = |value: &Value| value.as_f64().expect("a number");
        let samples = samples.as_array().expect("samples").iter();
        samples
            .map(|sample| (number(&sample[0]), number(&sample[1])))
            .collect()
    }

    /// What everything with this `data-testid` says, in the order of the page.
    pub fn texts(&mut self, testid: &str) -> Vec<String> {
        texts(&self.ask(&json!({"do": "texts", "testid": testid})))
    }

    /// Waits until something with this `data-testid` says this, among other things.
    pub fn until_said(&mut self, testid: &str, text: &str) {
        self.until_said_within(PATIENCE, testid, text);
    }

    /// As [`Self::until_said`], for what takes longer than a story usually waits.
    pub fn until_said_within(&mut self, patience: Duration, testid: &str, text: &str) {
        let deadline = Instant::now() + patience;
        loop {
            let said = self.texts(testid);
            if said.iter().any(|one| one.contains(text)) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not within {patience:?}: {testid} says {text:?}; it says {said:?}, and the page complains {:?}",
                self.complaints()
            );
            // The same.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The types of the messages that each WebSocket of the page has got, in order.
    pub fn sockets(&mut self) -> Vec<Vec<String>> {
        let sockets = self.ask(&json!({"do": "sockets"}));
        sockets.as_array().expect("sockets").iter().map(texts).collect()
    }

    /// What sticks out of the page to the side or is cut off.
    pub fn overflow(&mut self) -> Vec<String> {
        texts(&self.ask(&json!({"do": "overflow"})))
    }

    /// What the page did that no page may: errors in the console, exceptions, breaches of the content policy, requests to others.
    pub fn complaints(&mut self) -> Vec<String> {
        texts(&self.ask(&json!({"do": "complaints"})))
    }

    /// What the daemon answered to each handshake of the page's sockets about extensions, as the browser understood it.
    pub fn extensions(&mut self) -> Vec<String> {
        texts(&self.ask(&json!({"do": "extensions"})))
    }

    /// Gives the window another size, and the system the scheme `dark` or `light`.
    pub fn shape(&mut self, width: u32, height: u32, scheme: &str) {
        self.ask(&json!({"do": "shape", "width": width, "height": height, "scheme": scheme}));
    }

    /// Types into the field with this label.
    pub fn fill(&mut self, label: &str, text: &str) {
        self.ask(&json!({"do": "fill", "label": label, "text": text}));
    }

    /// Presses the button with this name.
    pub fn press(&mut self, name: &str) {
        self.ask(&json!({"do": "press", "name": name}));
    }

    /// Puts the pointer on the button with this name, and down there.
    pub fn pointer_down(&mut self, name: &str) {
        self.ask(&json!({"do": "pointerDown", "name": name}));
    }

    /// Lets the pointer go where it is.
    pub fn pointer_up(&mut self) {
        self.ask(&json!({"do": "pointerUp"}));
    }

    /// Takes the pointer away from where it went down, still down, and lets it go there.
    pub fn pointer_up_elsewhere(&mut self) {
        self.ask(&json!({"do": "pointerUpElsewhere"}));
    }

    /// Clicks on what has this `data-testid`.
    pub fn click(&mut self, testid: &str) {
        self.ask(&json!({"do": "click", "testid": testid}));
    }

    /// Puts a key down, named as `KeyboardEvent.code` does.
    pub fn key_down(&mut self, code: &str) {
        self.ask(&json!({"do": "keyDown", "code": code}));
    }

    /// Uses another window for a moment.
    pub fn use_another_window(&mut self) {
        self.ask(&json!({"do": "useAnotherWindow"}));
    }

    /// Tells the page that its tab is hidden, and then that it is shown again. No tab of a browser without windows ever is.
    pub fn hide(&mut self) {
        self.ask(&json!({"do": "hide"}));
    }

    /// Closes the page. There is nothing to look at any more.
    pub fn close_page(&mut self) {
        self.ask(&json!({"do": "closePage"}));
    }

    /// Kills every process of it, as `kill -9` does: the page does nothing any more.
    pub fn kill(mut self) {
        let script = self.child.id();
        // The script comes last: Chromium tidies up when it is gone.
        for process in descendants(script) {
            kill(process);
        }
        kill(script);
        let _ = self.child.wait();
    }

    /// Saves what the window shows.
    pub fn screenshot(&mut self, path: &Path) {
        self.ask(&json!({"do": "screenshot", "path": path}));
    }

    fn ask(&mut self, request: &Value) -> Value {
        self.ask_within(request, PATIENCE)
    }

    fn ask_within(&mut self, request: &Value, patience: Duration) -> Value {
        writeln!(self.stdin.as_mut().unwrap(), "{request}").expect("the browser listens");
        let line = match self.answers.recv_timeout(patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("no answer within {patience:?}: {request}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the browser ended instead of answering {request}"),
        };
        let mut answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(answer["ok"], true, "{request}: {}", answer["error"]);
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The script closes its browser, which tidies its profile away; one that does not is killed, and Chromium ends with its pipe.
        drop(self.stdin.take());
        let ended = self.answers.recv_timeout(Duration::from_secs(10));
        if !matches!(ended, Err(RecvTimeoutError::Disconnected)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// What a process has started, and what that has, parents before their children.
fn descendants(ancestor: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("the processes");
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let process = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((process, parent(process)?))
        })
        .collect();
    let mut family = vec![ancestor];
    let mut place = 0;
    while let Some(&one) = family.get(place) {
        let children = parents.iter().filter(|(_, parent)| *parent == one);
        family.extend(children.map(|(process, _)| process));
        place += 1;
    }
    family.split_off(1)
}

/// Who started a process; none if it is gone.
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before is in parentheses, and may have some itself.
    let (_, numbers) = stat.rsplit_once(") ")?;
    numbers.split(' ').nth(1)?.parse().ok()
}

/// One that is gone already is as good as killed.
fn kill(process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let _ = kill_process(process.expect("a process"), Signal::KILL);
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().expect("a list").iter();
    values
        .map(|value| value.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The page's sources: cargo says where the package is, even when the checkout was moved after the build.
fn web() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.join("../web")
}
