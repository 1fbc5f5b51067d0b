//! One pass over a log after another.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use client::{FetchError, LogFiles};
use exchange::{EndedExchange, Reason, Replayed, SignedStatement, State};
use rayon::prelude::*;
use tlog::evidence::{Kind, KnownKeys, Role};
use tlog::{MAX_NOTE, Note, Policy, SignedCheckpoint, TreeHead, VerifierKey};

use crate::artifacts::{self, Artifacts};
use crate::cosigned::Cosigned;
use crate::finding::{Code, Finding, Findings};
use crate::forks::{self, Fork};
use crate::replay::{Named, Replay};
use crate::store::{Store, StoreError};

/// Entries that are verified at a time, if they are short: enough to keep all cores busy.
const CHUNK: usize = 4_096;

/// Bytes of entries that are verified at a time, and that a monitor holds beside its state.
const CHUNK_BYTES: usize = 8 << 20;

/// Why a pass came to nothing. Nothing was lost: the next one begins where the last good one ended.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The monitor's own folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be reached. That says nothing about its honesty.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// There is no checkpoint.
    #[error("{0}: there is no checkpoint: is this the address of a log?")]
    NoCheckpoint(String),
    /// The log says that it is larger than this monitor may follow.
    #[error("the log has {size} entries, and this monitor follows at most {most}")]
    TooLarge {
        /// Entries in the log.
        size: u64,
        /// Entries that the monitor takes.
        most: u64,
    },
}

/// What a monitor goes by.
pub struct Settings {
    /// The log's key.
    pub log: VerifierKey,
    /// Witnesses and quorum; without one no cosignature is asked for.
    pub policy: Option<Policy>,
    /// How old the newest cosigned head may be, in seconds.
    pub max_age: u64,
    /// Parties whose keys convict them, beside the keys of the policy.
    pub parties: Vec<VerifierKey>,
    /// How many entries a log may have. Each takes some 200 bytes of memory here.
    pub max_entries: u64,
}

impl Settings {
    fn known(&self) -> KnownKeys {
        let known = self.policy.as_ref().map(KnownKeys::of_policy).unwrap_or_default();
        let known = known.with(Role::Log, self.log.clone());
        self.parties.iter().fold(known, |known, key| known.with(Role::Party, key.clone()))
    }
}

/// Where a pass looks.
pub struct Sources<'a> {
    /// What the log serves.
    pub files: &'a dyn LogFiles,
    /// Where that is, in words.
    pub place: &'a str,
    /// The artifacts that statements name; without them they are not looked at.
    pub artifacts: Option<&'a dyn Artifacts>,
    /// What others were shown.
    pub views: &'a [View],
}

/// A head that came another way than by the monitor's own fetch: from a witness, from the peer.
#[derive(Debug, Clone)]
pub struct View {
    /// Where it came from, in words.
    pub place: String,
    /// The signed note.
    pub note: Vec<u8>,
}

/// What a pass came to.
#[derive(Debug)]
pub struct Pass {
    /// The head up to which everything is verified now.
    pub head: TreeHead,
    /// Entries that this pass verified.
    pub entries: u64,
    /// Everything that is wrong.
    pub findings: Findings,
    /// What earlier passes and this one have found that stays true.
    pub standing: u64,
    /// Exchanges that ended among these entries.
    pub ended: Vec<EndedExchange>,
    /// Age of the newest cosigned head in seconds, where the policy asks for cosignatures.
    pub age: Option<u64>,
    /// Artifacts that were not looked at: sealed for others, too large, or not asked for.
    pub unread: u64,
}

/// Follows one log.
pub struct Monitor {
    pub(crate) settings: Settings,
    pub(crate) known: KnownKeys,
    pub(crate) store: Store,
    pub(crate) replay: Replay,
    pub(crate) head: Option<SignedCheckpoint>,
    cosigned: Cosigned,
    /// Entries that are replayed, and whose artifacts are still to be looked at.
    named: VecDeque<Named>,
    forks: Vec<Fork>,
    /// Who was shown more than this monitor, and since when, in unix time.
    ahead: BTreeMap<String, u64>,
}

