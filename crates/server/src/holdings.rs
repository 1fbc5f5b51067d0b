//! What is known of stored artifacts: which statement named them, hence who may read them; and
//! which ones no statement has named yet, hence how much room their uploader takes up.
//!
//! Named artifacts follow from the log, so they are known again after a restart. Of unnamed ones
//! a restart forgets the uploader: they stay for another while, charged to nobody.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use exchange::{Reason, Refusal, Statement, artifacts, sealed_in};
use sequencer::Stored;
use tlog::{Hash, KeyName};

use transport::status::{QUOTA, RETRY_AFTER, SUBJECT};
use transport::{Identity, Peer};

/// How much may be stored that no statement has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unnamed {
    /// Bytes of one identity.
    pub bytes_each: u64,
    /// Artifacts of one identity.
    pub count_each: u64,
    /// Bytes of all together.
    pub bytes_total: u64,
    /// After this time without a statement an artifact is garbage and removed.
    pub keep: Duration,
}

impl Default for Unnamed {
    /// 512 MiB and 1,000 artifacts each, 4 GiB together, for an hour: a client puts an artifact
    /// seconds before the statement.
    fn default() -> Self {
        Self {
            bytes_each: 512 << 20,
            count_each: 1_000,
            bytes_total: 4 << 30,
            keep: Duration::from_secs(3_600),
        }
    }
}

/// To whom a stored envelope is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelopes {
    /// To connections whose certificate belongs to its sender, its reader, or an auditor of its
    /// exchange.
    Parties,
    /// To whoever may read the log.
    Anyone,
}

/// Whether an artifact is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is.
    Granted,
    /// It is an envelope for others: `NOT_THE_READER`.
    NotTheReader,
    /// As far as this peer is concerned, there is no such artifact.
    Absent,
}

/// Who put one and the same unnamed artifact. Whoever comes later reads it once it is named.
const MAX_UPLOADERS: usize = 16;

/// The index of artifacts. One lock, held for a few map operations or the removal of a file.
#[derive(Debug)]
pub(crate) struct Holdings {
    limits: Unnamed,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    named: HashMap<Hash, Named>,
    unnamed: HashMap<Hash, Waiting>,
    used: HashMap<Identity, Used>,
    total: u64,
    /// Statements on their way that name a digest. What is pinned is not removed.
    pins: HashMap<Hash, usize>,
}

#[derive(Debug)]
enum Named {
    /// Anyone who may read the log may read it.
    Open,
    /// An envelope, by who sealed it, and everybody else who may read it: whom it was sealed to,
    /// and the auditors of its exchange.
    Sealed { sender: KeyName, readers: BTreeSet<KeyName> },
}

#[derive(Debug)]
struct Waiting {
    uploaders: BTreeSet<Identity>,
    /// Whose room it takes up.
    charged: Option<Identity>,
    bytes: u64,
    since: Instant,
}

#[derive(Debug, Default, Clone, Copy)]
struct Used {
    bytes: u64,
    count: u64,
}

impl Holdings {
    /// Nothing is known yet; [`name`](Self::name) every statement, then [`found`](Self::found)
    /// what is stored.
    pub(crate) fn new(limits: Unnamed) -> Self {
        Self { limits, inner: Mutex::default() }
    }

    /// An artifact that an earlier process left behind.
    pub(crate) fn found(&self, stored: Stored, now: Instant) {
        let mut inner = self.inner();
        if !inner.named.contains_key(&stored.digest) {
            let waiting = Waiting {
                uploaders: BTreeSet::new(),
                charged: None,
                bytes: stored.length,
                since: now,
            };
            inner.total += stored.length;
            inner.unnamed.insert(stored.digest, waiting);
        }
    }

