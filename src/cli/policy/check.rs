//! `countersign policy check`: what a policy withstands, and what is unwise about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use client::keys;
use json::Value;
use tlog::{Member, Policy, PolicyWitness, PublicKey, Split};

use super::show::name_of;
use super::{names, owners, shown};
use crate::cli::output::{Failure, Report, Verdict};
use crate::cli::style::Stream;
use crate::cli::trust::read_policy;

/// Check a policy: how many corrupt and how many silent witnesses it withstands.
///
/// Two readers can be shown two histories only if the log lies, and with it every witness that is
/// in both of two quorums. Where k of n witnesses must cosign, any two quorums share 2k - n or more:
/// safe with f corrupt ones if 2k > n + f. Groups in groups are computed exactly. Owners are
/// declared by comment lines, `# owner <witness> <owner>`, or by --owner.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    countersign policy check trust.policy\n  \
    countersign policy check trust.policy --corrupt 2 --owner w1=lab-a --owner w2=lab-a\n  \
    countersign policy check trust.policy --clock neutral --party-witness lab-a-witness.vkey\n\n\
    Exit codes: 0 safe, perhaps with warnings; 1 a split view is possible; 2 usage or environment.")]
pub(super) struct Arguments {
    /// The policy.
    file: PathBuf,
    /// How many witnesses, whichever they are, may be corrupt.
    #[arg(long, value_name = "F", default_value_t = 1)]
    corrupt: usize,
    /// Who owns a witness. Repeat for each.
    #[arg(long = "owner", value_name = "WITNESS=OWNER")]
    owners: Vec<String>,
    /// The group or witness that keeps the clock of an agreement.
    #[arg(long, value_name = "NAME")]
    clock: Option<String>,
    /// A witness that a party of the agreement runs: its name in the policy, or its key. Repeat for
    /// each.
    #[arg(long = "party-witness", value_name = "NAME|FILE.vkey")]
    party_witnesses: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let policy = read_policy(&arguments.file)?;
    let owners = owners(&policy, &arguments.owners)?;
    let parties = party_keys(&policy, &arguments.party_witnesses)?;
    let clock = match &arguments.clock {
        None => None,
        Some(name) => Some(policy.member(name.as_bytes()).ok_or_else(|| {
            Failure::new(format!("--clock {name}: the policy has no group or witness of this name"))
        })?),
    };
    let checked = Checked::new(&policy, &owners, arguments.corrupt, clock, &parties);
    Ok(checked.report(&policy, &arguments.file))
}

/// The public keys of witnesses that parties run.
fn party_keys(policy: &Policy, given: &[String]) -> Result<Vec<PublicKey>, Failure> {
    let mut parties = Vec::new();
    for given in given {
        let named = policy.witnesses().iter().find(|witness| witness.name() == given.as_bytes());
        parties.push(match named {
            Some(witness) => *witness.key().public(),
            None => *keys::read_vkey(Path::new(given))?.public(),
        });
    }
    Ok(parties)
}

/// A way to show two histories.
struct Way {
    /// Who has to be corrupt, for people.
    who: String,
    a: String,
    b: String,
    both: String,
}

