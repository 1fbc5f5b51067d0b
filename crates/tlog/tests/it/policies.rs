//! Policies: the grammar line by line, quorums against all subsets, and times.

use proptest::prelude::*;
use tlog::{
    Hash, KeyKind, MAX_POLICY, Member, Note, NoteError, Policy, PolicyProblem, SignedCheckpoint,
    Untrusted, cosign,
};

use crate::vectors::{example, example_head, key, log, log_key, witness};

/// The vkey of the witness of this number.
fn vkey(number: u8) -> String {
    key(&format!("witness.example/{number}"), number).verifier(KeyKind::Cosignature).to_string()
}

/// A policy with the example's log, witnesses `w1` to `w<count>`, and more lines.
fn with_witnesses(count: u8, lines: &str) -> String {
    let witnesses: String =
        (1..=count).map(|number| format!("witness w{number} {}\n", vkey(number))).collect();
    format!("log {}\n{witnesses}{lines}", log())
}

fn parse(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// A checkpoint of the example's log, cosigned by witnesses at times.
fn cosigned(times: &[(u8, u64)]) -> Note {
    let signed = SignedCheckpoint::sign(&log_key(), example_head(5));
    let mut note = signed.note().clone();
    for (number, time) in times {
        let witness = key(&format!("witness.example/{number}"), *number);
        let line = cosign(signed.checkpoint(), &witness, *time).unwrap();
        note = note.with_signature(line).unwrap();
    }
    note
}

#[test]
fn the_examples_policy_accepts_the_examples_checkpoint() {
    let policy = parse(example("policy"));
    assert_eq!(policy.text(), example("policy").as_bytes());
    assert_eq!(policy.digest(), Hash::of(&[example("policy").as_bytes()]));
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 1));
    assert_eq!(policy.logs()[0].key(), &log());
    assert_eq!(policy.witnesses()[0].key(), &witness());
    assert_eq!(policy.quorum(), policy.member(b"all-of-them"));
    let note = Note::parse(example("cosigned_checkpoint").as_bytes()).unwrap();
    let verified = policy.verify(&note).unwrap();
    assert_eq!(verified.log(), &log());
    assert_eq!(*verified.head(), example_head(5));
    assert_eq!(verified.checkpoint().to_string(), example("cosigned_checkpoint"));
    let witnesses: Vec<_> = verified.witnesses().map(|(w, time)| (w.name(), time)).collect();
    assert_eq!(witnesses, [(b"w1".as_slice(), 1_767_225_600)]);
    let quorum = policy.quorum().unwrap();
    assert_eq!(verified.time_under(&policy, quorum), Some(1_767_225_600));
    let alone = Note::parse(example("checkpoint").as_bytes()).unwrap();
    assert_eq!(policy.verify(&alone), Err(Untrusted::NoQuorum { witnesses: vec![] }));
}

#[test]
fn reads_every_form_of_line() {
    let text = format!(
        " \t\n#comment\n \t# indented comment\nlog\t{}  https://log.example/ \n\
         witness \u{e9}t\u{e9} {} https://w.example/\t\nwitness w2 {}\n\
         group g 1 \u{e9}t\u{e9}\ngroup all all g w2\nquorum all\ngroup later any all\n",
        log(),
        vkey(1),
        vkey(2)
    );
    let policy = parse(&text);
    assert_eq!(policy.logs()[0].url(), Some(b"https://log.example/".as_slice()));
    assert_eq!(policy.witnesses()[0].name(), "été".as_bytes());
    assert_eq!(policy.witnesses()[0].url(), Some(b"https://w.example/".as_slice()));
    assert_eq!(policy.witnesses()[1].url(), None);
    let group = &policy.groups()[1];
    assert_eq!((group.name(), group.threshold()), (b"all".as_slice(), 2));
    assert_eq!(group.members(), [Member::Group(0), Member::Witness(1)]);
    let below = policy.witnesses_below(policy.quorum().unwrap());
    assert_eq!(below.len(), 2);
    // Names are bytes, UTF-8 or not.
    let bytes = [
        "witness ".to_string().as_bytes(),
        &[0xff],
        format!(" {}\nquorum ", vkey(1)).as_bytes(),
        &[0xff],
        b"\n",
    ]
    .concat();
    let policy = Policy::parse(&bytes).unwrap();
    assert_eq!(policy.quorum(), policy.member(&[0xff]));
    assert!(Policy::parse(b"quorum none\n").unwrap().quorum().is_none());
}

