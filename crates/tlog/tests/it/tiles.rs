//! Tiles: paths, extents, bundles, and proofs read from tiles that may be forged.

use std::collections::BTreeMap;

use tlog::{
    Hash, MAX_ENTRY, MemoryNodes, NodeReader as _, TileError, TileKind, TileNodes, TilePath,
    TileReadError, TileSource, TreeHead, encode_bundle, leaf_hash, node_hash, parse_bundle,
    parse_hash_tile, partial_width, prove_consistency, prove_inclusion, root_at, tiles_of,
    verify_consistency, verify_inclusion,
};

use crate::vectors::{example, hash, list, numbered, text, uint};

const LEVEL_0: TileKind = TileKind::Hashes { level: 0 };

#[test]
fn paths_are_the_vectors() {
    for vector in list("tile_paths", 10) {
        let index = uint(vector, "index");
        for (kind, prefix) in [
            (LEVEL_0, "tile/0"),
            (TileKind::Hashes { level: 63 }, "tile/63"),
            (TileKind::Entries, "tile/entries"),
        ] {
            for (width, suffix) in [(256, ""), (1, ".p/1"), (255, ".p/255")] {
                let path = TilePath::new(kind, index, width).unwrap();
                let spelled = format!("{prefix}/{}{suffix}", text(vector, "path"));
                assert_eq!(path.to_string(), spelled);
                assert_eq!(TilePath::parse(&spelled), Ok(path));
                assert_eq!(path.is_full(), width == 256);
                assert_eq!(path.full().to_string(), format!("{prefix}/{}", text(vector, "path")));
            }
        }
    }
}

#[test]
fn rejects_paths_in_any_other_spelling() {
    for (path, reason) in [
        ("", "empty"),
        ("/tile/0/000", "leading slash"),
        ("tile/0", "no index"),
        ("tile/0/", "empty index"),
        ("tile//000", "no level"),
        ("tile/00/000", "level with a leading zero"),
        ("tile/64/000", "level above 63"),
        ("tile/256/000", "level beyond a byte"),
        ("tile/+1/000", "level with a sign"),
        ("tile/8/0/000", "path of Go with the tile height"),
        ("tile/data/000", "Go's name for entries"),
        ("Tile/0/000", "upper case"),
        ("tile/0/00", "group of two digits"),
        ("tile/0/0000", "group of four digits"),
        ("tile/0/x000", "x on the last group"),
        ("tile/0/001/067", "no x on the first group"),
        ("tile/0/x000/067", "needless group"),
        ("tile/0/x001/x067", "x on the last group"),
        ("tile/0/X001/067", "upper-case x"),
        ("tile/0/x001//067", "empty group"),
        ("tile/0/000/", "trailing slash"),
        ("tile/0/000.p", "no width"),
        ("tile/0/000.p/", "empty width"),
        ("tile/0/000.p/0", "empty tile"),
        ("tile/0/000.p/256", "full tile as partial"),
        ("tile/0/000.p/01", "width with a leading zero"),
        ("tile/0/000.p/+1", "width with a sign"),
        ("tile/0/000.p/1/", "trailing slash"),
        ("tile/0/000.p/1.p/1", "two widths"),
        ("tile/0/000 ", "trailing space"),
        ("tile/0/000\n", "trailing newline"),
        ("tile/0/٠٠٠", "digits of another script"),
        ("tile/0/x036/x028/x797/x018/x963/968", "index 2^55"),
        ("tile/0/x999/x999/x999/x999/x999/x999/x999/999", "index beyond 64 bits"),
        ("tile/../checkpoint", "path traversal"),
    ] {
        assert!(TilePath::parse(path).is_err(), "{reason}: {path}");
    }
    assert!(TilePath::parse("tile/0/x036/x028/x797/x018/x963/967").is_ok());
    for (kind, index, width) in [
        (TileKind::Hashes { level: 64 }, 0, 1),
        (LEVEL_0, 1 << 55, 1),
        (LEVEL_0, 0, 0),
        (LEVEL_0, 0, 257),
    ] {
        assert_eq!(TilePath::new(kind, index, width), None);
    }
}

