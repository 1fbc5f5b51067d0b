//! Notes: what is refused, what is ignored, and the limits.

use tlog::{
    KeyKind, MAX_NOTE, MAX_SIGNATURES, Note, NoteError, NoteSignature, VerifierKey, cosign,
};

use crate::vectors::{
    assert_variant, example, key, list, log, log_key, text, why, witness, witness_key,
};

#[test]
fn accepts_every_good_note_of_the_vectors() {
    for vector in list("accept_notes", 6) {
        let bytes = text(vector, "note");
        let note = Note::parse(bytes.as_bytes()).unwrap_or_else(|_| panic!("{}", why(vector)));
        assert_eq!(note.to_string(), bytes, "{}", why(vector));
        let log = log();
        let verified = note.verify(&[&log]).unwrap_or_else(|_| panic!("{}", why(vector)));
        assert_eq!(verified.len(), 1);
        assert_eq!((verified[0].key, verified[0].time), (&log, None));
    }
}

#[test]
fn rejects_every_bad_note_of_the_vectors() {
    let reasons = [
        ("empty", "NoEmptyLine"),
        ("text only", "NoEmptyLine"),
        ("no signature lines", "NoSignatures"),
        ("no empty line before the signatures", "NoEmptyLine"),
        ("no final newline", "MalformedLine"),
        ("carriage returns", "ControlCharacter"),
        ("tab in the text", "ControlCharacter"),
        ("hyphen instead of em dash", "MalformedLine"),
        ("en dash instead of em dash", "MalformedLine"),
        ("two spaces after the dash", "MalformedLine"),
        ("space after the signature", "MalformedLine"),
        ("signature shorter than a key hash", "MalformedLine"),
        ("signature is not base64", "MalformedLine"),
        ("plus in the key name", "MalformedLine"),
        ("empty key name", "MalformedLine"),
        ("text after the signatures", "MalformedLine"),
        ("one byte of the text changed", "BadSignature"),
        ("signature covers the empty line too", "BadSignature"),
        ("signature leaves out the final newline", "BadSignature"),
        ("known key, bad signature", "BadSignature"),
        ("bad signature by the known key beside a good one", "BadSignature"),
        ("only a witness signed", "Unsigned"),
    ];
    for vector in list("reject_notes", 22) {
        let log = log();
        let error = Note::parse(text(vector, "note").as_bytes())
            .and_then(|note| note.verify(&[&log]).map(|_| ()))
            .expect_err(why(vector));
        assert_variant(&error, &reasons, why(vector));
    }
}

#[test]
fn signing_writes_the_vectors_bytes() {
    let note = Note::sign(example("checkpoint_text"), &log_key()).unwrap();
    assert_eq!(note.to_string(), example("checkpoint"));
    assert_eq!(note.text(), example("checkpoint_text"));
    assert_eq!(Note::parse(note.as_bytes()), Ok(note));
}

#[test]
fn refuses_to_sign_what_is_no_text() {
    assert_eq!(Note::sign("a", &log_key()), Err(NoteError::UnendedText));
    assert_eq!(Note::sign("", &log_key()), Err(NoteError::UnendedText));
    assert_eq!(Note::sign("a\r\n", &log_key()), Err(NoteError::ControlCharacter { offset: 1 }));
    let large = "x".repeat(MAX_NOTE - 10) + "\n";
    assert!(matches!(Note::sign(&large, &log_key()), Err(NoteError::TooLarge { .. })));
}

/// The example with these lines below its text.
fn with_lines(lines: impl IntoIterator<Item = String>) -> String {
    let lines: String = lines.into_iter().collect();
    format!("{}\n{lines}", example("checkpoint_text"))
}

fn own_line() -> String {
    example("checkpoint").lines().last().unwrap().to_owned() + "\n"
}

#[test]
fn a_bad_second_signature_by_a_known_key_condemns_the_note() {
    let (log, own) = (log(), own_line());
    let bad = own.replace("zdnsri6", "zdnsri7");
    assert_ne!(own, bad);
    for (lines, good) in [
        (vec![own.clone(), own.clone()], true),
        (vec![own.clone(), bad.clone()], false),
        (vec![bad, own], false),
    ] {
        let note = Note::parse(with_lines(lines).as_bytes()).unwrap();
        match note.verify(&[&log]) {
            Ok(verified) => assert!(good && verified.len() == 1, "a key counts once"),
            Err(error) => {
                let (name, id) = (log.name().clone(), log.id());
                assert_eq!(error, NoteError::BadSignature { name, id });
                assert!(!good);
            }
        }
    }
}

