//! `countersign agree check`: whether a draft can become an agreement.

use std::path::PathBuf;

use client::{Entropy as _, SystemEntropy};
use exchange::Common;
use exchange::draft::{Draft, Material};
use exchange::predicate::{Agreement, Keys, SealingKey};
use exchange::preview::Preview;
use record::items::ItemKey;
use tlog::{KeyName, TreeHead};

use super::terms;
use crate::cli::output::{Failure, Report};

/// Check the draft of an agreement: every field, and every rule of the protocol about them.
///
/// Nothing is sent. Whether the keys are those that the log has registered is found out when it is
/// proposed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign agree check agreement.toml")]
pub(super) struct Arguments {
    /// The draft.
    file: PathBuf,
    /// The items file, if it is not where the draft says.
    #[arg(long, value_name = "ITEMS.jsonl")]
    items: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let (_, agreement) = draft_of(&arguments.file, arguments.items.as_deref())?;
    let file = arguments.file.display();
    let preview = Preview::of(&agreement);
    let mut lines = terms::lines(&agreement);
    for warning in &preview.warnings {
        lines.push(format!("warning    {} ({})", warning.message, warning.about));
    }
    lines.push(format!(
        "{file} can be proposed.\nnext: countersign preview {file}, then countersign agree propose {file}"
    ));
    let json = json::object([
        ("file", json::Value::from(file.to_string())),
        ("terms", terms::json(&agreement)),
        ("warnings", terms::warnings_json(&preview)),
    ]);
    Ok(Report::good(lines.join("\n"), json))
}

/// A draft with the terms that it makes, under keys of nobody and an item key that is thrown away.
pub(in crate::cli) fn draft_of(
    path: &std::path::Path,
    items: Option<&std::path::Path>,
) -> Result<(Draft, Agreement), Failure> {
    let draft = super::read_draft(path)?;
    let file = super::items_of(&draft, path, items)?;
    let item_key = ItemKey::new(SystemEntropy.bytes());
    let agreed = file.agree(&item_key, draft.epochs()).map_err(Failure::new)?;
    let [own, peer] = draft.parties();
    let all: Vec<_> = [own, peer].into_iter().chain(draft.auditors()).cloned().collect();
    let keys = |name: &KeyName| {
        let key = all.iter().find(|key| key.name() == name)?;
        let (sealing, recovery) = (SealingKey::X25519([9; 32]), *key.public().as_bytes());
        Some(Keys { name: name.clone(), key: *key.public().as_bytes(), sealing, recovery })
    };
    let origin = KeyName::parse("draft.invalid").map_err(Failure::new)?;
    let common = Common {
        origin,
        exchange: None,
        signer: own.name().clone(),
        number: 1,
        previous: None,
        seen: TreeHead::EMPTY,
    };
    let material = Material { common: &common, keys: &keys, items: &agreed, item_key: &item_key };
    let agreement = draft.agreement(&material).map_err(|error| super::wrong(path, &error))?;
    Ok((draft, agreement))
}
