//! Every edge case of the two points in an Ed25519 signature: low order, torsion, encodings that
//! are not canonical.
//!
//! `tests/vectors/ed25519vectors.json` is `filippo.io/mostly-harmless/ed25519vectors` of
//! 2021-03-22 (768 cases, BSD licence beside it), which became the Ed25519 vectors of C2SP CCTV.
//! CCTV's later release also has cases whose challenge hashes a point in another encoding than
//! the signature's; those are made here.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use json::{Rules, Value};
use sha2::{Digest as _, Sha512};
use tlog::{KeyError, PublicKey};

use crate::vectors::text;

/// Encodings of low-order points, the canonical ones last. From the list in the README of CCTV.
const LOW_ORDER: [&str; 14] = [
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(hex, &mut bytes).unwrap();
    bytes
}

struct Case {
    key: [u8; 32],
    signature: [u8; 64],
    message: String,
    flags: Vec<String>,
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/ed25519vectors.json");
    let document = json::parse(&std::fs::read(path).unwrap(), Rules::LOG).unwrap();
    let case = |value: &Value| Case {
        key: bytes(text(value, "A")),
        signature: bytes(&format!("{}{}", text(value, "R"), text(value, "S"))),
        message: text(value, "M").to_owned(),
        // `null` where there are none.
        flags: value
            .get("Flags")
            .and_then(Value::as_array)
            .unwrap_or_default()
            .iter()
            .map(|flag| flag.as_str().unwrap().to_owned())
            .collect(),
    };
    document.as_array().unwrap().iter().map(case).collect()
}

#[test]
fn accepts_the_one_clean_case_and_no_other() {
    let cases = cases();
    assert_eq!(cases.len(), 768);
    let mut accepted = 0;
    for (number, case) in cases.iter().enumerate() {
        let holds = PublicKey::from_bytes(&case.key)
            .is_ok_and(|key| key.verify(case.message.as_bytes(), &case.signature).is_ok());
        assert_eq!(holds, case.flags.is_empty(), "case {number}: {:?}", case.flags);
        accepted += usize::from(holds);
    }
    assert_eq!(accepted, 1);
}

/// The rule for keys stands alone: it does not lean on the signature that comes with them.
#[test]
fn registers_exactly_the_keys_without_a_flag_of_their_own() {
    let mut refused = [0; 3];
    for (number, case) in cases().iter().enumerate() {
        let has = |flag: &str| case.flags.iter().any(|other| other == flag);
        let expected = if has("NonCanonicalA") {
            refused[0] += 1;
            Some(KeyError::NotCanonical)
        } else if has("LowOrderA") {
            refused[1] += 1;
            Some(KeyError::SmallOrder)
        } else if has("LowOrderComponentA") {
            refused[2] += 1;
            Some(KeyError::Torsion)
        } else {
            None
        };
        assert_eq!(PublicKey::from_bytes(&case.key).err(), expected, "case {number}");
    }
    assert!(refused.iter().all(|count| *count > 100), "{refused:?}");
}

#[test]
fn refuses_r_of_low_order_whichever_encoding_the_challenge_hashes() {
    let secret = Scalar::from_bytes_mod_order([7; 32]);
    let key = EdwardsPoint::mul_base(&secret).compress();
    let public = PublicKey::from_bytes(key.as_bytes()).unwrap();
    let message = b"one message";
    for hex in LOW_ORDER {
        let written: [u8; 32] = bytes(hex);
        let canonical = CompressedEdwardsY(written).decompress().unwrap().compress();
        for hashed in [written, canonical.to_bytes()] {
            let hash = Sha512::new().chain_update(hashed).chain_update(key.as_bytes());
            let hash: [u8; 64] = hash.chain_update(message).finalize().into();
            let s = Scalar::from_bytes_mod_order_wide(&hash) * secret;
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&written);
            signature[32..].copy_from_slice(s.as_bytes());
            assert!(public.verify(message, &signature).is_err(), "{hex}");
        }
    }
}

/// The points above are of low order, and the first six are second spellings: else the test
/// before this one says nothing.
#[test]
fn the_low_order_encodings_are_what_they_are_called() {
    for (place, hex) in LOW_ORDER.iter().enumerate() {
        let written = CompressedEdwardsY(bytes(hex));
        let point = written.decompress().unwrap();
        assert!(point.is_small_order(), "{hex}");
        assert_eq!(point.compress() == written, place >= 6, "{hex}");
        assert!(PublicKey::from_bytes(&written.0).is_err(), "{hex}");
    }
}
