//! Texts of C2SP: names, keys, notes, checkpoints, cosignatures, policies, receipts, requests to
//! witnesses.

use std::sync::OnceLock;

use exchange::KeyReference;
use tlog::{
    AddCheckpoint, Checkpoint, Hash, KeyKind, KeyName, Note, NoteSignature, Policy, PublicKey,
    Receipt, SignedCheckpoint, TreeHead, VerifierKey, decide, parse_size_answer,
};

use super::one_in_eight;
use crate::fixtures::{example, list, text, tlog_keys, tlog_log, tlog_vectors};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

const TOKENS: &[&[u8]] = &[
    "— ".as_bytes(),
    b"\n\n",
    b"\n",
    b"extra ",
    b"index ",
    b"old ",
    b"log ",
    b"witness ",
    b"group ",
    b"quorum ",
    b"none",
    b"all",
    b"any",
    b"c2sp.org/tlog-proof@v1\n",
    b"+",
    b" 5\n",
    b"#",
    b"evallog.example/ab",
    b"cosignature/v1\n",
];

pub(super) fn targets() -> Vec<Target> {
    let target = |name, seeds, run| Target {
        name,
        shape: Shape::Lines,
        tokens: TOKENS,
        seeds,
        run,
        memory: Memory::USUAL,
    };
    vec![
        target("key-name", names, key_name),
        target("vkey", vkeys, vkey),
        target("note", notes, note),
        target("checkpoint", checkpoint_texts, checkpoint),
        target("cosignatures", cosignature_lines, cosignatures),
        target("policy", policies, policy),
        target("receipt", receipts, receipt),
        target("add-checkpoint", requests, add_checkpoint),
        target("size-answer", || vec![b"5\n".to_vec(), b"0\n".to_vec()], size_answer),
    ]
}

fn bytes<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A member of each element of a list of the vectors.
fn each(path: &str, member: &str) -> Vec<Vec<u8>> {
    let elements = list(tlog_vectors(), path).iter();
    bytes(elements.filter_map(|element| element.get(member)?.as_str()))
}

fn names() -> Vec<Vec<u8>> {
    let mut seeds =
        bytes(["lab-a.example", "log.example/one", "ü", "名前", "a", "lab-a.example+f3e14878", ""]);
    seeds.push("x".repeat(128).into_bytes());
    seeds
}

fn key_name(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    if let Ok(reference) = KeyReference::parse(text) {
        assert_eq!(reference.to_string(), text, "a key reference has one spelling");
        return Verdict::Accepted;
    }
    let Ok(name) = KeyName::parse(text) else { return Verdict::Refused };
    assert_eq!(name.as_str(), text);
    assert!(text.len() <= 128 && !text.contains(['+', ' ', '\n', '\0', '\u{85}', '\u{202e}']));
    // What is a name can stand in a vkey and in a note.
    let vkey = VerifierKey::new(name, KeyKind::Ed25519, *tlog_log().public());
    assert_eq!(VerifierKey::parse(&vkey.to_string()), Ok(vkey));
    Verdict::Accepted
}

fn vkeys() -> Vec<Vec<u8>> {
    let mut seeds = each("reject_vkeys", "vkey");
    for key in tlog_keys() {
        for kind in [KeyKind::Ed25519, KeyKind::Cosignature] {
            seeds.push(key.verifier(kind).to_string().into_bytes());
        }
    }
    seeds
}

/// Also with the id put right, so that the key behind it is looked at.
fn vkey(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    let mut verdict = Verdict::Refused;
    let repaired = repair(text);
    for text in [Some(text), repaired.as_deref()].into_iter().flatten() {
        let Ok(key) = VerifierKey::parse(text) else { continue };
        assert_eq!(key.to_string(), text, "a vkey has one spelling");
        assert_eq!(PublicKey::from_bytes(key.public().as_bytes()), Ok(*key.public()));
        verdict = Verdict::Accepted;
    }
    verdict
}

fn repair(text: &str) -> Option<String> {
    use base64::Engine as _;
    let mut parts = text.splitn(3, '+');
    let (name, _, key) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = base64::engine::general_purpose::STANDARD.decode(key).ok()?;
    let id = Hash::of(&[name.as_bytes(), b"\n", &bytes]);
    Some(format!("{name}+{}+{key}", &id.to_string()[..8]))
}

fn notes() -> Vec<Vec<u8>> {
    let mut seeds = bytes(["checkpoint", "cosigned_checkpoint"].map(example));
    seeds.extend(each("accept_notes", "note"));
    seeds.extend(each("reject_notes", "note").into_iter().filter(|note| note.len() < 4_096));
    seeds
}

