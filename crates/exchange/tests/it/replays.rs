//! Replay: void, noise, order, determinism.

use exchange::{
    Common, Envelope, Predicate, Reason, Replayed, SignedStatement, Statement, StatementId,
};
use proptest::prelude::*;
use tlog::{SigningKey, TreeHead};

use crate::log::{Log, intent, key, register, sign, withdrawal};

const A: &str = "lab-a.example";
const B: &str = "lab-b.example";

/// The state of a log, from its leaves alone.
fn replayed(log: &Log) -> exchange::State {
    let mut other = Log::of(log.key.clone());
    for leaf in &log.leaves {
        other.replay(leaf);
    }
    other.state
}

#[test]
fn checking_and_replaying_come_to_the_same_state() {
    let mut log = Log::with(&[A, B]);
    for run in 1..20 {
        let signer = key(if run % 3 == 0 { B } else { A });
        let next = log.state.next_run(signer.name());
        let announced = log.say(&signer, intent(next, run)).unwrap();
        if run % 2 == 0 {
            log.say(&signer, withdrawal(announced)).unwrap();
        }
        if run % 5 == 0 {
            log.say(&key(B), log.tick()).unwrap();
        }
        // What was refused leaves no trace.
        log.say(&signer, intent(1, run)).unwrap_err();
    }
    let other = replayed(&log);
    assert_eq!(other, log.state);
    assert_eq!(other.digest(), log.state.digest());
    assert_eq!(other.size(), log.size());
}

#[test]
fn a_void_statement_is_previous_and_burns_its_number_and_nothing_else() {
    let mut log = Log::with(&[A]);
    let a = key(A);
    let first = log.say(&a, intent(1, 1)).unwrap();
    let common = Common { number: 9, ..log.common(&a) };
    let leaf = sign(&a, common, intent(7, 2));
    let Replayed::Void(refusal) = log.replay(&leaf) else { panic!("must be void") };
    assert_eq!(refusal.reason(), Reason::RunNumber);
    let void = SignedStatement::parse(&leaf).unwrap().id();
    assert_eq!(log.state.last(a.name(), None), Some((9, void)));
    assert_eq!(log.state.next_run(a.name()), 2);
    assert_eq!(log.state.index_of(&void), Some(2));
    // It ends nothing, is nothing that could be named, and its nonce is still free.
    assert_eq!(log.say(&a, withdrawal(void)).unwrap_err().reason(), Reason::UnknownStatement);
    let common = Common { number: 9, ..log.common(&a) };
    let refusal = log.clone().submit(&sign(&a, common, withdrawal(first))).unwrap_err();
    assert_eq!(refusal.reason(), Reason::NumberNotAbove);
    log.say(&a, withdrawal(first)).unwrap();
    log.say(&a, intent(2, 2)).unwrap();
    assert_eq!(replayed(&log), log.state);
}

#[test]
fn a_void_statement_with_a_smaller_number_lowers_nothing() {
    let mut log = Log::with(&[A]);
    let a = key(A);
    let common = Common { number: 50, ..log.common(&a) };
    log.submit(&sign(&a, common, intent(1, 1))).unwrap();
    let common = Common { number: 3, ..log.common(&a) };
    let leaf = sign(&a, common, intent(2, 2));
    assert!(matches!(log.replay(&leaf), Replayed::Void(_)));
    assert_eq!(log.state.last(a.name(), None).unwrap().0, 50);
}

#[test]
fn a_leaf_logged_twice_is_void_the_second_time() {
    let mut log = Log::with(&[A]);
    let a = key(A);
    log.say(&a, intent(1, 1)).unwrap();
    let leaf = log.leaves[1].clone();
    let Replayed::Void(refusal) = log.replay(&leaf) else { panic!("must be void") };
    assert_eq!(refusal.reason(), Reason::StatementExists);
    let id = SignedStatement::parse(&leaf).unwrap().id();
    assert_eq!(log.state.index_of(&id), Some(1));
    log.say(&a, withdrawal(id)).unwrap();
}

