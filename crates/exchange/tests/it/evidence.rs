//! Evidence against parties, and findings: each kind from one who did it, and all that proves
//! nothing.

use exchange::evidence::{
    BuildError, Fault, LATE_SLACK, SignedOpening, false_opening, judge, late_statement,
    statement_fork, weak_salt,
};
use exchange::predicate::{Bound, Opened, OpenedTotal, Reveal, RevealContent, ScoredCount};
use exchange::{
    ColumnName, Common, Envelope, Predicate, SealedFor, StatementId, Subject, body_message,
};
use record::opening::{Body, Cell, ScoreCell};
use tlog::evidence::{Accused, Evidence, Judgement, Kind, KnownKeys, Role};
use tlog::{
    Hash, KeyKind, MemoryNodes, Note, Receipt, SignedCheckpoint, SigningKey, TreeHead, cosign,
    leaf_hash, prove_inclusion,
};

use crate::bundled::{A, B, Scene};
use crate::log::{Log, ORIGIN, intent, key, seeded, sign};

/// What a reader knows who has pinned the log, a witness and both parties.
fn known() -> KnownKeys {
    KnownKeys::default()
        .with(Role::Log, key(ORIGIN).verifier(KeyKind::Ed25519))
        .with(Role::Witness, witness().verifier(KeyKind::Cosignature))
        .with(Role::Party, key(A).verifier(KeyKind::Ed25519))
        .with(Role::Party, key(B).verifier(KeyKind::Ed25519))
}

fn witness() -> SigningKey {
    key("witness.example/w1")
}

fn guilty(judgement: &Judgement) -> Vec<&str> {
    judgement.guilty().map(|(_, name)| name.as_str()).collect()
}

fn envelope(bytes: &[u8]) -> Envelope {
    Envelope::parse(bytes).unwrap()
}

/// A statement with these common members changed.
fn said(signer: &SigningKey, change: impl FnOnce(&mut Common), predicate: Predicate) -> Envelope {
    let mut common = Log::with(&[A, B]).common(signer);
    change(&mut common);
    envelope(&sign(signer, common, predicate))
}

#[test]
fn two_statements_under_one_number_convict_their_signer() {
    let (a, b) = (said(&key(A), |_| (), intent(1, 1)), said(&key(A), |_| (), intent(1, 2)));
    let made = statement_fork(&known(), &a, &b).unwrap().unwrap();
    let sent = Evidence::parse(&made.to_bytes()).unwrap();
    let judgement = judge(&sent, &known()).unwrap();
    assert_eq!(guilty(&judgement), [A]);
    assert!(judgement.account().contains("under the number 2"), "{judgement}");
    // Another person knows nobody of that name.
    let stranger = judge(&sent, &KnownKeys::default()).unwrap();
    assert_eq!((stranger.guilty().count(), stranger.unknown().count()), (0, 1));
}

#[test]
fn what_an_honest_client_sends_is_no_fork() {
    let first = || said(&key(A), |_| (), intent(1, 1));
    let other_log = seeded("log.example/other", "other");
    let pairs: Vec<(&str, Envelope, Envelope)> = vec![
        ("the same envelope again", first(), first()),
        ("the next number", first(), said(&key(A), |c| c.number += 1, intent(1, 2))),
        (
            "another log",
            first(),
            said(&key(A), |c| c.origin = other_log.name().clone(), intent(1, 2)),
        ),
        (
            "another exchange",
            first(),
            said(&key(A), |c| c.exchange = Some(StatementId::new([7; 32])), intent(1, 2)),
        ),
        ("another party", first(), said(&key(B), |_| (), intent(1, 2))),
        ("a thief's key of that name", first(), {
            said(&seeded(A, "a stolen name"), |_| (), intent(1, 2))
        }),
    ];
    for (what, a, b) in pairs {
        assert_eq!(statement_fork(&known(), &a, &b), Ok(None), "{what}");
        // Nor does it convict if somebody writes the file by hand.
        for accused in [A, B] {
            let accused = Accused::new(Role::Party, key(accused).verifier(KeyKind::Ed25519));
            let parts =
                [("envelope-a", a.as_bytes().to_vec()), ("envelope-b", b.as_bytes().to_vec())];
            let made_up =
                Evidence::new(Kind::StatementFork, accused.into_iter().collect(), vec![], parts);
            let fault = judge(&made_up.unwrap(), &known()).expect_err(what);
            assert!(
                matches!(
                    fault,
                    Fault::Compatible
                        | Fault::Numbers { .. }
                        | Fault::Scopes
                        | Fault::NotSigned { .. }
                ),
                "{what}: {fault:?}"
            );
        }
    }
}

