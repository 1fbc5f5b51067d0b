//! A log and its witnesses: what it shows and answers when they cosign, are late, lie, or know more
//! of it than it does.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use api::v1::{self, WaitFor};
use bytes::Bytes;
use exchange::Envelope;
use exchange::predicate::{Intent, Predicate};
use tlog::{Note, Policy, SignedCheckpoint, VerifiedCheckpoint, VerifierKey, verify_inclusion};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::metrics::value;
use crate::parties::{Voice, seeded};
use crate::service::{Client, append, try_append};
use crate::support::{Server, World, copy_folder, evaldata, eventually, finish, text, within};
use crate::witness::{Witness, log_key};

/// A log whose key is made, and the folder of its data.
struct Scene {
    world: World,
    key: VerifierKey,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let party = Voice::key_of("a.example");
        world.write_vkey("a.vkey", &party);
        let server = world.serve("log", &["a.vkey"]);
        let key = server.key.clone();
        server.stop();
        Self { world, key }
    }

    fn witness(&self, data: &str) -> Witness {
        self.world.witness(data, &["log/log.vkey"])
    }

    /// Writes the policy: these witnesses by name, vkey and URL, and how many of them.
    fn policy(&self, witnesses: &[(&str, String, String)], threshold: usize) -> Policy {
        let mut text = format!("log {}\n", self.key);
        for (name, vkey, url) in witnesses {
            text += &format!("witness {name} {vkey} {url}\n");
        }
        let names: Vec<&str> = witnesses.iter().map(|(name, ..)| *name).collect();
        text += &format!("group g {threshold} {}\nquorum g\n", names.join(" "));
        self.world.write("trust.policy", &text);
        Policy::parse(text.as_bytes()).unwrap()
    }

    /// Starts the log with that policy and a quick beat.
    fn serve(&self) -> Server {
        Server::start(self.command(), &self.world.path("log.stderr"))
            .unwrap_or_else(|e| panic!("{e}"))
    }

    fn command(&self) -> std::process::Command {
        let toml = "[log]\ndata = \"log\"\n[witnesses]\npolicy = \"trust.policy\"\nbeat_ms = 50\n\
                    deadline_ms = 1000\nrefresh_seconds = 1\n[limits]\ncall_seconds = 3\n\
                    [[party]]\nname = \"a.example\"\nvkey = \"a.vkey\"\n";
        self.world.configured(toml)
    }

    fn voice(&self) -> Voice {
        Voice::new("a.example", &self.key)
    }
}

/// Name, vkey and URL of a witness that runs.
fn entry<'a>(name: &'a str, witness: &Witness) -> (&'a str, String, String) {
    let said = &witness.process.said;
    (name, text(said, "vkey").to_owned(), text(said, "http").to_owned())
}

/// Name, vkey and URL of a witness that this test plays, or nobody.
fn played<'a>(name: &'a str, url: &str) -> (&'a str, String, String) {
    // A policy lists no key twice.
    let key = seeded(&format!("{name}.example"), name);
    (name, key.verifier(tlog::KeyKind::Cosignature).to_string(), url.to_owned())
}

async fn append_witnessed(
    log: &mut Client,
    envelope: &Envelope,
) -> Result<v1::AppendResponse, Status> {
    let envelope = Bytes::copy_from_slice(envelope.as_bytes());
    let request = v1::AppendRequest { envelope, wait_for: WaitFor::Witnessed.into() };
    log.append(request).await.map(tonic::Response::into_inner)
}

/// The receipt's checkpoint under the policy, and its proof checked.
fn verified(
    answer: v1::AppendResponse,
    envelope: &Envelope,
    policy: &Policy,
) -> VerifiedCheckpoint {
    let inclusion = answer.inclusion.unwrap();
    let checkpoint = policy.verify(&Note::parse(&inclusion.checkpoint).unwrap()).unwrap();
    let proof: Vec<_> =
        inclusion.proof.iter().map(|hash| tlog::Hash::from_slice(hash).unwrap()).collect();
    verify_inclusion(&envelope.leaf_hash(), inclusion.index, checkpoint.head(), &proof).unwrap();
    checkpoint
}

