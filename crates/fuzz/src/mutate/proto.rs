//! Changes of protobuf messages by their wire format: fields with numbers, types and values.

use super::text;
use super::tree::Tree;
use crate::random::Random;

/// One field as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    number: u64,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Vec<u8>),
    Fixed32([u8; 4]),
}

/// Reads a message; nothing if it is none.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(chunk(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (taken, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(taken.to_vec())
            }
            5 => Value::Fixed32(chunk(&mut bytes)?),
            _ => return None,
        };
        fields.push(Field { number: key >> 3, value });
    }
    Some(fields)
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place).min(63);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Writes a message.
pub(super) fn write(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for Field { number, value } in fields {
        let kind = match value {
            Value::Varint(_) => 0,
            Value::Fixed64(_) => 1,
            Value::Bytes(_) => 2,
            Value::Fixed32(_) => 5,
        };
        push_varint(&mut out, number << 3 | kind);
        match value {
            Value::Varint(number) => push_varint(&mut out, *number),
            Value::Fixed64(bytes) => out.extend(bytes),
            Value::Fixed32(bytes) => out.extend(bytes),
            Value::Bytes(bytes) => {
                push_varint(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
        }
    }
    out
}

/// One change.
pub(super) fn change(fields: &mut Vec<Field>, random: &mut Random) {
    if fields.is_empty() {
        let number = 1 + random.below(5) as u64;
        fields.push(Field { number, value: Value::Varint(interesting(random)) });
        return;
    }
    let at = random.below(fields.len());
    match random.below(10) {
        0 => drop(fields.remove(at)),
        1 => fields.insert(at, fields[at].clone()),
        2 => {
            let to = random.below(fields.len());
            fields.swap(at, to);
        }
        3 => fields[at].number = 1 + random.below(6) as u64,
        4 => {
            fields[at].value = match random.below(4) {
                0 => Value::Varint(interesting(random)),
                1 => Value::Fixed64(interesting(random).to_le_bytes()),
                2 => Value::Fixed32([random.byte(); 4]),
                _ => Value::Bytes(vec![random.byte(); random.below(70)]),
            }
        }
        _ => match &mut fields[at].value {
            Value::Varint(number) => *number = interesting(random),
            Value::Fixed64(bytes) => *bytes = interesting(random).to_le_bytes(),
            Value::Fixed32(bytes) => *bytes = [random.byte(); 4],
            Value::Bytes(bytes) => content(bytes, random),
        },
    }
}

fn interesting(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.below(400) as u64,
        1 => 1 << random.below(64),
        2 => u64::MAX >> random.below(64),
        _ => random.number(),
    }
}

/// JSON, a message within the message, text or bytes.
fn content(bytes: &mut Vec<u8>, random: &mut Random) {
    if let Some(mut tree) = (bytes.first() == Some(&b'{')).then(|| Tree::parse(bytes)).flatten() {
        tree.change(&[], random);
        *bytes = tree.write(random).into_bytes();
    } else if let Some(mut fields) = parse(bytes).filter(|f| !f.is_empty() && !random.once_in(4)) {
        change(&mut fields, random);
        *bytes = write(&fields);
    } else if let Some(mut text) = std::str::from_utf8(bytes).ok().map(str::to_owned) {
        text::change(&mut text, random);
        *bytes = text.into_bytes();
    } else {
        let at = random.below(bytes.len());
        bytes[at] = random.byte();
    }
}
