//! `countersign decline`: an agreed claim will not be made.

use exchange::Word;
use exchange::predicate::DeclineCode;
use json::Value;

use super::online::{AgreementArgument, OnlineArguments};
use super::output::{Failure, Report};

/// Say that an agreed claim will not be made. It is no default, and tells nothing unless you say
/// why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign decline at-least-half --agreement 5f0c31aa \
    --key lab-a.example.key \\\n      --server http://127.0.0.1:7400 --log-key log.vkey")]
pub(super) struct Arguments {
    /// The claim's id in the agreement.
    claim: String,
    #[command(flatten)]
    agreement: AgreementArgument,
    /// Why; the default tells nothing.
    #[arg(long, value_name = "CODE", value_enum, default_value_t)]
    code: Code,
    #[command(flatten)]
    online: OnlineArguments,
}

/// Why a claim is not made.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Code {
    /// Tells nothing.
    #[default]
    Unspecified,
    /// The proof can't be made.
    Technical,
    /// The party's own policy forbids it.
    Policy,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    super::block_on(decline(arguments))
}

async fn decline(arguments: &Arguments) -> Result<Report, Failure> {
    let claim = Word::parse(&arguments.claim)
        .map_err(|error| Failure::new(format!("{}: {error}", arguments.claim)))?;
    let code = match arguments.code {
        Code::Unspecified => DeclineCode::Unspecified,
        Code::Technical => DeclineCode::Technical,
        Code::Policy => DeclineCode::Policy,
    };
    let online = arguments.online.open()?;
    let mut seat = online.seat(&arguments.agreement).await?;
    let logged = seat.decline(&claim, code).await?;
    let exchange = seat.exchange();
    let text = format!(
        "Declined: the claim {claim} will not be made, as entry {} of {}.\n\
         next: countersign status --agreement {}",
        logged.inclusion.index,
        seat.session().origin(),
        &exchange.to_string()[..12]
    );
    let json = json::object([
        ("agreement", Value::from(exchange.to_string())),
        ("claim", claim.as_str().into()),
        ("statement", logged.id.to_string().into()),
        ("index", logged.inclusion.index.into()),
    ]);
    Ok(Report::good(text, json))
}
