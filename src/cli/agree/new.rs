//! `countersign agree new`: a draft to start from.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use client::{files, keys};
use exchange::Timestamp;
use exchange::draft::{Draft, Template, template};
use intake::Evaluation;
use tlog::VerifierKey;

use crate::cli::commit::columns;
use crate::cli::evaluation_log::{self, LogOptions};
use crate::cli::output::{Failure, Report};
use crate::cli::trust::{Span, now, read_policy};

/// Write the draft of an agreement, with a comment on every field.
///
/// Columns, epochs and harness are taken from an evaluation log of the same kind (--like). Nothing
/// else of that log goes into the draft.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign agree new --key lab-a.example.key \
    --peer lab-b.example.vkey \\\n      --items items.jsonl --like run.eval --policy trust.policy --clock clock")]
pub(super) struct Arguments {
    /// Your signing key or its public half; the draft holds the public one.
    #[arg(long, value_name = "NAME.key")]
    key: PathBuf,
    /// The other party's public key, which you got from it by a way you trust.
    #[arg(long, value_name = "NAME.vkey")]
    peer: PathBuf,
    /// Your own witness, whose cosignature you demand before you reveal.
    #[arg(long, value_name = "NAME.vkey")]
    witness: Option<PathBuf>,
    /// The other party's own witness.
    #[arg(long, value_name = "NAME.vkey")]
    peer_witness: Option<PathBuf>,
    /// An auditor's public key. Repeat for each.
    #[arg(long = "auditor", value_name = "NAME.vkey")]
    auditors: Vec<PathBuf>,
    /// The trust policy that both will use: the log, and its witnesses.
    #[arg(long, value_name = "FILE.policy")]
    policy: PathBuf,
    /// Whose cosignatures tell the time: a witness or group of the policy.
    #[arg(long, value_name = "NAME")]
    clock: String,
    /// The items file that both hold; it stays where it is.
    #[arg(long, value_name = "ITEMS.jsonl")]
    items: PathBuf,
    /// An evaluation log whose columns, epochs and harness the agreement shall have.
    #[arg(long, value_name = "FILE")]
    like: PathBuf,
    /// Which task, if that log holds several.
    #[arg(long)]
    task: Option<String>,
    /// A score column and its scale, as for commit. Repeat for each.
    #[arg(long = "column", value_name = "NAME:MAX[:RAW_MAX]")]
    columns: Vec<String>,
    /// The benchmark's name; by default the log's task.
    #[arg(long, value_name = "NAME")]
    benchmark: Option<String>,
    /// How the model is asked, in words that both understand.
    #[arg(long, value_name = "TEXT", default_value = "as the harness does by default")]
    elicitation: String,
    /// Until when it may be accepted: a time in UTC, or a span from now.
    #[arg(long, value_name = "TIME|SPAN", default_value = "2d")]
    accept_by: String,
    /// Until when both must have committed.
    #[arg(long, value_name = "TIME|SPAN", default_value = "9d")]
    commit_by: String,
    /// Until when both must have revealed.
    #[arg(long, value_name = "TIME|SPAN", default_value = "12d")]
    reveal_by: String,
    /// How long each answer may take, and how late what was stamped in time may come.
    #[arg(long, value_name = "SPAN", default_value = "1d")]
    step: String,
    /// Where to write the draft.
    #[arg(long, value_name = "FILE", default_value = "agreement.toml")]
    out: PathBuf,
    #[command(flatten)]
    options: LogOptions,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let own = public(&arguments.key)?;
    let peer = keys::read_vkey(&arguments.peer)?;
    let vkey = |path: &Option<PathBuf>| path.as_deref().map(keys::read_vkey).transpose();
    let (witness, peer_witness) = (vkey(&arguments.witness)?, vkey(&arguments.peer_witness)?);
    let auditors = arguments.auditors.iter().map(|path| keys::read_vkey(path));
    let auditors: Vec<VerifierKey> = auditors.collect::<Result<_, _>>()?;
    let policy = read_policy(&arguments.policy)?;
    if policy.member(arguments.clock.as_bytes()).is_none() {
        return Err(Failure::new(format!(
            "--clock {}: the policy has no such witness or group",
            arguments.clock
        ))
        .next(format!("countersign policy show {}", arguments.policy.display())));
    }
    let evaluation = like(arguments)?;
    let (chosen, left_out) = columns::choose(&arguments.columns, &evaluation)?;
    let scales: Vec<(String, u64, u64)> = chosen
        .iter()
        .map(|column| (column.name().to_owned(), column.max(), column.raw_max()))
        .collect();
    let version = evaluation.harness.version.as_deref().unwrap_or("unknown");
    let harness = format!("{} {version}", evaluation.harness.name);
    let benchmark = arguments.benchmark.clone().unwrap_or_else(|| evaluation.name.clone());
    let items = arguments.items.display().to_string();
    let began = now();
    let deadline = |flag: &str, text: &str| time_or_span(flag, text, began);
    let text = template(&Template {
        own: (&own, witness.as_ref()),
        peer: (&peer, peer_witness.as_ref()),
        auditors: &auditors,
        policy: &String::from_utf8_lossy(policy.text()),
        clock: &arguments.clock,
        texts: [&benchmark, &items, &arguments.elicitation, &harness],
        epochs: evaluation.epochs.unwrap_or(1),
        columns: &scales,
        deadlines: [
            deadline("--accept-by", &arguments.accept_by)?,
            deadline("--commit-by", &arguments.commit_by)?,
            deadline("--reveal-by", &arguments.reveal_by)?,
        ],
        step: &arguments.step,
    });
    // What the template makes of these flags must be a draft.
    Draft::parse(&text).map_err(|error| {
        Failure::new(format!("these flags make no draft: {error}"))
            .next("see countersign agree new --help")
    })?;
    files::write_new(&arguments.out, text.as_bytes(), files::Access::Shared)?;
    let out = arguments.out.display();
    let names: Vec<&str> = scales.iter().map(|(name, ..)| name.as_str()).collect();
    let mut message = format!(
        "{out} is a draft between {} and {} with the columns {}.",
        own.name(),
        peer.name(),
        names.join(", ")
    );
    if !left_out.is_empty() {
        message.push_str(&format!("\nleft out, for want of a scale: {}", left_out.join(", ")));
    }
    message.push_str(&format!(
        "\nnext: edit it, then: countersign agree check {out} and countersign preview {out}"
    ));
    let json = json::object([
        ("out", json::Value::from(out.to_string())),
        ("parties", json::array([own.name().as_str(), peer.name().as_str()])),
        ("columns", json::array(names)),
        ("left_out", json::array(left_out.iter().map(String::as_str))),
    ]);
    Ok(Report::good(message, json))
}

fn public(path: &Path) -> Result<VerifierKey, Failure> {
    if path.extension().is_some_and(|ending| ending == "vkey") {
        return Ok(keys::read_vkey(path)?);
    }
    Ok(keys::KeyFile::read(path)?.verifier())
}

fn like(arguments: &Arguments) -> Result<Evaluation, Failure> {
    let import = evaluation_log::read(&arguments.like, &arguments.options.options()?)?;
    evaluation_log::select(import, &arguments.like, arguments.task.as_deref())
}

/// A time in UTC, or a span from now on.
fn time_or_span(flag: &str, text: &str, now: u64) -> Result<Timestamp, Failure> {
    if let Ok(time) = Timestamp::parse(text) {
        return Ok(time);
    }
    let span = Span::from_str(text).ok().and_then(|span| now.checked_add(span.0));
    span.and_then(|unix| Timestamp::from_unix(unix).ok()).ok_or_else(|| {
        Failure::new(format!("{flag} {text}: is neither a time nor a span"))
            .next("write a time such as 2027-01-31T12:00:00Z, or a span from now such as 90s or 7d")
    })
}
