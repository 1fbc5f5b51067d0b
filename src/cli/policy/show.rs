//! `countersign policy show`: what a policy says, in a form that one can read.

use std::path::PathBuf;

use json::Value;
use tlog::{Member, Policy};

use super::shown;
use crate::cli::output::{Failure, Report};
use crate::cli::trust::read_policy;

/// Show a policy: its logs, its witnesses and their owners, and its quorum as a tree.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  countersign policy show trust.policy")]
pub(super) struct Arguments {
    /// The policy.
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let policy = read_policy(&arguments.file)?;
    let owners = super::owners(&policy, &[])?;
    let mut lines = vec![format!("policy   {}", policy.digest())];
    for log in policy.logs() {
        lines.push(format!("log      {}{}", log.key().keyid(), url(log.url())));
    }
    for witness in policy.witnesses() {
        let owner = owners.get(witness.name()).map(|owner| format!(", owned by {owner}"));
        lines.push(format!(
            "witness  {}: {}{}{}",
            shown(witness.name()),
            witness.key().keyid(),
            url(witness.url()),
            owner.unwrap_or_default()
        ));
    }
    match policy.quorum() {
        None => lines.push("quorum   none: no witness is asked for".to_owned()),
        Some(member) => {
            lines.push("quorum".to_owned());
            describe(&policy, member, 1, &mut lines);
        }
    }
    lines.push(format!("next: countersign policy check {}", arguments.file.display()));
    let logs = policy.logs().iter().map(|log| {
        let url = log.url().map(shown);
        json::object([("key", Value::from(log.key().to_string())), ("url", url.into())])
    });
    let witnesses = policy.witnesses().iter().map(|witness| {
        let owner = owners.get(witness.name()).cloned();
        json::object([
            ("name", Value::from(shown(witness.name()))),
            ("key", witness.key().to_string().into()),
            ("url", witness.url().map(shown).into()),
            ("owner", owner.into()),
        ])
    });
    let groups = policy.groups().iter().map(|group| {
        let members = group.members().iter().map(|member| name_of(&policy, *member));
        json::object([
            ("name", Value::from(shown(group.name()))),
            ("threshold", (group.threshold() as u64).into()),
            ("members", json::array(members)),
        ])
    });
    let quorum = policy.quorum().map(|member| name_of(&policy, member));
    let json = json::object([
        ("policy", Value::from(policy.digest().to_string())),
        ("logs", json::array(logs)),
        ("witnesses", json::array(witnesses)),
        ("groups", json::array(groups)),
        ("quorum", quorum.into()),
    ]);
    Ok(Report::good(lines.join("\n"), json))
}

fn url(url: Option<&[u8]>) -> String {
    url.map_or_else(String::new, |url| format!(" at {}", shown(url)))
}

pub(super) fn name_of(policy: &Policy, member: Member) -> String {
    match member {
        Member::Witness(index) => policy.witnesses().get(index).map(|w| shown(w.name())),
        Member::Group(index) => policy.groups().get(index).map(|g| shown(g.name())),
    }
    .unwrap_or_default()
}

/// Lines for a member and what is below it. Groups are a tree in the order of their lines, and as
/// deep as a policy has lines at most, so what is left to show is a list and no recursion.
fn describe(policy: &Policy, member: Member, depth: usize, lines: &mut Vec<String>) {
    let mut ahead = vec![(member, depth)];
    while let Some((member, depth)) = ahead.pop() {
        let indent = "  ".repeat(depth.min(20));
        let name = name_of(policy, member);
        match member {
            Member::Witness(_) => lines.push(format!("{indent}{name}")),
            Member::Group(index) => {
                let Some(group) = policy.groups().get(index) else { continue };
                let (threshold, count) = (group.threshold(), group.members().len());
                lines.push(format!("{indent}{name}: {threshold} of {count}"));
                ahead.extend(group.members().iter().rev().map(|member| (*member, depth + 1)));
            }
        }
    }
}
