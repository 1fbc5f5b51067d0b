//! Asking one witness about one head after another.

use std::sync::Arc;

use client::{Cosigning as Answered, WitnessError};
use sequencer::Snapshot;
use tlog::{AddCheckpoint, Hash, MAX_CLOCK_LEAD, NoteSignature, SignedCheckpoint, VerifierKey};
use tokio::sync::{mpsc, watch};

use super::rolled_back::{self, Standing};
use super::{Asked, Pace};
use crate::Service;
use crate::service::unix_now;

/// A head that witnesses are asked about.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) snapshot: Snapshot,
    /// With the log's own signature and no other: some witnesses read no more than 10 KiB.
    pub(super) checkpoint: SignedCheckpoint,
}

/// A verified cosignature of a round's head.
#[derive(Debug)]
pub(super) struct Cosignature {
    pub(super) round: Arc<Round>,
    pub(super) witness: VerifierKey,
    pub(super) time: u64,
    pub(super) line: NoteSignature,
}

/// Why a witness did not cosign, as metrics name it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {0:?}")]
    TooSlow(std::time::Duration),
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error("it cosigned size {0} last, and then another size than that")]
    Restless(u64),
    #[error("it says that it cosigned size {witness}, which is beyond this log's {own}")]
    Ahead { witness: u64, own: u64 },
    #[error("no line of its answer is by the key of the policy, over this log's checkpoint")]
    NoGoodLine,
    #[error("its cosignature is of {time}, more than {MAX_CLOCK_LEAD} s ahead")]
    FromTheFuture { time: u64 },
    #[error("the proof could not be made")]
    NoProof,
}

impl Failure {
    /// A label.
    fn cause(&self) -> &'static str {
        match self {
            Self::TooSlow(_) | Self::Witness(WitnessError::Unreachable { .. }) => "unreachable",
            Self::Witness(WitnessError::Refused { .. }) => "refused",
            Self::Witness(_)
            | Self::Restless(_)
            | Self::NoGoodLine
            | Self::FromTheFuture { .. } => "bad_answer",
            Self::Ahead { .. } => "ahead",
            Self::NoProof => "no_proof",
        }
    }

    /// Whether it may mean that this log is not what it was.
    fn alarming(&self) -> bool {
        let refused = |status| matches!(self, Self::Witness(WitnessError::Refused { status: s, .. }) if *s == status);
        matches!(self, Self::Ahead { .. }) || refused(422)
    }
}

/// All causes, so that what never happened reads zero.
pub(crate) const CAUSES: [&str; 5] = ["unreachable", "refused", "bad_answer", "ahead", "no_proof"];

/// Asks one witness about every round that it has time for, until nobody wants to know.
pub(super) async fn ask_on(
    service: Arc<Service>,
    asked: Asked,
    pace: Pace,
    mut rounds: watch::Receiver<Option<Arc<Round>>>,
    cosignatures: mpsc::Sender<Cosignature>,
) {
    // What it cosigned last, as far as this process knows. It says so itself if it is another.
    let mut size = 0;
    loop {
        if rounds.changed().await.is_err() {
            return;
        }
        let Some(round) = rounds.borrow_and_update().clone() else { continue };
        let asking = ask(&asked, &round, &mut size, pace);
        let answer = match tokio::time::timeout(pace.deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::TooSlow(pace.deadline)),
        };
        match answer {
            Ok((time, line)) => {
                service.metrics().cosigned(&asked.name);
                let witness = asked.key.clone();
                if cosignatures.send(Cosignature { round, witness, time, line }).await.is_err() {
                    return;
                }
            }
            Err(failure) => {
                service.metrics().not_cosigned(&asked.name, failure.cause());
                tracing::warn!(witness = asked.name, %failure, "no cosignature");
                if failure.alarming() {
                    look_closer(&service, &asked, pace).await;
                }
            }
        }
    }
}

/// What the witness shows decides whether it errs or this log has lost entries.
async fn look_closer(service: &Service, asked: &Asked, pace: Pace) {
    match rolled_back::compare(service, asked, pace.deadline).await {
        Standing::Contradicted(found) => service.roll_back(found),
        Standing::Agrees | Standing::Unknown => {
            tracing::warn!(witness = asked.name, "nothing it shows contradicts this log");
        }
    }
}

async fn ask(
    asked: &Asked,
    round: &Arc<Round>,
    size: &mut u64,
    pace: Pace,
) -> Result<(u64, NoteSignature), Failure> {
    let own = round.checkpoint.head().size;
    for last in [false, true] {
        let proof = prove(round, *size).await?;
        let request = AddCheckpoint::new(*size, proof, &round.checkpoint);
        match asked.client.add_checkpoint(&request, pace.deadline).await? {
            Answered::Lines(lines) => {
                let good = good_line(&asked.key, round, lines)?;
                *size = own;
                return Ok(good);
            }
            Answered::OtherSize(witness) if witness > own => {
                return Err(Failure::Ahead { witness, own });
            }
            Answered::OtherSize(witness) => {
                *size = witness;
                if last {
                    break;
                }
            }
        }
    }
    Err(Failure::Restless(*size))
}

/// The consistency proof from what the witness cosigned last; reads tiles.
async fn prove(round: &Arc<Round>, old: u64) -> Result<Vec<Hash>, Failure> {
    let new = round.checkpoint.head().size;
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let round = Arc::clone(round);
    let proof = tokio::task::spawn_blocking(move || round.snapshot.consistency(old, new)).await;
    match proof {
        Ok(Ok(proof)) => Ok(proof),
        Ok(Err(error)) => {
            tracing::error!(%error, old, new, "a consistency proof cannot be made");
            Err(Failure::NoProof)
        }
        Err(_) => Err(Failure::NoProof),
    }
}

/// The latest line by the expected key that verifies over our own text. Others are dropped.
fn good_line(
    key: &VerifierKey,
    round: &Round,
    lines: Vec<NoteSignature>,
) -> Result<(u64, NoteSignature), Failure> {
    let text = round.checkpoint.note().text();
    let good = lines.into_iter().filter(|line| line.names(key)).take(4).filter_map(|line| {
        let time = key.check(text, &line).ok()??;
        Some((time, line))
    });
    let (time, line) = good.max_by_key(|(time, _)| *time).ok_or(Failure::NoGoodLine)?;
    if time > unix_now().saturating_add(MAX_CLOCK_LEAD) {
        return Err(Failure::FromTheFuture { time });
    }
    Ok((time, line))
}
