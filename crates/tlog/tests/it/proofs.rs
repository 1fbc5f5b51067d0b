//! Tree and proofs: Go's vectors, and a recursive oracle that is RFC 6962 section 2.1 word by word.

use proptest::prelude::*;
use tlog::{
    CompactRange, EMPTY_ROOT, Hash, MemoryNodes, ProofError, TreeHead, compact_range_at, node_hash,
    prove_consistency, prove_inclusion, root_at, verify_consistency, verify_inclusion,
};

use crate::vectors::{hash, hashes, list, numbered, text, uint, vectors, whole, why};

const ALL: usize = 70;

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// MTH of RFC 6962.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

/// PATH of RFC 6962.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (naive_path(index, left), naive_root(right))
    } else {
        (naive_path(index - left.len(), right), naive_root(left))
    };
    path.push(sibling);
    path
}

/// SUBPROOF of RFC 6962.
fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut proof, sibling) = if old <= left.len() {
        (naive_subproof(old, left, whole), naive_root(right))
    } else {
        (naive_subproof(old - left.len(), right, false), naive_root(left))
    };
    proof.push(sibling);
    proof
}

fn leaves(size: usize) -> Vec<Hash> {
    numbered(size as u64).collect()
}

fn nodes(size: usize) -> MemoryNodes {
    numbered(size as u64).collect()
}

fn head(size: usize) -> TreeHead {
    TreeHead { size: size as u64, root: naive_root(&leaves(size)) }
}

fn inclusion(index: usize, size: usize) -> Vec<Hash> {
    let Ok(proof) = prove_inclusion(&nodes(size), index as u64, size as u64);
    proof
}

fn consistency(old: usize, new: usize) -> Vec<Hash> {
    let Ok(proof) = prove_consistency(&nodes(new), old as u64, new as u64);
    proof
}

#[test]
fn roots_and_leaf_hashes_are_gos() {
    assert_eq!(hashes(whole(), "leaf_hashes"), leaves(20));
    let roots = hashes(whole(), "roots_by_size");
    assert_eq!(roots.len(), 21);
    for (size, root) in roots.iter().enumerate() {
        assert_eq!(leaves(size).into_iter().collect::<CompactRange>().root(), *root, "{size}");
        assert_eq!(root_at(&nodes(size), size as u64), Ok(*root), "{size}");
    }
}

#[test]
fn proofs_are_gos_and_verify() {
    let named = |value: &json::Value| -> Vec<Hash> {
        let names = value.get("proof").and_then(json::Value::as_array).unwrap();
        names.iter().map(|name| hash(vectors("nodes"), name.as_str().unwrap())).collect()
    };
    for vector in list("inclusion", 210) {
        let (size, index) = (uint(vector, "size") as usize, uint(vector, "index") as usize);
        let proof = named(vector);
        assert_eq!(inclusion(index, size), proof, "{index} in {size}");
        assert_eq!(
            verify_inclusion(&leaves(size)[index], index as u64, &head(size), &proof),
            Ok(()),
            "{index} in {size}"
        );
    }
    for vector in list("consistency", 210) {
        let (old, new) = (uint(vector, "old") as usize, uint(vector, "size") as usize);
        let proof = named(vector);
        assert_eq!(consistency(old, new), proof, "{old} to {new}");
        assert_eq!(verify_consistency(&head(old), &head(new), &proof), Ok(()), "{old} to {new}");
    }
}

fn inclusion_of(vector: &json::Value) -> Result<(), ProofError> {
    let head = TreeHead { size: uint(vector, "size"), root: hash(vector, "root") };
    let leaf = hash(vector, "leaf_hash");
    verify_inclusion(&leaf, uint(vector, "index"), &head, &hashes(vector, "proof"))
}

fn consistency_of(vector: &json::Value) -> Result<(), ProofError> {
    let old = TreeHead { size: uint(vector, "old"), root: hash(vector, "old_root") };
    let new = TreeHead { size: uint(vector, "size"), root: hash(vector, "root") };
    verify_consistency(&old, &new, &hashes(vector, "proof"))
}

