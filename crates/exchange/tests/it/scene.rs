//! Statements of every standalone kind, and a log in which each has something to refer to.

use exchange::predicate::{
    AuditName, Bound, Claim, Evaluation, ItemRange, ItemsProof, OpenedItems, Opening, Reveal,
    RevealContent, ScoredCount, SealedEnvelope, SealingKeyId,
};
use exchange::{BaseField, ColumnName, Common, Field, Predicate, Refusal, StatementId};
use tlog::{Hash, SigningKey};

use crate::log::{Log, intent, key, sign, withdrawal};
use crate::vectors;

pub(crate) const A: &str = "lab-a.example";
pub(crate) const B: &str = "lab-b.example";

pub(crate) fn evaluation(intent: StatementId) -> Evaluation {
    Evaluation { intent, ..vectors::evaluation() }
}

pub(crate) fn evaluate(evaluation: Evaluation) -> Predicate {
    Predicate::Evaluation(Box::new(evaluation))
}

pub(crate) fn envelope() -> SealedEnvelope {
    SealedEnvelope {
        digest: Hash::new([1; 32]),
        reader: key(B).name().clone(),
        key: SealingKeyId::new([2; 8]),
        padded: 1024,
    }
}

pub(crate) fn opening(record: StatementId, items: OpenedItems) -> Opening {
    let fields = vec![Field::Base(BaseField::Output)];
    Opening { record, items, fields, envelope: envelope(), answers: None }
}

pub(crate) fn open(record: StatementId, first: u64, last: u64) -> Predicate {
    let items = OpenedItems::Ranges(vec![ItemRange { first, last }]);
    Predicate::Opening(Box::new(opening(record, items)))
}

pub(crate) fn reveal(record: StatementId) -> Reveal {
    Reveal {
        record,
        rule: None,
        content: RevealContent::Envelope(envelope()),
        answers: None,
        items_proofs: vec![ItemsProof {
            column: ColumnName::parse("accuracy").unwrap(),
            digest: Hash::new([3; 32]),
        }],
        releases: None,
    }
}

pub(crate) fn claim(bound: Bound, records: &[StatementId]) -> Predicate {
    Predicate::Claim(Box::new(Claim {
        claim: None,
        bound,
        column: ColumnName::parse("accuracy").unwrap(),
        records: records.to_vec(),
        items_proofs: (0..records.len()).map(|i| Hash::of(&[&i.to_be_bytes()])).collect(),
        proof: Hash::new([4; 32]),
        scored: if matches!(bound, Bound::AtLeast { .. }) {
            Vec::new()
        } else {
            let count = |i| ScoredCount { value: 4, salt: [i; 32] };
            (0..).map(count).take(records.len()).collect()
        },
    }))
}

pub(crate) fn audit(record: StatementId) -> AuditName {
    AuditName { record, auditor: key(B).name().clone(), attempt: 1 }
}

/// A log in which A has a record, an ended and an open intent.
pub(crate) struct Scene {
    pub(crate) log: Log,
    pub(crate) a: SigningKey,
    pub(crate) b: SigningKey,
    pub(crate) ended: StatementId,
    pub(crate) record: StatementId,
    pub(crate) withdrawn: StatementId,
    pub(crate) open: StatementId,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let mut log = Log::with(&[A, B]);
        let (a, b) = (key(A), key(B));
        let ended = log.say(&a, intent(1, 1)).unwrap();
        let record = log.say(&a, evaluate(evaluation(ended))).unwrap();
        let withdrawn = log.say(&a, intent(2, 2)).unwrap();
        log.say(&a, withdrawal(withdrawn)).unwrap();
        let open = log.say(&a, intent(3, 3)).unwrap();
        Self { log, a, b, ended, record, withdrawn, open }
    }

    /// The refusal of a statement that A says, with changes to the common members.
    pub(crate) fn refusal(
        &self,
        change: impl FnOnce(&mut Common),
        predicate: Predicate,
    ) -> Refusal {
        let mut common = self.log.common(&self.a);
        change(&mut common);
        let leaf = sign(&self.a, common, predicate);
        self.log.clone().submit(&leaf).unwrap_err()
    }

    pub(crate) fn says(
        &self,
        signer: &SigningKey,
        predicate: Predicate,
    ) -> Result<StatementId, Refusal> {
        self.log.clone().say(signer, predicate)
    }
}