#[test]
fn a_witness_counts_once_with_its_latest_time() {
    let signed = tlog::SignedCheckpoint::open(example("checkpoint").as_bytes(), &log()).unwrap();
    let line = |time| cosign(signed.checkpoint(), &witness_key(), time).unwrap().to_string();
    let lines = [5, 9, 7].map(line);
    let note = Note::parse(with_lines(lines).as_bytes()).unwrap();
    let (log, witness) = (log(), witness());
    let verified = note.verify(&[&log, &witness, &witness]).unwrap();
    assert_eq!(verified.len(), 1);
    assert_eq!((verified[0].key, verified[0].time), (&witness, Some(9)));
}

#[test]
fn a_key_of_another_kind_or_name_is_unknown() {
    let note = Note::parse(example("cosigned_checkpoint").as_bytes()).unwrap();
    assert_eq!(note.signatures().len(), 3);
    let foreign = [
        log_key().verifier(KeyKind::Cosignature),
        witness_key().verifier(KeyKind::Ed25519),
        VerifierKey::new(
            key("evallog.example/abc", 1).name().clone(),
            KeyKind::Ed25519,
            log_key().public(),
        ),
    ];
    for key in &foreign {
        assert_eq!(note.verify(&[key]), Err(NoteError::Unsigned), "{key}");
    }
}

#[test]
fn a_malformed_blob_by_a_known_key_condemns_the_note() {
    let (log, witness) = (log(), witness());
    for (key, lengths) in [(&log, [1, 63, 65, 72]), (&witness, [1, 64, 71, 73])] {
        for length in lengths {
            let blob = [key.id().as_bytes().as_slice(), &vec![0; length]].concat();
            let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, blob);
            let line = format!("— {} {base64}\n", key.name());
            let note = Note::parse(with_lines([own_line(), line]).as_bytes()).unwrap();
            let error = note.verify(&[&log, &witness]);
            assert!(matches!(error, Err(NoteError::BadSignature { .. })), "{length} bytes");
        }
    }
}

#[test]
fn accepts_64_signature_lines_and_rejects_65() {
    let strangers =
        (0..64).map(|number| example("mldsa_line").replace("/pq", &format!("/{number}")));
    let lines: Vec<String> = strangers.collect();
    let log = log();
    let mut full = lines[..63].to_vec();
    full.push(own_line());
    let note = Note::parse(with_lines(full).as_bytes()).unwrap();
    assert_eq!(note.signatures().len(), MAX_SIGNATURES, "long lines of type 06 fit");
    assert!(note.verify(&[&log]).is_ok());
    let witness_line = cosigned_line();
    assert_eq!(note.with_signature(witness_line), Err(NoteError::TooManySignatures));
    let mut too_many = lines;
    too_many.push(own_line());
    assert_eq!(Note::parse(with_lines(too_many).as_bytes()), Err(NoteError::TooManySignatures));
}

fn cosigned_line() -> NoteSignature {
    let lines = example("cosignature_line").as_bytes();
    NoteSignature::parse_lines(lines).unwrap().remove(0)
}

#[test]
fn accepts_a_note_of_256_kib_and_rejects_one_byte_more() {
    let rest = "\n".len() + own_line().len();
    for (size, accepted) in [(MAX_NOTE, true), (MAX_NOTE + 1, false)] {
        let text = "x".repeat(size - rest - 1) + "\n";
        let note = format!("{text}\n{}", own_line());
        assert_eq!(note.len(), size);
        let expected = if accepted { None } else { Some(NoteError::TooLarge { size }) };
        assert_eq!(Note::parse(note.as_bytes()).err(), expected);
    }
    assert_eq!(
        NoteSignature::parse_lines(&vec![b'x'; MAX_NOTE + 1]),
        Err(NoteError::TooLarge { size: MAX_NOTE + 1 })
    );
}

#[test]
fn rejects_bytes_that_are_not_utf_8() {
    let mut note = example("checkpoint").as_bytes().to_vec();
    note[0] = 0xff;
    assert_eq!(Note::parse(&note), Err(NoteError::Encoding));
    note[0] = 0x1f;
    assert_eq!(Note::parse(&note), Err(NoteError::ControlCharacter { offset: 0 }));
}

#[test]
fn rejects_base64_in_another_spelling() {
    for (line, reason) in [
        (own_line().replace("CIgk=\n", "CIgk\n"), "no padding"),
        (own_line().replace("CIgk=\n", "CIgl=\n"), "stray bits in the last character"),
        (own_line().replace("=\n", "==\n"), "padding twice"),
        (own_line().replace("41Tuz", "41 Tuz"), "space"),
        (own_line().replace("z069", "z-69"), "base64url"),
        (own_line().replace("— ", "—"), "no space after the dash"),
        ("\u{2014} evallog.example/ab\n".to_owned(), "no signature"),
        ("\u{2014} evallog\u{a0}example 41Tuzzdn\n".to_owned(), "no-break space in the name"),
    ] {
        assert_ne!(line, own_line());
        let note = Note::parse(with_lines([line]).as_bytes());
        assert_eq!(note, Err(NoteError::MalformedLine { line: 1 }), "{reason}");
    }
}