impl Monitor {
    /// Opens the folder and replays what is verified in it; `progress` hears how many entries are
    /// done.
    pub fn open(
        folder: &Path,
        settings: Settings,
        progress: &dyn Fn(u64),
    ) -> Result<Self, MonitorError> {
        let store = Store::open(folder)?;
        let known = settings.known();
        let cosigned = Cosigned::open(folder, &known)?;
        let head = store.head(&settings.log)?;
        let (size, cursor) = (head.as_ref().map_or(0, |head| head.head().size), store.cursor()?);
        let mut replay = Replay::new(settings.log.clone());
        for entries in store.entries_between(0, size) {
            let mut entries = entries?;
            let leaves: Vec<_> = entries.par_iter().map(|entry| tlog::leaf_hash(entry)).collect();
            replay.grow(leaves);
            let wanted = cursor.saturating_sub(replay.size());
            entries.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            // What was found in them was written down when they came.
            replay.take(&entries, |_, _, _| {});
            progress(replay.nodes().size());
        }
        let foreign = |problem: &str| StoreError::Foreign {
            place: folder.display().to_string(),
            problem: problem.to_owned(),
        };
        if replay.size() != cursor {
            return Err(foreign("its cursor is beyond its entries").into());
        }
        if head.as_ref().is_some_and(|head| replay.root(size) != Some(head.head().root)) {
            return Err(foreign("its entries do not hash to its checkpoint").into());
        }
        replay.state_mut().take_ended();
        let (named, forks, ahead) = (VecDeque::new(), Vec::new(), BTreeMap::new());
        Ok(Self { settings, known, store, replay, head, cosigned, named, forks, ahead })
    }

    /// The head whose entries are here; the empty one before the first pass.
    pub fn head(&self) -> TreeHead {
        self.head.as_ref().map_or(TreeHead::EMPTY, |head| *head.head())
    }

    /// The signed note of that head.
    pub fn checkpoint(&self) -> Option<&[u8]> {
        self.head.as_ref().map(SignedCheckpoint::as_bytes)
    }

    /// How many entries are verified.
    pub fn verified(&self) -> u64 {
        self.replay.size()
    }

    /// How many findings are on file.
    pub fn standing(&self) -> u64 {
        self.store.standing()
    }

    /// What the entries so far come to.
    pub fn state(&self) -> &State {
        self.replay.state()
    }

    pub(crate) fn set_head(&mut self, head: SignedCheckpoint) -> Result<(), StoreError> {
        self.store.set_head(&head)?;
        self.head = Some(head);
        Ok(())
    }

    /// Fetches the newest head, verifies what is new below it, compares it with the other views,
    /// and keeps it. `now` is unix time; `progress` hears how many entries are verified.
    pub fn pass(
        &mut self,
        sources: &Sources<'_>,
        now: u64,
        progress: &dyn Fn(u64),
    ) -> Result<Pass, MonitorError> {
        let (mut findings, mut unread) = (Findings::default(), 0);
        // What an earlier pass did not come to.
        let before = self.verify(sources.artifacts, progress, &mut findings, &mut unread)?;
        let place = sources.place;
        let note = sources.files.fetch("checkpoint", MAX_NOTE)?;
        let note = note.ok_or_else(|| MonitorError::NoCheckpoint(place.to_owned()))?;
        let mut age = None;
        let mut entries = before;
        match SignedCheckpoint::open(&note, &self.settings.log) {
            Err(error) => {
                findings.push(Finding::new(Code::NotSigned, place, error.to_string()));
            }
            Ok(shown) => {
                age = self.check_cosignatures(place, shown.note(), now, &mut findings);
                self.follow(sources.files, place, shown.clone(), &mut findings)?;
                entries += self.verify(sources.artifacts, progress, &mut findings, &mut unread)?;
                self.see_witnesses(place, &shown, &mut findings)?;
            }
        }
        for view in sources.views {
            self.compare(view, now, &mut findings)?;
        }
        self.store.record(findings.list())?;
        let ended = self.replay.state_mut().take_ended();
        let (head, standing) = (self.head(), self.store.standing());
        Ok(Pass { head, entries, findings, standing, ended, age, unread })
    }

    /// Who cosigned, and how long ago.
    fn check_cosignatures(
        &self,
        place: &str,
        note: &Note,
        now: u64,
        findings: &mut Findings,
    ) -> Option<u64> {
        let policy = self.settings.policy.as_ref()?;
        match policy.verify(note) {
            Err(error) => {
                findings.push(Finding::new(Code::QuorumShort, place, error.to_string()));
                None
            }
            Ok(verified) => {
                if let Err(error) = verified.check_clock(now) {
                    findings.push(Finding::new(Code::QuorumShort, place, error.to_string()));
                }
                if let Err(error) = verified.check_age(policy, now, self.settings.max_age) {
                    findings.push(Finding::new(Code::Stale, place, error.to_string()));
                }
                verified.quorum_time(policy).map(|time| now.saturating_sub(time))
            }
        }
    }

