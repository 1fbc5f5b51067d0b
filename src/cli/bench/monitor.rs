//! A monitor: a whole log verified from its files, beside the bare signatures.

use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use client::Folder;
use monitor::{Monitor, Settings, Sources};
use tlog::{
    KeyKind, MemoryNodes, SignedCheckpoint, TILE_WIDTH, TileKind, TreeHead, leaf_hash, tiles_of,
};

use super::load::{self, Signer};
use super::machine;
use super::{Arguments, Figure, Table, grouped, primitives};
use crate::cli::output::Failure;

/// Whose statements the log has.
const PARTIES: usize = 50;

/// Verification may take this many times as long as the signatures alone.
const GOAL: f64 = 1.3;

pub(super) fn measure(arguments: &Arguments) -> Result<Table, Failure> {
    let entries: u64 = arguments.scale().pick(100_000, 10_000, 200);
    let scratch = arguments.scratch()?;
    let log = scratch.path().join("log");
    let bytes = write(&log, entries)?;
    let mut lines = Vec::new();
    for moment in ["first pass", "started again"] {
        // Strict checks of as many bytes as the statements have, before and after.
        let before = primitives::signature_check(bytes);
        let took = verify(moment, &log, &scratch.path().join("monitor"), entries)?;
        let check = (before + primitives::signature_check(bytes)) / 2.0;
        let each = took / entries as f64;
        let ratio = each / check;
        let memory = machine::memory_of(std::process::id()).map(|memory| memory.own);
        lines.push(vec![
            Figure::words("moment", "moment", moment),
            Figure::count("entries", "entries", entries),
            Figure::value("seconds", "seconds", took / 1e6),
            Figure::value("µs each", "us_each", each),
            Figure::value("bound µs", "bound_us", check),
            Figure::value("ratio", "ratio", ratio),
            Figure::words("goal ≤ 1.3", "goal", if ratio <= GOAL { "met" } else { "missed" }),
            Figure::perhaps("own MiB", "own_mib", memory),
        ]);
    }
    Ok(Table {
        name: "monitor",
        title: format!(
            "monitor: {} statements of {bytes} bytes, read, hashed, verified, replayed, kept;\n\
             bound: one strict signature check each, on all cores",
            grouped(entries)
        ),
        lines,
        notes: vec!["own: this process, in which the statements were made too".to_owned()],
    })
}

/// Writes the files of a log; returns how many bytes its statements have, about.
fn write(folder: &Path, entries: u64) -> Result<usize, Failure> {
    let mut signers = (0..PARTIES).map(Signer::new).collect::<Result<Vec<_>, _>>()?;
    let mut leaves = Vec::new();
    for signer in &mut signers {
        leaves.push(signer.register()?.as_bytes().to_vec());
    }
    let each = (entries / PARTIES as u64).saturating_sub(1);
    let chains = load::chains(signers, each, TreeHead::EMPTY)?;
    let mut chains: Vec<_> = chains.into_iter().map(Vec::into_iter).collect();
    // One of each, again and again, as many parties write.
    while let Some(round) = chains.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>() {
        leaves.extend(round);
    }
    let nodes: MemoryNodes = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let head = nodes.head();
    for path in tiles_of(head.size).filter(|path| path.kind() == TileKind::Entries) {
        let first = (path.index() * TILE_WIDTH) as usize;
        let mut bytes = Vec::new();
        for leaf in &leaves[first..first + usize::from(path.width())] {
            let length = u16::try_from(leaf.len()).map_err(Failure::new)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(leaf);
        }
        let file = folder.join(path.to_string());
        fs::create_dir_all(file.parent().unwrap_or(folder))?;
        fs::write(file, bytes)?;
    }
    let signed = SignedCheckpoint::sign(&load::log_key()?, head);
    fs::write(folder.join("checkpoint"), signed.as_bytes())?;
    Ok(leaves.last().map_or(0, Vec::len))
}

/// Microseconds of a first pass, or of a start on what is verified.
fn verify(moment: &str, log: &Path, data: &Path, entries: u64) -> Result<f64, Failure> {
    let settings = Settings {
        log: load::log_key()?.verifier(KeyKind::Ed25519),
        policy: None,
        max_age: 0,
        parties: Vec::new(),
        max_entries: entries,
    };
    let start = Instant::now();
    let mut monitor = Monitor::open(data, settings, &|_| {}).map_err(Failure::new)?;
    let files = Folder::new(log);
    let sources = Sources { files: &files, place: "bench", artifacts: None, views: &[] };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let pass = monitor.pass(&sources, now, &|_| {}).map_err(Failure::new)?;
    let took = start.elapsed();
    if !pass.findings.is_empty() || monitor.verified() != entries {
        let findings = pass.findings.list().first();
        let verified = monitor.verified();
        return Err(Failure::bad(format!(
            "{moment}: {verified} of {entries} entries verified; {findings:?}"
        )));
    }
    Ok(took.as_secs_f64() * 1e6)
}
