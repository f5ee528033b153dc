//! The tour of the README, statement by statement in a shell against the demo: every answer is as it is printed there,
//! up to what the dots stand for.

use crate::support::demo::{Demo, demo_directory};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What a reader waits for, such as the next look into PEMS, comes within this time.
const PATIENCE: Duration = Duration::from_mins(3);
/// The write-back of the demo may come at any moment; the tour tells what there is before it does.
const PAUSE: [(&str, &str); 2] = [("### A conflict", "pause"), ("### The circle with PEMS", "resume")];

#[test]
fn the_answers_are_as_the_readme_prints_them() {
    let directory = demo_directory();
    let mut demo = Demo::start(directory.path());
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let readme = readme.replace("127.0.0.1:8080", &demo.address).replace("127.0.0.1:8089", &demo.pems());
    let (_, tour) = readme.split_once("\n## A tour with curl\n").unwrap();
    let (tour, _) = tour.split_once("\n## ").unwrap();
    let mut shell = Shell::start(directory.path());
    let mut answered = 0;
    for section in sections(tour) {
        if let Some((_, order)) = PAUSE.iter().find(|(heading, _)| section.starts_with(heading)) {
            let answer = shell.run(&format!("curl -X POST \"$B/orgs/HOLNG/sync/write-back/{order}\""));
            assert!(answer.contains("\"paused\":"), "{answer}");
        }
        for (statements, answers) in blocks(section) {
            let mut answers = answers.into_iter();
            for statement in statements {
                let expected: String = answers.by_ref().take(answers_of(statement)).collect();
                shell.expect(statement, &expected);
                answered += usize::from(!expected.is_empty());
            }
            assert_eq!(answers.collect::<Vec<_>>(), [""; 0], "answers without a statement");
        }
    }
    assert!(answered > 40, "{answered} answers were compared");
    assert!(directory.path().join("records.csv").metadata().unwrap().len() > 1_000, "the export is a file");
}

/// The text from each heading to the next.
fn sections(tour: &str) -> Vec<&str> {
    let headings = tour.match_indices("\n### ").map(|(place, _)| place + 1);
    let places: Vec<_> = std::iter::once(0).chain(headings).chain([tour.len()]).collect();
    places.windows(2).map(|ends| &tour[ends[0]..ends[1]]).collect()
}

/// Statements of each block of the shell, with the answers in the block that follows it, if one does.
fn blocks(section: &str) -> Vec<(Vec<&str>, Vec<String>)> {
    let fences: Vec<_> = section.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect();
    let mut blocks: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for (language, text) in fences {
        match language {
            "sh" => blocks.push((text.lines().collect(), Vec::new())),
            "http" => blocks.last_mut().unwrap().1.push(text.to_owned()),
            "json" => {
                let answers = &mut blocks.last_mut().unwrap().1;
                for line in text.lines() {
                    match answers.last_mut() {
                        // What begins with a blank goes on.
                        Some(last) if line.starts_with(' ') => last.push_str(line),
                        _ => answers.push(line.to_owned()),
                    }
                }
            }
            other => panic!("nobody knows what a block of {other:?} is"),
        }
    }
    blocks
}

/// The variable that a statement sets.
fn variable(statement: &str) -> Option<&str> {
    let (name, _) = statement.split_once('=')?;
    name.chars().all(|letter| letter.is_ascii_alphabetic()).then_some(name)
}

/// How many answers a statement prints.
fn answers_of(statement: &str) -> usize {
    match statement {
        _ if variable(statement).is_some() || statement.contains(" -sOJ ") => 0,
        // People in PEMS change something.
        _ if statement.contains(" -X PATCH ") && statement.contains("\"$P/") => 0,
        _ if statement.ends_with("| head -n 2") => 2,
        _ => 1,
    }
}

/// A shell that keeps its variables from one statement to the next.
struct Shell {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new("bash")
            .current_dir(directory)
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut shell = Self { process, output };
        shell.run("curl() { command curl --max-time 60 \"$@\"; }");
        shell
    }

    /// Runs a statement; gives what it prints.
    fn run(&mut self, statement: &str) -> String {
        const END: &str = "-- end of the answer --\n";
        let input = self.process.stdin.as_mut().unwrap();
        writeln!(input, "{statement}\nprintf '\\n%s' '{END}'").unwrap();
        let mut printed = String::new();
        while !printed.ends_with(END) {
            assert!(self.output.read_line(&mut printed).unwrap() > 0, "the shell ended after {printed:?}");
        }
        printed.truncate(printed.len() - END.len());
        printed
    }

    /// Runs a statement that prints this. What only reads is asked again until it does: a reader of the README is slower than
    /// the service, or told to wait. So is what was refused, perhaps because a job was at work.
    fn expect(&mut self, statement: &str, expected: &str) {
        let reading = statement.split_once("; ").filter(|(first, _)| first.starts_with("sleep ")).map_or(statement, |(_, reading)| reading);
        // Measuring changes nothing, and takes longer when the machine has other work.
        let only_measures = reading.contains("/ops/analyze");
        let is_reading = reading.starts_with("curl ") && (only_measures || ![" -X ", " -d "].iter().any(|word| reading.contains(word)));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let printed = self.run(reading);
            let told = variable(statement).map_or(printed.clone(), |name| self.run(&format!("printf '%s' \"${name}\"")));
            let is_refused = told.trim().is_empty() && answers_of(statement) == 0 && variable(statement).is_some()
                || told.starts_with("{\"type\":\"/problems/");
            if is_like(&printed, expected) && (!is_refused || variable(statement).is_none()) {
                return;
            }
            let may_come = (is_reading || is_refused) && Instant::now() < deadline;
            assert!(may_come, "{statement}\ngave\n{told}\nand not\n{expected}");
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a text is the expected one, whatever its blanks are and whatever stands for the dots.
fn is_like(text: &str, expected: &str) -> bool {
    let [text, expected] = [text, expected].map(|text| text.split_whitespace().collect::<String>());
    let Some((first, others)) = expected.split_once('…') else { return text == expected };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<_> = others.split('…').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}
