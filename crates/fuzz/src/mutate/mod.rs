//! From seeds to inputs: changes that know the shape of a format, so that most inputs get past
//! its outer layer, and changes that know nothing, so that none is taken for granted.
//!
//! Inputs do not depend on each other: input `n` is a function of target, seed and `n`. That
//! gives up the growing corpus of coverage-guided fuzzers, and gets in return that any input can
//! be made again from two numbers, and that a run can be split in any way.

mod bytes;
mod lines;
mod proto;
mod text;
mod tree;
pub mod zip;

use std::collections::BTreeMap;

use crate::random::Random;

pub use tree::Tree;

/// What the inputs of a target look like to those who change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Bytes without structure that is known here.
    Bytes,
    /// Lines of words, some of them base64 or numbers.
    Lines,
    /// One JSON document.
    Json,
    /// A JSON document on each line.
    JsonLines,
    /// A ZIP archive of JSON documents.
    Zip,
    /// Files with names, as [`pack_folder`] packs them; JSON or lines of JSON.
    Folder,
    /// A protobuf message.
    Protobuf,
}

/// A seed as its shape sees it; what does not parse is bytes.
#[derive(Debug, Clone)]
enum Parsed {
    Bytes,
    Lines(Vec<String>),
    Tree(Tree),
    Trees(Vec<Tree>),
    Zip(zip::Archive),
    Folder(Vec<(String, Vec<Tree>)>),
    Protobuf(Vec<proto::Field>),
}

/// Makes the inputs of one target.
#[derive(Debug)]
pub struct Mutator {
    target: &'static str,
    seeds: Vec<Vec<u8>>,
    parsed: Vec<Parsed>,
    tokens: Tokens,
    /// Documents of all seeds, whose parts may turn up in each other.
    donors: Vec<Tree>,
}

/// Words that mean something to the format, and some that mean trouble everywhere.
#[derive(Debug)]
struct Tokens(Vec<Vec<u8>>);

/// Inputs are cut here: nothing that these formats do depends on more, and short inputs are many.
const MAX_INPUT: usize = 64 << 10;

impl Mutator {
    /// A mutator of these seeds, of which there is at least one.
    pub fn new(target: &'static str, shape: Shape, seeds: Vec<Vec<u8>>, tokens: &[&[u8]]) -> Self {
        assert!(!seeds.is_empty(), "{target} has no seeds");
        let parsed: Vec<Parsed> = seeds.iter().map(|seed| Parsed::of(seed, shape)).collect();
        let donors = parsed
            .iter()
            .flat_map(|parsed| match parsed {
                Parsed::Tree(tree) => vec![tree.clone()],
                Parsed::Trees(trees) => trees.clone(),
                Parsed::Folder(files) => files.iter().flat_map(|(_, t)| t.clone()).collect(),
                Parsed::Zip(archive) => archive.trees(),
                _ => Vec::new(),
            })
            .collect();
        let tokens = tokens.iter().chain(bytes::TROUBLE).map(|token| token.to_vec()).collect();
        Self { target, seeds, parsed, tokens: Tokens(tokens), donors }
    }

    /// How many inputs are the seeds themselves: the first ones.
    pub fn seeds(&self) -> u64 {
        self.seeds.len() as u64
    }

    /// Input `execution` under `seed`.
    pub fn input(&self, seed: u64, execution: u64) -> Vec<u8> {
        if let Some(seed) = usize::try_from(execution).ok().and_then(|at| self.seeds.get(at)) {
            return seed.clone();
        }
        let mut random = Random::new(self.target, seed, execution);
        let random = &mut random;
        let at = random.below(self.seeds.len());
        // One input in three is changed without a look at its structure, one in 64 has none.
        if random.once_in(64) {
            return bytes::noise(random, &self.tokens);
        }
        let structured = !random.once_in(3);
        let mut input = match &self.parsed[at] {
            parsed if structured => self.restructure(parsed, at, random),
            _ => self.seeds[at].clone(),
        };
        if !structured || random.once_in(16) || input == self.seeds[at] {
            let other = random.pick(&self.seeds);
            for _ in 0..random.few(8) {
                bytes::change(&mut input, other, &self.tokens, random);
            }
        }
        input.truncate(MAX_INPUT);
        input
    }

