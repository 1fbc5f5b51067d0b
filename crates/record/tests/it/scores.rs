//! Raw scores to integers: exact, halves to even, bounded.

use proptest::prelude::*;
use record::column::{Better, Column, ScoreError};

fn column(max: u64, raw_max: u64) -> Column {
    Column::new("score", max, raw_max, Better::Higher).unwrap()
}

/// (integer, exact), or `None` for no value.
fn convert(raw: &str, max: u64, raw_max: u64) -> Result<Option<(u64, bool)>, ScoreError> {
    let converted = column(max, raw_max).convert(raw)?;
    Ok(converted.map(|c| (c.integer, c.exact)))
}

#[test]
fn converts_literals_letters_and_ties() {
    let long_tail = format!("0.5{}1", "0".repeat(100_000));
    let thirds = format!("0.{}", "3".repeat(100_000));
    let zeros = format!("1.{}", "0".repeat(100_000));
    let far_exponent = format!("1e{}", "0".repeat(100_000));
    for (raw, max, raw_max, integer, exact) in [
        ("1", 1, 1, 1, true),
        ("0", 1, 1, 0, true),
        ("true", 3, 1, 3, true),
        ("true", 2, 2, 1, true),
        ("false", 3, 1, 0, true),
        ("-0", 1, 1, 0, true),
        ("-0.0e5", 1, 1, 0, true),
        ("1.0", 1, 1, 1, true),
        ("1e0", 1, 1, 1, true),
        ("100E-2", 1, 1, 1, true),
        ("0.1e+1", 1, 1, 1, true),
        ("C", 3, 7, 3, true),
        ("I", 3, 7, 0, true),
        ("N", 3, 7, 0, true),
        ("P", 2, 7, 1, true),
        ("P", 1, 1, 0, false),
        ("P", 3, 1, 2, false),
        ("P", 5, 1, 2, false),
        ("0.5", 1, 1, 0, false),
        ("0.25", 2, 1, 0, false),
        ("0.75", 2, 1, 2, false),
        ("0.26", 2, 1, 1, false),
        ("1", 3, 2, 2, false),
        ("1", 5, 2, 2, false),
        ("0.1", 10, 1, 1, true),
        ("0.3", 1000, 1, 300, true),
        ("7", 100, 10, 70, true),
        (&long_tail, 1, 1, 1, false),
        (&thirds, 3, 1, 1, false),
        (&zeros, 1, 1, 1, true),
        (&far_exponent, 1, 1, 1, true),
        ("1e-17", 1, 1, 0, false),
        ("1e-16", 1, 1, 0, false),
        ("1e-999999999999999999999999999999", 1, 1, 0, false),
        ("0e999999999999999999999999999999", 1, 1, 0, true),
        // A value whose integer is within the scale after rounding is within the scale.
        ("1.4", 1, 1, 1, false),
        ("-0.5", 1, 1, 0, false),
        ("0.49999999999999994", 1, 1, 0, false),
        ("9007199254740991", 2_147_483_647, 9_007_199_254_740_991, 2_147_483_647, true),
        ("4503599627370495.5", 1, 9_007_199_254_740_991, 0, false),
        ("4503599627370496", 1, 9_007_199_254_740_991, 1, false),
        ("4503599627370495.50000000000000000001", 1, 9_007_199_254_740_991, 1, false),
    ] {
        let shown = raw.get(..40).unwrap_or(raw);
        assert_eq!(
            convert(raw, max, raw_max),
            Ok(Some((integer, exact))),
            "{shown} {max} {raw_max}"
        );
    }
    assert_eq!(convert("NaN", 1, 1), Ok(None));
}

#[test]
fn refuses_what_is_no_score_of_the_scale() {
    let digits = "1".repeat(1_000_000);
    for raw in [
        "2",
        "1.5",
        "-1",
        "-0.51",
        "1e1",
        "1e999999999999999999999999999999",
        "1e18",
        "1e17",
        "123456789012345678",
        "100000000000000000000000",
        &digits,
    ] {
        let shown = raw.get(..40).unwrap_or(raw);
        assert_eq!(convert(raw, 1, 1), Err(ScoreError::OutsideScale), "{shown}");
    }
    for raw in [
        "",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e1",
        "01",
        "00",
        "1e",
        "1e+",
        "1e-",
        "1e1.5",
        "e1",
        "0x1",
        "1_0",
        " 1",
        "1 ",
        "1\n",
        "Infinity",
        "-Infinity",
        "-NaN",
        "nan",
        "True",
        "null",
        "c",
        "CC",
        "--1",
        "1-",
        "1e5e5",
        "1.2.3",
        "١",
        "1/2",
        "\u{0}",
    ] {
        assert_eq!(convert(raw, 1, 1), Err(ScoreError::NotANumber), "{raw:?}");
    }
}

/// Exact fractions in 128 bits, for literals small enough for them.
fn oracle(digits: u64, places: u32, exponent: i32, max: u64, raw_max: u64) -> (u128, bool) {
    let mut numerator = u128::from(digits) * u128::from(max);
    let mut denominator = u128::from(raw_max) * 10_u128.pow(places);
    let power = 10_u128.pow(exponent.unsigned_abs());
    if exponent < 0 {
        denominator *= power
    } else {
        numerator *= power
    }
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let up = match (2 * rest).cmp(&denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    (quotient + u128::from(up), rest == 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_exact_fractions(
        digits in prop_oneof![0_u64..1_000, 0_u64..1_000_000_000],
        places in 0_u32..9,
        exponent in -9_i32..9,
        max in prop_oneof![1_u64..12, 1_u64..1_000_000],
        raw_max in prop_oneof![1_u64..12, 1_u64..1_000_000],
    ) {
        let power = 10_u64.pow(places);
        let mut raw = (digits / power).to_string();
        if places > 0 {
            raw += &format!(".{:0width$}", digits % power, width = places as usize);
        }
        raw += &format!("e{exponent}");
        let (integer, exact) = oracle(digits, places, exponent, max, raw_max);
        let expected = if integer > u128::from(max) {
            Err(ScoreError::OutsideScale)
        } else {
            Ok(Some((u64::try_from(integer).unwrap(), exact)))
        };
        prop_assert_eq!(convert(&raw, max, raw_max), expected, "{}", raw);
        // Below zero only what rounds to zero has a place.
        let negative = match expected {
            Ok(Some((0, exact))) => Ok(Some((0, exact))),
            _ => Err(ScoreError::OutsideScale),
        };
        prop_assert_eq!(convert(&format!("-{raw}"), max, raw_max), negative);
    }

    #[test]
    fn never_panics(raw in "[-+.eE0-9CPIN]{0,24}|\\PC{0,12}", max in 1_u64..1 << 53) {
        let _ = convert(&raw, max, 1);
        let _ = convert(&raw, 1, max);
    }
}
