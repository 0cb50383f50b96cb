//! A channel in memory with people on it, for the contracts' tests.
//!
//! Every transaction runs twice from the same state, and both runs must agree in response, event
//! and read-write set, byte for byte.

use contract_interface::access::Policy;
use contract_interface::names::{collections, transactions, transient};
use contract_interface::{
    AuthorizeRead, Confidentiality, DeviceRegistration, Digest, ErrorCode, Grant, GrantAccess,
    GrantId, Grantee, Jwk, KeyWrap, Nonce, ParticipantRegistration, Period, PolicyId, Purpose,
    ReadDecision, ReasonCode, RecordEntry, RecordId, RecordPrivate, RecordWraps, RegisterRecords,
    RequestBody, RevokeAccess, Role, Rule, Salt, SetPolicy, SignedRequest, Source, Status, UtcTime,
    canonical_json,
};
use fabric_msp::jws;
use fabric_protos::{kvrwset::HashedRwSet, rwset::TxReadWriteSet};
use fabric_shim::testing::{CollectionConfig, MemoryLedger, Tx, TxResult, ValidationCode};
use fabric_shim::{Chaincode, Timestamp};
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

mod people;

use Who::{
    Admin1, Admin2, Auditor1, Auditor2, Guardian, Oracle1, Oracle2, OtherPatient, Patient,
    Provider1, Provider2, Provider3,
};
use people::identities;
pub(crate) use people::{Who, key};

pub(crate) const CHANNEL: &str = "mychannel";
/// Seconds from the start of the certificates, which is about now, to the start of a test.
const START_SECONDS: i64 = 86_400;
pub(crate) const DEVICE: &str = "hr-0042";
pub(crate) const RECORD_JSON: &str = r#"{"cid":"bafk","content_type":"a/b","merkle_root":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","patient":"02020202020202020202020202020202","period":{"end":"2026-01-02T04:04:05Z","start":"2026-01-02T03:04:05Z"},"plaintext_size":1,"readings":1,"record_id":"01010101010101010101010101010101","registrar":"Org1MSP","salt":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f","size":1,"source":{"device_id":"d"},"type":"8867-4"}"#;

/// The channel.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ledger: MemoryLedger,
    chaincode: Chaincode,
    /// Seconds since 1970.
    pub(crate) now: i64,
    transactions: u64,
    randoms: u64,
}

impl World {
    /// A channel on which nothing has happened.
    pub(crate) fn empty() -> Self {
        let ledger = collections::ALL
            .iter()
            .fold(MemoryLedger::new(CHANNEL), |ledger, name| {
                ledger.with_collection(
                    CollectionConfig::new(name)
                        .members(&["Org1MSP", "Org2MSP"])
                        .member_only_read()
                        .member_only_write(),
                )
            });
        Self {
            ledger,
            chaincode: crate::chaincode(),
            now: Patient.identity().certificate().not_before() + START_SECONDS,
            transactions: 0,
            randoms: 0,
        }
    }

    /// A channel with everyone registered, and a device bound to `Patient`.
    pub(crate) async fn populated() -> Self {
        let mut world = Self::empty();
        for (oracle, people) in [
            (
                Oracle1,
                vec![
                    (Oracle1, Role::Oracle),
                    (Patient, Role::Patient),
                    (OtherPatient, Role::Patient),
                    (Provider1, Role::Provider),
                    (Provider3, Role::Provider),
                    (Auditor1, Role::Auditor),
                    (Admin1, Role::Admin),
                    (Guardian, Role::Patient),
                ],
            ),
            (
                Oracle2,
                vec![
                    (Oracle2, Role::Oracle),
                    (Provider2, Role::Provider),
                    (Auditor2, Role::Auditor),
                    (Admin2, Role::Admin),
                ],
            ),
        ] {
            for (who, role) in people {
                let tx = world.register_participant(world.registration(who, role));
                world.ok(oracle, tx).await;
            }
        }
        let tx = world.register_device(&world.device());
        world.ok(Oracle1, tx).await;
        world
    }

    /// A populated channel with one record of `Patient`.
    pub(crate) async fn with_record() -> (Self, RecordPrivate) {
        let mut world = Self::populated().await;
        let record = world.record(1);
        let tx = world.register_records(std::slice::from_ref(&record));
        world.ok(Oracle1, tx).await;
        (world, record)
    }

    pub(crate) fn time(&self, offset: i64) -> UtcTime {
        UtcTime::from_unix_seconds(self.now + offset).unwrap()
    }

