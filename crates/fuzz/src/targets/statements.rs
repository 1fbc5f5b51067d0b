//! Envelopes, the payload of every kind of statement, and the state machine behind them.

use exchange::predicate::{
    Dispute, Ground, ItemRange, Keys, OpenedItems, Opening, Party, Predicate, SealedEnvelope,
    SealingKey, SealingKeyId, Stamp, Stamped, Withdrawal, WithdrawalCode, possession_message,
};
use exchange::{
    BaseField, Common, Envelope, Field, KeyReference, Kind, Registry, Replayed, SignedStatement,
    State, Statement, StatementId, artifacts,
};
use tlog::{CompactRange, Hash, leaf_hash};

use super::one_in_eight;
use crate::fixtures::{log_key, log_vkey, sign, signer, statements};
use crate::mutate::{Shape, Tree};
use crate::{Memory, Target, Verdict};

const TOKENS: &[&[u8]] = &[
    b"\"exchange\":\"",
    b"\"previous\":\"",
    b"\"seen\":{\"size\":",
    b"\"number\":",
    b"null",
    b"urn:countersign:",
    b":v1",
    b"https://in-toto.io/Statement/v1",
    b"\"sha256\":\"",
    b"\"predicate\":{",
    b"2026-03-02T11:00:00Z",
    b"2026-02-30T25:00:60Z",
    b"score:",
    b"@root",
];

