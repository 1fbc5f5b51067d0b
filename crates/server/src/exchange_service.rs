//! `ExchangeService`: where exchanges stand, and their entries as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::v1;
use bytes::Bytes;
use exchange::{Reason, Refusal, StatementId};
use sequencer::ReadError;
use tlog::KeyName;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use transport::{Peer, TransportLimits, peer_of, status};

use crate::Service;
use crate::exchange_messages::{
    Paging, ended_exchange, ended_summary, id_of, open_exchange, open_page,
};
use crate::known::Known;
use crate::log_service::{blocking, hashes, unreadable};
use crate::metrics::Watcher;

/// Entries that wait for a slow reader: 16 of 64 KiB and their proofs are a little over 1 MiB for
/// each stream.
const WAITING: usize = 16;

/// Entries that the writer is asked for at once.
const ENTRIES: usize = 256;

/// When a writer that was too busy to answer is asked again.
const BUSY: Duration = Duration::from_millis(100);

/// Exchanges over gRPC.
#[derive(Debug, Clone)]
pub(crate) struct ExchangeApi {
    pub(crate) service: Arc<Service>,
    pub(crate) limits: TransportLimits,
}

/// What a caller may see.
#[derive(Debug, Clone)]
enum Sight {
    /// Every exchange, as everybody may read the log.
    All,
    /// Those of which this party is a member.
    Of(KeyName),
    /// None: the certificate is no party's.
    Nothing,
}

impl Sight {
    fn of(peer: &Peer) -> Self {
        match peer.party() {
            _ if peer.reads_in_public() => Self::All,
            Some(party) => Self::Of(party.clone()),
            None => Self::Nothing,
        }
    }

    fn sees(&self, is_member: &dyn Fn(&KeyName) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::Of(party) => is_member(party),
            Self::Nothing => false,
        }
    }

    /// `UNKNOWN_EXCHANGE`, `NOT_A_MEMBER`.
    fn check(&self, known: &Known, id: &StatementId) -> Result<(), Refusal> {
        let open = known.state.exchange(id);
        let ended = known.ended(id);
        let is_member = |name: &KeyName| {
            open.as_ref().is_some_and(|view| view.is_member(name))
                || ended.is_some_and(|over| over.report.is_member(name))
        };
        if open.is_none() && ended.is_none() {
            return Err(unknown(known, id));
        }
        if self.sees(&is_member) {
            return Ok(());
        }
        let message = "an exchange is told to its parties and auditors, by their certificates";
        Err(Refusal::new(Reason::NotAMember, message).with("exchange", id))
    }
}

fn unknown(known: &Known, id: &StatementId) -> Refusal {
    let message = match known.state.ended_in(id) {
        Some(state) => format!(
            "the exchange is {state}, and has been for so long that this server keeps no more of \
             it; the log's entries have everything"
        ),
        None => "no agreement of this id is in this log".to_owned(),
    };
    Refusal::new(Reason::UnknownExchange, message).with("exchange", id)
}

type Streamed = Pin<Box<dyn Stream<Item = Result<v1::WatchExchangeResponse, Status>> + Send>>;

#[tonic::async_trait]
impl v1::exchange_service_server::ExchangeService for ExchangeApi {
    async fn get_exchange(
        &self,
        request: Request<v1::GetExchangeRequest>,
    ) -> Result<Response<v1::GetExchangeResponse>, Status> {
        let sight = Sight::of(&peer_of(&request)?);
        let id = id_of(&request.into_inner().id)?;
        let reader = self.service.reader().clone();
        let look = move |known: &Known| {
            sight.check(known, &id)?;
            let open = known.state.exchange(&id).map(|view| open_exchange(&view));
            let ended = || known.ended(&id).map(|over| ended_exchange(&over.report, over.index()));
            // On the writer's thread this is the head that the state belongs to.
            let checkpoint = Bytes::copy_from_slice(&reader.checkpoint());
            Ok(v1::GetExchangeResponse { exchange: open.or_else(ended), checkpoint })
        };
        self.look(look).await.map(Response::new)
    }

    async fn list_exchanges(
        &self,
        request: Request<v1::ListExchangesRequest>,
    ) -> Result<Response<v1::ListExchangesResponse>, Status> {
        let sight = Sight::of(&peer_of(&request)?);
        let request = request.into_inner();
        let paging = Paging::of(&request)?;
        let look = move |known: &Known| {
            if !request.over {
                return Ok(open_page(&known.state, &paging, |is_member| sight.sees(is_member)));
            }
            let page = paging.page(
                known.ended_after(paging.after()),
                |over| {
                    let seen = sight.sees(&|name| over.report.is_member(name));
                    seen.then(|| ended_summary(&over.report, over.index()))
                },
                |over| over.report.id,
            );
            Ok(page)
        };
        self.look(look).await.map(Response::new)
    }

