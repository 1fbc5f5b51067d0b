//! Parties whose keys the test holds: statements in chains of their own, signed without a vault
//! or a session. Here belongs what a statement says, and nothing that sends one.

use exchange::predicate::{
    Evaluation, Intent, Keys, Opened, OpenedTotal, Party, Predicate, Program, SealingKey,
    Withdrawal, WithdrawalCode, possession_message,
};
use exchange::{ColumnName, Common, Envelope, Statement, StatementId, Subject, Timestamp, Word};
use record::column::{Better, Column};
use record::commit::{Declared, ItemValues, RecordBuilder};
use record::context::Context;
use record::items::{AgreedItems, ItemKey, ItemsFile};
use record::secret::RecordSecret;
use tlog::{Hash, KeyName, SigningKey, TreeHead, VerifierKey};

/// A key with a seed of its own.
pub(crate) fn seeded(name: &str, seed: &str) -> SigningKey {
    let seed = Hash::of(&[b"black-box tests: ", seed.as_bytes()]);
    SigningKey::from_seed(KeyName::parse(name).unwrap(), seed.as_bytes())
}

/// The key of agreed items.
pub(crate) const AGREED: u8 = 5;

/// A nonce that belongs to these words.
pub(crate) fn nonce(words: &str) -> [u8; 32] {
    *Hash::of(&[b"nonce of ", words.as_bytes()]).as_bytes()
}

/// One party and the end of one of its chains of statements.
#[derive(Clone)]
pub(crate) struct Voice {
    pub(crate) key: SigningKey,
    pub(crate) recovery: SigningKey,
    pub(crate) origin: KeyName,
    /// The agreement under which it speaks; none for standalone statements.
    pub(crate) exchange: Option<StatementId>,
    pub(crate) number: u64,
    pub(crate) previous: Option<StatementId>,
    pub(crate) runs: u64,
    /// The head that its statements have seen. A head once seen stays a prefix, so chains can be
    /// signed ahead of the log.
    pub(crate) seen: TreeHead,
}

impl Voice {
    /// The key that [`new`](Self::new) gives this name; the log must admit it.
    pub(crate) fn key_of(name: &str) -> SigningKey {
        seeded(name, name)
    }

    pub(crate) fn new(name: &str, log: &VerifierKey) -> Self {
        Self {
            key: Self::key_of(name),
            recovery: seeded(name, &format!("{name} recovery")),
            origin: log.name().clone(),
            exchange: None,
            number: 0,
            previous: None,
            runs: 0,
            seen: TreeHead::EMPTY,
        }
    }

    /// The same party under an agreement, where it has said nothing yet.
    pub(crate) fn under(&self, agreement: StatementId) -> Self {
        Self { exchange: Some(agreement), number: 0, previous: None, runs: 0, ..self.clone() }
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys {
            name: self.key.name().clone(),
            key: *self.key.public().as_bytes(),
            sealing: SealingKey::X25519([9; 32]),
            recovery: *self.recovery.public().as_bytes(),
        }
    }

    /// What every next statement has.
    pub(crate) fn common(&self) -> Common {
        Common {
            origin: self.origin.clone(),
            exchange: self.exchange,
            signer: self.key.name().clone(),
            number: self.number + 1,
            previous: self.previous,
            seen: self.seen,
        }
    }

    /// The next statement, signed, as if it were never sent.
    pub(crate) fn draft(&self, predicate: Predicate) -> Envelope {
        self.draft_with(|_| (), predicate)
    }

    /// As [`draft`](Self::draft), with changes to the common members.
    pub(crate) fn draft_with(
        &self,
        change: impl FnOnce(&mut Common),
        predicate: Predicate,
    ) -> Envelope {
        let mut common = self.common();
        change(&mut common);
        self.sign(&Statement::new(common, predicate).unwrap().to_payload())
    }

    pub(crate) fn sign(&self, payload: &[u8]) -> Envelope {
        Envelope::sign(payload, &self.key).unwrap()
    }

    /// The next statement, after which come others.
    pub(crate) fn say(&mut self, predicate: Predicate) -> Envelope {
        let envelope = self.draft(predicate);
        self.number += 1;
        self.previous = Some(envelope.id());
        envelope
    }

    pub(crate) fn register(&mut self) -> Envelope {
        let keys = self.keys();
        self.say(Predicate::Party(Box::new(Party::Register { keys })))
    }

