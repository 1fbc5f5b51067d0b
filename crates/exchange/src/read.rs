//! From JSON values to the types of statements; every error is `BAD_FIELD` with its pointer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use json::{FieldError, Fields, Node};
use tlog::{Hash, KeyName};

use crate::time::Timestamp;
use crate::values::{ColumnName, Field, StatementId, Subject, Word};

/// Largest number of items in a record: 2^20.
pub(crate) const MAX_ITEMS: u64 = 1 << 20;

/// A string that an ASCII number or name fits into; longer ones have no type of their own.
const SHORT: usize = 256;

/// A value that is read from its text by `parse`.
fn from_text<T, E: std::fmt::Display>(
    node: &Node<'_>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, FieldError> {
    parse(node.text(SHORT)?).map_err(|error| node.error(error.to_string()))
}

pub(crate) fn name(node: &Node<'_>) -> Result<KeyName, FieldError> {
    from_text(node, KeyName::parse)
}

pub(crate) fn word(node: &Node<'_>) -> Result<Word, FieldError> {
    from_text(node, Word::parse)
}

pub(crate) fn column(node: &Node<'_>) -> Result<ColumnName, FieldError> {
    from_text(node, ColumnName::parse)
}

pub(crate) fn field(node: &Node<'_>) -> Result<Field, FieldError> {
    from_text(node, Field::parse)
}

pub(crate) fn subject(node: &Node<'_>) -> Result<Subject, FieldError> {
    from_text(node, Subject::parse)
}

pub(crate) fn time(node: &Node<'_>) -> Result<Timestamp, FieldError> {
    from_text(node, Timestamp::parse)
}

pub(crate) fn hash(node: &Node<'_>) -> Result<Hash, FieldError> {
    node.hex().map(Hash::new)
}

pub(crate) fn id(node: &Node<'_>) -> Result<StatementId, FieldError> {
    node.hex().map(StatementId::new)
}

/// A number from `least` to `most`, both included.
pub(crate) fn number(node: &Node<'_>, least: u64, most: u64) -> Result<u64, FieldError> {
    let number = node.uint()?;
    if !(least..=most).contains(&number) {
        return Err(node.error(format!("must be from {least} to {most}, is {number}")));
    }
    Ok(number)
}

/// A number that nothing but JSON's safe range bounds from above.
pub(crate) fn at_least(node: &Node<'_>, least: u64) -> Result<u64, FieldError> {
    number(node, least, (1 << 53) - 1)
}

/// `N` bytes in padded standard base64 with zero trailing bits.
pub(crate) fn base64<const N: usize>(node: &Node<'_>) -> Result<[u8; N], FieldError> {
    let wrong = || node.error(format!("must be {N} bytes in padded standard base64"));
    let text = node.value().as_str().ok_or_else(wrong)?;
    if text.len() != N.div_ceil(3) * 4 {
        return Err(wrong());
    }
    let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
    bytes.try_into().map_err(|_| wrong())
}

/// `{"sha256": hex32}`.
pub(crate) fn digest_set(node: &Node<'_>) -> Result<Hash, FieldError> {
    let mut fields = node.fields()?;
    let digest = hash(&fields.required("sha256")?)?;
    fields.finish()?;
    Ok(digest)
}

/// A decimal as a computer writes it: no sign, no leading zero.
pub(crate) fn decimal(node: &Node<'_>) -> Result<u64, FieldError> {
    from_text(node, |text| match text.parse::<u64>() {
        Ok(number) if number.to_string() == text => Ok(number),
        _ => Err("must be a decimal number without sign or leading zeros"),
    })
}

/// A list of `least` to `most` elements, of which no two are equal.
///
/// Comparing each with each is quadratic; the longest list whose elements are not known to
/// ascend has 512.
pub(crate) fn list<T: PartialEq>(
    node: &Node<'_>,
    least: usize,
    most: usize,
    read: impl Fn(&Node<'_>) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    let nodes = node.array(most)?;
    if nodes.len() < least {
        return Err(node.error(format!("must have at least {least} elements")));
    }
    let mut elements = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let element = read(node)?;
        if elements.contains(&element) {
            return Err(node.error("stands in the list already"));
        }
        elements.push(element);
    }
    Ok(elements)
}

/// A list as [`list`] reads it, of which no two elements have the same key.
pub(crate) fn keyed_list<T: PartialEq, K: PartialEq>(
    node: &Node<'_>,
    least: usize,
    most: usize,
    read: impl Fn(&Node<'_>) -> Result<T, FieldError>,
    key: impl Fn(&T) -> &K,
) -> Result<Vec<T>, FieldError> {
    let elements = list(node, least, most, read)?;
    for (i, element) in elements.iter().enumerate() {
        if elements[..i].iter().any(|other| key(other) == key(element)) {
            let repeated = node.array(most)?.swap_remove(i);
            return Err(repeated.error("names something that the list has already"));
        }
    }
    Ok(elements)
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(
    node: &Node<'_>,
    choices: &[(&'static str, T)],
) -> Result<T, FieldError> {
    let text = node.text(SHORT)?;
    let found = choices.iter().find(|(spelling, _)| *spelling == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let spellings: Vec<_> = choices.iter().map(|(spelling, _)| *spelling).collect();
        node.error(format!("must be one of {}", spellings.join(", ")))
    })
}

/// An enum whose variants have one spelling each.
pub(crate) trait Spelled: Copy + 'static {
    /// Spellings and variants, in order.
    const SPELLINGS: &[(&'static str, Self)];
}

pub(crate) fn spelled<T: Spelled>(node: &Node<'_>) -> Result<T, FieldError> {
    choice(node, T::SPELLINGS)
}

/// An optional member.
pub(crate) fn optional<'a, T>(
    fields: &mut Fields<'a>,
    name: &'static str,
    read: impl FnOnce(&Node<'a>) -> Result<T, FieldError>,
) -> Result<Option<T>, FieldError> {
    fields.optional(name).as_ref().map(read).transpose()
}

/// A required member.
pub(crate) fn required<'a, T>(
    fields: &mut Fields<'a>,
    name: &'static str,
    read: impl FnOnce(&Node<'a>) -> Result<T, FieldError>,
) -> Result<T, FieldError> {
    read(&fields.required(name)?)
}
