//! Who takes part: participants and devices.
//!
//! Oracles, providers, admins and auditors are public. Patients and devices are in the collection
//! `records`.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Salt};
use crate::ids::{DeviceId, MspId, ParticipantId, Pseudonym};
use crate::jwk::Jwk;
use crate::page::{PageRequest, PageToken};
use crate::record::Period;
use crate::time::UtcTime;

/// What a participant is; the value of the certificate attribute `salus.role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An organisation's oracle.
    Oracle,
    /// Someone whose records are kept.
    Patient,
    /// Someone who treats, researches, pays: who reads.
    Provider,
    /// An organisation's administrator.
    Admin,
    /// Someone who checks who read what.
    Auditor,
}

impl Role {
    /// The role as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Oracle => "oracle",
            Self::Patient => "patient",
            Self::Provider => "provider",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }

    /// The role written as `text`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [
            Self::Oracle,
            Self::Patient,
            Self::Provider,
            Self::Admin,
            Self::Auditor,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a participant or a device may act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may.
    #[default]
    Active,
    /// Not now.
    Suspended,
    /// Never again.
    Revoked,
}

/// Transient field `participant` of `RegisterParticipant`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantRegistration {
    /// The participant's random ID; a patient's pseudonym.
    pub participant_id: ParticipantId,
    /// What the participant is; fixed by the first registration.
    pub role: Role,
    /// The participant's certificate (PEM) of the creator's organisation.
    pub certificate: String,
    /// Public key to wrap data keys with. A patient's is fixed by the first registration that
    /// names one; only the patient replaces it then, with `RotateKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<Jwk>,
    /// Compact JWS of the [`crate::KeyProof`], signed with the certificate's key: needed with a key
    /// or a certificate that is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_proof: Option<String>,
    /// Whether the participant may act.
    #[serde(default)]
    pub status: Status,
}

/// A registered participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// The participant's random ID; a patient's pseudonym.
    pub participant_id: ParticipantId,
    /// The organisation that registered the participant.
    pub msp_id: MspId,
    /// What the participant is.
    pub role: Role,
    /// The participant's certificate (PEM); empty where a patient is shown to who may seal for
    /// it, but need not learn what its certificate says.
    pub certificate: String,
    /// SHA-256 of the certificate's DER.
    pub thumbprint: Digest,
    /// Public key to wrap data keys with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<Jwk>,
    /// Compact JWS of the [`crate::KeyProof`] that the encryption key is the participant's, which
    /// the contract has verified. Whoever wraps for the key verifies it again, with the
    /// certificate above: an oracle that answers with a key of its own has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_proof: Option<String>,
    /// Whether the participant may act.
    pub status: Status,
    /// 1, and one more with each change.
    pub version: u32,
    /// Present in private values only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
}

/// What a registration changed: the public result of `RegisterParticipant` and `RegisterDevice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationOutcome {
    /// It was not there before.
    Registered,
    /// It was there with other content, which has been replaced.
    Updated,
    /// It was there with this content.
    Unchanged,
}

/// Which participants to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantFilter {
    /// Only this role. Patients are listed only when this asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Only this organisation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msp_id: Option<MspId>,
    /// Which page.
    #[serde(default)]
    pub page: PageRequest,
}

/// An organisation's clock on the channel, in the public state: the latest time that one of its
/// oracles stated with `Tick`. Decisions on reads refuse transaction times that lie more than
/// [`crate::limits::REQUEST_WINDOW_SECONDS`] before the upper median of all clocks, so that who
/// submits cannot go back in time without most organisations' help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationClock {
    /// The organisation.
    pub msp_id: MspId,
    /// The latest time stated.
    pub time: UtcTime,
}

/// Result of `ListStaleNonces`; its keys are the input of `PurgeNonces`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleNonces {
    /// Ledger keys, at most [`crate::limits::NONCE_BATCH_MAX`]; blinded, so they tell nothing.
    pub keys: Vec<String>,
}

/// Public result of `PurgeNonces`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoncesPurged {
    /// Nonces that this transaction purges; those that were gone already do not count.
    pub purged: u32,
}

/// A page of participants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantPage {
    /// The participants, in the order of their keys.
    pub participants: Vec<Participant>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}

