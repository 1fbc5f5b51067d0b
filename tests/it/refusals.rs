//! Every reason that can be met over the wire, with its google.rpc details. Here belongs what a
//! refused client is told; what makes it right is in the modules of the round trips.

use std::collections::BTreeMap;

use api::v1;
use bytes::Bytes;
use exchange::predicate::{
    Accept, Bound, Claim, Decline, DeclineCode, Intent, Keys, Party, Predicate, Tick,
};
use exchange::{ColumnName, Envelope, Reason, StatementId, Word};
use tlog::{Hash, SignedCheckpoint, TreeHead};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::parties::{Recorded, Voice, nonce, seeded, withdrawal};
use crate::service::{Client, append, entries, register, request, try_append};
use crate::support::{Server, World, within};

/// What a refusal must look like.
struct Expected {
    reason: &'static str,
    pointer: Option<&'static str>,
    /// Names and values; an empty value stands for any.
    metadata: Vec<(&'static str, String)>,
}

fn refusal(reason: &'static str) -> Expected {
    Expected { reason, pointer: None, metadata: Vec::new() }
}

impl Expected {
    fn at(mut self, pointer: &'static str) -> Self {
        self.pointer = Some(pointer);
        self
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }

    /// Checks a status against this and against the table in the documentation.
    fn check(&self, status: &Status) {
        let reason = self.reason;
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("{reason}: {status:?}"));
        assert_eq!(info.reason, reason, "{status:?}");
        assert_eq!(info.domain, "countersign.v1");
        assert_eq!(status.code(), documented()[reason], "{reason}");
        let fields: Vec<_> = details
            .bad_request()
            .map(|bad| bad.field_violations.iter().map(|v| v.field.as_str()).collect())
            .unwrap_or_default();
        assert_eq!(fields, self.pointer.into_iter().collect::<Vec<_>>(), "{reason}");
        for (name, value) in &self.metadata {
            let found = info.metadata.get(*name);
            let found = found.unwrap_or_else(|| panic!("{reason} without {name}: {status:?}"));
            assert!(value.is_empty() || found == value, "{reason}: {name} is {found}");
        }
        assert!(!status.message().is_empty(), "{reason} has no words");
        // Of an artifact that is too large, no time makes a smaller one.
        let retry = matches!(status.code(), Code::ResourceExhausted | Code::Unavailable)
            && reason != "ARTIFACT_TOO_LARGE";
        assert_eq!(details.retry_info().is_some(), retry, "{reason}");
        let quota = status.code() == Code::ResourceExhausted;
        assert_eq!(details.quota_failure().is_some(), quota, "{reason}");
        let precondition = status.code() == Code::FailedPrecondition;
        assert_eq!(details.precondition_failure().is_some(), precondition, "{reason}");
        let ids: Vec<_> = status.metadata().get_all("x-request-id").iter().collect();
        assert_eq!(ids.len(), 1, "{reason}: a refusal can be found in the server's log");
    }
}

/// The table of reasons in `docs/protocol.md`.
fn documented() -> &'static BTreeMap<String, Code> {
    static TABLE: std::sync::OnceLock<BTreeMap<String, Code>> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| {
        let codes = [
            ("INVALID_ARGUMENT", Code::InvalidArgument),
            ("UNAUTHENTICATED", Code::Unauthenticated),
            ("PERMISSION_DENIED", Code::PermissionDenied),
            ("ALREADY_EXISTS", Code::AlreadyExists),
            ("ABORTED", Code::Aborted),
            ("DATA_LOSS", Code::DataLoss),
            ("NOT_FOUND", Code::NotFound),
            ("FAILED_PRECONDITION", Code::FailedPrecondition),
            ("OUT_OF_RANGE", Code::OutOfRange),
            ("RESOURCE_EXHAUSTED", Code::ResourceExhausted),
            ("UNAVAILABLE", Code::Unavailable),
        ];
        let mut table = BTreeMap::new();
        for line in include_str!("../../docs/protocol.md").lines() {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let (Some(first), Some(second)) = (cells.next(), cells.next()) else { continue };
            let Some((_, code)) = codes.iter().find(|(name, _)| *name == first) else { continue };
            // Reasons stand in backticks; words after a colon are for people.
            let words = second.split('`').skip(1).step_by(2);
            table.extend(words.map(|word| (word.to_owned(), *code)));
        }
        table
    })
}

#[test]
fn the_documentation_lists_every_reason() {
    for reason in Reason::ALL {
        assert!(documented().contains_key(reason.as_str()), "{reason} is not documented");
    }
    for word in documented().keys() {
        let known = Reason::ALL.iter().any(|reason| reason.as_str() == word);
        assert!(known, "{word} is documented, but no reason");
    }
}

