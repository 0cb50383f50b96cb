//! Keys on the ledger.
//!
//! Fabric puts SHA-256 of every private key that a transaction reads or writes into the block,
//! where every member of the channel keeps it for ever. A key made of guessable or known parts
//! could therefore be found by trying: whether device `hr-0042` exists, which public record a read
//! was about, whether the person behind a pseudonym gave a grant. So every private key contains an
//! HMAC under the [`Blinding`] key, 256 secret bits that the first registration lays down in the
//! collection. Who knows a pseudonym, a record ID, a device ID or a type finds nothing.

use aws_lc_rs::hmac;
use contract_interface::access::Recipient;
use contract_interface::{
    AccessRequestId, DeviceId, Digest, EmergencyId, GrantId, Grantee, MspId, Nonce, NoticeId,
    ParticipantId, PolicyId, Pseudonym, ReadId, RecordId, RecordPrivate, RecordType, Salt, UtcTime,
};
use fabric_shim::{KeyError, create_composite_key, split_composite_key};

use crate::failure::Failure;

/// Object types, the first part of composite keys.
pub(crate) mod object_types {
    pub(crate) const ACCESS_REQUEST: &str = "request";
    pub(crate) const ACCESS_REQUEST_BY_REQUESTER: &str = "request~requester";
    pub(crate) const BLINDING: &str = "blinding";
    pub(crate) const CLOCK: &str = "clock";
    pub(crate) const CLOCKS: &str = "clocks";
    pub(crate) const DELEGATION: &str = "delegation";
    pub(crate) const DELEGATION_BY_GUARDIAN: &str = "delegation~guardian";
    pub(crate) const DEVICE: &str = "device";
    pub(crate) const EMERGENCY: &str = "emergency";
    pub(crate) const EMERGENCY_BY_ORGANIZATION: &str = "emergency~organization";
    pub(crate) const EMERGENCY_LATEST: &str = "emergency~latest";
    pub(crate) const ERASING: &str = "erasing";
    pub(crate) const ERASURE: &str = "erasure";
    pub(crate) const GRANT: &str = "grant";
    pub(crate) const GRANT_BY_GRANTEE: &str = "grant~grantee";
    pub(crate) const GRANT_USES: &str = "grant~uses";
    pub(crate) const KEY_HOLDER: &str = "key";
    pub(crate) const NONCE: &str = "nonce";
    pub(crate) const NOTICE: &str = "notice";
    pub(crate) const ORACLES: &str = "oracles";
    pub(crate) const PARTICIPANT: &str = "participant";
    pub(crate) const PATIENT: &str = "patient";
    pub(crate) const POLICY: &str = "policy";
    pub(crate) const READ: &str = "read";
    pub(crate) const READ_BY_ORGANIZATION: &str = "read~organization";
    pub(crate) const READ_BY_PATIENT: &str = "read~patient";
    pub(crate) const READ_BY_READER: &str = "read~reader";
    pub(crate) const READ_BY_RECORD: &str = "read~record";
    pub(crate) const RECORD: &str = "record";
    pub(crate) const RECORD_BY_PATIENT: &str = "record~patient";
    pub(crate) const RECORD_BY_TYPE: &str = "record~type";
    pub(crate) const REMOVAL: &str = "removal";
    pub(crate) const SLOT: &str = "slot";
    pub(crate) const SUBMISSION: &str = "submission";
    pub(crate) const THUMBPRINT: &str = "thumbprint";
    pub(crate) const WRAPS: &str = "wraps";
}

use object_types as of;

/// Domain of the hash that makes the blinding key of the first registration's salt.
const BLINDING_DOMAIN: &[u8] = b"salus blinding key 1";
/// Domain of the HMAC that makes the page tokens' key of the blinding key.
const TOKEN_DOMAIN: &[u8] = b"salus page token 1";
/// Domain of the HMAC that makes a value's own salt of the transaction's or record's.
const SALT_DOMAIN: &[u8] = b"salus value salt 1";

