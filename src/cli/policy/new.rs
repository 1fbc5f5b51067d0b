//! `countersign policy new`: a policy from key files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use client::{files, keys};
use tlog::Policy;

use super::check::Checked;
use crate::cli::output::{Failure, Report};

/// Write a policy from key files, and check it.
///
/// A witness is called by its file's name without the ending. The quorum is, if you say nothing,
/// the smallest that is safe with one corrupt witness. A witness can be in one group only.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign policy new --log log.vkey --witness w1.vkey=https://w1.example/ --quorum 1\n  \
    countersign policy new --log log.vkey --witness lab-a-w.vkey --witness lab-b-w.vkey \\\n      \
    --witness n1.vkey --witness n2.vkey --witness n3.vkey --group labs=all:lab-a-w,lab-b-w \\\n      \
    --group neutral=2:n1,n2,n3 --quorum all --owner lab-a-w=lab-a --out trust.policy")]
pub(super) struct Arguments {
    /// A log's public key, and where it is. Repeat for each.
    #[arg(long = "log", required = true, value_name = "FILE.vkey[=URL]")]
    logs: Vec<String>,
    /// A witness's public key, and where a log submits checkpoints to it. Repeat for each.
    #[arg(long = "witness", value_name = "FILE.vkey[=URL]")]
    witnesses: Vec<String>,
    /// A group: how many of its members must agree, and who they are. Repeat for each.
    #[arg(long = "group", value_name = "NAME=K:A,B,C")]
    groups: Vec<String>,
    /// How many of all witnesses and groups that are in no group must agree: a number, `all`, `any`
    /// or `none`; or the name of the one that must.
    #[arg(long, value_name = "K|NAME")]
    quorum: Option<String>,
    /// Who owns a witness, as a comment in the file. Repeat for each.
    #[arg(long = "owner", value_name = "WITNESS=OWNER")]
    owners: Vec<String>,
    /// Where to write it.
    #[arg(long, value_name = "FILE", default_value = "trust.policy")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let text = write(arguments)?;
    let policy = Policy::parse(text.as_bytes()).map_err(|error| {
        let line = text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default();
        Failure::new(format!("{} (in {line:?})", error.problem))
            .next("see countersign policy new --help")
    })?;
    let owners = super::owners(&policy, &[])?;
    files::write_new(&arguments.out, text.as_bytes(), files::Access::Shared)?;
    let checked = Checked::new(&policy, &owners, 1, None, &[]);
    let out = arguments.out.display();
    let mut lines = vec![format!("{out} is written"), format!("policy   {}", policy.digest())];
    lines.extend(checked.lines());
    lines.push(format!("next: countersign verify FILE --policy {out}"));
    let json = json::object([
        ("out", json::Value::from(out.to_string())),
        ("text", text.as_str().into()),
        ("check", checked.json(&policy)),
    ]);
    Ok(Report::good(lines.join("\n"), json))
}

fn write(arguments: &Arguments) -> Result<String, Failure> {
    let mut text = String::new();
    for log in &arguments.logs {
        let (key, url) = key_and_url(log)?;
        let _ = writeln!(text, "log {key}{url}");
    }
    // Names that are in no group yet.
    let mut top: Vec<String> = Vec::new();
    for witness in &arguments.witnesses {
        let (key, url) = key_and_url(witness)?;
        let name = name_of(witness);
        let _ = writeln!(text, "witness {name} {key}{url}");
        top.push(name);
    }
    for owner in &arguments.owners {
        let (witness, owner) = owner
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("--owner {owner}: must be WITNESS=OWNER")))?;
        let _ = writeln!(text, "# owner {witness} {owner}");
    }
    for group in &arguments.groups {
        let wrong = || {
            Failure::new(format!("--group {group}: must be NAME=K:A,B,C"))
                .next("write, for example, --group neutral=2:n1,n2,n3")
        };
        let (name, rest) = group.split_once('=').ok_or_else(wrong)?;
        let (threshold, members) = rest.split_once(':').ok_or_else(wrong)?;
        let members: Vec<&str> = members.split(',').collect();
        let _ = writeln!(text, "group {name} {threshold} {}", members.join(" "));
        top.retain(|other| !members.contains(&other.as_str()));
        top.push(name.to_owned());
    }
    let quorum = match arguments.quorum.as_deref() {
        Some("none") => "none".to_owned(),
        None if top.is_empty() => "none".to_owned(),
        // A name that was defined, and no number of a group that has yet to be.
        Some(name) if name.parse::<u64>().is_err() && !matches!(name, "all" | "any") => {
            name.to_owned()
        }
        threshold => match (threshold, top.as_slice()) {
            (None | Some("all" | "any" | "1"), [only]) => only.clone(),
            (threshold, _) => {
                let safe = top.len().div_ceil(2) + 1;
                let safe = safe.min(top.len()).to_string();
                let threshold = threshold.unwrap_or(&safe);
                let _ = writeln!(text, "group quorum {threshold} {}", top.join(" "));
                "quorum".to_owned()
            }
        },
    };
    let _ = writeln!(text, "quorum {quorum}");
    Ok(text)
}

/// A key file, and the URL behind it with a space before.
fn key_and_url(given: &str) -> Result<(String, String), Failure> {
    let (path, url) = split(given);
    let key = keys::read_vkey(Path::new(path))?;
    Ok((key.to_string(), url.map_or_else(String::new, |url| format!(" {url}"))))
}

fn split(given: &str) -> (&str, Option<&str>) {
    match given.find("=http") {
        Some(at) => (&given[..at], Some(&given[at + 1..])),
        None => (given, None),
    }
}

/// `w1` for `keys/w1.vkey=https://w1.example/`, without what a policy's fields are parted by.
fn name_of(given: &str) -> String {
    let stem = Path::new(split(given).0).file_stem();
    let stem = stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    stem.replace([' ', '\t', '#'], "_")
}
