//! Times as logs write them (ISO 8601 with an offset) to Unix seconds, and back to whole hours
//! (RFC 3339). Proleptic Gregorian calendar, no leap seconds.

use crate::Moment;

/// Days from 1970-01-01 to a civil date; `month` is 1 to 12.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `unix` rounded down to the hour, as `2026-11-23T17:00:00Z`.
pub(crate) fn hour(unix: i64) -> String {
    let day = unix.div_euclid(86_400);
    let hour = unix.rem_euclid(86_400) / 3_600;
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:00:00Z")
}

/// Years 1 to 9999 in Unix seconds: what RFC 3339 can write.
const WRITABLE: std::ops::Range<i64> = -62_135_596_800..253_402_300_800;

/// Parses `2024-10-15T12:53:13.5-04:00`; without an offset it is UTC. Nothing if it is not a
/// time: an unreadable time is no reason to refuse a log.
pub(crate) fn parse(text: &str) -> Option<Moment> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let mark = |at: usize, allowed: &[u8]| bytes.get(at).filter(|b| allowed.contains(b));
    for (at, allowed) in [(4, "-"), (7, "-"), (10, "T "), (13, ":"), (16, ":")] {
        mark(at, allowed.as_bytes())?;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    if mark(at, b".").is_some() {
        at += 1;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
    }
    let offset = match bytes.get(at) {
        None => 0,
        Some(b'Z') if at + 1 == bytes.len() => 0,
        Some(sign @ (b'+' | b'-')) if at + 6 == bytes.len() => {
            mark(at + 3, b":")?;
            let seconds = number(at + 1, at + 3)? * 3_600 + number(at + 4, at + 6)? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        Some(_) => return None,
    };
    let unix = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    from_unix(unix)
}

/// A moment that RFC 3339 can write.
pub(crate) fn from_unix(unix: i64) -> Option<Moment> {
    WRITABLE.contains(&unix).then_some(Moment(unix))
}

/// Unix seconds as a float, rounded down.
pub(crate) fn from_seconds(seconds: f64) -> Option<Moment> {
    // The cast saturates, and what saturates is not writable.
    from_unix(seconds.floor() as i64).filter(|_| seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_times_that_harnesses_write() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-10-15T12:53:13-04:00", 1_729_011_193),
            ("2026-11-23T17:58:02.008616+00:00", 1_795_456_682),
            ("2000-02-29T23:59:59+14:00", 951_818_399),
            ("1969-12-31T23:59:59", -1),
        ] {
            assert_eq!(parse(text).map(Moment::unix), Some(unix), "{text}");
        }
        for text in ["", "...", "2024-13-01T00:00:00Z", "2024-10-15T12:53", "2024-10-15T12:53:13+4"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn writes_whole_hours_of_any_day() {
        assert_eq!(hour(1_729_011_193), "2024-10-15T16:00:00Z");
        assert_eq!(hour(-1), "1969-12-31T23:00:00Z");
        for day in (-200_000..200_000).step_by(97) {
            let text = hour(day * 86_400 + 3_599);
            assert_eq!(parse(&text).map(Moment::unix), Some(day * 86_400), "{text}");
        }
        assert_eq!(from_seconds(f64::NAN), None);
        assert_eq!(from_seconds(1e300), None);
        assert_eq!(from_seconds(-0.5).map(Moment::unix), Some(-1));
    }
}
