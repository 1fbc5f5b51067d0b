//! Opening an evaluation log on disk for `intake`, which opens nothing itself.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use intake::{Evaluation, Folder, Import, Limits, Options, Outcome};
use sha2::{Digest as _, Sha256};
use tlog::Hash;

use super::output::Failure;
use super::progress::{self, Metered};

/// What the user decides about logs that contradict themselves.
#[derive(Debug, clap::Args)]
pub(super) struct LogOptions {
    /// Import a log whose figures, number of items or task hash don't agree with its items; the
    /// disagreement is recorded as a flag.
    #[arg(long)]
    flag_mismatch: bool,
    /// Of several ZIP members with one name take the last, and record how many it replaced.
    #[arg(long)]
    allow_superseded: bool,
    /// Another value for a limit that docs/import.md names, for a log known to be that large.
    /// Repeat for each.
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,
}

impl LogOptions {
    pub(super) fn options(&self) -> Result<Options, Failure> {
        let mut limits = Limits::default();
        for limit in &self.limits {
            let value = limit
                .split_once('=')
                .and_then(|(name, value)| limits.with(name, value.parse().ok()?));
            limits = value.ok_or_else(|| {
                Failure::new(format!("--limit {limit}: there is no such limit, or it is no number"))
                    .next("write --limit NAME=VALUE with a name from docs/import.md")
            })?;
        }
        Ok(Options {
            limits,
            flag_mismatch: self.flag_mismatch,
            allow_superseded: self.allow_superseded,
            ..Options::default()
        })
    }
}

/// A folder on disk: regular files only, one level deep.
struct DiskFolder(PathBuf);

impl Folder for DiskFolder {
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Vec::new() };
        let files = entries.filter_map(Result::ok).filter(|entry| entry.path().is_file());
        let mut names: Vec<String> =
            files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    fn open(&self, name: &str) -> Option<Box<dyn Read + '_>> {
        // Names come from the log: only those that are in the folder itself.
        let known = self.names().iter().any(|known| known == name);
        let file = known.then(|| File::open(self.0.join(name)).ok())??;
        Some(Box::new(io::BufReader::new(file)))
    }
}

/// A folder with a bar that moves as its files are read.
struct Watched {
    folder: DiskFolder,
    bar: ProgressBar,
}

impl Folder for Watched {
    fn names(&self) -> Vec<String> {
        self.folder.names()
    }

    fn open(&self, name: &str) -> Option<Box<dyn Read + '_>> {
        let file = self.folder.open(name)?;
        let length = fs::metadata(self.folder.0.join(name)).map_or(0, |found| found.len());
        self.bar.inc_length(length);
        Some(Box::new(Metered::new(file, &self.bar)))
    }
}

/// Reads the log at `path`: a file, or the folder of a run.
pub(super) fn read(path: &Path, options: &Options) -> Result<Import, Failure> {
    let wrong = |e: io::Error| Failure::new(format!("{}: {e}", path.display()));
    let bar = progress::bytes("reading the log", 0);
    let folder = |path: &Path| Watched { folder: DiskFolder(path.to_owned()), bar: bar.clone() };
    if path.is_dir() {
        return Ok(intake::import_folder(&folder(path), options));
    }
    let file = File::open(path).map_err(wrong)?;
    bar.inc_length(file.metadata().map_err(wrong)?.len());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let beside = folder(path.parent().unwrap_or_else(|| Path::new(".")));
    Ok(intake::import(Metered::new(file, &bar), &name.unwrap_or_default(), &beside, options))
}

/// The one evaluation that a command is about. Of several, `task` names it.
pub(super) fn select(
    import: Import,
    path: &Path,
    task: Option<&str>,
) -> Result<Evaluation, Failure> {
    let names: Vec<String> = import.evaluations().map(|e| e.name.clone()).collect();
    let mut outcomes = import.outcomes;
    if let Some(task) = task {
        outcomes.retain(|outcome| outcome.evaluation().is_some_and(|e| e.name == task));
        if outcomes.is_empty() {
            return Err(Failure::new(format!("{} has no task {task:?}", path.display()))
                .next(format!("choose one of: {}", names.join(", "))));
        }
    }
    match (outcomes.pop(), outcomes.is_empty()) {
        (Some(Outcome::Read(evaluation)), true) => Ok(*evaluation),
        (Some(Outcome::Refused(refusal)), true) => {
            Err(Failure::new(format!("{}: {}: {}", path.display(), refusal.code, refusal.message))
                .next(refusal.code.advice()))
        }
        _ => Err(Failure::new(format!("{} holds several evaluations", path.display()))
            .next(format!("choose one with --task: {}", names.join(", ")))),
    }
}

/// SHA-256 of the log's bytes. A log of several files is their `sha256sum` lines, by name.
pub(super) fn source_digest(path: &Path, evaluation: &Evaluation) -> Result<Hash, Failure> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or_else(|| Path::new(".")) };
    let own = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> = match evaluation.format {
        intake::Format::InspectEval | intake::Format::InspectJson => return digest(path),
        intake::Format::LmEval => {
            let stamp = own.trim_start_matches("results_").trim_end_matches(".json").to_owned();
            let of_run = |name: &String| {
                let data = name.starts_with("results_") || name.starts_with("samples_");
                data && (path.is_dir() || name.contains(&stamp))
            };
            DiskFolder(folder.to_owned()).names().into_iter().filter(of_run).collect()
        }
        intake::Format::Helm => DiskFolder(folder.to_owned()).names(),
    };
    let mut lines = String::new();
    for name in names {
        lines.push_str(&format!("{}  {name}\n", digest(&folder.join(&name))?));
    }
    Ok(Hash::of(&[lines.as_bytes()]))
}

fn digest(path: &Path) -> Result<Hash, Failure> {
    let wrong = |e: io::Error| Failure::new(format!("{}: {e}", path.display()));
    let mut file = File::open(path).map_err(wrong)?;
    let mut sha = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).map_err(wrong)? {
            0 => return Ok(Hash::new(sha.finalize().into())),
            read => sha.update(&buffer[..read]),
        }
    }
}
