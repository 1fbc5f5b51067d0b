//! `countersign items`: the items file that both parties hold, and the key of its tags.

use std::path::PathBuf;

use client::agree::{self, check_items};
use client::seat::find_agreement;
use client::{Replica, files};
use intake::rows_from_log;
use json::Value;
use record::items::{ItemKey, ItemsFile};
use tlog::KeyName;

use super::evaluation_log::{self, LogOptions};
use super::online::OnlineArguments;
use super::output::{Failure, Report};

/// Make and check items files, and hand over the key of an agreement's items.
///
/// An items file has one row for each question: {"id": text, "input": text, "target"?: text}. Both
/// parties hold it; the log never sees it. Under the agreement's item key each row has a tag, and
/// the agreement fixes the root over all of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign items make run.eval --out items.jsonl\n  \
    countersign items check items.jsonl\n  \
    countersign items receive 5f0c31aa --item-key agreement.item-key --items items.jsonl \\\n      \
    --key lab-b.example.key --server http://127.0.0.1:7400 --log-key log.vkey")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Make(Make),
    Check(Check),
    Send(Send),
    Receive(Receive),
}

/// Make an items file from an evaluation log: a row for each sample, in the log's order.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign items make run.eval --out items.jsonl")]
struct Make {
    /// The evaluation log: a file, or the folder of a run.
    file: PathBuf,
    /// Which task, if the log holds several.
    #[arg(long)]
    task: Option<String>,
    /// Where to write the items file.
    #[arg(long, value_name = "ITEMS.jsonl", default_value = "items.jsonl")]
    out: PathBuf,
    #[command(flatten)]
    options: LogOptions,
}

/// Check an items file; with an agreement also that it is the agreed one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign items check items.jsonl\n  \
    countersign items check items.jsonl --agreement 5f0c31aa --key lab-b.example.key \\\n      \
    --server http://127.0.0.1:7400 --log-key log.vkey --tags")]
struct Check {
    /// The items file.
    file: PathBuf,
    /// Compare it with this agreement, whose item key is in your vault.
    #[arg(long, value_name = "ID", requires = "key")]
    agreement: Option<String>,
    /// Print index, tag, epoch and id of every item in the order of records.
    #[arg(long, requires = "agreement")]
    tags: bool,
    #[command(flatten)]
    online: Option<OnlineArguments>,
}

/// Seal the item key of an agreement to another member: an auditor, or the peer once more.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign items send 5f0c31aa --to auditor.example \
    --out for-auditor.item-key \\\n      --key lab-a.example.key --server http://127.0.0.1:7400 \
    --log-key log.vkey")]
struct Send {
    /// The agreement, by its id or how that begins.
    #[arg(value_name = "ID")]
    agreement: String,
    /// Who shall open it: a party or an auditor of the agreement.
    #[arg(long, value_name = "NAME")]
    to: String,
    /// Where to write the envelope.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    online: OnlineArguments,
}

/// Open an item key that was sealed to you, check it against the agreement, and keep it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign items receive 5f0c31aa \
    --item-key for-auditor.item-key --items items.jsonl \\\n      --key auditor.example.key \
    --server http://127.0.0.1:7400 --log-key log.vkey")]
struct Receive {
    /// The agreement, by its id or how that begins.
    #[arg(value_name = "ID")]
    agreement: String,
    /// The envelope.
    #[arg(long, value_name = "FILE")]
    item_key: PathBuf,
    /// Your copy of the items file.
    #[arg(long, value_name = "ITEMS.jsonl")]
    items: PathBuf,
    #[command(flatten)]
    online: OnlineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    match &arguments.command {
        Command::Make(arguments) => make(arguments),
        Command::Check(arguments) => super::block_on(check(arguments)),
        Command::Send(arguments) => super::block_on(send(arguments)),
        Command::Receive(arguments) => super::block_on(receive(arguments)),
    }
}

fn make(arguments: &Make) -> Result<Report, Failure> {
    let import = evaluation_log::read(&arguments.file, &arguments.options.options()?)?;
    let evaluation = evaluation_log::select(import, &arguments.file, arguments.task.as_deref())?;
    let rows = rows_from_log(&evaluation).map_err(|error| {
        let findings: Vec<String> =
            error.findings.iter().take(5).map(|finding| format!("\n  {finding}")).collect();
        Failure::bad(format!("{}: {error}{}", arguments.file.display(), findings.concat()))
            .next("write the items file by hand: one row for each question")
    })?;
    let rows = rows.into_iter().map(|row| (row.id, row.input, row.target));
    let file = ItemsFile::from_rows(rows).map_err(Failure::new)?;
    files::write_new(&arguments.out, file.to_jsonl().as_bytes(), files::Access::Private)?;
    let out = arguments.out.display();
    let count = file.rows().len();
    let text = format!(
        "{out} has {count} rows, in the order of {}.\nnext: look at it, give the other party the \
         same file, and draft: countersign agree new --items {out} …",
        arguments.file.display()
    );
    let json = json::object([
        ("out", Value::from(out.to_string())),
        ("rows", count.into()),
        ("epochs", evaluation.epochs.unwrap_or(1).into()),
    ]);
    Ok(Report::good(text, json))
}

