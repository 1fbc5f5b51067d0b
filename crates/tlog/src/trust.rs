//! Checkpoints under a policy: signed by a log that counts, cosigned by a quorum.

use crate::{
    Checkpoint, CheckpointError, KeyKind, MAX_CLOCK_LEAD, Member, Note, NoteError, Policy,
    PolicyWitness, SignedCheckpoint, TreeHead, VerifierKey,
};

/// Seconds, 24 hours: how old the newest checkpoint of a log may be by default. A reader who is
/// kept on an old head finds out after at most this, the log's beat and what clocks differ.
pub const DEFAULT_MAX_AGE: u64 = 24 * 3_600;

/// Why a note is not a checkpoint to be trusted under a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// The note does not verify, or no listed log or witness signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// What is signed is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No listed log of that name signed it.
    #[error("no log of the policy signed the checkpoint of {origin:?}")]
    NoLog {
        /// The origin in the checkpoint.
        origin: String,
    },
    /// Too few witnesses cosigned it.
    #[error("the witnesses that cosigned are no quorum of the policy: {}", witnesses.join(", "))]
    NoQuorum {
        /// The names of those that did, as in the policy.
        witnesses: Vec<String>,
    },
    /// A cosignature is from the future.
    #[error("cosignature of time {time} is more than {MAX_CLOCK_LEAD} s ahead of {now}")]
    AheadOfClock {
        /// Seconds since 1970 in the cosignature.
        time: u64,
        /// Seconds since 1970 on the reader's clock.
        now: u64,
    },
    /// No quorum cosigned it lately: the log may be frozen, or show an old head.
    #[error("a quorum last cosigned it {age} s ago, which is longer than the {max_age} s allowed")]
    Stale {
        /// Seconds since the quorum's time.
        age: u64,
        /// Seconds allowed.
        max_age: u64,
    },
}

/// A checkpoint that a policy accepts, and who cosigned it when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: SignedCheckpoint,
    log: VerifierKey,
    witnesses: Vec<(PolicyWitness, u64)>,
}

impl Policy {
    /// Checks that a note is a checkpoint which one of the logs signed under its own name as
    /// origin and which a quorum of the witnesses cosigned. A failing signature by any key of the
    /// policy condemns the note.
    pub fn verify(&self, note: &Note) -> Result<VerifiedCheckpoint, Untrusted> {
        let witness_keys = self.witnesses().iter().map(PolicyWitness::key);
        let keys: Vec<_> = self.logs().iter().map(|log| log.key()).chain(witness_keys).collect();
        let verified = note.verify(&keys)?;
        // From here on a trusted key vouches for the text.
        let origin = Checkpoint::parse_text(note.text())?.origin().to_owned();
        let log = verified
            .iter()
            .map(|signature| signature.key)
            .find(|key| key.kind() == KeyKind::Ed25519 && key.name().as_str() == origin)
            .ok_or(Untrusted::NoLog { origin })?;
        let checkpoint = SignedCheckpoint::of_note(note.clone(), log)?;
        let time_of = |witness: &PolicyWitness| {
            verified.iter().find(|signature| signature.key == witness.key())?.time
        };
        let witnesses = self
            .witnesses()
            .iter()
            .filter_map(|witness| Some((witness.clone(), time_of(witness)?)))
            .collect();
        let verified = VerifiedCheckpoint { checkpoint, log: log.clone(), witnesses };
        let quorum = self.quorum();
        if quorum.is_some_and(|member| verified.time_under(self, member).is_none()) {
            return Err(Untrusted::NoQuorum { witnesses: verified.witness_names() });
        }
        Ok(verified)
    }
}

impl VerifiedCheckpoint {
    /// The checkpoint with its log's signature.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Size and root.
    pub fn head(&self) -> &TreeHead {
        self.checkpoint.head()
    }

    /// The log that signed.
    pub fn log(&self) -> &VerifierKey {
        &self.log
    }

    /// The witnesses of the policy that cosigned, each once, with their times in seconds since
    /// 1970.
    pub fn witnesses(&self) -> impl Iterator<Item = (&PolicyWitness, u64)> {
        self.witnesses.iter().map(|(witness, time)| (witness, *time))
    }

    /// When this witness cosigned, if it did.
    pub fn time_of(&self, witness: &VerifierKey) -> Option<u64> {
        let mut witnesses = self.witnesses.iter();
        witnesses.find(|(known, _)| known.key() == witness).map(|(_, time)| *time)
    }

    /// The greatest minimum time over the quorums of a member of `policy`, such as an agreement's
    /// clock group; `None` if no quorum of it cosigned.
    pub fn time_under(&self, policy: &Policy, member: Member) -> Option<u64> {
        policy.time_of(member, |witness| self.time_of(witness.key()))
    }

    /// Refuses cosignatures that are more than [`MAX_CLOCK_LEAD`] ahead of `now`, in seconds
    /// since 1970. Only who reads a checkpoint fresh has a clock to compare with; a replay of
    /// logged checkpoints has none.
    pub fn check_clock(&self, now: u64) -> Result<(), Untrusted> {
        let latest = now.saturating_add(MAX_CLOCK_LEAD);
        match self.witnesses.iter().map(|(_, time)| *time).max() {
            Some(time) if time > latest => Err(Untrusted::AheadOfClock { time, now }),
            _ => Ok(()),
        }
    }

    /// Seconds since 1970 at which a quorum of the policy had cosigned; `None` if the policy asks
    /// for none, so that nobody vouches for any time.
    pub fn quorum_time(&self, policy: &Policy) -> Option<u64> {
        self.time_under(policy, policy.quorum()?)
    }

    /// Refuses a checkpoint that a quorum of the policy last cosigned more than `max_age` seconds
    /// before `now`, in seconds since 1970. Meant for the newest head that a log gives out: what
    /// a file proves does not age. A policy without a quorum has no time to judge by.
    pub fn check_age(&self, policy: &Policy, now: u64, max_age: u64) -> Result<(), Untrusted> {
        let Some(time) = self.quorum_time(policy) else { return Ok(()) };
        let age = now.saturating_sub(time);
        if age > max_age { Err(Untrusted::Stale { age, max_age }) } else { Ok(()) }
    }

    fn witness_names(&self) -> Vec<String> {
        let names = self.witnesses.iter().map(|(witness, _)| witness.name());
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }
}
