//! Evidence against logs and witnesses: the published vectors, every kind against a key that did it,
//! and every way in which a file proves nothing.

use proptest::prelude::*;
use tlog::evidence::{
    Accused, BuildError, Evidence, Fault, Kind, KnownKeys, MAX_NODES, ROLLBACK_SLACK, Role,
    accuse_heads, accuse_heads_by, accuse_leaves,
};
use tlog::{
    Hash, KeyKind, MemoryNodes, NodeReader, Note, ProofError, Receipt, SignedCheckpoint,
    SigningKey, TreeHead, cosign, leaf_hash, node_hash, prefix_roots, prove_inclusion,
    prove_prefix, root_at,
};

use crate::vectors::{key, log, log_key, witness, witness_key};

/// The rule of the format's text, word for word: the loop of RFC 9162 section 2.1.4.2, begun from
/// a node of the larger tree. Shares no code with the crate.
fn rule(m: u64, n: u64, nodes: &[Hash]) -> Option<(Hash, Hash)> {
    if m < 1 || m >= n || nodes.is_empty() || nodes.len() > 64 {
        return None;
    }
    let (mut fnn, mut sn) = (m - 1, n - 1);
    while fnn & 1 == 1 {
        fnn >>= 1;
        sn >>= 1;
    }
    let (mut fr, mut sr) = (nodes[0], nodes[0]);
    for c in &nodes[1..] {
        if sn == 0 {
            return None;
        }
        if fnn & 1 == 1 || fnn == sn {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while fnn & 1 == 0 && fnn != 0 {
                fnn >>= 1;
                sn >>= 1;
            }
        } else {
            sr = node_hash(&sr, c);
        }
        fnn >>= 1;
        sn >>= 1;
    }
    (sn == 0).then_some((fr, sr))
}

fn hex(text: &str) -> Hash {
    Hash::from_hex(text).unwrap()
}

fn tree<'a>(entries: impl IntoIterator<Item = &'a str>) -> MemoryNodes {
    entries.into_iter().map(|entry| leaf_hash(entry.as_bytes())).collect()
}

fn signed(head: TreeHead) -> Note {
    SignedCheckpoint::sign(&log_key(), head).note().clone()
}

/// With the cosignature of a witness, at a time.
fn cosigned(note: &Note, witness: &SigningKey, time: u64) -> Note {
    let checkpoint = tlog::Checkpoint::parse_text(note.text()).unwrap();
    note.with_signature(cosign(&checkpoint, witness, time).unwrap()).unwrap()
}

/// What a reader knows who has pinned the log and one witness.
fn known() -> KnownKeys {
    KnownKeys::default().with(Role::Log, log()).with(Role::Witness, witness())
}

fn accused_log() -> Accused {
    Accused::new(Role::Log, log()).unwrap()
}

/// A file over two notes against the log.
fn against_log(kind: Kind, a: &Note, b: &Note, nodes: Vec<Hash>) -> Evidence {
    heads(kind, vec![accused_log()], a, b, nodes)
}

fn heads(kind: Kind, accused: Vec<Accused>, a: &Note, b: &Note, nodes: Vec<Hash>) -> Evidence {
    let parts = [("checkpoint-a", a.as_bytes().to_vec()), ("checkpoint-b", b.as_bytes().to_vec())];
    Evidence::new(kind, accused, nodes, parts).unwrap()
}

fn guilty(evidence: &Evidence, known: &KnownKeys) -> Vec<String> {
    let judgement = evidence.judge(known).unwrap_or_else(|fault| panic!("{fault}"));
    judgement.guilty().map(|(key, name)| format!("{} {name}", key.role())).collect()
}

/// Root of a, root of b, nodes, and whether a is no prefix of b.
type PrefixVector = (u64, &'static str, u64, &'static str, &'static [&'static str], bool);

