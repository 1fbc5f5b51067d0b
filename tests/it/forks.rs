//! An operator that shows two histories: two servers with one key, on copies of one folder.
//!
//! That is all that cheating takes, and neither server does anything that an honest one doesn't.
//! Each party's program finds out at its next call, or at its first statement, and writes the file
//! that convicts the log's key; a third person checks it with nothing but keys.

use std::fs;

use client::{
    Conflict, Connection, NoEvidence, Session, SessionError, SystemEntropy, Vault, VaultKey,
};
use exchange::predicate::{Intent, Predicate};
use tlog::evidence::{Evidence, Kind, KnownKeys, Role};
use tlog::{Hash, SigningKey, TreeHead};
use zeroize::Zeroizing;

use crate::parties::{Voice, nonce};
use crate::support::{Outcome, Server, World, copy_folder, files, get, list, text, within};
use crate::witness;

/// A party with a vault, as `keygen` made it.
pub(crate) struct Lab {
    key: SigningKey,
    vault: Vault,
}

impl Lab {
    fn new(world: &World, stem: &str) -> Self {
        world.keygen(stem);
        let key = client::keys::read_signing(&world.path(format!("{stem}.key"))).unwrap();
        let secret = world.read(&format!("{stem}.vault.key"));
        let secret = VaultKey::File(Zeroizing::new(secret.try_into().unwrap()));
        let vault = Vault::open(&world.path(format!("{stem}.vault")), secret).unwrap();
        Self { key, vault }
    }

    async fn session<'a>(&'a self, server: &Server) -> Session<'a, SystemEntropy> {
        self.try_session(server).await.unwrap()
    }

    async fn try_session<'a>(
        &'a self,
        server: &Server,
    ) -> Result<Session<'a, SystemEntropy>, SessionError> {
        let log = server.key.clone();
        Session::open(server.grpc.as_str(), log, &self.key, &self.vault, SystemEntropy).await
    }

    /// Announces this many runs.
    pub(crate) async fn speak(&self, server: &Server, times: u64) {
        let mut session = self.session(server).await;
        session.register().await.unwrap();
        for _ in 0..times {
            let run = session.next_run().unwrap();
            let nonce = nonce(&format!("{} {run} on {}", self.key.name(), server.grpc));
            session.say(Predicate::Intent(Intent { run, nonce })).await.unwrap();
        }
    }
}

const PARTIES: [&str; 3] = ["lab-a.vkey", "lab-b.vkey", "lab-c.vkey"];

/// Three labs, and one log behind two servers.
pub(crate) struct Fork {
    pub(crate) world: World,
    pub(crate) labs: [Lab; 3],
    pub(crate) servers: [Server; 2],
}

impl Fork {
    /// A history of 3 + `common` entries in which each lab is registered, then split.
    pub(crate) fn new(common: u64) -> Self {
        let world = World::new();
        let labs = ["lab-a", "lab-b", "lab-c"].map(|stem| Lab::new(&world, stem));
        let server = world.serve("data", &PARTIES);
        within(async {
            labs[0].speak(&server, common).await;
            labs[1].speak(&server, 0).await;
            labs[2].speak(&server, 0).await;
        });
        world.write("log.vkey", format!("{}\n", server.key));
        server.stop();
        copy_folder(&world.path("data"), &world.path("other"));
        let _ = fs::remove_file(world.path("other/lock"));
        let servers = [world.serve("data", &PARTIES), world.serve("other", &PARTIES)];
        assert_eq!(servers[0].key, servers[1].key, "one key");
        Self { world, labs, servers }
    }

    /// Runs a command that talks to a server, as lab A.
    fn commit(&self, server: &Server) -> Outcome {
        let log = crate::support::evaldata("inspect/arithmetic_match");
        let log = files(&log).into_iter().find(|f| f.extension().is_some_and(|e| e == "eval"));
        let log = log.unwrap().display().to_string();
        self.world.run([
            "commit",
            &log,
            "--key",
            "lab-a.key",
            "--server",
            &server.grpc,
            "--log-key",
            "log.vkey",
            "--no-agreement",
            "--out",
            "run.countersign",
        ])
    }

