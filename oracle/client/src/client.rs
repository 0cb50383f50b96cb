//! Typed calls of the oracle's REST API.

use std::{fs, sync::Arc};

use bytes::Bytes;
use contract_interface::{
    AuthorizeRead, Device, DeviceId, DevicePage, DeviceRegistration, Grant, GrantAccess,
    GrantEntry, GrantFilter, GrantId, GrantPage, PageToken, Participant, ParticipantFilter,
    ParticipantPage, ParticipantRegistration, Purpose, ReadEntry, ReadFilter, ReadPage, Record,
    RecordFilter, RecordId, RecordPage, RegistrationOutcome, RevokeAccess,
};
use fabric_msp::SigningIdentity;
use http::{HeaderMap, HeaderValue, Method};
use sealed_object::PrivateKey;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    error::ClientError,
    http::{Http, signing_identity},
    opening::{OpenedRecord, SealedRecord},
    profile::Profile,
    signing,
};

/// The request header that carries the signed read request.
const READ_REQUEST_HEADER: &str = "salus-read-request";

/// A person's connection to an oracle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http,
    identity: SigningIdentity,
    channel: Arc<str>,
    encryption_key: Option<EncryptionKey>,
}

/// The private key, shared by clones and never printed.
#[derive(Clone)]
struct EncryptionKey(Arc<PrivateKey>);

impl std::fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptionKey({})", self.0.public_key().thumbprint())
    }
}

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

/// What giving or revoking a grant answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Changed {
    /// The grant.
    pub grant_id: GrantId,
    /// The transaction that recorded it.
    pub transaction_id: String,
    /// The block that holds the transaction.
    pub block_number: u64,
}

impl Client {
    /// Prepares calls as the person of a profile; connects at the first call.
    ///
    /// # Errors
    /// When the certificate, a key or the CA file cannot be used.
    pub fn new(profile: &Profile) -> Result<Self, ClientError> {
        let encryption_key = match &profile.encryption_key_file {
            Some(file) => {
                let problem = |why: String| ClientError::Key {
                    problem: format!("{}: {why}", file.display()),
                };
                let text = fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
                let key = PrivateKey::from_jwk(&Zeroizing::new(text))
                    .map_err(|error| problem(error.to_string()))?;
                Some(EncryptionKey(Arc::new(key)))
            }
            None => None,
        };
        Ok(Self {
            http: Http::new(profile)?,
            identity: signing_identity(profile)?,
            channel: profile.channel.as_str().into(),
            encryption_key,
        })
    }

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

