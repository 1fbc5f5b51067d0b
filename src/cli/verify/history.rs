//! What was seen of logs in one run, compared: two heads, receipts or statements that contradict
//! each other are evidence, which is written at once.

use std::collections::BTreeMap;
use std::path::Path;

use client::evidence;
use exchange::{StatementId, VerifiedStatement};
use json::Value;
use tlog::evidence::{
    BuildError, Evidence, KnownKeys, Role, accuse_heads, accuse_heads_by, accuse_leaves,
};
use tlog::{Hash, KeyKind, KeyName, MemoryNodes, Note, Receipt, TreeHead, VerifierKey, root_at};

use super::Line;

/// A head that a log signed, and where it was found.
pub(super) struct Seen {
    pub(super) place: String,
    pub(super) note: Note,
    pub(super) head: TreeHead,
}

/// A whole tree, and where it was found.
struct Tree {
    place: String,
    nodes: MemoryNodes,
}

/// One statement's place in its signer's own order.
type Said = (KeyName, Option<StatementId>, KeyName, u64);

/// Everything that can be compared.
#[derive(Default)]
pub(super) struct Histories {
    heads: Vec<Seen>,
    trees: Vec<Tree>,
    leaves: BTreeMap<u64, Vec<(String, Hash, Receipt)>>,
    said: BTreeMap<Said, Vec<(String, VerifiedStatement)>>,
}

impl Histories {
    /// A head that verified.
    pub(super) fn saw(&mut self, place: &str, note: Note, head: TreeHead) {
        self.heads.push(Seen { place: place.to_owned(), note, head });
    }

    /// All leaves of a log, up to some head.
    pub(super) fn saw_tree(&mut self, place: &str, nodes: MemoryNodes) {
        self.trees.push(Tree { place: place.to_owned(), nodes });
    }

    /// A leaf whose receipt verified.
    pub(super) fn saw_leaf(&mut self, place: &str, leaf: Hash, receipt: Receipt) {
        let at = self.leaves.entry(receipt.index()).or_default();
        at.push((place.to_owned(), leaf, receipt));
    }

    /// A statement that verified.
    pub(super) fn saw_statement(&mut self, place: &str, verified: &VerifiedStatement) {
        let common = verified.statement().common();
        let said = (common.origin.clone(), common.exchange, common.signer.clone(), common.number);
        self.said.entry(said).or_default().push((place.to_owned(), verified.clone()));
    }

    /// Heads of one log, in the order in which they were seen.
    pub(super) fn seen_of(&self, log: &VerifierKey) -> impl Iterator<Item = &Seen> {
        let origin = format!("{}\n", log.name());
        self.heads.iter().filter(move |seen| seen.note.text().starts_with(&origin))
    }

    /// Whatever contradicts itself, a line for each; and which heads are shown to be of one history.
    pub(super) fn compare(&self, known: &KnownKeys, folder: &Path) -> Vec<Line> {
        let mut lines = Vec::new();
        for (at, b) in self.heads.iter().enumerate() {
            for a in &self.heads[..at] {
                lines.extend(self.compare_heads(a, b, known, folder));
            }
        }
        for (index, all) in &self.leaves {
            lines.extend(compare_leaves(*index, all, known, folder));
        }
        for (said, all) in &self.said {
            lines.extend(compare_statements(said, all, known, folder));
        }
        lines
    }

