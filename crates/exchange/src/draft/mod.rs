//! Drafts of agreements: TOML that people read and edit, turned into the terms that are signed.
//!
//! A draft names people and files; the terms hold their keys and digests. What is wrong with a
//! draft is said by line and field, also where a rule of the protocol is broken that only the
//! whole of the terms shows.

mod parts;
mod template;

use std::ops::Range;

use record::items::{AgreedItems, ItemKey};
use serde::Deserialize;
use tlog::{KeyName, VerifierKey};
use toml::Spanned;

pub use template::{Template, template};

use crate::Predicate;
use crate::predicate::{Agreement, Benchmark, Counts, Keys, Member, Runs, Terms};
use crate::reason::Refusal;
use crate::statement::{Common, Statement};
use crate::values::ColumnName;
use parts::{AuditDraft, ClaimDraft, ColumnDraft, EscrowDraft, RuleDraft, ScheduleDraft};

/// The only format there is.
pub const FORMAT: &str = "countersign/agreement-draft/v1";

/// A draft has some KiB.
pub const MAX_DRAFT: usize = 1 << 20;

/// What is wrong with a draft, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {field}{problem}", field = named(field))]
pub struct DraftError {
    /// Counted from 1.
    pub line: usize,
    /// The field, as `rule.items`; empty if the line is no TOML.
    pub field: String,
    /// What is wrong with it, and what it must be.
    pub problem: String,
}

