//! Where a reader's data key is, before it is decided whether the reader gets it. Pure but for
//! [`Way::take`], which opens wraps and is called after the decision.

use contract_interface::{KeyWrap, Participant, ParticipantId, Record, RecordState, RecordWraps};
use sealed_object::{DataKey, PublicKey};

use super::ReadError;
use crate::keys::OracleKeys;

/// The reader as one who receives a key.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) key: PublicKey,
    /// Whether it is the record's patient, whose own wrap is among the record's.
    pub(super) is_patient: bool,
}

impl Holder {
    pub(super) fn of(reader: &Participant, record: &Record) -> Result<Self, ReadError> {
        let jwk = reader
            .encryption_key
            .as_ref()
            .ok_or(ReadError::ReaderHasNoKey)?;
        let json = serde_json::to_string(jwk).map_err(|_| ReadError::ReaderHasNoKey)?;
        let patient = ParticipantId::from(record.metadata.patient);
        Ok(Self {
            key: PublicKey::from_jwk(&json).map_err(ReadError::ReaderKey)?,
            is_patient: reader.participant_id == patient,
        })
    }
}

/// How a permitted reader gets the key.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// A wrap for the reader stands behind this oracle's gate.
    Gated(KeyWrap),
    /// This oracle has the data key and wraps it for the reader.
    Own(KeyWrap, PublicKey),
    /// The reader is the patient, whose own wrap is handed out as it is.
    Patient(KeyWrap),
}

/// The way of `holder` to the key of a record that the oracle's own organisation registered.
///
/// A wrap does not say which record it belongs to, and every member of the collection sees all of
/// them. Another organisation could put one of this oracle's wraps into a record of its own, permit
/// itself to read that, and have this oracle open the key of the first record for it. So a wrap
/// MUST NOT be opened on another organisation's word.
pub(super) fn find(
    state: &RecordState,
    wraps: RecordWraps,
    own_msp_id: &str,
    keys: &OracleKeys,
    holder: Holder,
    opened: bool,
) -> Result<Way, ReadError> {
    if state.msp_id.as_str() != own_msp_id {
        return Err(ReadError::NoKeyHere {
            msp_id: state.msp_id.clone(),
        });
    }
    let for_reader = wraps.for_kid(holder.key.thumbprint());
    let gated = for_reader.filter(|wrap| wrap.gate.as_deref().is_some_and(|kid| keys.holds(kid)));
    let plain = for_reader.filter(|wrap| wrap.gate.is_none() && holder.is_patient);
    match (opened, gated, plain, keys.own(&wraps.wraps)) {
        (true, _, _, Some(own)) => Ok(Way::Own(own.clone(), holder.key)),
        (true, _, _, None) => Err(ReadError::NotShared),
        (false, Some(gated), _, _) => Ok(Way::Gated(gated.clone())),
        (false, None, Some(plain), _) => Ok(Way::Patient(plain.clone())),
        (false, None, None, Some(own)) => Ok(Way::Own(own.clone(), holder.key)),
        (false, None, None, None) => Err(ReadError::NotShared),
    }
}

