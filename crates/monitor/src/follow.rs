//! From the head that is here to a newer one: what it covers is fetched, and taken once it hashes
//! to what the log signed.

use client::{LogFiles, evidence};
use tlog::evidence::{Evidence, accuse_heads_by};
use tlog::{Hash, MemoryNodes, SignedCheckpoint};

use crate::cosigned::prefix_nodes;
use crate::finding::{Code, Finding, Findings};
use crate::pass::{Monitor, MonitorError};
use crate::store::{Bundle, MAX_BUNDLE, bundles_between};

impl Monitor {
    /// Brings everything below a head onto disk, and the head after it.
    pub(crate) fn follow(
        &mut self,
        files: &dyn LogFiles,
        place: &str,
        shown: SignedCheckpoint,
        findings: &mut Findings,
    ) -> Result<(), MonitorError> {
        let (held, new) = (self.head(), *shown.head());
        if new.size > self.settings.max_entries {
            let most = self.settings.max_entries;
            return Err(MonitorError::TooLarge { size: new.size, most });
        }
        if new.size <= held.size {
            if self.replay.root(new.size) != Some(new.root) {
                self.accuse(place, &shown, self.replay.nodes(), findings);
            } else if new.size < held.size {
                let problem = format!("shows {} entries, and had {} before", new.size, held.size);
                findings.push(Finding::new(Code::Rollback, place, problem));
            } else {
                // The same head with other cosignatures.
                self.set_head(shown)?;
            }
            return Ok(());
        }
        // On disk first, a bundle at a time; nothing in them counts until they hash to the head.
        let (mut tree, mut leaves) = (self.replay.tree(), Vec::new());
        let whole = fetch(files, held.size, new.size, findings, |bundle, entries| {
            for entry in entries {
                let leaf = tlog::leaf_hash(entry);
                tree.append(leaf);
                leaves.push(leaf);
            }
            Ok(self.store.put(bundle, entries)?)
        })?;
        if !whole {
            return Ok(());
        }
        if tree.root() != new.root {
            return self.accuse_by_tree(files, place, &shown, findings);
        }
        self.store.sync(held.size, new.size)?;
        self.set_head(shown)?;
        self.replay.grow(leaves);
        self.store.forget_begun(held.size, new.size);
        Ok(())
    }

    /// A head that contradicts what is here. `nodes` are those of the larger of the two.
    pub(crate) fn accuse(
        &self,
        place: &str,
        shown: &SignedCheckpoint,
        nodes: &MemoryNodes,
        findings: &mut Findings,
    ) {
        let Some(held) = &self.head else { return };
        let (ours, new) = (held.head().size, shown.head().size);
        let problem = format!(
            "shows a head of size {new} that is not of one history with the one of size {ours} \
             verified here"
        );
        let finding = Finding::new(Code::Conflict, place, problem);
        let made = accuse_heads_by(&self.known, held.note(), shown.note(), |old, new| {
            prefix_nodes(nodes, old, new)
        });
        findings.push(self.keep(finding, made.ok().flatten().as_ref(), &[held, shown]));
    }

    /// A finding with its evidence on disk, or with the heads from which somebody else may be able
    /// to make some.
    pub(crate) fn keep(
        &self,
        finding: Finding,
        made: Option<&Evidence>,
        heads: &[&SignedCheckpoint],
    ) -> Finding {
        let folder = self.store.evidence();
        let kept = match made {
            Some(made) => evidence::keep(&folder, made).map(Some),
            None => heads
                .iter()
                .try_for_each(|head| evidence::keep_checkpoint(&folder, head).map(drop))
                .map(|()| None),
        };
        match kept {
            Ok(Some(path)) => finding.with(path),
            Ok(None) => {
                let problem =
                    format!("{}; both heads are kept beside the evidence", finding.problem);
                Finding { problem, ..finding }
            }
            Err(error) => {
                let problem = format!("{}; it can't be written down: {error}", finding.problem);
                Finding { problem, ..finding }
            }
        }
    }

    /// A larger head below which the entries served do not lie beside those verified. If its own
    /// tree contradicts them, that convicts the log; else somebody changed the bytes.
    fn accuse_by_tree(
        &self,
        files: &dyn LogFiles,
        place: &str,
        shown: &SignedCheckpoint,
        findings: &mut Findings,
    ) -> Result<(), MonitorError> {
        let size = shown.head().size;
        let mut nodes = MemoryNodes::new();
        let whole = fetch(files, 0, size, findings, |_, entries| {
            let leaves = entries.iter().map(|entry| tlog::leaf_hash(entry));
            leaves.for_each(|leaf: Hash| nodes.append(leaf));
            Ok(())
        })?;
        if !whole {
            return Ok(());
        }
        if nodes.head().root != shown.head().root {
            let problem = format!("the entries served do not hash to the head of size {size}");
            findings.push(Finding::new(Code::WrongBytes, place, problem));
            return Ok(());
        }
        self.accuse(place, shown, &nodes, findings);
        Ok(())
    }
}

/// Gives `each` the new entries of every bundle between two sizes; false, with a finding, if the
/// log does not give them all.
fn fetch(
    files: &dyn LogFiles,
    from: u64,
    to: u64,
    findings: &mut Findings,
    mut each: impl FnMut(&Bundle, &[&[u8]]) -> Result<(), MonitorError>,
) -> Result<bool, MonitorError> {
    for path in bundles_between(from, to) {
        let mut bytes = files.fetch(&path.to_string(), MAX_BUNDLE)?;
        let mut width = path.width();
        if bytes.is_none() && !path.is_full() {
            // A partial one that is gone is answered by the full one (C2SP tlog-tiles).
            bytes = files.fetch(&path.full().to_string(), MAX_BUNDLE)?;
            width = path.full().width();
        }
        let Some(bytes) = bytes else {
            let problem = "is not there, though the checkpoint calls for it";
            findings.push(Finding::new(Code::Withheld, path.to_string(), problem));
            return Ok(false);
        };
        match tlog::parse_bundle(&bytes, width) {
            Err(error) => {
                let problem = error.to_string();
                findings.push(Finding::new(Code::WrongBytes, path.to_string(), problem));
                return Ok(false);
            }
            Ok(entries) => {
                let entries = &entries[..usize::from(path.width())];
                let bundle = Bundle::new(path, from, entries);
                each(&bundle, bundle.new_ones(entries))?;
            }
        }
    }
    Ok(true)
}
