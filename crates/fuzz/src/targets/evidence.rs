//! Evidence files: made of what honest keys signed, of what dishonest ones did, and with
//! everything signed anew by the dishonest ones around what was changed.

use std::convert::Infallible;
use std::sync::OnceLock;

use exchange::evidence::{SignedOpening, false_opening, judge, statement_fork};
use exchange::predicate::{SealedEnvelope, SealingKeyId};
use exchange::{Envelope, SignedStatement, StatementId, associated_data, body_message};
use tlog::evidence::{
    Accused, Evidence, Kind, KnownKeys, Part, ROLLBACK_SLACK, Role, accuse_heads_by, accuse_leaves,
};
use tlog::{
    Checkpoint, Hash, KeyKind, Note, Receipt, SignedCheckpoint, SigningKey, TreeHead, VerifierKey,
    cosign, leaf_hash, prove_inclusion, prove_prefix,
};

use super::proofs::{Tree, the_tree, tree_of};
use crate::fixtures::{log_key, made, name, signer, signers, statements, tlog_keys};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    let target = |name, seeds, run| Target {
        name,
        shape: Shape::Lines,
        tokens: &[
            b"countersign/evidence@v1\n",
            b"kind two-heads\n",
            b"kind prefix-conflict\n",
            b"kind witness-double-sign\n",
            b"accused log ",
            b"accused witness ",
            b"accused party ",
            b"nodes 1\n",
            b"part checkpoint-a ",
            b"part envelope-b ",
        ],
        seeds,
        run,
        memory: Memory::USUAL,
    };
    vec![
        target("evidence", files, evidence),
        target("evidence-signed-anew", dishonest_files, signed_anew),
    ]
}

/// Keys that break their promises. The party has an honest party's name, and another key.
struct Dishonest {
    log: SigningKey,
    witness: SigningKey,
    party: SigningKey,
}

fn dishonest() -> &'static Dishonest {
    static KEYS: OnceLock<Dishonest> = OnceLock::new();
    KEYS.get_or_init(|| Dishonest {
        log: SigningKey::from_seed(name("dishonest.example/log"), &[0x61; 32]),
        witness: SigningKey::from_seed(name("dishonest-witness.example"), &[0x62; 32]),
        party: SigningKey::from_seed(name("lab-a.example"), &[0x63; 32]),
    })
}

fn accused(role: Role, key: &SigningKey) -> Accused {
    Accused::new(role, key.verifier(role.key_kind())).expect("the kind is the role's")
}

/// Everybody's keys, honest or not.
fn known() -> &'static KnownKeys {
    static KNOWN: OnceLock<KnownKeys> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let Dishonest { log, witness, party } = dishonest();
        let keys = [
            (Role::Log, log_key()),
            (Role::Log, &tlog_keys()[0]),
            (Role::Witness, &tlog_keys()[1]),
            (Role::Log, log),
            (Role::Witness, witness),
            (Role::Party, party),
        ];
        let parties = signers().iter().map(|key| (Role::Party, key));
        keys.into_iter().chain(parties).fold(KnownKeys::default(), |known, (role, key)| {
            known.with(role, key.verifier(role.key_kind()))
        })
    })
}

fn is_dishonest(key: &VerifierKey) -> bool {
    let Dishonest { log, witness, party } = dishonest();
    [log, witness, party].iter().any(|dishonest| dishonest.public() == *key.public())
}

/// The tree of the other targets, and one with another leaf in it: two histories.
fn trees() -> [&'static Tree; 2] {
    static OTHER: OnceLock<Tree> = OnceLock::new();
    let other = OTHER.get_or_init(|| {
        let mut leaves = the_tree().leaves.clone();
        leaves[7] = b"another leaf".to_vec();
        tree_of(leaves)
    });
    [the_tree(), other]
}

fn head_of(tree: &Tree, size: u64) -> TreeHead {
    TreeHead { size, root: tree.roots[size as usize] }
}

/// A checkpoint with a witness's cosignature.
fn note(log: &SigningKey, witness: &SigningKey, head: TreeHead, time: u64) -> Note {
    let signed = SignedCheckpoint::sign(log, head);
    let line = cosign(signed.checkpoint(), witness, time).expect("it is a time");
    signed.note().with_signature(line).expect("a note takes a line")
}

fn receipt(tree: &Tree, index: u64, note: &Note) -> (Hash, Receipt) {
    let size = Checkpoint::parse_text(note.text()).expect("it is a checkpoint").size();
    let Ok(proof) = prove_inclusion(&tree.nodes, index, size);
    let receipt = Receipt::new(index, proof, note.as_bytes()).expect("it is short");
    (leaf_hash(&tree.leaves[index as usize]), receipt)
}

