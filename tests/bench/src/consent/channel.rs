//! A channel in memory with a patient, a provider and the oracle of one organisation, on which
//! records, grants and reads grow.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use contract_interface::{
    AuthorizeRead, Confidentiality, DeviceRegistration, Digest, Grant, GrantAccess, GrantId,
    Grantee, Jwk, KeyProof, KeyWrap, Nonce, ParticipantId, ParticipantRegistration, Period,
    Purpose, ReasonCode, RecordEntry, RecordId, RecordPrivate, RecordWraps, RegisterRecords,
    RequestBody, RevokeAccess, Role, Rule, Salt, SignedRequest, Source, Status, UtcTime,
    canonical_json,
    names::{attributes, collections, transactions, transient},
};
use fabric_msp::{NodeOu, SigningIdentity, jws};
use fabric_mspgen::{Kind, Organization, UserProfile};
use fabric_shim::{
    Chaincode, Timestamp,
    testing::{CollectionConfig, MemoryLedger, Tx, TxResult, ValidationCode},
};

const CHANNEL: &str = "bench";
const MSP_ID: &str = "Org1MSP";
const DEVICE: &str = "hr-0042";
/// Seconds from the start of the certificates to the time of every transaction.
const START_SECONDS: i64 = 86_400;
/// Records in one transaction; as many as an oracle sends at once.
const BATCH: u32 = 500;
/// Bits of the patient's key.
const RSA_BITS: usize = 3072;

/// Someone with a certificate.
struct Person {
    id: ParticipantId,
    identity: SigningIdentity,
}

/// A public key for the patient, without whom records are not taken, and the proof that it is the
/// patient's.
fn patients_key(patient: &Person) -> Result<(Jwk, String)> {
    let key = sealed_object::PrivateKey::generate(RSA_BITS)?;
    let key: Jwk = serde_json::from_str(&key.public_key().to_jwk())?;
    let proof = canonical_json(&KeyProof::new(patient.id, &key))?;
    let proof = jws::sign_as(&patient.identity, KeyProof::TYPE, &proof)?;
    Ok((key, proof))
}

/// Who signs a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signer {
    Patient,
    Provider,
}

/// The channel and what has grown on it.
pub(crate) struct Channel {
    ledger: MemoryLedger,
    chaincode: Chaincode,
    oracle: Person,
    patient: Person,
    provider: Person,
    now: i64,
    randoms: u64,
    pub(crate) records: u32,
    pub(crate) grants: u32,
}