#[test]
fn one_payload_signed_twice_is_no_fork() {
    // Ed25519 signatures of this program are deterministic; other programs' need not be.
    let first = said(&key(A), |_| (), intent(1, 1));
    let text = String::from_utf8(first.as_bytes().to_vec()).unwrap();
    let start = text.rfind("\"sig\":\"").unwrap() + 7;
    let other = format!("{}{}{}", &text[..start], "A".repeat(86), "==\"}]}");
    let other = envelope(other.as_bytes());
    assert_eq!(other.payload(), first.payload());
    assert_eq!(statement_fork(&known(), &first, &other), Ok(None));
}

/// A's honest record with everything that is needed to accuse or acquit.
struct Case {
    attestation: Envelope,
    intent: Envelope,
    id: StatementId,
    body: Body,
}

impl Case {
    fn honest() -> Self {
        let scene = Scene::honest();
        let fields = ["status", "output", "score:accuracy"];
        Self {
            attestation: envelope(&scene.log.leaves[4]),
            intent: envelope(&scene.log.leaves[2]),
            id: scene.attested,
            body: scene.made.opening_of(scene.attested, &[0, 2], &fields),
        }
    }

    fn aad(&self) -> Vec<u8> {
        let mut aad = b"countersign.v1/envelope\0\x01".to_vec();
        let prefixed = |aad: &mut Vec<u8>, text: &str| {
            aad.extend((text.len() as u16).to_be_bytes());
            aad.extend(text.as_bytes());
        };
        prefixed(&mut aad, ORIGIN);
        aad.extend([0; 32]);
        aad.extend(self.id.as_bytes());
        for text in [A, B, "0123456789abcdef"] {
            prefixed(&mut aad, text);
        }
        aad.extend([0, 0, 16, 0]);
        assert!(SealedFor::parse(&aad).is_some());
        aad
    }

    /// What comes out when this key seals and signs the body.
    fn accuse(&self, key: &SigningKey) -> Result<Option<Evidence>, BuildError> {
        let (aad, body) = (self.aad(), self.body.to_bytes().unwrap());
        let signature = key.sign(&body_message(&aad, &body));
        let opening = SignedOpening::Sealed { aad: &aad, body: &body, signature: &signature };
        false_opening(&known(), &self.attestation, &self.intent, &opening)
    }

    /// The same by a statement of A's.
    fn accuse_in_the_clear(&self, predicate: Predicate) -> Result<Option<Evidence>, BuildError> {
        let statement = said(&key(A), |common| common.number = 9, predicate);
        let opening = SignedOpening::Statement(&statement);
        false_opening(&known(), &self.attestation, &self.intent, &opening)
    }

    fn reveal(&self) -> Reveal {
        let totals = self.body.totals.iter().map(|total| OpenedTotal {
            column: ColumnName::parse(&total.column).unwrap(),
            total: total.total,
            blind: total.blind,
        });
        let subjects = self.body.subjects.iter().map(|subject| Opened {
            name: Subject::parse(&subject.name).unwrap(),
            value: subject.value.clone(),
            salt: subject.salt,
        });
        Reveal {
            record: self.id,
            rule: None,
            content: RevealContent::Open { totals: totals.collect(), subjects: subjects.collect() },
            answers: None,
            items_proofs: Vec::new(),
            releases: None,
        }
    }
}

fn cell(cell: &mut Cell) -> (&mut [u8; 32], &mut Vec<u8>) {
    match cell {
        Cell::Open { salt, value } => (salt, value),
        Cell::Closed(_) => panic!("the cell is closed"),
    }
}

