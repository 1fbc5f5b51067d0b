//! The draft that somebody starts from.

use tlog::VerifierKey;

use super::FORMAT;
use crate::time::Timestamp;

/// What is known when a draft is begun.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    /// The proposer's key and own witness.
    pub own: (&'a VerifierKey, Option<&'a VerifierKey>),
    /// The other party's.
    pub peer: (&'a VerifierKey, Option<&'a VerifierKey>),
    /// Auditors.
    pub auditors: &'a [VerifierKey],
    /// The trust policy's text and the clock group in it.
    pub policy: &'a str,
    /// A witness or group of it.
    pub clock: &'a str,
    /// Benchmark, items file, elicitation, harness.
    pub texts: [&'a str; 4],
    /// Repetitions of each row.
    pub epochs: u64,
    /// Columns: name, max, raw_max.
    pub columns: &'a [(String, u64, u64)],
    /// Accept, commit and reveal by.
    pub deadlines: [Timestamp; 3],
    /// How long an answer may take, such as `1d`.
    pub step: &'a str,
}

/// A draft with a comment on every field: mutual totals, sealed to the peer, and one claim each.
pub fn template(known: &Template<'_>) -> String {
    let [benchmark, items, elicitation, harness] = known.texts.map(quoted);
    let [accept_by, commit_by, reveal_by] = known.deadlines;
    let mut text = format!(
        "# The agreement that both sides sign before anybody runs anything. Edit it, look at it with
# `countersign agree check` and `countersign preview`, and propose it with
# `countersign agree propose`.
format = \"{FORMAT}\"

# The parties: you, who propose, first. Keys are compared with what the log has registered.
"
    );
    for (key, witness) in [known.own, known.peer] {
        text += &format!("[[party]]\nvkey = \"{key}\"\n");
        if let Some(witness) = witness {
            text += &format!(
                "# Its own witness: it demands this one's cosignature for itself.\nwitness = \"{witness}\"\n"
            );
        }
        text += "\n";
    }
    if known.auditors.is_empty() {
        text += "# Auditors settle disputes, hold escrows and draw samples. Without one, an envelope that can't\n\
                 # be opened stays contested.\n# [[auditor]]\n# vkey = \"auditor.example+…\"\n\n";
    }
    for auditor in known.auditors {
        text += &format!("[[auditor]]\nvkey = \"{auditor}\"\n\n");
    }
    text += &format!(
        "# Which log and which witnesses both trust (tlog-policy), and whose cosignatures tell the time.
# Keep both parties' witnesses out of the clock: then nobody can stop it.
[trust]
clock = {clock}
policy = '''
{policy}'''

[evaluation]
benchmark = {benchmark}
# true: only a commitment to the name goes into the log.
hide_benchmark = false
# The items file, which both hold and neither sends. Its digest under a fresh key is agreed.
items = {items}
epochs = {epochs}
# How the model is asked, in words; committed, not published.
elicitation = {elicitation}
harness = {harness}
",
        clock = quoted(known.clock),
        policy = known.policy,
        epochs = known.epochs,
    );
    for (name, max, raw_max) in known.columns {
        text += &format!(
            "
# Scores are integers from 0 to max; raw_max is the raw score that max stands for.
[[evaluation.column]]
name = {}
max = {max}
raw_max = {raw_max}
better = \"higher\"
",
            quoted(name)
        );
    }
    text += &format!(
        "
# Every run is announced before it starts, at most budget of them; the first or the last counts.
[runs]
budget = 2
counts = \"first\"

# Times in UTC. A deadline has passed when the clock says so in the log. `step` is how long each
# answer may take, and how long a statement may come late that the witnesses stamped in time.
[schedule]
accept_by = \"{accept_by}\"
commit_by = \"{commit_by}\"
reveal_by = \"{reveal_by}\"
step = {step}

# No rule, no disclosure. what: counts, flags, totals, claim, field:NAME, score:COLUMN; to: public,
# peer, auditor:NAME; from: agreed, committed, revealed; risk: none, capability, sensitive, harm.
[[rule]]
id = \"totals\"
what = \"totals\"
to = \"peer\"
from = \"committed\"
risk = \"sensitive\"
owed = true
",
        step = quoted(known.step),
    );
    text += "
[[rule]]
id = \"counts\"
what = \"counts\"
to = \"peer\"
from = \"committed\"
risk = \"none\"
owed = true
";
    for (name, ..) in known.columns {
        text += &format!(
            "
# Up to 20 scores each, for looking at disagreements.
[[rule]]
id = \"scores-{id}\"
what = {what}
to = \"peer\"
from = \"committed\"
items = 20
risk = \"sensitive\"
",
            id = word_of(name),
            what = quoted(&format!("score:{name}")),
        );
    }
    text += "
# Claims are fixed before any run. Each needs a rule for claims.
# [[rule]]
# id = \"claims\"
# what = \"claim\"
# to = \"public\"
# from = \"committed\"
# risk = \"capability\"
#
# [[claim]]
# id = \"at-least-half\"
# kind = \"at_least\"          # at_most, between (p, q), equals, differ_by_at_most (d), equal
# column = \"match\"
# q = 100                    # on the scale of the total: items × max
# by = \"lab-a.example\"
";
    text
}

/// A TOML basic string: JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    json::Value::from(text).to_text().replace('\u{7f}', "\\u007f")
}

/// The part of a column's name that a rule's id can hold.
fn word_of(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
    let word: String =
        name.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).take(40).collect();
    word
}
