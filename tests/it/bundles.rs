//! Bundles as they are passed on and kept: keys change, and what was attested stays attested.

use client::{BundleMaker, Connection};
use exchange::bundle::{Bundle, BundleLeaf};
use exchange::predicate::{Opened, Party, Predicate, possession_message};
use exchange::{Envelope, StatementId, Subject};
use tlog::{KeyKind, MemoryNodes, SignedCheckpoint, SigningKey, prove_inclusion};

use crate::parties::{Recorded, Voice, nonce, seeded};
use crate::support::{Server, World, list, text, within};

async fn connect(server: &Server) -> Connection {
    Connection::open(server.grpc.as_str(), server.key.clone(), None).await.unwrap()
}

async fn append(server: &Server, envelope: &Envelope) -> StatementId {
    connect(server).await.append(envelope).await.unwrap();
    envelope.id()
}

/// A party that attests under its first key and then takes another.
struct Scene {
    world: World,
    server: Server,
    voice: Voice,
    second: SigningKey,
    /// Registration, intent, attestation.
    attested: [StatementId; 3],
    vector: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let first = Voice::key_of("lab-a.example");
        let second = seeded("lab-a.example", "the second key");
        let vkeys =
            [world.write_vkey("first.vkey", &first), world.write_vkey("second.vkey", &second)];
        // The operator admits names; which key is current is the log's business.
        let server = world.serve("data", &[&vkeys[0]]);
        world.write("log.vkey", format!("{}\n", server.key));
        let mut voice = Voice::new("lab-a.example", &server.key);
        let (attested, vector) = within(async {
            let registered = append(&server, &voice.register()).await;
            let announced = append(&server, &voice.intent()).await;
            let recorded = Recorded::new(&voice, announced, &nonce("lab-a.example 1"), 3);
            connect(&server).await.put_artifact(&recorded.vector).await.unwrap();
            let attested = append(&server, &voice.say(recorded.predicate())).await;
            ([registered, announced, attested], recorded.vector)
        });
        Self { world, server, voice, second, attested, vector }
    }

    /// From now on the second key speaks.
    fn rotate(&mut self) -> StatementId {
        let keys = exchange::predicate::Keys {
            key: *self.second.public().as_bytes(),
            ..self.voice.keys()
        };
        let possession = self.second.sign(&possession_message(&self.voice.origin, &keys));
        let rotation =
            self.voice.say(Predicate::Party(Box::new(Party::Rotate { keys, possession })));
        self.voice.key = self.second.clone();
        within(append(&self.server, &rotation))
    }

    fn write(&self, file: &str, maker: BundleMaker) -> usize {
        let bundle = within(async {
            let mut connection = connect(&self.server).await;
            maker.collect(&mut connection).await.unwrap()
        });
        self.world.write(file, bundle.to_bytes());
        bundle.leaves.len()
    }

    fn maker(&self) -> BundleMaker {
        BundleMaker::new(self.attested).with_artifact(self.vector.clone())
    }

    fn verify(&self, file: &str, party: &str) -> crate::support::Outcome {
        self.world.run(["verify", file, "--log-key", "log.vkey", "--party", party])
    }
}

#[test]
fn an_attestation_verifies_after_its_key_was_rotated() {
    let mut scene = Scene::new();
    assert_eq!(scene.write("before.countersign", scene.maker()), 3);
    scene.rotate();
    // Made before or after, by readers who have pinned the key of that time.
    assert_eq!(scene.write("after.countersign", scene.maker()), 3, "no key is missing");
    assert_eq!(scene.write("history.countersign", scene.maker().with_key_history()), 4);
    for file in ["before.countersign", "after.countersign", "history.countersign"] {
        scene.verify(file, "first.vkey").good();
    }
    // Whoever has pinned the new key needs the step between the two.
    for file in ["before.countersign", "after.countersign"] {
        scene.verify(file, "second.vkey").exits(1).says(&["another key than the one you pinned"]);
    }
    let verdict = scene.verify("history.countersign", "second.vkey").good();
    let check = &list(&verdict, "checks")[0];
    assert_eq!(text(check, "key_standing"), "rotated");
    assert_eq!(text(check, "key"), Voice::key_of("lab-a.example").public().to_string());
    let words =
        ["verify", "history.countersign", "--log-key", "log.vkey", "--party", "second.vkey"];
    let people = scene.world.run_plain(words);
    people.says(&["one chain of rotations with the one you pinned", "rotated later, at entry 3"]);
    // The same name under a key that was never the party's.
    scene.world.write_vkey("stranger.vkey", &seeded("lab-a.example", "a stranger"));
    scene.verify("history.countersign", "stranger.vkey").exits(1);
}

