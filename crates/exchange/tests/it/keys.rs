//! Keys by log order: registration, rotation, revocation, recovery.

use exchange::predicate::{Keys, Party, possession_message};
use exchange::{Envelope, Predicate, Reason, Refusal, Replayed, Standing};
use tlog::{PublicKey, SigningKey};

use crate::log::{Log, intent, key, keys, recovery_key, register, seeded, sign};

const LAB: &str = "lab-a.example";

fn party(change: Party) -> Predicate {
    Predicate::Party(Box::new(change))
}

fn rotation(log: &Log, keys: Keys, new: &SigningKey) -> Predicate {
    let possession = new.sign(&possession_message(log.key.name(), &keys));
    party(Party::Rotate { keys, possession })
}

/// Rotates `LAB` to a key, signed by another, with the usual recovery key.
fn rotate(log: &mut Log, by: &SigningKey, to: &SigningKey) -> Result<(), Refusal> {
    let statement = rotation(log, keys(to), to);
    log.say(by, statement).map(drop)
}

fn revoke(log: &mut Log, by: &SigningKey, key: &SigningKey) -> Result<(), Refusal> {
    log.say(by, party(Party::Revoke { key: *key.public().as_bytes() })).map(drop)
}

fn speak(log: &mut Log, by: &SigningKey) -> Result<(), Refusal> {
    let run = log.state.next_run(by.name());
    let nonce = log.size();
    log.say(by, intent(run, nonce)).map(drop)
}

fn reason<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Reason {
    result.unwrap_err().reason()
}

#[test]
fn a_rotated_key_speaks_no_more() {
    let mut log = Log::with(&[LAB]);
    let (first, second) = (key(LAB), seeded(LAB, "second"));
    assert_eq!(reason(speak(&mut log, &second)), Reason::KeyNotCurrent);
    speak(&mut log, &first).unwrap();
    rotate(&mut log, &first, &second).unwrap();
    assert_eq!(reason(speak(&mut log, &first)), Reason::KeyNotCurrent);
    speak(&mut log, &second).unwrap();

    let party = log.state.registry().party(first.name()).unwrap();
    assert_eq!(party.current(), Some(&second.public()));
    let standings: Vec<_> = party.keys().iter().map(|held| (held.standing, held.since)).collect();
    assert_eq!(standings, [(Standing::Rotated, 2), (Standing::Current, 2)]);
}

#[test]
fn only_the_recovery_key_undoes_a_rotation() {
    let mut log = Log::with(&[LAB]);
    let (first, second, recovery) = (key(LAB), seeded(LAB, "second"), recovery_key(LAB));
    rotate(&mut log, &first, &second).unwrap();
    assert_eq!(reason(rotate(&mut log, &second, &first)), Reason::WrongRole);
    rotate(&mut log, &recovery, &first).unwrap();
    speak(&mut log, &first).unwrap();
    assert_eq!(reason(speak(&mut log, &second)), Reason::KeyNotCurrent);
}

#[test]
fn only_the_recovery_key_changes_the_recovery_key() {
    let mut log = Log::with(&[LAB]);
    let (first, second, recovery) = (key(LAB), seeded(LAB, "second"), recovery_key(LAB));
    let other = seeded(LAB, "other recovery");
    let new = Keys { recovery: *other.public().as_bytes(), ..keys(&second) };
    let statement = rotation(&log, new.clone(), &second);
    let refusal = log.say(&first, statement.clone()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::WrongRole);
    assert_eq!(refusal.pointer(), Some("/predicate/recovery"));
    log.say(&recovery, statement).unwrap();
    // The old recovery key has lost its role.
    assert_eq!(reason(revoke(&mut log, &recovery, &second)), Reason::KeyNotCurrent);
    revoke(&mut log, &other, &second).unwrap();
}

#[test]
fn after_a_revocation_only_the_recovery_key_acts() {
    let mut log = Log::with(&[LAB]);
    let (first, second, recovery) = (key(LAB), seeded(LAB, "second"), recovery_key(LAB));
    revoke(&mut log, &first, &first).unwrap();
    assert_eq!(log.state.registry().party(first.name()).unwrap().current(), None);
    assert_eq!(reason(speak(&mut log, &first)), Reason::KeyRevoked);
    assert_eq!(reason(rotate(&mut log, &first, &second)), Reason::KeyRevoked);
    assert_eq!(reason(revoke(&mut log, &recovery, &first)), Reason::KeyRevoked);
    assert_eq!(reason(rotate(&mut log, &recovery, &first)), Reason::KeyRevoked, "for good");
    rotate(&mut log, &recovery, &second).unwrap();
    speak(&mut log, &second).unwrap();
}