#[test]
fn rejects_every_broken_rule_and_names_the_line() {
    let none = "quorum none\n";
    let log_line = format!("log {}\n", log());
    let w1 = vkey(1);
    let same_key = key("renamed.example", 1).verifier(KeyKind::Cosignature).to_string();
    let same_log = key("renamed.example", 0x11).verifier(KeyKind::Ed25519).to_string();
    let mldsa = crate::vectors::text(&crate::vectors::list("keys", 3)[2], "vkey");
    let cases: Vec<(String, usize, &str)> = vec![
        (String::new(), 1, "NoQuorum"),
        (log_line.clone(), 1, "NoQuorum"),
        ("quorum none".into(), 1, "Unended"),
        (format!("{none}{none}"), 2, "SecondQuorum"),
        ("quorum none\r\n".into(), 1, "Byte(13)"),
        (format!("#\u{1}\n{none}"), 1, "Byte(1)"),
        (format!("#\u{7f}\n{none}"), 1, "Byte(127)"),
        (format!("{none}\0\n"), 2, "Byte(0)"),
        ("Quorum none\n".into(), 1, "Keyword"),
        (format!("logs {}\n{none}", log()), 1, "Keyword"),
        (format!("log\n{none}"), 1, "Form"),
        (format!("log {} url more\n{none}", log()), 1, "Form"),
        (format!("witness w1\n{none}"), 1, "Form"),
        (format!("witness w1 {w1} url more\n{none}"), 1, "Form"),
        (format!("group g\n{none}"), 1, "Form"),
        (format!("group g any\n{none}"), 1, "Form"),
        ("quorum\n".into(), 1, "Form"),
        ("quorum none none\n".into(), 1, "Form"),
        (format!("log x\n{none}"), 1, "Key(Spelling)"),
        (format!("witness w {mldsa}\n{none}"), 1, "Key(Type(6))"),
        (format!("log {w1}\n{none}"), 1, "KeyKind"),
        (format!("witness w {}\n{none}", log()), 1, "KeyKind"),
        (format!("{log_line}{log_line}{none}"), 2, "DuplicateKey"),
        (format!("{log_line}log {same_log}\n{none}"), 2, "DuplicateKey"),
        (format!("witness a {w1}\nwitness b {w1}\n{none}"), 2, "DuplicateKey"),
        (format!("witness a {w1}\nwitness b {same_key}\n{none}"), 2, "DuplicateKey"),
        (format!("witness a {w1}\nwitness a {}\n{none}", vkey(2)), 2, "DuplicateName"),
        (format!("witness none {w1}\n{none}"), 1, "DuplicateName"),
        (with_witnesses(1, "group w1 all w1\nquorum none\n"), 3, "DuplicateName"),
        (with_witnesses(2, "group g all w1\ngroup g all w2\nquorum none\n"), 5, "DuplicateName"),
        (with_witnesses(1, "group none all w1\nquorum none\n"), 3, "DuplicateName"),
        (with_witnesses(1, "group g all g\nquorum none\n"), 3, "UnknownName"),
        (with_witnesses(1, "group g all w1 h\ngroup h all w1\nquorum none\n"), 3, "UnknownName"),
        (with_witnesses(1, "quorum W1\n"), 3, "UnknownName"),
        (format!("quorum w1\nwitness w1 {w1}\n"), 1, "UnknownName"),
        (with_witnesses(1, "group g all w1 none\nquorum none\n"), 3, "NoneMember"),
        (with_witnesses(1, "group g all w1 w1\nquorum none\n"), 3, "MemberTwice"),
        (with_witnesses(1, "group g all w1\ngroup h all w1\nquorum none\n"), 4, "MemberTwice"),
        (
            with_witnesses(2, "group g all w1\ngroup h all g\ngroup i all g w2\nquorum none\n"),
            6,
            "MemberTwice",
        ),
        (with_witnesses(1, "group g 0 w1\nquorum none\n"), 3, "Threshold"),
        (with_witnesses(1, "group g 2 w1\nquorum none\n"), 3, "Threshold"),
        (with_witnesses(1, "group g 01 w1\nquorum none\n"), 3, "Threshold"),
        (with_witnesses(1, "group g +1 w1\nquorum none\n"), 3, "Threshold"),
        (with_witnesses(1, "group g most w1\nquorum none\n"), 3, "Threshold"),
        (with_witnesses(1, "group g ALL w1\nquorum none\n"), 3, "Threshold"),
    ];
    for (text, line, problem) in cases {
        let error = Policy::parse(text.as_bytes()).expect_err(&text);
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(format!("{:?}", error.problem).starts_with(problem), "{text}: {error:?}");
    }
    let large = vec![b'#'; MAX_POLICY + 1];
    assert_eq!(Policy::parse(&large).unwrap_err().problem, PolicyProblem::TooLarge);
}

