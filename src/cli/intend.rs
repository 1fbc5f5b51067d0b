//! `countersign intend`: a run is announced before it starts.

use json::Value;

use super::online::{AgreementArgument, OnlineArguments};
use super::output::{Failure, Report};

/// Announce a run of the agreed evaluation, before it starts.
///
/// Every announced run ends in sight of all: with a record, a withdrawal, or overdue. It counts
/// against the agreed budget either way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign intend --agreement 5f0c31aa \
    --key lab-a.example.key \\\n      --server http://127.0.0.1:7400 --log-key log.vkey")]
pub(super) struct Arguments {
    #[command(flatten)]
    agreement: AgreementArgument,
    #[command(flatten)]
    online: OnlineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    super::block_on(intend(arguments))
}

async fn intend(arguments: &Arguments) -> Result<Report, Failure> {
    let online = arguments.online.open()?;
    let mut seat = online.seat(&arguments.agreement).await?;
    let announced = seat.intend().await?;
    let (run, budget) = (announced.run, announced.budget);
    let (id, exchange) = (announced.logged.id, seat.exchange());
    let index = announced.logged.inclusion.index;
    let text = format!(
        "Announced: run {run} of at most {budget}, as entry {index} of {}.\nintent     {id}\n\
         next: run the evaluation, then countersign commit FILE --agreement {short} …\n      \
         if it fails: countersign withdraw --agreement {short} --run {run} --code crash …",
        seat.session().origin(),
        short = &exchange.to_string()[..12],
    );
    let json = json::object([
        ("agreement", Value::from(exchange.to_string())),
        ("intent", id.to_string().into()),
        ("index", index.into()),
        ("run", run.into()),
        ("budget", budget.into()),
    ]);
    Ok(Report::good(text, json))
}
