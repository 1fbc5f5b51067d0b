//! SQLite's write-ahead log (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>), as far
//! as one must read it to know which pages it holds and where it was damaged. SQLite takes the
//! first frame that does not add up for the end, so a flipped bit in one would silently take back
//! every commit from there on.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// Where the log of a database lies.
pub(crate) fn path_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    PathBuf::from(path)
}

/// A place in one generation of the log: after its header and some whole frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    page: usize,
    salts: [u8; 8],
    frames: u32,
    sum: Sum,
}

/// The sum that a frame says of itself and of all before it.
pub(crate) type FrameSum = [u8; 8];

/// What a frame says, whether or not it adds up.
pub(crate) fn sum_of(frame: &[u8]) -> FrameSum {
    frame[16..FRAME_HEADER].try_into().expect("eight bytes were cut out")
}

/// One frame that adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Which page of the database it holds, from 1.
    pub(crate) page: u32,
    /// True if a transaction ends with it.
    pub(crate) commit: bool,
    /// The page.
    pub(crate) bytes: &'a [u8],
}

impl Position {
    /// The first frame, by the header; `None` if that does not add up.
    pub(crate) fn start(header: &[u8; HEADER]) -> Option<Self> {
        let magic = word(header, 0);
        let sum = Sum { big_endian: magic & 1 == 1, state: (0, 0) }.add(&header[..24]);
        let page = word(header, 8) as usize;
        let sound = magic & !1 == MAGIC
            && sum.state == (word(header, 24), word(header, 28))
            && (512..=65_536).contains(&page)
            && page.is_power_of_two();
        let salts = header[16..24].try_into().expect("eight bytes were cut out");
        sound.then_some(Self { page, salts, frames: 0, sum })
    }

    /// How many frames lie before it.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// Where the next frame begins.
    pub(crate) fn offset(&self) -> u64 {
        HEADER as u64 + u64::from(self.frames) * self.frame_length() as u64
    }

    /// Bytes of a frame.
    pub(crate) fn frame_length(&self) -> usize {
        FRAME_HEADER + self.page
    }

    /// True if the frame was written in this generation: else an earlier one left it, and what it
    /// says was copied into the database.
    pub(crate) fn is_current(&self, frame: &[u8]) -> bool {
        frame[8..16] == self.salts
    }

    /// True if the next frame's own checksum is right, whatever its generation.
    pub(crate) fn adds_up(&self, frame: &[u8]) -> bool {
        self.after(frame).state == (word(frame, 16), word(frame, 20))
    }

    /// True if a frame of this generation that ends a transaction adds up after another one, by
    /// what that one says of itself. `before` is the sum that it says.
    pub(crate) fn commits_after(&self, before: FrameSum, frame: &[u8]) -> bool {
        let state = (word(&before, 0), word(&before, 4));
        let position = Self { sum: Sum { state, ..self.sum }, ..*self };
        position.is_current(frame) && position.adds_up(frame) && word(frame, 4) != 0
    }

    /// True if the next frame would add up with one bit changed: so it was whole once, and is
    /// damaged. A frame whose writing was cut short holds bytes of two frames, and no one bit mends
    /// it.
    pub(crate) fn is_one_bit_off(&self, frame: &[u8]) -> bool {
        let said = (word(frame, 16), word(frame, 20));
        let is = self.after(frame).state;
        if (said.0 ^ is.0).count_ones() + (said.1 ^ is.1).count_ones() == 1 {
            return true;
        }
        let wanted = (said.0.wrapping_sub(is.0), said.1.wrapping_sub(is.1));
        self.sum.one_bit_makes(wanted, frame[..8].iter().chain(&frame[FRAME_HEADER..]).copied())
    }

    /// Moves on over a frame of this generation that adds up.
    pub(crate) fn advance<'a>(&mut self, frame: &'a [u8]) -> Option<Frame<'a>> {
        if !self.is_current(frame) || !self.adds_up(frame) || word(frame, 0) == 0 {
            return None;
        }
        self.sum = self.after(frame);
        self.frames += 1;
        let (page, commit) = (word(frame, 0), word(frame, 4) != 0);
        Some(Frame { page, commit, bytes: &frame[FRAME_HEADER..] })
    }

    fn after(&self, frame: &[u8]) -> Sum {
        self.sum.add(&frame[..8]).add(&frame[FRAME_HEADER..])
    }
}

