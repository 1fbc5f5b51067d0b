//! The data folder: the log's key and the log itself, made if neither is there.

use std::fs;
use std::path::Path;

use client::{Entropy as _, SystemEntropy, keys};
use sequencer::{FileStore, Log};
use server::{Metered, Metrics};
use tlog::{KeyName, SigningKey};

use super::config::LogSection;
use crate::cli::output::Failure;

/// The log's key in the data folder, made if neither key nor log is there.
pub(super) fn open_key(settings: &LogSection) -> Result<SigningKey, Failure> {
    let data = &settings.data;
    let path = data.join("log.key");
    if path.exists() {
        let key = keys::read_signing(&path)?;
        let origin = settings.origin.as_deref().unwrap_or_else(|| key.name().as_str());
        if origin != key.name().as_str() {
            let problem = format!("{} is the log {}, not {origin}", data.display(), key.name());
            return Err(Failure::new(problem).next("choose another --data for another log"));
        }
        return Ok(key);
    }
    if data.join("log.db").exists() {
        let problem = format!("{} holds a log, but not its key", data.display());
        return Err(Failure::new(problem).next("put log.key and log.vkey back from your backup"));
    }
    fs::create_dir_all(data).map_err(|e| Failure::new(format!("{}: {e}", data.display())))?;
    let mut entropy = SystemEntropy;
    // Two logs must never share a name, so one that nobody chose is random.
    let origin = match &settings.origin {
        Some(origin) => origin.clone(),
        None => format!("countersign.invalid/log-{}", hex::encode(entropy.bytes::<8>())),
    };
    let name = KeyName::parse(&origin).map_err(|e| Failure::new(format!("--origin: {e}")))?;
    let key = SigningKey::from_seed(name, &entropy.bytes());
    keys::write_pair(&data.join("log"), &key)?;
    Ok(key)
}

/// The log in the data folder, made if it is not there. Its commits are told to `metrics`.
pub(super) fn open_log(
    data: &Path,
    key: &SigningKey,
    metrics: &Metrics,
) -> Result<Log<Metered<FileStore>>, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::new(format!("{}: {e}", data.display()));
    if data.join("log.db").exists() {
        let open = || {
            let store = FileStore::open(data).map_err(|e| wrong(&e))?;
            Ok::<_, Failure>(Metered::new(store, metrics.clone()))
        };
        return match Log::open(open()?, key.clone()) {
            // A crash between making the store and its first head leaves a store without one.
            Err(sequencer::OpenError::Store(sequencer::StoreError::Headless)) => {
                Log::create(open()?, key.clone()).map_err(|e| wrong(&e))
            }
            other => other.map_err(|e| wrong(&e)),
        };
    }
    let store = FileStore::create(data).map_err(|e| wrong(&e))?;
    Log::create(Metered::new(store, metrics.clone()), key.clone()).map_err(|e| wrong(&e))
}