#[test]
fn an_opening_that_the_attestation_contradicts_convicts_its_signer() {
    type Change = fn(&mut Body);
    let changes: [(&str, Change); 9] = [
        ("another output", |b| cell(&mut b.items[0].fields[5]).1.push(b'!')),
        ("another status", |b| *cell(&mut b.items[1].fields[2]).1 = b"\x01errored".to_vec()),
        ("another salt", |b| cell(&mut b.items[0].fields[5]).0[0] ^= 1),
        ("another score", |b| match &mut b.items[0].scores[0] {
            ScoreCell::Open { integer, .. } => *integer = 1 - *integer,
            ScoreCell::Closed(_) => panic!("the score is closed"),
        }),
        ("another tag", |b| cell(&mut b.items[0].fields[0]).1[1] ^= 1),
        ("another closed cell", |b| b.items[0].fields[3] = Cell::Closed(Hash::new([5; 32]))),
        ("another proof", |b| b.record_proof[0] ^= 1),
        ("another total", |b| b.totals[0].total += 1),
        ("another count", |b| b.subjects[0].value = "2".to_owned()),
    ];
    for (what, change) in changes {
        let mut case = Case::honest();
        assert_eq!(case.accuse(&key(A)), Ok(None), "the honest opening");
        change(&mut case.body);
        let made = case.accuse(&key(A)).unwrap_or_else(|e| panic!("{what}: {e}"));
        let made = made.unwrap_or_else(|| panic!("{what}"));
        let sent = Evidence::parse(&made.to_bytes()).unwrap();
        assert_eq!(guilty(&judge(&sent, &known()).unwrap()), [A], "{what}");
        // Nobody but A can have signed it.
        for other in [key(B), seeded(A, "a stolen name")] {
            assert!(case.accuse(&other).is_err(), "{what} by {other:?}");
        }
    }
}

#[test]
fn openings_in_the_clear_convict_as_well() {
    let honest = Case::honest();
    let reveal = |case: &Case| Predicate::Reveal(Box::new(case.reveal()));
    let claim = |value| {
        let Predicate::Claim(mut claim) = crate::scene::claim(Bound::AtMost { q: 3 }, &[honest.id])
        else {
            panic!("no claim")
        };
        claim.scored = vec![ScoredCount { value, salt: honest.body.subjects[0].salt }];
        Predicate::Claim(claim)
    };
    assert_eq!(honest.accuse_in_the_clear(reveal(&honest)), Ok(None));
    assert_eq!(honest.accuse_in_the_clear(claim(3)), Ok(None));
    let mut wrong = Case::honest();
    wrong.body.totals[0].total += 1;
    for (what, made) in [
        ("reveal", wrong.accuse_in_the_clear(reveal(&wrong))),
        ("claim", honest.accuse_in_the_clear(claim(2))),
    ] {
        let made = made.unwrap().unwrap_or_else(|| panic!("{what}"));
        assert_eq!(guilty(&judge(&made, &known()).unwrap()), [A], "{what}");
    }
    // What the attestation opens at once.
    let opened = |value: &str| {
        let scene = Scene::with(|evaluation| {
            let subject = &honest.body.subjects[0];
            evaluation.opened = vec![Opened {
                name: Subject::parse(&subject.name).unwrap(),
                value: value.to_owned(),
                salt: subject.salt,
            }];
        });
        let attestation = envelope(&scene.log.leaves[4]);
        let intent = envelope(&scene.log.leaves[2]);
        let opening = SignedOpening::Statement(&attestation);
        false_opening(&known(), &attestation, &intent, &opening)
    };
    assert_eq!(opened("3"), Ok(None));
    assert_eq!(guilty(&judge(&opened("2").unwrap().unwrap(), &known()).unwrap()), [A]);
    // What an auditor releases is another's word, and so is a reveal of another's record.
    let released = Reveal { releases: Some(honest.id), ..wrong.reveal() };
    let foreign = Reveal { record: Scene::honest().announced, ..wrong.reveal() };
    for reveal in [released, foreign] {
        let made = wrong.accuse_in_the_clear(Predicate::Reveal(Box::new(reveal)));
        assert!(matches!(made, Err(BuildError::Fault(Fault::Wrong { .. }))), "{made:?}");
    }
    let by_b = said(&key(B), |common| common.number = 9, reveal(&wrong));
    let opening = SignedOpening::Statement(&by_b);
    assert!(false_opening(&known(), &wrong.attestation, &wrong.intent, &opening).is_err());
}

