//! Sealed envelopes as anybody sees them: the associated data, and the lengths behind it.

use std::convert::Infallible;

use exchange::predicate::{SealedEnvelope, SealingKey, SealingKeyId};
use exchange::sealed::{SealingSecret, open, padded_length};
use exchange::{Common, SealedFor, StatementId, associated_data, body_message, check_envelope};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, OpModeS, Serializable as _};
use tlog::{Hash, TreeHead};
use zeroize::Zeroizing;

use crate::fixtures::{made, name, signer};
use crate::mutate::Shape;
use crate::random::Random;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    let plain = Target {
        name: "envelope-plain",
        shape: Shape::Json,
        tokens: &[b"\0\0\0\0", b"\0\0\x02\0", b"countersign/openings/v1"],
        seeds: plains,
        run: open_plain,
        memory: Memory::USUAL,
    };
    let envelope = Target {
        name: "sealed-envelope",
        shape: Shape::Bytes,
        tokens: &[
            b"countersign.v1/envelope\0",
            b"\0\x0dlab-a.example",
            b"\0\x0dlab-b.example",
            b"\0\x20",
            b"\x04\x60",
            b"\0\0\x04\x10",
        ],
        seeds,
        run: check,
        memory: Memory::USUAL,
    };
    vec![envelope, plain]
}

/// A statement that names an envelope about a record.
struct Named {
    common: Common,
    record: StatementId,
    envelope: SealedEnvelope,
}

/// One statement, and others that differ in one member each.
fn named() -> Vec<Named> {
    let base = || Named {
        common: Common {
            origin: name("log.example/one"),
            exchange: None,
            signer: name("lab-a.example"),
            number: 3,
            previous: None,
            seen: TreeHead::EMPTY,
        },
        record: StatementId::new([7; 32]),
        envelope: SealedEnvelope {
            digest: Hash::new([1; 32]),
            reader: name("lab-b.example"),
            key: SealingKeyId::new([2; 8]),
            padded: 1 << 10,
        },
    };
    let changes: [fn(&mut Named); 7] = [
        |_| {},
        |named| named.common.origin = name("log.example/two"),
        |named| named.common.exchange = Some(StatementId::new([7; 32])),
        |named| named.common.signer = name("lab-b.example"),
        |named| named.record = StatementId::new([0; 32]),
        |named| named.envelope.reader = name("lab-a.example"),
        |named| named.envelope.padded = 2 << 10,
    ];
    let changed = changes.into_iter().map(|change| {
        let mut named = base();
        change(&mut named);
        named
    });
    changed.collect()
}

/// After `docs/protocol.md`, "Envelopes", and shared with no other code.
fn artifact(named: &Named, suite: u8, enc: u16) -> Vec<u8> {
    let prefixed = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let padded = named.envelope.padded as u32;
    let exchange = named.common.exchange.map_or([0; 32], |id| *id.as_bytes());
    let parts: [&[u8]; 12] = [
        b"countersign.v1/envelope\0",
        &[suite],
        &prefixed(named.common.origin.as_str()),
        &exchange,
        named.record.as_bytes(),
        &prefixed(named.common.signer.as_str()),
        &prefixed(named.envelope.reader.as_str()),
        &prefixed("0202020202020202"),
        &padded.to_be_bytes(),
        &enc.to_be_bytes(),
        &vec![9; usize::from(enc)],
        &(padded + 16).to_be_bytes(),
    ];
    [parts.concat(), vec![8; padded as usize + 16]].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let named = named();
    let mut seeds = vec![artifact(&named[0], 1, 32), artifact(&named[0], 2, 1_120)];
    seeds.push(artifact(&named[2], 1, 32));
    // Lengths of one suite under the number of the other.
    seeds.push(artifact(&named[0], 2, 32));
    seeds
}

