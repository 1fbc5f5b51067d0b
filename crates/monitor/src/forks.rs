//! Where a party has used a number twice, the entry that had it before: the two together convict
//! the party.

use client::evidence;
use exchange::evidence::statement_fork;
use exchange::{SignedStatement, State};
use tlog::evidence::{KnownKeys, Role};
use tlog::{KeyKind, VerifierKey};

use crate::finding::{Code, Finding, Findings};
use crate::store::{Store, StoreError};

/// How many of one pass are looked up. Each costs a look at all entries before it.
pub(crate) const MOST: usize = 16;

/// An entry whose number was used before.
pub(crate) struct Fork {
    pub(crate) index: u64,
    pub(crate) signed: SignedStatement,
}

/// Looks for what each of them repeats, and writes the evidence.
pub(crate) fn look_up(
    forks: Vec<Fork>,
    store: &Store,
    head: u64,
    state: &State,
    known: &KnownKeys,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let mut forks: Vec<Option<Fork>> = forks.into_iter().map(Some).collect();
    let mut index = 0;
    for entries in store.entries_between(0, head) {
        for entry in entries? {
            for slot in &mut forks {
                let Some(fork) = slot else { continue };
                if index >= fork.index || !repeats(&entry, &fork.signed) {
                    continue;
                }
                if let Some(finding) = convict(&entry, fork, index, store, state, known) {
                    findings.push(finding);
                    *slot = None;
                }
            }
            index += 1;
        }
        if forks.iter().flatten().all(|fork| fork.index <= index) {
            break;
        }
    }
    Ok(())
}

/// True if an entry may be another statement under the same number.
fn repeats(entry: &[u8], signed: &SignedStatement) -> bool {
    let Ok(other) = SignedStatement::parse(entry) else { return false };
    let (a, b) = (other.statement().common(), signed.statement().common());
    a.signer == b.signer
        && a.exchange == b.exchange
        && a.number == b.number
        && other.id() != signed.id()
}

fn convict(
    entry: &[u8],
    fork: &Fork,
    before: u64,
    store: &Store,
    state: &State,
    known: &KnownKeys,
) -> Option<Finding> {
    let other = SignedStatement::parse(entry).ok()?;
    let signer = &fork.signed.statement().common().signer;
    // Whoever reads the evidence decides whether a key is one that they know.
    let keys = state.registry().party(signer).map(|party| party.keys()).unwrap_or_default();
    let known = keys.iter().fold(known.clone(), |known, held| {
        let key = VerifierKey::new(signer.clone(), KeyKind::Ed25519, held.public);
        known.with(Role::Party, key)
    });
    let made = statement_fork(&known, other.envelope(), fork.signed.envelope()).ok()??;
    let number = fork.signed.statement().common().number;
    let problem = format!("{signer} signed the number {number} twice, first in entry {before}");
    let finding = Finding::of_entry(Code::StatementFork, fork.index, problem);
    Some(match evidence::keep(&store.evidence(), &made) {
        Ok(path) => finding.with(path),
        Err(error) => {
            let problem = format!("{}; the evidence can't be written: {error}", finding.problem);
            Finding { problem, ..finding }
        }
    })
}
