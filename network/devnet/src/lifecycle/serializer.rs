//! How `_lifecycle` keeps structures in state: one key per field, one for the list of fields.
//!
//! ```text
//! <place>/metadata/<name>        StateMetadata: type name, field names
//! <place>/fields/<name>/<field>  StateData: one number, string or byte string
//! ```
//!
//! Other organisations see only the hashes of an approval, and compare them with the hashes of
//! what they would have written; so these bytes are part of the protocol.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use fabric_protos::lifecycle::{StateData, StateMetadata, state_data};
use prost::Message;

use crate::ledger::{ScanItem, SimulationError, Simulator};

/// Namespace of the lifecycle chaincode.
pub(crate) const LIFECYCLE: &str = "_lifecycle";
/// Where definitions, committed and approved, are kept.
pub(super) const NAMESPACES: &str = "namespaces";
/// Where the package of an approval is kept.
pub(super) const SOURCES: &str = "chaincode-sources";

/// A structure as its type name and its fields in declaration order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Structure {
    pub(super) type_name: &'static str,
    pub(super) fields: Vec<(&'static str, Field)>,
}

/// The value of one field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Field {
    fn encode(&self) -> Vec<u8> {
        let value = match self {
            Self::Number(number) => state_data::Type::Int64(*number),
            Self::Text(text) => state_data::Type::String(text.clone()),
            Self::Bytes(bytes) => state_data::Type::Bytes(bytes.clone()),
        };
        StateData {
            r#type: Some(value),
        }
        .encode_to_vec()
    }
}

impl Structure {
    fn metadata(&self) -> StateMetadata {
        StateMetadata {
            datatype: self.type_name.to_owned(),
            fields: self
                .fields
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
        }
    }
}

/// A structure read back.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) type_name: String,
    fields: BTreeMap<String, StateData>,
}

impl Stored {
    pub(super) fn number(&self, field: &str) -> i64 {
        match self.value(field) {
            Some(state_data::Type::Int64(number)) => *number,
            _ => 0,
        }
    }

    pub(super) fn text(&self, field: &str) -> String {
        match self.value(field) {
            Some(state_data::Type::String(text)) => text.clone(),
            _ => String::new(),
        }
    }

    pub(super) fn message<M: Message + Default>(&self, field: &str) -> Result<M, StateError> {
        let bytes = match self.value(field) {
            Some(state_data::Type::Bytes(bytes)) => bytes.as_slice(),
            _ => &[],
        };
        Ok(M::decode(bytes)?)
    }

    fn value(&self, field: &str) -> Option<&state_data::Type> {
        self.fields.get(field)?.r#type.as_ref()
    }
}

/// Lifecycle state that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("{0}")]
    Simulation(#[from] SimulationError),
    #[error("could not unmarshal state: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The channel's public lifecycle state, or one organisation's private one.
pub(super) struct State<'a> {
    simulator: &'a mut Simulator,
    collection: Option<String>,
}

impl<'a> State<'a> {
    pub(super) fn public(simulator: &'a mut Simulator) -> Self {
        Self {
            simulator,
            collection: None,
        }
    }

    pub(super) fn organization(simulator: &'a mut Simulator, msp_id: &str) -> Self {
        Self {
            simulator,
            collection: Some(implicit_collection(msp_id)),
        }
    }

    fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, SimulationError> {
        match &self.collection {
            None => self.simulator.get_state(LIFECYCLE, key),
            Some(collection) => self.simulator.get_private(LIFECYCLE, collection, key),
        }
    }

    fn put(&mut self, key: &str, value: Vec<u8>) -> Result<(), SimulationError> {
        match &self.collection {
            None => self.simulator.put_state(LIFECYCLE, key, value),
            Some(collection) => self
                .simulator
                .put_private(LIFECYCLE, collection, key, value),
        }
    }

    fn delete(&mut self, key: &str) -> Result<(), SimulationError> {
        match &self.collection {
            None => self.simulator.del_state(LIFECYCLE, key),
            Some(collection) => self.simulator.del_private(LIFECYCLE, collection, key),
        }
    }

    /// The hash of a value; any organisation may see it.
    fn hash(&mut self, key: &str) -> Result<Option<Vec<u8>>, SimulationError> {
        match &self.collection {
            None => {
                let value = self.simulator.get_state(LIFECYCLE, key)?;
                Ok(value.map(|value| sha256(&value)))
            }
            Some(collection) => self.simulator.private_hash(LIFECYCLE, collection, key),
        }
    }

