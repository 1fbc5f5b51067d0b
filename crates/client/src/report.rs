//! Making bundles: collecting from the log what a verdict rests on.

use std::collections::BTreeMap;

use exchange::bundle::{Bundle, BundleLeaf};
use exchange::{SignedStatement, StatementId};
use tlog::Hash;

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
}

impl BundleMaker {
    /// A bundle of these statements.
    pub fn new(statements: impl IntoIterator<Item = StatementId>) -> Self {
        Self {
            statements: statements.into_iter().collect(),
            artifacts: BTreeMap::new(),
            openings: Vec::new(),
            policy: None,
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

    /// Fetches the statements and the proofs for all that they have seen, in one head: the
    /// newest one that the connection trusts.
    pub async fn collect(self, connection: &mut Connection) -> Result<Bundle, BundleProblem> {
        let checkpoint = connection.trusted().clone();
        let head = *checkpoint.head();
        let mut leaves = BTreeMap::new();
        let mut heads = BTreeMap::new();
        for id in &self.statements {
            let found = connection.find(id).await?.ok_or(BundleProblem::Absent(*id))?;
            let (envelope, inclusion) = found;
            let signed = SignedStatement::parse(&envelope).map_err(|_| {
                CallError::from(FalseAnswer::Malformed("an entry is not a statement"))
            })?;
            let seen = signed.statement().common().seen;
            if seen.size > 0 && !heads.contains_key(&seen.size) {
                let proof = connection.check_consistency(&seen, &head).await?;
                heads.insert(seen.size, proof);
            }
            let index = inclusion.index;
            leaves.insert(index, BundleLeaf { index, envelope, proof: inclusion.proof });
        }
        let origin = connection.key().name().clone();
        let bare = || format!("log {}\nquorum none\n", connection.key());
        Ok(Bundle {
            policy: self.policy.unwrap_or_else(bare),
            origin,
            checkpoint: checkpoint.to_string(),
            leaves: leaves.into_values().collect(),
            heads,
            complete_from: head.size,
            artifacts: self.artifacts,
            openings: self.openings,
        })
    }
}
