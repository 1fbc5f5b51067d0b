//! Every byte of a folder that no writer has open: database, tiles, bundles and artifacts, compared
//! with each other and with the root that the log signed.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlog::{
    Hash, SignedCheckpoint, TILE_WIDTH, TileKind, TilePath, TreeHead, VerifierKey, leaf_hash,
    node_hash, parse_bundle, parse_hash_tile, tiles_of,
};

use super::leaves::{Trees, Verdict, Witness, judge};
use super::listing::{self, Role};
use super::rows::{Index, Rows};
use crate::entry::StatementKey;
use crate::file::database::NAME;
use crate::store::StoreError;
use crate::tail::full_tile;

/// A damaged disk is seen from the first findings; the rest is counted.
const MAX_FINDINGS: usize = 1_000;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The log is not what it signed, or will not start.
    Damage,
    /// A killed process left it, and the next start of the log puts it right.
    Leftover,
}

/// Something in a log's folder that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFinding {
    /// How much it matters.
    pub weight: Weight,
    /// Path below the folder.
    pub file: String,
    /// Which row or entry of it, where one can be named.
    pub row: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl std::fmt::Display for FolderFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, row, problem, .. } = self;
        match row {
            Some(row) => write!(f, "{file} ({row}): {problem}"),
            None => write!(f, "{file}: {problem}"),
        }
    }
}

/// Who is told what is found, and knows what entries say.
pub trait Inspector {
    /// The statement key of an entry; `None` if the bytes have none.
    fn key_of(&mut self, entry: &[u8]) -> Option<StatementKey>;

    /// Judges an entry. Called in log order from the first entry on, and no more after one that is
    /// missing or in doubt.
    fn entry(&mut self, index: u64, entry: &[u8]) -> Option<String>;

    /// Takes a finding.
    fn found(&mut self, finding: FolderFinding);

    /// Is told how many of the entries are done.
    fn progress(&mut self, _done: u64, _of: u64) {}
}

/// What was there to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The head that everything was compared with; none if neither head row nor checkpoint hold.
    pub head: Option<TreeHead>,
    /// How many entries the inspector judged.
    pub judged: u64,
    /// The artifacts whose bytes are those of their name, with their lengths.
    pub artifacts: BTreeMap<Hash, u64>,
}

/// A log's folder, held against writers for as long as this lives, and never written to.
#[derive(Debug)]
pub struct StoppedLog {
    folder: PathBuf,
    rows: Rows,
    _lock: Option<File>,
}

impl StoppedLog {
    /// Takes a shared lock and reads the database. [`StoreError::Locked`] while a writer is there,
    /// [`StoreError::Absent`] if there never was one.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let folder = std::path::absolute(folder).map_err(StoreError::io(folder))?;
        let traces = [NAME, "lock", "log.key", "tile"];
        if !traces.iter().any(|name| folder.join(name).exists()) {
            return Err(StoreError::Absent { path: folder });
        }
        let lock = lock(&folder)?;
        let rows = Rows::load(&folder)?;
        Ok(Self { folder, rows, _lock: lock })
    }

    /// Where an artifact lies, if it is there.
    pub fn artifact_path(&self, digest: &Hash) -> PathBuf {
        self.folder.join(artifact_name(digest))
    }

    /// Reads all files and compares all of it. Without the log's key the signature on the head goes
    /// unchecked.
    pub fn check(
        &self,
        log: Option<&VerifierKey>,
        inspector: &mut dyn Inspector,
    ) -> Result<Checked, StoreError> {
        let files = listing::list(&self.folder)?;
        let mut check = Check {
            folder: &self.folder,
            rows: &self.rows,
            files: &files,
            inspector,
            reported: 0,
            judging: true,
            judged: 0,
        };
        for finding in &self.rows.findings {
            check.report(finding.clone());
        }
        let artifacts = check.files();
        let head = check.head(log);
        if let Some(head) = head {
            check.tree(head);
        }
        let judged = check.judged;
        check.close();
        Ok(Checked { head, judged, artifacts })
    }
}

/// Other checks may run beside this one; a writer may not. A folder that never had a writer has no
/// lock.
fn lock(folder: &Path) -> Result<Option<File>, StoreError> {
    let path = folder.join("lock");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { path, source }),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
        Err(TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
    }
}

fn artifact_name(digest: &Hash) -> String {
    let name = digest.to_string();
    format!("artifacts/{}/{name}", &name[..2])
}

struct Check<'a> {
    folder: &'a Path,
    rows: &'a Rows,
    files: &'a BTreeMap<String, Role>,
    inspector: &'a mut dyn Inspector,
    reported: usize,
    /// False once an entry is missing or in doubt.
    judging: bool,
    judged: u64,
}

