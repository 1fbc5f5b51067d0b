//! The ZIP archive of an `.eval` log (APPNOTE.TXT 6.3.10), read more strictly than ZIP readers
//! do: they tolerate overlaps, gaps and members of one name, behind which a second log can hide.
//!
//! The central directory is the only source of sizes and positions; local headers must agree
//! with it. Members are [`Stored`](Method::Stored), deflate or zstd, never encrypted.

mod directory;
mod member;

use std::io::{Read, Seek};

use ruzstd::decoding::FrameDecoder;

use crate::fault::Fault;
use crate::{Code, Limits};

pub(crate) use member::Member;

/// How a member is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// 0: as it is.
    Stored,
    /// 8: RFC 1951.
    Deflate,
    /// 93: RFC 8878, one or more frames.
    Zstd,
}

/// One member, as the central directory has it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) size: u64,
    method: Method,
    crc: u32,
    compressed: u64,
    /// Offset of the local header, then, once that is read, of the data.
    offset: u64,
    /// General purpose bit 3: a data descriptor follows the data.
    descriptor: bool,
}

/// A scanned archive. Reading members needs `&mut self`: there is one file position.
pub(crate) struct Archive<R> {
    input: R,
    entries: Vec<Entry>,
    /// How many members a later one of the same name supersedes.
    pub(crate) superseded: u64,
    /// Bytes that no member owns.
    pub(crate) dead_bytes: u64,
    decoder: FrameDecoder,
}

impl<R: Read + Seek> Archive<R> {
    /// Scans the central directory and every local header.
    pub(crate) fn open(
        mut input: R,
        limits: &Limits,
        allow_superseded: bool,
    ) -> Result<Self, Fault> {
        let scan = directory::scan(&mut input, limits)?;
        let mut last = std::collections::BTreeMap::new();
        for (at, entry) in scan.entries.iter().enumerate() {
            last.insert(entry.name.as_str(), at);
        }
        let superseded = (scan.entries.len() - last.len()) as u64;
        if superseded > 0 && !allow_superseded {
            return Err(Fault::new(
                Code::ContainerDuplicateMember,
                format!("{superseded} members are superseded by a later one of the same name"),
            ));
        }
        let keep: Vec<bool> = {
            let mut keep = vec![false; scan.entries.len()];
            last.values().for_each(|at| keep[*at] = true);
            keep
        };
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(limits.zstd_window);
        let mut archive =
            Self { input, entries: scan.entries, superseded, dead_bytes: scan.dead_bytes, decoder };
        // Superseded members are checked like the others, then forgotten.
        for at in (0..keep.len()).filter(|at| !keep[*at]) {
            archive.member(at)?.finish()?;
        }
        let mut kept = keep.iter();
        archive.entries.retain(|_| kept.next().copied().unwrap_or(false));
        Ok(archive)
    }

    /// Members in the order of the central directory; names are distinct.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Index of the member of this name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    /// Begins to read a member.
    pub(crate) fn member(&mut self, at: usize) -> Result<Member<'_, R>, Fault> {
        Member::open(&mut self.input, &mut self.decoder, &self.entries[at])
    }
}

/// Unpacks every member: name and bytes, in the order of the central directory. For fuzzing, and
/// no promise: what a log needs goes through [`import`](crate::import).
#[doc(hidden)]
pub fn unpack(
    archive: &[u8],
    limits: &Limits,
    allow_superseded: bool,
) -> Result<Vec<(String, Vec<u8>)>, crate::Refusal> {
    let read = || -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let mut archive = Archive::open(std::io::Cursor::new(archive), limits, allow_superseded)?;
        let mut members = Vec::new();
        for at in 0..archive.entries().len() {
            let name = archive.entries()[at].name.clone();
            let mut bytes = Vec::new();
            let mut member = archive.member(at)?;
            let read = member.read_to_end(&mut bytes);
            // The failure behind an error of `read` comes from here.
            member.finish()?;
            read.map_err(unreadable)?;
            members.push((name, bytes));
        }
        Ok(members)
    };
    read().map_err(|fault| fault.refusal(None))
}

/// What the operating system says is no part of a log, so it is left out of messages.
fn unreadable(_: std::io::Error) -> Fault {
    Fault::new(Code::LogUnreadable, "the file can't be read")
}
