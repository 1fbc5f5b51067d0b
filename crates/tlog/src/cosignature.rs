//! Cosignatures of type 04 (C2SP tlog-cosignature): Ed25519 over a checkpoint and a time.
//!
//! What a witness says with one: at that time this was the largest consistent tree of this origin
//! that I had seen. The signed message does not name the witness, so no two may share a key.
//! Type 06 (ML-DSA-44) lines are kept and passed on like those of any unknown key.

use crate::{BadSignature, Checkpoint, KeyKind, NoteSignature, SigningKey, VerifierKey};

/// Seconds that a cosignature's time may be ahead of the reader's clock.
pub const MAX_CLOCK_LEAD: u64 = 5 * 60;

/// Times are positive and fit in 63 bits.
const MAX_TIME: u64 = i64::MAX as u64;

/// A time that no cosignature of a checkpoint can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a cosignature time: must be from 1 to 2^63 - 1 seconds since 1970")]
pub struct InvalidTime(pub u64);

/// Cosigns the whole text of a checkpoint, its extension lines included, at a time in seconds
/// since 1970. The caller has persisted the tree before.
pub fn cosign(
    checkpoint: &Checkpoint,
    key: &SigningKey,
    time: u64,
) -> Result<NoteSignature, InvalidTime> {
    if !is_time(time) {
        return Err(InvalidTime(time));
    }
    let signature = key.sign(&cosigned_message(checkpoint.text(), time));
    let bytes = [time.to_be_bytes().as_slice(), &signature].concat();
    Ok(NoteSignature::new(&key.verifier(KeyKind::Cosignature), &bytes))
}

/// `cosignature/v1`, the time in decimal and the checkpoint's text.
pub fn cosigned_message(checkpoint_text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{checkpoint_text}").into_bytes()
}

impl VerifierKey {
    /// Checks a signature line over a text under this key: whether it names the key, has the form
    /// of its kind and verifies. Gives the time if it is a cosignature.
    pub fn check(
        &self,
        text: &str,
        signature: &NoteSignature,
    ) -> Result<Option<u64>, BadSignature> {
        if !signature.names(self) {
            return Err(BadSignature);
        }
        match self.kind() {
            KeyKind::Ed25519 => {
                let signature = signature.bytes().try_into().map_err(|_| BadSignature)?;
                self.public().verify(text.as_bytes(), signature)?;
                Ok(None)
            }
            KeyKind::Cosignature => {
                let (time, signature) =
                    signature.bytes().split_first_chunk().ok_or(BadSignature)?;
                let time = u64::from_be_bytes(*time);
                let signature = signature.try_into().map_err(|_| BadSignature)?;
                if !is_time(time) {
                    return Err(BadSignature);
                }
                self.public().verify(&cosigned_message(text, time), signature)?;
                Ok(Some(time))
            }
        }
    }
}

fn is_time(time: u64) -> bool {
    (1..=MAX_TIME).contains(&time)
}