async fn check(arguments: &Check) -> Result<Report, Failure> {
    let file = super::import::read_items_file(&arguments.file)?;
    let shown = arguments.file.display();
    let rows = file.rows().len();
    let repeated = file.rows().iter().filter(|row| row.content().occurrence() > 0).count();
    let mut lines = vec![format!("{shown} is an items file of {rows} rows")];
    if repeated > 0 {
        lines.push(format!(
            "{repeated} rows repeat an earlier one; they are told apart by their order"
        ));
    }
    let mut members = vec![
        ("file", Value::from(shown.to_string())),
        ("rows", rows.into()),
        ("repeated", repeated.into()),
    ];
    if let Some(named) = &arguments.agreement {
        let online = arguments
            .online
            .as_ref()
            .ok_or_else(|| Failure::new("--agreement needs --key, --server and the log's key"))?;
        let online = online.open()?;
        let mut session = online.session().await?;
        let replica = Replica::of(session.connection()).await?;
        let id = find_agreement(&replica, online.key.name(), Some(named))?;
        let agreement =
            replica.agreement(&id).ok_or_else(|| Failure::new("there is no such agreement"))?;
        let kept = online.vault.agreement(&id.hash())?;
        let kept = kept.ok_or(client::SeatError::NoItemKey)?;
        let items = check_items(&agreement, &file, &ItemKey::new(*kept.item_key))?;
        lines.push(format!(
            "it is the one of agreement {id}: {} items, root {}",
            items.count(),
            items.root()
        ));
        members.extend([
            ("agreement", Value::from(id.to_string())),
            ("items", items.count().into()),
            ("items_root", items.root().to_string().into()),
        ]);
        if arguments.tags {
            let all: Vec<Value> = (0_u64..)
                .zip(items.items())
                .map(|(index, item)| {
                    let id = file.rows()[item.row].id();
                    lines.push(format!("{index:>7}  {}  {}  {id}", item.tag, item.epoch));
                    json::object([
                        ("index", Value::from(index)),
                        ("tag", item.tag.to_string().into()),
                        ("epoch", item.epoch.into()),
                        ("id", id.into()),
                    ])
                })
                .collect();
            members.push(("tags", all.into()));
        }
    } else {
        lines.push(format!("next: countersign agree new --items {shown} …"));
    }
    Ok(Report::good(lines.join("\n"), json::object(members)))
}

async fn send(arguments: &Send) -> Result<Report, Failure> {
    let reader = KeyName::parse(&arguments.to)
        .map_err(|error| Failure::new(format!("--to {}: {error}", arguments.to)))?;
    let online = arguments.online.open()?;
    let mut session = online.session().await?;
    let replica = Replica::of(session.connection()).await?;
    let id = find_agreement(&replica, online.key.name(), Some(&arguments.agreement))?;
    let agreement =
        replica.agreement(&id).ok_or_else(|| Failure::new("there is no such agreement"))?;
    if agreement.party(&reader).is_none() && !agreement.is_auditor(&reader) {
        return Err(Failure::new(format!("{reader} has no part in agreement {id}"))
            .next("the item key goes to its parties and auditors only"));
    }
    let kept = online.vault.agreement(&id.hash())?.ok_or(client::SeatError::NoItemKey)?;
    let envelope = agree::hand_over(&mut session, &replica, &kept, &reader)?;
    files::write_new(&arguments.out, &envelope, files::Access::Shared)?;
    let out = arguments.out.display();
    let text = format!(
        "{out} holds the item key of agreement {id}, sealed to {reader}.\n\
         next: send it with the items file to {reader}, who runs\n      \
         countersign items receive {} --item-key {out} --items items.jsonl …",
        &id.to_string()[..12]
    );
    let json = json::object([
        ("agreement", Value::from(id.to_string())),
        ("to", reader.as_str().into()),
        ("out", out.to_string().into()),
    ]);
    Ok(Report::good(text, json))
}

/// An item key's envelope has 1 KiB and its frame.
const MAX_ENVELOPE: u64 = 64 << 10;

async fn receive(arguments: &Receive) -> Result<Report, Failure> {
    let envelope = files::read(&arguments.item_key, MAX_ENVELOPE)?;
    let file = super::import::read_items_file(&arguments.items)?;
    let online = arguments.online.open()?;
    let mut session = online.session().await?;
    let replica = Replica::of(session.connection()).await?;
    let id = find_agreement(&replica, online.key.name(), Some(&arguments.agreement))?;
    let agreement =
        replica.agreement(&id).ok_or_else(|| Failure::new("there is no such agreement"))?;
    let handed = agree::open_item_key(&envelope, &replica, &online.vault, &id)?;
    let items = check_items(&agreement, &file, &handed.key)?;
    agree::keep(&mut session, id, &agreement, &file, &handed.key)?;
    let text = format!(
        "The item key that {} sealed is the one that agreement {id} commits to,\nand {} has its {} \
         items with root {}. Both are in the vault.\n\
         next: countersign agree show {}",
        handed.sender,
        arguments.items.display(),
        items.count(),
        items.root(),
        &id.to_string()[..12]
    );
    let json = json::object([
        ("agreement", Value::from(id.to_string())),
        ("from", handed.sender.as_str().into()),
        ("items", items.count().into()),
        ("items_root", items.root().to_string().into()),
    ]);
    Ok(Report::good(text, json))
}
