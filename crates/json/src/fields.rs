//! From values to types: each access says what it expects, and an error says where it failed.

use crate::error::append_segment;
use crate::{Object, Value};

/// A member that is absent, unknown, or of the wrong type or form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {problem}")]
pub struct FieldError {
    /// JSON pointer (RFC 6901) to the value.
    pub pointer: String,
    /// What is wrong with it, or what it should be.
    pub problem: String,
}

/// A value and the pointer to it.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    value: &'a Value,
    pointer: String,
}

impl<'a> Node<'a> {
    /// The value of a whole document.
    pub fn root(value: &'a Value) -> Self {
        Self { value, pointer: String::new() }
    }

    /// The value as it is.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// JSON pointer to this value.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The error that this value is not what was expected.
    pub fn error(&self, problem: impl Into<String>) -> FieldError {
        FieldError { pointer: self.pointer.clone(), problem: problem.into() }
    }

    /// A string of at most `max` bytes.
    pub fn text(&self, max: usize) -> Result<&'a str, FieldError> {
        let text = self.value.as_str().ok_or_else(|| self.error("must be a string"))?;
        if text.len() > max {
            return Err(self.error(format!("must be at most {max} bytes, is {}", text.len())));
        }
        Ok(text)
    }

    /// An integer from 0 to 2^53 − 1.
    pub fn uint(&self) -> Result<u64, FieldError> {
        let number = self.value.as_number().and_then(crate::Number::as_u64);
        number
            .filter(|n| *n < 1 << 53)
            .ok_or_else(|| self.error("must be an integer from 0 to 2^53 - 1"))
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Result<bool, FieldError> {
        self.value.as_bool().ok_or_else(|| self.error("must be true or false"))
    }

    /// `N` bytes as lower-case hexadecimal digits.
    pub fn hex<const N: usize>(&self) -> Result<[u8; N], FieldError> {
        let wrong = || self.error(format!("must be {} lower-case hexadecimal digits", 2 * N));
        let text = self.value.as_str().ok_or_else(wrong)?.as_bytes();
        if text.len() != 2 * N {
            return Err(wrong());
        }
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = hex_digit(pair[0]).zip(hex_digit(pair[1])).ok_or_else(wrong)?;
            *byte = high << 4 | low;
        }
        Ok(bytes)
    }

    /// An array of at most `max` elements.
    pub fn array(&self, max: usize) -> Result<Vec<Self>, FieldError> {
        let elements = self.value.as_array().ok_or_else(|| self.error("must be an array"))?;
        if elements.len() > max {
            return Err(
                self.error(format!("must have at most {max} elements, has {}", elements.len()))
            );
        }
        Ok(elements
            .iter()
            .enumerate()
            .map(|(i, value)| Node {
                value,
                pointer: append_segment(&self.pointer, &i.to_string()),
            })
            .collect())
    }

    /// An object, whose members are then taken one by one.
    pub fn fields(&self) -> Result<Fields<'a>, FieldError> {
        let object = self.value.as_object().ok_or_else(|| self.error("must be an object"))?;
        Ok(Fields { object, pointer: self.pointer.clone(), taken: Vec::new() })
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The members of one object. [`finish`](Self::finish) makes those that nobody asked for an
/// error, so every reader ends with it.
#[derive(Debug)]
#[must_use = "call finish(), or unknown members pass"]
pub struct Fields<'a> {
    object: &'a Object,
    pointer: String,
    taken: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// A member that must be there.
    pub fn required(&mut self, name: &'static str) -> Result<Node<'a>, FieldError> {
        let pointer = append_segment(&self.pointer, name);
        self.optional(name).ok_or_else(|| FieldError { pointer, problem: "is missing".to_owned() })
    }

    /// A member that may be there.
    pub fn optional(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.taken.push(name);
        let value = self.object.get(name)?;
        Some(Node { value, pointer: append_segment(&self.pointer, name) })
    }

    /// True if there is a member of this name. Does not count as taking it.
    pub fn has(&self, name: &str) -> bool {
        self.object.get(name).is_some()
    }

    /// JSON pointer to the object.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// An error about the object as a whole.
    pub fn error(&self, problem: impl Into<String>) -> FieldError {
        FieldError { pointer: self.pointer.clone(), problem: problem.into() }
    }

    /// Refuses members that were not taken.
    pub fn finish(self) -> Result<(), FieldError> {
        match self.object.iter().find(|(name, _)| !self.taken.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(FieldError {
                pointer: append_segment(&self.pointer, name),
                problem: "is not a member known here".to_owned(),
            }),
        }
    }
}
