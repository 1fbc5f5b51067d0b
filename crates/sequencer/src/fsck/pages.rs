//! The files of the database as bytes: every page against its sum, every frame of the write-ahead
//! log against the chain of checksums, and what of them holds nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::finding::{FolderFinding, MAX_FINDINGS, Remedy};
use crate::file::database::NAME;
use crate::file::sums::{self, NO_SUM, PageSum, page_sum};
use crate::file::wal::{self, FrameSum, Opened, Piece, Position, fill};
use crate::store::StoreError;

/// What the write-ahead log holds.
#[derive(Debug, Default)]
pub(super) struct Wal {
    /// Pages of committed transactions: for them it counts, not the database.
    pub(super) pages: BTreeSet<u32>,
    /// False if there is none, or an empty one.
    pub(super) there: bool,
}

impl Wal {
    /// Reads the write-ahead log to its end. What follows the last whole transaction was never
    /// acknowledged: a killed process leaves it.
    pub(super) fn read(path: &Path, found: &mut Vec<FolderFinding>) -> Result<Self, StoreError> {
        let wrong = || StoreError::io(path);
        let name = format!("{NAME}-wal");
        let mut reader = match wal::Reader::open(path, None).map_err(wrong())? {
            Opened::Empty => return Ok(Self::default()),
            Opened::Damaged => {
                let problem = "does not add up: opening the log would drop all that follows";
                let place = format!("header, bytes 0 to {}", wal::HEADER - 1);
                found.push(FolderFinding::damage(name, problem, Remedy::Compare).at(place));
                return Ok(Self { there: true, ..Self::default() });
            }
            Opened::Sound(reader) => reader,
        };
        let length = path.metadata().map_err(wrong())?.len();
        let (mut pages, mut pending) = (BTreeSet::new(), BTreeSet::new());
        let mut committed = reader.position();
        loop {
            let before = reader.position();
            match reader.next().map_err(wrong())? {
                Piece::End => break,
                Piece::Frame(frame) => {
                    pending.insert(frame.page);
                    if frame.commit {
                        pages.append(&mut pending);
                        committed = reader.position();
                    }
                }
                Piece::Other(piece) => {
                    let damaged = Self::was_whole(before, piece)
                        || Self::is_followed_by_a_commit(wal::sum_of(piece), before, &mut reader)
                            .map_err(wrong())?;
                    if damaged {
                        let end = before.offset() + before.frame_length() as u64 - 1;
                        let place = format!(
                            "frame {}, bytes {} to {end}",
                            before.frames() + 1,
                            before.offset()
                        );
                        let problem = "does not add up: it is damaged, or the machine lost power \
                                       while it was written; opening the log would drop it and \
                                       what follows";
                        found
                            .push(FolderFinding::damage(&name, problem, Remedy::Compare).at(place));
                    }
                    break;
                }
            }
        }
        if committed.offset() < length {
            let place = format!("bytes {} to {}", committed.offset(), length - 1);
            let problem = "hold nothing: they are of transactions that were copied into the \
                           database, or never came to their end";
            found.push(FolderFinding::leftover(name, problem).at(place));
        }
        Ok(Self { pages, there: true })
    }

    /// True if the first frame that does not add up did so once. Else it is of an earlier
    /// generation, or a killed process left it: unfinished, or before others that it never
    /// committed and of which the next process wrote over the first.
    fn was_whole(before: Position, piece: &[u8]) -> bool {
        before.adds_up(piece) || (before.is_current(piece) && before.is_one_bit_off(piece))
    }

    /// True if a transaction ends after that frame. What a killed process leaves has no end, or it
    /// would count.
    fn is_followed_by_a_commit(
        mut sum: FrameSum,
        before: Position,
        reader: &mut wal::Reader,
    ) -> io::Result<bool> {
        loop {
            match reader.next()? {
                Piece::End => return Ok(false),
                Piece::Other(piece) if !before.commits_after(sum, piece) => {
                    sum = wal::sum_of(piece)
                }
                Piece::Frame(_) | Piece::Other(_) => return Ok(true),
            }
        }
    }
}

