//! Tables of what is decided, without any ledger.

mod forms;
mod levels;
mod people;
mod rules;

use super::*;
use crate::digest::{Digest, Salt};
use crate::directory::{Participant, Role, Status};
use crate::ids::{
    DelegationId, EmergencyId, GrantId, MspId, ParticipantId, PolicyId, Pseudonym, RecordId,
};
use crate::record::{Period, RecordPrivate, Source};
use crate::time::UtcTime;

fn time(text: &str) -> UtcTime {
    text.parse().unwrap()
}

fn org(n: u8) -> MspId {
    format!("Org{n}MSP").parse().unwrap()
}

/// When everything is asked.
fn now() -> UtcTime {
    time("2026-03-10T00:00:00Z")
}

const READER: ParticipantId = ParticipantId::from_bytes([7; 16]);
const PATIENT: Pseudonym = Pseudonym::from_bytes([2; 16]);

fn reader(role: Role, organization: u8) -> Participant {
    Participant {
        participant_id: READER,
        msp_id: org(organization),
        role,
        certificate: String::new(),
        thumbprint: Digest::of(b"certificate"),
        encryption_key: None,
        key_proof: None,
        status: Status::Active,
        version: 1,
        salt: None,
    }
}

/// A record of the patient that `Org1MSP` registered from device `d`, of January 10 to 20.
fn record() -> RecordPrivate {
    RecordPrivate {
        record_id: RecordId::from_bytes([1; 16]),
        patient: PATIENT,
        record_type: "8867-4".parse().unwrap(),
        period: Period {
            start: time("2026-01-10T00:00:00Z"),
            end: time("2026-01-20T00:00:00Z"),
        },
        readings: 1,
        source: Source::DeviceId("d".parse().unwrap()),
        registrar: org(1),
        context: None,
        confidentiality: Confidentiality::N,
        sensitivity: vec![],
        submission: None,
        manifest: None,
        marks: std::collections::BTreeMap::new(),
        content_type: "a/b".to_owned(),
        cid: "c".to_owned(),
        size: 1,
        plaintext_size: 1,
        merkle_root: Digest::of(b""),
        salt: salt(1),
    }
}

fn salt(byte: u8) -> Salt {
    let mut bytes = [byte; 32];
    bytes[0] = 0xff;
    Salt::from_bytes(bytes).unwrap()
}

fn treat() -> Rule {
    Rule::permit(Grantee::Participant(READER), vec![Purpose::Treat])
}

fn deny() -> Rule {
    Rule::deny(Grantee::Participant(READER))
}

/// A grant of the patient, valid in March 2026.
fn grant(id: u8, rule: Rule) -> CountedGrant {
    CountedGrant {
        entry: GrantEntry {
            grant: Grant {
                grant_id: GrantId::from_bytes([id; 16]),
                rule,
                valid_from: time("2026-03-01T00:00:00Z"),
                valid_until: time("2026-04-01T00:00:00Z"),
                max_reads: None,
                in_reply_to: None,
            },
            patient: PATIENT,
            patient_msp: org(1),
            given_by: PATIENT.into(),
            delegation_id: None,
            status: GrantStatus::Active,
            version: 3,
            given_at: time("2026-03-01T00:00:00Z"),
            revoked_at: None,
            requests: vec![],
            salt: salt(2),
        },
        used: 0,
    }
}

/// A policy of an organisation since March 2026.
fn policy(id: u8, organization: u8, rule: Rule) -> PolicyEntry {
    PolicyEntry {
        policy: Policy {
            policy_id: PolicyId::from_bytes([id; 16]),
            rule,
            valid_from: time("2026-03-01T00:00:00Z"),
            valid_until: None,
        },
        msp_id: org(organization),
        set_by: ParticipantId::from_bytes([8; 16]),
        status: GrantStatus::Active,
        version: 4,
        set_at: time("2026-03-01T00:00:00Z"),
        withdrawn_at: None,
        requests: vec![],
        salt: salt(3),
    }
}

/// The patient's delegation to the reader, valid in March 2026.
fn delegation(powers: Vec<Power>) -> DelegationEntry {
    DelegationEntry {
        delegation: Delegation {
            delegation_id: DelegationId::from_bytes([5; 16]),
            patient: PATIENT,
            guardian: READER,
            powers,
            basis: DelegationBasis::Patient,
            valid_from: time("2026-03-01T00:00:00Z"),
            valid_until: time("2026-04-01T00:00:00Z"),
        },
        patient_msp: org(1),
        given_by: PATIENT.into(),
        status: GrantStatus::Active,
        version: 5,
        given_at: time("2026-03-01T00:00:00Z"),
        revoked_at: None,
        requests: vec![],
        salt: salt(4),
    }
}

/// An emergency that the reader declared for the patient at midnight, for four hours.
fn emergency() -> EmergencyEntry {
    EmergencyEntry {
        emergency: Emergency {
            emergency_id: EmergencyId::from_bytes([6; 16]),
            patient: PATIENT,
            reason: EmergencyReason::Unresponsive,
            justification: "sealed".to_owned(),
            valid_until: time("2026-03-10T04:00:00Z"),
        },
        patient_msp: org(1),
        reader: READER,
        reader_msp: org(2),
        declared_at: now(),
        request: String::new(),
        review: None,
        salt: salt(5),
    }
}

/// Decides for a provider of `Org2MSP`.
fn decide(basis: &Basis, purpose: Purpose) -> Verdict {
    decide_for(basis, &reader(Role::Provider, 2), purpose, &[now()])
}

fn decide_for(basis: &Basis, reader: &Participant, purpose: Purpose, times: &[UtcTime]) -> Verdict {
    basis.decide(&Question {
        reader,
        record: &record(),
        purpose,
        project: None,
        times,
    })
}