/// Public state: a participant that is not a patient.
pub(crate) fn public_participant(id: &ParticipantId) -> Result<String, KeyError> {
    create_composite_key(of::PARTICIPANT, &[&id.to_string()])
}

/// Public state: a record's public half.
pub(crate) fn public_record(id: &RecordId) -> Result<String, KeyError> {
    create_composite_key(of::RECORD, &[&id.to_string()])
}

/// Public state: a record's tombstone.
pub(crate) fn public_erasure(id: &RecordId) -> Result<String, KeyError> {
    create_composite_key(of::ERASURE, &[&id.to_string()])
}

/// Public state: an organisation's word that it no longer holds a record's object.
pub(crate) fn public_removal(id: &RecordId, msp_id: &MspId) -> Result<String, KeyError> {
    create_composite_key(of::REMOVAL, &[&id.to_string(), msp_id.as_str()])
}

/// Public state: an organisation's clock.
pub(crate) fn public_clock(msp_id: &MspId) -> Result<String, KeyError> {
    create_composite_key(of::CLOCK, &[msp_id.as_str()])
}

/// Public state: which organisations have a clock.
pub(crate) fn public_clocks() -> Result<String, KeyError> {
    create_composite_key(of::CLOCKS, &[])
}

/// Public state: the active oracles of each organisation.
pub(crate) fn public_oracles() -> Result<String, KeyError> {
    create_composite_key(of::ORACLES, &[])
}

/// Collection `records`: where the blinding key lies. The one private key that everyone knows;
/// its value is 256 random bits.
pub(crate) fn blinding() -> Result<String, KeyError> {
    create_composite_key(of::BLINDING, &[])
}

/// A salt for the value at `key`, unlike that of every other key, which only who holds `salt` can
/// make.
pub(crate) fn value_salt(salt: &Salt, key: &str) -> Digest {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes()));
    context.update(SALT_DOMAIN);
    context.update(key.as_bytes());
    digest(&context.sign())
}

fn digest(tag: &hmac::Tag) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    Digest::from_bytes(bytes)
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

/// The last attribute of an index key: what the entry points to.
pub(crate) fn last_attribute<T: std::str::FromStr>(key: &str) -> Result<T, Failure> {
    let corrupt = || Failure::corrupt("an index key");
    let (_, attributes) = split_composite_key(key).map_err(|_| corrupt())?;
    let last = attributes.last().ok_or_else(corrupt)?;
    last.parse().map_err(|_| corrupt())
}

/// Whose rules lie in a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// A patient's grants.
    Patient(Pseudonym),
    /// An organisation's policies.
    Organization(MspId),
}

