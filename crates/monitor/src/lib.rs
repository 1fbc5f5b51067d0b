//! A monitor: follows a log, verifies every entry, signature, step and artifact in it, and
//! compares the heads that it gets by different ways.
//!
//! | module | what it is |
//! |---|---|
//! | [`Monitor`] | one pass after another over a log, from where the last one ended |
//! | [`Finding`] | what is wrong, in words for people and for machines |
//! | `store` | what was verified, durable: entries and findings first, the cursor last |
//! | `replay` | leaves into the state machine, signatures on all cores |
//! | `forks` | the other statement where a party has used a number twice |
//! | [`Artifacts`] | what statements name, fetched and looked at |
//! | `cosigned` | the newest head that each witness was seen to cosign |
//! | [`Metrics`] | what Prometheus is told |
//! | [`serve`] | the HTTP server for it, and for the other party's monitor |
//!
//! A pass moves the cursor only after its work is done: the entries are on disk and their findings
//! are too before the size that covers them is written. A monitor that is killed at any moment
//! does some work again and skips none.
//!
//! Where the files come from and what time it is are arguments, so that a test can lie about both.
//! Copies of what signatures prove are made by `client::evidence`; nothing here prints.

mod artifacts;
mod cosigned;
mod finding;
mod follow;
mod forks;
mod metrics;
mod pass;
mod replay;
mod serve;
mod store;

pub use artifacts::{Artifacts, Copied, Given, MAX_ARTIFACT, Remote};
pub use finding::{Code, Finding, Findings};
pub use metrics::Metrics;
pub use pass::{Monitor, MonitorError, Pass, Settings, Sources, View};
pub use serve::{Served, serve};
pub use store::StoreError;
