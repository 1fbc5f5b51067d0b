//! The policy file of a log: whom it asks for cosignatures.

use std::time::Duration;

use client::{Address, Tls, files};
use server::{Pace, UnfitPolicy, Witnesses};
use tlog::{MAX_POLICY, Policy, VerifierKey};

use super::config::WitnessesSection;
use crate::cli::output::Failure;

/// Certificates of a chain have some KiB each.
const MAX_PEM: u64 = 256 << 10;

/// The witnesses that the configuration names; none without a policy.
pub(super) fn read(
    section: &WitnessesSection,
    log: &VerifierKey,
) -> Result<Option<Witnesses>, Failure> {
    let Some(path) = &section.policy else { return Ok(None) };
    let text = files::read(path, MAX_POLICY as u64)?;
    let wrong = |e: &dyn std::fmt::Display| Failure::new(format!("{}: {e}", path.display()));
    let policy = Policy::parse(&text).map_err(|e| wrong(&e))?;
    let authority = section.ca.as_ref().map(|ca| files::read(ca, MAX_PEM)).transpose()?;
    let tls = authority.map(|authority| Tls::new(&authority, None)).transpose();
    let tls = tls.map_err(|e| Failure::new(format!("witnesses.ca: {e}")))?;
    let address = |url: &str| match &tls {
        Some(tls) if url.starts_with("https://") => Address::with_tls(url, tls.clone()),
        _ => Address::from(url),
    };
    let pace = Pace {
        beat: Duration::from_millis(section.beat_ms),
        deadline: Duration::from_millis(section.deadline_ms),
        refresh: Duration::from_secs(section.refresh_seconds),
    };
    let witnesses = Witnesses::new(policy, log, pace, address).map_err(|e| {
        let next = match &e {
            UnfitPolicy::OtherLog(_) => format!("add the line: log {log}"),
            UnfitPolicy::NoQuorum => {
                "name a witness or a group in its quorum line, or leave --policy out".to_owned()
            }
            UnfitPolicy::OutOfReach(_) => {
                "put the witness's URL at the end of its line: witness NAME VKEY URL".to_owned()
            }
            UnfitPolicy::Url { .. } => {
                "such as http://127.0.0.1:7410/; an https one takes witnesses.ca".to_owned()
            }
        };
        wrong(&e).next(next)
    })?;
    Ok(Some(witnesses))
}
