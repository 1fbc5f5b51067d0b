//! `countersign witness` as its operator meets it: first starts, restarts, lost and old stores.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use tlog::{AddCheckpoint, Hash, KeyKind, KeyName, SignedCheckpoint, SigningKey, TreeHead};

use crate::oracle;
use crate::support::{Process, Server, World, binary, finish, get, number, post, text};

pub(crate) fn log_key(name: &str) -> SigningKey {
    SigningKey::from_seed(KeyName::parse(name).unwrap(), &[0x11; 32])
}

/// The leaves of a log that is all of one branch.
pub(crate) fn leaves(branch: &str, count: usize) -> Vec<oracle::Node> {
    (0..count).map(|index| oracle::leaf(format!("{branch}-{index}").as_bytes())).collect()
}

/// A request as the oracle has it: roots and proofs owe nothing to the product's tree code.
pub(crate) fn request(key: &SigningKey, leaves: &[oracle::Node], old: usize) -> AddCheckpoint {
    let head = TreeHead { size: leaves.len() as u64, root: Hash::new(oracle::root(leaves)) };
    let proof = if old == 0 || old >= leaves.len() {
        Vec::new()
    } else {
        oracle::consistency(old, leaves).into_iter().map(Hash::new).collect()
    };
    AddCheckpoint::new(old as u64, proof, &SignedCheckpoint::sign(key, head))
}

impl World {
    /// The command of a witness in the folder `data` for these logs.
    pub(crate) fn witness_command(&self, data: &str, logs: &[&str]) -> Command {
        self.witness_command_at(data, logs, "127.0.0.1:0")
    }

    fn witness_command_at(&self, data: &str, logs: &[&str], http: &str) -> Command {
        let mut command = binary(&self.path(""));
        command.args(["--json", "witness", "--data", data]);
        command.args(["--http", http, "--grpc", "127.0.0.1:0"]);
        for log in logs {
            command.args(["--log", log]);
        }
        command
    }

    pub(crate) fn witness(&self, data: &str, logs: &[&str]) -> Witness {
        self.witness_by(self.witness_command(data, logs), data)
    }

    /// The same where it was before.
    pub(crate) fn witness_at(&self, data: &str, logs: &[&str], http: SocketAddr) -> Witness {
        self.witness_by(self.witness_command_at(data, logs, &http.to_string()), data)
    }

    pub(crate) fn witness_by(&self, command: Command, data: &str) -> Witness {
        let stderr = self.path(format!("{data}.stderr"));
        let process = Process::start(command, &stderr).unwrap_or_else(|e| panic!("{e}"));
        Witness { http: Server::address(text(&process.said, "http")), process }
    }
}

/// A running witness.
pub(crate) struct Witness {
    pub(crate) http: SocketAddr,
    pub(crate) process: Process,
}

impl Witness {
    pub(crate) fn add(&self, request: &AddCheckpoint) -> u16 {
        post(self.http, "/add-checkpoint", &request.to_bytes()).unwrap().status
    }
}

const LOG: &str = "log.example/one";

/// A world with a witness that has cosigned five entries.
fn with_five() -> (World, Witness, SigningKey) {
    let world = World::new();
    let key = log_key(LOG);
    world.write_vkey("log.vkey", &key);
    let witness = world.witness("w", &["log.vkey"]);
    assert_eq!(witness.add(&request(&key, &leaves("a", 5), 0)), 200);
    (world, witness, key)
}

#[test]
fn first_start_makes_all_it_needs_and_the_next_goes_on() {
    let (world, witness, key) = with_five();
    let vkey = text(&witness.process.said, "vkey").to_owned();
    assert_eq!(tlog::VerifierKey::parse(&vkey).unwrap().kind(), KeyKind::Cosignature);
    assert_eq!(world.read("w/witness.vkey"), format!("{vkey}\n").as_bytes());
    assert_eq!(number(&witness.process.said, "logs"), 1);
    assert_eq!(get(witness.http, "/healthz").status, 200);
    witness.process.stop();
    let witness = world.witness("w", &["log.vkey"]);
    assert_eq!(text(&witness.process.said, "vkey"), vkey);
    assert_eq!(number(&witness.process.said, "cosigned"), 1);
    assert_eq!(witness.add(&request(&key, &leaves("a", 3), 0)), 409);
    assert_eq!(witness.add(&request(&key, &leaves("a", 9), 5)), 200);
    assert_eq!(witness.add(&request(&log_key("other.example"), &leaves("a", 9), 0)), 404);
    let place = Hash::of(&[LOG.as_bytes()]);
    let published = get(witness.http, &format!("/{place}/checkpoint"));
    assert!(published.body.starts_with(format!("{LOG}\n9\n").as_bytes()));
    let name = text(&witness.process.said, "name").to_owned();
    assert!(String::from_utf8(published.body).unwrap().contains(&format!("\n— {name} ")));
    // A second process on the same folder is refused.
    finish(world.witness_command("w", &[])).exits(2).says(&["in use"]);
    witness.process.stop();
}

