//! What an agreement will let each audience learn, and when: shown before anybody signs.
//!
//! A preview is computed from the terms alone. It lists what rules *allow*, whether owed or not,
//! and warns where the terms give away more than they seem to.

mod warnings;

use tlog::{KeyName, Policy};

use crate::predicate::{AgreedClaim, Agreement, Audience, Bound, Risk, Rule, Scale, Stage, What};

pub use warnings::{Warning, WarningCode};

/// Who learns something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Learner {
    /// Everybody who may read the log.
    Public,
    /// A party, of the other.
    Party(KeyName),
    /// An auditor.
    Auditor(KeyName),
}

impl std::fmt::Display for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Public => f.write_str("whoever reads the log"),
            Self::Party(name) | Self::Auditor(name) => name.as_str().fmt(f),
        }
    }
}

/// One thing that somebody will be able to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// Who.
    pub learner: Learner,
    /// From which stage on.
    pub from: Stage,
    /// About whose record; none for what the agreement itself says.
    pub about: Option<KeyName>,
    /// What, in words.
    pub what: String,
    /// The risk that the rule names.
    pub risk: Risk,
    /// The rule or claim that allows it; none for what the log shows by itself.
    pub rule: Option<String>,
    /// True if it must be shown, false if it may.
    pub owed: bool,
}

/// Everything that an agreement lets anybody learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// By learner, then by stage.
    pub lessons: Vec<Lesson>,
    /// What its signer should think about first.
    pub warnings: Vec<Warning>,
}

impl Preview {
    /// Reads the terms.
    pub fn of(agreement: &Agreement) -> Self {
        let mut lessons = by_themselves(agreement);
        for rule in &agreement.disclosure {
            lessons.extend(by_rule(agreement, rule));
        }
        for claim in &agreement.claims {
            lessons.extend(by_claim(agreement, claim));
        }
        lessons.extend(by_audit(agreement));
        lessons.sort_by(|a, b| (&a.learner, a.from).cmp(&(&b.learner, b.from)));
        Self { lessons, warnings: warnings::of(agreement) }
    }
}

/// What the statements of any exchange show to whoever reads the log.
fn by_themselves(agreement: &Agreement) -> Vec<Lesson> {
    let terms = &agreement.evaluation;
    let columns: Vec<&str> = terms.columns.iter().map(|scale| scale.name.as_str()).collect();
    let public = |from, what: String| Lesson {
        learner: Learner::Public,
        from,
        about: None,
        what,
        risk: Risk::None,
        rule: None,
        owed: true,
    };
    vec![
        public(
            Stage::Agreed,
            format!(
                "who agrees with whom, on {} items in {} epochs with the columns {}, under which \
                 schedule, rules and claims",
                terms.items,
                terms.epochs,
                columns.join(", ")
            ),
        ),
        public(
            Stage::Agreed,
            format!(
                "how many of at most {} runs each side announced, and how each ended",
                agreement.runs.budget
            ),
        ),
        public(
            Stage::Committed,
            "commitments only: that a record existed by then, not what is in it".to_owned(),
        ),
    ]
}

fn by_rule(agreement: &Agreement, rule: &Rule) -> Vec<Lesson> {
    let mut lessons = Vec::new();
    for member in agreement.parties.iter().filter(|m| rule.by.covers(&m.keys.name)) {
        let about = &member.keys.name;
        let what = match &rule.what {
            // Each claim says it for itself.
            What::Claim => continue,
            What::Counts => "how many items were scored, errored, limited, …".to_owned(),
            What::Flags => "what was unusual about the evaluation log".to_owned(),
            What::Totals => totals(agreement),
            What::Field(field) => {
                format!(
                    "the {field} of up to {} of {} items",
                    rule.items, agreement.evaluation.items
                )
            }
            What::Score(column) => format!(
                "the score {column} of up to {} of {} items",
                rule.items, agreement.evaluation.items
            ),
        };
        lessons.push(Lesson {
            learner: learner(agreement, &rule.to, about),
            from: rule.from,
            about: Some(about.clone()),
            what,
            risk: rule.risk,
            rule: Some(format!("rule {}", rule.id)),
            owed: rule.owed,
        });
    }
    lessons
}

