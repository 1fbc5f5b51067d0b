//! Whether witnesses hold more of this log than it has itself. A number in an answer proves
//! nothing, but what a witness shows carries the log's own signature: if that is over entries
//! which are not here, this log has lost them, and must sign nothing more.

use std::sync::Arc;
use std::time::Duration;

use tlog::SignedCheckpoint;
use tokio::task::JoinSet;

use super::{Asked, Cosigning};
use crate::Service;

/// A checkpoint that this log signed, and that is not of the history it has now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the witness {witness} shows a checkpoint of size {size} that this log signed and does not \
     have: the data folder was rolled back. Put the newest one back; without it this log is over, \
     and a new one takes a new key and a new origin"
)]
pub struct RolledBack {
    /// Who shows it, as the policy calls it.
    pub witness: String,
    /// The checkpoint's size.
    pub size: u64,
    /// The checkpoint, as the witness shows it.
    pub checkpoint: String,
}

/// What a witness shows of this log.
pub(super) enum Standing {
    /// A prefix of it, or nothing.
    Agrees,
    /// Something that cannot be.
    Contradicted(RolledBack),
    /// It did not say.
    Unknown,
}

/// Compares what one witness shows with the log as it is after the answer.
pub(super) async fn compare(service: &Service, asked: &Asked, deadline: Duration) -> Standing {
    let Some(cosigning) = service.cosigning() else { return Standing::Unknown };
    let origin = cosigning.log.name().as_str();
    let note = match asked.client.published(origin, deadline).await {
        Ok(Some(note)) => note,
        Ok(None) => return Standing::Agrees,
        Err(error) => {
            tracing::warn!(witness = asked.name, %error, "what it cosigned last is not known");
            return Standing::Unknown;
        }
    };
    let Ok(checkpoint) = SignedCheckpoint::open(&note, &cosigning.log) else {
        tracing::warn!(witness = asked.name, "what it shows is not a checkpoint of this log");
        return Standing::Unknown;
    };
    let (head, reader) = (*checkpoint.head(), service.reader().clone());
    let ours = tokio::task::spawn_blocking(move || reader.root_at(head.size).ok()).await;
    match ours {
        Ok(Some(root)) if root == head.root => Standing::Agrees,
        Ok(root) if root.is_some() || head.size > service.reader().head().size => {
            Standing::Contradicted(RolledBack {
                witness: asked.name.clone(),
                size: head.size,
                checkpoint: checkpoint.to_string(),
            })
        }
        // A root that could not be read says nothing about the witness.
        Ok(_) | Err(_) => Standing::Unknown,
    }
}

/// Asks all witnesses at once, before the log takes anything. One that cannot be reached does not
/// keep it down.
pub(crate) async fn check_all(
    service: &Arc<Service>,
    cosigning: &Cosigning,
) -> Result<(), RolledBack> {
    let deadline = cosigning.witnesses.pace.deadline;
    let mut comparing = JoinSet::new();
    for asked in cosigning.witnesses.asked.clone() {
        let service = Arc::clone(service);
        comparing.spawn(async move { compare(&service, &asked, deadline).await });
    }
    while let Some(standing) = comparing.join_next().await {
        if let Ok(Standing::Contradicted(found)) = standing {
            return Err(found);
        }
    }
    Ok(())
}