    /// Different bytes at every call, the same in every run.
    pub(crate) fn random(&mut self) -> [u8; 32] {
        self.randoms += 1;
        *Digest::of_parts(&[b"random", &self.randoms.to_be_bytes()]).as_bytes()
    }

    /// Passes over random bytes.
    pub(crate) fn randoms(&mut self, count: u64) {
        self.randoms += count;
    }

    // Calls.

    /// Runs a transaction as `who`, twice, and commits it if it is a submit that succeeds.
    pub(crate) async fn call(&mut self, who: Who, tx: Tx) -> TxResult {
        let result = self.simulate(who, tx.clone()).await;
        if tx.is_submit() && result.response.is_success() {
            assert_eq!(
                self.ledger.commit(std::slice::from_ref(&result)),
                [ValidationCode::Valid]
            );
        }
        result
    }

    /// Runs a transaction as `who`, twice, and commits nothing.
    pub(crate) async fn simulate(&mut self, who: Who, tx: Tx) -> TxResult {
        self.transactions += 1;
        let tx_id = Digest::of(&self.transactions.to_be_bytes()).to_string();
        let tx = tx
            .tx_id(&tx_id)
            .creator(who.identity().serialized())
            .timestamp(Timestamp {
                seconds: self.now,
                nanos: 0,
            });
        let first = self.ledger.simulate(&self.chaincode, tx.clone()).await;
        let second = self.ledger.simulate(&self.chaincode, tx).await;
        assert_eq!(first.response, second.response);
        assert_eq!(first.event, second.event);
        assert_eq!(first.rwset, second.rwset);
        assert_eq!(first.private_rwset, second.private_rwset);
        first
    }

    /// Runs a transaction that must succeed.
    pub(crate) async fn ok(&mut self, who: Who, tx: Tx) -> TxResult {
        let result = self.call(who, tx).await;
        assert!(result.response.is_success(), "{}", result.response.message);
        result
    }

