//! What a service admits of an exchange, what it refuses and why, and who reads what is sealed.

use exchange::predicate::{AgreedClaim, Bound, Claim, Escrow, Predicate, Reveal, RevealContent};
use exchange::{ColumnName, Reason};
use sequencer::ArtifactStore as _;
use tlog::Hash;

use crate::exchanging::{
    accepts, clock, declines, disputes, disputes_items, envelope, opens, reveals, run, tick, word,
};
use crate::pair::{ACCEPT_BY, Pair, REVEAL_BY, STEP, usual};
use crate::parties::Voice;
use crate::scene::{append, log_key};

impl Pair {
    /// What must be refused: the reason, what is awaited, and that nothing of it is in the log.
    async fn refuses(&self, by: &Voice, predicate: Predicate, reason: Reason) -> exchange::Refusal {
        let before = self.service.reader().head();
        let said = by.draft(predicate);
        let refusal = match self.service.append(said.as_bytes()).await {
            Ok(answer) => panic!("{reason} was expected, but it is entry {}", answer.index),
            Err(refusal) => refusal,
        };
        assert_eq!(refusal.reason(), reason, "{refusal}");
        assert_eq!(self.service.reader().head(), before, "{refusal}");
        refusal
    }
}

fn clear_counts(pair: &Pair) -> Predicate {
    let (record, made) = &pair.records[0];
    let content = RevealContent::Open { totals: Vec::new(), subjects: made.counts() };
    reveals(*record, Some("counts"), content)
}

#[tokio::test]
async fn whole_exchange_is_admitted_in_its_order_and_in_no_other() {
    let mut pair = Pair::proposed(|_| ()).await;
    let early = pair.a.next_intent();
    let refusal = pair.refuses(&pair.a, Predicate::Intent(early), Reason::NotAccepted).await;
    assert_eq!(refusal.value("awaited"), Some("accept"));
    pair.refuses(&pair.a, accepts(pair.id), Reason::WrongRole).await;
    drop(pair);

    pair = Pair::recorded().await;
    let (_, _, totals) = pair.sealed_totals();
    let refusal = pair.refuses(&pair.a, totals.clone(), Reason::BeforeCommit).await;
    assert_eq!(refusal.value("awaited"), Some("tick"), "{refusal}");
    assert!(refusal.message().contains("awaited: tick"), "{refusal}");
    let (opened, bytes) = envelope(&pair.a, pair.record(), &pair.b, 1 << 11);
    pair.store.put(&bytes).unwrap();
    let opening = opens(pair.record(), [0, 1], &opened);
    pair.refuses(&pair.a, opening.clone(), Reason::BeforeCommit).await;
    pair.refuses(&pair.a, declines("least"), Reason::BeforeCommit).await;

    pair.tick(ACCEPT_BY + 1).await;
    let late = pair.a.next_intent();
    pair.refuses(&pair.a, Predicate::Intent(late), Reason::AfterCommit).await;
    let revealed = pair.a_says(totals).await;
    let counts = clear_counts(&pair);
    pair.a_says(counts).await;
    pair.a_says(declines("least")).await;
    pair.refuses(&pair.a, declines("least"), Reason::AlreadyMade).await;
    pair.a_says(opening).await;
    let dispute = pair.b.say(disputes(revealed.id()));
    append(&pair.service, &dispute).await;
    pair.tick(REVEAL_BY + STEP + 1).await;
    let refusal = pair.refuses(&pair.a, clear_counts(&pair), Reason::DeadlinePassed).await;
    assert!(refusal.value("due").is_some() || refusal.value("state").is_some(), "{refusal}");
}

