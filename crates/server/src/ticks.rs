//! Ticks that the server logs by itself, so that deadlines and stages pass without anybody's help:
//! a checkpoint that witnesses have cosigned becomes a statement as soon as an open exchange waits
//! for it, and never otherwise.
//!
//! Anybody registered may log ticks; the server's own are signed by its operator, a party of the
//! log like others.

use std::sync::Arc;
use std::time::Duration;

use exchange::predicate::{self, Keys, Predicate, Tick};
use exchange::{Common, Envelope, Refusal, State, Statement, StatementId};
use tlog::{KeyKind, KeyName, SigningKey, TreeHead, VerifierKey};

use crate::Service;
use crate::witnesses::Shown;

/// Who signs the ticks that a server logs.
#[derive(Debug, Clone)]
pub struct Operator {
    key: SigningKey,
    keys: Keys,
}

/// Keys of an operator that don't belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operator's keys are not those of its signing key")]
pub struct ForeignKeys;

impl Operator {
    /// The operator of this key, which registers under these keys when its first tick is due.
    pub fn new(key: SigningKey, keys: Keys) -> Result<Self, ForeignKeys> {
        let same = keys.name == *key.name() && keys.key == *key.public().as_bytes();
        if same { Ok(Self { key, keys }) } else { Err(ForeignKeys) }
    }

    /// Its public key, which the server admits.
    pub fn verifier(&self) -> VerifierKey {
        self.key.verifier(KeyKind::Ed25519)
    }

    /// The next statement of the operator, outside of exchanges.
    fn sign(
        &self,
        origin: &KeyName,
        last: Option<(u64, StatementId)>,
        seen: TreeHead,
        predicate: Predicate,
    ) -> Option<Envelope> {
        let common = Common {
            origin: origin.clone(),
            exchange: None,
            signer: self.key.name().clone(),
            number: last.map_or(1, |(number, _)| number + 1),
            previous: last.map(|(_, id)| id),
            seen,
        };
        let statement = Statement::new(common, predicate);
        let envelope =
            statement.map(|statement| Envelope::sign(&statement.to_payload(), &self.key));
        match envelope {
            Ok(Ok(envelope)) => Some(envelope),
            Ok(Err(error)) => cannot_be_made(&error),
            Err(error) => cannot_be_made(&error),
        }
    }
}

fn cannot_be_made<T>(error: &dyn std::fmt::Display) -> Option<T> {
    tracing::error!(%error, "a statement of the operator can't be made");
    None
}

/// What the state says about a checkpoint.
struct Standing {
    moves: bool,
    registered: bool,
    last: Option<(u64, StatementId)>,
}

/// Logs ticks for as long as the service lives.
pub(crate) async fn log_ticks(service: Arc<Service>) {
    let Some(operator) = service.settings().operator.clone() else { return };
    let Some(mut shown) = service.witnessed() else { return };
    // Every head that the log goes through is shown once it is cosigned, and an exchange that
    // waits for a time has its heads cosigned again: nothing else has to be waited for.
    while shown.changed().await.is_ok() {
        let newest = shown.borrow_and_update().clone();
        let Some(newest) = newest.filter(|newest| newest.quorum_time().is_some()) else { continue };
        if let Err(refusal) = tick(&service, &operator, &newest).await {
            // The next head, or the next beat, tries again.
            tracing::warn!(%refusal, "no tick was logged, though an exchange waits for one");
            service.metrics().tick(false);
        }
    }
}

/// Logs the checkpoint if an exchange waits for it.
async fn tick(service: &Arc<Service>, operator: &Operator, shown: &Shown) -> Result<(), Refusal> {
    let (checkpoint, head) = (shown.checkpoint(), *shown.head());
    let origin = service.origin();
    let text = std::str::from_utf8(checkpoint.as_bytes()).unwrap_or_default();
    let tick = match Tick::parse(text) {
        Ok(tick) => tick,
        Err(error) => {
            tracing::warn!(%error, "the cosigned checkpoint does not fit a tick");
            return Ok(());
        }
    };
    let standing = look(service, operator, shown, &tick).await?;
    if !standing.moves {
        return Ok(());
    }
    let mut last = standing.last;
    if !standing.registered {
        let keys = operator.keys.clone();
        let register = Predicate::Party(Box::new(predicate::Party::Register { keys }));
        let Some(envelope) = operator.sign(origin, None, head, register) else { return Ok(()) };
        service.append(envelope.as_bytes()).await?;
        last = Some((1, envelope.id()));
    }
    // Its number is signed anew after a refusal or a crash: what this very log has not taken has
    // never left the process.
    let Some(envelope) = operator.sign(origin, last, head, Predicate::Tick(tick)) else {
        return Ok(());
    };
    let answer = service.append(envelope.as_bytes()).await?;
    tracing::info!(index = answer.index, size = head.size, "logged a tick");
    service.metrics().tick(true);
    Ok(())
}

async fn look(
    service: &Service,
    operator: &Operator,
    shown: &Shown,
    tick: &Tick,
) -> Result<Standing, Refusal> {
    let (time, size) = (shown.latest_time(), shown.head().size);
    let (name, tick) = (operator.key.name().clone(), tick.clone());
    let look = move |state: &State| Standing {
        // The first is cheap and says no for most heads; the second verifies signatures.
        moves: state.awaits_tick(time, size) && state.is_moved_by(&tick),
        registered: state.registry().party(&name).is_some(),
        last: state.last(&name, None),
    };
    service.look(move |known, _| look(&known.state)).await
}

/// How long the writer is waited for before the beat goes on without its answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// True if a tick by now over this many entries could move an exchange.
pub(crate) async fn is_awaited(service: &Service, now: u64, size: u64) -> bool {
    if service.settings().operator.is_none() {
        return false;
    }
    let asked = service.look(move |known, _| known.state.awaits_tick(now, size));
    matches!(tokio::time::timeout(PATIENCE, asked).await, Ok(Ok(true)))
}
