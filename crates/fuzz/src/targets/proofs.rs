//! Proofs: inclusion, consistency, multiproofs. What verifies is compared with the tree itself.

use std::sync::OnceLock;

use record::multiproof::{self, Indices};
use tlog::{
    Hash, MemoryNodes, TreeHead, prove_consistency, prove_inclusion, verify_consistency,
    verify_inclusion,
};

use crate::fixtures::{roots, tree};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

pub(super) fn targets() -> Vec<Target> {
    let target = |name, seeds, run| Target {
        name,
        shape: Shape::Bytes,
        tokens: &[],
        seeds,
        run,
        memory: Memory::USUAL,
    };
    vec![
        target("inclusion-proof", inclusion_seeds, inclusion),
        target("consistency-proof", consistency_seeds, consistency),
        target("multiproof", multiproof_seeds, multi),
    ]
}

const LEAVES: usize = 20;

pub(super) struct Tree {
    pub(super) leaves: Vec<Vec<u8>>,
    pub(super) nodes: MemoryNodes,
    /// By size, that of the empty tree first.
    pub(super) roots: Vec<Hash>,
}

pub(super) fn the_tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(|| {
        tree_of((0..LEAVES).map(|number| format!("leaf-{number}").into_bytes()).collect())
    })
}

pub(super) fn tree_of(leaves: Vec<Vec<u8>>) -> Tree {
    let nodes = tree(leaves.iter().map(Vec::as_slice));
    let roots = roots(leaves.iter().map(Vec::as_slice));
    Tree { leaves, nodes, roots }
}

