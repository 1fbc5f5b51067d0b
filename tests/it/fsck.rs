//! `countersign fsck` on folders that a real server has left: sound ones, killed ones, and each
//! class of damage by its name. What single bits do to files is in the sequencer's own tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use api::v1;
use api::v1::append_stream_response::Result as Streamed;
use bytes::Bytes;
use exchange::Envelope;
use json::Value;
use sequencer::{Entry, FileStore, Log, StatementKey, Store as _};
use tlog::Hash;
use tokio_stream::StreamExt as _;

use crate::parties::{Recorded, Voice, withdrawal};
use crate::service::{append, register, streamed};
use crate::support::{
    Outcome, Random, Server, World, binary, copy_folder, files, finish, list, number, text, within,
};

const PARTY: &str = "a.example";

/// A world with one party, and a server for it.
fn serving() -> (World, Server) {
    let world = World::new();
    let party = world.write_vkey("a.vkey", &Voice::key_of(PARTY));
    let server = world.serve("log", &[&party]);
    (world, server)
}

async fn put(server: &Server, bytes: &[u8]) -> Hash {
    let piece = v1::PutArtifactRequest { chunk: Bytes::copy_from_slice(bytes) };
    let put = server.artifacts().await.put_artifact(tokio_stream::once(piece)).await.unwrap();
    Hash::from_slice(&put.into_inner().digest).unwrap()
}

/// A registration, and a run with its record, then `more` intents.
async fn fill(server: &Server, more: usize) -> (Voice, Recorded) {
    let mut log = server.log().await;
    let mut a = register(&mut log, server, PARTY).await;
    let nonce = a.next_intent().nonce;
    let intent = a.intent();
    append(&mut log, &intent).await;
    let record = Recorded::new(&a, intent.id(), &nonce, 1);
    put(server, &record.vector).await;
    append(&mut log, &a.say(record.predicate())).await;
    let intents: Vec<_> = (0..more).map(|_| streamed(&a.intent())).collect();
    let mut answers = log.append_stream(tokio_stream::iter(intents)).await.unwrap().into_inner();
    while let Some(answer) = answers.next().await {
        assert!(matches!(answer.unwrap().result, Some(Streamed::Appended(_))));
    }
    (a, record)
}

/// A stopped log of 3 statements, or more than one bundle of them.
fn stopped(more: usize) -> (World, Voice, Recorded) {
    let (world, server) = serving();
    let (voice, record) = within(fill(&server, more));
    server.stop();
    (world, voice, record)
}

/// Every file and folder with its bytes, mode and the time of its last change.
fn state_of(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, fs::Permissions, SystemTime)> {
    let paths = files(folder).into_iter().chain([folder.to_owned()]);
    let read = |path: PathBuf| {
        let metadata = fs::metadata(&path).unwrap();
        let bytes = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        (path, (bytes, metadata.permissions(), metadata.modified().unwrap()))
    };
    paths.map(read).collect()
}

impl World {
    /// Checks a folder and that the check has changed nothing.
    fn fsck(&self, folder: &str) -> Outcome {
        let before = state_of(&self.path(folder));
        let outcome = self.run(["fsck", folder]);
        assert_eq!(state_of(&self.path(folder)), before, "{outcome}");
        outcome
    }

    /// A copy of a folder under another name, changed.
    fn altered(&self, name: &str, change: impl FnOnce(&Path)) -> Value {
        copy_folder(&self.path("log"), &self.path(name));
        change(&self.path(name));
        self.fsck(name).bad()
    }
}

/// The findings as `weight file (place): problem`.
fn lines(report: &Value) -> Vec<String> {
    let line = |finding: &Value| {
        let place = finding.get("place").and_then(Value::as_str).map(|p| format!(" ({p})"));
        assert!(text(finding, "next").len() > 10);
        format!(
            "{} {}{}: {}",
            text(finding, "weight"),
            text(finding, "file"),
            place.unwrap_or_default(),
            text(finding, "problem")
        )
    };
    list(report, "findings").iter().map(line).collect()
}