/// What the rules of a slot are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selector<'a> {
    /// Rules that name the record.
    Record(&'a RecordId),
    /// Rules that name the type, and no record.
    Type(&'a RecordType),
    /// Rules that name neither.
    Every,
}

/// Makes key parts that only members of the collection can make.
pub(crate) struct Blinding {
    key: hmac::Key,
    token_key: Digest,
}

impl Blinding {
    /// The secret that the first registration's salt gives.
    pub(crate) fn secret_from(salt: &Salt) -> Digest {
        Digest::of_parts(&[BLINDING_DOMAIN, salt.as_bytes()])
    }

    /// Blinds under this secret.
    pub(crate) fn new(secret: &Digest) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let token_key = digest(&hmac::sign(&key, TOKEN_DOMAIN));
        Self { key, token_key }
    }

    /// The key under which page tokens are sealed.
    pub(crate) fn token_key(&self) -> &[u8; 32] {
        self.token_key.as_bytes()
    }

    /// HMAC-SHA256 over the parts, each behind its length, so that no two lists of parts agree.
    pub(crate) fn part(&self, object_type: &str, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in std::iter::once(&object_type.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        hex::encode(context.sign())
    }

    fn key(&self, object_type: &str, parts: &[&[u8]]) -> Result<String, KeyError> {
        create_composite_key(object_type, &[&self.part(object_type, parts)])
    }

    /// The part under which everything of a patient is found.
    pub(crate) fn patient(&self, patient: &Pseudonym) -> String {
        self.part(of::PATIENT, &[patient.as_bytes()])
    }

    /// The part of a participant in indexes of this object type.
    pub(crate) fn person(&self, object_type: &str, id: &ParticipantId) -> String {
        self.part(object_type, &[b"participant", id.as_bytes()])
    }

    /// The part of an organisation in indexes of this object type.
    pub(crate) fn organization(&self, object_type: &str, msp_id: &MspId) -> String {
        self.part(object_type, &[b"organization", msp_id.as_str().as_bytes()])
    }

    /// Collection `records`: a participant of any role.
    pub(crate) fn participant(&self, id: &ParticipantId) -> Result<String, KeyError> {
        self.key(of::PARTICIPANT, &[id.as_bytes()])
    }

    /// Collection `records`: a key like a participant's, at which never anything lies.
    pub(crate) fn nobody(&self, patient: &Pseudonym) -> Result<String, KeyError> {
        self.key(of::PARTICIPANT, &[b"nobody", patient.as_bytes()])
    }

    /// Collection `records`: from a certificate to its participant.
    pub(crate) fn thumbprint(&self, thumbprint: &Digest) -> Result<String, KeyError> {
        self.key(of::THUMBPRINT, &[thumbprint.as_bytes()])
    }

    /// Collection `records`: from an encryption key's thumbprint to who holds or held it.
    pub(crate) fn key_holder(&self, kid: &str) -> Result<String, KeyError> {
        self.key(of::KEY_HOLDER, &[kid.as_bytes()])
    }

    /// Collection `records`: a device, below its organisation.
    pub(crate) fn device(&self, msp_id: &MspId, id: &DeviceId) -> Result<String, KeyError> {
        let parts = [msp_id.as_str().as_bytes(), id.as_str().as_bytes()];
        create_composite_key(
            of::DEVICE,
            &[msp_id.as_str(), &self.part(of::DEVICE, &parts)],
        )
    }

    /// Collection `records`: a used nonce.
    pub(crate) fn nonce(&self, signer: &Digest, nonce: &Nonce) -> Result<String, KeyError> {
        self.key(of::NONCE, &[signer.as_bytes(), nonce.as_bytes()])
    }
}

/// Records.
impl Blinding {
    /// Collection `records`: a record's private half.
    pub(crate) fn record(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::RECORD, &[id.as_bytes()])
    }

    /// Collection `keys`: a record's wrapped keys.
    pub(crate) fn wraps(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::WRAPS, &[id.as_bytes()])
    }

    /// Collection `records`: which record a participant's signed submission was for.
    pub(crate) fn submission(&self, signer: &Digest, nonce: &Nonce) -> Result<String, KeyError> {
        self.key(of::SUBMISSION, &[signer.as_bytes(), nonce.as_bytes()])
    }

    /// Collection `records`: what is left of a record while its erasure goes on.
    pub(crate) fn erasing(&self, id: &RecordId) -> Result<String, KeyError> {
        self.key(of::ERASING, &[id.as_bytes()])
    }

    /// Collection `records`: the index of a patient's records by the end of their periods.
    pub(crate) fn record_by_patient(&self, record: &RecordPrivate) -> Result<String, KeyError> {
        create_composite_key(
            of::RECORD_BY_PATIENT,
            &[
                &self.patient(&record.patient),
                &record.period.end.to_string(),
                &record.period.start.to_string(),
                record.record_type.as_str(),
                &record.record_id.to_string(),
            ],
        )
    }

    /// Collection `records`: the same for one type.
    pub(crate) fn record_by_type(&self, record: &RecordPrivate) -> Result<String, KeyError> {
        create_composite_key(
            of::RECORD_BY_TYPE,
            &[
                &self.patient(&record.patient),
                record.record_type.as_str(),
                &record.period.end.to_string(),
                &record.period.start.to_string(),
                &record.record_id.to_string(),
            ],
        )
    }
}

/// Rules.
impl Blinding {
    /// Collection `records`: a grant.
    pub(crate) fn grant(&self, patient: &Pseudonym, id: &GrantId) -> Result<String, KeyError> {
        create_composite_key(of::GRANT, &[&self.patient(patient), &id.to_string()])
    }

