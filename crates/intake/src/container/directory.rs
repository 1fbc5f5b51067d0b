//! The scan of the central directory: how many members, where, and that they fill the file.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::{Entry, Method, unreadable};
use crate::fault::{Fault, LimitPassed};
use crate::{Code, Limits};

/// What the scan yields.
pub(super) struct Scan {
    pub(super) entries: Vec<Entry>,
    pub(super) dead_bytes: u64,
}

/// "End of central directory record" without its comment.
const END: usize = 22;
/// Length of the ZIP64 end of central directory locator.
const LOCATOR: u64 = 20;
/// ZIP64 end of central directory record, without its extensible data.
const END64: u64 = 56;
/// A local header without name and extra field.
const LOCAL: u64 = 30;
/// A central directory header without name, extra field and comment.
const CENTRAL: usize = 46;
/// Ratios matter from this size on: short texts of one letter are no bombs.
const RATIO_FROM: u64 = 1 << 20;

/// Where the central directory lies, by the record at the end of the file.
struct End {
    entries: u64,
    directory: u64,
    size: u64,
    /// Where the directory has to end: the first of the records that follow it.
    follows: u64,
    /// Bytes of the comment.
    comment: u64,
}

pub(super) fn scan<R: Read + Seek>(input: &mut R, limits: &Limits) -> Result<Scan, Fault> {
    let length = input.seek(SeekFrom::End(0)).map_err(unreadable)?;
    if length > limits.file {
        return Err(LimitPassed::File(limits.file).into());
    }
    let end = find_end(input, length)?;
    if end.entries > limits.members {
        return Err(LimitPassed::Members(limits.members).into());
    }
    let directory_end = end.directory.checked_add(end.size);
    if directory_end.is_none_or(|at| at > end.follows) {
        return Err(Fault::broken("the central directory does not fit into the file"));
    }
    let mut entries = read_directory(input, &end, limits)?;
    let mut dead_bytes = end.comment + (end.follows - end.directory - end.size);

    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| entries[*at].offset);
    let mut free = 0;
    for at in order {
        let entry = &mut entries[at];
        let start = entry.offset;
        let overlaps = || Fault::broken("members overlap").in_member(&entry.name);
        dead_bytes += start.checked_sub(free).ok_or_else(overlaps)?;
        if start >= end.directory {
            return Err(
                Fault::broken("a member lies behind the central directory").in_member(&entry.name)
            );
        }
        let header = local_header(input, entry).map_err(|f| f.in_member(&entry.name))?;
        entry.offset = start + header;
        let data_end = entry.offset.checked_add(entry.compressed);
        free = data_end.filter(|end_of_data| *end_of_data <= end.directory).ok_or_else(|| {
            Fault::broken("a member reaches into the central directory").in_member(&entry.name)
        })?;
        if entry.descriptor {
            free += descriptor(input, entry, free, end.directory)?;
        }
    }
    dead_bytes += end.directory - free;
    Ok(Scan { entries, dead_bytes })
}