/// Transient field `device` of `RegisterDevice`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRegistration {
    /// The device's ID, the CN of its certificate.
    pub device_id: DeviceId,
    /// SHA-256 of the device certificate's DER.
    pub thumbprint: Digest,
    /// The patient that the device measures.
    pub patient: Pseudonym,
    /// From when. A binding to another patient before is ended by this one.
    pub bound_from: UtcTime,
    /// Until when, itself not included; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_until: Option<UtcTime>,
    /// Whether the device may measure.
    #[serde(default)]
    pub status: Status,
    /// Since when it may not: readings before stay welcome. The transaction's time if absent;
    /// refused for an active device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_since: Option<UtcTime>,
}

/// A time during which a device measures a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceBinding {
    /// The patient.
    pub patient: Pseudonym,
    /// From when.
    pub bound_from: UtcTime,
    /// Until when, itself not included; open if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_until: Option<UtcTime>,
}

impl DeviceBinding {
    /// Whether the binding holds at `time`.
    #[must_use]
    pub fn covers(&self, time: UtcTime) -> bool {
        self.bound_from <= time && self.bound_until.is_none_or(|until| time < until)
    }
}

/// A registered device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The device's ID.
    pub device_id: DeviceId,
    /// The organisation that registered it.
    pub msp_id: MspId,
    /// SHA-256 of the certificate's DER.
    pub thumbprint: Digest,
    /// Whether it may measure.
    pub status: Status,
    /// Since when it may not; absent for an active device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_since: Option<UtcTime>,
    /// Its bindings, in order of time, none overlapping another.
    pub bindings: Vec<DeviceBinding>,
    /// Keeps the stored value's public hash from being guessed.
    pub salt: Salt,
}

impl Device {
    /// The patient that the device measures at `time`.
    #[must_use]
    pub fn patient_at(&self, time: UtcTime) -> Option<Pseudonym> {
        self.bindings
            .iter()
            .find(|binding| binding.covers(time))
            .map(|binding| binding.patient)
    }

    /// Whether the device measured `patient` for the whole period.
    #[must_use]
    pub fn measured(&self, patient: &Pseudonym, period: &Period) -> bool {
        self.bindings.iter().any(|binding| {
            binding.patient == *patient
                && binding.covers(period.start)
                && binding.covers(period.end)
        })
    }

    /// Whether the device was in use until `time`.
    #[must_use]
    pub fn active_at(&self, time: UtcTime) -> bool {
        match self.status {
            Status::Active => true,
            Status::Suspended | Status::Revoked => {
                self.status_since.is_some_and(|since| time < since)
            }
        }
    }
}

/// A page of devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePage {
    /// The devices, in the order of their (blinded) keys.
    pub devices: Vec<Device>,
    /// Present if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<PageToken>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    #[test]
    fn roles_are_what_the_attribute_says() {
        for role in [
            Role::Oracle,
            Role::Patient,
            Role::Provider,
            Role::Admin,
            Role::Auditor,
        ] {
            assert_eq!(Role::from_text(role.as_str()), Some(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert_eq!(Role::from_text("Admin"), None);
    }

    #[test]
    fn a_device_that_changed_patients() {
        let (first, second) = (
            Pseudonym::from_bytes([1; 16]),
            Pseudonym::from_bytes([2; 16]),
        );
        let moved = time("2026-03-01T00:00:00Z");
        let mut device = Device {
            device_id: "d".parse().unwrap(),
            msp_id: "Org1MSP".parse().unwrap(),
            thumbprint: Digest::of(b""),
            status: Status::Active,
            status_since: None,
            bindings: vec![
                DeviceBinding {
                    patient: first,
                    bound_from: time("2026-01-01T00:00:00Z"),
                    bound_until: Some(moved),
                },
                DeviceBinding {
                    patient: second,
                    bound_from: moved,
                    bound_until: None,
                },
            ],
            salt: format!("01{}", "00".repeat(31)).parse().unwrap(),
        };
        let before = time("2026-02-01T00:00:00Z");
        let after = time("2026-04-01T00:00:00Z");
        assert_eq!(device.patient_at(time("2025-12-31T23:59:59Z")), None);
        assert_eq!(device.patient_at(before), Some(first));
        assert_eq!(device.patient_at(moved), Some(second));
        assert!(device.measured(
            &first,
            &Period {
                start: before,
                end: before
            }
        ));
        assert!(
            !device.measured(
                &first,
                &Period {
                    start: before,
                    end: after
                }
            ),
            "spans the move"
        );
        assert!(!device.measured(
            &second,
            &Period {
                start: before,
                end: after
            }
        ));

        device.status = Status::Revoked;
        device.status_since = Some(after);
        assert!(device.active_at(before) && !device.active_at(after));
        device.status_since = None;
        assert!(!device.active_at(before), "an unknown time is no time");
    }
}
