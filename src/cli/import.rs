//! `countersign import`: what a log says, and whether it agrees with itself.

use std::path::{Path, PathBuf};

use intake::{Evaluation, MappingRule, Outcome, Row, Status, map_rows};
use json::Value;
use record::items::ItemsFile;

use super::evaluation_log::{self, LogOptions};
use super::output::{Failure, Report, Verdict};
use super::style::Stream;

/// Read an evaluation log, recompute its figures from its items, and say what doesn't agree.
///
/// Takes Inspect logs (.eval or .json), results files of lm-evaluation-harness with their samples
/// files beside them, and HELM run folders. Nothing leaves this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign import run.eval\n  \
    countersign import results_2026-11-23T18-00-22.635069.json --items items.jsonl --json\n\n\
    Exit codes: 0 imported, 1 it contradicts itself, 2 no evaluation with items could be read.")]
pub(super) struct Arguments {
    /// Logs: files, or folders of a run.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also map the samples to the rows of this items file.
    #[arg(long, value_name = "ITEMS.jsonl")]
    items: Option<PathBuf>,
    #[command(flatten)]
    log: LogOptions,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let rows = arguments.items.as_deref().map(read_items).transpose()?;
    let options = arguments.log.options()?;
    let mut texts = Vec::new();
    let mut reports = Vec::new();
    let mut verdict = Verdict::Good;
    for path in &arguments.files {
        let import = evaluation_log::read(path, &options)?;
        verdict = verdict.max(match import.exit() {
            0 => Verdict::Good,
            1 => Verdict::Bad,
            _ => Verdict::Unusable,
        });
        // One report for each evaluation in the file, in the file's order.
        let of_file = match import.to_json() {
            Value::Array(reports) => reports,
            report => vec![report],
        };
        for (outcome, mut report) in import.outcomes.iter().zip(of_file) {
            texts.push(describe(path, outcome, options.flag_mismatch));
            let mapping = match (outcome, &rows) {
                (Outcome::Read(evaluation), Some(rows)) => Some(describe_mapping(evaluation, rows)),
                _ => None,
            };
            if let Value::Object(report) = &mut report {
                report.insert("file", path.display().to_string());
            }
            if let Some((text, json, fits)) = mapping {
                texts.push(text);
                if let Value::Object(report) = &mut report {
                    report.insert("mapping", json);
                }
                verdict = verdict.max(if fits { Verdict::Good } else { Verdict::Bad });
            }
            reports.push(report);
        }
    }
    let json = if reports.len() == 1 { reports.remove(0) } else { Value::Array(reports) };
    Ok(Report { text: texts.join("\n"), json, verdict })
}

/// The items file at `path`.
pub(super) fn read_items_file(path: &Path) -> Result<ItemsFile, Failure> {
    let bytes = client::files::read(path, 4 << 30)?;
    ItemsFile::parse(&bytes).map_err(|e| {
        Failure::new(format!("{}: {e}", path.display()))
            .next("each line must be {\"id\": text, \"input\": text, \"target\"?: text}")
    })
}

fn read_items(path: &Path) -> Result<Vec<Row>, Failure> {
    Ok(rows(&read_items_file(path)?))
}

/// The rows as `intake` compares them.
pub(super) fn rows(file: &ItemsFile) -> Vec<Row> {
    let row = |row: &record::items::Row| Row {
        id: row.id().to_owned(),
        input: row.content().input().to_owned(),
        target: row.content().target().map(str::to_owned),
    };
    file.rows().iter().map(row).collect()
}

fn describe_mapping(evaluation: &Evaluation, rows: &[Row]) -> (String, Value, bool) {
    let epochs = evaluation.epochs.unwrap_or(1);
    match map_rows(evaluation, rows, epochs, MappingRule::default()) {
        Ok(mapping) => (mapping.summary(), mapping.to_json(), true),
        Err(error) => {
            let findings: Vec<String> =
                error.findings.iter().take(10).map(|f| format!("  {f}")).collect();
            let json = json::object([
                ("error", Value::from(error.to_string())),
                ("findings", json::array(error.findings.iter().map(intake::Finding::to_json))),
            ]);
            (format!("{error}\n{}", findings.join("\n")), json, false)
        }
    }
}

fn describe(path: &Path, outcome: &Outcome, flag_mismatch: bool) -> String {
    let refusal = match outcome {
        Outcome::Read(evaluation) => return describe_evaluation(path, evaluation, flag_mismatch),
        Outcome::Refused(refusal) => refusal,
    };
    let refused = Stream::Out.red("refused");
    let name = refusal.evaluation.as_ref().map_or_else(String::new, |name| format!("{name}: "));
    let mut text = format!("{}: {name}{refused}: {}", path.display(), refusal.code);
    text.push_str(&format!("\n  {}", refusal.message));
    if let Some(member) = &refusal.member {
        text.push_str(&format!("\n  in {member}"));
    }
    if let Some(pointer) = &refusal.pointer {
        text.push_str(&format!(" at \"{pointer}\""));
    }
    text.push_str(&format!("\n  next: {}", refusal.code.advice()));
    text
}

fn describe_evaluation(path: &Path, evaluation: &Evaluation, flag_mismatch: bool) -> String {
    let version = evaluation.harness.version.as_deref().unwrap_or("of unknown version");
    let mut lines = vec![format!(
        "{}: {} ({} {version}), {} items",
        path.display(),
        evaluation.name,
        evaluation.harness.name,
        evaluation.items.len()
    )];
    let counts: Vec<String> = evaluation
        .counts()
        .iter()
        .filter(|(status, n)| **n > 0 || **status == Status::Scored)
        .map(|(status, n)| format!("{n} {}", status.as_str()))
        .collect();
    lines.push(format!("  items     {}", counts.join(", ")));
    for metric in &evaluation.metrics {
        let name = match &metric.reducer {
            Some(reducer) => format!("{} {} ({reducer})", metric.column, metric.metric),
            None => format!("{} {}", metric.column, metric.metric),
        };
        let figure =
            |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.6}"));
        lines.push(format!(
            "  figure    {name} = {} reported, {} recomputed from {} units",
            figure(metric.reported),
            figure(metric.recomputed),
            metric.n
        ));
    }
    for (code, n) in &evaluation.flags {
        lines.push(format!("  flag      {code} ({n}): {}", code.advice()));
    }
    for finding in evaluation.findings.iter().take(10) {
        lines.push(format!("  finding   {finding}"));
    }
    if evaluation.findings.len() > 10 {
        let more = evaluation.findings.len() - 10;
        lines.push(format!("  … and {more} more findings; --json has them all"));
    }
    let verdict = match (evaluation.exit(false), flag_mismatch) {
        (0, _) => Stream::Out.green("agrees with itself"),
        (_, true) if evaluation.exit(true) == 0 => {
            "does not agree with itself, which its flags record".to_owned()
        }
        _ => Stream::Out.red("CONTRADICTS ITSELF"),
    };
    lines.push(format!("  verdict   it {verdict}"));
    lines.join("\n")
}
