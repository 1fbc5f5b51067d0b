//! Replay: what each leaf of a log means, whatever its server thought of it.

use rayon::prelude::*;

use super::{History, State};
use crate::reason::Refusal;
use crate::registry::VerifiedStatement;
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

    /// Takes many leaves in a row, as [`replay`](Self::replay) takes each: the same state, and the
    /// same word on every leaf, in order. Signatures are checked on all cores, with the parties as
    /// they were before the first leaf; where a leaf since then has changed whose key it is, it is
    /// checked once more in its turn. `history` must answer for every size below the last leaf.
    /// `each` also gets the statement of a leaf that holds.
    pub fn replay_all<L: AsRef<[u8]> + Sync>(
        &mut self,
        first: u64,
        leaves: &[L],
        history: &dyn History,
        mut each: impl FnMut(u64, Replayed, Option<&SignedStatement>),
    ) {
        let registry = std::sync::Arc::clone(self.registry());
        let verify = |leaf: &L| -> Option<VerifiedStatement> {
            registry.verify(SignedStatement::parse(leaf.as_ref()).ok()?).ok()
        };
        let verified: Vec<Option<VerifiedStatement>> = leaves.par_iter().map(verify).collect();
        for ((index, leaf), verified) in (first..).zip(leaves).zip(verified) {
            let in_order = verified.filter(|verified| self.check(index, verified, history).is_ok());
            if let Some(verified) = in_order {
                self.apply(index, &verified);
                each(index, Replayed::Applied, Some(verified.signed()));
                continue;
            }
            let replayed = self.replay(index, leaf.as_ref(), history);
            let holds = (replayed == Replayed::Applied).then(|| leaf.as_ref());
            let signed = holds.and_then(|leaf| SignedStatement::parse(leaf).ok());
            each(index, replayed, signed.as_ref());
        }
    }

    fn noise(&mut self, index: u64, refusal: Refusal) -> Replayed {
        self.size = index + 1;
        Replayed::Noise(refusal)
    }
}
