//! An exchange from proposal to close, and every way in which it can go wrong: who is named, who
//! is not, and what is refused for which reason.

use exchange::predicate::{
    Accept, Agreement, Amendment, Audience, AuditResult, Change, Counts, DisputeResult, Evaluation,
    Finding, Intent, Member, Millionths, Predicate as P, Runs, Schedule, Stage, What, Withdrawal,
    WithdrawalCode,
};
use exchange::{
    Common, ExchangeState, Predicate, Reason, Replayed, StatementId, Status, Timestamp,
};
use proptest::prelude::*;
use tlog::KeyKind;

use crate::log::{Log, intent, key, sign};
use crate::pair::{
    A, ACCEPT_BY, AUDITOR, B, CLOCK, COMMIT_BY, OPERATOR, Pair, REVEAL_BY, STEP, WITNESS_A,
    agreement, output, registers, rule, schedule, with_audit, word,
};

fn reason(result: Result<StatementId, exchange::Refusal>) -> Reason {
    result.unwrap_err().reason()
}

#[test]
fn two_honest_parties_come_to_a_close_without_default() {
    let mut pair = Pair::revealed(agreement, 1_000);
    assert_eq!(pair.status(&format!("reveal:{A}:totals")), Some(Status::Met));
    assert_eq!(pair.status("claim:least-b"), Some(Status::Met));
    // Whoever got something sealed has one step to say that it can't be opened.
    pair.tick(1_001 + STEP);
    assert_eq!(pair.state(), Some(ExchangeState::Revealed));
    pair.tick(1_002 + STEP);
    assert_eq!(pair.state(), Some(ExchangeState::Closed));
    assert_eq!(pair.breaches(), [""; 0]);
    assert_eq!(pair.replayed(), pair.log.state);
    assert_eq!(pair.replayed().digest(), pair.log.state.digest());
}

#[test]
fn a_closed_exchange_keeps_an_id_and_a_digest() {
    let mut pair = Pair::revealed(agreement, 1_000);
    pair.tick(1_002 + STEP);
    let state = &pair.log.state;
    assert!(state.exchange(&pair.id).is_none());
    assert_eq!(state.index_of(&pair.id), None);
    assert_eq!(state.last(key(A).name(), Some(pair.id)), None);
    let refusal = pair.refusal(A, pair.sums_up());
    assert_eq!(refusal.reason(), Reason::ExchangeFinal);
    assert_eq!(refusal.value("state"), Some("closed"));
    let ended = pair.log.state.take_ended();
    assert_eq!(ended.len(), 1);
    assert!(ended[0].obligations.iter().all(|duty| duty.status == Status::Met));
    assert_eq!(pair.log.state.take_ended(), []);
}

#[test]
fn nobody_accepts_and_nobody_is_at_fault() {
    let mut pair = Pair::proposed(agreement);
    pair.tick(ACCEPT_BY);
    assert_eq!(pair.state(), Some(ExchangeState::Proposed));
    pair.tick(ACCEPT_BY + 1);
    assert_eq!(pair.state(), Some(ExchangeState::Expired));
    assert_eq!(pair.breaches(), [""; 0]);
    assert_eq!(pair.refusal(B, pair.accepts()).reason(), Reason::ExchangeFinal);
}

#[test]
fn who_never_commits_is_in_default() {
    let mut pair = Pair::agreed(agreement);
    pair.runs(A);
    pair.tick(COMMIT_BY + 1);
    assert_eq!(pair.state(), Some(ExchangeState::Agreed), "one step more for what is stamped");
    pair.tick(COMMIT_BY + STEP + 1);
    assert_eq!(pair.state(), Some(ExchangeState::Ended));
    assert_eq!(pair.breaches(), [format!("defaulted({B}, commit)")]);
}

#[test]
fn who_never_reveals_is_in_default() {
    let mut pair = Pair::committed(agreement, 1_000);
    for name in [A, B] {
        pair.says(name, pair.declines(name)).unwrap();
    }
    pair.says(A, pair.reveals(A)).unwrap();
    pair.tick(REVEAL_BY + 1);
    assert_eq!(pair.state(), Some(ExchangeState::Committed));
    let status = |pair: &Pair| pair.status(&format!("reveal:{B}:totals"));
    assert_eq!(status(&pair), Some(Status::Open));
    assert_eq!(pair.refusal(B, pair.reveals(B)).reason(), Reason::DeadlinePassed);
    pair.tick(REVEAL_BY + STEP + 1);
    assert_eq!(pair.state(), Some(ExchangeState::Revealed));
    assert_eq!(status(&pair), Some(Status::Unmet));
    assert_eq!(pair.breaches(), [format!("defaulted({B}, reveal)")]);
}

#[test]
fn who_neither_claims_nor_declines_is_in_default() {
    let mut pair = Pair::committed(agreement, 1_000);
    for name in [A, B] {
        pair.says(name, pair.reveals(name)).unwrap();
    }
    pair.says(A, pair.claims(A)).unwrap();
    pair.tick(REVEAL_BY + STEP + 1);
    assert_eq!(pair.breaches(), [format!("defaulted({B}, claim)")]);
}

/// A party's own witness in the clock group could stop the clock, so its verdicts name nobody.
#[test]
fn a_clock_with_a_partys_witness_names_nobody() {
    let own = |log: &Log| {
        let mut agreement = agreement(log);
        agreement.parties[0].witness = Some(key(CLOCK).verifier(KeyKind::Cosignature));
        agreement
    };
    let mut pair = Pair::agreed(own);
    pair.runs(A);
    pair.tick(COMMIT_BY + STEP + 1);
    assert_eq!(pair.state(), Some(ExchangeState::Ended));
    assert_eq!(pair.breaches(), ["stalled(commit)"]);
}

