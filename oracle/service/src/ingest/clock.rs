//! Devices whose clock is wrong: what becomes of a reading's time, and whose it is. Pure.
//!
//! A wrong clock does not make a measurement wrong, so the reading is kept and marked; its payload stays as it was
//! sent. Only a time that cannot be meant is not believed: the record then has the time of receipt. That is done
//! only for a device that measured one patient in all its life. Where it could be another's reading it is refused,
//! as every reading is from a time in which the device was bound to nobody.

use contract_interface::{Device, Period, Pseudonym, UtcTime};

use crate::journal::{Mark, Marks};

/// A device's clock may be ahead of ours by this much without a mark.
const AHEAD_SECONDS: i64 = 300;
/// A time further ahead than this is not believed.
const AHEAD_SECONDS_MAX: i64 = 86_400;
/// A reading may be older than this without a mark.
const BEHIND_SECONDS: i64 = 30 * 86_400;
/// 2001-01-01T00:00:00Z. A time before it is a clock that lost its power: they begin in 1970, 1980 or 2000.
const BELIEVED_FROM: i64 = 978_307_200;

/// Whose a reading is, and of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) patient: Pseudonym,
    pub(super) period: Period,
    pub(super) marks: Marks,
}

/// Places a reading of a device; none if it measured nobody, or not one patient alone, at that time.
pub(super) fn place(device: &Device, period: Period, received: UtcTime) -> Option<Placed> {
    let now = received.unix_seconds();
    let ahead = period.end.unix_seconds() - now;
    let behind = now - period.start.unix_seconds();
    let mut marks = Marks::default();
    marks.add_if(ahead > AHEAD_SECONDS, Mark::ClockAhead);
    marks.add_if(behind > BEHIND_SECONDS, Mark::ClockBehind);
    if ahead <= AHEAD_SECONDS_MAX && period.start.unix_seconds() >= BELIEVED_FROM {
        let patient = device.patient_at(period.start)?;
        return device.measured(&patient, &period).then_some(Placed {
            patient,
            period,
            marks,
        });
    }
    marks.add(Mark::TimeOfReceipt);
    let patient = device.patient_at(received)?;
    let alone = device.bindings.iter().all(|one| one.patient == patient);
    alone.then_some(Placed {
        patient,
        period: Period {
            start: received,
            end: received,
        },
        marks,
    })
}

#[cfg(test)]
mod tests {
    use contract_interface::{DeviceBinding, Digest, Salt, Status};

    use super::*;

    const FIRST: &str = "00112233445566778899aabbccddeeff";
    const SECOND: &str = "ff112233445566778899aabbccddeeff";
    const NOW: &str = "2026-06-01T12:00:00Z";

    fn time(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    fn device(bindings: &[(&str, &str, Option<&str>)]) -> Device {
        let binding = |(patient, from, until): &(&str, &str, Option<&str>)| DeviceBinding {
            patient: patient.parse().unwrap(),
            bound_from: time(from),
            bound_until: until.map(time),
        };
        Device {
            device_id: "hr-1".parse().unwrap(),
            msp_id: "Org1MSP".parse().unwrap(),
            thumbprint: Digest::from_bytes([1; 32]),
            status: Status::Active,
            status_since: None,
            bindings: bindings.iter().map(binding).collect(),
            salt: Salt::from_bytes(std::array::from_fn(|at| u8::try_from(at).unwrap())).unwrap(),
        }
    }

    /// Patient, start and names of the marks of a reading with this start and end.
    fn placed(
        device: &Device,
        start: &str,
        end: &str,
    ) -> Option<(String, String, Vec<&'static str>)> {
        let period = Period {
            start: time(start),
            end: time(end),
        };
        let placed = place(device, period, time(NOW))?;
        let marks = placed.marks.iter().map(Mark::name).collect();
        Some((
            placed.patient.to_string(),
            placed.period.start.to_string(),
            marks,
        ))
    }

    #[test]
    fn a_wrong_clock_is_marked_and_an_impossible_time_replaced() {
        let own = device(&[(FIRST, "2020-01-01T00:00:00Z", None)]);
        for (at, start, marks) in [
            (NOW, NOW, &[][..]),
            ("2026-06-01T12:05:00Z", "2026-06-01T12:05:00Z", &[]),
            (
                "2026-06-01T12:05:01Z",
                "2026-06-01T12:05:01Z",
                &["clock-ahead"],
            ),
            (
                "2026-06-02T12:00:00Z",
                "2026-06-02T12:00:00Z",
                &["clock-ahead"],
            ),
            (
                "2026-06-02T12:00:01Z",
                NOW,
                &["clock-ahead", "time-of-receipt"],
            ),
            (
                "2099-01-01T00:00:00Z",
                NOW,
                &["clock-ahead", "time-of-receipt"],
            ),
            ("2026-05-02T12:00:00Z", "2026-05-02T12:00:00Z", &[]),
            (
                "2026-05-02T11:59:59Z",
                "2026-05-02T11:59:59Z",
                &["clock-behind"],
            ),
            (
                "2020-01-01T00:00:00Z",
                "2020-01-01T00:00:00Z",
                &["clock-behind"],
            ),
            (
                "2000-12-31T23:59:59Z",
                NOW,
                &["clock-behind", "time-of-receipt"],
            ),
            (
                "1970-01-01T00:00:17Z",
                NOW,
                &["clock-behind", "time-of-receipt"],
            ),
        ] {
            let expected = (FIRST.to_owned(), start.to_owned(), marks.to_vec());
            assert_eq!(placed(&own, at, at), Some(expected), "{at}");
        }
    }

    #[test]
    fn a_reading_that_may_be_anothers_is_nobodys() {
        let own = device(&[(FIRST, "2020-01-01T00:00:00Z", None)]);
        let passed_on = device(&[
            (FIRST, "2020-01-01T00:00:00Z", Some("2026-01-01T00:00:00Z")),
            (SECOND, "2026-02-01T00:00:00Z", None),
        ]);
        let returned = device(&[(FIRST, "2020-01-01T00:00:00Z", Some("2026-01-01T00:00:00Z"))]);
        for (device, start, end) in [
            (&own, "2015-06-01T00:00:00Z", "2015-06-01T00:00:00Z"),
            (&own, "2019-12-31T00:00:00Z", "2020-01-02T00:00:00Z"),
            (&passed_on, "2026-01-15T00:00:00Z", "2026-01-15T00:00:00Z"),
            (&passed_on, "2025-12-31T00:00:00Z", "2026-02-02T00:00:00Z"),
            (&passed_on, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            (&passed_on, "2099-01-01T00:00:00Z", "2099-01-01T00:00:00Z"),
            (&returned, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            (&device(&[]), NOW, NOW),
        ] {
            assert_eq!(placed(device, start, end), None, "{start} {end}");
        }
        let (patient, _, _) = placed(&passed_on, NOW, NOW).unwrap();
        assert_eq!(patient, SECOND);
        let earlier = "2025-12-31T00:00:00Z";
        assert_eq!(placed(&passed_on, earlier, earlier).unwrap().0, FIRST);
    }
}
