//! Bundles: what verifies, and what each fault is.

use std::collections::BTreeSet;

use exchange::bundle::{Bundle, BundleFault, VectorState};
use tlog::{Hash, KeyKind, SignedCheckpoint, TreeHead};

use crate::bundled::{A, Made, Scene, cut, pinned};
use crate::log::{Log, key, seeded};

#[test]
fn says_who_attested_what_and_where() {
    let scene = Scene::honest();
    let verdict = scene.bundle().verify(&pinned(), &[]).unwrap();
    assert_eq!(verdict.head, scene.log.head());
    let indices: Vec<u64> = verdict.statements.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [0, 2, 4]);
    let [attested] = verdict.attested.as_slice() else { panic!("one attestation") };
    assert_eq!((attested.index, attested.record), (4, scene.attested));
    assert_eq!((attested.signer.as_str(), attested.key), (A, key(A).public()));
    assert_eq!(attested.header, *scene.made.record.header());
    assert_eq!(attested.vector, VectorState::Holds);
    assert!(verdict.opened.is_empty());
}

#[test]
fn a_bundle_without_its_vector_says_so() {
    let scene = Scene::honest();
    let bundle = cut(&scene.log, &[0, 2, 4], &[]);
    let verdict = bundle.verify(&pinned(), &[]).unwrap();
    assert_eq!(verdict.attested[0].vector, VectorState::Absent);
}

#[test]
fn openings_inside_and_beside_a_bundle_are_checked_alike() {
    let scene = Scene::honest();
    let beside = scene.made.opening(scene.attested, 2);
    let verdict = scene.whole().verify(&pinned(), &[&beside]).unwrap();
    let items: Vec<_> = verdict
        .opened
        .iter()
        .map(|opened| {
            assert_eq!((opened.record, opened.signer.as_str()), (scene.attested, A));
            let [item] = opened.proved.items.as_slice() else { panic!("one item") };
            (item.index, item.scores.clone())
        })
        .collect();
    let score = |score: u64| vec![("accuracy".to_owned(), score)];
    assert_eq!(items, [(1, score(0)), (2, score(1))]);
}

/// One change to a good bundle, and the fault that it is.
struct Case {
    what: &'static str,
    bundle: Bundle,
    variant: &'static str,
}

/// Names every variant, so that a new one is missed by the compiler and then by the table.
fn variant(fault: &BundleFault) -> &'static str {
    match fault {
        BundleFault::OtherLog { .. } => "OtherLog",
        BundleFault::Policy(_) => "Policy",
        BundleFault::PolicyLog(_) => "PolicyLog",
        BundleFault::Checkpoint(_) => "Checkpoint",
        BundleFault::UnknownLog(_) => "UnknownLog",
        BundleFault::Untrusted(_) => "Untrusted",
        BundleFault::Statement { .. } => "Statement",
        BundleFault::Inclusion { .. } => "Inclusion",
        BundleFault::Seen { .. } => "Seen",
        BundleFault::SeenUnproved { .. } => "SeenUnproved",
        BundleFault::HeadUnused { .. } => "HeadUnused",
        BundleFault::ArtifactUnused(_) => "ArtifactUnused",
        BundleFault::Header { .. } => "Header",
        BundleFault::Intent { .. } => "Intent",
        BundleFault::Vector { .. } => "Vector",
        BundleFault::OpeningForm(_) => "OpeningForm",
        BundleFault::OpeningRecord(_) => "OpeningRecord",
        BundleFault::Opening(_) => "Opening",
        BundleFault::Promise { .. } => "Promise",
        BundleFault::Incomplete { .. } => "Incomplete",
    }
}

const VARIANTS: usize = 20;

fn changed(what: &'static str, variant: &'static str, change: impl FnOnce(&mut Bundle)) -> Case {
    let mut bundle = Scene::honest().bundle();
    change(&mut bundle);
    Case { what, bundle, variant }
}

/// Another head of the same log, signed by it.
fn shortened(log: &Log) -> String {
    let head = TreeHead { size: 5, root: log.roots.0[5] };
    SignedCheckpoint::sign(&log.key, head).to_string()
}