#[test]
fn holds_64_logs_witnesses_and_groups() {
    let mut text = String::new();
    for number in 0..64 {
        let log = key(&format!("log.example/{number}"), 100 + number);
        text += &format!("log {} https://log.example/\n", log.verifier(KeyKind::Ed25519));
        text += &format!("witness w{number} {} https://w.example/\n", vkey(number));
        text += &format!("group g{number} any w{number}\n");
    }
    let members: String = (0..64).map(|number| format!(" g{number}")).collect();
    text += &format!("group all 33{members}\nquorum all\n");
    let policy = parse(&text);
    assert_eq!((policy.logs().len(), policy.groups().len()), (64, 65));
    assert_eq!(policy.overlap(policy.quorum().unwrap()), 2);
}

#[test]
fn deep_groups_are_no_deep_recursion() {
    let mut text = with_witnesses(1, "group g0 all w1\n");
    let mut depth = 0;
    while text.len() < MAX_POLICY - 64 {
        depth += 1;
        text += &format!("group g{depth} all g{}\n", depth - 1);
    }
    text += &format!("quorum g{depth}\n");
    let policy = parse(&text);
    assert!(depth > 2_000);
    assert_eq!(policy.witnesses_below(policy.quorum().unwrap()).len(), 1);
    assert_eq!(policy.overlap(policy.quorum().unwrap()), 1);
    assert!(policy.verify(&cosigned(&[(1, 5)])).is_ok());
    assert!(policy.verify(&cosigned(&[])).is_err());
}

const NESTED: &str = "group x 2 w1 w2 w3\ngroup y any w4 w5\ngroup both all x y\nquorum both\n";

#[test]
fn a_quorum_of_groups_needs_each_group() {
    let policy = parse(&with_witnesses(5, NESTED));
    for (witnesses, accepted) in [
        (vec![1, 2, 4], true),
        (vec![2, 3, 5], true),
        (vec![1, 2, 3, 4, 5], true),
        (vec![1, 4, 5], false),
        (vec![1, 2, 3], false),
        (vec![4, 5], false),
    ] {
        let times: Vec<(u8, u64)> = witnesses.iter().map(|w| (*w, 100)).collect();
        assert_eq!(policy.verify(&cosigned(&times)).is_ok(), accepted, "{witnesses:?}");
    }
}

#[test]
fn a_witness_that_signs_often_counts_once() {
    let policy = parse(&with_witnesses(2, "group g 2 w1 w2\nquorum g\n"));
    let note = cosigned(&[(1, 5), (1, 6), (1, 7)]);
    assert_eq!(policy.verify(&note), Err(Untrusted::NoQuorum { witnesses: vec!["w1".into()] }));
}

#[test]
fn a_failing_cosignature_of_a_listed_witness_condemns_the_checkpoint() {
    let policy = parse(&with_witnesses(2, "quorum w1\n"));
    let other = SignedCheckpoint::sign(&log_key(), example_head(3));
    let stray = cosign(other.checkpoint(), &key("witness.example/2", 2), 5).unwrap();
    let note = cosigned(&[(1, 5)]).with_signature(stray).unwrap();
    let error = policy.verify(&note).unwrap_err();
    assert!(matches!(error, Untrusted::Note(NoteError::BadSignature { .. })), "{error:?}");
    // The same line is ignored where the witness is not listed.
    assert!(parse(&with_witnesses(1, "quorum w1\n")).verify(&note).is_ok());
}

#[test]
fn only_a_log_under_its_own_name_makes_a_checkpoint() {
    let other_log = key("evallog.example/other", 0x77);
    let lines = format!("log {}\nquorum none\n", other_log.verifier(KeyKind::Ed25519));
    let policy = parse(&with_witnesses(1, &lines));
    let foreign = Note::sign(example("checkpoint_text"), &other_log).unwrap();
    let no_log = Untrusted::NoLog { origin: "evallog.example/ab".into() };
    assert_eq!(policy.verify(&foreign), Err(no_log.clone()), "signed by a log of another name");
    let witnessed = Note::sign(example("checkpoint_text"), &key("stranger", 1)).unwrap();
    let line = cosigned(&[(1, 5)]).signatures()[1].clone();
    let witnessed = witnessed.with_signature(line).unwrap();
    assert_eq!(policy.verify(&witnessed), Err(no_log), "a witness vouches for no log");
    let both = foreign.with_signature(cosigned(&[]).signatures()[0].clone()).unwrap();
    assert_eq!(policy.verify(&both).unwrap().log(), &log(), "one of two is enough");
    let unsigned = Note::sign(example("checkpoint_text"), &key("stranger", 1)).unwrap();
    assert_eq!(policy.verify(&unsigned), Err(Untrusted::Note(NoteError::Unsigned)));
}