#[test]
fn extents_are_the_vectors() {
    for vector in list("tile_extents", 10) {
        let size = uint(vector, "size");
        let mut expected = BTreeMap::new();
        for extent in vector.get("levels").and_then(json::Value::as_array).unwrap() {
            let level = uint(extent, "level") as u8;
            let counts = (uint(extent, "full"), uint(extent, "partial"));
            assert_eq!(u64::from(partial_width(size, level)), counts.1, "{size}, {level}");
            expected.insert(TileKind::Hashes { level }, counts);
        }
        expected.insert(TileKind::Entries, expected[&LEVEL_0]);
        let mut found: BTreeMap<TileKind, (u64, u64)> = BTreeMap::new();
        for tile in tiles_of(size) {
            let counts = found.entry(tile.kind()).or_default();
            if tile.is_full() {
                assert_eq!(tile.index(), counts.0, "in order, before the partial");
                counts.0 += 1;
            } else {
                assert_eq!((tile.index(), counts.1), (counts.0, 0));
                counts.1 = u64::from(tile.width());
            }
        }
        assert_eq!(found, expected, "size {size}");
    }
    assert_eq!(tiles_of(0).count(), 0);
    assert_eq!(partial_width(u64::MAX, 8), 0);
    assert_eq!(partial_width(u64::MAX, 255), 0);
}

#[test]
fn example_tile_and_bundle_are_the_vectors_bytes() {
    let entries = ["a", "bb", "ccc", "dddd", "eeeee"].map(str::as_bytes);
    let bundle = hex::decode(example("bundle_hex")).unwrap();
    assert_eq!(encode_bundle(entries), bundle);
    assert_eq!(parse_bundle(&bundle, 5).unwrap(), entries);
    let tile = hex::decode(example("tile_hex")).unwrap();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    assert_eq!(parse_hash_tile(&tile, 5).unwrap(), leaves);
    let paths: Vec<String> = tiles_of(5).map(|path| path.to_string()).collect();
    assert_eq!(paths, [example("tile_path"), example("bundle_path")]);
}

#[test]
fn rejects_bundles_and_tiles_of_another_extent() {
    let bundle = encode_bundle(["a", "", "ccc"].map(str::as_bytes));
    assert_eq!(parse_bundle(&bundle, 3).unwrap(), [b"a".as_slice(), b"", b"ccc"]);
    for (bytes, width, error) in [
        (&bundle[..], 0, TileError::Width { width: 0 }),
        (&bundle[..], 257, TileError::Width { width: 257 }),
        (&bundle[..], 2, TileError::Surplus { surplus: 5 }),
        (&bundle[..], 4, TileError::Truncated { entry: 3, width: 4 }),
        (&bundle[..9], 3, TileError::Truncated { entry: 2, width: 3 }),
        (&bundle[..6], 3, TileError::Truncated { entry: 2, width: 3 }),
        (&[], 1, TileError::Truncated { entry: 0, width: 1 }),
        (&[0xff, 0xff, 0], 1, TileError::Truncated { entry: 0, width: 1 }),
    ] {
        assert_eq!(parse_bundle(bytes, width), Err(error));
    }
    for (length, width, expected) in [(0, 1, 32), (31, 1, 32), (33, 1, 32), (8191, 256, 8192)] {
        assert_eq!(
            parse_hash_tile(&vec![0; length], width),
            Err(TileError::Length { expected, found: length })
        );
    }
    assert_eq!(parse_hash_tile(&[], 0), Err(TileError::Width { width: 0 }));
    assert_eq!(parse_hash_tile(&[0; 8224], 257), Err(TileError::Width { width: 257 }));
}

