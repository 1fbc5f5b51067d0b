//! Private key files: PKCS#8 in PEM, plain or under a passphrase.

use base64::Engine as _;
use client::parsers::{key_file, key_text};
use tlog::SigningKey;

use crate::fixtures::name;
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "key-file",
        shape: Shape::Lines,
        tokens: &[
            b"-----BEGIN ",
            b"-----END ",
            b"PRIVATE KEY-----\n",
            b"ENCRYPTED PRIVATE KEY-----\n",
            b"MC4CAQAwBQYDK2VwBCIEI",
            b"\r\n",
        ],
        seeds,
        run: read,
        memory: Memory::USUAL,
    }]
}

/// One key in all forms, with costs that cost nothing; and what a user may name instead of it.
fn seeds() -> Vec<Vec<u8>> {
    let files = [
        include_str!("../../seeds/keys/plain.pem"),
        include_str!("../../seeds/keys/scrypt.pem"),
        include_str!("../../seeds/keys/pbkdf2.pem"),
        include_str!("../../seeds/keys/x25519.pem"),
        include_str!("../../seeds/keys/ec.pem"),
        include_str!("../../seeds/keys/pub.pem"),
    ];
    let mut seeds = files.map(|text| text.as_bytes().to_vec()).to_vec();
    // With its public half, the second version of the format.
    let both = [document(1), vec![0x81, 0x21, 0x00], key().public().as_bytes().to_vec()].concat();
    let body = base64::engine::general_purpose::STANDARD.encode(both);
    let (first, second) = body.split_at(64);
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{first}\n{second}\n-----END PRIVATE KEY-----\n");
    seeds.push(pem.into_bytes());
    seeds
}

fn key() -> SigningKey {
    SigningKey::from_seed(name("lab-a.example"), &[9; 32])
}

/// RFC 8410, section 7: a version, id-Ed25519, the seed in two octet strings.
fn document(version: u8) -> Vec<u8> {
    let attached = if version == 0 { 0 } else { 35 };
    let head = [0x30, 46 + attached, 2, 1, version, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 34, 4, 32];
    [&head, key().seed().as_slice()].concat()
}

/// A key is read from a file that holds it, and is written so that it is read again.
fn read(input: &[u8]) -> Verdict {
    let Ok(found) = key_file(input, "correct horse", 1 << 16) else { return Verdict::Refused };
    let Some(seed) = found else { return Verdict::Refused };
    let key = SigningKey::from_seed(name("lab-a.example"), &seed);
    let written = key_text(&key);
    let again = key_file(written.as_bytes(), "", 0);
    assert!(again.is_ok_and(|again| again == Some(seed.clone())), "not the same when read again");
    let text = std::str::from_utf8(input).expect("PEM is text");
    if !text.contains("ENCRYPTED") {
        let body: String =
            text.split(['\r', '\n']).filter(|line| !line.starts_with('-')).map(trimmed).collect();
        let body = base64::engine::general_purpose::STANDARD.decode(body);
        let body = body.expect("another reader takes the base64");
        assert!(body.windows(32).any(|window| window == seed.as_slice()), "a key from nowhere");
    }
    Verdict::Accepted
}

fn trimmed(line: &str) -> &str {
    line.trim()
}
