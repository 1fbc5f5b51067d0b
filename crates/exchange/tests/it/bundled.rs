//! A log with a genuine record in it, and bundles cut from any log.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use exchange::bundle::{Bundle, BundleLeaf};
use exchange::predicate::{Evaluation, Program};
use exchange::{Predicate, Replayed, SignedStatement, StatementId, Timestamp, Word};
use record::column::{Better, Column};
use record::commit::{Declared, ItemValues, Record, RecordBuilder};
use record::context::Context;
use record::items::{AgreedItems, ItemKey, ItemsFile};
use record::opening::{Body, OpeningBuilder, RecordParts};
use record::secret::RecordSecret;
use record::total::TotalOpening;
use tlog::{
    Hash, KeyKind, MemoryNodes, SignedCheckpoint, SigningKey, VerifierKey, leaf_hash,
    prove_consistency, prove_inclusion,
};

use crate::log::{Log, ORIGIN, intent, key, register};

pub(crate) const A: &str = "lab-a.example";
pub(crate) const B: &str = "lab-b.example";

/// The log's key as a reader has pinned it.
pub(crate) fn pinned() -> VerifierKey {
    key(ORIGIN).verifier(KeyKind::Ed25519)
}

/// A record with all that its party knows.
pub(crate) struct Made {
    context: Context,
    secret: RecordSecret,
    items: AgreedItems,
    values: Vec<Option<ItemValues>>,
    pub(crate) record: Record,
}

impl Made {
    /// Three items under one column, for A's intent with this nonce.
    pub(crate) fn new(nonce: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&nonce.to_be_bytes());
        let context = Context::new(ORIGIN, None, A, &bytes).unwrap();
        let secret = RecordSecret::new([2; 32]);
        let rows = (0..3).map(|i| (i.to_string(), format!("question {i}"), None));
        let items = ItemsFile::from_rows(rows).unwrap().agree(&ItemKey::new([1; 32]), 1).unwrap();
        let values: Vec<_> = ["1", "0", "1"]
            .map(|score| {
                let output = Some(format!("answer {score}"));
                Some(ItemValues {
                    output,
                    scores: vec![Some(score.to_owned())],
                    ..Default::default()
                })
            })
            .into();
        let columns = vec![Column::new("accuracy", 1, 1, Better::Higher).unwrap()];
        let mut builder = RecordBuilder::new(&context, &secret, &items, columns).unwrap();
        builder.extend(values.iter().cloned()).unwrap();
        let record = builder.finish(Declared::default(), &[3; 32]).unwrap();
        Self { context, secret, items, values, record }
    }

    pub(crate) fn attestation(&self, intent: StatementId) -> Evaluation {
        let program = |name| Program { name: Word::parse(name).unwrap(), version: "1".to_owned() };
        let hour = |hour: u64| Timestamp::from_unix(hour * 3_600).unwrap();
        let programs = [program("inspect"), program("countersign")];
        Evaluation::of_record(
            intent,
            programs,
            [hour(500_000), hour(500_001)],
            self.record.header(),
        )
    }

    /// Begins an opening under the id of this record's attestation.
    fn opener(&self, id: StatementId) -> OpeningBuilder<'_> {
        OpeningBuilder::new(RecordParts {
            id: id.hash(),
            header: self.record.header(),
            context: &self.context,
            secret: &self.secret,
            vector: self.record.vector(),
            items: &self.items,
        })
        .unwrap()
    }

    /// Opens the output and the score of one item, under the id of this record's attestation.
    pub(crate) fn opening(&self, id: StatementId, index: usize) -> Vec<u8> {
        let mut opening = self.opener(id);
        let fields = ["status", "output", "score:accuracy"];
        opening.item(index as u64, self.values[index].as_ref(), &fields, None).unwrap();
        opening.finish().unwrap().to_bytes().unwrap()
    }

    /// Opens these fields of these items, the total, and how many items are scored.
    pub(crate) fn opening_of(&self, id: StatementId, items: &[usize], fields: &[&str]) -> Body {
        let mut opening = self.opener(id);
        for &index in items {
            opening.item(index as u64, self.values[index].as_ref(), fields, None).unwrap();
        }
        let layout = self.record.header().layout();
        let values = self.values.iter().map(Option::as_ref);
        let total = TotalOpening::from_items(&self.secret, layout, 0, values).unwrap();
        opening.total("accuracy", &total).unwrap();
        opening.subject("count:scored", "3").unwrap();
        opening.finish().unwrap()
    }
}

