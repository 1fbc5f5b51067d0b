//! `countersign bench`: how fast this machine does what Countersign does, beside what bounds it.
//!
//! A figure alone says more about the machine than about the program, so each stands beside a
//! bound measured in the same run: the primitives that a record is made of, the signature check
//! and the disk that an append needs. The ratio of the two is what may be compared. How published
//! figures were taken is in `docs/performance.md`.

mod append;
mod import;
mod load;
mod machine;
mod primitives;
mod proofs;
mod record;
mod verify;

use std::path::PathBuf;

use clap::ValueEnum;
use json::Value;

use super::output::{Failure, Report};

/// Measure this machine: making records, appending, proofs, verification, import.
///
/// Every figure stands beside a bound measured in the same run, and the ratio of the two. Nothing
/// is sent anywhere; what is written goes to a new folder, which is removed at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign bench --quick\n  \
    countersign bench append --in-flight 64 --dir /var/lib/countersign\n  \
    countersign bench record --json")]
pub(super) struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Fewer items and shorter runs: some twenty seconds for all.
    #[arg(long)]
    quick: bool,
    /// A folder on the disk to measure; by default the one for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Statements in flight when appending. Repeat for several.
    #[arg(long, value_name = "N", default_values_t = [1, 64, 512], value_parser = clap::value_parser!(u16).range(1..=2048))]
    in_flight: Vec<u16>,
    /// The log of a child process that measures its own memory.
    #[arg(long, value_name = "FILE", hide = true)]
    log: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Records of 200, 10,000 and 100,000 items.
    Record,
    /// Statements through the log, in process and over gRPC.
    Append,
    /// Inclusion and consistency proofs, made and checked.
    Proofs,
    /// Bundles, verified offline.
    Verify,
    /// Evaluation logs of 100,000 items: time and peak memory.
    Import,
    /// Everything.
    All,
}

impl Arguments {
    fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn wants(&self, what: What) -> bool {
        self.what == what || self.what == What::All
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    if let Some(log) = &arguments.log {
        return import::measure_own(log);
    }
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures mean nothing; use cargo run --release");
    }
    let mut tables = Vec::new();
    if arguments.wants(What::Record) {
        tables.push(record::measure(arguments.quick)?);
    }
    if arguments.wants(What::Append) {
        tables.push(append::measure(arguments)?);
    }
    if arguments.wants(What::Proofs) {
        tables.push(proofs::measure(arguments.quick));
    }
    if arguments.wants(What::Verify) {
        tables.push(verify::measure(arguments.quick)?);
    }
    if arguments.wants(What::Import) {
        tables.push(import::measure(arguments)?);
    }
    let cores = machine::cores();
    let load = machine::load().map_or(Value::Null, Value::from);
    let mut text = format!("countersign {} on {cores} cores", env!("CARGO_PKG_VERSION"));
    for table in &tables {
        text.push_str(&format!("\n\n{}", table.text()));
    }
    let results = tables.into_iter().map(|table| (table.name, table.json()));
    let json = json::object([
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("cores", cores.into()),
        ("load_average", load),
        ("quick", arguments.quick.into()),
        ("results", json::object(results)),
    ]);
    Ok(Report::good(text, json))
}

/// What one part of the measurement found.
struct Table {
    /// For machines.
    name: &'static str,
    title: String,
    lines: Vec<Vec<Figure>>,
    notes: Vec<String>,
}

/// One cell: a heading for people, a name for machines, the value for both.
struct Figure {
    heading: &'static str,
    name: &'static str,
    text: String,
    json: Value,
}

impl Figure {
    fn words(heading: &'static str, name: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { heading, name, json: text.as_str().into(), text }
    }

    fn count(heading: &'static str, name: &'static str, value: u64) -> Self {
        Self { heading, name, text: grouped(value), json: value.into() }
    }

    /// A measured value with three digits that mean something.
    fn value(heading: &'static str, name: &'static str, value: f64) -> Self {
        let text = match value.abs() {
            v if v >= 1_000.0 => grouped(v.round() as u64),
            v if v >= 100.0 => format!("{value:.0}"),
            v if v >= 10.0 => format!("{value:.1}"),
            v if v >= 0.1 => format!("{value:.2}"),
            _ => format!("{value:.4}"),
        };
        // Nothing here is known to more than six digits.
        let json = format!("{value:.6}").parse::<f64>().map_or(Value::Null, Value::from);
        Self { heading, name, text, json }
    }

    /// As [`value`](Self::value), where the system may not tell.
    fn perhaps(heading: &'static str, name: &'static str, value: Option<f64>) -> Self {
        match value {
            Some(value) => Self::value(heading, name, value),
            None => Self { heading, name, text: "–".to_owned(), json: Value::Null },
        }
    }
}

/// 12345 as `12,345`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Table {
    fn text(&self) -> String {
        let Some(first) = self.lines.first() else { return self.title.clone() };
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            let widest = cells.map(|figure| figure.text.chars().count()).max().unwrap_or(0);
            widest.max(first[column].heading.chars().count())
        };
        let widths: Vec<usize> = (0..first.len()).map(width).collect();
        let row = |cells: &mut dyn Iterator<Item = &str>| {
            let cells = cells.zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            cells.collect::<Vec<_>>().join("  ")
        };
        let mut lines = vec![self.title.clone()];
        lines.push(row(&mut first.iter().map(|figure| figure.heading)));
        lines.extend(self.lines.iter().map(|line| row(&mut line.iter().map(|f| f.text.as_str()))));
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        lines.join("\n")
    }

    fn json(self) -> Value {
        json::array(self.lines.into_iter().map(|line| {
            json::object(line.into_iter().map(|figure| (figure.name, figure.json)))
        }))
    }
}