/// What was found in a policy.
pub(super) struct Checked {
    corrupt: usize,
    /// Fewest witnesses that two quorums share; none if there is no quorum.
    overlap: Option<usize>,
    silent: usize,
    quorums: u64,
    below: usize,
    ways: Vec<Way>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Checked {
    pub(super) fn new(
        policy: &Policy,
        owners: &BTreeMap<Vec<u8>, String>,
        corrupt: usize,
        clock: Option<Member>,
        parties: &[PublicKey],
    ) -> Self {
        let mut checked = Self {
            corrupt,
            overlap: None,
            silent: 0,
            quorums: 0,
            below: 0,
            ways: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        if policy.logs().is_empty() {
            checked.problems.push("it names no log, so it accepts nothing".to_owned());
        }
        match policy.quorum() {
            Some(quorum) => checked.check_quorum(policy, quorum, owners),
            None => checked.problems.push(
                "it asks for no witness (quorum none): the log alone can show two histories"
                    .to_owned(),
            ),
        }
        checked.check_witnesses(policy, clock);
        if let Some(clock) = clock {
            checked.check_clock(policy, clock, parties);
        }
        checked
    }

    fn check_quorum(
        &mut self,
        policy: &Policy,
        quorum: Member,
        owners: &BTreeMap<Vec<u8>, String>,
    ) {
        let overlap = policy.overlap(quorum);
        self.overlap = Some(overlap);
        self.silent = policy.silence(quorum);
        self.quorums = policy.minimal_quorums(quorum);
        self.below = policy.witnesses_below(quorum).len();
        if overlap <= self.corrupt {
            let split = policy.split(quorum, |_| false);
            let who = if overlap == 0 {
                "the log alone".to_owned()
            } else {
                format!("the log and {}", names(&split.both))
            };
            self.ways.push(Way::new(who, &split));
        }
        if self.silent == 0 {
            let warning = "a single silent witness stops it: nothing is witnessed until it is back";
            self.warnings.push(warning.to_owned());
        }
        let all: BTreeSet<&String> = owners.values().collect();
        for owner in all {
            let owns = |witness: &PolicyWitness| owners.get(witness.name()) == Some(owner);
            let count = policy.witnesses_below(quorum).iter().filter(|w| owns(w)).count();
            if policy.is_quorum(quorum, owns) {
                self.problems.push(format!("{owner} reaches the quorum alone"));
            }
            let split = policy.split(quorum, owns);
            if count > 1 && overlap > self.corrupt && split.both.iter().all(|w| owns(w)) {
                let who = format!("the log and {owner}, who owns {}", names(&split.both));
                self.ways.push(Way::new(who, &split));
            }
        }
    }

    fn check_witnesses(&mut self, policy: &Policy, clock: Option<Member>) {
        let below = |member: Option<Member>| {
            member.map(|member| policy.witnesses_below(member)).unwrap_or_default()
        };
        let counted: Vec<&PolicyWitness> =
            below(policy.quorum()).into_iter().chain(below(clock)).collect();
        let mut places: BTreeMap<&[u8], &PolicyWitness> = BTreeMap::new();
        for witness in policy.witnesses() {
            let name = shown(witness.name());
            if !counted.contains(&witness) {
                self.warnings
                    .push(format!("{name} is in no quorum: what it signs changes nothing"));
            }
            match witness.url() {
                None => self.warnings.push(format!("{name} has no URL: a log can't ask it")),
                Some(url) => {
                    if let Some(other) = places.insert(url, witness) {
                        let other = shown(other.name());
                        self.warnings.push(format!("{name} and {other} have one URL"));
                    }
                }
            }
            if policy.logs().iter().any(|log| log.key().public() == witness.key().public()) {
                self.problems.push(format!("{name} has the key of a log: it is no other's eyes"));
            }
            let cut = |text: &[u8]| text.contains(&b'#');
            if cut(witness.name()) || witness.url().is_some_and(cut) {
                self.warnings.push(format!("{name}: some programs cut a line at any #"));
            }
        }
        let sizes = [policy.logs().len(), policy.witnesses().len(), policy.groups().len()];
        if sizes.iter().any(|size| *size > 32) {
            let warning =
                "it has more than 32 logs, witnesses or groups: some programs read no more";
            self.warnings.push(warning.to_owned());
        }
    }

    fn check_clock(&mut self, policy: &Policy, clock: Member, parties: &[PublicKey]) {
        let name = name_of(policy, clock);
        let keepers = policy.witnesses_below(clock);
        let of_parties: Vec<&PolicyWitness> = keepers
            .iter()
            .copied()
            .filter(|keeper| parties.contains(keeper.key().public()))
            .collect();
        if !of_parties.is_empty() {
            self.warnings.push(format!(
                "the clock {name} holds witnesses of parties ({}): it is not neutral, so a missed \
                 deadline is a stall and never a default",
                names(&of_parties)
            ));
        }
        if policy.silence(clock) == 0 {
            self.warnings.push(format!("a single silent witness stops the clock {name}"));
        }
        let alone: Vec<&PolicyWitness> = keepers
            .iter()
            .copied()
            .filter(|keeper| policy.is_quorum(clock, |witness| witness == *keeper))
            .collect();
        if keepers.len() > 1 && !alone.is_empty() {
            let alone = names(&alone);
            self.warnings.push(format!("each of {alone} can put the clock {name} forward alone"));
        }
    }

    fn is_safe(&self) -> bool {
        self.problems.is_empty() && self.ways.is_empty()
    }

    /// What is to be said, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(overlap) = self.overlap {
            let quorums = match self.quorums {
                u64::MAX => "very many".to_owned(),
                count => count.to_string(),
            };
            let safe = overlap.checked_sub(1);
            lines.push(format!(
                "quorum   {} witnesses, {quorums} minimal quorums; any two share at least {overlap}",
                self.below
            ));
            lines.push(match safe {
                Some(safe) => format!("corrupt  safe with {safe} corrupt, whichever they are"),
                None => "corrupt  not safe, even if all witnesses are honest".to_owned(),
            });
            lines.push(format!("silent   {} may be silent, whichever they are", self.silent));
        }
        for way in &self.ways {
            lines.push(format!(
                "{}: {} can show two histories, one to readers with the quorum {{{}}}, one to \
                 readers with {{{}}}",
                Stream::Out.red("problem"),
                way.who,
                way.a,
                way.b
            ));
        }
        for problem in &self.problems {
            lines.push(format!("{}: {problem}", Stream::Out.red("problem")));
        }
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }

