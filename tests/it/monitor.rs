//! `countersign monitor` as whoever runs one meets it: logs that are honest, logs that lie, power
//! cuts, and what two monitors tell each other.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use json::Value;
use tlog::{Hash, KeyKind, SignedCheckpoint, SigningKey, TreeHead};

use crate::forks::Fork;
use crate::metrics::value;
use crate::oracle;
use crate::parties::{Recorded, Voice, seeded};
use crate::service::{append, entries};
use crate::support::{
    Outcome, Process, Random, Server, World, copy_folder, eventually, files, finish, get, list,
    number, text, within,
};

impl World {
    /// One pass over a log that is served, or over a copy of one.
    fn monitor(&self, data: &str, log: &str, more: &[&str]) -> Outcome {
        let fixed = ["monitor", log, "--data", data, "--log-key", "log.vkey", "--once"];
        self.run([&fixed[..], more].concat())
    }

    /// A monitor that goes on.
    fn following(&self, data: &str, log: &str, more: &[&str]) -> Process {
        let mut command = self.command(["monitor", log, "--data", data]);
        command.args(["--log-key", "log.vkey", "--interval", "1s", "--http", "127.0.0.1:0"]);
        command.args(more);
        Process::start(command, &self.path(format!("{data}.stderr"))).unwrap()
    }
}

async fn connection(server: &Server) -> client::Connection {
    client::Connection::open(server.grpc.as_str(), server.key.clone(), None).await.unwrap()
}

fn codes(pass: &Value) -> Vec<&str> {
    list(pass, "findings").iter().map(|finding| text(finding, "code")).collect()
}

/// A log with a party's record in it, served.
struct Scene {
    world: World,
    server: Server,
    voice: Voice,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        world.write_vkey("a.vkey", &Voice::key_of("a.example"));
        let server = world.serve("data", &["a.vkey"]);
        world.write("log.vkey", format!("{}\n", server.key));
        let mut voice = Voice::new("a.example", &server.key);
        within(async {
            let mut log = server.log().await;
            append(&mut log, &voice.register()).await;
            let announced = voice.next_intent();
            let intent = voice.intent();
            append(&mut log, &intent).await;
            let recorded = Recorded::new(&voice, intent.id(), &announced.nonce, 7);
            let mut client = connection(&server).await;
            client.put_artifact(&recorded.vector).await.unwrap();
            append(&mut log, &voice.say(recorded.predicate())).await;
        });
        Self { world, server, voice }
    }

    fn speak(&mut self, times: usize) {
        within(async {
            let mut log = self.server.log().await;
            for _ in 0..times {
                append(&mut log, &self.voice.intent()).await;
            }
        });
    }

    fn once(&self) -> Outcome {
        self.world.monitor("m", &self.server.http, &["--server", &self.server.grpc])
    }
}

#[test]
fn an_honest_log_is_verified_once_and_then_what_is_new() {
    let mut scene = Scene::new();
    let first = scene.once().good();
    assert_eq!((number(&first, "entries"), number(&first, "size")), (3, 3));
    assert_eq!(number(&first, "unread_artifacts"), 0);
    scene.speak(5);
    let second = scene.once().good();
    assert_eq!((number(&second, "entries"), number(&second, "size")), (5, 8));
    assert_eq!(number(&scene.once().good(), "entries"), 0);
    let words = ["monitor", &scene.server.http, "--data", "m", "--log-key", "log.vkey", "--once"];
    let plain = scene.world.run_plain([&words[..], &["--server", &scene.server.grpc]].concat());
    plain.exits(0).says(&["all 8 entries follow"]);
    // Where artifacts are to come from must be said, or that they are not looked at.
    scene.world.run(words).exits(2).says(&["where do the artifacts come from?", "--server"]);
    let without = scene.world.monitor("w", &scene.server.http, &["--no-artifacts"]).good();
    assert_eq!(number(&without, "unread_artifacts"), 1);
    // A server that is gone says nothing about the log.
    let Scene { world, server, .. } = scene;
    let address = server.http.clone();
    server.stop();
    world.monitor("w", &address, &["--no-artifacts"]).exits(2).says(&["try again later"]);
}

/// The one artifact of the scene, in a folder.
fn artifact(folder: &Path) -> std::path::PathBuf {
    let [one] = files(&folder.join("artifacts")).try_into().unwrap();
    one
}

