//! Sealing and opening.
//!
//! ```text
//! plain     = u32 body length ‖ body ‖ signature[64] ‖ zeros up to the padded length
//! signature = Ed25519 by the sender's statement key over L(envelope-body) ‖ SHA-256(aad) ‖ body
//! info      = L(hpke) ‖ SHA-256(aad)
//! ```

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use tlog::{Hash, KeyName, PublicKey, SigningKey};
use zeroize::Zeroizing;

use super::{NotTheEnvelope, associated_data, body_message, check_envelope};
use crate::bytes::label;
use crate::predicate::{SealedEnvelope, SealingKey};
use crate::statement::Common;
use crate::values::StatementId;

/// Bytes of a body: 64 MiB.
pub const MAX_BODY: usize = 64 << 20;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Body length, and signature.
const FRAME: u64 = 4 + 64;

/// The private half of a sealing key.
#[derive(Clone)]
pub enum SealingSecret {
    /// Suite 1.
    X25519(Zeroizing<[u8; 32]>),
    /// Suite 2: the seed of an X-Wing key.
    XWing(Zeroizing<[u8; 32]>),
}

impl std::fmt::Debug for SealingSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let suite = match self {
            Self::X25519(_) => 1,
            Self::XWing(_) => 2,
        };
        write!(f, "SealingSecret(suite {suite})")
    }
}

impl SealingSecret {
    /// The public half.
    pub fn public(&self) -> SealingKey {
        match self {
            Self::X25519(secret) => {
                let public = public_of::<X25519HkdfSha256>(secret.as_slice());
                SealingKey::X25519(public.try_into().expect("X25519 keys have 32 bytes"))
            }
            Self::XWing(seed) => {
                let public = public_of::<XWing>(seed.as_slice());
                let public: [u8; 1216] = public.try_into().expect("X-Wing keys have 1,216 bytes");
                SealingKey::XWing(Box::new(public))
            }
        }
    }
}

fn public_of<K: Kem>(secret: &[u8]) -> Vec<u8> {
    let secret = K::PrivateKey::from_bytes(secret).expect("every 32 bytes are a private key");
    K::sk_to_pk(&secret).to_bytes().to_vec()
}

/// What was sealed: the artifact, and how a statement names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// For the statement.
    pub envelope: SealedEnvelope,
    /// To be stored beside the log.
    pub artifact: Vec<u8>,
}

/// What came out of an envelope: the body, and what a third person needs to see who sent it.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedEnvelope {
    /// What was sealed.
    pub body: Zeroizing<Vec<u8>>,
    /// The associated data that the signature covers.
    pub aad: Vec<u8>,
    /// The sender's signature over [`body_message`].
    pub signature: [u8; 64],
}

impl std::fmt::Debug for OpenedEnvelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedEnvelope").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// Why something can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// More than [`MAX_BODY`] bytes.
    #[error("a body has at most {MAX_BODY} bytes, not {0}")]
    TooLong(usize),
    /// The reader's key is no key of its suite.
    #[error("the reader's sealing key can't be used")]
    Key,
}

/// Why an envelope is not opened. Nothing of it may be used then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not the one that the statement names.
    #[error(transparent)]
    NotTheEnvelope(#[from] NotTheEnvelope),
    /// It is sealed to another key.
    #[error("the envelope is sealed to another key than this one")]
    OtherKey,
    /// It does not decrypt: it was made for somebody else, or changed.
    #[error("the envelope does not decrypt")]
    Undecryptable,
    /// Its padding is not zeros, or its length does not fit.
    #[error("the envelope's content is not padded as it must be")]
    Padding,
    /// The sender did not sign what is in it.
    #[error("the sender did not sign what is in the envelope")]
    Signature,
}

/// The padded length of a body: the next power of two from 1 KiB to 1 MiB, then the next multiple
/// of 1 MiB, so that its size tells little.
pub fn padded_length(body: usize) -> Result<u64, SealError> {
    if body > MAX_BODY {
        return Err(SealError::TooLong(body));
    }
    let least = body as u64 + FRAME;
    Ok(if least <= MIB { least.next_power_of_two().max(KIB) } else { least.next_multiple_of(MIB) })
}

