//! C2SP transparency-log formats: tree, proofs, tiles, notes, checkpoints, policies, receipts.
//!
//! Bytes in, values out: no I/O, clock or randomness. What is here is what a verifier needs, and
//! the log, the witness and the client use the same code.
//!
//! | module | specification |
//! |---|---|
//! | hashes, compact range, proofs | RFC 6962 section 2.1, RFC 9162 sections 2.1.3 and 2.1.4 |
//! | tiles | C2SP tlog-tiles |
//! | notes, names and keys | C2SP signed-note; types 01 and 04, all others are kept and ignored |
//! | checkpoints | C2SP tlog-checkpoint |
//! | cosignatures | C2SP tlog-cosignature, type 04 |
//! | requests to witnesses | C2SP tlog-witness, `add-checkpoint` |
//! | policies | C2SP tlog-policy |
//! | receipts | C2SP tlog-proof |
//! | [`evidence`] of what logs and witnesses did wrong | this project's own |
//!
//! Three rules hold throughout. Size and root come together from one signed checkpoint. Parsing
//! is strict, and whatever parses is written back byte for byte. A signature by a known key that
//! fails condemns the whole note, while unknown keys are ignored.
//!
//! What entries mean is not known here; storage and HTTP belong to the programs.

mod add_checkpoint;
mod checkpoint;
mod cosignature;
mod decimal;
pub mod evidence;
mod hash;
mod key;
mod note;
mod policy;
mod proof;
mod receipt;
mod tile;
mod tile_nodes;
mod tree;
mod trust;

pub use add_checkpoint::{
    AddCheckpoint, MAX_REQUEST, Refusal, RequestError, SIZE_CONTENT_TYPE, decide, monitoring_path,
    parse_size_answer,
};
pub use checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint};
pub use cosignature::{InvalidTime, MAX_CLOCK_LEAD, cosign, cosigned_message};
pub use hash::{EMPTY_ROOT, Hash, InvalidHash, leaf_hash, node_hash};
pub use key::{
    BadSignature, KeyError, KeyId, KeyKind, KeyName, PublicKey, SigningKey, VerifierKey,
};
pub use note::{MAX_NOTE, MAX_SIGNATURES, Note, NoteError, NoteSignature, Verified};
pub use policy::{
    Group, MAX_POLICY, Member, Policy, PolicyError, PolicyLog, PolicyProblem, PolicyWitness, Split,
};
pub use proof::{
    MAX_PROOF, NodeReader, ProofError, compact_range_at, inclusion_root, prefix_roots,
    prove_consistency, prove_inclusion, prove_prefix, root_at, verify_consistency,
    verify_inclusion,
};
pub use receipt::{MAX_RECEIPT, Receipt, ReceiptError};
pub use tile::{
    InvalidTilePath, MAX_ENTRY, TILE_WIDTH, TileError, TileKind, TilePath, encode_bundle,
    parse_bundle, parse_hash_tile, partial_width, tiles_of,
};
pub use tile_nodes::{MemoryNodes, TileNodes, TileReadError, TileSource};
pub use tree::{CompactRange, TreeHead};
pub use trust::{DEFAULT_MAX_AGE, Untrusted, VerifiedCheckpoint};
