//! Tiles and entry bundles: the static files that a log is published as (C2SP tlog-tiles).
//!
//! Hash `i` of tile `N` at level `L` is the tree hash of the leaves `(256N + i) · 256^L` to
//! `(256N + i + 1) · 256^L − 1`. A partial tile is never hashed upwards, and an empty tile does
//! not exist. Reading proofs out of tiles is the work of [`TileNodes`](crate::TileNodes).

use std::fmt;
use std::str::FromStr;

use crate::Hash;
use crate::decimal::parse_decimal;

/// Hashes in a full tile, entries in a full bundle: trees of height 8.
pub const TILE_WIDTH: u64 = 256;

/// Largest entry in bytes, since its length is written in 16 bits. A full bundle has at most
/// 256 × (2 + 65,535) = 16,777,472 bytes.
pub const MAX_ENTRY: usize = 65_535;

/// Highest level in a path. Trees below 2^63 leaves only reach level 7.
const MAX_LEVEL: u8 = 63;

/// Tile indices stay below this, so that the leaves they name are below 2^63.
const INDEX_LIMIT: u64 = 1 << 55;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of one level; level 0 are the leaf hashes.
    Hashes {
        /// 0 to 63; each level is eight levels of the tree.
        level: u8,
    },
    /// The entries themselves.
    Entries,
}

/// Where a tile is below the log's prefix: `tile/0/x001/067.p/3`, `tile/entries/000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// A text that is not the path of a tile in its one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct InvalidTilePath;

/// Bytes that are not the tile or bundle they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// A tile of hashes has 32 bytes for each.
    #[error("tile has {found} bytes, must have {expected}")]
    Length {
        /// 32 × width.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A bundle ends within an entry or before its last one.
    #[error("bundle ends in entry {entry} of {width}")]
    Truncated {
        /// The entry, counted from 0, that is not whole.
        entry: u16,
        /// Entries that there should be.
        width: u16,
    },
    /// A bundle goes on after its last entry.
    #[error("bundle has {surplus} bytes after its last entry")]
    Surplus {
        /// Number of bytes left over.
        surplus: usize,
    },
    /// No tile has no hash, or more than 256.
    #[error("width {width} is not from 1 to 256")]
    Width {
        /// The width.
        width: u16,
    },
}

impl TilePath {
    /// The tile of this kind and index with the first `width` of its hashes or entries. `None` if
    /// the level is above 63, the index not below 2^55, or the width not from 1 to 256.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let level = if let TileKind::Hashes { level } = kind { level } else { 0 };
        let exists = level <= MAX_LEVEL && index < INDEX_LIMIT && is_width(width);
        exists.then_some(Self { kind, index, width })
    }

    /// Reads a path; the whole text must be the one spelling that `Display` writes.
    pub fn parse(text: &str) -> Result<Self, InvalidTilePath> {
        let (kind, rest) = text
            .strip_prefix("tile/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or(InvalidTilePath)?;
        let kind = if kind == "entries" {
            TileKind::Entries
        } else {
            let level = parse_decimal(kind).and_then(|level| u8::try_from(level).ok());
            TileKind::Hashes { level: level.ok_or(InvalidTilePath)? }
        };
        let (groups, width) = match rest.split_once(".p/") {
            None => (rest, Some(TILE_WIDTH as u16)),
            Some((groups, width)) => (groups, parse_partial_width(width)),
        };
        let index = parse_index(groups);
        index
            .zip(width)
            .and_then(|(index, width)| Self::new(kind, index, width))
            .ok_or(InvalidTilePath)
    }

    /// Hashes of a level, or entries.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Number of the tile within its kind.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Number of hashes or entries, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// True if the tile is complete and will never change.
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The full tile that this one is, or will become, a prefix of.
    #[must_use]
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH as u16, ..*self }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3);
        let padded = format!("{digits:0>width$}", width = groups * 3);
        for group in 0..groups {
            let separator = if group + 1 < groups { ("x", "/") } else { ("", "") };
            write!(f, "{}{}{}", separator.0, &padded[group * 3..group * 3 + 3], separator.1)?;
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = InvalidTilePath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn is_width(width: u16) -> bool {
    width > 0 && u64::from(width) <= TILE_WIDTH
}

/// `.p/0` and `.p/256` are not paths: the first is an empty tile, the second the full one.
fn parse_partial_width(text: &str) -> Option<u16> {
    parse_decimal(text).filter(|width| (1..TILE_WIDTH).contains(width)).map(|width| width as u16)
}

/// Groups of three digits, all but the last with an `x`, as few groups as possible.
fn parse_index(text: &str) -> Option<u64> {
    let mut index = 0_u64;
    let mut groups = text.split('/').peekable();
    let mut first = true;
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        if first && digits == "000" && groups.peek().is_some() {
            return None;
        }
        first = false;
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(index)
}

/// Width of the partial tile at `level` in a tree of `size` leaves: floor(size / 256^level) mod
/// 256. At 0 there is no partial tile.
pub fn partial_width(size: u64, level: u8) -> u16 {
    (hashes_at(size, level) % TILE_WIDTH) as u16
}

/// Hashes that a tree of `size` leaves has at `level`: floor(size / 256^level).
pub(crate) fn hashes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// Every hash tile and entry bundle, full and partial, that a tree of this size calls for: the
/// hash tiles from level 0 upwards, then the bundles.
pub fn tiles_of(size: u64) -> impl Iterator<Item = TilePath> {
    let levels = (0..8).map(|level| TileKind::Hashes { level });
    levels.chain([TileKind::Entries]).flat_map(move |kind| {
        let hashes = match kind {
            TileKind::Hashes { level } => hashes_at(size, level),
            TileKind::Entries => size,
        };
        let partial = (hashes % TILE_WIDTH) as u16;
        let full = (0..hashes / TILE_WIDTH).map(|index| (index, TILE_WIDTH as u16));
        let tiles = full.chain((partial > 0).then_some((hashes / TILE_WIDTH, partial)));
        tiles.filter_map(move |(index, width)| TilePath::new(kind, index, width))
    })
}

/// Joins entries to a bundle: for each its length in 16 bits, big-endian, and its bytes.
///
/// # Panics
///
/// If an entry is longer than [`MAX_ENTRY`]; a log never admits one.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bundle = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).expect("an admitted entry is at most MAX_ENTRY");
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    bundle
}

/// The entries of a bundle that holds exactly `width` of them.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    if !is_width(width) {
        return Err(TileError::Width { width });
    }
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bytes;
    for entry in 0..width {
        let truncated = TileError::Truncated { entry, width };
        let (length, tail) = rest.split_first_chunk().ok_or(truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (data, tail) = tail.split_at_checked(length).ok_or(truncated)?;
        entries.push(data);
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(TileError::Surplus { surplus: rest.len() });
    }
    Ok(entries)
}

/// The hashes of a tile that holds exactly `width` of them.
pub fn parse_hash_tile(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    if !is_width(width) {
        return Err(TileError::Width { width });
    }
    let expected = 32 * usize::from(width);
    if bytes.len() != expected {
        return Err(TileError::Length { expected, found: bytes.len() });
    }
    let (hashes, _) = bytes.as_chunks();
    Ok(hashes.iter().copied().map(Hash::new).collect())
}
