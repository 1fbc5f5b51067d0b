//! A seeded generator, and ways to damage a file.

use tlog::Hash;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(what: &str, number: u64) -> Self {
        let seed = Hash::of(&[what.as_bytes(), &number.to_be_bytes()]);
        let (first, _) = seed.as_bytes().split_first_chunk().unwrap();
        Self(u64::from_be_bytes(*first))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// True once in `n`.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(super) fn hash(&mut self) -> Hash {
        Hash::of(&[&self.next().to_be_bytes()])
    }

    /// Changes a byte, or takes, repeats, moves or exchanges a line.
    pub(super) fn damage(&mut self, file: &mut Vec<u8>) {
        match self.below(4) {
            0 => {
                let at = self.below(file.len());
                file[at] ^= 1 << self.below(8);
            }
            // A character of the same alphabet, so that base64 and numbers stay what they are.
            1 => {
                let at = self.below(file.len());
                file[at] = match file[at] {
                    b'0'..=b'9' => b'0' + self.below(10) as u8,
                    b'a'..=b'z' => b'a' + self.below(26) as u8,
                    b'A'..=b'Z' => b'A' + self.below(26) as u8,
                    other => other,
                };
            }
            2 => {
                let mut lines = lines(file);
                let (from, to) = (self.below(lines.len()), self.below(lines.len()));
                let line = lines[from].clone();
                if self.once_in(2) {
                    lines.remove(from);
                }
                lines.insert(to.min(lines.len()), line);
                *file = lines.concat();
            }
            _ => {
                let mut lines = lines(file);
                let (a, b) = (self.below(lines.len()), self.below(lines.len()));
                lines.swap(a, b);
                *file = lines.concat();
            }
        }
    }
}

fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}