const PREFIX_VECTORS: [PrefixVector; 3] = [
    (
        2,
        "3ea3f8423cf12b1398d6e9b468114e368fceab86b53bcc57adb29a1564c0226d",
        3,
        "b79a9b356b7ca3f7b3a32feaba5fd90da001b4314ac462102ef2a973f58a1f7a",
        &[
            "ac07e71e25fbc80b71d8b98f9dea3850f8836cac2d95aed52e7415d48dc2f3d9",
            "e0aa59c39192da9adcbda848d2c9aa11e5b249315ded98449ae3fc5ed361a238",
        ],
        true,
    ),
    (
        3,
        "f6ee8bcc9daa22bc0d5355fb7d3f2c429fc43da07838f4288caa193373c95e56",
        5,
        "82083e682d3d36f58f852e53799a7f3440c0e0ba3c57c137008e71610ccffd85",
        &[
            "e0aa59c39192da9adcbda848d2c9aa11e5b249315ded98449ae3fc5ed361a238",
            "d11edf2b22a5e116c89e7242dbfce68bfa304f2e9b9533b5a8ba24a9db30fe28",
            "ac07e71e25fbc80b71d8b98f9dea3850f8836cac2d95aed52e7415d48dc2f3d9",
            "a44f62f1d5e749e2e342d7c0ed9fbefb4115eaf6429f09559ae131e6252089b0",
        ],
        true,
    ),
    (
        3,
        "f6ee8bcc9daa22bc0d5355fb7d3f2c429fc43da07838f4288caa193373c95e56",
        5,
        "f0e1bc9cc820b504db2e25550f4acb8bd79aaba930efcc4893d73388519661bc",
        &[
            "e0aa59c39192da9adcbda848d2c9aa11e5b249315ded98449ae3fc5ed361a238",
            "d11edf2b22a5e116c89e7242dbfce68bfa304f2e9b9533b5a8ba24a9db30fe28",
            "3ea3f8423cf12b1398d6e9b468114e368fceab86b53bcc57adb29a1564c0226d",
            "a44f62f1d5e749e2e342d7c0ed9fbefb4115eaf6429f09559ae131e6252089b0",
        ],
        false,
    ),
];

#[test]
fn prefix_conflicts_are_as_in_the_vectors() {
    let trees = [
        (tree(["a", "bb"]), tree(["a", "BB", "ccc"])),
        (tree(["a", "bb", "ccc"]), tree(["a", "BB", "ccc", "dddd", "eeeee"])),
        (tree(["a", "bb", "ccc"]), tree(["a", "bb", "ccc", "dddd", "eeeee"])),
    ];
    for ((m, root_a, n, root_b, nodes, conflict), (a, b)) in PREFIX_VECTORS.into_iter().zip(trees) {
        let nodes: Vec<Hash> = nodes.iter().map(|node| hex(node)).collect();
        assert_eq!(a.head(), TreeHead { size: m, root: hex(root_a) });
        assert_eq!(b.head(), TreeHead { size: n, root: hex(root_b) });
        assert_eq!(prove_prefix(&b, m, n), Ok(nodes.clone()));
        assert_eq!(prefix_roots(m, n, &nodes).ok(), rule(m, n, &nodes));
        let evidence =
            against_log(Kind::PrefixConflict, &signed(a.head()), &signed(b.head()), nodes);
        if conflict {
            assert_eq!(guilty(&evidence, &known()), ["log evallog.example/ab"], "{m} in {n}");
        } else {
            assert_eq!(evidence.judge(&known()), Err(Fault::Compatible));
        }
    }
}

#[test]
fn a_prefix_conflict_reads_as_published() {
    let (a, b) = (tree(["a", "bb"]), tree(["a", "BB", "ccc"]));
    let (a, b) = (signed(a.head()), signed(b.head()));
    let nodes = PREFIX_VECTORS[0].4.iter().map(|node| hex(node)).collect();
    let file = against_log(Kind::PrefixConflict, &a, &b, nodes).to_bytes();
    let expected = format!(
        "countersign/evidence@v1\nkind prefix-conflict\n\
         accused log evallog.example/ab+e354eecf+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3\n\
         nodes 2\nrAfnHiX7yAtx2LmPneo4UPiDbKwtla7VLnQV1I3C89k=\n\
         4KpZw5GS2prcvahI0smqEeWySTFd7ZhEmuP8XtNhojg=\n\
         part checkpoint-a 183\n{a}part checkpoint-b 183\n{b}"
    );
    assert_eq!(String::from_utf8(file).unwrap(), expected);
}

