//! A party's side: a connection that verifies everything it is told, a session that never uses a
//! number twice, the vault, key files, and reading a whole log.
//!
//! What a log answers is checked against the pinned key and against the newest head verified
//! before; what a party signs is durable before it is signed. Nothing here prints or asks.

mod address;
pub mod agree;
mod connection;
mod entropy;
pub mod evidence;
pub mod files;
mod http;
pub mod keys;
mod log_audit;
mod log_files;
mod own;
#[doc(hidden)]
pub mod parsers;
mod replica;
mod report;
mod sealing;
pub mod seat;
mod session;
mod vault;
mod witness;

pub use address::{Address, InvalidTls, Tls};
pub use agree::AgreeError;
pub use connection::{CallError, Connection, FalseAnswer, Inclusion, Patience};
pub use entropy::{Entropy, SystemEntropy};
pub use evidence::{Conflict, NoEvidence};
pub use files::FileError;
pub use log_audit::{Finding, LogAudit, LogAuditError, audit_log};
pub use log_files::{FetchError, Folder, Http, Keeping, LogFiles};
pub use own::{OwnRecord, OwnRecordError};
pub use replica::{Placed, Replica, Standing};
pub use report::{BundleMaker, BundleProblem};
pub use seat::{Seat, SeatError};
pub use session::{Logged, Prepared, Session, SessionError};
pub use vault::{
    ContainerError, DocumentError, Imported, Party, Rekeyed, Scope, Shredded, Signing, Vault,
    VaultAgreement, VaultError, VaultItem, VaultKey, VaultKind, VaultRecord, item_values,
    vault_item,
};
pub use witness::{Cosigning, WitnessClient, WitnessError};