/// One artifact is the envelope of one statement only, and only what cannot be checked without the
/// reader's key is free: the bytes of `enc` and of the ciphertext.
fn check(input: &[u8]) -> Verdict {
    let all = named();
    let fits = |named: &&Named| {
        check_envelope(&named.common, &named.record, &named.envelope, input).is_ok()
    };
    let mut fitting = all.iter().filter(fits);
    let Some(one) = fitting.next() else { return Verdict::Refused };
    assert!(fitting.next().is_none(), "an envelope for two places");
    let honest = [(1, 32), (2, 1_120)].map(|(suite, enc)| (artifact(one, suite, enc), enc));
    let same = honest.iter().any(|(honest, enc)| {
        let enc = usize::from(*enc);
        let tail = one.envelope.padded as usize + 16;
        let free = honest.len() - tail - 4 - enc..honest.len() - tail - 4;
        honest.len() == input.len()
            && honest[..free.start] == input[..free.start]
            && honest[free.end..free.end + 4] == input[free.end..free.end + 4]
    });
    assert!(same, "an envelope that nobody would make");
    // What stands in front of `enc` says by itself whom the envelope is for.
    let aads =
        input.windows(2).enumerate().filter(|(_, length)| matches!(length, [0, 32] | [4, 96]));
    let said = aads.filter_map(|(end, _)| SealedFor::parse(&input[..end])).next();
    let said = said.expect("the associated data are read");
    let Common { origin, exchange, signer, .. } = &one.common;
    let exchange = exchange.unwrap_or(StatementId::ZERO);
    let reader = &one.envelope.reader;
    assert_eq!((&said.origin, said.exchange, said.record), (origin, exchange, one.record));
    assert_eq!((&said.sender, &said.reader), (signer, reader));
    Verdict::Accepted
}

fn secret() -> SealingSecret {
    SealingSecret::X25519(Zeroizing::new([5; 32]))
}

/// Bodies of one kind and another, each with its length in front; what is missing behind them is
/// filled in.
fn plains() -> Vec<Vec<u8>> {
    let bodies = [
        made().open(&[1], &["status"], false).to_bytes().expect("it is short"),
        b"{\"items\":[3,17,42]}".to_vec(),
        vec![7; 955],
        vec![7; 956],
        Vec::new(),
    ];
    let framed = bodies.map(|body| [&(body.len() as u32).to_be_bytes(), &*body].concat());
    // One length is not that of its body.
    framed.into_iter().chain([[&[0, 0, 2, 0], [7; 100].as_slice()].concat()]).collect()
}

/// Chance that is none: an input is sealed in one way only.
struct Fixed(Random);

impl TryRng for Fixed {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.number() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.number())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.iter_mut().for_each(|byte| *byte = self.0.byte());
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

/// A sender who seals whatever they like, and signs a part of it where it is a body. What the
/// reader gets is that part and nothing else.
fn open_plain(input: &[u8]) -> Verdict {
    const PADDED: usize = 1 << 10;
    let mut named = named().swap_remove(0);
    named.envelope.key = secret().public().id();
    let aad = associated_data(&named.common, &named.record, &named.envelope, 1);
    let signer = signer("lab-a.example");
    let mut plain = input.to_vec();
    let body = input
        .split_first_chunk::<4>()
        .and_then(|(length, rest)| rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?));
    if let Some(body) = body {
        // Right in front of the padding or of what stands there.
        let signature = signer.sign(&body_message(&aad, body));
        plain.splice(4 + body.len()..4 + body.len(), signature);
    }
    plain.resize(PADDED, 0);
    let key = match secret().public() {
        SealingKey::X25519(key) => <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&key),
        SealingKey::XWing(_) => unreachable!("the secret is of suite 1"),
    };
    let info = [b"countersign.v1/hpke\0".as_slice(), Hash::of(&[&aad]).as_bytes()].concat();
    let mut chance = Fixed(Random::new("envelope-plain", 0, 0));
    let (enc, ciphertext) =
        hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &key.expect("it is a key"),
            &info,
            &plain,
            &aad,
            &mut chance,
        )
        .expect("whatever is short can be sealed");
    let tail = (ciphertext.len() as u32).to_be_bytes();
    let parts: [&[u8]; 5] = [&aad, &[0, 32], &enc.to_bytes(), &tail, &ciphertext];
    let artifact = parts.concat();
    let keys = [signer.public()];
    let Named { common, record, envelope } = &named;
    let opened = open(common, record, envelope, &artifact, &secret(), &keys);
    let length = body.map_or(0, <[u8]>::len);
    let honest = body.is_some()
        && padded_length(length) == Ok(PADDED as u64)
        && plain[4 + length + 64..].iter().all(|byte| *byte == 0);
    match opened {
        Ok(opened) => {
            assert!(honest, "content that no honest sender makes");
            assert_eq!(Some(&opened.body[..]), body, "another body");
            assert_eq!((opened.aad, opened.signature), (aad, signature(&plain, length)));
            Verdict::Accepted
        }
        Err(error) => {
            assert!(!honest, "an honest envelope is refused: {error}");
            Verdict::Refused
        }
    }
}

fn signature(plain: &[u8], length: usize) -> [u8; 64] {
    *plain[4 + length..].first_chunk().expect("it was opened")
}
