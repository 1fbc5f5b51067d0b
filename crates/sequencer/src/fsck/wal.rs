//! SQLite's write-ahead log (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>), as far
//! as one must read it to see damage: SQLite takes the first frame that does not add up for the
//! end, so a flipped bit in one would silently take back every commit from there on.

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// What is wrong with a write-ahead log, or `None`. Frames of an earlier generation that follow the
/// current one are not wrong, nor is a last frame that is not whole: a killed process leaves both.
pub(super) fn problem(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let Some((header, frames)) = bytes.split_at_checked(HEADER) else {
        return Some(format!("has {} bytes, less than its header", bytes.len()));
    };
    let magic = word(header, 0);
    let sum = Sum { big_endian: magic & 1 == 1, state: (0, 0) };
    let sum = sum.add(&header[..24]);
    let page = word(header, 8) as usize;
    if magic & !1 != MAGIC || sum.state != (word(header, 24), word(header, 28)) || page < 512 {
        return Some("its header is damaged: opening the log would drop what it holds".to_owned());
    }
    let salts = &header[16..24];
    let size = FRAME_HEADER + page;
    let mut frames = (1..).zip(frames.chunks_exact(size));
    let current = |frame: &[u8]| frame[8..16] == *salts;
    let mut sum = sum;
    for (number, frame) in frames.by_ref() {
        let next = sum.add(&frame[..8]).add(&frame[FRAME_HEADER..]);
        let adds_up = next.state == (word(frame, 16), word(frame, 20));
        if adds_up && current(frame) {
            sum = next;
            continue;
        }
        if adds_up || current(frame) || frames.any(|(_, later)| current(later)) {
            return Some(format!(
                "frame {number} does not add up: it is damaged, or the machine lost power while \
                 it was written; opening the log would drop it and what follows"
            ));
        }
        return None;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes were cut out"))
}

/// The running checksum, over words in the byte order that the magic number names.
#[derive(Clone, Copy)]
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
}
