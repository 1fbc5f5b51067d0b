//! The tree of a folder: every entry by all that is stored of it, from the leaves to the root.

use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use tlog::{
    Hash, TILE_WIDTH, TileKind, TilePath, TreeHead, leaf_hash, node_hash, parse_bundle,
    parse_hash_tile, tiles_of,
};

use super::finding::{FolderFinding, Remedy};
use super::folder::{Artifacts, Check, Objection, Work};
use super::leaves::{Trees, Verdict, Witness, judge};
use super::listing::Role;
use super::rows::Index;
use crate::file::database::NAME;
use crate::store::StoreError;
use crate::tail::full_tile;

/// The witnesses of the entries of one bundle that are files.
struct Chunk {
    first: u64,
    bundle: Option<Bundle>,
    tile: Option<Vec<Hash>>,
    width: u64,
}

/// The entries of a bundle, their leaf hashes, and where each begins.
struct Bundle {
    entries: Vec<Vec<u8>>,
    hashes: Vec<Hash>,
    places: Vec<usize>,
}

impl Bundle {
    fn parse(bytes: &[u8], width: u16) -> Result<Self, String> {
        let entries = parse_bundle(bytes, width).map_err(|e| e.to_string())?;
        let mut next = 0;
        let places = entries.iter().map(|entry| {
            let place = next;
            next += 2 + entry.len();
            place
        });
        Ok(Self {
            places: places.collect(),
            hashes: entries.iter().map(|entry| leaf_hash(entry)).collect(),
            entries: entries.into_iter().map(<[u8]>::to_vec).collect(),
        })
    }
}

/// How far the inspector got.
struct Judging<'a> {
    artifacts: &'a Artifacts,
    /// False once an entry is missing or in doubt.
    going: bool,
    judged: u64,
}

