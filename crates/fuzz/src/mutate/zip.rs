//! ZIP archives taken apart, changed and put together again with the checksums that fit, so that
//! the readers behind the container are reached; and archives that contradict themselves.
//!
//! Shares no code with the reader under test.

use std::io::{Read as _, Write as _};

use super::text;
use super::tree::Tree;
use crate::random::Random;

/// Members in order, and what stands behind them.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The members.
    pub members: Vec<Member>,
    comment: Vec<u8>,
    zip64_end: bool,
    /// Numbers written over fields of the records at the end: offset from the end, value.
    lies: Vec<(usize, u64)>,
}

/// One member, unpacked.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
    tree: Option<Tree>,
    method: Method,
    zip64: bool,
    descriptor: bool,
    /// Bytes behind it that no member owns.
    gap: Vec<u8>,
    /// Written over its headers: in the local one or not, offset, value.
    lies: Vec<(bool, usize, u32)>,
    /// XORed into the packed bytes, before or after the checksum is made.
    damage: Option<(usize, u8)>,
    /// Points to the data of an earlier member.
    alias: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored = 0,
    Deflate = 8,
    Zstd = 93,
}

impl Member {
    fn new(name: &str, content: Vec<u8>, method: Method) -> Self {
        Self {
            name: name.to_owned(),
            tree: Tree::parse(&content),
            content,
            method,
            zip64: false,
            descriptor: false,
            gap: Vec::new(),
            lies: Vec::new(),
            damage: None,
            alias: false,
        }
    }

    fn packed(&self) -> Vec<u8> {
        let mut packed = match self.method {
            Method::Stored => self.content.clone(),
            Method::Deflate => {
                let level = flate2::Compression::fast();
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                encoder
                    .write_all(&self.content)
                    .and_then(|()| encoder.finish())
                    .expect("memory takes all bytes")
            }
            Method::Zstd => ruzstd::encoding::compress_to_vec(
                self.content.as_slice(),
                ruzstd::encoding::CompressionLevel::Fastest,
            ),
        };
        if let Some((at, mask)) = self.damage
            && !packed.is_empty()
        {
            let at = at % packed.len();
            packed[at] ^= mask;
        }
        packed
    }
}

