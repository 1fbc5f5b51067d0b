//! `LogService`: the log over gRPC.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use api::v1;
use api::v1::append_stream_response::Result as StreamResult;
use api::v1::get_inclusion_proof_request::Entry as WhichEntry;
use bytes::Bytes;
use exchange::{Reason, Refusal};
use sequencer::{Answer, ReadError, Snapshot, StatementKey};
use tlog::Hash;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};
use transport::{Peer, TransportLimits, peer_of, status};

use crate::artifact_service::too_slow;
use crate::service::Queued;
use crate::witnesses::Cosigning;
use crate::{Condition, Service};

/// Entries of one answer together; with their proofs and framing it stays below 4 MiB.
const PAGE_BYTES: usize = 3 << 20;

/// Entries of one answer, whatever their size.
const PAGE_ENTRIES: u64 = 4_096;

/// The share of a call's time that an append waits for witnesses: what is left is for the answer.
const WITNESSED: f64 = 0.8;

/// Statements of one stream that may wait for the writer: a quarter of what one commit takes, so
/// that a few streams fill one, and their memory stays small.
const IN_FLIGHT: usize = 256;

/// The log over gRPC.
#[derive(Debug, Clone)]
pub(crate) struct LogApi {
    pub(crate) service: Arc<Service>,
    /// Deadlines of streams.
    pub(crate) limits: TransportLimits,
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::log_service_server::LogService for LogApi {
    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let peer = peer_of(&request)?;
        let request = request.into_inner();
        let patience = tokio::time::Instant::now() + self.limits.call.mul_f64(WITNESSED);
        let witnesses = match request.wait_for() {
            v1::WaitFor::Witnessed => Some(self.witnesses()?),
            _ => None,
        };
        let queued = self.service.enqueue_from(&peer, &request.envelope).await;
        let answer = match queued {
            Ok(queued) => queued.wait().await,
            Err(refusal) => Err(refusal),
        };
        let mut answer = answer.map_err(|r| status::of(&r))?;
        if let Some(witnesses) = witnesses {
            self.witness(&mut answer, &witnesses, patience).await?;
        }
        Ok(Response::new(appended(&answer)))
    }

    type AppendStreamStream = Streamed<v1::AppendStreamResponse>;