#[test]
fn a_proof_does_not_prove_the_size() {
    for vector in list("size_is_not_proved", 6) {
        let accepted = match vector.get("old") {
            Some(_) => consistency_of(vector),
            None => inclusion_of(vector),
        };
        assert_eq!(accepted, Ok(()), "{}", text(vector, "why"));
    }
}

#[test]
fn rejects_every_bad_inclusion_proof_of_the_vectors() {
    for vector in list("reject_inclusion", 16) {
        let error = inclusion_of(vector).expect_err(why(vector));
        let expected = match why(vector) {
            "another leaf" | "another index" | "hashes in reverse order" => "RootMismatch",
            "index equal to size" | "index beyond size, same low bits" | "empty tree" => {
                "IndexBeyondSize"
            }
            _ => "Length",
        };
        assert!(format!("{error:?}").starts_with(expected), "{}: {error:?}", why(vector));
    }
}

#[test]
fn rejects_every_bad_consistency_proof_of_the_vectors() {
    for vector in list("reject_consistency", 12) {
        let error = consistency_of(vector).expect_err(why(vector));
        let expected = match why(vector) {
            "another old root" => "OldRootMismatch",
            "another new root" | "equal sizes, other root" => "RootMismatch",
            "old larger than new" => "Shrank",
            _ => "Length",
        };
        assert!(format!("{error:?}").starts_with(expected), "{}: {error:?}", why(vector));
    }
}

#[test]
fn proofs_equal_the_recursive_definition_for_all_small_sizes() {
    for size in 1..=ALL {
        let (leaves, nodes, head) = (leaves(size), nodes(size), head(size));
        assert_eq!(nodes.head(), head);
        for (index, leaf) in leaves.iter().enumerate() {
            let Ok(proof) = prove_inclusion(&nodes, index as u64, size as u64);
            assert_eq!(proof, naive_path(index, &leaves), "{index} in {size}");
            assert_eq!(verify_inclusion(leaf, index as u64, &head, &proof), Ok(()));
        }
        for old in 1..=size {
            let Ok(proof) = prove_consistency(&nodes, old as u64, size as u64);
            assert_eq!(proof, naive_subproof(old, &leaves, true), "{old} to {size}");
            let old_head = TreeHead { size: old as u64, root: naive_root(&leaves[..old]) };
            assert_eq!(verify_consistency(&old_head, &head, &proof), Ok(()));
        }
        assert_eq!(verify_consistency(&TreeHead::EMPTY, &head, &[]), Ok(()));
    }
}

#[test]
fn a_compact_range_read_from_nodes_goes_on_growing() {
    for size in 0..ALL {
        let Ok(mut range) = compact_range_at(&nodes(ALL), size as u64);
        leaves(ALL)[size..].iter().for_each(|leaf| range.append(*leaf));
        assert_eq!(range.head(), head(ALL), "{size}");
    }
}

#[test]
fn rejects_sizes_of_2_to_63_and_above() {
    let huge = TreeHead { size: 1 << 63, root: EMPTY_ROOT };
    let too_large = Err(ProofError::TooLarge { size: 1 << 63 });
    assert_eq!(verify_inclusion(&EMPTY_ROOT, 0, &huge, &[]), too_large);
    assert_eq!(verify_consistency(&TreeHead::EMPTY, &huge, &[]), too_large);
    let largest = TreeHead { size: (1 << 63) - 1, root: EMPTY_ROOT };
    let length = |expected| Err(ProofError::Length { expected, found: 0 });
    assert_eq!(verify_inclusion(&EMPTY_ROOT, 0, &largest, &[]), length(63));
    assert_eq!(verify_inclusion(&EMPTY_ROOT, largest.size - 1, &largest, &[]), length(62));
}

