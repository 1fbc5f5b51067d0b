//! Checking a whole log, from its published bytes alone.

use std::path::Path;

use client::{Address, FetchError, Folder, Http, Keeping, LogFiles, audit_log};
use exchange::{History, Replayed, State};
use indicatif::ProgressBar;
use json::Value;
use tlog::{CompactRange, Hash, SignedCheckpoint, TILE_WIDTH, TreeHead, VerifierKey};

use super::Line;
use crate::cli::output::Failure;
use crate::cli::progress;

/// Roots of all prefixes, for the heads that statements have seen.
#[derive(Default)]
struct Roots {
    tree: CompactRange,
    by_size: Vec<Hash>,
}

impl History for Roots {
    fn root(&self, size: u64) -> Option<Hash> {
        self.by_size.get(usize::try_from(size).ok()?.checked_sub(1)?).copied()
    }
}

/// Files of a log with a bar that moves as they are asked for.
struct Watched<'a> {
    source: Box<dyn LogFiles>,
    log: &'a VerifierKey,
    bar: ProgressBar,
}

impl LogFiles for Watched<'_> {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let bytes = self.source.fetch(path, max)?;
        if path == "checkpoint" {
            let signed =
                bytes.as_deref().and_then(|note| SignedCheckpoint::open(note, self.log).ok());
            self.bar.set_length(signed.map_or(0, |signed| files_below(signed.head().size)));
        } else {
            self.bar.inc(1);
        }
        Ok(bytes)
    }
}

/// How many bundles and tiles a log of this size has.
fn files_below(size: u64) -> u64 {
    let mut files = size.div_ceil(TILE_WIDTH);
    let mut hashes = size;
    while hashes > 0 {
        files += hashes.div_ceil(TILE_WIDTH);
        hashes /= TILE_WIDTH;
    }
    files
}

/// Everything below the newest checkpoint of the log at `place`: a URL or a folder.
pub(super) fn check(
    address: &Address,
    keep: Option<&Path>,
    log: &VerifierKey,
) -> Result<Line, Failure> {
    let place = address.url();
    let source: Box<dyn LogFiles> = if super::is_url(place) {
        Box::new(Http::new(address.clone()).map_err(Failure::new)?)
    } else {
        Box::new(Folder::new(Path::new(place)))
    };
    let source = match keep {
        Some(folder) => Box::new(Keeping::new(source, folder)),
        None => source,
    };
    let source = Watched { source, log, bar: progress::bar("checking files", 0) };
    let mut state = State::new(log.clone());
    let mut roots = Roots::default();
    let audit = audit_log(&source, log, |index, leaf| {
        let replayed = state.replay(index, leaf, &roots);
        roots.tree.append(tlog::leaf_hash(leaf));
        roots.by_size.push(roots.tree.root());
        match replayed {
            Replayed::Applied => None,
            Replayed::Void(refusal) | Replayed::Noise(refusal) => {
                Some(format!("an honest log would not hold it: {refusal}"))
            }
        }
    })
    .map_err(Failure::new)?;
    source.bar.finish_and_clear();
    let findings = audit.findings.iter().map(|finding| {
        json::object([
            ("path", Value::from(finding.path.as_str())),
            ("problem", finding.problem.as_str().into()),
        ])
    });
    let findings = json::array(findings);
    if audit.findings.is_empty() {
        let head = audit.head.unwrap_or(TreeHead::EMPTY);
        let text = format!(
            "{} has {} statements; every tile, signature and step follows from \
             them, and the log has signed their root {}",
            log.name(),
            head.size,
            head.root
        );
        let members = vec![
            ("size", head.size.into()),
            ("root", head.root.to_string().into()),
            ("findings", findings),
        ];
        return Ok(Line::good(place, "log", &text, members));
    }
    let shown: Vec<String> = audit
        .findings
        .iter()
        .take(20)
        .map(|finding| format!("\n  {}: {}", finding.path, finding.problem))
        .collect();
    let problem = format!("{} findings:{}", audit.findings.len(), shown.concat());
    let mut line = Line::bad(place, "log", &problem);
    if let Value::Object(object) = &mut line.json {
        object.insert("findings", findings);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_bar_ends_at_the_number_of_files_that_a_log_has() {
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 200_000] {
            assert_eq!(super::files_below(size), tlog::tiles_of(size).count() as u64, "{size}");
        }
    }
}