fn named(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: Spanned<String>,
    #[serde(rename = "party")]
    parties: Spanned<Vec<Spanned<PartyDraft>>>,
    #[serde(rename = "auditor", default)]
    auditors: Vec<Spanned<AuditorDraft>>,
    trust: Spanned<TrustDraft>,
    evaluation: Spanned<EvaluationDraft>,
    runs: Spanned<RunsDraft>,
    schedule: Spanned<ScheduleDraft>,
    #[serde(rename = "rule", default)]
    rules: Vec<Spanned<RuleDraft>>,
    #[serde(rename = "claim", default)]
    claims: Vec<Spanned<ClaimDraft>>,
    audit: Option<Spanned<AuditDraft>>,
    escrow: Option<Spanned<EscrowDraft>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartyDraft {
    vkey: Spanned<String>,
    witness: Option<Spanned<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditorDraft {
    vkey: Spanned<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustDraft {
    policy: Spanned<String>,
    clock: Spanned<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EvaluationDraft {
    benchmark: Spanned<String>,
    #[serde(default)]
    hide_benchmark: bool,
    items: Spanned<String>,
    #[serde(default = "one")]
    epochs: u64,
    elicitation: Spanned<String>,
    harness: Spanned<String>,
    #[serde(rename = "column")]
    columns: Vec<Spanned<ColumnDraft>>,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunsDraft {
    budget: u64,
    counts: Spanned<String>,
}

/// A draft in which every field has its form.
#[derive(Debug, Clone)]
pub struct Draft {
    text: String,
    document: Document,
    parties: [VerifierKey; 2],
    witnesses: [Option<VerifierKey>; 2],
    auditors: Vec<VerifierKey>,
}

/// What a draft is turned into terms with.
pub struct Material<'a> {
    /// The log and the proposer's other common members; `exchange` is none.
    pub common: &'a Common,
    /// The registered keys of a name.
    pub keys: &'a dyn Fn(&KeyName) -> Option<Keys>,
    /// The items of the items file that the draft names, under the item key and the draft's
    /// epochs.
    pub items: &'a AgreedItems,
    /// The item key.
    pub item_key: &'a ItemKey,
}

impl Draft {
    /// Reads a draft and checks every field by itself.
    pub fn parse(text: &str) -> Result<Self, DraftError> {
        if text.len() > MAX_DRAFT {
            let problem = format!("a draft has at most {MAX_DRAFT} bytes");
            return Err(DraftError { line: 1, field: String::new(), problem });
        }
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let problem = error.message().to_owned();
            DraftError { line, field: String::new(), problem }
        })?;
        let at = |span: Range<usize>, field: &str, problem: String| DraftError {
            line: line_of(text, span.start),
            field: field.to_owned(),
            problem,
        };
        if document.format.get_ref() != FORMAT {
            let problem = format!("must be {FORMAT:?}");
            return Err(at(document.format.span(), "format", problem));
        }
        let key = |value: &Spanned<String>, field: &str| {
            VerifierKey::parse(value.get_ref())
                .map_err(|error| at(value.span(), field, error.to_string()))
        };
        let parties = document.parties.get_ref();
        let [first, second] = parties.as_slice() else {
            let problem = format!("must be two, and there are {}", parties.len());
            return Err(at(document.parties.span(), "party", problem));
        };
        let witness = |party: &Spanned<PartyDraft>| {
            party.get_ref().witness.as_ref().map(|w| key(w, "party.witness")).transpose()
        };
        let witnesses = [witness(first)?, witness(second)?];
        let parties =
            [key(&first.get_ref().vkey, "party.vkey")?, key(&second.get_ref().vkey, "party.vkey")?];
        let auditors = document
            .auditors
            .iter()
            .map(|auditor| key(&auditor.get_ref().vkey, "auditor.vkey"))
            .collect::<Result<_, _>>()?;
        let draft = Self { text: text.to_owned(), parties, witnesses, auditors, document };
        draft.read_fields()?;
        Ok(draft)
    }

    fn error(&self, span: Range<usize>, field: &str, problem: impl ToString) -> DraftError {
        DraftError {
            line: line_of(&self.text, span.start),
            field: field.to_owned(),
            problem: problem.to_string(),
        }
    }

    /// The parties' pinned keys, the proposer's first.
    pub fn parties(&self) -> &[VerifierKey; 2] {
        &self.parties
    }

    /// The auditors' pinned keys.
    pub fn auditors(&self) -> &[VerifierKey] {
        &self.auditors
    }

    /// The items file that the draft names.
    pub fn items_file(&self) -> &str {
        self.document.evaluation.get_ref().items.get_ref()
    }

    /// Repetitions of each row.
    pub fn epochs(&self) -> u64 {
        self.document.evaluation.get_ref().epochs
    }

    /// What the commitments to benchmark and elicitation are made over, for the other party to
    /// check: the benchmark's name only if it is hidden.
    pub fn committed_texts(&self) -> (Option<&str>, &str) {
        let evaluation = self.document.evaluation.get_ref();
        let benchmark = evaluation.hide_benchmark.then(|| evaluation.benchmark.get_ref().as_str());
        (benchmark, evaluation.elicitation.get_ref())
    }

    /// Everything that can be read without keys and items.
    fn read_fields(&self) -> Result<(), DraftError> {
        self.columns()?;
        self.runs()?;
        self.harness()?;
        for rule in &self.document.rules {
            rule.get_ref().read(self)?;
        }
        for claim in &self.document.claims {
            claim.get_ref().read(self)?;
        }
        if let Some(audit) = &self.document.audit {
            audit.get_ref().read(self)?;
        }
        if let Some(escrow) = &self.document.escrow {
            escrow.get_ref().read(self)?;
        }
        self.document.schedule.get_ref().read(self).map(|_| ())
    }

    fn columns(&self) -> Result<Vec<crate::predicate::Scale>, DraftError> {
        let columns = self.document.evaluation.get_ref().columns.iter();
        columns.map(|column| column.get_ref().read(self)).collect()
    }

    fn runs(&self) -> Result<Runs, DraftError> {
        let runs = self.document.runs.get_ref();
        let counts = match runs.counts.get_ref().as_str() {
            "first" => Counts::First,
            "last" => Counts::Last,
            _ => {
                let span = runs.counts.span();
                return Err(self.error(span, "runs.counts", "must be \"first\" or \"last\""));
            }
        };
        Ok(Runs { budget: runs.budget, counts })
    }

    fn harness(&self) -> Result<crate::predicate::Program, DraftError> {
        let harness = &self.document.evaluation.get_ref().harness;
        let wrong = || {
            let problem = "must be a name and a version, as \"inspect_ai 0.3.285\"";
            self.error(harness.span(), "evaluation.harness", problem)
        };
        let (name, version) = harness.get_ref().split_once(' ').ok_or_else(wrong)?;
        let name = crate::values::Word::parse(name).map_err(|_| wrong())?;
        Ok(crate::predicate::Program { name, version: version.to_owned() })
    }

    fn benchmark(&self, item_key: &ItemKey) -> Result<Benchmark, DraftError> {
        let evaluation = self.document.evaluation.get_ref();
        let text = evaluation.benchmark.get_ref();
        if evaluation.hide_benchmark {
            return Ok(Benchmark::Commitment(item_key.benchmark(text)));
        }
        let name = ColumnName::parse(text).map_err(|error| {
            self.error(evaluation.benchmark.span(), "evaluation.benchmark", error)
        })?;
        Ok(Benchmark::Name(name))
    }

    /// The terms, and the certainty that a log takes them: whatever the protocol refuses about an
    /// agreement by itself is refused here, by line and field.
    pub fn agreement(&self, material: &Material<'_>) -> Result<Agreement, DraftError> {
        let members = self.document.parties.get_ref();
        let registered = |key: &VerifierKey, span: Range<usize>, field: &str| {
            let Some(keys) = (material.keys)(key.name()) else {
                let problem = format!("{} is not registered in this log", key.name());
                return Err(self.error(span, field, problem));
            };
            if keys.key != *key.public().as_bytes() {
                let problem = format!(
                    "the log knows another key of {}: compare keys by a way that you both trust",
                    key.name()
                );
                return Err(self.error(span, field, problem));
            }
            Ok(keys)
        };
        let member = |place: usize| {
            let span = members[place].get_ref().vkey.span();
            let keys = registered(&self.parties[place], span, "party.vkey")?;
            Ok(Member { keys, witness: self.witnesses[place].clone() })
        };
        let auditors = self
            .auditors
            .iter()
            .zip(&self.document.auditors)
            .map(|(key, draft)| registered(key, draft.get_ref().vkey.span(), "auditor.vkey"));
        let trust = self.document.trust.get_ref();
        let evaluation = self.document.evaluation.get_ref();
        let rules = self.document.rules.iter().map(|rule| rule.get_ref().read(self));
        let claims = self.document.claims.iter().map(|claim| claim.get_ref().read(self));
        let agreement = Agreement {
            parties: [member(0)?, member(1)?],
            auditors: auditors.collect::<Result<_, _>>()?,
            policy: trust.policy.get_ref().clone(),
            clock: trust.clock.get_ref().clone(),
            evaluation: Terms {
                benchmark: self.benchmark(material.item_key)?,
                items_root: material.items.root(),
                items: material.items.count(),
                epochs: evaluation.epochs,
                item_key: material.item_key.commitment(),
                elicitation: material.item_key.elicitation(evaluation.elicitation.get_ref()),
                harness: self.harness()?,
                columns: self.columns()?,
            },
            runs: self.runs()?,
            schedule: self.document.schedule.get_ref().read(self)?,
            disclosure: rules.collect::<Result<_, _>>()?,
            claims: claims.collect::<Result<_, _>>()?,
            audit: match &self.document.audit {
                Some(audit) => Some(audit.get_ref().read(self)?),
                None => None,
            },
            escrow: match &self.document.escrow {
                Some(escrow) => Some(escrow.get_ref().read(self)?),
                None => None,
            },
        };
        let predicate = Predicate::Agreement(Box::new(agreement.clone()));
        match Statement::new(material.common.clone(), predicate) {
            Ok(_) => Ok(agreement),
            Err(refusal) => Err(self.placed(&refusal)),
        }
    }

    /// The line and field of what a refusal of the terms is about.
    fn placed(&self, refusal: &Refusal) -> DraftError {
        let pointer = refusal.pointer().unwrap_or_default();
        let mut parts = pointer.split('/').skip(2);
        let (member, index) = (parts.next().unwrap_or_default(), parts.next());
        let place = index.and_then(|index| index.parse::<usize>().ok());
        let rest: Vec<&str> = match place {
            Some(_) => parts.collect(),
            None => index.into_iter().chain(parts).collect(),
        };
        let document = &self.document;
        fn nth<T>(list: &[Spanned<T>], place: Option<usize>) -> Option<Range<usize>> {
            list.get(place?).map(Spanned::span)
        }
        let (span, table) = match member {
            "parties" => (nth(document.parties.get_ref(), place), "party"),
            "auditors" => (nth(&document.auditors, place), "auditor"),
            "policy" => (Some(document.trust.get_ref().policy.span()), "trust.policy"),
            "clock" => (Some(document.trust.get_ref().clock.span()), "trust.clock"),
            "evaluation" => {
                let column = match rest.as_slice() {
                    ["columns", place, ..] => {
                        nth(&document.evaluation.get_ref().columns, place.parse().ok())
                    }
                    _ => None,
                };
                (column.or_else(|| Some(document.evaluation.span())), "evaluation")
            }
            "runs" => (Some(document.runs.span()), "runs"),
            "schedule" => (Some(document.schedule.span()), "schedule"),
            "disclosure" => (nth(&document.rules, place), "rule"),
            "claims" => (nth(&document.claims, place), "claim"),
            "audit" => (document.audit.as_ref().map(Spanned::span), "audit"),
            "escrow" => (document.escrow.as_ref().map(Spanned::span), "escrow"),
            _ => (None, ""),
        };
        let fields: Vec<&str> =
            std::iter::once(table).chain(rest).filter(|part| !part.is_empty()).collect();
        self.error(span.unwrap_or(0..0), &fields.join("."), refusal.message())
    }
}

/// The line of a byte, counted from 1.
fn line_of(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
