//! A party's session: what it signs is durable before, is sent again byte for byte, and no number
//! is used twice, wherever the process ends and whatever the log says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::v1;
use client::{
    CallError, Entropy, FalseAnswer, Party, Patience, Scope, Session, SessionError, SystemEntropy,
    Vault, VaultKey,
};
use exchange::predicate::{Intent, Predicate, Withdrawal, WithdrawalCode};
use exchange::{Envelope, Reason, Statement};
use tlog::evidence::{KnownKeys, Role};
use tlog::{Hash, SigningKey, VerifierKey};
use tonic::{Code, Status};
use zeroize::Zeroizing;

use crate::liar::{Liar, Log, Silence, refused, seeded, with_reason};

/// A party with a vault, and a log.
struct Scene {
    _folder: tempfile::TempDir,
    vault: Vault,
    key: SigningKey,
    liar: Liar,
    log: VerifierKey,
}

fn vault_key() -> VaultKey {
    VaultKey::File(Zeroizing::new([7; 32]))
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = seeded("lab.example", "lab");
        let party = Party {
            name: key.name().clone(),
            sealing: Zeroizing::new([3; 32]),
            recovery: *seeded("lab.example", "recovery").public().as_bytes(),
        };
        let path = folder.path().join("lab.vault");
        let vault = Vault::create(&path, vault_key(), &party, &mut SystemEntropy).unwrap();
        let liar = Liar::serve(Log::of(2)).await;
        let log = liar.log(|log| log.verifier());
        Self { _folder: folder, vault, key, liar, log }
    }

    async fn open(&self) -> Result<Session<'_, SystemEntropy>, SessionError> {
        let (url, log) = (self.liar.url(), self.log.clone());
        Session::open(&url, log, &self.key, &self.vault, SystemEntropy).await
    }

    /// What the vault has of this party's place in the log.
    fn scope(&self) -> Option<Scope> {
        self.vault.scope(self.log.name(), &Hash::new([0; 32])).unwrap()
    }

    fn trusted_size(&self) -> Option<u64> {
        let note = self.vault.trusted_checkpoint(self.log.name()).unwrap()?;
        Some(tlog::SignedCheckpoint::open(&note, &self.log).unwrap().head().size)
    }

    /// This party's statements in the log, in order.
    fn logged(&self) -> Vec<Envelope> {
        let leaves = self.liar.log(|log| log.leaves.clone());
        let all = leaves.iter().map(|leaf| Envelope::parse(leaf).unwrap());
        all.filter(|envelope| envelope.key().name() == self.key.name()).collect()
    }

    /// The invariants: one payload for each number ever sent, and in the log a chain without a
    /// break.
    fn check_chain(&self) {
        let mut sent: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for leaf in self.liar.received() {
            let number = common(&leaf).number;
            let first = sent.entry(number).or_insert_with(|| leaf.clone());
            assert_eq!(*first, leaf, "number {number} was signed twice");
        }
        // And so nothing that it ever sent convicts it of anything.
        let public = self.key.verifier(tlog::KeyKind::Ed25519);
        let known = KnownKeys::default().with(Role::Party, public);
        let received: Vec<Envelope> =
            self.liar.received().iter().map(|leaf| Envelope::parse(leaf).unwrap()).collect();
        for (place, a) in received.iter().enumerate() {
            for b in &received[place..] {
                assert_eq!(exchange::evidence::statement_fork(&known, a, b), Ok(None));
            }
        }
        let (mut number, mut previous) = (0, None);
        for envelope in self.logged() {
            let common = common(envelope.as_bytes());
            assert!(common.number > number, "numbers rise");
            assert_eq!(common.previous, previous, "statement {}", common.number);
            (number, previous) = (common.number, Some(envelope.id()));
        }
        if let Some(scope) = self.scope() {
            assert!(scope.number >= number);
            if scope.pending.is_none() {
                assert_eq!(scope.previous, previous.map(|id| id.hash()));
            }
        }
    }
}

fn common(leaf: &[u8]) -> exchange::Common {
    let envelope = Envelope::parse(leaf).unwrap();
    Statement::parse(envelope.payload()).unwrap().common().clone()
}

fn intent(session: &Session<'_, impl Entropy>) -> Predicate {
    let run = session.next_run().unwrap();
    Predicate::Intent(Intent { run, nonce: *Hash::of(&[&run.to_be_bytes()]).as_bytes() })
}

/// Makes answers to appends be looked at; what is found is kept for the test.
fn watch<T: Send + 'static>(
    liar: &Liar,
    mut look: impl FnMut(&v1::AppendRequest) -> T + Send + 'static,
) -> Arc<Mutex<Vec<T>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    liar.lies(|lies| {
        lies.append = Some(Box::new(move |_, request, honest| {
            let found = look(request);
            sink.lock().unwrap().push(found);
            honest
        }));
    });
    seen
}

