//! Times as FHIR and RFC 3339 write them, to the second.

use contract_interface::{Period, UtcTime};
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, Time};

/// Longest text looked at, bytes.
const TEXT_BYTES_MAX: usize = 64;
const DAY_SECONDS: i64 = 86_400;

/// A FHIR `dateTime`: a year, a month, a day, or a second with its offset. Coarse ones cover their whole length.
pub(super) fn date_time(text: &str) -> Option<Period> {
    if !text.is_ascii() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let digits = |part: &str, length: usize| {
        (part.len() == length && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<i32>().ok())
            .flatten()
    };
    match text.len() {
        4 => {
            let year = digits(text, 4)?;
            days(date(year, 1, 1)?, date(year, 12, 31)?)
        }
        7 => {
            let (year, month) = text.split_once('-')?;
            let (year, month) = (digits(year, 4)?, digits(month, 2)?);
            let month = u8::try_from(month).ok()?;
            let last = Month::try_from(month).ok()?.length(year);
            days(date(year, month, 1)?, date(year, month, last)?)
        }
        10 => {
            let mut parts = text.split('-');
            let year = digits(parts.next()?, 4)?;
            let month = u8::try_from(digits(parts.next()?, 2)?).ok()?;
            let day = u8::try_from(digits(parts.next()?, 2)?).ok()?;
            let date = date(year, month, day)?;
            days(date, date)
        }
        _ => instant(text),
    }
}

/// An RFC 3339 time, as a period of one second.
pub(super) fn instant(text: &str) -> Option<Period> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    seconds(time.unix_timestamp())
}

/// Seconds since 1970, as a period of one second.
pub(super) fn seconds(seconds: i64) -> Option<Period> {
    let time = UtcTime::from_unix_seconds(seconds).ok()?;
    Some(Period {
        start: time,
        end: time,
    })
}

/// A period that lasts so long from where it starts, at least as long as it did.
pub(super) fn lasting(period: Period, duration_ms: f64) -> Option<Period> {
    // Bounded by the callers, far below where a double loses whole milliseconds.
    let seconds = (duration_ms / 1000.0).ceil();
    let end = period.start.unix_seconds() + (seconds as i64 - 1).max(0);
    let end = UtcTime::from_unix_seconds(end).ok()?;
    Some(Period {
        start: period.start,
        end: end.max(period.end),
    })
}

fn date(year: i32, month: u8, day: u8) -> Option<Date> {
    Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()
}

fn days(first: Date, last: Date) -> Option<Period> {
    let start = first
        .with_time(Time::MIDNIGHT)
        .assume_utc()
        .unix_timestamp();
    let end = last.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp() + DAY_SECONDS - 1;
    Some(Period {
        start: UtcTime::from_unix_seconds(start).ok()?,
        end: UtcTime::from_unix_seconds(end).ok()?,
    })
}