fn note(input: &[u8]) -> Verdict {
    let Ok(note) = Note::parse(input) else { return Verdict::Refused };
    assert_eq!(note.as_bytes(), input, "a note is written byte for byte");
    let lines: String = note.signatures().iter().map(ToString::to_string).collect();
    assert_eq!(format!("{}\n{lines}", note.text()).as_bytes(), input, "text and lines join");
    if let Ok(opened) = SignedCheckpoint::open(input, tlog_log()) {
        // Only what the log signed opens, and in the vectors it signed few texts.
        assert!(signed_texts().contains(&opened.checkpoint().text()), "a forged checkpoint");
        let bare = opened.without_cosignatures(tlog_log()).expect("the log signed it");
        assert_eq!(bare.head(), opened.head());
    }
    if let Some(line) = note.signatures().first() {
        assert_eq!(note.with_signature(line.clone()).as_ref(), Ok(&note));
    }
    Verdict::Accepted
}

/// Texts of notes in the vectors that the log's key signed, whatever they are.
fn signed_texts() -> &'static [&'static str] {
    static TEXTS: OnceLock<Vec<&'static str>> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let mut all = vec![example("checkpoint"), example("cosigned_checkpoint")];
        for path in ["accept_notes", "reject_notes", "reject_checkpoints"] {
            all.extend(list(tlog_vectors(), path).iter().map(|note| text(note, "note")));
        }
        all.into_iter()
            .filter_map(|note| Some(note.rsplit_once("\n\n")?.0))
            .flat_map(ended)
            .collect()
    })
}

/// The text with its last newline, which parted it from the empty line.
fn ended(text: &'static str) -> Option<&'static str> {
    let whole = format!("{text}\n");
    Some(Box::leak(whole.into_boxed_str()))
}

fn checkpoint_texts() -> Vec<Vec<u8>> {
    let mut seeds = bytes([
        example("checkpoint_text"),
        "evallog.example/ab\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
        "evallog.example/ab\n9223372036854775807\n8OG8nMggtQTbLiVVD0rLi9eaq6kw78xIk9cziFGWYbw=\n\
         extension one\nextension two\n",
    ]);
    for note in each("reject_checkpoints", "note") {
        let text = String::from_utf8_lossy(&note).into_owned();
        seeds.extend(text.rsplit_once("\n\n").map(|(text, _)| format!("{text}\n").into_bytes()));
    }
    seeds
}

/// Signs the text, so that the checks behind the signature are reached.
fn checkpoint(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    let parsed = Checkpoint::parse_text(text);
    if let Ok(parsed) = &parsed {
        assert_eq!(parsed.text(), text);
        let head = parsed.head();
        let rest: String = parsed.extensions().map(|line| format!("{line}\n")).collect();
        let root = head.root.to_base64();
        assert_eq!(format!("{}\n{}\n{root}\n{rest}", parsed.origin(), head.size), text);
    }
    if parsed.is_err() && !one_in_eight(input) {
        return Verdict::Refused;
    }
    let Ok(note) = Note::sign(text, &tlog_keys()[0]) else {
        assert!(parsed.is_err(), "a checkpoint's text can be signed");
        return Verdict::Refused;
    };
    let opened = SignedCheckpoint::open(note.as_bytes(), tlog_log());
    let own = parsed.as_ref().is_ok_and(|parsed| parsed.origin() == tlog_log().name().as_str());
    assert_eq!(opened.is_ok(), own, "what is signed and a checkpoint of the log opens");
    Verdict::of(parsed.is_ok())
}

fn cosignature_lines() -> Vec<Vec<u8>> {
    let cosigned = example("cosigned_checkpoint");
    let lines = cosigned.rsplit_once("\n\n").map_or("", |(_, lines)| lines);
    bytes([example("cosignature_line"), lines])
}

fn cosignatures(input: &[u8]) -> Verdict {
    let Ok(lines) = NoteSignature::parse_lines(input) else { return Verdict::Refused };
    let written: String = lines.iter().map(ToString::to_string).collect();
    assert_eq!(written.as_bytes(), input, "lines are written byte for byte");
    static GENUINE: OnceLock<Vec<NoteSignature>> = OnceLock::new();
    let genuine = GENUINE.get_or_init(|| {
        let seeds = cosignature_lines();
        seeds.iter().flat_map(|seed| NoteSignature::parse_lines(seed).unwrap_or_default()).collect()
    });
    static KEYS: OnceLock<Vec<VerifierKey>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let kinds = [KeyKind::Ed25519, KeyKind::Cosignature];
        tlog_keys()[..3].iter().flat_map(|key| kinds.map(|kind| key.verifier(kind))).collect()
    });
    // A line that stands there eighty times is checked a few times.
    for line in lines.iter().take(8) {
        for key in keys {
            let checked = key.check(example("checkpoint_text"), line);
            assert!(checked.is_err() || genuine.contains(line), "a forged signature");
        }
    }
    Verdict::Accepted
}