impl Way {
    /// The data key, where this oracle has it, and the data key wrapped for the reader. Slow: for
    /// a blocking thread, and only after the decision.
    pub(super) fn take(&self, keys: &OracleKeys) -> Result<(Option<DataKey>, String), ReadError> {
        match self {
            Self::Gated(wrap) => Ok((None, keys.ungate(wrap)?)),
            Self::Patient(wrap) => Ok((None, wrap.jwe.clone())),
            Self::Own(wrap, reader) => {
                let data_key = keys.unwrap(wrap)?;
                let wrapped = reader.wrap(&data_key).map_err(ReadError::Wrap)?;
                Ok((Some(data_key), wrapped))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use contract_interface::{Digest, RecordId, RecordStatus};
    use sealed_object::PrivateKey;

    use super::*;
    use crate::keys::tests::KEYS;

    fn state(msp_id: &str) -> RecordState {
        RecordState {
            object_sha256: Digest::of(b"object"),
            commitment: Digest::of(b"commitment"),
            msp_id: msp_id.parse().unwrap(),
            tx_id: "tx".to_owned(),
            version: 1,
            previous: None,
            status: RecordStatus::Active,
        }
    }

    fn kid(key: &PrivateKey) -> String {
        key.public_key().thumbprint().to_owned()
    }

    fn plain(key: &PrivateKey, data_key: &DataKey) -> KeyWrap {
        KeyWrap::plain(kid(key), key.public_key().wrap(data_key).unwrap())
    }

    fn gated(gate: &PrivateKey, reader: &PrivateKey, data_key: &DataKey) -> KeyWrap {
        let inner = reader.public_key().wrap(data_key).unwrap();
        KeyWrap {
            kid: kid(reader),
            jwe: sealed_object::gate(gate.public_key(), &inner).unwrap(),
            gate: Some(kid(gate)),
            grant_id: None,
        }
    }

    fn holder(key: &PrivateKey, is_patient: bool) -> Holder {
        Holder {
            key: key.public_key().clone(),
            is_patient,
        }
    }

    fn wraps(wraps: Vec<KeyWrap>) -> RecordWraps {
        RecordWraps {
            record_id: RecordId::from_bytes([1; 16]),
            wraps,
        }
    }

    /// Custody × reader × form: what is taken, and that the reader opens it.
    #[test]
    fn each_reader_has_one_way_to_the_key() {
        let [oracle, patient, reader, _] = &*KEYS;
        let keys = OracleKeys::new(oracle.clone(), vec![]);
        let data_key = DataKey::generate();
        let organization = vec![plain(patient, &data_key), plain(oracle, &data_key)];
        let only_patient = vec![plain(patient, &data_key)];
        let shared = vec![plain(patient, &data_key), gated(oracle, reader, &data_key)];
        let of_both = [organization.clone(), shared.clone()].concat();
        type Case<'a> = (&'a str, &'a [KeyWrap], &'a PrivateKey, bool, bool, &'a str);
        let table: [Case<'_>; 11] = [
            (
                "organization, reader",
                &organization,
                reader,
                false,
                false,
                "own",
            ),
            (
                "organization, patient",
                &organization,
                patient,
                true,
                false,
                "patient",
            ),
            (
                "organization, opened",
                &organization,
                reader,
                false,
                true,
                "own",
            ),
            (
                "organization, patient, opened",
                &organization,
                patient,
                true,
                true,
                "own",
            ),
            (
                "organization, gated",
                &of_both[1..],
                reader,
                false,
                false,
                "gated",
            ),
            (
                "patient, own record",
                &only_patient,
                patient,
                true,
                false,
                "patient",
            ),
            (
                "patient, not shared",
                &only_patient,
                reader,
                false,
                false,
                "none",
            ),
            ("patient, shared", &shared, reader, false, false, "gated"),
            (
                "patient, shared, opened",
                &shared,
                reader,
                false,
                true,
                "none",
            ),
            (
                "patient, opened",
                &only_patient,
                patient,
                true,
                true,
                "none",
            ),
            // A plain wrap for someone who is not the patient would be one without a gate.
            (
                "plain for a reader",
                &only_patient,
                patient,
                false,
                false,
                "none",
            ),
        ];
        for (name, given, who, is_patient, opened, expected) in table {
            let found = find(
                &state("Org1MSP"),
                wraps(given.to_vec()),
                "Org1MSP",
                &keys,
                holder(who, is_patient),
                opened,
            );
            let kind = match &found {
                Ok(Way::Gated(_)) => "gated",
                Ok(Way::Own(..)) => "own",
                Ok(Way::Patient(_)) => "patient",
                Err(ReadError::NotShared) => "none",
                Err(error) => panic!("{name}: {error}"),
            };
            assert_eq!(kind, expected, "{name}");
            if let Ok(way) = found {
                let (own, wrapped) = way.take(&keys).unwrap();
                let opened = who.unwrap(&wrapped).unwrap();
                assert_eq!(opened.expose_secret(), data_key.expose_secret(), "{name}");
                assert_eq!(own.is_some(), kind == "own", "{name}");
            }
        }
    }

    #[test]
    fn a_wrap_copied_into_another_organisations_record_is_not_opened() {
        let [oracle, _, reader, _] = &*KEYS;
        let keys = OracleKeys::new(oracle.clone(), vec![]);
        let data_key = DataKey::generate();
        for stolen in [plain(oracle, &data_key), gated(oracle, reader, &data_key)] {
            let refused = find(
                &state("Org2MSP"),
                wraps(vec![stolen]),
                "Org1MSP",
                &keys,
                holder(reader, false),
                false,
            );
            assert!(
                matches!(refused, Err(ReadError::NoKeyHere { msp_id }) if msp_id.as_str() == "Org2MSP")
            );
        }
    }

    #[test]
    fn a_gate_that_is_not_held_here_is_no_way() {
        let [oracle, patient, reader, other] = &*KEYS;
        let keys = OracleKeys::new(oracle.clone(), vec![]);
        let data_key = DataKey::generate();
        let given = vec![plain(patient, &data_key), gated(other, reader, &data_key)];
        let found = find(
            &state("Org1MSP"),
            wraps(given),
            "Org1MSP",
            &keys,
            holder(reader, false),
            false,
        );
        assert!(matches!(found, Err(ReadError::NotShared)));
    }
}