fn totals(agreement: &Agreement) -> String {
    let of =
        |scale: &Scale| format!("{} (of {})", scale.name, agreement.evaluation.items * scale.max);
    let totals: Vec<String> = agreement.evaluation.columns.iter().map(of).collect();
    format!("the exact totals of {}", totals.join(", "))
}

fn learner(agreement: &Agreement, to: &Audience, about: &KeyName) -> Learner {
    match to {
        Audience::Public => Learner::Public,
        Audience::Auditor(name) => Learner::Auditor(name.clone()),
        Audience::Peer => {
            let peer = agreement.parties.iter().find(|member| member.keys.name != *about);
            Learner::Party(peer.map_or_else(|| about.clone(), |member| member.keys.name.clone()))
        }
    }
}

fn by_claim(agreement: &Agreement, claim: &AgreedClaim) -> Vec<Lesson> {
    let risk = agreement
        .disclosure
        .iter()
        .filter(|rule| rule.what == What::Claim)
        .map(|rule| rule.risk)
        .max()
        .unwrap_or(Risk::None);
    vec![Lesson {
        learner: Learner::Public,
        from: Stage::Committed,
        about: (!claim.bound.is_difference()).then(|| claim.by.clone()),
        what: claim_text(agreement, claim),
        risk,
        rule: Some(format!("claim {}", claim.id)),
        owed: true,
    }]
}

/// A claim in words, with what it means as a share of the largest total.
pub fn claim_text(agreement: &Agreement, claim: &AgreedClaim) -> String {
    let scale = agreement.evaluation.column(&claim.column);
    let largest = scale.map_or(0, |scale| agreement.evaluation.items * scale.max);
    let share = |total: u64| percent(total, largest);
    let column = &claim.column;
    match claim.bound {
        Bound::AtLeast { q } => {
            format!("that its total of {column} is at least {q} ({})", share(q))
        }
        Bound::AtMost { q } => format!("that its total of {column} is at most {q} ({})", share(q)),
        Bound::Between { p, q } => format!(
            "that its total of {column} is between {p} and {q} ({} to {})",
            share(p),
            share(q)
        ),
        Bound::Equals { q } => format!("that its total of {column} is {q} ({})", share(q)),
        Bound::DifferByAtMost { d } => format!(
            "that the two totals of {column} differ by at most {d} ({}): who knows one total knows \
             the other to within {} values",
            share(d),
            d.saturating_mul(2).saturating_add(1)
        ),
        Bound::Equal => format!(
            "that the two totals of {column} are equal: who knows one total knows the other"
        ),
    }
}

/// Two places, rounded down.
fn percent(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 10_000 / u128::from(whole.max(1));
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn by_audit(agreement: &Agreement) -> Vec<Lesson> {
    let Some(plan) = &agreement.audit else { return Vec::new() };
    let lesson = |about: &KeyName| Lesson {
        learner: Learner::Auditor(plan.auditor.clone()),
        from: Stage::Revealed,
        about: Some(about.clone()),
        what: format!(
            "row, status and score {} of {} to {} items drawn at random",
            plan.column, plan.first, plan.largest
        ),
        risk: Risk::Sensitive,
        rule: Some("audit plan".to_owned()),
        owed: true,
    };
    agreement.parties.iter().map(|member| lesson(&member.keys.name)).collect()
}

/// True if no party's own witness is in the clock group, so that a missed deadline names somebody.
pub fn has_neutral_clock(agreement: &Agreement) -> bool {
    let Ok(policy) = Policy::parse(agreement.policy.as_bytes()) else { return false };
    let Some(clock) = policy.member(agreement.clock.as_bytes()) else { return false };
    let own: Vec<_> = agreement
        .parties
        .iter()
        .filter_map(|member| member.witness.as_ref())
        .map(|witness| *witness.public().as_bytes())
        .collect();
    let below = policy.witnesses_below(clock);
    !below.is_empty()
        && !below.iter().any(|witness| own.contains(witness.key().public().as_bytes()))
}