type Parts = Vec<(&'static str, Vec<u8>)>;

fn heads(a: &Note, b: &Note) -> Parts {
    vec![("checkpoint-a", a.as_bytes().to_vec()), ("checkpoint-b", b.as_bytes().to_vec())]
}

fn leaves((leaf_a, a): &(Hash, Receipt), (leaf_b, b): &(Hash, Receipt)) -> Parts {
    let line = |leaf: &Hash| (leaf.to_base64() + "\n").into_bytes();
    vec![
        ("leaf-a", line(leaf_a)),
        ("proof-a", a.to_bytes()),
        ("leaf-b", line(leaf_b)),
        ("proof-b", b.to_bytes()),
    ]
}

/// Files of every form about an honest log, witness and party: none of them proves anything.
fn honest_files() -> Vec<Vec<u8>> {
    let (tree, witness) = (the_tree(), &tlog_keys()[1]);
    let small = note(log_key(), witness, head_of(tree, 12), 1_000);
    let large = note(log_key(), witness, head_of(tree, 20), 2_000);
    let Ok(nodes) = prove_prefix(&tree.nodes, 12, 20);
    let placed = [&small, &large].map(|note| receipt(tree, 7, note));
    let log = || vec![accused(Role::Log, log_key())];
    let both = || vec![accused(Role::Log, log_key()), accused(Role::Witness, witness)];
    let envelopes = [14, 15].map(|at: usize| statements()[at].envelope.as_bytes().to_vec());
    let [intent, attestation] = envelopes;
    let party = || vec![accused(Role::Party, signer("lab-a.example"))];
    let fork = vec![("envelope-a", intent.clone()), ("envelope-b", attestation.clone())];
    let (aad, body, signature) = sealed(signer("lab-a.example"), false);
    let opening = vec![
        ("attestation", attestation),
        ("intent", intent),
        ("aad", line(&aad)),
        ("body", body),
        ("signature", line(&signature)),
    ];
    let files = [
        (Kind::TwoHeads, log(), Vec::new(), heads(&small, &small)),
        (Kind::PrefixConflict, log(), nodes.clone(), heads(&small, &large)),
        (Kind::LeafConflict, log(), Vec::new(), leaves(&placed[0], &placed[1])),
        (Kind::WitnessDoubleSign, both(), nodes, heads(&small, &large)),
        (Kind::WitnessDoubleSign, both(), Vec::new(), leaves(&placed[0], &placed[1])),
        (Kind::WitnessRollback, both()[1..].to_vec(), Vec::new(), heads(&large, &small)),
        (Kind::StatementFork, party(), Vec::new(), fork),
        (Kind::FalseOpening, party(), Vec::new(), opening),
    ];
    let files = files.into_iter().map(|(kind, accused, nodes, parts)| {
        Evidence::new(kind, accused, nodes, parts).expect("it has the form").to_bytes()
    });
    files.collect()
}

fn line(bytes: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    (base64::engine::general_purpose::STANDARD.encode(bytes) + "\n").into_bytes()
}

/// An opening of the vectors' record as it is sealed: associated data, body, signature. A false one
/// opens another total than was committed.
fn sealed(party: &SigningKey, is_false: bool) -> (Vec<u8>, Vec<u8>, [u8; 64]) {
    let attestation = SignedStatement::parse(statements()[15].envelope.as_bytes());
    let attestation = attestation.expect("the vectors are statements");
    let envelope = SealedEnvelope {
        digest: Hash::new([1; 32]),
        reader: name("lab-b.example"),
        key: SealingKeyId::new([2; 8]),
        padded: 4_096,
    };
    let record = StatementId::new(*made().id.as_bytes());
    let aad = associated_data(attestation.statement().common(), &record, &envelope, 1);
    let mut body = made().open(&[1], &["status", "score:accuracy"], true);
    body.items.iter_mut().for_each(|item| item.row = None);
    if is_false {
        body.totals[0].total += 1;
    }
    let body = body.to_bytes().expect("it is short");
    let signature = party.sign(&body_message(&aad, &body));
    (aad, body, signature)
}

/// Files that convict dishonest keys, each of another kind.
fn dishonest_files() -> Vec<Vec<u8>> {
    let ([tree, other], Dishonest { log, witness, party }) = (trees(), dishonest());
    let neutral = &tlog_keys()[1];
    let no_nodes = |_, _| -> Result<Vec<Hash>, Infallible> { unreachable!("sizes are equal") };
    let mut found = Vec::new();
    // The log alone: its witness is an honest one that saw one side only.
    let bare = |head| SignedCheckpoint::sign(log, head).note().clone();
    let (a, b) = (bare(head_of(tree, 12)), note(log, neutral, head_of(other, 12), 5_000));
    found.push(accuse_heads_by(known(), &a, &b, no_nodes).ok().flatten());
    let b = bare(head_of(other, 20));
    let nodes = |old, new| prove_prefix(&other.nodes, old, new);
    found.push(accuse_heads_by(known(), &a, &b, nodes).ok().flatten());
    let (place_a, place_b) = (receipt(tree, 7, &a), receipt(other, 7, &b));
    let pair = |(leaf, receipt): &'static (Hash, Receipt)| (*leaf, receipt);
    let [place_a, place_b] = [place_a, place_b].map(|place| pair(Box::leak(Box::new(place))));
    found.push(accuse_leaves(known(), place_a, place_b).ok().flatten());
    // With its witness, who went back besides.
    let cosigned = |head, time| note(log, witness, head, time);
    let (a, b) = (cosigned(head_of(tree, 12), 1_000), cosigned(head_of(other, 20), 2_000));
    found.push(accuse_heads_by(known(), &a, &b, nodes).ok().flatten());
    let (a, b) = (cosigned(head_of(tree, 12), 9_000), cosigned(head_of(tree, 20), 2_000));
    let nodes = |old, new| prove_prefix(&tree.nodes, old, new);
    found.push(accuse_heads_by(known(), &a, &b, nodes).ok().flatten());
    // A party.
    let intent = statements()[14].payload;
    let sign = |payload: &str| Envelope::sign(payload.as_bytes(), party).expect("it is short");
    let (a, b) = (sign(intent), sign(&intent.replace("\"run\":1", "\"run\":2")));
    found.push(statement_fork(known(), &a, &b).ok().flatten());
    let (aad, body, signature) = sealed(party, true);
    let opening = SignedOpening::Sealed { aad: &aad, body: &body, signature: &signature };
    let (attestation, intent) = (sign(statements()[15].payload), sign(intent));
    found.push(false_opening(known(), &attestation, &intent, &opening).ok().flatten());
    let found = found.into_iter().map(|file| file.expect("dishonest keys are caught").to_bytes());
    found.collect()
}

fn files() -> Vec<Vec<u8>> {
    [dishonest_files(), honest_files()].concat()
}

/// The file with the numbers of bytes and nodes that it should announce, so that most changes get
/// past the form.
fn with_lengths(input: &[u8]) -> Option<Vec<u8>> {
    let lines: Vec<&str> = std::str::from_utf8(input).ok()?.split_inclusive('\n').collect();
    let is_part = |line: &&str| line.starts_with("part ");
    let mut written = String::new();
    for (place, line) in lines.iter().enumerate() {
        let inside = || lines[place + 1..].iter().take_while(|line| !is_part(line));
        match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["part", name, _] => {
                let length: usize = inside().map(|line| line.len()).sum();
                written += &format!("part {name} {length}\n");
            }
            ["nodes", _] => written += &format!("nodes {}\n", inside().count()),
            _ => written += line,
        }
    }
    Some(written.into_bytes())
}

