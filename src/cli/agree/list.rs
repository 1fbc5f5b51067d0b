//! `countersign agree list`: which agreements a party has a part in.

use client::seat::Overview;
use client::{Replica, Standing};

use crate::cli::online::OnlineArguments;
use crate::cli::output::{Failure, Report};

/// List the agreements in which you have a part, and where each stands.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign agree list --key lab-b.example.key \
    --server http://127.0.0.1:7400 --log-key log.vkey")]
pub(super) struct Arguments {
    #[command(flatten)]
    online: OnlineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    crate::cli::block_on(list(arguments))
}

async fn list(arguments: &Arguments) -> Result<Report, Failure> {
    let online = arguments.online.open()?;
    let mut session = online.session().await?;
    let replica = Replica::of(session.connection()).await?;
    let own = session.key().name();
    let mut lines = Vec::new();
    let mut found = Vec::new();
    for (id, agreement) in replica.agreements_of(own) {
        let Some(overview) = Overview::of(&replica, &id) else { continue };
        let [first, second] = agreement.parties.each_ref().map(|party| &party.keys.name);
        let waits = matches!(replica.standing(&id), Some(Standing::Open(_)))
            && overview.awaits.iter().any(|step| step.of.as_ref() == Some(own));
        let note = if waits { ", waits for you" } else { "" };
        lines.push(format!("{id}  {first} and {second}: {}{note}", overview.state));
        found.push(json::object([
            ("agreement", json::Value::from(id.to_string())),
            ("parties", json::array([first.as_str(), second.as_str()])),
            ("state", overview.state.as_str().into()),
            ("waits_for_you", waits.into()),
        ]));
    }
    if lines.is_empty() {
        lines.push(format!("{} has no part in any agreement of {}", own, session.origin()));
    } else {
        lines.push("next: countersign agree show ID, countersign status --agreement ID".to_owned());
    }
    Ok(Report::good(lines.join("\n"), json::object([("agreements", json::array(found))])))
}
