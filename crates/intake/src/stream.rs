//! Reading JSON piece by piece under the rules of logs: what is kept must be finite, what the
//! core projection drops is skipped, and no document may be larger than its limit.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use json::{Located, Reader, Value};

use crate::fault::{Fault, LimitPassed};
use crate::{Code, Limits};

/// Bytes by which a meter may run ahead of the JSON reader, whose buffer is smaller.
const SLACK: u64 = 128 << 10;

/// A stream that ends in an error once it has given more than its meter allows.
pub(crate) struct Metered<R> {
    input: R,
    meter: Meter,
}

/// How many bytes may still be read, and what happened.
#[derive(Clone)]
pub(crate) struct Meter {
    left: Rc<Cell<u64>>,
    limit: Rc<Cell<Option<LimitPassed>>>,
    /// True if the limit was passed, not only set.
    passed: Rc<Cell<bool>>,
}

impl<R: Read> Metered<R> {
    /// A stream without limit, and its meter.
    pub(crate) fn new(input: R) -> (Self, Meter) {
        let meter = Meter {
            left: Rc::new(Cell::new(u64::MAX)),
            limit: Rc::default(),
            passed: Rc::default(),
        };
        (Self { input, meter: meter.clone() }, meter)
    }
}

impl Meter {
    /// From here on `bytes` may be read before `limit` is passed.
    pub(crate) fn allow(&self, bytes: u64, limit: LimitPassed) {
        self.left.set(bytes.saturating_add(SLACK));
        self.limit.set(Some(limit));
    }

    /// `fault`, or the limit that caused it.
    pub(crate) fn explain(&self, fault: Fault) -> Fault {
        match self.limit.get() {
            Some(limit) if self.passed.get() => {
                Fault { pointer: fault.pointer, ..Fault::from(limit) }
            }
            _ => fault,
        }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let Some(left) = self.meter.left.get().checked_sub(read as u64) else {
            self.meter.passed.set(true);
            return Err(io::Error::other("a limit is passed"));
        };
        self.meter.left.set(left);
        Ok(read)
    }
}

/// Reads a whole document that must be finite but for the values that `may_be_non_finite`.
pub(crate) fn document(
    input: impl Read,
    limits: &Limits,
    may_be_non_finite: fn(&Value) -> Result<(), Fault>,
) -> Result<Value, Fault> {
    let (metered, meter) = Metered::new(input);
    meter.allow(limits.document, LimitPassed::Document(limits.document));
    let mut reader = Reader::new(metered, limits.rules());
    let value = reader.value().and_then(|value| reader.end().map(|()| value));
    let value = value.map_err(|error| meter.explain(error.into()))?;
    may_be_non_finite(&value)?;
    Ok(value)
}

/// Reads one value, all of whose numbers must be finite.
pub(crate) fn finite_value<R: Read>(reader: &mut Reader<R>) -> Result<Value, Fault> {
    let value = reader.value()?;
    finite(&value)?;
    Ok(value)
}

/// Refuses `NaN` and infinities anywhere in `value`.
pub(crate) fn finite(value: &Value) -> Result<(), Fault> {
    finite_but(value, &|_| false)
}

/// As [`finite`], except below members of objects whose name `exempt` holds for.
pub(crate) fn finite_but(value: &Value, exempt: &dyn Fn(&str) -> bool) -> Result<(), Fault> {
    match value {
        Value::Number(number) if !number.is_finite() => {
            Err(Fault::new(Code::JsonNonFinite, "a number that is not finite"))
        }
        Value::Array(elements) => elements.iter().enumerate().try_for_each(|(at, element)| {
            finite_but(element, exempt).map_err(|fault| fault.within(&at.to_string()))
        }),
        Value::Object(object) => {
            object.iter().filter(|(name, _)| !exempt(name)).try_for_each(|(name, member)| {
                finite_but(member, exempt).map_err(|fault| fault.within(name))
            })
        }
        _ => Ok(()),
    }
}

/// Skips one value, all of whose numbers must be finite.
pub(crate) fn skip_finite<R: Read>(reader: &mut Reader<R>) -> Result<(), Fault> {
    if reader.at_object()? {
        reader.object(|_, reader| skip_finite(reader))
    } else if reader.at_array()? {
        reader.array(skip_finite)
    } else {
        finite_value(reader).map(drop)
    }
}

/// A member that is there and not `null`: in logs both mean the same.
pub(crate) fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).filter(|member| !member.is_null())
}

/// The text of a member.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    member(value, name)?.as_str()
}

/// Text as it is, anything else as compact JSON; nothing for `null`.
pub(crate) fn text_or_json(value: &Value) -> Option<Box<str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_str().into()),
        other => Some(other.to_text().into()),
    }
}

/// An object of those members of `value` that are there, in the order of `names`.
pub(crate) fn pick(value: &Value, names: &[&str]) -> json::Object {
    let mut picked = json::Object::default();
    for name in names {
        if let Some(member) = member(value, name) {
            picked.insert(*name, member.clone());
        }
    }
    picked
}
