//! A witness killed at random moments under load, by a log that forks: whatever ever left it must
//! be of one history that never goes back. What leaves it is checked from its bytes alone, with
//! the oracle's trees and a parser and a message of this file's own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tlog::{Hash, PublicKey, SigningKey, VerifierKey};

use crate::oracle;
use crate::support::{Random, World, get, post, text};
use crate::witness::{leaves, log_key, request};

const LOGS: usize = 4;
const FORK: usize = 3;
const LONGEST: usize = 700;

/// A cosignature that left the witness.
struct Given {
    log: usize,
    branch: usize,
    size: usize,
    time: u64,
    asked: Instant,
    came: Instant,
}

/// Both histories of every log, and what is asked for.
struct Load {
    keys: Vec<SigningKey>,
    /// Entries by log and branch: the first ones are the same.
    branches: Vec<[Vec<oracle::Node>; 2]>,
    given: Mutex<Vec<Given>>,
    witness: VerifierKey,
}

/// The signature lines of an answer, parsed by hand: name, key id, time and signature.
fn parse(line: &str) -> (String, [u8; 4], u64, [u8; 64]) {
    let line = line.strip_suffix('\n').expect("a line").strip_prefix("— ").expect("a dash");
    let (name, blob) = line.split_once(' ').expect("a name and a blob");
    let blob = STANDARD.decode(blob).expect("base64");
    assert_eq!(blob.len(), 76);
    let time = u64::from_be_bytes(blob[4..12].try_into().unwrap());
    (name.to_owned(), blob[..4].try_into().unwrap(), time, blob[12..].try_into().unwrap())
}

impl Load {
    /// One asker: grows a branch of a log, until the witness is gone.
    fn ask(&self, log: usize, branch: usize, address: std::net::SocketAddr, mut random: Random) {
        let key = &self.keys[log];
        let (mut old, mut step) = (0, 1);
        loop {
            let size = match random.below(4) {
                // The same again, as a log without growth asks.
                0 | 1 if old > 0 => old,
                _ => (old + step).min(LONGEST),
            };
            let entries = &self.branches[log][branch][..size];
            let request = request(key, entries, old.min(size));
            let asked = Instant::now();
            let Ok(answer) = post(address, "/add-checkpoint", &request.to_bytes()) else { return };
            match answer.status {
                200 => {
                    let line = String::from_utf8(answer.body).unwrap();
                    self.note(log, branch, size, &line, asked);
                    (old, step) = (size, 1 + random.below(3) as usize);
                }
                409 => old = String::from_utf8(answer.body).unwrap().trim_end().parse().unwrap(),
                // The other branch is the one: this witness will never take ours.
                422 => step = 1 + random.below(3) as usize,
                503 => {}
                status => panic!("{status}: {}", String::from_utf8_lossy(&answer.body)),
            }
        }
    }

    fn note(&self, log: usize, branch: usize, size: usize, line: &str, asked: Instant) {
        let (name, id, time, signature) = parse(line);
        assert_eq!(
            (name.as_str(), &id),
            (self.witness.name().as_str(), self.witness.id().as_bytes())
        );
        let root = STANDARD.encode(oracle::root(&self.branches[log][branch][..size]));
        let origin = self.keys[log].name().as_str();
        let message = format!("cosignature/v1\ntime {time}\n{origin}\n{size}\n{root}\n");
        let public: &PublicKey = self.witness.public();
        public.verify(message.as_bytes(), &signature).expect("the cosignature verifies");
        let came = Instant::now();
        self.given.lock().unwrap().push(Given { log, branch, size, time, asked, came });
    }

    /// No double signing, no way back: over everything that was ever given.
    fn check(&self) {
        let given = self.given.lock().unwrap();
        let mut by_log: BTreeMap<usize, Vec<&Given>> = BTreeMap::new();
        for one in given.iter() {
            by_log.entry(one.log).or_default().push(one);
        }
        for (log, mut all) in by_log {
            let beyond: Vec<_> = all.iter().filter(|one| one.size > FORK).collect();
            if let Some(first) = beyond.first() {
                assert!(
                    beyond.iter().all(|one| one.branch == first.branch),
                    "log {log}: both branches were cosigned"
                );
            }
            // What came before another was asked for is never larger.
            let mut came: Vec<_> = all.iter().map(|one| (one.came, one.size)).collect();
            came.sort();
            let mut earlier = came.into_iter().peekable();
            all.sort_by_key(|one| one.asked);
            let mut largest = 0;
            for one in &all {
                while let Some((_, size)) = earlier.next_if(|(came, _)| *came < one.asked) {
                    largest = largest.max(size);
                }
                assert!(one.size >= largest, "log {log}: {} after {largest}", one.size);
            }
            // And by its own clock.
            all.sort_by_key(|one| (one.time, one.size));
            for pair in all.windows(2) {
                let [before, after] = pair else { continue };
                assert!(
                    before.time == after.time || before.size <= after.size,
                    "log {log}: {} at {}, then {} at {}",
                    before.size,
                    before.time,
                    after.size,
                    after.time
                );
            }
        }
    }

