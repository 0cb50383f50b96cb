//! FHIR dates: a year, a month, a day or an instant, as the whole of which they are meant.

use contract_interface::UtcTime;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The first second of what `text` names; days are UTC's. None if it is no FHIR date.
pub(super) fn begin(text: &str) -> Option<UtcTime> {
    match day_of(text)? {
        Some((year, month, day)) => at(year, month, day),
        None => {
            let (seconds, fraction) = instant(text)?;
            UtcTime::from_unix_seconds(seconds + i64::from(fraction)).ok()
        }
    }
}

/// The second after what `text` names. None if it is no FHIR date.
pub(super) fn after(text: &str) -> Option<UtcTime> {
    begin(text)?;
    let next = match (day_of(text)?, text.len()) {
        (Some((year, _, _)), 4) => at(year + 1, 1, 1),
        (Some((year, 12, _)), 7) => at(year + 1, 1, 1),
        (Some((year, month, _)), 7) => at(year, month + 1, 1),
        (Some(_), _) => {
            let day = begin(text)?.unix_seconds();
            UtcTime::from_unix_seconds(day + 24 * 60 * 60).ok()
        }
        (None, _) => UtcTime::from_unix_seconds(instant(text)?.0 + 1).ok(),
    };
    Some(next.unwrap_or(UtcTime::MAX))
}

/// The last second before `time`, as FHIR writes an end that is included.
pub(super) fn before(time: UtcTime) -> UtcTime {
    UtcTime::from_unix_seconds(time.unix_seconds() - 1).unwrap_or(UtcTime::MIN)
}

fn at(year: u32, month: u32, day: u32) -> Option<UtcTime> {
    format!("{year:04}-{month:02}-{day:02}T00:00:00Z")
        .parse()
        .ok()
}

/// Year, month and day of a date, with 1 for what it leaves out; `Some(None)` if `text` may be an
/// instant, none if it is no date.
fn day_of(text: &str) -> Option<Option<(u32, u32, u32)>> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let only_digits = digits.bytes().all(|b| b.is_ascii_digit());
        only_digits.then(|| digits.parse::<u32>().ok())?
    };
    let dash = |index: usize| text.as_bytes().get(index) == Some(&b'-');
    match text.len() {
        4 => Some(Some((number(0, 4)?, 1, 1))),
        7 if dash(4) => Some(Some((number(0, 4)?, number(5, 7)?, 1))),
        10 if dash(4) && dash(7) => Some(Some((number(0, 4)?, number(5, 7)?, number(8, 10)?))),
        length if length > 10 => Some(None),
        _ => None,
    }
}

/// Seconds since 1970, and whether a fraction follows.
fn instant(text: &str) -> Option<(i64, bool)> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some((time.unix_timestamp(), time.nanosecond() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_the_whole_of_what_it_names() {
        for (text, first, next) in [
            ("2022", "2022-01-01T00:00:00Z", "2023-01-01T00:00:00Z"),
            ("2022-02", "2022-02-01T00:00:00Z", "2022-03-01T00:00:00Z"),
            ("2022-12", "2022-12-01T00:00:00Z", "2023-01-01T00:00:00Z"),
            ("2022-12-31", "2022-12-31T00:00:00Z", "2023-01-01T00:00:00Z"),
            ("2024-02-28", "2024-02-28T00:00:00Z", "2024-02-29T00:00:00Z"),
            (
                "2022-06-13T01:02:03-05:00",
                "2022-06-13T06:02:03Z",
                "2022-06-13T06:02:04Z",
            ),
            (
                "2022-06-13T01:02:03.5Z",
                "2022-06-13T01:02:04Z",
                "2022-06-13T01:02:04Z",
            ),
            ("9999", "9999-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(begin(text).unwrap().to_string(), first, "{text}");
            assert_eq!(after(text).unwrap().to_string(), next, "{text}");
        }
        let noon = "2022-06-13T12:00:00Z";
        assert_eq!(before(after(noon).unwrap()).to_string(), noon);
    }

    #[test]
    fn what_is_no_date_is_none() {
        for bad in [
            "",
            "22",
            "2022-13",
            "2022-02-30",
            "2022/02",
            "20220101",
            "2022-01-01T00:00",
            "2022-01-01T00:00:00",
            "+022",
            "2022-1-1x",
            "zwanzig",
        ] {
            assert_eq!(begin(bad), None, "{bad}");
            assert_eq!(after(bad), None, "{bad}");
        }
    }
}