    /// Runs a transaction that must succeed, and reads its result.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, who: Who, tx: Tx) -> T {
        let result = self.ok(who, tx).await;
        serde_json::from_slice(&result.response.payload).unwrap()
    }

    /// Runs a transaction that must be refused with this code, and must not change anything.
    #[track_caller]
    pub(crate) fn refused<'a>(
        &'a mut self,
        who: Who,
        tx: Tx,
        code: ErrorCode,
    ) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let height = self.ledger.height();
            let result = self.call(who, tx).await;
            let message = result.response.message;
            assert_eq!(
                ErrorCode::parse_message(&message).0,
                Some(code),
                "{caller}: {message}"
            );
            assert_eq!(result.response.status, i32::from(code.status()), "{caller}");
            assert_eq!(self.ledger.height(), height, "{caller}");
            assert!(result.event.is_none(), "{caller}");
            message
        }
    }

    // Transactions.

    pub(crate) fn registration(&self, who: Who, role: Role) -> ParticipantRegistration {
        let encryption_key = (role == Role::Patient).then(|| key(&format!("first of {who:?}")));
        ParticipantRegistration {
            participant_id: who.id(),
            role,
            certificate: who.pem(),
            key_proof: encryption_key.as_ref().map(|key| who.proof(key)),
            encryption_key,
            status: Status::Active,
        }
    }

    /// The same with this encryption key, proven.
    pub(crate) fn registration_with(
        &self,
        who: Who,
        role: Role,
        key: &Jwk,
    ) -> ParticipantRegistration {
        ParticipantRegistration {
            encryption_key: Some(key.clone()),
            key_proof: Some(who.proof(key)),
            ..self.registration(who, role)
        }
    }

    /// With the certificate of the CA that issued the registered certificate.
    pub(crate) fn register_participant(&mut self, registration: ParticipantRegistration) -> Tx {
        let issued = identities()
            .values()
            .find(|person| person.identity.certificate().pem() == registration.certificate);
        let issuer = issued.map_or(Oracle1.issuer_pem(), |person| &person.issuer);
        self.salted(transactions::REGISTER_PARTICIPANT)
            .transient(transient::PARTICIPANT, json(&registration))
            .transient(transient::ISSUER, issuer)
    }

    pub(crate) fn device(&self) -> DeviceRegistration {
        DeviceRegistration {
            device_id: DEVICE.parse().unwrap(),
            thumbprint: Digest::of(b"device certificate"),
            patient: Patient.pseudonym(),
            bound_from: "2020-01-01T00:00:00Z".parse().unwrap(),
            bound_until: None,
            status: Status::Active,
            status_since: None,
        }
    }

    pub(crate) fn register_device(&mut self, registration: &DeviceRegistration) -> Tx {
        self.salted(transactions::REGISTER_DEVICE)
            .transient(transient::DEVICE, json(registration))
    }

    /// The `n`th record of `Patient`, one hour long, ending `n` hours after 2026-01-01.
    pub(crate) fn record(&mut self, n: u32) -> RecordPrivate {
        let end = 1_767_225_600 + 3600 * i64::from(n);
        let mut id = [0x77; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        RecordPrivate {
            record_id: RecordId::from_bytes(id),
            patient: Patient.pseudonym(),
            record_type: "8867-4".parse().unwrap(),
            period: Period {
                start: UtcTime::from_unix_seconds(end - 3600).unwrap(),
                end: UtcTime::from_unix_seconds(end).unwrap(),
            },
            readings: 60,
            source: Source::DeviceId(DEVICE.parse().unwrap()),
            registrar: "Org1MSP".parse().unwrap(),
            context: None,
            confidentiality: Confidentiality::N,
            sensitivity: vec![],
            submission: None,
            manifest: None,
            marks: std::collections::BTreeMap::new(),
            content_type: "application/vnd.salus.segment+cbor-seq".to_owned(),
            cid: cid(&Digest::of(&n.to_be_bytes())),
            size: 4096,
            plaintext_size: 3000,
            merkle_root: Digest::of(&n.to_be_bytes()),
            salt: Salt::from_bytes(self.random()).unwrap(),
        }
    }

    pub(crate) fn register_records(&mut self, records: &[RecordPrivate]) -> Tx {
        let entries: Vec<RecordEntry> = records.iter().map(entry).collect();
        let wraps: Vec<RecordWraps> = records
            .iter()
            .map(|record| wraps(record.record_id))
            .collect();
        register_raw(&entries, records, &wraps)
    }

    /// A permit to treat with everything, from an hour ago to an hour from now.
    pub(crate) fn grant(&mut self, grantee: Grantee) -> Grant {
        self.grant_of(Rule::permit(grantee, vec![Purpose::Treat]))
    }

    /// A grant of this rule, from an hour ago to an hour from now.
    pub(crate) fn grant_of(&mut self, rule: Rule) -> Grant {
        Grant {
            grant_id: GrantId::from_bytes(self.random_id()),
            rule,
            valid_from: self.time(-3600),
            valid_until: self.time(3600),
            max_reads: None,
            in_reply_to: None,
        }
    }

    /// A policy of this rule, from an hour ago.
    pub(crate) fn policy_of(&mut self, rule: Rule) -> Policy {
        Policy {
            policy_id: PolicyId::from_bytes(self.random_id()),
            rule,
            valid_from: self.time(-3600),
            valid_until: None,
        }
    }

    pub(crate) fn random_id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&self.random()[..16]);
        id
    }

    /// A request as it should be, now.
    pub(crate) fn request<B: RequestBody>(&mut self, body: B) -> SignedRequest<B> {
        let nonce = Nonce::from_bytes(&self.random()[..16]).unwrap();
        SignedRequest::new(CHANNEL, self.time(0), nonce, body)
    }

    /// A transaction that carries what `signer` signed.
    pub(crate) fn signed<B: RequestBody>(&mut self, signer: Who, request: &SignedRequest<B>) -> Tx {
        let jws = jws::sign(signer.identity(), &json(request)).unwrap();
        self.salted(B::ACTION).transient(transient::REQUEST, jws)
    }

    pub(crate) fn grant_access(&mut self, signer: Who, grant: &Grant) -> Tx {
        let request = self.request(GrantAccess {
            grant: grant.clone(),
            patient: None,
        });
        self.signed(signer, &request)
    }

    /// Keeps a grant of this rule that `signer` gives.
    pub(crate) async fn give(&mut self, signer: Who, rule: Rule) -> Grant {
        let grant = self.grant_of(rule);
        let tx = self.grant_access(signer, &grant);
        self.ok(Oracle1, tx).await;
        grant
    }

    pub(crate) fn revoke_access(&mut self, signer: Who, grant_id: GrantId) -> Tx {
        let request = self.request(RevokeAccess {
            grant_id,
            patient: None,
        });
        self.signed(signer, &request)
    }

    pub(crate) fn set_policy(&mut self, signer: Who, policy: &Policy) -> Tx {
        let request = self.request(SetPolicy {
            policy: policy.clone(),
        });
        self.signed(signer, &request)
    }

    pub(crate) fn authorize_read(
        &mut self,
        signer: Who,
        record_id: RecordId,
        purpose: Purpose,
    ) -> Tx {
        let request = self.request(AuthorizeRead {
            record_id,
            purpose,
            project: None,
        });
        self.signed(signer, &request)
    }

    /// Submits a read through `Oracle1` and tells the decision with its reason.
    pub(crate) async fn read(
        &mut self,
        signer: Who,
        record_id: RecordId,
        purpose: Purpose,
    ) -> ReasonCode {
        let tx = self.authorize_read(signer, record_id, purpose);
        self.decide(tx).await
    }

    /// Submits the read that was made last through `Oracle1` and tells the decision with its
    /// reason.
    pub(crate) async fn decide(&mut self, tx: Tx) -> ReasonCode {
        let salt = Salt::from_bytes(self.last_random()).unwrap();
        let decision: ReadDecision = self.get(Oracle1, tx).await;
        decision.reason(&salt).expect("the salt opens the reason")
    }

    /// The bytes that the last call of [`Self::random`] gave: the salt of the last transaction.
    pub(crate) fn last_random(&self) -> [u8; 32] {
        *Digest::of_parts(&[b"random", &self.randoms.to_be_bytes()]).as_bytes()
    }

    /// A submit with a fresh transient salt.
    pub(crate) fn salted(&mut self, name: &str) -> Tx {
        Tx::submit(name).transient(transient::SALT, self.random())
    }
}

