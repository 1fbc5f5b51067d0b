//! What a witness is asked: checkpoints to cosign, over all it may have cosigned before, and
//! statements to stamp.

use std::sync::{Arc, OnceLock};

use api::v1;
use prost::Message as _;
use tlog::{AddCheckpoint, KeyKind, Note, Receipt, SignedCheckpoint, TreeHead, prove_inclusion};
use witness::decision::{Cosigned, Refused, State, Vouched};
use witness::{Logs, Own, Registration, Signers, check_shown, check_stampable};

use crate::fixtures::{
    example, list, log_key, log_vkey, signers, statements, text, tlog_keys, tlog_log, tlog_vectors,
    tree,
};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    let target = |name, shape, tokens, seeds, run| Target {
        name,
        shape,
        tokens,
        seeds,
        run,
        memory: Memory::USUAL,
    };
    const LINES: &[&[u8]] =
        &["— ".as_bytes(), b"\n\n", b"\n", b"old ", b" 5\n", b"\n5\n", b"\n8\n"];
    const FIELDS: &[&[u8]] = &[b"\x0a\x00", b"\x12\x00", b"\x0a\xff\xff\xff\xff\x0f"];
    vec![
        target("witness-request", Shape::Lines, LINES, requests, request),
        target("witness-stamp", Shape::Protobuf, FIELDS, stamps, stamp),
    ]
}

const NOW: u64 = 1_767_225_600;

fn own() -> &'static Own {
    static OWN: OnceLock<Own> = OnceLock::new();
    OWN.get_or_init(|| Own::from(&tlog_keys()[1]))
}

/// The numbered log of the vectors, and the worked example's, by size: what was cosigned before.
fn heads() -> &'static [TreeHead] {
    static HEADS: OnceLock<Vec<TreeHead>> = OnceLock::new();
    HEADS.get_or_init(|| {
        let roots = list(tlog_vectors(), "roots_by_size").iter().filter_map(|root| root.as_str());
        let roots =
            roots.map(|root| tlog::Hash::from_base64(root).expect("the vectors have roots"));
        (0..).zip(roots).take(9).map(|(size, root)| TreeHead { size, root }).collect()
    })
}

fn requests() -> Vec<Vec<u8>> {
    let bodies = list(tlog_vectors(), "add_checkpoint").iter().map(|vector| text(vector, "body"));
    let mut seeds: Vec<Vec<u8>> =
        bodies.filter(|body| body.len() < 8_192).map(|body| body.as_bytes().to_vec()).collect();
    // With a cosignature of the witness's own, and with proofs over the numbered tree.
    seeds.push(format!("old 0\n\n{}", example("cosigned_checkpoint")).into_bytes());
    for vector in list(tlog_vectors(), "consistency").iter().take(20) {
        let size = crate::fixtures::number(vector, "size");
        let Some(head) = heads().get(size as usize) else { continue };
        let nodes = tlog_vectors().get("nodes");
        let node = |name: &json::Value| {
            let hash = nodes?.get(name.as_str()?)?.as_str()?;
            tlog::Hash::from_base64(hash).ok()
        };
        let proof = list(vector, "proof").iter().filter_map(node).collect();
        let signed = SignedCheckpoint::sign(&tlog_keys()[0], *head);
        let old = crate::fixtures::number(vector, "old");
        seeds.push(AddCheckpoint::new(old, proof, &signed).to_bytes());
    }
    seeds
}

/// Also with the checkpoint signed anew, so that what is behind the signature is reached.
fn request(input: &[u8]) -> Verdict {
    let Ok(parsed) = AddCheckpoint::parse(input) else { return Verdict::Refused };
    let logs = Logs::new([tlog_log().clone()]).expect("it is a log's key");
    let signed = Note::sign(parsed.checkpoint().text(), &tlog_keys()[0]).expect("it is text");
    let mut lines = parsed.note().signatures().iter().filter(|line| !line.names(tlog_log()));
    let signed = lines.try_fold(signed, |note, line| note.with_signature(line.clone()));
    let signed = signed.ok().and_then(|note| {
        AddCheckpoint::of_parts(parsed.old(), parsed.proof().to_vec(), note.as_bytes()).ok()
    });
    let mut verdict = Verdict::Refused;
    for request in [Some(parsed), signed].into_iter().flatten() {
        let Ok(vouched) = Vouched::new(request, &logs, &own().verifier) else { continue };
        for (known, before) in heads().iter().zip(cosigned_before()) {
            if decide(&vouched, known, before) {
                verdict = Verdict::Accepted;
            }
        }
    }
    verdict
}

