//! Whose statements are stamped, and with which time.

use api::v1;
use api::v1::witness_service_client::WitnessServiceClient;
use exchange::predicate::{Intent, Keys, Party, Predicate, SealingKey, stamp_message};
use exchange::{Common, Envelope, SignedStatement, Statement};
use tlog::{
    KeyKind, KeyName, MemoryNodes, PublicKey, Receipt, SignedCheckpoint, SigningKey, TreeHead,
    leaf_hash, prove_inclusion,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use witness::{Settings, Signers};

use crate::support::{Hands, Log, Running, START, key, limits, logs, open, own, settings};

const ORIGIN: &str = "log.example/one";

fn statement(signer: &SigningKey, number: u64, origin: &str, predicate: Predicate) -> Envelope {
    let common = Common {
        origin: KeyName::parse(origin).unwrap(),
        exchange: None,
        signer: signer.name().clone(),
        number,
        previous: None,
        seen: TreeHead::EMPTY,
    };
    let statement = Statement::new(common, predicate).unwrap();
    Envelope::sign(&statement.to_payload(), signer).unwrap()
}

fn registration(signer: &SigningKey) -> Envelope {
    let keys = Keys {
        name: signer.name().clone(),
        key: *signer.public().as_bytes(),
        sealing: SealingKey::X25519([9; 32]),
        recovery: *key("recovery", 0x77).public().as_bytes(),
    };
    statement(signer, 1, ORIGIN, Predicate::Party(Box::new(Party::Register { keys })))
}

fn intent(signer: &SigningKey, number: u64) -> Envelope {
    statement(
        signer,
        number,
        ORIGIN,
        Predicate::Intent(Intent { run: 1, nonce: [number as u8; 32] }),
    )
}

/// The receipt of an entry in a log with some others.
fn receipt(log: &SigningKey, entry: &Envelope) -> Vec<u8> {
    let leaves = [b"x".as_slice(), entry.as_bytes(), b"y"].map(leaf_hash);
    let nodes: MemoryNodes = leaves.into_iter().collect();
    let Ok(proof) = prove_inclusion(&nodes, 1, 3);
    let checkpoint = SignedCheckpoint::sign(log, nodes.head());
    Receipt::new(1, proof, checkpoint.as_bytes()).unwrap().to_bytes()
}

struct Scene {
    running: Running,
    hands: Hands,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let known = key("known.example", 0x41).verifier(KeyKind::Ed25519);
        let settings =
            Settings { signers: Signers::new([known]), ..settings(logs([&Log::new(ORIGIN)])) };
        let running = Running::with(open(folder.path()), folder.path(), settings, limits(), &hands);
        Self { running, hands, _folder: folder }
    }

    fn stamp(
        &self,
        envelope: &[u8],
        registration: Option<(&Envelope, Vec<u8>)>,
    ) -> Result<v1::StampResponse, Status> {
        let registration = registration.map(|(envelope, receipt)| v1::Registration {
            envelope: envelope.as_bytes().to_vec().into(),
            receipt: receipt.into(),
        });
        let request = v1::StampRequest { envelope: envelope.to_vec().into(), registration };
        let url = format!("http://{}", self.running.grpc);
        self.running.runtime.block_on(async {
            let mut client = WitnessServiceClient::connect(url).await.unwrap();
            client.stamp(request).await.map(tonic::Response::into_inner)
        })
    }
}

/// Built from its parts by hand, as `docs/protocol.md` has it.
fn message(id: &[u8; 32], time: u64) -> Vec<u8> {
    let mut message = b"countersign.v1/stamp\0".to_vec();
    message.extend_from_slice(&(ORIGIN.len() as u16).to_be_bytes());
    message.extend_from_slice(ORIGIN.as_bytes());
    message.extend_from_slice(id);
    message.extend_from_slice(&time.to_be_bytes());
    message
}