    async fn append_stream(
        &self,
        request: Request<Streaming<v1::AppendStreamRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        // Full when the caller does not read its answers: then its statements wait, too.
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let peer = peer_of(&request)?;
        tokio::spawn(append_all(self.clone(), peer, request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let checkpoint = match request.into_inner().wait_for() {
            v1::WaitFor::Unspecified => self.service.shown(),
            v1::WaitFor::Committed => self.service.reader().checkpoint(),
            v1::WaitFor::Witnessed => {
                let shown = self.witnesses()?.shown().borrow().clone();
                let shown = shown.filter(|shown| shown.quorum_time().is_some());
                let message = "no quorum of this log's witnesses has cosigned anything yet";
                let unwitnessed =
                    || status::plain(Code::Unavailable, status::NOT_WITNESSED, message);
                shown.ok_or_else(unwitnessed)?.checkpoint().as_bytes().into()
            }
        };
        let checkpoint = Bytes::copy_from_slice(&checkpoint);
        Ok(Response::new(v1::GetCheckpointResponse { checkpoint }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        let request = request.into_inner();
        let snapshot = self.service.reader().snapshot();
        blocking(move || inclusion(&snapshot, &request)).await.map(Response::new)
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let v1::GetConsistencyProofRequest { old_size, new_size } = request.into_inner();
        let snapshot = self.service.reader().snapshot();
        let new_size = if new_size == 0 { snapshot.size() } else { new_size };
        if old_size > new_size {
            let message = format!("must be at most the new size, {new_size}");
            return Err(status::bad_field("old_size", message));
        }
        let proof = blocking(move || {
            let proof = snapshot.consistency(old_size, new_size);
            Ok(hashes(&proof.map_err(|e| unreadable(&e))?))
        });
        Ok(Response::new(v1::GetConsistencyProofResponse { proof: proof.await?, new_size }))
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let v1::ListEntriesRequest { start, limit } = request.into_inner();
        let snapshot = self.service.reader().snapshot();
        blocking(move || list(&snapshot, start, limit)).await.map(Response::new)
    }

    type WatchCheckpointsStream = Streamed<v1::WatchCheckpointsResponse>;

    async fn watch_checkpoints(
        &self,
        _: Request<v1::WatchCheckpointsRequest>,
    ) -> Result<Response<Self::WatchCheckpointsStream>, Status> {
        let service = Arc::clone(&self.service);
        let mut heads = service.heads();
        // So that the first answer comes at once.
        heads.mark_changed();
        let changes = tokio_stream::wrappers::WatchStream::from_changes(heads);
        let checkpoints = changes.map(move |_| {
            let checkpoint = Bytes::copy_from_slice(&service.reader().checkpoint());
            Ok(v1::WatchCheckpointsResponse { checkpoint })
        });
        Ok(Response::new(Box::pin(checkpoints)))
    }
}

/// Queues statements in the order in which they come, answers in that order as soon as it can,
/// and ends when the caller has no more, has gone, or is silent for too long, or when the server
/// takes no more.
async fn append_all(
    api: LogApi,
    peer: Peer,
    mut statements: Streaming<v1::AppendStreamRequest>,
    answers: Answers,
) {
    let mut waiting = Waiting::default();
    let mut conditions = api.service.conditions();
    let mut more = true;
    while more || !waiting.0.is_empty() {
        let may_take = more && waiting.0.len() < IN_FLIGHT;
        tokio::select! {
            next = tokio::time::timeout(api.limits.idle, statements.next()), if may_take => {
                match next {
                    Ok(Some(Ok(request))) => {
                        let mut queued = api.service.enqueue_from(&peer, &request.envelope).await;
                        if queued.as_ref().is_err_and(depends_on_earlier) && !waiting.0.is_empty() {
                            // A registration or an intent may still be on its way.
                            while !waiting.0.is_empty() {
                                let answer = waiting.first().await;
                                if !api.answer(&peer, &answers, Ok(answer)).await {
                                    return;
                                }
                            }
                            queued = api.service.enqueue_from(&peer, &request.envelope).await;
                        }
                        waiting.0.push_back(queued);
                    }
                    Ok(Some(Err(status))) => {
                        // What is queued is answered first.
                        while !waiting.0.is_empty() {
                            let answer = waiting.first().await;
                            if !api.answer(&peer, &answers, Ok(answer)).await {
                                return;
                            }
                        }
                        api.answer(&peer, &answers, Err(status::complete(&status))).await;
                        return;
                    }
                    Ok(None) => more = false,
                    Err(_) if waiting.0.is_empty() => {
                        let silent = too_slow("the next statement", api.limits.idle);
                        api.answer(&peer, &answers, Err(silent)).await;
                        return;
                    }
                    Err(_) => {}
                }
            }
            answer = waiting.first(), if !waiting.0.is_empty() => {
                if !api.answer(&peer, &answers, Ok(answer)).await {
                    return;
                }
            }
            () = until_stopping(&mut conditions), if waiting.0.is_empty() => {
                // What was taken has its answer, and the caller need not wait for the deadline.
                let stopping = status::of(&crate::service::stopping());
                api.answer(&peer, &answers, Err(stopping)).await;
                return;
            }
        }
    }
}

/// Returns once statements are no longer taken.
async fn until_stopping(conditions: &mut watch::Receiver<Condition>) {
    // The sender lives in the service, which the caller holds.
    let _ = conditions.wait_for(|now| *now != Condition::Serving).await;
}

type Answers = mpsc::Sender<Result<v1::AppendStreamResponse, Status>>;

/// Statements of one stream whose answers are still to come, the first one first.
#[derive(Default)]
struct Waiting(VecDeque<Result<Queued, Refusal>>);

impl Waiting {
    /// What became of the first one, which is taken out. Dropped before its end this loses
    /// nothing. With nothing waiting it never ends.
    async fn first(&mut self) -> Result<Answer, Refusal> {
        let answer = match self.0.front_mut() {
            Some(Ok(queued)) => queued.answer().await,
            Some(Err(refusal)) => Err(refusal.clone()),
            None => std::future::pending().await,
        };
        self.0.pop_front();
        answer
    }
}

impl LogApi {
    /// The witnesses of this log, if it has any.
    fn witnesses(&self) -> Result<Arc<Cosigning>, Status> {
        self.service.cosigning().cloned().ok_or_else(|| {
            let message = "this log has no witnesses; use WAIT_FOR_COMMITTED";
            status::plain(Code::Unimplemented, status::NOT_SUPPORTED, message)
        })
    }

    /// Puts in place of a receipt's checkpoint one that a quorum cosigned. The entry is committed
    /// whatever comes of this.
    async fn witness(
        &self,
        answer: &mut Answer,
        witnesses: &Cosigning,
        patience: tokio::time::Instant,
    ) -> Result<(), Status> {
        let index = answer.index;
        let covering = tokio::time::timeout_at(patience, witnesses.covering(index)).await;
        let Ok(shown) = covering else {
            let message = format!(
                "entry {index} is committed, and no quorum of witnesses has cosigned a head with \
                 it yet; send the same bytes again"
            );
            let metadata = HashMap::from([("index".to_owned(), index.to_string())]);
            let reason = status::NOT_WITNESSED;
            return Err(status::with(Code::DeadlineExceeded, reason, message, metadata));
        };
        let (head, reader) = (*shown.head(), self.service.reader().clone());
        answer.proof =
            blocking(move || reader.inclusion(index, head.size).map_err(|e| unreadable(&e)))
                .await?;
        answer.head = head;
        answer.checkpoint = shown.checkpoint().as_bytes().into();
        Ok(())
    }

    /// False if the caller has gone, or takes no answers: then its connection ends.
    async fn answer(
        &self,
        peer: &Peer,
        answers: &Answers,
        answer: Result<Result<Answer, Refusal>, Status>,
    ) -> bool {
        let message = answer.map(|answer| {
            let result = match answer {
                Ok(answer) => StreamResult::Appended(appended(&answer)),
                Err(refusal) => {
                    tracing::debug!(reason = %refusal.reason(), "refused within a stream");
                    StreamResult::Refused(api::refusal_message(&refusal))
                }
            };
            v1::AppendStreamResponse { result: Some(result) }
        });
        match tokio::time::timeout(self.limits.idle, answers.send(message)).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                peer.calls().cut();
                false
            }
        }
    }
}

/// Checks ahead of the writer look at what is published, so these may come too early.
fn depends_on_earlier(refusal: &Refusal) -> bool {
    matches!(
        refusal.reason(),
        Reason::UnknownSigner | Reason::KeyNotCurrent | Reason::UnknownStatement
    )
}

fn appended(answer: &Answer) -> v1::AppendResponse {
    let inclusion = v1::Inclusion {
        index: answer.index,
        proof: hashes(&answer.proof),
        checkpoint: Bytes::copy_from_slice(&answer.checkpoint),
    };
    v1::AppendResponse { inclusion: Some(inclusion), existed: answer.duplicate }
}

/// The answer to `GetInclusionProof` from one snapshot.
pub fn inclusion(
    snapshot: &Snapshot,
    request: &v1::GetInclusionProofRequest,
) -> Result<v1::GetInclusionProofResponse, Status> {
    let hash = |bytes: &Bytes, field| {
        Hash::from_slice(bytes).map_err(|_| status::bad_field(field, "must be 32 bytes".to_owned()))
    };
    let found = match &request.entry {
        None => return Err(status::bad_field("entry", "say which entry".to_owned())),
        Some(WhichEntry::Index(index)) => Some(*index),
        Some(WhichEntry::LeafHash(bytes)) => {
            snapshot.index_of_leaf(&hash(bytes, "leaf_hash")?).map_err(|e| unreadable(&e))?
        }
        Some(WhichEntry::StatementId(bytes)) => snapshot
            .index_of_key(&StatementKey::from(hash(bytes, "statement_id")?))
            .map_err(|e| unreadable(&e))?,
    };
    let size = if request.tree_size == 0 { snapshot.size() } else { request.tree_size };
    let Some(index) = found.filter(|index| *index < snapshot.size()) else {
        let message = "the log has no such entry";
        return Err(status::plain(Code::NotFound, status::UNKNOWN_ENTRY, message));
    };
    let proof = snapshot.inclusion(index, size).map_err(|e| unreadable(&e))?;
    let checkpoint = if request.tree_size == 0 {
        Bytes::copy_from_slice(&snapshot.checkpoint())
    } else {
        Bytes::new()
    };
    let envelope = snapshot.entry(index).map_err(|e| unreadable(&e))?;
    Ok(v1::GetInclusionProofResponse {
        inclusion: Some(v1::Inclusion { index, proof: hashes(&proof), checkpoint }),
        envelope: Bytes::copy_from_slice(&envelope),
    })
}

/// The answer to `ListEntries` from one snapshot.
pub fn list(
    snapshot: &Snapshot,
    start: u64,
    limit: u32,
) -> Result<v1::ListEntriesResponse, Status> {
    let size = snapshot.size();
    if start > size {
        return Err(unreadable(&ReadError::Beyond { size }));
    }
    let wanted = if limit == 0 { PAGE_ENTRIES } else { PAGE_ENTRIES.min(u64::from(limit)) };
    let mut envelopes = Vec::new();
    let mut bytes = 0;
    for entry in snapshot.entries(start..size.min(start + wanted)).map_err(|e| unreadable(&e))? {
        let entry = entry.map_err(|e| unreadable(&e))?;
        bytes += entry.len();
        if bytes > PAGE_BYTES && !envelopes.is_empty() {
            break;
        }
        envelopes.push(Bytes::copy_from_slice(&entry));
    }
    Ok(v1::ListEntriesResponse { envelopes, size })
}

pub(crate) fn hashes(proof: &[Hash]) -> Vec<Bytes> {
    proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}

/// Reads tiles from disk away from the asynchronous threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(status::of(&crate::service::stopping())))
}

/// `OUT_OF_RANGE` for what the log does not have yet; for damage the caller learns no more than
/// that there is some.
pub(crate) fn unreadable(error: &ReadError) -> Status {
    match error {
        ReadError::Beyond { size } => status::with(
            Code::OutOfRange,
            status::BEYOND_LOG,
            format!("the log has {size} entries; ask again when it has more"),
            HashMap::from([("size".to_owned(), size.to_string())]),
        ),
        _ => {
            tracing::error!(%error, "the log cannot be read");
            let message = "the log cannot be read; its operator has the details";
            status::plain(Code::DataLoss, status::UNREADABLE, message)
        }
    }
}