    /// Collection `records`: how many reads were made under a grant that limits them.
    pub(crate) fn grant_uses(&self, patient: &Pseudonym, id: &GrantId) -> Result<String, KeyError> {
        create_composite_key(of::GRANT_USES, &[&self.patient(patient), &id.to_string()])
    }

    /// Collection `records`: a policy.
    pub(crate) fn policy(&self, msp_id: &MspId, id: &PolicyId) -> Result<String, KeyError> {
        create_composite_key(
            of::POLICY,
            &[&self.organization(of::POLICY, msp_id), &id.to_string()],
        )
    }

    /// The part of a grantee in keys of this object type.
    pub(crate) fn grantee(&self, object_type: &str, grantee: &Grantee) -> String {
        let mut parts = vec![];
        push_grantee(&mut parts, grantee);
        self.part(object_type, &parts)
    }

    /// Collection `records`: the index of grants by grantee.
    pub(crate) fn grant_by_grantee(
        &self,
        grantee: &Grantee,
        id: &GrantId,
    ) -> Result<String, KeyError> {
        create_composite_key(
            of::GRANT_BY_GRANTEE,
            &[
                &self.grantee(of::GRANT_BY_GRANTEE, grantee),
                &id.to_string(),
            ],
        )
    }

    /// Collection `records`: which rules stand for a grantee and a selector.
    pub(crate) fn slot(
        &self,
        scope: &Scope,
        grantee: &Grantee,
        selector: &Selector<'_>,
    ) -> Result<String, KeyError> {
        let mut parts: Vec<&[u8]> = match scope {
            Scope::Patient(patient) => vec![b"patient", patient.as_bytes()],
            Scope::Organization(msp_id) => vec![b"organization", msp_id.as_str().as_bytes()],
        };
        push_grantee(&mut parts, grantee);
        match selector {
            Selector::Record(id) => parts.extend([b"record".as_slice(), id.as_bytes()]),
            Selector::Type(code) => parts.extend([b"type".as_slice(), code.as_str().as_bytes()]),
            Selector::Every => parts.push(b"*"),
        }
        self.key(of::SLOT, &parts)
    }
}

fn push_grantee<'a>(parts: &mut Vec<&'a [u8]>, grantee: &'a Grantee) {
    match grantee {
        Grantee::Participant(id) => parts.extend([b"participant".as_slice(), id.as_bytes()]),
        Grantee::Organization(msp_id) => {
            parts.extend([b"organization".as_slice(), msp_id.as_str().as_bytes()]);
        }
        Grantee::Role { msp_id, role } => parts.extend([
            b"role".as_slice(),
            msp_id.as_str().as_bytes(),
            role.as_str().as_bytes(),
        ]),
        Grantee::Anyone => parts.push(b"anyone"),
    }
}

/// Reads.
impl Blinding {
    /// Collection `records`: a read decision.
    pub(crate) fn read(&self, id: &ReadId) -> Result<String, KeyError> {
        self.key(of::READ, &[id.as_bytes()])
    }

    /// The part under which the reads of a record are found.
    pub(crate) fn reads_of_record(&self, id: &RecordId) -> String {
        self.part(of::READ_BY_RECORD, &[id.as_bytes()])
    }

    /// Collection `records`: an index of reads by the transaction's time. `part` is that of whom
    /// the index is by; `more` lets one read stand in it more than once.
    pub(crate) fn read_index(
        object_type: &str,
        part: &str,
        at: UtcTime,
        id: &ReadId,
        more: &[&str],
    ) -> Result<String, KeyError> {
        let (at, id) = (at.to_string(), id.to_string());
        let mut attributes = vec![part, at.as_str()];
        attributes.extend(more);
        attributes.push(&id);
        create_composite_key(object_type, &attributes)
    }
}

/// People: guardians, requests for access, emergencies, notices.
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

impl std::fmt::Debug for Blinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Blinding(..)")
    }
}

#[cfg(test)]
mod tests;
