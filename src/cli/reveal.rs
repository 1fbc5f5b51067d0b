//! `countersign reveal`: what the agreement says must, or may, be shown of totals and counts.

use exchange::Word;
use json::Value;

use super::online::{AgreementArgument, OnlineArguments};
use super::output::{Failure, Report};

/// Reveal what the agreement says: totals, counts or flags, sealed to their reader or for everybody.
///
/// Without --rule: everything that you still owe. Nothing leaves this machine before both records
/// lie under a ticked head, and before your own witness, if the agreement names one, has cosigned
/// that.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign reveal --agreement 5f0c31aa \
    --key lab-a.example.key \\\n      --server http://127.0.0.1:7400 --log-key log.vkey")]
pub(super) struct Arguments {
    #[command(flatten)]
    agreement: AgreementArgument,
    /// Reveal under this rule of the agreement, owed or not. Repeat for each.
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,
    #[command(flatten)]
    online: OnlineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    super::block_on(reveal(arguments))
}

async fn reveal(arguments: &Arguments) -> Result<Report, Failure> {
    let rules = arguments.rules.iter().map(|rule| {
        Word::parse(rule).map_err(|error| Failure::new(format!("--rule {rule}: {error}")))
    });
    let rules: Vec<Word> = rules.collect::<Result<_, _>>()?;
    let online = arguments.online.open()?;
    let mut seat = online.seat(&arguments.agreement).await?;
    if let Some(state) = seat.too_early_to_reveal() {
        return Err(Failure::new(format!(
            "the exchange is {state}: nothing is revealed before both records lie under a ticked head"
        ))
        .next("wait; countersign watch shows when it is committed"));
    }
    let revealed = seat.reveal(&rules).await?;
    let exchange = seat.exchange();
    let short = &exchange.to_string()[..12];
    let mut lines = Vec::new();
    for shown in &revealed {
        let to = shown.reader.as_ref().map_or("everybody", |name| name.as_str());
        let how = if shown.reader.is_some() { "sealed" } else { "in the clear" };
        lines.push(format!(
            "Revealed {} to {to}, {how}, by rule {}: entry {}",
            shown.what, shown.rule, shown.logged.inclusion.index
        ));
    }
    if lines.is_empty() {
        lines.push("Nothing is owed that was not revealed before.".to_owned());
    }
    lines.push(format!(
        "next: countersign compare --agreement {short}, once the other side has revealed"
    ));
    let shown = revealed.iter().map(|shown| {
        let mut members = vec![
            ("rule", Value::from(shown.rule.as_str())),
            ("what", shown.what.to_string().into()),
            ("statement", shown.logged.id.to_string().into()),
            ("index", shown.logged.inclusion.index.into()),
        ];
        members.extend(shown.reader.as_ref().map(|name| ("reader", name.as_str().into())));
        json::object(members)
    });
    let json = json::object([
        ("agreement", Value::from(exchange.to_string())),
        ("revealed", json::array(shown)),
    ]);
    Ok(Report::good(lines.join("\n"), json))
}
