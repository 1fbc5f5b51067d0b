//! `countersign policy`: trust policies (C2SP tlog-policy) are written, read and checked here.

mod check;
mod new;
mod show;

use std::collections::BTreeMap;

use clap::Subcommand;
use tlog::{Policy, PolicyWitness};

use super::output::{Failure, Report};

/// Write, show and check trust policies: which logs count, and which witnesses must have cosigned.
///
/// A policy decides what your program believes. Write your own, or read every line of one that you
/// are given; every verdict names the digest of the policy that it was reached under.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign policy new --log log.vkey --witness w1.vkey=https://w1.example/ \
    --witness w2.vkey\n  \
    countersign policy check trust.policy --corrupt 1\n  \
    countersign policy show trust.policy")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Arguments),
    Show(show::Arguments),
    Check(check::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    match &arguments.command {
        Command::New(arguments) => new::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Check(arguments) => check::run(arguments),
    }
}

/// A name of a policy, which is bytes, for people.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn names(witnesses: &[&PolicyWitness]) -> String {
    let names: Vec<String> = witnesses.iter().map(|witness| shown(witness.name())).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

/// Who owns which witness: what the policy's comments say, and what the command line adds.
fn owners(policy: &Policy, added: &[String]) -> Result<BTreeMap<Vec<u8>, String>, Failure> {
    let declared = policy.owners().map_err(|line| {
        Failure::new(format!("line {line}: not # owner <witness> <owner>, or a second one"))
            .next("name a witness of the policy, once, and an owner without spaces")
    })?;
    let mut owners: BTreeMap<Vec<u8>, String> =
        declared.into_iter().map(|(name, owner)| (name.to_vec(), shown(owner))).collect();
    for pair in added {
        let (name, owner) = pair
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("--owner {pair}: must be WITNESS=OWNER")))?;
        if !policy.witnesses().iter().any(|witness| witness.name() == name.as_bytes()) {
            return Err(Failure::new(format!("--owner {pair}: the policy has no witness {name}")));
        }
        owners.insert(name.as_bytes().to_vec(), owner.to_owned());
    }
    Ok(owners)
}