#[test]
fn the_nodes_give_both_roots_for_all_sizes() {
    for n in 2..40 {
        let nodes: MemoryNodes = crate::vectors::numbered(n).collect();
        for m in 1..n {
            let Ok(list) = prove_prefix(&nodes, m, n);
            let (Ok(older), Ok(newer)) = (root_at(&nodes, m), root_at(&nodes, n));
            assert_eq!(prefix_roots(m, n, &list), Ok((older, newer)), "{m} in {n}");
            assert_eq!(rule(m, n, &list), Some((older, newer)), "{m} in {n}");
            for wrong in [0, list.len() - 1, list.len() + 1] {
                let mut list = list.clone();
                list.resize(wrong, older);
                let refused = prefix_roots(m, n, &list);
                let length = matches!(refused, Err(ProofError::Length { .. }));
                assert!(length, "{m} in {n} with {wrong} nodes: {refused:?}");
            }
        }
    }
    let node = hex(PREFIX_VECTORS[0].1);
    for (m, n, count) in [(3, 3, 1), (4, 3, 1), (0, 3, 1), (1, 1 << 63, 64)] {
        assert!(prefix_roots(m, n, &vec![node; count]).is_err(), "{m} in {n}");
    }
    // The largest list that sizes can call for fits a file.
    let largest = prefix_roots((1 << 62) + 1, (1 << 63) - 1, &[]);
    let Err(ProofError::Length { expected, .. }) = largest else { panic!("{largest:?}") };
    assert!(expected <= MAX_NODES, "{expected}");
}

/// Two histories that part at `fork`, of these sizes; equal if the fork is beyond both.
fn histories(fork: u64, m: u64, n: u64) -> (MemoryNodes, MemoryNodes) {
    let leaf = |side: &str, i: u64| {
        let side = if i < fork { "" } else { side };
        leaf_hash(format!("{side}leaf-{i}").as_bytes())
    };
    ((0..m).map(|i| leaf("a ", i)).collect(), (0..n).map(|i| leaf("b ", i)).collect())
}

/// The larger of two trees.
fn larger<'a>(a: &'a MemoryNodes, b: &'a MemoryNodes) -> &'a MemoryNodes {
    if a.size() > b.size() { a } else { b }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Complete: whatever forks, and wherever, is proved. Sound: what doesn't, isn't.
    #[test]
    fn forks_are_proved_and_honest_pairs_are_not(fork in 0..70_u64, m in 1..70_u64, n in 1..70_u64) {
        let (a, b) = histories(fork, m, n);
        let made = accuse_heads(&known(), &signed(a.head()), &signed(b.head()), larger(&a, &b));
        let made = made.unwrap();
        prop_assert_eq!(made.is_some(), fork < m.min(n), "fork at {} of {} and {}", fork, m, n);
        let Some(evidence) = made else { return Ok(()) };
        let kind = if m == n { Kind::TwoHeads } else { Kind::PrefixConflict };
        prop_assert_eq!(evidence.kind(), kind);
        let sent = Evidence::parse(&evidence.to_bytes()).unwrap();
        prop_assert_eq!(guilty(&sent, &known()), ["log evallog.example/ab"]);
    }

    /// A broken promise is proved from two receipts alone, at every index behind the fork.
    #[test]
    fn receipts_of_a_fork_are_proved(
        fork in 0..20_u64, m in 1..20_u64, n in 1..20_u64, index in 0..20_u64,
    ) {
        let (a, b) = histories(fork, m, n);
        prop_assume!(index < m.min(n));
        let (a, b) = (receipt(&a, index), receipt(&b, index));
        let made = accuse_leaves(&known(), (a.0, &a.1), (b.0, &b.1)).unwrap();
        prop_assert_eq!(made.is_some(), index >= fork);
        if let Some(evidence) = made {
            let sent = Evidence::parse(&evidence.to_bytes()).unwrap();
            prop_assert_eq!(guilty(&sent, &known()), ["log evallog.example/ab"]);
        }
    }
}

