//! `countersign bench`: how fast this machine does what Countersign does, beside what bounds it.
//!
//! A figure alone says more about the machine than about the program, so each stands beside a
//! bound measured in the same run: the primitives that a record is made of, the signature check
//! and the disk that an append needs. The ratio of the two is what may be compared. How published
//! figures were taken is in `docs/performance.md`.

mod append;
mod child;
mod import;
mod load;
mod logs;
mod machine;
mod memory;
mod monitor;
mod primitives;
mod proofs;
mod record;
mod verify;
mod witness;
mod witnessed;

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::ValueEnum;
use json::Value;

use super::output::{Failure, Report};
use super::progress;
use super::style::Stream;
use machine::Scratch;

/// Measure this machine: records, appending, proofs, verification, import, memory, witnesses.
///
/// Every figure stands beside a bound measured in the same run, and the ratio of the two. Nothing
/// leaves this machine; what is written goes to a new folder, which is removed at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign bench --quick\n  \
    countersign bench append --in-flight 64 --dir /var/lib/countersign\n  \
    countersign bench record --json")]
pub(super) struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Fewer items and shorter runs.
    #[arg(long)]
    quick: bool,
    /// So little that no figure means anything: for the tests of this command.
    #[arg(long, hide = true, conflicts_with = "quick")]
    tiny: bool,
    /// A folder on the disk to measure; by default the one for temporary files.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Statements in flight when appending. Repeat for several.
    #[arg(long, value_name = "N", default_values_t = [1, 64, 512], value_parser = clap::value_parser!(u16).range(1..=2048))]
    in_flight: Vec<u16>,
    /// The log that this process shall import, to tell the time and the memory that took.
    #[arg(long, value_name = "FILE", hide = true)]
    own_import: Option<PathBuf>,
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
    /// What a server with 100,000 entries keeps in memory.
    Memory,
    /// Checkpoints of 100 logs through a witness.
    Witness,
    /// A log of 100,000 statements through a monitor.
    Monitor,
    /// Receipts that three witnesses have cosigned.
    Witnessed,
    /// Everything.
    All,
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// What docs/performance.md reports.
    Full,
    /// Less of it.
    Quick,
    /// Enough to see that it works.
    Tiny,
}

impl Scale {
    /// One of three, by scale.
    fn pick<T>(self, full: T, quick: T, tiny: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
            Self::Tiny => tiny,
        }
    }

    /// Sizes of records and bundles, in items.
    fn records(self) -> &'static [u64] {
        self.pick(&[200, 10_000, 100_000], &[200, 10_000], &[20])
    }
}

impl Arguments {
    fn scale(&self) -> Scale {
        match (self.quick, self.tiny) {
            (_, true) => Scale::Tiny,
            (true, _) => Scale::Quick,
            _ => Scale::Full,
        }
    }

    /// A new folder on the disk to measure.
    fn scratch(&self) -> Result<Scratch, Failure> {
        let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        Scratch::new(&parent).map_err(|e| {
            Failure::new(format!("{}: {e}", parent.display()))
                .next("name a folder that can be written to with --dir")
        })
    }

    fn wants(&self, what: What) -> bool {
        self.what == what || self.what == What::All
    }
}

type Measure<'a> = dyn Fn() -> Result<Table, Failure> + 'a;

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    if let Some(log) = &arguments.own_import {
        return import::own(log);
    }
    if cfg!(debug_assertions) {
        // A closed standard error is the caller's choice.
        let _ = writeln!(
            io::stderr(),
            "{}: this is a debug build, whose figures mean nothing; build with --release",
            Stream::Err.bold("warning")
        );
    }
    let scale = arguments.scale();
    let parts: [(What, &Measure<'_>); 9] = [
        (What::Record, &|| record::measure(scale)),
        (What::Append, &|| append::measure(arguments)),
        (What::Proofs, &|| Ok(proofs::measure(scale))),
        (What::Verify, &|| verify::measure(scale)),
        (What::Import, &|| import::measure(arguments)),
        (What::Memory, &|| memory::measure(arguments)),
        (What::Witness, &|| witness::measure(arguments)),
        (What::Monitor, &|| monitor::measure(arguments)),
        (What::Witnessed, &|| witnessed::measure(arguments)),
    ];
    let before = machine::load();
    let wanted = parts.iter().filter(|(what, _)| arguments.wants(*what));
    let bar = progress::bar("measuring", wanted.clone().count() as u64);
    let mut tables = Vec::new();
    for (_, measure) in wanted {
        bar.tick();
        tables.push(measure()?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(report(arguments, tables, [before, machine::load()]))
}

/// `load` is the machine's load average before and after.
fn report(arguments: &Arguments, tables: Vec<Table>, load: [Option<f64>; 2]) -> Report {
    let cores = machine::cores();
    let shown = load.map(|load| load.map_or_else(|| "–".to_owned(), |load| format!("{load:.1}")));
    let mut text = format!(
        "countersign {} on {cores} cores; load average {} before, {} after",
        env!("CARGO_PKG_VERSION"),
        shown[0],
        shown[1]
    );
    for table in &tables {
        text.push_str(&format!("\n\n{}", table.text()));
    }
    text.push_str("\n\nnext: docs/performance.md says what each bound is, and what to expect");
    let results = tables.into_iter().map(|table| (table.name, table.json()));
    let json = json::object([
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("debug_build", cfg!(debug_assertions).into()),
        ("quick", (arguments.scale() != Scale::Full).into()),
        ("cores", cores.into()),
        ("load_average", json::array(load.map(|load| load.map_or(Value::Null, Value::from)))),
        ("results", json::object(results)),
    ]);
    Report::good(text, json)
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
        json::array(
            self.lines.into_iter().map(|line| {
                json::object(line.into_iter().map(|figure| (figure.name, figure.json)))
            }),
        )
    }
}
