//! The rules alone: what is cosigned when, and what is kept of a note.

use std::sync::Arc;

use tlog::{AddCheckpoint, KeyKind, Note, NoteSignature, SignedCheckpoint, TreeHead};
use witness::decision::{Cosigned, Doubt, Refused, State, Vouched};

use crate::support::{Log, START, key, logs, own};

fn log() -> Log {
    Log::new("log.example/one").grown(20, "a")
}

/// A state after the log was cosigned at this size.
fn at(log: &Log, size: u64, time: u64) -> State {
    let mut state = State::default();
    let cosigned = state.add_checkpoint(&log.vouched(0, size), time).unwrap();
    state.apply(Arc::new(cosigned));
    state
}

fn suspicion(refused: &Refused) -> Option<Doubt> {
    match refused {
        Refused::Checkpoint { suspicion, .. } => suspicion.as_ref().map(|s| s.kind),
        _ => None,
    }
}

#[test]
fn cosigns_growth_and_the_same_again_and_nothing_smaller() {
    let log = log();
    let state = at(&log, 7, START);
    for size in 7..=20 {
        let cosigned = state.add_checkpoint(&log.vouched(7, size), START + 1).unwrap();
        assert_eq!((*cosigned.head(), cosigned.time()), (log.head(size), START + 1));
    }
    for size in 0..7 {
        let refused = state.add_checkpoint(&log.vouched(size, size), START + 1).unwrap_err();
        assert_eq!(refused.other_size(), Some(7), "{refused}");
        assert_eq!(suspicion(&refused), None);
    }
    let beyond = AddCheckpoint::new(8, Vec::new(), &log.checkpoint(7));
    let beyond = Vouched::new(beyond, &logs([&log]), &own().verifier).unwrap();
    assert_eq!(state.add_checkpoint(&beyond, START + 1).unwrap_err().status(), 400);
}

#[test]
fn a_fork_is_refused_and_noted_for_what_it_shows() {
    let honest = log();
    let forked = Log::new("log.example/one").grown(5, "a").grown(20, "b");
    let state = at(&honest, 7, START);
    // Both heads have one size: whatever old size is claimed, that is proof.
    for old in [3, 7] {
        let request = AddCheckpoint::new(old, forked.proof(old, 7), &forked.checkpoint(7));
        let request = Vouched::new(request, &logs([&honest]), &own().verifier).unwrap();
        let refused = state.add_checkpoint(&request, START + 1).unwrap_err();
        assert_eq!(suspicion(&refused), Some(Doubt::TwoHeads), "{refused}");
        let Refused::Checkpoint { suspicion: Some(suspicion), .. } = refused else { panic!() };
        assert_eq!(suspicion.known.unwrap().head(), &honest.head(7));
    }
    for size in 8..20 {
        let refused = state.add_checkpoint(&forked.vouched(7, size), START + 1).unwrap_err();
        assert_eq!((refused.status(), suspicion(&refused)), (422, Some(Doubt::Unproved)));
    }
}

#[test]
fn signs_nothing_while_the_clock_shows_less_than_was_signed() {
    let log = log();
    let other = Log::new("log.example/two").grown(3, "x");
    let state = at(&log, 7, START);
    for request in [log.vouched(7, 9), other.vouched(0, 3)] {
        let refused = state.add_checkpoint(&request, START - 1).unwrap_err();
        assert_eq!(refused, Refused::ClockFellBack { now: START - 1, reached: START });
        assert_eq!(refused.status(), 503);
        state.add_checkpoint(&request, START).expect("equal seconds are no step back");
    }
    assert!(state.stamp(START - 1).is_err());
    assert_eq!(state.stamp(START), Ok(START));
    // A rule of the specification answers first: the log may have to learn the size.
    let behind = state.add_checkpoint(&log.vouched(3, 9), START - 1).unwrap_err();
    assert_eq!(behind.other_size(), Some(7));
    for time in [0, 1 << 63, u64::MAX] {
        assert!(State::default().add_checkpoint(&log.vouched(0, 7), time).is_err(), "{time}");
    }
}

/// The request's note with further lines.
fn with_lines(request: &AddCheckpoint, lines: &[NoteSignature]) -> AddCheckpoint {
    let mut note = request.note().clone();
    for line in lines {
        note = note.with_signature(line.clone()).unwrap();
    }
    AddCheckpoint::of_parts(request.old(), request.proof().to_vec(), note.as_bytes()).unwrap()
}

#[test]
fn a_cosignature_of_its_own_that_it_has_no_record_of_means_that_the_store_is_old() {
    let log = log();
    let time = START + 100;
    let cosigned = at(&log, 9, time).last(log.name()).unwrap().cosignature(&own().key);
    let shown = with_lines(&log.request(7, 9), &[cosigned]);
    let shown = Vouched::new(shown, &logs([&log]), &own().verifier).unwrap();
    for (state, good) in [
        (State::default(), false),
        (at(&log, 7, START), false),
        // Another history of this size, or the same size before that time.
        (at(&Log::new(log.name()).grown(9, "b"), 9, time), false),
        (at(&log, 9, time - 1), false),
        (at(&log, 9, time), true),
        (at(&log, 12, time + 5), true),
    ] {
        let answer = state.add_checkpoint(&shown, time + 10);
        let rolled_back = answer == Err(Refused::RolledBack { size: 9, time });
        assert_eq!(rolled_back, !good, "{answer:?}");
    }
}