#[tokio::test]
async fn number_and_payload_are_durable_before_a_signature_leaves() {
    let scene = Scene::new().await;
    let mut session = scene.open().await.unwrap();
    let (path, origin) = (scene.vault.folder().to_owned(), scene.log.name().clone());
    // Another process's view of the vault, at the moment in which the envelope arrives.
    let seen = watch(&scene.liar, move |request| {
        let vault = Vault::open(&path, vault_key()).unwrap();
        let scope = vault.scope(&origin, &Hash::new([0; 32])).unwrap().unwrap();
        let envelope = Envelope::parse(&request.envelope).unwrap();
        (scope.number, scope.pending == Some(envelope.payload().to_vec()))
    });
    session.register().await.unwrap();
    for _ in 0..2 {
        let intent = intent(&session);
        session.say(intent).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [(1, true), (2, true), (3, true)]);
    let scope = scene.scope().unwrap();
    assert_eq!((scope.number, scope.runs, scope.pending), (3, 2, None));
    assert_eq!(scene.trusted_size(), Some(5));
    scene.check_chain();
}

#[tokio::test]
async fn after_a_timeout_the_identical_envelope_is_sent_again() {
    for silence in [Silence::AfterLogging, Silence::BeforeLogging] {
        let scene = Scene::new().await;
        let mut session = scene.open().await.unwrap();
        session.register().await.unwrap();
        let first = intent(&session);
        let prepared = session.prepare(first).await.unwrap();
        let id = prepared.id();
        scene.liar.lies(|lies| lies.silence = Some(silence));
        let hasty = Patience { call: Duration::from_millis(200), ..Patience::default() };
        session.connection().set_patience(hasty);
        let error = session.send(prepared).await.unwrap_err();
        assert!(matches!(error, SessionError::Call(CallError::Unreachable { .. })), "{error}");
        assert!(scene.scope().unwrap().pending.is_some());

        // The same session goes on with the next statement: the one before comes first.
        scene.liar.tells_the_truth();
        session.connection().set_patience(Patience::default());
        let next = Predicate::Withdrawal(Withdrawal { intent: id, code: WithdrawalCode::Other });
        session.say(next).await.unwrap();
        let received = scene.liar.received();
        assert_eq!(received.len(), 4, "{silence:?}");
        assert_eq!(received[1], received[2], "{silence:?}: byte for byte");
        assert_eq!(scene.logged().len(), 3);
        assert_eq!(scene.scope().unwrap().runs, 1);
        scene.check_chain();
    }
}

#[tokio::test]
async fn the_next_session_sends_what_the_last_one_got_no_answer_for() {
    for silence in [Silence::AfterLogging, Silence::BeforeLogging] {
        let scene = Scene::new().await;
        let mut session = scene.open().await.unwrap();
        session.register().await.unwrap();
        let first = intent(&session);
        scene.liar.lies(|lies| lies.silence = Some(silence));
        // The process is gone while it waits.
        let waiting = tokio::time::timeout(Duration::from_millis(200), session.say(first));
        assert!(waiting.await.is_err());
        drop(session);
        assert_eq!(scene.liar.received().len(), 2);

        // A log that still does not answer leaves it as it is.
        scene.liar.lies(|lies| {
            lies.append = Some(Box::new(|_, _, _| Err(refused(Reason::Stopping))));
        });
        let error = scene.open().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, SessionError::Call(CallError::Denied(_))), "{error}");
        assert!(scene.scope().unwrap().pending.is_some());

        scene.liar.tells_the_truth();
        let session = scene.open().await.unwrap();
        let scope = scene.scope().unwrap();
        assert_eq!((scope.number, scope.runs, scope.pending), (2, 1, None));
        assert_eq!(session.next_run().unwrap(), 2);
        assert_eq!(scene.logged().len(), 2);
        scene.check_chain();
    }
}

/// Answers appends with this status, and does not log them.
fn answer_with(liar: &Liar, status: Status) {
    liar.lies(|lies| {
        lies.append = Some(Box::new(move |log, _, _| {
            log.pop();
            Err(status.clone())
        }));
    });
}

