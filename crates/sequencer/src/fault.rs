//! Faults at named places: what tests and simulations break a [`Store`] with.
//!
//! A place is a text such as `before:commit`, `after:tile/0/000` or, within the file store,
//! `tile/0/000:renamed`. A plan is asked at each place a run passes, so a scenario can name a
//! place or count them, and stays valid when code moves.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tlog::{Hash, TilePath};

use crate::artifact::ArtifactStore;
use crate::entry::StatementKey;
use crate::store::{Claim, Commit, StagedBatch, Store, StoreError, StoreReads};

/// What goes wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation reports an error. What comes later works.
    Fail,
    /// The process is gone: this and everything later fails.
    Crash,
}

type Plan = dyn FnMut(&str) -> Option<Fault> + Send;

/// The places of one run and the plan that is asked at each. Clones share both.
#[derive(Clone, Default)]
pub struct Failpoints(Option<Arc<Mutex<Run>>>);

struct Run {
    plan: Box<Plan>,
    crashed: bool,
}

impl Failpoints {
    /// No fault anywhere.
    pub fn none() -> Self {
        Self::default()
    }

    /// Asks `plan` at each place.
    pub fn new(plan: impl FnMut(&str) -> Option<Fault> + Send + 'static) -> Self {
        Self(Some(Arc::new(Mutex::new(Run { plan: Box::new(plan), crashed: false }))))
    }

    /// The one fault at the place with this number, counted from 0 in the order they are passed.
    pub fn at(number: usize, fault: Fault) -> Self {
        let mut passed = 0;
        Self::new(move |_| {
            passed += 1;
            (passed == number + 1).then_some(fault)
        })
    }

    /// Passes a place, unless the plan says otherwise.
    pub fn pass(&self, place: impl fmt::Display) -> Result<(), StoreError> {
        let Some(run) = &self.0 else { return Ok(()) };
        // A plan that panicked has failed its test already.
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        let place = place.to_string();
        if !run.crashed {
            match (run.plan)(&place) {
                None => return Ok(()),
                Some(Fault::Fail) => {}
                Some(Fault::Crash) => run.crashed = true,
            }
        }
        Err(StoreError::Injected { place })
    }
}

impl fmt::Debug for Failpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Failpoints(planned)" } else { "Failpoints(none)" })
    }
}

/// A store that passes a place before and after each durable step, and one before each read.
#[derive(Debug)]
pub struct Faulty<S> {
    store: S,
    points: Failpoints,
}

impl<S: Store> Faulty<S> {
    /// Puts the faults of `points` between the writer and its store.
    pub fn new(store: S, points: Failpoints) -> Self {
        Self { store, points }
    }

    fn around<T>(
        &mut self,
        step: impl fmt::Display,
        run: impl FnOnce(&mut S) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.points.pass(format_args!("before:{step}"))?;
        let result = run(&mut self.store)?;
        self.points.pass(format_args!("after:{step}"))?;
        Ok(result)
    }
}

impl<S: Store> Store for Faulty<S> {
    fn reads(&self) -> Arc<dyn StoreReads> {
        Arc::new(FaultyReads { reads: self.store.reads(), points: self.points.clone() })
    }

    fn artifacts(&self) -> Arc<dyn ArtifactStore> {
        self.store.artifacts()
    }

    fn create(&mut self, checkpoint: &[u8]) -> Result<(), StoreError> {
        self.around("create", |store| store.create(checkpoint))
    }

    fn claim(&mut self) -> Result<Claim, StoreError> {
        self.around("claim", S::claim)
    }

    fn staged(&mut self) -> Result<Vec<StagedBatch>, StoreError> {
        self.points.pass("read:staged")?;
        self.store.staged()
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        self.around("commit", |store| store.commit(commit))
    }

    fn put_tile(&mut self, path: &TilePath, bytes: &[u8]) -> Result<(), StoreError> {
        self.around(path, |store| store.put_tile(path, bytes))
    }

    fn unstage(&mut self, boundary: u64) -> Result<(), StoreError> {
        self.around("unstage", |store| store.unstage(boundary))
    }
}

struct FaultyReads {
    reads: Arc<dyn StoreReads>,
    points: Failpoints,
}

impl StoreReads for FaultyReads {
    fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, StoreError> {
        self.points.pass(format_args!("read:{path}"))?;
        self.reads.tile(path)
    }

    fn find_leaves(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError> {
        self.points.pass("read:leaves")?;
        self.reads.find_leaves(leaves)
    }

    fn find_keys(&self, keys: &[StatementKey]) -> Result<Vec<Option<u64>>, StoreError> {
        self.points.pass("read:keys")?;
        self.reads.find_keys(keys)
    }
}