#[test]
fn a_forged_cosignature_of_its_own_says_nothing() {
    let log = log();
    let thief = key("witness.example/w1", 0x23);
    let time = START + 100;
    let line = at(&log, 9, time).last(log.name()).unwrap().cosignature(&thief);
    // The id is the hash of the key, so the forger writes the id of ours.
    let forged = line.to_string();
    let (_, blob) = forged.trim_end().rsplit_once(' ').unwrap();
    let ours = at(&log, 9, time).last(log.name()).unwrap().cosignature(&own().key).to_string();
    let (head, ours) = ours.trim_end().rsplit_once(' ').unwrap();
    let forged = format!("{head} {}{}\n", &ours[..8], &blob[8..]);
    let lines = NoteSignature::parse_lines(forged.as_bytes()).unwrap();
    let request = with_lines(&log.request(0, 9), &lines);
    let request = Vouched::new(request, &logs([&log]), &own().verifier).unwrap();
    State::default().add_checkpoint(&request, START).unwrap();
}

#[test]
fn lines_of_strangers_are_ignored_and_not_kept_but_those_of_the_log_are() {
    let log = log();
    let request = log.request(0, 9);
    let (text, own_line) = {
        let note = request.note().to_string();
        let (text, line) = note.rsplit_once("\n\n").unwrap();
        (format!("{text}\n"), line.to_owned())
    };
    let line = |name: &str, bytes: usize| {
        use base64::Engine as _;
        let blob = base64::engine::general_purpose::STANDARD.encode(vec![7; bytes]);
        format!("— {name} {blob}\n")
    };
    // 64 lines, of lengths as ML-DSA-44 makes them.
    let mut lines = own_line;
    for index in 0..60 {
        lines += &line(&format!("stranger.example/{index}"), 2_432);
    }
    lines += &line(log.name(), 2_424);
    lines += &line(log.name(), 9_000);
    lines += &line("witness.example/w1", 80);
    let note = format!("{text}\n{lines}");
    let request = AddCheckpoint::of_parts(0, Vec::new(), note.as_bytes()).unwrap();
    let request = Vouched::new(request, &logs([&log]), &own().verifier).unwrap();
    let cosigned = State::default().add_checkpoint(&request, START).unwrap();
    let kept: Vec<usize> = cosigned.note().signatures().iter().map(|s| s.bytes().len()).collect();
    assert_eq!(kept, [64, 2_420], "the log's own line, and its post-quantum one");
    let published = cosigned.published(&own().key);
    SignedCheckpoint::open(published.as_bytes(), &log.key.verifier(KeyKind::Ed25519)).unwrap();
    let restored = Cosigned::restore(cosigned.note().as_bytes(), cosigned.time()).unwrap();
    assert_eq!(restored.published(&own().key), published, "signed again it is the same");
}

#[test]
fn a_failing_signature_of_a_known_key_condemns_what_another_key_signed() {
    let log = log();
    let second = key(log.name(), 0x33);
    let both =
        witness::Logs::new([&log.key, &second].map(|key| key.verifier(KeyKind::Ed25519))).unwrap();
    let other_text = SignedCheckpoint::sign(&second, log.head(3));
    let bad = other_text.note().signatures().to_vec();
    let request = with_lines(&log.request(0, 9), &bad);
    let refused = Vouched::new(request, &both, &own().verifier).unwrap_err();
    assert_eq!(refused.status(), 403, "{refused}");
    let either = SignedCheckpoint::sign(&second, log.head(9));
    let request = AddCheckpoint::new(0, Vec::new(), &either);
    Vouched::new(request, &both, &own().verifier).expect("either key will do");
}

#[test]
fn sizes_up_to_the_limit_are_taken_and_beyond_it_are_no_request() {
    let log = log();
    let root = log.head(9).root;
    let largest = TreeHead { size: i64::MAX as u64, root };
    let request = AddCheckpoint::new(0, Vec::new(), &SignedCheckpoint::sign(&log.key, largest));
    let request = Vouched::new(request, &logs([&log]), &own().verifier).unwrap();
    let mut state = State::default();
    let cosigned = state.add_checkpoint(&request, START).unwrap();
    state.apply(Arc::new(cosigned));
    let refused = state.add_checkpoint(&log.vouched(0, 9), START).unwrap_err();
    assert_eq!(refused.other_size(), Some(largest.size));
    let beyond = format!("{}\n9223372036854775808\n{}\n", log.name(), root.to_base64());
    let note = Note::sign(&beyond, &log.key).unwrap();
    assert!(AddCheckpoint::of_parts(0, Vec::new(), note.as_bytes()).is_err());
}