    /// A statement is in the log: what it names stays. Its exchange's auditors read what is sealed.
    pub(crate) fn name<'a>(
        &self,
        statement: &Statement,
        auditors: impl Iterator<Item = &'a KeyName>,
    ) {
        let needs = artifacts(statement);
        if needs.is_empty() {
            return;
        }
        let sender = &statement.common().signer;
        let sealed = sealed_in(statement).map(|(_, envelope)| {
            let mut readers: BTreeSet<_> = auditors.cloned().collect();
            readers.insert(envelope.reader.clone());
            (envelope.digest, readers)
        });
        let mut inner = self.inner();
        for need in needs {
            if let Some(waiting) = inner.unnamed.remove(&need.digest) {
                inner.total -= waiting.bytes;
                inner.release(waiting.charged.as_ref(), waiting.bytes);
            }
            let readers = sealed.as_ref().filter(|(digest, _)| *digest == need.digest);
            inner.admit(need.digest, sender, readers.map(|(_, readers)| readers));
        }
    }

    /// Whether a peer gets an artifact. One that nobody has named is there only for whoever put
    /// it: it may become an envelope.
    pub(crate) fn access(&self, digest: &Hash, peer: &Peer, envelopes: Envelopes) -> Access {
        let inner = self.inner();
        if let Some(waiting) = inner.unnamed.get(digest) {
            let own = waiting.uploaders.contains(peer.identity());
            return if own { Access::Granted } else { Access::Absent };
        }
        match inner.named.get(digest) {
            None => Access::Absent,
            Some(Named::Open) => Access::Granted,
            Some(Named::Sealed { .. }) if envelopes == Envelopes::Anyone => Access::Granted,
            Some(Named::Sealed { sender, readers }) => match peer.party() {
                Some(party) if party == sender || readers.contains(party) => Access::Granted,
                _ => Access::NotTheReader,
            },
        }
    }

    /// Room for an upload that begins.
    pub(crate) fn reserve(self: &Arc<Self>, by: &Identity) -> Result<Reservation, Refusal> {
        let mut inner = self.inner();
        let used = inner.used.entry(by.clone()).or_default();
        if used.count >= self.limits.count_each {
            return Err(no_room(by, "unnamed_artifacts", self.limits.count_each));
        }
        used.count += 1;
        drop(inner);
        Ok(Reservation { holdings: Arc::clone(self), by: Some(by.clone()), bytes: 0 })
    }

    /// Keeps what these digests name while a statement is on its way.
    pub(crate) fn pin(self: &Arc<Self>, digests: Vec<Hash>) -> Pin {
        let mut inner = self.inner();
        for digest in &digests {
            *inner.pins.entry(*digest).or_default() += 1;
        }
        drop(inner);
        Pin { holdings: Arc::clone(self), digests }
    }

    /// Removes what no statement has named in time, by `remove`, which is called under the lock:
    /// nobody names an artifact that is just being removed. Returns how many are gone.
    pub(crate) fn collect<E>(
        &self,
        now: Instant,
        mut remove: impl FnMut(&Hash) -> Result<(), E>,
    ) -> Result<u64, E> {
        let due: Vec<Hash> = {
            let inner = self.inner();
            let late = |waiting: &Waiting| {
                now.saturating_duration_since(waiting.since) >= self.limits.keep
            };
            inner.unnamed.iter().filter(|(_, w)| late(w)).map(|(digest, _)| *digest).collect()
        };
        let mut removed = 0;
        for digest in due {
            // One at a time, so that a long list doesn't hold up everybody else.
            let mut inner = self.inner();
            if inner.pins.contains_key(&digest) {
                continue;
            }
            let Some(waiting) = inner.unnamed.remove(&digest) else { continue };
            if let Err(error) = remove(&digest) {
                inner.unnamed.insert(digest, waiting);
                return Err(error);
            }
            inner.total -= waiting.bytes;
            inner.release(waiting.charged.as_ref(), waiting.bytes);
            removed += 1;
        }
        Ok(removed)
    }

    /// Bytes that no statement has named, uploads under way included.
    pub(crate) fn unnamed_bytes(&self) -> u64 {
        self.inner().total
    }

    /// No code that can panic runs while the maps disagree, `remove` excepted, and it comes
    /// between two whole states.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The first statement that names an envelope decides whose it is. Later ones add readers
    /// only if the same party says so: naming somebody else's envelope opens nothing.
    fn admit(&mut self, digest: Hash, sender: &KeyName, readers: Option<&BTreeSet<KeyName>>) {
        match (self.named.get_mut(&digest), readers) {
            (None, None) => {
                self.named.insert(digest, Named::Open);
            }
            (None, Some(readers)) => {
                let named = Named::Sealed { sender: sender.clone(), readers: readers.clone() };
                self.named.insert(digest, named);
            }
            (Some(Named::Sealed { sender: first, readers: known }), Some(readers))
                if first == sender =>
            {
                known.extend(readers.iter().cloned());
            }
            (Some(_), _) => {}
        }
    }

    fn release(&mut self, by: Option<&Identity>, bytes: u64) {
        let Some(by) = by else { return };
        if let Some(used) = self.used.get_mut(by) {
            used.bytes = used.bytes.saturating_sub(bytes);
            used.count = used.count.saturating_sub(1);
            if used.count == 0 {
                self.used.remove(by);
            }
        }
    }
}