    type WatchExchangeStream = Streamed;

    async fn watch_exchange(
        &self,
        request: Request<v1::WatchExchangeRequest>,
    ) -> Result<Response<Streamed>, Status> {
        let peer = peer_of(&request)?;
        let sight = Sight::of(&peer);
        let v1::WatchExchangeRequest { id, from } = request.into_inner();
        let id = id_of(&id)?;
        let size = self.service.reader().head().size;
        if from > size {
            return Err(unreadable(&ReadError::Beyond { size }));
        }
        self.look(move |known| sight.check(known, &id)).await?;
        // Before the first look at its entries, so that none comes in between unheard.
        let changes = self.service.changes().of(id);
        // Full when the caller doesn't read: then nothing more is read from the log.
        let (sender, receiver) = mpsc::channel(WAITING);
        let counted = self.service.metrics().exchange_watcher();
        let watching = Watching { api: self.clone(), peer, id, next: from, changes, counted };
        tokio::spawn(watching.run(sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl ExchangeApi {
    async fn look<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Known) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Status> {
        let answer = self.service.look(move |known, _| question(known)).await;
        answer.and_then(|inner| inner).map_err(|refusal| status::of(&refusal))
    }

    async fn entry(&self, index: u64) -> Result<v1::WatchExchangeResponse, Status> {
        let snapshot = self.service.reader().snapshot();
        blocking(move || {
            let envelope = snapshot.entry(index).map_err(|e| unreadable(&e))?;
            let proof = snapshot.inclusion(index, snapshot.size()).map_err(|e| unreadable(&e))?;
            Ok(v1::WatchExchangeResponse {
                envelope: Bytes::copy_from_slice(&envelope),
                inclusion: Some(v1::Inclusion {
                    index,
                    proof: hashes(&proof),
                    checkpoint: Bytes::copy_from_slice(&snapshot.checkpoint()),
                }),
                next: index + 1,
            })
        })
        .await
    }
}

type Answers = mpsc::Sender<Result<v1::WatchExchangeResponse, Status>>;

/// One stream that follows an exchange.
struct Watching {
    api: ExchangeApi,
    peer: Peer,
    id: StatementId,
    /// Every entry below it was sent, or was not asked for.
    next: u64,
    changes: watch::Receiver<u64>,
    counted: Watcher,
}

/// Why a stream goes no further.
enum End {
    /// The exchange is over and all of it was sent, or the caller has gone.
    Done,
    /// The caller is told.
    Said(Status),
}

impl Watching {
    async fn run(mut self, answers: Answers) {
        if let End::Said(status) = self.follow(&answers).await {
            // Whoever does not take it has gone.
            let _ = tokio::time::timeout(self.api.limits.idle, answers.send(Err(status))).await;
        }
        drop(self.counted);
    }

    async fn follow(&mut self, answers: &Answers) -> End {
        loop {
            let (entries, last) = match self.entries().await {
                Ok(entries) => entries,
                Err(refusal) if refusal.reason() == Reason::QueueFull => {
                    tokio::time::sleep(BUSY).await;
                    continue;
                }
                Err(refusal) => return End::Said(status::of(&refusal)),
            };
            let full = entries.len() == ENTRIES;
            for index in entries {
                let Some(place) = self.place(answers).await else { return End::Done };
                match self.api.entry(index).await {
                    Ok(answer) => place.send(Ok(answer)),
                    Err(status) => return End::Said(status),
                }
                self.next = index + 1;
            }
            if last {
                return End::Done;
            }
            if full {
                continue;
            }
            tokio::select! {
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return End::Said(status::of(&crate::service::stopping()));
                    }
                }
                () = answers.closed() => return End::Done,
            }
        }
    }

    /// The next entries, of which all are published, and whether no others will come.
    async fn entries(&self) -> Result<(Vec<u64>, bool), Refusal> {
        let (id, next) = (self.id, self.next);
        let look = move |known: &Known| {
            known.entries(&id, next, ENTRIES).ok_or_else(|| unknown(known, &id))
        };
        self.api.service.look(move |known, _| look(known)).await?
    }

    /// Room for one answer. A caller that takes none for too long loses its connection.
    async fn place<'a>(
        &self,
        answers: &'a Answers,
    ) -> Option<mpsc::Permit<'a, Result<v1::WatchExchangeResponse, Status>>> {
        match tokio::time::timeout(self.api.limits.idle, answers.reserve()).await {
            Ok(place) => place.ok(),
            Err(_) => {
                self.peer.calls().cut();
                None
            }
        }
    }
}
