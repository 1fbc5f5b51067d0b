//! Time, which only ticks make: what a tick says to the clock group of an agreement, and which
//! exchanges it moves.
//!
//! Exchanges with one policy and one clock group share a clock, so that a tick is judged once. An
//! exchange waits for a time to pass or for a leaf to be covered, and is visited only when its
//! turn has come: ten thousand open exchanges cost a tick nothing.

use std::collections::{BTreeMap, BTreeSet};

use tlog::{Hash, Member, Note, Policy, PolicyWitness, VerifierKey};

use crate::predicate::{Agreement, Stamp, Tick, stamp_message};
use crate::values::StatementId;

/// A tick that counts for a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::state) struct Counted {
    /// Its leaf.
    pub(in crate::state) index: u64,
    /// Leaves that its checkpoint covers.
    pub(in crate::state) size: u64,
    /// The greatest minimum cosignature time over the quorums of the clock group, unix seconds.
    pub(in crate::state) time: u64,
}

/// What an exchange waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::state) struct Awaited {
    /// A tick with a greater time moves the exchange.
    pub(in crate::state) time: Option<u64>,
    /// A tick whose checkpoint has more leaves than this moves it.
    pub(in crate::state) index: Option<u64>,
}

/// Policy digest and the clock's name in it.
pub(in crate::state) type ClockName = (Hash, Box<[u8]>);

/// One policy, one clock group, and the exchanges that go by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::state) struct Clock {
    policy: Policy,
    member: Member,
    exchanges: usize,
    /// The counted ticks that no later one outdates: indices rise and times fall. The first one
    /// after an agreement has the greatest time since.
    latest: Vec<Counted>,
    times: BTreeSet<(u64, StatementId)>,
    indices: BTreeSet<(u64, StatementId)>,
}

/// All clocks of open exchanges.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::state) struct Clocks(BTreeMap<ClockName, Clock>);

impl Clocks {
    /// The clock that an agreement names; the statement's parser has found policy and member.
    pub(in crate::state) fn join(&mut self, agreement: &Agreement) -> Option<ClockName> {
        let policy = Policy::parse(agreement.policy.as_bytes()).ok()?;
        let member = policy.member(agreement.clock.as_bytes())?;
        let name = (policy.digest(), agreement.clock.as_bytes().into());
        let clock = self.0.entry(name.clone()).or_insert_with(|| Clock {
            policy,
            member,
            exchanges: 0,
            latest: Vec::new(),
            times: BTreeSet::new(),
            indices: BTreeSet::new(),
        });
        clock.exchanges += 1;
        Some(name)
    }

    pub(in crate::state) fn get(&self, name: &ClockName) -> Option<&Clock> {
        self.0.get(name)
    }

    /// Replaces what an exchange waits for.
    pub(in crate::state) fn wait(
        &mut self,
        name: &ClockName,
        exchange: StatementId,
        [old, new]: [Awaited; 2],
    ) {
        let Some(clock) = self.0.get_mut(name).filter(|_| old != new) else { return };
        if let Some(time) = old.time {
            clock.times.remove(&(time, exchange));
        }
        if let Some(index) = old.index {
            clock.indices.remove(&(index, exchange));
        }
        clock.times.extend(new.time.map(|time| (time, exchange)));
        clock.indices.extend(new.index.map(|index| (index, exchange)));
    }

    /// An exchange is over.
    pub(in crate::state) fn leave(
        &mut self,
        name: &ClockName,
        exchange: StatementId,
        awaited: Awaited,
    ) {
        self.wait(name, exchange, [awaited, Awaited::default()]);
        if let Some(clock) = self.0.get_mut(name) {
            clock.exchanges -= 1;
            if clock.exchanges == 0 {
                self.0.remove(name);
            }
        }
    }

    /// Takes a tick: which exchanges it moves, by clock.
    pub(in crate::state) fn tick(
        &mut self,
        index: u64,
        tick: &Tick,
    ) -> Vec<(Counted, Vec<StatementId>)> {
        let Ok(note) = Note::parse(tick.note().as_bytes()) else { return Vec::new() };
        let keys: Vec<VerifierKey> = self.named_keys(&note).cloned().collect();
        let checked = check_signatures(&note, &keys);
        let mut moved = Vec::new();
        for clock in self.0.values_mut() {
            let Some(time) = clock.time_of(&note, &checked) else { continue };
            let counted = Counted { index, size: tick.head().size, time };
            clock.latest.retain(|earlier| earlier.time > time);
            clock.latest.push(counted);
            let exchanges = clock.moved_by(&counted);
            if !exchanges.is_empty() {
                moved.push((counted, exchanges));
            }
        }
        moved
    }

    /// The exchanges that a tick would move.
    pub(in crate::state) fn would_move(&self, tick: &Tick) -> Vec<StatementId> {
        let Ok(note) = Note::parse(tick.note().as_bytes()) else { return Vec::new() };
        let keys: Vec<VerifierKey> = self.named_keys(&note).cloned().collect();
        let checked = check_signatures(&note, &keys);
        let moved = self.0.values().filter_map(|clock| {
            let time = clock.time_of(&note, &checked)?;
            Some(clock.moved_by(&Counted { index: u64::MAX, size: tick.head().size, time }))
        });
        moved.flatten().collect()
    }

