//! Keys on the ledger.
//!
//! Fabric puts SHA-256 of every private key that a transaction reads or writes into the block,
//! where every member of the channel keeps it for ever. A key made of guessable or public parts
//! could therefore be found by trying: whether device `hr-0042` exists, which public record a read
//! was about, to whom a grant was given. So every private key contains a part that only members
//! of the collection know: a patient's pseudonym (128 random bits, never public), or an HMAC under
//! the [`Blinding`] key, 256 secret bits that the first registration lays down in the collection.

use aws_lc_rs::hmac;
use contract_interface::{
    DeviceId, Digest, GrantId, Grantee, MspId, Nonce, ParticipantId, Pseudonym, ReadId, RecordId,
    RecordPrivate, RecordType, Salt, UtcTime,
};
use fabric_shim::{KeyError, create_composite_key, split_composite_key};

use crate::failure::Failure;

/// Object types, the first part of composite keys.
pub(crate) mod object_types {
    pub(crate) const BLINDING: &str = "blinding";
    pub(crate) const DEVICE: &str = "device";
    pub(crate) const GRANT: &str = "grant";
    pub(crate) const GRANT_BY_GRANTEE: &str = "grant~grantee";
    pub(crate) const NONCE: &str = "nonce";
    pub(crate) const PARTICIPANT: &str = "participant";
    pub(crate) const READ: &str = "read";
    pub(crate) const READ_BY_READER: &str = "read~reader";
    pub(crate) const RECORD: &str = "record";
    pub(crate) const RECORD_BY_PATIENT: &str = "record~patient";
    pub(crate) const RECORD_BY_TYPE: &str = "record~type";
    pub(crate) const THUMBPRINT: &str = "thumbprint";
    pub(crate) const WRAPS: &str = "wraps";
}

use object_types as of;

/// Domain of the hash that makes the blinding key of the first registration's salt.
const BLINDING_DOMAIN: &[u8] = b"salus blinding key 1";

/// Public state: a participant that is not a patient.
pub(crate) fn public_participant(id: &ParticipantId) -> Result<String, KeyError> {
    create_composite_key(of::PARTICIPANT, &[&id.to_string()])
}

/// Public state: a record's public half.
pub(crate) fn public_record(id: &RecordId) -> Result<String, KeyError> {
    create_composite_key(of::RECORD, &[&id.to_string()])
}

/// Collection `records`: where the blinding key lies. The one private key that everyone knows;
/// its value is 256 random bits.
pub(crate) fn blinding() -> Result<String, KeyError> {
    create_composite_key(of::BLINDING, &[])
}

/// Collection `records`: a grant. The pseudonym makes the key unguessable.
pub(crate) fn grant(patient: &Pseudonym, id: &GrantId) -> Result<String, KeyError> {
    create_composite_key(of::GRANT, &[&patient.to_string(), &id.to_string()])
}

/// Collection `records`: a read decision, in the order of its patient's reads.
pub(crate) fn read(
    patient: &Pseudonym,
    requested_at: UtcTime,
    id: &ReadId,
) -> Result<String, KeyError> {
    let attributes = [
        patient.to_string(),
        requested_at.to_string(),
        id.to_string(),
    ];
    create_composite_key(of::READ, &[&attributes[0], &attributes[1], &attributes[2]])
}

/// Collection `records`: the index of a patient's records by the end of their periods.
pub(crate) fn record_by_patient(record: &RecordPrivate) -> Result<String, KeyError> {
    create_composite_key(
        of::RECORD_BY_PATIENT,
        &[
            &record.patient.to_string(),
            &record.period.end.to_string(),
            &record.period.start.to_string(),
            record.record_type.as_str(),
            &record.record_id.to_string(),
        ],
    )
}

/// Collection `records`: the same for one type.
pub(crate) fn record_by_type(record: &RecordPrivate) -> Result<String, KeyError> {
    create_composite_key(
        of::RECORD_BY_TYPE,
        &[
            &record.patient.to_string(),
            record.record_type.as_str(),
            &record.period.end.to_string(),
            &record.period.start.to_string(),
            &record.record_id.to_string(),
        ],
    )
}

/// What a record index key says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecordIndexEntry {
    pub(crate) end: UtcTime,
    pub(crate) start: UtcTime,
    pub(crate) record_type: RecordType,
    pub(crate) record_id: RecordId,
}

impl RecordIndexEntry {
    /// Reads a key of either index.
    pub(crate) fn parse(key: &str) -> Result<Self, Failure> {
        let corrupt = || Failure::corrupt("an index key");
        let (object_type, attributes) = split_composite_key(key).map_err(|_| corrupt())?;
        let [_, rest @ ..] = attributes.as_slice() else {
            return Err(corrupt());
        };
        let ((of::RECORD_BY_PATIENT, [end, start, record_type, record_id])
        | (of::RECORD_BY_TYPE, [record_type, end, start, record_id])) =
            (object_type.as_str(), rest)
        else {
            return Err(corrupt());
        };
        Ok(Self {
            end: end.parse().map_err(|_| corrupt())?,
            start: start.parse().map_err(|_| corrupt())?,
            record_type: record_type.parse().map_err(|_| corrupt())?,
            record_id: record_id.parse().map_err(|_| corrupt())?,
        })
    }
}

/// Makes key parts that only members of the collection can make.
pub(crate) struct Blinding(hmac::Key);

impl Blinding {
    /// The secret that the first registration's salt gives.
    pub(crate) fn secret_from(salt: &Salt) -> Digest {
        Digest::of_parts(&[BLINDING_DOMAIN, salt.as_bytes()])
    }

