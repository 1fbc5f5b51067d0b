//! No parser panics, whatever the bytes, and whatever parses is written back byte for byte.

use proptest::prelude::*;
use tlog::{
    AddCheckpoint, Checkpoint, Hash, KeyName, Note, NoteSignature, Policy, PublicKey, Receipt,
    SignedCheckpoint, TilePath, VerifierKey, parse_bundle, parse_hash_tile, parse_size_answer,
};

use crate::vectors::{example, log};

/// Everything that takes bytes from outside.
fn parse_everything(bytes: &[u8]) {
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.as_bytes(), bytes);
        let written: String = note.signatures().iter().map(ToString::to_string).collect();
        assert_eq!(format!("{}\n{written}", note.text()).as_bytes(), bytes);
        if let Ok(opened) = SignedCheckpoint::open(bytes, &log()) {
            assert_eq!(opened.checkpoint().text(), example("checkpoint_text"));
        }
    }
    if let Ok(lines) = NoteSignature::parse_lines(bytes) {
        let written: String = lines.iter().map(ToString::to_string).collect();
        assert_eq!(written.as_bytes(), bytes);
    }
    if let Ok(receipt) = Receipt::parse(bytes) {
        assert_eq!(receipt.to_bytes(), bytes);
        let policy = Policy::parse(example("policy").as_bytes()).unwrap();
        if receipt.verify_under(b"ccc", &policy).is_ok() {
            assert_eq!(receipt.index(), 2);
        }
    }
    if let Ok(request) = AddCheckpoint::parse(bytes) {
        assert_eq!(request.to_bytes(), bytes);
    }
    if let Ok(policy) = Policy::parse(bytes) {
        assert_eq!(policy.text(), bytes);
        if let Some(quorum) = policy.quorum() {
            let _ = (policy.overlap(quorum), policy.time_of(quorum, |_| Some(1)));
        }
    }
    let _ = (parse_size_answer(bytes), Hash::from_slice(bytes));
    let _ = bytes.try_into().map(PublicKey::from_bytes);
    for width in [0, 1, 5, 256, 257, u16::MAX] {
        let _ = (parse_bundle(bytes, width), parse_hash_tile(bytes, width));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (Checkpoint::parse_text(text), Hash::from_hex(text), Hash::from_base64(text));
        let _ = KeyName::parse(text);
        if let Ok(path) = TilePath::parse(text) {
            assert_eq!(path.to_string(), text);
        }
        if let Ok(key) = VerifierKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
    }
}

/// Documents of every kind, to be damaged.
fn document() -> impl Strategy<Value = Vec<u8>> {
    let add_checkpoint = format!("old 0\n\n{}", example("checkpoint"));
    let documents = [
        example("checkpoint"),
        example("checkpoint_text"),
        example("cosigned_checkpoint"),
        example("cosignature_line"),
        example("receipt_with_extra"),
        example("policy"),
        "tile/0/x001/067.p/3",
        "tile/entries/x001/x234/067",
        "evallog.example/ab+e354eecf+AdBKsjJ0K7SrOhNovUYV5ObQIkq3GgFrr4UgozLJd4c3",
    ]
    .map(|text| text.as_bytes().to_vec());
    let bundle = hex::decode(example("bundle_hex")).unwrap();
    let all = documents.into_iter().chain([add_checkpoint.into_bytes(), bundle]);
    prop::sample::select(all.collect::<Vec<_>>())
}

/// One way to damage a document.
#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..4),
        prop::sample::select(vec!["\n", "\n\n", " ", "\r\n", "— ", "=", "+", "0", "\u{a0}", ".p/"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), piece).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (at(), 1..60_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (at(), 1..60_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        at().prop_map(Damage::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) {
    if bytes.is_empty() {
        return;
    }
    let range = |at: prop::sample::Index, length: usize, of: usize| {
        let start = at.index(of);
        start..(start + length).min(of)
    };
    let size = bytes.len();
    match damage {
        Damage::Set(at, byte) => bytes[at.index(size)] = byte,
        Damage::Insert(at, piece) => {
            let start = at.index(size);
            bytes.splice(start..start, piece);
        }
        Damage::Remove(at, length) => {
            bytes.drain(range(at, length, size));
        }
        Damage::Repeat(at, length) => {
            let piece = bytes[range(at, length, size)].to_vec();
            let start = at.index(size);
            bytes.splice(start..start, piece);
        }
        Damage::Cut(at) => bytes.truncate(at.index(size)),
    }
}

#[test]
fn undamaged_documents_parse() {
    assert!(Note::parse(example("checkpoint").as_bytes()).is_ok());
    parse_everything(example("checkpoint").as_bytes());
    parse_everything(example("receipt").as_bytes());
    parse_everything(example("policy").as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_panic_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_everything(&bytes);
    }

    #[test]
    fn arbitrary_text_panics_nothing(text in "\\PC{0,80}") {
        parse_everything(text.as_bytes());
    }

    #[test]
    fn damaged_documents_panic_nothing(
        mut bytes in document(),
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        for damage in damages {
            apply(&mut bytes, damage);
        }
        parse_everything(&bytes);
    }
}