/// What a witness remembers of each of these heads.
fn cosigned_before() -> &'static [Arc<Cosigned>] {
    static BEFORE: OnceLock<Vec<Arc<Cosigned>>> = OnceLock::new();
    BEFORE.get_or_init(|| {
        let before = heads().iter().map(|head| {
            let note = SignedCheckpoint::sign(&tlog_keys()[0], *head);
            Arc::new(Cosigned::restore(note.as_bytes(), NOW).expect("it is a checkpoint"))
        });
        before.collect()
    })
}

/// Whether a witness that last cosigned `known` cosigns; what it then has is checked.
fn decide(request: &Vouched, known: &TreeHead, before: &Arc<Cosigned>) -> bool {
    let mut state = State::default();
    state.apply(Arc::clone(before));
    let shown = request.request().checkpoint();
    let cosigned = match state.add_checkpoint(request, NOW) {
        Ok(cosigned) => cosigned,
        Err(Refused::ClockFellBack { .. } | Refused::Halted) => panic!("the clock stands still"),
        Err(refused) => {
            assert!([400, 409, 422, 503].contains(&refused.status()), "{refused}");
            return false;
        }
    };
    assert_eq!(cosigned.head(), shown.head());
    assert!(shown.size() >= known.size, "a witness never goes back");
    assert!(shown.size() > known.size || shown.head() == known, "one size, one root");
    assert_eq!(state.last(cosigned.origin()).map(|last| *last.head()), Some(*known));
    let published = cosigned.published(&own().key);
    assert!(published.as_bytes().len() < request.request().note().as_bytes().len() + 1_024);
    SignedCheckpoint::open(published.as_bytes(), tlog_log()).expect("the log signed it");
    assert_eq!(
        check_shown(published.as_bytes(), &state, &own().verifier).is_ok(),
        *shown.head() == *known
    );
    let restored = Cosigned::restore(cosigned.note().as_bytes(), cosigned.time());
    assert_eq!(restored.as_ref(), Ok(&cosigned), "it comes back from a store");
    state.apply(Arc::new(cosigned));
    check_shown(published.as_bytes(), &state, &own().verifier).expect("now there is a record");
    true
}

/// Statements of the vectors' log: with their signers named, or with a receipt of the signer's
/// registration.
fn stamps() -> Vec<Vec<u8>> {
    let all = statements();
    let leaves: Vec<&[u8]> = all.iter().map(|logged| logged.envelope.as_bytes()).collect();
    let nodes = tree(leaves.iter().copied());
    let checkpoint = SignedCheckpoint::sign(log_key(), nodes.head());
    let registration = |index: u64| {
        let Ok(proof) = prove_inclusion(&nodes, index, nodes.size());
        let receipt = Receipt::new(index, proof, checkpoint.as_bytes()).expect("it is a note");
        v1::Registration {
            envelope: leaves[index as usize].to_vec().into(),
            receipt: receipt.to_bytes().into(),
        }
    };
    let request = |at: usize, registration| v1::StampRequest {
        envelope: leaves[at].to_vec().into(),
        registration,
    };
    let mut seeds: Vec<_> =
        [0, 5, 10, 17].map(|at| request(at, None).encode_to_vec()).into_iter().collect();
    for registered in 0..4 {
        for at in [4, 5, 10] {
            seeds.push(request(at, Some(registration(registered))).encode_to_vec());
        }
    }
    seeds
}

fn stamp(input: &[u8]) -> Verdict {
    let Ok(request) = v1::StampRequest::decode(input) else { return Verdict::Refused };
    let logs = Logs::new([log_vkey().clone()]).expect("it is a log's key");
    let known = Signers::new(signers()[..2].iter().map(|key| key.verifier(KeyKind::Ed25519)));
    let mut verdict = Verdict::Refused;
    for signers in [known, Signers::default()] {
        let registration = request.registration.as_ref().map(|registration| Registration {
            envelope: &registration.envelope,
            receipt: &registration.receipt,
        });
        if let Ok(stampable) = check_stampable(&request.envelope, registration, &logs, &signers) {
            let known =
                statements().iter().any(|one| one.envelope.as_bytes() == &request.envelope[..]);
            assert!(known, "a statement that nobody signed");
            assert_eq!(stampable.origin, *log_vkey().name());
            verdict = Verdict::Accepted;
        }
    }
    verdict
}
