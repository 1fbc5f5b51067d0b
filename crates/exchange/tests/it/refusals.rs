//! One input for every reason that can be met today, and which answers if two could.

use std::collections::BTreeSet;

use exchange::predicate::{
    Accept, Bound, Coin, CoinStep, Decline, DeclineCode, Dispute, Evaluation, Ground, ItemRange,
    OpenedItems, Party, Tick,
};
use exchange::{Common, Envelope, Predicate, Reason, Refusal, Statement, StatementId, Word};
use tlog::{Hash, SignedCheckpoint, SigningKey, TreeHead};

use crate::log::{Log, intent, key, keys, recovery_key, register, seeded, sign, withdrawal};
use crate::scene::{
    A, B, Scene, audit, claim, envelope, evaluate, evaluation, open, opening, reveal,
};
use crate::vectors;

#[test]
fn everything_standalone_is_admitted_when_it_is_in_order() {
    let mut scene = Scene::new();
    let (log, a, b) = (&mut scene.log, &scene.a, &scene.b);
    log.say(b, log.tick()).unwrap();
    let superseding = Evaluation { supersedes: Some(scene.record), ..evaluation(scene.open) };
    let second = log.say(a, evaluate(superseding)).unwrap();
    log.say(a, open(scene.record, 0, 3)).unwrap();
    log.say(a, Predicate::Reveal(Box::new(reveal(second)))).unwrap();
    log.say(a, claim(Bound::AtLeast { q: 1 }, &[second])).unwrap();
    log.say(a, claim(Bound::Between { p: 1, q: 2 }, &[scene.record])).unwrap();
    // B's runs are numbered on their own.
    let theirs = log.say(b, intent(1, 10)).unwrap();
    log.say(b, withdrawal(theirs)).unwrap();
    assert_eq!(log.state.next_run(a.name()), 4);
    assert_eq!(log.state.next_run(b.name()), 2);
    assert_eq!(log.state.index_of(&scene.record), Some(3));
}