    fn restructure(&self, parsed: &Parsed, at: usize, random: &mut Random) -> Vec<u8> {
        let changes = random.few(6);
        match parsed {
            Parsed::Bytes => self.seeds[at].clone(),
            Parsed::Lines(lines) => {
                let mut lines = lines.clone();
                let other = match random.pick(&self.parsed) {
                    Parsed::Lines(other) => other,
                    _ => &lines.clone(),
                };
                (0..changes).for_each(|_| lines::change(&mut lines, other, random));
                lines.concat().into_bytes()
            }
            Parsed::Tree(tree) => {
                let mut tree = tree.clone();
                (0..changes).for_each(|_| tree.change(&self.donors, random));
                tree.write(random).into_bytes()
            }
            Parsed::Trees(trees) => {
                let mut trees = trees.clone();
                (0..changes).for_each(|_| change_one(&mut trees, &self.donors, random));
                write_lines(&trees, random)
            }
            Parsed::Zip(archive) => {
                let mut archive = archive.clone();
                (0..changes).for_each(|_| archive.change(&self.donors, random));
                archive.write()
            }
            Parsed::Folder(files) => {
                let mut files = files.clone();
                for _ in 0..changes {
                    change_folder(&mut files, &self.donors, random);
                }
                let files = files.iter().map(|(name, t)| (name.as_str(), write_lines(t, random)));
                pack_folder(files)
            }
            Parsed::Protobuf(fields) => {
                let mut fields = fields.clone();
                (0..changes).for_each(|_| proto::change(&mut fields, random));
                proto::write(&fields)
            }
        }
    }
}

impl Parsed {
    fn of(seed: &[u8], shape: Shape) -> Self {
        let parsed = match shape {
            Shape::Bytes => None,
            Shape::Lines => {
                let text = std::str::from_utf8(seed).ok();
                text.map(|text| Self::Lines(lines::split(text)))
            }
            Shape::Json => Tree::parse(seed).map(Self::Tree),
            Shape::JsonLines => Tree::parse_lines(seed).map(Self::Trees),
            Shape::Zip => zip::Archive::parse(seed).map(Self::Zip),
            Shape::Folder => {
                let files = unpack_folder(seed).into_iter();
                let files = files.map(|(name, bytes)| Some((name, Tree::parse_lines(&bytes)?)));
                files.collect::<Option<Vec<_>>>().map(Self::Folder)
            }
            Shape::Protobuf => proto::parse(seed).map(Self::Protobuf),
        };
        parsed.unwrap_or(Self::Bytes)
    }
}

fn change_one(trees: &mut Vec<Tree>, donors: &[Tree], random: &mut Random) {
    if trees.is_empty() {
        return;
    }
    let at = random.below(trees.len());
    match random.below(16) {
        0 => drop(trees.remove(at)),
        1 => trees.insert(at, trees[at].clone()),
        2 => {
            let other = random.below(trees.len());
            trees.swap(at, other);
        }
        3 if !donors.is_empty() => trees.insert(at, random.pick(donors).clone()),
        _ => trees[at].change(donors, random),
    }
}

fn change_folder(files: &mut Vec<(String, Vec<Tree>)>, donors: &[Tree], random: &mut Random) {
    if files.is_empty() {
        return;
    }
    let at = random.below(files.len());
    match random.below(24) {
        0 => drop(files.remove(at)),
        1 => {
            let other = random.below(files.len());
            let name = files[other].0.clone();
            files[at].0 = name;
        }
        2 => text::change(&mut files[at].0, random),
        _ => change_one(&mut files[at].1, donors, random),
    }
}

fn write_lines(trees: &[Tree], random: &mut Random) -> Vec<u8> {
    let lines: Vec<String> = trees.iter().map(|tree| tree.write(random)).collect();
    let end = if lines.len() > 1 && !random.once_in(8) { "\n" } else { "" };
    (lines.join("\n") + end).into_bytes()
}

/// Joins files to one input: for each, a 16-bit length and the name, a 32-bit length and the
/// bytes.
pub fn pack_folder<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, bytes) in files {
        let name = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
        packed.extend((name.len() as u16).to_be_bytes());
        packed.extend(name);
        packed.extend((bytes.len() as u32).to_be_bytes());
        packed.extend(bytes);
    }
    packed
}

/// The files of an input; a length that is too long ends with the input, so that all inputs are
/// folders.
pub fn unpack_folder(packed: &[u8]) -> BTreeMap<String, Vec<u8>> {
    fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
        let (taken, tail) = rest.split_at(length.min(rest.len()));
        *rest = tail;
        taken
    }
    let mut rest = packed;
    let mut files = BTreeMap::new();
    while let Some((length, tail)) = rest.split_first_chunk() {
        rest = tail;
        let name = take(&mut rest, usize::from(u16::from_be_bytes(*length)));
        let length = take(&mut rest, 4).iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        let name = String::from_utf8_lossy(name).into_owned();
        files.insert(name, take(&mut rest, length).to_vec());
    }
    files
}