    /// Blinds under this secret.
    pub(crate) fn new(secret: &Digest) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
    }

    /// HMAC-SHA256 over the parts, each behind its length, so that no two lists of parts agree.
    fn part(&self, object_type: &str, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(&object_type.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        hex::encode(context.sign())
    }

    fn key(&self, object_type: &str, parts: &[&[u8]]) -> Result<String, KeyError> {
        create_composite_key(object_type, &[&self.part(object_type, parts)])
    }

    /// Collection `records`: a participant of any role.
    pub(crate) fn participant(&self, id: &ParticipantId) -> Result<String, KeyError> {
        self.key(of::PARTICIPANT, &[id.as_bytes()])
    }

    /// Collection `records`: from a certificate to its participant.
    pub(crate) fn thumbprint(&self, thumbprint: &Digest) -> Result<String, KeyError> {
        self.key(of::THUMBPRINT, &[thumbprint.as_bytes()])
    }

    /// Collection `records`: a device, below its organisation.
    pub(crate) fn device(&self, msp_id: &MspId, id: &DeviceId) -> Result<String, KeyError> {
        let parts = [msp_id.as_str().as_bytes(), id.as_str().as_bytes()];
        create_composite_key(
            of::DEVICE,
            &[msp_id.as_str(), &self.part(of::DEVICE, &parts)],
        )
    }

    /// Collection `records`: a record's private half.
    pub(crate) fn record(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::RECORD, &[id.as_bytes()])
    }

    /// Collection `keys`: a record's wrapped keys.
    pub(crate) fn wraps(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::WRAPS, &[id.as_bytes()])
    }

    /// Collection `records`: a used nonce.
    pub(crate) fn nonce(&self, signer: &Digest, nonce: &Nonce) -> Result<String, KeyError> {
        self.key(of::NONCE, &[signer.as_bytes(), nonce.as_bytes()])
    }

    /// The part under which the grants to a grantee are found.
    pub(crate) fn grantee(&self, grantee: &Grantee) -> String {
        match grantee {
            Grantee::Participant(id) => {
                self.part(of::GRANT_BY_GRANTEE, &[b"participant", id.as_bytes()])
            }
            Grantee::Organization(msp_id) => self.part(
                of::GRANT_BY_GRANTEE,
                &[b"organization", msp_id.as_str().as_bytes()],
            ),
            Grantee::Role { msp_id, role } => self.part(
                of::GRANT_BY_GRANTEE,
                &[
                    b"role",
                    msp_id.as_str().as_bytes(),
                    role.as_str().as_bytes(),
                ],
            ),
        }
    }

    /// Collection `records`: the index of grants by grantee.
    pub(crate) fn grant_by_grantee(
        &self,
        grantee: &Grantee,
        id: &GrantId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::GRANT_BY_GRANTEE,
            &[&self.grantee(grantee), &id.to_string()],
        )
    }

    /// The part under which a participant's reads are found.
    pub(crate) fn reader(&self, id: &ParticipantId) -> String {
        self.part(of::READ_BY_READER, &[id.as_bytes()])
    }

    /// Collection `records`: the index of reads by reader.
    pub(crate) fn read_by_reader(
        &self,
        reader: &ParticipantId,
        requested_at: UtcTime,
        id: &ReadId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::READ_BY_READER,
            &[
                &self.reader(reader),
                &requested_at.to_string(),
                &id.to_string(),
            ],
        )
    }
}

impl std::fmt::Debug for Blinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blinding(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blinding_of(byte: u8) -> Blinding {
        let mut bytes = [byte; 32];
        bytes[0] = 0;
        Blinding::new(&Blinding::secret_from(&Salt::from_bytes(bytes).unwrap()))
    }

    #[test]
    fn parts_depend_on_secret_type_and_every_boundary() {
        let blinding = blinding_of(1);
        let parts = [
            blinding.part("a", &[b"bc"]),
            blinding.part("ab", &[b"c"]),
            blinding.part("a", &[b"b", b"c"]),
            blinding.part("a", &[b"bc", b""]),
            blinding_of(2).part("a", &[b"bc"]),
        ];
        let distinct: std::collections::BTreeSet<_> = parts.iter().collect();
        assert_eq!(distinct.len(), parts.len());
        assert_eq!(blinding.part("a", &[b"bc"]), parts[0]);
        assert_eq!(parts[0].len(), 64);
    }

    #[test]
    fn a_devices_key_does_not_show_the_device() {
        let key = blinding_of(1)
            .device(&"Org1MSP".parse().unwrap(), &"hr-0042".parse().unwrap())
            .unwrap();
        assert!(key.contains("Org1MSP") && !key.contains("hr-0042"));
    }

    #[test]
    fn index_keys_come_back_and_foreign_ones_do_not() {
        let record: RecordPrivate = serde_json::from_str(crate::testing::RECORD_JSON).unwrap();
        let entry = RecordIndexEntry {
            end: record.period.end,
            start: record.period.start,
            record_type: record.record_type.clone(),
            record_id: record.record_id,
        };
        for key in [
            record_by_patient(&record).unwrap(),
            record_by_type(&record).unwrap(),
        ] {
            assert_eq!(RecordIndexEntry::parse(&key).unwrap(), entry);
        }
        for key in [
            "",
            "record",
            "\0record~patient\0",
            "\0record~patient\0a\0b\0c\0d\0e\0",
        ] {
            assert!(RecordIndexEntry::parse(key).is_err(), "{key:?}");
        }
        assert!(RecordIndexEntry::parse(&public_record(&record.record_id).unwrap()).is_err());
    }
}