fn read_at<R: Read + Seek>(input: &mut R, at: u64, bytes: &mut [u8]) -> Result<(), Fault> {
    input.seek(SeekFrom::Start(at)).map_err(unreadable)?;
    input.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Fault::broken("the archive ends too early"),
        _ => unreadable(error),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Section 4.3.16, and 4.3.14 and 4.3.15 where a field of it is full.
fn find_end<R: Read + Seek>(input: &mut R, length: u64) -> Result<End, Fault> {
    let tail_length = length.min((END + usize::from(u16::MAX)) as u64);
    let mut tail = vec![0; usize::try_from(tail_length).expect("at most 65,557")];
    read_at(input, length - tail_length, &mut tail)?;
    // The last signature whose comment ends where the file does.
    let start = (0..(tail.len() + 1).saturating_sub(END)).rev().find(|at| {
        tail[*at..].starts_with(b"PK\x05\x06")
            && at + END + usize::from(u16_at(&tail, at + 20)) == tail.len()
    });
    let start = start.ok_or_else(|| Fault::broken("no end of central directory"))?;
    let record = &tail[start..];
    let at = length - tail_length + start as u64;
    let [disk, directory_disk, here, entries] = [4, 6, 8, 10].map(|from| u16_at(record, from));
    let [size, directory] = [12, 16].map(|from| u32_at(record, from));
    let comment = u64::from(u16_at(record, 20));
    let plain = End {
        entries: entries.into(),
        directory: directory.into(),
        size: size.into(),
        follows: at,
        comment,
    };

    let mut locator = [0; LOCATOR as usize];
    let has_locator = at >= LOCATOR && {
        read_at(input, at - LOCATOR, &mut locator)?;
        locator.starts_with(b"PK\x06\x07")
    };
    let full16 = [disk, directory_disk, here, entries].contains(&u16::MAX);
    if !has_locator {
        if full16 || [size, directory].contains(&u32::MAX) {
            return Err(Fault::broken("ZIP64 records are missing"));
        }
        if disk != 0 || directory_disk != 0 {
            return Err(Fault::new(Code::ContainerMethod, "the archive has several disks"));
        }
        if here != entries {
            return Err(Fault::broken("the end of central directory has two numbers of entries"));
        }
        return Ok(plain);
    }

    let at64 = u64_at(&locator, 8);
    if u32_at(&locator, 4) != 0 || u32_at(&locator, 16) > 1 {
        return Err(Fault::new(Code::ContainerMethod, "the archive has several disks"));
    }
    if at64.checked_add(END64).is_none_or(|end| end > at - LOCATOR) {
        return Err(Fault::broken("the ZIP64 end of central directory lies elsewhere"));
    }
    let mut record = [0; END64 as usize];
    read_at(input, at64, &mut record)?;
    let size_field = u64_at(&record, 4);
    // The size is anything below 2^64.
    let ends = size_field.checked_add(at64 + 12) == Some(at - LOCATOR);
    if !record.starts_with(b"PK\x06\x06") || !ends {
        return Err(Fault::broken("the ZIP64 end of central directory lies elsewhere"));
    }
    let (here64, entries64) = (u64_at(&record, 24), u64_at(&record, 32));
    let (size64, directory64) = (u64_at(&record, 40), u64_at(&record, 48));
    if u32_at(&record, 16) != 0 || u32_at(&record, 20) != 0 {
        return Err(Fault::new(Code::ContainerMethod, "the archive has several disks"));
    }
    // A reader that ignores ZIP64 must not see another archive.
    let agrees16 = |short: u16, long: u64| short == u16::MAX || u64::from(short) == long;
    let agrees32 = |short: u32, long: u64| short == u32::MAX || u64::from(short) == long;
    let agree = here64 == entries64
        && agrees16(here, here64)
        && agrees16(entries, entries64)
        && agrees32(size, size64)
        && agrees32(directory, directory64);
    if !agree {
        return Err(Fault::broken("the two ends of the central directory disagree"));
    }
    Ok(End { entries: entries64, directory: directory64, size: size64, follows: at64, ..plain })
}

/// Section 4.3.12. The entries must fill the directory exactly.
fn read_directory<R: Read + Seek>(
    input: &mut R,
    end: &End,
    limits: &Limits,
) -> Result<Vec<Entry>, Fault> {
    input.seek(SeekFrom::Start(end.directory)).map_err(unreadable)?;
    let mut input = BufReader::with_capacity(64 << 10, input.take(end.size));
    let mut read = |bytes: &mut [u8]| {
        input.read_exact(bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Fault::broken("fewer members than the end of central directory says")
            }
            _ => unreadable(error),
        })
    };
    let mut entries = Vec::new();
    let mut used = 0;
    let mut total: u64 = 0;
    for _ in 0..end.entries {
        let mut header = [0; CENTRAL];
        read(&mut header)?;
        if !header.starts_with(b"PK\x01\x02") {
            return Err(Fault::broken("an entry of the central directory has no signature"));
        }
        let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(&header, at)));
        if name as u64 > limits.name {
            return Err(LimitPassed::Name(limits.name).into());
        }
        let mut texts = vec![0; name + extra + comment];
        read(&mut texts)?;
        used += (CENTRAL + texts.len()) as u64;
        let entry = entry(&header, &texts[..name], &texts[name..name + extra])?;

        if entry.size > limits.member {
            return Err(Fault::from(LimitPassed::Member(limits.member)).in_member(&entry.name));
        }
        // Both are at most 2^64 - 1 and the product is compared in 128 bits.
        let allowed = u128::from(entry.compressed) * u128::from(limits.ratio);
        if entry.size > RATIO_FROM && u128::from(entry.size) > allowed {
            return Err(Fault::from(LimitPassed::Ratio(limits.ratio)).in_member(&entry.name));
        }
        total = total.saturating_add(entry.size);
        if total > limits.total {
            return Err(LimitPassed::Total(limits.total).into());
        }
        entries.push(entry);
    }
    if used != end.size {
        return Err(Fault::broken("more members than the end of central directory says"));
    }
    Ok(entries)
}

