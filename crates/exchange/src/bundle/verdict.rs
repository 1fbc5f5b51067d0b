//! What a bundle proves.

use std::collections::{BTreeMap, BTreeSet};

use record::context::Context;
use record::header::Header;
use record::opening::{Against, Body, Proved, Scope};
use record::vector::verify_vector;
use tlog::{
    CheckpointError, Hash, KeyName, Note, Policy, PolicyLog, ProofError, PublicKey, Receipt,
    SignedCheckpoint, TreeHead, VerifiedCheckpoint, VerifierKey, verify_consistency,
    verify_inclusion,
};

use super::document::{Bundle, BundleLeaf};
use super::fault::BundleFault;
use crate::artifact::artifacts;
use crate::predicate::{Kind, Predicate};
use crate::reason::{Reason, Refusal};
use crate::registry::{HeldKey, Party, Registry, VerifiedStatement};
use crate::state::{Prefixes, Replayed, State};
use crate::statement::SignedStatement;
use crate::values::StatementId;

/// Whether the commitments of a record are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorState {
    /// They rebuild the record root and add up to the totals, and the party knows what those
    /// open to.
    Holds,
    /// They are not in the bundle.
    Absent,
}

/// One attestation that is where it is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// Its place.
    pub index: u64,
    /// The statement's id, which is the record's.
    pub record: StatementId,
    /// Whose it is.
    pub signer: KeyName,
    /// The key that signed it.
    pub key: PublicKey,
    /// What the statement says of the record.
    pub header: Header,
    /// What all its commitments are bound to.
    pub context: Context,
    /// Whether its commitments were checked.
    pub vector: VectorState,
}

/// One opening that matches its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The record.
    pub record: StatementId,
    /// Whose it is.
    pub signer: KeyName,
    /// What is proved.
    pub proved: Proved,
}

/// What holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The head that the log signed.
    pub head: TreeHead,
    /// The parties with their keys, as far as the bundle's statements tell.
    pub parties: Registry,
    /// Every leaf from this index on was there.
    pub complete_from: u64,
    /// All statements with their places.
    pub statements: Vec<(u64, VerifiedStatement)>,
    /// Attestations among them.
    pub attested: Vec<Attested>,
    /// Openings, those of the bundle first.
    pub opened: Vec<Opened>,
}

impl Verdict {
    /// The key history of a party, as far as the bundle has it: each key that it has or had, what
    /// it may do at the bundle's head, and the leaf that last changed that. A statement stays what
    /// it was by its own place in the log, whatever became of its key after.
    pub fn keys_of(&self, party: &KeyName) -> &[HeldKey] {
        self.parties.party(party).map_or(&[], Party::keys)
    }

    /// True if no change of this party's keys can be missing: every leaf from its registration on is
    /// there. Else a revocation may stand among the leaves that the bundle lacks. An honest log
    /// takes no statement under a key that was revoked before.
    pub fn knows_all_keys_of(&self, party: &KeyName) -> bool {
        let mut own = self.statements.iter().filter(|(_, verified)| {
            let statement = verified.statement();
            statement.kind() == Kind::Party && statement.common().signer == *party
        });
        own.next().is_some_and(|(registration, _)| self.complete_from <= *registration)
    }
}

impl Bundle {
    /// Checks everything, under the log's key that the reader has pinned. `openings` are bodies
    /// that came beside the bundle; they may be about any record in it.
    pub fn verify(&self, log: &VerifierKey, openings: &[&[u8]]) -> Result<Verdict, BundleFault> {
        if self.origin != *log.name() {
            let (found, expected) = (self.origin.clone(), log.name().clone());
            return Err(BundleFault::OtherLog { found, expected });
        }
        let policy = Policy::parse(self.policy.as_bytes())?;
        if !policy.logs().iter().map(PolicyLog::key).any(|key| key == log) {
            return Err(BundleFault::PolicyLog(log.name().clone()));
        }
        let checkpoint = SignedCheckpoint::open(self.checkpoint.as_bytes(), log)?;
        let head = *checkpoint.head();
        let mut registry = Registry::new(log.name().clone());
        let mut statements = Vec::with_capacity(self.leaves.len());
        for leaf in &self.leaves {
            let verified = verify_leaf(leaf, &head, &mut registry)?;
            self.check_heads(leaf.index, &verified, &head, log)?;
            statements.push((leaf.index, verified));
        }
        self.check_complete(head.size)?;
        self.check_order(log)?;
        let attested = self.attested(&statements)?;
        self.check_unused(&statements)?;
        let bodies = self.openings.iter().map(Vec::as_slice).chain(openings.iter().copied());
        let opened =
            bodies.map(|body| verify_opening(body, &attested)).collect::<Result<_, _>>()?;
        let (parties, complete_from) = (registry, self.complete_from);
        Ok(Verdict { head, parties, complete_from, statements, attested, opened })
    }

