//! The associated data of a sealed envelope: the part that everybody can check against the
//! statement that names it (`docs/protocol.md`, "Envelopes").
//!
//! ```text
//! artifact = aad ‖ lp(enc) ‖ u32 length ‖ ciphertext
//! aad      = L(envelope) ‖ u8 suite ‖ lp(origin) ‖ agreement id ‖ record id ‖ lp(sender)
//!            ‖ lp(reader) ‖ lp(reader key id) ‖ u32 padded length
//! ```
//!
//! What is sealed is signed inside, by the sender's statement key over [`body_message`]: with the
//! body and this signature its reader can show a third person what was sent.

use tlog::{Hash, KeyName};

use crate::bytes::{label, push_prefixed};
use crate::predicate::{SealedEnvelope, SealingKeyId};
use crate::statement::Common;
use crate::values::StatementId;

/// Bytes of `enc` by suite: X25519, X-Wing.
const ENC: [(u8, usize); 2] = [(1, 32), (2, 1120)];

/// The cipher's tag.
const TAG: u64 = 16;

/// What stands before the ciphertext has at most so many bytes: a label, four names of at most 128
/// bytes with their lengths, two ids, and 1,126 of `enc` with what frames it, are 1,770.
pub const MAX_HEADER: usize = 2 << 10;

/// Why an artifact is not the envelope that a statement names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTheEnvelope {
    /// Its associated data names another log, record, sender, reader, key or length.
    #[error("the envelope's associated data is not what the statement says")]
    AssociatedData,
    /// The parts behind it don't have the lengths that suite and padding call for.
    #[error("the envelope's parts have wrong lengths")]
    Lengths,
}

/// The associated data of an envelope about `record`, under a suite.
pub fn associated_data(
    common: &Common,
    record: &StatementId,
    envelope: &SealedEnvelope,
    suite: u8,
) -> Vec<u8> {
    let mut aad = label("envelope");
    aad.push(suite);
    push_prefixed(&mut aad, common.origin.as_str());
    aad.extend_from_slice(common.exchange.unwrap_or(StatementId::ZERO).as_bytes());
    aad.extend_from_slice(record.as_bytes());
    push_prefixed(&mut aad, common.signer.as_str());
    push_prefixed(&mut aad, envelope.reader.as_str());
    push_prefixed(&mut aad, &hex::encode(envelope.key.as_bytes()));
    let padded = u32::try_from(envelope.padded).expect("buckets are at most 65 MiB");
    aad.extend_from_slice(&padded.to_be_bytes());
    aad
}

/// Checks what anyone can: the artifact is sealed for this place, sender and reader.
pub fn check_envelope(
    common: &Common,
    record: &StatementId,
    envelope: &SealedEnvelope,
    artifact: &[u8],
) -> Result<(), NotTheEnvelope> {
    check_envelope_start(common, record, envelope, artifact, artifact.len() as u64)
}

/// The same with no more of the artifact than its first [`MAX_HEADER`] bytes and its length: what
/// follows is ciphertext.
pub fn check_envelope_start(
    common: &Common,
    record: &StatementId,
    envelope: &SealedEnvelope,
    start: &[u8],
    length: u64,
) -> Result<(), NotTheEnvelope> {
    for (suite, enc) in ENC {
        let aad = associated_data(common, record, envelope, suite);
        let Some(rest) = start.strip_prefix(aad.as_slice()) else { continue };
        let sealed = envelope.padded + TAG;
        let holds = rest.starts_with(&u16::try_from(enc).unwrap_or(u16::MAX).to_be_bytes())
            && rest.get(2 + enc..2 + enc + 4).is_some_and(|bytes| {
                u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])) == sealed
            })
            && length == (aad.len() + 2 + enc + 4) as u64 + sealed;
        return if holds { Ok(()) } else { Err(NotTheEnvelope::Lengths) };
    }
    Err(NotTheEnvelope::AssociatedData)
}

/// What the sender signs inside an envelope: L(envelope-body) ‖ SHA-256(aad) ‖ body.
pub fn body_message(aad: &[u8], body: &[u8]) -> Vec<u8> {
    let mut message = label("envelope-body");
    message.extend_from_slice(Hash::of(&[aad]).as_bytes());
    message.extend_from_slice(body);
    message
}

/// Which place, sender and reader an envelope is for, as its associated data say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFor {
    /// The log.
    pub origin: KeyName,
    /// The agreement; zeros if there is none.
    pub exchange: StatementId,
    /// The record; zeros if there is none.
    pub record: StatementId,
    /// Who sealed and signed.
    pub sender: KeyName,
    /// Who can open it.
    pub reader: KeyName,
}

impl SealedFor {
    /// Reads associated data; `None` if it is none in its one spelling.
    pub fn parse(aad: &[u8]) -> Option<Self> {
        let (place, _, rest) = Self::take(aad)?;
        (rest.len() == 4).then_some(place)
    }

    /// Reads an envelope that no statement names, such as one with an item key: whom it is for, and
    /// how a statement would name it.
    pub fn of_artifact(artifact: &[u8]) -> Option<(Self, SealedEnvelope)> {
        let (place, key, rest) = Self::take(artifact)?;
        let padded = u64::from(u32::from_be_bytes(*rest.first_chunk()?));
        let (digest, reader) = (Hash::of(&[artifact]), place.reader.clone());
        Some((place, SealedEnvelope { digest, reader, key, padded }))
    }