impl Check<'_> {
    /// Compares everything below `size` with the head, if there is one, and whether that is signed.
    /// Returns how many entries were judged.
    pub(super) fn tree(
        &mut self,
        size: u64,
        head: Option<(TreeHead, bool)>,
        artifacts: &Artifacts,
    ) -> Result<u64, StoreError> {
        let durable = self.staged(size);
        let stored = self.stored(size);
        self.tiles_beyond(size);
        let mut trees = Trees::new();
        let mut ties: Vec<(u64, Vec<(Witness, Hash)>)> = Vec::new();
        // Roots of the full tiles of level 0, where they are known, if there is a tile above them.
        let mut roots = Vec::new();
        let above = stored >= TILE_WIDTH * TILE_WIDTH;
        let mut judging = Judging { artifacts, going: true, judged: 0 };
        let rows = self.rows;
        let mut batches = rows.staged.iter().flat_map(|batch| (batch.start..).zip(&batch.entries));
        let mut staged = batches.next();
        for first in (0..stored).step_by(TILE_WIDTH as usize) {
            if self.full() {
                return Ok(judging.judged);
            }
            let chunk = self.chunk(first, stored, durable)?;
            let mut leaves = Vec::new();
            for index in first..first + chunk.width {
                while staged.is_some_and(|(at, _)| at < index) {
                    staged = batches.next();
                }
                let own = staged.filter(|(at, _)| *at == index).map(|(_, bytes)| bytes);
                let (said, verdict) = self.leaf(&chunk, index, own);
                if verdict == Verdict::Tied {
                    ties.push((index, said.clone()));
                }
                leaves.push(trees.add(&said, &verdict));
                self.entry(&chunk, index, own, &said, &verdict, &mut judging);
            }
            if above && chunk.width == TILE_WIDTH {
                roots.push(leaves.into_iter().collect::<Option<Vec<_>>>().map(|l| subtree(&l)));
            }
            self.inspector.progress(Work::Entries, first + chunk.width, stored);
        }
        self.upper_tiles(roots, size, durable)?;
        self.root(&trees, head, &ties);
        self.surplus("leaf", &rows.leaves, size);
        self.surplus("statement", &rows.keys, size);
        Ok(judging.judged)
    }

    /// Checks that the staged batches follow each other up to the head. Returns up to where tiles
    /// must be on disk: what is staged may be in tiles or not.
    fn staged(&mut self, size: u64) -> u64 {
        let rows = self.rows;
        let missing = |from: u64, to: u64| {
            let problem =
                format!("entries {from} to {} are neither staged nor in a bundle", to - 1);
            FolderFinding::damage(NAME, problem, Remedy::Database).at("staged")
        };
        let first = rows.staged.first().map_or(size, |batch| batch.start);
        let mut next = first;
        for batch in &rows.staged {
            let finding = |problem: &str| {
                FolderFinding::damage(NAME, problem, Remedy::Database)
                    .at(format!("staged batch at {}", batch.start))
            };
            if batch.start != next {
                self.report(finding("does not follow the one before").expected(next, batch.start));
            }
            if batch.end() > size {
                self.report(finding("ends beyond the log").expected(size, batch.end()));
            }
            next = batch.end();
        }
        if next < size {
            self.report(missing(next, size));
        }
        let durable = first.min(size).checked_next_multiple_of(TILE_WIDTH).unwrap_or(size);
        if durable > size {
            self.report(missing(size - size % TILE_WIDTH, first.min(size)));
        }
        durable.min(size - size % TILE_WIDTH)
    }

    /// Beyond which entry nothing is stored.
    pub(super) fn extent(&self) -> u64 {
        let tiles = self.files.values().filter_map(|role| match role {
            Role::Tile(path)
                if matches!(path.kind(), TileKind::Entries | TileKind::Hashes { level: 0 }) =>
            {
                Some((path.index() + 1) * TILE_WIDTH)
            }
            _ => None,
        });
        let staged = self.rows.staged.iter().map(|batch| batch.end());
        let index = self.rows.leaves.by_position.keys().next_back().map(|last| last + 1);
        tiles.chain(staged).chain(index).max().unwrap_or(0)
    }

    /// The size, unless nothing is stored of its last part: a head from elsewhere could name any.
    fn stored(&mut self, size: u64) -> u64 {
        let there = self.extent();
        if there < size {
            let problem = format!("nothing is stored beyond entry {there}");
            let finding = FolderFinding::damage(NAME, problem, Remedy::Database).at("head");
            self.report(finding.expected(format!("size {size}"), format!("size {there}")));
        }
        size.min(there)
    }

    fn tiles_beyond(&mut self, size: u64) {
        let files = self.files;
        for (name, role) in files {
            let Role::Tile(path) = role else { continue };
            let level = if let TileKind::Hashes { level } = path.kind() { level } else { 0 };
            let there = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
            if (path.index() + 1) * TILE_WIDTH > there {
                let problem = format!(
                    "is beyond the head of size {size}: the database was rolled back, or the tile \
                     is foreign"
                );
                self.report(FolderFinding::damage(name, problem, Remedy::Compare));
            }
        }
    }

    /// Reads bundle and hash tile, if they are full ones. What is missing is damage below `durable`
    /// and else what the next start writes.
    fn chunk(&mut self, first: u64, size: u64, durable: u64) -> Result<Chunk, StoreError> {
        let width = TILE_WIDTH.min(size - first);
        if width < TILE_WIDTH {
            return Ok(Chunk { first, bundle: None, tile: None, width });
        }
        let index = first / TILE_WIDTH;
        let must = first < durable;
        let bundle = self.tile(&full_tile(TileKind::Entries, index), must, |bytes, path| {
            Bundle::parse(bytes, path.width())
        })?;
        let tile =
            self.tile(&full_tile(TileKind::Hashes { level: 0 }, index), must, |bytes, path| {
                parse_hash_tile(bytes, path.width()).map_err(|e| e.to_string())
            })?;
        Ok(Chunk { first, bundle, tile, width })
    }

    fn tile<T>(
        &mut self,
        path: &TilePath,
        must: bool,
        parse: impl FnOnce(&[u8], &TilePath) -> Result<T, String>,
    ) -> Result<Option<T>, StoreError> {
        let file = self.folder.join(path.to_string());
        let finding = match fs::read(&file) {
            Ok(bytes) => match parse(&bytes, path) {
                Ok(parsed) => return Ok(Some(parsed)),
                Err(problem) => FolderFinding::damage(path, problem, Remedy::Restore),
            },
            Err(error) if error.kind() == ErrorKind::NotFound && !must => {
                FolderFinding::leftover(path, "is not written yet; its entries are staged")
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                FolderFinding::damage(path, "is missing", Remedy::Restore)
            }
            Err(error) => self.unreadable(&file, error)?,
        };
        self.report(finding);
        Ok(None)
    }

    /// Weighs what is said of one leaf, and reports who is outvoted.
    fn leaf(
        &mut self,
        chunk: &Chunk,
        index: u64,
        staged: Option<&Arc<[u8]>>,
    ) -> (Vec<(Witness, Hash)>, Verdict) {
        let at = (index - chunk.first) as usize;
        let row = self.rows.leaves.by_position.get(&index).map(|hash| Hash::new(*hash));
        let witnesses = [
            (Witness::Bundle, chunk.bundle.as_ref().map(|bundle| bundle.hashes[at])),
            (Witness::Staged, staged.map(|bytes| leaf_hash(bytes))),
            (Witness::Tile, chunk.tile.as_ref().map(|hashes| hashes[at])),
            (Witness::Row, row),
        ];
        let said: Vec<_> =
            witnesses.into_iter().filter_map(|(who, hash)| Some((who, hash?))).collect();
        let verdict = judge(&said);
        if let Verdict::Outvoted(hash, wrong) = &verdict {
            for (witness, found) in wrong {
                let finding = blame(chunk, *witness, index, self.rows);
                self.report(finding.expected(format!("leaf hash {hash}"), found));
            }
        }
        if row.is_none() && self.rows.leaves.whole {
            let finding = FolderFinding::damage(NAME, "is not there", Remedy::Database);
            self.report(finding.at(format!("leaf of entry {index}")));
        }
        (said, verdict)
    }

    /// Hands an entry to the inspector, and compares its statement key with the index.
    fn entry(
        &mut self,
        chunk: &Chunk,
        index: u64,
        staged: Option<&Arc<[u8]>>,
        said: &[(Witness, Hash)],
        verdict: &Verdict,
        judging: &mut Judging<'_>,
    ) {
        let at = (index - chunk.first) as usize;
        let hash = match verdict {
            Verdict::Agreed(hash) | Verdict::Outvoted(hash, _) => Some(*hash),
            Verdict::Tied | Verdict::Unknown => None,
        };
        let sound = |who| hash.is_some_and(|hash| said.contains(&(who, hash)));
        let bundle = chunk.bundle.as_ref().filter(|_| sound(Witness::Bundle));
        let staged = staged.filter(|_| sound(Witness::Staged));
        let bytes = match (bundle, staged) {
            (Some(bundle), _) => bundle.entries[at].as_slice(),
            (None, Some(bytes)) => bytes,
            (None, None) => {
                judging.going = false;
                return;
            }
        };
        if judging.going {
            judging.judged = index + 1;
            for objection in self.inspector.entry(index, bytes, judging.artifacts) {
                let file = match bundle {
                    Some(_) => full_tile(TileKind::Entries, index / TILE_WIDTH).to_string(),
                    None => NAME.to_owned(),
                };
                self.report(object(file, index, objection));
            }
        }
        let place = || format!("statement of entry {index}");
        let row = self.rows.keys.by_position.get(&index).copied();
        match (self.inspector.key_of(bytes), row) {
            (Some(key), Some(row)) if *key.as_bytes() != row => {
                let problem = "is not the key of the statement";
                let finding = FolderFinding::damage(NAME, problem, Remedy::Database).at(place());
                self.report(finding.expected(key, hex::encode(row)));
            }
            (_, None) if self.rows.keys.whole => {
                let finding = FolderFinding::damage(NAME, "is not there", Remedy::Database);
                self.report(finding.at(place()));
            }
            _ => {}
        }
    }

    /// Compares the tiles above the first level with the roots of those below.
    fn upper_tiles(
        &mut self,
        mut below: Vec<Option<Hash>>,
        size: u64,
        durable: u64,
    ) -> Result<(), StoreError> {
        for level in 1..8 {
            let tiles = tiles_of(size)
                .filter(|p| p.is_full() && p.kind() == TileKind::Hashes { level })
                .take(below.len());
            let span = 1_u64.checked_shl(8 * (u32::from(level) + 1)).unwrap_or(u64::MAX);
            let mut above = Vec::new();
            for (path, expected) in tiles.zip(below.chunks(TILE_WIDTH as usize)) {
                let must = (path.index() + 1).saturating_mul(span) <= durable;
                let stored = self.tile(&path, must, |bytes, path| {
                    parse_hash_tile(bytes, path.width()).map_err(|e| e.to_string())
                })?;
                for (at, (found, right)) in stored.iter().flatten().zip(expected).enumerate() {
                    let Some(right) = right.filter(|right| right != found) else { continue };
                    let problem = "is not the root of the tile below";
                    let finding = FolderFinding::damage(path, problem, Remedy::Restore);
                    let place = format!("hash {at}, bytes {} to {}", 32 * at, 32 * at + 31);
                    self.report(finding.at(place).expected(right, found));
                }
                above.push(expected.iter().copied().collect::<Option<Vec<_>>>());
            }
            if above.len() < TILE_WIDTH as usize {
                break;
            }
            below = above.into_iter().map(|hashes| hashes.map(|hashes| subtree(&hashes))).collect();
        }
        Ok(())
    }

    /// Asks the signed root who was right where one stood against one.
    fn root(
        &mut self,
        trees: &Trees,
        head: Option<(TreeHead, bool)>,
        ties: &[(u64, Vec<(Witness, Hash)>)],
    ) {
        let holds = |own: TreeHead| head.is_some_and(|(head, _)| own == head);
        let (bytes_hold, hashes_hold) = match trees.heads() {
            Some((by_bytes, by_hashes)) => (holds(by_bytes), holds(by_hashes)),
            None => (false, false),
        };
        let decided = bytes_hold != hashes_hold;
        for (index, said) in ties {
            for (witness, found) in said {
                let right = if witness.has_bytes() { bytes_hold } else { hashes_hold };
                if right && decided {
                    continue;
                }
                let chunk = Chunk { first: index - index % TILE_WIDTH, ..Chunk::nothing() };
                let mut finding = blame(&chunk, *witness, *index, self.rows);
                if decided {
                    finding.problem.push_str(", by the signed root");
                } else {
                    finding.problem =
                        "differs from what else is stored of this entry, and nothing says which \
                         is right"
                            .to_owned();
                }
                let others = said.iter().filter(|(_, hash)| hash != found).map(|(_, hash)| hash);
                self.report(match others.clone().next() {
                    Some(other) => finding.expected(format!("leaf hash {other}"), found),
                    None => finding,
                });
            }
        }
        let Some((head, signed)) = head else { return };
        if let Some((found, _)) = trees.heads()
            && !(bytes_hold || hashes_hold)
            && ties.is_empty()
        {
            let problem = format!("is not the root of the {} entries stored", found.size);
            let remedy = if signed { Remedy::Tell } else { Remedy::Database };
            let finding = FolderFinding::damage(NAME, problem, remedy).at("head");
            self.report(finding.expected(found.root, head.root));
        }
    }

    fn surplus(&mut self, table: &str, index: &Index, size: u64) {
        for (position, key) in index.by_position.range(size..) {
            let problem = format!("leads to entry {position}, beyond the log's end");
            let finding = FolderFinding::damage(NAME, problem, Remedy::Database);
            self.report(finding.at(format!("{table} {}", hex::encode(key))));
        }
    }
}

