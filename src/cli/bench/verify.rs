//! Verifying a bundle offline: what a reader waits for.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use exchange::Timestamp;
use exchange::bundle::{Bundle, BundleLeaf};
use exchange::predicate::{Evaluation, Intent, Predicate, Program};
use exchange::{Envelope, Word};
use tlog::{
    Hash, KeyKind, KeyName, MemoryNodes, SignedCheckpoint, TreeHead, VerifierKey, leaf_hash,
    prove_inclusion,
};

use super::load::{self, Signer};
use super::machine::{cores, repeated};
use super::{Figure, Scale, Table, primitives};
use crate::cli::output::Failure;

/// The bundle of 200 items, as the demo makes one, is read and verified within this.
const GOAL_MS: f64 = 5.0;

pub(super) fn measure(scale: Scale) -> Result<Table, Failure> {
    let mut lines = Vec::new();
    for items in scale.records() {
        let (bytes, key) = bundle(*items)?;
        let check = primitives::signature_check(700) * cores() as f64;
        let point = primitives::decompression();
        // Three statements and the checkpoint one after another, the points on all cores.
        let bound = 4.0 * check + point * *items as f64;
        let parsed = Bundle::parse(&bytes).map_err(Failure::new)?;
        parsed.verify(&key, &[]).map_err(Failure::new)?;
        let read = repeated(Duration::from_millis(300), || {
            black_box(Bundle::parse(black_box(&bytes)).is_ok());
        });
        let verified = repeated(Duration::from_millis(700), || {
            black_box(black_box(&parsed).verify(&key, &[]).is_ok());
        });
        let total = (read + verified) / 1e3;
        let goal = match items {
            200 if total <= GOAL_MS => "met",
            200 => "missed",
            _ => "–",
        };
        lines.push(vec![
            Figure::count("items", "items", *items),
            Figure::count("bytes", "bytes", bytes.len() as u64),
            Figure::value("read ms", "read_ms", read / 1e3),
            Figure::value("verified ms", "verified_ms", verified / 1e3),
            Figure::value("together", "total_ms", total),
            Figure::value("bound ms", "bound_ms", bound / 1e3),
            Figure::value("ratio", "ratio", total * 1e3 / bound),
            Figure::words("goal ≤ 5 ms", "goal", goal),
        ]);
    }
    Ok(Table {
        name: "verify",
        title:
            "verify: a bundle with registration, intent, attestation and commitments, offline;\n\
                bound: four strict signature checks, and decoding every commitment on all cores"
                .to_owned(),
        lines,
        notes: Vec::new(),
    })
}

/// A bundle as `commit` writes it, and the key of its log.
fn bundle(items: u64) -> Result<(Vec<u8>, VerifierKey), Failure> {
    let log_key = load::log_key()?;
    let mut signer = Signer::new(0)?;
    let record = super::record::made(items)?;
    let mut nodes = MemoryNodes::new();
    let mut leaves: Vec<Envelope> = Vec::new();
    let mut put = |envelope: Envelope, leaves: &mut Vec<Envelope>| -> TreeHead {
        nodes.append(leaf_hash(envelope.as_bytes()));
        leaves.push(envelope);
        nodes.head()
    };
    let mut seen = put(signer.register()?, &mut leaves);
    let intent = signer.say(Predicate::Intent(Intent { run: 1, nonce: load::NONCE }), seen)?;
    let id = intent.id();
    let first = seen;
    seen = put(intent, &mut leaves);
    let program = |name: &str| {
        let name = Word::parse(name).map_err(Failure::new)?;
        Ok::<_, Failure>(Program { name, version: "1".to_owned() })
    };
    let hour = Timestamp::from_unix(1_700_000_000 / 3_600 * 3_600).map_err(Failure::new)?;
    let programs = [program("bench")?, program("countersign")?];
    let evaluation = Evaluation::of_record(id, programs, [hour; 2], record.header());
    let evaluation = signer.say(Predicate::Evaluation(Box::new(evaluation)), seen)?;
    let head = put(evaluation, &mut leaves);

    let seen_heads = [first.size, seen.size].map(|old| {
        let Ok(proof) = tlog::prove_consistency(&nodes, old, head.size);
        (old, proof)
    });
    let placed = (0..).zip(leaves).map(|(index, envelope)| {
        let Ok(proof) = prove_inclusion(&nodes, index, head.size);
        BundleLeaf { index, envelope: envelope.as_bytes().to_vec(), proof }
    });
    let vector = record.vector().to_vec();
    let key = log_key.verifier(KeyKind::Ed25519);
    let bundle = Bundle {
        origin: KeyName::parse(load::ORIGIN).map_err(Failure::new)?,
        policy: format!("log {key}\nquorum none\n"),
        checkpoint: SignedCheckpoint::sign(&log_key, head).to_string(),
        leaves: placed.collect(),
        heads: BTreeMap::from(seen_heads),
        complete_from: head.size,
        artifacts: BTreeMap::from([(Hash::of(&[&vector]), vector)]),
        openings: Vec::new(),
    };
    Ok((bundle.to_bytes(), key))
}