    /// What a tick has to exceed to move some exchange, over all clocks: times and indices.
    pub(in crate::state) fn awaited(&self) -> impl Iterator<Item = Awaited> {
        self.0.values().map(|clock| Awaited {
            time: clock.times.first().map(|(time, _)| *time),
            index: clock.indices.first().map(|(index, _)| *index),
        })
    }

    /// Keys of all policies that a signature line of the note names.
    fn named_keys<'a>(&'a self, note: &'a Note) -> impl Iterator<Item = &'a VerifierKey> {
        let of_policies = self.0.values().flat_map(|clock| clock.keys());
        of_policies.filter(|key| note.signatures().iter().any(|line| line.names(key)))
    }
}

/// Each key's verdict on its line: none if a signature fails, else the time of a cosignature.
fn check_signatures<'a>(note: &Note, keys: &'a [VerifierKey]) -> Vec<(&'a VerifierKey, Verdict)> {
    let mut checked: Vec<(&VerifierKey, Verdict)> = Vec::new();
    for key in keys {
        if checked.iter().any(|(known, _)| *known == key) {
            continue;
        }
        let mut verdict = Verdict::Absent;
        for line in note.signatures().iter().filter(|line| line.names(key)) {
            verdict = match (key.check(note.text(), line), verdict) {
                (Err(_), _) | (_, Verdict::Bad) => Verdict::Bad,
                // The greatest, if a witness has several.
                (Ok(time), Verdict::Good(earlier)) => Verdict::Good(time.max(earlier)),
                (Ok(time), Verdict::Absent) => Verdict::Good(time),
            };
        }
        checked.push((key, verdict));
    }
    checked
}

/// What a note holds of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Absent,
    Bad,
    /// With the time, if the key cosigns.
    Good(Option<u64>),
}

impl Clock {
    /// The greatest time of a counted tick after leaf `index`; 0 if there was none.
    pub(in crate::state) fn time_since(&self, index: u64) -> u64 {
        self.latest.iter().find(|tick| tick.index > index).map_or(0, |tick| tick.time)
    }

    fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        let witnesses = self.policy.witnesses().iter().map(PolicyWitness::key);
        self.policy.logs().iter().map(|log| log.key()).chain(witnesses)
    }

    /// The time that a checkpoint has for this clock: none unless a log of the policy signed it
    /// and the clock group is satisfied. A bad signature of a key that the policy names condemns
    /// the note.
    fn time_of(&self, note: &Note, checked: &[(&VerifierKey, Verdict)]) -> Option<u64> {
        let verdict = |key: &VerifierKey| {
            let found = checked.iter().find(|(known, _)| *known == key);
            found.map_or(Verdict::Absent, |(_, verdict)| *verdict)
        };
        if self.keys().any(|key| verdict(key) == Verdict::Bad) {
            return None;
        }
        let origin = note.text().lines().next()?;
        let signed =
            self.policy.logs().iter().map(|log| log.key()).any(|key| {
                key.name().as_str() == origin && matches!(verdict(key), Verdict::Good(_))
            });
        if !signed {
            return None;
        }
        self.policy.time_of(self.member, |witness| match verdict(witness.key()) {
            Verdict::Good(time) => time,
            _ => None,
        })
    }

    fn moved_by(&self, tick: &Counted) -> Vec<StatementId> {
        let by_time = self.times.iter().take_while(|(time, _)| *time < tick.time);
        let by_index = self.indices.iter().take_while(|(index, _)| *index < tick.size);
        let moved: BTreeSet<StatementId> = by_time.chain(by_index).map(|(_, id)| *id).collect();
        moved.into_iter().collect()
    }

    /// True if the stamps dated `deadline` or earlier satisfy the clock group.
    pub(in crate::state) fn stamped(
        &self,
        origin: &tlog::KeyName,
        statement: &StatementId,
        stamps: &[Stamp],
        deadline: u64,
    ) -> bool {
        let time = |witness: &PolicyWitness| {
            let key = witness.key();
            let dated = stamps.iter().filter(|stamp| stamp.time <= deadline);
            let by_witness = dated.filter(|stamp| stamp.keyid.is_of(key));
            let good = by_witness.filter(|stamp| {
                let message = stamp_message(origin, statement, stamp.time);
                key.public().verify(&message, &stamp.signature).is_ok()
            });
            good.map(|stamp| stamp.time).max()
        };
        self.policy.time_of(self.member, time).is_some()
    }

    /// True if no vkey that the clock reaches is one of these.
    pub(in crate::state) fn is_without<'a>(
        &self,
        keys: impl Iterator<Item = &'a VerifierKey>,
    ) -> bool {
        let below = self.policy.witnesses_below(self.member);
        let publics: BTreeSet<_> = keys.map(|key| *key.public().as_bytes()).collect();
        !below.iter().any(|witness| publics.contains(witness.key().public().as_bytes()))
    }
}