/// The own witnesses' cosignatures come and go; every verdict is the same.
#[test]
fn a_partys_own_witness_changes_no_verdict_by_silence() {
    let run = |silent: bool| {
        let mut pair = Pair::agreed(|log| {
            let mut agreement = agreement(log);
            let witness = key(WITNESS_A).verifier(KeyKind::Cosignature);
            let clock = key(CLOCK).verifier(KeyKind::Cosignature);
            let log = log.key.verifier(KeyKind::Ed25519);
            agreement.policy = format!(
                "log {log}\nwitness a {witness}\nwitness clock {clock}\ngroup all all a clock\n\
                 quorum all\n"
            );
            agreement.parties[0].witness = Some(witness);
            agreement
        });
        let mut states = Vec::new();
        let witnesses: &[&str] = if silent { &[CLOCK] } else { &[WITNESS_A, CLOCK] };
        pair.runs(B);
        for time in [1_000, COMMIT_BY + 1, COMMIT_BY + STEP + 1] {
            let tick = pair.tick_by(witnesses, time);
            pair.log.say(&key(OPERATOR), tick).unwrap();
            states.push((pair.state(), pair.breaches()));
        }
        states
    };
    assert_eq!(run(true), run(false));
    assert_eq!(run(true).pop().unwrap().1, [format!("defaulted({A}, commit)")]);
}

#[test]
fn a_tick_counts_only_for_the_clock_that_cosigned_it() {
    let mut pair = Pair::proposed(agreement);
    for witnesses in [&[][..], &[WITNESS_A]] {
        let tick = pair.tick_by(witnesses, ACCEPT_BY + 1);
        pair.log.say(&key(OPERATOR), tick).unwrap();
        assert_eq!(pair.state(), Some(ExchangeState::Proposed));
    }
    // A smaller time later moves nothing back.
    pair.says(B, pair.accepts()).unwrap();
    pair.tick(5_000);
    pair.tick(4_000);
    assert_eq!(pair.log.state.exchange(&pair.id).unwrap().time(), 5_000);
}

#[test]
fn a_tick_before_the_agreement_says_nothing_about_it() {
    // Another exchange's clock stands later: the log has ticks of that time already.
    let mut pair = Pair::proposed(agreement);
    pair.tick(9_000);
    let mut terms = agreement(&pair.log);
    terms.evaluation.item_key = tlog::Hash::new([77; 32]);
    let younger = pair.log.say(&key(A), P::Agreement(Box::new(terms))).unwrap();
    let time = |pair: &Pair, id| pair.log.state.exchange(&id).unwrap().time();
    assert_eq!((time(&pair, pair.id), time(&pair, younger)), (9_000, 0));
    pair.tick(7);
    assert_eq!((time(&pair, pair.id), time(&pair, younger)), (9_000, 7));
    pair.tick(9_500);
    assert_eq!((time(&pair, pair.id), time(&pair, younger)), (9_500, 9_500));
}

/// A log that takes a party's statement only after the deadline puts nobody in default, if the
/// clock group stamped the statement in time.
#[test]
fn stamps_save_whom_the_log_shuts_out() {
    let mut pair = Pair::agreed(agreement);
    pair.runs(A);
    // What B signs in time, and the log does not take.
    let run = pair.intends(1, B);
    let announced = pair.signs(B, run);
    pair.tick(COMMIT_BY + 1);
    let refused = pair.log.clone().submit(&announced).unwrap_err();
    assert_eq!(refused.reason(), Reason::DeadlinePassed);
    // A stamp after the deadline helps nobody; one before it does.
    let mut late = pair.clone();
    late.stamp(&announced, COMMIT_BY + 1);
    assert_eq!(reason(late.log.submit(&announced)), Reason::DeadlinePassed);
    pair.stamp(&announced, COMMIT_BY);
    let announced = pair.log.submit(&announced).unwrap();
    let evaluation = Predicate::Evaluation(Box::new(pair.evaluates(announced)));
    let committed = pair.signs(B, evaluation);
    assert_eq!(pair.log.clone().submit(&committed).unwrap_err().reason(), Reason::IntentEnded);
    pair.stamp(&committed, COMMIT_BY - 1);
    pair.log.submit(&committed).unwrap();
    pair.tick(COMMIT_BY + 2);
    assert_eq!(pair.state(), Some(ExchangeState::Committed));
    assert_eq!(pair.breaches(), [""; 0]);
}

#[test]
fn stamps_save_nobody_beyond_one_step() {
    let mut pair = Pair::committed(agreement, 1_000);
    let reveal = pair.signs(B, pair.reveals(B));
    pair.stamp(&reveal, REVEAL_BY);
    pair.tick(REVEAL_BY + STEP);
    let mut in_time = pair.clone();
    in_time.log.submit(&reveal).unwrap();
    assert_eq!(in_time.status(&format!("reveal:{B}:totals")), Some(Status::Met));
    pair.tick(REVEAL_BY + STEP + 1);
    assert_eq!(reason(pair.log.submit(&reveal)), Reason::DeadlinePassed);
}

