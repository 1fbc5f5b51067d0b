//! JSON as a tree that can be wrong: doubled members, odd spellings, numbers of any text.

use json::{Rules, Value};

use super::text;
use crate::random::Random;

/// A JSON value whose writer does not mind what it writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`, `true`, a number, or anything that should stand where those do.
    Raw(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    List(Vec<Self>),
    /// An object; names may repeat.
    Object(Vec<(String, Self)>),
}

/// Names that turn up where nobody expects them.
const NAMES: [&str; 8] = ["", "unknown", "id", "name", "value", "~", "a/b", "\u{202e}x"];

const RAW: [&str; 22] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "2",
    "-0",
    "0.5",
    "1.0",
    "1e0",
    "1E+2",
    "1e999",
    "1e-999",
    "NaN",
    "-Infinity",
    "4294967296",
    "9007199254740991",
    "9007199254740992",
    "18446744073709551615",
    "340282366920938463463374607431768211456",
    "0.1000000000000000055511151231257827021181583404541015625",
];

impl Tree {
    /// Reads a document; nothing if it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        json::parse(bytes, Rules::LOG).ok().map(|value| Self::of(&value))
    }

    /// Reads a document, or one on each line; nothing if it is neither.
    pub fn parse_lines(bytes: &[u8]) -> Option<Vec<Self>> {
        if let Some(tree) = Self::parse(bytes) {
            return Some(vec![tree]);
        }
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(Self::parse).collect()
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(elements) => Self::List(elements.iter().map(Self::of).collect()),
            Value::Object(object) => {
                let members = object.iter().map(|(name, value)| (name.to_owned(), Self::of(value)));
                Self::Object(members.collect())
            }
            scalar => Self::Raw(scalar.to_text()),
        }
    }

    /// The value behind these names and, in lists, places.
    pub fn at_mut(&mut self, path: &[&str]) -> Option<&mut Self> {
        path.iter().try_fold(self, |tree, name| match tree {
            Self::Object(members) => {
                members.iter_mut().find(|(n, _)| n == name).map(|(_, value)| value)
            }
            Self::List(elements) => elements.get_mut(name.parse::<usize>().ok()?),
            _ => None,
        })
    }

    fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match self {
            Self::List(elements) => Box::new(elements.iter()),
            Self::Object(members) => Box::new(members.iter().map(|(_, value)| value)),
            _ => Box::new(std::iter::empty()),
        }
    }

    fn nodes(&self) -> usize {
        1 + self.children().map(Self::nodes).sum::<usize>()
    }

    fn node(&self, at: &mut usize) -> Option<&Self> {
        if *at == 0 {
            return Some(self);
        }
        *at -= 1;
        self.children().find_map(|child| child.node(at))
    }

    fn node_mut(&mut self, at: &mut usize) -> Option<&mut Self> {
        if *at == 0 {
            return Some(self);
        }
        *at -= 1;
        match self {
            Self::List(elements) => elements.iter_mut().find_map(|child| child.node_mut(at)),
            Self::Object(members) => members.iter_mut().find_map(|(_, child)| child.node_mut(at)),
            _ => None,
        }
    }

    /// Changes one node somewhere in the tree.
    pub(super) fn change(&mut self, donors: &[Self], random: &mut Random) {
        let mut at = random.below(self.nodes());
        let Some(node) = self.node_mut(&mut at) else { return };
        if random.once_in(12) {
            *node = node.replacement(donors, random);
            return;
        }
        match node {
            Self::Raw(raw) => *raw = (*random.pick(&RAW)).to_owned(),
            Self::Text(text) => text::change(text, random),
            Self::List(elements) => change_list(elements, random),
            Self::Object(members) => change_members(members, donors, random),
        }
    }

    /// Another value for this node: a part of some document, or one of another type.
    fn replacement(&self, donors: &[Self], random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Raw((*random.pick(&RAW)).to_owned()),
            1 => Self::Text(String::new()),
            2 => Self::List(Vec::new()),
            3 => Self::Object(Vec::new()),
            4 => Self::List(vec![self.clone()]),
            5 => (0..random.below(140)).fold(self.clone(), |inner, _| Self::List(vec![inner])),
            _ if donors.is_empty() => Self::Raw("7".to_owned()),
            _ => {
                let donor = random.pick(donors);
                let mut at = random.below(donor.nodes());
                donor.node(&mut at).unwrap_or(donor).clone()
            }
        }
    }

    /// The document, in the compact spelling most often.
    pub fn write(&self, random: &mut Random) -> String {
        let spelling = match random.below(24) {
            0 => Spelling::Spaced,
            1 => Spelling::Escaped,
            _ => Spelling::Compact,
        };
        let mut out = String::new();
        self.push(spelling, &mut out);
        out
    }

    /// The document in the compact spelling.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.push(Spelling::Compact, &mut out);
        out
    }

    fn push(&self, spelling: Spelling, out: &mut String) {
        let space = if spelling == Spelling::Spaced { " \n\t" } else { "" };
        match self {
            Self::Raw(raw) => out.push_str(raw),
            Self::Text(text) => push_text(text, spelling, out),
            Self::List(elements) => {
                out.push('[');
                for (place, element) in elements.iter().enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    out.push_str(space);
                    element.push(spelling, out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (place, (name, value)) in members.iter().enumerate() {
                    out.push_str(if place > 0 { "," } else { "" });
                    push_text(name, spelling, out);
                    out.push_str(space);
                    out.push(':');
                    value.push(spelling, out);
                    out.push_str(space);
                }
                out.push('}');
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Compact,
    /// White space wherever it may stand.
    Spaced,
    /// Every character as `\u`.
    Escaped,
}

fn push_text(text: &str, spelling: Spelling, out: &mut String) {
    if spelling != Spelling::Escaped {
        return out.push_str(&Value::from(text).to_text());
    }
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04X}"));
    }
    out.push('"');
}

fn change_list(elements: &mut Vec<Tree>, random: &mut Random) {
    if elements.is_empty() {
        return elements.push(Tree::Raw((*random.pick(&RAW)).to_owned()));
    }
    let at = random.below(elements.len());
    match random.below(6) {
        0 => drop(elements.remove(at)),
        1 => elements.insert(at, elements[at].clone()),
        2 => {
            let to = random.below(elements.len());
            elements.swap(at, to);
        }
        3 => elements.clear(),
        4 => {
            let most = if random.once_in(16) { 600 } else { 12 };
            let copies = random.below(most);
            let element = elements[at].clone();
            elements.splice(at..at, std::iter::repeat_n(element, copies));
        }
        _ => elements.truncate(at),
    }
}

fn change_members(members: &mut Vec<(String, Tree)>, donors: &[Tree], random: &mut Random) {
    let stray = |random: &mut Random| {
        let value = Tree::Raw(String::new()).replacement(donors, random);
        let value =
            if value == Tree::Raw(String::new()) { Tree::Raw("1".to_owned()) } else { value };
        ((*random.pick(&NAMES)).to_owned(), value)
    };
    if members.is_empty() {
        return members.push(stray(random));
    }
    let at = random.below(members.len());
    match random.below(8) {
        0 | 1 => drop(members.remove(at)),
        2 => members.insert(at, members[at].clone()),
        3 => {
            let to = random.below(members.len());
            members.swap(at, to);
        }
        4 => {
            // The value of one member under the name of another.
            let from = random.below(members.len());
            members[at].1 = members[from].1.clone();
        }
        5 => members.insert(at, stray(random)),
        6 => text::change(&mut members[at].0, random),
        _ => {
            let most = if random.once_in(32) { 80 } else { 4 };
            let copies = random.below(most);
            let (name, value) = members[at].clone();
            members.extend((0..copies).map(|n| (format!("{name}{n}"), value.clone())));
        }
    }
}
