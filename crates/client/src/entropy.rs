//! Where fresh secrets come from. A trait, so that a simulation can replay a run byte for byte.

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