async fn checkpoint(log: &mut Client, wait_for: WaitFor) -> Result<Note, Status> {
    let request = v1::GetCheckpointRequest { wait_for: wait_for.into() };
    let answer = log.get_checkpoint(request).await?.into_inner();
    Ok(Note::parse(&answer.checkpoint).unwrap())
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[test]
fn receipts_and_checkpoints_carry_the_quorum_that_the_policy_asks_for() {
    let scene = Scene::new();
    let witnesses = ["w1", "w2", "w3"].map(|data| scene.witness(data));
    let entries: Vec<_> =
        ["one", "two", "three"].into_iter().zip(&witnesses).map(|(n, w)| entry(n, w)).collect();
    let policy = scene.policy(&entries, 2);
    let server = scene.serve();
    within(async {
        let mut log = server.log().await;
        let mut a = scene.voice();
        let registration = a.register();
        let answer = append_witnessed(&mut log, &registration).await.unwrap();
        assert!(!answer.existed);
        let first = verified(answer, &registration, &policy);
        assert!(first.witnesses().count() >= 2);
        // The same again, and others, are under heads that never fall.
        let again = append_witnessed(&mut log, &registration).await.unwrap();
        assert!(again.existed);
        verified(again, &registration, &policy);
        let mut size = first.head().size;
        for _ in 0..5 {
            let intent = a.intent();
            let receipt = append_witnessed(&mut log, &intent).await.unwrap();
            let receipt = verified(receipt, &intent, &policy);
            assert!(receipt.head().size > size);
            size = receipt.head().size;
        }
        // A statement that does not wait is under the newest head at once.
        let committed = append(&mut log, &a.intent()).await;
        let newest = checkpoint(&mut log, WaitFor::Committed).await.unwrap();
        let newest = SignedCheckpoint::of_note(newest, &server.key).unwrap();
        assert_eq!(newest.head().size, committed + 1);
        assert_eq!(newest.note().signatures().len(), 1, "signed by the log alone");
        for wait_for in [WaitFor::Unspecified, WaitFor::Witnessed] {
            let shown = checkpoint(&mut log, wait_for).await.unwrap();
            policy.verify(&shown).unwrap();
        }
    });
    // What is shown over HTTP comes after it, with all three in time.
    let shown = eventually("all three cosigned the newest head", || {
        let note = Note::parse(&server.get("/checkpoint").body).unwrap();
        let shown = policy.verify(&note).expect("only what a quorum cosigned is shown");
        (shown.witnesses().count() == 3 && shown.head().size == 7).then_some(shown)
    });
    // An idle log is cosigned again, so its age stays young.
    let time = shown.witnesses().map(|(_, time)| time).max().unwrap();
    eventually("an idle log is cosigned again", || {
        let note = Note::parse(&server.get("/checkpoint").body).unwrap();
        let shown = policy.verify(&note).unwrap();
        shown.witnesses().all(|(_, later)| later > time).then_some(())
    });
    let metrics = server.get("/metrics");
    assert_eq!(value(metrics.text(), "countersign_witnessed_size"), 7.0);
    for name in ["one", "two", "three"] {
        let series = format!("countersign_cosignature_age_seconds{{witness=\"{name}\"}}");
        assert!(value(metrics.text(), &series) < 60.0);
    }
    server.stop();
}

#[test]
fn a_witness_that_is_down_keeps_nobody_waiting_while_the_quorum_is_met() {
    let scene = Scene::new();
    let witness = scene.witness("w1");
    let entries = [entry("up", &witness), played("down", "http://127.0.0.1:9/")];
    let policy = scene.policy(&entries, 1);
    let server = scene.serve();
    within(async {
        let mut log = server.log().await;
        let registration = scene.voice().register();
        let answer = append_witnessed(&mut log, &registration).await.unwrap();
        verified(answer, &registration, &policy);
    });
    let failures = "countersign_cosignature_failures_total{witness=\"down\",cause=\"unreachable\"}";
    eventually("the silence of a witness is counted", || {
        (value(server.get("/metrics").text(), failures) > 0.0).then_some(())
    });
    server.stop();
}

#[test]
fn without_its_quorum_the_answer_names_the_index_and_comes_later() {
    let scene = Scene::new();
    let one = scene.witness("w1");
    let two = scene.witness("w2");
    let entries = [entry("one", &one), entry("two", &two)];
    let policy = scene.policy(&entries, 2);
    let address = two.http;
    two.process.stop();
    let server = scene.serve();
    let registration = scene.voice().register();
    within(async {
        let mut log = server.log().await;
        let refused = checkpoint(&mut log, WaitFor::Witnessed).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (Code::Unavailable, "NOT_WITNESSED".into()));
        let late = append_witnessed(&mut log, &registration).await.unwrap_err();
        assert_eq!((late.code(), reason(&late)), (Code::DeadlineExceeded, "NOT_WITNESSED".into()));
        assert_eq!(late.get_details_error_info().unwrap().metadata["index"], "0");
        // It is in the log, and what is shown says so, without a quorum.
        assert!(try_append(&mut log, &registration).await.unwrap().existed);
        let shown = checkpoint(&mut log, WaitFor::Unspecified).await.unwrap();
        assert!(policy.verify(&shown).is_err());
    });
    let two = scene.world.witness_at("w2", &["log/log.vkey"], address);
    within(async {
        let mut log = server.log().await;
        let answer = loop {
            match append_witnessed(&mut log, &registration).await {
                Ok(answer) => break answer,
                Err(late) => assert_eq!(reason(&late), "NOT_WITNESSED"),
            }
        };
        assert!(answer.existed);
        verified(answer, &registration, &policy);
    });
    two.process.stop();
    server.stop();
}

