//! Proofs of a large tree, made and checked.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tlog::{
    Hash, MemoryNodes, leaf_hash, prove_consistency, prove_inclusion, root_at, verify_consistency,
    verify_inclusion,
};

use super::{Figure, Scale, Table, machine, primitives};

pub(super) fn measure(scale: Scale) -> Table {
    let size: u64 = 1 << scale.pick(20, 17, 8);
    let begin = Instant::now();
    // One short of a power of two, so that the tree has an edge of every height.
    let size = size - 1;
    let leaf = |index: u64| leaf_hash(&index.to_be_bytes());
    let nodes: MemoryNodes = (0..size).map(leaf).collect();
    let built = begin.elapsed().as_secs_f64() * 1e6 / size as f64;
    let head = nodes.head();
    let node = primitives::node();
    let budget = Duration::from_millis(scale.pick(1_000, 200, 10));
    let places: Vec<u64> = (1..=256).map(|i| i * 0x9e37_79b9 % (size - 1) + 1).collect();
    let each = |work: &mut dyn FnMut(usize)| {
        machine::repeated(budget, || (0..places.len()).for_each(&mut *work)) / places.len() as f64
    };

    let Ok(inclusions) = places
        .iter()
        .map(|index| prove_inclusion(&nodes, *index, size))
        .collect::<Result<Vec<Vec<Hash>>, _>>();
    let Ok(consistencies) = places
        .iter()
        .map(|old| prove_consistency(&nodes, *old, size))
        .collect::<Result<Vec<Vec<Hash>>, _>>();
    let olds: Vec<_> = places
        .iter()
        .map(|old| {
            let Ok(root) = root_at(&nodes, *old);
            tlog::TreeHead { size: *old, root }
        })
        .collect();
    let inclusion_made = each(&mut |i| {
        let Ok(proof) = prove_inclusion(&nodes, places[i], size);
        black_box(proof);
    });
    let inclusion_checked = each(&mut |i| {
        verify_inclusion(&leaf(places[i]), places[i], &head, &inclusions[i])
            .expect("a proof just made holds");
    });
    let consistency_made = each(&mut |i| {
        let Ok(proof) = prove_consistency(&nodes, places[i], size);
        black_box(proof);
    });
    let consistency_checked = each(&mut |i| {
        verify_consistency(&olds[i], &head, &consistencies[i]).expect("a proof just made holds");
    });

    let hashes = |proofs: &[Vec<Hash>]| {
        proofs.iter().map(Vec::len).sum::<usize>() as f64 / proofs.len() as f64
    };
    let line = |what: &str, made: f64, checked: f64, hashes: f64| {
        vec![
            Figure::words("proof", "proof", what),
            Figure::value("hashes", "hashes", hashes),
            Figure::value("made µs", "made_us", made),
            Figure::value("checked µs", "checked_us", checked),
            Figure::value("bound µs", "bound_us", hashes * node),
            Figure::value("ratio", "ratio", checked / (hashes * node)),
        ]
    };
    let lines = vec![
        line("inclusion", inclusion_made, inclusion_checked, hashes(&inclusions)),
        line("consistency", consistency_made, consistency_checked, hashes(&consistencies)),
    ];
    Table {
        name: "proofs",
        title: format!(
            "proofs: in a tree of {} leaves, one core; bound of checking: one node a hash",
            super::grouped(size)
        ),
        lines,
        notes: vec![format!("the tree itself was built at {built:.3} µs a leaf")],
    }
}
