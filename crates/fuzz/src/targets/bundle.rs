//! Bundles: as they come, and with everything signed and proved anew around what was changed.

use exchange::bundle::{Bundle, VectorState};

use super::statements::{previous, sign_lines};
use crate::fixtures::{bundle, bundle_of, log_vkey, made, statements};
use crate::mutate::{Shape, Tree};
use crate::{Memory, Target, Verdict};

const TOKENS: &[&[u8]] = &[
    b"countersign/bundle/v1",
    b"\"leaves\":[",
    b"\"heads\":[",
    b"\"complete_from\":",
    b"\"proof\":\"\"",
    b"\"artifacts\":[",
    b"\"openings\":[",
    b"@root",
];

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "bundle",
            shape: Shape::Json,
            tokens: TOKENS,
            seeds,
            run: parse_and_verify,
            memory: Memory::USUAL,
        },
        Target {
            name: "bundle-of-a-cheat",
            shape: Shape::JsonLines,
            tokens: TOKENS,
            seeds: lines,
            run: sign_and_verify,
            memory: Memory::USUAL,
        },
    ]
}

fn seeds() -> Vec<Vec<u8>> {
    let whole = bundle();
    let bare = Bundle { artifacts: Default::default(), openings: Vec::new(), ..whole.clone() };
    let only = Bundle { leaves: whole.leaves[..1].to_vec(), ..bare.clone() };
    vec![whole.to_bytes(), bare.to_bytes(), only.to_bytes()]
}

fn parse_and_verify(input: &[u8]) -> Verdict {
    let Ok(bundle) = Bundle::parse(input) else { return Verdict::Refused };
    assert_eq!(Bundle::parse(&bundle.to_bytes()).as_ref(), Ok(&bundle), "read again");
    let Ok(verdict) = bundle.verify(log_vkey(), &[]) else { return Verdict::Refused };
    // The log of the vectors is the only one that its key has signed.
    for ((index, verified), leaf) in verdict.statements.iter().zip(&bundle.leaves) {
        let honest = &statements()[*index as usize];
        assert_eq!(verified.id().to_string(), honest.id, "another statement at {index}");
        assert_eq!(leaf.envelope, honest.envelope.as_bytes());
    }
    let truth = made().truth();
    for opened in &verdict.opened {
        let items = opened.proved.items.iter();
        for item in items {
            let honest = truth.items.iter().find(|other| other.index == item.index);
            let honest = honest.expect("there is such an item");
            assert!(item.fields.iter().all(|field| honest.fields.contains(field)), "another value");
            assert!(item.scores.iter().all(|score| honest.scores.contains(score)), "another score");
        }
        assert!(opened.proved.totals.iter().all(|t| truth.totals.contains(t)), "another total");
    }
    Verdict::Accepted
}

/// Payloads as the replayed logs have them: the party, the intent, the evaluation.
fn lines() -> Vec<Vec<u8>> {
    let vectors = statements();
    let lines = [0, 14, 15].iter().enumerate().map(|(place, at)| {
        let text = vectors[*at].payload.replace(vectors[14].id, "@1");
        // What the intent follows in the vectors is not in this log; the registration is.
        let text = if place == 1 { previous(&text, 0).unwrap_or_default() } else { text };
        let mut tree = Tree::parse(text.as_bytes()).expect("payloads are JSON");
        let seen = tree.at_mut(&["predicate", "seen"]).expect("every statement has seen a head");
        let size = Tree::Raw(place.to_string());
        let root = Tree::Text("@root".to_owned());
        *seen = Tree::Object(vec![("size".to_owned(), size), ("root".to_owned(), root)]);
        tree.to_text() + "\n"
    });
    vec![lines.collect::<String>().into_bytes()]
}

/// The log and its parties say whatever they like, as long as they sign it.
fn sign_and_verify(input: &[u8]) -> Verdict {
    let leaves: Vec<Vec<u8>> =
        sign_lines(input).into_iter().filter(|leaf| leaf.len() < 65_536).collect();
    if leaves.is_empty() {
        return Verdict::Refused;
    }
    let all: Vec<usize> = (0..leaves.len()).collect();
    let vector = made().record.vector();
    let mut bundle = bundle_of(&leaves, &all, &[vector], Vec::new());
    bundle.complete_from = 0;
    assert_eq!(Bundle::parse(&bundle.to_bytes()).as_ref(), Ok(&bundle), "a bundle can be sent");
    let Ok(verdict) = bundle.verify(log_vkey(), &[]) else { return Verdict::Refused };
    assert_eq!(verdict.statements.len(), leaves.len());
    let honest = made().record.header();
    for attested in &verdict.attested {
        if attested.vector == VectorState::Holds {
            assert_eq!(attested.header.vector(), honest.vector());
            assert_eq!(attested.header.record_root(), honest.record_root(), "another root holds");
            assert_eq!(attested.header.columns(), honest.columns(), "another column holds");
            assert_eq!(attested.header.layout().items(), 4, "another number of items holds");
        }
    }
    Verdict::Accepted
}