    /// What the witness publishes after a restart is at least what it gave away.
    fn check_published(&self, address: std::net::SocketAddr) {
        let mut largest: HashMap<usize, usize> = HashMap::new();
        for one in self.given.lock().unwrap().iter() {
            let size = largest.entry(one.log).or_default();
            *size = (*size).max(one.size);
        }
        for (log, size) in largest {
            let place = Hash::of(&[self.keys[log].name().as_str().as_bytes()]);
            let note = get(address, &format!("/{place}/checkpoint"));
            let note = String::from_utf8(note.body).unwrap();
            let published: usize = note.lines().nth(1).unwrap().parse().unwrap();
            assert!(published >= size, "log {log}: {published} is published, {size} was given");
        }
    }
}

fn kill_many(kills: usize, seed: u64) {
    let world = World::new();
    let keys: Vec<_> = (0..LOGS).map(|log| log_key(&format!("log.example/{log}"))).collect();
    let files: Vec<String> = (0..LOGS).map(|log| format!("{log}.vkey")).collect();
    for (file, key) in files.iter().zip(&keys) {
        world.write_vkey(file, key);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let branches = (0..LOGS)
        .map(|log| {
            ["left", "right"].map(|branch| {
                let mut all = leaves(&format!("{log}"), FORK);
                all.extend(leaves(&format!("{log}-{branch}"), LONGEST).into_iter().skip(FORK));
                all
            })
        })
        .collect();
    let mut witness = world.witness("w", &files);
    let vkey = VerifierKey::parse(text(&witness.process.said, "vkey")).unwrap();
    let load = Load { keys, branches, given: Mutex::default(), witness: vkey };
    let mut random = Random(seed);
    let mut while_starting = 0;
    for kill in 0..kills {
        let moment = Duration::from_micros(1_000 + random.below(90_000));
        let failed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for log in 0..LOGS {
                for branch in 0..2 {
                    let (load, address, failed) = (&load, witness.http, &failed);
                    let random = Random(random.next());
                    scope.spawn(move || {
                        let ask = std::panic::AssertUnwindSafe(|| {
                            load.ask(log, branch, address, random);
                        });
                        if std::panic::catch_unwind(ask).is_err() {
                            failed.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            }
            // Not to wait for anything: this is the random moment.
            thread::sleep(moment);
            witness.process.kill();
        });
        assert_eq!(failed.into_inner(), 0, "seed {seed:#x}, kill {kill}: see above");
        // Every fifth time it dies once more while it starts.
        if kill % 5 == 4 {
            let mut command = world.witness_command("w", &files);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut starting = command.spawn().unwrap();
            thread::sleep(Duration::from_micros(random.below(40_000)));
            starting.kill().unwrap();
            starting.wait().unwrap();
            while_starting += 1;
        }
        witness = world.witness("w", &files);
        load.check_published(witness.http);
        load.check();
    }
    witness.process.stop();
    let given = load.given.into_inner().unwrap();
    let largest = given.iter().map(|one| one.size).max().unwrap();
    eprintln!(
        "{kills} kills and {while_starting} while starting: {} cosignatures, sizes up to {largest}",
        given.len()
    );
    assert!(given.len() > kills, "there was no load: {} cosignatures", given.len());
    assert!(given.iter().any(|one| one.size > FORK), "nothing beyond the fork was cosigned");
}

#[test]
fn never_signs_twice_or_goes_back_over_twenty_kills_under_load() {
    kill_many(20, 0x5eed);
}

#[test]
#[ignore = "takes minutes: 500 kills under load"]
fn never_signs_twice_or_goes_back_over_five_hundred_kills_under_load() {
    kill_many(500, 0xfeed);
}

#[test]
fn the_check_finds_double_signing_and_ways_back() {
    let now = Instant::now();
    let given = |branch, size, time, at| Given {
        log: 0,
        branch,
        size,
        time,
        asked: now + Duration::from_secs(at),
        came: now + Duration::from_secs(at) + Duration::from_millis(1),
    };
    let load = |all| Load {
        keys: Vec::new(),
        branches: Vec::new(),
        given: Mutex::new(all),
        witness: log_key("w.example").verifier(tlog::KeyKind::Cosignature),
    };
    load(vec![given(0, 5, 10, 1), given(0, 5, 10, 2), given(0, 7, 11, 3)]).check();
    for (bad, why) in [
        (vec![given(0, 5, 10, 1), given(1, 6, 11, 2)], "two branches"),
        (vec![given(0, 5, 10, 1), given(0, 4, 10, 2)], "smaller after it came"),
        (vec![given(0, 5, 10, 2), given(0, 4, 11, 1)], "smaller at a later time"),
    ] {
        let found = std::panic::catch_unwind(|| load(bad).check()).is_err();
        assert!(found, "{why} is not found");
    }
}