pub(super) fn targets() -> Vec<Target> {
    let target = |name, seeds, run| Target {
        name,
        shape: Shape::Json,
        tokens: TOKENS,
        seeds,
        run,
        memory: Memory::USUAL,
    };
    let mut targets = vec![target("envelope", envelopes, envelope)];
    let kinds: [(&'static str, Seeds); 16] = [
        ("statement-party", payloads::<0>),
        ("statement-tick", payloads::<1>),
        ("statement-stamp", payloads::<2>),
        ("statement-agreement", payloads::<3>),
        ("statement-accept", payloads::<4>),
        ("statement-amendment", payloads::<5>),
        ("statement-intent", payloads::<6>),
        ("statement-evaluation", payloads::<7>),
        ("statement-withdrawal", payloads::<8>),
        ("statement-reveal", payloads::<9>),
        ("statement-claim", payloads::<10>),
        ("statement-decline", payloads::<11>),
        ("statement-coin", payloads::<12>),
        ("statement-opening", payloads::<13>),
        ("statement-dispute", payloads::<14>),
        ("statement-outcome", payloads::<15>),
    ];
    targets.extend(kinds.map(|(name, seeds)| target(name, seeds, payload)));
    targets.push(Target { shape: Shape::JsonLines, ..target("replay", logs, replay) });
    targets
}

fn envelopes() -> Vec<Vec<u8>> {
    let all = statements().iter().map(|logged| logged.envelope.as_bytes().to_vec());
    all.filter(|envelope| envelope.len() < 1_300).collect()
}

fn envelope(input: &[u8]) -> Verdict {
    let Ok(envelope) = Envelope::parse(input) else { return Verdict::Refused };
    assert_eq!(envelope.as_bytes(), input, "a leaf has one spelling");
    assert_eq!(envelope.leaf_hash(), leaf_hash(input));
    let signed = SignedStatement::parse(input);
    if let Ok(signed) = &signed {
        assert_eq!(signed.envelope(), &envelope);
        assert_eq!(signed.id(), envelope.id());
    }
    // Without its registration nobody is known.
    let registry = Registry::new(log_key().name().clone());
    if let Ok(signed) = signed {
        let kind = signed.statement().kind();
        assert!(registry.verify(signed).is_err() || kind == Kind::Party, "a stranger is known");
    }
    Verdict::Accepted
}

/// Payloads of a kind, by its place in the order of kinds; in all forms that the vectors have.
fn payloads<const KIND: usize>() -> Vec<Vec<u8>> {
    let kind = Kind::all().nth(KIND).expect("there are sixteen kinds");
    let of_kind = statements().iter().filter(|logged| logged.kind == kind.as_str());
    let mut seeds: Vec<Vec<u8>> =
        of_kind.map(|logged| logged.payload.as_bytes().to_vec()).collect();
    seeds.extend(more(kind).into_iter().map(String::into_bytes));
    seeds
}

/// Forms that the vectors lack, said outside of exchanges by the signer of the vectors' intent.
fn more(kind: Kind) -> Vec<String> {
    let id = StatementId::of(statements()[15].payload.as_bytes());
    let rotated = signer("lab-b.example");
    let keys = Keys {
        name: intent().signer,
        key: *rotated.public().as_bytes(),
        sealing: SealingKey::XWing(Box::new([7; 1216])),
        recovery: *signer("auditor.example").public().as_bytes(),
    };
    let envelope = SealedEnvelope {
        digest: Hash::new([1; 32]),
        reader: rotated.name().clone(),
        key: SealingKeyId::new([2; 8]),
        padded: 1024,
    };
    let predicates = match kind {
        Kind::Party => {
            let possession = rotated.sign(&possession_message(log_key().name(), &keys));
            let key = keys.key;
            [Party::Rotate { keys, possession }, Party::Revoke { key }]
                .map(|party| Predicate::Party(Box::new(party)))
                .to_vec()
        }
        Kind::Stamp => {
            let keyid = KeyReference::parse("clock.example+c894d881").expect("it is a reference");
            let stamp = Stamp { keyid, time: 1_772_355_600, signature: [5; 64] };
            vec![Predicate::Stamp(Stamped { statement: id, stamps: vec![stamp] })]
        }
        Kind::Withdrawal => {
            vec![Predicate::Withdrawal(Withdrawal { intent: id, code: WithdrawalCode::Crash })]
        }
        Kind::Opening => {
            let ranges = [(0, 0), (2, 5), (9, 1_048_575)];
            let ranges = ranges.map(|(first, last)| ItemRange { first, last }).to_vec();
            vec![Predicate::Opening(Box::new(Opening {
                record: id,
                items: OpenedItems::Ranges(ranges),
                fields: vec![Field::Base(BaseField::Output)],
                envelope,
                answers: None,
            }))]
        }
        Kind::Dispute => {
            let ground = Ground::Unopenable;
            vec![Predicate::Dispute(Box::new(Dispute { about: id, ground }))]
        }
        _ => Vec::new(),
    };
    let said = predicates.into_iter().map(|predicate| {
        let statement = Statement::new(intent(), predicate).expect("it keeps the rules");
        String::from_utf8(statement.to_payload()).expect("payloads are text")
    });
    said.collect()
}

/// The members that every statement has, as the vectors' standalone intent has them.
fn intent() -> Common {
    let payload = statements()[14].payload.as_bytes();
    Statement::parse(payload).expect("the vectors hold").common().clone()
}

fn payload(input: &[u8]) -> Verdict {
    let Ok(statement) = Statement::parse(input) else { return Verdict::Refused };
    let written = statement.to_payload();
    assert_eq!(Statement::parse(&written).as_ref(), Ok(&statement), "read again");
    let (common, predicate) = (statement.common().clone(), statement.predicate().clone());
    assert_eq!(Statement::new(common, predicate).as_ref(), Ok(&statement), "made again");
    let needs = artifacts(&statement);
    let digests: std::collections::BTreeSet<Hash> = needs.iter().map(|need| need.digest).collect();
    assert_eq!(digests.len(), needs.len(), "each artifact is named once");

    let key = signer(statement.common().signer.as_str());
    if let Ok(envelope) = Envelope::sign(input, key) {
        let signed = SignedStatement::parse(envelope.as_bytes());
        match signed {
            Ok(signed) => assert_eq!(signed.statement(), &statement),
            Err(refusal) => {
                let own = *key.name() == statement.common().signer;
                assert!(!own, "its own signer signed: {refusal}");
            }
        }
    }
    Verdict::Accepted
}

/// A log as lines of payloads. In them `@root` stands for the root of the leaves before, `@n` for
/// the id of line `n`, so that statements refer to each other however they were changed.
fn logs() -> Vec<Vec<u8>> {
    let vectors = statements();
    let chosen = [0, 1, 14, 15];
    let mut lines: Vec<String> = chosen.iter().map(|at| vectors[*at].payload.to_owned()).collect();
    let seen = |line: &str, place: usize| -> Option<String> {
        let mut tree = Tree::parse(line.as_bytes())?;
        let head = tree.at_mut(&["predicate", "seen"])?;
        let size = Tree::Raw(place.to_string());
        let root = Tree::Text("@root".to_owned());
        *head = Tree::Object(vec![("size".to_owned(), size), ("root".to_owned(), root)]);
        Some(tree.to_text())
    };
    let withdrawal = more(Kind::Withdrawal).remove(0).replace("\"number\":3", "\"number\":6");
    let (nonce, other) = (crate::fixtures::made().nonce, [1; 32]);
    let second = lines[2]
        .replace("\"run\":1", "\"run\":2")
        .replace("\"number\":3", "\"number\":5")
        .replace(&hex::encode(nonce), &hex::encode(other))
        .replace(&Hash::of(&[&nonce]).to_string(), &Hash::of(&[&other]).to_string());
    lines.extend([second, withdrawal]);
    let ids: Vec<(&str, &str)> = vec![(vectors[14].id, "@2"), (vectors[15].id, "@3")];
    for (place, line) in lines.iter_mut().enumerate() {
        for (id, name) in &ids {
            *line = line.replace(id, name);
        }
        // Each follows what its signer said before; the last ends the run before it.
        match place {
            2 => *line = previous(line, 0).unwrap_or_default(),
            4.. => *line = previous(line, place - 1).unwrap_or_default(),
            _ => {}
        }
        *line = seen(line, place).expect("the vectors have heads");
    }
    let last = lines.len() - 1;
    lines[last] = lines[last]
        .replace("\"intent\":\"@3\"", "\"intent\":\"@4\"")
        .replace("\"sha256\":\"@3\"", "\"sha256\":\"@4\"");
    let whole = lines.join("\n") + "\n";
    let short = lines[..3].join("\n") + "\n";
    vec![whole.into_bytes(), short.into_bytes()]
}

pub(super) fn previous(line: &str, place: usize) -> Option<String> {
    let mut tree = Tree::parse(line.as_bytes())?;
    *tree.at_mut(&["predicate", "previous"])? = Tree::Text(format!("@{place}"));
    Some(tree.to_text())
}

/// The most lines of an input that become leaves: each costs two signatures' time.
const MOST_LEAVES: usize = 12;

/// Puts roots and ids where their names stand, and signs each line with its signer's key.
pub(super) fn sign_lines(input: &[u8]) -> Vec<Vec<u8>> {
    let mut range = CompactRange::new();
    let mut ids: Vec<Hash> = Vec::new();
    let mut leaves = Vec::new();
    for line in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(MOST_LEAVES)
    {
        let mut text = String::from_utf8_lossy(line).replace("@root", &range.root().to_string());
        for (place, id) in ids.iter().enumerate().rev() {
            text = text.replace(&format!("@{place}"), &id.to_string());
        }
        let leaf = sign(text.as_bytes()).unwrap_or_else(|| text.clone().into_bytes());
        ids.push(Hash::of(&[text.as_bytes()]));
        range.append(leaf_hash(&leaf));
        leaves.push(leaf);
    }
    leaves
}

struct Roots(Vec<Hash>);

impl exchange::History for Roots {
    fn root(&self, size: u64) -> Option<Hash> {
        self.0.get(usize::try_from(size).ok()?).copied()
    }
}

fn replay(input: &[u8]) -> Verdict {
    let leaves = sign_lines(input);
    let roots = Roots(crate::fixtures::roots(leaves.iter().map(Vec::as_slice)));
    let mut state = State::new(log_vkey().clone());
    let mut applied = 0;
    for (index, leaf) in (0..).zip(&leaves) {
        let before = state.clone();
        let replayed = state.replay(index, leaf, &roots);
        assert_eq!(state.size(), index + 1, "every leaf counts");
        if one_in_eight(input) {
            let mut again = before.clone();
            assert_eq!(again.replay(index, leaf, &roots), replayed, "replays agree");
            assert_eq!(again, state, "replays lead to one state");
        }
        match replayed {
            Replayed::Applied => {
                applied += 1;
                let signed = SignedStatement::parse(leaf).expect("it was applied");
                let common = signed.statement().common();
                let (number, id) = state.last(&common.signer, common.exchange).expect("just said");
                assert_eq!((number, id), (common.number, signed.id()));
                let last = before.last(&common.signer, common.exchange);
                assert!(last.is_none_or(|(last, _)| last < number), "a number was used twice");
                assert_eq!(state.index_of(&signed.id()), Some(index));
            }
            Replayed::Noise(_) => assert_eq!(before.registry(), state.registry(), "noise counts"),
            Replayed::Void(_) => assert_eq!(before.registry(), state.registry(), "void counts"),
        }
    }
    Verdict::of(applied > 0 && applied == leaves.len())
}

/// Inputs that a target starts from.
type Seeds = fn() -> Vec<Vec<u8>>;