#[tokio::test]
async fn after_a_refusal_the_next_statement_has_a_new_number() {
    let scene = Scene::new().await;
    let mut session = scene.open().await.unwrap();
    session.register().await.unwrap();
    let mut number = 1;
    let refusals = Reason::ALL.iter().filter(|r| !r.is_local() || **r == Reason::NotAdmitted);
    for reason in refusals {
        answer_with(&scene.liar, refused(*reason));
        let next = intent(&session);
        let error = session.say(next).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, SessionError::Call(CallError::Denied(denied))
                if denied.reason == reason.as_str()),
            "{error}"
        );
        number += 1;
        let scope = scene.scope().unwrap();
        assert_eq!((scope.number, scope.pending), (number, None), "{reason}");
        scene.liar.tells_the_truth();
        let next = intent(&session);
        let logged = session.say(next).await.unwrap();
        number += 1;
        assert_eq!(common(logged.envelope.as_bytes()).number, number, "{reason} burns a number");
    }
    scene.check_chain();
}

#[tokio::test]
async fn a_status_that_is_no_refusal_of_the_statement_leaves_it_to_be_sent_again() {
    let scene = Scene::new().await;
    let mut session = scene.open().await.unwrap();
    session.register().await.unwrap();
    let unknown = [
        refused(Reason::QueueFull),
        refused(Reason::RateLimited),
        refused(Reason::ReadOnly),
        refused(Reason::Stopping),
        // From the server, but not about the statement.
        with_reason(Code::DeadlineExceeded, "TOO_SLOW"),
        with_reason(Code::ResourceExhausted, "OVERLOADED"),
        with_reason(Code::Internal, "TRANSPORT"),
        with_reason(Code::DataLoss, "UNREADABLE"),
        with_reason(Code::Aborted, "A_REASON_OF_TOMORROW"),
        // From whatever is in between.
        Status::unavailable("no route"),
        Status::deadline_exceeded("proxy"),
        Status::permission_denied("a proxy's own"),
        Status::invalid_argument("a proxy's own"),
        Status::unknown("?"),
        Status::internal("?"),
    ];
    for (done, status) in (1..).zip(unknown) {
        let what = format!("{:?} {}", status.code(), status.message());
        answer_with(&scene.liar, status);
        let next = intent(&session);
        session.say(next).await.map(|_| ()).unwrap_err();
        let scope = scene.scope().unwrap();
        assert_eq!((scope.number, scope.runs), (1 + done, done - 1), "{what}");
        assert!(scope.pending.is_some(), "{what}");
        // Neither the next statement nor the next session can get past it.
        session.say(Predicate::Intent(Intent { run: 99, nonce: [9; 32] })).await.unwrap_err();
        drop(session);
        scene.open().await.map(|_| ()).unwrap_err();
        assert_eq!(scene.scope().unwrap(), scope, "{what}");

        scene.liar.tells_the_truth();
        session = scene.open().await.unwrap();
        let received = scene.liar.received();
        let [.., first, second, third, fourth] = received.as_slice() else { panic!("{what}") };
        assert!([second, third, fourth] == [first; 3], "{what}: byte for byte");
        let scope = scene.scope().unwrap();
        assert_eq!((scope.number, scope.runs, scope.pending), (1 + done, done, None), "{what}");
    }
    scene.check_chain();
}

#[tokio::test]
async fn a_false_receipt_changes_nothing_and_the_statement_stays_pending() {
    let scene = Scene::new().await;
    let mut session = scene.open().await.unwrap();
    session.register().await.unwrap();
    let trusted = scene.trusted_size();
    scene.liar.lies(|lies| {
        lies.append = Some(Box::new(|log, _, honest| {
            let inclusion = Some(log.inclusion(0, log.size()));
            Ok(v1::AppendResponse { inclusion, ..honest? })
        }));
    });
    let next = intent(&session);
    let error = session.say(next).await.map(|_| ()).unwrap_err();
    let named = SessionError::Call(CallError::False(FalseAnswer::Malformed("")));
    assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&named), "{error}");
    let scope = scene.scope().unwrap();
    assert_eq!((scope.number, scope.runs), (2, 0));
    assert!(scope.pending.is_some());
    assert_eq!(scene.trusted_size(), trusted, "the head of a false receipt is not kept");
    drop(session);

    scene.liar.tells_the_truth();
    scene.open().await.unwrap();
    assert_eq!(scene.scope().unwrap().runs, 1);
    scene.check_chain();
}

#[tokio::test]
async fn a_refusal_to_prove_the_head_is_no_refusal_of_the_statement() {
    let scene = Scene::new().await;
    let mut session = scene.open().await.unwrap();
    session.register().await.unwrap();
    let next = intent(&session);
    let prepared = session.prepare(next).await.unwrap();
    // The log takes it, and then says that it would never take such a statement.
    scene.liar.lies(|lies| {
        lies.consistency = Some(Box::new(|_, _, _| Err(refused(Reason::BadField))));
    });
    let error = session.send(prepared).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, SessionError::Call(CallError::Unproved { .. })), "{error}");
    assert!(scene.scope().unwrap().pending.is_some());
    scene.liar.tells_the_truth();
    session.say(intent(&session)).await.unwrap();
    assert_eq!(scene.logged().len(), 3);
    scene.check_chain();
}