/// A log in which A has an ended, a withdrawn and an open intent.
struct Scene {
    _world: World,
    server: Server,
    log: Client,
    a: Voice,
    b: Voice,
    ended: StatementId,
    open: StatementId,
    open_nonce: [u8; 32],
    size: u64,
}

const NAMES: [&str; 3] = ["a.example", "b.example", "d.example"];

async fn scene() -> Scene {
    let world = World::new();
    let parties = NAMES.map(|name| world.write_vkey(&format!("{name}.vkey"), &Voice::key_of(name)));
    let server = world.serve("log", &parties.each_ref().map(String::as_str));
    let mut log = server.log().await;
    let mut a = register(&mut log, &server, NAMES[0]).await;
    let b = register(&mut log, &server, NAMES[1]).await;
    let ended = a.intent();
    append(&mut log, &ended).await;
    let end = a.say(withdrawal(ended.id()));
    append(&mut log, &end).await;
    let open_nonce = a.next_intent().nonce;
    let open = a.intent();
    let size = append(&mut log, &open).await + 1;
    let (ended, open) = (ended.id(), open.id());
    Scene { _world: world, server, log, a, b, ended, open, open_nonce, size }
}

impl Scene {
    async fn refuses(&mut self, envelope: &Envelope, expected: Expected) {
        let leaf = envelope.as_bytes();
        self.refuses_bytes(leaf, expected).await;
    }

    async fn refuses_bytes(&mut self, leaf: &[u8], expected: Expected) {
        let request = v1::AppendRequest {
            envelope: Bytes::copy_from_slice(leaf),
            wait_for: v1::WaitFor::Committed.into(),
        };
        match self.log.append(request).await {
            Ok(answer) => panic!("{} was expected, but: {answer:?}", expected.reason),
            Err(status) => expected.check(&status),
        }
    }

    /// What was refused left no trace, and the next good statement is taken.
    async fn still_takes_statements(mut self) {
        let index = append(&mut self.log, &self.a.intent()).await;
        assert_eq!(index, self.size, "a refused statement is in the log");
        assert_eq!(entries(&mut self.log, 0).await.len() as u64, self.size + 1);
    }

    async fn put(&self, bytes: &[u8]) -> Hash {
        let mut artifacts = self.server.artifacts().await;
        let piece = v1::PutArtifactRequest { chunk: Bytes::copy_from_slice(bytes) };
        let put = artifacts.put_artifact(tokio_stream::once(piece)).await.unwrap().into_inner();
        Hash::from_slice(&put.digest).unwrap()
    }
}

