use std::collections::BTreeSet;

use contract_interface::{DelegationId, Grantee, RecordPrivate, RecordType};

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
    let distinct: BTreeSet<_> = parts.iter().collect();
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
    let blinding = blinding_of(1);
    let record: RecordPrivate = serde_json::from_str(crate::testing::RECORD_JSON).unwrap();
    let entry = RecordIndexEntry {
        end: record.period.end,
        start: record.period.start,
        record_type: record.record_type.clone(),
        record_id: record.record_id,
    };
    for key in [
        blinding.record_by_patient(&record).unwrap(),
        blinding.record_by_type(&record).unwrap(),
    ] {
        assert_eq!(RecordIndexEntry::parse(&key).unwrap(), entry);
        assert!(!key.contains(&record.patient.to_string()));
        assert_eq!(last_attribute::<RecordId>(&key).unwrap(), record.record_id);
    }
    for key in [
        "",
        "record",
        "\0record~patient\0",
        "\0record~patient\0a\0b\0c\0d\0e\0",
    ] {
        assert!(RecordIndexEntry::parse(key).is_err(), "{key:?}");
        assert!(last_attribute::<RecordId>(key).is_err(), "{key:?}");
    }
    assert!(RecordIndexEntry::parse(&public_record(&record.record_id).unwrap()).is_err());
}

#[test]
fn every_slot_has_a_key_of_its_own() {
    let blinding = blinding_of(1);
    let msp: MspId = "Org1MSP".parse().unwrap();
    let id = ParticipantId::from_bytes([7; 16]);
    let grantees = [
        Grantee::Participant(id),
        Grantee::Organization(msp.clone()),
        Grantee::Role {
            msp_id: msp.clone(),
            role: contract_interface::Role::Provider,
        },
        Grantee::Anyone,
    ];
    let record = RecordId::from_bytes([7; 16]);
    let code: RecordType = "record".parse().unwrap();
    let mut keys = BTreeSet::new();
    for scope in [Scope::Patient(id.into()), Scope::Organization(msp)] {
        for grantee in &grantees {
            for selector in [
                Selector::Record(&record),
                Selector::Chain(&record),
                Selector::Type(&code),
                Selector::Every,
            ] {
                keys.insert(blinding.slot(&scope, grantee, &selector).unwrap());
            }
        }
    }
    assert_eq!(keys.len(), 32);
}

#[test]
fn a_value_salt_is_for_one_key_and_one_salt() {
    let salt = |byte: u8| {
        let mut bytes = [byte; 32];
        bytes[0] = 0;
        Salt::from_bytes(bytes).unwrap()
    };
    let salts = [
        value_salt(&salt(1), "a"),
        value_salt(&salt(1), "b"),
        value_salt(&salt(2), "a"),
    ];
    assert_eq!(salts.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_eq!(value_salt(&salt(1), "a"), salts[0]);
}

/// Computed by Python's `hmac` and `hashlib` from the README's words.
#[test]
fn parts_slots_and_salts_are_what_the_readme_says() {
    let blinding = blinding_of(1);
    let patient = Pseudonym::from_bytes([2; 16]);
    assert_eq!(
        blinding.patient(&patient),
        "f1f1af8b961b9c1cc5da98cff76eea61a9e88e084c7e47d9af312646bc702bd9"
    );
    let msp_id: MspId = "Org1MSP".parse().unwrap();
    let providers = Grantee::Role {
        msp_id: msp_id.clone(),
        role: contract_interface::Role::Provider,
    };
    let code: RecordType = "8867-4".parse().unwrap();
    let typed = blinding
        .slot(&Scope::Patient(patient), &providers, &Selector::Type(&code))
        .unwrap();
    assert_eq!(
        typed,
        "\0slot\x000452318957b063392d3b716d4f938ede57fadc15234f029e3f7c110cf8f7a2ae\0"
    );
    let every = blinding
        .slot(
            &Scope::Organization(msp_id),
            &Grantee::Anyone,
            &Selector::Every,
        )
        .unwrap();
    assert_eq!(
        every,
        "\0slot\0d174de2a8f605a0b440aaed9ab19f53bb87c959ba012c2aa87122f13f86553a7\0"
    );
    let record = RecordId::from_bytes([3; 16]);
    let chain = Selector::Chain(&record);
    let of_patient = Scope::Patient(patient);
    assert_eq!(
        blinding
            .slot(&of_patient, &Grantee::Anyone, &chain)
            .unwrap(),
        "\0slot\09f6c5491a8be070aabc5e5acb7c9b1c14204500de1ad6b209b64fd6d554946f7\0"
    );
    assert_eq!(
        blinding.root(&record).unwrap(),
        "\0root\x003d2dbd8f489226f34f38ea3a2883a4481588d6cdf6a0797591b5e2640354987d\0"
    );
    let guardian = ParticipantId::from_bytes([4; 16]);
    let delegation = DelegationId::from_bytes([5; 16]);
    assert_eq!(
        blinding
            .delegation_ended(&patient, &guardian, &delegation)
            .unwrap(),
        "\0delegation~ended\0c71eb2971dda680a1443ace4fae46c1d09e0e62318c88e89a15b28382b495b66\0"
    );
    let mut salt = [1; 32];
    salt[0] = 0;
    assert_eq!(
        value_salt(&Salt::from_bytes(salt).unwrap(), &every).to_string(),
        "521227dc048a715d3c62202fa3c22662e6c0753eb3276d75425e5eae2e308de3"
    );
    assert_eq!(
        hex::encode(blinding.token_key()),
        "b15315228783136f8da04f09e72a61a0b7a31ded1c1ca58e09ff8f97a7150f8a"
    );
}