#[test]
fn people_are_told_what_to_do_next() {
    let world = World::new();
    world.write_vkey("log.vkey", &log_key(LOG));
    finish(world.witness_command("w", &["absent.vkey"])).exits(2).says(&["absent.vkey"]);
    let bad_name = ["--name", "with space"];
    let mut command = world.witness_command("w", &[]);
    command.args(bad_name);
    finish(command).exits(2).says(&["--name"]);
    world.run_plain(["witness", "--help"]).exits(0).says(&["Examples:", "--log", "retired"]);
    let cosigner = world.witness("first", &[]);
    cosigner.process.stop();
    let wrong_kind = finish(world.witness_command("w", &["first/witness.vkey"]));
    wrong_kind.exits(2).says(&["type 01"]);
}

#[test]
fn a_key_without_its_store_is_retired() {
    let (world, witness, _) = with_five();
    witness.process.stop();
    let store = world.path("w/witness.db");
    fs::rename(&store, world.path("elsewhere")).unwrap();
    let refused = finish(world.witness_command("w", &["log.vkey"]));
    refused.exits(2).says(&["holds a witness's key, but not the store", "retired"]);
    assert!(!store.exists(), "nothing was made anew");
    fs::rename(world.path("elsewhere"), &store).unwrap();
    world.witness("w", &["log.vkey"]).process.stop();
    // The other way round: a store that has signed something waits for its key.
    fs::remove_file(world.path("w/witness.key")).unwrap();
    let refused = finish(world.witness_command("w", &["log.vkey"]));
    refused.exits(2).says(&["not its key", "witness.key"]);
}

#[test]
fn a_first_start_that_was_cut_short_is_made_up_for() {
    let world = World::new();
    world.witness("w", &[]).process.stop();
    // As if killed after the store was made, and before its key was written.
    fs::remove_file(world.path("w/witness.key")).unwrap();
    let witness = world.witness("w", &[]);
    assert_eq!(number(&witness.process.said, "cosigned"), 0);
    witness.process.stop();
}

/// Copies a stopped witness's store.
fn copy_store(world: &World, from: &str, to: &str) {
    fs::create_dir_all(world.path(to)).unwrap();
    fs::copy(world.path(format!("{from}/witness.db")), world.path(format!("{to}/witness.db")))
        .unwrap();
}

#[test]
fn a_store_that_was_put_back_is_found_out_by_what_was_published() {
    let (world, witness, key) = with_five();
    witness.process.stop();
    copy_store(&world, "w", "backup");
    let witness = world.witness("w", &["log.vkey"]);
    assert_eq!(witness.add(&request(&key, &leaves("a", 9), 5)), 200);
    witness.process.stop();
    copy_store(&world, "backup", "w");
    for _ in 0..2 {
        let refused = finish(world.witness_command("w", &["log.vkey"]));
        refused.exits(2).says(&["size 9", "retired"]);
    }
    // Not even when nothing published is there any more: the store says so itself.
    fs::remove_dir_all(world.path("w/published")).unwrap();
    finish(world.witness_command("w", &["log.vkey"])).exits(2).says(&["halted", "retired"]);
}

/// Serves these files, a connection each, for as long as the process lives.
fn file_server(files: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 2048];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let found = files.iter().find(|(name, _)| *name == path);
            let (status, body) = found.map_or((404, &b""[..]), |(_, body)| (200, body));
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    url
}

#[test]
fn a_store_that_was_put_back_is_found_out_by_copies_elsewhere() {
    let (world, witness, key) = with_five();
    witness.process.stop();
    copy_store(&world, "w", "backup");
    let witness = world.witness("w", &["log.vkey"]);
    assert_eq!(witness.add(&request(&key, &leaves("a", 9), 5)), 200);
    let path = format!("/{}/checkpoint", Hash::of(&[LOG.as_bytes()]));
    let note = get(witness.http, &path).body;
    witness.process.stop();
    let mirror = file_server(vec![(path, note.clone())]);
    let log = file_server(vec![("/checkpoint".to_owned(), note)]);
    let nobody = "http://127.0.0.1:9/";
    // Looked at as a copy of the witness's read path, and as a log that shows its cosignatures.
    let config = format!("[[log]]\nvkey = \"log.vkey\"\nurl = \"{log}\"\n");
    world.write("witness.toml", config);
    let configured = vec!["--config".to_owned(), "witness.toml".to_owned()];
    let named = |url: &str| vec!["--published".to_owned(), url.to_owned()];
    for (data, flags) in [("x", named(&mirror)), ("y", configured)] {
        copy_store(&world, "backup", data);
        for file in ["witness.key", "witness.vkey"] {
            fs::copy(world.path(format!("w/{file}")), world.path(format!("{data}/{file}")))
                .unwrap();
        }
        let mut command = world.witness_command(data, &["log.vkey"]);
        command.args(named(nobody)).args(flags);
        finish(command).exits(2).says(&["size 9", "retired"]);
    }
    // With the newest store, and with places that cannot be reached, it starts.
    let mut command = world.witness_command("w", &["log.vkey"]);
    command.args(named(&mirror)).args(named(nobody));
    world.witness_by(command, "w").process.stop();
}