    fn compare_heads(&self, a: &Seen, b: &Seen, known: &KnownKeys, folder: &Path) -> Option<Line> {
        let places = format!("{} and {}", a.place, b.place);
        let larger = if a.head.size > b.head.size { a.head } else { b.head };
        let tree = self.trees.iter().find(|tree| {
            let Ok(root) = root_at(&tree.nodes, larger.size.min(tree.nodes.size()));
            tree.nodes.size() >= larger.size && root == larger.root
        });
        let made = match tree {
            Some(tree) => {
                accuse_heads(known, &a.note, &b.note, &tree.nodes).map_err(|e| e.to_string())
            }
            None => match accuse_heads_by(known, &a.note, &b.note, |_, _| Err(())) {
                // Sizes differ and no tree is at hand: nobody can tell.
                Err(BuildError::Nodes { .. }) => return None,
                other => other.map_err(|error| match error {
                    BuildError::Origins { .. } => String::new(),
                    _ => "the two could not be compared".to_owned(),
                }),
            },
        };
        match made {
            Ok(Some(made)) => {
                let problem = format!(
                    "the log has shown two histories, in its heads of size {} and {}",
                    a.head.size, b.head.size
                );
                Some(convicted(&places, "heads", &problem, &made, folder))
            }
            Ok(None) => {
                let tree = tree.filter(|_| a.head != b.head)?;
                let text = format!(
                    "The heads of size {} and {} are of one history, that of {}",
                    a.head.size, b.head.size, tree.place
                );
                Some(Line::good(&places, "heads", &text, Vec::new()))
            }
            // Heads of two logs.
            Err(problem) if problem.is_empty() => None,
            Err(problem) => Some(Line::bad(&places, "heads", &problem)),
        }
    }
}

fn compare_leaves(
    index: u64,
    all: &[(String, Hash, Receipt)],
    known: &KnownKeys,
    folder: &Path,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for (at, (place_b, leaf_b, b)) in all.iter().enumerate() {
        for (place_a, leaf_a, a) in &all[..at] {
            let Ok(Some(made)) = accuse_leaves(known, (*leaf_a, a), (*leaf_b, b)) else { continue };
            let places = format!("{place_a} and {place_b}");
            let problem = format!("the log has shown two entries {index}");
            lines.push(convicted(&places, "entries", &problem, &made, folder));
        }
    }
    lines
}

fn compare_statements(
    said: &Said,
    all: &[(String, VerifiedStatement)],
    known: &KnownKeys,
    folder: &Path,
) -> Vec<Line> {
    let (_, _, signer, number) = said;
    let envelope = |verified: &VerifiedStatement| verified.signed().envelope().clone();
    let mut lines = Vec::new();
    for (at, (place_b, b)) in all.iter().enumerate() {
        for (place_a, a) in &all[..at] {
            if a.id() == b.id() {
                continue;
            }
            let places = format!("{place_a} and {place_b}");
            let problem = format!("{signer} signed two statements under its number {number}");
            let known = with_signer(known, a);
            lines.push(
                match exchange::evidence::statement_fork(&known, &envelope(a), &envelope(b)) {
                    Ok(Some(made)) => convicted(&places, "statements", &problem, &made, folder),
                    // One key signed the one, another key the other: neither lied by itself.
                    _ => Line::bad(&places, "statements", &problem),
                },
            );
        }
    }
    lines
}

/// The known keys, and the one by which the log knows a statement's signer: whoever reads the
/// evidence decides whether that key is one that they know.
pub(super) fn with_signer(known: &KnownKeys, verified: &VerifiedStatement) -> KnownKeys {
    let signer = verified.statement().common().signer.clone();
    let key = VerifierKey::new(signer, KeyKind::Ed25519, *verified.key());
    known.clone().with(Role::Party, key)
}

/// A line that says what is wrong and where its evidence lies.
pub(super) fn convicted(
    place: &str,
    kind: &str,
    problem: &str,
    made: &Evidence,
    folder: &Path,
) -> Line {
    match evidence::keep(folder, made) {
        Ok(path) => {
            let path = path.display().to_string();
            let problem = format!(
                "{problem}. The evidence is in {path}: countersign verify {path} says who is guilty"
            );
            Line::bad_with(place, kind, &problem, vec![("evidence", Value::from(path))])
        }
        Err(error) => {
            let problem = format!(
                "{problem}. The evidence could not be written ({error}): name a folder with \
                 --evidence"
            );
            Line::bad(place, kind, &problem)
        }
    }
}