    /// All but the padded length, which comes next.
    fn take(bytes: &[u8]) -> Option<(Self, SealingKeyId, &[u8])> {
        let rest = bytes.strip_prefix(label("envelope").as_slice())?;
        let (suite, rest) = rest.split_first()?;
        let (origin, rest) = take_name(rest)?;
        let (exchange, rest) = rest.split_first_chunk()?;
        let (record, rest) = rest.split_first_chunk()?;
        let (sender, rest) = take_name(rest)?;
        let (reader, rest) = take_name(rest)?;
        let (key, rest) = take_prefixed(rest)?;
        let lower = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        let key: [u8; 8] =
            hex::decode(key).ok().filter(|_| key.iter().all(lower))?.try_into().ok()?;
        let place = Self {
            origin,
            exchange: StatementId::new(*exchange),
            record: StatementId::new(*record),
            sender,
            reader,
        };
        let known = ENC.iter().any(|(known, _)| known == suite);
        known.then_some((place, SealingKeyId::new(key), rest))
    }
}

/// A u16 length and as many bytes.
fn take_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn take_name(bytes: &[u8]) -> Option<(KeyName, &[u8])> {
    let (name, rest) = take_prefixed(bytes)?;
    Some((KeyName::parse(std::str::from_utf8(name).ok()?).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use tlog::TreeHead;

    use super::*;

    fn scene() -> (Common, StatementId, SealedEnvelope) {
        let name = |text| KeyName::parse(text).unwrap();
        let common = Common {
            origin: name("log.example/one"),
            exchange: None,
            signer: name("lab-a.example"),
            number: 3,
            previous: None,
            seen: TreeHead::EMPTY,
        };
        let envelope = SealedEnvelope {
            digest: Hash::new([1; 32]),
            reader: name("lab-b.example"),
            key: SealingKeyId::new([2; 8]),
            padded: 1024,
        };
        (common, StatementId::new([7; 32]), envelope)
    }

    /// Written out by hand, so that it does not share the code under test.
    fn artifact(suite: u8, enc: usize) -> Vec<u8> {
        let mut bytes = b"countersign.v1/envelope\0".to_vec();
        bytes.push(suite);
        bytes.extend(b"\0\x0flog.example/one");
        bytes.extend([0; 32]);
        bytes.extend([7; 32]);
        bytes.extend(b"\0\x0dlab-a.example\0\x0dlab-b.example\0\x100202020202020202");
        bytes.extend([0, 0, 4, 0]);
        bytes.extend((enc as u16).to_be_bytes());
        bytes.extend(vec![9; enc]);
        bytes.extend([0, 0, 4, 16]);
        bytes.extend(vec![8; 1040]);
        bytes
    }

    #[test]
    fn takes_an_envelope_for_this_place_under_both_suites() {
        let (common, record, envelope) = scene();
        for (suite, enc) in [(1, 32), (2, 1120)] {
            let bytes = artifact(suite, enc);
            assert_eq!(check_envelope(&common, &record, &envelope, &bytes), Ok(()));
        }
    }

    #[test]
    fn refuses_an_envelope_for_another_place_or_of_another_length() {
        let (common, record, envelope) = scene();
        let good = artifact(1, 32);
        let aad = good.len() - 32 - 2 - 4 - 1040;
        for at in 0..aad {
            let mut changed = good.clone();
            changed[at] ^= 1;
            let refused = check_envelope(&common, &record, &envelope, &changed);
            assert!(refused.is_err(), "byte {at} of the associated data");
        }
        for cut in [0, 1, aad, aad + 1, aad + 34, good.len() - 1] {
            let refused = check_envelope(&common, &record, &envelope, &good[..cut]);
            assert!(refused.is_err(), "cut at {cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        let refused = check_envelope(&common, &record, &envelope, &longer);
        assert_eq!(refused, Err(NotTheEnvelope::Lengths));
        // The lengths of one suite under the number of the other.
        let refused = check_envelope(&common, &record, &envelope, &artifact(2, 32));
        assert_eq!(refused, Err(NotTheEnvelope::Lengths));
    }

    #[test]
    fn reads_back_what_an_envelope_is_for() {
        let (common, record, envelope) = scene();
        let bytes = artifact(1, 32);
        let named = SealedEnvelope { digest: Hash::of(&[&bytes]), ..envelope.clone() };
        assert_eq!(SealedFor::of_artifact(&bytes).unwrap().1, named);
        let aad = associated_data(&common, &record, &envelope, 1);
        assert_eq!(SealedFor::of_artifact(&aad[..aad.len() - 1]), None);
        let read = SealedFor::parse(&aad).unwrap();
        assert_eq!((&read.origin, read.exchange), (&common.origin, StatementId::ZERO));
        assert_eq!((read.record, &read.sender), (record, &common.signer));
        assert_eq!(read.reader, envelope.reader);
        for cut in 0..aad.len() {
            assert_eq!(SealedFor::parse(&aad[..cut]), None, "cut at {cut}");
        }
        assert_eq!(SealedFor::parse(&[aad.as_slice(), &[0]].concat()), None);
        // Label, suite and the spelling of the key's id; names and ids may be anyone's.
        let key_id = aad.len() - 4 - 16;
        for at in (0..25).chain(key_id - 2..key_id + 16) {
            let mut changed = aad.clone();
            changed[at] ^= 0x20 | 0x80;
            assert_eq!(SealedFor::parse(&changed), None, "byte {at}");
        }
    }
}