/// Genuine openings put beside what they are not about.
#[test]
fn honest_openings_in_another_place_accuse_nobody() {
    let honest = Case::honest();
    let log = &Scene::honest().log;
    // Another intent of A's would give another context and so other commitments.
    let other_intent = said(&key(A), |_| (), intent(1, 9));
    let by_b = said(&key(B), |_| (), intent(1, 1));
    for intent in [other_intent, by_b, envelope(&log.leaves[0]), honest.attestation.clone()] {
        let case = Case { intent, ..Case::honest() };
        let made = case.accuse(&key(A));
        assert!(matches!(made, Err(BuildError::Fault(Fault::Wrong { .. }))), "{made:?}");
    }
    // Another attestation than the one that the opening names.
    let other = Scene::with(|evaluation| evaluation.harness.version = "2".to_owned());
    let case = Case { attestation: envelope(&other.log.leaves[4]), ..Case::honest() };
    let made = case.accuse(&key(A));
    assert!(matches!(made, Err(BuildError::Fault(Fault::Wrong { .. }))), "{made:?}");
    // An opening of another record of A's in the body, under this record in the envelope.
    let mut case = Case::honest();
    case.body.record = Hash::new([3; 32]);
    assert!(matches!(case.accuse(&key(A)), Err(BuildError::Fault(Fault::Wrong { .. }))));
    // What does not have the record's shape can't be compared.
    let mut case = Case::honest();
    case.body.items[0].fields.pop();
    assert!(matches!(case.accuse(&key(A)), Err(BuildError::Fault(Fault::Opening(_)))));
    // A signature over another envelope's body.
    let case = Case::honest();
    let (aad, body) = (case.aad(), case.body.to_bytes().unwrap());
    let signature = key(A).sign(&body_message(&aad[..aad.len() - 1], &body));
    let opening = SignedOpening::Sealed { aad: &aad, body: &body, signature: &signature };
    let made = false_opening(&known(), &case.attestation, &case.intent, &opening);
    assert!(matches!(made, Err(BuildError::Fault(Fault::NotSigned { .. }))), "{made:?}");
    // The same bytes as a statement's payload are another message.
    let as_statement = Envelope::sign(&body_message(&aad, &body), &key(A)).unwrap();
    let signature = as_statement.signature();
    let opening = SignedOpening::Sealed { aad: &aad, body: &body, signature };
    assert!(false_opening(&known(), &case.attestation, &case.intent, &opening).is_err());
}

#[test]
fn repeated_salts_are_a_finding_that_accuses_nobody() {
    let case = Case::honest();
    let (aad, body) = (case.aad(), case.body.to_bytes().unwrap());
    let signature = key(A).sign(&body_message(&aad, &body));
    let opening = SignedOpening::Sealed { aad: &aad, body: &body, signature: &signature };
    let made = weak_salt(&known(), &case.attestation, &case.intent, &opening);
    assert_eq!(made, Ok(None), "keyed hashes don't repeat");
    // A record whose party gave one salt to two subjects.
    let subject = |name: &str, value: &str| {
        let salt = [7; 32];
        let mut hasher = b"countersign.v1/subject\0".to_vec();
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&1_u64.to_be_bytes());
        let context = record::context::Context::new(ORIGIN, None, A, &nonce).unwrap();
        hasher.extend(context.as_bytes());
        hasher.extend((name.len() as u16).to_be_bytes());
        hasher.extend(name.as_bytes());
        hasher.extend(salt);
        hasher.push(1);
        hasher.extend(value.as_bytes());
        let opened = Opened { name: Subject::parse(name).unwrap(), value: value.to_owned(), salt };
        (*Hash::of(&[&hasher]).as_bytes(), opened)
    };
    let scene = Scene::with(|evaluation| {
        let (model, opened_model) = subject("model", "m");
        let (elicitation, opened_elicitation) = subject("elicitation", "e");
        evaluation.subjects[0] = model;
        evaluation.subjects[1] = elicitation;
        evaluation.opened = vec![opened_model, opened_elicitation];
    });
    let attestation = envelope(&scene.log.leaves[4]);
    let intent = envelope(&scene.log.leaves[2]);
    let opening = SignedOpening::Statement(&attestation);
    let made = weak_salt(&known(), &attestation, &intent, &opening).unwrap().unwrap();
    let judgement = judge(&Evidence::parse(&made.to_bytes()).unwrap(), &known()).unwrap();
    assert_eq!((judgement.guilty().count(), judgement.unknown().count()), (0, 0));
    assert!(judgement.to_string().starts_with("a finding that accuses nobody"), "{judgement}");
    // It says nothing of a signer whom the reader doesn't know.
    let fault = judge(&made, &KnownKeys::default()).unwrap_err();
    assert!(matches!(fault, Fault::UnknownSigner { .. }), "{fault:?}");
}