#[tokio::test]
async fn openings_in_the_clear_are_admitted_only_if_they_are_true() {
    let pair = Pair::committed().await;
    let Predicate::Reveal(good) = clear_counts(&pair) else { unreachable!() };
    let changed = |change: fn(&mut Vec<exchange::predicate::Opened>)| {
        let mut reveal: Reveal = good.as_ref().clone();
        let RevealContent::Open { subjects, .. } = &mut reveal.content else { unreachable!() };
        change(subjects);
        Predicate::Reveal(Box::new(reveal))
    };
    let lie = changed(|subjects| subjects[0].value = "3".to_owned());
    let refusal = pair.refuses(&pair.a, lie, Reason::ArtifactInvalid).await;
    assert_eq!(refusal.pointer(), Some("/predicate/open"));
    let less = changed(|subjects| subjects.truncate(2));
    pair.refuses(&pair.a, less, Reason::NoRule).await;
    pair.refuses(&pair.b, Predicate::Reveal(good.clone()), Reason::WrongRole).await;
    // The totals are the peer's alone.
    let total = pair.records[0].1.total.clone();
    let content = RevealContent::Open { totals: vec![total], subjects: Vec::new() };
    let public = reveals(pair.record(), Some("totals"), content);
    pair.refuses(&pair.a, public, Reason::NoRule).await;
}

#[tokio::test]
async fn an_envelope_must_be_sealed_for_just_this_place() {
    let mut pair = Pair::committed().await;
    let record = pair.record();
    let stored = |by: &Voice, record, reader: &Voice, padded| {
        let (sealed, bytes) = envelope(by, record, reader, padded);
        pair.store.put(&bytes).unwrap();
        sealed
    };
    let (missing, _) = envelope(&pair.a, record, &pair.b, 1 << 12);
    let refusal = pair.refuses(&pair.a, pair.totals_in(&missing), Reason::ArtifactMissing).await;
    assert_eq!(refusal.value("digest"), Some(missing.digest.to_string().as_str()));

    let other_record = stored(&pair.a, pair.records[1].0, &pair.b, 1 << 10);
    let other_sender = stored(&pair.b, record, &pair.b, 1 << 10);
    let elsewhere = stored(&Voice { exchange: None, ..pair.a.clone() }, record, &pair.b, 1 << 10);
    let mut other_reader = stored(&pair.a, record, &pair.auditor, 1 << 10);
    other_reader.reader = pair.b.key.name().clone();
    // As long as the bucket that the statement names, but sealed for another.
    let mut other_bucket = stored(&pair.a, record, &pair.b, 1 << 11);
    other_bucket.padded = 1 << 10;
    for (what, sealed) in [
        ("another record", &other_record),
        ("another sender", &other_sender),
        ("no agreement", &elsewhere),
        ("another reader", &other_reader),
        ("another bucket", &other_bucket),
    ] {
        eprintln!("{what}");
        pair.refuses(&pair.a, pair.totals_in(sealed), Reason::ArtifactInvalid).await;
    }
    let to_auditor = stored(&pair.a, record, &pair.auditor, 1 << 10);
    pair.refuses(&pair.a, pair.totals_in(&to_auditor), Reason::NoRule).await;
    let mut old_key = pair.sealed_totals().0;
    old_key.key = exchange::predicate::SealingKey::X25519([8; 32]).id();
    pair.refuses(&pair.a, pair.totals_in(&old_key), Reason::NotAsAgreed).await;
    let good = pair.sealed_totals().2;
    pair.a_says(good).await;
}

#[tokio::test]
async fn sealed_indices_of_a_dispute_are_about_what_is_disputed() {
    let mut pair = Pair::committed().await;
    let totals = pair.sealed_totals().2;
    let revealed = pair.a_says(totals).await;
    let (about_record, bytes) = envelope(&pair.b, pair.record(), &pair.auditor, 1 << 10);
    pair.store.put(&bytes).unwrap();
    let said = disputes_items(revealed.id(), &about_record);
    pair.refuses(&pair.b, said, Reason::ArtifactInvalid).await;
    let (good, bytes) = envelope(&pair.b, revealed.id(), &pair.auditor, 1 << 10);
    pair.store.put(&bytes).unwrap();
    let said = pair.b.say(disputes_items(revealed.id(), &good));
    append(&pair.service, &said).await;
}

