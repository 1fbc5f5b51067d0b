//! The command line. Each command has a module with its arguments, its work and its words.

mod agree;
mod bench;
mod commit;
mod decline;
mod demo;
mod evaluation_log;
mod fsck;
#[cfg(test)]
mod fuzzed;
mod import;
mod intend;
mod items;
mod key;
mod keygen;
mod man;
mod monitor;
mod online;
mod open;
mod output;
mod party;
mod passphrase;
mod policy;
mod preview;
mod process;
mod progress;
mod reveal;
mod serve;
mod status;
mod style;
mod trust;
mod vault;
mod verify;
mod withdraw;
mod witness;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use output::{Failure, Report};

/// Two parties who don't trust each other commit to AI evaluation results in a signed log that
/// each of them, and any auditor, can check without seeing items, outputs or scores.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// Print one JSON document instead of text.
    #[arg(long, global = true)]
    json: bool,
    /// When to colour the output: auto (on a terminal, unless NO_COLOR is set), always or never.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    #[arg(hide_possible_values = true)]
    color: style::When,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  countersign demo                       see the whole thing work, in about ten seconds
  countersign keygen lab-a.example       make a party's keys and vault
  countersign serve --party lab-a.example.vkey
  countersign commit run.eval --key lab-a.example.key --server http://127.0.0.1:7400 \\
      --log-key log/log.vkey --no-agreement
  countersign verify run.countersign --log-key log/log.vkey
  countersign witness --log log/log.vkey

Exit codes: 0 good, 1 the verdict is bad, 2 usage or environment.";

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Keygen(keygen::Arguments),
    Key(key::Arguments),
    Vault(vault::Arguments),
    Serve(serve::Arguments),
    Import(import::Arguments),
    Items(items::Arguments),
    Agree(agree::Arguments),
    Preview(preview::Arguments),
    Intend(intend::Arguments),
    Commit(commit::Arguments),
    Withdraw(withdraw::Arguments),
    Status(status::Arguments),
    Reveal(reveal::Arguments),
    Decline(decline::Arguments),
    Open(open::Arguments),
    Verify(verify::Arguments),
    Fsck(fsck::Arguments),
    Witness(witness::Arguments),
    Monitor(monitor::Arguments),
    Bench(bench::Arguments),
    Policy(policy::Arguments),
    Completions(Completions),
    Man(man::Arguments),
}

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  countersign completions bash > /etc/bash_completion.d/countersign"
)]
struct Completions {
    /// Which shell.
    shell: clap_complete::Shell,
}

/// Runs the command that the process was started with.
pub(crate) fn run() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let command = Arguments::command().color(style::choose(&words));
    let parsed = command
        .try_get_matches_from(&words)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return output::misused(&error, words.iter().any(|word| word == "--json")),
    };
    let as_json = arguments.json;
    let result = match arguments.command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Key(arguments) => key::run(&arguments),
        Command::Vault(arguments) => vault::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments, as_json),
        Command::Import(arguments) => import::run(&arguments),
        Command::Items(arguments) => items::run(&arguments),
        Command::Agree(arguments) => agree::run(&arguments),
        Command::Preview(arguments) => preview::run(&arguments),
        Command::Intend(arguments) => intend::run(&arguments),
        Command::Commit(arguments) => commit::run(&arguments),
        Command::Withdraw(arguments) => withdraw::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Reveal(arguments) => reveal::run(&arguments),
        Command::Decline(arguments) => decline::run(&arguments),
        Command::Open(arguments) => open::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Fsck(arguments) => fsck::run(&arguments),
        Command::Witness(arguments) => witness::run(&arguments, as_json),
        Command::Monitor(arguments) => monitor::run(&arguments, as_json),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Completions(arguments) => Ok(completions(&arguments)),
        Command::Man(arguments) => man::run(&arguments, Arguments::command()),
    };
    output::finish(result, as_json)
}

fn completions(arguments: &Completions) -> Report {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "countersign", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = json::object([("script", script.as_str().into())]);
    Report::good(script, json)
}

/// Time for blocking work whose result nobody waits for any more.
const LEFT_OVER: Duration = Duration::from_secs(1);

/// Runs asynchronous work of a command to its end.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("the runtime does not start: {e}")))?;
    let result = runtime.block_on(work);
    // Whatever still reads from a disk that hangs must not keep the process alive.
    runtime.shutdown_timeout(LEFT_OVER);
    result
}
