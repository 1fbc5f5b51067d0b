//! Changes of lines of words: notes, policies, receipts, paths.

use super::text;
use crate::random::Random;

/// Lines with what ends them.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// One change. `other` lends lines.
pub(super) fn change(lines: &mut Vec<String>, other: &[String], random: &mut Random) {
    if lines.is_empty() {
        lines.extend(other.first().cloned());
        return;
    }
    let at = random.below(lines.len());
    match random.below(12) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let to = random.below(lines.len());
            lines.swap(at, to);
        }
        3 if !other.is_empty() => lines.insert(at, random.pick(other).clone()),
        4 => lines.insert(at, "\n".to_owned()),
        5 => {
            let copies = random.below(80);
            let line = lines[at].clone();
            lines.splice(at..at, std::iter::repeat_n(line, copies));
        }
        6 => text::change(&mut lines[at], random),
        _ => word(&mut lines[at], random),
    }
}

/// Changes one word, and seldom what parts words.
fn word(line: &mut String, random: &mut Random) {
    let parts = *random.pick(&[' ', ' ', '+', '/']);
    let mut words: Vec<String> = line.split(parts).map(str::to_owned).collect();
    let at = random.below(words.len());
    match random.below(8) {
        0 => drop(words.remove(at)),
        1 => words.insert(at, words[at].clone()),
        2 => words.reverse(),
        _ => {
            let newline = words[at].ends_with('\n');
            let mut word = words[at].trim_end_matches('\n').to_owned();
            text::change(&mut word, random);
            words[at] = word + if newline { "\n" } else { "" };
        }
    }
    *line = words.join(if parts == '/' {
        "/"
    } else if parts == '+' {
        "+"
    } else {
        " "
    });
}
