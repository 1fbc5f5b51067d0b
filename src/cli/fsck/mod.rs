//! `countersign fsck`: whether a log's folder is what the log signed, on the operator's machine.

mod keys;

use std::path::PathBuf;

use indicatif::ProgressBar;
use json::Value;
use sequencer::{FolderFinding, StoppedLog, StoreError, Weight, Work};
use server::Inspected;

use super::output::{Failure, Report, Verdict};
use super::progress;
use super::style::Stream;

/// Check a log's folder: every byte, from the keys to what the statements say.
///
/// Everything is derived again from what is on the disk, and compared: tiles, bundles, database,
/// artifacts and keys with each other and with the signed head, each statement with those before it.
/// Any single flipped bit is found. Nothing in the folder is changed; the server must not run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign fsck countersign-data\n  \
    countersign fsck /backup/log --log-key log.vkey\n\n\
    Exit codes: 0 sound, 1 damaged, 2 it could not look (no log, no permission, a server runs).\n\
    What each finding means and what to do: docs/fsck.md.")]
pub(super) struct Arguments {
    /// The data folder of a log that no server has open.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The log's public key as you have pinned it; then the folder need not hold the private one.
    #[arg(long, value_name = "FILE.vkey")]
    log_key: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let folder = &arguments.folder;
    let pinned = match &arguments.log_key {
        Some(path) => Some(client::keys::read_vkey(path)?),
        None => None,
    };
    let bar = Bar::new();
    let stopped = StoppedLog::open_watched(folder, &mut |done, of| bar.show(Work::Pages, done, of))
        .map_err(cannot_look)?;
    let mut findings = Vec::new();
    let log = keys::check(folder, pinned.as_ref(), &mut findings)?;
    let inspected = server::inspect(
        &stopped,
        log.as_ref(),
        &mut |finding| findings.push(finding),
        &mut |work, done, of| bar.show(work, done, of),
    )
    .map_err(cannot_look)?;
    bar.0.finish_and_clear();
    let log = log.map(|log| log.to_string());
    Ok(report(&folder.display().to_string(), log.as_deref(), &inspected, &findings))
}

/// A bar that begins anew with each kind of work.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(progress::bar("reading", 0))
    }

    fn show(&self, work: Work, done: u64, of: u64) {
        self.0.set_message(match work {
            Work::Pages => "reading pages",
            Work::Artifacts => "reading artifacts",
            Work::Entries => "checking entries",
        });
        self.0.set_length(of);
        self.0.set_position(done);
    }
}

fn cannot_look(error: StoreError) -> Failure {
    let next = match &error {
        StoreError::Absent { .. } => {
            "name the data folder of a log, as in: countersign serve --data DIR"
        }
        StoreError::Locked { .. } => {
            "stop the server first; or, while it runs, check what it serves: countersign verify URL \
             --log-key log.vkey"
        }
        _ => "run it as the user who owns the folder, on a disk that can be read",
    };
    Failure::new(error).next(next)
}

fn report(
    folder: &str,
    log: Option<&str>,
    inspected: &Inspected,
    findings: &[FolderFinding],
) -> Report {
    let checked = &inspected.checked;
    let damaged = findings.iter().filter(|finding| finding.weight == Weight::Damage).count();
    let size = checked.head.map_or(0, |head| head.size);
    let artifacts = checked.artifacts.digests().len();
    let mut lines = Vec::new();
    if damaged == 0 {
        let root = match checked.head {
            Some(head) => format!(" with the signed root {}", head.root),
            None => String::new(),
        };
        lines.push(format!(
            "{folder}: {}. {size} statements{root}, {artifacts} artifacts: every byte is as the \
             log wrote it, every statement in order",
            Stream::Out.green("sound")
        ));
    } else {
        let judged = match checked.judged {
            judged if judged == size => String::new(),
            judged => format!("; {judged} of {size} statements could be replayed"),
        };
        lines.push(format!("{folder}: {}: {damaged} findings{judged}", Stream::Out.red("DAMAGED")));
    }
    lines.extend(findings.iter().map(|finding| {
        format!("{}: {finding}; {}", finding.weight.word(), finding.remedy.words())
    }));
    if damaged > 0 {
        lines.push(
            "next: copy the folder before you change anything in it; docs/fsck.md says what each \
             finding means"
                .to_owned(),
        );
    }
    let verdict = if damaged == 0 { Verdict::Good } else { Verdict::Bad };
    let mut members = vec![
        ("folder", Value::from(folder)),
        ("holds", (damaged == 0).into()),
        ("size", size.into()),
    ];
    members.extend(checked.head.map(|head| ("root", head.root.to_string().into())));
    members.extend(log.map(|log| ("log", log.into())));
    members.extend([
        ("signed", checked.signed.into()),
        ("replayed", checked.judged.into()),
        ("artifacts", artifacts.into()),
        ("named_artifacts", inspected.named.len().into()),
        ("findings", json::array(findings.iter().map(finding_json))),
    ]);
    Report { text: lines.join("\n"), json: json::object(members), verdict }
}

fn finding_json(finding: &FolderFinding) -> Value {
    let mut members = vec![
        ("weight", Value::from(finding.weight.word())),
        ("file", finding.file.as_str().into()),
    ];
    let optional =
        [("place", &finding.place), ("expected", &finding.expected), ("found", &finding.found)];
    members.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| value.as_deref().map(|value| (name, value.into()))),
    );
    members.push(("problem", finding.problem.as_str().into()));
    members.push(("next", finding.remedy.words().into()));
    json::object(members)
}