#[test]
fn the_longest_entry_fits_in_a_bundle() {
    let entry = vec![7; MAX_ENTRY];
    let bundle = encode_bundle([entry.as_slice()]);
    assert_eq!(bundle.len(), 65_537);
    assert_eq!(parse_bundle(&bundle, 1).unwrap(), [entry]);
}

#[test]
fn larger_trees_are_gos() {
    let nodes: MemoryNodes = numbered(70_000).collect();
    for vector in list("larger_trees", 10) {
        let size = uint(vector, "size");
        assert_eq!(root_at(&nodes, size), Ok(hash(vector, "root")), "{size}");
        for (level, member) in [(1_u8, "last_hash_level_1"), (2, "last_hash_level_2")] {
            let hashes = size >> (8 * level);
            assert_eq!(hashes > 0, vector.get(member).is_some(), "{size}, {level}");
            if hashes > 0 {
                assert_eq!(nodes.node(8 * level, hashes - 1), Ok(hash(vector, member)));
            }
        }
    }
}

/// Tiles in memory, as a log would serve them at one size.
#[derive(Debug, Clone)]
struct Tiles(BTreeMap<String, Vec<u8>>);

impl Tiles {
    fn of(nodes: &MemoryNodes, size: u64) -> Self {
        let mut tiles = BTreeMap::new();
        for path in tiles_of(size) {
            if let TileKind::Hashes { level } = path.kind() {
                let first = path.index() * 256;
                let hashes = (first..first + u64::from(path.width()))
                    .flat_map(|index| *nodes.node(8 * level, index).unwrap().as_bytes());
                tiles.insert(path.to_string(), hashes.collect());
            }
        }
        Self(tiles)
    }
}

impl TileSource for Tiles {
    type Error = String;

    fn tile(&self, path: &TilePath) -> Result<Vec<u8>, String> {
        self.0.get(&path.to_string()).cloned().ok_or_else(|| format!("no {path}"))
    }
}

fn head_of(nodes: &MemoryNodes, size: u64) -> TreeHead {
    TreeHead { size, root: root_at(nodes, size).unwrap() }
}

#[test]
fn proofs_from_tiles_equal_those_from_memory() {
    let all: MemoryNodes = numbered(70_000).collect();
    let leaves: Vec<Hash> = numbered(70_000).collect();
    for size in [0, 1, 2, 70, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000] {
        let (tiles, head) = (Tiles::of(&all, size), head_of(&all, size));
        let checked = TileNodes::authenticated(&tiles, &head).unwrap();
        let unchecked = TileNodes::trusting(&tiles, size);
        assert_eq!(root_at(&unchecked, size).unwrap(), head.root);
        for index in (0..size).step_by((size as usize / 40).max(1)).chain(size.checked_sub(1)) {
            let proof = prove_inclusion(&checked, index, size).unwrap();
            assert_eq!(Ok(&proof), prove_inclusion(&all, index, size).as_ref());
            assert_eq!(proof, prove_inclusion(&unchecked, index, size).unwrap());
            assert_eq!(
                verify_inclusion(&leaves[index as usize], index, &head, &proof),
                Ok(()),
                "{index} in {size}"
            );
            let proof = prove_consistency(&checked, index, size).unwrap();
            assert_eq!(
                verify_consistency(&head_of(&all, index), &head, &proof),
                Ok(()),
                "{index} to {size}"
            );
        }
    }
}

