//! Tiles: their paths, their hashes, bundles of entries, and trees read out of a stranger's tiles.

use std::convert::Infallible;
use std::sync::OnceLock;

use sequencer::{Entry, Log, MemoryStore, Reader, StatementKey};
use tlog::{
    Hash, Note, TileKind, TileNodes, TilePath, TileSource, encode_bundle, parse_bundle,
    parse_hash_tile, prove_consistency, prove_inclusion, verify_consistency, verify_inclusion,
};

use crate::fixtures::{list, log_key, log_vkey, text, tlog_vectors};
use crate::mutate::Shape;
use crate::{Memory, Target, Verdict};

const PATH_TOKENS: &[&[u8]] =
    &[b"tile/", b"entries/", b"x000/", b"x999/", b"999", b".p/", b".p/256", b".p/0", b"63", b"64"];

pub(super) fn targets() -> Vec<Target> {
    let target = |name, shape, tokens, seeds, run| Target {
        name,
        shape,
        tokens,
        seeds,
        run,
        memory: Memory::USUAL,
    };
    vec![
        target("tile-path", Shape::Lines, PATH_TOKENS, paths, path),
        target("hash-tile", Shape::Bytes, &[], hash_tiles, hash_tile),
        target("entry-bundle", Shape::Bytes, &[], bundles, bundle),
        target("tiles-of-a-stranger", Shape::Bytes, &[], strange_tiles, strange),
        target("log-of-a-stranger", Shape::Bytes, &[], strange_files, audit),
    ]
}

fn paths() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "tile/0/x001/067.p/3",
        "tile/entries/x001/x234/067",
        "tile/63/000.p/255",
        "tile/0/x036/x028/x797/x018/x963/967",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    for tile in list(tlog_vectors(), "tile_paths") {
        seeds.push(format!("tile/0/{}", text(tile, "path")).into_bytes());
    }
    seeds
}

/// A log of 300 entries in memory.
fn reader() -> &'static Reader {
    static READER: OnceLock<Reader> = OnceLock::new();
    READER.get_or_init(|| {
        let mut log = Log::create(MemoryStore::new(), log_key().clone()).expect("it is new");
        let entries: Vec<Entry> = (0..300_u64)
            .map(|number| {
                let bytes = format!("entry {number}").into_bytes();
                let key = StatementKey::from(Hash::of(&[&bytes]));
                Entry::new(bytes, key).expect("it is short")
            })
            .collect();
        assert!(log.step(&entries).is_ok_and(|answers| answers.iter().all(Result::is_ok)));
        log.reader()
    })
}

fn path(input: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(input) else { return Verdict::Refused };
    let Ok(path) = TilePath::parse(text) else { return Verdict::Refused };
    assert_eq!(path.to_string(), text, "a path has one spelling");
    assert_eq!(TilePath::new(path.kind(), path.index(), path.width()), Some(path));
    assert!((1..=256).contains(&path.width()));
    // What the read path makes of it.
    let tile = reader().tile(&path).expect("a store in memory can be read");
    if let Some(bytes) = tile {
        match path.kind() {
            TileKind::Hashes { .. } => {
                assert!(parse_hash_tile(&bytes, path.width()).is_ok());
            }
            TileKind::Entries => assert!(parse_bundle(&bytes, path.width()).is_ok()),
        }
    }
    Verdict::Accepted
}

/// Two bytes of width, then the tile.
fn with_width(width: u16, bytes: &[u8]) -> Vec<u8> {
    [&width.to_be_bytes(), bytes].concat()
}

fn split_width(input: &[u8]) -> Option<(u16, &[u8])> {
    let (width, bytes) = input.split_first_chunk()?;
    Some((u16::from_be_bytes(*width), bytes))
}

fn hash_tiles() -> Vec<Vec<u8>> {
    let tile = |width: u16| {
        let hashes: Vec<u8> =
            (0..width).flat_map(|n| *Hash::of(&[&n.to_be_bytes()]).as_bytes()).collect();
        with_width(width, &hashes)
    };
    vec![tile(1), tile(5), tile(256)]
}

fn hash_tile(input: &[u8]) -> Verdict {
    let Some((width, bytes)) = split_width(input) else { return Verdict::Refused };
    let Ok(hashes) = parse_hash_tile(bytes, width) else { return Verdict::Refused };
    assert_eq!(hashes.len(), usize::from(width));
    assert!(hashes.iter().flat_map(|hash| hash.as_bytes()).eq(bytes), "nothing is lost");
    Verdict::Accepted
}

fn bundles() -> Vec<Vec<u8>> {
    let bundle = |entries: &[&[u8]]| {
        with_width(entries.len() as u16, &encode_bundle(entries.iter().copied()))
    };
    vec![
        bundle(&[b"a", b"bb", b"ccc"]),
        bundle(&[b""]),
        bundle(&[&[7; 300], &[], &[8; 256]]),
        bundle(&vec![b"x".as_slice(); 256]),
    ]
}

fn bundle(input: &[u8]) -> Verdict {
    let Some((width, bytes)) = split_width(input) else { return Verdict::Refused };
    let Ok(entries) = parse_bundle(bytes, width) else { return Verdict::Refused };
    assert_eq!(entries.len(), usize::from(width));
    assert_eq!(encode_bundle(entries), bytes, "a bundle is written byte for byte");
    Verdict::Accepted
}