#[test]
fn the_recovery_key_makes_no_other_statements() {
    let mut log = Log::with(&[LAB]);
    assert_eq!(reason(speak(&mut log, &recovery_key(LAB))), Reason::KeyNotCurrent);
}

#[test]
fn revokes_only_keys_that_the_signer_may() {
    let mut log = Log::with(&[LAB]);
    let (first, second, recovery) = (key(LAB), seeded(LAB, "second"), recovery_key(LAB));
    assert_eq!(reason(revoke(&mut log, &first, &second)), Reason::KeyNotCurrent);
    rotate(&mut log, &first, &second).unwrap();
    assert_eq!(reason(revoke(&mut log, &second, &first)), Reason::WrongRole);
    revoke(&mut log, &recovery, &first).unwrap();
    assert_eq!(reason(rotate(&mut log, &recovery, &first)), Reason::KeyRevoked);
    speak(&mut log, &second).unwrap();
}

#[test]
fn a_rotation_may_keep_the_key() {
    let mut log = Log::with(&[LAB]);
    let first = key(LAB);
    rotate(&mut log, &first, &first).unwrap();
    speak(&mut log, &first).unwrap();
    assert_eq!(log.state.registry().party(first.name()).unwrap().keys().len(), 1);
}

/// Every proof of possession that is not exactly this party's for this log and these keys.
#[test]
fn refuses_possession_proofs_of_another_place() {
    let mut log = Log::with(&[LAB]);
    let (first, second) = (key(LAB), seeded(LAB, "second"));
    let new = keys(&second);
    let good = second.sign(&possession_message(log.key.name(), &new));
    let other_name = Keys { name: key("lab-b.example").name().clone(), ..new.clone() };
    let other_recovery = Keys { recovery: [7; 32], ..new.clone() };
    // A signature over an envelope is none over a possession, and the other way round.
    let envelope = log.sign(&first, intent(1, 1));
    let envelope = Envelope::parse(&envelope).unwrap();
    let as_envelope = Envelope::sign(envelope.payload(), &second).unwrap();
    for (case, possession) in [
        ("signed by the old key", first.sign(&possession_message(log.key.name(), &new))),
        ("for another log", second.sign(&possession_message(key("log.example/2").name(), &new))),
        ("for another name", second.sign(&possession_message(log.key.name(), &other_name))),
        ("another recovery", second.sign(&possession_message(log.key.name(), &other_recovery))),
        ("over an envelope", *as_envelope.signature()),
        ("zeros", [0; 64]),
        ("s + L", plus_order(good)),
    ] {
        let statement = party(Party::Rotate { keys: new.clone(), possession });
        let refusal = log.say(&first, statement).expect_err(case);
        assert_eq!(refusal.reason(), Reason::BadPossession, "{case}: {refusal}");
    }
    log.say(&first, party(Party::Rotate { keys: new, possession: good })).unwrap();
}

/// The same signature with s + L in place of s, which lenient verifiers take too.
fn plus_order(mut signature: [u8; 64]) -> [u8; 64] {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    signature
}

#[test]
fn refuses_weak_keys_wherever_they_enter() {
    let first = key(LAB);
    let one = {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes
    };
    let weak = [
        ("identity", one),
        ("order 4", [0; 32]),
        ("order 2", {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xec, 0x7f);
            bytes
        }),
        ("not canonical: p", {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed, 0x7f);
            bytes
        }),
        ("identity with sign bit", {
            let mut bytes = one;
            bytes[31] = 0x80;
            bytes
        }),
        ("no point", {
            let mut bytes = [0; 32];
            bytes[0] = 2;
            bytes
        }),
    ];
    for (case, bytes) in weak {
        assert!(PublicKey::from_bytes(&bytes).is_err(), "{case}");
        let good = keys(&first);
        let by_key = Keys { key: bytes, ..good.clone() };
        let by_recovery = Keys { recovery: bytes, ..good };
        for (keys, pointer) in [(by_key, "/predicate/key"), (by_recovery, "/predicate/recovery")] {
            let mut log = Log::new();
            let registration = party(Party::Register { keys: keys.clone() });
            let refusal = log.say(&first, registration).unwrap_err();
            assert_eq!(refusal.reason(), Reason::WeakKey, "{case}: {refusal}");
            assert_eq!(refusal.pointer(), Some(pointer), "{case}");
            let mut log = Log::with(&[LAB]);
            let rotation = party(Party::Rotate { keys, possession: [0; 64] });
            assert_eq!(reason(log.say(&first, rotation)), Reason::WeakKey, "{case}");
        }
    }
}

