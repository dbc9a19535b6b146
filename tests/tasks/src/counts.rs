//! Reads the runners' output and counts by kind.
//!
//! What a test is follows from where it lies:
//!
//! | kind | rule |
//! |---|---|
//! | browser | a test target of `tests/tests` whose name begins with `browser`, or `npm run test:browser` |
//! | story | any other test target of `tests/tests` |
//! | doc | an example in a doc comment |
//! | property | any other Rust test in a `proptest!` block, or whose path has a part that begins with `law` or `propert` |
//! | unit | any other Rust test |
//! | web | a test of Vitest |
//! | check | a command that has no tests: format, lints, types, documentation. Also a set-up step, but only when it fails |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What kind of test was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One command that passes or fails as a whole.
    Check,
    /// One function or type.
    Unit,
    /// A law over random cases.
    Property,
    /// The public binary on pseudo-terminals.
    Story,
    /// An example in the documentation.
    Doc,
    /// The mirror without a browser.
    Web,
    /// The mirror in a browser.
    Browser,
}

impl Kind {
    /// All kinds, in the order in which they are printed. Each must have at least one test.
    pub const ALL: [Self; 7] = [
        Self::Check,
        Self::Unit,
        Self::Property,
        Self::Story,
        Self::Doc,
        Self::Web,
        Self::Browser,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::Unit => "unit",
            Self::Property => "property",
            Self::Story => "story",
            Self::Doc => "doc",
            Self::Web => "web",
            Self::Browser => "browser",
        })
    }
}

/// How many passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed, and those that were to run and did not.
    pub failed: u64,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// All counts, and a line for each failure.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<Kind, Count>,
    failures: Vec<String>,
}

impl Tally {
    /// Counts tests of one kind.
    pub fn add(&mut self, kind: Kind, passed: u64, failed: u64) {
        let count = self.counts.entry(kind).or_default();
        count.passed += passed;
        count.failed += failed;
    }

    /// Counts one failure and remembers what it was.
    pub fn fail(&mut self, kind: Kind, what: impl Into<String>) {
        self.add(kind, 0, 1);
        self.failures.push(format!("{kind}: {}", what.into()));
    }

    /// The count of one kind.
    pub fn count(&self, kind: Kind) -> Count {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// The sum over all kinds.
    pub fn total(&self) -> Count {
        self.counts.values().fold(Count::default(), |sum, count| Count {
            passed: sum.passed + count.passed,
            failed: sum.failed + count.failed,
        })
    }

    /// What failed.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// A kind of which no test ran counts as a failure: a filter or a renamed folder must not look like success.
    pub fn demand_all(&mut self) {
        for kind in Kind::ALL {
            if self.count(kind) == Count::default() {
                self.fail(kind, "no test ran");
            }
        }
    }
}

/// Reads the merged output of `cargo test`.
pub struct Libtest<'a> {
    stories: &'a [String],
    properties: &'a BTreeSet<String>,
    tally: &'a mut Tally,
    program: Option<Program>,
    failed: u64,
}

/// One test program, from cargo's line that names it to the next such line.
struct Program {
    name: String,
    kind: Kind,
    results: u64,
    properties_passed: u64,
    properties_failed: u64,
}

impl<'a> Libtest<'a> {
    /// A reader that knows which test targets are stories, and which tests are written in a `proptest!` block.
    pub fn new(stories: &'a [String], properties: &'a BTreeSet<String>, tally: &'a mut Tally) -> Self {
        Self {
            stories,
            properties,
            tally,
            program: None,
            failed: 0,
        }
    }

    /// Reads one line.
    pub fn line(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if let Some(name) = running(trimmed) {
            let kind = self.kind_of(&name);
            self.begin(name, kind);
        } else if let Some(name) = trimmed.strip_prefix("Doc-tests ") {
            self.begin(format!("{name}, documentation"), Kind::Doc);
        } else if let Some((name, outcome)) = test(line) {
            self.test(name, outcome);
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.result(result);
        }
    }

