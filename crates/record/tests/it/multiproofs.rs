//! Multiproofs against a recursive reading of RFC 6962, and the forgeries that the bare crate
//! accepts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use record::multiproof::{Indices, MultiproofError, prove, verify};
use tlog::{Hash, leaf_hash, node_hash};

fn leaves(n: u64) -> Vec<Hash> {
    (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// MTH of RFC 6962 section 2.1.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// Where a hash is sent: by level, then from left to right.
type Place = (u32, usize);

/// The hashes that the subtree over `from..to` needs.
fn needed(known: &BTreeSet<usize>, from: usize, to: usize, out: &mut BTreeSet<Place>) {
    if to - from < 2 || known.range(from..to).next().is_none() {
        return;
    }
    let half = split(to - from);
    let level = half.ilog2();
    for (from, to) in [(from, from + half), (from + half, to)] {
        if known.range(from..to).next().is_none() {
            out.insert((level, from >> level));
        }
        needed(known, from, to, out);
    }
}

fn places(indices: &[u64], n: usize) -> BTreeSet<Place> {
    let known = indices.iter().map(|i| usize::try_from(*i).unwrap()).collect();
    let mut out = BTreeSet::new();
    needed(&known, 0, n, &mut out);
    out
}

/// The root that leaves and proof lead to.
fn lead_to(
    opened: &BTreeMap<usize, Hash>,
    sent: &BTreeMap<Place, Hash>,
    from: usize,
    to: usize,
) -> Hash {
    if to - from == 1 {
        return opened[&from];
    }
    let half = split(to - from);
    let level = half.ilog2();
    let side = |from: usize, to: usize| {
        let given = sent.get(&(level, from >> level));
        let known = opened.range(from..to).next().is_some();
        if known { lead_to(opened, sent, from, to) } else { *given.unwrap() }
    };
    node_hash(&side(from, from + half), &side(from + half, to))
}

fn oracle(root: &Hash, n: usize, indices: &[u64], leaves: &[Hash], proof: &[u8]) -> bool {
    let ordered = indices.windows(2).all(|pair| pair[0] < pair[1]);
    let in_range = indices.iter().all(|i| *i < n as u64);
    if indices.is_empty() || !ordered || !in_range || leaves.len() != indices.len() {
        return false;
    }
    let places = places(indices, n);
    if proof.len() != 32 * places.len() {
        return false;
    }
    let hashes = proof.chunks(32).map(|hash| Hash::from_slice(hash).unwrap());
    let sent = places.into_iter().zip(hashes).collect();
    let opened = indices.iter().map(|i| usize::try_from(*i).unwrap()).zip(leaves.iter().copied());
    lead_to(&opened.collect(), &sent, 0, n) == *root
}

fn checked(root: &Hash, n: u64, indices: &[u64], leaves: &[Hash], proof: &[u8]) -> bool {
    Indices::new(indices, n).is_ok_and(|indices| verify(root, &indices, leaves, proof).is_ok())
}

#[test]
fn every_single_leaf_of_small_trees_is_proved() {
    for n in 1..=70 {
        let all = leaves(n);
        let root = root(&all);
        for index in 0..n {
            let indices = Indices::new(&[index], n).unwrap();
            let proof = prove(&all, &indices).unwrap();
            assert_eq!(proof.len(), 32 * indices.expected());
            assert!(checked(&root, n, &[index], &[all[usize::try_from(index).unwrap()]], &proof));
        }
        let everything: Vec<u64> = (0..n).collect();
        assert_eq!(prove(&all, &Indices::new(&everything, n).unwrap()), Ok(Vec::new()));
        assert!(checked(&root, n, &everything, &all, &[]));
        assert!(!checked(&root, n, &everything, &all, &[0; 32]));
    }
}

#[test]
fn refuses_the_forgeries_that_the_bare_crate_accepts() {
    let all = leaves(4);
    let root = root(&all);
    let fake = leaf_hash(b"fake");
    let proof = prove(&all, &Indices::new(&[0, 1], 4).unwrap()).unwrap();
    assert!(checked(&root, 4, &[0, 1], &all[..2], &proof));

    // A doubled index would carry a leaf that nothing looks at.
    assert_eq!(Indices::new(&[0, 1, 1], 4), Err(MultiproofError::Order(1)));
    assert!(!checked(&root, 4, &[0, 1, 1], &[all[0], all[1], fake], &proof));
    // Hashes behind the needed ones would be ignored.
    let longer = [&proof[..], fake.as_ref()].concat();
    assert!(!checked(&root, 4, &[0, 1], &all[..2], &longer));
    // An inner node would pass as a leaf of a smaller tree.
    let inner = node_hash(&all[0], &all[1]);
    assert!(!checked(&root, 4, &[0], &[inner], &proof));
    // No indices, unsorted ones, ones beyond the end: errors, not other proofs.
    assert_eq!(Indices::new(&[], 4), Err(MultiproofError::Empty));
    assert_eq!(Indices::new(&[2, 0], 4), Err(MultiproofError::Order(0)));
    assert_eq!(Indices::new(&[7], 4), Err(MultiproofError::OutOfRange { index: 7, leaves: 4 }));
    assert_eq!(Indices::new(&[u64::MAX], 4).err().map(|_| ()), Some(()));
    assert_eq!(Indices::new(&[0], 0), Err(MultiproofError::Leaves(0)));
    assert_eq!(Indices::new(&[0], (1 << 20) + 1), Err(MultiproofError::Leaves((1 << 20) + 1)));
    // Proofs that are no whole number of hashes, or none.
    for length in [0, 1, 31, 33, 64] {
        assert!(!checked(&root, 4, &[0, 1], &all[..2], &vec![0; length]));
    }
    // More or fewer leaves than indices.
    assert!(!checked(&root, 4, &[0, 1], &all[..1], &proof));
    assert!(!checked(&root, 4, &[0, 1], &all[..3], &proof));
    let three = Indices::new(&[0], 3).unwrap();
    assert_eq!(prove(&all, &three), Err(MultiproofError::LeafHashes { found: 4, expected: 3 }));
}

/// Found by fuzzing: trees of 20 and of 21 leaves treat the first sixteen alike, so the number of
/// leaves must come from elsewhere. A header signs it, and its vector has a length that fits
/// (`refuses_vectors_that_do_not_belong_to_the_header`).
#[test]
fn a_root_alone_does_not_say_of_how_many_leaves_it_is() {
    let all = leaves(20);
    let root = root(&all);
    let proof = prove(&all, &Indices::new(&[0, 1, 2, 3], 20).unwrap()).unwrap();
    for claimed in 17..=32 {
        assert!(checked(&root, claimed, &[0, 1, 2, 3], &all[..4], &proof), "of {claimed}");
        assert!(oracle(&root, claimed as usize, &[0, 1, 2, 3], &all[..4], &proof));
    }
    for claimed in [1, 4, 8, 15, 16, 33, 64] {
        assert!(!checked(&root, claimed, &[0, 1, 2, 3], &all[..4], &proof), "of {claimed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn agrees_with_the_oracle(
        n in 1_u64..80,
        chosen in prop::collection::btree_set(0_u64..80, 1..12),
        mutation in 0_u8..8,
        at in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut indices: Vec<u64> = chosen.into_iter().filter(|i| *i < n).collect();
        if indices.is_empty() {
            indices.push(n - 1);
        }
        let all = leaves(n);
        let root = root(&all);
        let mut opened: Vec<Hash> =
            indices.iter().map(|i| all[usize::try_from(*i).unwrap()]).collect();
        let mut proof = prove(&all, &Indices::new(&indices, n).unwrap()).unwrap();
        let size = usize::try_from(n).unwrap();
        prop_assert!(checked(&root, n, &indices, &opened, &proof));
        prop_assert!(oracle(&root, size, &indices, &opened, &proof));

        let mut claimed = n;
        let place = at.index(opened.len());
        match mutation {
            0 => opened[place] = leaf_hash(&[bit]),
            1 if !proof.is_empty() => {
                let byte = at.index(proof.len());
                proof[byte] ^= 1 << bit;
            }
            2 => proof.extend_from_slice(opened[place].as_ref()),
            3 => proof.truncate(proof.len().saturating_sub(32)),
            4 => {
                indices.insert(place, indices[place]);
                opened.insert(place, leaf_hash(&[bit]));
            }
            5 => indices[place] = indices[place].wrapping_add(1),
            6 => { opened.pop(); }
            _ => claimed = n + 1 + u64::from(bit),
        }
        let found = checked(&root, claimed, &indices, &opened, &proof);
        let expected =
            oracle(&root, usize::try_from(claimed).unwrap(), &indices, &opened, &proof);
        prop_assert_eq!(found, expected);
        // The size stands in a signed header; nothing else may change unnoticed.
        let unchanged = mutation == 7 || (mutation == 1 || mutation == 3) && proof.is_empty();
        prop_assert!(!found || unchanged);
    }
}