#[test]
fn what_cannot_be_opened_is_sealed_again_and_settled() {
    let disputed = |result| {
        let mut pair = Pair::committed(agreement, 1_000);
        let reveal = pair.says(A, pair.reveals(A)).unwrap();
        for name in [A, B] {
            pair.says(name, pair.declines(name)).unwrap();
        }
        pair.says(B, pair.reveals(B)).unwrap();
        let dispute = pair.says(B, Pair::disputes(reveal)).unwrap();
        assert_eq!(pair.status(&format!("reveal:{A}:totals")), Some(Status::Open));
        pair.tick(1_001);
        assert_eq!(pair.state(), Some(ExchangeState::Committed), "the dispute is open");
        let settled = pair.settles(dispute, reveal, DisputeResult::Resolved);
        assert_eq!(pair.refusal(AUDITOR, settled).reason(), Reason::NotAsAgreed);
        pair.says(A, pair.reveals_to(A, AUDITOR, Some(dispute))).unwrap();
        assert_eq!(pair.status(&format!("reseal:{dispute}")), Some(Status::Met));
        pair.says(AUDITOR, pair.settles(dispute, reveal, result)).unwrap();
        pair.tick(1_002);
        (pair.status(&format!("reveal:{A}:totals")), pair.breaches())
    };
    assert_eq!(disputed(DisputeResult::Resolved), (Some(Status::Met), vec![]));
    let at_fault = vec![format!("defaulted({A}, opening)")];
    assert_eq!(disputed(DisputeResult::Sender), (Some(Status::Unmet), at_fault));
}

#[test]
fn an_answer_shows_what_was_disputed_and_nothing_else() {
    let with_counts = |log: &Log| {
        let mut agreement = agreement(log);
        let counts = rule("counts", What::Counts, Audience::Peer, Stage::Committed, 0, false);
        agreement.disclosure.push(counts);
        agreement
    };
    let mut pair = Pair::committed(with_counts, 1_000);
    let opening = pair.says(A, pair.opens(A, 0, 1)).unwrap();
    let reveal = pair.says(A, pair.reveals(A)).unwrap();
    let [of_opening, of_reveal] =
        [opening, reveal].map(|about| pair.says(B, Pair::disputes(about)).unwrap());
    let opens = |pair: &Pair, dispute, last, fields: &[exchange::Field]| {
        let Predicate::Opening(mut answer) = pair.opens(A, 0, last) else { unreachable!() };
        answer.envelope = Pair::envelope(AUDITOR, 6);
        answer.fields = fields.to_vec();
        answer.answers = Some(dispute);
        P::Opening(answer)
    };
    let reveals = |pair: &Pair, dispute, rule| {
        let answer = pair.reveals_to(A, AUDITOR, Some(dispute));
        let Predicate::Reveal(mut answer) = answer else { unreachable!() };
        answer.rule = Some(word(rule));
        P::Reveal(answer)
    };
    let input = exchange::Field::Base(exchange::BaseField::Input);
    for answer in [
        opens(&pair, of_opening, 0, &[output()]),
        opens(&pair, of_opening, 2, &[output()]),
        opens(&pair, of_opening, 1, std::slice::from_ref(&input)),
        opens(&pair, of_opening, 1, &[input, output()]),
        opens(&pair, of_reveal, 1, &[output()]),
        reveals(&pair, of_opening, "totals"),
        reveals(&pair, of_reveal, "counts"),
    ] {
        assert_eq!(pair.refusal(A, answer).reason(), Reason::NotAsAgreed);
    }
    pair.says(A, opens(&pair, of_opening, 1, &[output()])).unwrap();
    pair.says(A, reveals(&pair, of_reveal, "totals")).unwrap();
}

#[test]
fn an_unanswered_dispute_is_the_senders_default_and_an_unsettled_one_nobodys() {
    let mut pair = Pair::committed(agreement, 1_000);
    let reveal = pair.says(A, pair.reveals(A)).unwrap();
    let dispute = pair.says(B, Pair::disputes(reveal)).unwrap();
    pair.tick(1_001);
    let mut silent = pair.clone();
    silent.tick(1_001 + STEP + STEP + 1);
    assert_eq!(silent.status(&format!("reseal:{dispute}")), Some(Status::Unmet));
    assert!(silent.breaches().contains(&format!("defaulted({A}, opening)")));

    pair.says(A, pair.reveals_to(A, AUDITOR, Some(dispute))).unwrap();
    pair.tick(1_002);
    pair.tick(1_002 + STEP + STEP + 1);
    assert_eq!(pair.status(&format!("settle:{dispute}")), Some(Status::Contested));
    assert_eq!(pair.status(&format!("reveal:{A}:totals")), Some(Status::Contested));
    assert!(!pair.breaches().iter().any(|breach| breach.contains("opening")));
}

#[test]
fn without_an_auditor_a_dispute_stays_contested() {
    let alone = |log: &Log| Agreement { auditors: Vec::new(), ..agreement(log) };
    let mut pair = Pair::committed(alone, 1_000);
    let reveal = pair.says(A, pair.reveals(A)).unwrap();
    let dispute = pair.says(B, Pair::disputes(reveal)).unwrap();
    assert_eq!(pair.status(&format!("reseal:{dispute}")), Some(Status::Contested));
    assert_eq!(pair.status(&format!("reveal:{A}:totals")), Some(Status::Contested));
    pair.tick(REVEAL_BY + STEP + 1);
    assert!(!pair.breaches().contains(&format!("defaulted({A}, reveal)")));
}