/// `ARTIFACT_TOO_LARGE`: there is no room left for what no statement has named.
fn no_room(by: &Identity, quota: &'static str, limit: u64) -> Refusal {
    let message = format!(
        "no room for {by}: at most {limit} ({quota}) may wait for a statement that names them; \
         append the statements first, or wait until what is unnamed is removed"
    );
    Refusal::new(Reason::ArtifactTooLarge, message)
        .with(QUOTA, quota)
        .with(SUBJECT, by)
        .with(RETRY_AFTER, 60_000)
}

/// Room that an upload takes up. Given back when dropped, unless the artifact was kept.
#[derive(Debug)]
pub(crate) struct Reservation {
    holdings: Arc<Holdings>,
    by: Option<Identity>,
    bytes: u64,
}

impl Reservation {
    /// `ARTIFACT_TOO_LARGE`: room for more bytes.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Refusal> {
        let Some(by) = &self.by else { return Ok(()) };
        let limits = self.holdings.limits;
        let bytes = bytes as u64;
        let mut inner = self.holdings.inner();
        if inner.total.saturating_add(bytes) > limits.bytes_total {
            return Err(no_room(by, "unnamed_bytes_total", limits.bytes_total));
        }
        let used = inner.used.entry(by.clone()).or_default();
        if used.bytes.saturating_add(bytes) > limits.bytes_each {
            return Err(no_room(by, "unnamed_bytes", limits.bytes_each));
        }
        used.bytes += bytes;
        inner.total += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// The upload is stored. If a statement has named it already, or somebody else waits with the
    /// same, the room is given back.
    pub(crate) fn keep(mut self, digest: Hash, now: Instant) {
        let Some(by) = self.by.clone() else { return };
        let mut inner = self.holdings.inner();
        if inner.named.contains_key(&digest) {
            return;
        }
        if let Some(waiting) = inner.unnamed.get_mut(&digest) {
            if waiting.uploaders.len() < MAX_UPLOADERS {
                waiting.uploaders.insert(by);
            }
            waiting.since = now;
            return;
        }
        let waiting = Waiting {
            uploaders: BTreeSet::from([by.clone()]),
            charged: Some(by),
            bytes: self.bytes,
            since: now,
        };
        inner.unnamed.insert(digest, waiting);
        drop(inner);
        self.by = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(by) = self.by.take() {
            let mut inner = self.holdings.inner();
            inner.total -= self.bytes;
            inner.release(Some(&by), self.bytes);
        }
    }
}

