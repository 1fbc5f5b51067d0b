//! The one source of chance: a seed gives the same inputs on every machine, for ever.

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough to choose mutations.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that depends on all three: an input is a function of target, seed and place.
    pub fn new(target: &str, seed: u64, execution: u64) -> Self {
        let name = target.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut random = Self(name ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.0 = random.number() ^ execution.wrapping_mul(0xd134_2543_de82_ef95);
        random
    }

    /// Any number of 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        // The bias of the remainder is below 2^-32 for every length that occurs.
        if limit == 0 { 0 } else { (self.number() % limit as u64) as usize }
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these; they are not empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.number() as u8
    }

    /// Small numbers most often: 1 half of the time, at most `limit`.
    pub fn few(&mut self, limit: usize) -> usize {
        (1 + self.number().trailing_ones() as usize).min(limit)
    }
}