/// A leaf of a tree with its receipt under the log's key.
fn receipt(nodes: &MemoryNodes, index: u64) -> (Hash, Receipt) {
    let Ok(leaf) = nodes.node(0, index);
    let Ok(proof) = prove_inclusion(nodes, index, nodes.size());
    (leaf, Receipt::new(index, proof, signed(nodes.head()).as_bytes()).unwrap())
}

#[test]
fn witnesses_that_signed_both_sides_are_named_with_the_log() {
    let others: Vec<SigningKey> =
        (1..=3).map(|n| key(&format!("witness.example/{n}"), n)).collect();
    let known = others.iter().fold(KnownKeys::default().with(Role::Log, log()), |known, other| {
        known.with(Role::Witness, other.verifier(KeyKind::Cosignature))
    });
    for (fork, m, n) in [(3, 5, 5), (3, 4, 9), (3, 9, 4)] {
        let (a, b) = histories(fork, m, n);
        // The first signs a alone, the second both, the third both; nobody knows the fourth.
        let unknown = witness_key();
        let note_a = [&others[0], &others[1], &others[2], &unknown]
            .iter()
            .fold(signed(a.head()), |note, other| cosigned(&note, other, 1_000));
        let note_b = [&others[1], &others[2], &unknown]
            .iter()
            .fold(signed(b.head()), |note, other| cosigned(&note, other, 2_000));
        let evidence = accuse_heads(&known, &note_a, &note_b, larger(&a, &b)).unwrap().unwrap();
        assert_eq!(evidence.kind(), Kind::WitnessDoubleSign);
        let expected =
            ["log evallog.example/ab", "witness witness.example/2", "witness witness.example/3"];
        assert_eq!(guilty(&evidence, &known), expected);
        // Lines of those who are not accused don't travel with it.
        let text = String::from_utf8(evidence.to_bytes()).unwrap();
        assert!(!text.contains("witness.example/1 ") && !text.contains("witness.example/w1"));

        // One witness alone can be accused, in each of the three forms.
        let accused =
            vec![Accused::new(Role::Witness, others[1].verifier(KeyKind::Cosignature)).unwrap()];
        let (small, large) = if m <= n { (&note_a, &note_b) } else { (&note_b, &note_a) };
        let nodes = evidence.nodes().to_vec();
        let alone = heads(Kind::WitnessDoubleSign, accused.clone(), small, large, nodes);
        assert_eq!(guilty(&alone, &known), ["witness witness.example/2"]);
        let (leaf_a, receipt_a) = with_note(receipt(&a, 3), &note_a);
        let (leaf_b, receipt_b) = with_note(receipt(&b, 3), &note_b);
        let leaves = accuse_leaves(&known, (leaf_a, &receipt_a), (leaf_b, &receipt_b));
        assert_eq!(guilty(&leaves.unwrap().unwrap(), &known), expected);
    }
}

fn with_note((leaf, receipt): (Hash, Receipt), note: &Note) -> (Hash, Receipt) {
    let proof = receipt.proof().to_vec();
    (leaf, Receipt::new(receipt.index(), proof, note.as_bytes()).unwrap())
}

#[test]
fn a_witness_that_went_back_is_proved_beyond_the_slack() {
    let (a, b) = histories(100, 9, 4);
    let (large, small) = (signed(a.head()), signed(b.head()));
    for (first, last, guilty_of_it) in [
        (1_000, 1_000 + ROLLBACK_SLACK + 1, true),
        (1_000, 1_000 + ROLLBACK_SLACK, false),
        (1_000, 1_000, false),
        (1_000, 900, false),
        (u64::MAX >> 1, 900, false),
    ] {
        let large = cosigned(&large, &witness_key(), first);
        let small = cosigned(&small, &witness_key(), last);
        let made = accuse_heads(&known(), &small, &large, &a).unwrap();
        assert_eq!(made.is_some(), guilty_of_it, "{first}, then {last}");
        let Some(evidence) = made else {
            let accused = vec![Accused::new(Role::Witness, witness()).unwrap()];
            let made_up = heads(Kind::WitnessRollback, accused, &large, &small, Vec::new());
            assert!(matches!(made_up.judge(&known()), Err(Fault::InOrder { .. })));
            continue;
        };
        assert_eq!(evidence.kind(), Kind::WitnessRollback);
        assert_eq!(guilty(&evidence, &known()), ["witness witness.example/w1"]);
        // It needs no tree.
        let without = accuse_heads_by(&known(), &small, &large, |_, _| Err("withheld"));
        assert_eq!(without, Ok(Some(evidence)));
    }
    // Cosigning one tree again and again, later each time, is what an honest witness does.
    let again = [10, 500, 9_000]
        .iter()
        .fold(large.clone(), |note, time| cosigned(&note, &witness_key(), *time));
    let before = cosigned(&small, &witness_key(), 5);
    assert_eq!(accuse_heads(&known(), &before, &again, &a), Ok(None));
    // Whoever looks at the larger head's first time and the smaller one's last sees the lie.
    let after = cosigned(&small, &witness_key(), 600);
    assert!(accuse_heads(&known(), &after, &again, &a).unwrap().is_some());
}

