//! False answers: each is refused by its name, and what was trusted stays what it was.

use api::v1;
use bytes::Bytes;
use client::{CallError, Connection, FalseAnswer};
use exchange::Envelope;
use tlog::{
    Checkpoint, CheckpointError, Hash, KeyName, Note, NoteError, ProofError, SignedCheckpoint,
    SigningKey, TreeHead,
};

use crate::liar::{Liar, Lies, Log, seeded, statement};

/// What the connection has verified when the lies begin.
const SEEN: u64 = 7;
/// Entries of the log by then.
const SIZE: u64 = 12;

/// A connection at size 7, and its log, which has grown to 12.
async fn scene() -> (Liar, Connection) {
    let liar = Liar::serve(Log::of(SEEN)).await;
    let connection = liar.connect().await;
    assert_eq!(connection.trusted().head().size, SEEN);
    liar.log(|log| log.grow(SIZE - SEEN));
    (liar, connection)
}

#[track_caller]
fn falsehood<T: std::fmt::Debug>(what: &str, answer: Result<T, CallError>) -> FalseAnswer {
    match answer {
        Err(CallError::False(answer)) => answer,
        other => panic!("{what}: {other:?}"),
    }
}

/// Whether an answer is refused for the right reason.
type Named = fn(&FalseAnswer) -> bool;

/// A statement that the log does not have.
fn fresh(liar: &Liar) -> Envelope {
    statement(&liar.log(|log| log.verifier()), 1_000)
}

/// The log's own key over any text.
fn signed(key: &SigningKey, text: &str) -> Bytes {
    Bytes::copy_from_slice(Note::sign(text, key).unwrap().as_bytes())
}

