//! gRPC messages: requests as the server takes them, answers and refusals as the client does.

use std::sync::OnceLock;

use api::v1::get_inclusion_proof_request::Entry as Which;
use api::{Denied, v1};
use exchange::{Replayed, SignedStatement, State, artifacts};
use prost::Message;
use sequencer::{Entry, Log, MemoryStore, Snapshot, StatementKey};
use tlog::{Hash, SignedCheckpoint, TreeHead, leaf_hash, verify_consistency, verify_inclusion};

use crate::fixtures::{log_key, log_vkey, statements};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    let target = |name, seeds, run| Target {
        name,
        shape: Shape::Protobuf,
        tokens: &[b"\x08\x01", b"\x12\x20", b"\x0a\x00", b"\x0a\xff\xff\xff\xff\x0f"],
        seeds,
        run,
        memory: Memory::USUAL,
    };
    vec![
        target("grpc-append", appends, append),
        target("grpc-inclusion", inclusions, inclusion),
        target("grpc-consistency", consistencies, consistency),
        target("grpc-list", lists, list),
        target("grpc-artifact", artifact_requests, artifact),
        target("grpc-exchange", exchange_requests, exchange),
        target("grpc-exchanges", pages, page),
        target("grpc-answer", answers, answer),
        target("grpc-refusal", refusals, refusal),
    ]
}

struct Fixture {
    snapshot: Snapshot,
    state: State,
    leaves: Vec<Vec<u8>>,
    roots: Vec<Hash>,
}

struct Roots<'a>(&'a [Hash]);

impl exchange::History for Roots<'_> {
    fn root(&self, size: u64) -> Option<Hash> {
        self.0.get(usize::try_from(size).ok()?).copied()
    }
}

/// The vectors' log, stored in memory.
fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let leaves: Vec<Vec<u8>> =
            statements().iter().map(|logged| logged.envelope.as_bytes().to_vec()).collect();
        let roots = crate::fixtures::roots(leaves.iter().map(Vec::as_slice));
        let mut state = State::new(log_vkey().clone());
        let mut log = Log::create(MemoryStore::new(), log_key().clone()).expect("it is new");
        let mut entries = Vec::new();
        for (index, leaf) in (0..).zip(&leaves) {
            let replayed = state.replay(index, leaf, &Roots(&roots));
            assert!(!matches!(replayed, Replayed::Noise(_)), "the vectors are of known parties");
            let signed = SignedStatement::parse(leaf).expect("the vectors are statements");
            let key = StatementKey::new(*signed.id().as_bytes());
            entries.push(Entry::new(leaf.as_slice(), key).expect("it fits"));
        }
        assert!(log.step(&entries).is_ok_and(|answers| answers.iter().all(Result::is_ok)));
        Fixture { snapshot: log.reader().snapshot(), state, leaves, roots }
    })
}

/// Decodes a message, and checks that it stays the same when it is sent on.
fn decode<M: Message + Default + PartialEq>(input: &[u8]) -> Option<M> {
    let message = M::decode(input).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice());
    assert!(again.is_ok_and(|again| again == message), "not the same when sent on");
    Some(message)
}

fn appends() -> Vec<Vec<u8>> {
    let some = [0, 5, 9, 14].map(|at: usize| v1::AppendRequest {
        envelope: fixture().leaves[at].clone().into(),
        wait_for: v1::WaitFor::Committed.into(),
    });
    some.iter().map(Message::encode_to_vec).collect()
}

/// What the server does before the writer's turn: form, signature, artifacts.
fn append(input: &[u8]) -> Verdict {
    // The message of a stream has the same first field, and no other.
    let streamed: Option<v1::AppendStreamRequest> = decode(input);
    let Some(request) = decode::<v1::AppendRequest>(input) else { return Verdict::Refused };
    assert!(streamed.is_none_or(|streamed| streamed.envelope == request.envelope));
    let _ = request.wait_for();
    let verified = SignedStatement::parse(&request.envelope)
        .and_then(|signed| fixture().state.registry().verify(signed));
    match verified {
        Ok(verified) => {
            let known = fixture().leaves.iter().any(|leaf| leaf == &request.envelope[..]);
            let party = verified.statement().kind() == exchange::Kind::Party;
            assert!(known || party, "a statement that nobody signed");
            let _ = artifacts(verified.statement());
            Verdict::Accepted
        }
        Err(refusal) => {
            let status = api::status(&refusal);
            let denied = Denied::from(status);
            assert_eq!(denied.reason, refusal.reason().as_str(), "the reason arrives");
            let denied = Denied::from(api::refusal_message(&refusal));
            assert_eq!(denied.reason, refusal.reason().as_str(), "the reason arrives");
            Verdict::Refused
        }
    }
}

