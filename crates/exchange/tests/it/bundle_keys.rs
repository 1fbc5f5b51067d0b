//! Bundles years later: keys have changed, and the reader has a policy of its own.

use exchange::bundle::{Bundle, BundleFault};
use exchange::predicate::{Party, possession_message};
use exchange::{Predicate, Reason, Replayed, Standing, StatementId};
use tlog::{
    KeyKind, KeyName, Note, Policy, Receipt, SignedCheckpoint, SigningKey, Untrusted, cosign,
};

use crate::bundled::{A, B, Made, cut, pinned};
use crate::log::{Log, intent, key, keys, recovery_key, seeded, sign};

/// A log in which A attests under its first key at entry 3, rotates at 4, speaks under the second
/// at 5, and revokes that at 6 by its recovery key.
struct Years {
    log: Log,
    made: Made,
    attested: StatementId,
}

const ATTESTED: u64 = 3;
const ROTATED: u64 = 4;
const REVOKED: u64 = 6;

fn party(change: Party) -> Predicate {
    Predicate::Party(Box::new(change))
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

impl Years {
    fn new() -> Self {
        let mut log = Log::with(&[A, B]);
        let announced = log.say(&key(A), intent(1, 1)).unwrap();
        let made = Made::new(1);
        let attestation = Predicate::Evaluation(Box::new(made.attestation(announced)));
        let attested = log.say(&key(A), attestation).unwrap();
        let second = seeded(A, "second");
        let new = keys(&second);
        let possession = second.sign(&possession_message(log.key.name(), &new));
        log.say(&key(A), party(Party::Rotate { keys: new, possession })).unwrap();
        log.say(&second, intent(2, 2)).unwrap();
        let revoke = Party::Revoke { key: *second.public().as_bytes() };
        log.say(&recovery_key(A), party(revoke)).unwrap();
        assert_eq!(log.state.index_of(&attested), Some(ATTESTED));
        Self { log, made, attested }
    }

    /// What a reader needs for the attestation, and the entries in which A's keys changed.
    fn bundle(&self, changes: &[u64]) -> Bundle {
        let entries = [&[0, 2, ATTESTED], changes].concat();
        cut(&self.log, &entries, &[self.made.record.vector()])
    }
}

#[test]
fn an_attestation_outlives_its_key() {
    let years = Years::new();
    for changes in [vec![], vec![ROTATED], vec![ROTATED, REVOKED]] {
        let verdict = years.bundle(&changes).verify(&pinned(), &[]).unwrap();
        let [attested] = verdict.attested.as_slice() else { panic!("one attestation") };
        assert_eq!((attested.record, attested.key), (years.attested, key(A).public()));
        let standings: Vec<_> =
            verdict.keys_of(&name(A)).iter().map(|held| (held.standing, held.since)).collect();
        let expected = match changes.len() {
            0 => vec![(Standing::Current, 0)],
            1 => vec![(Standing::Rotated, ROTATED), (Standing::Current, ROTATED)],
            _ => vec![(Standing::Rotated, ROTATED), (Standing::Revoked, REVOKED)],
        };
        assert_eq!(standings, expected);
        // Nothing was promised, so another change may be among what is missing.
        assert!(!verdict.knows_all_keys_of(&name(A)));
        assert_eq!(verdict.keys_of(&name("nobody.example")), []);
    }
}

#[test]
fn a_bundle_that_was_made_before_the_rotation_still_verifies() {
    let mut log = Log::with(&[A, B]);
    let announced = log.say(&key(A), intent(1, 1)).unwrap();
    let made = Made::new(1);
    log.say(&key(A), Predicate::Evaluation(Box::new(made.attestation(announced)))).unwrap();
    let old = cut(&log, &[0, 2, 3], &[made.record.vector()]).to_bytes();
    let later = Years::new().log;
    assert_eq!(later.leaves[..4], log.leaves[..4], "the same log, years later");
    let verdict = Bundle::parse(&old).unwrap().verify(&pinned(), &[]).unwrap();
    assert_eq!(verdict.attested.len(), 1);
}

#[test]
fn a_whole_bundle_knows_every_key() {
    let years = Years::new();
    let all: Vec<u64> = (0..years.log.size()).collect();
    let whole = |from| Bundle { complete_from: from, ..cut(&years.log, &all, &[]) };
    let verdict = whole(0).verify(&pinned(), &[]).unwrap();
    assert!(verdict.knows_all_keys_of(&name(A)) && verdict.knows_all_keys_of(&name(B)));
    // From B's registration on nothing can be missing of B's keys, but of A's.
    let verdict = whole(1).verify(&pinned(), &[]).unwrap();
    assert!(!verdict.knows_all_keys_of(&name(A)) && verdict.knows_all_keys_of(&name(B)));
    assert!(!verdict.knows_all_keys_of(&name("nobody.example")));
}

/// What a dishonest server takes after a revocation convinces nobody who sees the revocation.
#[test]
fn what_a_revoked_key_says_later_is_void() {
    for (revoked, reason) in
        [(seeded(A, "second"), Reason::KeyRevoked), (key(A), Reason::KeyNotCurrent)]
    {
        let mut years = Years::new();
        let leaf = sign(&revoked, years.log.common(&revoked), intent(3, 9));
        let replayed = years.log.replay(&leaf);
        assert!(matches!(replayed, Replayed::Noise(_)), "{replayed:?}");
        let last = years.log.size() - 1;
        let bundle = years.bundle(&[ROTATED, REVOKED, last]);
        let fault = bundle.verify(&pinned(), &[]).unwrap_err();
        let BundleFault::Statement { index, refusal } = fault else { panic!("{fault}") };
        assert_eq!((index, refusal.reason()), (last, reason));
        // Without it, the rest stands.
        years.bundle(&[ROTATED, REVOKED]).verify(&pinned(), &[]).unwrap();
    }
}

fn witness(number: u8) -> SigningKey {
    key(&format!("witness.example/{number}"))
}

fn policy(quorum: &str) -> Policy {
    let witnesses: String = (1..=3)
        .map(|n| format!("witness w{n} {}\n", witness(n).verifier(KeyKind::Cosignature)))
        .collect();
    let text = format!("log {}\n{witnesses}{quorum}", pinned());
    Policy::parse(text.as_bytes()).unwrap()
}

#[test]
fn the_readers_policy_decides_and_not_the_writers() {
    let years = Years::new();
    let bundle = years.bundle(&[ROTATED]);
    let two = policy("group g 2 w1 w2 w3\nquorum g\n");
    // The writer's own policy, which asks for nobody, is of no help.
    assert!(bundle.policy.contains("quorum none"));
    let fault = bundle.verify_under(&two, &[]).unwrap_err();
    assert!(matches!(fault, BundleFault::Untrusted(Untrusted::NoQuorum { .. })), "{fault}");
    let mut note = Note::parse(bundle.checkpoint.as_bytes()).unwrap();
    let signed = SignedCheckpoint::open(note.as_bytes(), &pinned()).unwrap();
    for (number, time) in [(1, 1_000), (3, 2_000)] {
        let line = cosign(signed.checkpoint(), &witness(number), time).unwrap();
        note = note.with_signature(line).unwrap();
    }
    let cosigned = Bundle { checkpoint: note.to_string(), ..bundle };
    let sent = Bundle::parse(&cosigned.to_bytes()).unwrap();
    let (verdict, verified) = sent.verify_under(&two, &[]).unwrap();
    assert_eq!(verdict.attested.len(), 1);
    assert_eq!(verified.quorum_time(&two), Some(1_000));
    assert_eq!(verified.witnesses().count(), 2);
    // Witnesses change their keys as well: a reader keeps the old ones beside the new.
    let changed = policy("group g any w1 w2\ngroup h all g w3\nquorum h\n");
    assert!(sent.verify_under(&changed, &[]).is_ok());
    let only = policy("quorum w2\n");
    let fault = sent.verify_under(&only, &[]).unwrap_err();
    assert!(matches!(fault, BundleFault::Untrusted(_)), "{fault}");
    let other = seeded("log.example/other", "other").verifier(KeyKind::Ed25519);
    let foreign = Policy::parse(format!("log {other}\nquorum none\n").as_bytes()).unwrap();
    let fault = sent.verify_under(&foreign, &[]).unwrap_err();
    assert!(matches!(fault, BundleFault::UnknownLog(_)), "{fault}");
}

#[test]
fn every_statement_of_a_bundle_has_its_receipt() {
    let years = Years::new();
    let bundle = years.bundle(&[ROTATED]);
    for leaf in &bundle.leaves {
        let receipt = bundle.receipt(leaf.index).unwrap();
        let sent = Receipt::parse(&receipt.to_bytes()).unwrap();
        assert!(sent.verify(&leaf.envelope, &pinned()).is_ok(), "entry {}", leaf.index);
        assert!(sent.verify(b"another", &pinned()).is_err());
    }
    assert_eq!(bundle.receipt(1), None);
}
