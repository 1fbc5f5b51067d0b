//! A ZIP archive taken apart and put together again, byte by byte, so that tests can damage any
//! part of it. Shares no code with the reader under test.

use std::io::{Cursor, Read, Write};

use json::{Rules, Value};

/// A member as its local header and the central directory have it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    pub(crate) crc: u32,
    pub(crate) size: u32,
    pub(crate) packed: Vec<u8>,
    /// Extra field of the central directory.
    pub(crate) extra: Vec<u8>,
    /// Bytes that no member owns, written after this one.
    pub(crate) gap: Vec<u8>,
    /// What the local header says if it differs.
    pub(crate) local: Option<Local>,
    /// Put sizes and offset into a ZIP64 extra field of the central directory, and leave full
    /// sizes in the local header.
    pub(crate) zip64: bool,
    /// Write no data: the central directory points to the data of this other member.
    pub(crate) alias_of: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) name: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) compressed: u32,
    pub(crate) size: u32,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

impl Member {
    pub(crate) fn stored(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            method: 0,
            flags: 0,
            crc: crc32(content),
            size: content.len() as u32,
            packed: content.to_vec(),
            extra: Vec::new(),
            gap: Vec::new(),
            local: None,
            zip64: false,
            alias_of: None,
        }
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        Self { method: 8, packed: encoder.finish().unwrap(), ..Self::stored(name, content) }
    }

    /// One zstd frame for each part.
    pub(crate) fn zstd(name: &str, parts: &[&[u8]]) -> Self {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        let frames = parts.iter().map(|part| ruzstd::encoding::compress_to_vec(*part, level));
        Self {
            method: 93,
            packed: frames.flatten().collect(),
            ..Self::stored(name, &parts.concat())
        }
    }

    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap()
    }

    pub(crate) fn content(&self) -> Vec<u8> {
        let mut content = Vec::new();
        match self.method {
            0 => content = self.packed.clone(),
            8 => {
                flate2::read::DeflateDecoder::new(&*self.packed).read_to_end(&mut content).unwrap();
            }
            93 => {
                let mut packed = Cursor::new(&self.packed);
                while (packed.position() as usize) < self.packed.len() {
                    let mut frame = ruzstd::decoding::StreamingDecoder::new(&mut packed).unwrap();
                    frame.read_to_end(&mut content).unwrap();
                }
            }
            other => panic!("method {other}"),
        }
        assert_eq!((content.len() as u32, crc32(&content)), (self.size, self.crc));
        content
    }

    pub(crate) fn json(&self) -> Value {
        json::parse(&self.content(), Rules::LOG).unwrap()
    }
}

/// The members of an archive without comments and gaps.
pub(crate) fn members(archive: &[u8]) -> Vec<Member> {
    let end = archive.len() - 22;
    assert_eq!(&archive[end..end + 4], b"PK\x05\x06");
    let mut at = u32_at(archive, end + 16) as usize;
    let mut members = Vec::new();
    for _ in 0..u16_at(archive, end + 10) {
        let header = &archive[at..];
        assert_eq!(&header[..4], b"PK\x01\x02");
        let [name, extra, comment] = [28, 30, 32].map(|from| usize::from(u16_at(header, from)));
        let offset = u32_at(header, 42) as usize;
        let local = &archive[offset..];
        let skip = 30 + usize::from(u16_at(local, 26)) + usize::from(u16_at(local, 28));
        let compressed = u32_at(header, 20) as usize;
        members.push(Member {
            name: header[46..46 + name].to_vec(),
            method: u16_at(header, 10),
            flags: u16_at(header, 8),
            crc: u32_at(header, 16),
            size: u32_at(header, 24),
            packed: archive[offset + skip..offset + skip + compressed].to_vec(),
            extra: header[46 + name..46 + name + extra].to_vec(),
            gap: Vec::new(),
            local: None,
            zip64: false,
            alias_of: None,
        });
        at += 46 + name + extra + comment;
    }
    members
}

/// Writes the members in this order.
pub(crate) fn write(members: &[Member]) -> Vec<u8> {
    write_counting(members, members.len() as u16)
}