/// Seals a body about `record` to a reader. Of `common` it takes log, exchange and sender; the
/// random numbers make the ephemeral key.
pub fn seal(
    common: &Common,
    record: &StatementId,
    (reader, key): (&KeyName, &SealingKey),
    body: &[u8],
    signer: &SigningKey,
    random: &mut impl CryptoRng,
) -> Result<Sealed, SealError> {
    let padded = padded_length(body.len())?;
    let mut envelope = SealedEnvelope {
        digest: Hash::new([0; 32]),
        reader: reader.clone(),
        key: key.id(),
        padded,
    };
    let aad = associated_data(common, record, &envelope, key.suite());
    let length = usize::try_from(padded).map_err(|_| SealError::TooLong(body.len()))?;
    let mut plain = Zeroizing::new(Vec::with_capacity(length));
    let body_length = u32::try_from(body.len()).map_err(|_| SealError::TooLong(body.len()))?;
    plain.extend_from_slice(&body_length.to_be_bytes());
    plain.extend_from_slice(body);
    plain.extend_from_slice(&signer.sign(&Zeroizing::new(body_message(&aad, body))));
    plain.resize(length, 0);
    let (enc, ciphertext) = match key {
        SealingKey::X25519(key) => encrypt::<X25519HkdfSha256>(key, &aad, &plain, random)?,
        SealingKey::XWing(key) => encrypt::<XWing>(key.as_slice(), &aad, &plain, random)?,
    };
    let enc_length = u16::try_from(enc.len()).map_err(|_| SealError::Key)?;
    let ct_length = u32::try_from(ciphertext.len()).map_err(|_| SealError::Key)?;
    let artifact =
        [aad.as_slice(), &enc_length.to_be_bytes(), &enc, &ct_length.to_be_bytes(), &ciphertext]
            .concat();
    envelope.digest = Hash::of(&[&artifact]);
    Ok(Sealed { envelope, artifact })
}

/// Opens an envelope that a statement by `common.signer` names. `sender_keys` are the keys that
/// were the sender's; one of them must have signed the body.
pub fn open(
    common: &Common,
    record: &StatementId,
    envelope: &SealedEnvelope,
    artifact: &[u8],
    secret: &SealingSecret,
    sender_keys: &[PublicKey],
) -> Result<OpenedEnvelope, OpenError> {
    check_envelope(common, record, envelope, artifact)?;
    let public = secret.public();
    if public.id() != envelope.key {
        return Err(OpenError::OtherKey);
    }
    let aad = associated_data(common, record, envelope, public.suite());
    let rest = artifact.strip_prefix(aad.as_slice()).ok_or(OpenError::OtherKey)?;
    let plain = match secret {
        SealingSecret::X25519(secret) => decrypt::<X25519HkdfSha256>(secret.as_slice(), &aad, rest),
        SealingSecret::XWing(seed) => decrypt::<XWing>(seed.as_slice(), &aad, rest),
    }?;
    let (length, content) = plain.split_first_chunk::<4>().ok_or(OpenError::Padding)?;
    let length = u32::from_be_bytes(*length) as usize;
    if padded_length(length).ok() != Some(envelope.padded) {
        return Err(OpenError::Padding);
    }
    let (body, after) = content.split_at_checked(length).ok_or(OpenError::Padding)?;
    let (signature, padding) = after.split_first_chunk::<64>().ok_or(OpenError::Padding)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(OpenError::Padding);
    }
    let message = Zeroizing::new(body_message(&aad, body));
    if !sender_keys.iter().any(|key| key.verify(&message, signature).is_ok()) {
        return Err(OpenError::Signature);
    }
    Ok(OpenedEnvelope { body: Zeroizing::new(body.to_vec()), aad, signature: *signature })
}

fn info(aad: &[u8]) -> Vec<u8> {
    [label("hpke").as_slice(), Hash::of(&[aad]).as_bytes()].concat()
}

fn encrypt<K: Kem>(
    key: &[u8],
    aad: &[u8],
    plain: &[u8],
    random: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    let key = K::PublicKey::from_bytes(key).map_err(|_| SealError::Key)?;
    let (enc, ciphertext) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeS::Base,
        &key,
        &info(aad),
        plain,
        aad,
        random,
    )
    .map_err(|_| SealError::Key)?;
    Ok((enc.to_bytes().to_vec(), ciphertext))
}

/// `rest` is what stands behind the associated data; its lengths were checked.
fn decrypt<K: Kem>(
    secret: &[u8],
    aad: &[u8],
    rest: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let lengths = || OpenError::NotTheEnvelope(NotTheEnvelope::Lengths);
    let (enc_length, rest) = rest.split_first_chunk::<2>().ok_or_else(lengths)?;
    let enc_length = usize::from(u16::from_be_bytes(*enc_length));
    let (enc, rest) = rest.split_at_checked(enc_length).ok_or_else(lengths)?;
    let (_, ciphertext) = rest.split_first_chunk::<4>().ok_or_else(lengths)?;
    let secret = K::PrivateKey::from_bytes(secret).map_err(|_| OpenError::OtherKey)?;
    let enc = K::EncappedKey::from_bytes(enc).map_err(|_| OpenError::Undecryptable)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, K>(
        &OpModeR::Base,
        &secret,
        &enc,
        &info(aad),
        ciphertext,
        aad,
    )
    .map(Zeroizing::new)
    .map_err(|_| OpenError::Undecryptable)
}

