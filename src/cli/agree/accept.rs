//! `countersign agree accept`: the other party's consent.

use std::path::PathBuf;

use client::agree::{self, check_items};
use client::seat::find_agreement;
use client::{Replica, files, keys};
use exchange::preview::Preview;
use json::Value;
use tlog::VerifierKey;

use super::terms;
use crate::cli::online::OnlineArguments;
use crate::cli::output::{Failure, Report};

/// Accept an agreement that the other party proposed.
///
/// Signs only after all of this held on this machine: every embedded key is yours or one that you
/// pinned, the item key's envelope opened and its key is the one that the agreement commits to, and
/// your own items file has the agreed items root. Who will learn what is printed first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign agree accept 5f0c31aa \
    --item-key agreement.item-key --items items.jsonl \\\n      --pin lab-a.example.vkey \
    --key lab-b.example.key --server http://127.0.0.1:7400 \\\n      --log-key log.vkey")]
pub(super) struct Arguments {
    /// The agreement, by its id or how that begins; without it the only one that goes on.
    #[arg(value_name = "ID")]
    agreement: Option<String>,
    /// The item key's envelope, from the proposer.
    #[arg(long, value_name = "FILE")]
    item_key: PathBuf,
    /// Your copy of the items file.
    #[arg(long, value_name = "ITEMS.jsonl")]
    items: PathBuf,
    /// The public key of a member, which you got from it by a way you trust. Repeat for each.
    #[arg(long = "pin", value_name = "NAME.vkey")]
    pins: Vec<PathBuf>,
    /// The draft that the proposer showed you: what it says of benchmark and elicitation is compared
    /// with the commitments in the agreement.
    #[arg(long, value_name = "FILE.toml")]
    draft: Option<PathBuf>,
    #[command(flatten)]
    online: OnlineArguments,
}

/// An item key's envelope has 1 KiB and its frame.
const MAX_ENVELOPE: u64 = 64 << 10;

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    crate::cli::block_on(accept(arguments))
}

async fn accept(arguments: &Arguments) -> Result<Report, Failure> {
    let pinned = arguments.pins.iter().map(|path| keys::read_vkey(path));
    let pinned: Vec<VerifierKey> = pinned.collect::<Result<_, _>>()?;
    let envelope = files::read(&arguments.item_key, MAX_ENVELOPE)?;
    let file = crate::cli::import::read_items_file(&arguments.items)?;
    let online = arguments.online.open()?;
    let mut session = online.session().await?;
    let replica = Replica::of(session.connection()).await?;
    let id = find_agreement(&replica, online.key.name(), arguments.agreement.as_deref())?;
    let agreement = replica.agreement(&id).ok_or_else(|| Failure::new("there is no agreement"))?;

    agree::check_pinned(&agreement, &online.key, &pinned)?;
    let handed = agree::open_item_key(&envelope, &replica, &online.vault, &id)?;
    let items = check_items(&agreement, &file, &handed.key)?;
    if let Some(path) = &arguments.draft {
        compare_texts(path, &agreement, &handed.key)?;
    }
    let preview = Preview::of(&agreement);
    for line in terms::preview_lines(&preview) {
        eprintln!("{line}");
    }
    let accepted = agree::accept(&mut session, &replica, id, &pinned, (&envelope, &file)).await?;

    let first = &agreement.parties[0].keys.name;
    let text = format!(
        "Accepted: {first} and {} are bound by agreement\n           {id}\n\
         items      {}, root {}, recomputed from {} under the item key that {} sealed\n\
         entry      {} of {}\n\
         next: announce a run before it starts: countersign intend --agreement {}",
        online.key.name(),
        items.count(),
        items.root(),
        arguments.items.display(),
        handed.sender,
        accepted.inclusion.index,
        session.origin(),
        &id.to_string()[..12],
    );
    let json = json::object([
        ("agreement", Value::from(id.to_string())),
        ("accept", accepted.id.to_string().into()),
        ("index", accepted.inclusion.index.into()),
        ("items", items.count().into()),
        ("items_root", items.root().to_string().into()),
        ("lessons", terms::lessons_json(&preview)),
        ("warnings", terms::warnings_json(&preview)),
    ]);
    Ok(Report::good(text, json))
}

/// What the draft says in words is what the agreement commits to.
fn compare_texts(
    path: &std::path::Path,
    agreement: &exchange::predicate::Agreement,
    key: &record::items::ItemKey,
) -> Result<(), Failure> {
    let draft = super::read_draft(path)?;
    let (benchmark, elicitation) = draft.committed_texts();
    let differs = |what: &str| {
        Failure::bad(format!(
            "{}: the agreement commits to another {what} than this draft says",
            path.display()
        ))
        .next("ask the proposer for the draft that was proposed")
    };
    if key.elicitation(elicitation) != agreement.evaluation.elicitation {
        return Err(differs("elicitation"));
    }
    let hidden = match &agreement.evaluation.benchmark {
        exchange::predicate::Benchmark::Commitment(commitment) => Some(*commitment),
        exchange::predicate::Benchmark::Name(_) => None,
    };
    if benchmark.map(|text| key.benchmark(text)) != hidden {
        return Err(differs("benchmark"));
    }
    Ok(())
}
