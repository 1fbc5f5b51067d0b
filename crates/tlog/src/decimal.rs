//! Decimal numbers in their one spelling: digits only, no sign, no leading zero.

/// Sizes and indices stay below this, as in every C2SP implementation that counts in `int64`.
pub(crate) const LIMIT: u64 = 1 << 63;

/// Reads a canonical decimal below 2^63. `str::parse` alone would take `+5` and `05`.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = text.as_bytes();
    let canonical = match digits {
        [] => false,
        [b'0', rest @ ..] => rest.is_empty(),
        _ => digits.iter().all(u8::is_ascii_digit),
    };
    let number = canonical.then(|| text.parse::<u64>().ok())??;
    (number < LIMIT).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn reads_canonical_decimals_only() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("9223372036854775807"), Some(i64::MAX as u64));
        for (text, reason) in [
            ("", "empty"),
            ("00", "leading zero"),
            ("05", "leading zero"),
            ("+5", "plus sign"),
            ("-5", "minus sign"),
            (" 5", "space before"),
            ("5 ", "space after"),
            ("0x5", "hexadecimal"),
            ("5_0", "underscore"),
            ("٥", "digit of another script"),
            ("9223372036854775808", "2^63"),
            ("18446744073709551616", "2^64"),
        ] {
            assert_eq!(parse_decimal(text), None, "{reason}");
        }
    }
}