    fn report(self, policy: &Policy, file: &Path) -> Report {
        let place = file.display();
        let head = if self.is_safe() {
            format!(
                "{place}: {}. No {} corrupt witnesses can show two histories",
                Stream::Out.green("safe"),
                self.corrupt
            )
        } else {
            format!("{place}: {}", Stream::Out.red("NOT SAFE"))
        };
        let digest = format!("policy   {}", policy.digest());
        let text = [vec![head, digest], self.lines()].concat().join("\n");
        let json = self.json(policy);
        let verdict = if self.is_safe() { Verdict::Good } else { Verdict::Bad };
        Report { text, json, verdict }
    }

    /// For machines.
    pub(super) fn json(&self, policy: &Policy) -> Value {
        let count = |number: usize| Value::from(number as u64);
        let splits = self.ways.iter().map(|way| {
            json::object([
                ("who", Value::from(way.who.as_str())),
                ("a", way.a.as_str().into()),
                ("b", way.b.as_str().into()),
                ("both", way.both.as_str().into()),
            ])
        });
        json::object([
            ("policy", Value::from(policy.digest().to_string())),
            ("safe", self.is_safe().into()),
            ("asked", count(self.corrupt)),
            ("corrupt", self.overlap.and_then(|overlap| overlap.checked_sub(1)).map(count).into()),
            ("silent", count(self.silent)),
            ("witnesses", count(self.below)),
            ("minimal_quorums", (self.quorums.min(MAX_COUNT)).into()),
            ("splits", json::array(splits)),
            ("problems", json::array(self.problems.iter().map(String::as_str))),
            ("warnings", json::array(self.warnings.iter().map(String::as_str))),
        ])
    }
}

/// 2^53 − 1: larger numbers are not exact in every reader of JSON.
const MAX_COUNT: u64 = (1 << 53) - 1;

impl Way {
    fn new(who: String, split: &Split<'_>) -> Self {
        Self { who, a: names(&split.a), b: names(&split.b), both: names(&split.both) }
    }
}