/// Entries 0 and 1 register A and B, 2 is A's intent, 3 a tick of B's, 4 A's attestation, 5 an
/// intent of B's that nothing here is about.
pub(crate) struct Scene {
    pub(crate) log: Log,
    pub(crate) made: Made,
    pub(crate) announced: StatementId,
    pub(crate) attested: StatementId,
}

impl Scene {
    /// The honest log. Made once, since a record takes time.
    pub(crate) fn honest() -> &'static Self {
        static HONEST: OnceLock<Scene> = OnceLock::new();
        HONEST.get_or_init(|| {
            let scene = Self::with(|_| {});
            assert_eq!(scene.log.state.index_of(&scene.attested), Some(4));
            scene
        })
    }

    /// A log that took A's attestation with this change, be it void.
    pub(crate) fn with(change: impl FnOnce(&mut Evaluation)) -> Self {
        let mut log = Log::with(&[A, B]);
        let announced = log.say(&key(A), intent(1, 1)).unwrap();
        log.say(&key(B), log.tick()).unwrap();
        let made = Made::new(1);
        let mut attestation = made.attestation(announced);
        change(&mut attestation);
        let leaf = log.sign(&key(A), Predicate::Evaluation(Box::new(attestation)));
        let attested = SignedStatement::parse(&leaf).unwrap().id();
        log.replay(&leaf);
        log.say(&key(B), intent(1, 2)).unwrap();
        Self { log, made, announced, attested }
    }

    /// What its party hands out: registration, intent, attestation and vector.
    pub(crate) fn bundle(&self) -> Bundle {
        cut(&self.log, &[0, 2, 4], &[self.made.record.vector()])
    }

    /// Every entry, the vector, and an opening of item 1.
    pub(crate) fn whole(&self) -> Bundle {
        let whole: Vec<u64> = (0..self.log.size()).collect();
        let openings = vec![self.made.opening(self.attested, 1)];
        let bundle = cut(&self.log, &whole, &[self.made.record.vector()]);
        Bundle { complete_from: 0, openings, ..bundle }
    }
}

/// A bundle of these entries with the proofs that they need, which promises nothing.
pub(crate) fn cut(log: &Log, indices: &[u64], artifacts: &[&[u8]]) -> Bundle {
    let nodes: MemoryNodes = log.leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let head = log.head();
    let mut heads = BTreeMap::new();
    let mut leaves = Vec::new();
    for &index in indices {
        let envelope = log.leaves[usize::try_from(index).unwrap()].clone();
        let signed = SignedStatement::parse(&envelope).unwrap();
        let mut sizes = vec![signed.statement().common().seen.size];
        if let Predicate::Tick(tick) = signed.statement().predicate() {
            sizes.push(tick.head().size);
        }
        for size in sizes.into_iter().filter(|size| (1..=head.size).contains(size)) {
            let Ok(proof) = prove_consistency(&nodes, size, head.size);
            heads.insert(size, proof);
        }
        let Ok(proof) = prove_inclusion(&nodes, index, head.size);
        leaves.push(BundleLeaf { index, envelope, proof });
    }
    Bundle {
        origin: log.key.name().clone(),
        policy: format!("log {}\nquorum none\n", log.key.verifier(KeyKind::Ed25519)),
        checkpoint: SignedCheckpoint::sign(&log.key, head).to_string(),
        leaves,
        heads,
        complete_from: head.size,
        artifacts: artifacts.iter().map(|bytes| (Hash::of(&[bytes]), bytes.to_vec())).collect(),
        openings: Vec::new(),
    }
}

/// A log in which A is registered, and what a dishonest server put in after that.
pub(crate) fn dishonest(leaves: impl FnOnce(&mut Log, &SigningKey)) -> Log {
    let mut log = Log::with(&[A]);
    leaves(&mut log, &key(A));
    log
}

/// Puts a leaf into the log that no honest server takes.
pub(crate) fn force(log: &mut Log, leaf: &[u8]) {
    assert_ne!(log.replay(leaf), Replayed::Applied, "an honest server takes it, too");
}

/// A registration by another key under a name.
pub(crate) fn takeover(log: &Log, thief: &SigningKey) -> Vec<u8> {
    crate::log::sign(thief, Log::of(log.key.clone()).common(thief), register(thief))
}