fn evidence(input: &[u8]) -> Verdict {
    let mended = with_lengths(input);
    let mended = mended.map_or(Verdict::Refused, |mended| convicts_nobody_honest(&mended));
    match convicts_nobody_honest(input) {
        Verdict::Refused => mended,
        accepted => accepted,
    }
}

/// Whatever is put together out of what honest keys signed, they are never guilty.
fn convicts_nobody_honest(input: &[u8]) -> Verdict {
    let Ok(file) = Evidence::parse(input) else { return Verdict::Refused };
    assert_eq!(file.to_bytes(), input, "a file has one spelling");
    assert!(Evidence::is_likely(input));
    let parts = file.parts().iter().map(|part| (part.name(), part.bytes().to_vec()));
    let again = Evidence::new(file.kind(), file.accused().to_vec(), file.nodes().to_vec(), parts);
    assert_eq!(again.as_ref(), Ok(&file), "made again");
    let Ok(judgement) = judge(&file, known()) else { return Verdict::Refused };
    for (guilty, _) in judgement.guilty() {
        assert!(is_dishonest(guilty.key()), "{} is honest", guilty.key());
    }
    // Whoever knows no keys convicts nobody.
    if let Ok(judgement) = judge(&file, &KnownKeys::default()) {
        assert_eq!(judgement.guilty().count(), 0, "a key that stands only in the file is guilty");
    }
    Verdict::Accepted
}

