//! What each leaf hash is, by all that the folder says of it: bundle, staged batch, hash tile and
//! index. Where they differ most of them are believed, or both sides if it is one against one; in
//! the end the signed root says who was right.

use tlog::{CompactRange, Hash, TreeHead};

/// Who says what a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Witness {
    /// The bytes in the bundle.
    Bundle,
    /// The bytes in a staged batch.
    Staged,
    /// The hash tile.
    Tile,
    /// The row of the index.
    Row,
}

impl Witness {
    /// True for bytes, false for what was once computed from them.
    pub(super) fn has_bytes(self) -> bool {
        matches!(self, Self::Bundle | Self::Staged)
    }
}

/// What the witnesses of one leaf came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They agree.
    Agreed(Hash),
    /// All but these agree.
    Outvoted(Hash, Vec<(Witness, Hash)>),
    /// As many say this as that; the root decides.
    Tied,
    /// Nobody knows.
    Unknown,
}

/// Weighs what the witnesses say.
pub(super) fn judge(said: &[(Witness, Hash)]) -> Verdict {
    let Some((_, first)) = said.first() else { return Verdict::Unknown };
    let votes = |hash: &Hash| said.iter().filter(|(_, other)| other == hash).count();
    let most = said.iter().map(|(_, hash)| votes(hash)).max().unwrap_or_default();
    if most == said.len() {
        return Verdict::Agreed(*first);
    }
    let mut leading: Vec<Hash> =
        said.iter().filter(|(_, hash)| votes(hash) == most).map(|(_, hash)| *hash).collect();
    leading.dedup();
    match leading.as_slice() {
        [hash] => {
            let others = said.iter().filter(|(_, other)| other != hash).copied();
            Verdict::Outvoted(*hash, others.collect())
        }
        _ => Verdict::Tied,
    }
}

/// The tree, and from the first tie on twice: once with what the bytes say, once with the rest.
#[derive(Debug)]
pub(super) struct Trees {
    by_bytes: CompactRange,
    by_hashes: Option<CompactRange>,
    /// True as long as every leaf is known.
    whole: bool,
}

impl Trees {
    pub(super) fn new() -> Self {
        Self { by_bytes: CompactRange::new(), by_hashes: None, whole: true }
    }

    /// Adds a leaf as judged. Returns what the tiles above are compared with; none if nobody knows.
    pub(super) fn add(&mut self, said: &[(Witness, Hash)], verdict: &Verdict) -> Option<Hash> {
        let of = |bytes: bool| {
            let own = said.iter().find(|(witness, _)| witness.has_bytes() == bytes);
            own.or_else(|| said.first()).map(|(_, hash)| *hash)
        };
        let (bytes, hashes) = match verdict {
            Verdict::Agreed(hash) | Verdict::Outvoted(hash, _) => (Some(*hash), Some(*hash)),
            Verdict::Tied => (of(true), of(false)),
            Verdict::Unknown => (None, None),
        };
        let (Some(bytes), Some(hashes)) = (bytes, hashes) else {
            self.whole = false;
            return None;
        };
        if self.whole {
            if bytes != hashes && self.by_hashes.is_none() {
                self.by_hashes = Some(self.by_bytes.clone());
            }
            self.by_bytes.append(bytes);
            if let Some(by_hashes) = &mut self.by_hashes {
                by_hashes.append(hashes);
            }
        }
        (bytes == hashes).then_some(bytes)
    }

    /// The heads that follow from the bytes and from the hashes; none if a leaf is not known.
    pub(super) fn heads(&self) -> Option<(TreeHead, TreeHead)> {
        let by_hashes = self.by_hashes.as_ref().unwrap_or(&self.by_bytes);
        self.whole.then(|| (self.by_bytes.head(), by_hashes.head()))
    }
}