fn inclusions() -> Vec<Vec<u8>> {
    let leaf = leaf_hash(&fixture().leaves[3]).as_bytes().to_vec();
    let id = Hash::from_hex(statements()[9].id).expect("ids are hashes").as_bytes().to_vec();
    let requests = [
        (Some(Which::Index(7)), 0),
        (Some(Which::Index(33)), 34),
        (Some(Which::LeafHash(leaf.into())), 4),
        (Some(Which::StatementId(id.into())), 0),
        (None, 5),
    ];
    let requests =
        requests.map(|(entry, tree_size)| v1::GetInclusionProofRequest { entry, tree_size });
    requests.iter().map(Message::encode_to_vec).collect()
}

fn inclusion(input: &[u8]) -> Verdict {
    let Some(request) = decode::<v1::GetInclusionProofRequest>(input) else {
        return Verdict::Refused;
    };
    let fixture = fixture();
    let Ok(answer) = server::inclusion(&fixture.snapshot, &request) else {
        return Verdict::Refused;
    };
    let inclusion = answer.inclusion.expect("an answer has a proof");
    let size = if request.tree_size == 0 { fixture.snapshot.size() } else { request.tree_size };
    let head = TreeHead { size, root: fixture.roots[size as usize] };
    let proof = hashes(&inclusion.proof).expect("the server sends hashes");
    let leaf = leaf_hash(&answer.envelope);
    assert_eq!(verify_inclusion(&leaf, inclusion.index, &head, &proof), Ok(()), "a false proof");
    assert_eq!(&answer.envelope[..], fixture.leaves[inclusion.index as usize]);
    Verdict::Accepted
}

fn hashes<B: AsRef<[u8]>>(proof: &[B]) -> Option<Vec<Hash>> {
    proof.iter().map(|hash| Hash::from_slice(hash.as_ref()).ok()).collect()
}

fn consistencies() -> Vec<Vec<u8>> {
    let requests = [(0, 0), (5, 34), (34, 0), (8, 20), (20, 8)];
    let requests =
        requests.map(|(old_size, new_size)| v1::GetConsistencyProofRequest { old_size, new_size });
    requests.iter().map(Message::encode_to_vec).collect()
}

fn consistency(input: &[u8]) -> Verdict {
    let Some(request) = decode::<v1::GetConsistencyProofRequest>(input) else {
        return Verdict::Refused;
    };
    let fixture = fixture();
    let new = if request.new_size == 0 { fixture.snapshot.size() } else { request.new_size };
    let Ok(proof) = fixture.snapshot.consistency(request.old_size, new) else {
        return Verdict::Refused;
    };
    let head = |size: u64| TreeHead { size, root: fixture.roots[size as usize] };
    let verified = verify_consistency(&head(request.old_size), &head(new), &proof);
    assert_eq!(verified, Ok(()), "a false proof");
    Verdict::Accepted
}

fn lists() -> Vec<Vec<u8>> {
    let requests = [(0, 0), (30, 2), (34, 5), (35, 1), (3, 4_096)];
    let requests = requests.map(|(start, limit)| v1::ListEntriesRequest { start, limit });
    requests.iter().map(Message::encode_to_vec).collect()
}

fn list(input: &[u8]) -> Verdict {
    let Some(request) = decode::<v1::ListEntriesRequest>(input) else { return Verdict::Refused };
    let fixture = fixture();
    let Ok(page) = server::list(&fixture.snapshot, request.start, request.limit) else {
        return Verdict::Refused;
    };
    let wanted = if request.limit == 0 { usize::MAX } else { request.limit as usize };
    let honest = fixture.leaves[request.start as usize..].iter().take(wanted);
    assert!(page.envelopes.iter().map(|envelope| &envelope[..]).eq(honest.map(Vec::as_slice)));
    Verdict::Accepted
}

fn exchange_requests() -> Vec<Vec<u8>> {
    let open = fixture().state.exchanges().map(|view| view.id().hash());
    let ids = open.chain([Hash::new([7; 32])]).map(|id| id.as_bytes().to_vec());
    let whole = ids.map(|id| v1::WatchExchangeRequest { id: id.into(), from: 9 });
    whole.map(|request| request.encode_to_vec()).collect()
}

/// A request for an exchange, and what a client would make of the answer.
fn exchange(input: &[u8]) -> Verdict {
    // The request of a stream has the same first field.
    let watch: Option<v1::WatchExchangeRequest> = decode(input);
    let Some(request) = decode::<v1::GetExchangeRequest>(input) else { return Verdict::Refused };
    assert!(watch.is_none_or(|watch| watch.id == request.id));
    match server::find_exchange(&fixture().state, &request) {
        Ok(Some(view)) => {
            let message = server::open_exchange(&view);
            assert_eq!(message.id, request.id, "another exchange");
            let sent = decode::<v1::Exchange>(&message.encode_to_vec());
            assert_eq!(sent.as_ref(), Some(&message), "it arrives as it was");
            Verdict::Accepted
        }
        Ok(None) => Verdict::Accepted,
        Err(status) => {
            assert_eq!(Denied::from(status).reason, "BAD_REQUEST");
            Verdict::Refused
        }
    }
}

