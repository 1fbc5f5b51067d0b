//! A store in memory, for tests, simulations and `demo`. What it was told is durable as long as a
//! handle on it lives.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tlog::{Hash, TilePath, TreeHead};

use crate::artifact::{ArtifactError, ArtifactStore, Meter, Stored, Upload, Verified};
use crate::entry::StatementKey;
use crate::store::{Claim, Commit, StagedBatch, Store, StoreError, StoreReads};

/// A handle on a store in memory. Clones are handles on the same store, as two processes may
/// have the same folder.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    disk: Arc<RwLock<Disk>>,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    head: Option<Claim>,
    staged: BTreeMap<u64, Vec<Arc<[u8]>>>,
    leaves: BTreeMap<Hash, u64>,
    keys: BTreeMap<StatementKey, u64>,
    tiles: BTreeMap<TilePath, Arc<[u8]>>,
    artifacts: BTreeMap<Hash, Arc<[u8]>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A second store with the same contents, like a copied folder.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { disk: Arc::new(RwLock::new(self.read().clone())) }
    }

    /// Replaces what is stored under the name of a tile: damage, for tests of what finds it.
    pub fn damage_tile(&self, path: &TilePath, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => self.write().tiles.insert(*path, bytes.into()),
            None => self.write().tiles.remove(path),
        };
    }

    // Each method changes the disk at its end and at once, so a panic leaves nothing half done.
    fn read(&self) -> RwLockReadGuard<'_, Disk> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Disk> {
        self.disk.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn reads(&self) -> Arc<dyn StoreReads> {
        Arc::new(self.clone())
    }

    fn artifacts(&self) -> Arc<dyn ArtifactStore> {
        Arc::new(self.clone())
    }

    fn create(&mut self, checkpoint: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.write();
        if disk.head.is_some() {
            return Err(StoreError::Exists);
        }
        let checkpoint = checkpoint.to_vec();
        disk.head = Some(Claim { epoch: 0, head: TreeHead::EMPTY, checkpoint });
        Ok(())
    }

    fn claim(&mut self) -> Result<Claim, StoreError> {
        let mut disk = self.write();
        let claim = disk.head.as_mut().ok_or(StoreError::Headless)?;
        claim.epoch += 1;
        Ok(claim.clone())
    }

    fn staged(&mut self) -> Result<Vec<StagedBatch>, StoreError> {
        let batch = |(start, entries): (&u64, &Vec<_>)| StagedBatch {
            start: *start,
            entries: entries.clone(),
        };
        Ok(self.read().staged.iter().map(batch).collect())
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let mut disk = self.write();
        let Commit { epoch, from, to, checkpoint, leaves } = *commit;
        let mine = |claim: &Claim| claim.epoch == epoch && claim.head == from;
        if !disk.head.as_ref().is_some_and(mine) {
            return Err(StoreError::Fenced { epoch, size: from.size });
        }
        let mut hashes = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for (index, leaf) in (from.size..).zip(leaves) {
            let again = disk.leaves.contains_key(&leaf.hash())
                || disk.keys.contains_key(&leaf.key())
                || hashes.insert(leaf.hash(), index).is_some()
                || keys.insert(leaf.key(), index).is_some();
            if again {
                return Err(StoreError::damaged(format!("entry {index} is indexed twice")));
            }
        }
        disk.leaves.append(&mut hashes);
        disk.keys.append(&mut keys);
        let entries = leaves.iter().map(|leaf| Arc::clone(leaf.bytes())).collect();
        disk.staged.insert(from.size, entries);
        disk.head = Some(Claim { epoch, head: to, checkpoint: checkpoint.to_vec() });
        Ok(())
    }

    fn put_tile(&mut self, path: &TilePath, bytes: &[u8]) -> Result<(), StoreError> {
        let mut disk = self.write();
        match disk.tiles.get(path) {
            Some(stored) if **stored == *bytes => Ok(()),
            Some(_) => Err(StoreError::Conflict { path: *path }),
            None => {
                disk.tiles.insert(*path, bytes.into());
                Ok(())
            }
        }
    }

    fn unstage(&mut self, boundary: u64) -> Result<(), StoreError> {
        let mut disk = self.write();
        disk.staged.retain(|start, entries| start + entries.len() as u64 > boundary);
        Ok(())
    }
}

impl StoreReads for MemoryStore {
    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read().tiles.get(path).map(|bytes| bytes.to_vec()))
    }

    fn find_leaves(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError> {
        let disk = self.read();
        Ok(leaves.iter().map(|leaf| disk.leaves.get(leaf).copied()).collect())
    }

    fn find_keys(&self, keys: &[StatementKey]) -> Result<Vec<Option<u64>>, StoreError> {
        let disk = self.read();
        Ok(keys.iter().map(|key| disk.keys.get(key).copied()).collect())
    }
}

impl ArtifactStore for MemoryStore {
    fn begin(&self, limit: u64) -> Result<Box<dyn Upload>, ArtifactError> {
        let meter = Meter::new(limit);
        Ok(Box::new(MemoryUpload { store: self.clone(), bytes: Vec::new(), meter }))
    }

    fn open(&self, digest: &Hash) -> Result<Option<Box<dyn Read + Send>>, ArtifactError> {
        let Some(bytes) = self.read().artifacts.get(digest).cloned() else { return Ok(None) };
        Ok(Some(Box::new(Verified::new(Cursor::new(bytes), *digest))))
    }

    fn length(&self, digest: &Hash) -> Result<Option<u64>, ArtifactError> {
        Ok(self.read().artifacts.get(digest).map(|bytes| bytes.len() as u64))
    }

    fn list(&self) -> Result<Vec<Stored>, ArtifactError> {
        let stored = |(digest, bytes): (&Hash, &Arc<[u8]>)| Stored {
            digest: *digest,
            length: bytes.len() as u64,
        };
        Ok(self.read().artifacts.iter().map(stored).collect())
    }

    fn remove(&self, digest: &Hash) -> Result<(), ArtifactError> {
        self.write().artifacts.remove(digest);
        Ok(())
    }
}

struct MemoryUpload {
    store: MemoryStore,
    bytes: Vec<u8>,
    meter: Meter,
}

impl Upload for MemoryUpload {
    fn write(&mut self, chunk: &[u8]) -> Result<(), ArtifactError> {
        self.meter.take(chunk)?;
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn finish(self: Box<Self>, expected: Option<&Hash>) -> Result<Stored, ArtifactError> {
        let stored = self.meter.finish(expected)?;
        self.store.write().artifacts.insert(stored.digest, self.bytes.into());
        Ok(stored)
    }
}
