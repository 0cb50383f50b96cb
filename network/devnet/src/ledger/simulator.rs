//! Simulation of one transaction against the state at one height.

use std::collections::BTreeMap;

use fabric_msp::MspId;
use fabric_protos::kvrwset::KvMetadataWrite;
use fabric_protos::protos::{ChaincodeInterest, StaticCollectionConfig};
use fabric_protos::rwset::TxPvtReadWriteSet;
use prost::Message;

use super::definition::{ChaincodeDefinition, LIFECYCLE_NAMESPACE, NAMESPACES_PREFIX, field_key};
use super::error::SimulationError;
use super::interest::InterestBuilder;
use super::rwset::{Metadata, RwSetBuilder};
use super::scan::{Scan, ScanId, ScanItem};
use super::shared::{Snapshot, read};
use super::state::CollectionId;
use crate::genesis::ChannelConfig;

mod private;

/// One transaction under simulation at a virtual peer.
///
/// It reads the state at the height at which it began and never its own writes, and collects
/// reads, writes and range queries. The rules and error texts are those of Fabric's LevelDB
/// peers: queries over private data and paginated queries do not go together with writes.
#[derive(Debug)]
pub struct Simulator {
    tx_id: String,
    peer: MspId,
    sets: RwSetBuilder,
    interest: InterestBuilder,
    scans: Vec<Scan>,
    wrote: bool,
    queried_private: bool,
    queried_pages: bool,
    definitions: BTreeMap<String, Option<ChaincodeDefinition>>,
    snapshot: Snapshot,
}

/// What a finished simulation yields.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulationResults {
    /// A marshalled `TxReadWriteSet`, which goes on the channel.
    pub public: Vec<u8>,
    /// The private writes, which do not.
    pub private: Option<TxPvtReadWriteSet>,
    /// What decides who must endorse.
    pub interest: ChaincodeInterest,
}

impl Simulator {
    pub(crate) fn new(snapshot: Snapshot, tx_id: &str, peer: &MspId) -> Self {
        Self {
            tx_id: tx_id.to_owned(),
            peer: peer.clone(),
            sets: RwSetBuilder::default(),
            interest: InterestBuilder::default(),
            scans: Vec::new(),
            wrote: false,
            queried_private: false,
            queried_pages: false,
            definitions: BTreeMap::new(),
            snapshot,
        }
    }

    /// Height at which it reads: the number of blocks whose effects it sees.
    #[must_use]
    pub fn height(&self) -> u64 {
        self.snapshot.height
    }

    /// The channel configuration at that height.
    #[must_use]
    pub fn config(&self) -> &ChannelConfig {
        &self.snapshot.config
    }

    /// The value of a key; `None` when it has none.
    ///
    /// # Errors
    /// None today; the state in memory always answers.
    pub fn get_state(
        &mut self,
        namespace: &str,
        key: &str,
    ) -> Result<Option<Vec<u8>>, SimulationError> {
        Ok(self.read_public(namespace, key).map(|(value, _)| value))
    }

    /// The values of several keys, in the order of the keys.
    ///
    /// # Errors
    /// As [`Simulator::get_state`].
    pub fn get_states(
        &mut self,
        namespace: &str,
        keys: &[String],
    ) -> Result<Vec<Option<Vec<u8>>>, SimulationError> {
        keys.iter()
            .map(|key| self.get_state(namespace, key))
            .collect()
    }