/// Dishonest keys sign whatever the file says; convicted are only contradictions.
fn signed_anew(input: &[u8]) -> Verdict {
    let Some(input) = with_lengths(input) else { return Verdict::Refused };
    let Ok(file) = Evidence::parse(&input) else { return Verdict::Refused };
    let Dishonest { log, witness, party } = dishonest();
    let parts: Option<Parts> = file.parts().iter().map(sign_part).collect();
    let Some(parts) = parts else { return Verdict::Refused };
    let mut accusable: Vec<Accused> = Vec::new();
    for role in file.accused().iter().map(Accused::role) {
        let key = accused(role, [log, witness, party][role as usize]);
        if !accusable.contains(&key) {
            accusable.push(key);
        }
    }
    let Ok(file) = Evidence::new(file.kind(), accusable, file.nodes().to_vec(), parts) else {
        return Verdict::Refused;
    };
    let Ok(judgement) = judge(&file, known()) else { return Verdict::Refused };
    if judgement.guilty().next().is_some() {
        assert!(contradicts_itself(&file), "convicted of what can be true: {judgement:?}");
    }
    Verdict::Accepted
}

/// A part as dishonest keys sign it; nothing where there is nothing to sign.
fn sign_part(part: &Part) -> Option<(&'static str, Vec<u8>)> {
    let Dishonest { log, witness, party } = dishonest();
    let sign_note = |old: &Note| {
        let note = Note::sign(old.text(), log).ok()?;
        let Ok(checkpoint) = Checkpoint::parse_text(old.text()) else { return Some(note) };
        let times = old.signatures().iter().filter_map(|line| line.bytes().first_chunk());
        let time = times.map(|time| u64::from_be_bytes(*time)).find(|time| *time < 1 << 40);
        let line = cosign(&checkpoint, witness, time.unwrap_or(1_000)).ok()?;
        note.with_signature(line).ok()
    };
    let bytes = match part.name() {
        "checkpoint-a" | "checkpoint-b" => {
            sign_note(&Note::parse(part.bytes()).ok()?)?.as_bytes().to_vec()
        }
        "proof-a" | "proof-b" => {
            let receipt = Receipt::parse(part.bytes()).ok()?;
            let note = sign_note(receipt.checkpoint())?;
            Receipt::new(receipt.index(), receipt.proof().to_vec(), note.as_bytes())
                .ok()?
                .to_bytes()
        }
        "envelope-a" | "envelope-b" | "attestation" | "intent" | "statement" => {
            let old = Envelope::parse(part.bytes()).ok()?;
            Envelope::sign(old.payload(), party).ok()?.as_bytes().to_vec()
        }
        _ => part.bytes().to_vec(),
    };
    Some((part.name(), bytes))
}

/// By a plain look at the texts, and for histories by comparison with the trees themselves.
fn contradicts_itself(file: &Evidence) -> bool {
    let text = |name| String::from_utf8_lossy(file.part(name)).into_owned();
    let head = |text: &str| {
        let lines: Vec<&str> = text.lines().take(3).collect();
        (lines[0].to_owned(), lines[1].parse::<u64>().unwrap_or(0), lines[2].to_owned())
    };
    // Heads of one tree of the fixtures contradict nothing.
    let one_history = |heads: [&(String, u64, String); 2]| {
        trees().iter().any(|tree| {
            heads.iter().all(|(_, size, root)| {
                let honest = usize::try_from(*size).ok().and_then(|size| tree.roots.get(size));
                honest.is_some_and(|honest| honest.to_base64() == *root)
            })
        })
    };
    match file.kind() {
        Kind::StatementFork => {
            let payload = |name| {
                let envelope = Envelope::parse(file.part(name)).expect("it was judged");
                envelope.payload().to_vec()
            };
            let (a, b) = (payload("envelope-a"), payload("envelope-b"));
            let member = |payload: &[u8], name: &str| {
                let document: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
                document["predicate"][name].to_string()
            };
            let same = |name| member(&a, name) == member(&b, name);
            a != b && same("number") && same("exchange") && same("signer") && same("origin")
        }
        // Values against commitments: what was opened is not what the vectors' record holds.
        Kind::FalseOpening => file.part("body") != sealed(&dishonest().party, false).1,
        Kind::LeafConflict => text("leaf-a") != text("leaf-b"),
        Kind::WitnessDoubleSign if !file.part("leaf-a").is_empty() => {
            text("leaf-a") != text("leaf-b")
        }
        Kind::WitnessRollback => {
            let (a, b) = (head(&text("checkpoint-a")), head(&text("checkpoint-b")));
            let time = |name| {
                let note = Note::parse(file.part(name)).expect("it was judged");
                let witness = dishonest().witness.verifier(KeyKind::Cosignature);
                let mut times = note.signatures().iter().filter(|line| line.names(&witness));
                let time = times.next().and_then(|line| line.bytes().first_chunk().copied());
                u64::from_be_bytes(time.expect("it was cosigned"))
            };
            a.1 > b.1 && time("checkpoint-b") > time("checkpoint-a") + ROLLBACK_SLACK
        }
        _ => {
            let (a, b) = (head(&text("checkpoint-a")), head(&text("checkpoint-b")));
            a.0 == b.0 && a != b && !one_history([&a, &b])
        }
    }
}
