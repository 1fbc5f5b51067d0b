//! The check at the start: whether anything that this witness published is newer than its store.
//! A place that cannot be reached is a warning, not a reason to stay down.

use std::fs;
use std::path::PathBuf;

use client::{Address, Http, LogFiles as _, Tls, files};
use tlog::{Hash, MAX_NOTE};
use witness::decision::{Refused, State};
use witness::{Logs, Own, check_shown};

use super::config::Config;
use crate::cli::output::Failure;

/// Looks at the folder of published checkpoints, at all places named as `published`, and at the
/// logs that have a URL. The inner error is of a store that is behind.
pub(super) async fn check(
    config: &Config,
    logs: &Logs,
    state: &State,
    own: &Own,
) -> Result<Result<(), Refused>, Failure> {
    for note in in_folder(&config.data.join("published"))? {
        if let Err(refused) = check_shown(&note, state, &own.verifier) {
            return Ok(Err(refused));
        }
    }
    let mut places: Vec<(String, Vec<String>)> = Vec::new();
    let monitored = logs.origins().map(tlog::monitoring_path).collect::<Vec<_>>();
    places.extend(config.published.iter().map(|url| (url.clone(), monitored.clone())));
    let urls = config.logs.iter().filter_map(|log| log.url.clone());
    places.extend(urls.map(|url| (url, vec!["checkpoint".to_owned()])));
    let authority = match &config.published_ca {
        Some(path) => Some(files::read(path, MAX_PEM)?),
        None => None,
    };
    let mut fetching = tokio::task::JoinSet::new();
    for (url, paths) in places {
        let address = match &authority {
            Some(authority) if url.starts_with("https://") => {
                let tls = Tls::new(authority, None).map_err(Failure::new)?;
                Address::with_tls(url.as_str(), tls)
            }
            _ => Address::from(&url),
        };
        fetching.spawn_blocking(move || fetch(address, &paths));
    }
    while let Some(notes) = fetching.join_next().await {
        for note in notes.unwrap_or_default() {
            if let Err(refused) = check_shown(&note, state, &own.verifier) {
                return Ok(Err(refused));
            }
        }
    }
    Ok(Ok(()))
}

/// Certificates of a chain have some KiB each.
const MAX_PEM: u64 = 256 << 10;

/// What stands in `published/<SHA-256 of an origin>/checkpoint`.
fn in_folder(folder: &PathBuf) -> Result<Vec<Vec<u8>>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut notes = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let named = entry.file_name().to_str().is_some_and(|name| Hash::from_hex(name).is_ok());
        let path = entry.path().join("checkpoint");
        if named && path.is_file() {
            notes.push(files::read(&path, MAX_NOTE as u64)?);
        }
    }
    Ok(notes)
}

/// What a place shows, up to the first path that cannot be fetched.
fn fetch(address: Address, paths: &[String]) -> Vec<Vec<u8>> {
    let mut notes = Vec::new();
    let http = match Http::new(address) {
        Ok(http) => http,
        Err(error) => {
            tracing::warn!(%error, "what is published there was not looked at");
            return notes;
        }
    };
    for path in paths {
        match http.fetch(path, MAX_NOTE) {
            Ok(note) => notes.extend(note),
            Err(error) => {
                tracing::warn!(%error, "what is published there was not looked at");
                break;
            }
        }
    }
    notes
}
