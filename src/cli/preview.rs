//! `countersign preview`: who will be able to learn what under an agreement.

use std::path::PathBuf;

use client::Replica;
use client::seat::find_agreement;
use exchange::preview::Preview;
use json::Value;

use super::agree;
use super::online::OnlineArguments;
use super::output::{Failure, Report};

/// Show who will be able to learn what under an agreement, from which stage on, and by which rule.
///
/// For a draft nothing but the file is needed. For an agreement in the log, say who you are and
/// where the log is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  countersign preview agreement.toml\n  \
    countersign preview 5f0c31aa --key lab-b.example.key --server http://127.0.0.1:7400 \\\n      \
    --log-key log.vkey")]
pub(super) struct Arguments {
    /// A draft, or the id of an agreement or how that begins.
    #[arg(value_name = "DRAFT.toml|ID")]
    agreement: String,
    /// The items file of a draft, if it is not where the draft says.
    #[arg(long, value_name = "ITEMS.jsonl")]
    items: Option<PathBuf>,
    #[command(flatten)]
    online: Option<OnlineArguments>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let path = PathBuf::from(&arguments.agreement);
    let (named, agreement) = match &arguments.online {
        None if !path.exists() => {
            return Err(Failure::new(format!("{}: there is no such file", path.display())).next(
                "name a draft, or for an agreement in the log add --key, --server and --log-key",
            ));
        }
        None => {
            let (_, agreement) = agree::draft_of(&path, arguments.items.as_deref())?;
            (path.display().to_string(), Box::new(agreement))
        }
        Some(online) => super::block_on(async {
            let online = online.open()?;
            let mut session = online.session().await?;
            let replica = Replica::of(session.connection()).await?;
            let id = find_agreement(&replica, online.key.name(), Some(&arguments.agreement))?;
            let agreement = replica.agreement(&id);
            let agreement = agreement.ok_or_else(|| Failure::new("there is no such agreement"))?;
            Ok((id.to_string(), agreement))
        })?,
    };
    let preview = Preview::of(&agreement);
    let mut lines = agree::preview_lines(&preview);
    lines.push(
        "next: what must not be learned by somebody, take out of the rules before both have signed"
            .to_owned(),
    );
    let json = json::object([
        ("agreement", Value::from(named)),
        ("lessons", agree::lessons_json(&preview)),
        ("warnings", agree::warnings_json(&preview)),
    ]);
    Ok(Report::good(lines.join("\n"), json))
}