#[test]
fn a_late_statement_is_a_finding_that_accuses_nobody() {
    let scene = Scene::honest();
    let log = &scene.log;
    let attestation = envelope(&log.leaves[4]);
    let ended = 500_001 * 3_600;
    let receipt = receipt_of(log, 4);
    let cosigned = |size: usize, time: u64| -> Note {
        let head = TreeHead { size: size as u64, root: log.roots.0[size] };
        let signed = SignedCheckpoint::sign(&log.key, head);
        let line = cosign(signed.checkpoint(), &witness(), time).unwrap();
        signed.note().with_signature(line).unwrap()
    };
    let late = ended + LATE_SLACK + 1;
    let made = late_statement(&known(), &attestation, &receipt, &cosigned(4, late));
    let made = made.unwrap().unwrap();
    let judgement = judge(&Evidence::parse(&made.to_bytes()).unwrap(), &known()).unwrap();
    assert_eq!((judgement.guilty().count(), judgement.unknown().count()), (0, 0));
    assert!(judgement.account().contains("saw the log without it"), "{judgement}");
    assert_eq!(late_statement(&known(), &attestation, &receipt, &cosigned(4, late - 1)), Ok(None));
    // A head that has the statement shows nothing, nor does one that no known witness cosigned.
    let with_it = late_statement(&known(), &attestation, &receipt, &cosigned(5, late));
    assert!(matches!(with_it, Err(BuildError::Fault(Fault::Wrong { .. }))), "{with_it:?}");
    let bare = SignedCheckpoint::sign(&log.key, TreeHead { size: 4, root: log.roots.0[4] });
    assert_eq!(late_statement(&known(), &attestation, &receipt, bare.note()), Ok(None));
    // A statement without a time claims none.
    let intent = envelope(&log.leaves[2]);
    let timeless = late_statement(&known(), &intent, &receipt_of(log, 2), &cosigned(2, late));
    assert!(matches!(timeless, Err(BuildError::Fault(Fault::Wrong { .. }))), "{timeless:?}");
    // A receipt for another entry.
    let wrong = late_statement(&known(), &attestation, &receipt_of(log, 2), &cosigned(2, late));
    assert!(matches!(wrong, Err(BuildError::Fault(Fault::Receipt(_)))), "{wrong:?}");
}

fn receipt_of(log: &Log, index: u64) -> Receipt {
    let nodes: MemoryNodes = log.leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let Ok(proof) = prove_inclusion(&nodes, index, log.size());
    let checkpoint = SignedCheckpoint::sign(&log.key, log.head());
    Receipt::new(index, proof, checkpoint.as_bytes()).unwrap()
}

#[test]
fn kinds_about_logs_are_judged_here_too() {
    let log = Scene::honest().log.clone();
    let sign = |root: Hash| SignedCheckpoint::sign(&log.key, TreeHead { size: 3, root });
    let (a, b) = (sign(log.roots.0[3]), sign(Hash::new([1; 32])));
    let parts = [("checkpoint-a", a.as_bytes().to_vec()), ("checkpoint-b", b.as_bytes().to_vec())];
    let accused = Accused::new(Role::Log, log.key.verifier(KeyKind::Ed25519)).unwrap();
    let evidence = Evidence::new(Kind::TwoHeads, vec![accused], Vec::new(), parts).unwrap();
    assert_eq!(guilty(&judge(&evidence, &known()).unwrap()), [ORIGIN]);
}