/// The four witnesses of the entries of one bundle.
struct Chunk {
    first: u64,
    bundle: Option<Vec<Vec<u8>>>,
    tile: Option<Vec<Hash>>,
    width: u64,
}

impl Check<'_> {
    fn report(&mut self, finding: FolderFinding) {
        self.reported += 1;
        if self.reported <= MAX_FINDINGS {
            self.inspector.found(finding);
        }
    }

    fn close(mut self) {
        if let Some(more) = self.reported.checked_sub(MAX_FINDINGS).filter(|more| *more > 0) {
            self.reported = 0;
            self.damage(NAME, None, format!("and {more} findings more"));
        }
    }

    fn full(&self) -> bool {
        self.reported >= MAX_FINDINGS
    }

    fn damage(&mut self, file: impl ToString, row: Option<String>, problem: impl ToString) {
        let (file, problem) = (file.to_string(), problem.to_string());
        self.report(FolderFinding { weight: Weight::Damage, file, row, problem });
    }

    /// Files whose own name or place says what is right.
    fn files(&mut self) -> BTreeMap<Hash, u64> {
        let mut artifacts = BTreeMap::new();
        let files = self.files;
        for (name, role) in files {
            if let Some((weight, problem)) = listing::remark(role) {
                let (file, problem) = (name.clone(), problem.to_owned());
                self.report(FolderFinding { weight, file, row: None, problem });
            }
            let path = self.folder.join(name);
            match role {
                Role::Lock if fs::metadata(&path).map_or(0, |m| m.len()) > 0 => {
                    self.damage(name, None, "is always empty, but holds something");
                }
                Role::Artifact(digest) => match listing::digest(&path) {
                    Ok((found, length)) if found == *digest => {
                        artifacts.insert(*digest, length);
                    }
                    Ok((found, _)) => {
                        self.damage(name, None, format!("its bytes have the digest {found}"));
                    }
                    Err(error) => self.damage(name, None, error),
                },
                _ => {}
            }
        }
        artifacts
    }

    /// The head to compare with: the signed one, else that of the row.
    fn head(&mut self, log: Option<&VerifierKey>) -> Option<TreeHead> {
        let row = self.rows.head.as_ref()?;
        let Some(log) = log else { return Some(row.head) };
        match SignedCheckpoint::open(&row.checkpoint, log) {
            Err(error) => {
                self.damage(NAME, Some("head".to_owned()), format!("its checkpoint: {error}"));
                Some(row.head)
            }
            Ok(signed) => {
                let signed_head = *signed.head();
                if signed_head != row.head {
                    let (head, size) = (row.head, signed_head.size);
                    let problem = format!(
                        "it says size {} and root {}, its checkpoint size {size} and root {}",
                        head.size, head.root, signed_head.root
                    );
                    self.damage(NAME, Some("head".to_owned()), problem);
                }
                if signed.note().signatures().len() != 1 {
                    let problem = "its checkpoint has more signatures than the log's own";
                    self.damage(NAME, Some("head".to_owned()), problem);
                }
                Some(signed_head)
            }
        }
    }

    fn tree(&mut self, head: TreeHead) {
        let durable = self.staged(head.size);
        let size = self.extent(head.size);
        self.tiles_beyond(head.size);
        let mut trees = Trees::new();
        let mut ties: Vec<(u64, Vec<Witness>)> = Vec::new();
        // Roots of the full tiles of level 0, where they are known.
        let mut roots = Vec::new();
        let mut batches =
            self.rows.staged.iter().flat_map(|batch| (batch.start..).zip(&batch.entries));
        let mut staged = batches.next();
        for first in (0..size).step_by(TILE_WIDTH as usize) {
            if self.full() {
                return;
            }
            let chunk = self.chunk(first, size, durable);
            let mut leaves = Vec::new();
            for index in first..first + chunk.width {
                while staged.is_some_and(|(at, _)| at < index) {
                    staged = batches.next();
                }
                let own = staged.filter(|(at, _)| *at == index).map(|(_, bytes)| bytes);
                let (said, verdict) = self.leaf(&chunk, index, own);
                if let Verdict::Tied(witnesses) = &verdict {
                    ties.push((index, witnesses.clone()));
                }
                leaves.push(trees.add(&said, &verdict));
                self.entry(&chunk, index, own, &verdict);
            }
            if chunk.width == TILE_WIDTH {
                roots.push(leaves.into_iter().collect::<Option<Vec<_>>>().map(|l| subtree(&l)));
            }
            self.inspector.progress(first + chunk.width, size);
        }
        self.upper_tiles(roots, head.size, durable);
        self.root(&trees, head, &ties);
        self.surplus("leaf", &self.rows.leaves, head.size);
        self.surplus("statement", &self.rows.keys, head.size);
    }

    /// Checks that the staged batches follow each other up to the head. Returns up to where tiles
    /// must be on disk: what is staged may be in tiles or not.
    fn staged(&mut self, size: u64) -> u64 {
        let rows = self.rows;
        let first = rows.staged.first().map_or(size, |batch| batch.start);
        let mut next = first;
        for batch in &rows.staged {
            let row = Some(format!("staged batch at {}", batch.start));
            if batch.start != next {
                self.damage(NAME, row.clone(), format!("follows entry {next}"));
            }
            if batch.end() > size {
                let problem = format!("ends at entry {}, the log at {size}", batch.end());
                self.damage(NAME, row, problem);
            }
            next = batch.end();
        }
        if next < size {
            let problem = format!("entries {next} to {size} are not there");
            self.damage(NAME, Some("staged".to_owned()), problem);
        }
        let durable = first.min(size).checked_next_multiple_of(TILE_WIDTH).unwrap_or(size);
        if durable > size {
            let (from, to) = (size - size % TILE_WIDTH, first.min(size));
            let problem = format!("entries {from} to {to} are neither in a bundle nor staged");
            self.damage(NAME, Some("staged".to_owned()), problem);
        }
        durable.min(size - size % TILE_WIDTH)
    }

    /// The size, unless nothing is stored of its last part: a head from elsewhere could name any.
    fn extent(&mut self, size: u64) -> u64 {
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
        let there = tiles.chain(staged).chain(index).max().unwrap_or(0);
        if there < size {
            let problem =
                format!("it says size {size}, but nothing is stored beyond entry {there}");
            self.damage(NAME, Some("head".to_owned()), problem);
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
                self.damage(name, None, problem);
            }
        }
    }

    /// Reads bundle and hash tile, if they are full ones. What is missing is damage below `durable`
    /// and else what the next start writes.
    fn chunk(&mut self, first: u64, size: u64, durable: u64) -> Chunk {
        let width = TILE_WIDTH.min(size - first);
        if width < TILE_WIDTH {
            return Chunk { first, bundle: None, tile: None, width };
        }
        let index = first / TILE_WIDTH;
        let must = first < durable;
        let bundle = self.tile(&full_tile(TileKind::Entries, index), must, |bytes, path| {
            let entries = parse_bundle(bytes, path.width()).map_err(|e| e.to_string())?;
            Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
        });
        let tile =
            self.tile(&full_tile(TileKind::Hashes { level: 0 }, index), must, |bytes, path| {
                parse_hash_tile(bytes, path.width()).map_err(|e| e.to_string())
            });
        Chunk { first, bundle, tile, width }
    }

    fn tile<T>(
        &mut self,
        path: &TilePath,
        must: bool,
        parse: impl FnOnce(&[u8], &TilePath) -> Result<T, String>,
    ) -> Option<T> {
        match fs::read(self.folder.join(path.to_string())) {
            Ok(bytes) => match parse(&bytes, path) {
                Ok(parsed) => Some(parsed),
                Err(problem) => {
                    self.damage(path, None, problem);
                    None
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound && !must => {
                let problem = "is not written yet; the next start writes it".to_owned();
                let (file, weight) = (path.to_string(), Weight::Leftover);
                self.report(FolderFinding { weight, file, row: None, problem });
                None
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.damage(path, None, "is missing");
                None
            }
            Err(error) => {
                self.damage(path, None, error);
                None
            }
        }
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
            (Witness::Bundle, chunk.bundle.as_ref().map(|entries| leaf_hash(&entries[at]))),
            (Witness::Staged, staged.map(|bytes| leaf_hash(bytes))),
            (Witness::Tile, chunk.tile.as_ref().map(|hashes| hashes[at])),
            (Witness::Row, row),
        ];
        let said: Vec<_> =
            witnesses.into_iter().filter_map(|(who, hash)| Some((who, hash?))).collect();
        let verdict = judge(&said);
        if let Verdict::Outvoted(hash, wrong) = &verdict {
            for witness in wrong {
                self.blame(*witness, index, &format!("the leaf hash is {hash} by all else"));
            }
        }
        if row.is_none() && self.rows.leaves.whole {
            self.damage(NAME, Some("leaf".to_owned()), format!("entry {index} has no row"));
        }
        (said, verdict)
    }

    fn blame(&mut self, witness: Witness, index: u64, why: &str) {
        let tile = |kind| full_tile(kind, index / TILE_WIDTH).to_string();
        let entry = Some(format!("entry {index}"));
        match witness {
            Witness::Bundle => {
                self.damage(tile(TileKind::Entries), entry, format!("was changed: {why}"));
            }
            Witness::Tile => {
                let kind = TileKind::Hashes { level: 0 };
                self.damage(tile(kind), entry, format!("was changed: {why}"));
            }
            Witness::Staged => {
                let of = self.rows.staged.iter().rev().find(|batch| batch.start <= index);
                let row = of.map(|batch| format!("staged batch at {}", batch.start));
                self.damage(NAME, row, format!("entry {index} was changed: {why}"));
            }
            Witness::Row => {
                self.damage(
                    NAME,
                    Some(format!("leaf of entry {index}")),
                    format!("{why}, not here"),
                );
            }
        }
    }

    /// Hands an entry to the inspector, and compares its statement key with the index.
    fn entry(&mut self, chunk: &Chunk, index: u64, staged: Option<&Arc<[u8]>>, verdict: &Verdict) {
        let at = (index - chunk.first) as usize;
        let bundled = chunk.bundle.as_ref().map(|entries| entries[at].as_slice());
        let hash = match verdict {
            Verdict::Agreed(hash) | Verdict::Outvoted(hash, _) => Some(*hash),
            _ => None,
        };
        let sound = |bytes: &&[u8]| Some(leaf_hash(bytes)) == hash;
        let Some(bytes) = bundled.into_iter().chain(staged.map(|bytes| &**bytes)).find(sound)
        else {
            self.judging = false;
            return;
        };
        if self.judging {
            self.judged = index + 1;
            if let Some(problem) = self.inspector.entry(index, bytes) {
                let file = match bundled {
                    Some(_) => full_tile(TileKind::Entries, index / TILE_WIDTH).to_string(),
                    None => NAME.to_owned(),
                };
                self.damage(file, Some(format!("entry {index}")), problem);
            }
        }
        let row = self.rows.keys.by_position.get(&index).copied();
        match (self.inspector.key_of(bytes), row) {
            (Some(key), Some(row)) if *key.as_bytes() != row => {
                let problem = format!("the statement's key is {key}, not {}", hex::encode(row));
                self.damage(NAME, Some(format!("statement of entry {index}")), problem);
            }
            (_, None) if self.rows.keys.whole => {
                let row = Some("statement".to_owned());
                self.damage(NAME, row, format!("entry {index} has no row"));
            }
            _ => {}
        }
    }

    /// Compares the tiles above the first level with the roots of those below.
    fn upper_tiles(&mut self, mut below: Vec<Option<Hash>>, size: u64, durable: u64) {
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
                });
                let wrong = stored.iter().flat_map(|stored| stored.iter().zip(expected));
                let wrong = wrong
                    .enumerate()
                    .find(|(_, (found, right))| right.is_some_and(|right| right != **found));
                if let Some((at, (found, _))) = wrong {
                    let problem =
                        format!("hash {at} is {found}, which the tile below does not give");
                    self.damage(path, None, problem);
                }
                above.push(
                    expected.iter().copied().collect::<Option<Vec<_>>>().map(|l| subtree(&l)),
                );
            }
            if above.is_empty() {
                return;
            }
            below = above;
        }
    }

    /// Asks the signed root who was right where one stood against one.
    fn root(&mut self, trees: &Trees, head: TreeHead, ties: &[(u64, Vec<Witness>)]) {
        let holds = |tree: &tlog::CompactRange| trees.whole && tree.head() == head;
        let (bytes_hold, hashes_hold) = (holds(&trees.by_bytes), holds(&trees.by_hashes));
        for (index, witnesses) in ties {
            for witness in witnesses {
                let right = if witness.has_bytes() { bytes_hold } else { hashes_hold };
                if right && bytes_hold != hashes_hold {
                    continue;
                }
                let why = if bytes_hold == hashes_hold {
                    "what else is stored of this entry differs from it"
                } else {
                    "the signed root follows from the other"
                };
                self.blame(*witness, *index, why);
            }
        }
        if !(bytes_hold || hashes_hold) && trees.whole {
            let found = trees.by_bytes.head();
            let problem = format!(
                "its root is {} at size {}, but the stored entries have {} at size {}",
                head.root, head.size, found.root, found.size
            );
            self.damage(NAME, Some("head".to_owned()), problem);
        }
    }

    fn surplus(&mut self, table: &str, index: &Index, size: u64) {
        for (position, key) in index.by_position.range(size..) {
            let row = Some(format!("{table} {}", hex::encode(key)));
            self.damage(NAME, row, format!("leads to entry {position}, beyond the log's end"));
        }
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
