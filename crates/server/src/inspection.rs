//! A log's folder as the server would have made it: every statement replayed, and everything that
//! it names looked at again. What the bytes are in themselves is the sequencer's matter.

use std::collections::{BTreeMap, BTreeSet};

use exchange::named::{self, Sources};
use exchange::predicate::Predicate;
use exchange::{
    Envelope, Prefixes, Reason, Refusal, Replayed, SignedStatement, State, Statement, StatementId,
    artifacts,
};
use sequencer::{
    Artifacts, Checked, FolderFinding, Inspector, Objection, Remedy, StatementKey, StoppedLog,
    StoreError, Work,
};
use tlog::{Hash, VerifierKey};

/// What was there to inspect.
#[derive(Debug)]
pub struct Inspected {
    /// What the folder as such came to.
    pub checked: Checked,
    /// The artifacts that statements name.
    pub named: BTreeSet<Hash>,
}

/// Checks a folder from its bytes to what its statements say. Findings go to `found` as they come,
/// how far the work is to `progress`. Without the log's key statements are not replayed.
pub fn inspect(
    folder: &StoppedLog,
    log: Option<&VerifierKey>,
    found: &mut dyn FnMut(FolderFinding),
    progress: &mut dyn FnMut(Work, u64, u64),
) -> Result<Inspected, StoreError> {
    let mut inspection = Inspection {
        replay: log.map(|log| Replay {
            state: State::new(log.clone()),
            prefixes: Prefixes::new(),
            nonces: BTreeMap::new(),
        }),
        named: BTreeSet::new(),
        found,
        progress,
    };
    let checked = folder.check(log, &mut inspection)?;
    let Inspection { named, found, .. } = inspection;
    if log.is_some() && checked.head.is_some_and(|head| head.size == checked.judged) {
        for digest in checked.artifacts.digests().filter(|digest| !named.contains(*digest)) {
            let problem = "no statement names it; the server removes such artifacts after a while";
            found(FolderFinding::leftover(Artifacts::name(digest), problem));
        }
    }
    Ok(Inspected { checked, named })
}

struct Inspection<'a> {
    replay: Option<Replay>,
    named: BTreeSet<Hash>,
    found: &'a mut dyn FnMut(FolderFinding),
    progress: &'a mut dyn FnMut(Work, u64, u64),
}

/// The log as its statements have made it so far.
struct Replay {
    state: State,
    prefixes: Prefixes,
    /// Of intents without an evaluation: the context of one depends on it.
    nonces: BTreeMap<StatementId, [u8; 32]>,
}

impl Inspector for Inspection<'_> {
    fn key_of(&mut self, entry: &[u8]) -> Option<StatementKey> {
        let envelope = Envelope::parse(entry).ok()?;
        Some(StatementKey::new(*envelope.id().as_bytes()))
    }

    fn entry(&mut self, index: u64, entry: &[u8], artifacts: &Artifacts) -> Vec<Objection> {
        let Some(replay) = &mut self.replay else { return Vec::new() };
        let replayed = replay.state.replay(index, entry, &replay.prefixes);
        replay.prefixes.push(entry);
        if let Replayed::Void(refusal) | Replayed::Noise(refusal) = replayed {
            let problem = format!(
                "an honest server would not have taken this statement: {refusal} ({})",
                refusal.reason()
            );
            return vec![Objection { artifact: None, problem, remedy: Remedy::Tell }];
        }
        // It was parsed a moment ago, so this does not fail.
        let Ok(signed) = SignedStatement::parse(entry) else { return Vec::new() };
        let objections = self.artifacts_of(signed.statement(), artifacts);
        if let Some(replay) = &mut self.replay {
            replay.remember(signed.id(), signed.statement());
        }
        objections
    }

    fn found(&mut self, finding: FolderFinding) {
        (self.found)(finding);
    }

    fn progress(&mut self, work: Work, done: u64, of: u64) {
        (self.progress)(work, done, of);
    }
}

impl Inspection<'_> {
    fn artifacts_of(&mut self, statement: &Statement, stored: &Artifacts) -> Vec<Objection> {
        let mut objections = Vec::new();
        for need in artifacts(statement) {
            self.named.insert(need.digest);
            if stored.is_damaged(&need.digest) {
                continue;
            }
            let Some(replay) = &self.replay else { continue };
            let sources = Folder { stored, nonces: &replay.nonces };
            if let Err(refusal) = named::check(statement, &need, &sources) {
                let (problem, remedy) = match refusal.reason() {
                    Reason::ArtifactMissing => ("is not there".to_owned(), Remedy::Restore),
                    Reason::ReadOnly => (refusal.message().to_owned(), Remedy::Restore),
                    _ => (refusal.message().to_owned(), Remedy::Tell),
                };
                objections.push(Objection { artifact: Some(need.digest), problem, remedy });
            }
        }
        objections
    }
}

impl Replay {
    fn remember(&mut self, id: StatementId, statement: &Statement) {
        match statement.predicate() {
            Predicate::Intent(intent) => {
                self.nonces.insert(id, intent.nonce);
            }
            Predicate::Evaluation(evaluation) => {
                self.nonces.remove(&evaluation.intent);
            }
            Predicate::Withdrawal(withdrawal) => {
                self.nonces.remove(&withdrawal.intent);
            }
            _ => {}
        }
    }
}

/// A folder's artifacts, and the nonces that were announced so far.
struct Folder<'a> {
    stored: &'a Artifacts,
    nonces: &'a BTreeMap<StatementId, [u8; 32]>,
}

impl Sources for Folder<'_> {
    fn length(&self, digest: &Hash) -> Result<Option<u64>, Refusal> {
        Ok(self.stored.length(digest))
    }

    /// Its length was compared with what the statement says of it, so that there is a limit.
    fn bytes(&self, digest: &Hash) -> Result<Option<Vec<u8>>, Refusal> {
        self.stored
            .read(digest, u64::MAX)
            .map_err(|e| Refusal::new(Reason::ReadOnly, format!("cannot be read: {e}")))
    }

    fn start(&self, digest: &Hash, bytes: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let whole = self.bytes(digest)?;
        Ok(whole.map(|mut whole| {
            whole.truncate(bytes);
            whole
        }))
    }

    fn nonce(&self, intent: &StatementId) -> Result<Option<[u8; 32]>, Refusal> {
        Ok(self.nonces.get(intent).copied())
    }
}
