//! `countersign status`: where an exchange stands, and who must do what by when.

use client::Standing;
use client::seat::{Overview, RunOverview};
use exchange::Status;
use json::Value;

use super::online::{AgreementArgument, OnlineArguments, time};
use super::output::{Failure, Report, Verdict};

/// Show where an exchange stands: its stage, the runs of both, what is owed, and who must do what
/// by when.
///
/// It is computed on this machine from every entry of the log. Exit code 1: somebody is in default,
/// or the log holds entries that no honest log has.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign status --agreement 5f0c31aa \
    --key lab-a.example.key \\\n      --server http://127.0.0.1:7400 --log-key log.vkey")]
pub(super) struct Arguments {
    #[command(flatten)]
    agreement: AgreementArgument,
    #[command(flatten)]
    online: OnlineArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    super::block_on(status(arguments))
}

async fn status(arguments: &Arguments) -> Result<Report, Failure> {
    let online = arguments.online.open()?;
    let mut seat = online.seat(&arguments.agreement).await?;
    let overview = seat.overview();
    let head = seat.replica().head();
    let faults = seat.replica().faults().to_vec();
    let digest = seat.replica().state().digest();
    let mut lines = lines(&overview);
    for (index, refusal) in &faults {
        lines.push(format!("BAD LOG    entry {index} should not be there: {refusal}"));
    }
    lines.push(format!(
        "replayed   {} entries of {}, state {}",
        head.size,
        seat.session().origin(),
        &digest.to_string()[..16]
    ));
    let open = matches!(seat.standing(), Standing::Open(_));
    let own = seat.name();
    let next = overview.awaits.iter().find(|step| step.of.as_ref() == Some(own));
    lines.push(match (open, next) {
        (false, _) => "next: nothing; it is over".to_owned(),
        (true, Some(step)) => format!("next: {}", command_for(&step.what.to_string())),
        (true, None) => "next: wait; countersign watch shows what happens".to_owned(),
    });
    let verdict = match overview.breaches.is_empty() && faults.is_empty() {
        true => Verdict::Good,
        false => Verdict::Bad,
    };
    let mut members = members(&overview);
    members.extend([
        ("size", head.size.into()),
        ("root", head.root.to_string().into()),
        ("state_digest", digest.to_string().into()),
        (
            "faults",
            json::array(faults.iter().map(|(index, refusal)| {
                json::object([
                    ("index", Value::from(*index)),
                    ("reason", refusal.reason().as_str().into()),
                    ("problem", refusal.to_string().into()),
                ])
            })),
        ),
    ]);
    Ok(Report { text: lines.join("\n"), json: json::object(members), verdict })
}

/// The command that meets an obligation.
fn command_for(step: &str) -> String {
    let command = match step.split(':').next().unwrap_or_default() {
        "accept" => "countersign agree accept",
        "commit" => "countersign intend, then countersign commit FILE --agreement ID",
        "reveal" => "countersign reveal",
        "claim" => "countersign decline CLAIM, if it will not be made",
        _ => "see docs/exchange.md",
    };
    format!("{step}: {command}")
}

/// An exchange in words.
pub(super) fn lines(overview: &Overview) -> Vec<String> {
    let mut lines = vec![
        format!("agreement  {}", overview.exchange),
        format!("parties    {} and {}", overview.parties[0], overview.parties[1]),
        format!("state      {}", overview.state),
    ];
    lines.push(match overview.time {
        0 => "clock      no tick yet".to_owned(),
        unix => format!("clock      {}", time(unix)),
    });
    if overview.neutral == Some(false) {
        lines.push("clock      not neutral: a missed deadline names nobody".to_owned());
    }
    for (place, runs) in overview.runs.iter().enumerate() {
        let name = &overview.parties[place];
        if overview.schedule.is_some() {
            let used = runs.len();
            lines.push(format!("runs       {name}: {used} of {} announced", overview.budget));
        }
        for run in runs {
            lines.push(format!("           {}", run_text(run)));
        }
        if let Some(record) = overview.records[place] {
            lines.push(format!("record     {name}: {record} counts"));
        }
    }
    for duty in &overview.obligations {
        let due = match (duty.status, duty.due) {
            (Status::Open, Some(due)) => format!(", due by {}", time(due)),
            _ => String::new(),
        };
        lines.push(format!("owed       {}: {}{due}", duty.name, duty.status));
    }
    for step in &overview.awaits {
        let of = step.of.as_ref().map_or("anybody", |name| name.as_str());
        let due = step.due.map_or_else(String::new, |due| format!(" by {}", time(due)));
        lines.push(format!("awaited    {} of {of}{due}", step.what));
    }
    for breach in &overview.breaches {
        lines.push(format!("BREACH     {breach}"));
    }
    lines
}

fn run_text(run: &RunOverview) -> String {
    match run {
        RunOverview::Open { run, overdue: false } => format!("run {run}: goes on"),
        RunOverview::Open { run, overdue: true } => format!("run {run}: OVERDUE"),
        RunOverview::Recorded { run, record } => format!("run {run}: record {record}"),
        RunOverview::Withdrawn { run, code } => format!("run {run}: withdrawn ({})", code.as_str()),
    }
}

/// An exchange for machines.
pub(super) fn members(overview: &Overview) -> Vec<(&'static str, Value)> {
    let sides = overview.parties.iter().enumerate().map(|(place, name)| {
        let runs = overview.runs[place].iter().map(|run| {
            let (number, end) = match run {
                RunOverview::Open { run, overdue: false } => (*run, "open"),
                RunOverview::Open { run, overdue: true } => (*run, "overdue"),
                RunOverview::Recorded { run, .. } => (*run, "recorded"),
                RunOverview::Withdrawn { run, .. } => (*run, "withdrawn"),
            };
            let mut members = vec![("run", Value::from(number)), ("end", end.into())];
            match run {
                RunOverview::Recorded { record, .. } => {
                    members.push(("record", record.to_string().into()));
                }
                RunOverview::Withdrawn { code, .. } => members.push(("code", code.as_str().into())),
                RunOverview::Open { .. } => {}
            }
            json::object(members)
        });
        let mut members = vec![("party", Value::from(name.as_str())), ("runs", json::array(runs))];
        let record = overview.records[place];
        members.extend(record.map(|record| ("record", record.to_string().into())));
        json::object(members)
    });
    let obligations = overview.obligations.iter().map(|duty| {
        let mut members = vec![
            ("name", Value::from(duty.name.as_str())),
            ("holder", duty.holder.as_str().into()),
            ("status", duty.status.as_str().into()),
        ];
        members.extend(duty.due.map(|due| ("due", time(due).into())));
        json::object(members)
    });
    let awaits = overview.awaits.iter().map(|step| {
        let mut members = vec![("what", Value::from(step.what.to_string()))];
        members.extend(step.of.as_ref().map(|name| ("of", name.as_str().into())));
        members.extend(step.due.map(|due| ("due", time(due).into())));
        json::object(members)
    });
    vec![
        ("agreement", overview.exchange.to_string().into()),
        ("state", overview.state.as_str().into()),
        ("time", overview.time.into()),
        ("budget", overview.budget.into()),
        ("sides", json::array(sides)),
        ("obligations", json::array(obligations)),
        ("awaits", json::array(awaits)),
        ("breaches", json::array(overview.breaches.iter().map(ToString::to_string))),
    ]
}