fn policies() -> Vec<Vec<u8>> {
    let policy = example("policy");
    let nested = format!(
        "{}group outer 1 {}\nquorum outer\n",
        policy.split_inclusive('\n').filter(|l| !l.starts_with("quorum")).collect::<String>(),
        policy
            .split_inclusive('\n')
            .find_map(|l| l.strip_prefix("group "))
            .map_or("w1", |rest| { rest.split(' ').next().unwrap_or("w1") }),
    );
    let log = format!("log {} https://log.example/\nquorum none\n", tlog_log());
    let mut seeds = bytes([policy]);
    seeds.push(nested.into_bytes());
    seeds.push(log.into_bytes());
    seeds
}

fn policy(input: &[u8]) -> Verdict {
    let Ok(policy) = Policy::parse(input) else { return Verdict::Refused };
    assert_eq!(policy.text(), input, "a policy is kept byte for byte");
    let witnesses = policy.witnesses().len();
    if let Some(quorum) = policy.quorum() {
        assert!(policy.time_of(quorum, |_| None).is_none(), "nobody is no quorum");
        assert_eq!(policy.time_of(quorum, |_| Some(7)), Some(7), "everybody is a quorum");
        assert!(policy.overlap(quorum) <= witnesses);
    }
    static NOTE: OnceLock<Note> = OnceLock::new();
    let note = NOTE.get_or_init(|| {
        Note::parse(example("cosigned_checkpoint").as_bytes()).expect("the vectors have a note")
    });
    if let Ok(verified) = policy.verify(note) {
        assert!(verified.witnesses().count() <= witnesses);
        if let Some(quorum) = policy.quorum() {
            assert!(verified.time_under(&policy, quorum).is_some());
        }
        let _ = verified.check_clock(0);
    }
    Verdict::Accepted
}

fn receipts() -> Vec<Vec<u8>> {
    let mut seeds = bytes(["receipt", "receipt_with_extra"].map(example));
    seeds.extend(each("reject_receipts", "receipt").into_iter().filter(|seed| seed.len() < 8_192));
    seeds
}

fn receipt(input: &[u8]) -> Verdict {
    let Ok(receipt) = Receipt::parse(input) else { return Verdict::Refused };
    assert_eq!(receipt.to_bytes(), input, "a receipt is written byte for byte");
    if receipt.verify(b"ccc", tlog_log()).is_ok() {
        assert_eq!(receipt.index(), 2, "the entry is at one place only");
    }
    let policy = Policy::parse(example("policy").as_bytes()).expect("the vectors have a policy");
    if receipt.verify_under(b"ccc", &policy).is_ok() {
        assert_eq!(receipt.index(), 2, "the entry is at one place only");
    }
    Verdict::Accepted
}

fn requests() -> Vec<Vec<u8>> {
    each("add_checkpoint", "body").into_iter().filter(|body| body.len() < 8_192).collect()
}

/// Also with the checkpoint signed, so that the witness's decision is reached.
fn add_checkpoint(input: &[u8]) -> Verdict {
    let Ok(request) = AddCheckpoint::parse(input) else { return Verdict::Refused };
    assert_eq!(request.to_bytes(), input, "a request is written byte for byte");
    let note =
        Note::sign(request.checkpoint().text(), &tlog_keys()[0]).expect("a checkpoint is text");
    let proof: String = request.proof().iter().map(|hash| hash.to_base64() + "\n").collect();
    let signed = format!("old {}\n{proof}\n{note}", request.old());
    let signed = AddCheckpoint::parse(signed.as_bytes()).expect("it differs in signatures alone");
    let logs = [tlog_log().clone()];
    for (size, root) in roots().iter().enumerate() {
        let known = TreeHead { size: size as u64, root: *root };
        let head = signed.checkpoint().head();
        if decide(&signed, &logs, &known).is_ok() {
            assert!(head.size >= known.size, "a witness never goes back");
            assert!(head.size > known.size || head == &known, "one size, one root");
            if known.size > 0 && head.size > known.size {
                assert!(!signed.proof().is_empty(), "only a proof joins two trees");
            }
        }
    }
    Verdict::Accepted
}

/// Roots of the numbered tree of the vectors.
fn roots() -> &'static [Hash] {
    static ROOTS: OnceLock<Vec<Hash>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let roots = list(tlog_vectors(), "roots_by_size").iter().filter_map(|root| root.as_str());
        let mut roots: Vec<Hash> =
            roots.map(|root| Hash::from_base64(root).expect("the vectors have roots")).collect();
        roots.truncate(9);
        roots
    })
}

fn size_answer(input: &[u8]) -> Verdict {
    let Some(size) = parse_size_answer(input) else { return Verdict::Refused };
    assert_eq!(format!("{size}\n").as_bytes(), input, "a size has one spelling");
    Verdict::Accepted
}
