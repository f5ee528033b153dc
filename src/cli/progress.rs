//! Progress of long work: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Steps that follow each other faster are not told one by one.
const STEP_INTERVAL: Duration = Duration::from_secs(1);

/// Progress of one piece of work.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    title: String,
    done: u64,
    total: u64,
    last_line: Instant,
}

impl Progress {
    /// Begins; a total of 0 means unknown.
    pub(super) fn begin(title: &str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = if total > 0 { "{msg:24} {wide_bar} {human_pos}/{human_len} {eta}" } else { "{msg:24} {spinner} {human_pos}" };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total).with_style(style).with_message(title.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        let progress = Self { bar, title: title.to_owned(), done: 0, total, last_line: Instant::now() };
        if progress.bar.is_none() {
            eprintln!("{title} …");
        }
        progress
    }

    /// Adds to what is done.
    pub(super) fn add(&mut self, steps: u64) {
        self.done += steps;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                let of_total = if self.total > 0 { format!(" of {}", self.total) } else { String::new() };
                eprintln!("{}: {}{of_total}", self.title, self.done);
            }
            None => {}
        }
    }

    /// Names the step at hand.
    pub(super) fn step(&mut self, name: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(name.to_owned()),
            None if self.last_line.elapsed() >= STEP_INTERVAL => {
                self.last_line = Instant::now();
                eprintln!("{}: {name}", self.title);
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