impl Channel {
    /// With all three registered and nothing else.
    pub(crate) async fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let msp_id = MSP_ID.parse()?;
        let organization =
            Organization::create(dir.path(), msp_id, "org1.example.com", Kind::Peer)?;
        let (oracle, issuer) = person(&organization, 1, Role::Oracle)?;
        let (patient, _) = person(&organization, 2, Role::Patient)?;
        let (provider, _) = person(&organization, 3, Role::Provider)?;
        let ledger = collections::ALL
            .iter()
            .fold(MemoryLedger::new(CHANNEL), |ledger, name| {
                ledger.with_collection(
                    CollectionConfig::new(name)
                        .members(&[MSP_ID])
                        .member_only_read()
                        .member_only_write(),
                )
            });
        let mut channel = Self {
            ledger,
            chaincode: contracts::chaincode(),
            now: patient.identity.certificate().not_before() + START_SECONDS,
            oracle,
            patient,
            provider,
            randoms: 0,
            records: 0,
            grants: 0,
        };
        for (role, id, certificate) in [
            (Role::Oracle, channel.oracle.id, pem(&channel.oracle)),
            (Role::Patient, channel.patient.id, pem(&channel.patient)),
            (Role::Provider, channel.provider.id, pem(&channel.provider)),
        ] {
            let (encryption_key, key_proof) = match role {
                Role::Patient => patients_key(&channel.patient).map(|(k, p)| (Some(k), Some(p)))?,
                _ => (None, None),
            };
            let registration = ParticipantRegistration {
                participant_id: id,
                role,
                certificate,
                encryption_key,
                key_proof,
                status: Status::Active,
            };
            let tx = Tx::submit(transactions::REGISTER_PARTICIPANT)
                .transient(transient::SALT, channel.random())
                .transient(transient::PARTICIPANT, canonical_json(&registration)?)
                .transient(transient::ISSUER, issuer.as_bytes());
            let result = channel.run(tx).await?;
            channel.commit(&result)?;
        }
        channel.register_device().await?;
        Ok(channel)
    }

    /// The device that all records come from.
    async fn register_device(&mut self) -> Result<()> {
        let device = DeviceRegistration {
            device_id: DEVICE.parse()?,
            thumbprint: Digest::of(b"device certificate"),
            patient: self.patient.id.into(),
            bound_from: period(0)?.start,
            bound_until: None,
            status: Status::Active,
            status_since: None,
        };
        let tx = Tx::submit(transactions::REGISTER_DEVICE)
            .transient(transient::SALT, self.random())
            .transient(transient::DEVICE, canonical_json(&device)?);
        let result = self.run(tx).await?;
        self.commit(&result)
    }

    /// Endorses a transaction that the oracle submits or evaluates, and keeps nothing of it.
    pub(crate) async fn run(&self, tx: Tx) -> Result<TxResult> {
        let tx = tx
            .creator(self.oracle.identity.serialized())
            .timestamp(Timestamp {
                seconds: self.now,
                nanos: 0,
            });
        let result = self.ledger.simulate(&self.chaincode, tx).await;
        let response = &result.response;
        ensure!(response.is_success(), "{}", response.message);
        Ok(result)
    }

    /// Commits a transaction in a block of its own.
    pub(crate) fn commit(&self, result: &TxResult) -> Result<()> {
        let codes = self.ledger.commit(std::slice::from_ref(result));
        ensure!(codes == [ValidationCode::Valid], "{codes:?}");
        Ok(())
    }

    /// Registers records until there are `count`.
    pub(crate) async fn grow_records(&mut self, count: u32) -> Result<()> {
        while self.records < count {
            let numbers = self.records..count.min(self.records + BATCH);
            self.records = numbers.end;
            let records = numbers
                .map(|n| self.record(n))
                .collect::<Result<Vec<_>>>()?;
            let wraps: Vec<RecordWraps> = records.iter().map(wraps_of).collect();
            let entries = RegisterRecords {
                records: records.iter().map(entry_of).collect(),
            };
            let tx = Tx::submit(transactions::REGISTER_RECORDS)
                .argument(canonical_json(&entries)?)
                .transient(transient::RECORDS, canonical_json(&records)?)
                .transient(transient::WRAPS, canonical_json(&wraps)?);
            let result = self.run(tx).await?;
            self.commit(&result)?;
        }
        Ok(())
    }

    /// Gives grants until there are `count`: of even number for one record and the provider, of odd
    /// number for everything and someone else. So what stands for the provider grows as well.
    pub(crate) async fn grow_grants(&mut self, count: u32) -> Result<()> {
        while self.grants < count {
            let n = self.grants;
            self.grants += 1;
            let tx = if n.is_multiple_of(2) {
                self.granting(n, self.provider.id, Some(n))?
            } else {
                let someone = ParticipantId::from_bytes(half(self.random()));
                self.granting(n, someone, None)?
            };
            let result = self.run(tx).await?;
            self.commit(&result)?;
        }
        Ok(())
    }

    /// Grant number `n`, to treat with one record or with everything.
    pub(crate) fn granting(
        &mut self,
        n: u32,
        grantee: ParticipantId,
        record: Option<u32>,
    ) -> Result<Tx> {
        let mut rule = Rule::permit(Grantee::Participant(grantee), vec![Purpose::Treat]);
        rule.records = record.map(record_id).into_iter().collect();
        let grant = Grant {
            grant_id: grant_id(n),
            rule,
            valid_from: self.time(-3600)?,
            valid_until: self.time(3600)?,
            max_reads: None,
            in_reply_to: None,
        };
        let body = GrantAccess {
            grant,
            patient: None,
        };
        self.signed(Signer::Patient, body)
    }

    /// The end of grant number `n`.
    pub(crate) fn revocation(&mut self, n: u32) -> Result<Tx> {
        let body = RevokeAccess {
            grant_id: grant_id(n),
            patient: None,
        };
        self.signed(Signer::Patient, body)
    }

    /// The provider's request to read record `n`.
    pub(crate) fn reading(&mut self, n: u32) -> Result<Tx> {
        let body = AuthorizeRead {
            record_id: record_id(n),
            purpose: Purpose::Treat,
            project: None,
        };
        self.signed(Signer::Provider, body)
    }

    /// The reason of the decision on the last request.
    pub(crate) fn reason(&self, decided: &TxResult) -> Result<ReasonCode> {
        let decision: contract_interface::ReadDecision =
            serde_json::from_slice(&decided.response.payload)?;
        let salt = Salt::from_bytes(self.last_random())?;
        decision.reason(&salt).context("the salt opens the reason")
    }

    pub(crate) fn patient_id(&self) -> ParticipantId {
        self.patient.id
    }

    pub(crate) fn provider_id(&self) -> ParticipantId {
        self.provider.id
    }

    pub(crate) fn time(&self, offset: i64) -> Result<UtcTime> {
        Ok(UtcTime::from_unix_seconds(self.now + offset)?)
    }

    fn signed<B: RequestBody>(&mut self, signer: Signer, body: B) -> Result<Tx> {
        let nonce = Nonce::from_bytes(&half(self.random()))?;
        let request = SignedRequest::new(CHANNEL, self.time(0)?, nonce, body);
        let signer = match signer {
            Signer::Patient => &self.patient,
            Signer::Provider => &self.provider,
        };
        let jws = jws::sign(&signer.identity, &canonical_json(&request)?)?;
        Ok(Tx::submit(B::ACTION)
            .transient(transient::REQUEST, jws)
            .transient(transient::SALT, self.random()))
    }

    fn record(&mut self, n: u32) -> Result<RecordPrivate> {
        let period = period(n)?;
        Ok(RecordPrivate {
            record_id: record_id(n),
            patient: self.patient.id.into(),
            record_type: "8867-4".parse()?,
            period,
            readings: 60,
            source: Source::DeviceId(DEVICE.parse()?),
            registrar: MSP_ID.parse()?,
            context: None,
            confidentiality: Confidentiality::N,
            sensitivity: vec![],
            submission: None,
            manifest: None,
            marks: std::collections::BTreeMap::new(),
            content_type: "application/vnd.salus.segment+cbor-seq".to_owned(),
            cid: "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".to_owned(),
            size: 4096,
            plaintext_size: 3000,
            merkle_root: Digest::of(&n.to_be_bytes()),
            salt: Salt::from_bytes(self.random())?,
        })
    }

    /// Different bytes at every call, the same in every run.
    fn random(&mut self) -> [u8; 32] {
        self.randoms += 1;
        self.last_random()
    }

    fn last_random(&self) -> [u8; 32] {
        *Digest::of_parts(&[b"random", &self.randoms.to_be_bytes()]).as_bytes()
    }
}

