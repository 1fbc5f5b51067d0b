//! What policies withstand, against an enumeration of all sets of witnesses.

use proptest::prelude::*;
use tlog::{
    DEFAULT_MAX_AGE, KeyKind, Note, Policy, PolicyWitness, SignedCheckpoint, Untrusted, cosign,
};

use crate::vectors::{example_head, key, log, log_key};

/// A policy's groups as this test understands them.
#[derive(Debug, Clone)]
enum Node {
    Witness(usize),
    Group(usize, Vec<Self>),
}

impl Node {
    /// Whether a set of witnesses, by bits, is enough.
    fn holds(&self, set: u32) -> bool {
        match self {
            Self::Witness(index) => set >> index & 1 == 1,
            Self::Group(threshold, members) => {
                members.iter().filter(|member| member.holds(set)).count() >= *threshold
            }
        }
    }

    fn write(&self, next: &mut usize, text: &mut String) -> String {
        match self {
            Self::Witness(index) => format!("w{index}"),
            Self::Group(threshold, members) => {
                let names: Vec<String> = members.iter().map(|m| m.write(next, text)).collect();
                let name = format!("g{next}");
                *next += 1;
                text.push_str(&format!("group {name} {threshold} {}\n", names.join(" ")));
                name
            }
        }
    }