fn pages() -> Vec<Vec<u8>> {
    let some = [(0, vec![], false), (1, vec![0; 32], false), (200, vec![0xff; 32], true)];
    let requests = some.map(|(page_size, token, over)| v1::ListExchangesRequest {
        page_size,
        page_token: token.into(),
        over,
    });
    requests.iter().map(Message::encode_to_vec).collect()
}

fn page(input: &[u8]) -> Verdict {
    let Some(request) = decode::<v1::ListExchangesRequest>(input) else { return Verdict::Refused };
    let Ok(page) = server::list_exchanges(&fixture().state, &request) else {
        return Verdict::Refused;
    };
    assert!(page.exchanges.len() <= 100, "a page has its size");
    let after = |summary: &v1::ExchangeSummary| summary.id.as_ref() > request.page_token.as_ref();
    assert!(page.exchanges.iter().all(after), "nothing from before the page");
    Verdict::Accepted
}

fn artifact_requests() -> Vec<Vec<u8>> {
    let get = v1::GetArtifactRequest { digest: vec![7; 32].into() };
    let put = v1::PutArtifactRequest { chunk: vec![1, 2, 3].into() };
    vec![get.encode_to_vec(), put.encode_to_vec()]
}

/// Also the requests that have no fields: nothing may follow from what stands in them.
fn artifact(input: &[u8]) -> Verdict {
    let _ = decode::<v1::GetCheckpointRequest>(input);
    let _ = decode::<v1::WatchCheckpointsRequest>(input);
    let _ = decode::<v1::PutArtifactRequest>(input);
    let Some(get) = decode::<v1::GetArtifactRequest>(input) else { return Verdict::Refused };
    Verdict::of(Hash::from_slice(&get.digest).is_ok())
}

fn answers() -> Vec<Vec<u8>> {
    let fixture = fixture();
    let entries = [(0, 34_u64), (7, 34), (33, 34)].map(|(index, size)| {
        let proof = fixture.snapshot.inclusion(index, size).expect("the log has it");
        let inclusion = v1::Inclusion {
            index,
            proof: proof.iter().map(|hash| hash.as_bytes().to_vec().into()).collect(),
            checkpoint: fixture.snapshot.checkpoint().to_vec().into(),
        };
        let envelope = fixture.leaves[index as usize].clone().into();
        v1::GetInclusionProofResponse { inclusion: Some(inclusion), envelope }
    });
    entries.iter().map(Message::encode_to_vec).collect()
}

/// A client that trusts the log's key takes nothing but the log.
fn answer(input: &[u8]) -> Verdict {
    let _ = decode::<v1::AppendResponse>(input);
    let _ = decode::<v1::AppendStreamResponse>(input);
    let _ = decode::<v1::ListEntriesResponse>(input);
    let Some(answer) = decode::<v1::GetInclusionProofResponse>(input) else {
        return Verdict::Refused;
    };
    let Some(inclusion) = &answer.inclusion else { return Verdict::Refused };
    let Ok(checkpoint) = SignedCheckpoint::open(&inclusion.checkpoint, log_vkey()) else {
        return Verdict::Refused;
    };
    let Some(proof) = hashes(&inclusion.proof) else { return Verdict::Refused };
    let leaf = leaf_hash(&answer.envelope);
    if verify_inclusion(&leaf, inclusion.index, checkpoint.head(), &proof).is_err() {
        return Verdict::Refused;
    }
    let honest = &fixture().leaves[inclusion.index as usize];
    assert_eq!(&answer.envelope[..], honest, "another entry is proved");
    Verdict::Accepted
}

fn refusals() -> Vec<Vec<u8>> {
    let refusal = exchange::Refusal::new(exchange::Reason::BadField, "must be 32 bytes")
        .at("/predicate/nonce")
        .with("index", 7);
    let details = api::status(&refusal).details().to_vec();
    vec![api::refusal_message(&refusal).encode_to_vec(), details]
}

/// A refusal in a stream, and one in the trailers of a call.
fn refusal(input: &[u8]) -> Verdict {
    let status = tonic::Status::with_details(tonic::Code::Aborted, "no", input.to_vec().into());
    let denied = Denied::from(status);
    assert_eq!((denied.code, denied.message.as_str()), (tonic::Code::Aborted, "no"));
    let _ = denied.to_string();
    let Ok(refusal) = v1::Refusal::decode(input) else { return Verdict::Refused };
    let denied = Denied::from(refusal.clone());
    assert_eq!(denied.metadata, refusal.metadata);
    assert!(!denied.to_string().contains(char::is_control), "words of a server steer a terminal");
    Verdict::Accepted
}