#[test]
fn every_reason_of_today_has_an_input() {
    let scene = Scene::new();
    let Scene { log, a, b, ended, record, withdrawn, open: open_intent } = &scene;
    let plain = |_: &mut Common| ();
    let unknown = StatementId::new([0xee; 32]);
    let stranger = key("lab-z.example");
    let other_tree = TreeHead { size: 3, root: Hash::new([5; 32]) };
    let tick_of = |log_key: &SigningKey, head: TreeHead| {
        let checkpoint = SignedCheckpoint::sign(log_key, head);
        let note = std::str::from_utf8(checkpoint.as_bytes()).unwrap().to_owned();
        Predicate::Tick(Tick::parse(&note).unwrap())
    };
    let mut huge = evaluation(*open_intent);
    huge.items = 1 << 20;
    huge.columns[0].scale.max = 1 << 11;
    let mut final_run = evaluation(*open_intent);
    final_run.is_final = true;
    let mut with_escrow = evaluation(*open_intent);
    with_escrow.escrow = Some(envelope());
    let superseding = |record| Evaluation { supersedes: Some(record), ..evaluation(*open_intent) };
    let mut answering = reveal(*record);
    answering.answers = Some(*record);
    let mut releasing = reveal(*record);
    releasing.releases = Some(*record);
    let mut answering_opening =
        opening(*record, OpenedItems::Ranges(vec![ItemRange { first: 0, last: 0 }]));
    answering_opening.answers = Some(*record);
    let sampled = opening(*record, OpenedItems::Sample { audit: audit(*record), sample: 1 });
    let coin =
        Coin { audit: audit(*record), step: CoinStep::Commit { commitment: Hash::new([6; 32]) } };
    let decline = Decline { claim: Word::parse("c1").unwrap(), code: DeclineCode::Policy };
    let dispute = Dispute { about: *record, ground: Ground::Unopenable };
    let vectors = vectors::Vectors::read();
    let Predicate::Outcome(outcome) = vectors.entries()[32].statement().predicate().clone() else {
        panic!("statement 32 is an outcome");
    };
    let logged = Envelope::parse(&log.leaves[4]).unwrap();
    let raw = |payload: &[u8]| {
        let leaf = Envelope::sign(payload, a).unwrap();
        log.clone().submit(leaf.as_bytes()).unwrap_err()
    };
    // Current key and recovery key may both sign one rotation: two envelopes of one statement.
    let second_envelope = {
        let mut log = log.clone();
        let keys = keys(a);
        let possession = a.sign(&exchange::predicate::possession_message(log.key.name(), &keys));
        let rotation = Predicate::Party(Box::new(Party::Rotate { keys, possession }));
        let first = log.sign(a, rotation.clone());
        let second = log.sign(&recovery_key(A), rotation);
        assert_ne!(first, second);
        log.submit(&first).unwrap();
        log.submit(&second).unwrap_err()
    };
    let rotate_by_wrong_key = {
        let mut log = log.clone();
        let keys = exchange::predicate::Keys {
            recovery: *seeded(A, "another").public().as_bytes(),
            ..keys(&seeded(A, "next"))
        };
        let message = exchange::predicate::possession_message(log.key.name(), &keys);
        let possession = seeded(A, "next").sign(&message);
        log.say(a, Predicate::Party(Box::new(Party::Rotate { keys, possession }))).unwrap_err()
    };
    let no_possession = {
        let keys = keys(&seeded(A, "next"));
        let rotate = Party::Rotate { keys, possession: [0; 64] };
        scene.refusal(plain, Predicate::Party(Box::new(rotate)))
    };
    let weak = {
        let keys = exchange::predicate::Keys { key: [0; 32], ..keys(&stranger) };
        let register = Party::Register { keys };
        scene.says(&stranger, Predicate::Party(Box::new(register))).unwrap_err()
    };
    let revoked = {
        let mut log = log.clone();
        let revoke = Party::Revoke { key: *a.public().as_bytes() };
        log.say(&recovery_key(A), Predicate::Party(Box::new(revoke))).unwrap();
        log.say(a, withdrawal(*open_intent)).unwrap_err()
    };
    let bad_signature = {
        let leaf = log.sign(a, withdrawal(*open_intent));
        let other = log.sign(a, intent(4, 4));
        let (leaf, other) = (Envelope::parse(&leaf).unwrap(), Envelope::parse(&other).unwrap());
        use base64::Engine as _;
        let encode = |e: &Envelope| base64::engine::general_purpose::STANDARD.encode(e.signature());
        let text = std::str::from_utf8(leaf.as_bytes()).unwrap();
        let forged = text.replacen(&encode(&leaf), &encode(&other), 1);
        log.clone().submit(forged.as_bytes()).unwrap_err()
    };
    let accept = {
        let common = Common { exchange: Some(unknown), number: 1, previous: None, ..log.common(a) };
        let leaf = sign(a, common, Predicate::Accept(Accept { accepts: unknown }));
        log.clone().submit(&leaf).unwrap_err()
    };
    let bad_payload = |from: &str, to: &str, index: usize| {
        raw(vectors.entries()[index].text("payload").replacen(from, to, 1).as_bytes())
    };

    use Reason as R;
    let at = |pointer: &'static str| Some(pointer);
    let cases: Vec<(Reason, Option<&str>, Refusal)> = vec![
        (R::LeafTooLarge, None, log.clone().submit(&[b'x'; 70_000]).unwrap_err()),
        (R::EnvelopeNotCanonical, at(""), log.clone().submit(b"{}x").unwrap_err()),
        (R::PayloadType, at("/payloadType"), {
            let text = std::str::from_utf8(logged.as_bytes()).unwrap();
            log.clone()
                .submit(text.replacen("vnd.in-toto", "vnd.in-tota", 1).as_bytes())
                .unwrap_err()
        }),
        (R::BadJson, at(""), raw(b"statement")),
        (R::UnknownPredicate, at("/predicateType"), bad_payload("party:v1", "party:v2", 0)),
        (R::BadField, at("/predicate/number"), bad_payload("\"number\":1", "\"number\":\"1\"", 0)),
        (R::BadSubject, at("/subject"), bad_payload("\"name\":\"key\"", "\"name\":\"kex\"", 0)),
        (
            R::BadAgreement,
            at("/predicate/clock"),
            bad_payload("\"clock\":\"clock\"", "\"clock\":\"\"", 4),
        ),
        (
            R::WrongOrigin,
            at("/predicate/origin"),
            scene.refusal(|c| c.origin = key("log.example/2").name().clone(), intent(4, 4)),
        ),
        (R::WeakKey, at("/predicate/key"), weak),
        (R::BadPossession, at("/predicate/possession"), no_possession),
        (R::BadSignature, at("/signatures/0/sig"), bad_signature),
        (
            R::UnknownSigner,
            at("/predicate/signer"),
            scene.says(&stranger, intent(1, 9)).unwrap_err(),
        ),
        (
            R::KeyNotCurrent,
            at("/signatures/0/keyid"),
            scene.says(&seeded(A, "other"), intent(4, 4)).unwrap_err(),
        ),
        (R::KeyRevoked, None, revoked),
        (R::WrongRole, at("/predicate/recovery"), rotate_by_wrong_key),
        (R::StatementExists, None, second_envelope),
        (R::NameTaken, at("/predicate/name"), scene.says(b, register(b)).unwrap_err()),
        (R::NonceReused, at("/predicate/nonce"), scene.says(a, intent(4, 1)).unwrap_err()),
        (R::NonceReused, at("/predicate/nonce"), scene.says(b, intent(1, 1)).unwrap_err()),
        (R::IntentEnded, at("/predicate/intent"), scene.says(a, withdrawal(*ended)).unwrap_err()),
        (
            R::IntentEnded,
            at("/predicate/intent"),
            scene.says(a, withdrawal(*withdrawn)).unwrap_err(),
        ),
        (
            R::IntentEnded,
            at("/predicate/intent"),
            scene.says(a, evaluate(evaluation(*withdrawn))).unwrap_err(),
        ),
        (
            R::NumberNotAbove,
            at("/predicate/number"),
            scene.refusal(|c| c.number -= 1, intent(4, 4)),
        ),
        (R::NumberNotAbove, at("/predicate/number"), scene.refusal(|c| c.number = 1, intent(4, 4))),
        (
            R::WrongPrevious,
            at("/predicate/previous"),
            scene.refusal(|c| c.previous = None, intent(4, 4)),
        ),
        (
            R::WrongPrevious,
            at("/predicate/previous"),
            scene.refusal(|c| c.previous = Some(*record), intent(4, 4)),
        ),
        (
            R::SeenNotPrefix,
            at("/predicate/seen"),
            scene.refusal(|c| c.seen = other_tree, intent(4, 4)),
        ),
        (
            R::SeenNotPrefix,
            at("/predicate/seen"),
            scene.refusal(|c| c.seen.size += 1, intent(4, 4)),
        ),
        (R::SeenNotPrefix, at("/predicate/seen"), scene.refusal(|c| c.seen.size = 0, intent(4, 4))),
        (R::UnknownExchange, at("/predicate/exchange"), accept),
        (
            R::UnknownStatement,
            at("/predicate/intent"),
            scene.says(a, withdrawal(unknown)).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/intent"),
            scene.says(a, withdrawal(*record)).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/intent"),
            scene.says(b, withdrawal(*open_intent)).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/intent"),
            scene.says(b, withdrawal(*ended)).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/intent"),
            scene.says(b, evaluate(evaluation(*open_intent))).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/supersedes"),
            scene.says(a, evaluate(superseding(*ended))).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/record"),
            scene.says(b, open(*record, 0, 0)).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/record"),
            scene.says(a, open(*ended, 0, 0)).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/record"),
            scene.says(b, Predicate::Reveal(Box::new(reveal(*record)))).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/answers"),
            scene.says(a, Predicate::Reveal(Box::new(answering))).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/releases"),
            scene.says(a, Predicate::Reveal(Box::new(releasing))).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/answers"),
            scene.says(a, Predicate::Opening(Box::new(answering_opening))).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/records/0"),
            scene.says(b, claim(Bound::AtLeast { q: 1 }, &[*record])).unwrap_err(),
        ),
        (
            R::UnknownStatement,
            at("/predicate/records/1"),
            scene.says(a, claim(Bound::Equal, &[*record, *ended])).unwrap_err(),
        ),
        (R::NotStandalone, None, scene.says(a, Predicate::Opening(Box::new(sampled))).unwrap_err()),
        (R::NotStandalone, None, scene.says(a, Predicate::Coin(coin)).unwrap_err()),
        (R::NotStandalone, None, scene.says(a, Predicate::Decline(decline)).unwrap_err()),
        (R::NotStandalone, None, scene.says(a, Predicate::Dispute(Box::new(dispute))).unwrap_err()),
        (R::NotStandalone, None, scene.says(a, Predicate::Outcome(outcome)).unwrap_err()),
        (R::RunNumber, at("/predicate/run"), scene.says(a, intent(5, 5)).unwrap_err()),
        (R::RunNumber, at("/predicate/run"), scene.says(a, intent(3, 5)).unwrap_err()),
        (R::RunNumber, at("/predicate/run"), scene.says(b, intent(2, 5)).unwrap_err()),
        (R::NotAsAgreed, at("/predicate/final"), scene.says(a, evaluate(final_run)).unwrap_err()),
        (
            R::NotAsAgreed,
            at("/predicate/escrow"),
            scene.says(a, evaluate(with_escrow)).unwrap_err(),
        ),
        (
            R::TickNotPrefix,
            at("/predicate/checkpoint"),
            scene.says(b, tick_of(&log.key, other_tree)).unwrap_err(),
        ),
        (
            R::TickNotPrefix,
            at("/predicate/checkpoint"),
            scene.says(b, tick_of(&log.key, TreeHead::EMPTY)).unwrap_err(),
        ),
        (
            R::TickNotPrefix,
            at("/predicate/checkpoint"),
            scene
                .says(b, tick_of(&log.key, TreeHead { size: log.size() + 1, ..log.head() }))
                .unwrap_err(),
        ),
        (
            R::TickNotSigned,
            at("/predicate/checkpoint"),
            scene
                .says(b, tick_of(&seeded(log.key.name().as_str(), "thief"), log.head()))
                .unwrap_err(),
        ),
        (
            R::TickNotSigned,
            at("/predicate/checkpoint"),
            scene.says(b, tick_of(&key("log.example/2"), log.head())).unwrap_err(),
        ),
        (
            R::LimitExceeded,
            at("/predicate"),
            scene.says(a, claim(Bound::Between { p: 2, q: 1 }, &[*record])).unwrap_err(),
        ),
        (
            R::LimitExceeded,
            at("/predicate"),
            scene.says(a, claim(Bound::AtLeast { q: 1 << 31 }, &[*record])).unwrap_err(),
        ),
        (
            R::LimitExceeded,
            at("/predicate/columns/0/max"),
            scene.says(a, evaluate(huge)).unwrap_err(),
        ),
        (
            R::LimitExceeded,
            at("/predicate/items/0"),
            scene.says(a, open(*record, 0, 4)).unwrap_err(),
        ),
    ];
    let mut met = BTreeSet::new();
    for (reason, pointer, refusal) in &cases {
        assert_eq!(refusal.reason(), *reason, "{refusal}");
        assert_eq!(refusal.pointer(), *pointer, "{refusal}");
        met.insert(*reason);
    }
    // What is left belongs to exchanges, to artifacts, or to the server alone.
    let waiting = [
        R::NotAMember,
        R::NoRule,
        R::RuleExceeded,
        R::NotTheReader,
        R::AlreadyAccepted,
        R::AlreadyMade,
        R::StaleBase,
        R::NotAccepted,
        R::BeforeCommit,
        R::BeforeReveal,
        R::AfterCommit,
        R::DeadlinePassed,
        R::ExchangeFinal,
        R::BudgetSpent,
        R::CoinNotDue,
        R::CoinMismatch,
        R::SampleNotDue,
        R::ArtifactMissing,
        R::ArtifactInvalid,
    ];
    let unmet: Vec<_> =
        Reason::ALL.iter().filter(|reason| !met.contains(reason) && !reason.is_local()).collect();
    assert_eq!(unmet, waiting.iter().collect::<Vec<_>>());
}

