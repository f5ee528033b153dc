//! What was measured: a table for people, JSON for programs, growth beside another size, and the
//! comparison with figures on record.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A ratio may be worse than the one on record by this factor: machines are noisy, and this finds lost indexes.
const TOLERANCE: f64 = 2.0;

/// A faster original design is not compared with the record: the time is noise.
const SHORTEST_COMPARED: f64 = 1.0;

/// A row of the ladder. Times are in milliseconds, medians unless the name says otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rung {
    pub name: String,
    pub ours: f64,
    pub ours_p99: f64,
    /// The cheapest way to the same answer.
    pub floor: Option<f64>,
    /// The original design's way.
    pub literal: Option<f64>,
    /// At least so many times faster than the literal way.
    pub at_least: Option<f64>,
    /// At most so many times the floor.
    pub at_most: Option<f64>,
    /// At most so many times itself with a tenth of the records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_growth: Option<f64>,
    /// At most so long.
    pub limit: Option<f64>,
    /// When, as a report may be of several runs.
    #[serde(default)]
    pub measured_at: String,
}

impl Rung {
    /// How many times faster than the original design.
    pub fn times_faster(&self) -> Option<f64> {
        Some(self.literal? / self.ours)
    }

    /// How many times the floor.
    pub fn times_floor(&self) -> Option<f64> {
        Some(self.ours / self.floor?)
    }

    /// Whether it keeps its bounds; nothing where it has none.
    pub fn holds(&self) -> Option<bool> {
        if self.at_least.is_none() && self.at_most.is_none() && self.limit.is_none() {
            return None;
        }
        let is_fast = self.at_least.is_none_or(|least| self.times_faster().is_some_and(|times| times >= least));
        let is_lean = self.at_most.is_none_or(|most| self.times_floor().is_some_and(|times| times <= most));
        Some(is_fast && is_lean && self.limit.is_none_or(|limit| self.ours <= limit))
    }
}

/// All rungs of a run, or of several that measured other parts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub records: u64,
    pub measured_at: String,
    pub processor: String,
    pub cores: usize,
    pub rungs: Vec<Rung>,
}

impl Report {
    pub fn new(records: u64) -> Self {
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor =
            processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name.to_owned());
        Self {
            records,
            measured_at: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            processor: processor.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            rungs: Vec::new(),
        }
    }

    pub fn add(&mut self, rung: Rung) {
        println!("{}", line(&rung));
        self.rungs.push(Rung { measured_at: self.measured_at.clone(), ..rung });
    }

    /// Where the report of a size is kept.
    fn path(records: u64) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("ladder-{records}.json"))
    }

    pub fn print(&self) {
        println!("\n{} records, {}, {} cores of {}\n", self.records, self.measured_at, self.cores, self.processor);
        println!("| what | ours | p99 | floor | × floor | at most | original design | times faster | at least | holds |");
        println!("|---|---|---|---|---|---|---|---|---|---|");
        self.rungs.iter().for_each(|rung| println!("{}", line(rung)));
    }

    /// Keeps the report, with what the last one says of rows that were not measured now, and compares it with one of another size, if there
    /// is one.
    pub fn save(&self) {
        let path = Self::path(self.records);
        let mut kept = self.clone();
        let before = Self::read(&path).map_or_else(Vec::new, |before| before.rungs);
        kept.rungs.extend(before.into_iter().filter(|rung| self.find(&rung.name).is_none()));
        std::fs::write(&path, serde_json::to_vec_pretty(&kept.with_ratios()).unwrap()).unwrap();
        println!("\nwritten to {}", path.display());
        let (small, large) = if self.records <= 1_000_000 { (self.records, self.records * 10) } else { (self.records / 10, self.records) };
        if let (Some(small), Some(large)) = (Self::read(&Self::path(small)), Self::read(&Self::path(large))) {
            println!(
                "\n| growth | {} records | {} records | ratio | at most | holds |\n|---|---|---|---|---|---|",
                small.records, large.records
            );
            for rung in &small.rungs {
                if let Some(grown) = large.find(&rung.name) {
                    let ratio = grown.ours / rung.ours;
                    let most = grown.most_growth.map_or("–".to_owned(), |most| most.to_string());
                    let holds = verdict(grown.most_growth.map(|most| ratio <= most));
                    println!("| {} | {} | {} | {ratio:.2} | {most} | {holds} |", rung.name, ms(rung.ours), ms(grown.ours));
                }
            }
        }
    }

    pub fn read(path: &Path) -> Option<Self> {
        Some(serde_json::from_slice(&std::fs::read(path).ok()?).unwrap())
    }

    /// With what is computed of the times.
    fn with_ratios(&self) -> Value {
        let mut report = serde_json::to_value(self).unwrap();
        for (json, rung) in report["rungs"].as_array_mut().unwrap().iter_mut().zip(&self.rungs) {
            json["timesFloor"] = rung.times_floor().into();
            json["timesFaster"] = rung.times_faster().into();
            json["holds"] = rung.holds().into();
        }
        report
    }

    fn find(&self, name: &str) -> Option<&Rung> {
        self.rungs.iter().find(|rung| rung.name == name)
    }

    /// Rungs whose ratios are worse than those on record by more than the tolerance, or that are measured on one side only.
    pub fn regressions(&self, recorded: &Self) -> Vec<String> {
        let is_new = |rung: &&Rung| recorded.find(&rung.name).is_none();
        let mut worse: Vec<_> = self.rungs.iter().filter(is_new).map(|rung| format!("{}: not on record", rung.name)).collect();
        for before in &recorded.rungs {
            let Some(now) = self.find(&before.name) else {
                worse.push(format!("{}: not measured any more", before.name));
                continue;
            };
            if let (Some(before), Some(now_floor)) = (before.times_floor(), now.times_floor())
                && now_floor > before * TOLERANCE
            {
                worse.push(format!("{}: {now_floor:.2} × the floor, {before:.2} on record", now.name));
            }
            if before.literal.is_some_and(|time| time >= SHORTEST_COMPARED)
                && let (Some(before), Some(faster)) = (before.times_faster(), now.times_faster())
                && faster < before / TOLERANCE
            {
                worse.push(format!("{}: {faster:.1} times faster than the original design, {before:.1} on record", now.name));
            }
        }
        worse
    }
}

fn line(rung: &Rung) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), ms);
    let most = match (rung.at_most, rung.limit) {
        (Some(most), _) => format!("{most:.1} ×"),
        (None, Some(limit)) => ms(limit),
        (None, None) => "–".to_owned(),
    };
    let cells = [
        rung.name.clone(),
        ms(rung.ours),
        ms(rung.ours_p99),
        time(rung.floor),
        number(rung.times_floor()),
        most,
        time(rung.literal),
        number(rung.times_faster()),
        number(rung.at_least),
        verdict(rung.holds()).to_owned(),
    ];
    format!("| {} |", cells.join(" | "))
}

fn verdict(holds: Option<bool>) -> &'static str {
    holds.map_or("–", |holds| if holds { "yes" } else { "**no**" })
}

fn ms(value: f64) -> String {
    if value >= 1_000.0 { format!("{:.2} s", value / 1_000.0) } else { format!("{value:.2} ms") }
}
