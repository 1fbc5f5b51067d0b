//! The witness's key and its store, which belong together: made together, and never one of them
//! anew without the other.

use std::fs;
use std::path::Path;

use client::{Entropy as _, SystemEntropy, keys};
use tlog::{KeyName, SigningKey};
use witness::{Own, SqliteStore, StoreError};

use crate::cli::output::Failure;

/// What to do about a key that must sign nothing any more.
pub(super) const RETIRE: &str = "this key is retired: start a new witness in another --data, tell \
    those who trust the old key, and see docs/witness.md, \"When the store is lost\"";

/// The key and the store in the data folder, made if neither is there.
pub(super) fn open(data: &Path, name: Option<&str>) -> Result<(Own, SqliteStore), Failure> {
    let failed = |e: StoreError| failure(data, &e);
    let path = data.join("witness.key");
    if path.exists() {
        let key = keys::read_signing(&path)?;
        if let Some(name) = name
            && name != key.name().as_str()
        {
            let problem = format!("{} is the witness {}, not {name}", data.display(), key.name());
            return Err(Failure::new(problem).next("choose another --data for another witness"));
        }
        let own = Own::from(&key);
        let store = SqliteStore::open(data, &own.verifier).map_err(failed)?;
        return Ok((own, store));
    }
    if SqliteStore::exists(data) && !SqliteStore::discard_unused(data).map_err(failed)? {
        let problem = format!("{} holds a witness's store, but not its key", data.display());
        return Err(Failure::new(problem).next("put witness.key and witness.vkey back"));
    }
    let mut entropy = SystemEntropy;
    // Two witnesses must never share a name, so one that nobody chose is random.
    let name = match name {
        Some(name) => name.to_owned(),
        None => format!("countersign.invalid/witness-{}", hex::encode(entropy.bytes::<8>())),
    };
    let name = KeyName::parse(&name).map_err(|e| Failure::new(format!("--name: {e}")))?;
    let own = Own::from(&SigningKey::from_seed(name, &entropy.bytes()));
    // The store first: a key without one is a key whose store was lost.
    let store = SqliteStore::create(data, &own.verifier).map_err(failed)?;
    // What a start left behind that was cut short: without its key it is nobody's.
    let _ = fs::remove_file(data.join("witness.vkey"));
    keys::write_cosigner(&data.join("witness"), &own.key)?;
    Ok((own, store))
}

/// What went wrong with the store, and what to do about it.
pub(super) fn failure(data: &Path, error: &StoreError) -> Failure {
    match error {
        StoreError::Absent { .. } => Failure::new(format!(
            "{} holds a witness's key, but not the store of what it cosigned",
            data.display()
        ))
        .next(format!("put the store back if you have what was last written; else {RETIRE}")),
        StoreError::Halted { .. } => Failure::new(error).next(RETIRE),
        StoreError::Locked { .. } => {
            Failure::new(error).next("stop the other process, or choose another --data")
        }
        _ => Failure::new(error).next("see docs/witness.md, \"When the store is lost\""),
    }
}