/// Checkpoints that are none of this log's.
fn forgeries(log: &Log) -> Vec<(&'static str, Bytes, Named)> {
    let head = log.head(SIZE);
    let name = log.key.name().clone();
    let impostor = seeded(name.as_str(), "an impostor");
    let by_impostor = SignedCheckpoint::sign(&impostor, head);
    // The signature line of the impostor under the id of the log's own key.
    let own = String::from_utf8(log.note(SIZE).to_vec()).unwrap();
    let line = |note: &str| note.lines().last().unwrap().to_owned();
    let blob = |note: &str| base64(line(note).rsplit_once(' ').unwrap().1);
    let mut mixed = blob(&own)[..4].to_vec();
    mixed.extend_from_slice(&blob(&by_impostor.to_string())[4..]);
    let mixed = own.replace(line(&own).rsplit_once(' ').unwrap().1, &to_base64(&mixed));
    let other = seeded("log.example/two", "another log");
    let foreign = SignedCheckpoint::sign(&other, head);
    let about_another =
        signed(&log.key, Checkpoint::new(&KeyName::parse("log.example/two").unwrap(), head).text());
    let own_text = Checkpoint::new(&name, head).text().to_owned();
    let note = |text: &str| signed(&log.key, text);
    fn is(error: &FalseAnswer, wanted: fn(&CheckpointError) -> bool) -> bool {
        matches!(error, FalseAnswer::Checkpoint(error) if wanted(error))
    }
    vec![
        ("nothing at all", Bytes::new(), |e| is(e, |e| matches!(e, CheckpointError::Note(_)))),
        ("no note", Bytes::from_static(b"hello\n"), |e| {
            is(e, |e| *e == CheckpointError::Note(NoteError::NoEmptyLine))
        }),
        ("not UTF-8", Bytes::from_static(b"\xff\xfe\n\n\xe2\x80\x94"), |e| {
            is(e, |e| *e == CheckpointError::Note(NoteError::Encoding))
        }),
        ("300 KiB of text", note(&"x\n".repeat(120_000)).repeat(2).into(), |e| {
            is(e, |e| matches!(e, CheckpointError::Note(NoteError::TooLarge { .. })))
        }),
        ("a forged one, by another key", by_impostor.as_bytes().to_vec().into(), |e| {
            is(e, |e| *e == CheckpointError::Note(NoteError::Unsigned))
        }),
        ("a forged one, under the log's key id", mixed.into(), |e| {
            is(e, |e| matches!(e, CheckpointError::Note(NoteError::BadSignature { .. })))
        }),
        ("a foreign one", foreign.as_bytes().to_vec().into(), |e| {
            is(e, |e| *e == CheckpointError::Note(NoteError::Unsigned))
        }),
        ("one about another log, by this log's key", about_another, |e| {
            is(e, |e| matches!(e, CheckpointError::ForeignOrigin { .. }))
        }),
        ("one that was changed after it was signed", own.replace("\n12\n", "\n13\n").into(), |e| {
            is(e, |e| matches!(e, CheckpointError::Note(NoteError::BadSignature { .. })))
        }),
        ("no checkpoint, by the log's key", note("hello\n"), |e| {
            is(e, |e| *e == CheckpointError::TooShort)
        }),
        ("a size with a leading zero", note(&own_text.replace("\n12\n", "\n012\n")), |e| {
            is(e, |e| *e == CheckpointError::Size)
        }),
        ("a size of 2^63", note(&own_text.replace("\n12\n", "\n9223372036854775808\n")), |e| {
            is(e, |e| *e == CheckpointError::Size)
        }),
    ]
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn to_base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A log that has the same first entries and other ones after that.
fn fork(log: &Log, at: u64) -> Log {
    let mut fork = Log::new();
    for leaf in &log.leaves[..at as usize] {
        fork.push(leaf);
    }
    for number in at..SIZE {
        fork.push(statement(&log.verifier(), 5_000 + number).as_bytes());
    }
    fork
}

/// Sets a lie about the newest head, to be told by both ways on which a head comes.
fn show(liar: &Liar, note: &Bytes) {
    liar.lies(|lies: &mut Lies| {
        let note = note.clone();
        lies.checkpoint = Some(Box::new(move |_, _, _| {
            Ok(v1::GetCheckpointResponse { checkpoint: note.clone() })
        }));
    });
}

#[tokio::test]
async fn refuses_a_head_that_the_pinned_key_has_not_signed() {
    let (liar, mut connection) = scene().await;
    let before = connection.trusted().clone();
    for (what, note, named) in liar.log(|log| forgeries(log)) {
        show(&liar, &note);
        let error = falsehood(what, connection.refresh().await.map(|_| ()));
        assert!(named(&error), "{what}: {error}");
        assert_eq!(*connection.trusted(), before, "{what}");
        // Who has trusted nothing yet takes none of these either.
        let error = falsehood(what, liar.try_connect(None).await);
        assert!(named(&error), "{what}, first contact: {error}");
    }
    liar.tells_the_truth();
    assert_eq!(connection.refresh().await.unwrap().head().size, SIZE);
}

#[tokio::test]
async fn refuses_a_head_that_does_not_extend_the_one_verified_before() {
    let (liar, mut connection) = scene().await;
    let before = connection.trusted().clone();
    let log = liar.log(|log| log.clone());
    let forked = fork(&log, SEEN - 2);
    // Within a power of two a proof does not prove the size, so this goes beyond one.
    let lengthened = TreeHead { size: 17, ..log.head(SIZE) };
    let same_size = forked.note(SEEN);
    let not_an_extension: Named = |e| matches!(e, FalseAnswer::NotAnExtension { .. });
    let rolled_back: Named = |e| matches!(e, FalseAnswer::RolledBack { .. });
    let cases: Vec<(&str, Bytes, Option<Log>, Named)> = vec![
        ("a fork of a larger size", forked.note(SIZE), Some(forked.clone()), not_an_extension),
        ("a fork of the same size", same_size, Some(forked.clone()), |e| {
            let same = ProofError::RootMismatch { root: Hash::new([0; 32]) };
            let FalseAnswer::NotAnExtension { old: SEEN, new: SEEN, cause, .. } = e else {
                return false;
            };
            std::mem::discriminant(cause) == std::mem::discriminant(&same)
        }),
        ("an older head", log.note(SEEN - 1), None, rolled_back),
        ("the empty head", log.note(0), None, rolled_back),
        ("an older head of a fork", forked.note(SEEN - 1), None, rolled_back),
        (
            "the right root for a larger size",
            SignedCheckpoint::sign(&log.key, lengthened).as_bytes().to_vec().into(),
            Some(log.clone()),
            not_an_extension,
        ),
        (
            "another root of the right size",
            SignedCheckpoint::sign(&log.key, TreeHead { size: SIZE, root: Hash::new([9; 32]) })
                .as_bytes()
                .to_vec()
                .into(),
            Some(log.clone()),
            not_an_extension,
        ),
    ];
    for (what, note, prover, named) in cases {
        show(&liar, &note);
        if let Some(prover) = prover {
            // It proves as well as it can.
            liar.lies(|lies| {
                let note = note.clone();
                lies.checkpoint = Some(Box::new(move |_, _, _| {
                    Ok(v1::GetCheckpointResponse { checkpoint: note.clone() })
                }));
                lies.consistency = Some(Box::new(move |_, request, _| {
                    let new_size = request.new_size.min(SIZE);
                    let proof = prover.consistency(request.old_size, new_size);
                    Ok(v1::GetConsistencyProofResponse { proof, new_size })
                }));
            });
        }
        let error = falsehood(what, connection.refresh().await.map(|_| ()));
        assert!(named(&error), "{what}: {error}");
        assert_eq!(*connection.trusted(), before, "{what}");
        // The same for a session that comes back with what it trusted.
        let error = falsehood(what, liar.try_connect(Some(before.as_bytes())).await);
        assert!(named(&error), "{what}, next session: {error}");
    }
    liar.tells_the_truth();
    assert_eq!(connection.refresh().await.unwrap().head().size, SIZE);
}

/// Proofs that are wrong in one way each, with the way in which that must be refused.
fn wrong_proofs(proof: &[Bytes]) -> Vec<(&'static str, Vec<Bytes>, bool)> {
    let flipped = |at: usize| {
        let mut proof = proof.to_vec();
        let mut hash = proof[at].to_vec();
        hash[17] ^= 4;
        proof[at] = hash.into();
        proof
    };
    let with = |hash: Bytes| [proof, &[hash]].concat();
    let mut swapped = proof.to_vec();
    swapped.swap(0, 1);
    let short = |length: usize| {
        let mut proof = proof.to_vec();
        proof[0] = Bytes::from(vec![1; length]);
        proof
    };
    vec![
        ("nothing", Vec::new(), false),
        ("one hash short", proof[1..].to_vec(), false),
        ("one hash too many", with(proof[0].clone()), false),
        ("a flipped bit in the first hash", flipped(0), false),
        ("a flipped bit in the last hash", flipped(proof.len() - 1), false),
        ("two hashes in each other's place", swapped, false),
        ("63 hashes", vec![proof[0].clone(); 63], false),
        ("64 hashes", vec![proof[0].clone(); 64], true),
        ("ten thousand hashes", vec![proof[0].clone(); 10_000], true),
        ("a hash of 31 bytes", short(31), true),
        ("a hash of 33 bytes", short(33), true),
        ("an empty hash", short(0), true),
    ]
}

#[tokio::test]
async fn refuses_a_head_with_a_wrong_consistency_proof() {
    let (liar, mut connection) = scene().await;
    let before = connection.trusted().clone();
    let honest = liar.log(|log| log.consistency(SEEN, SIZE));
    assert!(honest.len() > 2);
    for (what, proof, malformed) in wrong_proofs(&honest) {
        liar.lies(|lies| {
            lies.consistency = Some(Box::new(move |_, request, _| {
                let new_size = request.new_size;
                Ok(v1::GetConsistencyProofResponse { proof: proof.clone(), new_size })
            }));
        });
        let error = falsehood(what, connection.refresh().await.map(|_| ()));
        let right = match error {
            FalseAnswer::Malformed(_) => malformed,
            FalseAnswer::NotAnExtension { old: SEEN, new: SIZE, .. } => !malformed,
            _ => false,
        };
        assert!(right, "{what}: {error}");
        assert_eq!(*connection.trusted(), before, "{what}");
    }
    liar.tells_the_truth();
    assert_eq!(connection.refresh().await.unwrap().head().size, SIZE);
}

#[tokio::test]
async fn a_head_without_proof_is_not_taken_and_nobody_is_accused() {
    let (liar, mut connection) = scene().await;
    let before = connection.trusted().clone();
    liar.lies(|lies| {
        lies.consistency =
            Some(Box::new(|_, _, _| Err(crate::liar::refused(exchange::Reason::Stopping))));
    });
    let error = connection.refresh().await.unwrap_err();
    assert!(matches!(error, CallError::Unproved { old: SEEN, new: SIZE, .. }), "{error}");
    assert_eq!(*connection.trusted(), before);
}

type Receipt = fn(&mut Log, v1::AppendResponse) -> v1::AppendResponse;

/// Changes the place that a receipt names.
fn placed(
    mut answer: v1::AppendResponse,
    change: impl FnOnce(&mut v1::Inclusion),
) -> v1::AppendResponse {
    change(answer.inclusion.as_mut().unwrap());
    answer
}

#[tokio::test]
async fn refuses_a_receipt_that_is_not_for_this_statement() {
    let no_inclusion: Named = |e| matches!(e, FalseAnswer::Inclusion { .. });
    let cases: Vec<(&str, Receipt, Named)> = vec![
        ("the next index", |_, a| placed(a, |i| i.index += 1), no_inclusion),
        ("the index before", |_, a| placed(a, |i| i.index -= 1), no_inclusion),
        ("index 2^63", |_, a| placed(a, |i| i.index = 1 << 63), no_inclusion),
        ("the largest index", |_, a| placed(a, |i| i.index = u64::MAX), no_inclusion),
        (
            "the receipt of another leaf",
            |log, a| placed(a, |i| *i = log.inclusion(3, log.size())),
            no_inclusion,
        ),
        (
            "the receipt of the leaf before",
            |log, a| placed(a, |i| *i = log.inclusion(log.size() - 2, log.size())),
            no_inclusion,
        ),
        (
            "a head that the statement is not in yet",
            |log, a| placed(a, |i| i.checkpoint = log.note(log.size() - 1)),
            no_inclusion,
        ),
        (
            "no receipt",
            |_, a| v1::AppendResponse { inclusion: None, ..a },
            |e| matches!(e, FalseAnswer::Malformed(_)),
        ),
        (
            "no checkpoint",
            |_, a| placed(a, |i| i.checkpoint = Bytes::new()),
            |e| matches!(e, FalseAnswer::Checkpoint(_)),
        ),
    ];
    for (what, lie, named) in cases {
        let (liar, mut connection) = scene().await;
        let before = connection.trusted().clone();
        liar.lies(|lies| {
            lies.append = Some(Box::new(move |log, _, honest| Ok(lie(log, honest?))));
        });
        let envelope = fresh(&liar);
        let error = falsehood(what, connection.append(&envelope).await);
        assert!(named(&error), "{what}: {error}");
        assert_eq!(*connection.trusted(), before, "{what}");
        // The identical envelope gets its receipt once the log is honest.
        liar.tells_the_truth();
        let inclusion = connection.append(&envelope).await.unwrap();
        assert_eq!((inclusion.index, inclusion.existed), (SIZE, true), "{what}");
        assert_eq!(connection.trusted().head().size, SIZE + 1);
        let key = liar.log(|log| log.verifier());
        inclusion.receipt().verify(envelope.as_bytes(), &key).unwrap();
    }
}

#[tokio::test]
async fn refuses_a_receipt_with_a_wrong_inclusion_proof() {
    let (liar, mut connection) = scene().await;
    let before = connection.trusted().clone();
    let envelope = fresh(&liar);
    let honest = liar.log(|log| {
        log.push(envelope.as_bytes());
        log.inclusion(SIZE, SIZE + 1).proof
    });
    // 13 entries: the last has siblings of four and of eight leaves.
    assert_eq!(honest.len(), 2);
    for (what, proof, malformed) in wrong_proofs(&honest) {
        liar.lies(|lies| {
            lies.append = Some(Box::new(move |_, _, honest| {
                Ok(placed(honest?, |inclusion| inclusion.proof = proof.clone()))
            }));
        });
        let error = falsehood(what, connection.append(&envelope).await);
        let right = match error {
            FalseAnswer::Malformed(_) => malformed,
            FalseAnswer::Inclusion { index: SIZE, .. } => !malformed,
            _ => false,
        };
        assert!(right, "{what}: {error}");
        assert_eq!(*connection.trusted(), before, "{what}");
    }
    liar.tells_the_truth();
    connection.append(&envelope).await.unwrap();
}

#[tokio::test]
async fn refuses_a_receipt_under_a_head_that_is_not_this_logs_newest() {
    // Each has a proof that leads to its own head, so that only the head is wrong.
    let forged = |(what, note, named)| {
        let lie = move |_: &mut Log, answer: v1::AppendResponse| {
            let note: Bytes = Clone::clone(&note);
            placed(answer, |inclusion| inclusion.checkpoint = note)
        };
        (what, Box::new(lie) as Box<dyn FnMut(&mut Log, v1::AppendResponse) -> _ + Send>, named)
    };
    let mut cases: Vec<_> = forgeries(&Log::of(SIZE)).into_iter().map(forged).collect();
    cases.push((
        "a fork that has the statement",
        Box::new(|log: &mut Log, answer| {
            let statement = log.leaves.last().unwrap().clone();
            let mut fork = fork(log, SEEN - 2);
            let (index, _) = fork.push(&statement);
            placed(answer, |inclusion| *inclusion = fork.inclusion(index, fork.size()))
        }),
        |e| matches!(e, FalseAnswer::NotAnExtension { .. }),
    ));
    for (what, mut lie, named) in cases {
        let (liar, mut connection) = scene().await;
        let before = connection.trusted().clone();
        liar.lies(|lies| {
            lies.append = Some(Box::new(move |log, _, honest| Ok(lie(log, honest?))));
        });
        let error = falsehood(what, connection.append(&fresh(&liar)).await);
        assert!(named(&error), "{what}: {error}");
        assert_eq!(*connection.trusted(), before, "{what}");
    }
}

#[tokio::test]
async fn refuses_an_old_receipt_under_a_head_older_than_the_one_verified() {
    let (liar, mut connection) = scene().await;
    connection.refresh().await.unwrap();
    let before = connection.trusted().clone();
    let known = Envelope::parse(&liar.log(|log| log.leaves[2].clone())).unwrap();
    liar.lies(|lies| {
        lies.append = Some(Box::new(|log, _, honest| {
            Ok(placed(honest?, |inclusion| *inclusion = log.inclusion(2, 5)))
        }));
    });
    let error = falsehood("an old receipt", connection.append(&known).await);
    assert!(matches!(error, FalseAnswer::RolledBack { old: SIZE, new: 5, .. }), "{error}");
    assert_eq!(*connection.trusted(), before);
}

type Found = fn(&mut Log, v1::GetInclusionProofResponse) -> v1::GetInclusionProofResponse;

fn found(
    mut answer: v1::GetInclusionProofResponse,
    change: impl FnOnce(&mut v1::GetInclusionProofResponse, &mut v1::Inclusion),
) -> v1::GetInclusionProofResponse {
    let mut inclusion = answer.inclusion.take().unwrap();
    change(&mut answer, &mut inclusion);
    answer.inclusion = Some(inclusion);
    answer
}

#[tokio::test]
async fn refuses_an_entry_that_is_not_the_statement_asked_for() {
    let no_inclusion: Named = |e| matches!(e, FalseAnswer::Inclusion { .. });
    let another: Named = |e| matches!(e, FalseAnswer::OtherStatement { .. });
    let cases: Vec<(&str, Found, Named)> = vec![
        (
            "another entry with its own proof",
            |log, a| {
                found(a, |answer, inclusion| {
                    answer.envelope = Bytes::copy_from_slice(&log.leaves[4]);
                    *inclusion = log.inclusion(4, SEEN);
                })
            },
            another,
        ),
        (
            "the bytes of another entry",
            |log, a| found(a, |answer, _| answer.envelope = Bytes::copy_from_slice(&log.leaves[4])),
            no_inclusion,
        ),
        ("another index", |_, a| found(a, |_, inclusion| inclusion.index += 1), no_inclusion),
        ("no bytes", |_, a| found(a, |answer, _| answer.envelope = Bytes::new()), no_inclusion),
        (
            "no proof",
            |_, a| v1::GetInclusionProofResponse { inclusion: None, ..a },
            |e| matches!(e, FalseAnswer::Malformed(_)),
        ),
        (
            "a proof for another size",
            |log, a| found(a, |_, inclusion| *inclusion = log.inclusion(2, SIZE)),
            no_inclusion,
        ),
    ];
    for (what, lie, named) in cases {
        let (liar, mut connection) = scene().await;
        let before = connection.trusted().clone();
        let id = Envelope::parse(&liar.log(|log| log.leaves[2].clone())).unwrap().id();
        liar.lies(|lies| {
            lies.inclusion = Some(Box::new(move |log, _, honest| Ok(lie(log, honest?))));
        });
        let error = falsehood(what, connection.find(&id).await);
        assert!(named(&error), "{what}: {error}");
        assert_eq!(*connection.trusted(), before, "{what}");
        liar.tells_the_truth();
        let (leaf, inclusion) = connection.find(&id).await.unwrap().unwrap();
        assert_eq!((leaf, inclusion.index), (liar.log(|log| log.leaves[2].clone()), 2));
    }
}

#[tokio::test]
async fn only_the_logs_own_word_says_that_a_statement_is_not_there() {
    let (liar, mut connection) = scene().await;
    let absent = fresh(&liar).id();
    assert!(connection.find(&absent).await.unwrap().is_none());
    // In the log, but not below the head that is trusted.
    let later = Envelope::parse(&liar.log(|log| log.leaves[SEEN as usize].clone())).unwrap();
    assert!(connection.find(&later.id()).await.unwrap().is_none());
    // Something between the two that knows no such path, or an answer that is cut off as too long.
    for status in [tonic::Status::not_found("404"), tonic::Status::out_of_range("too long")] {
        liar.lies(|lies| {
            lies.inclusion = Some(Box::new(move |_, _, _| Err(status.clone())));
        });
        let error = connection.find(&absent).await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_in_the_log_that_was_empty_when_it_was_last_looked_at() {
    let liar = Liar::serve(Log::of(0)).await;
    let mut connection = liar.connect().await;
    liar.log(|log| log.grow(SIZE));
    let later = Envelope::parse(&liar.log(|log| log.leaves[2].clone())).unwrap();
    assert!(connection.find(&later.id()).await.unwrap().is_none());
}

#[tokio::test]
async fn refuses_a_page_without_entries_below_the_head() {
    let (liar, mut connection) = scene().await;
    let page = connection.entries(2).await.unwrap();
    assert_eq!(page.len() as u64, SEEN - 2, "what lies beyond the trusted head is left out");
    assert!(connection.entries(SEEN).await.unwrap().is_empty());
    liar.lies(|lies| {
        lies.entries = Some(Box::new(|log, _, _| {
            Ok(v1::ListEntriesResponse { envelopes: Vec::new(), size: log.size() })
        }));
    });
    let error = falsehood("an empty page", connection.entries(2).await);
    assert!(matches!(error, FalseAnswer::Malformed(_)), "{error}");
}