#[tokio::test]
async fn a_log_that_was_rolled_back_or_forked_between_sessions_gets_nothing_signed() {
    let scene = Scene::new().await;
    let mut session = scene.open().await.unwrap();
    session.register().await.unwrap();
    drop(session);
    let whole = scene.liar.log(|log| log.clone());
    let before = files(scene.vault.folder());

    scene.liar.log(|log| *log = Log::of(2));
    let error = scene.open().await.map(|_| ()).unwrap_err();
    let SessionError::Call(CallError::False(answer)) = &error else { panic!("{error}") };
    assert!(matches!(answer, FalseAnswer::RolledBack { old: 3, new: 2, .. }), "{answer}");

    scene.liar.log(|log| *log = Log::of(9));
    let error = scene.open().await.map(|_| ()).unwrap_err();
    let SessionError::Call(CallError::False(answer)) = &error else { panic!("{error}") };
    assert!(matches!(answer, FalseAnswer::NotAnExtension { old: 3, new: 9, .. }), "{answer}");

    assert_eq!(scene.liar.received().len(), 1, "nothing more was sent");
    assert_eq!(files(scene.vault.folder()), before, "nothing was written");
    scene.liar.log(|log| *log = whole);
    scene.open().await.unwrap();
    scene.check_chain();
}

/// All files of a folder with their bytes.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    found
}

/// Ends the process, as far as a test can, at the n-th time that the session asks for randomness:
/// just before the n-th file of the vault is sealed and written.
#[derive(Clone)]
struct Dying(Arc<AtomicUsize>);

impl Entropy for Dying {
    fn fill(&mut self, bytes: &mut [u8]) {
        let left = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(left.is_ok(), "the process ends here");
        SystemEntropy.fill(bytes);
    }
}

#[tokio::test]
async fn a_crash_before_any_write_of_the_vault_loses_nothing_and_repeats_nothing() {
    let mut completed = false;
    for steps in 0..40 {
        let scene = Arc::new(Scene::new().await);
        let work = {
            let scene = Arc::clone(&scene);
            let dying = Dying(Arc::new(AtomicUsize::new(steps)));
            async move {
                let (url, log) = (scene.liar.url(), scene.log.clone());
                let opened = Session::open(&url, log, &scene.key, &scene.vault, dying).await;
                let mut session = opened.unwrap();
                session.register().await.unwrap();
                for _ in 0..2 {
                    let next = intent(&session);
                    session.say(next).await.unwrap();
                }
            }
        };
        let ended = tokio::spawn(work).await;
        completed = ended.is_ok();

        // The next process: it settles what is open and goes on to three statements.
        let mut session = scene.open().await.unwrap();
        assert_eq!(scene.scope().and_then(|scope| scope.pending), None, "{steps}");
        session.register().await.unwrap();
        while session.next_run().unwrap() <= 2 {
            let next = intent(&session);
            session.say(next).await.unwrap();
        }
        drop(session);
        assert_eq!(scene.logged().len(), 3, "crash before write {steps}");
        scene.check_chain();
        if completed {
            break;
        }
    }
    assert!(completed, "the crashes did not go through all steps");
}

#[tokio::test]
async fn a_crash_at_any_await_loses_nothing_and_repeats_nothing() {
    // A future that is dropped after so many steps ends where a process may end.
    let mut completed = false;
    for polls in 1..400 {
        let scene = Scene::new().await;
        {
            let work = async {
                let mut session = scene.open().await.unwrap();
                session.register().await.unwrap();
                let next = intent(&session);
                session.say(next).await.unwrap();
            };
            let mut work = std::pin::pin!(work);
            let mut left = polls;
            completed = std::future::poll_fn(|cx| {
                if left == 0 {
                    return std::task::Poll::Ready(false);
                }
                left -= 1;
                work.as_mut().poll(cx).map(|()| true)
            })
            .await;
        }
        let mut session = scene.open().await.unwrap();
        session.register().await.unwrap();
        while session.next_run().unwrap() <= 1 {
            let next = intent(&session);
            session.say(next).await.unwrap();
        }
        drop(session);
        assert_eq!(scene.logged().len(), 2, "dropped after {polls} polls");
        scene.check_chain();
        if completed {
            break;
        }
    }
    assert!(completed, "the work did not come to its end");
}
