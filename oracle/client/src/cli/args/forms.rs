//! How values are written on the command line.

use contract_interface::{
    Confidentiality, DeviceId, Grantee, Role, UtcTime,
    access::{Author, Power, SecurityLabel},
};

const DAY_SECONDS: i64 = 24 * 60 * 60;
const HOUR_SECONDS: i64 = 60 * 60;
const MINUTE_SECONDS: i64 = 60;

/// An end: a point in time, or so long from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Time(UtcTime),
    Seconds(i64),
}

impl Until {
    /// So many days from now.
    pub(crate) const fn days(days: i64) -> Self {
        Self::Seconds(days * DAY_SECONDS)
    }

    /// The point in time, seen from `now`.
    pub(crate) fn from(self, now: UtcTime) -> Result<UtcTime, contract_interface::ParseError> {
        match self {
            Self::Time(time) => Ok(time),
            Self::Seconds(seconds) => {
                UtcTime::from_unix_seconds(now.unix_seconds().saturating_add(seconds))
            }
        }
    }
}

pub(super) fn until(text: &str) -> Result<Until, String> {
    let in_units = [
        ('d', DAY_SECONDS),
        ('h', HOUR_SECONDS),
        ('m', MINUTE_SECONDS),
    ]
    .into_iter()
    .find_map(|(unit, seconds)| {
        let number = text.strip_suffix(unit)?.parse::<u32>().ok()?;
        Some(Until::Seconds(i64::from(number) * seconds))
    });
    in_units
        .or_else(|| text.parse().ok().map(Until::Time))
        .ok_or_else(|| {
            format!(
                "{text:?} is neither a time like 2027-01-31T00:00:00Z nor a while like 90d, 4h, 30m"
            )
        })
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    Role::from_text(text)
        .ok_or_else(|| format!("{text:?} is none of patient, provider, oracle, admin, auditor"))
}

pub(super) fn power(text: &str) -> Result<Power, String> {
    match text {
        "read" => Ok(Power::Read),
        "grant" => Ok(Power::Grant),
        "erase" => Ok(Power::Erase),
        _ => Err(format!("{text:?} is none of read, grant, erase")),
    }
}

pub(super) fn grantee(text: &str) -> Result<Grantee, String> {
    let forms = "expected participant:ID, organization:MSP, role:MSP/provider or anyone";
    if text == "anyone" {
        return Ok(Grantee::Anyone);
    }
    let (kind, rest) = text.split_once(':').ok_or(forms)?;
    let parsed = match kind {
        "participant" => rest.parse().map(Grantee::Participant),
        "organization" => rest.parse().map(Grantee::Organization),
        "role" => {
            let (msp_id, role) = rest.split_once('/').ok_or(forms)?;
            let msp_id = msp_id
                .parse()
                .map_err(|error| format!("{msp_id}: {error}"))?;
            return self::role(role).map(|role| Grantee::Role { msp_id, role });
        }
        _ => return Err(forms.to_owned()),
    };
    parsed.map_err(|error| format!("{rest}: {error}"))
}

pub(super) fn author(text: &str) -> Result<Author, String> {
    let forms = "expected participant:ID, device:ID or organization:MSP";
    let (kind, rest) = text.split_once(':').ok_or(forms)?;
    match kind {
        "participant" => rest.parse().map(Author::Participant),
        "device" => rest.parse::<DeviceId>().map(Author::Device),
        "organization" => rest.parse().map(Author::Organization),
        _ => return Err(forms.to_owned()),
    }
    .map_err(|error| format!("{rest}: {error}"))
}

/// `N`, `R` and `V` are confidentialities, everything else is a sensitivity.
pub(super) fn label(text: &str) -> Result<SecurityLabel, String> {
    match text.parse::<Confidentiality>() {
        Ok(code) => Ok(SecurityLabel::Confidentiality(code)),
        Err(_) => text
            .parse()
            .map(SecurityLabel::Sensitivity)
            .map_err(|error| format!("{text}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grantees_are_parsed_or_the_forms_named() {
        let id = "ab".repeat(16);
        assert!(matches!(
            grantee(&format!("participant:{id}")),
            Ok(Grantee::Participant(_))
        ));
        assert!(matches!(
            grantee("organization:Org2MSP"),
            Ok(Grantee::Organization(_))
        ));
        assert!(matches!(
            grantee("role:Org2MSP/provider"),
            Ok(Grantee::Role { .. })
        ));
        assert_eq!(grantee("anyone"), Ok(Grantee::Anyone));
        for bad in ["", "x", "person:1", "role:Org2MSP"] {
            assert!(
                grantee(bad).unwrap_err().contains("participant:ID"),
                "{bad}"
            );
        }
        assert!(grantee("participant:12").unwrap_err().starts_with("12: "));
    }

    #[test]
    fn authors_and_labels() {
        let id = "ab".repeat(16);
        assert!(matches!(
            author(&format!("participant:{id}")),
            Ok(Author::Participant(_))
        ));
        assert!(matches!(author("device:hr-1"), Ok(Author::Device(_))));
        assert!(matches!(
            author("organization:Org1MSP"),
            Ok(Author::Organization(_))
        ));
        for bad in ["hr-1", "device:", "person:x", "participant:12"] {
            assert!(author(bad).is_err(), "{bad}");
        }
        assert_eq!(
            label("R"),
            Ok(SecurityLabel::Confidentiality(Confidentiality::R))
        );
        assert_eq!(
            label("PSY"),
            Ok(SecurityLabel::Sensitivity("PSY".parse().unwrap()))
        );
        assert!(label("a b").is_err());
    }

    #[test]
    fn an_end_is_a_time_or_a_while_from_now() {
        let now: UtcTime = "2026-01-01T00:00:00Z".parse().unwrap();
        for (text, end) in [
            ("2d", "2026-01-03T00:00:00Z"),
            ("3h", "2026-01-01T03:00:00Z"),
            ("5m", "2026-01-01T00:05:00Z"),
            ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00Z"),
        ] {
            assert_eq!(until(text).unwrap().from(now).unwrap().to_string(), end);
        }
        for bad in ["soon", "", "d", "-1d", "1.5h", "99999999999d", "90"] {
            assert!(until(bad).is_err(), "{bad}");
        }
        let beyond = Until::Seconds(i64::MAX).from(now);
        assert!(beyond.is_err(), "after year 9999");
    }
}
