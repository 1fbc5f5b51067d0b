//! Power cuts under load: the server is killed at random moments, again and again, and nothing
//! that it acknowledged is ever lost or moved, and no head that it signed is ever taken back.
//!
//! Parties send while the kill comes: two of them one statement after the other, a third a stream
//! of statements signed ahead. After a kill each sends again what was not answered, the same
//! bytes, as a client does. A failure is: an acknowledged statement that is not at its index, a
//! signed head that the next one does not extend, damage in the folder, a server that does not
//! start, or a log that does not verify at the end. A statement that was sent and not acknowledged
//! may be there or not.
//! The seed decides when the kills come; what they interrupt is up to the machine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::v1::append_stream_response::Result as Streamed;
use api::v1::{self, AppendResponse};
use exchange::Envelope;
use tlog::{CompactRange, Hash, SignedCheckpoint, TreeHead, VerifierKey, leaf_hash};
use tokio_stream::StreamExt as _;

use crate::parties::Voice;
use crate::service::{Client, checkpoint, entries, streamed, try_append};
use crate::support::{Random, Server, World, within};

const KILLS: u64 = 50;
const SEED: u64 = 0x636f_756e_7465_7273;
const NAMES: [&str; 3] = ["a.example", "b.example", "stream.example"];

/// Statements of the stream that may be unanswered.
const AHEAD: usize = 48;

/// What the server has promised, over all its lives.
#[derive(Default)]
struct Promises {
    /// Acknowledged statements by index.
    statements: BTreeMap<u64, Hash>,
    /// Signed heads by size.
    heads: BTreeMap<u64, Hash>,
    /// Sizes of heads received since the last kill.
    fresh: Vec<TreeHead>,
}

impl Promises {
    fn note(&mut self, envelope: &Envelope, answer: &AppendResponse, key: &VerifierKey) {
        let inclusion = answer.inclusion.as_ref().unwrap();
        let leaf = envelope.leaf_hash();
        let old = self.statements.insert(inclusion.index, leaf);
        assert!(old.is_none_or(|old| old == leaf), "two statements got index {}", inclusion.index);
        self.head(*SignedCheckpoint::open(&inclusion.checkpoint, key).unwrap().head());
    }

    fn head(&mut self, head: TreeHead) {
        match self.heads.insert(head.size, head.root) {
            Some(root) => assert_eq!(root, head.root, "two heads of size {}", head.size),
            None => self.fresh.push(head),
        }
    }
}

/// A party with what it has signed and not seen acknowledged.
struct Sender {
    voice: Voice,
    unanswered: VecDeque<Envelope>,
}

impl Sender {
    fn next(&mut self) -> Envelope {
        let envelope =
            if self.voice.number == 0 { self.voice.register() } else { self.voice.intent() };
        self.unanswered.push_back(envelope.clone());
        envelope
    }
}

/// Shared by the senders and the one who kills.
#[derive(Clone)]
struct Shared {
    promises: Arc<Mutex<Promises>>,
    acknowledged: Arc<AtomicU64>,
    key: VerifierKey,
}

