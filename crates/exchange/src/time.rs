//! Times in statements: RFC 3339 in UTC and whole seconds, `YYYY-MM-DDTHH:MM:SSZ`, nothing else.

use std::fmt;

/// Seconds since 1970-01-01T00:00:00Z, from there to the end of the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(u64);

/// A text that is not a time in the one spelling, or a number beyond the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time from 1970 on, written YYYY-MM-DDTHH:MM:SSZ")]
pub struct InvalidTime;

/// 9999-12-31T23:59:59Z, the last time that the spelling can hold.
const LAST: u64 = 253_402_300_799;
const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;

impl Timestamp {
    /// Takes unix seconds.
    pub const fn from_unix(seconds: u64) -> Result<Self, InvalidTime> {
        if seconds > LAST { Err(InvalidTime) } else { Ok(Self(seconds)) }
    }

    /// Reads the one spelling. A leap second (`:60`) has none, since unix time has none.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        let bytes: &[u8; 20] = text.as_bytes().try_into().map_err(|_| InvalidTime)?;
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
        if separators.iter().any(|&(at, separator)| bytes[at] != separator) {
            return Err(InvalidTime);
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0_u64, |sum, digit| match digit {
                b'0'..=b'9' => Ok(sum * 10 + u64::from(digit - b'0')),
                _ => Err(InvalidTime),
            })
        };
        let (year, month, day) =
            (number(&bytes[..4])?, number(&bytes[5..7])?, number(&bytes[8..10])?);
        let (hour, minute, second) =
            (number(&bytes[11..13])?, number(&bytes[14..16])?, number(&bytes[17..19])?);
        if year < 1970
            || !(1..=12).contains(&month)
            || !(1..=days_in(year, month)).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return Err(InvalidTime);
        }
        let months: u64 = (1..month).map(|m| days_in(year, m)).sum();
        let days = days_before(year) + months + day - 1;
        Ok(Self(days * DAY + hour * HOUR + minute * 60 + second))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn unix(self) -> u64 {
        self.0
    }

    /// True on the hour: evaluations state their times no finer.
    pub const fn is_full_hour(self) -> bool {
        self.0.is_multiple_of(HOUR)
    }
}

/// Days from 1970-01-01 to the first day of `year`, 1970 or later.
fn days_before(year: u64) -> u64 {
    let leap_years = |y: u64| y / 4 - y / 100 + y / 400;
    (year - 1970) * 365 + leap_years(year - 1) - leap_years(1969)
}

fn days_in(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0 / DAY, self.0 % DAY);
        // The estimate by the longest years is at most the year searched for, and close to it.
        let mut year = 1970 + days / 366;
        while days_before(year + 1) <= days {
            year += 1;
        }
        let mut day = days - days_before(year);
        let mut month = 1;
        while day >= days_in(year, month) {
            day -= days_in(year, month);
            month += 1;
        }
        let (hour, minute, second) = (seconds / HOUR, seconds % HOUR / 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
    }
}
