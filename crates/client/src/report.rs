//! Making bundles: collecting from the log what a verdict rests on.

use std::collections::{BTreeMap, BTreeSet};

use exchange::bundle::{Bundle, BundleLeaf};
use exchange::{Kind, Registry, SignedStatement, StatementId};
use tlog::{Hash, KeyName, SignedCheckpoint, VerifierKey};

use crate::connection::{CallError, Connection, FalseAnswer};

/// Why a bundle could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleProblem {
    /// The log could not be reached, refused, or gave a false answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The log does not have a statement that the verdict rests on.
    #[error("the log has no statement {0}")]
    Absent(StatementId),
}

/// Collects statements and artifacts for one bundle.
#[derive(Debug)]
pub struct BundleMaker {
    statements: Vec<StatementId>,
    artifacts: BTreeMap<Hash, Vec<u8>>,
    openings: Vec<Vec<u8>>,
    policy: Option<String>,
    key_history: bool,
}

impl BundleMaker {
    /// A bundle of these statements.
    pub fn new(statements: impl IntoIterator<Item = StatementId>) -> Self {
        Self {
            statements: statements.into_iter().collect(),
            artifacts: BTreeMap::new(),
            openings: Vec::new(),
            policy: None,
            key_history: false,
        }
    }

    /// Adds an artifact.
    #[must_use]
    pub fn with_artifact(mut self, bytes: Vec<u8>) -> Self {
        self.artifacts.insert(Hash::of(&[&bytes]), bytes);
        self
    }

    /// Adds the body of an opening.
    #[must_use]
    pub fn with_opening(mut self, body: Vec<u8>) -> Self {
        self.openings.push(body);
        self
    }

    /// States the writer's trust policy (tlog-policy). Without one, it names the log alone. A reader's
    /// own decides.
    #[must_use]
    pub fn with_policy(mut self, text: String) -> Self {
        self.policy = Some(text);
        self
    }

    /// Adds every change of keys of every signer, up to the newest head, so that the bundle verifies
    /// for readers who have pinned a later key. Reads the whole log once.
    #[must_use]
    pub fn with_key_history(mut self) -> Self {
        self.key_history = true;
        self
    }

    /// Fetches the statements and the proofs for all that they have seen, in one head: the
    /// newest one that the connection trusts. Where a signer's key is not the one that its
    /// registration in the bundle brought, its key history is looked for and comes with it.
    pub async fn collect(self, connection: &mut Connection) -> Result<Bundle, BundleProblem> {
        let checkpoint = connection.trusted().clone();
        let mut collected = Collected::default();
        for id in &self.statements {
            collected.fetch(connection, &checkpoint, id).await?;
        }
        let changed = collected.signers(connection.key(), self.key_history);
        if !changed.is_empty() {
            for id in changes_of_keys(connection, &changed).await? {
                collected.fetch(connection, &checkpoint, &id).await?;
            }
        }
        let origin = connection.key().name().clone();
        let bare = || format!("log {}\nquorum none\n", connection.key());
        Ok(Bundle {
            policy: self.policy.unwrap_or_else(bare),
            origin,
            checkpoint: checkpoint.to_string(),
            complete_from: checkpoint.head().size,
            leaves: collected.leaves.into_values().collect(),
            heads: collected.heads,
            artifacts: self.artifacts,
            openings: self.openings,
        })
    }
}

/// Statements with their places, and proofs for the heads that they have seen.
#[derive(Default)]
struct Collected {
    leaves: BTreeMap<u64, BundleLeaf>,
    heads: BTreeMap<u64, Vec<Hash>>,
}

impl Collected {
    async fn fetch(
        &mut self,
        connection: &mut Connection,
        checkpoint: &SignedCheckpoint,
        id: &StatementId,
    ) -> Result<(), BundleProblem> {
        let found = connection.find(id).await?.ok_or(BundleProblem::Absent(*id))?;
        let (envelope, inclusion) = found;
        let signed = SignedStatement::parse(&envelope)
            .map_err(|_| CallError::from(FalseAnswer::Malformed("an entry is not a statement")))?;
        let seen = signed.statement().common().seen;
        if seen.size > 0 && !self.heads.contains_key(&seen.size) {
            let proof = connection.check_consistency(&seen, checkpoint.head()).await?;
            self.heads.insert(seen.size, proof);
        }
        let index = inclusion.index;
        self.leaves.insert(index, BundleLeaf { index, envelope, proof: inclusion.proof });
        Ok(())
    }

    /// Signers whose statements don't verify with the keys that are here, or all of them.
    fn signers(&self, log: &VerifierKey, all: bool) -> BTreeSet<KeyName> {
        let mut registry = Registry::new(log.name().clone());
        let mut signers = BTreeSet::new();
        for leaf in self.leaves.values() {
            let Ok(signed) = SignedStatement::parse(&leaf.envelope) else { continue };
            let signer = signed.statement().common().signer.clone();
            if registry.take(leaf.index, signed).is_err() || all {
                signers.insert(signer);
            }
        }
        signers
    }
}

/// The statements by which these parties changed their keys, as the log lists them. Each is looked
/// up again with its proof; one that the log leaves out can't be seen here.
async fn changes_of_keys(
    connection: &mut Connection,
    parties: &BTreeSet<KeyName>,
) -> Result<Vec<StatementId>, CallError> {
    let size = connection.trusted().head().size;
    let mut changes = Vec::new();
    let mut next = 0;
    while next < size {
        let page = connection.entries(next).await?;
        if page.is_empty() {
            return Err(FalseAnswer::Malformed("entries below its own head are missing").into());
        }
        next += page.len() as u64;
        for leaf in page {
            let Ok(signed) = SignedStatement::parse(&leaf) else { continue };
            let statement = signed.statement();
            if statement.kind() == Kind::Party && parties.contains(&statement.common().signer) {
                changes.push(signed.id());
            }
        }
    }
    Ok(changes)
}
