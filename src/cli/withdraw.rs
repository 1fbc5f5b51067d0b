//! `countersign withdraw`: an announced run ends without a record.

use exchange::predicate::WithdrawalCode;
use json::Value;

use super::online::{AgreementArgument, OnlineArguments};
use super::output::{Failure, Report};

/// End an announced run without a record, with a reason that everybody sees.
///
/// The run stays visible and counts against the agreed budget.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  countersign withdraw --agreement 5f0c31aa --run 1 --code crash \
    --key lab-a.example.key \\\n      --server http://127.0.0.1:7400 --log-key log.vkey"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    agreement: AgreementArgument,
    /// Which run, if several are open.
    #[arg(long, value_name = "N")]
    run: Option<u64>,
    /// Why.
    #[arg(long, value_name = "CODE", value_enum)]
    code: Code,
    #[command(flatten)]
    online: OnlineArguments,
}

/// Why a run ended without a record.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Code {
    /// The run crashed.
    Crash,
    /// Machines or services failed.
    Infrastructure,
    /// The run was set up wrongly.
    Configuration,
    /// The run was stopped.
    Aborted,
    /// None of the others.
    Other,
}

impl From<Code> for WithdrawalCode {
    fn from(code: Code) -> Self {
        match code {
            Code::Crash => Self::Crash,
            Code::Infrastructure => Self::Infrastructure,
            Code::Configuration => Self::Configuration,
            Code::Aborted => Self::Aborted,
            Code::Other => Self::Other,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    super::block_on(withdraw(arguments))
}

async fn withdraw(arguments: &Arguments) -> Result<Report, Failure> {
    let online = arguments.online.open()?;
    let mut seat = online.seat(&arguments.agreement).await?;
    let code = WithdrawalCode::from(arguments.code);
    let (ended, logged) = seat.withdraw(arguments.run, code).await?;
    let left = seat.agreement().runs.budget.saturating_sub(seat.own_runs()?.len() as u64);
    let exchange = seat.exchange();
    let text = format!(
        "Withdrawn: run {} ended without a record ({}), as entry {} of {}.\n\
         next: {}",
        ended.run,
        code.as_str(),
        logged.inclusion.index,
        seat.session().origin(),
        match left {
            0 => "the budget is spent; countersign status says what that means".to_owned(),
            left => format!(
                "{left} more may be announced: countersign intend --agreement {}",
                &exchange.to_string()[..12]
            ),
        },
    );
    let json = json::object([
        ("agreement", Value::from(exchange.to_string())),
        ("withdrawal", logged.id.to_string().into()),
        ("index", logged.inclusion.index.into()),
        ("run", ended.run.into()),
        ("code", code.as_str().into()),
        ("left", left.into()),
    ]);
    Ok(Report::good(text, json))
}
