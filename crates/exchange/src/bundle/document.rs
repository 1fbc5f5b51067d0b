//! The JSON of a bundle, `countersign/bundle/v1`: read strictly, written in one spelling.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{FieldError, Node, Rules, Value, array, object};
use tlog::{Hash, KeyName, MAX_ENTRY, MAX_NOTE, MAX_PROOF};

/// 256 MiB.
pub const MAX_BUNDLE: usize = 256 << 20;

/// 64 MiB: the largest artifact that a server takes by default.
const MAX_ARTIFACT: usize = 64 << 20;
const MAX_LEAVES: usize = 65_536;
const MAX_ARTIFACTS: usize = 4_096;
const MAX_POLICY: usize = 16 << 10;
const FORMAT: &str = "countersign/bundle/v1";

/// A bundle as it is written down; nothing in it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The log.
    pub origin: KeyName,
    /// The writer's tlog-policy. The reader's own decides.
    pub policy: String,
    /// The signed note that all proofs lead to.
    pub checkpoint: String,
    /// Statements, ascending by index.
    pub leaves: Vec<BundleLeaf>,
    /// For each size that a statement has seen, the consistency proof to the checkpoint.
    pub heads: BTreeMap<u64, Vec<Hash>>,
    /// Every leaf from this index on is here; the checkpoint's size if nothing is promised.
    pub complete_from: u64,
    /// Artifacts by digest.
    pub artifacts: BTreeMap<Hash, Vec<u8>>,
    /// Bodies of openings that the writer discloses.
    pub openings: Vec<Vec<u8>>,
}

/// One statement and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleLeaf {
    /// Index in the log.
    pub index: u64,
    /// The leaf's bytes.
    pub envelope: Vec<u8>,
    /// Inclusion proof in the checkpoint.
    pub proof: Vec<Hash>,
}

/// Why bytes are not a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// More than 256 MiB.
    #[error("a bundle has at most {MAX_BUNDLE} bytes, not {0}")]
    TooLong(usize),
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// A member is absent, unknown or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Bundle {
    /// True if these bytes claim to be a bundle, so that an error can say what is wrong with it.
    pub fn is_likely(bytes: &[u8]) -> bool {
        let start = &bytes[..bytes.len().min(64)];
        start.windows(FORMAT.len()).any(|window| window == FORMAT.as_bytes())
    }

    /// Reads a bundle.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > MAX_BUNDLE {
            return Err(BundleError::TooLong(bytes.len()));
        }
        let document = json::parse(bytes, Rules::SIGNED)?;
        let mut fields = Node::root(&document).fields()?;
        let format = fields.required("format")?;
        if format.text(64)? != FORMAT {
            return Err(format.error(format!("must be {FORMAT:?}")).into());
        }
        let origin = fields.required("origin")?;
        let origin = KeyName::parse(origin.text(128)?).map_err(|e| origin.error(e.to_string()))?;
        let policy = fields.required("policy")?.text(MAX_POLICY)?.to_owned();
        let checkpoint = fields.required("checkpoint")?.text(MAX_NOTE)?.to_owned();
        let leaves = read_leaves(&fields.required("leaves")?)?;
        let heads = read_heads(&fields.required("heads")?)?;
        let complete_from = fields.required("complete_from")?.uint()?;
        let artifacts = read_artifacts(&fields.required("artifacts")?)?;
        let openings = fields
            .required("openings")?
            .array(MAX_ARTIFACTS)?
            .iter()
            .map(|node| base64(node, MAX_ARTIFACT))
            .collect::<Result<_, _>>()?;
        fields.finish()?;
        Ok(Self { origin, policy, checkpoint, leaves, heads, complete_from, artifacts, openings })
    }

    /// Writes a bundle.
    pub fn to_bytes(&self) -> Vec<u8> {
        let leaves = self.leaves.iter().map(|leaf| {
            object([
                ("index", leaf.index.into()),
                ("envelope", STANDARD.encode(&leaf.envelope).into()),
                ("proof", joined(&leaf.proof)),
            ])
        });
        let heads = self
            .heads
            .iter()
            .map(|(size, proof)| object([("size", (*size).into()), ("proof", joined(proof))]));
        object([
            ("format", FORMAT.into()),
            ("origin", self.origin.as_str().into()),
            ("policy", self.policy.as_str().into()),
            ("checkpoint", self.checkpoint.as_str().into()),
            ("leaves", array(leaves)),
            ("heads", array(heads)),
            ("complete_from", self.complete_from.into()),
            ("artifacts", array(self.artifacts.values().map(|bytes| STANDARD.encode(bytes)))),
            ("openings", array(self.openings.iter().map(|bytes| STANDARD.encode(bytes)))),
        ])
        .to_text()
        .into_bytes()
    }
}

fn read_leaves(list: &Node<'_>) -> Result<Vec<BundleLeaf>, FieldError> {
    let mut leaves: Vec<BundleLeaf> = Vec::new();
    for node in list.array(MAX_LEAVES)? {
        let mut fields = node.fields()?;
        let index = fields.required("index")?;
        let leaf = BundleLeaf {
            index: index.uint()?,
            envelope: base64(&fields.required("envelope")?, MAX_ENTRY)?,
            proof: hashes(&fields.required("proof")?)?,
        };
        fields.finish()?;
        if leaves.last().is_some_and(|last| last.index >= leaf.index) {
            return Err(index.error("must be above the one before"));
        }
        leaves.push(leaf);
    }
    Ok(leaves)
}

fn read_heads(list: &Node<'_>) -> Result<BTreeMap<u64, Vec<Hash>>, FieldError> {
    let mut heads = BTreeMap::new();
    for node in list.array(MAX_LEAVES)? {
        let mut fields = node.fields()?;
        let size = fields.required("size")?;
        let proof = hashes(&fields.required("proof")?)?;
        fields.finish()?;
        if heads.last_key_value().is_some_and(|(last, _)| *last >= size.uint().unwrap_or(0)) {
            return Err(size.error("must be above the one before"));
        }
        heads.insert(size.uint()?, proof);
    }
    Ok(heads)
}

fn read_artifacts(list: &Node<'_>) -> Result<BTreeMap<Hash, Vec<u8>>, FieldError> {
    let mut artifacts = BTreeMap::new();
    for node in list.array(MAX_ARTIFACTS)? {
        let bytes = base64(&node, MAX_ARTIFACT)?;
        let digest = Hash::of(&[&bytes]);
        if artifacts.last_key_value().is_some_and(|(last, _)| *last >= digest) {
            return Err(node.error("artifacts must ascend by digest"));
        }
        artifacts.insert(digest, bytes);
    }
    Ok(artifacts)
}

fn base64(node: &Node<'_>, max: usize) -> Result<Vec<u8>, FieldError> {
    let text = node.text(max.div_ceil(3) * 4)?;
    STANDARD.decode(text).map_err(|_| node.error("must be padded standard base64"))
}

fn hashes(node: &Node<'_>) -> Result<Vec<Hash>, FieldError> {
    let bytes = base64(node, MAX_PROOF * 32)?;
    let (hashes, rest) = bytes.as_chunks();
    if !rest.is_empty() {
        return Err(node.error("must be hashes of 32 bytes each"));
    }
    Ok(hashes.iter().copied().map(Hash::new).collect())
}

fn joined(proof: &[Hash]) -> Value {
    STANDARD.encode(proof.iter().flat_map(Hash::as_bytes).copied().collect::<Vec<_>>()).into()
}