    fn policy(&self, witnesses: usize) -> Policy {
        let mut text = format!("log {}\n", log());
        for index in 0..witnesses {
            text.push_str(&format!("witness w{index} {}\n", vkey(index)));
        }
        let top = self.write(&mut 0, &mut text);
        text.push_str(&format!("quorum {top}\n"));
        Policy::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

fn vkey(index: usize) -> String {
    let name = format!("witness.example/{index}");
    key(&name, index as u8 + 1).verifier(KeyKind::Cosignature).to_string()
}

fn flat(threshold: usize, witnesses: usize) -> Node {
    Node::Group(threshold, (0..witnesses).map(Node::Witness).collect())
}

/// Groups some of what is left under a name, again and again, until one is left.
fn tree() -> impl Strategy<Value = (usize, Node)> {
    let choices = prop::collection::vec((any::<u32>(), any::<u32>()), 1..5);
    (1..7_usize, choices).prop_map(|(witnesses, choices)| {
        let mut pool: Vec<Node> = (0..witnesses).map(Node::Witness).collect();
        for (which, threshold) in choices {
            let (chosen, rest): (Vec<_>, Vec<_>) =
                pool.into_iter().enumerate().partition(|(place, _)| which >> place & 1 == 1);
            let mut next: Vec<Node> = rest.into_iter().map(|(_, node)| node).collect();
            let members: Vec<Node> = chosen.into_iter().map(|(_, node)| node).collect();
            if !members.is_empty() {
                let threshold = threshold as usize % members.len() + 1;
                next.push(Node::Group(threshold, members));
            }
            pool = next;
        }
        let threshold = pool.len().div_ceil(2);
        (witnesses, Node::Group(threshold, pool))
    })
}

fn index_of(witness: &PolicyWitness) -> usize {
    usize::from(witness.name()[1] - b'0')
}

fn bits(witnesses: &[&PolicyWitness]) -> u32 {
    witnesses.iter().fold(0, |set, witness| set | 1 << index_of(witness))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn answers_are_those_of_an_enumeration((witnesses, tree) in tree(), corrupt in any::<u32>()) {
        let policy = tree.policy(witnesses);
        let quorum = policy.quorum().unwrap();
        let all = 0..1_u32 << witnesses;
        let quorums: Vec<u32> = all.clone().filter(|set| tree.holds(*set)).collect();
        for set in all.clone() {
            let is_quorum = policy.is_quorum(quorum, |w| set >> index_of(w) & 1 == 1);
            prop_assert_eq!(is_quorum, tree.holds(set));
        }
        let is_minimal = |set: &u32| !quorums.iter().any(|q| q != set && q & set == *q);
        let minimal = quorums.iter().filter(|set| is_minimal(set)).count();
        prop_assert_eq!(policy.minimal_quorums(quorum), minimal as u64);

        let silent = all.filter(|set| !tree.holds(!set)).map(u32::count_ones).min().unwrap();
        prop_assert_eq!(policy.silence(quorum) as u32, silent - 1);

        for corrupt in [0, corrupt] {
            let pairs = quorums.iter().flat_map(|a| quorums.iter().map(move |b| a & b & !corrupt));
            let least = pairs.map(u32::count_ones).min().unwrap();
            let split = policy.split(quorum, |w| corrupt >> index_of(w) & 1 == 1);
            let (a, b) = (bits(&split.a), bits(&split.b));
            prop_assert!(tree.holds(a) && tree.holds(b), "both sides are quorums");
            prop_assert_eq!(bits(&split.both), a & b);
            prop_assert_eq!((a & b & !corrupt).count_ones(), least);
            if corrupt == 0 {
                prop_assert_eq!(policy.overlap(quorum) as u32, least);
            }
        }
    }
}

#[test]
fn flat_groups_are_as_in_the_table() {
    // n, k, safe for so many corrupt ones, so many may be silent, minimal quorums.
    for (n, k, corrupt, silent, quorums) in [
        (1, 1, 0, 0, 1),
        (2, 2, 1, 0, 1),
        (3, 2, 0, 1, 3),
        (3, 3, 2, 0, 1),
        (4, 3, 1, 1, 4),
        (5, 3, 0, 2, 10),
        (5, 4, 2, 1, 5),
        (7, 5, 2, 2, 21),
    ] {
        let policy = flat(k, n).policy(n);
        let quorum = policy.quorum().unwrap();
        assert_eq!(policy.overlap(quorum), corrupt + 1, "{k} of {n}");
        assert_eq!(policy.silence(quorum), silent, "{k} of {n}");
        assert_eq!(policy.minimal_quorums(quorum), quorums, "{k} of {n}");
    }
    let halves = flat(2, 4).policy(4);
    let split = halves.split(halves.quorum().unwrap(), |_| false);
    assert!(split.both.is_empty(), "two readers, and nobody who could notice");
}

#[test]
fn a_large_policy_has_too_many_quorums_to_count() {
    let witnesses = 200;
    let policy = flat(100, witnesses).policy(witnesses);
    assert_eq!(policy.minimal_quorums(policy.quorum().unwrap()), u64::MAX);
    assert_eq!(policy.silence(policy.quorum().unwrap()), 100);
}

#[test]
fn owners_are_declared_in_comments() {
    let text = |lines: &str| {
        let witnesses = format!("witness w0 {}\nwitness w1 {}\n", vkey(0), vkey(1));
        format!("{witnesses}group g 2 w0 w1\n{lines}quorum g\n")
    };
    let parse = |text: String| Policy::parse(text.as_bytes()).unwrap();
    let policy =
        parse(text("# owner w0 lab-a\n#\towner  w1\tneutral\n# owners are below\n#owner w1 x\n"));
    let owners = policy.owners().unwrap();
    assert_eq!(owners.get(b"w0".as_slice()), Some(&b"lab-a".as_slice()));
    assert_eq!(owners.get(b"w1".as_slice()), Some(&b"neutral".as_slice()));
    for (lines, line) in [
        ("# owner w2 lab-a\n", 4),
        ("# owner g lab-a\n", 4),
        ("# owner w0\n", 4),
        ("# owner w0 lab a\n", 4),
        ("# owner w0 a\n# owner w0 a\n", 5),
    ] {
        assert_eq!(parse(text(lines)).owners(), Err(line), "{lines}");
    }
}

#[test]
fn a_head_that_no_quorum_cosigned_lately_is_stale() {
    let policy = flat(2, 3).policy(3);
    let signed = SignedCheckpoint::sign(&log_key(), example_head(5));
    let note = [(0, 1_000), (1, 5_000), (2, 9_000)].iter().fold(
        signed.note().clone(),
        |note: Note, (index, time)| {
            let witness = key(&format!("witness.example/{index}"), index + 1);
            note.with_signature(cosign(signed.checkpoint(), &witness, *time).unwrap()).unwrap()
        },
    );
    let verified = policy.verify(&note).unwrap();
    assert_eq!(verified.quorum_time(&policy), Some(5_000));
    for (now, max_age, fresh) in [
        (5_000, 0, true),
        (4_000, 0, true),
        (5_060, 60, true),
        (5_061, 60, false),
        (u64::MAX, DEFAULT_MAX_AGE, false),
    ] {
        assert_eq!(verified.check_age(&policy, now, max_age).is_ok(), fresh, "{now}");
    }
    let stale = verified.check_age(&policy, 6_000, 100).unwrap_err();
    assert_eq!(stale, Untrusted::Stale { age: 1_000, max_age: 100 });
    // Without a quorum nobody vouches for a time, and there is none to judge by.
    let none = Policy::parse(format!("log {}\nquorum none\n", log()).as_bytes()).unwrap();
    let verified = none.verify(&note).unwrap();
    assert_eq!(verified.quorum_time(&none), None);
    assert_eq!(verified.check_age(&none, u64::MAX, 0), Ok(()));
}
