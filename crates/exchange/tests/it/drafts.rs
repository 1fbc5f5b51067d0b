//! Drafts of agreements, and what a preview makes of their terms.

use exchange::draft::{Draft, Material, Template, template};
use exchange::predicate::{Agreement, Audience, Bound, Member, Stage, What};
use exchange::preview::{Learner, Preview, WarningCode};
use exchange::{Common, Predicate, Statement, Timestamp};
use record::items::{ItemKey, ItemsFile};
use tlog::{KeyKind, VerifierKey};

use crate::log::{Log, key, keys};
use crate::pair::{A, AUDITOR, B, CLOCK, agreement, log, rule, with_audit};

const ITEMS: &str = "{\"id\":\"1\",\"input\":\"What is 1+1?\",\"target\":\"2\"}\n\
                     {\"id\":\"2\",\"input\":\"What is 1+2?\",\"target\":\"3\"}\n";

fn vkey(name: &str) -> VerifierKey {
    key(name).verifier(KeyKind::Ed25519)
}

fn begun(log: &Log) -> String {
    let policy = format!(
        "log {}\nwitness clock {}\nquorum clock\n",
        log.key.verifier(KeyKind::Ed25519),
        key(CLOCK).verifier(KeyKind::Cosignature)
    );
    let time = |text| Timestamp::parse(text).unwrap();
    template(&Template {
        own: (&vkey(A), Some(&key("witness-a.example").verifier(KeyKind::Cosignature))),
        peer: (&vkey(B), None),
        auditors: &[vkey(AUDITOR)],
        policy: &policy,
        clock: "clock",
        texts: ["arithmetic \"easy\"", "items.jsonl", "zero-shot", "inspect_ai 0.3.285"],
        epochs: 3,
        columns: &[("match".to_owned(), 1, 1)],
        deadlines: [
            time("2026-12-01T00:00:00Z"),
            time("2026-12-08T00:00:00Z"),
            time("2026-12-10T00:00:00Z"),
        ],
        step: "1d",
    })
}

fn terms(log: &Log, text: &str) -> Result<Agreement, exchange::draft::DraftError> {
    let draft = Draft::parse(text)?;
    let item_key = ItemKey::new([3; 32]);
    let items = ItemsFile::parse(ITEMS.as_bytes()).unwrap();
    let items = items.agree(&item_key, draft.epochs()).unwrap();
    let common = log.common(&key(A));
    let registered = |name: &tlog::KeyName| {
        let known = [A, B, AUDITOR].into_iter().find(|known| *known == name.as_str());
        known.map(|known| keys(&key(known)))
    };
    draft.agreement(&Material {
        common: &common,
        keys: &registered,
        items: &items,
        item_key: &item_key,
    })
}