#[tokio::test]
async fn an_escrow_comes_with_the_evaluation_in_an_envelope_that_names_no_record() {
    let mut pair = Pair::agreed(|terms| {
        let auditor = terms.auditors[0].name.clone();
        terms.escrow = Some(Escrow { auditor, rules: vec![word("totals")] });
    })
    .await;
    let mut ahead = pair.a.clone();
    let (intent, record, _) = run(&mut ahead, 1);
    assert_eq!(pair.a.intent(), intent);
    append(&pair.service, &intent).await;
    pair.store.put(&record.vector).unwrap();
    pair.refuses(&pair.a, record.predicate(), Reason::NotAsAgreed).await;
    let with = |about| {
        let (sealed, bytes) = envelope(&pair.a, about, &pair.auditor, 1 << 10);
        pair.store.put(&bytes).unwrap();
        let mut record = record.clone();
        record.evaluation.escrow = Some(sealed);
        record.predicate()
    };
    pair.refuses(&pair.a, with(intent.id()), Reason::ArtifactInvalid).await;
    let good = with(exchange::StatementId::ZERO);
    pair.a_says(good).await;
}

#[tokio::test]
async fn claims_and_proofs_that_nobody_can_check_yet_are_refused_for_that() {
    let pair = Pair::committed().await;
    for proof in [[1; 10].to_vec(), vec![2; 541]] {
        pair.store.put(&proof).unwrap();
    }
    let items_proof = Hash::of(&[&[1; 10]]);
    let claim = Claim {
        claim: Some(word("least")),
        bound: Bound::AtLeast { q: 1 },
        column: ColumnName::parse("match").unwrap(),
        records: vec![pair.record()],
        items_proofs: vec![items_proof],
        proof: Hash::of(&[&[2; 541]]),
        scored: Vec::new(),
    };
    let said = Predicate::Claim(Box::new(claim.clone()));
    let refusal = pair.refuses(&pair.a, said, Reason::ProofUnchecked).await;
    assert!(refusal.message().contains("declined"), "{refusal}");
    assert!(refusal.reason().is_local());
    let other = Claim { bound: Bound::AtLeast { q: 2 }, ..claim };
    let said = Predicate::Claim(Box::new(other));
    pair.refuses(&pair.a, said, Reason::NotAsAgreed).await;
    let Predicate::Reveal(mut reveal) = pair.sealed_totals().2 else { unreachable!() };
    reveal.items_proofs = vec![exchange::predicate::ItemsProof {
        column: ColumnName::parse("match").unwrap(),
        digest: items_proof,
    }];
    pair.refuses(&pair.a, Predicate::Reveal(reveal), Reason::ProofUnchecked).await;
}

#[tokio::test]
async fn ticks_that_move_nothing_are_too_soon() {
    let mut pair = Pair::agreed(|_| ()).await;
    let log = log_key().verifier(tlog::KeyKind::Ed25519);
    let before = pair.next_tick(ACCEPT_BY - 1);
    pair.refuses(&pair.outside, before, Reason::TickTooSoon).await;
    let stranger = crate::parties::seeded("clock.example", "another");
    let foreign = tick(&pair.service.reader().checkpoint(), &log, &stranger, REVEAL_BY);
    pair.refuses(&pair.outside, foreign, Reason::TickTooSoon).await;
    let passed = tick(&pair.service.reader().checkpoint(), &log, &clock(), REVEAL_BY);
    let said = pair.outside.say(passed);
    append(&pair.service, &said).await;
    // commit_by + step has passed with nothing committed: the exchange is over, nothing waits.
    let again = pair.next_tick(REVEAL_BY + STEP + 1);
    pair.refuses(&pair.outside, again, Reason::TickTooSoon).await;
    let late = pair.a.next_intent();
    let refusal = pair.refuses(&pair.a, Predicate::Intent(late), Reason::ExchangeFinal).await;
    assert_eq!(refusal.value("state"), Some("ended"));
}

#[tokio::test]
async fn agreement_on_a_difference_is_refused_before_anybody_owes_its_proof() {
    let pair = Pair::proposed(|_| ()).await;
    let mut a = crate::scene::voice(pair.a.key.name().as_str());
    (a.number, a.previous) = (2, Some(pair.id));
    let mut terms = usual([&pair.a, &pair.b], &pair.outside);
    terms.claims = vec![AgreedClaim {
        id: word("near"),
        bound: Bound::DifferByAtMost { d: 1 },
        column: ColumnName::parse("match").unwrap(),
        by: pair.a.key.name().clone(),
    }];
    let said = Predicate::Agreement(Box::new(terms));
    let refusal = pair.refuses(&a, said, Reason::ProofUnchecked).await;
    assert_eq!(refusal.pointer(), Some("/predicate/claims/0"));
}