/// The hour that record `n` covers, each an hour after the one before.
pub(crate) fn period(n: u32) -> Result<Period> {
    // 2010-01-01
    let start = 1_262_304_000 + 3600 * i64::from(n);
    Ok(Period {
        start: UtcTime::from_unix_seconds(start)?,
        end: UtcTime::from_unix_seconds(start + 3600)?,
    })
}

pub(crate) fn record_id(n: u32) -> RecordId {
    RecordId::from_bytes(half(
        *Digest::of_parts(&[b"record", &n.to_be_bytes()]).as_bytes(),
    ))
}

fn grant_id(n: u32) -> GrantId {
    GrantId::from_bytes(half(
        *Digest::of_parts(&[b"grant", &n.to_be_bytes()]).as_bytes(),
    ))
}

fn half(bytes: [u8; 32]) -> [u8; 16] {
    let [first, _] = [0, 16].map(|start| std::array::from_fn(|n| bytes[start + n]));
    first
}

fn entry_of(record: &RecordPrivate) -> RecordEntry {
    RecordEntry {
        record_id: record.record_id,
        object_sha256: Digest::of(record.record_id.as_bytes()),
        commitment: record.commitment(),
        version: 1,
        previous: None,
    }
}

fn wraps_of(record: &RecordPrivate) -> RecordWraps {
    RecordWraps {
        record_id: record.record_id,
        wraps: vec![KeyWrap::plain(format!("{:043}", 1), "h.k.i.c.t".to_owned())],
    }
}

fn pem(person: &Person) -> String {
    person.identity.certificate().pem()
}

/// A person with a certificate of the organisation, and the certificate of its CA.
fn person(organization: &Organization, seat: u8, role: Role) -> Result<(Person, String)> {
    let profile = UserProfile {
        node_ou: NodeOu::Client,
        attributes: BTreeMap::from([(attributes::ROLE.to_owned(), role.to_string())]),
        validity: None,
    };
    let folder = organization.issue_user(&role.to_string(), &profile)?;
    let msp: &Path = &folder.join("msp");
    let issuer = fs::read_dir(msp.join("cacerts"))?
        .next()
        .context("a CA certificate")??;
    let identity = SigningIdentity::from_msp_dir(organization.msp_id().clone(), msp)?;
    let id = ParticipantId::from_bytes([seat; 16]);
    Ok((Person { id, identity }, fs::read_to_string(issuer.path())?))
}
