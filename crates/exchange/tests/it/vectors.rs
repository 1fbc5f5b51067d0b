//! The published vectors: every statement of one exchange, made by another implementation.

use exchange::{
    ArtifactKind, ArtifactLength, Envelope, ExchangeState, Kind, Predicate, Replayed,
    SignedStatement, State, Statement, StatementId, artifacts, pre_authentication_encoding,
};
use json::{Rules, Value};
use tlog::{Hash, PublicKey, VerifierKey};

use crate::log::Roots;

pub(crate) struct Vectors(Value);

impl Vectors {
    pub(crate) fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/record.json");
        Self(json::parse(&std::fs::read(path).unwrap(), Rules::LOG).unwrap())
    }

    fn exchange(&self) -> &Value {
        self.0.get("exchange").unwrap()
    }

    pub(crate) fn entries(&self) -> Vec<Entry<'_>> {
        let entries = self.exchange().get("statements").unwrap().as_array().unwrap();
        entries.iter().map(Entry).collect()
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::of(self.entries().iter().map(|entry| entry.text("envelope").as_bytes()))
    }

    pub(crate) fn log_key(&self) -> VerifierKey {
        let keys = self.exchange().get("keys").unwrap().as_array().unwrap();
        let vkeys = keys.iter().map(|key| key.get("vkey").unwrap().as_str().unwrap());
        let mut keys = vkeys.map(|vkey| VerifierKey::parse(vkey).unwrap());
        keys.find(|key| key.name().as_str() == "log.example/one").unwrap()
    }

    fn public_key(&self, keyid: &str) -> PublicKey {
        let keys = self.exchange().get("keys").unwrap().as_array().unwrap();
        let is_named = |key: &&Value| key.get("keyid").unwrap().as_str() == Some(keyid);
        let text = keys.iter().find(is_named).unwrap().get("public").unwrap().as_str().unwrap();
        PublicKey::from_bytes(Hash::from_hex(text).unwrap().as_bytes()).unwrap()
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Entry<'a>(&'a Value);

impl<'a> Entry<'a> {
    pub(crate) fn text(&self, member: &str) -> &'a str {
        self.0.get(member).unwrap().as_str().unwrap()
    }

    pub(crate) fn index(&self) -> u64 {
        self.0.get("index").unwrap().as_number().unwrap().as_u64().unwrap()
    }

    pub(crate) fn statement(&self) -> Statement {
        Statement::parse(self.text("payload").as_bytes()).unwrap()
    }
}

/// The predicate of the standalone evaluation in the vectors.
pub(crate) fn evaluation() -> exchange::predicate::Evaluation {
    let vectors = Vectors::read();
    let Predicate::Evaluation(evaluation) = vectors.entries()[15].statement().predicate().clone()
    else {
        panic!("statement 15 is an evaluation");
    };
    *evaluation
}

#[test]
fn reads_every_statement_as_its_vector_says() {
    let vectors = Vectors::read();
    assert_eq!(vectors.entries().len(), 34);
    for entry in vectors.entries() {
        let payload = entry.text("payload").as_bytes();
        let envelope = Envelope::parse(entry.text("envelope").as_bytes()).unwrap();
        assert_eq!(envelope.payload(), payload);
        assert_eq!(envelope.as_bytes(), entry.text("envelope").as_bytes());
        assert_eq!(envelope.leaf_hash().to_string(), entry.text("leaf_hash"));
        assert_eq!(envelope.id().to_string(), entry.text("statement_id"));
        let pae = pre_authentication_encoding(payload);
        assert_eq!(Hash::of(&[&pae]).to_string(), entry.text("pae_sha256"));
        envelope.verify(&vectors.public_key(&envelope.key().to_string())).unwrap();

        let signed = SignedStatement::parse(envelope.as_bytes()).unwrap();
        assert_eq!(signed.statement().kind().as_str(), entry.text("kind"));
        assert_eq!(signed.id(), StatementId::of(payload));
    }
}

#[test]
fn writes_every_statement_byte_for_byte() {
    for entry in Vectors::read().entries() {
        let statement = entry.statement();
        assert_eq!(
            String::from_utf8(statement.to_payload()).unwrap(),
            entry.text("payload"),
            "statement {}",
            entry.index()
        );
        let (common, predicate) = (statement.common().clone(), statement.predicate().clone());
        assert_eq!(Statement::new(common, predicate), Ok(statement));
    }
}