/// As [`write`], with another number of entries in the end of central directory.
pub(crate) fn write_counting(members: &[Member], count: u16) -> Vec<u8> {
    let mut out = Vec::new();
    let mut offsets = Vec::new();
    for member in members {
        if let Some(other) = member.alias_of {
            offsets.push(offsets[other]);
            continue;
        }
        offsets.push(out.len() as u32);
        let own = Local {
            name: member.name.clone(),
            method: member.method,
            crc: member.crc,
            compressed: member.packed.len() as u32,
            size: member.size,
        };
        let streamed = Local { compressed: u32::MAX, size: u32::MAX, ..own.clone() };
        let own = if member.zip64 { streamed } else { own };
        let local = member.local.as_ref().unwrap_or(&own);
        out.extend(b"PK\x03\x04\x14\x00");
        for field in [member.flags, local.method, 0, 0] {
            out.extend(field.to_le_bytes());
        }
        for field in [local.crc, local.compressed, local.size] {
            out.extend(field.to_le_bytes());
        }
        out.extend((local.name.len() as u16).to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        out.extend(&local.name);
        out.extend(&member.packed);
        out.extend(&member.gap);
    }
    let directory = out.len() as u32;
    for (member, offset) in members.iter().zip(offsets) {
        out.extend(b"PK\x01\x02\x14\x03\x14\x00");
        for field in [member.flags, member.method, 0, 0] {
            out.extend(field.to_le_bytes());
        }
        let mut sizes = [member.packed.len() as u32, member.size, offset];
        let mut extra = member.extra.clone();
        if member.zip64 {
            extra.extend([1, 0, 24, 0]);
            for field in [sizes[1], sizes[0], sizes[2]] {
                extra.extend(u64::from(field).to_le_bytes());
            }
            sizes = [u32::MAX; 3];
        }
        for field in [member.crc, sizes[0], sizes[1]] {
            out.extend(field.to_le_bytes());
        }
        for field in [member.name.len() as u16, extra.len() as u16, 0, 0, 0] {
            out.extend(field.to_le_bytes());
        }
        out.extend(0_u32.to_le_bytes());
        out.extend(sizes[2].to_le_bytes());
        out.extend(&member.name);
        out.extend(&extra);
    }
    let size = out.len() as u32 - directory;
    out.extend(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(directory.to_le_bytes());
    out.extend(0_u16.to_le_bytes());
    out
}

/// Puts ZIP64 records before the end of central directory, whose own fields become full.
pub(crate) fn with_zip64_end(archive: &[u8]) -> Vec<u8> {
    let end = archive.len() - 22;
    let count = u64::from(u16_at(archive, end + 10));
    let size = u64::from(u32_at(archive, end + 12));
    let directory = u64::from(u32_at(archive, end + 16));
    let mut out = archive[..end].to_vec();
    out.extend(b"PK\x06\x06");
    out.extend(44_u64.to_le_bytes());
    out.extend([45, 0, 45, 0]);
    out.extend([0; 8]);
    for field in [count, count, size, directory] {
        out.extend(field.to_le_bytes());
    }
    out.extend(b"PK\x06\x07\x00\x00\x00\x00");
    out.extend((end as u64).to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend([0xff; 12]);
    out.extend([0, 0]);
    out
}

/// Where the central directory begins.
pub(crate) fn directory(archive: &[u8]) -> usize {
    u32_at(archive, archive.len() - 22 + 16) as usize
}

/// A log that can be changed member by member.
pub(crate) struct Log {
    pub(crate) members: Vec<Member>,
}

impl Log {
    pub(crate) fn open(bytes: &[u8]) -> Self {
        Self { members: members(bytes) }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        write(&self.members)
    }

    pub(crate) fn at(&self, name: &str) -> usize {
        let found = self.members.iter().position(|member| member.name() == name);
        found.unwrap_or_else(|| panic!("no member {name}"))
    }

    /// Replaces a member's content; the member stays packed with zstd.
    pub(crate) fn replace(&mut self, name: &str, content: &[u8]) {
        let at = self.at(name);
        self.members[at] = Member::zstd(name, &[content]);
    }

    pub(crate) fn edit(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.members[self.at(name)].json();
        change(&mut value);
        self.replace(name, value.to_text().as_bytes());
    }

    /// Replaces a text that must occur in a member.
    pub(crate) fn substitute(&mut self, name: &str, from: &str, to: &str) {
        let content = String::from_utf8(self.members[self.at(name)].content()).unwrap();
        assert!(content.contains(from), "{name} has no {from}");
        self.replace(name, content.replacen(from, to, 1).as_bytes());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let at = self.at(name);
        self.members.remove(at);
    }

    /// Applies `change` to one item's row in every kind of summary.
    pub(crate) fn edit_summaries(&mut self, id: &Value, change: impl Fn(&mut Value)) {
        let is_summary =
            |name: &str| name == "summaries.json" || name.starts_with("_journal/summaries/");
        let names: Vec<String> = self.members.iter().map(|m| m.name().to_owned()).collect();
        for name in names.iter().filter(|name| is_summary(name)) {
            self.edit(name, |rows| {
                let Value::Array(rows) = rows else { panic!("no array") };
                rows.iter_mut().filter(|row| row.get("id") == Some(id)).for_each(&change);
            });
        }
    }
}
