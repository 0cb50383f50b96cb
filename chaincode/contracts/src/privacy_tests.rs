//! What the channel's public part gives away, over the whole life of a record.
//!
//! Public are a transaction's arguments, result and event, its public reads and writes, and
//! SHA-256 of every private key and value. The adversary here is a member of the channel that is
//! not in the collections, and knows more than it should: pseudonyms, record and device IDs, type
//! codes, times, all that events ever named.

use std::collections::{BTreeMap, BTreeSet};

use contract_interface::access::{
    AccessRequest, Delegation, DelegationBasis, Emergency, EmergencyReason, Power,
};
use contract_interface::names::{collections, transactions};
use contract_interface::record::ErasureBasis;
use contract_interface::{
    AccessRequestId, DeclareEmergency, Delegate, DelegationId, Digest, EmergencyId, EraseRecord,
    GrantAccess, Grantee, MspId, Purpose, ReasonCode, RecordPrivate, RequestAccess, RequestBody,
    Role, RotateKey, Rule, canonical_json,
};
use fabric_shim::create_composite_key;
use fabric_shim::testing::TxResult;

use crate::keys::object_types;
use crate::testing::Who::*;
use crate::testing::*;

/// Everything of a transaction that stays in the block.
fn public_bytes(result: &TxResult) -> Vec<u8> {
    let mut bytes = result.rwset.clone();
    bytes.extend_from_slice(&result.response.payload);
    bytes.extend_from_slice(result.response.message.as_bytes());
    if let Some(event) = &result.event {
        bytes.extend_from_slice(event.name.as_bytes());
        bytes.extend_from_slice(&event.payload);
    }
    bytes
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// The transactions of a record's life, each with a name.
struct Life {
    world: World,
    record: RecordPrivate,
    transactions: Vec<(&'static str, TxResult)>,
}

impl Life {
    async fn submit(&mut self, name: &'static str, tx: fabric_shim::testing::Tx) {
        self.world.now += 1;
        let result = self.world.ok(Oracle1, tx).await;
        self.transactions.push((name, result));
    }

    async fn sign<B: RequestBody>(&mut self, name: &'static str, signer: Who, body: B) {
        let request = self.world.request(body);
        let tx = self.world.signed(signer, &request);
        self.submit(name, tx).await;
    }

    async fn read(&mut self, name: &'static str, reader: Who, purpose: Purpose) {
        let id = self.record.record_id;
        let tx = self.world.authorize_read(reader, id, purpose);
        self.submit(name, tx).await;
    }

    async fn live() -> Self {
        let mut world = World::empty();
        let record = world.record(1);
        let mut life = Self {
            world,
            record,
            transactions: vec![],
        };
        life.enter().await;
        life.consent().await;
        life.end().await;
        life
    }

    async fn enter(&mut self) {
        for (name, who, role) in [
            ("participant", Oracle1, Role::Oracle),
            ("participant", Provider1, Role::Provider),
            ("participant", Admin1, Role::Admin),
            ("patient", Patient, Role::Patient),
            ("patient", Guardian, Role::Patient),
        ] {
            let registration = self.world.registration_with(who, role, &who.key());
            let tx = self.world.register_participant(registration);
            self.submit(name, tx).await;
        }
        let device = self.world.device();
        let tx = self.world.register_device(&device);
        self.submit("device", tx).await;
        let record = self.record.clone();
        let tx = self.world.register_records(&[record]);
        self.submit("records", tx).await;
        let time = self.world.time(0).to_string();
        let tx = self.world.salted(transactions::TICK).argument(time);
        self.submit("tick", tx).await;
    }

    async fn consent(&mut self) {
        self.read("denied", Provider1, Purpose::Treat).await;
        let request = AccessRequest {
            request_id: AccessRequestId::from_bytes(self.world.random_id()),
            patient: Patient.pseudonym(),
            types: vec![self.record.record_type.clone()],
            data_period: None,
            purposes: vec![Purpose::Treat],
            project: None,
            wanted_until: self.world.time(3600),
            message: None,
        };
        let request_id = request.request_id;
        self.sign("request", Provider1, RequestAccess { request })
            .await;
        let mut grant = self.world.grant(Grantee::Participant(Provider1.id()));
        grant.rule.types = vec![self.record.record_type.clone()];
        grant.max_reads = Some(5);
        grant.in_reply_to = Some(request_id);
        let patient = None;
        let body = GrantAccess {
            grant: grant.clone(),
            patient,
        };
        self.sign("grant", Patient, body).await;
        self.read("permitted", Provider1, Purpose::Treat).await;
        let tx = self.world.revoke_access(Patient, grant.grant_id);
        self.submit("revocation", tx).await;
        let policy = self
            .world
            .policy_of(Rule::deny(Grantee::Participant(Provider1.id())));
        let tx = self.world.set_policy(Admin1, &policy);
        self.submit("policy", tx).await;
        let delegation = Delegation {
            delegation_id: DelegationId::from_bytes(self.world.random_id()),
            patient: Patient.pseudonym(),
            guardian: Guardian.id(),
            powers: vec![Power::Read, Power::Grant, Power::Erase],
            basis: DelegationBasis::Patient,
            valid_from: self.world.time(-60),
            valid_until: self.world.time(3600),
        };
        self.sign("delegation", Patient, Delegate { delegation })
            .await;
        self.read("guardian", Guardian, Purpose::Patrqt).await;
        let emergency = Emergency {
            emergency_id: EmergencyId::from_bytes(self.world.random_id()),
            patient: Patient.pseudonym(),
            reason: EmergencyReason::LifeThreatening,
            justification: "h.k.i.c.t".to_owned(),
            valid_until: self.world.time(3600),
        };
        self.sign("emergency", Provider1, DeclareEmergency { emergency })
            .await;
        self.read("emergency read", Provider1, Purpose::Btg).await;
    }

    async fn end(&mut self) {
        let encryption_key = key("a new one");
        let body = RotateKey {
            key_proof: Patient.proof(&encryption_key),
            encryption_key,
        };
        self.sign("rotation", Patient, body).await;
        let body = EraseRecord {
            record_id: self.record.record_id,
            basis: ErasureBasis::PatientRequest,
        };
        self.sign("erasure", Guardian, body).await;
    }

    fn hashes(&self) -> impl Iterator<Item = (&'static str, Hashes)> {
        self.transactions
            .iter()
            .map(|(name, result)| (*name, hashes(result)))
    }
}

#[tokio::test]
async fn nothing_public_names_a_patient_a_device_a_type_or_a_reader() {
    let life = Life::live().await;
    let record = &life.record;
    let mut secrets = vec![
        Patient.pseudonym().to_string(),
        Patient.thumbprint().to_string(),
        Guardian.id().to_string(),
        DEVICE.to_owned(),
        record.record_type.to_string(),
        record.cid.clone(),
        record.period.end.to_string(),
        record.salt.to_string(),
        record.merkle_root.to_string(),
    ];
    secrets.extend(Purpose::ALL.map(|purpose| purpose.to_string()));
    secrets.extend(ReasonCode::ALL.iter().map(ToString::to_string));
    for (name, result) in &life.transactions {
        let public = public_bytes(result);
        for secret in &secrets {
            assert!(!contains(&public, secret.as_bytes()), "{secret} in {name}");
        }
        // Only its registration names the reader.
        let named = contains(&public, Provider1.id().to_string().as_bytes());
        assert_eq!(
            named,
            *name == "participant" && contains(&public, b"provider"),
            "{name}"
        );
        // A record's public ID appears when it is registered and erased, and never in between.
        let record_id = record.record_id.to_string();
        assert_eq!(
            contains(&public, record_id.as_bytes()),
            ["records", "erasure"].contains(name),
            "{name}"
        );
    }
}

#[tokio::test]
async fn consent_and_reads_touch_of_the_public_state_the_clocks_only() {
    let life = Life::live().await;
    for (name, result) in &life.transactions {
        let read: BTreeSet<&str> = result.reads.iter().map(|read| read.key.as_str()).collect();
        let clocks = read.iter().all(|key| key.starts_with("\0clock"));
        let registers = ["participant", "records", "tick", "erasure"].contains(name);
        assert!(clocks || registers, "{name}: {read:?}");
        assert_eq!(!result.writes.is_empty(), registers, "{name}");
    }
}

/// What the adversary knows, to be tried as parts of keys and values.
fn known(life: &Life) -> Vec<String> {
    let record = &life.record;
    let mut known = vec![
        DEVICE.to_owned(),
        "Org1MSP".to_owned(),
        "Org2MSP".to_owned(),
        "patient".to_owned(),
        "participant".to_owned(),
        "*".to_owned(),
        record.record_type.to_string(),
        record.record_id.to_string(),
        record.period.start.to_string(),
        record.period.end.to_string(),
        record.cid.clone(),
        record.merkle_root.to_string(),
    ];
    for who in [Patient, Guardian, Provider1, Admin1, Oracle1] {
        known.extend([who.id().to_string(), who.thumbprint().to_string()]);
    }
    for (_, result) in &life.transactions {
        let Some(event) = &result.event else { continue };
        let value: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        let members = value.as_object().unwrap().values();
        known.extend(members.filter_map(|id| id.as_str().map(str::to_owned)));
    }
    known.sort_unstable();
    known.dedup();
    known
}

/// Keys that could be formed of what is known, with up to three parts, and the full forms that
/// index keys would have if nothing were blinded.
fn guessed_keys(life: &Life) -> Vec<String> {
    let known = known(life);
    let object_types = [
        object_types::ACCESS_REQUEST,
        object_types::ACCESS_REQUEST_BY_REQUESTER,
        object_types::DELEGATION,
        object_types::DELEGATION_BY_GUARDIAN,
        object_types::DEVICE,
        object_types::EMERGENCY,
        object_types::EMERGENCY_BY_ORGANIZATION,
        object_types::EMERGENCY_LATEST,
        object_types::ERASING,
        object_types::GRANT,
        object_types::GRANT_BY_GRANTEE,
        object_types::GRANT_USES,
        object_types::NONCE,
        object_types::NOTICE,
        object_types::PARTICIPANT,
        object_types::PATIENT,
        object_types::POLICY,
        object_types::READ,
        object_types::READ_BY_ORGANIZATION,
        object_types::READ_BY_PATIENT,
        object_types::READ_BY_READER,
        object_types::READ_BY_RECORD,
        object_types::RECORD,
        object_types::RECORD_BY_PATIENT,
        object_types::RECORD_BY_TYPE,
        object_types::SLOT,
        object_types::THUMBPRINT,
        object_types::WRAPS,
    ];
    let record = &life.record;
    let (patient, id) = (record.patient.to_string(), record.record_id.to_string());
    let (start, end) = (
        record.period.start.to_string(),
        record.period.end.to_string(),
    );
    let code = record.record_type.as_str();
    let mut lists: Vec<Vec<&str>> = vec![
        vec![],
        vec![&patient, &end, &start, code, &id],
        vec![&patient, code, &end, &start, &id],
    ];
    for first in &known {
        lists.push(vec![first]);
        for second in &known {
            lists.push(vec![first, second]);
        }
    }
    let times = [&start, &end];
    for (first, last) in known.iter().flat_map(|f| known.iter().map(move |l| (f, l))) {
        for time in times {
            lists.push(vec![first, time, last]);
        }
    }
    let mut keys = known.clone();
    for object_type in object_types {
        let made = lists
            .iter()
            .map(|parts| create_composite_key(object_type, parts).unwrap());
        keys.extend(made);
    }
    keys
}

#[tokio::test]
async fn who_knows_every_identifier_finds_no_private_key_in_the_blocks() {
    let life = Life::live().await;
    let guesses: BTreeMap<Digest, String> = guessed_keys(&life)
        .into_iter()
        .map(|guess| (Digest::of(guess.as_bytes()), guess))
        .collect();
    assert!(guesses.len() > 50_000, "{}", guesses.len());
    // The one key that everyone knows says nothing; the same search finds it, so the search works.
    let blinding = create_composite_key(object_types::BLINDING, &[]).unwrap();
    let blinding = Digest::of(blinding.as_bytes());
    for (name, hashes) in life.hashes() {
        assert!(hashes.keys_read.contains(&blinding), "{name}");
        for hash in hashes.keys_read.iter().chain(&hashes.keys_written) {
            let found = guesses.get(hash);
            assert_eq!(found, None, "a key of {name} is recognised");
        }
    }
}

/// The value without its salts: what could be formed of what is known.
fn unsalted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(members) => members
            .iter()
            .filter(|(name, _)| *name != "salt")
            .map(|(name, value)| (name.clone(), unsalted(value)))
            .collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn who_knows_every_identifier_finds_no_private_value_in_the_blocks() {
    let life = Life::live().await;
    let mut guesses: BTreeSet<Digest> = known(&life)
        .iter()
        .flat_map(|text| {
            [
                Digest::of(text.as_bytes()),
                Digest::of(&json(&text)),
                Digest::of(&json(&[text])),
            ]
        })
        .collect();
    guesses.extend(["1", "", "0", "null", "[]", "{}", "true"].map(|v| Digest::of(v.as_bytes())));
    let mut seen = BTreeSet::new();
    let mut salts = BTreeSet::new();
    for (name, result) in &life.transactions {
        for write in &result.private_writes {
            let Some(value) = &write.value else { continue };
            if value.is_empty() {
                continue;
            }
            let value: serde_json::Value = serde_json::from_slice(value).unwrap();
            let bare = unsalted(&value);
            if bare != value {
                guesses.insert(Digest::of(&canonical_json(&bare).unwrap()));
            }
            guesses.insert(Digest::of(&canonical_json(&bare["value"]).unwrap()));
            let salt = match &value {
                serde_json::Value::String(salt) => salt.parse::<Digest>().is_ok(),
                _ if write.collection == collections::KEYS => {
                    value["wraps"][0]["jwe"].as_str().is_some()
                }
                _ => value["salt"]
                    .as_str()
                    .or(value["secret"].as_str())
                    .is_some(),
            };
            assert!(salt, "{name}: nothing random in {}", write.key);
            if value.get("value").is_some() || value.is_string() {
                let own = value.get("salt").unwrap_or(&value).to_string();
                assert!(salts.insert(own), "{name}: {} shares its salt", write.key);
            }
        }
        for hash in hashes(result).values_written {
            assert!(seen.insert(hash), "{name} writes a value that is known");
        }
    }
    assert!(guesses.is_disjoint(&seen));
    assert!(seen.len() > 60, "{}", seen.len());
}

#[tokio::test]
async fn two_devices_under_one_id_have_keys_that_do_not_agree() {
    let first = Life::live().await.world;
    let mut second = World::empty();
    second.randoms(2);
    let registration = second.registration(Oracle1, Role::Oracle);
    let tx = second.register_participant(registration);
    second.ok(Oracle1, tx).await;
    let registration = second.registration(Patient, Role::Patient);
    let tx = second.register_participant(registration);
    second.ok(Oracle1, tx).await;
    let tx = second.register_device(&second.device());
    second.ok(Oracle1, tx).await;
    let device_keys = |world: &World| -> Vec<String> {
        let keys = world.ledger.private_keys(collections::RECORDS);
        keys.into_iter()
            .filter(|key| key.starts_with("\0device\0"))
            .collect()
    };
    let (first, second) = (device_keys(&first), device_keys(&second));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second, "each channel blinds with its own secret");
}

#[tokio::test]
async fn a_read_looks_alike_whoever_reads() {
    let (mut world, record) = World::with_record().await;
    let mut shapes = BTreeSet::new();
    for (oracle, reader) in [
        (Oracle1, Patient),
        (Oracle1, Provider1),
        (Oracle2, Provider2),
        (Oracle1, OtherPatient),
        (Oracle2, Auditor1),
    ] {
        let tx = world.authorize_read(reader, record.record_id, Purpose::Patrqt);
        let result = world.ok(oracle, tx).await;
        let hashes = hashes(&result);
        shapes.insert((hashes.keys_read.len(), hashes.keys_written.len()));
    }
    assert_eq!(shapes.len(), 1, "{shapes:?}");
    let _: MspId = record.registrar;
}