#[test]
fn what_the_new_key_says_brings_its_history_with_it() {
    let mut scene = Scene::new();
    scene.rotate();
    let intent = scene.voice.intent();
    within(append(&scene.server, &intent));
    // Nobody named the rotation, without which the second key is a stranger's.
    let maker = BundleMaker::new([scene.attested[0], intent.id()]);
    assert_eq!(scene.write("new.countersign", maker), 3);
    scene.verify("new.countersign", "second.vkey").good();
}

#[test]
fn a_revoked_key_is_refused_and_what_it_said_before_stands() {
    let mut scene = Scene::new();
    scene.rotate();
    let revoke = Party::Revoke { key: *scene.second.public().as_bytes() };
    let recovery = scene.voice.recovery.clone();
    scene.voice.key = recovery;
    let revocation = scene.voice.say(Predicate::Party(Box::new(revoke)));
    within(append(&scene.server, &revocation));
    scene.voice.key = scene.second.clone();
    let late = scene.voice.intent();
    let refused = within(async { connect(&scene.server).await.append(&late).await.unwrap_err() });
    let client::CallError::Denied(denied) = refused else { panic!("{refused}") };
    assert_eq!(denied.reason, "KEY_REVOKED");
    assert_eq!(scene.write("kept.countersign", scene.maker().with_key_history()), 5);
    scene.verify("kept.countersign", "first.vkey").good();
}

/// A count in the clear that is not the one which the same attestation commits to. An honest log
/// takes no such statement, so this one is made by hand.
#[test]
fn a_false_opening_in_a_bundle_is_evidence_against_its_party() {
    let world = World::new();
    let log = seeded("log.example/lax", "a lax log");
    world.write_vkey("log.vkey", &log);
    let mut voice = Voice::new("lab-a.example", &log.verifier(KeyKind::Ed25519));
    world.write_vkey("first.vkey", &voice.key);
    let (register, intent) = (voice.register(), voice.intent());
    let mut recorded = Recorded::new(&voice, intent.id(), &nonce("lab-a.example 1"), 4);
    let name = Subject::parse("count:scored").unwrap();
    recorded.evaluation.opened = vec![Opened { name, value: "3".to_owned(), salt: [1; 32] }];
    let attestation = voice.say(recorded.predicate());
    let envelopes = [register, intent, attestation];
    let nodes: MemoryNodes = envelopes.iter().map(Envelope::leaf_hash).collect();
    let leaves = (0..).zip(&envelopes).map(|(index, envelope)| {
        let Ok(proof) = prove_inclusion(&nodes, index, 3);
        BundleLeaf { index, envelope: envelope.as_bytes().to_vec(), proof }
    });
    let bundle = Bundle {
        origin: log.name().clone(),
        policy: format!("log {}\nquorum none\n", log.verifier(KeyKind::Ed25519)),
        checkpoint: SignedCheckpoint::sign(&log, nodes.head()).to_string(),
        leaves: leaves.collect(),
        heads: Default::default(),
        complete_from: 3,
        artifacts: Default::default(),
        openings: Vec::new(),
    };
    world.write("lie.countersign", bundle.to_bytes());
    let verify = ["verify", "lie.countersign", "--log-key", "log.vkey"];
    let outcome = world.run(verify.into_iter().chain(["--party", "first.vkey"]));
    let verdict = outcome.bad();
    outcome.says(&["opened its record", "falsely"]);
    let file = text(list(&verdict, "checks").last().unwrap(), "evidence").to_owned();
    let judged = world.run(["verify", &file, "--party", "first.vkey"]).good();
    let check = &list(&judged, "checks")[0];
    assert_eq!(text(check, "evidence"), "false-opening");
    assert_eq!(text(&list(check, "guilty")[0], "name"), "lab-a.example");
    // Who has not pinned the party's key gets the file as well, and a hint.
    world.run(verify).exits(1).says(&[file.trim_start_matches("./")]);
    world.run(["verify", &file, "--log-key", "log.vkey"]).exits(2).says(&["--party"]);
}