    /// The run is over. A run that ended badly without a failed test did not run all there is.
    pub fn finish(mut self, ended_well: bool) {
        self.close();
        if !ended_well && self.failed == 0 {
            self.tally.fail(
                Kind::Check,
                "cargo test ended badly without a failed test: did everything compile?",
            );
        }
    }

    fn kind_of(&self, name: &str) -> Kind {
        if !self.stories.iter().any(|story| story == name) {
            if is_law(name) { Kind::Property } else { Kind::Unit }
        } else if name.starts_with("browser") {
            Kind::Browser
        } else {
            Kind::Story
        }
    }

    fn begin(&mut self, name: String, kind: Kind) {
        self.close();
        self.program = Some(Program {
            name,
            kind,
            results: 0,
            properties_passed: 0,
            properties_failed: 0,
        });
    }

    fn close(&mut self) {
        if let Some(program) = self.program.take()
            && program.results == 0
        {
            self.failed += 1;
            self.tally
                .fail(program.kind, format!("{} ended without a result", program.name));
        }
    }

    fn test(&mut self, name: &str, outcome: &str) {
        let Some(program) = &mut self.program else { return };
        let last = name.rsplit("::").next().unwrap_or(name);
        let property = program.kind == Kind::Unit && (is_law(name) || self.properties.contains(last));
        match outcome {
            "ok" if property => program.properties_passed += 1,
            "ok" => {}
            _ => {
                let kind = if property { Kind::Property } else { program.kind };
                if property {
                    program.properties_failed += 1;
                }
                self.tally
                    .failures
                    .push(format!("{kind}: {}: {name} {outcome}", program.name));
            }
        }
    }

    /// Ignored tests count as failed: a test that does not run must not look like one that passes.
    fn result(&mut self, result: &str) {
        let Some(program) = &mut self.program else { return };
        let number = |word| number_before(result, word).unwrap_or(0);
        let passed = number("passed");
        let failed = number("failed") + number("ignored");
        self.failed += failed;
        program.results += 1;
        let (laws_passed, laws_failed) = (
            std::mem::take(&mut program.properties_passed),
            std::mem::take(&mut program.properties_failed),
        );
        let kind = program.kind;
        if laws_passed + laws_failed > 0 {
            self.tally.add(Kind::Property, laws_passed, laws_failed);
        }
        self.tally.add(
            kind,
            passed.saturating_sub(laws_passed),
            failed.saturating_sub(laws_failed),
        );
    }
}

/// Reads the output of Vitest, of Node's test runner, or a plain line `N passed, N failed`.
#[derive(Default)]
pub struct Web {
    count: Count,
}

impl Web {
    /// Reads one line.
    pub fn line(&mut self, line: &str) {
        let words = line.trim();
        if let Some(summary) = words.strip_prefix("Tests ") {
            // Vitest: `Tests  1 failed | 11 passed | 2 skipped (14)`.
            for part in summary.split('|') {
                self.count.passed += number_before(part, "passed").unwrap_or(0);
                for word in ["failed", "skipped", "todo"] {
                    self.count.failed += number_before(part, word).unwrap_or(0);
                }
            }
        } else if let Some((sign, rest)) = words.split_once(' ')
            && matches!(sign, "#" | "ℹ")
            && let Some((word, number)) = rest.split_once(' ')
            && let Ok(number) = number.parse::<u64>()
        {
            // Node: `ℹ pass 11` on a terminal, `# pass 11` in a pipe.
            match word {
                "pass" => self.count.passed += number,
                "fail" | "cancelled" | "skipped" | "todo" => self.count.failed += number,
                _ => {}
            }
        } else if let Some((passed, failed)) = words.split_once(", ")
            && let (Some(passed), Some(failed)) = (alone(passed, "passed"), alone(failed, "failed"))
        {
            self.count.passed += passed;
            self.count.failed += failed;
        }
    }

