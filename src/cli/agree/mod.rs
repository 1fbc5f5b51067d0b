//! `countersign agree`: agreements are drafted, proposed, looked at and accepted here.

mod accept;
mod check;
mod list;
mod new;
mod propose;
mod show;
mod terms;

use std::path::Path;

use clap::Subcommand;
use client::files;
use exchange::draft::{Draft, MAX_DRAFT};

use super::output::{Failure, Report};

pub(super) use check::draft_of;
pub(super) use terms::{lessons_json, preview_lines, warnings_json};

/// Draft, propose, look at and accept agreements: what two parties fix before anybody runs anything.
///
/// An agreement is drafted as a file that people read and edit, proposed by one party, and binds
/// both once the other has accepted it. It says which items, which scores, by when, and what each
/// will learn of the other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign agree new --key lab-a.example.key --peer lab-b.example.vkey --items items.jsonl \\\n      \
    --like run.eval --policy trust.policy --clock clock\n  \
    countersign agree check agreement.toml\n  \
    countersign agree propose agreement.toml --key lab-a.example.key \\\n      \
    --server http://127.0.0.1:7400 --log-key log.vkey\n  \
    countersign agree accept 5f0c31aa --item-key agreement.item-key --items items.jsonl \\\n      \
    --pin lab-a.example.vkey --key lab-b.example.key --server http://127.0.0.1:7400 \\\n      \
    --log-key log.vkey")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(Box<new::Arguments>),
    Check(check::Arguments),
    Propose(propose::Arguments),
    List(list::Arguments),
    Show(show::Arguments),
    Accept(accept::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    match &arguments.command {
        Command::New(arguments) => new::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Propose(arguments) => propose::run(arguments),
        Command::List(arguments) => list::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Accept(arguments) => accept::run(arguments),
    }
}

/// Reads a draft, and says by line and field what is wrong with it.
pub(super) fn read_draft(path: &Path) -> Result<Draft, Failure> {
    let bytes = files::read(path, MAX_DRAFT as u64)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("{}: is not UTF-8", path.display())))?;
    Draft::parse(&text).map_err(|error| wrong(path, &error))
}

/// A mistake in a draft, with its place.
pub(super) fn wrong(path: &Path, error: &exchange::draft::DraftError) -> Failure {
    Failure::new(format!("{}, {error}", path.display()))
        .next("mend that line; every field has a comment in what countersign agree new writes")
}

/// The items file of a draft: what the user names, or the draft, beside itself.
fn items_of(
    draft: &Draft,
    path: &Path,
    named: Option<&Path>,
) -> Result<record::items::ItemsFile, Failure> {
    let beside = path.parent().unwrap_or_else(|| Path::new(".")).join(draft.items_file());
    super::import::read_items_file(named.unwrap_or(&beside))
}