    /// Files with this ending in the folder where commands run.
    fn written(&self, ending: &str) -> Vec<String> {
        let names = fs::read_dir(self.world.path("")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
        names.sort();
        names
    }

    /// What a third person says of an evidence file, with the log's key and nothing else.
    #[track_caller]
    pub(crate) fn judge(&self, file: &str) -> Kind {
        let verdict = self.world.run(["verify", file, "--log-key", "log.vkey"]).good();
        let check = &list(&verdict, "checks")[0];
        let [guilty] = list(check, "guilty") else { panic!("{}", check.to_text()) };
        assert_eq!(text(guilty, "key"), self.servers[0].key.to_string());
        let kind = Evidence::parse(&self.world.read(file)).unwrap().kind();
        assert_eq!(text(check, "evidence"), kind.word());
        kind
    }
}

/// The heads of the two histories: sizes (held, shown), and the evidence that comes of it.
#[test]
fn a_session_on_the_other_history_makes_evidence() {
    for (common, held, shown, kind) in [
        (1, 2, 2, Kind::TwoHeads),
        // Sizes 8 and 12: of powers of two, consistency proofs leave out the first node.
        (1, 4, 8, Kind::PrefixConflict),
        (0, 2, 9, Kind::PrefixConflict),
        (3, 2, 3, Kind::PrefixConflict),
    ] {
        let fork = Fork::new(common);
        let [ours, theirs] = &fork.servers;
        within(async {
            fork.labs[0].speak(ours, held).await;
            fork.labs[1].speak(theirs, shown).await;
            let Err(error) = fork.labs[0].try_session(theirs).await.map(|_| ()) else {
                panic!("the other history was taken")
            };
            let conflict = conflict(error);
            assert_eq!(conflict.held.head().size, 3 + common + held);
            assert_eq!(conflict.shown.head().size, 3 + common + shown);
            let evidence = conflict.evidence.unwrap();
            assert_eq!(evidence.kind(), kind);
            fork.world.write("fork.evidence", evidence.to_bytes());
        });
        assert_eq!(fork.judge("fork.evidence"), kind);
    }
}

#[test]
fn a_command_on_the_other_history_writes_the_evidence() {
    let fork = Fork::new(1);
    let [ours, theirs] = &fork.servers;
    within(async {
        fork.labs[0].speak(ours, 1).await;
        fork.labs[1].speak(theirs, 3).await;
    });
    let outcome = fork.commit(theirs);
    let said = outcome.bad();
    let [file] = fork.written(".evidence").try_into().unwrap();
    assert!(text(&said, "evidence").ends_with(&file), "{}", said.to_text());
    outcome.says(&["does not extend the head", "The evidence is in", "countersign verify"]);
    assert_eq!(fork.judge(&file), Kind::PrefixConflict);
    // Again, and it is the same file.
    fork.commit(theirs).exits(1);
    assert_eq!(fork.written(".evidence"), std::slice::from_ref(&file));
    // It convicts nobody whom the reader doesn't know, and proves nothing if a byte is changed.
    let stranger = fork.world.run(["verify", &file, "--party", "lab-b.vkey"]);
    stranger.exits(2).says(&["have not pinned", "--log-key"]);
    let mut damaged = fork.world.read(&file);
    let last = damaged.len() - 10;
    damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
    fork.world.write("damaged.evidence", damaged);
    let verdict = fork.world.run(["verify", "damaged.evidence", "--log-key", "log.vkey"]);
    verdict.exits(1).says(&["against nobody"]);
    // The lab goes on with the history that it knows.
    fork.commit(ours).good();
}

#[test]
fn heads_whose_larger_one_the_server_does_not_know_are_kept_until_a_copy_proves_them() {
    let fork = Fork::new(1);
    let [ours, theirs] = &fork.servers;
    within(async {
        fork.labs[0].speak(ours, 4).await;
        fork.labs[1].speak(theirs, 2).await;
        let Err(error) = fork.labs[0].try_session(theirs).await.map(|_| ()) else { panic!() };
        assert_eq!(conflict(error).evidence.unwrap_err(), NoEvidence::OtherTree { size: 8 });
    });
    let outcome = fork.commit(theirs);
    outcome.exits(1).says(&["No evidence yet", "Both heads are kept"]);
    let heads = fork.written(".checkpoint");
    assert_eq!((heads.len(), fork.written(".evidence").len()), (2, 0));
    // A copy of the history that lab A saw proves the contradiction, offline.
    let keep = ["verify", &ours.http, "--log-key", "log.vkey", "--keep", "copy"];
    fork.world.run(keep).good();
    let checkpoints = [heads[0].as_str(), heads[1].as_str()];
    let compare = ["verify", checkpoints[0], checkpoints[1], "copy", "--log-key", "log.vkey"];
    let outcome = fork.world.run(compare);
    outcome.exits(1).says(&["two histories", "The evidence is in"]);
    let [file] = fork.written(".evidence").try_into().unwrap();
    assert_eq!(fork.judge(&file), Kind::PrefixConflict);
}

/// The parties gossip through the log itself: a statement says which head its signer has seen, and
/// the other history refuses it.
#[test]
fn the_first_statement_on_the_other_history_is_refused_for_what_its_signer_has_seen() {
    let world = World::new();
    let key = Voice::key_of("lab-a.example");
    let vkey = world.write_vkey("lab-a.vkey", &key);
    let server = world.serve("data", &[&vkey]);
    let mut voice = Voice::new("lab-a.example", &server.key);
    within(async {
        let mut log = server.log().await;
        let first = [voice.register(), voice.intent()];
        for envelope in &first {
            append(&mut log, envelope).await.unwrap();
        }
    });
    server.stop();
    copy_folder(&world.path("data"), &world.path("other"));
    let _ = fs::remove_file(world.path("other/lock"));
    let (ours, theirs) = (world.serve("data", &[&vkey]), world.serve("other", &[&vkey]));
    within(async {
        // One side takes a statement that the other never sees.
        let mut log = ours.log().await;
        let on_ours = voice.draft(Predicate::Intent(voice.next_intent()));
        append(&mut log, &on_ours).await.unwrap();
        let head = head_of(&ours).await;
        // The same party's next statement on the other side has seen the first side's head.
        let mut other = theirs.log().await;
        let stranger = voice.draft_with(
            |common| common.seen = head,
            Predicate::Intent(Intent { run: 2, nonce: nonce("another") }),
        );
        let refused = append(&mut other, &stranger).await.unwrap_err();
        assert_eq!(api::Denied::from(refused).reason, "SEEN_NOT_PREFIX");
        // Also once the other side has grown beyond that size.
        let filler = voice.draft_with(
            |common| common.seen = TreeHead::EMPTY,
            Predicate::Intent(Intent { run: 2, nonce: nonce("filler") }),
        );
        append(&mut other, &filler).await.unwrap();
        let late = voice.draft_with(
            |common| {
                common.seen = head;
                common.number += 1;
                common.previous = Some(filler.id());
            },
            Predicate::Intent(Intent { run: 3, nonce: nonce("late") }),
        );
        let refused = append(&mut other, &late).await.unwrap_err();
        assert_eq!(api::Denied::from(refused).reason, "SEEN_NOT_PREFIX");
    });
}

async fn append(
    log: &mut api::v1::log_service_client::LogServiceClient<tonic::transport::Channel>,
    envelope: &exchange::Envelope,
) -> Result<api::v1::AppendResponse, tonic::Status> {
    let request = api::v1::AppendRequest {
        envelope: bytes::Bytes::copy_from_slice(envelope.as_bytes()),
        wait_for: api::v1::WaitFor::Committed.into(),
    };
    Ok(log.append(request).await?.into_inner())
}

async fn head_of(server: &Server) -> TreeHead {
    let connection = Connection::open(server.grpc.as_str(), server.key.clone(), None).await;
    *connection.unwrap().trusted().head()
}

/// The client looks again when it is refused for what it has seen or said, and the two heads
/// convict.
#[test]
fn a_client_whose_server_changes_sides_before_it_sends_makes_evidence() {
    // What A holds of our side was said by C, so that its own chain fits both; or by itself.
    for speaker in [2, 0] {
        let Fork { world, labs, servers: [ours, theirs] } = Fork::new(1);
        let address = Server::address(&ours.grpc);
        let log = ours.key.clone();
        let evidence = within(async {
            labs[1].speak(&theirs, 3).await;
            labs[speaker].speak(&ours, 1).await;
            let mut session = labs[0].session(&ours).await;
            let run = session.next_run().unwrap();
            let intent = Intent { run, nonce: nonce("between the sides") };
            let prepared = session.prepare(Predicate::Intent(intent)).await.unwrap();
            theirs.stop();
            ours.stop();
            let changed = world.serve_at(address, "other", &PARTIES);
            let Err(error) = session.send(prepared).await else { panic!("it was taken") };
            drop(changed);
            conflict(error).evidence.unwrap()
        });
        assert_eq!(evidence.kind(), Kind::PrefixConflict);
        let known = KnownKeys::default().with(Role::Log, log);
        assert_eq!(evidence.judge(&known).unwrap().guilty().count(), 1);
    }
}

#[track_caller]
fn conflict(error: SessionError) -> Conflict {
    let SessionError::Call(error) = error else { panic!("{error}") };
    error.conflict().unwrap_or_else(|| panic!("{error}")).clone()
}

#[test]
fn a_bundle_of_one_history_convicts_a_server_of_the_other() {
    let fork = Fork::new(1);
    let [ours, theirs] = &fork.servers;
    fork.commit(ours).good();
    within(async { fork.labs[1].speak(theirs, 3).await });
    let arguments = ["verify", "run.countersign", "--log-key", "log.vkey", "--server"];
    let arguments = arguments.into_iter().chain([theirs.grpc.as_str()]);
    let outcome = fork.world.run(arguments);
    outcome.exits(1).says(&["is not in its history"]);
    let [file] = fork.written(".evidence").try_into().unwrap();
    assert_eq!(fork.judge(&file), Kind::PrefixConflict);
}

/// A party whose log splits tells two stories under one number, if it wants to.
#[test]
fn a_party_that_uses_a_number_twice_is_convicted_by_two_bundles() {
    let world = World::new();
    let key = Voice::key_of("lab-a.example");
    let vkey = world.write_vkey("lab-a.vkey", &key);
    let server = world.serve("data", &[&vkey]);
    world.write("log.vkey", format!("{}\n", server.key));
    let mut voice = Voice::new("lab-a.example", &server.key);
    let register = voice.register();
    within(async { append(&mut server.log().await, &register).await.unwrap() });
    server.stop();
    copy_folder(&world.path("data"), &world.path("other"));
    let _ = fs::remove_file(world.path("other/lock"));
    for (data, story) in [("data", "one"), ("other", "two")] {
        let server = world.serve(data, &[&vkey]);
        let intent = voice.draft(Predicate::Intent(Intent { run: 1, nonce: nonce(story) }));
        within(async {
            append(&mut server.log().await, &intent).await.unwrap();
            let connection = Connection::open(server.grpc.as_str(), server.key.clone(), None);
            let bundle = client::BundleMaker::new([register.id(), intent.id()])
                .collect(&mut connection.await.unwrap())
                .await
                .unwrap();
            world.write(&format!("{story}.countersign"), bundle.to_bytes());
        });
        server.stop();
    }
    let both = ["verify", "one.countersign", "two.countersign", "--log-key", "log.vkey"];
    let party = ["--party", "lab-a.vkey", "--evidence", "found"];
    fs::create_dir(world.path("found")).unwrap();
    let outcome = world.run(both.into_iter().chain(party));
    outcome.exits(1).says(&["two histories", "two statements under its number 2"]);
    // The log and the party are both to blame, each by a file of its own.
    let mut accused = Vec::new();
    for file in files(&world.path("found")) {
        let file = file.display().to_string();
        let verdict =
            world.run(["verify", &file, "--log-key", "log.vkey", "--party", "lab-a.vkey"]);
        let verdict = verdict.good();
        let guilty = &list(&list(&verdict, "checks")[0], "guilty")[0];
        accused.push(text(guilty, "role").to_owned());
    }
    accused.sort();
    // Two heads of one size, two entries at one index, two statements under one number.
    assert_eq!(accused, ["log", "log", "party"]);
}

/// A witness that is started from an old copy of its store, behind a log that forks: it cosigns
/// both sides, and is named beside the log.
#[test]
fn a_witness_that_was_put_back_is_convicted_with_the_log() {
    let world = World::new();
    let log = witness::log_key("log.example/one");
    world.write_vkey("log.vkey", &log);
    let process = world.witness("w", &["log.vkey"]);
    let vkey = text(&process.process.said, "vkey").to_owned();
    process.process.stop();
    for old in ["old", "older"] {
        copy_folder(&world.path("w"), &world.path(old));
    }
    let published = format!("/{}/checkpoint", Hash::of(&[b"log.example/one"]));
    // The two sides of one size, and a smaller head of the first side from the old store.
    for (store, branch, size, file) in [
        ("w", "a", 5, "a.checkpoint"),
        ("old", "b", 5, "b.checkpoint"),
        ("older", "a", 3, "small.checkpoint"),
    ] {
        let witness = world.witness(store, &["log.vkey"]);
        let leaves = witness::leaves(branch, size);
        assert_eq!(witness.add(&witness::request(&log, &leaves, 0)), 200);
        world.write(file, get(witness.http, &published).body);
        witness.process.stop();
    }
    world.write("w.vkey", format!("{vkey}\n"));
    world.run(["policy", "new", "--log", "log.vkey", "--witness", "w.vkey"]).good();
    let both = ["verify", "a.checkpoint", "b.checkpoint", "--policy", "trust.policy"];
    let found = world.run(both).bad();
    let file = text(list(&found, "checks").last().unwrap(), "evidence").to_owned();
    let verdict = world.run(["verify", &file, "--policy", "trust.policy"]).good();
    let check = &list(&verdict, "checks")[0];
    assert_eq!(text(check, "evidence"), "witness-double-sign");
    let roles: Vec<&str> = list(check, "guilty").iter().map(|key| text(key, "role")).collect();
    assert_eq!(roles, ["log", "witness"]);
    // A smaller head cosigned within a minute of the larger one convicts nobody: clocks differ.
    let within_slack = ["verify", "a.checkpoint", "small.checkpoint", "--policy", "trust.policy"];
    world.run(within_slack).good();
}