#[test]
fn a_key_that_stands_only_in_the_file_is_unknown_not_guilty() {
    let (a, b) = histories(3, 5, 5);
    let evidence = against_log(Kind::TwoHeads, &signed(a.head()), &signed(b.head()), Vec::new());
    let nobody = evidence.judge(&KnownKeys::default()).unwrap();
    assert_eq!(nobody.guilty().count(), 0);
    assert_eq!(nobody.unknown().map(|key| key.key()).collect::<Vec<_>>(), [&log()]);
    assert!(nobody.to_string().starts_with("nobody that you know is guilty"), "{nobody}");
    // The same name under another key, and the same key under another name or in another role.
    let namesake = key("evallog.example/ab", 0x77).verifier(KeyKind::Ed25519);
    let renamed = key("other.example", 0x11).verifier(KeyKind::Ed25519);
    for (role, other) in [(Role::Log, namesake), (Role::Log, renamed), (Role::Party, log())] {
        let judgement = evidence.judge(&KnownKeys::default().with(role, other)).unwrap();
        assert_eq!(judgement.guilty().count(), 0);
    }
    // A cosignature does not cover its signer's name, so a witness is known by its key.
    let (note_a, note_b) = (signed(a.head()), signed(b.head()));
    let (note_a, note_b) =
        (cosigned(&note_a, &witness_key(), 7), cosigned(&note_b, &witness_key(), 8));
    let accused = vec![Accused::new(Role::Witness, witness()).unwrap()];
    let evidence = heads(Kind::WitnessDoubleSign, accused, &note_a, &note_b, Vec::new());
    let renamed = key("our.name.for/it", 0x22).verifier(KeyKind::Cosignature);
    let known = KnownKeys::default().with(Role::Witness, renamed);
    assert_eq!(guilty(&evidence, &known), ["witness our.name.for/it"]);
}