/// The payload of an envelope, with one piece of text in it replaced.
fn edited(envelope: &Envelope, from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(envelope.payload()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn what_the_bytes_alone_show_is_refused_with_a_pointer() {
    within(async {
        let mut scene = scene().await;
        let a = scene.a.clone();
        let next = a.draft(Predicate::Intent(a.next_intent()));
        let text = std::str::from_utf8(next.as_bytes()).unwrap().to_owned();
        let changed = |from, to| a.sign(&edited(&next, from, to));

        scene.refuses_bytes(&[b'x'; 70_000], refusal("LEAF_TOO_LARGE")).await;
        scene.refuses_bytes(b"", refusal("ENVELOPE_NOT_CANONICAL").at("")).await;
        scene.refuses_bytes(b"{}", refusal("ENVELOPE_NOT_CANONICAL").at("/payload")).await;
        for spelling in [format!("{text}\n"), text.replacen(':', ": ", 1)] {
            let expected = refusal("ENVELOPE_NOT_CANONICAL");
            scene.refuses_bytes(spelling.as_bytes(), expected).await;
        }
        let tota = text.replacen("vnd.in-toto", "vnd.in-tota", 1);
        scene.refuses_bytes(tota.as_bytes(), refusal("PAYLOAD_TYPE").at("/payloadType")).await;
        scene.refuses(&a.sign(b"statement"), refusal("BAD_JSON").at("")).await;
        scene
            .refuses(
                &changed("intent:v1", "intent:v2"),
                refusal("UNKNOWN_PREDICATE").at("/predicateType"),
            )
            .await;
        for (to, pointer) in [
            ("\"run\":\"3\"", "/predicate/run"),
            ("\"run\":3.0", "/predicate/run"),
            ("\"run\":null", "/predicate/run"),
            ("\"run\":3,\"run\":3", "/predicate/run"),
            ("\"run\":3,\"score\":1", "/predicate/score"),
        ] {
            scene.refuses(&changed("\"run\":3", to), refusal("BAD_FIELD").at(pointer)).await;
        }
        let subject = changed("\"name\":\"nonce\"", "\"name\":\"monce\"");
        scene.refuses(&subject, refusal("BAD_SUBJECT").at("/subject")).await;
        let foreign = a.draft_with(
            |common| common.origin = seeded("log.example/other", "").name().clone(),
            Predicate::Intent(a.next_intent()),
        );
        scene.refuses(&foreign, refusal("WRONG_ORIGIN").at("/predicate/origin")).await;
        scene.still_takes_statements().await;
    });
}

#[test]
fn who_may_speak_is_decided_by_keys_that_are_current() {
    within(async {
        let mut scene = scene().await;
        let (a, b) = (scene.a.clone(), scene.b.clone());
        let intent = |voice: &Voice| Predicate::Intent(voice.next_intent());

        // The next statement of A under the signature of another one.
        let (one, other) = (a.draft(intent(&a)), a.draft(withdrawal(scene.open)));
        let (good, bad) = (base64(one.signature()), base64(other.signature()));
        let forged = String::from_utf8(one.as_bytes().to_vec()).unwrap().replacen(&good, &bad, 1);
        scene
            .refuses_bytes(forged.as_bytes(), refusal("BAD_SIGNATURE").at("/signatures/0/sig"))
            .await;

        let stranger = Voice::new("z.example", &scene.server.key);
        let unknown = stranger.draft(intent(&stranger));
        scene.refuses(&unknown, refusal("UNKNOWN_SIGNER").at("/predicate/signer")).await;
        let unadmitted = stranger.clone().register();
        scene.refuses(&unadmitted, refusal("NOT_ADMITTED")).await;
        // Somebody else under an admitted name.
        let mut impostor = Voice::new("d.example", &scene.server.key);
        impostor.key = seeded("d.example", "another seed");
        scene.refuses(&impostor.clone().register(), refusal("NOT_ADMITTED")).await;
        let keys = Keys { key: [0; 32], ..stranger.keys() };
        let weak = stranger.draft(Predicate::Party(Box::new(Party::Register { keys })));
        scene.refuses(&weak, refusal("WEAK_KEY").at("/predicate/key")).await;

        let mut thief = a.clone();
        thief.key = seeded("a.example", "another seed");
        let taken = thief.draft(intent(&thief));
        scene.refuses(&taken, refusal("KEY_NOT_CURRENT").at("/signatures/0/keyid")).await;
        let again = b.draft(Predicate::Party(Box::new(Party::Register { keys: b.keys() })));
        scene.refuses(&again, refusal("NAME_TAKEN").at("/predicate/name")).await;
        let unproved = Party::Rotate { keys: a.keys(), possession: [0; 64] };
        let unproved = a.draft(Predicate::Party(Box::new(unproved)));
        scene.refuses(&unproved, refusal("BAD_POSSESSION").at("/predicate/possession")).await;
        let next = seeded("a.example", "next");
        let keys = Keys {
            key: *next.public().as_bytes(),
            recovery: *seeded("a.example", "other recovery").public().as_bytes(),
            ..a.keys()
        };
        let message = exchange::predicate::possession_message(&a.origin, &keys);
        let rotate = Party::Rotate { keys, possession: next.sign(&message) };
        let rotate = a.draft(Predicate::Party(Box::new(rotate)));
        scene.refuses(&rotate, refusal("WRONG_ROLE").at("/predicate/recovery")).await;
        scene.still_takes_statements().await;
    });
}

#[test]
fn two_envelopes_of_one_statement_are_one_too_many_and_revoked_keys_are_silent() {
    within(async {
        let mut scene = scene().await;
        let mut log = scene.log.clone();
        let mut d = register(&mut log, &scene.server, "d.example").await;
        // The signing key and the recovery key may both sign a rotation: one payload, two leaves.
        let rotation = d.rotation();
        let mut by_recovery = d.clone();
        by_recovery.key = d.recovery.clone();
        let first = d.say(rotation);
        let second = by_recovery.sign(first.payload());
        assert_eq!(first.id(), second.id());
        let index = append(&mut log, &first).await;
        scene.refuses(&second, refusal("STATEMENT_EXISTS").with("index", index)).await;

        let announced = d.intent();
        let at = append(&mut log, &announced).await;
        let revoke = Party::Revoke { key: *d.key.public().as_bytes() };
        let revoke = d.draft(Predicate::Party(Box::new(revoke)));
        append(&mut log, &revoke).await;
        scene.size = at + 2;
        d.number += 1;
        d.previous = Some(revoke.id());
        let next = d.draft(Predicate::Intent(d.next_intent()));
        scene.refuses(&next, refusal("KEY_REVOKED")).await;
        // What the log has is answered whatever changed since.
        let known = try_append(&mut log, &announced).await.unwrap();
        assert!(known.existed);
        assert_eq!(known.inclusion.unwrap().index, at);
        scene.still_takes_statements().await;
    });
}

#[test]
fn a_chain_goes_on_only_from_its_end() {
    within(async {
        let mut scene = scene().await;
        let (a, b, log_key) = (scene.a.clone(), scene.b.clone(), scene.server.key.clone());
        let intent = || Predicate::Intent(a.next_intent());
        let (last, previous) = (a.number, a.previous.unwrap());

        for number in [1, last] {
            let below = a.draft_with(|common| common.number = number, intent());
            let expected = refusal("NUMBER_NOT_ABOVE").at("/predicate/number");
            let expected = expected.with("last_number", last).with("expected", previous);
            scene.refuses(&below, expected).await;
        }
        for wrong in [None, Some(scene.ended), Some(StatementId::new([1; 32]))] {
            let parted = a.draft_with(|common| common.previous = wrong, intent());
            let expected = refusal("WRONG_PREVIOUS").at("/predicate/previous");
            let expected = expected.with("last_number", last).with("expected", previous);
            scene.refuses(&parted, expected).await;
        }
        let head = crate::service::checkpoint(&mut scene.log.clone(), &scene.server).await;
        let other = TreeHead { root: Hash::new([5; 32]), ..*head.head() };
        let ahead = TreeHead { size: head.head().size + 1, ..*head.head() };
        let nothing = TreeHead { size: 0, ..*head.head() };
        for seen in [other, ahead, nothing] {
            let forked = a.draft_with(|common| common.seen = seen, intent());
            scene.refuses(&forked, refusal("SEEN_NOT_PREFIX").at("/predicate/seen")).await;
        }

        let reused = Intent { nonce: scene.open_nonce, ..b.next_intent() };
        let reused = b.draft(Predicate::Intent(reused));
        scene.refuses(&reused, refusal("NONCE_REUSED").at("/predicate/nonce")).await;
        let ended = a.draft(withdrawal(scene.ended));
        scene.refuses(&ended, refusal("INTENT_ENDED").at("/predicate/intent")).await;
        for unknown in [StatementId::new([0xee; 32]), a.previous.unwrap()] {
            // B ends what nobody, or somebody else, announced.
            let unknown = b.draft(withdrawal(unknown));
            scene.refuses(&unknown, refusal("UNKNOWN_STATEMENT").at("/predicate/intent")).await;
        }
        for run in [a.runs, a.runs + 2] {
            let intent = Intent { run, nonce: nonce("of no run") };
            let expected = refusal("RUN_NUMBER").at("/predicate/run").with("expected", a.runs + 1);
            scene.refuses(&a.draft(Predicate::Intent(intent)), expected).await;
        }

        let nowhere = StatementId::new([7; 32]);
        let accept = a.draft_with(
            |common| {
                common.exchange = Some(nowhere);
                (common.number, common.previous) = (1, None);
            },
            Predicate::Accept(Accept { accepts: nowhere }),
        );
        scene.refuses(&accept, refusal("UNKNOWN_EXCHANGE").at("/predicate/exchange")).await;
        let decline = Decline { claim: Word::parse("c1").unwrap(), code: DeclineCode::Policy };
        let decline = a.draft(Predicate::Decline(decline));
        scene.refuses(&decline, refusal("NOT_STANDALONE")).await;

        let impostor = seeded(log_key.name().as_str(), "a thief of names");
        let signed = SignedCheckpoint::sign(&impostor, *head.head());
        let forged = SignedCheckpoint::sign(&impostor, other);
        for (note, reason) in [(signed, "TICK_NOT_SIGNED"), (forged, "TICK_NOT_PREFIX")] {
            let tick = Tick::parse(std::str::from_utf8(note.as_bytes()).unwrap()).unwrap();
            let tick = a.draft(Predicate::Tick(tick));
            scene.refuses(&tick, refusal(reason).at("/predicate/checkpoint")).await;
        }
        scene.still_takes_statements().await;
    });
}

#[test]
fn an_attestation_is_admitted_only_with_commitments_that_hold() {
    within(async {
        let mut scene = scene().await;
        let mut a = scene.a.clone();
        let good = Recorded::new(&a, scene.open, &scene.open_nonce, 1);
        let other = Recorded::new(&a, scene.open, &scene.open_nonce, 2);
        let digest = good.evaluation.vector;

        let missing = refusal("ARTIFACT_MISSING").with("digest", digest);
        scene.refuses(&a.draft(good.predicate()), missing).await;
        for bytes in [&good.vector, &other.vector] {
            scene.put(bytes).await;
        }

        let mut final_run = good.clone();
        final_run.evaluation.is_final = true;
        let expected = refusal("NOT_AS_AGREED").at("/predicate/final");
        scene.refuses(&a.draft(final_run.predicate()), expected).await;

        let mut cases: Vec<(&str, Recorded)> = Vec::new();
        let mut swapped = good.clone();
        swapped.evaluation.vector = other.evaluation.vector;
        cases.push(("the vector of another record", swapped));
        // Item 1 starts at byte 64: its hash, then its commitment, a point.
        cases.push(("a flipped bit in a point", good.clone().with_vector(|v| v[96] ^= 1)));
        cases.push(("a flipped bit in a hash", good.clone().with_vector(|v| v[64] ^= 1)));
        let swap = |v: &mut Vec<u8>| v[..128].rotate_left(64);
        cases.push(("two items that changed places", good.clone().with_vector(swap)));
        cases.push(("a vector of fewer items", good.clone().with_vector(|v| v.truncate(192))));
        let mut total = good.clone();
        total.evaluation.columns[0].total = other.evaluation.columns[0].total;
        cases.push(("another total", total));
        let mut proof = good.clone();
        proof.evaluation.columns[0].proof[64] ^= 1;
        cases.push(("a proof of knowledge that fails", proof));
        let mut root = good.clone();
        root.evaluation.record_root = other.evaluation.record_root;
        cases.push(("another record root", root));
        let theirs = Recorded::new(&scene.b, scene.open, &scene.open_nonce, 1);
        cases.push(("a record made under another party's name", theirs));
        let stale = Recorded::new(&a, scene.open, &nonce("another"), 1);
        cases.push(("a record made for another run", stale));
        for (what, case) in cases {
            let digest = scene.put(&case.vector).await;
            let named = case.evaluation.vector;
            assert!(what.contains("another") || digest == named, "{what}");
            let expected = refusal("ARTIFACT_INVALID").with("digest", named);
            eprintln!("{what}");
            scene.refuses(&a.draft(case.predicate()), expected).await;
        }

        let mut unannounced = good.clone();
        unannounced.evaluation.intent = StatementId::new([4; 32]);
        let expected = refusal("UNKNOWN_STATEMENT").at("/predicate/intent");
        scene.refuses(&a.draft(unannounced.predicate()), expected).await;
        let claim = Claim {
            claim: None,
            bound: Bound::AtLeast { q: 1 },
            column: ColumnName::parse("match").unwrap(),
            records: vec![scene.open],
            items_proofs: vec![Hash::new([1; 32])],
            proof: Hash::new([2; 32]),
            scored: Vec::new(),
        };
        let claim = a.draft(Predicate::Claim(Box::new(claim)));
        scene.refuses(&claim, refusal("UNKNOWN_STATEMENT").at("/predicate/records/0")).await;

        assert_eq!(append(&mut scene.log, &a.say(good.predicate())).await, scene.size);
        let twice = a.draft(other.predicate());
        scene.refuses(&twice, refusal("INTENT_ENDED").at("/predicate/intent")).await;
        scene.size += 1;
        scene.a = a;
        scene.still_takes_statements().await;
    });
}

#[test]
fn artifacts_have_a_largest_size() {
    within(async {
        let scene = scene().await;
        let mut artifacts = scene.server.artifacts().await;
        let piece = v1::PutArtifactRequest { chunk: Bytes::from(vec![0; 1 << 20]) };
        // 66 MiB are allowed.
        let pieces = tokio_stream::iter(vec![piece; 67]);
        let status = artifacts.put_artifact(pieces).await.unwrap_err();
        refusal("ARTIFACT_TOO_LARGE").check(&status);
        scene.still_takes_statements().await;
    });
}

#[test]
fn a_request_beyond_all_limits_is_refused_before_it_is_read() {
    within(async {
        let scene = scene().await;
        let mut log = scene.log.clone();
        let mut huge = request(&scene.a.draft(withdrawal(scene.open)));
        huge.envelope = Bytes::from(vec![b'x'; 8 << 20]);
        let status = log.append(huge).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        scene.still_takes_statements().await;
    });
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