#[test]
fn a_witness_may_have_the_name_of_the_log() {
    let namesake = key("evallog.example/ab", 0x55);
    let vkey = namesake.verifier(KeyKind::Cosignature);
    let policy = parse(&format!("log {}\nwitness w {vkey}\nquorum w\n", log()));
    let signed = SignedCheckpoint::sign(&log_key(), example_head(5));
    let line = cosign(signed.checkpoint(), &namesake, 5).unwrap();
    let text = signed.checkpoint().text();
    let both = format!("{text}\n{line}{}", signed.note().signatures()[0]);
    assert!(policy.verify(&Note::parse(both.as_bytes()).unwrap()).is_ok());
    let alone = Note::parse(format!("{text}\n{line}").as_bytes()).unwrap();
    let origin = "evallog.example/ab".to_owned();
    assert_eq!(policy.verify(&alone), Err(Untrusted::NoLog { origin }));
}

#[test]
fn a_policy_without_logs_accepts_nothing() {
    let policy = parse("quorum none\n");
    assert_eq!(policy.verify(&cosigned(&[])), Err(Untrusted::Note(NoteError::Unsigned)));
}

#[test]
fn times_far_ahead_of_the_clock_are_refused() {
    let policy = parse(&with_witnesses(2, "quorum w1\n"));
    let verified = policy.verify(&cosigned(&[(1, 1000), (2, 1301)])).unwrap();
    assert_eq!(verified.check_clock(1001), Ok(()));
    assert_eq!(verified.check_clock(1000), Err(Untrusted::AheadOfClock { time: 1301, now: 1000 }));
    assert_eq!(verified.check_clock(u64::MAX), Ok(()));
}

#[test]
fn overlap_is_the_textbook_bound_for_flat_groups() {
    for n in 1..=9_usize {
        for k in 1..=n {
            let members: String = (1..=n).map(|number| format!(" w{number}")).collect();
            let policy =
                parse(&with_witnesses(n as u8, &format!("group g {k}{members}\nquorum g\n")));
            let overlap = policy.overlap(policy.quorum().unwrap());
            for corrupt in 0..=n {
                assert_eq!(overlap > corrupt, 2 * k > n + corrupt, "{k} of {n}, {corrupt} corrupt");
            }
        }
    }
    let nested = parse(&with_witnesses(5, NESTED));
    assert_eq!(nested.overlap(nested.quorum().unwrap()), 1);
}

/// Which sets of five witnesses are quorums of `NESTED`, said without the code under test.
fn is_quorum(set: u8) -> bool {
    (set & 0b111).count_ones() >= 2 && set & 0b11000 != 0
}

#[test]
fn overlap_is_the_smallest_intersection_of_two_quorums() {
    let quorums = || (0..32_u8).filter(|set| is_quorum(*set));
    let smallest = quorums().flat_map(|a| quorums().map(move |b| (a & b).count_ones())).min();
    let policy = parse(&with_witnesses(5, NESTED));
    assert_eq!(policy.overlap(policy.quorum().unwrap()) as u32, smallest.unwrap());
}

proptest! {
    #[test]
    fn the_time_is_the_greatest_minimum_over_all_quorums(
        times in prop::array::uniform5(prop::option::of(1..9_u64)),
    ) {
        let policy = parse(&with_witnesses(5, NESTED));
        let index = |name: &[u8]| usize::from(name[1] - b'1');
        let found = policy.time_of(policy.quorum().unwrap(), |w| times[index(w.name())]);
        let minimum = |set: u8| -> Option<u64> {
            let members = (0..5).filter(|bit| set >> bit & 1 == 1);
            members.map(|bit| times[bit]).collect::<Option<Vec<u64>>>()?.into_iter().min()
        };
        let naive = (0..32).filter(|set| is_quorum(*set)).filter_map(minimum).max();
        prop_assert_eq!(found, naive);
    }
}