#[test]
fn noise_counts_for_nothing_but_its_place() {
    let base = Log::with(&[A]);
    let a = key(A);
    let stranger = key("lab-z.example");
    let elsewhere = Log::of(key("log.example/2"));
    let unregistered = {
        // A registration that is refused: its signer is nobody yet.
        let common = Common {
            seen: TreeHead { size: 1, ..base.head() },
            number: 1,
            ..base.common(&stranger)
        };
        let common = Common { previous: Some(StatementId::ZERO), ..common };
        sign(&stranger, common, register(&stranger))
    };
    let forged = {
        let leaf = base.sign(&a, intent(1, 1));
        let text = std::str::from_utf8(&leaf).unwrap();
        let at = text.find("\"sig\":\"").unwrap() + 7;
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &text[..at], &text[at + 1..]).into_bytes()
    };
    let cases: [(&str, Vec<u8>, Reason); 6] = [
        ("bytes", b"anything".to_vec(), Reason::EnvelopeNotCanonical),
        ("no statement", Envelope::sign(b"{}", &a).unwrap().as_bytes().to_vec(), Reason::BadField),
        ("another log", sign(&a, elsewhere.common(&a), intent(1, 1)), Reason::WrongOrigin),
        ("a stranger", base.sign(&stranger, intent(1, 1)), Reason::UnknownSigner),
        ("a refused registration", unregistered, Reason::WrongPrevious),
        ("a forgery", forged, Reason::BadSignature),
    ];
    for (case, leaf, reason) in cases {
        let mut log = base.clone();
        let Replayed::Noise(refusal) = log.replay(&leaf) else { panic!("{case} must be noise") };
        assert_eq!(refusal.reason(), reason, "{case}: {refusal}");
        assert_eq!(log.state.size(), 2);
        assert_ne!(log.state.digest(), base.state.digest());
        assert_eq!(log.state.last(a.name(), None), base.state.last(a.name(), None));
        assert_eq!(log.state.registry(), base.state.registry());
        // Life goes on.
        log.say(&a, intent(1, 1)).unwrap();
    }
}

/// Weak keys and missing possession stand before the signature in the order of checks; still it
/// is the signer's own statement, and void.
#[test]
fn a_bad_rotation_by_the_current_key_is_void() {
    let mut log = Log::with(&[A]);
    let a = key(A);
    let party = exchange::predicate::Party::Rotate {
        keys: crate::log::keys(&crate::log::seeded(A, "next")),
        possession: [0; 64],
    };
    let leaf = log.sign(&a, Predicate::Party(Box::new(party)));
    let Replayed::Void(refusal) = log.replay(&leaf) else { panic!("must be void") };
    assert_eq!(refusal.reason(), Reason::BadPossession);
    assert_eq!(log.state.last(a.name(), None).unwrap().0, 2);
}

/// A chain of statements, all made over the same head, so that they could stand in any order.
fn chain(log: &Log, signer: &SigningKey, runs: u64, salt: u64) -> Vec<Vec<u8>> {
    let mut common = log.common(signer);
    let mut leaves = Vec::new();
    let mut say = |predicate| {
        let leaf = sign(signer, common.clone(), predicate);
        let id = SignedStatement::parse(&leaf).unwrap().id();
        common.number += 1;
        common.previous = Some(id);
        leaves.push(leaf);
        id
    };
    for run in 1..=runs {
        let announced = say(intent(run, salt + run));
        say(withdrawal(announced));
    }
    leaves
}

fn permutations(items: usize) -> Vec<Vec<usize>> {
    if items == 0 {
        return vec![Vec::new()];
    }
    permutations(items - 1)
        .into_iter()
        .flat_map(|rest| {
            (0..items).map(move |at| {
                let mut order = rest.clone();
                order.insert(at, items - 1);
                order
            })
        })
        .collect()
}