#[test]
fn a_name_is_taken_once() {
    let mut log = Log::with(&[LAB]);
    let thief = seeded(LAB, "thief");
    let leaf = sign(&thief, Log::new().common(&thief), register(&thief));
    let refusal = log.submit(&leaf).unwrap_err();
    assert_eq!(refusal.reason(), Reason::NameTaken);
    // By a foreign key it is noise, by the own key it is the owner's, and void.
    let mut foreign = log.clone();
    assert!(matches!(foreign.replay(&leaf), Replayed::Noise(_)));
    assert_eq!(foreign.state.last(thief.name(), None), log.state.last(thief.name(), None));
    let again = log.sign(&key(LAB), register(&key(LAB)));
    let Replayed::Void(refusal) = log.replay(&again) else { panic!("must be void") };
    assert_eq!(refusal.reason(), Reason::NameTaken);
    assert_eq!(log.state.last(thief.name(), None).unwrap().0, 2);
}

#[test]
fn a_registration_is_signed_by_the_key_that_it_brings() {
    let mut log = Log::new();
    let (first, other) = (key(LAB), seeded(LAB, "other"));
    let leaf = sign(&other, log.common(&first), register(&first));
    assert_eq!(reason(log.submit(&leaf)), Reason::BadSignature);
}

#[test]
fn strangers_are_unknown() {
    let mut log = Log::with(&[LAB]);
    assert_eq!(reason(speak(&mut log, &key("lab-z.example"))), Reason::UnknownSigner);
}

/// A statement that was verified before the signer's key changed is refused at its turn.
#[test]
fn keys_count_at_the_statements_turn() {
    let mut log = Log::with(&[LAB]);
    let (first, second) = (key(LAB), seeded(LAB, "second"));
    let waiting = exchange::SignedStatement::parse(&log.sign(&first, intent(1, 1))).unwrap();
    let waiting = log.state.registry().verify(waiting).unwrap();
    log.state.check(log.size(), &waiting, &log.roots).unwrap();
    rotate(&mut log, &first, &second).unwrap();
    let refusal = log.state.check(log.size(), &waiting, &log.roots).unwrap_err();
    assert_eq!(refusal.reason(), Reason::KeyNotCurrent);
}

/// Signatures that are checked ahead of their turn, with the keys of before: those by a key that a
/// leaf of the same lot rotated away do not hold, those by its successor do.
#[test]
fn keys_that_change_among_leaves_that_are_replayed_at_once() {
    let mut log = Log::with(&[LAB]);
    let (first, second, third) = (key(LAB), seeded(LAB, "second"), seeded(LAB, "third"));
    speak(&mut log, &first).unwrap();
    rotate(&mut log, &first, &second).unwrap();
    speak(&mut log, &second).unwrap();
    let late = sign(&first, log.common(&first), intent(3, 77));
    rotate(&mut log, &second, &third).unwrap();
    speak(&mut log, &third).unwrap();
    let mut leaves = log.leaves.clone();
    leaves.push(late.clone());
    leaves.insert(4, late);
    let roots = crate::log::Roots::of(leaves.iter().map(Vec::as_slice));
    let new = || exchange::State::new(log.key.verifier(tlog::KeyKind::Ed25519));
    let (mut one, mut all) = (new(), new());
    let words: Vec<_> =
        (0..).zip(&leaves).map(|(index, leaf)| (index, one.replay(index, leaf, &roots))).collect();
    assert!(words.iter().any(|(_, word)| matches!(word, Replayed::Void(_) | Replayed::Noise(_))));
    assert!(words.iter().filter(|(_, word)| *word == Replayed::Applied).count() > 4);
    let mut found = Vec::new();
    all.replay_all(0, &leaves, &roots, |index, replayed, _| found.push((index, replayed)));
    assert_eq!(found, words);
    assert_eq!(all.digest(), one.digest());
}