#[test]
fn a_full_tile_stands_in_for_a_lost_partial_one() {
    let all: MemoryNodes = numbered(70_000).collect();
    let size = 65_536 + 300;
    let (mut tiles, head) = (Tiles::of(&all, size), head_of(&all, size));
    let later = Tiles::of(&all, 70_000);
    tiles.0.retain(|path, _| !path.contains(".p/"));
    let lost = TileNodes::authenticated(&tiles, &head).unwrap_err();
    assert!(matches!(&lost, TileReadError::Source { path, .. } if !path.is_full()), "{lost:?}");
    tiles.0.extend(later.0.into_iter().filter(|(path, _)| !path.contains(".p/")));
    // Level 2 has no full tile yet and level 1 ends in a partial tile: both must still be there.
    for path in ["tile/1/001.p/1", "tile/2/000.p/1"] {
        let width_one = Tiles::of(&all, size).0[path].clone();
        tiles.0.insert(path.to_owned(), width_one);
    }
    let nodes = TileNodes::authenticated(&tiles, &head).unwrap();
    assert_eq!(nodes.hashes(0, 257).unwrap().len(), 44, "the root vouches for no more of it");
    let proof = prove_inclusion(&nodes, size - 1, size).unwrap();
    assert_eq!(Ok(proof), prove_inclusion(&all, size - 1, size));
}

#[test]
fn rejects_every_forged_tile() {
    let size = 66_000;
    let all: MemoryNodes = numbered(size).collect();
    let (tiles, head) = (Tiles::of(&all, size), head_of(&all, size));
    let paths: Vec<TilePath> = tiles_of(size)
        .filter(|path| {
            let sampled = path.index().is_multiple_of(64) || !path.is_full();
            path.kind() != TileKind::Entries && sampled
        })
        .collect();
    assert_eq!(paths.len(), 5 + 1 + 2 + 1, "full and partial tiles of three levels");
    for path in paths {
        let TileKind::Hashes { level } = path.kind() else { unreachable!() };
        for byte in [0, 32 * usize::from(path.width()) - 1] {
            let mut forged = tiles.clone();
            forged.0.get_mut(&path.to_string()).unwrap()[byte] ^= 1;
            let opened = TileNodes::authenticated(&forged, &head);
            let read = opened.and_then(|nodes| nodes.hashes(level, path.index()));
            let error = read.expect_err(&path.to_string());
            if path.is_full() {
                assert_eq!(error, TileReadError::Foreign { path });
            } else {
                assert_eq!(error, TileReadError::Root { head });
            }
        }
        let mut short = tiles.clone();
        short.0.get_mut(&path.to_string()).unwrap().pop();
        let opened = TileNodes::authenticated(&short, &head);
        let error = opened.and_then(|nodes| nodes.hashes(level, path.index())).unwrap_err();
        assert!(matches!(error, TileReadError::Malformed { .. }), "{error:?}");
    }
}

#[test]
fn rejects_tiles_of_another_tree_and_nodes_beyond_it() {
    let all: MemoryNodes = numbered(300).collect();
    let tiles = Tiles::of(&all, 300);
    let other = TreeHead { size: 300, root: head_of(&all, 299).root };
    assert_eq!(
        TileNodes::authenticated(&tiles, &other).unwrap_err(),
        TileReadError::Root { head: other }
    );
    let not_empty = TreeHead { size: 0, root: other.root };
    assert_eq!(
        TileNodes::authenticated(&tiles, &not_empty).unwrap_err(),
        TileReadError::Root { head: not_empty }
    );
    let nodes = TileNodes::authenticated(&tiles, &head_of(&all, 300)).unwrap();
    for (height, index) in
        [(0, 300), (1, 150), (8, 1), (9, 0), (63, 0), (64, 0), (255, 0), (0, u64::MAX)]
    {
        assert_eq!(
            nodes.node(height, index),
            Err(TileReadError::Beyond { height, index, size: 300 })
        );
    }
    assert!(nodes.hashes(255, u64::MAX).is_err());
    let huge = TreeHead { size: u64::MAX, root: other.root };
    assert!(TileNodes::authenticated(&tiles, &huge).is_err());
}

#[test]
fn nodes_within_a_tile_hash_its_hashes() {
    let all: MemoryNodes = numbered(256).collect();
    let tiles = Tiles::of(&all, 256);
    let nodes = TileNodes::trusting(&tiles, 256);
    let level = nodes.hashes(0, 0).unwrap();
    assert_eq!(nodes.node(1, 3).unwrap(), node_hash(&level[6], &level[7]));
}