impl Chunk {
    fn nothing() -> Self {
        Self { first: 0, bundle: None, tile: None, width: 0 }
    }
}

/// Says where a witness stands who is wrong about an entry.
fn blame(chunk: &Chunk, witness: Witness, index: u64, rows: &super::rows::Rows) -> FolderFinding {
    let at = (index - chunk.first) as usize;
    let tile = |kind| full_tile(kind, index / TILE_WIDTH);
    match witness {
        Witness::Bundle => {
            let place = match chunk.bundle.as_ref().map(|bundle| bundle.places[at]) {
                Some(byte) => format!("entry {index}, from byte {byte} on"),
                None => format!("entry {index}"),
            };
            FolderFinding::damage(tile(TileKind::Entries), "was changed", Remedy::Restore).at(place)
        }
        Witness::Tile => {
            let place = format!("entry {index}, bytes {} to {}", 32 * at, 32 * at + 31);
            let file = tile(TileKind::Hashes { level: 0 });
            FolderFinding::damage(file, "was changed", Remedy::Restore).at(place)
        }
        Witness::Staged => {
            let batch = rows.staged.iter().rev().find(|batch| batch.start <= index);
            let start = batch.map_or(index, |batch| batch.start);
            let problem = format!("entry {index} was changed");
            FolderFinding::damage(NAME, problem, Remedy::Database)
                .at(format!("staged batch at {start}"))
        }
        Witness::Row => FolderFinding::damage(NAME, "was changed", Remedy::Database)
            .at(format!("leaf of entry {index}")),
    }
}

/// What the inspector has against an entry, where it belongs.
fn object(file: String, index: u64, objection: Objection) -> FolderFinding {
    let Objection { artifact, problem, remedy } = objection;
    match artifact {
        Some(digest) => FolderFinding::damage(Artifacts::name(&digest), problem, remedy)
            .at(format!("named by entry {index}")),
        None => FolderFinding::damage(file, problem, remedy).at(format!("entry {index}")),
    }
}

/// The root over the 256 hashes of a full tile.
fn subtree(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row[0]
}
