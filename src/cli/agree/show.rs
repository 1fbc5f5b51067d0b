//! `countersign agree show`: what an agreement in the log says, and whose keys it embeds.

use std::path::PathBuf;

use client::agree::check_pinned;
use client::seat::{Overview, find_agreement};
use client::{Replica, keys};
use exchange::preview::Preview;
use json::Value;
use tlog::VerifierKey;

use super::terms;
use crate::cli::online::OnlineArguments;
use crate::cli::output::{Failure, Report, Verdict};

/// Show what an agreement in the log says, and whether the keys in it are the ones that you trust.
///
/// It is read from your own replay of the log. Exit code 1: it embeds another key of somebody than
/// the one that you pinned.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign agree show 5f0c31aa --pin lab-a.example.vkey \
    --key lab-b.example.key \\\n      --server http://127.0.0.1:7400 --log-key log.vkey")]
pub(super) struct Arguments {
    /// The agreement, by its id or how that begins; without it the only one that goes on.
    #[arg(value_name = "ID")]
    agreement: Option<String>,
    /// The public key of a member, which you got from it by a way you trust. Repeat for each.
    #[arg(long = "pin", value_name = "NAME.vkey")]
    pins: Vec<PathBuf>,
    #[command(flatten)]
    online: OnlineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    crate::cli::block_on(show(arguments))
}

async fn show(arguments: &Arguments) -> Result<Report, Failure> {
    let pinned = arguments.pins.iter().map(|path| keys::read_vkey(path));
    let pinned: Vec<VerifierKey> = pinned.collect::<Result<_, _>>()?;
    let online = arguments.online.open()?;
    let mut session = online.session().await?;
    let replica = Replica::of(session.connection()).await?;
    let id = find_agreement(&replica, online.key.name(), arguments.agreement.as_deref())?;
    let (Some(agreement), Some(overview)) = (replica.agreement(&id), Overview::of(&replica, &id))
    else {
        return Err(Failure::new("the log has no such agreement"));
    };
    let preview = Preview::of(&agreement);
    let checked = check_pinned(&agreement, &online.key, &pinned);
    let mut lines = vec![format!("agreement  {id}"), format!("state      {}", overview.state)];
    lines.extend(terms::lines(&agreement));
    for warning in &preview.warnings {
        lines.push(format!("warning    {} ({})", warning.message, warning.about));
    }
    let (keys, verdict) = match &checked {
        Ok(()) => ("pinned", Verdict::Good),
        Err(client::AgreeError::SubstitutedKey { .. }) => ("substituted", Verdict::Bad),
        Err(_) => ("unpinned", Verdict::Good),
    };
    match &checked {
        Ok(()) => lines.push("keys       all embedded keys are the ones that you trust".to_owned()),
        Err(error) => lines.push(format!("keys       {error}")),
    }
    if verdict == Verdict::Good {
        lines.push(format!(
            "next: countersign preview {short}; the other party accepts with countersign agree accept {short}",
            short = &id.to_string()[..12]
        ));
    } else {
        lines.push("next: do not accept; compare keys with their owner".to_owned());
    }
    let json = json::object([
        ("agreement", Value::from(id.to_string())),
        ("state", overview.state.as_str().into()),
        ("keys", keys.into()),
        ("terms", terms::json(&agreement)),
        ("warnings", terms::warnings_json(&preview)),
    ]);
    Ok(Report { text: lines.join("\n"), json, verdict })
}
