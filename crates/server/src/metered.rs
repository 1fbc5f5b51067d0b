//! A store that tells the metrics how long its commits take.

use std::sync::Arc;
use std::time::Instant;

use sequencer::{ArtifactStore, Claim, Commit, StagedBatch, Store, StoreError, StoreReads};
use tlog::TilePath;

use crate::metrics::Metrics;

/// A store between the writer and the real one. The log itself has no clock; this has.
#[derive(Debug)]
pub struct Metered<S> {
    store: S,
    metrics: Metrics,
}

impl<S: Store> Metered<S> {
    /// Tells `metrics` of each commit of `store`.
    pub fn new(store: S, metrics: Metrics) -> Self {
        Self { store, metrics }
    }
}

impl<S: Store> Store for Metered<S> {
    fn reads(&self) -> Arc<dyn StoreReads> {
        self.store.reads()
    }

    fn artifacts(&self) -> Arc<dyn ArtifactStore> {
        self.store.artifacts()
    }

    fn create(&mut self, checkpoint: &[u8]) -> Result<(), StoreError> {
        self.store.create(checkpoint)
    }

    fn claim(&mut self) -> Result<Claim, StoreError> {
        self.store.claim()
    }

    fn staged(&mut self) -> Result<Vec<StagedBatch>, StoreError> {
        self.store.staged()
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        let began = Instant::now();
        let result = self.store.commit(commit);
        if result.is_ok() {
            self.metrics.committed(commit.leaves.len(), began.elapsed());
        }
        result
    }

    fn put_tile(&mut self, path: &TilePath, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put_tile(path, bytes)
    }

    fn unstage(&mut self, boundary: u64) -> Result<(), StoreError> {
        self.store.unstage(boundary)
    }
}
