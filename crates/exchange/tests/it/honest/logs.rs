//! Honest logs and honest witnesses, and files about them.
//!
//! A log signs prefixes of one list of leaves, some with extension lines, some twice. A witness
//! cosigns sizes that never fall, at times that fall by less than the slack, for two logs. A liar
//! has all of it, a key of the log's name and id of its own choice, and a fork signed with that.

use std::cell::RefCell;

use tlog::evidence::{
    Accused, Evidence, Kind, KnownKeys, ROLLBACK_SLACK, Role, accuse_heads, accuse_leaves,
};
use tlog::{
    Hash, KeyKind, MemoryNodes, NodeReader, Note, Receipt, SignedCheckpoint, SigningKey, TreeHead,
    cosign, prove_inclusion, prove_prefix, root_at,
};

use super::random::Random;
use super::{FILES, Tried};
use crate::log::{ORIGIN, key, seeded};

/// An honest log's tree with notes at some sizes, in the order in which they were cosigned.
struct World {
    tree: MemoryNodes,
    notes: Vec<(TreeHead, Note)>,
}

struct Keys {
    log: SigningKey,
    other_log: SigningKey,
    /// A key of the liar's under the log's name.
    thief: SigningKey,
    witnesses: [SigningKey; 2],
    known: KnownKeys,
    /// Another honest log under the same witnesses.
    other: RefCell<Option<World>>,
}

thread_local! {
    static KEYS: Keys = Keys::new();
}

impl Keys {
    fn new() -> Self {
        let witnesses = ["witness.example/1", "witness.example/2"].map(key);
        let mut known = KnownKeys::default();
        for log in [ORIGIN, "log.example/other"] {
            known = known.with(Role::Log, key(log).verifier(KeyKind::Ed25519));
        }
        for witness in &witnesses {
            known = known.with(Role::Witness, witness.verifier(KeyKind::Cosignature));
        }
        Self {
            log: key(ORIGIN),
            other_log: key("log.example/other"),
            thief: seeded(ORIGIN, "a thief"),
            witnesses,
            known,
            other: RefCell::default(),
        }
    }
}

impl World {
    /// A log of at most 40 leaves with up to four notes.
    fn honest(random: &mut Random, log: &SigningKey, witnesses: &[SigningKey]) -> Self {
        let size = random.between(1, 40);
        let leaves: Vec<Hash> = (0..size).map(|_| random.hash()).collect();
        let tree: MemoryNodes = leaves.into_iter().collect();
        let mut sizes: Vec<u64> =
            (0..random.between(2, 4)).map(|_| random.between(0, size)).collect();
        sizes.sort_unstable();
        let mut clock = random.between(1, 1 << 40);
        let mut notes = Vec::new();
        for size in sizes {
            let Ok(root) = root_at(&tree, size);
            let head = TreeHead { size, root };
            let extension = if random.once_in(4) { "an extension\n" } else { "" };
            let text = format!("{}\n{size}\n{}\n{extension}", log.name(), root.to_base64());
            let mut note = Note::sign(&text, log).unwrap();
            let checkpoint = tlog::Checkpoint::parse_text(&text).unwrap();
            for witness in witnesses {
                // Some cosign late or again; clocks may fall back by less than the slack.
                for _ in 0..random.below(3) {
                    clock += random.between(0, 90);
                    let time = clock - random.between(0, ROLLBACK_SLACK / 2).min(clock - 1);
                    note =
                        note.with_signature(cosign(&checkpoint, witness, time).unwrap()).unwrap();
                }
            }
            clock += random.between(0, 3);
            notes.push((head, note));
        }
        Self { tree, notes }
    }

    /// Another history of the same sizes, signed by the liar and cosigned by nobody.
    fn fork(&self, random: &mut Random, thief: &SigningKey) -> Self {
        let same = random.between(0, self.tree.size() - 1);
        let leaves = (0..self.tree.size()).map(|index| {
            let Ok(leaf) = self.tree.node(0, index);
            if index < same { leaf } else { random.hash() }
        });
        let tree: MemoryNodes = leaves.collect();
        let notes = self.notes.iter().map(|(head, _)| {
            let Ok(root) = root_at(&tree, head.size);
            let head = TreeHead { size: head.size, root };
            (head, SignedCheckpoint::sign(thief, head).note().clone())
        });
        Self { notes: notes.collect(), tree }
    }

    fn receipt(&self, random: &mut Random) -> Option<(Hash, Receipt)> {
        let (head, note) = random.pick(&self.notes);
        if head.size == 0 {
            return None;
        }
        let index = random.between(0, head.size - 1);
        let Ok(leaf) = self.tree.node(0, index);
        let Ok(proof) = prove_inclusion(&self.tree, index, head.size);
        Some((leaf, Receipt::new(index, proof, note.as_bytes()).unwrap()))
    }
}

pub(super) fn history(kind: Kind, random: &mut Random, tried: &mut Tried) {
    KEYS.with(|keys| {
        let world = World::honest(random, &keys.log, &keys.witnesses);
        // The other log stays for a while: signing it anew each time would double the time.
        let mut others = keys.other.borrow_mut();
        if others.as_ref().is_none_or(|_| random.once_in(64)) {
            *others = Some(World::honest(random, &keys.other_log, &keys.witnesses));
        }
        let Some(other) = others.as_ref() else { return };
        // A fork that the liar signs with a key of its own, and which honest witnesses refuse.
        let forked = world.fork(random, &keys.thief);
        if kind == Kind::LeafConflict {
            leaves(kind, random, tried, keys, &world, [other, &forked]);
        } else {
            heads(kind, random, tried, keys, &world, [other, &forked]);
        }
        if kind == Kind::WitnessDoubleSign {
            leaves(kind, random, tried, keys, &world, [other, &forked]);
        }
    });
}