/// What a witness that this test plays does with a connection on which a request has begun.
type Play = fn(TcpStream);

/// Plays a witness on a port of its own.
fn play(act: Play) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            thread::spawn(move || {
                let mut begin = [0; 1024];
                let _ = stream.read(&mut begin);
                act(stream);
            });
        }
    });
    url
}

fn answer(mut stream: TcpStream, status: &str, headers: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes());
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // Until the other end has read it: a reset would take the answer away.
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn slow_and_lying_witnesses_cost_the_log_nothing_but_their_own_cosignature() {
    const LINE: &str = "— liar.example AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n";
    let silent: Play = |stream| {
        thread::sleep(Duration::from_secs(600));
        drop(stream);
    };
    let endless: Play = |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"5\r\nxxxx\n\r\n").is_ok() {}
    };
    let trickle: Play = |mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    };
    let acts: [(&str, Play, &str); 10] = [
        ("silent", silent, "unreachable"),
        ("endless", endless, "unreachable"),
        ("trickle", trickle, "unreachable"),
        ("nonsense", |s| answer(s, "200 OK", "", "not a line\n"), "bad_answer"),
        ("empty", |s| answer(s, "200 OK", "", ""), "bad_answer"),
        ("stranger", |s| answer(s, "200 OK", "", LINE), "bad_answer"),
        ("missing", |s| answer(s, "404 Not Found", "", "gone\n"), "refused"),
        (
            "restless",
            |s| answer(s, "409 Conflict", "Content-Type: text/x.tlog.size\r\n", "0\n"),
            "bad_answer",
        ),
        ("untyped", |s| answer(s, "409 Conflict", "", "1\n"), "bad_answer"),
        (
            "boaster",
            |s| {
                let size = "9223372036854775807\n";
                answer(s, "409 Conflict", "Content-Type: text/x.tlog.size\r\n", size);
            },
            "ahead",
        ),
    ];
    let scene = Scene::new();
    let good = scene.witness("w1");
    let mut entries = vec![entry("good", &good)];
    for (name, act, _) in acts {
        entries.push(played(name, &play(act)));
    }
    let policy = scene.policy(&entries, 1);
    let server = scene.serve();
    within(async {
        let mut log = server.log().await;
        let mut a = scene.voice();
        append(&mut log, &a.register()).await;
        for _ in 0..3 {
            let intent = a.intent();
            let answer = append_witnessed(&mut log, &intent).await.unwrap();
            let checkpoint = verified(answer, &intent, &policy);
            assert_eq!(checkpoint.witnesses().count(), 1, "nobody else cosigned");
        }
    });
    eventually("every way to lie is counted as what it is", || {
        let metrics = server.get("/metrics");
        let counted = acts.iter().all(|(name, _, cause)| {
            let series = format!(
                "countersign_cosignature_failures_total{{witness=\"{name}\",cause=\"{cause}\"}}"
            );
            value(metrics.text(), &series) > 0.0
        });
        counted.then_some(())
    });
    assert_eq!(server.get("/healthz").status, 200, "what a witness claims stops no log");
    server.stop();
}