#[test]
fn a_begun_draft_is_an_agreement_that_a_log_takes() {
    let mut log = log();
    let text = begun(&log);
    let agreement = terms(&log, &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(agreement.evaluation.items, 6);
    assert_eq!(agreement.schedule.step, 86_400);
    assert_eq!(agreement.disclosure.len(), 3);
    log.say(&key(A), Predicate::Agreement(Box::new(agreement))).unwrap();
}

#[test]
fn hides_the_benchmark_behind_a_commitment() {
    let log = log();
    let text = begun(&log).replace("hide_benchmark = false", "hide_benchmark = true");
    let agreement = terms(&log, &text).unwrap();
    let common: Common = log.common(&key(A));
    let statement = Statement::new(common, Predicate::Agreement(Box::new(agreement))).unwrap();
    let payload = String::from_utf8(statement.to_payload()).unwrap();
    assert!(!payload.contains("arithmetic") && !payload.contains("zero-shot"), "{payload}");
}

/// Each edit breaks one thing; line and field are those of the edited line.
#[test]
fn says_line_and_field_of_what_is_wrong() {
    let log = log();
    let good = begun(&log);
    let b = vkey(B).to_string();
    let stranger = vkey("stranger.example").to_string();
    let cases: Vec<(&str, String, &str)> = vec![
        ("format = ", "format = \"something/v9\" # ".into(), "format"),
        ("[[party]]", "[[party]]\nnickname = \"a\"".into(), ""),
        ("step = \"1d\"", "step = \"1 day\"".into(), "schedule.step"),
        ("step = \"1d\"", "step = \"5s\"".into(), "schedule.step"),
        // Units are cut off at characters, not at bytes.
        ("step = \"1d\"", "step = \"1\u{2066}\"".into(), "schedule.step"),
        ("step = \"1d\"", "step = \"\"".into(), "schedule.step"),
        ("step = \"1d\"", "step = \"d\"".into(), "schedule.step"),
        ("counts = \"first\"", "counts = \"best\"".into(), "runs.counts"),
        (
            "accept_by = \"2026-12-01T00:00:00Z\"",
            "accept_by = \"tomorrow\"".into(),
            "schedule.accept_by",
        ),
        ("harness = \"inspect_ai 0.3.285\"", "harness = \"inspect\"".into(), "evaluation.harness"),
        ("what = \"counts\"", "what = \"everything\"".into(), "rule.what"),
        ("what = \"counts\"", "what = \"score:speed\"".into(), "rule.owed"),
        ("risk = \"none\"", "risk = \"small\"".into(), "rule.risk"),
        ("id = \"counts\"", "id = \"totals\"".into(), "rule"),
        ("max = 1", "max = 4000000000".into(), "evaluation.columns.0.max"),
        (&b, stranger, "party.vkey"),
        ("clock = \"clock\"", "clock = \"sundial\"".into(), "trust.clock"),
        ("quorum clock", "quorum nobody".into(), "trust.policy"),
        ("budget = 2", "budget = 0".into(), "runs.budget"),
        (
            "commit_by = \"2026-12-08T00:00:00Z\"",
            "commit_by = \"2026-11-08T00:00:00Z\"".into(),
            "schedule",
        ),
    ];
    let mut others = Vec::new();
    for (from, to, field) in cases {
        let text = good.replacen(from, &to, 1);
        assert_ne!(text, good, "{from}");
        let error = terms(&log, &text).expect_err(&to);
        if error.field != field {
            others.push(format!("{to}: expected {field}, got {error}"));
        }
        let changed = text.lines().zip(good.lines()).position(|(new, old)| new != old).unwrap() + 1;
        // A rule or table that contradicts another is placed at its head.
        let near = error.line.abs_diff(changed) <= 12;
        assert!(near, "{to}: line {changed} was changed, {error}");
        assert!(!error.problem.is_empty());
    }
    assert_eq!(others, [""; 0]);
}

#[test]
fn refuses_a_key_that_the_log_does_not_know() {
    let log = log();
    let other = tlog::SigningKey::from_seed(key(B).name().clone(), &[9; 32]);
    let text =
        begun(&log).replace(&vkey(B).to_string(), &other.verifier(KeyKind::Ed25519).to_string());
    let error = terms(&log, &text).unwrap_err();
    assert_eq!(error.field, "party.vkey");
    assert!(error.problem.contains("another key of lab-b.example"), "{error}");
}

#[test]
fn a_preview_lists_what_each_audience_learns() {
    let log = log();
    let preview = Preview::of(&with_audit(&log));
    let learns = |learner: &Learner| -> Vec<String> {
        let of = preview.lessons.iter().filter(|lesson| lesson.learner == *learner);
        of.map(|lesson| format!("{} {}", lesson.from, lesson.what)).collect()
    };
    let b = learns(&Learner::Party(key(B).name().clone()));
    assert_eq!(b.len(), 2, "{b:?}");
    assert!(b[0].contains("exact totals of"), "{b:?}");
    assert!(b[1].contains("the output of up to 3 of"), "{b:?}");
    let auditor = learns(&Learner::Auditor(key(AUDITOR).name().clone()));
    assert_eq!(auditor.len(), 2);
    assert!(auditor[0].contains("2 to 3 items drawn at random"));
    assert!(learns(&Learner::Public).iter().any(|what| what.contains("at least 1")));
}

#[test]
fn warns_of_what_terms_give_away() {
    let log = log();
    let codes = |agreement: &Agreement| -> Vec<WarningCode> {
        let mut codes: Vec<_> =
            Preview::of(agreement).warnings.iter().map(|warning| warning.code).collect();
        codes.sort();
        codes.dedup();
        codes
    };
    let base = agreement(&log);
    let expected = [
        WarningCode::ContentLeaves,
        WarningCode::NearlyAll,
        WarningCode::NoEscrow,
        WarningCode::RunsToChooseFrom,
    ];
    let found = codes(&base);
    assert!(expected.iter().all(|code| found.contains(code)), "{found:?}");
    assert!(!found.contains(&WarningCode::ClockNotNeutral));

    let mut own_clock = base.clone();
    own_clock.parties[0] = Member {
        witness: Some(key(CLOCK).verifier(KeyKind::Cosignature)),
        ..own_clock.parties[0].clone()
    };
    assert!(codes(&own_clock).contains(&WarningCode::ClockNotNeutral));

    let mut dense = base.clone();
    dense.evaluation.items = 1_000;
    let narrow = Bound::Between { p: 700, q: 710 };
    dense.claims[0].bound = narrow;
    assert!(codes(&dense).contains(&WarningCode::DenseClaims));
    dense.claims[0].bound = Bound::Equals { q: 7 };
    assert!(codes(&dense).contains(&WarningCode::ExactClaim));

    let mut optional = base.clone();
    optional.auditors.clear();
    optional.disclosure.push(rule(
        "flags",
        What::Flags,
        Audience::Peer,
        Stage::Committed,
        0,
        false,
    ));
    let found = codes(&optional);
    assert!(
        found.contains(&WarningCode::NoTimeForOptional) && found.contains(&WarningCode::NoAuditor)
    );
}