#[test]
fn a_refusal_says_what_was_expected() {
    let scene = Scene::new();
    let (number, previous) = scene.log.state.last(scene.a.name(), None).unwrap();
    let refusal = scene.refusal(|c| c.previous = None, intent(4, 4));
    assert_eq!(refusal.value("expected"), Some(previous.to_string().as_str()));
    let refusal = scene.refusal(|c| c.number = number, intent(4, 4));
    assert_eq!(refusal.value("last_number"), Some(number.to_string().as_str()));
    let refusal = scene.says(&scene.a, intent(9, 4)).unwrap_err();
    assert_eq!(refusal.value("expected"), Some("4"));
    let refusal = scene.log.clone().submit(&scene.log.leaves[2]).unwrap_err();
    assert_eq!(refusal.value("index"), Some("2"));
    assert_eq!(refusal.metadata().len(), 1);
}

/// A statement that breaks several rules is refused for the first of them.
#[test]
fn the_first_check_answers() {
    let scene = Scene::new();
    let wrong_tree = TreeHead { size: 1, root: Hash::new([7; 32]) };
    let mut reasons = Vec::new();
    type Spoil = fn(&mut Common, TreeHead);
    let spoil: [(Spoil, Reason); 4] = [
        (|_, _| (), Reason::NonceReused),
        (|c, _| c.number = 1, Reason::NumberNotAbove),
        (|c, _| c.previous = None, Reason::WrongPrevious),
        (|c, head| c.seen = head, Reason::SeenNotPrefix),
    ];
    for first in 0..spoil.len() {
        // Break rule `first` and all that come after it, and the run number in any case.
        let nonce = if first == 0 { 1 } else { 77 };
        let refusal = scene.refusal(
            |common| spoil[first..].iter().for_each(|(spoil, _)| spoil(common, wrong_tree)),
            intent(42, nonce),
        );
        assert_eq!(refusal.reason(), spoil[first].1);
        reasons.push(refusal.reason());
    }
    reasons.push(scene.says(&scene.a, intent(42, 77)).unwrap_err().reason());
    assert!(reasons.is_sorted(), "{reasons:?}");
}