    /// Verifies everything between the cursor and the head that is here, and says how many entries
    /// that were. The cursor follows, a chunk at a time, behind what was found.
    fn verify(
        &mut self,
        artifacts: Option<&dyn Artifacts>,
        progress: &dyn Fn(u64),
        findings: &mut Findings,
        unread: &mut u64,
    ) -> Result<u64, MonitorError> {
        // A pass that failed may have left these, of entries that are replayed.
        let mut from = self.store.cursor()?;
        let first = from;
        self.settle(artifacts, &mut from, findings, unread)?;
        let size = self.head().size;
        loop {
            let mut chunk = Vec::new();
            let mut bytes = 0;
            for entries in self.store.entries_between(self.replay.size(), size) {
                let entries = entries?;
                bytes += entries.iter().map(Vec::len).sum::<usize>();
                chunk.extend(entries);
                if chunk.len() >= CHUNK || bytes >= CHUNK_BYTES {
                    break;
                }
            }
            if chunk.is_empty() {
                return Ok(from - first);
            }
            let Self { replay, forks, named, .. } = self;
            named.extend(replay.take(&chunk, |index, replayed, leaf| {
                let signed = SignedStatement::parse(leaf).ok();
                findings.push(odd_entry(index, &replayed, signed.as_ref()));
                let repeated = matches!(&replayed, Replayed::Void(refusal)
                    if refusal.reason() == Reason::NumberNotAbove);
                if let Some(signed) = signed.filter(|_| repeated && forks.len() < forks::MOST) {
                    forks.push(Fork { index, signed });
                }
            }));
            self.settle(artifacts, &mut from, findings, unread)?;
            progress(from);
        }
    }

    /// Looks at what the entries that are replayed name, writes down what was found, and moves the
    /// cursor behind them.
    fn settle(
        &mut self,
        artifacts: Option<&dyn Artifacts>,
        cursor: &mut u64,
        findings: &mut Findings,
        unread: &mut u64,
    ) -> Result<(), MonitorError> {
        if *cursor == self.replay.size() {
            return Ok(());
        }
        while let Some(named) = self.named.front() {
            match artifacts {
                Some(source) => artifacts::check(named, source, findings, unread)?,
                None => *unread += artifacts::count(named),
            }
            self.named.pop_front();
        }
        let forks = std::mem::take(&mut self.forks);
        if !forks.is_empty() {
            let (state, size) = (self.replay.state(), self.head().size);
            forks::look_up(forks, &self.store, size, state, &self.known, findings)?;
        }
        self.store.record(findings.list())?;
        *cursor = self.replay.size();
        Ok(self.store.set_cursor(*cursor)?)
    }

    /// What witnesses cosigned must go with what they cosigned before.
    fn see_witnesses(
        &mut self,
        place: &str,
        shown: &SignedCheckpoint,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let nodes = self.replay.nodes();
        for made in self.cosigned.see(shown.note(), &self.known, nodes)? {
            let names: Vec<String> =
                made.accused().iter().map(|accused| accused.key().name().to_string()).collect();
            let (names, size) = (names.join(", "), shown.head().size);
            let (code, problem) = match made.kind() {
                Kind::WitnessRollback => {
                    let problem = format!("{names} cosigned size {size} after a larger one");
                    (Code::WitnessRollback, problem)
                }
                _ => {
                    let problem = format!("{names} cosigned another history before, size {size}");
                    (Code::Conflict, problem)
                }
            };
            findings.push(self.keep(Finding::new(code, place, problem), Some(&made), &[]));
        }
        Ok(())
    }

    /// Compares a head from elsewhere with what is verified here.
    fn compare(
        &mut self,
        view: &View,
        now: u64,
        findings: &mut Findings,
    ) -> Result<(), StoreError> {
        let shown = match SignedCheckpoint::open(&view.note, &self.settings.log) {
            Ok(shown) => shown,
            Err(error) => {
                findings.push(Finding::new(Code::NotSigned, &view.place, error.to_string()));
                return Ok(());
            }
        };
        let (head, size) = (*shown.head(), self.head().size);
        match self.replay.root(head.size) {
            Some(root) => {
                self.ahead.remove(&view.place);
                if root != head.root {
                    self.accuse(&view.place, &shown, self.replay.nodes(), findings);
                }
            }
            // The next pass will see it; else the log holds it back from us.
            None => {
                let since = *self.ahead.entry(view.place.clone()).or_insert(now);
                let age = now.saturating_sub(since);
                if age > self.settings.max_age {
                    let problem = format!(
                        "has a head of size {}, and for {age} s the log has shown no more than \
                         {size} here",
                        head.size
                    );
                    findings.push(Finding::new(Code::Behind, &view.place, problem));
                }
            }
        }
        self.see_witnesses(&view.place, &shown, findings)
    }
}

fn odd_entry(index: u64, replayed: &Replayed, signed: Option<&SignedStatement>) -> Finding {
    let who = signed
        .map_or_else(String::new, |signed| format!(" of {}", signed.statement().common().signer));
    let problem = match replayed {
        Replayed::Void(refusal) => {
            format!("a statement{who} that an honest log would have refused: {refusal}")
        }
        Replayed::Noise(refusal) => format!("nobody admitted has said this: {refusal}"),
        Replayed::Applied => String::new(),
    };
    Finding::of_entry(Code::Entry, index, problem)
}