    /// As [`verify`](Self::verify), under the reader's policy: one of its logs, of the bundle's
    /// origin, signed the checkpoint, and a quorum of its witnesses cosigned it. What a bundle
    /// proves does not age, so no time is asked for here;
    /// [`check_age`](VerifiedCheckpoint::check_age) is for who wants one.
    pub fn verify_under(
        &self,
        policy: &Policy,
        openings: &[&[u8]],
    ) -> Result<(Verdict, VerifiedCheckpoint), BundleFault> {
        let mut logs = policy.logs().iter().map(PolicyLog::key);
        let log = logs.find(|log| *log.name() == self.origin);
        let log = log.ok_or_else(|| BundleFault::UnknownLog(self.origin.clone()))?;
        let verdict = self.verify(log, openings)?;
        let note = Note::parse(self.checkpoint.as_bytes()).map_err(CheckpointError::from)?;
        let verified = policy.verify(&note)?;
        Ok((verdict, verified))
    }

    /// The receipt (C2SP tlog-proof) of a statement in the bundle; `None` if there is no such leaf,
    /// or the bundle's checkpoint is no note.
    pub fn receipt(&self, index: u64) -> Option<Receipt> {
        let leaf = self.leaves.iter().find(|leaf| leaf.index == index)?;
        Receipt::new(index, leaf.proof.clone(), self.checkpoint.as_bytes()).ok()
    }

    /// The heads that a statement names are prefixes of the signed tree, from before it.
    fn check_heads(
        &self,
        index: u64,
        verified: &VerifiedStatement,
        head: &TreeHead,
        log: &VerifierKey,
    ) -> Result<(), BundleFault> {
        for named in heads_of(verified) {
            let size = named.size;
            let wrong = |cause| BundleFault::Seen { index, size, cause };
            if size > index {
                return Err(wrong(ProofError::Shrank { old: size, new: index }));
            }
            if size == 0 {
                verify_consistency(&named, &TreeHead::EMPTY, &[]).map_err(wrong)?;
                continue;
            }
            let proof = self.heads.get(&size).ok_or(BundleFault::SeenUnproved { index, size })?;
            verify_consistency(&named, head, proof).map_err(wrong)?;
        }
        let Predicate::Tick(tick) = verified.statement().predicate() else { return Ok(()) };
        SignedCheckpoint::open(tick.note().as_bytes(), log).map_err(|error| {
            let refusal = Refusal::new(Reason::TickNotSigned, error.to_string());
            BundleFault::Statement { index, refusal: refusal.at("/predicate/checkpoint") }
        })?;
        Ok(())
    }

    fn check_complete(&self, size: u64) -> Result<(), BundleFault> {
        let from = self.complete_from;
        if from > size {
            return Err(BundleFault::Promise { from, size });
        }
        let mut next = from;
        for leaf in self.leaves.iter().filter(|leaf| leaf.index >= from) {
            if leaf.index != next {
                break;
            }
            next += 1;
        }
        if next < size {
            return Err(BundleFault::Incomplete { from, missing: next });
        }
        Ok(())
    }

    /// A bundle of the whole log is replayed, so that what is void in it shows. One of a part
    /// can't be: what a number or an intent has come to may stand in the entries that it lacks.
    fn check_order(&self, log: &VerifierKey) -> Result<(), BundleFault> {
        if self.complete_from > 0 {
            return Ok(());
        }
        let mut state = State::new(log.clone());
        let mut prefixes = Prefixes::new();
        for leaf in &self.leaves {
            match state.replay(leaf.index, &leaf.envelope, &prefixes) {
                Replayed::Applied => prefixes.push(&leaf.envelope),
                Replayed::Void(refusal) | Replayed::Noise(refusal) => {
                    return Err(BundleFault::Statement { index: leaf.index, refusal });
                }
            }
        }
        Ok(())
    }

