//! Openings in the clear: totals and subjects that a statement itself carries. Anyone can check
//! them against the commitments of the record.

use record::context::Context;
use record::opening::{Against, Body, OpenedSubject, OpenedTotal as BodyTotal, Scope};
use tlog::Hash;

use crate::predicate::{Evaluation, Opened, OpenedTotal};
use crate::reason::{Reason, Refusal};

/// Openings in the clear as the body of an envelope would hold them, so that both are checked alike.
pub fn clear_body(record: Hash, totals: &[OpenedTotal], subjects: &[Opened]) -> Body {
    let total = |opened: &OpenedTotal| BodyTotal {
        column: opened.column.as_str().to_owned(),
        total: opened.total,
        blind: opened.blind,
    };
    let subject = |opened: &Opened| OpenedSubject {
        name: opened.name.as_str().to_owned(),
        value: opened.value.clone(),
        salt: opened.salt,
    };
    Body {
        record,
        items: Vec::new(),
        record_proof: Vec::new(),
        items_proof: Vec::new(),
        totals: totals.iter().map(total).collect(),
        subjects: subjects.iter().map(subject).collect(),
    }
}

/// `ARTIFACT_INVALID` unless what is opened is what `evaluation`, the statement `record`,
/// committed to; `LIMIT_EXCEEDED` for a record of which no opening means anything. `pointer` is
/// where in the statement the openings stand.
pub fn check_clear(
    record: Hash,
    evaluation: &Evaluation,
    context: &Context,
    (totals, subjects): (&[OpenedTotal], &[Opened]),
    pointer: &str,
) -> Result<(), Refusal> {
    let header = evaluation.header().map_err(|_| {
        let message = "no opening of this record means anything";
        Refusal::new(Reason::LimitExceeded, message).at(pointer)
    })?;
    let against = Against {
        record: &record,
        header: &header,
        context,
        item_key: None,
        scope: Scope::Anything,
    };
    match clear_body(record, totals, subjects).verify(&against) {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal::new(Reason::ArtifactInvalid, error.to_string()).at(pointer)),
    }
}
