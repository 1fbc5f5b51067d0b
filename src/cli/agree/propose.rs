//! `countersign agree propose`: a draft becomes a statement in the log.

use std::path::PathBuf;

use client::agree::{self, AgreeError};
use client::files;

use super::terms;
use crate::cli::online::OnlineArguments;
use crate::cli::output::{Failure, Report};

/// Propose an agreement: its terms go into the log, signed, and wait for the other party.
///
/// Writes the item key, sealed to the other party: send it that file and the items file by any way.
/// Neither goes to the log. Your key is registered first if it is not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign agree propose agreement.toml \
    --key lab-a.example.key --server http://127.0.0.1:7400 \\\n      --log-key log.vkey")]
pub(super) struct Arguments {
    /// The draft.
    file: PathBuf,
    #[command(flatten)]
    online: OnlineArguments,
    /// The items file, if it is not where the draft says.
    #[arg(long, value_name = "ITEMS.jsonl")]
    items: Option<PathBuf>,
    /// Where to write the item key's envelope [default: the draft's name with .item-key].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    crate::cli::block_on(propose(arguments))
}

async fn propose(arguments: &Arguments) -> Result<Report, Failure> {
    let path = &arguments.file;
    let draft = super::read_draft(path)?;
    let file = super::items_of(&draft, path, arguments.items.as_deref())?;
    let online = arguments.online.open()?;
    let out = arguments.out.clone().unwrap_or_else(|| path.with_extension("item-key"));
    if files::is_there(&out)? {
        return Err(Failure::new(format!("{} exists already", out.display()))
            .next("choose another --out, or move the old one away"));
    }
    let mut session = online.session().await?;
    let proposed = agree::propose(&mut session, &draft, &file).await;
    let proposed = proposed.map_err(|error| match error {
        AgreeError::Draft(error) => super::wrong(path, &error),
        error => error.into(),
    })?;
    files::write_new(&out, &proposed.item_key, files::Access::Shared)?;

    let id = proposed.logged.id;
    let agreement = &proposed.agreement;
    let peer = &agreement.parties[1].keys.name;
    let items = arguments.items.clone().unwrap_or_else(|| draft.items_file().into());
    let out = out.display();
    let text = format!(
        "Proposed to {peer}, as entry {} of {}.\nagreement  {id}\nitem key   {out}, sealed to {peer}\n\
         next: send {out} and {} to {peer}, who looks at it with\n      \
         countersign agree show {short} --pin {own}.vkey …\n      and then runs\n      \
         countersign agree accept {short} --item-key {out} --items items.jsonl --pin {own}.vkey …",
        proposed.logged.inclusion.index,
        session.origin(),
        items.display(),
        short = &id.to_string()[..12],
        own = session.key().name(),
    );
    let json = json::object([
        ("agreement", json::Value::from(id.to_string())),
        ("index", proposed.logged.inclusion.index.into()),
        ("to", peer.as_str().into()),
        ("item_key", out.to_string().into()),
        ("terms", terms::json(agreement)),
    ]);
    Ok(Report::good(text, json))
}