/// Keys that this kind can accuse, some of them the thief's.
fn accused(kind: Kind, random: &mut Random, keys: &Keys) -> Vec<Accused> {
    let log = if random.once_in(2) { &keys.thief } else { &keys.log };
    let log = Accused::new(Role::Log, log.verifier(KeyKind::Ed25519)).unwrap();
    let mut witnesses: Vec<Accused> = keys
        .witnesses
        .iter()
        .map(|key| Accused::new(Role::Witness, key.verifier(KeyKind::Cosignature)).unwrap())
        .collect();
    if random.once_in(2) {
        witnesses.remove(random.below(2));
    }
    match kind {
        Kind::WitnessDoubleSign if random.once_in(2) => [vec![log], witnesses].concat(),
        Kind::WitnessDoubleSign | Kind::WitnessRollback => witnesses,
        _ => vec![log],
    }
}

fn heads(
    kind: Kind,
    random: &mut Random,
    tried: &mut Tried,
    keys: &Keys,
    world: &World,
    others: [&World; 2],
) {
    let (head_a, a) = random.pick(&world.notes);
    let (head_b, b) = random.pick(&world.notes);
    let made = accuse_heads(&keys.known, a, b, &world.tree);
    tried.made("two heads of one log", made);
    for _ in 0..FILES {
        let (head_b, b, tree) = match random.below(3) {
            0 => {
                let other = *random.pick(&others);
                let (head, note) = random.pick(&other.notes);
                (head, note, &other.tree)
            }
            _ => (head_b, b, &world.tree),
        };
        let with_nodes = match kind {
            Kind::PrefixConflict => true,
            Kind::WitnessDoubleSign => random.once_in(2),
            _ => false,
        };
        let mut nodes = Vec::new();
        if with_nodes {
            nodes = nodes_of(random, head_a, head_b, tree);
        }
        let accused = accused(kind, random, keys);
        let swap = kind == Kind::WitnessRollback || random.once_in(4);
        let (first, second) = if swap && head_a.size < head_b.size { (b, a) } else { (a, b) };
        let parts = [
            ("checkpoint-a", first.as_bytes().to_vec()),
            ("checkpoint-b", second.as_bytes().to_vec()),
        ];
        judge_damaged(random, tried, keys, Evidence::new(kind, accused, nodes, parts).ok());
    }
}

/// The genuine list for two sizes, or one that somebody changed.
fn nodes_of(random: &mut Random, a: &TreeHead, b: &TreeHead, tree: &MemoryNodes) -> Vec<Hash> {
    let (old, new) = (a.size.min(b.size), a.size.max(b.size).min(tree.size()));
    let mut nodes = if old > 0 && old < new {
        let Ok(nodes) = prove_prefix(tree, old, new);
        nodes
    } else {
        vec![random.hash()]
    };
    match random.below(8) {
        0 => nodes[0] = a.root,
        1 => nodes.reverse(),
        2 => nodes.push(random.hash()),
        3 => drop(nodes.pop()),
        4 => {
            let at = random.below(nodes.len());
            nodes[at] = random.hash();
        }
        5 => {
            let (a, b) = (random.below(nodes.len()), random.below(nodes.len()));
            nodes.swap(a, b);
        }
        _ => {}
    }
    nodes
}

fn leaves(
    kind: Kind,
    random: &mut Random,
    tried: &mut Tried,
    keys: &Keys,
    world: &World,
    others: [&World; 2],
) {
    let Some((leaf_a, a)) = world.receipt(random) else { return };
    let Some((leaf_b, b)) = world.receipt(random) else { return };
    tried.made("two receipts", accuse_leaves(&keys.known, (leaf_a, &a), (leaf_b, &b)));
    for _ in 0..FILES {
        let (leaf_b, b) = match random.below(3) {
            0 => random.pick(&others).receipt(random).unwrap_or_else(|| (leaf_b, b.clone())),
            _ => (leaf_b, b.clone()),
        };
        // Another index, another leaf, an inner node for a leaf, another proof.
        let mut proof = b.proof().to_vec();
        let (mut index, mut leaf) = (b.index(), leaf_b);
        match random.below(6) {
            0 => index = a.index(),
            1 => leaf = random.hash(),
            2 => leaf = leaf_a,
            3 if !proof.is_empty() => {
                leaf = proof.remove(0);
                index /= 2;
            }
            4 => proof.push(random.hash()),
            _ => {}
        }
        let b = Receipt::new(index, proof, b.checkpoint().as_bytes()).unwrap();
        let line = |leaf: Hash| format!("{}\n", leaf.to_base64()).into_bytes();
        let parts = [
            ("leaf-a", line(leaf_a)),
            ("proof-a", a.to_bytes()),
            ("leaf-b", line(leaf)),
            ("proof-b", b.to_bytes()),
        ];
        let accused = accused(kind, random, keys);
        judge_damaged(random, tried, keys, Evidence::new(kind, accused, Vec::new(), parts).ok());
    }
}

/// As it is, and damaged.
fn judge_damaged(random: &mut Random, tried: &mut Tried, keys: &Keys, file: Option<Evidence>) {
    let Some(file) = file else {
        tried.malformed += 1;
        return;
    };
    let mut bytes = file.to_bytes();
    tried.judge("honest material", &bytes, &keys.known);
    random.damage(&mut bytes);
    tried.judge("damaged honest material", &bytes, &keys.known);
}
