//! Replay: what each leaf of a log means, whatever its server thought of it.

use super::{History, State};
use crate::reason::Refusal;
use crate::statement::SignedStatement;

/// What a leaf came to. Neither [`Void`](Self::Void) nor [`Noise`](Self::Noise) can stand in the
/// log of an honest server, so a monitor reports both against the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// The statement holds.
    Applied,
    /// The signer said it, out of order: it becomes `previous` and burns its number, else it does
    /// nothing.
    Void(Refusal),
    /// Not a statement of this log by a current key of its signer: it counts for nothing. A
    /// registration that is refused is noise too, since nobody current has signed it.
    Noise(Refusal),
}

impl State {
    /// Takes leaf `index`, the next one, whatever it is. Never stops, never panics.
    pub fn replay(&mut self, index: u64, leaf: &[u8], history: &dyn History) -> Replayed {
        let signed = match SignedStatement::parse(leaf) {
            Ok(signed) => signed,
            Err(refusal) => return self.noise(index, refusal),
        };
        let verified = match self.registry.verify_or_return(signed) {
            Ok(verified) => verified,
            Err((refusal, signed)) => match self.registry.owner(&signed) {
                Some(owner) => {
                    self.apply_void(index, signed.statement(), signed.id(), owner);
                    return Replayed::Void(refusal);
                }
                None => return self.noise(index, refusal),
            },
        };
        let Err(refusal) = self.check(index, &verified, history) else {
            self.apply(index, &verified);
            return Replayed::Applied;
        };
        match self.registry.owner_by_key(verified.statement(), verified.key()) {
            Some(owner) => {
                self.apply_void(index, verified.statement(), verified.id(), owner);
                Replayed::Void(refusal)
            }
            None => self.noise(index, refusal),
        }
    }

    fn noise(&mut self, index: u64, refusal: Refusal) -> Replayed {
        self.size = index + 1;
        Replayed::Noise(refusal)
    }
}