    /// Lists participants, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn participants(
        &self,
        mut filter: ParticipantFilter,
    ) -> Result<Vec<Participant>, ClientError> {
        let mut all = Vec::new();
        loop {
            let query = [
                ("role", filter.role.map(|role| role.to_string())),
                ("msp_id", filter.msp_id.as_ref().map(ToString::to_string)),
                ("page_token", token(filter.page.page_token.as_ref())),
            ];
            let page: ParticipantPage = self.http.get("/v1/participants", &query).await?;
            all.extend(page.participants);
            match page.next_page_token {
                Some(next) => filter.page.page_token = Some(next),
                None => return Ok(all),
            }
        }
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
        let mut all = Vec::new();
        let mut next: Option<PageToken> = None;
        loop {
            let query = [("page_token", token(next.as_ref()))];
            let page: DevicePage = self.http.get("/v1/devices", &query).await?;
            all.extend(page.devices);
            next = page.next_page_token;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// Lists a patient's records as far as the caller may see them, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn records(&self, mut filter: RecordFilter) -> Result<Vec<Record>, ClientError> {
        let mut all = Vec::new();
        loop {
            let query = [
                ("patient", Some(filter.patient.to_string())),
                ("type", filter.record_type.as_ref().map(ToString::to_string)),
                ("from", filter.from.map(|time| time.to_string())),
                ("to", filter.to.map(|time| time.to_string())),
                ("page_token", token(filter.page.page_token.as_ref())),
            ];
            let page: RecordPage = self.http.get("/v1/records", &query).await?;
            all.extend(page.records);
            match page.next_page_token {
                Some(next) => filter.page.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// One record's entry on the ledger.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when there is none that the caller may see.
    pub async fn record(&self, id: &RecordId) -> Result<Record, ClientError> {
        self.http.get(&format!("/v1/records/{id}"), &[]).await
    }

    /// Asks, signed, for a record's sealed object and key. Permit or deny, the request is recorded
    /// on the ledger before this returns; the caller then owes a use of what it received.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the read is denied: [`ClientError::denied_read`] then tells
    /// the transaction that recorded it.
    pub async fn request_content(
        &self,
        id: &RecordId,
        purpose: Purpose,
    ) -> Result<SealedRecord, ClientError> {
        let body = AuthorizeRead {
            record_id: *id,
            purpose,
        };
        let request = signing::sign(&self.identity, &self.channel, body)?;
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&request).map_err(|_| ClientError::Malformed {
            what: "a signed request",
        })?;
        headers.insert(READ_REQUEST_HEADER, value);
        let path = format!("/v1/records/{id}/content");
        let response = self
            .http
            .send(Method::GET, &path, headers, Bytes::new())
            .await?;
        let record = self.record(id).await?;
        SealedRecord::new(record, response)
    }

    /// Reads a record: asks for it, checks it against the ledger and opens it, in memory.
    ///
    /// # Errors
    /// As [`Client::request_content`]; [`ClientError::Integrity`] when what arrives is not what
    /// the ledger registered, [`ClientError::Key`] when this profile's key does not open it,
    /// [`ClientError::TooLarge`] when it is not for opening in memory.
    pub async fn read(&self, id: &RecordId, purpose: Purpose) -> Result<OpenedRecord, ClientError> {
        let sealed = self.request_content(id, purpose).await?;
        sealed.open(self.encryption_key()?).await
    }

    /// The private key that opens what is released to this person.
    ///
    /// # Errors
    /// [`ClientError::Key`] when the profile names none.
    pub fn encryption_key(&self) -> Result<&PrivateKey, ClientError> {
        match &self.encryption_key {
            Some(key) => Ok(&key.0),
            None => Err(ClientError::Key {
                problem: "the profile names no encryption_key_file".to_owned(),
            }),
        }
    }

    /// Gives a grant, signed. For patients, about their own records.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the caller is no patient or the grant is malformed.
    pub async fn give_grant(&self, grant: Grant) -> Result<Changed, ClientError> {
        let request = signing::sign(&self.identity, &self.channel, GrantAccess { grant })?;
        self.http.post_jws("/v1/grants", request).await
    }

    /// Ends a grant, signed. For the patient who gave it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it is another's, unknown, or ended already.
    pub async fn revoke_grant(&self, grant_id: GrantId) -> Result<Changed, ClientError> {
        let path = format!("/v1/grants/{grant_id}/revocation");
        let request = signing::sign(&self.identity, &self.channel, RevokeAccess { grant_id })?;
        self.http.post_jws(&path, request).await
    }

    /// Lists grants by patient or by grantee, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn grants(&self, mut filter: GrantFilter) -> Result<Vec<GrantEntry>, ClientError> {
        let mut all = Vec::new();
        loop {
            let query = [
                ("patient", filter.patient.as_ref().map(ToString::to_string)),
                ("grantee", filter.grantee.as_ref().map(ToString::to_string)),
                ("page_token", token(filter.page.page_token.as_ref())),
            ];
            let page: GrantPage = self.http.get("/v1/grants", &query).await?;
            all.extend(page.grants);
            match page.next_page_token {
                Some(next) => filter.page.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Lists reads and denials, all pages.
    ///
    /// # Errors
    /// As every call: unreachable, refused, malformed.
    pub async fn reads(&self, mut filter: ReadFilter) -> Result<Vec<ReadEntry>, ClientError> {
        let mut all = Vec::new();
        loop {
            let query = [
                ("patient", filter.patient.as_ref().map(ToString::to_string)),
                (
                    "record_id",
                    filter.record_id.as_ref().map(ToString::to_string),
                ),
                ("reader", filter.reader.as_ref().map(ToString::to_string)),
                ("from", filter.from.map(|time| time.to_string())),
                ("to", filter.to.map(|time| time.to_string())),
                ("page_token", token(filter.page.page_token.as_ref())),
            ];
            let page: ReadPage = self.http.get("/v1/reads", &query).await?;
            all.extend(page.reads);
            match page.next_page_token {
                Some(next) => filter.page.page_token = Some(next),
                None => return Ok(all),
            }
        }
    }
}

fn token(token: Option<&PageToken>) -> Option<String> {
    token.map(ToString::to_string)
}
