//! Changes of bytes that know nothing of their meaning.

use super::Tokens;
use crate::random::Random;

/// What trips parsers of any format: numbers at the ends of their ranges, characters that look
/// like others or like nothing, bytes that are no UTF-8.
pub(super) const TROUBLE: &[&[u8]] = &[
    b"0",
    b"-0",
    b"-1",
    b"00",
    b"+1",
    b"1e9",
    b"1e-400",
    b"9007199254740991",
    b"9007199254740992",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"\n",
    b"\n\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\0",
    b"\x7f",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x80\0\0\0\0\0\0\0",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\xc2\x85",
    b"\xc2\xa0",
    b"\xe2\x80\xae",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b"e\xcc\x81",
    b"=",
    b"==",
    b"+",
    b"/",
    b"\\",
    b"\"",
];

/// An input that owes nothing to a seed but the words of its format.
pub(super) fn noise(random: &mut Random, tokens: &Tokens) -> Vec<u8> {
    let mut noise = Vec::new();
    for _ in 0..random.below(24) {
        match random.below(3) {
            0 => noise.extend((0..random.below(12)).map(|_| random.byte()).collect::<Vec<_>>()),
            1 => noise.extend(random.pick(&tokens.0)),
            _ => noise.extend(
                (0..random.below(8)).map(|_| 0x20 + random.byte() % 0x5f).collect::<Vec<_>>(),
            ),
        }
    }
    noise
}

/// One change. `other` lends pieces.
pub(super) fn change(bytes: &mut Vec<u8>, other: &[u8], tokens: &Tokens, random: &mut Random) {
    let length = bytes.len();
    let at = random.below(length + 1);
    let within = random.below(length);
    let span = |random: &mut Random, from: usize, of: usize| {
        let longest = if random.once_in(8) { of } else { of.min(48) };
        from..(from + 1 + random.below(longest)).min(of)
    };
    match random.below(if length == 0 { 2 } else { 14 }) {
        0 => insert(bytes, at, random.pick(&tokens.0).as_slice()),
        1 => {
            let from = random.below(other.len());
            let piece = other[span(random, from, other.len())].to_vec();
            insert(bytes, at, &piece);
        }
        2 => bytes[within] ^= 1 << random.below(8),
        3 => bytes[within] = random.byte(),
        4 => bytes[within] = bytes[within].wrapping_add(if random.once_in(2) { 1 } else { 255 }),
        5 => {
            let token = random.pick(&tokens.0);
            let end = (within + token.len()).min(length);
            bytes.splice(within..end, token.iter().copied());
        }
        6 => drop(bytes.drain(span(random, within, length))),
        7 => {
            let piece = bytes[span(random, within, length)].to_vec();
            insert(bytes, at, &piece);
        }
        8 => {
            let piece = bytes[span(random, within, length)].to_vec();
            let copies = 1 + random.below(if piece.len() < 4 { 400 } else { 20 });
            insert(bytes, at, &piece.repeat(copies));
        }
        9 => bytes.truncate(within),
        10 => number(bytes, within, random),
        11 => integer(bytes, within, random),
        12 => {
            let (a, b) = (span(random, within, length), random.below(length));
            let piece = bytes[a.clone()].to_vec();
            let end = (b + piece.len()).min(length);
            bytes.splice(b..end, piece);
        }
        _ => {
            // The head of this and the tail of the other.
            let tail = other[random.below(other.len())..].to_vec();
            bytes.truncate(within);
            bytes.extend(tail);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

/// Spellings of numbers that are one too many, or another spelling of the same.
const NUMBERS: [&str; 14] = [
    "0",
    "1",
    "2",
    "255",
    "256",
    "65535",
    "65536",
    "1048576",
    "1048577",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775808",
    "18446744073709551615",
    "007",
];

/// Replaces the next run of digits.
fn number(bytes: &mut Vec<u8>, from: usize, random: &mut Random) {
    let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) else {
        return;
    };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = random.pick(&NUMBERS).as_bytes().to_vec();
    bytes.splice(start..start + length, digits);
}

/// Overwrites a binary integer of two, four or eight bytes in either order: with an end of its
/// range, a neighbour of what it was, or the number of bytes that follow.
fn integer(bytes: &mut [u8], at: usize, random: &mut Random) {
    let width = *random.pick(&[2_usize, 4, 8]);
    let rest = bytes.len() - at;
    let Some(field) = bytes.get_mut(at..at + width) else { return };
    let big = random.once_in(2);
    let old = field.iter().enumerate().fold(0_u64, |number, (place, byte)| {
        let shift = 8 * if big { width - 1 - place } else { place };
        number | u64::from(*byte) << shift
    });
    let new = match random.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => old.wrapping_add(1),
        3 => old.wrapping_sub(1),
        4 => (rest - width) as u64,
        _ => 1 << random.below(64),
    };
    for (place, byte) in field.iter_mut().enumerate() {
        let shift = 8 * if big { width - 1 - place } else { place };
        *byte = (new >> shift) as u8;
    }
}