#[test]
fn a_log_that_was_rolled_back_is_told_by_its_witness_and_does_not_start() {
    let scene = Scene::new();
    let witness = scene.witness("w1");
    let policy = scene.policy(&[entry("w", &witness)], 1);
    let server = scene.serve();
    let mut a = scene.voice();
    let first = a.register();
    within(async {
        let answer = append_witnessed(&mut server.log().await, &first).await.unwrap();
        verified(answer, &first, &policy);
    });
    server.stop();
    copy_folder(&scene.world.path("log"), &scene.world.path("backup"));
    let server = scene.serve();
    let second = a.intent();
    within(async {
        append_witnessed(&mut server.log().await, &second).await.unwrap();
    });
    server.stop();
    // An old copy is put back.
    std::fs::remove_dir_all(scene.world.path("log")).unwrap();
    copy_folder(&scene.world.path("backup"), &scene.world.path("log"));
    finish(scene.command()).exits(2).says(&["rolled back", "size 2", "the witness w"]);
    // With its witness away it starts, and stops when that comes back.
    let address = witness.http;
    witness.process.stop();
    let server = scene.serve();
    let witness = scene.world.witness_at("w1", &["log/log.vkey"], address);
    let ended = server.ended();
    assert_eq!(ended.code(), Some(2), "{ended}");
    let log = std::fs::read_to_string(scene.world.path("log.stderr")).unwrap();
    assert!(log.contains("rolled back"), "{log}");
    // Whoever goes on from the old copy, without witnesses, is found out as well.
    let server = scene.world.serve("log", &["a.vkey"]);
    within(async {
        let mut log = server.log().await;
        let mut other = scene.voice();
        other.number = 1;
        other.previous = Some(first.id());
        for run in 1..=2 {
            let nonce = [run as u8; 32];
            append(&mut log, &other.say(Predicate::Intent(Intent { run, nonce }))).await;
        }
    });
    server.stop();
    finish(scene.command()).exits(2).says(&["rolled back"]);
    witness.process.stop();
}

#[test]
fn policies_that_a_log_cannot_be_served_under_are_refused_with_what_to_do() {
    let scene = Scene::new();
    let [own, other] = [
        scene.key.to_string(),
        log_key("other.example").verifier(tlog::KeyKind::Ed25519).to_string(),
    ];
    let (_, witness, _) = played("w", "");
    for (policy, words) in [
        (format!("log {other}\nwitness w {witness} http://x/\nquorum w\n"), ["lists logs", "log "]),
        (format!("log {own}\nquorum none\n"), ["quorum none", "leave --policy out"]),
        (format!("log {own}\nwitness w {witness}\nquorum w\n"), ["cannot be reached", "URL"]),
        (
            format!("log {own}\nwitness w {witness} https://x/\nquorum w\n"),
            ["witness w", "witnesses.ca"],
        ),
        ("nonsense\n".to_owned(), ["line 1", "nonsense"]),
    ] {
        scene.world.write("trust.policy", &policy);
        finish(scene.command()).exits(2).says(&words);
    }
}