    /// Writes a key. An empty value deletes it.
    ///
    /// # Errors
    /// When a query that excludes writes came before.
    pub fn put_state(
        &mut self,
        namespace: &str,
        key: &str,
        value: Vec<u8>,
    ) -> Result<(), SimulationError> {
        self.check_write()?;
        self.sets.write(namespace, key, value);
        self.note_public_write(namespace, key)
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// As [`Simulator::put_state`].
    pub fn del_state(&mut self, namespace: &str, key: &str) -> Result<(), SimulationError> {
        self.put_state(namespace, key, Vec::new())
    }

    /// Metadata of a key, empty when it has none.
    ///
    /// # Errors
    /// When the stored metadata cannot be decoded.
    pub fn state_metadata(
        &mut self,
        namespace: &str,
        key: &str,
    ) -> Result<Metadata, SimulationError> {
        let metadata = self.read_public(namespace, key).and_then(|(_, md)| md);
        decode_metadata(metadata.as_deref(), namespace, key)
    }

    /// Replaces the metadata of a key.
    ///
    /// # Errors
    /// As [`Simulator::put_state`].
    pub fn set_state_metadata(
        &mut self,
        namespace: &str,
        key: &str,
        metadata: Metadata,
    ) -> Result<(), SimulationError> {
        self.check_write()?;
        self.sets.write_metadata(namespace, key, metadata);
        self.note_public_write(namespace, key)
    }

    /// Opens a scan of the keys from `start` up to but without `end`; empty bounds are open.
    ///
    /// # Errors
    /// None today.
    pub fn range(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
    ) -> Result<ScanId, SimulationError> {
        Ok(self.open(Scan::range(namespace, start, end, None)))
    }

    /// Opens a scan that ends after `page_size` keys; [`Simulator::bookmark`] then gives the key
    /// to start the next page from. A page size of zero or less means no limit.
    ///
    /// # Errors
    /// When something was written before.
    pub fn range_page(
        &mut self,
        namespace: &str,
        start: &str,
        end: &str,
        page_size: i32,
    ) -> Result<ScanId, SimulationError> {
        if self.wrote {
            return Err(SimulationError::PaginatedQueryAfterWrite {
                tx_id: self.tx_id.clone(),
            });
        }
        self.queried_pages = true;
        let limit = usize::try_from(page_size).ok().filter(|limit| *limit > 0);
        Ok(self.open(Scan::range(namespace, start, end, limit)))
    }

    /// Opens a scan of what valid transactions made of a key, newest first.
    ///
    /// # Errors
    /// None today.
    pub fn history(&mut self, namespace: &str, key: &str) -> Result<ScanId, SimulationError> {
        let state = read(&self.snapshot.shared.state);
        let places = state.history(namespace, key, self.snapshot.height);
        drop(state);
        Ok(self.open(Scan::history(namespace, key, places)))
    }

    /// Opens a scan of a collection's keys from `start` up to but without `end`. It leaves no
    /// trace in the read set, so nothing protects it from phantoms. A peer of an organisation
    /// that is no member has no values to show.
    ///
    /// # Errors
    /// When something was written before or the collection is not defined.
    pub fn private_range(
        &mut self,
        namespace: &str,
        collection: &str,
        start: &str,
        end: &str,
    ) -> Result<ScanId, SimulationError> {
        if self.wrote {
            return Err(SimulationError::PrivateQueryAfterWrite {
                tx_id: self.tx_id.clone(),
            });
        }
        self.queried_private = true;
        let config = self.collection(namespace, collection)?;
        let id = CollectionId::new(namespace, collection);
        let member = self.peer_is_member(&config);
        Ok(self.open(Scan::private(id, start, end, member)))
    }

    /// A query in a state database's language, which LevelDB does not have.
    ///
    /// # Errors
    /// Always [`SimulationError::QueriesNotSupported`].
    pub fn query(&mut self, _query: &str) -> Result<ScanId, SimulationError> {
        Err(SimulationError::QueriesNotSupported)
    }

    /// The next item of a scan; `None` at its end.
    ///
    /// # Errors
    /// [`SimulationError::UnknownScan`], or when a block cannot be read back.
    pub fn next(&mut self, scan: ScanId) -> Result<Option<ScanItem>, SimulationError> {
        let scan = self.scans.get_mut(scan.0).filter(|scan| scan.is_open());
        scan.ok_or(SimulationError::UnknownScan)?
            .next(&self.snapshot)
    }

    /// Closes a scan and gives the key that would have come next, empty when there is none.
    #[must_use]
    pub fn bookmark(&mut self, scan: ScanId) -> String {
        let Some(scan) = self.scans.get_mut(scan.0).filter(|scan| scan.is_open()) else {
            return String::new();
        };
        let bookmark = scan.peek_key(&self.snapshot);
        scan.close();
        bookmark.unwrap_or_default()
    }

    /// Closes a scan. What it has read so far stays in the read set.
    pub fn close(&mut self, scan: ScanId) {
        if let Some(scan) = self.scans.get_mut(scan.0) {
            scan.close();
        }
    }

    /// The definition of a chaincode at this height. It leaves no read behind.
    #[must_use]
    pub fn definition(&self, chaincode: &str) -> Option<ChaincodeDefinition> {
        if chaincode == LIFECYCLE_NAMESPACE {
            return Some(ChaincodeDefinition::lifecycle());
        }
        let state = read(&self.snapshot.shared.state);
        ChaincodeDefinition::from_state(chaincode, |key| {
            let value = state.public(LIFECYCLE_NAMESPACE, key, self.snapshot.height)?;
            Some(value.value.clone())
        })
    }

    /// Records the read of the chaincode's sequence that every invocation makes, so that a new
    /// definition invalidates transactions simulated under the old one.
    pub fn record_lifecycle_read(&mut self, chaincode: &str) {
        let key = field_key(NAMESPACES_PREFIX, chaincode, "Sequence");
        self.read_public(LIFECYCLE_NAMESPACE, &key);
    }

    /// Ends the simulation.
    #[must_use]
    pub fn finish(mut self) -> SimulationResults {
        for scan in std::mem::take(&mut self.scans) {
            if let Some((namespace, query)) = scan.into_range_query() {
                self.sets.range_query(&namespace, query);
            }
        }
        let (public, private) = std::mem::take(&mut self.sets).build();
        let namespaces = public.ns_rwset.iter().map(|set| set.namespace.as_str());
        let interest = self.interest.build(namespaces);
        SimulationResults {
            public: public.encode_to_vec(),
            private,
            interest,
        }
    }

    fn open(&mut self, scan: Scan) -> ScanId {
        self.scans.push(scan);
        ScanId(self.scans.len() - 1)
    }

    fn check_write(&mut self) -> Result<(), SimulationError> {
        if self.queried_private {
            return Err(SimulationError::WriteAfterPrivateQuery {
                tx_id: self.tx_id.clone(),
            });
        }
        if self.queried_pages {
            return Err(SimulationError::WriteAfterPaginatedQuery {
                tx_id: self.tx_id.clone(),
            });
        }
        self.wrote = true;
        Ok(())
    }

    /// Value and metadata of a public key, with the read recorded.
    fn read_public(&mut self, namespace: &str, key: &str) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let state = read(&self.snapshot.shared.state);
        let value = state.public(namespace, key, self.snapshot.height);
        let version = value.map(|value| value.version);
        self.sets.read(namespace, key, version);
        value.map(|value| (value.value.clone(), value.metadata.clone()))
    }

