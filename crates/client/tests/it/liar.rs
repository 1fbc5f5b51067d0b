//! A log on loopback that answers as it is told to. It keeps an honest tree; a lie gets the honest
//! answer and gives another. Here belongs what every test of a client needs.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use api::v1;
use api::v1::artifact_service_server::{ArtifactService, ArtifactServiceServer};
use api::v1::get_inclusion_proof_request::Entry;
use api::v1::log_service_server::{LogService, LogServiceServer};
use bytes::Bytes;
use client::{CallError, Connection};
use exchange::predicate::{Intent, Predicate};
use exchange::{Common, Envelope, Reason, Refusal, Statement, StatementId};
use tlog::{
    Hash, KeyKind, KeyName, MemoryNodes, SignedCheckpoint, SigningKey, TreeHead, VerifierKey,
    prove_consistency, prove_inclusion, root_at,
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A key whose seed is made of these words.
pub(crate) fn seeded(name: &str, words: &str) -> SigningKey {
    SigningKey::from_seed(
        KeyName::parse(name).unwrap(),
        Hash::of(&[b"client tests: ", words.as_bytes()]).as_bytes(),
    )
}

/// A statement of somebody whom the client does not know: it looks at bytes and proofs alone.
pub(crate) fn statement(log: &VerifierKey, number: u64) -> Envelope {
    let key = seeded("other.example", "other");
    let common = Common {
        origin: log.name().clone(),
        exchange: None,
        signer: key.name().clone(),
        number,
        previous: (number > 1).then_some(StatementId::new([1; 32])),
        seen: TreeHead::EMPTY,
    };
    let nonce = *Hash::of(&[&number.to_be_bytes()]).as_bytes();
    let intent = Predicate::Intent(Intent { run: number, nonce });
    Envelope::sign(&Statement::new(common, intent).unwrap().to_payload(), &key).unwrap()
}

/// What a client must come to an end with. It would wait for ever if it were wrong.
pub(crate) async fn watched<T>(work: impl Future<Output = T>) -> T {
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, work).await.expect("the client gives up before the watchdog")
}

/// An honest log in memory.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) key: SigningKey,
    pub(crate) leaves: Vec<Vec<u8>>,
    nodes: MemoryNodes,
    pub(crate) artifacts: BTreeMap<Hash, Vec<u8>>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            key: seeded("log.example/one", "log"),
            leaves: Vec::new(),
            nodes: MemoryNodes::new(),
            artifacts: BTreeMap::new(),
        }
    }

    /// A log of this many statements of a stranger.
    pub(crate) fn of(entries: u64) -> Self {
        let mut log = Self::new();
        log.grow(entries);
        log
    }

    pub(crate) fn grow(&mut self, entries: u64) {
        let verifier = self.verifier();
        let last = self.size();
        for number in last + 1..=last + entries {
            self.push(statement(&verifier, number).as_bytes());
        }
    }

    pub(crate) fn verifier(&self) -> VerifierKey {
        self.key.verifier(KeyKind::Ed25519)
    }

    pub(crate) fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Index of an entry, which is added if it is new.
    pub(crate) fn push(&mut self, leaf: &[u8]) -> (u64, bool) {
        if let Some(index) = self.leaves.iter().position(|known| known == leaf) {
            return (index as u64, true);
        }
        self.nodes.append(tlog::leaf_hash(leaf));
        self.leaves.push(leaf.to_vec());
        (self.size() - 1, false)
    }

    /// Takes the last entry back, if only to lie.
    pub(crate) fn pop(&mut self) {
        let kept = std::mem::take(&mut self.leaves);
        self.nodes = MemoryNodes::new();
        kept[..kept.len() - 1].iter().for_each(|leaf| _ = self.push(leaf));
    }

    pub(crate) fn head(&self, size: u64) -> TreeHead {
        let Ok(root) = root_at(&self.nodes, size);
        TreeHead { size, root }
    }

    pub(crate) fn note(&self, size: u64) -> Bytes {
        Bytes::copy_from_slice(SignedCheckpoint::sign(&self.key, self.head(size)).as_bytes())
    }

    pub(crate) fn inclusion(&self, index: u64, size: u64) -> v1::Inclusion {
        let Ok(proof) = prove_inclusion(&self.nodes, index, size);
        v1::Inclusion { index, proof: bytes(&proof), checkpoint: self.note(size) }
    }

    pub(crate) fn consistency(&self, old: u64, new: u64) -> Vec<Bytes> {
        let Ok(proof) = prove_consistency(&self.nodes, old, new);
        bytes(&proof)
    }
}

fn bytes(proof: &[Hash]) -> Vec<Bytes> {
    proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect()
}

