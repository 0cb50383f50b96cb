//! Typed values on the ledger, in canonical JSON.

use contract_interface::names::collections;
use contract_interface::{
    Device, DeviceId, Digest, ErrorCode, GrantEntry, GrantId, MspId, Participant, ParticipantId,
    Pseudonym, RecordId, RecordPrivate, RecordState, RecordWraps, Salt, canonical_json,
};
use fabric_shim::Stub;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::keys::{self, Blinding};

/// Value of an index entry whose key says everything. Its public hash is that of every such
/// entry, and so says nothing more than that.
const INDEX_VALUE: &[u8] = b"1";

/// Value of the blinding key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlindingValue {
    secret: Digest,
}

/// Value of a thumbprint key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThumbprintValue {
    participant_id: ParticipantId,
    salt: Salt,
}

/// One transaction's view of the ledger.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    pub(crate) stub: &'a Stub,
    pub(crate) blinding: Blinding,
}

impl<'a> Ledger<'a> {
    /// Reads the blinding key.
    pub(crate) async fn open(stub: &'a Stub) -> Result<Self, Failure> {
        match Self::stored_blinding(stub).await? {
            Some(blinding) => Ok(Self { stub, blinding }),
            None => Err(Failure::new(
                ErrorCode::NotInitialized,
                "no participant has been registered on this channel yet",
            )),
        }
    }

    /// Lays the blinding key down; for the channel's first registration, after [`Ledger::open`]
    /// has found none.
    pub(crate) async fn create(stub: &'a Stub, salt: &Salt) -> Result<Self, Failure> {
        let secret = Blinding::secret_from(salt);
        let ledger = Self {
            stub,
            blinding: Blinding::new(&secret),
        };
        ledger
            .put(
                collections::RECORDS,
                &keys::blinding()?,
                &BlindingValue { secret },
            )
            .await?;
        Ok(ledger)
    }

    async fn stored_blinding(stub: &Stub) -> Result<Option<Blinding>, Failure> {
        let bytes = stub
            .get_private_data(collections::RECORDS, &keys::blinding()?)
            .await?;
        let value: Option<BlindingValue> =
            bytes.map(|b| parse("the blinding key", &b)).transpose()?;
        Ok(value.map(|value| Blinding::new(&value.secret)))
    }

    /// Reads a value of a private collection.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        collection: &'static str,
        key: &str,
        what: &'static str,
    ) -> Result<Option<T>, Failure> {
        let bytes = self.stub.get_private_data(collection, key).await?;
        bytes.map(|bytes| parse(what, &bytes)).transpose()
    }

    /// Writes a value into a private collection.
    pub(crate) async fn put<T: Serialize>(
        &self,
        collection: &'static str,
        key: &str,
        value: &T,
    ) -> Result<(), Failure> {
        Ok(self
            .stub
            .put_private_data(collection, key, canonical_json(value)?)
            .await?)
    }

    /// Writes an index entry whose key says everything.
    pub(crate) async fn put_index(&self, key: &str) -> Result<(), Failure> {
        Ok(self
            .stub
            .put_private_data(collections::RECORDS, key, INDEX_VALUE)
            .await?)
    }

    /// Writes a value into the public state.
    pub(crate) async fn put_public<T: Serialize>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<(), Failure> {
        Ok(self.stub.put_state(key, canonical_json(value)?).await?)
    }

    /// The participant with this ID.
    pub(crate) async fn participant(
        &self,
        id: &ParticipantId,
    ) -> Result<Option<Participant>, Failure> {
        let key = self.blinding.participant(id)?;
        self.get(collections::RECORDS, &key, "a participant").await
    }

    /// The participant who now has this certificate.
    pub(crate) async fn participant_by_thumbprint(
        &self,
        thumbprint: &Digest,
    ) -> Result<Option<Participant>, Failure> {
        let key = self.blinding.thumbprint(thumbprint)?;
        let value: Option<ThumbprintValue> =
            self.get(collections::RECORDS, &key, "a thumbprint").await?;
        match value {
            Some(value) => match self.participant(&value.participant_id).await? {
                Some(participant) => Ok(Some(participant)),
                None => Err(Failure::corrupt("a participant")),
            },
            None => Ok(None),
        }
    }

    /// Lets a certificate stand for a participant.
    pub(crate) async fn put_thumbprint(
        &self,
        thumbprint: &Digest,
        participant_id: ParticipantId,
        salt: Salt,
    ) -> Result<(), Failure> {
        let key = self.blinding.thumbprint(thumbprint)?;
        self.put(
            collections::RECORDS,
            &key,
            &ThumbprintValue {
                participant_id,
                salt,
            },
        )
        .await
    }

    /// Lets a certificate stand for nobody.
    pub(crate) async fn delete_thumbprint(&self, thumbprint: &Digest) -> Result<(), Failure> {
        let key = self.blinding.thumbprint(thumbprint)?;
        Ok(self
            .stub
            .del_private_data(collections::RECORDS, &key)
            .await?)
    }

    /// A device of an organisation.
    pub(crate) async fn device(
        &self,
        msp_id: &MspId,
        id: &DeviceId,
    ) -> Result<Option<Device>, Failure> {
        let key = self.blinding.device(msp_id, id)?;
        self.get(collections::RECORDS, &key, "a device").await
    }

    /// A patient's grant.
    pub(crate) async fn grant(
        &self,
        patient: &Pseudonym,
        id: &GrantId,
    ) -> Result<Option<GrantEntry>, Failure> {
        self.get(collections::RECORDS, &keys::grant(patient, id)?, "a grant")
            .await
    }

    /// A record's private half.
    pub(crate) async fn record_private(
        &self,
        id: &RecordId,
    ) -> Result<Option<RecordPrivate>, Failure> {
        self.get(collections::RECORDS, &self.blinding.record(id)?, "a record")
            .await
    }

    /// A record's wrapped keys.
    pub(crate) async fn wraps(&self, id: &RecordId) -> Result<Option<RecordWraps>, Failure> {
        self.get(collections::KEYS, &self.blinding.wraps(id)?, "wrapped keys")
            .await
    }

    /// Public halves of records, in the order of the IDs.
    pub(crate) async fn record_states(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<RecordState>>, Failure> {
        let keys = ids
            .iter()
            .map(keys::public_record)
            .collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let values = self.stub.get_multiple_states(&keys).await?;
        values
            .into_iter()
            .map(|v| v.map(|b| parse("a record", &b)).transpose())
            .collect()
    }

    /// Private halves of records, in the order of the IDs.
    pub(crate) async fn records_private(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<RecordPrivate>>, Failure> {
        let keys = ids
            .iter()
            .map(|id| self.blinding.record(id))
            .collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let values = self
            .stub
            .get_multiple_private_data(collections::RECORDS, &keys)
            .await?;
        values
            .into_iter()
            .map(|v| v.map(|b| parse("a record", &b)).transpose())
            .collect()
    }
}

/// Reads a stored value.
pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|_| Failure::corrupt(what))
}