    /// Rotates to the very same keys. Both the signing and the recovery key may sign it.
    pub(crate) fn rotation(&self) -> Predicate {
        let keys = self.keys();
        let possession = self.key.sign(&possession_message(&self.origin, &keys));
        Predicate::Party(Box::new(Party::Rotate { keys, possession }))
    }

    /// What the next run announces.
    pub(crate) fn next_intent(&self) -> Intent {
        let run = self.runs + 1;
        let words = match self.exchange {
            Some(agreement) => format!("{} {agreement} {run}", self.key.name()),
            None => format!("{} {run}", self.key.name()),
        };
        Intent { run, nonce: nonce(&words) }
    }

    pub(crate) fn intent(&mut self) -> Envelope {
        let intent = self.next_intent();
        self.runs = intent.run;
        self.say(Predicate::Intent(intent))
    }
}

pub(crate) fn withdrawal(intent: StatementId) -> Predicate {
    Predicate::Withdrawal(Withdrawal { intent, code: WithdrawalCode::Crash })
}

/// The items that every agreed record of these tests is about: four, under a key of their own.
pub(crate) fn items(key: u8) -> AgreedItems {
    let rows = (0..4).map(|i| (format!("row-{i}"), format!("question {i}?"), None));
    ItemsFile::from_rows(rows).unwrap().agree(&ItemKey::new([key; 32]), 1).unwrap()
}

/// A record of four items and one column, with its attestation.
#[derive(Clone)]
pub(crate) struct Recorded {
    pub(crate) evaluation: Evaluation,
    pub(crate) vector: Vec<u8>,
    /// What opens its one total.
    pub(crate) total: OpenedTotal,
    /// What opens its subjects that are there.
    pub(crate) subjects: Vec<Opened>,
}

impl Recorded {
    /// `seed` decides the secrets and, outside of agreements, the items' key; a party, an intent
    /// and its nonce the context.
    pub(crate) fn new(voice: &Voice, intent: StatementId, nonce: &[u8; 32], seed: u8) -> Self {
        let party = voice.key.name().as_str();
        let agreement = voice.exchange.map(|id| id.hash());
        let context =
            Context::new(voice.origin.as_str(), agreement.as_ref(), party, nonce).unwrap();
        let secret = RecordSecret::new([seed; 32]);
        let agreed = items(if agreement.is_some() { AGREED } else { seed });
        let columns = vec![Column::new("match", 1, 1, Better::Higher).unwrap()];
        let values = agreed.items().iter().map(|item| {
            let score = if item.row % 2 == 0 { "C" } else { "I" };
            Some(ItemValues {
                invalidated: false,
                errored: false,
                limited: false,
                input: Some(format!("question {}?", item.row)),
                target: None,
                output: Some("an answer".to_owned()),
                explanation: None,
                metadata: None,
                scores: vec![Some(score.to_owned())],
            })
        });
        let mut builder = RecordBuilder::new(&context, &secret, &agreed, columns).unwrap();
        builder.extend(values).unwrap();
        let declared = Declared {
            model: Some("a model".to_owned()),
            elicitation: None,
            environment: None,
            source: None,
            flags: Default::default(),
        };
        let record = builder.finish(declared, &[seed; 32]).unwrap();
        let program = |name| Program { name: Word::parse(name).unwrap(), version: "1".to_owned() };
        let hour = Timestamp::parse("2026-11-23T19:00:00Z").unwrap();
        let programs = [program("harness"), program("importer")];
        let evaluation = Evaluation::of_record(intent, programs, [hour, hour], record.header());
        let [total] = record.totals() else { panic!("one column has one total") };
        let total = OpenedTotal {
            column: ColumnName::parse("match").unwrap(),
            total: total.sum(),
            blind: total.blind().to_bytes(),
        };
        let subjects = Subject::all().zip(record.subject_values()).filter_map(|(name, value)| {
            let salt = *secret.subject_salt(name.as_str()).as_bytes();
            Some(Opened { name, value: value.clone()?, salt })
        });
        Self { evaluation, vector: record.vector().to_vec(), total, subjects: subjects.collect() }
    }

    /// The openings of all counts.
    pub(crate) fn counts(&self) -> Vec<Opened> {
        self.subjects.iter().filter(|opened| opened.name.is_count()).cloned().collect()
    }

    pub(crate) fn predicate(&self) -> Predicate {
        Predicate::Evaluation(Box::new(self.evaluation.clone()))
    }

    /// The same attestation, with its vector changed and named by its new digest.
    pub(crate) fn with_vector(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(&mut self.vector);
        self.evaluation.vector = Hash::of(&[&self.vector]);
        self
    }
}
