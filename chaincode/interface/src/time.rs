//! Points in time, to the second, in UTC.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseError;
use crate::text::serde_as_text;

const DAY_SECONDS: i64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Days in 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;

/// A second in UTC, from year 1 to year 9999, written as RFC 3339 `2026-01-02T03:04:05Z`.
///
/// The text has one form and a fixed length, so it sorts as the time does. Fractions, offsets and
/// leap seconds are refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(i64);

impl UtcTime {
    /// The first second of year 1.
    pub const MIN: Self = Self(-62_135_596_800);
    /// The last second of year 9999.
    pub const MAX: Self = Self(253_402_300_799);

    /// The time `seconds` after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    ///
    /// If it lies outside the years 1 to 9999.
    pub fn from_unix_seconds(seconds: i64) -> Result<Self, ParseError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(ParseError::new("a time in the years 1 to 9999"))
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0
    }

    /// Seconds between two times, whichever is earlier.
    #[must_use]
    pub const fn abs_diff(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl FromStr for UtcTime {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: ParseError = ParseError::new("a time like 2026-01-02T03:04:05Z");
        let bytes: &[u8; 20] = text.as_bytes().try_into().map_err(|_| EXPECTED)?;
        let marks = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'Z'),
        ];
        if marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
            return Err(EXPECTED);
        }
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().try_fold(0_i64, |sum, b| {
                b.is_ascii_digit()
                    .then(|| sum * 10 + i64::from(b - b'0'))
                    .ok_or(EXPECTED)
            })
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if year < 1
            || !(1..=12).contains(&month)
            || !(1..=month_days(year, month)).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return Err(EXPECTED);
        }
        let days = days_since_epoch(year, month, day);
        Ok(Self(
            days * DAY_SECONDS + hour * 3600 + minute * 60 + second,
        ))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0.div_euclid(DAY_SECONDS));
        let second = self.0.rem_euclid(DAY_SECONDS);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

impl fmt::Debug for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(UtcTime);

const fn month_days(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Counts from March, so that a leap day is the last day of its year.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era_year = year.rem_euclid(400);
    let year_day = (153 * month + 2) / 5 + day - 1;
    let era_day = era_year * 365 + era_year / 4 - era_year / 100 + year_day;
    year.div_euclid(400) * ERA_DAYS + era_day - DAYS_TO_EPOCH
}

const fn date_of(days_since_epoch: i64) -> (i64, i64, i64) {
    let days = days_since_epoch + DAYS_TO_EPOCH;
    let era_day = days.rem_euclid(ERA_DAYS);
    let era_year = (era_day - era_day / 1460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * month + 2) / 5 + 1;
    let year = days.div_euclid(ERA_DAYS) * 400 + era_year;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-01-02T03:04:05Z", 1_767_323_045),
            ("0001-01-01T00:00:00Z", UtcTime::MIN.0),
            ("9999-12-31T23:59:59Z", UtcTime::MAX.0),
        ] {
            assert_eq!(
                text.parse::<UtcTime>().unwrap().unix_seconds(),
                seconds,
                "{text}"
            );
            assert_eq!(
                UtcTime::from_unix_seconds(seconds).unwrap().to_string(),
                text
            );
        }
    }

    #[test]
    fn every_day_of_two_cycles_of_the_calendar_comes_back_in_order() {
        let mut last = String::new();
        let first = days_since_epoch(1600, 1, 1);
        for day in first..=first + 2 * ERA_DAYS {
            let time = UtcTime(day * DAY_SECONDS);
            let text = time.to_string();
            assert_eq!(text.parse::<UtcTime>(), Ok(time));
            assert!(text > last, "{text} after {last}");
            last = text;
        }
    }

    #[test]
    fn refuses_every_other_form() {
        for bad in [
            "",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02t03:04:05z",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05.0Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-12-31T23:59:60Z",
            "0000-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:0\u{660}",
        ] {
            assert!(bad.parse::<UtcTime>().is_err(), "{bad}");
        }
        assert!(UtcTime::from_unix_seconds(UtcTime::MAX.0 + 1).is_err());
        assert!(UtcTime::from_unix_seconds(UtcTime::MIN.0 - 1).is_err());
    }
}
