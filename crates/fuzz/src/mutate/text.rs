//! Changes of a text by what it seems to hold: hexadecimal digits, base64, a number, words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tree::Tree;
use crate::random::Random;

/// Characters that a check for "visible text" must think of.
const ODD: [&str; 14] = [
    "\u{0}",
    "\u{85}",
    "\u{a0}",
    "\u{61c}",
    "\u{200e}",
    "\u{202e}",
    "\u{2028}",
    "\u{2066}",
    "\u{feff}",
    "e\u{301}",
    "\u{1f600}",
    "+",
    "\"",
    "\n",
];

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "01",
    "0.5",
    "1e3",
    "4",
    "1048577",
    "9007199254740991",
    "9007199254740992",
    "18446744073709551616",
    "NaN",
];

/// One change.
pub(super) fn change(text: &mut String, random: &mut Random) {
    if text.len() >= 8 && random.once_in(2) {
        if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return hexadecimal(text, random);
        }
        if change_base64(text, random) {
            return;
        }
    }
    let at = boundary(text, random);
    match random.below(9) {
        0 => text.clear(),
        1 => {
            let odd: &&str = random.pick(&ODD);
            text.insert_str(at, odd);
        }
        2 => *text = (*random.pick(&NUMBERS)).to_owned(),
        3 => text.truncate(at),
        4 => *text = text.split_off(at),
        5 => {
            let limit = if random.once_in(8) { 1_200 } else { 20 };
            let piece = if text.is_empty() { "a".to_owned() } else { text.clone() };
            let copies = 1 + random.below(limit / piece.len().min(limit));
            text.insert_str(at, &piece.repeat(copies));
        }
        6 => *text = text.to_uppercase(),
        7 => text.push(*random.pick(&[' ', 'a', '0', '=', '/', ':', 'Z'])),
        _ => replace_character(text, random),
    }
}

fn boundary(text: &str, random: &mut Random) -> usize {
    let at = random.below(text.len() + 1);
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn replace_character(text: &mut String, random: &mut Random) {
    let at = boundary(text, random);
    let Some(old) = text[at..].chars().next() else { return };
    let new = char::from(0x20 + random.byte() % 0x5f);
    text.replace_range(at..at + old.len_utf8(), new.encode_utf8(&mut [0; 4]));
}

fn hexadecimal(text: &mut String, random: &mut Random) {
    let at = random.below(text.len());
    match random.below(6) {
        0 => *text = "0".repeat(text.len()),
        1 => *text = "f".repeat(text.len()),
        2 => *text = text.to_uppercase(),
        3 => text.truncate(at),
        4 => text.push_str("00"),
        _ => {
            let digit: &&str = random.pick(&["0", "1", "8", "a", "f", "A", "g"]);
            text.replace_range(at..=at, digit);
        }
    }
}

/// Changes the bytes behind base64, and JSON in them as JSON. False if it is none.
fn change_base64(text: &mut String, random: &mut Random) -> bool {
    let Ok(mut bytes) = STANDARD.decode(text.as_bytes()) else { return false };
    if let Some(mut tree) = (bytes.first() == Some(&b'{')).then(|| Tree::parse(&bytes)).flatten() {
        tree.change(&[], random);
        bytes = tree.write(random).into_bytes();
    } else {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.push(random.byte()),
            2 => bytes.extend_from_within(..),
            3 => bytes.iter_mut().for_each(|byte| *byte = 0),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    *text = STANDARD.encode(bytes);
    true
}
