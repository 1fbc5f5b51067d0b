//! A document in memory: members in the order they came in, numbers as they were spelled.

use std::fmt::Write as _;

/// Any JSON value, and the three non-finite numbers of Python's `json`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as spelled.
    Number(Number),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

impl Value {
    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(elements) = self { Some(elements) } else { None }
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<&Number> {
        if let Self::Number(number) = self { Some(number) } else { None }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// True for `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The member of this name, if this is an object that has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// Compact JSON: no white space, only the escapes that RFC 8259 demands.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(number) => out.push_str(number.literal()),
            Self::String(text) => write_string(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(object) => {
                out.push('{');
                for (i, (name, value)) in object.members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => {
                write!(out, "\\u{:04x}", u32::from(c)).expect("a String takes all text");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number as the document spells it: `1`, `1.0` and `1e0` are three numbers here, because a
/// record commits to the spelling. The non-finite ones are `NaN`, `Infinity` and `-Infinity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    pub(crate) fn from_literal(literal: String) -> Self {
        Self(literal.into_boxed_str())
    }

    /// The spelling.
    pub fn literal(&self) -> &str {
        &self.0
    }

    /// False for `NaN`, `Infinity` and `-Infinity`.
    pub fn is_finite(&self) -> bool {
        !self.0.ends_with(['N', 'y'])
    }

    /// The nearest binary64; beyond its range an infinity. Python spells the non-finite ones.
    pub fn as_f64(&self) -> f64 {
        match self.literal() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            literal => literal.parse().expect("the reader takes only what JSON calls a number"),
        }
    }

    /// The value, if the spelling is that of an integer (no fraction, no exponent) in range.
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// As [`as_u64`](Self::as_u64), with a sign.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

/// An object with its members in order; names are distinct.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    members: Vec<(String, Value)>,
}

impl Object {
    /// `members` must have distinct names; the reader has seen to that.
    pub(crate) fn from_members(members: Vec<(String, Value)>) -> Self {
        Self { members }
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Takes the member of this name out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.members.iter().position(|(n, _)| n == name)?;
        Some(self.members.remove(at).1)
    }

    /// Adds a member after the others; one of that name is replaced where it stands.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.members.iter_mut().find(|(n, _)| *n == name) {
            Some(member) => member.1 = value,
            None => self.members.push((name, value)),
        }
    }

    /// Members in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True for `{}`.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// An object from (name, value) pairs, in this order.
pub fn object<N: Into<String>>(members: impl IntoIterator<Item = (N, Value)>) -> Value {
    let mut object = Object::default();
    for (name, value) in members {
        object.insert(name, value);
    }
    Value::Object(object)
}

/// An array of whatever becomes a [`Value`].
pub fn array<V: Into<Value>>(elements: impl IntoIterator<Item = V>) -> Value {
    Value::Array(elements.into_iter().map(Into::into).collect())
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(Number::from_literal(value.to_string()))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        u64::from(value).into()
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(Number::from_literal(value.to_string()))
    }
}

impl From<f64> for Value {
    /// The shortest spelling that reads back as the same number; non-finite numbers become
    /// `null`, since JSON has none.
    fn from(value: f64) -> Self {
        if value.is_finite() {
            Self::Number(Number::from_literal(format!("{value:?}")))
        } else {
            Self::Null
        }
    }
}

impl<V: Into<Self>> From<Option<V>> for Value {
    /// `null` for nothing: for reports only, signed documents leave the member out.
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<Vec<Self>> for Value {
    fn from(elements: Vec<Self>) -> Self {
        Self::Array(elements)
    }
}