/// The status of a refusal by this reason.
pub(crate) fn refused(reason: Reason) -> Status {
    api::status(&Refusal::new(reason, "no"))
}

/// A status with any reason.
pub(crate) fn with_reason(code: Code, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, api::DOMAIN, HashMap::new());
    Status::with_error_details(code, "no", details)
}

/// A lie: it sees the log, the request and the honest answer, and says something else.
type Lie<Q, A> = Box<dyn FnMut(&mut Log, &Q, Result<A, Status>) -> Result<A, Status> + Send>;

pub(crate) type Pieces =
    Pin<Box<dyn Stream<Item = Result<v1::GetArtifactResponse, Status>> + Send>>;

/// What is sent in place of an artifact.
type Download = Box<dyn FnMut(&[u8]) -> Pieces + Send>;

/// What becomes of an append that gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The log has the statement.
    AfterLogging,
    /// It does not.
    BeforeLogging,
}

#[derive(Default)]
pub(crate) struct Lies {
    pub(crate) checkpoint: Option<Lie<v1::GetCheckpointRequest, v1::GetCheckpointResponse>>,
    pub(crate) append: Option<Lie<v1::AppendRequest, v1::AppendResponse>>,
    pub(crate) inclusion: Option<Lie<v1::GetInclusionProofRequest, v1::GetInclusionProofResponse>>,
    pub(crate) consistency:
        Option<Lie<v1::GetConsistencyProofRequest, v1::GetConsistencyProofResponse>>,
    pub(crate) entries: Option<Lie<v1::ListEntriesRequest, v1::ListEntriesResponse>>,
    pub(crate) put: Option<Lie<Vec<u8>, v1::PutArtifactResponse>>,
    pub(crate) get: Option<Download>,
    /// Appends get no answer.
    pub(crate) silence: Option<Silence>,
}

#[derive(Default)]
struct State {
    log: Option<Log>,
    lies: Lies,
    /// Envelopes that came, in order, whatever became of them.
    received: Vec<Vec<u8>>,
}

/// The server of such a log. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Liar {
    state: Arc<Mutex<State>>,
    pub(crate) address: SocketAddr,
}

impl Liar {
    pub(crate) async fn serve(log: Log) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = State { log: Some(log), ..State::default() };
        let liar =
            Self { state: Arc::new(Mutex::new(state)), address: listener.local_addr().unwrap() };
        let services = tonic::transport::Server::builder()
            .add_service(LogServiceServer::new(liar.clone()))
            .add_service(ArtifactServiceServer::new(liar.clone()));
        tokio::spawn(services.serve_with_incoming(TcpListenerStream::new(listener)));
        liar
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The log behind it, to look at or to grow.
    pub(crate) fn log<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(self.state().log.as_mut().unwrap())
    }

    /// From now on it lies like this, and in no other way.
    pub(crate) fn lies(&self, set: impl FnOnce(&mut Lies)) {
        let mut lies = Lies::default();
        set(&mut lies);
        self.state().lies = lies;
    }

    pub(crate) fn tells_the_truth(&self) {
        self.lies(|_| ());
    }

    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        self.state().received.clone()
    }

    /// A connection that has verified the newest head.
    pub(crate) async fn connect(&self) -> Connection {
        self.try_connect(None).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        trusted: Option<&[u8]>,
    ) -> Result<Connection, CallError> {
        let key = self.log(|log| log.verifier());
        Connection::open(&self.url(), key, trusted).await
    }
}

/// The honest answer, or what is said in its place.
macro_rules! say {
    ($liar:expr, $lie:ident, $request:expr, $honest:expr) => {{
        let request = $request;
        let mut state = $liar.state();
        let State { log, lies, .. } = &mut *state;
        let log = log.as_mut().unwrap();
        let honest = $honest(&mut *log, &request);
        match &mut lies.$lie {
            None => honest,
            Some(lie) => lie(log, &request, honest),
        }
        .map(Response::new)
    }};
}

fn beyond() -> Status {
    with_reason(Code::OutOfRange, "BEYOND_LOG")
}

fn absent() -> Status {
    with_reason(Code::NotFound, "UNKNOWN_ENTRY")
}

#[tonic::async_trait]
impl LogService for Liar {
    async fn append(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let request = request.into_inner();
        let silence = {
            let mut state = self.state();
            state.received.push(request.envelope.to_vec());
            let silence = state.lies.silence;
            if silence == Some(Silence::AfterLogging) {
                state.log.as_mut().unwrap().push(&request.envelope);
            }
            silence
        };
        if silence.is_some() {
            return std::future::pending().await;
        }
        say!(self, append, request, |log: &mut Log, request: &v1::AppendRequest| {
            let (index, existed) = log.push(&request.envelope);
            let inclusion = Some(log.inclusion(index, log.size()));
            Ok(v1::AppendResponse { inclusion, existed })
        })
    }