#[test]
fn what_rests_on_a_missing_artifact_is_unknown() {
    let mut pair = Pair::committed(agreement, 1_000);
    pair.says(A, pair.reveals(A)).unwrap();
    let view = pair.log.state.exchange(&pair.id).unwrap();
    let status = |at_hand: &dyn Fn(&tlog::Hash) -> bool| {
        let duties = view.obligations(at_hand);
        let unknown = duties.iter().filter(|duty| duty.status == Status::Unknown);
        unknown.map(|duty| duty.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(status(&|_| true), [""; 0]);
    let without = status(&|digest| *digest != tlog::Hash::new([3; 32]));
    assert_eq!(without, [format!("reveal:{A}:totals")]);
    assert_eq!(status(&|_| false).len(), 3, "both records rest on their vectors");
}

#[test]
fn an_auditors_silence_is_nobodys_default() {
    let mut pair = Pair::revealed(with_audit, 1_000);
    let coin = |holder: &str, record: StatementId| format!("coin:{holder}:{record}:1");
    let (a, b) = (pair.record(A), pair.record(B));
    pair.says(A, pair.commits_coin(A, A, 1)).unwrap();
    pair.tick(1_001 + STEP + STEP + 1);
    assert_eq!(pair.status(&coin(AUDITOR, a)), Some(Status::Lapsed));
    assert_eq!(pair.status(&coin(A, a)), None, "owes nothing more in what the auditor left");
    // B did not commit a coin either.
    assert_eq!(pair.status(&coin(B, b)), Some(Status::Unmet));
    assert_eq!(pair.breaches(), [format!("defaulted({B}, audit)")]);
}

#[test]
fn an_audit_runs_from_coins_to_outcome() {
    let mut pair = Pair::revealed(with_audit, 1_000);
    let refused = |pair: &Pair, name, predicate| pair.refusal(name, predicate).reason();
    for (audited, coin) in [(A, 1), (B, 2)] {
        pair.says(audited, pair.commits_coin(audited, audited, coin)).unwrap();
        let again = pair.commits_coin(audited, audited, coin);
        assert_eq!(refused(&pair, audited, again), Reason::AlreadyMade);
        let early = pair.opens_coin(audited, audited, coin);
        assert_eq!(refused(&pair, audited, early), Reason::CoinNotDue);
        pair.says(AUDITOR, pair.commits_coin(audited, AUDITOR, 9)).unwrap();
        let early = pair.opens_coin(audited, audited, coin);
        assert_eq!(refused(&pair, audited, early), Reason::CoinNotDue, "no tick covers it");
    }
    pair.tick(1_010);
    for (audited, coin) in [(A, 1), (B, 2)] {
        let first = pair.opens_coin(audited, AUDITOR, 9);
        assert_eq!(refused(&pair, AUDITOR, first), Reason::CoinNotDue);
        let other = pair.opens_coin(audited, audited, 77);
        assert_eq!(refused(&pair, audited, other), Reason::CoinMismatch);
        pair.says(audited, pair.opens_coin(audited, audited, coin)).unwrap();
        let early = pair.opens_sample(audited, 2);
        assert_eq!(refused(&pair, audited, early), Reason::SampleNotDue);
        pair.says(AUDITOR, pair.opens_coin(audited, AUDITOR, 9)).unwrap();
        assert_eq!(refused(&pair, audited, pair.opens_sample(audited, 3)), Reason::SampleNotDue);
        let opening = pair.says(audited, pair.opens_sample(audited, 2)).unwrap();
        assert_eq!(refused(&pair, audited, pair.opens_sample(audited, 2)), Reason::AlreadyMade);
        let outcome = |result, sample| Finding::Audit {
            audit: pair.audit(audited),
            openings: vec![opening],
            sample,
            unopened: 0,
            p: Millionths::ONE,
            result,
        };
        let extend = pair.concludes(outcome(AuditResult::Extend, 3));
        let confirmed = pair.concludes(outcome(AuditResult::Confirmed, 2));
        let by_party = pair.concludes(outcome(AuditResult::Confirmed, 2));
        assert_eq!(refused(&pair, audited, by_party), Reason::WrongRole);
        if audited == A {
            pair.says(AUDITOR, extend).unwrap();
            pair.says(A, pair.opens_sample(A, 3)).unwrap();
        }
        pair.says(AUDITOR, confirmed.clone()).unwrap();
        assert_eq!(refused(&pair, AUDITOR, confirmed), Reason::AlreadyMade);
    }
    pair.tick(1_020);
    assert_eq!(pair.state(), Some(ExchangeState::Revealed), "openings may still be disputed");
    pair.tick(1_021 + STEP);
    assert_eq!(pair.state(), Some(ExchangeState::Closed));
    assert_eq!(pair.breaches(), [""; 0]);
}

#[test]
fn each_state_refuses_what_is_out_of_order() {
    let proposed = Pair::proposed(agreement);
    let mut agreed = Pair::agreed(agreement);
    let committed = Pair::committed(agreement, 1_000);
    let revealed = Pair::revealed(agreement, 1_000);
    let values = |pair: &Pair| amendment(pair, change(Some(moved(1)), None));
    let table: Vec<(&str, &Pair, &str, Predicate, Reason)> = vec![
        ("intent", &proposed, A, intent(1, 9), Reason::NotAccepted),
        ("amendment", &proposed, A, values(&proposed), Reason::NotAccepted),
        ("decline", &proposed, A, P::Decline(decline()), Reason::NotAccepted),
        ("accept again", &agreed, B, agreed.accepts(), Reason::AlreadyAccepted),
        ("decline", &agreed, A, agreed.declines(A), Reason::BeforeCommit),
        ("summary", &agreed, AUDITOR, agreed.sums_up(), Reason::BeforeCommit),
        ("intent", &committed, A, intent(2, 9), Reason::AfterCommit),
        ("amendment", &committed, A, values(&committed), Reason::AfterCommit),
        ("summary", &committed, AUDITOR, committed.sums_up(), Reason::BeforeReveal),
        ("reveal", &revealed, A, revealed.reveals(A), Reason::DeadlinePassed),
        ("claim", &revealed, A, revealed.claims(A), Reason::AlreadyMade),
        ("agreement", &revealed, B, revealed.accepts(), Reason::AlreadyAccepted),
    ];
    for (what, pair, name, predicate, reason) in table {
        let refusal = pair.refusal(name, predicate);
        assert_eq!(refusal.reason(), reason, "{what} in {:?}: {refusal}", pair.state());
    }
    // No reveal before the other side is committed, whoever asks.
    let record = agreed.runs(A);
    let early = agreed.reveals(A);
    assert_eq!(agreed.refusal(A, early).reason(), Reason::BeforeCommit);
    assert_eq!(agreed.refusal(A, agreed.claims(A)).reason(), Reason::BeforeCommit);
    assert_eq!(agreed.refusal(A, agreed.opens(A, 0, 0)).reason(), Reason::BeforeCommit);
    agreed.tick(1_000);
    assert_eq!(agreed.refusal(A, agreed.reveals(A)).reason(), Reason::BeforeCommit);
    assert_eq!(agreed.record(A), record);
}

#[test]
fn roles_and_members_are_kept_apart() {
    let mut pair = Pair::committed(agreement, 1_000);
    let refused = |pair: &Pair, name, predicate| pair.refusal(name, predicate).reason();
    assert_eq!(refused(&pair, OPERATOR, pair.declines(A)), Reason::NotAMember);
    assert_eq!(refused(&pair, B, pair.reveals(A)), Reason::WrongRole);
    assert_eq!(refused(&pair, B, pair.declines(A)), Reason::WrongRole);
    assert_eq!(refused(&pair, B, pair.opens(A, 0, 0)), Reason::WrongRole);
    assert_eq!(refused(&pair, AUDITOR, pair.reveals(A)), Reason::WrongRole);
    let reveal = pair.says(A, pair.reveals(A)).unwrap();
    assert_eq!(refused(&pair, AUDITOR, Pair::disputes(reveal)), Reason::NotTheReader);
    assert_eq!(refused(&pair, A, Pair::disputes(reveal)), Reason::NotTheReader);
    let nothing = Pair::disputes(StatementId::new([1; 32]));
    assert_eq!(refused(&pair, B, nothing), Reason::UnknownStatement);
    let own = Pair::proposed(agreement);
    assert_eq!(refused(&own, A, own.accepts()), Reason::WrongRole);
}

#[test]
fn no_rule_no_disclosure() {
    let mut pair = Pair::committed(agreement, 1_000);
    let refused = |pair: &Pair, predicate| pair.refusal(A, predicate).reason();
    pair.says(A, pair.opens(A, 0, 1)).unwrap();
    pair.says(A, pair.opens(A, 1, 2)).unwrap();
    assert_eq!(refused(&pair, pair.opens(A, 3, 3)), Reason::RuleExceeded, "three are allowed");
    pair.says(A, pair.opens(A, 0, 2)).unwrap();
    pair.says(B, pair.opens(B, 1, 3)).unwrap();
    assert_eq!(refused(&pair, pair.opens(A, 4, 4)), Reason::RuleExceeded);

    let Predicate::Opening(other) = pair.opens(A, 0, 0) else { unreachable!() };
    let mut input = other.clone();
    input.fields = vec![exchange::Field::Base(exchange::BaseField::Input)];
    assert_eq!(refused(&pair, P::Opening(input)), Reason::NoRule);
    let mut auditor = other.clone();
    auditor.envelope = Pair::envelope(AUDITOR, 4);
    assert_eq!(refused(&pair, P::Opening(auditor)), Reason::NoRule);
    let mut key = other;
    key.envelope.key = exchange::predicate::SealingKeyId::new([0; 8]);
    assert_eq!(refused(&pair, P::Opening(key)), Reason::NotAsAgreed);

    let Predicate::Reveal(reveal) = pair.reveals(A) else { unreachable!() };
    let by_rule = |rule: &str| {
        let mut reveal = reveal.clone();
        reveal.rule = Some(word(rule));
        P::Reveal(reveal)
    };
    assert_eq!(refused(&pair, by_rule("nothing")), Reason::NoRule);
    assert_eq!(refused(&pair, by_rule("output")), Reason::NoRule);
    assert_eq!(refused(&pair, pair.reveals_to(A, AUDITOR, None)), Reason::NoRule);
    let mut open = reveal;
    open.content = exchange::predicate::RevealContent::Open { totals: vec![], subjects: vec![] };
    assert_eq!(refused(&pair, P::Reveal(open)), Reason::NoRule, "the rule is for the peer");
}

#[test]
fn runs_are_numbered_budgeted_and_end_once() {
    let mut pair = Pair::agreed(agreement);
    let refused = |pair: &Pair, predicate| pair.refusal(A, predicate).reason();
    assert_eq!(refused(&pair, intent(2, 1)), Reason::RunNumber);
    let first = pair.says(A, intent(1, 1)).unwrap();
    assert_eq!(pair.refusal(B, intent(1, 1)).reason(), Reason::NonceReused);
    let code = WithdrawalCode::Infrastructure;
    pair.says(A, P::Withdrawal(Withdrawal { intent: first, code })).unwrap();
    let again = P::Withdrawal(Withdrawal { intent: first, code });
    assert_eq!(refused(&pair, again), Reason::IntentEnded);
    let late = P::Evaluation(Box::new(pair.evaluates(first)));
    assert_eq!(refused(&pair, late), Reason::IntentEnded);
    pair.says(A, intent(2, 2)).unwrap();
    assert_eq!(refused(&pair, intent(3, 3)), Reason::BudgetSpent);
    let foreign = P::Evaluation(Box::new(pair.evaluates(StatementId::new([9; 32]))));
    assert_eq!(refused(&pair, foreign), Reason::UnknownStatement);
    assert_eq!(pair.log.state.next_run(key(A).name()), 1, "standalone runs count for themselves");
}

#[test]
fn a_record_is_as_agreed() {
    let mut pair = Pair::agreed(agreement);
    let first = pair.says(A, intent(1, 1)).unwrap();
    let good = pair.evaluates(first);
    let refused = |change: fn(&mut Evaluation)| {
        let mut evaluation = good.clone();
        change(&mut evaluation);
        let refusal = pair.refusal(A, P::Evaluation(Box::new(evaluation)));
        (refusal.reason(), refusal.pointer().unwrap_or_default().to_owned())
    };
    let differs = |pointer: &str| (Reason::NotAsAgreed, pointer.to_owned());
    assert_eq!(refused(|e| e.items += 1), differs("/predicate/items"));
    assert_eq!(
        refused(|e| e.items_root = tlog::Hash::new([0; 32])),
        differs("/predicate/items_root")
    );
    let renamed: fn(&mut Evaluation) = |e| e.columns[0].scale.name = column_named("other");
    assert_eq!(refused(renamed), differs("/predicate/columns"));
    assert_eq!(refused(|e| e.columns[0].scale.max = 3), differs("/predicate/columns"));
    assert_eq!(refused(|e| e.is_final = true), differs("/predicate/final"));
    assert_eq!(
        refused(|e| e.escrow = Some(Pair::envelope(AUDITOR, 1))),
        differs("/predicate/escrow")
    );
    pair.says(A, P::Evaluation(Box::new(good.clone()))).unwrap();
}

#[test]
fn where_the_last_run_counts_nobody_is_cut_short_by_a_tick() {
    let last =
        |log: &Log| Agreement { runs: Runs { budget: 2, counts: Counts::Last }, ..agreement(log) };
    let mut pair = Pair::agreed(last);
    pair.runs(A);
    pair.runs(B);
    pair.tick(1_000);
    assert_eq!(pair.state(), Some(ExchangeState::Agreed), "each may run once more");
    // A spends its budget; B says that its run was the last.
    let second = pair.runs(A);
    let run = pair.intends(2, B);
    let run = pair.says(B, run).unwrap();
    let mut evaluation = pair.evaluates(run);
    evaluation.is_final = true;
    pair.says(B, P::Evaluation(Box::new(evaluation))).unwrap();
    pair.tick(1_001);
    assert_eq!(pair.state(), Some(ExchangeState::Committed));
    assert_eq!(pair.record(A), second);
    // Or the deadline says it.
    let mut pair = Pair::agreed(last);
    pair.runs(A);
    pair.runs(B);
    pair.tick(COMMIT_BY);
    assert_eq!(pair.state(), Some(ExchangeState::Agreed));
    pair.tick(COMMIT_BY + 1);
    assert_eq!(pair.state(), Some(ExchangeState::Committed));
}

fn column_named(name: &str) -> exchange::ColumnName {
    exchange::ColumnName::parse(name).unwrap()
}

fn decline() -> exchange::predicate::Decline {
    let code = exchange::predicate::DeclineCode::Unspecified;
    exchange::predicate::Decline { claim: word("least-a"), code }
}

fn time(unix: u64) -> Timestamp {
    Timestamp::from_unix(unix).unwrap()
}

fn moved(by: u64) -> Schedule {
    Schedule { commit_by: time(COMMIT_BY + by), ..schedule() }
}

fn change(
    schedule: Option<Schedule>,
    disclosure: Option<Vec<exchange::predicate::Rule>>,
) -> Change {
    Change::Values { accept_by: time(ACCEPT_BY), schedule, disclosure }
}

fn amendment(pair: &Pair, change: Change) -> Predicate {
    P::Amendment(Box::new(Amendment { base: pair.id, change }))
}

#[test]
fn an_amendment_holds_once_the_other_has_accepted_it() {
    let mut pair = Pair::agreed(agreement);
    let first = pair.says(A, amendment(&pair, change(Some(moved(500)), None))).unwrap();
    let rival = pair.says(B, amendment(&pair, change(Some(moved(900)), None))).unwrap();
    let commit_by = |pair: &Pair| pair.log.state.exchange(&pair.id).unwrap().schedule().commit_by;
    assert_eq!(commit_by(&pair), time(COMMIT_BY));
    let accept = |id| P::Accept(Accept { accepts: id });
    assert_eq!(pair.refusal(A, accept(first)).reason(), Reason::WrongRole);
    pair.says(B, accept(first)).unwrap();
    assert_eq!(commit_by(&pair), time(COMMIT_BY + 500));
    assert_eq!(pair.refusal(B, accept(first)).reason(), Reason::AlreadyAccepted);
    assert_eq!(pair.refusal(A, accept(rival)).reason(), Reason::StaleBase);
    let stale = amendment(&pair, change(Some(moved(1)), None));
    assert_eq!(pair.refusal(A, stale).reason(), Reason::StaleBase);
    let nothing = accept(StatementId::new([4; 32]));
    assert_eq!(pair.refusal(A, nothing).reason(), Reason::UnknownStatement);
}

#[test]
fn no_deadline_that_has_passed_moves_and_none_into_the_past() {
    let mut pair = Pair::agreed(agreement);
    pair.tick(ACCEPT_BY + 5_000);
    let by = |accept_by: u64, commit_by: u64| {
        let schedule =
            Schedule { accept_by: time(accept_by), commit_by: time(commit_by), ..schedule() };
        let change = Change::Values {
            accept_by: time(REVEAL_BY),
            schedule: Some(schedule),
            disclosure: None,
        };
        pair.refusal(A, amendment(&pair, change)).reason()
    };
    assert_eq!(by(ACCEPT_BY + 1, COMMIT_BY), Reason::DeadlinePassed);
    assert_eq!(by(ACCEPT_BY, ACCEPT_BY + 4_999), Reason::DeadlinePassed);
    let late = change(Some(moved(1)), None);
    assert_eq!(pair.refusal(A, amendment(&pair, late)).reason(), Reason::DeadlinePassed);
    // An amendment whose rules contradict the claims is none.
    let rules = vec![rule("totals", What::Totals, Audience::Peer, Stage::Committed, 0, true)];
    let lacking =
        Change::Values { accept_by: time(REVEAL_BY), schedule: None, disclosure: Some(rules) };
    assert_eq!(pair.refusal(A, amendment(&pair, lacking)).reason(), Reason::BadAgreement);
}

#[test]
fn alone_a_party_waives_what_it_is_owed_and_restricts_what_it_receives() {
    let mut pair = Pair::committed(agreement, 1_000);
    let waives = |pair: &Pair, name: &str| {
        // Read as it comes over the wire.
        let payload = String::from_utf8(
            exchange::Statement::new(
                pair.common(&key(A)),
                amendment(pair, Change::Restricts(vec![word("output")])),
            )
            .unwrap()
            .to_payload(),
        )
        .unwrap();
        let text = payload.replace(r#""restricts":["output"]"#, &format!(r#""waives":["{name}"]"#));
        exchange::Statement::parse(text.as_bytes()).unwrap().predicate().clone()
    };
    let own = waives(&pair, &format!("reveal:{A}:totals"));
    assert_eq!(pair.refusal(A, own).reason(), Reason::WrongRole);
    let owed = waives(&pair, &format!("reveal:{B}:totals"));
    pair.says(A, owed).unwrap();
    assert_eq!(pair.status(&format!("reveal:{B}:totals")), Some(Status::Waived));
    let restrict = |rule: &str| amendment(&pair, Change::Restricts(vec![word(rule)]));
    assert_eq!(pair.refusal(A, restrict("nothing")).reason(), Reason::NoRule);
    assert_eq!(pair.refusal(A, restrict("claims")).reason(), Reason::WrongRole);
    let output = restrict("output");
    pair.says(A, output).unwrap();
    assert_eq!(pair.refusal(B, pair.opens(B, 0, 0)).reason(), Reason::NoRule);
    pair.says(A, pair.opens(A, 0, 0)).unwrap();
}

#[test]
fn an_agreement_embeds_the_registered_keys() {
    let mut log = crate::pair::log();
    type Edit = fn(&mut Agreement);
    let changes: [(&str, Edit); 4] = [
        ("/predicate/parties/1", |a| a.parties[1].keys.key = *key("x.example").public().as_bytes()),
        ("/predicate/parties/0", |a| {
            a.parties[0].keys.recovery = *key("y.example").public().as_bytes()
        }),
        ("/predicate/auditors/0", |a| {
            a.auditors[0].sealing = exchange::predicate::SealingKey::X25519([8; 32]);
        }),
        ("/predicate/parties/1", |a| {
            let stranger = crate::log::keys(&key("stranger.example"));
            a.parties[1] = Member { keys: stranger, witness: None };
            a.claims.pop();
        }),
    ];
    for (pointer, change) in changes {
        let mut terms = agreement(&log);
        change(&mut terms);
        let refusal = log.say(&key(A), P::Agreement(Box::new(terms))).unwrap_err();
        assert_eq!(refusal.reason(), Reason::KeyNotCurrent, "{pointer}: {refusal}");
        assert_eq!(refusal.pointer(), Some(pointer));
    }
}

#[test]
fn a_statement_holds_in_one_exchange_only() {
    let mut pair = Pair::agreed(agreement);
    let leaf = pair.signs(A, intent(1, 1));
    // Another exchange of the same parties in the same log.
    let mut terms = agreement(&pair.log);
    terms.evaluation.item_key = tlog::Hash::new([77; 32]);
    let other = pair.log.say(&key(A), P::Agreement(Box::new(terms))).unwrap();
    let common = Common { exchange: Some(other), ..pair.common(&key(A)) };
    let moved = sign(&key(A), common, P::Accept(Accept { accepts: pair.id }));
    assert_eq!(reason(pair.log.clone().submit(&moved)), Reason::UnknownStatement);
    let unknown = Common { exchange: Some(StatementId::new([1; 32])), ..pair.common(&key(A)) };
    let unknown = sign(&key(A), unknown, intent(1, 2));
    assert_eq!(reason(pair.log.clone().submit(&unknown)), Reason::UnknownExchange);
    // The first leaf still holds where it was made for, once.
    pair.log.submit(&leaf).unwrap();
    assert_eq!(reason(pair.log.submit(&leaf)), Reason::StatementExists);
    // And in another log not at all.
    let mut elsewhere = Log::of(key("log.example/2"));
    elsewhere.say(&key(A), registers(A)).unwrap();
    assert!(matches!(elsewhere.replay(&leaf), Replayed::Noise(_)));
}

/// Ticks that move nothing are not worth a leaf.
#[test]
fn says_which_ticks_move_an_exchange() {
    let mut pair = Pair::agreed(agreement);
    let moves = |pair: &Pair, time| {
        let P::Tick(tick) = pair.tick_by(&[CLOCK], time) else { unreachable!() };
        pair.log.state.is_moved_by(&tick)
    };
    assert!(!moves(&pair, 1_000));
    assert!(!pair.log.state.awaits_tick(1_000, pair.log.size()));
    assert!(moves(&pair, COMMIT_BY + 1));
    pair.runs(A);
    assert!(moves(&pair, 1_000), "a record waits to be covered");
    assert!(pair.log.state.awaits_tick(1_000, pair.log.size()));
    pair.tick(1_000);
    assert!(!moves(&pair, 1_000));
}

/// Many leaves at once, with keys that change among them, come to what each by itself comes to.
#[test]
fn replaying_all_at_once_is_replaying_one_by_one() {
    let mut pair = Pair::revealed(agreement, 1_000);
    let stranger = sign(&key("x.example"), pair.log.common(&key(A)), intent(1, 1));
    let mut leaves = pair.log.leaves.clone();
    leaves.insert(3, b"noise".to_vec());
    leaves.push(stranger);
    leaves.push(leaves[9].clone());
    pair.tick(5_000);
    leaves.extend(pair.log.leaves.last().cloned());
    let roots = crate::log::Roots::of(leaves.iter().map(Vec::as_slice));
    let new = || exchange::State::new(pair.log.key.verifier(KeyKind::Ed25519));
    let (mut one, mut words) = (new(), Vec::new());
    for (index, leaf) in (0..).zip(&leaves) {
        words.push((index, one.replay(index, leaf, &roots)));
    }
    for size in [1, 5, leaves.len()] {
        let (mut all, mut found) = (new(), Vec::new());
        for (chunk, leaves) in (0..).zip(leaves.chunks(size)) {
            all.replay_all(chunk * size as u64, leaves, &roots, |index, replayed, signed| {
                assert_eq!(signed.is_some(), replayed == Replayed::Applied);
                found.push((index, replayed));
            });
        }
        assert_eq!(found, words, "{size} at a time");
        assert_eq!(all.digest(), one.digest());
    }
}

/// What a party still has to say, in the order in which it must say it.
fn script(pair: &mut Pair, name: &str, step: usize) -> Option<Predicate> {
    let state = pair.state()?;
    let committed = state >= ExchangeState::Committed && !state.is_final();
    match step {
        0 => Some(pair.intends(1, name)),
        1 => {
            let view = pair.log.state.exchange(&pair.id)?;
            let side = view.side(key(name).name())?;
            let run = view.runs(side).next()?;
            Some(P::Evaluation(Box::new(pair.evaluates(run.intent))))
        }
        2 if committed => Some(pair.reveals(name)),
        3 if committed => Some(pair.claims(name)),
        4 if committed => Some(pair.opens(name, 0, 1)),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any interleaving of two honest parties, with ticks anywhere, ends closed and without a
    /// default, and whoever replays the leaves comes to the same state.
    #[test]
    fn any_interleaving_of_two_honest_parties_ends_closed(order in prop::collection::vec(0_u8..3, 40)) {
        let mut pair = Pair::agreed(agreement);
        let (mut steps, mut now) = ([0, 0], 1_000);
        for turn in order.into_iter().chain([0, 1, 2].repeat(8)) {
            if turn == 2 {
                now += 1;
                pair.tick(now);
                continue;
            }
            let name = [A, B][usize::from(turn)];
            let step = &mut steps[usize::from(turn)];
            let Some(predicate) = script(&mut pair, name, *step) else { continue };
            // An honest party that is not early is never refused; openings stay possible when
            // the reveals are over.
            pair.says(name, predicate).unwrap();
            *step += 1;
        }
        pair.tick(now + STEP + 1);
        pair.tick(now + STEP + 2);
        prop_assert_eq!(pair.state(), Some(ExchangeState::Closed));
        prop_assert_eq!(pair.breaches(), Vec::<String>::new());
        prop_assert_eq!(pair.replayed().digest(), pair.log.state.digest());
    }

    /// Whatever two parties say in whatever order: nothing is shown before both are committed,
    /// a checked statement and a replayed one come to the same, and nothing panics.
    #[test]
    fn no_order_shows_anything_before_both_are_bound(
        turns in prop::collection::vec((0_u8..3, 0_u8..9, 0_u64..4), 60),
    ) {
        let mut pair = Pair::agreed(agreement);
        let mut now = 1_000;
        for (who, what, pace) in turns {
            if who == 2 {
                now += [1, STEP, 7_000, 12_000][pace as usize];
                pair.tick(now);
                continue;
            }
            let name = [A, B][usize::from(who)];
            let Some(view) = pair.log.state.exchange(&pair.id) else { break };
            let side = view.side(key(name).name()).unwrap();
            let has_record = view.counted(side).is_some();
            let open = view.runs(side).last().map(|run| run.intent);
            let run = view.runs(side).count() as u64 + 1;
            let both = view.counted(side).is_some() && view.counted(side.peer()).is_some();
            let bound = both && view.state() >= ExchangeState::Committed;
            let (predicate, shows) = match what {
                0 => (pair.intends(run, name), false),
                1 => match open {
                    Some(intent) => (P::Evaluation(Box::new(pair.evaluates(intent))), false),
                    None => continue,
                },
                2 => match open {
                    Some(intent) => {
                        let code = WithdrawalCode::Crash;
                        (P::Withdrawal(Withdrawal { intent, code }), false)
                    }
                    None => continue,
                },
                3 if has_record => (pair.reveals(name), true),
                4 if has_record => (pair.claims(name), true),
                5 if has_record => (pair.opens(name, pace, pace), true),
                6 => (pair.declines(name), true),
                7 => (amendment(&pair, change(Some(moved(pace + 1)), None)), false),
                8 => (P::Intent(Intent { run: 99, nonce: [1; 32] }), false),
                _ => continue,
            };
            let admitted = pair.says(name, predicate);
            if shows && !bound {
                prop_assert!(admitted.is_err());
            }
        }
        prop_assert_eq!(pair.replayed().digest(), pair.log.state.digest());
        prop_assert_eq!(pair.replayed(), pair.log.state.clone());
    }
}
