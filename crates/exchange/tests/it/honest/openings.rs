//! Honest records and openings of any part of them, sealed and in the clear, and files that put
//! them beside what they are not about.

use std::sync::OnceLock;

use exchange::evidence::{SignedOpening, false_opening, weak_salt};
use exchange::predicate::{Opened, OpenedTotal, Reveal, RevealContent};
use exchange::{ColumnName, Envelope, Predicate, Statement, StatementId, Subject, body_message};
use record::opening::Body;
use tlog::evidence::{Accused, Evidence, Kind, KnownKeys, Role};
use tlog::{Hash, KeyKind, SigningKey};

use super::Tried;
use super::random::Random;
use crate::bundled::{A, Made};
use crate::log::{Log, ORIGIN, intent, key, seeded, sign};

/// A record of A's with its statements. Records take time, so there are a few for all histories.
struct Recorded {
    made: Made,
    attestation: Envelope,
    intent: Envelope,
    id: StatementId,
}

fn records() -> &'static [Recorded] {
    static RECORDS: OnceLock<Vec<Recorded>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let mut log = Log::with(&[A]);
        (1..=8)
            .map(|run| {
                let announced = log.say(&key(A), intent(run, run)).unwrap();
                let made = Made::new(run);
                let evaluation = Predicate::Evaluation(Box::new(made.attestation(announced)));
                let id = log.say(&key(A), evaluation).unwrap();
                let [.., intent, attestation] = log.leaves.as_slice() else { panic!("two leaves") };
                let envelope = |leaf: &[u8]| Envelope::parse(leaf).unwrap();
                let (attestation, intent) = (envelope(attestation), envelope(intent));
                Recorded { made, attestation, intent, id }
            })
            .collect()
    })
}

struct Keys {
    party: SigningKey,
    thief: SigningKey,
    known: KnownKeys,
}

thread_local! {
    static KEYS: Keys = {
        let party = key(A);
        let known = KnownKeys::default().with(Role::Party, party.verifier(KeyKind::Ed25519));
        Keys { party, thief: seeded(A, "a thief"), known }
    };
}

pub(super) fn history(kind: Kind, random: &mut Random, tried: &mut Tried) {
    KEYS.with(|keys| {
        let record = random.pick(records());
        let other = random.pick(records());
        let body = opened(record, random);
        let aad = aad(&record.id);
        let bytes = body.to_bytes().unwrap();
        let signature = keys.party.sign(&body_message(&aad, &bytes));
        let reveal = in_the_clear(&keys.party, record, &body, random);
        let sealed = SignedOpening::Sealed { aad: &aad, body: &bytes, signature: &signature };
        let clear = SignedOpening::Statement(&reveal);
        let opening = if random.once_in(3) { &clear } else { &sealed };
        let make = if kind == Kind::WeakSalt { weak_salt } else { false_opening };
        let made = make(&keys.known, &record.attestation, &record.intent, opening);
        assert!(made.is_ok(), "{made:?}");
        tried.made("an honest opening", made);
        // Beside another record or intent, or with another body under the same signature.
        for (attestation, intent) in [(other, record), (record, other), (other, other)] {
            if record.id != other.id {
                let made = make(&keys.known, &attestation.attestation, &intent.intent, opening);
                tried.made("beside another record", made);
            }
        }
        let forged = forge(&body, random);
        for signer in [None, Some(&keys.thief)] {
            let signature =
                signer.map_or(signature, |thief| thief.sign(&body_message(&aad, &forged)));
            let accused = signer.unwrap_or(&keys.party).verifier(KeyKind::Ed25519);
            let accused = match kind {
                Kind::FalseOpening => Accused::new(Role::Party, accused).into_iter().collect(),
                _ => Vec::new(),
            };
            let parts = [
                ("attestation", record.attestation.as_bytes().to_vec()),
                ("intent", record.intent.as_bytes().to_vec()),
                ("aad", line(&aad)),
                ("body", forged.clone()),
                ("signature", line(&signature)),
            ];
            let file = Evidence::new(kind, accused, Vec::new(), parts).unwrap();
            let mut bytes = file.to_bytes();
            tried.judge("a forged body", &bytes, &keys.known);
            random.damage(&mut bytes);
            tried.judge("damaged", &bytes, &keys.known);
        }
    });
}

/// Some items and fields of a record, its total and a count.
fn opened(record: &Recorded, random: &mut Random) -> Body {
    let items: Vec<usize> = (0..3).filter(|_| random.once_in(2)).collect();
    let all = ["status", "input", "output", "explanation", "score:accuracy"];
    let mut fields: Vec<&str> = all.into_iter().filter(|_| random.once_in(2)).collect();
    if fields.contains(&"score:accuracy") && !fields.contains(&"status") {
        fields.push("status");
    }
    let mut body = record.made.opening_of(record.id, &items, &fields);
    if random.once_in(2) {
        body.totals.clear();
    }
    if random.once_in(2) {
        body.subjects.clear();
    }
    body
}

fn in_the_clear(
    party: &SigningKey,
    record: &Recorded,
    body: &Body,
    random: &mut Random,
) -> Envelope {
    let totals = body.totals.iter().map(|total| OpenedTotal {
        column: ColumnName::parse(&total.column).unwrap(),
        total: total.total,
        blind: total.blind,
    });
    let subjects = body.subjects.iter().map(|subject| Opened {
        name: Subject::parse(&subject.name).unwrap(),
        value: subject.value.clone(),
        salt: subject.salt,
    });
    let content = RevealContent::Open { totals: totals.collect(), subjects: subjects.collect() };
    let reveal = Reveal {
        record: record.id,
        rule: None,
        content,
        answers: None,
        items_proofs: Vec::new(),
        releases: None,
    };
    let mut common = Statement::parse(record.attestation.payload()).unwrap().common().clone();
    common.number += random.between(1, 9);
    let leaf = sign(party, common, Predicate::Reveal(Box::new(reveal)));
    Envelope::parse(&leaf).unwrap()
}

/// Another body, as a liar without the key can write it.
fn forge(body: &Body, random: &mut Random) -> Vec<u8> {
    let mut body = body.clone();
    match random.below(4) {
        0 => body.record = random.hash(),
        1 if !body.totals.is_empty() => body.totals[0].total ^= 1,
        2 if !body.subjects.is_empty() => body.subjects[0].salt[0] ^= 1,
        _ => {
            let mut bytes = body.to_bytes().unwrap();
            random.damage(&mut bytes);
            if std::str::from_utf8(&bytes).is_ok() {
                return bytes;
            }
        }
    }
    body.to_bytes().unwrap()
}

fn aad(record: &StatementId) -> Vec<u8> {
    let mut aad = b"countersign.v1/envelope\0\x01".to_vec();
    let prefixed = |aad: &mut Vec<u8>, text: &str| {
        aad.extend((text.len() as u16).to_be_bytes());
        aad.extend(text.as_bytes());
    };
    prefixed(&mut aad, ORIGIN);
    aad.extend(Hash::new([0; 32]).as_bytes());
    aad.extend(record.as_bytes());
    for text in [A, "lab-b.example", "0123456789abcdef"] {
        prefixed(&mut aad, text);
    }
    aad.extend([0, 0, 16, 0]);
    aad
}

fn line(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    format!("{}\n", base64::engine::general_purpose::STANDARD.encode(bytes)).into_bytes()
}
