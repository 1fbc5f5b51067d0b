//! Whole exchanges by commands: agreed, committed, revealed, compared.

use crate::labs::{A, B, Labs};
use crate::support::{evaldata, list, number, text};

#[test]
fn two_labs_agree_commit_reveal_and_compare() {
    let labs = Labs::new();
    let id = labs.agree(|draft| draft);
    assert_eq!(labs.state(A, &id), "agreed");

    let first = labs.commit(A, &id, "lab-a.eval", &[]);
    assert_eq!(number(&first, "items"), 200);
    labs.commit(B, &id, "lab-b.eval", &[]);
    labs.run(A, ["reveal", "--agreement", &id]).exits(2).says(&["agreed", "ticked head"]);
    labs.tick(120);
    assert_eq!(labs.state(A, &id), "committed");

    for lab in [A, B] {
        let revealed = labs.run(lab, ["reveal", "--agreement", &id]).good();
        assert_eq!(list(&revealed, "revealed").len(), 2, "totals and counts");
        let again = labs.run(lab, ["reveal", "--agreement", &id]).good();
        assert!(list(&again, "revealed").is_empty(), "nothing is owed twice");
    }
    labs.tick(180);
    // Both replay the same history to the same state.
    let [one, other] = [A, B].map(|lab| labs.run(lab, ["status", "--agreement", &id]).good());
    assert_eq!(text(&one, "state"), "revealed");
    assert_eq!(text(&one, "state_digest"), text(&other, "state_digest"));

    let log = evaldata("rivals/lab-b.eval");
    labs.world
        .run(["verify", "lab-b.countersign", "--policy", "trust.policy", "--party", "lab-b.vkey"])
        .exits(1)
        .says(&["cosign"]);
    assert!(log.exists());
}
