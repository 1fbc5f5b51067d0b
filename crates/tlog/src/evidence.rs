//! Evidence: a file that shows by signatures alone that the holder of a key broke a promise.
//!
//! ```text
//! countersign/evidence@v1
//! kind <word>
//! accused log|witness|party <vkey>      one line for each key; none for a finding
//! nodes <n>                             some kinds: n lines base64(hash)
//! part <name> <length>                  exactly `length` bytes follow, then the next part
//! ```
//!
//! [`Evidence::parse`] reads a file and [`Evidence::judge`] says what it proves against the keys
//! that the *reader* knows: a key that stands only in the file is unknown, never guilty. Kinds
//! about statements are carried here and judged in the crate `exchange`, which knows what
//! statements say. [`accuse_heads`] and its siblings make files out of what a client holds.
//!
//! Sound: what honest holders of keys sign never convicts them, whatever others make of it.
//! Heads are compared by origin, size and root and by nothing else; the nodes of a tree are
//! believed only where they lead to a signed root. The format is described in `docs/evidence.md`.

mod build;
mod file;
mod judge;
mod kind;

pub use build::{BuildError, accuse_heads, accuse_heads_by, accuse_leaves};
pub use file::{Accused, Evidence, FormatError, MAX_ACCUSED, MAX_EVIDENCE, MAX_NODES, Part};
pub use judge::{Fault, Judgement, KnownKeys, ROLLBACK_SLACK};
pub use kind::{Kind, Role};
