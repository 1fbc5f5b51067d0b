//! Checkpoints and cosignatures.

use tlog::{
    BadSignature, Checkpoint, CheckpointError, Hash, InvalidTime, KeyKind, Note, NoteError,
    NoteSignature, SignedCheckpoint, TreeHead, cosign, cosigned_message,
};

use crate::vectors::{
    assert_variant, example, example_head, key, list, log, log_key, text, why, witness, witness_key,
};

fn signed() -> SignedCheckpoint {
    SignedCheckpoint::open(example("checkpoint").as_bytes(), &log()).unwrap()
}

#[test]
fn example_is_signed_and_opened_byte_for_byte() {
    let head = example_head(5);
    let signed = SignedCheckpoint::sign(&log_key(), head);
    assert_eq!(signed.to_string(), example("checkpoint"));
    assert_eq!(signed.as_bytes().len(), 183);
    assert_eq!(signed, self::signed());
    assert_eq!(signed.checkpoint().text(), example("checkpoint_text"));
    assert_eq!(signed.checkpoint().origin(), "evallog.example/ab");
    assert_eq!(*signed.head(), head);
    assert_eq!((head.size, head.root.to_base64().as_str()), (5, example("root")));
    assert_eq!(signed.checkpoint().extensions().count(), 0);
}

