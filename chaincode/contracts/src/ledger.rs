//! Typed values on the ledger, in canonical JSON.

use contract_interface::access::{DelegationEntry, EmergencyEntry};
use contract_interface::names::collections;
use contract_interface::{
    Decision, Device, DeviceId, Digest, EmergencyId, ErrorCode, GrantEntry, GrantId, GrantStatus,
    MspId, Participant, ParticipantId, PolicyEntry, PolicyId, Pseudonym, ReadEntry, ReadId,
    RecordId, RecordPrivate, RecordState, RecordWraps, Salt, UtcTime, canonical_json,
};
use fabric_shim::Stub;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::keys::{self, Blinding};

/// A value that brings no salt of its own, with one that is for its key alone: neither the value's
/// public hash nor that of another value of the same transaction can be guessed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Salted<T> {
    value: T,
    salt: Digest,
}

/// Value of the key that says which emergency a reader declared last for a patient.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmergencyPointer {
    pub(crate) emergency_id: EmergencyId,
}

/// Value of the blinding key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlindingValue {
    secret: Digest,
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

    /// Writes a value without a salt of its own into the collection `records`, with one made of
    /// the transaction's or record's `salt`.
    pub(crate) async fn put_salted<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        salt: &Salt,
    ) -> Result<(), Failure> {
        let salt = keys::value_salt(salt, key);
        self.put(collections::RECORDS, key, &Salted { value, salt })
            .await
    }

    /// Reads a value that [`Self::put_salted`] wrote.
    pub(crate) async fn get_salted<T: DeserializeOwned>(
        &self,
        key: &str,
        what: &'static str,
    ) -> Result<Option<T>, Failure> {
        let salted: Option<Salted<T>> = self.get(collections::RECORDS, key, what).await?;
        Ok(salted.map(|salted| salted.value))
    }

    /// Writes an index entry whose key says everything. Its value is a salt, so that the public
    /// hash says nothing, not even that it is an index entry's.
    pub(crate) async fn put_index(&self, key: &str, salt: &Salt) -> Result<(), Failure> {
        self.put(collections::RECORDS, key, &keys::value_salt(salt, key))
            .await
    }

    /// Reads values of the collection `records` in one message, in the order of the keys.
    pub(crate) async fn get_many<T: DeserializeOwned>(
        &self,
        keys: &[String],
        what: &'static str,
    ) -> Result<Vec<Option<T>>, Failure> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let values = self
            .stub
            .get_multiple_private_data(collections::RECORDS, &keys)
            .await?;
        values
            .into_iter()
            .map(|value| value.map(|bytes| parse(what, &bytes)).transpose())
            .collect()
    }

    /// The same of values that [`Self::put_salted`] wrote.
    pub(crate) async fn get_many_salted<T: DeserializeOwned>(
        &self,
        keys: &[String],
        what: &'static str,
    ) -> Result<Vec<Option<T>>, Failure> {
        let salted: Vec<Option<Salted<T>>> = self.get_many(keys, what).await?;
        Ok(salted
            .into_iter()
            .map(|found| found.map(|salted| salted.value))
            .collect())
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

    /// Participants, in the order of the IDs.
    pub(crate) async fn participants(
        &self,
        ids: &[ParticipantId],
    ) -> Result<Vec<Option<Participant>>, Failure> {
        let keys = ids.iter().map(|id| self.blinding.participant(id));
        self.get_many(&keys.collect::<Result<Vec<_>, _>>()?, "a participant")
            .await
    }

    /// The participant who now has this certificate.
    pub(crate) async fn participant_by_thumbprint(
        &self,
        thumbprint: &Digest,
    ) -> Result<Option<Participant>, Failure> {
        let key = self.blinding.thumbprint(thumbprint)?;
        match self
            .get_salted::<ParticipantId>(&key, "a thumbprint")
            .await?
        {
            Some(id) => match self.participant(&id).await? {
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
        self.put_salted(&key, &participant_id, &salt).await
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
        let key = self.blinding.grant(patient, id)?;
        self.get(collections::RECORDS, &key, "a grant").await
    }

    /// Grants of patients, in the order of the IDs.
    pub(crate) async fn grants(
        &self,
        ids: &[(Pseudonym, GrantId)],
    ) -> Result<Vec<Option<GrantEntry>>, Failure> {
        let keys = ids
            .iter()
            .map(|(patient, id)| self.blinding.grant(patient, id));
        self.get_many(&keys.collect::<Result<Vec<_>, _>>()?, "a grant")
            .await
    }

    /// How many reads were made under grants that limit them, in the order of the IDs.
    pub(crate) async fn grant_uses(
        &self,
        ids: &[(Pseudonym, GrantId)],
    ) -> Result<Vec<u32>, Failure> {
        let keys = ids
            .iter()
            .map(|(patient, id)| self.blinding.grant_uses(patient, id));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let uses = self.get_many_salted(&keys, "a grant's number of reads");
        Ok(uses
            .await?
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect())
    }

    /// Policies of organisations, in the order of the IDs.
    pub(crate) async fn policies(
        &self,
        ids: &[(MspId, PolicyId)],
    ) -> Result<Vec<Option<PolicyEntry>>, Failure> {
        let keys = ids
            .iter()
            .map(|(msp_id, id)| self.blinding.policy(msp_id, id));
        self.get_many(&keys.collect::<Result<Vec<_>, _>>()?, "a policy")
            .await
    }

    /// Recorded reads, in the order of the IDs.
    pub(crate) async fn reads(&self, ids: &[ReadId]) -> Result<Vec<Option<ReadEntry>>, Failure> {
        let keys = ids.iter().map(|id| self.blinding.read(id));
        self.get_many(&keys.collect::<Result<Vec<_>, _>>()?, "a read")
            .await
    }

    /// The patient's delegation to a guardian, whether it stands or not.
    pub(crate) async fn delegation(
        &self,
        patient: &Pseudonym,
        guardian: &ParticipantId,
    ) -> Result<Option<DelegationEntry>, Failure> {
        let key = self.blinding.delegation(patient, guardian)?;
        self.get(collections::RECORDS, &key, "a delegation").await
    }

    /// The emergency that a reader declared last for a patient, whether it lasts or not.
    pub(crate) async fn emergency(
        &self,
        patient: &Pseudonym,
        reader: &ParticipantId,
    ) -> Result<Option<EmergencyEntry>, Failure> {
        let key = self.blinding.latest_emergency(patient, reader)?;
        let Some(EmergencyPointer { emergency_id }) = self.get_salted(&key, "an emergency").await?
        else {
            return Ok(None);
        };
        let key = self.blinding.emergency(patient, &emergency_id)?;
        match self.get(collections::RECORDS, &key, "an emergency").await? {
            Some(entry) => Ok(Some(entry)),
            None => Err(Failure::corrupt("an emergency")),
        }
    }

    /// Marks permits as revoked whose guardian's delegation ended together with what was given
    /// under it. Their own entries do not say so: a revocation cannot search for them.
    pub(crate) async fn end_with_delegations<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e mut GrantEntry>,
    ) -> Result<(), Failure> {
        let mut of_guardians = Vec::new();
        let mut keys = Vec::new();
        for entry in entries {
            let stands = entry.status == GrantStatus::Active;
            if stands
                && entry.grant.rule.decision == Decision::Permit
                && let Some(id) = &entry.delegation_id
            {
                let guardian = &entry.given_by;
                let key = self
                    .blinding
                    .delegation_ended(&entry.patient, guardian, id)?;
                keys.push(key);
                of_guardians.push(entry);
            }
        }
        let ended: Vec<Option<UtcTime>> = self.get_many_salted(&keys, "an end of grants").await?;
        for (entry, ended) in of_guardians.into_iter().zip(ended) {
            if let Some(at) = ended {
                entry.status = GrantStatus::Revoked;
                entry.revoked_at = Some(at);
            }
        }
        Ok(())
    }

    /// The first versions of records, in the order of the IDs: each its own, unless it amends
    /// another. One that is not registered is its own.
    pub(crate) async fn roots(&self, ids: &[RecordId]) -> Result<Vec<RecordId>, Failure> {
        let keys = ids.iter().map(|id| self.blinding.root(id));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let roots: Vec<Option<RecordId>> = self.get_many_salted(&keys, "a first version").await?;
        let roots = ids.iter().zip(roots);
        Ok(roots.map(|(id, root)| root.unwrap_or(*id)).collect())
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
        if ids.is_empty() {
            return Ok(vec![]);
        }
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
        let keys = ids.iter().map(|id| self.blinding.record(id));
        self.get_many(&keys.collect::<Result<Vec<_>, _>>()?, "a record")
            .await
    }
}

/// Reads a stored value that [`Ledger::put_salted`] wrote.
pub(crate) fn parse_salted<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, Failure> {
    parse::<Salted<T>>(what, bytes).map(|salted| salted.value)
}

/// Reads a stored value.
pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|_| Failure::corrupt(what))
}