#[track_caller]
fn assert_says(report: &Value, expected: &str) {
    let lines = lines(report);
    assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected}\n{lines:#?}");
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_fresh_log_is_sound() {
    let (world, server) = serving();
    let key = server.key.to_string();
    server.stop();
    let report = world.fsck("log").good();
    assert_eq!((number(&report, "size"), lines(&report)), (0, vec![]));
    assert_eq!(report.get("holds").and_then(Value::as_bool), Some(true));
    assert_eq!(report.get("signed").and_then(Value::as_bool), Some(true));
    assert_eq!(text(&report, "log"), key);
    world
        .run_plain(["fsck", "log"])
        .exits(0)
        .says(&["log: sound. 0 statements with the signed root"]);
}

#[test]
fn a_log_is_sound_after_load_and_after_the_next_start() {
    let (world, _, record) = stopped(600);
    let report = world.fsck("log").good();
    let counts = ["size", "replayed", "artifacts", "named_artifacts"];
    let counts = counts.map(|name| number(&report, name));
    assert_eq!((counts, lines(&report)), ([603, 603, 1, 1], vec![]));
    let bundles = files(&world.path("log/tile/entries")).len();
    assert_eq!(bundles, 2);
    world.serve("log", &[]).stop();
    let again = world.fsck("log").good();
    assert_eq!(text(&again, "root"), text(&report, "root"));
    // Somebody uploads something and never names it.
    let server = world.serve("log", &[]);
    let stray = within(put(&server, b"stray"));
    server.stop();
    let report = world.fsck("log").good();
    let file = format!("leftover artifacts/{}/{stray}: no statement", &stray.to_string()[..2]);
    assert!(matches!(&lines(&report)[..], [one] if one.starts_with(&file)), "{:?}", lines(&report));
    assert_ne!(stray, record.evaluation.vector);
}

#[test]
fn a_killed_log_is_sound_and_tells_what_the_kill_left() {
    let (world, server) = serving();
    within(fill(&server, 300));
    server.kill();
    let report = world.fsck("log").good();
    assert_eq!((number(&report, "size"), number(&report, "replayed")), (303, 303));
    assert_says(&report, "leftover log.db-shm: holds nothing");
    for line in lines(&report) {
        assert!(line.starts_with("leftover log.db-"), "{line}");
    }
    // What is only in the write-ahead log counts as well.
    let report = world.altered("flipped", |folder| {
        let wal = folder.join("log.db-wal");
        let length = fs::metadata(&wal).unwrap().len();
        flip(&wal, 8 * (length - 5000));
    });
    assert_says(&report, "damage log.db-wal (frame ");
    world.serve("log", &[]).stop();
    assert_eq!(lines(&world.fsck("log").good()), [""; 0]);
}

#[test]
fn a_running_server_a_missing_log_and_a_file_cannot_be_checked() {
    let (world, server) = serving();
    let refused = world.run(["fsck", "log"]);
    refused.exits(2).says(&["log/lock is in use", "stop the server first"]);
    server.stop();
    world.run(["fsck", "nothing"]).exits(2).says(&["there is no log in", "nothing", "--data DIR"]);
    world.write("empty/x", "");
    world.run(["fsck", "empty"]).exits(2).says(&["there is no log in"]);
    world.run(["fsck", "a.vkey"]).exits(2).says(&["there is no log in"]);
    world.run(["fsck"]).exits(2).says(&["<DIR>"]);
}

#[test]
fn a_bit_flipped_anywhere_is_found_and_its_file_is_named() {
    let (world, _, record) = stopped(260);
    let vector = record.evaluation.vector.to_string();
    let vector = format!("artifacts/{}/{vector}", &vector[..2]);
    let mut random = Random(0x666c_6970);
    let known =
        ["log.db", "log.sums", "log.key", "log.vkey", "tile/0/000", "tile/entries/000", &vector];
    let all: Vec<_> = files(&world.path("log"))
        .iter()
        .map(|file| file.strip_prefix(world.path("log")).unwrap().display().to_string())
        .filter(|name| name != "lock")
        .collect();
    assert_eq!(all.len(), known.len(), "{all:?}");
    for name in known {
        let path = world.path("log").join(name);
        let bits = 8 * fs::metadata(&path).unwrap().len();
        for _ in 0..4 {
            let bit = random.below(bits);
            flip(&path, bit);
            let report = world.fsck("log").bad();
            let found = list(&report, "findings");
            assert!(!found.is_empty(), "bit {bit} of {name}");
            for finding in found {
                assert_eq!(text(finding, "file"), name, "bit {bit}: {}", finding.to_text());
            }
            flip(&path, bit);
        }
    }
    world.fsck("log").good();
}

#[test]
fn each_class_of_damage_is_named() {
    let (world, _, record) = stopped(300);
    let vector = record.evaluation.vector.to_string();
    let vector = format!("artifacts/{}/{vector}", &vector[..2]);
    type Damage = Box<dyn Fn(&Path)>;
    let cases: Vec<(&str, Damage, String)> = vec![
        (
            "hash",
            Box::new(|log| flip(&log.join("tile/0/000"), 8 * 32 * 5)),
            "damage tile/0/000 (entry 5, bytes 160 to 191): was changed".to_owned(),
        ),
        (
            "entry",
            Box::new(|log| flip(&log.join("tile/entries/000"), 8 * 100)),
            "damage tile/entries/000 (entry 0, from byte 0 on): was changed".to_owned(),
        ),
        (
            "cut",
            Box::new(|log| {
                let bundle = fs::read(log.join("tile/entries/000")).unwrap();
                fs::write(log.join("tile/entries/000"), &bundle[..bundle.len() - 1]).unwrap();
            }),
            "damage tile/entries/000: ".to_owned(),
        ),
        (
            "gone",
            Box::new(|log| fs::remove_file(log.join("tile/0/000")).unwrap()),
            "damage tile/0/000: is missing".to_owned(),
        ),
        (
            "artifact",
            Box::new({
                let vector = vector.clone();
                move |log| fs::remove_file(log.join(&vector)).unwrap()
            }),
            format!("damage {vector} (named by entry 2): is not there"),
        ),
        (
            "digest",
            Box::new({
                let vector = vector.clone();
                move |log| fs::write(log.join(&vector), "other bytes").unwrap()
            }),
            format!("damage {vector}: has not the bytes that its name is the digest of"),
        ),
        (
            "database",
            Box::new(|log| fs::remove_file(log.join("log.db")).unwrap()),
            "damage log.db: is not there: the log has lost its head".to_owned(),
        ),
        (
            "page",
            Box::new(|log| flip(&log.join("log.db"), 8 * 4096 - 1)),
            "damage log.db (page 1, bytes 0 to 4095): is not what the log wrote".to_owned(),
        ),
        (
            "sum",
            Box::new(|log| flip(&log.join("log.sums"), 8 * 30)),
            "damage log.sums (bytes 24 to 31): the sum of page 1 was changed".to_owned(),
        ),
        (
            "journal",
            Box::new(|log| fs::write(log.join("log.db-journal"), "x").unwrap()),
            "damage log.db-journal: is a rollback journal".to_owned(),
        ),
        (
            "lock",
            Box::new(|log| fs::write(log.join("lock"), "x").unwrap()),
            "damage lock: is always empty".to_owned(),
        ),
        (
            "nokey",
            Box::new(|log| fs::remove_file(log.join("log.key")).unwrap()),
            "damage log.key: is missing: the log cannot go on without it".to_owned(),
        ),
        (
            "novkey",
            Box::new(|log| fs::remove_file(log.join("log.vkey")).unwrap()),
            "damage log.vkey: is missing: no signature was checked".to_owned(),
        ),
        (
            "stale",
            Box::new(|log| {
                fs::write(log.join("tile/0/001"), vec![7; 8192]).unwrap();
            }),
            "damage tile/0/001: is beyond the head of size 303".to_owned(),
        ),
    ];
    for (name, change, expected) in cases {
        assert_says(&world.altered(name, change), &expected);
    }
    let plain = world.run_plain(["fsck", "hash"]);
    plain.exits(1).says(&[
        "hash: DAMAGED: 1 findings",
        "expected leaf hash",
        "; put the file back",
    ]);
}

/// What is not the log's own is told, and harms nobody.
#[test]
fn foreign_and_unfinished_files_are_told_and_no_damage() {
    let (world, ..) = stopped(0);
    let log = world.path("log");
    fs::write(log.join("notes.txt"), "mine").unwrap();
    fs::write(log.join("log.vkey.tmp"), "half").unwrap();
    fs::write(log.join("artifacts/incoming/7"), "half").unwrap();
    let report = world.fsck("log").good();
    assert_eq!(lines(&report).len(), 3);
    assert_says(&report, "foreign notes.txt: is no part of a log");
    assert_says(&report, "leftover log.vkey.tmp: is a file that a killed process");
    assert_says(&report, "leftover artifacts/incoming/7: is an upload that never");
}

#[cfg(unix)]
#[test]
fn a_private_key_that_others_may_read_is_damage() {
    use std::os::unix::fs::PermissionsExt as _;
    let (world, ..) = stopped(0);
    let report = world.altered("open", |log| {
        fs::set_permissions(log.join("log.key"), fs::Permissions::from_mode(0o644)).unwrap();
    });
    assert_says(&report, "damage log.key: can be read or changed by others");
    let finding = &list(&report, "findings")[0];
    assert_eq!((text(finding, "expected"), text(finding, "found")), ("mode 600", "mode 644"));
    assert_eq!(text(finding, "next"), "run: chmod 600 log.key");
}

#[test]
fn a_pinned_key_counts_for_more_than_the_folders_own() {
    let (world, ..) = stopped(0);
    fs::copy(world.path("log/log.vkey"), world.path("pinned.vkey")).unwrap();
    fs::remove_file(world.path("log/log.key")).unwrap();
    let copy = ["fsck", "log", "--log-key", "pinned.vkey"];
    assert_eq!(lines(&world.run(copy).good()), [""; 0], "a copy needs no private key");
    let other = ["fsck", "log", "--log-key", "a.vkey"];
    let report = world.run(other).bad();
    assert_says(&report, "damage log.vkey: is not the key that was pinned");
    assert_says(&report, "damage log.db (head): its checkpoint does not hold under a.example");
}

/// Puts a leaf into a stopped log that its server would have refused.
fn smuggle(folder: &Path, envelope: &Envelope) {
    let key = client::keys::read_signing(&folder.join("log.key")).unwrap();
    let mut log = Log::open(FileStore::open(folder).unwrap(), key).unwrap();
    let id = StatementKey::new(*envelope.id().as_bytes());
    let entry = Entry::new(envelope.as_bytes(), id).unwrap();
    assert!(log.step(&[entry]).unwrap()[0].is_ok());
}

#[test]
fn statements_that_no_honest_server_takes_are_named() {
    let (world, a, record) = stopped(0);
    let again = a.draft_with(|common| common.number = 1, withdrawal(record.evaluation.intent));
    let report = world.altered("number", |folder| smuggle(folder, &again));
    let expected =
        "damage log.db (entry 3): an honest server would not have taken this statement: ";
    assert_says(&report, expected);
    assert!(lines(&report)[0].contains("INTENT_ENDED"), "{:?}", lines(&report));
    let stranger = Voice::new(
        "stranger.example",
        &client::keys::read_vkey(&world.path("log/log.vkey")).unwrap(),
    );
    let unknown = stranger.draft(withdrawal(record.evaluation.intent));
    let report = world.altered("stranger", |folder| smuggle(folder, &unknown));
    assert_says(&report, expected);
    // A record whose vector is another one: all is where it belongs, and does not hold.
    let mut a = a;
    let nonce = a.next_intent().nonce;
    let intent = a.intent();
    let good = Recorded::new(&a, intent.id(), &nonce, 2);
    let bad = good.with_vector(|vector| vector[96] ^= 1);
    let said = a.say(bad.predicate());
    let report = world.altered("vector", |folder| {
        smuggle(folder, &intent);
        FileStore::open(folder).unwrap().artifacts().put(&bad.vector).unwrap();
        smuggle(folder, &said);
    });
    let digest = bad.evaluation.vector.to_string();
    let file = format!("damage artifacts/{}/{digest} (named by entry 4): ", &digest[..2]);
    assert_says(&report, &format!("{file}the commitment vector does not hold"));
    assert_eq!(lines(&report).len(), 1);
}

#[test]
fn a_database_rolled_back_below_its_tiles_is_told_from_a_flipped_bit() {
    let (world, server) = serving();
    let mut a = within(async { fill(&server, 0).await.0 });
    server.stop();
    copy_folder(&world.path("log"), &world.path("backup"));
    let server = world.serve("log", &[]);
    within(async {
        let mut log = server.log().await;
        let intents: Vec<_> = (0..300).map(|_| streamed(&a.intent())).collect();
        let answers = log.append_stream(tokio_stream::iter(intents)).await.unwrap();
        assert_eq!(answers.into_inner().collect::<Vec<_>>().await.len(), 300);
    });
    server.stop();
    for name in ["log.db", "log.sums"] {
        fs::copy(world.path("backup").join(name), world.path("log").join(name)).unwrap();
    }
    let report = world.fsck("log").bad();
    assert_says(&report, "damage tile/entries/000: is beyond the head of size 3");
    assert_says(
        &report,
        "damage tile/0/000: is beyond the head of size 3: the database was rolled",
    );
    for finding in list(&report, "findings") {
        assert!(text(finding, "next").starts_with("don't start the log; copy the folder"));
    }
}

/// Runs the command as somebody whom permissions bind, which they don't root.
#[cfg(unix)]
fn bound(world: &World, folder: &Path, owned: bool) -> Option<Outcome> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let root = fs::metadata(folder).unwrap().uid() == 0;
    let mut command: Command = binary(&world.path("."));
    command.args(["--json", "fsck"]).arg(folder);
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let paths: Vec<PathBuf> = [folder.to_owned()].into_iter().chain(files(folder)).collect();
    if root {
        mode(&world.path("."), 0o755);
        command.uid(NOBODY);
        if owned {
            paths.iter().for_each(|path| chown(path, Some(NOBODY), None).unwrap());
        }
        // The program may be where nobody else can get to.
        let mut probe = binary(&world.path("."));
        if probe.arg("--version").uid(NOBODY).output().is_err() {
            return None;
        }
    } else if !owned {
        mode(&folder.join("log.key"), 0o000);
    }
    Some(finish(command))
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_to_write_can_be_checked() {
    use std::os::unix::fs::PermissionsExt as _;
    let (world, server) = serving();
    within(fill(&server, 300));
    copy_folder(&world.path("log"), &world.path("killed"));
    server.stop();
    for name in ["log", "killed"] {
        let folder = world.path(name);
        let mut folders = vec![folder.clone()];
        folders.extend(files(&folder).iter().map(|file| file.parent().unwrap().to_owned()));
        let set = |write: bool| {
            for file in files(&folder) {
                let mode = if write { 0o600 } else { 0o400 };
                fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
            }
            for path in &folders {
                let mode = if write { 0o755 } else { 0o555 };
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        set(false);
        let before = state_of(&folder);
        let outcome = bound(&world, &folder, true);
        let after = state_of(&folder);
        set(true);
        if let Some(outcome) = outcome {
            assert_eq!(number(&outcome.good(), "size"), 303);
        }
        assert_eq!(before, after);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_of_somebody_else_cannot_be_checked() {
    let (world, ..) = stopped(0);
    if let Some(outcome) = bound(&world, &world.path("log"), false) {
        outcome.exits(2).says(&["Permission denied", "as the user who owns the folder"]);
    }
}