fn check(stamp: &v1::StampResponse, envelope: &Envelope, time: u64) {
    assert_eq!((stamp.time, stamp.keyid.as_str()), (time, own().verifier.keyid().as_str()));
    let id = *envelope.id().as_bytes();
    let signature: [u8; 64] = stamp.signature.as_ref().try_into().unwrap();
    let public: &PublicKey = &own().key.public();
    public.verify(&message(&id, time), &signature).unwrap();
    let origin = KeyName::parse(ORIGIN).unwrap();
    assert_eq!(stamp_message(&origin, &envelope.id(), time), message(&id, time));
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[test]
fn statements_of_signers_that_the_operator_named_are_stamped() {
    let scene = Scene::new();
    let known = key("known.example", 0x41);
    let envelope = intent(&known, 1);
    check(&scene.stamp(envelope.as_bytes(), None).unwrap(), &envelope, START);
    scene.hands.set(START + 5);
    check(&scene.stamp(envelope.as_bytes(), None).unwrap(), &envelope, START + 5);
    scene.running.stop();
}

#[test]
fn whoever_shows_that_its_key_is_in_the_log_is_a_signer() {
    let scene = Scene::new();
    let (log, stranger) = (key(ORIGIN, 0x11), key("stranger.example", 0x42));
    let (registered, envelope) = (registration(&stranger), intent(&stranger, 2));
    let refused = scene.stamp(envelope.as_bytes(), None).unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused)),
        (Code::PermissionDenied, "UNKNOWN_SIGNER".into())
    );
    let proof = Some((&registered, receipt(&log, &registered)));
    check(&scene.stamp(envelope.as_bytes(), proof).unwrap(), &envelope, START);

    let other = registration(&key("other.example", 0x43));
    for (statement, receipt, why) in [
        (&registered, receipt(&key(ORIGIN, 0x12), &registered), "a checkpoint of another key"),
        (&registered, receipt(&log, &other), "a receipt of another entry"),
        (&other, receipt(&log, &other), "the registration of another"),
        (&envelope, receipt(&log, &envelope), "no registration"),
        (&registered, b"c2sp.org/tlog-proof@v1\n".to_vec(), "half a receipt"),
    ] {
        let refused = scene.stamp(envelope.as_bytes(), Some((statement, receipt))).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{why}: {refused}");
    }
    // A statement by another key under the registered name.
    let forged = intent(&key("stranger.example", 0x44), 2);
    let proof = Some((&registered, receipt(&log, &registered)));
    let refused = scene.stamp(forged.as_bytes(), proof).unwrap_err();
    assert_eq!(reason(&refused), "BAD_SIGNATURE");
    scene.running.stop();
}

#[test]
fn nothing_is_stamped_that_is_no_statement_of_a_known_log() {
    let scene = Scene::new();
    let known = key("known.example", 0x41);
    let envelope = intent(&known, 1);
    let spaced = String::from_utf8(envelope.as_bytes().to_vec()).unwrap().replace(",", ", ");
    let refused = scene.stamp(spaced.as_bytes(), None).unwrap_err();
    assert_eq!(reason(&refused), "ENVELOPE_NOT_CANONICAL");
    let mut bytes = envelope.as_bytes().to_vec();
    let place = bytes.len() - 20;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    assert!(scene.stamp(&bytes, None).is_err());
    assert!(scene.stamp(&[b'{'; 70_000], None).is_err());
    let elsewhere = Predicate::Intent(Intent { run: 1, nonce: [1; 32] });
    let elsewhere = statement(&known, 1, "log.example/other", elsewhere);
    let refused = scene.stamp(elsewhere.as_bytes(), None).unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "UNKNOWN_LOG".into()));
    assert!(SignedStatement::parse(elsewhere.as_bytes()).is_ok());
    scene.running.stop();
}

#[test]
fn never_backdates_not_even_after_a_restart() {
    let scene = Scene::new();
    let known = key("known.example", 0x41);
    let envelope = intent(&known, 1);
    scene.hands.set(START + 1_000);
    check(&scene.stamp(envelope.as_bytes(), None).unwrap(), &envelope, START + 1_000);
    scene.hands.set(START + 999);
    let refused = scene.stamp(envelope.as_bytes(), None).unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "CLOCK_BEHIND".into()));
    let Scene { running, hands, _folder: folder } = scene;
    running.stop();
    let log = Log::new(ORIGIN).grown(3, "a");
    let running = Running::start(folder.path(), logs([&log]), &hands);
    assert_eq!(running.add(&log.request(0, 3)).status, 503, "nor cosigns before a stamp's time");
    hands.set(START + 1_000);
    assert_eq!(running.add(&log.request(0, 3)).status, 200);
    running.stop();
}
