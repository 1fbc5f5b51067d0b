//! What is refused and by which reason, and that nothing of it is in the log.

use exchange::predicate::{
    Accept, Bound, Claim, Decline, DeclineCode, Intent, Keys, OpenedTotal, Party, Predicate,
    RevealContent, SealedEnvelope, Tick,
};
use exchange::{ColumnName, Envelope, Reason, StatementId, Word};
use sequencer::ArtifactStore as _;
use tlog::{Hash, SignedCheckpoint, TreeHead};

use crate::exchanging::{envelope, opens, reveals};
use crate::parties::{Recorded, Voice, nonce, seeded, withdrawal};
use crate::scene::{Scene, append, log_key, voice};

/// What must be said about one leaf.
struct Case {
    what: &'static str,
    leaf: Vec<u8>,
    reason: Reason,
    pointer: Option<&'static str>,
    /// Names and values; an empty value stands for any.
    metadata: Vec<(&'static str, String)>,
}

fn case(what: &'static str, envelope: &Envelope, reason: Reason) -> Case {
    raw(what, envelope.as_bytes(), reason)
}

fn raw(what: &'static str, leaf: impl Into<Vec<u8>>, reason: Reason) -> Case {
    Case { what, leaf: leaf.into(), reason, pointer: None, metadata: Vec::new() }
}

impl Case {
    fn at(mut self, pointer: &'static str) -> Self {
        self.pointer = Some(pointer);
        self
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }
}

/// Sends them all; each is refused as it must be, and the log goes on as if none had come.
async fn run(scene: Scene, cases: Vec<Case>) {
    let mut hashes = Vec::new();
    for Case { what, leaf, reason, pointer, metadata } in cases {
        let refusal = scene.refuses(&leaf, reason).await;
        assert_eq!(refusal.pointer(), pointer, "{what}: {refusal}");
        for (name, value) in metadata {
            let found = refusal.value(name).unwrap_or_else(|| panic!("{what}: no {name}"));
            assert!(value.is_empty() || found == value, "{what}: {name} is {found}, not {value}");
        }
        // What a caller is told of it.
        let status = api::status(&refusal);
        let denied = api::Denied::from(status);
        assert_eq!(denied.reason, reason.as_str(), "{what}");
        assert_eq!(denied.pointer, pointer.unwrap_or_default(), "{what}");
        assert!(!denied.message.is_empty(), "{what}");
        hashes.push(tlog::leaf_hash(&leaf));
    }
    scene.still_takes_statements(&hashes).await;
}

fn intent(voice: &Voice) -> Predicate {
    Predicate::Intent(voice.next_intent())
}

/// A payload with one piece of its text replaced, signed.
fn edited(voice: &Voice, envelope: &Envelope, from: &str, to: &str) -> Envelope {
    let text = std::str::from_utf8(envelope.payload()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    voice.sign(text.replacen(from, to, 1).as_bytes())
}

#[tokio::test]
async fn what_the_bytes_show() {
    let scene = Scene::new().await;
    let a = scene.a.clone();
    let next = a.draft(intent(&a));
    let text = String::from_utf8(next.as_bytes().to_vec()).unwrap();
    let payload = |from, to| edited(&a, &next, from, to);
    let long = " ".repeat(48_001 - next.payload().len());
    use Reason::{
        BadField, BadJson, BadSubject, EnvelopeNotCanonical, LeafTooLarge, PayloadType,
        UnknownPredicate, WrongOrigin,
    };
    let foreign = a.draft_with(
        |common| common.origin = seeded("log.example/two", "").name().clone(),
        intent(&a),
    );
    // Longer than `Envelope::sign` makes them.
    let padded = {
        use base64::Engine as _;
        let long = [next.payload(), long.as_bytes()].concat();
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        text.replacen(&encode(next.payload()), &encode(&long), 1)
    };
    run(
        scene,
        vec![
            raw("65,536 bytes", vec![b'x'; 65_536], LeafTooLarge),
            raw("a payload of 48,001 bytes", padded, LeafTooLarge),
            raw("no bytes", "", EnvelopeNotCanonical).at(""),
            raw("no members", "{}", EnvelopeNotCanonical).at("/payload"),
            raw("a newline at the end", format!("{text}\n"), EnvelopeNotCanonical),
            raw("a space", text.replacen(':', ": ", 1), EnvelopeNotCanonical),
            raw(
                "members in another order",
                text.replacen("\"keyid\"", "\"dikey\"", 1),
                EnvelopeNotCanonical,
            )
            .at("/signatures/0/keyid"),
            raw("another payload type", text.replacen("in-toto", "in-tota", 1), PayloadType)
                .at("/payloadType"),
            case("no JSON", &a.sign(b"statement"), BadJson).at(""),
            case("a kind of tomorrow", &payload("intent:v1", "intent:v2"), UnknownPredicate)
                .at("/predicateType"),
            case("a number as text", &payload("\"run\":3", "\"run\":\"3\""), BadField)
                .at("/predicate/run"),
            case("a float", &payload("\"run\":3", "\"run\":3.0"), BadField).at("/predicate/run"),
            case("null", &payload("\"run\":3", "\"run\":null"), BadField).at("/predicate/run"),
            case("run 0", &payload("\"run\":3", "\"run\":0"), BadField).at("/predicate/run"),
            case("a member twice", &payload("\"run\":3", "\"run\":3,\"run\":3"), BadField)
                .at("/predicate/run"),
            case("a member too many", &payload("\"run\":3", "\"run\":3,\"note\":1"), BadField)
                .at("/predicate/note"),
            case("number 0", &payload("\"number\":5", "\"number\":0"), BadField)
                .at("/predicate/number"),
            case("2^53", &payload("\"number\":5", "\"number\":9007199254740992"), BadField)
                .at("/predicate/number"),
            case("upper case", &payload("\"nonce\":\"", "\"nonce\":\"A"), BadField)
                .at("/predicate/nonce"),
            case("another signer than the key's", &payload("a.example", "b.example"), BadField)
                .at("/predicate/signer"),
            case(
                "another subject",
                &payload("\"name\":\"nonce\"", "\"name\":\"monce\""),
                BadSubject,
            )
            .at("/subject"),
            case("a statement for another log", &foreign, WrongOrigin).at("/predicate/origin"),
        ],
    )
    .await;
}

#[tokio::test]
async fn who_may_speak() {
    let scene = Scene::new().await;
    let (a, b) = (scene.a.clone(), scene.b.clone());
    let (one, other) = (a.draft(intent(&a)), a.draft(withdrawal(scene.open)));
    let signature = |envelope: &Envelope| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(envelope.signature())
    };
    let text = String::from_utf8(one.as_bytes().to_vec()).unwrap();
    let forged = text.replacen(&signature(&one), &signature(&other), 1);
    let stranger = voice("z.example");
    let impostor = Voice { key: seeded("d.example", "another"), ..voice("d.example") };
    let register = |voice: &Voice, keys: Keys| {
        voice.draft(Predicate::Party(Box::new(Party::Register { keys })))
    };
    // 32 zeros are a point of order 4; one is the identity; this one is no canonical spelling.
    let mut not_canonical = [0xff; 32];
    (not_canonical[0], not_canonical[31]) = (0xed, 0x7f);
    let one_byte = |first: u8| {
        let mut key = [0; 32];
        key[0] = first;
        key
    };
    let weak = |key| register(&stranger, Keys { key, ..stranger.keys() });
    let weak_recovery = register(&stranger, Keys { recovery: [0; 32], ..stranger.keys() });
    let thief = Voice { key: seeded("a.example", "another"), ..a.clone() };
    let next = seeded("a.example", "next");
    let rotate = |keys: Keys, possession| {
        a.draft(Predicate::Party(Box::new(Party::Rotate { keys, possession })))
    };
    let other_recovery = Keys {
        key: *next.public().as_bytes(),
        recovery: *seeded("a.example", "other recovery").public().as_bytes(),
        ..a.keys()
    };
    let possession =
        next.sign(&exchange::predicate::possession_message(&a.origin, &other_recovery));
    use Reason::{
        BadPossession, BadSignature, KeyNotCurrent, NameTaken, NotAdmitted, UnknownSigner, WeakKey,
        WrongRole,
    };
    run(
        scene,
        vec![
            raw("the signature of another statement", forged, BadSignature).at("/signatures/0/sig"),
            case("a stranger", &stranger.draft(intent(&stranger)), UnknownSigner)
                .at("/predicate/signer"),
            case("a stranger registers", &register(&stranger, stranger.keys()), NotAdmitted),
            case("another key of an admitted name", &register(&impostor, impostor.keys()), {
                NotAdmitted
            }),
            case("a key of order 4", &weak([0; 32]), WeakKey).at("/predicate/key"),
            case("the identity", &weak(one_byte(1)), WeakKey).at("/predicate/key"),
            case("a key in another spelling", &weak(not_canonical), WeakKey).at("/predicate/key"),
            case("a weak recovery key", &weak_recovery, WeakKey).at("/predicate/recovery"),
            case("a key that is not the party's", &thief.draft(intent(&thief)), KeyNotCurrent)
                .at("/signatures/0/keyid"),
            case("a name that is registered", &register(&b, b.keys()), NameTaken)
                .at("/predicate/name"),
            case("a key that did not sign", &rotate(a.keys(), [0; 64]), BadPossession)
                .at("/predicate/possession"),
            case("a new recovery key", &rotate(other_recovery, possession), WrongRole)
                .at("/predicate/recovery"),
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_out_of_order() {
    let scene = Scene::new().await;
    let (a, b) = (scene.a.clone(), scene.b.clone());
    let (last, previous) = (a.number, a.previous.unwrap());
    let size = scene.service.reader().head().size;
    let head = scene.service.reader().head();
    let chain = |case: Case| case.with("last_number", last).with("expected", previous);
    let number = |number| a.draft_with(|common| common.number = number, intent(&a));
    let parted = |id| a.draft_with(|common| common.previous = id, intent(&a));
    let seen = |seen| a.draft_with(|common| common.seen = seen, intent(&a));
    let run_number = |run| a.draft(Predicate::Intent(Intent { run, nonce: nonce("of no run") }));
    let nowhere = StatementId::new([7; 32]);
    let accept = a.draft_with(
        |common| {
            common.exchange = Some(nowhere);
            (common.number, common.previous) = (1, None);
        },
        Predicate::Accept(Accept { accepts: nowhere }),
    );
    let decline = Decline { claim: Word::parse("c1").unwrap(), code: DeclineCode::Policy };
    let impostor = seeded(log_key().name().as_str(), "an impostor");
    let other_root = TreeHead { root: Hash::new([5; 32]), ..head };
    let tick = |key, head| {
        let note = SignedCheckpoint::sign(key, head).to_string();
        a.draft(Predicate::Tick(Tick::parse(&note).unwrap()))
    };
    let own = log_key();
    use Reason::{
        IntentEnded, NonceReused, NotStandalone, NumberNotAbove, RunNumber, SeenNotPrefix,
        TickNotPrefix, TickNotSigned, UnknownExchange, UnknownStatement, WrongPrevious,
    };
    let reused = Intent { nonce: scene.open_nonce, ..b.next_intent() };
    let cases = vec![
        chain(case("the first number", &number(1), NumberNotAbove).at("/predicate/number")),
        chain(case("the last number", &number(last), NumberNotAbove).at("/predicate/number")),
        chain(case("no previous", &parted(None), WrongPrevious).at("/predicate/previous")),
        chain(
            case("an older one", &parted(Some(scene.ended)), WrongPrevious)
                .at("/predicate/previous"),
        ),
        case("a head of another root", &seen(other_root), SeenNotPrefix).at("/predicate/seen"),
        case("a head to come", &seen(TreeHead { size: size + 1, ..head }), SeenNotPrefix)
            .at("/predicate/seen"),
        case("nothing, with a root", &seen(TreeHead { size: 0, ..head }), SeenNotPrefix)
            .at("/predicate/seen"),
        case("a nonce again", &b.draft(Predicate::Intent(reused)), NonceReused)
            .at("/predicate/nonce"),
        case("an intent that has ended", &a.draft(withdrawal(scene.ended)), IntentEnded)
            .at("/predicate/intent"),
        case("an intent of nobody", &b.draft(withdrawal(nowhere)), UnknownStatement)
            .at("/predicate/intent"),
        case("an intent of another party", &b.draft(withdrawal(scene.open)), UnknownStatement)
            .at("/predicate/intent"),
        case("the last run again", &run_number(a.runs), RunNumber)
            .at("/predicate/run")
            .with("expected", a.runs + 1),
        case("a run left out", &run_number(a.runs + 2), RunNumber)
            .at("/predicate/run")
            .with("expected", a.runs + 1),
        case("an exchange of nobody", &accept, UnknownExchange).at("/predicate/exchange"),
        case("a decline of nothing", &a.draft(Predicate::Decline(decline)), NotStandalone),
        case("a tick by an impostor", &tick(&impostor, head), TickNotSigned)
            .at("/predicate/checkpoint"),
        case("a tick of another root", &tick(&own, other_root), TickNotPrefix)
            .at("/predicate/checkpoint"),
        case("a tick of nothing", &tick(&own, TreeHead::EMPTY), TickNotPrefix)
            .at("/predicate/checkpoint"),
    ];
    run(scene, cases).await;
}

#[tokio::test]
async fn what_two_envelopes_say_is_said_once_and_a_revoked_key_says_nothing() {
    let scene = Scene::new().await;
    let mut d = voice("d.example");
    append(&scene.service, &d.register()).await;
    let rotation = d.rotation();
    let by_recovery = Voice { key: d.recovery.clone(), ..d.clone() };
    let first = d.say(rotation);
    let second = by_recovery.sign(first.payload());
    let index = append(&scene.service, &first).await.index;
    let again = scene.refuses(second.as_bytes(), Reason::StatementExists).await;
    assert_eq!(again.value("index"), Some(index.to_string().as_str()));

    let announced = d.intent();
    let at = append(&scene.service, &announced).await.index;
    let revoke = Party::Revoke { key: *d.key.public().as_bytes() };
    append(&scene.service, &d.say(Predicate::Party(Box::new(revoke)))).await;
    let silent = d.draft(intent(&d));
    scene.refuses(silent.as_bytes(), Reason::KeyRevoked).await;
    // What the log has is answered whatever changed since.
    let known = append(&scene.service, &announced).await;
    assert_eq!((known.index, known.duplicate), (at, true));
    let hashes = [second.leaf_hash(), silent.leaf_hash()];
    scene.still_takes_statements(&hashes).await;
}

fn claim(record: StatementId) -> Predicate {
    Predicate::Claim(Box::new(Claim {
        claim: None,
        bound: Bound::AtLeast { q: 1 },
        column: ColumnName::parse("match").unwrap(),
        records: vec![record],
        items_proofs: vec![Hash::new([1; 32])],
        proof: Hash::new([2; 32]),
        scored: Vec::new(),
    }))
}

#[tokio::test]
async fn artifacts_that_are_not_there_or_do_not_hold() {
    let scene = Scene::new().await;
    let mut a = scene.a.clone();
    let good = Recorded::new(&a, scene.open, &scene.open_nonce, 1);
    let missing = case("no vector", &a.draft(good.predicate()), Reason::ArtifactMissing)
        .with("digest", good.evaluation.vector);
    let refusal = scene.refuses(&missing.leaf, missing.reason).await;
    assert_eq!(refusal.value("digest"), Some(good.evaluation.vector.to_string().as_str()));

    let other = scene.record(2);
    scene.store.put(&good.vector).unwrap();
    let changed = |change: fn(&mut Vec<u8>)| {
        let record = good.clone().with_vector(change);
        scene.store.put(&record.vector).unwrap();
        record
    };
    let swap = |v: &mut Vec<u8>| v[..128].rotate_left(64);
    let of = |change: &dyn Fn(&mut exchange::predicate::Evaluation)| {
        let mut record = good.clone();
        change(&mut record.evaluation);
        record
    };
    let theirs = Recorded::new(&scene.b, scene.open, &scene.open_nonce, 1);
    let stale = Recorded::new(&a, scene.open, &nonce("another"), 1);
    for record in [&theirs, &stale] {
        scene.store.put(&record.vector).unwrap();
    }
    let records = [
        ("another record's vector", of(&|e| e.vector = other.evaluation.vector)),
        ("a flipped bit in a point", changed(|v| v[96] ^= 1)),
        ("a flipped bit in a hash", changed(|v| v[64] ^= 1)),
        ("two items in each other's place", changed(swap)),
        ("one item less", changed(|v| v.truncate(192))),
        ("one byte more", changed(|v| v.push(0))),
        ("another total", of(&|e| e.columns[0].total = other.evaluation.columns[0].total)),
        ("a total that is no point", of(&|e| e.columns[0].total = [0xff; 32])),
        ("a proof that fails", of(&|e| e.columns[0].proof[64] ^= 1)),
        ("another root", of(&|e| e.record_root = other.evaluation.record_root)),
        ("a record made under another party's name", theirs),
        ("a record of another run", stale),
    ];
    let invalid = records.iter().map(|(what, record)| {
        case(what, &a.draft(record.predicate()), Reason::ArtifactInvalid)
            .with("digest", record.evaluation.vector)
    });
    let mut cases: Vec<Case> = invalid.collect();
    let final_run = of(&|e| e.is_final = true);
    let unannounced = of(&|e| e.intent = StatementId::new([4; 32]));
    let mut too_large = good.clone();
    too_large.evaluation.columns[0].scale.max = 1 << 40;
    cases.extend([
        case("the last run", &a.draft(final_run.predicate()), Reason::NotAsAgreed)
            .at("/predicate/final"),
        case("a run of nobody", &a.draft(unannounced.predicate()), Reason::UnknownStatement)
            .at("/predicate/intent"),
        case("a total beyond 2^31", &a.draft(too_large.predicate()), Reason::LimitExceeded)
            .at("/predicate/columns/0/max"),
        case("a claim about no record", &a.draft(claim(scene.open)), Reason::UnknownStatement)
            .at("/predicate/records/0"),
    ]);
    for Case { what, leaf, reason, pointer, metadata } in &cases {
        let refusal = scene.refuses(leaf, *reason).await;
        assert_eq!(refusal.pointer(), *pointer, "{what}: {refusal}");
        for (name, value) in metadata {
            assert_eq!(refusal.value(name), Some(value.as_str()), "{what}");
        }
    }

    let attestation = a.say(good.predicate());
    append(&scene.service, &attestation).await;
    let twice = a.draft(other.predicate());
    let refusal = scene.refuses(twice.as_bytes(), Reason::IntentEnded).await;
    assert_eq!(refusal.pointer(), Some("/predicate/intent"));
    let hashes: Vec<Hash> = cases.iter().map(|case| tlog::leaf_hash(&case.leaf)).collect();
    Scene { a, ..scene }.still_takes_statements(&hashes).await;
}

#[tokio::test]
async fn reveals_outside_of_agreements_are_admitted_if_what_they_open_is_true() {
    let scene = Scene::new().await;
    let mut a = scene.a.clone();
    let record = scene.record(1);
    let attestation = a.say(record.predicate());
    append(&scene.service, &attestation).await;
    let id = attestation.id();
    let open = |total: &OpenedTotal| RevealContent::Open {
        totals: vec![total.clone()],
        subjects: record.counts(),
    };
    let other = OpenedTotal { total: record.total.total + 1, ..record.total.clone() };
    let blind = OpenedTotal { blind: [1; 32], ..record.total.clone() };
    for wrong in [&other, &blind] {
        let said = a.draft(reveals(id, None, open(wrong)));
        let refusal = scene.refuses(said.as_bytes(), Reason::ArtifactInvalid).await;
        assert_eq!(refusal.pointer(), Some("/predicate/open"));
    }
    let mut subjects = record.counts();
    subjects[0].salt[0] ^= 1;
    let salted = RevealContent::Open { totals: Vec::new(), subjects };
    let said = a.draft(reveals(id, None, salted));
    scene.refuses(said.as_bytes(), Reason::ArtifactInvalid).await;
    for unknown in [scene.open, scene.ended, StatementId::new([9; 32])] {
        let said = a.draft(reveals(unknown, None, open(&record.total)));
        let refusal = scene.refuses(said.as_bytes(), Reason::UnknownStatement).await;
        assert_eq!(refusal.pointer(), Some("/predicate/record"));
    }
    let said = scene.b.draft(reveals(id, None, open(&record.total)));
    scene.refuses(said.as_bytes(), Reason::UnknownStatement).await;
    let said = a.say(reveals(id, None, open(&record.total)));
    append(&scene.service, &said).await;
    Scene { a, ..scene }.still_takes_statements(&[]).await;
}

#[tokio::test]
async fn openings_must_be_of_an_own_record_in_an_envelope_for_its_reader() {
    let scene = Scene::new().await;
    let mut a = scene.a.clone();
    let record = scene.record(1);
    let attestation = a.say(record.predicate());
    append(&scene.service, &attestation).await;
    let opening =
        |record, first, last, sealed: &SealedEnvelope| opens(record, [first, last], sealed);
    let id = attestation.id();
    let (sealed, bytes) = envelope(&scene.a, id, &scene.b, 1 << 10);
    let said = a.draft(opening(id, 0, 3, &sealed));
    scene.refuses(said.as_bytes(), Reason::ArtifactMissing).await;
    scene.store.put(&bytes).unwrap();

    // For another record, and cut short by one byte.
    let (foreign, foreign_bytes) = envelope(&scene.a, scene.open, &scene.b, 1 << 10);
    let mut short = sealed.clone();
    short.digest = Hash::of(&[&bytes[..bytes.len() - 1]]);
    scene.store.put(&foreign_bytes).unwrap();
    scene.store.put(&bytes[..bytes.len() - 1]).unwrap();
    let b = scene.b.clone();
    for (what, said, reason, pointer) in [
        (
            "an envelope for another record",
            a.draft(opening(id, 0, 3, &foreign)),
            Reason::ArtifactInvalid,
            None,
        ),
        ("a byte short", a.draft(opening(id, 0, 3, &short)), Reason::ArtifactInvalid, None),
        (
            "an item too many",
            a.draft(opening(id, 0, 4, &sealed)),
            Reason::LimitExceeded,
            Some("/predicate/items/0"),
        ),
        (
            "no record",
            a.draft(opening(scene.open, 0, 3, &foreign)),
            Reason::UnknownStatement,
            Some("/predicate/record"),
        ),
        (
            "another party's record",
            b.draft(opening(id, 0, 3, &sealed)),
            Reason::UnknownStatement,
            Some("/predicate/record"),
        ),
    ] {
        let refusal = scene.refuses(said.as_bytes(), reason).await;
        assert_eq!(refusal.pointer(), pointer, "{what}");
    }
    let said = a.say(opening(id, 0, 3, &sealed));
    append(&scene.service, &said).await;
    Scene { a, ..scene }.still_takes_statements(&[]).await;
}

/// Of two faults in one statement the one answers that stands first in the table of reasons.
#[tokio::test]
async fn of_several_reasons_the_first_answers() {
    let scene = Scene::new().await;
    let a = scene.a.clone();
    let stranger = voice("z.example");
    let far = |common: &mut exchange::Common| common.seen = TreeHead { size: 99, ..common.seen };
    let no_number = |common: &mut exchange::Common| common.number = 1;
    let parted = |common: &mut exchange::Common| common.previous = None;
    let foreign = |common: &mut exchange::Common| {
        common.origin = seeded("log.example/two", "").name().clone();
    };
    let record = Recorded::new(&a, scene.open, &scene.open_nonce, 1);
    let missing = || record.predicate();
    let mut unannounced = record.clone();
    unannounced.evaluation.intent = scene.ended;
    let mut final_run = record.clone();
    final_run.evaluation.is_final = true;
    let mut too_large = record.clone();
    too_large.evaluation.columns[0].scale.max = 1 << 40;
    let reused = Predicate::Intent(Intent { run: 77, nonce: scene.open_nonce });
    let both = |one: fn(&mut exchange::Common), two: fn(&mut exchange::Common), predicate| {
        a.draft_with(
            |common| {
                one(common);
                two(common);
            },
            predicate,
        )
    };
    let pairs = [
        ("canonical form before origin", {
            let text = a.draft_with(foreign, intent(&a)).as_bytes().to_vec();
            ([text, b"\n".to_vec()].concat(), Reason::EnvelopeNotCanonical)
        }),
        ("origin before signer", {
            let said = stranger.draft_with(foreign, intent(&stranger));
            (said.as_bytes().to_vec(), Reason::WrongOrigin)
        }),
        ("signer before number", {
            let said = stranger.draft_with(|common| common.number = 9, intent(&stranger));
            (said.as_bytes().to_vec(), Reason::UnknownSigner)
        }),
        ("number before previous", {
            (both(no_number, parted, intent(&a)).as_bytes().to_vec(), Reason::NumberNotAbove)
        }),
        ("previous before what was seen", {
            (both(parted, far, intent(&a)).as_bytes().to_vec(), Reason::WrongPrevious)
        }),
        ("nonce before number and run", {
            (a.draft_with(no_number, reused).as_bytes().to_vec(), Reason::NonceReused)
        }),
        ("an intent that has ended before number and artifacts", {
            let said = a.draft_with(no_number, unannounced.predicate());
            (said.as_bytes().to_vec(), Reason::IntentEnded)
        }),
        ("number before artifacts", {
            (a.draft_with(no_number, missing()).as_bytes().to_vec(), Reason::NumberNotAbove)
        }),
        ("what was seen before artifacts", {
            (a.draft_with(far, missing()).as_bytes().to_vec(), Reason::SeenNotPrefix)
        }),
        ("terms before artifacts", {
            (a.draft(final_run.predicate()).as_bytes().to_vec(), Reason::NotAsAgreed)
        }),
        ("artifacts before limits", {
            (a.draft(too_large.predicate()).as_bytes().to_vec(), Reason::ArtifactMissing)
        }),
        ("number before a record that is not there", {
            let said = a.draft_with(no_number, claim(scene.open));
            (said.as_bytes().to_vec(), Reason::NumberNotAbove)
        }),
    ];
    for (what, (leaf, reason)) in pairs {
        eprintln!("{what}");
        scene.refuses(&leaf, reason).await;
    }
    scene.still_takes_statements(&[]).await;
}