#[test]
fn without_witnesses_nobody_can_be_waited_for() {
    let world = World::new();
    let party = world.write_vkey("a.vkey", &Voice::key_of("a.example"));
    let server = world.serve("log", &[&party]);
    within(async {
        let mut log = server.log().await;
        let registration = Voice::new("a.example", &server.key).register();
        let refused = append_witnessed(&mut log, &registration).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused)),
            (Code::Unimplemented, "NOT_SUPPORTED".into())
        );
        let refused = checkpoint(&mut log, WaitFor::Witnessed).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(!try_append(&mut log, &registration).await.unwrap().existed, "nothing was taken");
    });
}

#[test]
fn commit_waits_for_the_witnesses_of_the_users_own_policy() {
    let scene = Scene::new();
    let lab = scene.world.keygen("lab-a");
    let witness = scene.witness("w1");
    let policy = scene.policy(&[entry("w", &witness)], 1);
    let toml = "[log]\ndata = \"log\"\n[witnesses]\npolicy = \"trust.policy\"\nbeat_ms = 50\n\
                [[party]]\nname = \"lab-a.example\"\nvkey = \"lab-a.vkey\"\n";
    let server = scene.world.serve_as(toml);
    let run = evaldata(
        "inspect/arithmetic_match/\
         2026-11-23T17-57-59-00-00_arithmetic-match_K9qrD5Gs6XFtBdmFqQKxQ6.eval",
    );
    let run = run.to_str().unwrap();
    let commit = |policy: &str, out: &str| {
        let more = ["--wait", "witnessed", "--wait-seconds", "1", "--policy", policy, "--out", out];
        let words = ["commit", run, "--key", &lab, "--server", &server.grpc];
        let words = words.into_iter().chain(["--log-key", "log/log.vkey", "--no-agreement"]);
        scene.world.run(words.chain(more))
    };
    let report = commit("trust.policy", "one.countersign").good();
    assert_eq!(text(&report, "policy"), policy.digest().to_string());
    let receipt = tlog::Receipt::parse(&scene.world.read("one.tlog-proof")).unwrap();
    let cosigned = policy.verify(receipt.checkpoint()).expect("the receipt is cosigned");
    let bundle = String::from_utf8(scene.world.read("one.countersign")).unwrap();
    let bundle = exchange::bundle::Bundle::parse(bundle.as_bytes()).unwrap();
    assert_eq!(bundle.policy.as_bytes(), policy.text());
    let bundled = policy.verify(&Note::parse(bundle.checkpoint.as_bytes()).unwrap()).unwrap();
    assert!(bundled.head().size >= cosigned.head().size);

    // A policy of other witnesses is the user's right: what the log shows does not meet it.
    let (_, vkey, _) = played("x", "");
    let other = format!("log {}\nwitness x {vkey}\nquorum x\n", server.key);
    scene.world.write("other.policy", &other);
    commit("other.policy", "two.countersign").exits(2).says(&["quorum"]);
    let alien = log_key("alien.example").verifier(tlog::KeyKind::Ed25519);
    scene.world.write("alien.policy", format!("log {alien}\nwitness x {vkey}\nquorum x\n"));
    commit("alien.policy", "three.countersign").exits(2).says(&["does not name the log"]);
    scene.world.write("none.policy", format!("log {}\nquorum none\n", server.key));
    commit("none.policy", "four.countersign").exits(2).says(&["quorum none"]);
    server.stop();
}