fn entry(header: &[u8; CENTRAL], name: &[u8], extra: &[u8]) -> Result<Entry, Fault> {
    let name = std::str::from_utf8(name)
        .map_err(|_| Fault::broken("a member's name is not UTF-8"))?
        .to_owned();
    if name.contains('\0') || name.split('/').any(|part| part == "..") {
        return Err(LimitPassed::NameForm.into());
    }
    let fail = |fault: Fault| fault.in_member(&name);
    let flags = u16_at(header, 8);
    // Bits 0, 6 and 13: encrypted, strongly encrypted, masked local headers.
    if flags & (1 | 1 << 6 | 1 << 13) != 0 {
        return Err(fail(Fault::new(Code::ContainerMethod, "the member is encrypted")));
    }
    let method = method(u16_at(header, 10)).map_err(fail)?;
    let mut sizes = [u32_at(header, 24), u32_at(header, 20), u32_at(header, 42)].map(u64::from);
    let disk = zip64(extra, &mut sizes, u16_at(header, 34)).map_err(fail)?;
    if disk != 0 {
        return Err(fail(Fault::new(Code::ContainerMethod, "the archive has several disks")));
    }
    let [size, compressed, offset] = sizes;
    if method == Method::Stored && size != compressed {
        return Err(fail(Fault::broken("a stored member has two sizes")));
    }
    Ok(Entry {
        size,
        method,
        crc: u32_at(header, 16),
        compressed,
        offset,
        descriptor: flags & 1 << 3 != 0,
        name,
    })
}

fn method(number: u16) -> Result<Method, Fault> {
    match number {
        0 => Ok(Method::Stored),
        8 => Ok(Method::Deflate),
        93 => Ok(Method::Zstd),
        _ => Err(Fault::new(Code::ContainerMethod, format!("compression method {number}"))),
    }
}

/// Section 4.5.3: the fields that are full in the header, in this order. Returns the disk.
fn zip64(extra: &[u8], sizes: &mut [u64; 3], disk: u16) -> Result<u32, Fault> {
    let malformed = || Fault::broken("a malformed extra field");
    let mut rest = extra;
    let mut found = None;
    while !rest.is_empty() {
        let head = rest.get(..4).ok_or_else(malformed)?;
        let body = rest.get(4..4 + usize::from(u16_at(head, 2))).ok_or_else(malformed)?;
        if u16_at(head, 0) == 1 && found.replace(body).is_some() {
            return Err(Fault::broken("two ZIP64 extra fields"));
        }
        rest = &rest[4 + body.len()..];
    }
    let mut body = found.unwrap_or(&[]);
    let missing = || Fault::broken("a ZIP64 extra field lacks a size");
    for size in sizes {
        if *size == u64::from(u32::MAX) {
            *size = u64_at(body.get(..8).ok_or_else(missing)?, 0);
            body = &body[8..];
        }
    }
    if disk != u16::MAX {
        return Ok(disk.into());
    }
    Ok(u32_at(body.get(..4).ok_or_else(missing)?, 0))
}

/// Section 4.3.7. Returns the header's length.
fn local_header<R: Read + Seek>(input: &mut R, entry: &Entry) -> Result<u64, Fault> {
    let mut header = [0; LOCAL as usize];
    read_at(input, entry.offset, &mut header)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(Fault::broken("no local header where the central directory says"));
    }
    let differs = || Fault::broken("local header and central directory disagree");
    let flags = u16_at(&header, 6);
    if flags & (1 | 1 << 6 | 1 << 13) != 0 {
        return Err(Fault::new(Code::ContainerMethod, "the member is encrypted"));
    }
    let descriptor = flags & 1 << 3 != 0;
    if method(u16_at(&header, 8))? != entry.method || descriptor != entry.descriptor {
        return Err(differs());
    }
    let [name, extra] = [26, 28].map(|at| usize::from(u16_at(&header, at)));
    if name != entry.name.len() {
        return Err(differs());
    }
    let mut local_name = vec![0; name];
    read_at(input, entry.offset + LOCAL, &mut local_name)?;
    if local_name != entry.name.as_bytes() {
        return Err(differs());
    }
    // A writer that streams leaves full sizes behind and puts the true ones into the central
    // directory alone; where the local header has sizes, they must be the same.
    let [compressed, size] = [18, 22].map(|at| u32_at(&header, at));
    let streamed = descriptor || compressed == u32::MAX || size == u32::MAX;
    let same = u64::from(compressed) == entry.compressed
        && u64::from(size) == entry.size
        && u32_at(&header, 14) == entry.crc;
    if !streamed && !same {
        return Err(differs());
    }
    Ok(LOCAL + (name + extra) as u64)
}

/// Section 4.3.9: length of the data descriptor at `at`, with or without signature, with sizes
/// of 4 or 8 bytes.
fn descriptor<R: Read + Seek>(
    input: &mut R,
    entry: &Entry,
    at: u64,
    directory: u64,
) -> Result<u64, Fault> {
    let available = (directory - at).min(24);
    let mut bytes = vec![0; usize::try_from(available).expect("at most 24")];
    read_at(input, at, &mut bytes)?;
    let crc = entry.crc.to_le_bytes();
    let (size, compressed) = (entry.size.to_le_bytes(), entry.compressed.to_le_bytes());
    for signature in [b"PK\x07\x08".as_slice(), b""] {
        for width in [8, 4] {
            let whole = [signature, &crc, &compressed[..width], &size[..width]].concat();
            if bytes.starts_with(&whole) {
                return Ok(whole.len() as u64);
            }
        }
    }
    Err(Fault::broken("no data descriptor where one belongs").in_member(&entry.name))
}
