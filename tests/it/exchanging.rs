//! Two parties and an auditor under an agreement: what they say in it, signed. The clock is a
//! witness; where its key is the test's own, so is the time. Here belongs nothing that sends.

use exchange::predicate::{
    Accept, AgreedClaim, Agreement, Audience, Author, Benchmark, Bound, Counts, Decline,
    DeclineCode, Direction, Dispute, Ground, ItemFault, ItemRange, Member, OpenedItems, Opening,
    Predicate, Program, Reveal, RevealContent, Risk, Rule, Runs, Scale, Schedule, SealedEnvelope,
    Stage, Terms, Tick, What,
};
use exchange::{BaseField, ColumnName, Envelope, Field, StatementId, Timestamp, Word};
use tlog::{Hash, KeyKind, SignedCheckpoint, SigningKey, VerifierKey, cosign};

use crate::parties::{AGREED, Recorded, Voice, items, seeded};

/// The witness whose time counts, where the test holds its key.
pub(crate) fn clock() -> SigningKey {
    seeded("clock.example", "clock")
}

/// A policy of this log in which the test's own witness is the clock.
pub(crate) fn policy(log: &VerifierKey) -> String {
    let clock = clock().verifier(KeyKind::Cosignature);
    format!("log {log}\nwitness clock {clock}\nquorum clock\n")
}

pub(crate) fn word(text: &str) -> Word {
    Word::parse(text).unwrap()
}

pub(crate) fn time(unix: u64) -> Timestamp {
    Timestamp::from_unix(unix).unwrap()
}

/// Accept, commit and reveal by these times, unix seconds, with this step.
pub(crate) fn schedule([accept_by, commit_by, reveal_by]: [u64; 3], step: u64) -> Schedule {
    Schedule {
        accept_by: time(accept_by),
        commit_by: time(commit_by),
        reveal_by: time(reveal_by),
        audit_by: None,
        step,
    }
}

fn rule(id: &str, what: What, to: Audience, items: u64, owed: bool) -> Rule {
    let (id, by, from, risk) = (word(id), Author::Both, Stage::Committed, Risk::Sensitive);
    Rule { id, what, by, to, from, items, risk, owed }
}

/// Totals are owed to the peer and counts to everybody; the status of two items may be shown to
/// the peer; the first party claims at least one point.
pub(crate) fn agreement(
    parties: [&Voice; 2],
    auditors: &[&Voice],
    (policy, clock): (String, &str),
    schedule: Schedule,
) -> Agreement {
    let items = items(AGREED);
    let name = |text| ColumnName::parse(text).unwrap();
    Agreement {
        parties: parties.map(|party| Member { keys: party.keys(), witness: None }),
        auditors: auditors.iter().map(|auditor| auditor.keys()).collect(),
        policy,
        clock: clock.to_owned(),
        evaluation: Terms {
            benchmark: Benchmark::Name(name("questions")),
            items_root: items.root(),
            items: items.count(),
            epochs: 1,
            item_key: Hash::new([5; 32]),
            elicitation: Hash::new([6; 32]),
            harness: Program { name: word("harness"), version: "1".to_owned() },
            columns: vec![Scale {
                name: name("match"),
                max: 1,
                raw_max: 1,
                better: Direction::Higher,
            }],
        },
        runs: Runs { budget: 2, counts: Counts::First },
        schedule,
        disclosure: vec![
            rule("totals", What::Totals, Audience::Peer, 0, true),
            rule("counts", What::Counts, Audience::Public, 0, true),
            rule("claims", What::Claim, Audience::Public, 0, false),
            rule("status", What::Field(Field::Base(BaseField::Status)), Audience::Peer, 2, false),
        ],
        claims: vec![AgreedClaim {
            id: word("least"),
            bound: Bound::AtLeast { q: 1 },
            column: name("match"),
            by: parties[0].key.name().clone(),
        }],
        audit: None,
        escrow: None,
    }
}

/// One run of a party: its intent, the record, and the evaluation that carries it.
pub(crate) fn run(party: &mut Voice, seed: u8) -> (Envelope, Recorded, Envelope) {
    let nonce = party.next_intent().nonce;
    let intent = party.intent();
    let record = Recorded::new(party, intent.id(), &nonce, seed);
    let evaluation = party.say(record.predicate());
    (intent, record, evaluation)
}

pub(crate) fn accepts(id: StatementId) -> Predicate {
    Predicate::Accept(Accept { accepts: id })
}

pub(crate) fn declines(claim: &str) -> Predicate {
    Predicate::Decline(Decline { claim: word(claim), code: DeclineCode::Unspecified })
}

pub(crate) fn disputes(about: StatementId) -> Predicate {
    Predicate::Dispute(Box::new(Dispute { about, ground: Ground::Unopenable }))
}

/// Says that items of what is disputed are wrong, and which in the envelope.
pub(crate) fn disputes_items(about: StatementId, envelope: &SealedEnvelope) -> Predicate {
    let ground = Ground::Items { fault: ItemFault::Score, envelope: envelope.clone() };
    Predicate::Dispute(Box::new(Dispute { about, ground }))
}

/// An envelope by one for another, made of the parts that anyone can check.
pub(crate) fn envelope(
    by: &Voice,
    record: StatementId,
    reader: &Voice,
    padded: u64,
) -> (SealedEnvelope, Vec<u8>) {
    let mut envelope = SealedEnvelope {
        digest: Hash::new([0; 32]),
        reader: reader.key.name().clone(),
        key: reader.keys().sealing.id(),
        padded,
    };
    let mut bytes = exchange::associated_data(&by.common(), &record, &envelope, 1);
    bytes.extend([0, 32]);
    bytes.extend([9; 32]);
    bytes.extend(u32::try_from(padded + 16).unwrap().to_be_bytes());
    bytes.resize(bytes.len() + padded as usize + 16, 7);
    envelope.digest = Hash::of(&[&bytes]);
    (envelope, bytes)
}

pub(crate) fn reveals(
    record: StatementId,
    rule: Option<&str>,
    content: RevealContent,
) -> Predicate {
    Predicate::Reveal(Box::new(Reveal {
        record,
        rule: rule.map(word),
        content,
        answers: None,
        items_proofs: Vec::new(),
        releases: None,
    }))
}

/// Opens the status of items to the envelope's reader.
pub(crate) fn opens(
    record: StatementId,
    [first, last]: [u64; 2],
    envelope: &SealedEnvelope,
) -> Predicate {
    Predicate::Opening(Box::new(Opening {
        record,
        items: OpenedItems::Ranges(vec![ItemRange { first, last }]),
        fields: vec![Field::Base(BaseField::Status)],
        envelope: envelope.clone(),
        answers: None,
    }))
}

/// A checkpoint with one more cosignature, as a statement.
pub(crate) fn tick(
    checkpoint: &[u8],
    log: &VerifierKey,
    witness: &SigningKey,
    time: u64,
) -> Predicate {
    let signed = SignedCheckpoint::open(checkpoint, log).unwrap();
    let line = cosign(signed.checkpoint(), witness, time).unwrap();
    let note = signed.note().with_signature(line).unwrap().to_string();
    Predicate::Tick(Tick::parse(&note).unwrap())
}