#[test]
fn an_empty_log_has_a_checkpoint() {
    let signed = SignedCheckpoint::sign(&log_key(), TreeHead::EMPTY);
    let opened = SignedCheckpoint::open(signed.as_bytes(), &log()).unwrap();
    assert_eq!(*opened.head(), TreeHead::EMPTY);
    assert!(
        opened.checkpoint().text().ends_with("\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
    );
}

#[test]
fn rejects_every_bad_checkpoint_of_the_vectors() {
    let reasons = [
        ("two lines", "TooShort"),
        ("empty origin", "EmptyOrigin"),
        ("leading zero in the size", "Size"),
        ("plus sign in the size", "Size"),
        ("negative size", "Size"),
        ("space after the size", "Size"),
        ("size beyond 2^64", "Size"),
        ("size is empty", "Size"),
        ("root of 31 bytes", "Root"),
        ("root of 33 bytes", "Root"),
        ("root without padding", "Root"),
        ("root with stray bits in its last character", "Root"),
        ("root in base64url", "Root"),
        ("empty extension line", "EmptyExtension"),
        ("empty tree with a root that is not the hash of nothing", "EmptyTree"),
        ("origin of another log", "ForeignOrigin"),
    ];
    for vector in list("reject_checkpoints", 16) {
        let note = text(vector, "note").as_bytes();
        // The note itself is good: it is the checkpoint that is not.
        assert!(Note::parse(note).unwrap().verify(&[&log()]).is_ok(), "{}", why(vector));
        let error = SignedCheckpoint::open(note, &log()).expect_err(why(vector));
        assert_variant(&error, &reasons, why(vector));
    }
}

#[test]
fn rejects_every_bad_note_of_the_vectors() {
    for vector in list("reject_notes", 22) {
        let error = SignedCheckpoint::open(text(vector, "note").as_bytes(), &log());
        assert!(matches!(error, Err(CheckpointError::Note(_))), "{}", why(vector));
    }
}

#[test]
fn rejects_texts_that_are_no_checkpoint() {
    let root = example("root");
    for (text, reason) in [
        (String::new(), "empty"),
        ("\n".to_owned(), "one empty line"),
        (format!("a\n5\n{root}"), "no final newline"),
        (format!("a\n5\n{root}\n\n"), "empty extension line"),
        (format!("a\n5\n{root}\nx\n\ny\n"), "empty extension line between others"),
        (format!("a\r\n5\r\n{root}\r\n"), "carriage returns"),
        (format!("a\n9223372036854775808\n{root}\n"), "size 2^63"),
        (format!("a\n5\n{root} \n"), "space after the root"),
        (format!("a\n5\n {root}\n"), "space before the root"),
        (format!("a\n5\n{}\n", Hash::from_base64(root).unwrap()), "root in hexadecimal"),
    ] {
        assert!(Checkpoint::parse_text(&text).is_err(), "{reason}");
    }
    let largest = format!("a\n9223372036854775807\n{root}\n");
    assert_eq!(Checkpoint::parse_text(&largest).unwrap().size(), i64::MAX as u64);
}

#[test]
fn extension_lines_are_kept_and_cosigned() {
    let text = format!("{}first extension\nsecond\n", example("checkpoint_text"));
    let note = Note::sign(&text, &log_key()).unwrap();
    let signed = SignedCheckpoint::open(note.as_bytes(), &log()).unwrap();
    let extensions: Vec<&str> = signed.checkpoint().extensions().collect();
    assert_eq!(extensions, ["first extension", "second"]);
    assert_eq!(signed.checkpoint().text(), text);
    let line = cosign(signed.checkpoint(), &witness_key(), 1).unwrap();
    assert_eq!(witness().check(&text, &line), Ok(Some(1)));
    assert_eq!(witness().check(example("checkpoint_text"), &line), Err(BadSignature));
}

#[test]
fn a_witness_key_opens_no_checkpoint() {
    let cosigned = example("cosigned_checkpoint").as_bytes();
    let as_log = SignedCheckpoint::open(cosigned, &witness());
    assert_eq!(as_log, Err(CheckpointError::NotLogKey { name: witness().name().clone() }));
    // Signed by another key under the log's own name, and by the log's key under another name.
    for other in [key("evallog.example/ab", 9), key("evallog.example/other", 0x11)] {
        let error = SignedCheckpoint::open(cosigned, &other.verifier(KeyKind::Ed25519));
        assert_eq!(error, Err(CheckpointError::Note(NoteError::Unsigned)));
    }
}

#[test]
fn cosigning_writes_the_vectors_bytes() {
    let time = crate::vectors::uint(crate::vectors::vectors("example"), "cosignature_time");
    let message = cosigned_message(signed().checkpoint().text(), time);
    assert_eq!(message, example("cosignature_message").as_bytes());
    let line = cosign(signed().checkpoint(), &witness_key(), time).unwrap();
    assert_eq!(line.to_string(), example("cosignature_line"));
    assert_eq!(line.bytes().len() + 4, 76);
    assert_eq!(witness().check(signed().checkpoint().text(), &line), Ok(Some(time)));

    let mldsa = NoteSignature::parse_lines(example("mldsa_line").as_bytes()).unwrap().remove(0);
    assert_eq!(mldsa.id().to_string(), "a96b9da1");
    assert_eq!(mldsa.bytes().len(), 8 + 2420);
    let cosigned = signed().with_cosignature(line.clone(), &witness()).unwrap();
    let again = cosigned.with_cosignature(line, &witness()).unwrap();
    assert_eq!(again, cosigned, "a line is added once");
    let note = cosigned.note().with_signature(mldsa).unwrap();
    assert_eq!(note.to_string(), example("cosigned_checkpoint"));
}

#[test]
fn cosignatures_can_be_taken_off() {
    let cosigned = SignedCheckpoint::open(example("cosigned_checkpoint").as_bytes(), &log());
    let bare = cosigned.unwrap().without_cosignatures(&log()).unwrap();
    assert_eq!(bare.to_string(), example("checkpoint"));
    let other = key("evallog.example/other", 1).verifier(KeyKind::Ed25519);
    let error = bare.without_cosignatures(&other);
    assert_eq!(error, Err(CheckpointError::Note(NoteError::Unsigned)));
}

#[test]
fn merges_no_line_that_does_not_verify() {
    let other = SignedCheckpoint::sign(&log_key(), example_head(3));
    let of_other_text = cosign(other.checkpoint(), &witness_key(), 7).unwrap();
    let of_other_key = cosign(signed().checkpoint(), &key("witness.example/w1", 9), 7).unwrap();
    for line in [of_other_text, of_other_key] {
        let error = signed().with_cosignature(line, &witness());
        assert!(matches!(error, Err(NoteError::BadSignature { .. })), "{error:?}");
    }
}

#[test]
fn cosignature_times_are_positive_63_bit_numbers() {
    let checkpoint = signed().checkpoint().clone();
    for time in [0, 1 << 63, u64::MAX] {
        assert_eq!(cosign(&checkpoint, &witness_key(), time), Err(InvalidTime(time)));
        // A witness that signs such a time all the same is refused.
        let signature = witness_key().sign(&cosigned_message(checkpoint.text(), time));
        let id = witness().id();
        let blob = [id.as_bytes().as_slice(), &time.to_be_bytes(), &signature].concat();
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, blob);
        let line = format!("— witness.example/w1 {base64}\n");
        let line = NoteSignature::parse_lines(line.as_bytes()).unwrap().remove(0);
        assert_eq!(witness().check(checkpoint.text(), &line), Err(BadSignature));
    }
    for time in [1, i64::MAX as u64] {
        let line = cosign(&checkpoint, &witness_key(), time).unwrap();
        assert_eq!(witness().check(checkpoint.text(), &line), Ok(Some(time)));
    }
}

#[test]
fn the_time_of_a_cosignature_is_signed() {
    let line = cosign(signed().checkpoint(), &witness_key(), 1000).unwrap();
    let shown = line.to_string();
    let mut blob = line.bytes().to_vec();
    blob[7] ^= 1;
    let bytes = [line.id().as_bytes().as_slice(), &blob].concat();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let forged = format!("— {} {base64}\n", line.name());
    assert_ne!(forged, shown);
    let forged = NoteSignature::parse_lines(forged.as_bytes()).unwrap().remove(0);
    assert_eq!(witness().check(signed().checkpoint().text(), &forged), Err(BadSignature));
}
