//! Keys of what passes between people: delegations, requests for access, emergencies, notices.

use contract_interface::access::Recipient;
use contract_interface::{
    AccessRequestId, DelegationId, EmergencyId, MspId, NoticeId, ParticipantId, Pseudonym, UtcTime,
};
use fabric_shim::{KeyError, create_composite_key};

use super::{Blinding, object_types as of};

impl Blinding {
    /// Collection `records`: the patient's delegation to a guardian. All of a patient lie under
    /// [`Self::patient`].
    pub(crate) fn delegation(
        &self,
        patient: &Pseudonym,
        guardian: &ParticipantId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::DELEGATION,
            &[
                &self.patient(patient),
                &self.person(of::DELEGATION, guardian),
            ],
        )
    }

    /// Collection `records`: the index of delegations by guardian, which lie under
    /// [`Self::person`].
    pub(crate) fn delegation_by_guardian(
        &self,
        guardian: &ParticipantId,
        patient: &Pseudonym,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::DELEGATION_BY_GUARDIAN,
            &[
                &self.person(of::DELEGATION_BY_GUARDIAN, guardian),
                &self.patient(patient),
            ],
        )
    }

    /// Collection `records`: that the permits are over which a guardian gave under a delegation.
    pub(crate) fn delegation_ended(
        &self,
        patient: &Pseudonym,
        guardian: &ParticipantId,
        id: &DelegationId,
    ) -> Result<String, KeyError> {
        self.key(
            of::DELEGATION_ENDED,
            &[patient.as_bytes(), guardian.as_bytes(), id.as_bytes()],
        )
    }

    /// Collection `records`: the requests of a provider that a patient has not answered.
    pub(crate) fn access_requests_open(
        &self,
        requester: &ParticipantId,
        patient: &Pseudonym,
    ) -> Result<String, KeyError> {
        self.key(
            of::ACCESS_REQUESTS_OPEN,
            &[requester.as_bytes(), patient.as_bytes()],
        )
    }

    /// Collection `records`: how many requests a provider has made on its latest day.
    pub(crate) fn access_requests_of_day(
        &self,
        requester: &ParticipantId,
    ) -> Result<String, KeyError> {
        self.key(of::ACCESS_REQUESTS_OF_DAY, &[requester.as_bytes()])
    }

    /// Collection `records`: a request for access, under its patient.
    pub(crate) fn access_request(
        &self,
        patient: &Pseudonym,
        id: &AccessRequestId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::ACCESS_REQUEST,
            &[&self.patient(patient), &id.to_string()],
        )
    }

    /// Collection `records`: the index of requests for access by who asks.
    pub(crate) fn access_request_by_requester(
        &self,
        requester: &ParticipantId,
        id: &AccessRequestId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::ACCESS_REQUEST_BY_REQUESTER,
            &[
                &self.person(of::ACCESS_REQUEST_BY_REQUESTER, requester),
                &id.to_string(),
            ],
        )
    }

    /// Collection `records`: a declared emergency, under its patient.
    pub(crate) fn emergency(
        &self,
        patient: &Pseudonym,
        id: &EmergencyId,
    ) -> Result<String, KeyError> {
        create_composite_key(of::EMERGENCY, &[&self.patient(patient), &id.to_string()])
    }

    /// Collection `records`: which emergency a reader declared last for a patient.
    pub(crate) fn latest_emergency(
        &self,
        patient: &Pseudonym,
        reader: &ParticipantId,
    ) -> Result<String, KeyError> {
        self.key(
            of::EMERGENCY_LATEST,
            &[patient.as_bytes(), reader.as_bytes()],
        )
    }

    /// Collection `records`: the index of emergencies by the patient's organisation and time.
    pub(crate) fn emergency_by_organization(
        &self,
        patient_msp: &MspId,
        declared_at: UtcTime,
        id: &EmergencyId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::EMERGENCY_BY_ORGANIZATION,
            &[
                &self.organization(of::EMERGENCY_BY_ORGANIZATION, patient_msp),
                &declared_at.to_string(),
                &id.to_string(),
            ],
        )
    }

    /// The part under which the notices to a recipient are found.
    pub(crate) fn recipient(&self, recipient: &Recipient) -> String {
        match recipient {
            Recipient::Participant(id) => self.part(of::NOTICE, &[b"participant", id.as_bytes()]),
            Recipient::PrivacyOfficers(msp_id) => {
                self.part(of::NOTICE, &[b"officers", msp_id.as_str().as_bytes()])
            }
            Recipient::Providers(msp_id) => {
                self.part(of::NOTICE, &[b"providers", msp_id.as_str().as_bytes()])
            }
            Recipient::Anyone => self.part(of::NOTICE, &[b"anyone"]),
        }
    }

    /// Collection `records`: a notice, in the order of time.
    pub(crate) fn notice(
        &self,
        recipient: &Recipient,
        at: UtcTime,
        id: &NoticeId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::NOTICE,
            &[&self.recipient(recipient), &at.to_string(), &id.to_string()],
        )
    }
}