#[test]
fn artifacts_that_are_gone_changed_or_do_not_hold_are_found() {
    let scene = Scene::new();
    let Scene { world, server, mut voice } = scene;
    let (http, grpc) = (server.http.clone(), server.grpc.clone());
    // Served by a server whose disk has lost it.
    let path = artifact(&world.path("data"));
    let good = fs::read(&path).unwrap();
    let mut bytes = good.clone();
    bytes[70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let pass = world.monitor("changed", &http, &["--server", &grpc]).bad();
    assert_eq!(codes(&pass), ["artifact"], "{}", pass.to_text());
    fs::remove_file(&path).unwrap();
    let pass = world.monitor("gone", &http, &["--server", &grpc]).bad();
    assert_eq!(codes(&pass), ["artifact"]);
    assert_eq!(number(&list(&pass, "findings")[0], "index"), 2);
    // It stays so, whatever the server has later: the next pass does not look there again.
    fs::write(&path, &good).unwrap();
    let pass = world.monitor("gone", &http, &["--server", &grpc]).bad();
    assert_eq!((codes(&pass), number(&pass, "standing")), (vec![], 1));
    world.monitor("new", &http, &["--server", &grpc]).good();
    let mut leaves = within(async { entries(&mut server.log().await, 0).await });
    server.stop();
    // A vector with the right digest that does not hold: only a server that does not look takes it.
    let key = client::keys::read_signing(&world.path("data/log.key")).unwrap();
    let announced = voice.next_intent();
    let intent = voice.intent();
    let recorded = Recorded::new(&voice, intent.id(), &announced.nonce, 8);
    let forged = recorded.with_vector(|vector| vector[5] ^= 1);
    let last = voice.say(forged.predicate());
    leaves.extend([&intent, &last].map(|envelope| envelope.as_bytes().to_vec().into()));
    copy(&world, "copy", &key, &leaves);
    copy_folder(&world.path("data/artifacts"), &world.path("copy/artifacts"));
    let name = Hash::of(&[&forged.vector]).to_string();
    world.write(&format!("copy/artifacts/{}/{name}", &name[..2]), &forged.vector);
    let pass = world.monitor("forged", "copy", &[]).bad();
    assert_eq!(codes(&pass), ["artifact"]);
    assert!(pass.to_text().contains("the commitment vector does not hold"), "{}", pass.to_text());
}

/// Writes the files of a log that has these entries, under a signed head.
fn copy(world: &World, folder: &str, key: &SigningKey, entries: &[impl AsRef<[u8]>]) {
    let leaves: Vec<_> = entries.iter().map(|entry| oracle::leaf(entry.as_ref())).collect();
    let head = TreeHead { size: leaves.len() as u64, root: Hash::new(oracle::root(&leaves)) };
    let signed = SignedCheckpoint::sign(key, head);
    world.write(&format!("{folder}/checkpoint"), signed.as_bytes());
    for (index, chunk) in entries.chunks(256).enumerate() {
        let mut bytes = Vec::new();
        for entry in chunk {
            bytes.extend_from_slice(&(entry.as_ref().len() as u16).to_be_bytes());
            bytes.extend_from_slice(entry.as_ref());
        }
        let width = if chunk.len() == 256 { String::new() } else { format!(".p/{}", chunk.len()) };
        world.write(&format!("{folder}/tile/entries/{index:03}{width}"), bytes);
    }
}

/// A log of 3,000 entries, some of which no honest log has, as a folder.
fn long_log(world: &World) -> Vec<u64> {
    let key = seeded("log.example/long", "long");
    world.write_vkey("log.vkey", &key);
    let mut voice = Voice::new("a.example", &key.verifier(KeyKind::Ed25519));
    let mut odd = Vec::new();
    let mut entries = vec![voice.register().as_bytes().to_vec()];
    for index in 1..3_000 {
        if index % 97 == 0 {
            odd.push(index);
            entries.push(format!("noise {index}").into_bytes());
        } else {
            entries.push(voice.intent().as_bytes().to_vec());
        }
    }
    copy(world, "long", &key, &entries);
    odd
}

/// Killed at any moment and started again: at the end every entry was verified, and everything
/// that is wrong was written down once.
#[test]
fn a_monitor_that_is_killed_again_and_again_skips_nothing() {
    let world = World::new();
    let odd = long_log(&world);
    let mut random = Random(0x6d6f_6e69);
    let command =
        || world.command(["monitor", "long", "--data", "m", "--log-key", "log.vkey", "--once"]);
    // How long the work takes without a kill decides when kills may come.
    let started = Instant::now();
    let whole = world.monitor("other", "long", &[]).bad();
    let takes = started.elapsed().as_millis() as u64;
    assert_eq!(number(&whole, "size"), 3_000);
    let (mut kills, mut cursors) = (0, Vec::new());
    for _ in 0..60 {
        let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(random.below(takes.max(2))));
        let done = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        if done.is_some() {
            break;
        }
        kills += 1;
        let cursor = fs::read_to_string(world.path("m/verified")).unwrap_or_default();
        cursors.push(cursor.trim().parse::<u64>().unwrap_or(0));
    }
    assert!(kills > 0, "it was done before the first kill");
    assert!(cursors.is_sorted(), "the cursor went back: {cursors:?}");
    finish(command()).exits(1);
    let written = String::from_utf8(world.read("m/findings.jsonl")).unwrap();
    let indices = written.lines().map(|line| {
        let finding = json::parse(line.as_bytes(), json::Rules::LOG).unwrap();
        assert_eq!(text(&finding, "code"), "entry");
        number(&finding, "index")
    });
    assert_eq!(indices.collect::<Vec<_>>(), odd);
    assert_eq!(world.read("m/verified"), b"3000\n");
    assert_eq!(written.as_bytes(), world.read("other/findings.jsonl"));
}

