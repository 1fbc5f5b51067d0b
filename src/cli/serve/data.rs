//! The data folder: the log's key and the log itself, made if neither is there.

use std::fs;
use std::path::Path;

use client::files::with_ending;
use client::{Entropy as _, SystemEntropy, keys};
use exchange::predicate::Keys;
use exchange::sealed::SealingSecret;
use sequencer::{FileStore, Log};
use server::{Metered, Metrics, Operator};
use tlog::{Hash, KeyName, SigningKey};
use zeroize::Zeroizing;

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

/// Who signs the log's ticks: the operator's key in the data folder, made if it is not there, with
/// a recovery key beside it.
pub(super) fn open_operator(data: &Path, log: &KeyName) -> Result<Operator, Failure> {
    let name = operator_name(log);
    let (stem, recovery_stem) = (data.join("operator"), data.join("operator.recovery"));
    let mut entropy = SystemEntropy;
    let recovery = with_ending(&recovery_stem, ".vkey");
    if !recovery.exists() {
        let key = SigningKey::from_seed(name.clone(), &entropy.bytes());
        keys::write_pair(&recovery_stem, &key)?;
    }
    let recovery = keys::read_vkey(&recovery)?;
    let path = with_ending(&stem, ".key");
    if !path.exists() {
        keys::write_pair(&stem, &SigningKey::from_seed(name.clone(), &entropy.bytes()))?;
    }
    let key = keys::read_signing(&path)?;
    if *key.name() != name {
        let problem = format!("{} is of {}, not {name}", path.display(), key.name());
        return Err(Failure::new(problem).next("put back the key that was made for this log"));
    }
    // A registration names a sealing key. Nobody has anything to seal to the operator, so that the
    // private half is not kept.
    let sealing = SealingSecret::X25519(Zeroizing::new(entropy.bytes())).public();
    let keys = Keys {
        name,
        key: *key.public().as_bytes(),
        sealing,
        recovery: *recovery.public().as_bytes(),
    };
    Operator::new(key, keys).map_err(Failure::new)
}

/// `ORIGIN/operator`, or, where that is too long for a name, one made of its hash.
fn operator_name(log: &KeyName) -> KeyName {
    KeyName::parse(&format!("{log}/operator")).unwrap_or_else(|_| {
        let hash = Hash::of(&[log.as_str().as_bytes()]);
        KeyName::parse(&format!("{hash}/operator")).expect("73 bytes of hex and a word")
    })
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
