//! Where fresh secrets come from. A trait, so that a simulation can replay a run byte for byte.

use std::convert::Infallible;

use exchange::sealed::rand_core::{TryCryptoRng, TryRng};

/// A source of uniform random bytes.
pub trait Entropy {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);

    /// An array of fresh bytes.
    fn bytes<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        // A machine that cannot give randomness must not make keys; there is no safe way on.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// Entropy as the generator that sealing takes.
pub(crate) struct Generator<'a, E>(pub(crate) &'a mut E);

impl<E: Entropy> TryRng for Generator<'_, E> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.0.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.0.bytes()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl<E: Entropy> TryCryptoRng for Generator<'_, E> {}
