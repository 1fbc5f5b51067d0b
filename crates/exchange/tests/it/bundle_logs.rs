//! What a dishonest log, or a chosen part of an honest one, can't make a bundle say.

use exchange::bundle::{Bundle, BundleFault};
use exchange::predicate::{Keys, Party, Tick, possession_message};
use exchange::{Common, Predicate, Reason};
use tlog::{Hash, SignedCheckpoint, SigningKey, TreeHead};

use crate::bundled::{A, B, Scene, cut, dishonest, force, pinned, takeover};
use crate::log::{Log, intent, key, keys, recovery_key, seeded, sign, withdrawal};

/// The entry, the reason and the pointer of a statement that a bundle is refused for.
fn refused(bundle: &Bundle) -> (u64, Reason, Option<String>) {
    match bundle.verify(&pinned(), &[]).unwrap_err() {
        BundleFault::Statement { index, refusal } => {
            (index, refusal.reason(), refusal.pointer().map(str::to_owned))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_statement_of_a_party_whose_registration_is_not_there_proves_nothing() {
    let scene = Scene::honest();
    let whole = cut(&scene.log, &[0, 1, 2, 4, 5], &[scene.made.record.vector()]);
    whole.verify(&pinned(), &[]).unwrap();
    let mut bundle = whole.clone();
    bundle.leaves.remove(1);
    let (index, reason, pointer) = refused(&bundle);
    assert_eq!((index, reason), (5, Reason::UnknownSigner));
    assert_eq!(pointer.as_deref(), Some("/predicate/signer"));
}

fn rotate(log: &Log, to: &SigningKey, recovery: &SigningKey) -> Predicate {
    let keys = Keys { recovery: *recovery.public().as_bytes(), ..keys(to) };
    let possession = to.sign(&possession_message(log.key.name(), &keys));
    Predicate::Party(Box::new(Party::Rotate { keys, possession }))
}

#[test]
fn a_rotated_key_speaks_where_its_rotation_is_in_the_bundle() {
    let (first, second) = (key(A), seeded(A, "second"));
    let mut log = Log::with(&[A]);
    log.say(&first, intent(1, 1)).unwrap();
    let rotation = rotate(&log, &second, &recovery_key(A));
    log.say(&first, rotation).unwrap();
    log.say(&second, intent(2, 2)).unwrap();

    let verdict = cut(&log, &[0, 1, 2, 3], &[]).verify(&pinned(), &[]).unwrap();
    let signers: Vec<_> = verdict.statements.iter().map(|(_, said)| *said.key()).collect();
    let (old, new) = (first.public(), second.public());
    assert_eq!(signers, [old, old, old, new]);

    // Without the rotation, the new key is a stranger's.
    let (index, reason, _) = refused(&cut(&log, &[0, 3], &[]));
    assert_eq!((index, reason), (3, Reason::KeyNotCurrent));
}

#[test]
fn what_a_key_signs_after_its_rotation_or_revocation_is_refused() {
    let (first, second) = (key(A), seeded(A, "second"));
    for (change, reason) in [
        (rotate(&Log::with(&[A]), &second, &recovery_key(A)), Reason::KeyNotCurrent),
        (
            Predicate::Party(Box::new(Party::Revoke { key: *first.public().as_bytes() })),
            Reason::KeyRevoked,
        ),
    ] {
        let log = dishonest(|log, _| {
            log.say(&first, change).unwrap();
            let leaf = log.sign(&first, intent(1, 1));
            force(log, &leaf);
        });
        let (index, found, _) = refused(&cut(&log, &[0, 1, 2], &[]));
        assert_eq!((index, found), (2, reason));
    }
}

/// Whoever steals the current key can't also take away the party's way back, even with a log
/// that helps.
#[test]
fn void_changes_of_keys_are_not_believed() {
    let (first, second, thief) = (key(A), seeded(A, "second"), seeded(A, "thief"));
    let new_recovery = dishonest(|log, _| {
        let rotation = rotate(log, &thief, &seeded(A, "thief's recovery"));
        let leaf = log.sign(&first, rotation);
        force(log, &leaf);
    });
    let brought_back = dishonest(|log, _| {
        let rotation = rotate(log, &second, &recovery_key(A));
        log.say(&first, rotation).unwrap();
        let back = rotate(log, &first, &recovery_key(A));
        let leaf = log.sign(&second, back);
        force(log, &leaf);
    });
    let taken = dishonest(|log, _| {
        let leaf = takeover(log, &thief);
        force(log, &leaf);
    });
    for (log, index, reason) in [
        (&new_recovery, 1, Reason::WrongRole),
        (&brought_back, 2, Reason::WrongRole),
        (&taken, 1, Reason::NameTaken),
    ] {
        let all: Vec<u64> = (0..log.size()).collect();
        let (found, refusal, _) = refused(&cut(log, &all, &[]));
        assert_eq!((found, refusal), (index, reason));
    }
}

/// A part of a log can't show that a statement is void; the whole of it does.
#[test]
fn a_bundle_of_the_whole_log_shows_void_statements() {
    let second_run = |log: &mut Log, a: &SigningKey| {
        let first = log.say(a, intent(1, 1)).unwrap();
        log.say(a, withdrawal(first)).unwrap();
        let leaf = log.sign(a, withdrawal(first));
        force(log, &leaf);
    };
    let number_again = |log: &mut Log, a: &SigningKey| {
        log.say(a, intent(1, 1)).unwrap();
        let common = Common { number: 2, ..log.common(a) };
        let leaf = sign(a, common, intent(2, 2));
        force(log, &leaf);
    };
    let chain_broken = |log: &mut Log, a: &SigningKey| {
        let common = Common { previous: None, ..log.common(a) };
        let leaf = sign(a, common, intent(1, 1));
        force(log, &leaf);
    };
    let nonce_again = |log: &mut Log, a: &SigningKey| {
        log.say(a, intent(1, 1)).unwrap();
        let leaf = log.sign(a, intent(2, 1));
        force(log, &leaf);
    };
    for (log, reason) in [
        (dishonest(second_run), Reason::IntentEnded),
        (dishonest(number_again), Reason::NumberNotAbove),
        (dishonest(chain_broken), Reason::WrongPrevious),
        (dishonest(nonce_again), Reason::NonceReused),
    ] {
        let all: Vec<u64> = (0..log.size()).collect();
        let part = cut(&log, &all, &[]);
        part.verify(&pinned(), &[]).unwrap();
        let whole = Bundle { complete_from: 0, ..part };
        let (index, found, _) = refused(&whole);
        assert_eq!((index, found), (log.size() - 1, reason));
    }
}

#[test]
fn an_honest_whole_log_is_complete() {
    let scene = Scene::honest();
    let verdict = scene.whole().verify(&pinned(), &[]).unwrap();
    assert_eq!(verdict.statements.len(), 6);
    for from in 0..=6 {
        let indices: Vec<u64> = (from..6).collect();
        // What is missing before the promise may be needed, but not for completeness.
        let bundle = Bundle { complete_from: from, ..cut(&scene.log, &indices, &[]) };
        match bundle.verify(&pinned(), &[]) {
            Ok(_) => {}
            Err(BundleFault::Statement { refusal, .. }) => {
                assert_eq!(refusal.reason(), Reason::UnknownSigner);
            }
            Err(other) => panic!("{from}: {other}"),
        }
    }
}

/// Heads that statements name: from the future, of another history, of nothing.
#[test]
fn heads_that_are_not_before_their_statement_are_refused() {
    let say = |seen: TreeHead| {
        dishonest(|log, a| {
            let leaf = sign(a, Common { seen, ..log.common(a) }, intent(1, 1));
            force(log, &leaf);
            log.replay(&log.sign(a, intent(1, 2)));
        })
    };
    let honest = dishonest(|log, a| {
        log.say(a, intent(1, 1)).unwrap();
        log.say(a, intent(2, 2)).unwrap();
    });
    let future = TreeHead { size: 2, root: honest.roots.0[2] };
    for (seen, what) in [
        (future, "a head that contains the statement itself"),
        (TreeHead { size: 1, root: Hash::new([9; 32]) }, "another history"),
        (TreeHead { size: 0, root: Hash::new([9; 32]) }, "another nothing"),
        (TreeHead { size: 1 << 40, root: Hash::new([9; 32]) }, "a head beyond the log"),
    ] {
        let log = say(seen);
        let fault = cut(&log, &[0, 1], &[]).verify(&pinned(), &[]).expect_err(what);
        assert!(
            matches!(fault, BundleFault::Seen { index: 1, size, .. } if size == seen.size),
            "{what}: {fault}"
        );
    }
}

/// The heads of ticks need proofs, too, and the log's signature.
#[test]
fn a_tick_of_another_history_or_another_log_is_refused() {
    let scene = Scene::honest();
    let mut bundle = cut(&scene.log, &[1, 3], &[]);
    bundle.verify(&pinned(), &[]).unwrap();
    bundle.heads.clear();
    let fault = bundle.verify(&pinned(), &[]).unwrap_err();
    assert!(matches!(fault, BundleFault::SeenUnproved { .. }), "{fault}");

    let tick = |log: &Log, head: TreeHead| {
        let note = SignedCheckpoint::sign(&log.key, head).to_string();
        Predicate::Tick(Tick::parse(&note).unwrap())
    };
    let forked = dishonest(|log, a| {
        let predicate = tick(log, TreeHead { size: 1, root: Hash::new([9; 32]) });
        let leaf = log.sign(a, predicate);
        force(log, &leaf);
    });
    let fault = cut(&forked, &[0, 1], &[]).verify(&pinned(), &[]).unwrap_err();
    assert!(matches!(fault, BundleFault::Seen { index: 1, size: 1, .. }), "{fault}");

    let foreign = dishonest(|log, a| {
        let other = Log::of(key(B));
        let predicate = tick(&other, log.head());
        let leaf = log.sign(a, predicate);
        force(log, &leaf);
    });
    let (index, reason, pointer) = refused(&cut(&foreign, &[0, 1], &[]));
    assert_eq!((index, reason), (1, Reason::TickNotSigned));
    assert_eq!(pointer.as_deref(), Some("/predicate/checkpoint"));
}