#[test]
fn every_fault_is_named() {
    let (a, b) = histories(3, 5, 9);
    let (c, _) = histories(100, 5, 9);
    let [note_a, note_b, note_c] = [a.head(), b.head(), c.head()].map(signed);
    let Ok(nodes) = prove_prefix(&b, 5, 9);
    let foreign = SignedCheckpoint::sign(&key("other.example", 0x11), a.head()).note().clone();
    let thief = SignedCheckpoint::sign(&key("evallog.example/ab", 0x77), b.head()).note().clone();
    let bad_line = {
        // The known witness is named, and its signature is over another head.
        let other = cosigned(&note_b, &witness_key(), 7);
        note_a.with_signature(other.signatures()[1].clone()).unwrap()
    };
    let witness_accused = || vec![Accused::new(Role::Witness, witness()).unwrap()];
    let log_accused = || vec![accused_log()];
    let none = Vec::new;
    let mut changed_nodes = nodes.clone();
    changed_nodes[0] = Hash::new([9; 32]);
    let cases: Vec<(&str, Evidence, &str)> = vec![
        ("one head twice", against_log(Kind::TwoHeads, &note_a, &note_a, none()), "Compatible"),
        ("two sizes", against_log(Kind::TwoHeads, &note_a, &note_b, none()), "Sizes"),
        (
            "a prefix",
            against_log(Kind::PrefixConflict, &note_c, &note_b, {
                let Ok(nodes) = prove_prefix(&histories(100, 5, 9).1, 5, 9);
                nodes
            }),
            "ForeignNodes",
        ),
        (
            "an honest pair",
            against_log(Kind::PrefixConflict, &note_c, &signed(histories(100, 5, 9).1.head()), {
                let Ok(nodes) = prove_prefix(&histories(100, 5, 9).1, 5, 9);
                nodes
            }),
            "Compatible",
        ),
        (
            "sizes exchanged",
            against_log(Kind::PrefixConflict, &note_b, &note_a, nodes.clone()),
            "Sizes",
        ),
        (
            "a node changed",
            against_log(Kind::PrefixConflict, &note_a, &note_b, changed_nodes),
            "ForeignNodes",
        ),
        (
            "a node too few",
            against_log(Kind::PrefixConflict, &note_a, &note_b, nodes[1..].to_vec()),
            "Nodes",
        ),
        (
            "the seed of an ordinary proof left out",
            {
                // Sizes 4 and 9: the proof leaves out its first node, as the verifier knows it.
                let (a, b) = histories(3, 4, 9);
                let Ok(proof) = tlog::prove_consistency(&b, 4, 9);
                against_log(Kind::PrefixConflict, &signed(a.head()), &signed(b.head()), proof)
            },
            "Nodes",
        ),
        ("other logs", against_log(Kind::TwoHeads, &note_a, &foreign, none()), "Note"),
        ("a thief's head", against_log(Kind::TwoHeads, &note_a, &thief, none()), "Note"),
        (
            "a known witness's bad line",
            against_log(Kind::PrefixConflict, &bad_line, &note_b, nodes.clone()),
            "Note",
        ),
        (
            "a witness that signed one side",
            heads(
                Kind::WitnessDoubleSign,
                witness_accused(),
                &cosigned(&note_a, &witness_key(), 7),
                &note_b,
                nodes.clone(),
            ),
            "NotSigned",
        ),
        (
            "a rollback of growing sizes",
            heads(
                Kind::WitnessRollback,
                witness_accused(),
                &cosigned(&note_a, &witness_key(), 7),
                &cosigned(&note_b, &witness_key(), 900),
                none(),
            ),
            "Sizes",
        ),
        (
            "no note",
            Evidence::new(
                Kind::TwoHeads,
                log_accused(),
                none(),
                [("checkpoint-a", b"x".to_vec()), ("checkpoint-b", b"y".to_vec())],
            )
            .unwrap(),
            "Note",
        ),
        (
            "no checkpoint",
            {
                let text = Note::sign("evallog.example/ab\n", &log_key()).unwrap();
                against_log(Kind::TwoHeads, &text, &text, none())
            },
            "Checkpoint",
        ),
        (
            "checkpoints of two logs by one witness",
            heads(
                Kind::WitnessDoubleSign,
                witness_accused(),
                &cosigned(&note_a, &witness_key(), 7),
                &cosigned(&foreign, &witness_key(), 8),
                none(),
            ),
            "Origins",
        ),
    ];
    for (what, evidence, expected) in cases {
        let fault = evidence.judge(&known()).expect_err(what);
        let shown = format!("{fault:?}");
        assert!(shown.starts_with(expected), "{what}: {shown}");
    }
    let (leaf_a, receipt_a) = receipt(&a, 3);
    let (leaf_b, receipt_b) = receipt(&b, 3);
    let (_, elsewhere) = receipt(&b, 4);
    let line = |leaf: Hash| format!("{}\n", leaf.to_base64()).into_bytes();
    let leaves = |a: Vec<u8>, proof_a: &Receipt, b: Vec<u8>, proof_b: &Receipt| {
        let parts = [
            ("leaf-a", a),
            ("proof-a", proof_a.to_bytes()),
            ("leaf-b", b),
            ("proof-b", proof_b.to_bytes()),
        ];
        Evidence::new(Kind::LeafConflict, log_accused(), none(), parts).unwrap()
    };
    let good = leaves(line(leaf_a), &receipt_a, line(leaf_b), &receipt_b);
    assert_eq!(guilty(&good, &known()), ["log evallog.example/ab"]);
    for (what, evidence, expected) in [
        ("one leaf", leaves(line(leaf_a), &receipt_a, line(leaf_a), &receipt_a), "Compatible"),
        ("another leaf", leaves(line(leaf_b), &receipt_a, line(leaf_b), &receipt_b), "Inclusion"),
        ("another index", leaves(line(leaf_a), &receipt_a, line(leaf_b), &elsewhere), "Inclusion"),
        (
            "two entries",
            leaves(line(leaf_a), &receipt_a, line(receipt(&b, 4).0), &elsewhere),
            "Indices",
        ),
        (
            "no newline",
            leaves(line(leaf_a)[..44].to_vec(), &receipt_a, line(leaf_b), &receipt_b),
            "Leaf",
        ),
        ("no hash", leaves(b"x\n".to_vec(), &receipt_a, line(leaf_b), &receipt_b), "Leaf"),
    ] {
        let fault = evidence.judge(&known()).expect_err(what);
        let shown = format!("{fault:?}");
        assert!(shown.starts_with(expected), "{what}: {shown}");
    }
    let fork = Evidence::new(
        Kind::StatementFork,
        vec![Accused::new(Role::Party, log()).unwrap()],
        none(),
        [("envelope-a", b"{}".to_vec()), ("envelope-b", b"{}".to_vec())],
    );
    assert_eq!(fork.unwrap().judge(&known()), Err(Fault::Statements(Kind::StatementFork)));
}

