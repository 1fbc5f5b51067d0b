//! The requests of `tests/vectors/tlog.json` through the real listeners, over HTTP and gRPC.

use api::v1;
use api::v1::witness_service_client::WitnessServiceClient;
use json::{Rules, Value};
use tlog::{AddCheckpoint, Hash, KeyKind, SignedCheckpoint, SigningKey, TreeHead, leaf_hash};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::support::{Hands, Running, key, own};

const NAME: &str = "evallog.example/ab";

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/tlog.json");
    json::parse(&std::fs::read(path).unwrap(), Rules::LOG).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no text {name}"))
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(|v| v.as_number()?.as_u64()).unwrap()
}

fn log_key() -> SigningKey {
    key(NAME, 0x11)
}

/// The head of the example's log after its first entries.
fn head(size: usize) -> TreeHead {
    let leaves = ["a", "bb", "ccc", "dddd", "eeeee"][..size].iter();
    leaves.map(|leaf| leaf_hash(leaf.as_bytes())).collect::<tlog::CompactRange>().head()
}

/// A witness that has cosigned the example's log at this size.
fn witness_at(size: u64, folder: &std::path::Path, hands: &Hands) -> Running {
    let logs = witness::Logs::new([log_key().verifier(KeyKind::Ed25519)]).unwrap();
    let running = Running::start(folder, logs, hands);
    if size > 0 {
        let checkpoint = SignedCheckpoint::sign(&log_key(), head(size as usize));
        let first = AddCheckpoint::new(0, Vec::new(), &checkpoint);
        assert_eq!(running.add(&first).status, 200);
    }
    running
}

#[test]
fn every_request_is_answered_as_the_specification_has_it() {
    let vectors = vectors();
    let requests = vectors.get("add_checkpoint").and_then(Value::as_array).unwrap();
    assert_eq!(requests.len(), 25);
    for vector in requests {
        let why = text(vector, "why");
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let running = witness_at(number(vector, "known_size"), folder.path(), &hands);
        let body = text(vector, "body");
        let answer = running.post(body.as_bytes());
        assert_eq!(u64::from(answer.status), number(vector, "status"), "{why}: {answer:?}");
        match answer.status {
            200 => {
                let (_, note) = body.split_once("\n\n").unwrap();
                let signed =
                    SignedCheckpoint::open(note.as_bytes(), &log_key().verifier(KeyKind::Ed25519));
                let lines = tlog::NoteSignature::parse_lines(answer.body.as_bytes()).unwrap();
                let cosigned =
                    signed.unwrap().with_cosignature(lines[0].clone(), &own().verifier).unwrap();
                let place = Hash::of(&[NAME.as_bytes()]);
                let published = running.get(&format!("/{place}/checkpoint"));
                assert_eq!(published.body, cosigned.to_string(), "{why}");
            }
            409 => {
                assert_eq!(answer.header("content-type"), Some(text(vector, "content_type")));
                assert_eq!(answer.body, text(vector, "response"));
            }
            _ => assert!(answer.body.ends_with('\n') && answer.body.len() < 300, "{why}"),
        }
        running.stop();
    }
}

#[test]
fn cosignature_of_the_example_is_made_byte_for_byte() {
    let vectors = vectors();
    let example = vectors.get("example").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    hands.set(number(example, "cosignature_time"));
    let running = witness_at(0, folder.path(), &hands);
    let request = format!("old 0\n\n{}", text(example, "checkpoint"));
    assert_eq!(running.post(request.as_bytes()).body, text(example, "cosignature_line"));
    let published = running.get(&format!("/{}", text(example, "witness_monitoring")));
    assert_eq!(
        published.body,
        text(example, "cosigned_checkpoint").replace(
            // The example's note has a line of ML-DSA-44 by another cosigner, which this witness
            // never saw.
            text(example, "mldsa_line"),
            "",
        )
    );
    assert_eq!(running.get("/0000/checkpoint").status, 404);
    running.stop();
}

#[test]
fn grpc_answers_with_the_same_decisions() {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let running = witness_at(3, folder.path(), &hands);
    let at = |size| SignedCheckpoint::sign(&log_key(), head(size));
    running.runtime.block_on(async {
        let url = format!("http://{}", running.grpc);
        let mut client = WitnessServiceClient::connect(url).await.unwrap();
        let ask =
            |old_size, proof: &[Hash], checkpoint: &SignedCheckpoint| v1::AddCheckpointRequest {
                old_size,
                proof: proof.iter().map(|h| h.as_bytes().to_vec().into()).collect(),
                checkpoint: checkpoint.as_bytes().to_vec().into(),
            };
        let refused = client.add_checkpoint(ask(0, &[], &at(5))).await.unwrap_err();
        assert_eq!(refused.code(), Code::Aborted);
        let info = refused.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.metadata["size"].as_str()), ("OTHER_SIZE", "3"));

        let refused = client.add_checkpoint(ask(3, &[], &at(5))).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "INCONSISTENT");
        let refused = client.add_checkpoint(ask(9, &[], &at(5))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let refused = client.add_checkpoint(ask(1 << 63, &[], &at(5))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let mut short = ask(3, &[], &at(5));
        short.proof.push(vec![1; 31].into());
        let refused = client.add_checkpoint(short).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let other = SignedCheckpoint::sign(&key("other.example", 0x11), head(5));
        let refused = client.add_checkpoint(ask(0, &[], &other)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        let forged = SignedCheckpoint::sign(&key(NAME, 0x12), head(5));
        let refused = client.add_checkpoint(ask(3, &[], &forged)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);

        let answer = client.add_checkpoint(ask(3, &[], &at(3))).await.unwrap().into_inner();
        let lines = tlog::NoteSignature::parse_lines(&answer.cosignatures).unwrap();
        at(3).with_cosignature(lines[0].clone(), &own().verifier).unwrap();

        let all = v1::GetWitnessStateRequest::default();
        let state = client.get_witness_state(all).await.unwrap().into_inner();
        assert_eq!(state.vkey, own().verifier.to_string());
        let [only] = &state.logs[..] else { panic!("one log") };
        assert_eq!((only.origin.as_str(), only.size), (NAME, 3));
        assert!(only.checkpoint.is_empty());
        let one = v1::GetWitnessStateRequest { origin: NAME.to_owned() };
        let state = client.get_witness_state(one).await.unwrap().into_inner();
        let note = std::str::from_utf8(&state.logs[0].checkpoint).unwrap().to_owned();
        assert!(note.ends_with(std::str::from_utf8(&answer.cosignatures).unwrap()), "{note}");
        let none = v1::GetWitnessStateRequest { origin: "none.example".to_owned() };
        assert_eq!(client.get_witness_state(none).await.unwrap_err().code(), Code::NotFound);
    });
    running.stop();
}