#[test]
fn of_all_orders_of_six_statements_one_holds() {
    let base = Log::with(&[A]);
    let leaves = chain(&base, &key(A), 3, 0);
    let orders = permutations(leaves.len());
    assert_eq!(orders.len(), 720);
    for order in orders {
        let mut log = base.clone();
        let held = order.iter().all(|&i| log.replay(&leaves[i]) == Replayed::Applied);
        assert_eq!(held, order.is_sorted(), "{order:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Chains of different signers do not touch each other: any interleaving that keeps each
    /// signer's order holds, and leaves each signer where every other interleaving does.
    #[test]
    fn chains_of_different_signers_interleave_freely(
        order in Just([0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2]).prop_shuffle(),
    ) {
        let names = [A, B, "lab-c.example"];
        let base = Log::with(&names);
        let chains: Vec<_> = names
            .iter()
            .zip([2, 3, 1])
            .enumerate()
            .map(|(i, (name, runs))| chain(&base, &key(name), runs, 100 * i as u64))
            .collect();
        let mut log = base.clone();
        let mut next = [0; 3];
        for signer in order {
            log.submit(&chains[signer][next[signer]]).unwrap();
            next[signer] += 1;
        }
        for (name, chain) in names.iter().zip(&chains) {
            let last = SignedStatement::parse(chain.last().unwrap()).unwrap().id();
            let name = key(name);
            prop_assert_eq!(log.state.last(name.name(), None), Some((chain.len() as u64 + 1, last)));
            prop_assert_eq!(log.state.next_run(name.name()), chain.len() as u64 / 2 + 1);
        }
        prop_assert_eq!(replayed(&log).digest(), log.state.digest());
    }

    /// Whatever the leaves are, two replays of one log agree, and admitted statements are exactly
    /// those that a server would have admitted in this place.
    #[test]
    fn replay_takes_any_leaves_and_always_comes_to_one_state(
        choices in proptest::collection::vec((0..8_u8, any::<u64>()), 0..24),
    ) {
        let base = Log::with(&[A, B]);
        let mut pool = chain(&base, &key(A), 3, 0);
        pool.extend(chain(&base, &key(B), 2, 50));
        pool.extend(base.leaves.clone());
        let mut log = base;
        for (choice, number) in choices {
            let any = pool[usize::try_from(number % pool.len() as u64).unwrap()].clone();
            let leaf = match choice {
                0 => number.to_be_bytes().to_vec(),
                1 => {
                    let mut leaf = any;
                    let at = usize::try_from(number).unwrap_or(usize::MAX) % leaf.len();
                    leaf[at] ^= 1;
                    leaf
                }
                2 => log.sign(&key(A), log.tick()),
                _ => any,
            };
            let admitted = log.clone().submit(&leaf);
            let replayed = log.replay(&leaf);
            prop_assert_eq!(admitted.is_ok(), replayed == Replayed::Applied);
            if let (Err(refusal), Replayed::Void(other) | Replayed::Noise(other)) = (admitted, replayed) {
                prop_assert_eq!(refusal, other);
            }
        }
        prop_assert_eq!(replayed(&log), log.state.clone());
        prop_assert_eq!(replayed(&log).digest(), log.state.digest());
    }
}

/// Each part of the state is in its digest.
#[test]
fn states_that_differ_have_different_digests() {
    let base = Log::with(&[A, B]);
    let a = key(A);
    let mut digests = vec![Log::new().state.digest(), Log::of(key("log.example/2")).state.digest()];
    digests.push(base.state.digest());
    let mut grow = |log: &mut Log, signer: &SigningKey, predicate: Predicate| {
        let id = log.say(signer, predicate).unwrap();
        digests.push(log.state.digest());
        id
    };
    let mut log = base.clone();
    let announced = grow(&mut log, &a, intent(1, 1));
    grow(&mut log.clone(), &a, withdrawal(announced));
    let tick = log.tick();
    grow(&mut log.clone(), &key(B), tick);
    grow(&mut base.clone(), &a, intent(1, 2));
    grow(&mut base.clone(), &key(B), intent(1, 1));
    let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len());
}

#[test]
fn statements_that_cannot_be_spelled_are_not_made() {
    let log = Log::with(&[A]);
    let a = key(A);
    let with_exchange = Common { exchange: Some(StatementId::ZERO), ..log.common(&a) };
    assert!(Statement::new(with_exchange, register(&a)).is_err());
    assert!(Statement::new(log.common(&a), intent(0, 1)).is_err());
    assert!(Statement::new(Common { number: 1 << 53, ..log.common(&a) }, intent(1, 1)).is_err());
    assert!(Statement::new(log.common(&a), register(&key(B))).is_err());
}

/// A head of the future cannot have been seen, whatever the history claims to know.
#[test]
fn nobody_has_seen_the_future() {
    struct KnowsAll(tlog::Hash);
    impl exchange::History for KnowsAll {
        fn root(&self, _: u64) -> Option<tlog::Hash> {
            Some(self.0)
        }
    }
    let log = Log::with(&[A]);
    let a = key(A);
    let history = KnowsAll(log.head().root);
    for (size, reason) in [(1, None), (2, Some(Reason::SeenNotPrefix))] {
        let common = Common { seen: TreeHead { size, ..log.head() }, ..log.common(&a) };
        let signed = SignedStatement::parse(&sign(&a, common, intent(1, 1))).unwrap();
        let verified = log.state.registry().verify(signed).unwrap();
        let checked = log.state.check(log.size(), &verified, &history);
        assert_eq!(checked.err().map(|refusal| refusal.reason()), reason);
    }
}