impl Archive {
    /// An archive of stored members.
    pub fn stored<'a>(members: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let members =
            members.into_iter().map(|(name, bytes)| Member::new(name, bytes, Method::Stored));
        Self::of(members.collect())
    }

    fn of(members: Vec<Member>) -> Self {
        Self { members, comment: Vec::new(), zip64_end: false, lies: Vec::new() }
    }

    /// The same members, packed with deflate and zstd in turn.
    #[must_use]
    pub fn packed(mut self) -> Self {
        for (place, member) in self.members.iter_mut().enumerate() {
            member.method = if place % 2 == 0 { Method::Zstd } else { Method::Deflate };
        }
        self
    }

    /// The same members with sizes of 64 bits everywhere.
    #[must_use]
    pub fn zip64(mut self) -> Self {
        self.zip64_end = true;
        self.members.iter_mut().for_each(|member| member.zip64 = true);
        self
    }

    /// The same members with data descriptors.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.members.iter_mut().for_each(|member| member.descriptor = true);
        self
    }

    /// Takes a plain archive apart; nothing if it is not one that is written here or by Inspect.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.len().checked_sub(22)?;
        let record = bytes.get(end..)?.strip_prefix(b"PK\x05\x06")?;
        let mut at = number(record, 12, 4)?;
        if at == 0xffff_ffff {
            let record = bytes.get(end - 76..)?.strip_prefix(b"PK\x06\x06")?;
            at = number(record, 44, 8)?;
        }
        let mut members = Vec::new();
        while let Some(header) = bytes.get(at..)?.strip_prefix(b"PK\x01\x02") {
            let [name, extra, comment] = [24, 26, 28].map(|field| number(header, field, 2));
            let (name, extra, comment) = (name?, extra?, comment?);
            let text = std::str::from_utf8(header.get(42..42 + name)?).ok()?;
            let extra_field = header.get(42 + name..42 + name + extra)?;
            let zip64 = number(header, 16, 4)? == 0xffff_ffff;
            let (compressed, offset) = if zip64 {
                (number(extra_field, 12, 8)?, number(extra_field, 20, 8)?)
            } else {
                (number(header, 16, 4)?, number(header, 38, 4)?)
            };
            let local = bytes.get(offset..)?;
            let start = 30 + number(local, 26, 2)? + number(local, 28, 2)?;
            let packed = local.get(start..start + compressed)?;
            let (method, content) = unpack(number(header, 6, 2)?, packed)?;
            let mut member = Member::new(text, content, method);
            member.zip64 = zip64;
            member.descriptor = number(header, 4, 2)? & 8 != 0;
            members.push(member);
            at += 46 + name + extra + comment;
        }
        let zip64_end = bytes.get(at..)?.starts_with(b"PK\x06\x06");
        Some(Self { zip64_end, ..Self::of(members) })
    }

    /// Documents of the members.
    pub(super) fn trees(&self) -> Vec<Tree> {
        self.members.iter().filter_map(|member| member.tree.clone()).collect()
    }

    /// One change, of a member's content most often.
    pub(super) fn change(&mut self, donors: &[Tree], random: &mut Random) {
        if self.members.is_empty() {
            return;
        }
        let at = random.below(self.members.len());
        match random.below(40) {
            0 => drop(self.members.remove(at)),
            1 => self.members.insert(at, self.members[at].clone()),
            2 => {
                let to = random.below(self.members.len());
                self.members.swap(at, to);
            }
            3 => self.comment = vec![random.byte(); random.below(40)],
            4 => self.zip64_end ^= true,
            5 => {
                let lie = interesting(random, self.members.len() as u64);
                self.lies.push((random.below(98), lie));
            }
            6 => text::change(&mut self.members[at].name, random),
            7 => {
                let other = random.below(self.members.len());
                self.members[at].name = self.members[other].name.clone();
            }
            8..16 => self.members[at].change(random),
            _ => self.members[at].change_content(donors, random),
        }
    }

    /// The archive.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut directory = Vec::new();
        let mut previous = None;
        for member in &self.members {
            let packed = member.packed();
            let fields = Fields::of(member, &packed);
            let offset = match previous {
                Some(offset) if member.alias => offset,
                _ => {
                    let offset = out.len();
                    member.write_local(&fields, &packed, &mut out);
                    offset
                }
            };
            previous = Some(offset);
            member.write_central(&fields, offset, &mut directory);
        }
        let start = out.len();
        out.extend(&directory);
        self.write_end(start, directory.len(), &mut out);
        out
    }

    fn write_end(&self, start: usize, size: usize, out: &mut Vec<u8>) {
        let records = out.len();
        let count = self.members.len();
        if self.zip64_end {
            out.extend(b"PK\x06\x06");
            out.extend(44_u64.to_le_bytes());
            out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            for field in [count, count, size, start] {
                out.extend((field as u64).to_le_bytes());
            }
            out.extend(b"PK\x06\x07\0\0\0\0");
            out.extend((records as u64).to_le_bytes());
            out.extend(1_u32.to_le_bytes());
        }
        out.extend(b"PK\x05\x06\0\0\0\0");
        if self.zip64_end {
            out.extend([0xff; 12]);
        } else {
            out.extend((count as u16).to_le_bytes());
            out.extend((count as u16).to_le_bytes());
            out.extend((size as u32).to_le_bytes());
            out.extend((start as u32).to_le_bytes());
        }
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        for (back, value) in &self.lies {
            // Fields of the 64-bit records have eight bytes, those of the old one two or four.
            let Some(at) = out.len().checked_sub(*back).filter(|at| *at >= records) else {
                continue;
            };
            let width = (if *back > 42 { 8 } else { 4 }).min(out.len() - at);
            out[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}

/// What the headers of a member say.
struct Fields {
    crc: u32,
    compressed: u64,
    size: u64,
}

impl Fields {
    fn of(member: &Member, packed: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(&member.content);
        let (compressed, size) = (packed.len() as u64, member.content.len() as u64);
        Self { crc: crc.sum(), compressed, size }
    }
}

impl Member {
    fn change(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => self.method = *random.pick(&[Method::Stored, Method::Deflate, Method::Zstd]),
            1 => self.zip64 ^= true,
            2 => self.descriptor ^= true,
            3 => self.gap = vec![random.byte(); random.below(30)],
            4 => self.alias = true,
            5 => self.damage = Some((random.below(4096), 1 << random.below(8))),
            _ => {
                let local = random.once_in(2);
                let offset = random.below(if local { 30 } else { 46 });
                self.lies.push((local, offset, interesting(random, 40) as u32));
            }
        }
    }

    fn change_content(&mut self, donors: &[Tree], random: &mut Random) {
        if let Some(tree) = &mut self.tree {
            tree.change(donors, random);
            self.content = tree.write(random).into_bytes();
        } else if !self.content.is_empty() {
            let at = random.below(self.content.len());
            self.content[at] = random.byte();
        }
        // Packed again only now and then: packing takes longer than reading.
        if !random.once_in(16) {
            self.method = Method::Stored;
        }
    }

    fn head(&self) -> Vec<u8> {
        let flags = u16::from(self.descriptor) << 3;
        let mut head = Vec::new();
        for field in [flags, self.method as u16, 0, 0] {
            head.extend(field.to_le_bytes());
        }
        head
    }

    fn write_local(&self, fields: &Fields, packed: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(b"PK\x03\x04\x14\0");
        out.extend(self.head());
        let known = !self.descriptor;
        let size = |size: u64| if self.zip64 { u32::MAX } else { size as u32 };
        for field in [fields.crc, size(fields.compressed), size(fields.size)] {
            out.extend(if known { field } else { 0 }.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        self.lie(true, &mut out[start..]);
        out.extend(self.name.as_bytes());
        out.extend(packed);
        if self.descriptor {
            out.extend(b"PK\x07\x08");
            out.extend(fields.crc.to_le_bytes());
            out.extend((fields.compressed as u32).to_le_bytes());
            out.extend((fields.size as u32).to_le_bytes());
        }
        out.extend(&self.gap);
    }

    fn write_central(&self, fields: &Fields, offset: usize, out: &mut Vec<u8>) {
        let start = out.len();
        let mut extra = Vec::new();
        let mut sizes = [fields.compressed as u32, fields.size as u32, offset as u32];
        if self.zip64 {
            extra.extend([1, 0, 24, 0]);
            for field in [fields.size, fields.compressed, offset as u64] {
                extra.extend(field.to_le_bytes());
            }
            sizes = [u32::MAX; 3];
        }
        out.extend(b"PK\x01\x02\x14\x03\x14\0");
        out.extend(self.head());
        for field in [fields.crc, sizes[0], sizes[1]] {
            out.extend(field.to_le_bytes());
        }
        for field in [self.name.len() as u16, extra.len() as u16, 0, 0, 0, 0, 0] {
            out.extend(field.to_le_bytes());
        }
        out.extend(sizes[2].to_le_bytes());
        self.lie(false, &mut out[start..]);
        out.extend(self.name.as_bytes());
        out.extend(extra);
    }

    fn lie(&self, local: bool, header: &mut [u8]) {
        for (_, at, value) in self.lies.iter().filter(|(of_local, ..)| *of_local == local) {
            let width = (header.len().saturating_sub(*at)).min(if at % 2 == 0 { 4 } else { 1 });
            header[*at..*at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}

fn interesting(random: &mut Random, near: u64) -> u64 {
    match random.below(5) {
        0 => u64::MAX,
        1 => near + random.below(3) as u64,
        2 => 1 << random.below(64),
        3 => u64::MAX - random.below(200) as u64,
        _ => random.below(400) as u64,
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    let number = field.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number).ok()
}

fn unpack(method: usize, packed: &[u8]) -> Option<(Method, Vec<u8>)> {
    let mut content = Vec::new();
    let method = match method {
        0 => {
            content = packed.to_vec();
            Method::Stored
        }
        8 => {
            flate2::read::DeflateDecoder::new(packed).read_to_end(&mut content).ok()?;
            Method::Deflate
        }
        93 => {
            let mut packed = packed;
            while !packed.is_empty() {
                let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut packed).ok()?;
                frame.read_to_end(&mut content).ok()?;
            }
            Method::Zstd
        }
        _ => return None,
    };
    Some((method, content))
}