#[test]
fn finds_each_seen_head_among_the_prefixes_of_the_log() {
    let vectors = Vectors::read();
    let roots = vectors.roots();
    for entry in vectors.entries() {
        let seen = entry.statement().common().seen;
        assert_eq!(seen.size, entry.index());
        assert_eq!(roots.0[usize::try_from(seen.size).unwrap()], seen.root);
    }
    let root = vectors.exchange().get("tree_root").unwrap().as_str().unwrap();
    assert_eq!(roots.0.last().unwrap().to_string(), root);
}

#[test]
fn vectors_cover_all_kinds_but_stamps() {
    let vectors = Vectors::read();
    let missing: Vec<Kind> = Kind::all()
        .filter(|kind| !vectors.entries().iter().any(|e| e.text("kind") == kind.as_str()))
        .collect();
    assert_eq!(missing, [Kind::Stamp]);
}

/// Every statement of the exchange is admitted where it stands, and the last tick closes it.
#[test]
fn replays_the_log_of_the_vectors() {
    let vectors = Vectors::read();
    let roots = vectors.roots();
    let replay = || {
        let mut state = State::new(vectors.log_key());
        let mut states = Vec::new();
        for entry in vectors.entries() {
            let leaf = entry.text("envelope").as_bytes();
            let replayed = state.replay(entry.index(), leaf, &roots);
            assert_eq!(replayed, Replayed::Applied, "leaf {}", entry.index());
            let now = state.exchanges().next().map(|view| (view.state(), view.time()));
            if states.last().map(|(_, now)| now) != Some(&now) {
                states.push((entry.index(), now));
            }
        }
        (states, state.digest(), state.take_ended())
    };
    let (states, digest, ended) = replay();
    // At the last tick lab B owes a coin, and the window of the audit's opening is not over.
    let (proposed, agreed, committed, revealed) = (
        ExchangeState::Proposed,
        ExchangeState::Agreed,
        ExchangeState::Committed,
        ExchangeState::Revealed,
    );
    let expected = [
        (0, None),
        (4, Some((proposed, 0))),
        (5, Some((agreed, 0))),
        (16, Some((committed, 1_772_715_600))),
        (25, Some((revealed, 1_772_834_400))),
        (28, Some((revealed, 1_772_838_000))),
        (33, Some((revealed, 1_773_266_400))),
    ];
    assert_eq!(states, expected);
    assert_eq!(ended, []);
    assert_eq!(replay().1, digest);
}

#[test]
fn names_the_artifacts_of_each_kind() {
    let vectors = Vectors::read();
    let kinds_of = |index: usize| -> Vec<(ArtifactKind, ArtifactLength)> {
        let needs = artifacts(&vectors.entries()[index].statement());
        needs.into_iter().map(|need| (need.kind, need.length)).collect()
    };
    let exact = ArtifactLength::Exact;
    assert_eq!(kinds_of(11), [(ArtifactKind::Vector, exact(4 * 32 * 3))]);
    assert_eq!(kinds_of(15), [(ArtifactKind::Vector, exact(4 * 32 * 2))]);
    // aad: label 24, suite 1, log 2 + 15, ids 64, sender 2 + 13, reader 2 + 15, key 2 + 16, u32 4.
    let aad = 24 + 1 + 17 + 64 + 15 + 17 + 18 + 4;
    let envelope = |padded: u64| {
        let length = |enc: u64| aad + 2 + enc + 4 + padded + 16;
        (ArtifactKind::Envelope, ArtifactLength::BySuite([length(32), length(1120)]))
    };
    let items_proof = (ArtifactKind::ItemsProof, ArtifactLength::ByRecord);
    assert_eq!(kinds_of(17), [envelope(4096), items_proof]);
    assert_eq!(kinds_of(31), [envelope(65_536)]);
    let claim_proof = |length: u64| (ArtifactKind::ClaimProof, exact(27 + length));
    assert_eq!(kinds_of(19), [items_proof, claim_proof(513)]);
    assert_eq!(kinds_of(21), [items_proof, items_proof, claim_proof(577)]);
    for index in [0, 4, 5, 6, 8, 9, 16, 20, 22, 24, 26, 32] {
        assert_eq!(kinds_of(index), []);
    }
}
