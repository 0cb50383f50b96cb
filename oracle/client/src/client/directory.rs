//! Participants, their keys, and devices.

use contract_interface::{
    Device, DeviceId, DevicePage, DeviceRegistration, Jwk, MspId, PageRequest, Participant,
    ParticipantFilter, ParticipantId, ParticipantPage, ParticipantRegistration,
    RegistrationOutcome, Role, RotateKey, Status,
};
use serde::Deserialize;

use super::{
    Client, Recorded,
    pages::{all, text},
};
use crate::{error::ClientError, key_proof};

/// What a registration answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Registered {
    /// Whether it was new, changed or the same.
    pub outcome: RegistrationOutcome,
    /// The transaction that recorded it.
    pub transaction_id: String,
    /// The block that holds the transaction.
    pub block_number: u64,
}

impl Client {
    /// Registers someone of the oracle's organisation. For its administrators.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the ID is taken.
    pub async fn register_participant(
        &self,
        registration: &ParticipantRegistration,
    ) -> Result<Registered, ClientError> {
        self.http.post_json("/v1/participants", registration).await
    }

    /// One participant.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none that the caller may see.
    pub async fn participant(&self, id: &ParticipantId) -> Result<Participant, ClientError> {
        self.http.get(&format!("/v1/participants/{id}"), &[]).await
    }

    /// Lists participants, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn participants(
        &self,
        filter: ParticipantFilter,
    ) -> Result<Vec<Participant>, ClientError> {
        let query = vec![("role", text(filter.role)), ("msp_id", text(filter.msp_id))];
        all::<ParticipantPage>(&self.http, "/v1/participants", query, filter.page).await
    }

    /// The active participants of an organisation with one of `roles` who have registered a key to
    /// seal to.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn key_holders(
        &self,
        msp_id: &MspId,
        roles: &[Role],
    ) -> Result<Vec<Participant>, ClientError> {
        let mut holders = Vec::new();
        for role in roles {
            let filter = ParticipantFilter {
                role: Some(*role),
                msp_id: Some(msp_id.clone()),
                page: PageRequest::default(),
            };
            let found = self.participants(filter).await?;
            holders.extend(found.into_iter().filter(|participant| {
                participant.status == Status::Active && participant.encryption_key.is_some()
            }));
        }
        Ok(holders)
    }

    /// Replaces the caller's registered encryption key, signed. What was wrapped for the key before
    /// is to be wrapped again: see [`crate::custody`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the key is refused.
    pub async fn rotate_key(
        &self,
        me: &ParticipantId,
        encryption_key: Jwk,
    ) -> Result<Recorded, ClientError> {
        let path = format!("/v1/participants/{me}/key");
        let body = RotateKey {
            key_proof: key_proof::sign(&self.identity, *me, &encryption_key)?,
            encryption_key,
        };
        self.post_signed(&path, body).await
    }

    /// Registers a device of the oracle's organisation and binds it to a patient. For its
    /// administrators.
    ///
    /// # Errors
    /// [`ClientError::Refused`] without the right, or when the patient is unknown.
    pub async fn register_device(
        &self,
        registration: &DeviceRegistration,
    ) -> Result<Registered, ClientError> {
        self.http.post_json("/v1/devices", registration).await
    }

    /// One device of the oracle's organisation.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none.
    pub async fn device(&self, id: &DeviceId) -> Result<Device, ClientError> {
        self.http.get(&format!("/v1/devices/{id}"), &[]).await
    }

    /// Lists the devices of the oracle's organisation, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn devices(&self) -> Result<Vec<Device>, ClientError> {
        let page = PageRequest::default();
        all::<DevicePage>(&self.http, "/v1/devices", vec![], page).await
    }
}