    /// The run is over.
    pub fn finish(self, kind: Kind, ended_well: bool, tally: &mut Tally) {
        tally.add(kind, self.count.passed, self.count.failed);
        if self.count.failed > 0 {
            tally.failures.push(format!("{kind}: {}", self.count));
        } else if !ended_well {
            tally.fail(kind, "the runner ended badly without a failed test");
        } else if self.count.passed == 0 {
            tally.fail(kind, "the runner named no test");
        }
    }
}

/// `Running unittests src/lib.rs (target/debug/deps/autobench_core-0123456789abcdef)`: the name between folder and hash.
fn running(line: &str) -> Option<String> {
    let (_, path) = line.strip_prefix("Running ")?.rsplit_once('(')?;
    let file = path.strip_suffix(')')?.rsplit('/').next()?;
    Some(file.rsplit_once('-')?.0.to_owned())
}

/// `test state::laws::patches_add_up ... ok`: name and outcome. Doc tests have spaces in their names.
fn test(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = outcome.split([' ', ',', '(']).next()?;
    matches!(outcome, "ok" | "FAILED" | "ignored").then_some((name, outcome))
}

fn is_law(name: &str) -> bool {
    name.split("::")
        .any(|part| part.starts_with("law") || part.starts_with("propert"))
}

/// The number before a word, as in `3 passed; 0 failed`.
fn number_before(text: &str, word: &str) -> Option<u64> {
    let words: Vec<&str> = text
        .split([' ', ';', '.', '|'])
        .filter(|part| !part.is_empty())
        .collect();
    words.windows(2).find_map(|pair| match pair {
        [number, found] if *found == word => number.parse().ok(),
        _ => None,
    })
}