fn cases() -> Vec<Case> {
    let scene = Scene::honest();
    let other = seeded("log.example/test", "another key").verifier(KeyKind::Ed25519);
    let other_vector = {
        let mut bytes = scene.made.record.vector().to_vec();
        bytes[0] ^= 1;
        bytes
    };
    let from_log = |what, variant, scene: &Scene| Case { what, bundle: scene.bundle(), variant };
    let mut cases = vec![
        changed("names another log", "OtherLog", |b| {
            b.origin = key("log.example/other").name().clone();
        }),
        changed("policy is no policy", "Policy", |b| b.policy = "log\n".to_owned()),
        changed("policy without a quorum", "Policy", |b| {
            b.policy = format!("log {}\n", pinned());
        }),
        changed("policy for the same name under another key", "PolicyLog", |b| {
            b.policy = format!("log {other}\nquorum none\n");
        }),
        changed("policy of witnesses alone", "PolicyLog", |b| {
            b.policy = "quorum none\n".to_owned()
        }),
        changed("checkpoint signed by another key of that name", "Checkpoint", |b| {
            let thief = seeded("log.example/test", "another key");
            b.checkpoint = SignedCheckpoint::sign(&thief, Scene::honest().log.head()).to_string();
        }),
        changed("checkpoint of another size", "Checkpoint", |b| {
            b.checkpoint = b.checkpoint.replacen("\n6\n", "\n7\n", 1);
        }),
        changed("older checkpoint than the proofs", "Inclusion", |b| {
            b.checkpoint = shortened(&Scene::honest().log);
        }),
        changed("entry at another place", "Inclusion", |b| b.leaves[2].index = 5),
        changed("entry beyond the tree", "Inclusion", |b| b.leaves[2].index = 6),
        changed("proof with a hash too few", "Inclusion", |b| b.leaves[0].proof.truncate(2)),
        changed("proof with a hash too many", "Inclusion", |b| {
            b.leaves[0].proof.push(Hash::new([0; 32]));
        }),
        changed("proof with two hashes exchanged", "Inclusion", |b| b.leaves[0].proof.swap(0, 1)),
        changed("statement changed", "Inclusion", |b| b.leaves[1].envelope[20] ^= 1),
        changed("signer's registration left out", "Statement", |b| drop(b.leaves.remove(0))),
        changed("consistency proof left out", "SeenUnproved", |b| drop(b.heads.remove(&4))),
        changed("consistency proof changed", "Seen", |b| {
            b.heads.get_mut(&4).unwrap()[0] = Hash::new([7; 32]);
        }),
        changed("head that nobody names", "HeadUnused", |b| {
            b.heads.insert(3, Vec::new());
        }),
        changed("empty head that nobody proves", "HeadUnused", |b| {
            b.heads.insert(0, Vec::new());
        }),
        changed("intent left out", "Intent", |b| drop(b.leaves.remove(1))),
        changed("artifact that nobody names", "ArtifactUnused", |b| {
            b.artifacts.insert(Hash::of(&[b"note"]), b"note".to_vec());
        }),
        changed("vector changed", "ArtifactUnused", |b| {
            b.artifacts = [(Hash::of(&[&other_vector]), other_vector.clone())].into();
        }),
        changed("opening that is no opening", "OpeningForm", |b| b.openings.push(b"{}".to_vec())),
        changed("opening of another record", "OpeningRecord", |b| {
            b.openings.push(Made::new(1).opening(Scene::honest().announced, 0));
        }),
        changed("opening of the record under another nonce", "Opening", |b| {
            b.openings.push(Made::new(2).opening(Scene::honest().attested, 0));
        }),
        changed("opening with a value changed", "Opening", |b| {
            let body =
                String::from_utf8(Made::new(1).opening(Scene::honest().attested, 0)).unwrap();
            assert!(body.contains("\"s\":1,"));
            b.openings.push(body.replacen("\"s\":1,", "\"s\":0,", 1).into_bytes());
        }),
        changed("promise beyond the checkpoint", "Promise", |b| b.complete_from = 7),
        changed("promise of what is not there", "Incomplete", |b| b.complete_from = 4),
        changed("promise of a whole that is a part", "Incomplete", |b| b.complete_from = 0),
    ];
    // Changes that only a dishonest party or log can make, since they are signed.
    cases.push(from_log(
        "more items than totals can hold",
        "Header",
        &Scene::with(|e| {
            e.columns[0].scale.max = (1 << 31) - 1;
            e.columns[0].scale.raw_max = (1 << 31) - 1;
        }),
    ));
    let mut swapped = Scene::with(|e| e.vector = Hash::of(&[&other_vector])).bundle();
    swapped.artifacts = [(Hash::of(&[&other_vector]), other_vector)].into();
    cases.push(Case {
        what: "signed digest of another vector",
        bundle: swapped,
        variant: "Vector",
    });
    cases.push(from_log(
        "totals that the vector does not add up to",
        "Vector",
        &Scene::with(|e| e.columns[0].proof[0] ^= 1),
    ));
    cases
}

#[test]
fn each_fault_has_its_cause() {
    let mut met = BTreeSet::new();
    for Case { what, bundle, variant: expected } in cases() {
        let fault = bundle.verify(&pinned(), &[]).expect_err(what);
        assert_eq!(variant(&fault), expected, "{what}: {fault}");
        met.insert(expected);
        // A bundle that was sent is the same bundle.
        let sent = Bundle::parse(&bundle.to_bytes()).unwrap();
        assert_eq!(sent.verify(&pinned(), &[]).unwrap_err(), fault, "{what}");
    }
    // Those of the reader's policy have a test of their own, in `bundle_keys`.
    assert_eq!(met.len() + 2, VARIANTS, "not met: all but {met:?}");
}

#[test]
fn a_pinned_key_of_the_same_name_is_another_log() {
    let bundle = Scene::honest().bundle();
    let other = seeded("log.example/test", "another key").verifier(KeyKind::Ed25519);
    let fault = bundle.verify(&other, &[]).unwrap_err();
    assert_eq!(variant(&fault), "PolicyLog", "{fault}");
    let witness = key("log.example/test").verifier(KeyKind::Cosignature);
    assert!(bundle.verify(&witness, &[]).is_err());
}
