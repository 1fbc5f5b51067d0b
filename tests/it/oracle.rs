//! RFC 6962 by its own recursive definitions, over all leaves each time: slow, short, and without
//! a line of the product's tree code. Here belongs what a tree must be, not how it is served.

use sha2::{Digest as _, Sha256};

pub(crate) type Node = [u8; 32];

pub(crate) fn leaf(data: &[u8]) -> Node {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

fn node(left: &Node, right: &Node) -> Node {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The largest power of two below n.
fn split(n: usize) -> usize {
    (n - 1).checked_ilog2().map_or(1, |bits| 1 << bits)
}

/// MTH of section 2.1.
pub(crate) fn root(leaves: &[Node]) -> Node {
    match leaves {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// PATH of section 2.1.1.
pub(crate) fn inclusion(m: usize, leaves: &[Node]) -> Vec<Node> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, last) = if m < k {
        (inclusion(m, left), root(right))
    } else {
        (inclusion(m - k, right), root(left))
    };
    path.push(last);
    path
}

/// PROOF of section 2.1.2.
pub(crate) fn consistency(m: usize, leaves: &[Node]) -> Vec<Node> {
    subproof(m, leaves, true)
}

fn subproof(m: usize, leaves: &[Node], whole: bool) -> Vec<Node> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, last) = if m <= k {
        (subproof(m, left, whole), root(right))
    } else {
        (subproof(m - k, right, false), root(left))
    };
    path.push(last);
    path
}

/// What `/tile/<level>/<n>` must hold: roots of the full subtrees of 256^level leaves, 256 to a
/// tile, the last one perhaps fewer.
pub(crate) fn tiles(leaves: &[Node]) -> Vec<Vec<Vec<Node>>> {
    let mut levels = Vec::new();
    let mut hashes = leaves.to_vec();
    while !hashes.is_empty() {
        levels.push(hashes.chunks(256).map(<[Node]>::to_vec).collect());
        hashes = hashes.chunks_exact(256).map(root).collect();
    }
    levels
}

/// The path of a tile (C2SP tlog-tiles): three digits a step, all but the last after an `x`.
pub(crate) fn tile_path(level: &str, n: usize, width: usize) -> String {
    let mut number = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        number = format!("x{:03}/{number}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width == 256 { String::new() } else { format!(".p/{width}") };
    format!("/tile/{level}/{number}{partial}")
}

/// Leaves are the texts `leaf-<i>`, hashes come from Go's sumdb/tlog.
#[test]
fn agrees_with_vectors_made_in_go() {
    let vectors = json::parse(include_bytes!("../vectors/tlog.json"), json::Rules::LOG).unwrap();
    let list = |name| crate::support::list(&vectors, name);
    let decode = |value: &json::Value| -> Node {
        *tlog::Hash::from_base64(value.as_str().unwrap()).unwrap().as_bytes()
    };
    let roots = list("roots_by_size");
    let leaves: Vec<Node> =
        (0..roots.len()).map(|i| leaf(format!("leaf-{i}").as_bytes())).collect();
    for (size, expected) in roots.iter().enumerate() {
        assert_eq!(root(&leaves[..size]), decode(expected), "root of {size}");
    }
    let nodes = vectors.get("nodes").unwrap();
    let named = |vector: &json::Value| -> Vec<Node> {
        let names = crate::support::list(vector, "proof").iter();
        names.map(|name| decode(nodes.get(name.as_str().unwrap()).unwrap())).collect()
    };
    let number = |vector, name| crate::support::number(vector, name) as usize;
    for vector in list("inclusion") {
        let (size, index) = (number(vector, "size"), number(vector, "index"));
        assert_eq!(inclusion(index, &leaves[..size]), named(vector), "{index} in {size}");
    }
    for vector in list("consistency") {
        let (old, size) = (number(vector, "old"), number(vector, "size"));
        assert_eq!(consistency(old, &leaves[..size]), named(vector), "{old} to {size}");
    }
    for vector in list("tile_paths") {
        let expected = format!("/tile/0/{}", crate::support::text(vector, "path"));
        assert_eq!(tile_path("0", number(vector, "index"), 256), expected);
    }
}