/// Keeps artifacts from being removed while it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    holdings: Arc<Holdings>,
    digests: Vec<Hash>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut inner = self.holdings.inner();
        for digest in &self.digests {
            if let Some(count) = inner.pins.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    inner.pins.remove(digest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use exchange::Reason;
    use tlog::{Hash, KeyName};

    use super::{Access, Envelopes, Holdings, Unnamed};
    use transport::{Fingerprint, Identity, OpenCalls, Peer, Roster};

    fn name(text: &str) -> KeyName {
        KeyName::parse(text).unwrap()
    }

    fn party(text: &str) -> Peer {
        let certificate = Fingerprint::of(text.as_bytes());
        let roster = Roster::from([(certificate, name(text))]);
        peer(Some(certificate), &roster)
    }

    fn peer(certificate: Option<Fingerprint>, roster: &Roster) -> Peer {
        let address = "127.0.0.1".parse().unwrap();
        Peer::new(address, certificate, roster, true, Arc::new(OpenCalls::default()))
    }

    fn holdings(bytes_each: u64, bytes_total: u64) -> Arc<Holdings> {
        let limits = Unnamed { bytes_each, bytes_total, count_each: 3, ..Unnamed::default() };
        Arc::new(Holdings::new(limits))
    }

    fn put(holdings: &Arc<Holdings>, by: &Peer, bytes: usize, text: &str) -> Hash {
        let digest = Hash::of(&[text.as_bytes()]);
        let mut room = holdings.reserve(by.identity()).unwrap();
        room.add(bytes).unwrap();
        room.keep(digest, Instant::now());
        digest
    }

    #[test]
    fn envelope_is_for_its_sender_and_reader_and_for_nobody_who_names_it_later() {
        let holdings = holdings(100, 1_000);
        let [a, b, c] = ["a.example", "b.example", "c.example"].map(party);
        let digest = put(&holdings, &a, 10, "envelope");
        let of = |peer: &Peer| holdings.access(&digest, peer, Envelopes::Parties);
        assert_eq!([of(&a), of(&b)], [Access::Granted, Access::Absent], "not named yet");

        holdings.inner().unnamed.clear();
        let admit = |sender: &str, reader: Option<&str>| {
            let readers = reader.map(|reader| BTreeSet::from([name(reader)]));
            holdings.inner().admit(digest, &name(sender), readers.as_ref());
        };
        admit("a.example", Some("b.example"));
        assert_eq!([of(&a), of(&b), of(&c)], {
            [Access::Granted, Access::Granted, Access::NotTheReader]
        });
        let nobody = peer(None, &Roster::new());
        let stranger = peer(Some(Fingerprint::of(b"x")), &Roster::new());
        assert_eq!([of(&nobody), of(&stranger)], [Access::NotTheReader; 2]);
        admit("c.example", Some("c.example"));
        admit("c.example", None);
        assert_eq!(of(&c), Access::NotTheReader);
        admit("a.example", Some("c.example"));
        assert_eq!(of(&c), Access::Granted, "the sender may add a reader");
        let anyone = holdings.access(&digest, &nobody, Envelopes::Anyone);
        assert_eq!(anyone, Access::Granted);
    }

    #[test]
    fn identity_cannot_take_up_more_room_than_its_share() {
        let holdings = holdings(100, 150);
        let (a, b) = (party("a.example"), party("b.example"));
        put(&holdings, &a, 60, "one");
        let mut room = holdings.reserve(a.identity()).unwrap();
        room.add(40).unwrap();
        let refusal = room.add(1).unwrap_err();
        assert_eq!(refusal.reason(), Reason::ArtifactTooLarge);
        assert_eq!(refusal.value("quota"), Some("unnamed_bytes"));
        drop(room);
        assert_eq!(holdings.unnamed_bytes(), 60, "an upload that ends early gives its room back");

        let mut other = holdings.reserve(b.identity()).unwrap();
        let refusal = other.add(91).unwrap_err();
        assert_eq!(refusal.value("quota"), Some("unnamed_bytes_total"));
        other.add(90).unwrap();

        put(&holdings, &a, 0, "two");
        put(&holdings, &a, 0, "three");
        let refusal = holdings.reserve(a.identity()).unwrap_err();
        assert_eq!(refusal.value("quota"), Some("unnamed_artifacts"));
    }

    #[test]
    fn same_artifact_twice_is_charged_once() {
        let holdings = holdings(100, 1_000);
        let (a, b) = (party("a.example"), party("b.example"));
        put(&holdings, &a, 60, "one");
        let digest = put(&holdings, &b, 60, "one");
        assert_eq!(holdings.unnamed_bytes(), 60);
        assert_eq!(holdings.access(&digest, &b, Envelopes::Parties), Access::Granted);
        assert!(!holdings.inner().used.contains_key(b.identity()));
    }

    #[test]
    fn removes_what_nobody_named_in_time_but_nothing_that_a_statement_is_about_to_name() {
        let holdings = holdings(100, 1_000);
        let a = party("a.example");
        let gone = put(&holdings, &a, 10, "garbage");
        let pinned = put(&holdings, &a, 20, "on its way");
        let now = Instant::now();
        let none = holdings.collect(now, |_| -> Result<(), Infallible> { panic!("too early") });
        assert_eq!(none, Ok(0));

        let later = now + Unnamed::default().keep + Duration::from_secs(1);
        let pin = holdings.pin(vec![pinned]);
        let mut removed = Vec::new();
        let mut remove = |digest: &Hash| -> Result<(), Infallible> {
            removed.push(*digest);
            Ok(())
        };
        assert_eq!(holdings.collect(later, &mut remove), Ok(1));
        drop(pin);
        assert_eq!(holdings.collect(later, &mut remove), Ok(1));
        assert_eq!(removed, [gone, pinned]);
        assert_eq!(holdings.unnamed_bytes(), 0);
        assert!(!holdings.inner().used.contains_key(a.identity()), "its room is free again");
    }

    #[test]
    fn artifact_that_cannot_be_removed_still_counts() {
        let holdings = holdings(100, 1_000);
        let a = party("a.example");
        put(&holdings, &a, 10, "stuck");
        let later = Instant::now() + Unnamed::default().keep + Duration::from_secs(1);
        assert_eq!(holdings.collect(later, |_| Err("disk")), Err("disk"));
        assert_eq!(holdings.unnamed_bytes(), 10);
        assert!(matches!(a.identity(), Identity::Party(_)));
    }
}
