//! From the literal in a log to an integer on the agreed scale, exactly: `raw·max / raw_max`,
//! halves to even.
//!
//! No floats, no big integers, no work beyond one pass over the literal: `1e999999999` is refused
//! by looking at its exponent, and a literal of any length is multiplied digit by digit.

use crate::column::{Column, ScoreError};

/// A raw score on the agreed scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    /// The integer, 0 to the column's max.
    pub integer: u64,
    /// False if the value had to be rounded.
    pub exact: bool,
}

/// Converts a literal: a number as JSON spells it (RFC 8259 section 6), one of the letters C, P, I
/// and N, or `NaN`, which is no value.
pub(crate) fn convert(raw: &str, column: &Column) -> Result<Option<Converted>, ScoreError> {
    let max = column.max();
    match raw {
        "NaN" => Ok(None),
        "C" => Ok(Some(Converted { integer: max, exact: true })),
        "I" | "N" => Ok(Some(Converted { integer: 0, exact: true })),
        // Half of an odd scale is a tie, which goes to the even neighbour.
        "P" => Ok(Some(round(max / 2, max % 2, 2, Tail::Zero))),
        // JSON's truth values, which harnesses read as 1 and 0.
        "true" => number("1", max, column.raw_max()).map(Some),
        "false" => number("0", max, column.raw_max()).map(Some),
        _ => number(raw, max, column.raw_max()).map(Some),
    }
}

fn number(raw: &str, max: u64, raw_max: u64) -> Result<Converted, ScoreError> {
    let Decimal { negative, digits, point } = Decimal::parse(raw).ok_or(ScoreError::NotANumber)?;
    if digits.is_empty() {
        return Ok(Converted { integer: 0, exact: true });
    }
    // The value is 0.d1d2d3… × 10^point with d1 ≠ 0. The largest that rounds to max is
    // raw_max·(1 + 1/(2·max)) ≤ 1.5·raw_max < 1.36 × 10^16, which has 17 digits.
    if point > 17 {
        return Err(ScoreError::OutsideScale);
    }
    // Below 10^-17, and so below a half after the factor max / raw_max < 2^53.
    if point < -16 {
        return Ok(Converted { integer: 0, exact: false });
    }

    let whole_digits = usize::try_from(point).unwrap_or(0);
    let mut whole: u128 = 0;
    for place in 0..whole_digits {
        whole = whole * 10 + u128::from(digits.get(place).copied().unwrap_or(0));
    }
    // The fraction times max, digit by digit from the right: what is carried out of the left end
    // is its whole part, what stays are the digits of its fraction.
    let zeros = usize::try_from(-point).unwrap_or(0);
    let fraction = digits.get(whole_digits..).unwrap_or(&[]);
    let mut carry: u64 = 0;
    let mut tail_digit: u64 = 0;
    let mut tail_rest = false;
    for digit in fraction.iter().rev().copied().chain(std::iter::repeat_n(0, zeros)) {
        tail_rest |= tail_digit != 0;
        let product = u64::from(digit) * max + carry;
        tail_digit = product % 10;
        carry = product / 10;
    }
    let tail = match (tail_digit, tail_rest) {
        (0, false) => Tail::Zero,
        (0..=4, _) => Tail::BelowHalf,
        (5, false) => Tail::Half,
        _ => Tail::AboveHalf,
    };

    // whole < 10^17 and max < 2^53, so this is below 2^110.
    let scaled = whole * u128::from(max) + u128::from(carry);
    let quotient = scaled / u128::from(raw_max);
    let remainder = u64::try_from(scaled % u128::from(raw_max)).expect("it is below raw_max");
    let quotient =
        u64::try_from(quotient).ok().filter(|q| *q <= max).ok_or(ScoreError::OutsideScale)?;
    let converted = round(quotient, remainder, raw_max, tail);
    if converted.integer > max || (negative && converted.integer > 0) {
        return Err(ScoreError::OutsideScale);
    }
    Ok(converted)
}

/// What follows the remainder, as a part of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Zero,
    BelowHalf,
    Half,
    AboveHalf,
}

/// `quotient + (remainder + tail) / divisor`, halves to even.
fn round(quotient: u64, remainder: u64, divisor: u64, tail: Tail) -> Converted {
    // 2·(remainder + tail) against the divisor; twice the tail is below 2.
    let twice = 2 * remainder;
    let up = if twice >= divisor {
        twice > divisor || tail != Tail::Zero || quotient % 2 == 1
    } else if twice + 1 == divisor {
        tail == Tail::AboveHalf || (tail == Tail::Half && quotient % 2 == 1)
    } else {
        false
    };
    Converted { integer: quotient + u64::from(up), exact: remainder == 0 && tail == Tail::Zero }
}

/// 0.d1d2d3… × 10^point, d1 and the last digit not zero; no digits for zero.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn parse(raw: &str) -> Option<Self> {
        let (negative, rest) = match raw.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, raw),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|b| b - b'0').collect();
        let leading = digits.iter().take_while(|d| **d == 0).count();
        let end = digits.len() - digits.iter().rev().take_while(|d| **d == 0).count();
        let significant = digits.get(leading..end).unwrap_or(&[]).to_vec();
        let place = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
        Some(Self { negative, digits: significant, point: place.saturating_add(exponent) })
    }
}

/// An exponent of any length; beyond 64 bits it stays at the end of their range, where the digits
/// of no literal reach.
fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let magnitude = digits
        .iter()
        .fold(0_i64, |n, digit| n.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -magnitude } else { magnitude })
}