#[test]
fn builders_refuse_what_does_not_fit_together() {
    let (a, b) = histories(3, 5, 9);
    let (_, other) = histories(2, 5, 9);
    let (note_a, note_b) = (signed(a.head()), signed(b.head()));
    let stranger =
        KnownKeys::default().with(Role::Log, key("log.example", 1).verifier(KeyKind::Ed25519));
    let nobody = accuse_heads(&stranger, &note_a, &note_b, &b);
    assert!(matches!(nobody, Err(BuildError::NobodySignedBoth)), "{nobody:?}");
    let foreign = SignedCheckpoint::sign(&key("other.example", 0x11), b.head()).note().clone();
    let origins = accuse_heads(&known(), &note_a, &foreign, &b);
    assert!(matches!(origins, Err(BuildError::Origins { .. })), "{origins:?}");
    let tiles = accuse_heads(&known(), &note_a, &note_b, &other);
    assert!(matches!(tiles, Err(BuildError::Unfit(Fault::ForeignNodes { .. }))), "{tiles:?}");
    let withheld = accuse_heads_by(&known(), &note_a, &note_b, |_, _| Err("404"));
    assert_eq!(withheld, Err(BuildError::Nodes { size: 9, cause: "404" }));
    // A log that adds a line by a known witness whose signature fails can't spoil the file.
    let spoiled = {
        let line = cosigned(&note_b, &witness_key(), 7).signatures()[1].clone();
        note_a.with_signature(line).unwrap()
    };
    let evidence = accuse_heads(&known(), &spoiled, &note_b, &b).unwrap().unwrap();
    assert_eq!(guilty(&evidence, &known()), ["log evallog.example/ab"]);
    // An empty tree is a prefix of every tree.
    let empty = signed(TreeHead::EMPTY);
    assert_eq!(accuse_heads(&known(), &empty, &note_b, &b), Ok(None));
    let (leaf_a, receipt_a) = receipt(&a, 3);
    let (leaf_b, receipt_b) = receipt(&b, 4);
    let apart = accuse_leaves(&known(), (leaf_a, &receipt_a), (leaf_b, &receipt_b));
    assert!(matches!(apart, Err(BuildError::Unfit(Fault::Indices { .. }))), "{apart:?}");
    let false_leaf = accuse_leaves(&known(), (leaf_a, &receipt_a), (leaf_b, &receipt_a));
    assert!(matches!(false_leaf, Err(BuildError::Unfit(Fault::Inclusion { .. }))));
}

#[test]
fn keys_are_known_in_their_role_alone() {
    let known = KnownKeys::default().with(Role::Witness, log()).with(Role::Log, witness());
    assert!(known.of(Role::Witness).is_empty() && known.of(Role::Log).is_empty());
    assert_eq!(Accused::new(Role::Witness, log()), None);
    assert_eq!(Accused::new(Role::Party, witness()), None);
}
