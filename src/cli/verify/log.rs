//! Checking a whole log, from its published bytes alone.

use std::cell::RefCell;
use std::path::Path;

use client::{Address, FetchError, Folder, Http, Keeping, LogFiles, audit_log};
use exchange::{History, Replayed, State};
use indicatif::ProgressBar;
use json::Value;
use tlog::{Hash, MemoryNodes, Note, SignedCheckpoint, TILE_WIDTH, TreeHead, VerifierKey, root_at};

use super::history::Histories;
use super::{Line, Pinned};
use crate::cli::output::Failure;
use crate::cli::progress;

/// All nodes, for the heads that statements have seen.
struct Roots(MemoryNodes);

impl History for Roots {
    fn root(&self, size: u64) -> Option<Hash> {
        if size == 0 || size > self.0.size() {
            return None;
        }
        let Ok(root) = root_at(&self.0, size);
        Some(root)
    }
}

/// Files of a log with a bar that moves as they are asked for.
struct Watched<'a> {
    source: Box<dyn LogFiles>,
    log: &'a VerifierKey,
    bar: ProgressBar,
    /// The checkpoint as it was fetched.
    checkpoint: RefCell<Option<Vec<u8>>>,
}

impl LogFiles for Watched<'_> {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        let bytes = self.source.fetch(path, max)?;
        if path == "checkpoint" {
            let signed =
                bytes.as_deref().and_then(|note| SignedCheckpoint::open(note, self.log).ok());
            self.bar.set_length(signed.map_or(0, |signed| files_below(signed.head().size)));
            self.checkpoint.replace(bytes.clone());
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
    pinned: &Pinned,
    histories: &mut Histories,
) -> Result<Line, Failure> {
    let place = address.url();
    let log = pinned.trust.log()?;
    let source: Box<dyn LogFiles> = if super::is_url(place) {
        Box::new(Http::new(address.clone()).map_err(Failure::new)?)
    } else {
        Box::new(Folder::new(Path::new(place)))
    };
    let source = match keep {
        Some(folder) => Box::new(Keeping::new(source, folder)),
        None => source,
    };
    let bar = progress::bar("checking files", 0);
    let source = Watched { source, log, bar, checkpoint: RefCell::default() };
    let mut state = State::new(log.clone());
    let mut roots = Roots(MemoryNodes::new());
    let audit = audit_log(&source, log, |index, leaf| {
        let replayed = state.replay(index, leaf, &roots);
        roots.0.append(tlog::leaf_hash(leaf));
        match replayed {
            Replayed::Applied => None,
            Replayed::Void(refusal) | Replayed::Noise(refusal) => {
                Some(format!("an honest log would not hold it: {refusal}"))
            }
        }
    })
    .map_err(Failure::new)?;
    source.bar.finish_and_clear();
    let note = source.checkpoint.into_inner();
    let note = note.and_then(|bytes| Note::parse(&bytes).ok());
    // A head that the log did sign is worth comparing, also if its files are not what it says.
    if let (Some(note), Some(head)) = (&note, audit.head) {
        histories.saw(place, note.clone(), head);
    }
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
        histories.saw_tree(place, roots.0);
        let newest = if super::is_url(place) { pinned.newest } else { pinned.age };
        let cosigned = note.map(|note| pinned.trust.check(&note, newest));
        return Ok(match cosigned.transpose() {
            Err(problem) => Line::bad(place, "log", &problem),
            Ok(cosigned) => {
                let line = Line::good(place, "log", &text, members);
                match cosigned.flatten() {
                    Some(cosigned) => line.and(&cosigned.text(), cosigned.members()),
                    None => line,
                }
            }
        });
    }
    let shown: Vec<String> = audit
        .findings
        .iter()
        .take(20)
        .map(|finding| format!("\n  {}: {}", finding.path, finding.problem))
        .collect();
    let problem = format!("{} findings:{}", audit.findings.len(), shown.concat());
    Ok(Line::bad_with(place, "log", &problem, vec![("findings", findings)]))
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
