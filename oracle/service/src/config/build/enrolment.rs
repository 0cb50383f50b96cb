//! The section `[enrolment]`: how devices get certificates.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::raw::RawEnrolment;
use super::super::*;
use super::Sections;

/// `[enrolment] validity`.
const VALIDITY: RangeInclusive<Duration> =
    Duration::from_secs(3600)..=Duration::from_secs(3650 * 86_400);
/// `[enrolment] token_lifetime`.
const TOKEN_LIFETIME: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(30 * 86_400);

impl Sections {
    /// Absent, devices get their certificates elsewhere.
    pub(super) fn enrolment(&mut self) -> Option<EnrolmentConfig> {
        if !self.figment.contains("enrolment") {
            return None;
        }
        let raw: RawEnrolment = self.section("enrolment")?;
        let ca_certificate_file =
            self.path("enrolment.ca_certificate_file", raw.ca_certificate_file);
        let ca_key_file = self.path("enrolment.ca_key_file", raw.ca_key_file);
        let dir = self.path("enrolment.dir", raw.dir);
        let validity = self.duration(
            "enrolment.validity",
            raw.validity,
            DEFAULT_DEVICE_VALIDITY,
            &VALIDITY,
        );
        let token_lifetime = self.duration(
            "enrolment.token_lifetime",
            raw.token_lifetime,
            DEFAULT_TOKEN_LIFETIME,
            &TOKEN_LIFETIME,
        );
        Some(EnrolmentConfig {
            ca_certificate_file: ca_certificate_file?,
            ca_key_file: ca_key_file?,
            dir: dir?,
            validity: validity?,
            token_lifetime: token_lifetime?,
        })
    }
}
