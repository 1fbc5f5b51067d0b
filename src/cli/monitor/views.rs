//! Heads that come another way: from witnesses, from the other party's monitor, and from files
//! that it handed over.

use std::path::Path;
use std::thread;

use client::{Address, Http, LogFiles as _, files};
use exchange::bundle::Bundle;
use monitor::View;
use tlog::{MAX_NOTE, Note, Policy, Receipt, VerifierKey, monitoring_path};

use crate::cli::output::Failure;
use crate::cli::party::TlsArguments;
use crate::cli::verify::is_url;

/// Bundles have at most 256 MiB.
const MAX_FILE: u64 = 256 << 20;

/// Where else to look.
pub(super) struct Views(Vec<Source>);

struct Source {
    /// In words.
    place: String,
    way: Way,
}

enum Way {
    /// The file at a path below a URL.
    Http(Box<Address>, String),
    File(String),
}

impl Views {
    pub(super) fn new(
        log: &VerifierKey,
        policy: Option<&Policy>,
        ask_witnesses: bool,
        peers: &[String],
        tls: &TlsArguments,
    ) -> Result<Self, Failure> {
        let mut sources = Vec::new();
        if ask_witnesses {
            let policy = policy.ok_or_else(|| {
                Failure::new("--witnesses needs to know them").next("name a policy with --policy")
            })?;
            let path = monitoring_path(log.name().as_str());
            for witness in policy.witnesses() {
                let Some(url) = witness.url().map(String::from_utf8_lossy) else { continue };
                let place = format!("witness {}", String::from_utf8_lossy(witness.name()));
                let way = Way::Http(Box::new(tls.address(&url)?), path.clone());
                sources.push(Source { place, way });
            }
            if sources.is_empty() {
                return Err(Failure::new("the policy names no witness with an address")
                    .next("add their URLs to the policy, see docs/trust-policy.md"));
            }
        }
        for peer in peers {
            let way = if is_url(peer) {
                Way::Http(Box::new(tls.address(peer)?), "checkpoint".to_owned())
            } else {
                // A name that is wrong now should not wait for the first pass to be told.
                note_of(peer.as_ref())?;
                Way::File(peer.clone())
            };
            sources.push(Source { place: peer.clone(), way });
        }
        Ok(Self(sources))
    }

    /// What they show now, all asked at once. Who can't be reached shows nothing.
    pub(super) fn fetch(&self) -> Vec<View> {
        thread::scope(|scope| {
            let asked: Vec<_> =
                self.0.iter().map(|source| (source, scope.spawn(|| source.note()))).collect();
            let mut views = Vec::new();
            for (source, note) in asked {
                match note.join() {
                    Ok(Ok(Some(note))) => {
                        views.push(View { place: source.place.clone(), note });
                    }
                    Ok(Ok(None)) => tracing::info!(place = source.place, "has no head of this log"),
                    Ok(Err(error)) => tracing::warn!(place = source.place, error, "shows nothing"),
                    Err(_) => tracing::error!(place = source.place, "could not be asked"),
                }
            }
            views
        })
    }
}

impl Source {
    fn note(&self) -> Result<Option<Vec<u8>>, String> {
        match &self.way {
            Way::Http(address, path) => Http::new(Address::clone(address))
                .and_then(|http| http.fetch(path, MAX_NOTE))
                .map_err(|error| error.to_string()),
            Way::File(path) => {
                note_of(path.as_ref()).map(Some).map_err(|failure| failure.message().to_owned())
            }
        }
    }
}

/// The checkpoint in a file: by itself, in a receipt, or in a bundle.
fn note_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = files::read(path, MAX_FILE)?;
    if let Ok(receipt) = Receipt::parse(&bytes) {
        return Ok(receipt.checkpoint().as_bytes().to_vec());
    }
    if let Ok(bundle) = Bundle::parse(&bytes) {
        return Ok(bundle.checkpoint.into_bytes());
    }
    if Note::parse(&bytes).is_ok() {
        return Ok(bytes);
    }
    let problem = format!("{} is no checkpoint, receipt or bundle", path.display());
    Err(Failure::new(problem).next("ask the other party for its bundle, receipt or checkpoint"))
}