/// What a reader comes upon.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    /// The next frame.
    Frame(Frame<'a>),
    /// Bytes that are not the next frame: damaged, or of an earlier generation.
    Other(&'a [u8]),
    /// The end of the file, or a piece that is not whole.
    End,
}

/// The log as a file that is read frame by frame.
#[derive(Debug)]
pub(crate) struct Reader {
    source: BufReader<File>,
    position: Position,
    frame: Vec<u8>,
}

/// What a reader begins with.
#[derive(Debug)]
pub(crate) enum Opened {
    /// There is no log, or nothing in it.
    Empty,
    /// Its header does not add up.
    Damaged,
    /// It can be read.
    Sound(Reader),
}

impl Reader {
    /// Opens a log at a place that was reached before, or at its beginning if it has a new
    /// generation since.
    pub(crate) fn open(path: &Path, after: Option<Position>) -> io::Result<Opened> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Opened::Empty),
            Err(error) => return Err(error),
        };
        let mut source = BufReader::with_capacity(64 << 10, file);
        let mut header = [0; HEADER];
        match fill(&mut source, &mut header)? {
            0 => return Ok(Opened::Empty),
            HEADER => {}
            _ => return Ok(Opened::Damaged),
        }
        let Some(start) = Position::start(&header) else { return Ok(Opened::Damaged) };
        let position = after
            .filter(|after| after.salts == start.salts && after.page == start.page)
            .unwrap_or(start);
        source.seek(SeekFrom::Start(position.offset()))?;
        let frame = vec![0; position.frame_length()];
        Ok(Opened::Sound(Self { source, position, frame }))
    }

    /// The place after the frames that were read.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next piece of the length of a frame. After one that is no frame of this generation only
    /// such pieces follow: SQLite does not read on, and neither does the position move.
    pub(crate) fn next(&mut self) -> io::Result<Piece<'_>> {
        if fill(&mut self.source, &mut self.frame)? < self.frame.len() {
            return Ok(Piece::End);
        }
        Ok(match self.position.advance(&self.frame) {
            Some(frame) => Piece::Frame(frame),
            None => Piece::Other(&self.frame),
        })
    }
}

/// Reads until the buffer is full or the source ends.
pub(crate) fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut out"))
}

/// The running checksum, over words in the byte order that the magic number names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum {
    big_endian: bool,
    state: (u32, u32),
}

impl Sum {
    fn add(self, bytes: &[u8]) -> Self {
        let (mut a, mut b) = self.state;
        let read = |word: &[u8; 4]| {
            if self.big_endian { u32::from_be_bytes(*word) } else { u32::from_le_bytes(*word) }
        };
        let (words, _) = bytes.as_chunks::<4>();
        for pair in words.chunks_exact(2) {
            a = a.wrapping_add(read(&pair[0])).wrapping_add(b);
            b = b.wrapping_add(read(&pair[1])).wrapping_add(a);
        }
        Self { state: (a, b), ..self }
    }

    /// True if changing one bit of these bytes moves their sum by `wanted`. The sum is linear: what
    /// a word adds to it depends on nothing but the number of words that follow.
    fn one_bit_makes(self, wanted: (u32, u32), bytes: impl DoubleEndedIterator<Item = u8>) -> bool {
        let mut backwards = bytes.rev();
        // How often the sum counts a word: the second of the last pair, and the first.
        let (mut second, mut first) = ((0_u32, 1_u32), (1_u32, 1_u32));
        let mut is_second = true;
        while let (Some(d), Some(c), Some(b), Some(a)) =
            (backwards.next(), backwards.next(), backwards.next(), backwards.next())
        {
            let word = [a, b, c, d];
            let value =
                if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) };
            let counted = if is_second { &mut second } else { &mut first };
            for bit in (0..32).map(|bit| 1 << bit) {
                let change = if value & bit == 0 { bit } else { bit.wrapping_neg() };
                if (counted.0.wrapping_mul(change), counted.1.wrapping_mul(change)) == wanted {
                    return true;
                }
            }
            // One more pair follows: a += b, b += a.
            let a = counted.0.wrapping_add(counted.1);
            *counted = (a, counted.1.wrapping_add(a));
            is_second = !is_second;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of 512 bytes of page, as SQLite would write it first.
    fn frame(big_endian: bool) -> (Position, Vec<u8>) {
        let sum = Sum { big_endian, state: (0x0123_4567, 0xfedc_ba98) };
        let position = Position { page: 512, salts: *b"saltsalt", frames: 0, sum };
        let mut frame: Vec<u8> = (0..512 + 24_u32).map(|i| (i * i % 251) as u8).collect();
        frame[8..16].copy_from_slice(b"saltsalt");
        let (a, b) = position.after(&frame).state;
        frame[16..20].copy_from_slice(&a.to_be_bytes());
        frame[20..24].copy_from_slice(&b.to_be_bytes());
        (position, frame)
    }

    #[test]
    fn each_flipped_bit_of_a_frame_is_known_as_one() {
        for big_endian in [false, true] {
            let (position, frame) = frame(big_endian);
            assert!(position.adds_up(&frame));
            for bit in (0..8 * frame.len()).filter(|bit| !(64..128).contains(bit)) {
                let mut flipped = frame.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!position.adds_up(&flipped) && position.is_one_bit_off(&flipped), "{bit}");
            }
        }
    }

    #[test]
    fn frame_that_was_cut_short_is_not_taken_for_a_flipped_bit() {
        let (position, frame) = frame(false);
        for whole in [24, 25, 100, 400, 530] {
            let mut torn = frame.clone();
            torn[whole..].iter_mut().for_each(|byte| *byte = byte.wrapping_add(3));
            assert!(!position.is_one_bit_off(&torn), "{whole} bytes of it");
            torn[whole..].fill(0);
            assert!(!position.is_one_bit_off(&torn), "{whole} bytes of it, then zeros");
        }
    }
}