    pub(super) fn metadata(
        &mut self,
        place: &str,
        name: &str,
    ) -> Result<Option<StateMetadata>, StateError> {
        let value = self.get(&metadata_key(place, name))?;
        Ok(value
            .map(|value| StateMetadata::decode(value.as_slice()))
            .transpose()?)
    }

    /// One number, 0 when there is none.
    pub(super) fn number(
        &mut self,
        place: &str,
        name: &str,
        field: &str,
    ) -> Result<i64, StateError> {
        let value = self
            .get(&field_key(place, name, field))?
            .unwrap_or_default();
        match StateData::decode(value.as_slice())?.r#type {
            Some(state_data::Type::Int64(number)) => Ok(number),
            _ => Ok(0),
        }
    }

    /// A structure, if there is one of this name.
    pub(super) fn read(&mut self, place: &str, name: &str) -> Result<Option<Stored>, StateError> {
        let Some(metadata) = self.metadata(place, name)? else {
            return Ok(None);
        };
        let mut fields = BTreeMap::new();
        for field in metadata.fields {
            let value = self
                .get(&field_key(place, name, &field))?
                .unwrap_or_default();
            fields.insert(field, StateData::decode(value.as_slice())?);
        }
        Ok(Some(Stored {
            type_name: metadata.datatype,
            fields,
        }))
    }

    /// Writes the fields that differ, deletes those no longer there.
    pub(super) fn write(
        &mut self,
        place: &str,
        name: &str,
        structure: &Structure,
    ) -> Result<(), StateError> {
        let old = self.metadata(place, name)?.unwrap_or_default();
        let mut left = BTreeMap::new();
        for field in &old.fields {
            let key = field_key(place, name, field);
            let value = self.get(&key)?;
            left.insert(key, value);
        }
        for (field, value) in &structure.fields {
            let key = field_key(place, name, field);
            let value = value.encode();
            let unchanged = left.remove(&key).flatten().is_some_and(|old| old == value);
            if !unchanged {
                self.put(&key, value)?;
            }
        }
        let metadata = structure.metadata();
        if !left.is_empty() || metadata != old {
            self.put(&metadata_key(place, name), metadata.encode_to_vec())?;
        }
        for key in left.keys() {
            self.delete(key)?;
        }
        Ok(())
    }

    /// Compares by hash; gives the names of what differs.
    pub(super) fn mismatches(
        &mut self,
        place: &str,
        name: &str,
        structure: &Structure,
    ) -> Result<Vec<String>, StateError> {
        let metadata = sha256(&structure.metadata().encode_to_vec());
        if self.hash(&metadata_key(place, name))? != Some(metadata) {
            return Ok(vec![structure.type_name.to_owned()]);
        }
        let mut differing = Vec::new();
        for (field, value) in &structure.fields {
            let hash = self.hash(&field_key(place, name, field))?;
            if hash != Some(sha256(&value.encode())) {
                differing.push((*field).to_owned());
            }
        }
        Ok(differing)
    }

    /// Names of all structures of a place.
    pub(super) fn names(&mut self, place: &str) -> Result<Vec<String>, StateError> {
        let prefix = format!("{place}/metadata/");
        let end = format!("{prefix}\u{10ffff}");
        let scan = match &self.collection {
            None => self.simulator.range(LIFECYCLE, &prefix, &end)?,
            Some(collection) => self
                .simulator
                .private_range(LIFECYCLE, collection, &prefix, &end)?,
        };
        let mut names = Vec::new();
        while let Some(item) = self.simulator.next(scan)? {
            if let ScanItem::State(kv) = item
                && let Some(name) = kv.key.strip_prefix(&prefix)
            {
                names.push(name.to_owned());
            }
        }
        self.simulator.close(scan);
        Ok(names)
    }
}

/// The collection that only one organisation's peers hold.
pub(crate) fn implicit_collection(msp_id: &str) -> String {
    format!("_implicit_org_{msp_id}")
}

fn metadata_key(place: &str, name: &str) -> String {
    format!("{place}/metadata/{name}")
}

fn field_key(place: &str, name: &str, field: &str) -> String {
    format!("{place}/fields/{name}/{field}")
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}