/// Compares every page of the database with its sum, except those that the write-ahead log has.
/// `declared` is the size of a page by the database's own header.
pub(super) fn check(
    folder: &Path,
    declared: u32,
    wal: &Wal,
    progress: &mut dyn FnMut(u64, u64),
    found: &mut Vec<FolderFinding>,
) -> Result<(), StoreError> {
    let path = folder.join(NAME);
    let wrong = || StoreError::io(&path);
    let Some(mut sums) = Sums::open(folder)? else {
        let problem = format!(
            "is not there: what of {NAME} is in no row is not checked; the next start makes it \
             from the pages as they are"
        );
        found.push(FolderFinding::leftover(sums::NAME, problem));
        return Ok(());
    };
    let file = File::open(&path).map_err(wrong())?;
    let length = file.metadata().map_err(wrong())?.len();
    let mut source = BufReader::with_capacity(1 << 20, file);
    let page = sums.page(&mut source, declared).map_err(wrong())?;
    sums.check(page, found);
    let pages = length / u64::from(page);
    if length % u64::from(page) != 0 {
        let place = format!("bytes {} to {}", pages * u64::from(page), length - 1);
        let problem = format!("are less than a page of {page} bytes");
        found.push(FolderFinding::damage(NAME, problem, Remedy::Database).at(place));
    }
    let mut buffer = vec![0; page as usize];
    for number in 1..=u32::try_from(pages.max(sums.count())).unwrap_or(u32::MAX) {
        if found.len() > MAX_FINDINGS {
            break;
        }
        let there = fill(&mut source, &mut buffer).map_err(wrong())? == buffer.len();
        let sum = sums.next()?;
        if wal.pages.contains(&number) {
            continue;
        }
        let first = u64::from(number - 1) * u64::from(page);
        let place = format!("page {number}, bytes {first} to {}", first + u64::from(page) - 1);
        let finding = match (there, sum) {
            (true, NO_SUM) if buffer.iter().all(|byte| *byte == 0) => None,
            (true, NO_SUM) => Some(FolderFinding::damage(
                NAME,
                format!("was written, but {} has no sum of it", sums::NAME),
                Remedy::Database,
            )),
            (true, sum) => differs(number, &buffer, sum),
            (false, NO_SUM) => None,
            (false, _) => Some(FolderFinding::damage(
                NAME,
                "is not there any more: the file was cut short",
                Remedy::Database,
            )),
        };
        found.extend(finding.map(|finding| match finding.place {
            None => finding.at(place),
            Some(_) => finding,
        }));
        progress(u64::from(number), pages);
    }
    Ok(())
}

/// A page against its sum. If the two sums differ in one bit it is the one kept that was changed:
/// no change of the page would leave the other 63 as they are.
fn differs(number: u32, page: &[u8], kept: PageSum) -> Option<FolderFinding> {
    let is = page_sum(number, page);
    if is == kept {
        return None;
    }
    let bits: u32 = kept.iter().zip(&is).map(|(a, b)| (a ^ b).count_ones()).sum();
    let (kept, is) = (hex::encode(kept), hex::encode(is));
    if bits == 1 {
        let first = sums::HEADER as u64 + 8 * u64::from(number - 1);
        let problem = format!("the sum of page {number} was changed; the page was not");
        let finding = FolderFinding::damage(sums::NAME, problem, Remedy::Database);
        return Some(finding.at(format!("bytes {first} to {}", first + 7)).expected(is, kept));
    }
    let problem = "is not what the log wrote, by its sum";
    Some(FolderFinding::damage(NAME, problem, Remedy::Database).expected(kept, is))
}

/// The sums, read one after the other.
struct Sums {
    source: BufReader<File>,
    path: PathBuf,
    length: u64,
    header: Vec<u8>,
    /// The first one, which is read ahead.
    first: Option<PageSum>,
}

impl Sums {
    /// `None` if there are none.
    fn open(folder: &Path) -> Result<Option<Self>, StoreError> {
        let path = folder.join(sums::NAME);
        let wrong = || StoreError::io(&path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let length = file.metadata().map_err(wrong())?.len();
        let mut source = BufReader::new(file);
        let mut header = vec![0; sums::HEADER];
        let read = fill(&mut source, &mut header).map_err(wrong())?;
        header.truncate(read);
        let mut sums = Self { source, path, length, header, first: None };
        sums.first = Some(sums.next()?);
        Ok(Some(sums))
    }

    /// How many bytes a page has, where the two headers may differ: what the database says if its
    /// first page is whole by that, else what is said here.
    fn page(&self, database: &mut BufReader<File>, declared: u32) -> io::Result<u32> {
        let mut first = vec![0; declared as usize];
        let read = fill(database, &mut first)?;
        database.seek(SeekFrom::Start(0))?;
        let said = self.header.get(20..24).and_then(|bytes| bytes.try_into().ok());
        let said = said.map_or(declared, u32::from_be_bytes);
        let plausible = (512..=65_536).contains(&said) && said.is_power_of_two();
        let whole = self.first == Some(page_sum(1, &first[..read]));
        Ok(if whole || !plausible { declared } else { said })
    }

    fn check(&self, page: u32, found: &mut Vec<FolderFinding>) {
        let expected = sums::header(page);
        if self.header != expected {
            let finding = FolderFinding::damage(sums::NAME, "cannot be right", Remedy::Database)
                .at(format!("header, bytes 0 to {}", sums::HEADER - 1))
                .expected(hex::encode(expected), hex::encode(&self.header));
            found.push(finding);
        } else if !self.length.is_multiple_of(8) {
            let problem = format!("has {} bytes, which ends within a sum", self.length);
            found.push(FolderFinding::damage(sums::NAME, problem, Remedy::Database));
        }
    }

    fn count(&self) -> u64 {
        self.length.saturating_sub(sums::HEADER as u64) / 8
    }

    /// The next sum; zeros after the last one.
    fn next(&mut self) -> Result<PageSum, StoreError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let mut sum = NO_SUM;
        let read = fill(&mut self.source, &mut sum).map_err(StoreError::io(&self.path))?;
        Ok(if read == sum.len() { sum } else { NO_SUM })
    }
}