/// Takes a number of eight bytes off the front.
fn take_number(rest: &mut &[u8]) -> u64 {
    let (number, tail) = rest.split_at(rest.len().min(8));
    *rest = tail;
    number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn take_hash(rest: &mut &[u8]) -> Hash {
    let mut hash = [0; 32];
    let (taken, tail) = rest.split_at(rest.len().min(32));
    hash[..taken.len()].copy_from_slice(taken);
    *rest = tail;
    Hash::new(hash)
}

fn take_hashes(rest: &[u8]) -> Vec<Hash> {
    rest.as_chunks().0.iter().copied().map(Hash::new).collect()
}

fn joined(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn inclusion_seeds() -> Vec<Vec<u8>> {
    let tree = the_tree();
    let mut seeds = Vec::new();
    for (index, size) in [(0, 1), (0, 20), (7, 20), (16, 20), (19, 20), (4, 5), (6, 7), (15, 16)] {
        let Ok(proof) = prove_inclusion(&tree.nodes, index, size);
        let leaf = tlog::leaf_hash(&tree.leaves[index as usize]);
        let numbers = [index.to_be_bytes(), size.to_be_bytes()].concat();
        seeds.push([&numbers, leaf.as_bytes().as_slice(), &joined(&proof)].concat());
    }
    seeds
}

/// Index, size, leaf, proof. Roots are those of the tree: a size and a root that do not belong
/// together prove nothing, which is why they come from one checkpoint.
fn inclusion(input: &[u8]) -> Verdict {
    let tree = the_tree();
    let mut rest = input;
    let (index, size) = (take_number(&mut rest), take_number(&mut rest));
    let leaf = take_hash(&mut rest);
    let proof = take_hashes(rest);
    let Some(root) = usize::try_from(size).ok().and_then(|size| tree.roots.get(size)) else {
        let head = TreeHead { size, root: tree.roots[LEAVES] };
        assert!(verify_inclusion(&leaf, index, &head, &proof).is_err() || size < 64);
        return Verdict::Refused;
    };
    if verify_inclusion(&leaf, index, &TreeHead { size, root: *root }, &proof).is_err() {
        return Verdict::Refused;
    }
    let honest = usize::try_from(index).ok().and_then(|index| tree.leaves.get(index));
    assert_eq!(Some(leaf), honest.map(|leaf| tlog::leaf_hash(leaf)), "another leaf is proved");
    let Ok(expected) = prove_inclusion(&tree.nodes, index, size);
    assert_eq!(proof, expected, "there is one proof");
    Verdict::Accepted
}

fn consistency_seeds() -> Vec<Vec<u8>> {
    let tree = the_tree();
    let mut seeds = Vec::new();
    for (old, new) in [(0, 20), (1, 20), (8, 20), (7, 20), (19, 20), (20, 20), (4, 8), (3, 7)] {
        let Ok(proof) = prove_consistency(&tree.nodes, old, new);
        let numbers = [old.to_be_bytes(), new.to_be_bytes()].concat();
        let root = tree.roots[old as usize];
        seeds.push([&numbers, root.as_bytes().as_slice(), &joined(&proof)].concat());
    }
    seeds
}

/// Old size, new size, old root, proof. The new root is that of the tree.
fn consistency(input: &[u8]) -> Verdict {
    let tree = the_tree();
    let mut rest = input;
    let (size, new) = (take_number(&mut rest), take_number(&mut rest));
    let old = TreeHead { size, root: take_hash(&mut rest) };
    let proof = take_hashes(rest);
    let Some(root) = usize::try_from(new).ok().and_then(|size| tree.roots.get(size)) else {
        let head = TreeHead { size: new, root: tree.roots[LEAVES] };
        let _ = verify_consistency(&old, &head, &proof);
        return Verdict::Refused;
    };
    if verify_consistency(&old, &TreeHead { size: new, root: *root }, &proof).is_err() {
        return Verdict::Refused;
    }
    assert_eq!(old.root, tree.roots[size as usize], "another old root is proved");
    let Ok(expected) = prove_consistency(&tree.nodes, size, new);
    assert_eq!(proof, expected, "there is one proof");
    Verdict::Accepted
}

fn multiproof_seeds() -> Vec<Vec<u8>> {
    let tree = the_tree();
    let mut seeds = Vec::new();
    let choices: [&[u64]; 7] =
        [&[0], &[19], &[16, 17], &[0, 1, 2, 3], &[3, 8, 15, 16], &[1, 18, 19], &[5, 6, 7, 8, 9]];
    let leaves: Vec<Hash> = tree.leaves.iter().map(|leaf| tlog::leaf_hash(leaf)).collect();
    for chosen in choices {
        for size in [20_u64, 19, 10] {
            let Ok(indices) = Indices::new(chosen, size) else { continue };
            let proof = multiproof::prove(&leaves[..size as usize], &indices);
            let hashes: Vec<Hash> = chosen.iter().map(|index| leaves[*index as usize]).collect();
            let places: Vec<u8> = chosen.iter().map(|index| *index as u8).collect();
            let head = [size as u8, chosen.len() as u8];
            let proof = proof.expect("the indices are of this tree");
            seeds.push([&head, &*places, &joined(&hashes), &proof].concat());
        }
    }
    seeds
}

/// Size, number of leaves, their places (a byte each), their hashes, the proof. The root is that
/// of the tree of this size: a root alone does not say of how many leaves it is, and one of 20 is
/// as good for the first four of 21, which is why both come from one signed header.
fn multi(input: &[u8]) -> Verdict {
    let tree = the_tree();
    let [size, count, rest @ ..] = input else { return Verdict::Refused };
    let (places, mut rest) = rest.split_at(rest.len().min((*count).into()));
    let places: Vec<u64> = places.iter().map(|place| (*place).into()).collect();
    let leaves: Vec<Hash> = places.iter().map(|_| take_hash(&mut rest)).collect();
    let Ok(indices) = Indices::new(&places, (*size).into()) else { return Verdict::Refused };
    let Some(root) = tree.roots.get(usize::from(*size)) else {
        let _ = multiproof::verify(&tree.roots[LEAVES], &indices, &leaves, rest);
        return Verdict::Refused;
    };
    if multiproof::verify(root, &indices, &leaves, rest).is_err() {
        return Verdict::Refused;
    }
    for (place, leaf) in places.iter().zip(&leaves) {
        let honest = tlog::leaf_hash(&tree.leaves[*place as usize]);
        assert_eq!(*leaf, honest, "another leaf is proved at {place}");
    }
    Verdict::Accepted
}