    /// What no statement names was checked against nothing, so a reader must not find it here.
    fn check_unused(&self, statements: &[(u64, VerifiedStatement)]) -> Result<(), BundleFault> {
        let statements = || statements.iter().map(|(_, verified)| verified);
        let sizes: BTreeSet<u64> =
            statements().flat_map(heads_of).map(|named| named.size).filter(|s| *s > 0).collect();
        if let Some(size) = self.heads.keys().find(|size| !sizes.contains(size)) {
            return Err(BundleFault::HeadUnused { size: *size });
        }
        let named: BTreeSet<Hash> = statements()
            .flat_map(|verified| artifacts(verified.statement()))
            .map(|need| need.digest)
            .collect();
        match self.artifacts.keys().find(|digest| !named.contains(digest)) {
            Some(digest) => Err(BundleFault::ArtifactUnused(*digest)),
            None => Ok(()),
        }
    }

    fn attested(
        &self,
        statements: &[(u64, VerifiedStatement)],
    ) -> Result<Vec<Attested>, BundleFault> {
        let mut nonces = BTreeMap::new();
        let mut attested = Vec::new();
        for (index, verified) in statements {
            let index = *index;
            let common = verified.statement().common();
            match verified.statement().predicate() {
                Predicate::Intent(intent) => {
                    nonces.insert(verified.id(), (common.signer.clone(), intent.nonce));
                }
                Predicate::Evaluation(evaluation) => {
                    let nonce = nonces
                        .get(&evaluation.intent)
                        .filter(|(signer, _)| *signer == common.signer)
                        .map(|(_, nonce)| nonce)
                        .ok_or(BundleFault::Intent { index })?;
                    let agreement = common.exchange.map(|id| id.hash());
                    let context = Context::new(
                        common.origin.as_str(),
                        agreement.as_ref(),
                        common.signer.as_str(),
                        nonce,
                    )
                    .expect("names of at most 128 bytes fit a length prefix");
                    let header = evaluation
                        .header()
                        .map_err(|cause| BundleFault::Header { index, cause })?;
                    attested.push(Attested {
                        index,
                        record: verified.id(),
                        signer: common.signer.clone(),
                        key: *verified.key(),
                        vector: self.check_vector(index, &header, &context)?,
                        header,
                        context,
                    });
                }
                _ => {}
            }
        }
        Ok(attested)
    }

    fn check_vector(
        &self,
        index: u64,
        header: &Header,
        context: &Context,
    ) -> Result<VectorState, BundleFault> {
        let Some(bytes) = self.artifacts.get(header.vector()) else {
            return Ok(VectorState::Absent);
        };
        verify_vector(header, context, bytes)
            .map_err(|cause| BundleFault::Vector { index, cause })?;
        Ok(VectorState::Holds)
    }
}

/// A leaf that is where it is said to be, by a key that was its signer's there.
fn verify_leaf(
    leaf: &BundleLeaf,
    head: &TreeHead,
    registry: &mut Registry,
) -> Result<VerifiedStatement, BundleFault> {
    let index = leaf.index;
    let hash = tlog::leaf_hash(&leaf.envelope);
    verify_inclusion(&hash, index, head, &leaf.proof)
        .map_err(|cause| BundleFault::Inclusion { index, cause })?;
    SignedStatement::parse(&leaf.envelope)
        .and_then(|signed| registry.take(index, signed))
        .map_err(|refusal| BundleFault::Statement { index, refusal })
}

/// The heads that a statement names: what its signer has seen, and a tick's checkpoint.
fn heads_of(verified: &VerifiedStatement) -> impl Iterator<Item = TreeHead> + use<> {
    let statement = verified.statement();
    let tick = match statement.predicate() {
        Predicate::Tick(tick) => Some(tick.head()),
        _ => None,
    };
    [statement.common().seen].into_iter().chain(tick)
}

fn verify_opening(body: &[u8], attested: &[Attested]) -> Result<Opened, BundleFault> {
    let body = Body::parse(body)?;
    let record = attested
        .iter()
        .find(|attested| attested.record.hash() == body.record)
        .ok_or(BundleFault::OpeningRecord(body.record))?;
    let proved = body.verify(&Against {
        record: &body.record,
        header: &record.header,
        context: &record.context,
        item_key: None,
        scope: Scope::Anything,
    })?;
    Ok(Opened { record: record.record, signer: record.signer.clone(), proved })
}