#[test]
fn a_monitor_goes_on_and_tells_prometheus_and_the_other_party() {
    let mut scene = Scene::new();
    let process = scene.world.following("m", &scene.server.http, &["--server", &scene.server.grpc]);
    assert_eq!(number(&process.said, "verified"), 0);
    let http = Server::address(text(&process.said, "http"));
    let verified = |size: u64| {
        eventually("the monitor verifies", || {
            let shown = get(http, "/checkpoint");
            let head = SignedCheckpoint::open(&shown.body, &scene.server.key).ok()?;
            (head.head().size == size).then_some(())
        });
    };
    verified(3);
    within(async {
        let mut log = scene.server.log().await;
        append(&mut log, &scene.voice.intent()).await;
    });
    verified(4);
    assert_eq!(get(http, "/healthz").status, 200);
    let scraped = String::from_utf8(get(http, "/metrics").body).unwrap();
    assert_eq!(value(&scraped, "countersign_monitor_verified_entries"), 4.0);
    assert_eq!(value(&scraped, "countersign_monitor_findings_total{code=\"conflict\"}"), 0.0);
    assert_eq!(value(&scraped, "countersign_monitor_cosigned_head_age_seconds"), -1.0);
    assert!(value(&scraped, "countersign_monitor_passes_total") >= 2.0);
    let documented = include_str!("../../docs/monitor.md");
    for line in scraped.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, _) = line.split_once(' ').unwrap();
        assert!(documented.contains(&format!("`{name}`")), "docs/monitor.md lacks {name}");
    }
    for code in monitor::Code::ALL {
        let code = code.as_str();
        assert!(documented.contains(&format!("`{code}`")), "docs/monitor.md lacks {code}");
    }
    scene.speak(1);
    process.stop();
    // The next one begins where this one ended.
    let process = scene.world.following("m", &scene.server.http, &["--no-artifacts"]);
    assert!(number(&process.said, "verified") >= 4);
    process.stop();
}

/// Two labs, two histories: each monitor is content until it hears what the other was shown.
#[test]
fn two_monitors_that_gossip_convict_a_log_that_shows_two_histories() {
    let fork = Fork::new(1);
    let [ours, theirs] = &fork.servers;
    within(async {
        fork.labs[0].speak(ours, 5).await;
        fork.labs[1].speak(theirs, 2).await;
    });
    let world = &fork.world;
    world.monitor("alone", &ours.http, &["--server", &ours.grpc]).good();
    let peer = world.following("b", &theirs.http, &["--server", &theirs.grpc]);
    let gossip = text(&peer.said, "http").to_owned();
    let address = Server::address(&gossip);
    eventually("the peer's monitor has a head", || {
        (get(address, "/checkpoint").status == 200).then_some(())
    });
    let flags = ["--server", &ours.grpc, "--peer", &gossip];
    let found = world.monitor("a", &ours.http, &flags).bad();
    assert_eq!(codes(&found), ["conflict"], "{}", found.to_text());
    let evidence = text(&list(&found, "findings")[0], "evidence").to_owned();
    assert_eq!(fork.judge(&evidence), tlog::evidence::Kind::PrefixConflict);
    // The same head as a file does as well.
    world.write("peer.checkpoint", &get(address, "/checkpoint").body);
    let flags = ["--server", &ours.grpc, "--peer", "peer.checkpoint"];
    assert_eq!(codes(&world.monitor("f", &ours.http, &flags).bad()), ["conflict"]);
    peer.stop();
}