impl Shared {
    fn note(&self, envelope: &Envelope, answer: &AppendResponse) {
        self.promises.lock().unwrap().note(envelope, answer, &self.key);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends one statement after the other until the server is gone.
async fn one_by_one(mut sender: Sender, mut log: Client, shared: Shared) -> Sender {
    loop {
        let envelope = match sender.unanswered.front() {
            Some(envelope) => envelope.clone(),
            None => sender.next(),
        };
        match try_append(&mut log, &envelope).await {
            Ok(answer) => {
                shared.note(&envelope, &answer);
                sender.unanswered.pop_front();
            }
            Err(status) => {
                assert!(from_transport(&status), "refused: {status:?}");
                return sender;
            }
        }
    }
}

/// Keeps a stream full until the server is gone.
async fn in_a_stream(mut sender: Sender, mut log: Client, shared: Shared) -> Sender {
    let (requests, receiver) = tokio::sync::mpsc::channel(AHEAD);
    while sender.unanswered.len() < AHEAD {
        sender.next();
    }
    for envelope in &sender.unanswered {
        requests.try_send(streamed(envelope)).unwrap();
    }
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let Ok(answers) = log.append_stream(receiver).await else { return sender };
    let mut answers = answers.into_inner();
    while let Some(Ok(answer)) = answers.next().await {
        let Some(Streamed::Appended(answer)) = answer.result else {
            panic!("refused in the stream: {answer:?}");
        };
        let envelope = sender.unanswered.pop_front().unwrap();
        shared.note(&envelope, &answer);
        let next = sender.next();
        if requests.send(streamed(&next)).await.is_err() {
            break;
        }
    }
    sender
}

/// True if nobody said it: the connection broke.
fn from_transport(status: &tonic::Status) -> bool {
    use tonic_types::StatusExt as _;
    status.get_error_details().error_info().is_none()
}

/// The log as a reader has checked it so far.
struct Checked {
    tree: CompactRange,
    leaves: Vec<Hash>,
    roots: Vec<Hash>,
}

impl Checked {
    /// Reads what is new, and holds every promise against it.
    async fn catch_up(&mut self, server: &Server, promises: &mut Promises) {
        let mut log = server.log().await;
        let newest = *checkpoint(&mut log, server).await.head();
        for leaf in entries(&mut log, self.tree.size()).await {
            let hash = leaf_hash(&leaf);
            self.tree.append(hash);
            self.leaves.push(hash);
            self.roots.push(self.tree.root());
        }
        assert_eq!(self.tree.head(), newest, "the entries are not those of the signed head");
        for (index, leaf) in &promises.statements {
            let found = self.leaves.get(*index as usize);
            assert_eq!(found, Some(leaf), "acknowledged statement {index} is not at its place");
        }
        for (size, root) in &promises.heads {
            let found = match *size {
                0 => Some(&tlog::EMPTY_ROOT),
                size => self.roots.get(size as usize - 1),
            };
            assert_eq!(found, Some(root), "the signed head of size {size} was taken back");
        }
        // The server must be able to prove it, too. Older heads follow from those before the kill.
        for head in promises.fresh.drain(..).filter(|head| head.size > 0) {
            let request =
                v1::GetConsistencyProofRequest { old_size: head.size, new_size: newest.size };
            let answer = log.get_consistency_proof(request).await.unwrap().into_inner();
            let proof: Vec<Hash> =
                answer.proof.iter().map(|hash| Hash::from_slice(hash).unwrap()).collect();
            tlog::verify_consistency(&head, &newest, &proof).unwrap();
        }
        promises.head(newest);
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_fifty_kills_under_load() {
    let world = World::new();
    let parties: Vec<String> = NAMES
        .iter()
        .map(|name| world.write_vkey(&format!("{name}.vkey"), &Voice::key_of(name)))
        .collect();
    let parties: Vec<&str> = parties.iter().map(String::as_str).collect();
    let mut server = world.serve("log", &parties);
    let shared =
        Shared { promises: Arc::default(), acknowledged: Arc::default(), key: server.key.clone() };
    let mut senders: Vec<Sender> = NAMES
        .iter()
        .map(|name| Sender { voice: Voice::new(name, &server.key), unanswered: VecDeque::new() })
        .collect();
    let mut checked = Checked { tree: CompactRange::new(), leaves: Vec::new(), roots: Vec::new() };
    let mut random = Random(SEED);
    let (mut while_starting, mut unanswered) = (0, 0);
    for kill in 0..KILLS {
        let moment = Duration::from_micros(2_000 + random.below(120_000));
        let before = shared.acknowledged.load(Ordering::Relaxed);
        let (back, dead) = within(async {
            let mut tasks = Vec::new();
            for sender in senders {
                let (log, shared) = (server.log().await, shared.clone());
                tasks.push(if sender.voice.key.name().as_str() == NAMES[2] {
                    tokio::spawn(in_a_stream(sender, log, shared))
                } else {
                    tokio::spawn(one_by_one(sender, log, shared))
                });
            }
            // Not to wait for anything: this is the random moment.
            tokio::time::sleep(moment).await;
            let dead = tokio::task::spawn_blocking(move || server.kill());
            let mut back = Vec::new();
            for task in tasks {
                back.push(
                    task.await.unwrap_or_else(|e| panic!("seed {SEED:#x}, kill {kill}: {e}")),
                );
            }
            (back, dead.await)
        });
        dead.unwrap();
        senders = back;
        unanswered += senders.iter().map(|sender| sender.unanswered.len()).sum::<usize>();
        // Every fifth time it dies once more while it recovers.
        if kill % 5 == 4 {
            let mut command = world.serve_command("log", &parties);
            let starting =
                command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut starting = starting.spawn().unwrap();
            std::thread::sleep(Duration::from_micros(random.below(60_000)));
            starting.kill().unwrap();
            starting.wait().unwrap();
            while_starting += 1;
        }
        // What is left is sound before anything is put right.
        let left = world.run(["fsck", "log"]);
        left.exits(0);
        server = world.serve("log", &parties);
        let mut promises = shared.promises.lock().unwrap();
        within(checked.catch_up(&server, &mut promises));
        let now = shared.acknowledged.load(Ordering::Relaxed);
        eprintln!(
            "kill {kill:2}: {:4} acknowledged, {} in the log",
            now - before,
            checked.tree.size()
        );
    }
    let acknowledged = shared.acknowledged.load(Ordering::Relaxed);
    let heads = shared.promises.lock().unwrap().heads.len();
    println!(
        "{KILLS} kills and {while_starting} while starting: {acknowledged} statements \
         acknowledged, {} in the log, {heads} signed heads, {unanswered} without an answer at a kill",
        checked.tree.size()
    );
    assert!(acknowledged > 10 * KILLS, "there was no load: {acknowledged} statements");

    world.write("log.vkey", format!("{}\n", server.key));
    let whole = world.run(["verify", &server.http, "--log-key", "log.vkey"]).good();
    let size = crate::support::number(&crate::support::list(&whole, "checks")[0], "size");
    assert_eq!(size, checked.tree.size());
    server.stop();
    let stopped = world.run(["fsck", "log"]).good();
    assert!(crate::support::list(&stopped, "findings").is_empty(), "{}", stopped.to_text());
}