/// `3 passed` and nothing else.
fn alone(text: &str, word: &str) -> Option<u64> {
    text.strip_suffix(word)?.strip_suffix(' ')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn libtest(output: &str, ended_well: bool) -> Tally {
        let stories = ["reload".to_owned(), "browser_pair".to_owned()];
        let mut tally = Tally::default();
        let properties = BTreeSet::from(["split_anywhere".to_owned()]);
        let mut reader = Libtest::new(&stories, &properties, &mut tally);
        output.lines().for_each(|line| reader.line(line));
        reader.finish(ended_well);
        tally
    }

    fn web(output: &str, ended_well: bool) -> Tally {
        let mut reader = Web::default();
        output.lines().for_each(|line| reader.line(line));
        let mut tally = Tally::default();
        reader.finish(Kind::Web, ended_well, &mut tally);
        tally
    }

    fn count(passed: u64, failed: u64) -> Count {
        Count { passed, failed }
    }

    const GOOD: &str = "\
   Compiling autobench-core v0.1.0 (/checkout/host/core)
    Finished `test` profile [optimized + debuginfo] target(s) in 3.21s
     Running unittests src/lib.rs (target/debug/deps/autobench_core-0123456789abcdef)

running 4 tests
test frame::tests::split_anywhere ... ok
test state::pointer::tests::a_pointer_reads_its_own_text ... ok
test state::laws::patches_add_up ... ok
test state::tests::slow has been running for over 60 seconds
test state::tests::slow ... ok

test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.11s

     Running tests/reload.rs (target/debug/deps/reload-fedcba9876543210)

running 1 test
test a_good_file_takes_over ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s

     Running tests/browser_pair.rs (/elsewhere/debug/deps/browser_pair-fedcba9876543210)

running 2 tests
test one ... ok
test two ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s

   Doc-tests autobench_core

running 1 test
test host/core/src/state/mod.rs - state::Store (line 12) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.30s

";

    #[test]
    fn each_test_counts_for_its_kind() {
        let tally = libtest(GOOD, true);
        assert_eq!(tally.count(Kind::Unit), count(2, 0));
        assert_eq!(tally.count(Kind::Property), count(2, 0));
        assert_eq!(tally.count(Kind::Story), count(1, 0));
        assert_eq!(tally.count(Kind::Browser), count(2, 0));
        assert_eq!(tally.count(Kind::Doc), count(1, 0));
        assert_eq!(tally.total(), count(8, 0));
        assert!(tally.failures().is_empty());
    }

    #[test]
    fn a_failed_test_is_counted_and_named() {
        let output = GOOD
            .replace("patches_add_up ... ok", "patches_add_up ... FAILED")
            .replace("ok. 4 passed; 0 failed", "FAILED. 3 passed; 1 failed");
        let tally = libtest(&output, false);
        assert_eq!(tally.count(Kind::Property), count(1, 1));
        assert_eq!(tally.count(Kind::Unit), count(2, 0));
        assert_eq!(
            tally.failures(),
            ["property: autobench_core: state::laws::patches_add_up FAILED"]
        );
    }

    #[test]
    fn an_ignored_test_counts_as_failed() {
        let output = GOOD
            .replace("slow ... ok", "slow ... ignored, takes long")
            .replace("4 passed; 0 failed; 0 ignored", "3 passed; 0 failed; 1 ignored");
        let tally = libtest(&output, true);
        assert_eq!(tally.count(Kind::Unit), count(1, 1));
        assert_eq!(
            tally.failures(),
            ["unit: autobench_core: state::tests::slow ignored"]
        );
    }

    #[test]
    fn a_program_that_dies_counts_as_one_failure() {
        let end = GOOD.find("test a_good_file_takes_over").unwrap();
        let tally = libtest(&GOOD[..end], false);
        assert_eq!(tally.count(Kind::Story), count(0, 1));
        assert_eq!(tally.total(), count(4, 1));
        assert_eq!(tally.failures(), ["story: reload ended without a result"]);
    }

    #[test]
    fn a_run_that_does_not_compile_is_a_failure() {
        let tally = libtest("error: could not compile `autobench-core`\n", false);
        assert_eq!(tally.count(Kind::Check), count(0, 1));
    }

    #[test]
    fn a_kind_without_a_test_is_a_failure() {
        let mut tally = libtest(GOOD, true);
        tally.add(Kind::Check, 1, 0);
        tally.demand_all();
        assert_eq!(tally.total(), count(9, 1));
        assert_eq!(tally.failures(), ["web: no test ran"]);
    }

    #[test]
    fn the_summary_of_vitest_is_read() {
        let good = " Test Files  3 passed (3)\n      Tests  12 passed (12)\n   Start at  10:00:00\n";
        assert_eq!(web(good, true).total(), count(12, 0));
        let bad = " Test Files  1 failed | 2 passed (3)\n      Tests  1 failed | 9 passed | 2 skipped (12)\n";
        assert_eq!(web(bad, false).total(), count(9, 3));
        assert_eq!(web("      Tests  no tests\n", true).total(), count(0, 1));
    }

    #[test]
    fn the_summary_of_node_is_read() {
        assert_eq!(
            web("ℹ tests 3\nℹ pass 3\nℹ fail 0\nℹ skipped 0\n", true).total(),
            count(3, 0)
        );
        assert_eq!(web("# tests 3\n# pass 2\n# fail 1\n", false).total(), count(2, 1));
    }

    #[test]
    fn a_plain_line_is_read() {
        assert_eq!(
            web("two browsers\n4 passed, 1 failed\n", false).total(),
            count(4, 1)
        );
        assert_eq!(web("of 4 passed, 1 failed too\n", true).total(), count(0, 1));
    }

    #[test]
    fn a_runner_that_ends_badly_is_a_failure_even_if_all_passed() {
        assert_eq!(web("      Tests  12 passed (12)\n", false).total(), count(12, 1));
    }
}