#[cfg(test)]
mod tests {
    use hpke::rand_core::{TryCryptoRng, TryRng};
    use sha2::{Digest as _, Sha256};
    use tlog::TreeHead;

    use super::*;

    /// Numbers from a counter, for tests only.
    struct Counter(u64);

    impl TryRng for Counter {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(self.try_next_u64()? as u32)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            self.0 += 1;
            let digest = Sha256::digest(self.0.to_be_bytes());
            Ok(u64::from_be_bytes(*digest.first_chunk().unwrap()))
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            for chunk in bytes.chunks_mut(8) {
                let random = self.try_next_u64()?.to_be_bytes();
                chunk.copy_from_slice(&random[..chunk.len()]);
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Counter {}

    fn name(text: &str) -> KeyName {
        KeyName::parse(text).unwrap()
    }

    fn common() -> Common {
        Common {
            origin: name("log.example/one"),
            exchange: Some(StatementId::new([4; 32])),
            signer: name("lab-a.example"),
            number: 3,
            previous: None,
            seen: TreeHead::EMPTY,
        }
    }

    const RECORD: StatementId = StatementId::new([7; 32]);

    fn signer() -> SigningKey {
        SigningKey::from_seed(name("lab-a.example"), &[1; 32])
    }

    fn secrets() -> [SealingSecret; 2] {
        [
            SealingSecret::X25519(Zeroizing::new([5; 32])),
            SealingSecret::XWing(Zeroizing::new([6; 32])),
        ]
    }

    fn sealed(secret: &SealingSecret, body: &[u8]) -> Sealed {
        let reader = name("lab-b.example");
        let key = secret.public();
        seal(&common(), &RECORD, (&reader, &key), body, &signer(), &mut Counter(0)).unwrap()
    }

    #[test]
    fn the_reader_gets_what_the_sender_signed() {
        for secret in secrets() {
            for length in [0, 1, 955, 956, 957, 70_000, (1 << 20) - 68, (1 << 20) - 67] {
                let body = vec![b'x'; length];
                let sealed = sealed(&secret, &body);
                let opened = open(
                    &common(),
                    &RECORD,
                    &sealed.envelope,
                    &sealed.artifact,
                    &secret,
                    &[signer().public()],
                );
                assert_eq!(*opened.unwrap().body, body, "{length}");
            }
        }
    }

    #[test]
    fn sizes_fall_into_buckets() {
        for (body, padded) in [
            (0, 1 << 10),
            (956, 1 << 10),
            (957, 2 << 10),
            ((1 << 20) - 68, 1 << 20),
            ((1 << 20) - 67, 2 << 20),
            (MAX_BODY, 65 << 20),
        ] {
            assert_eq!(padded_length(body), Ok(padded), "{body}");
        }
        assert_eq!(padded_length(MAX_BODY + 1), Err(SealError::TooLong(MAX_BODY + 1)));
    }

    #[test]
    fn nobody_else_opens_it_and_no_byte_can_change() {
        for secret in secrets() {
            let sealed = sealed(&secret, b"the scores");
            let keys = [signer().public()];
            let try_open = |common: &Common, artifact: &[u8], secret: &SealingSecret| {
                open(common, &RECORD, &sealed.envelope, artifact, secret, &keys)
            };
            let other = SealingSecret::X25519(Zeroizing::new([9; 32]));
            assert_eq!(
                try_open(&common(), &sealed.artifact, &other).unwrap_err(),
                OpenError::OtherKey
            );
            let elsewhere = Common { exchange: None, ..common() };
            assert!(try_open(&elsewhere, &sealed.artifact, &secret).is_err());
            // A prime step, so that every part is met: lengths, key, ciphertext, tag.
            let last = sealed.artifact.len() - 1;
            for at in (0..last).step_by(37).chain([last]) {
                let mut changed = sealed.artifact.clone();
                changed[at] ^= 1;
                assert!(try_open(&common(), &changed, &secret).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_somebody_else_signed_is_refused_though_it_decrypts() {
        let [secret, _] = secrets();
        let sealed = sealed(&secret, b"the scores");
        let thief = SigningKey::from_seed(name("lab-a.example"), &[2; 32]);
        let opened = open(
            &common(),
            &RECORD,
            &sealed.envelope,
            &sealed.artifact,
            &secret,
            &[thief.public()],
        );
        assert_eq!(opened.unwrap_err(), OpenError::Signature);
    }

    #[test]
    fn secrets_do_not_show() {
        let [secret, _] = secrets();
        assert_eq!(format!("{secret:?}"), "SealingSecret(suite 1)");
    }
}