/// Signed bytes name log, exchange, signer and number: a statement counts in one place only.
#[test]
fn a_statement_counts_nowhere_else() {
    let scene = Scene::new();
    let leaf = scene.log.sign(&scene.a, intent(4, 4));
    let mut here = scene.log.clone();
    here.submit(&leaf).unwrap();
    // A second time, or after the number was used.
    assert_eq!(here.submit(&leaf).unwrap_err().reason(), Reason::StatementExists);
    let mut later = scene.log.clone();
    later.say(&scene.a, withdrawal(scene.open)).unwrap();
    assert_eq!(later.submit(&leaf).unwrap_err().reason(), Reason::NumberNotAbove);
    // In another log with the same parties and the same key of another name.
    let mut elsewhere = Log::of(key("log.example/2"));
    elsewhere.say(&scene.a, register(&scene.a)).unwrap();
    assert_eq!(elsewhere.submit(&leaf).unwrap_err().reason(), Reason::WrongOrigin);
    // Under another signer's name.
    let text = std::str::from_utf8(&leaf).unwrap().replacen(&scene.a.keyid(), &scene.b.keyid(), 1);
    assert_eq!(scene.log.clone().submit(text.as_bytes()).unwrap_err().reason(), Reason::BadField);
    // In a log of the same name that went another way.
    let mut fork = Log::with(&[B, A]);
    let refusal = fork.submit(&leaf).unwrap_err();
    assert_eq!(refusal.reason(), Reason::WrongPrevious);
    let statement = Statement::parse(Envelope::parse(&leaf).unwrap().payload()).unwrap();
    let mut common = fork.common(&scene.a);
    common.seen = statement.common().seen;
    let refusal = fork.submit(&sign(&scene.a, common, intent(1, 1))).unwrap_err();
    assert_eq!(refusal.reason(), Reason::SeenNotPrefix);
}