#[test]
fn rejects_an_empty_old_tree_with_another_root() {
    let (new, root) = (head(7), head(3).root);
    assert_eq!(
        verify_consistency(&TreeHead { size: 0, root }, &new, &[]),
        Err(ProofError::OldRootMismatch { root })
    );
}

/// What is done to a good proof.
#[derive(Debug, Clone, Copy)]
enum Mutation {
    FlipBit(prop::sample::Index, u8, u8),
    Drop(prop::sample::Index),
    Repeat(prop::sample::Index),
    Swap(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0..32_u8, 0..8_u8)
            .prop_map(|(at, byte, bit)| Mutation::FlipBit(at, byte, bit)),
        any::<prop::sample::Index>().prop_map(Mutation::Drop),
        any::<prop::sample::Index>().prop_map(Mutation::Repeat),
        any::<prop::sample::Index>().prop_map(Mutation::Swap),
    ]
}

/// `None` if the proof has nothing to mutate.
fn mutate(proof: &[Hash], mutation: Mutation) -> Option<Vec<Hash>> {
    let mut proof = proof.to_vec();
    if proof.is_empty() {
        return None;
    }
    match mutation {
        Mutation::FlipBit(at, byte, bit) => {
            let at = at.index(proof.len());
            let mut bytes = *proof[at].as_bytes();
            bytes[usize::from(byte)] ^= 1 << bit;
            proof[at] = Hash::new(bytes);
        }
        Mutation::Drop(at) => {
            proof.remove(at.index(proof.len()));
        }
        Mutation::Repeat(at) => {
            let at = at.index(proof.len());
            proof.insert(at, proof[at]);
        }
        Mutation::Swap(at) => {
            if proof.len() < 2 {
                return None;
            }
            let at = at.index(proof.len() - 1);
            proof.swap(at, at + 1);
        }
    }
    Some(proof)
}

fn two_below(limit: usize) -> impl Strategy<Value = (usize, usize)> {
    (1..=limit).prop_flat_map(|size| (0..size, Just(size)))
}

proptest! {
    #[test]
    fn rejects_mutated_inclusion_proofs((index, size) in two_below(ALL), mutation in mutation()) {
        let leaf = leaves(size)[index];
        if let Some(proof) = mutate(&inclusion(index, size), mutation) {
            prop_assert!(verify_inclusion(&leaf, index as u64, &head(size), &proof).is_err());
        }
    }

    #[test]
    fn rejects_mutated_consistency_proofs((old, size) in two_below(ALL), mutation in mutation()) {
        let (old, new) = (old + 1, size);
        if let Some(proof) = mutate(&consistency(old, new), mutation) {
            prop_assert!(verify_consistency(&head(old), &head(new), &proof).is_err());
        }
    }

    #[test]
    fn rejects_good_proofs_of_something_else(
        (index, size) in two_below(ALL),
        (other, _) in two_below(ALL),
    ) {
        let (leaf, proof, head) = (leaves(size)[index], inclusion(index, size), head(size));
        if other != index {
            prop_assert!(verify_inclusion(&leaf, other as u64, &head, &proof).is_err());
            let foreign = leaves(ALL + 1)[other];
            prop_assert!(verify_inclusion(&foreign, index as u64, &head, &proof).is_err());
        }
        let mut root = *head.root.as_bytes();
        root[0] ^= 1;
        let head = TreeHead { root: Hash::new(root), ..head };
        prop_assert!(verify_inclusion(&leaf, index as u64, &head, &proof).is_err());
    }

    #[test]
    fn no_sizes_or_proofs_panic(
        old in any::<u64>(), new in any::<u64>(), index in any::<u64>(), count in 0..130_usize,
    ) {
        let proof = vec![EMPTY_ROOT; count];
        let (old, new) =
            (TreeHead { size: old, root: EMPTY_ROOT }, TreeHead { size: new, root: EMPTY_ROOT });
        let _ = verify_inclusion(&EMPTY_ROOT, index, &new, &proof);
        let _ = verify_consistency(&old, &new, &proof);
    }
}