/// The CID of an object of one block with this SHA-256.
pub(crate) fn cid(hash: &Digest) -> String {
    let bytes = [&[1, 0x55, 0x12, 0x20], hash.as_bytes().as_slice()].concat();
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let digits = bits.as_bytes().chunks(5).map(|digit| {
        let digit = format!("{:0<5}", str::from_utf8(digit).unwrap());
        let value = usize::from_str_radix(&digit, 2).unwrap();
        char::from(b"abcdefghijklmnopqrstuvwxyz234567"[value])
    });
    std::iter::once('b').chain(digits).collect()
}

pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    canonical_json(value).unwrap()
}

pub(crate) fn entry(record: &RecordPrivate) -> RecordEntry {
    RecordEntry {
        record_id: record.record_id,
        object_sha256: Digest::of(record.record_id.as_bytes()),
        commitment: record.commitment(),
        version: 1,
        previous: None,
    }
}

pub(crate) fn wraps(record_id: RecordId) -> RecordWraps {
    let kid = format!("{:043}", 1);
    RecordWraps {
        record_id,
        wraps: vec![KeyWrap::plain(kid, "h.k.i.c.t".to_owned())],
    }
}

pub(crate) fn register_raw(
    entries: &[RecordEntry],
    records: &[RecordPrivate],
    wraps: &[RecordWraps],
) -> Tx {
    Tx::submit(transactions::REGISTER_RECORDS)
        .argument(json(&RegisterRecords {
            records: entries.to_vec(),
        }))
        .transient(transient::RECORDS, json(&records))
        .transient(transient::WRAPS, json(&wraps))
}

/// An evaluated transaction with one argument that is JSON.
pub(crate) fn query<T: Serialize>(name: &str, argument: &T) -> Tx {
    Tx::evaluate(name).argument(json(argument))
}

/// An evaluated transaction with one argument that is text.
pub(crate) fn query_text<T: ToString>(name: &str, argument: &T) -> Tx {
    Tx::evaluate(name).argument(argument.to_string())
}

/// The same, asked by an oracle for someone.
pub(crate) fn for_caller(tx: Tx, caller: Who) -> Tx {
    tx.transient(transient::CALLER, caller.pem())
}

/// What a block keeps of a transaction's private reads and writes, for every member of the channel.
#[derive(Debug, Default)]
pub(crate) struct Hashes {
    pub(crate) keys_read: Vec<Digest>,
    pub(crate) keys_written: Vec<Digest>,
    pub(crate) values_written: Vec<Digest>,
}

pub(crate) fn hashes(result: &TxResult) -> Hashes {
    let digest = |bytes: &[u8]| Digest::from_bytes(bytes.try_into().unwrap());
    let mut hashes = Hashes::default();
    let rwset = TxReadWriteSet::decode(result.rwset.as_slice()).unwrap();
    let collections = rwset
        .ns_rwset
        .iter()
        .flat_map(|ns| &ns.collection_hashed_rwset);
    for collection in collections {
        let hashed = HashedRwSet::decode(collection.hashed_rwset.as_slice()).unwrap();
        for read in &hashed.hashed_reads {
            hashes.keys_read.push(digest(&read.key_hash));
        }
        for write in &hashed.hashed_writes {
            hashes.keys_written.push(digest(&write.key_hash));
            if !write.value_hash.is_empty() {
                hashes.values_written.push(digest(&write.value_hash));
            }
        }
    }
    hashes
}