    type AppendStreamStream =
        Pin<Box<dyn Stream<Item = Result<v1::AppendStreamResponse, Status>> + Send>>;

    async fn append_stream(
        &self,
        _: Request<Streaming<v1::AppendStreamRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        Err(Status::unimplemented("the client does not stream"))
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        say!(self, checkpoint, request.into_inner(), |log: &mut Log, _: &_| {
            Ok(v1::GetCheckpointResponse { checkpoint: log.note(log.size()) })
        })
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        say!(self, inclusion, request.into_inner(), inclusion)
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        say!(self, consistency, request.into_inner(), consistency)
    }

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        say!(
            self,
            entries,
            request.into_inner(),
            |log: &mut Log, request: &v1::ListEntriesRequest| {
                let from = usize::try_from(request.start).unwrap();
                let leaves = log.leaves.get(from..).ok_or_else(beyond)?;
                let envelopes = leaves.iter().map(|leaf| Bytes::copy_from_slice(leaf)).collect();
                Ok(v1::ListEntriesResponse { envelopes, size: log.size() })
            }
        )
    }

    type WatchCheckpointsStream =
        Pin<Box<dyn Stream<Item = Result<v1::WatchCheckpointsResponse, Status>> + Send>>;

    async fn watch_checkpoints(
        &self,
        _: Request<v1::WatchCheckpointsRequest>,
    ) -> Result<Response<Self::WatchCheckpointsStream>, Status> {
        Err(Status::unimplemented("the client does not watch"))
    }
}

fn inclusion(
    log: &mut Log,
    request: &v1::GetInclusionProofRequest,
) -> Result<v1::GetInclusionProofResponse, Status> {
    let found = log.leaves.iter().position(|leaf| match request.entry.as_ref().unwrap() {
        Entry::StatementId(id) => {
            Envelope::parse(leaf).is_ok_and(|e| e.id().as_bytes().as_slice() == id)
        }
        Entry::LeafHash(hash) => tlog::leaf_hash(leaf).as_bytes().as_slice() == hash,
        Entry::Index(_) => unreachable!("the client asks by id"),
    });
    let index = found.ok_or_else(absent)? as u64;
    if index >= request.tree_size || request.tree_size > log.size() {
        return Err(beyond());
    }
    let inclusion =
        v1::Inclusion { checkpoint: Bytes::new(), ..log.inclusion(index, request.tree_size) };
    let envelope = Bytes::copy_from_slice(&log.leaves[index as usize]);
    Ok(v1::GetInclusionProofResponse { inclusion: Some(inclusion), envelope })
}

fn consistency(
    log: &mut Log,
    request: &v1::GetConsistencyProofRequest,
) -> Result<v1::GetConsistencyProofResponse, Status> {
    let v1::GetConsistencyProofRequest { old_size, new_size } = *request;
    if old_size > new_size || new_size > log.size() {
        return Err(beyond());
    }
    Ok(v1::GetConsistencyProofResponse { proof: log.consistency(old_size, new_size), new_size })
}

#[tonic::async_trait]
impl ArtifactService for Liar {
    async fn put_artifact(
        &self,
        request: Request<Streaming<v1::PutArtifactRequest>>,
    ) -> Result<Response<v1::PutArtifactResponse>, Status> {
        let mut chunks = request.into_inner();
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().await {
            all.extend_from_slice(&chunk?.chunk);
        }
        say!(self, put, all, |log: &mut Log, all: &Vec<u8>| {
            let digest = Hash::of(&[all]);
            log.artifacts.insert(digest, all.clone());
            let digest = Bytes::copy_from_slice(digest.as_bytes());
            Ok(v1::PutArtifactResponse { digest, size: all.len() as u64 })
        })
    }

    type GetArtifactStream = Pieces;

    async fn get_artifact(
        &self,
        request: Request<v1::GetArtifactRequest>,
    ) -> Result<Response<Pieces>, Status> {
        let digest = Hash::from_slice(&request.into_inner().digest).unwrap();
        let mut state = self.state();
        let State { log, lies, .. } = &mut *state;
        let artifact = log.as_ref().unwrap().artifacts.get(&digest).ok_or_else(absent)?;
        if let Some(lie) = &mut lies.get {
            return Ok(Response::new(lie(artifact)));
        }
        Ok(Response::new(pieces(artifact.chunks(1000))))
    }
}

/// An artifact in these pieces.
pub(crate) fn pieces<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Pieces {
    let chunks = chunks.into_iter().map(Bytes::copy_from_slice);
    let pieces: Vec<_> = chunks.map(|chunk| Ok(v1::GetArtifactResponse { chunk })).collect();
    Box::pin(tokio_stream::iter(pieces))
}