/// The tiles of that log, each with its place in the list before its bytes.
fn strange_tiles() -> Vec<Vec<u8>> {
    hash_paths()
        .iter()
        .zip(0_u8..)
        .map(|(path, place)| [&[place], &*honest(path)].concat())
        .collect()
}

fn hash_paths() -> Vec<TilePath> {
    let paths = tlog::tiles_of(300);
    paths.filter(|path| matches!(path.kind(), TileKind::Hashes { .. })).collect()
}

fn honest(path: &TilePath) -> Vec<u8> {
    let tile = reader().tile(path).expect("a store in memory can be read");
    tile.expect("the log has this tile")
}

/// One tile is the stranger's, the others are right.
struct Strange<'a> {
    path: TilePath,
    bytes: &'a [u8],
}

impl TileSource for Strange<'_> {
    type Error = Infallible;

    fn tile(&self, path: &TilePath) -> Result<Vec<u8>, Infallible> {
        static HONEST: OnceLock<Vec<(TilePath, Vec<u8>)>> = OnceLock::new();
        if *path == self.path {
            return Ok(self.bytes.to_vec());
        }
        let tiles = HONEST
            .get_or_init(|| hash_paths().into_iter().map(|path| (path, honest(&path))).collect());
        Ok(tiles.iter().find(|(known, _)| known == path).map_or_else(Vec::new, |(_, t)| t.clone()))
    }
}

/// Whatever can be read out of strange tiles is true.
fn strange(input: &[u8]) -> Verdict {
    let Some((place, bytes)) = input.split_first() else { return Verdict::Refused };
    let paths = hash_paths();
    let path = paths[usize::from(*place) % paths.len()];
    let head = reader().head();
    let source = Strange { path, bytes };
    let Ok(nodes) = TileNodes::authenticated(&source, &head) else { return Verdict::Refused };
    let mut verdict = Verdict::Refused;
    for index in [0, 17, 255, 256, 299] {
        if let Ok(proof) = prove_inclusion(&nodes, index, head.size) {
            let leaf = reader().snapshot().leaf(index).expect("the log has this entry");
            assert_eq!(verify_inclusion(&leaf, index, &head, &proof), Ok(()), "a false proof");
            verdict = Verdict::Accepted;
        }
    }
    if let Ok(proof) = prove_consistency(&nodes, 257, head.size) {
        let root = reader().snapshot().root_at(257).expect("the log had this size");
        let old = tlog::TreeHead { size: 257, root };
        assert_eq!(verify_consistency(&old, &head, &proof), Ok(()), "a false proof");
    }
    verdict
}

/// What that log publishes: the text of its checkpoint, then its tiles.
fn published() -> &'static [(String, Vec<u8>)] {
    static PUBLISHED: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        let note = Note::parse(&reader().checkpoint()).expect("the log signed it");
        let checkpoint = ("checkpoint".to_owned(), note.text().as_bytes().to_vec());
        let tiles = tlog::tiles_of(300).map(|path| (path.to_string(), honest(&path)));
        std::iter::once(checkpoint).chain(tiles).collect()
    })
}

fn strange_files() -> Vec<Vec<u8>> {
    published().iter().zip(0_u8..).map(|((_, file), at)| [&[at], &**file].concat()).collect()
}

/// One file is the stranger's, and if it is the checkpoint, the log's key has signed it.
struct StrangeFile<'a> {
    place: usize,
    bytes: &'a [u8],
}

impl client::LogFiles for StrangeFile<'_> {
    fn fetch(&self, path: &str, max: usize) -> Result<Option<Vec<u8>>, client::FetchError> {
        let place = published().iter().position(|(known, _)| known == path);
        let Some(place) = place else { return Ok(None) };
        let bytes = if place == self.place { self.bytes } else { &published()[place].1 };
        let text = std::str::from_utf8(bytes).ok().filter(|_| place == 0);
        let signed = text.and_then(|text| Note::sign(text, log_key()).ok());
        let bytes = signed.map_or_else(|| bytes.to_vec(), |note| note.as_bytes().to_vec());
        if bytes.len() > max {
            let problem = "is too long".to_owned();
            return Err(client::FetchError { place: path.to_owned(), problem });
        }
        Ok(Some(bytes))
    }
}

/// A log without findings is the log, whatever a stranger has put into one of its files.
fn audit(input: &[u8]) -> Verdict {
    let Some((place, bytes)) = input.split_first() else { return Verdict::Refused };
    let place = usize::from(*place) % published().len();
    let files = StrangeFile { place, bytes };
    let mut entries = Vec::new();
    let audited = client::audit_log(&files, log_vkey(), |index, entry| {
        entries.push((index, tlog::leaf_hash(entry)));
        None
    });
    let Ok(audit) = audited else { return Verdict::Refused };
    if place > 0 {
        let changed = bytes != published()[place].1;
        assert_eq!(changed, !audit.findings.is_empty(), "{:?}", audit.findings);
    }
    if !audit.findings.is_empty() {
        return Verdict::Refused;
    }
    let head = audit.head.expect("a log without a head is a finding");
    let root = reader().snapshot().root_at(head.size);
    assert_eq!(root.ok(), Some(head.root), "another head without findings");
    assert_eq!(entries.len() as u64, head.size, "entries were left out");
    for (index, leaf) in entries {
        assert_eq!(reader().snapshot().leaf(index).ok(), Some(leaf), "another entry at {index}");
    }
    Verdict::Accepted
}