    /// Configuration of a collection. The first look at a chaincode's collections reads its
    /// whole definition, and the reads are recorded, as a peer records them.
    fn collection(
        &mut self,
        namespace: &str,
        collection: &str,
    ) -> Result<StaticCollectionConfig, SimulationError> {
        if !self.definitions.contains_key(namespace) {
            let definition = self.read_definition(namespace);
            self.definitions.insert(namespace.to_owned(), definition);
        }
        let Some(Some(definition)) = self.definitions.get(namespace) else {
            return Err(SimulationError::CollectionsNotDefined {
                namespace: namespace.to_owned(),
            });
        };
        definition
            .collection(collection, &self.snapshot.config)
            .ok_or_else(|| SimulationError::UnknownCollection {
                namespace: namespace.to_owned(),
                collection: collection.to_owned(),
            })
    }

    fn read_definition(&mut self, chaincode: &str) -> Option<ChaincodeDefinition> {
        if chaincode == LIFECYCLE_NAMESPACE {
            return Some(ChaincodeDefinition::lifecycle());
        }
        ChaincodeDefinition::from_state(chaincode, |key| {
            let (value, _) = self.read_public(LIFECYCLE_NAMESPACE, key)?;
            Some(value)
        })
    }

    fn note_public_write(&mut self, namespace: &str, key: &str) -> Result<(), SimulationError> {
        let state = read(&self.snapshot.shared.state);
        let value = state.public(namespace, key, self.snapshot.height);
        let metadata = value.and_then(|value| value.metadata.as_deref());
        let metadata = decode_metadata(metadata, namespace, key)?;
        self.interest.wrote(namespace, "", key, metadata);
        Ok(())
    }
}

fn decode_metadata(
    metadata: Option<&[u8]>,
    namespace: &str,
    key: &str,
) -> Result<Metadata, SimulationError> {
    let Some(metadata) = metadata else {
        return Ok(Metadata::new());
    };
    let write = KvMetadataWrite::decode(metadata).map_err(|_| SimulationError::Unreadable {
        what: "metadata",
        namespace: namespace.to_owned(),
        key: key.to_owned(),
    })?;
    let entries = write.entries.into_iter();
    Ok(entries.map(|entry| (entry.name, entry.value)).collect())
}
