//! Which blocks of a bundle the anchors vouch for.
//!
//! A header is genuine if its hash is pinned, if orderers signed it whom a trusted configuration
//! or a trusted organisation names, or if a genuine header follows from it: each header commits
//! to the one before. A configuration is trusted if the header of its block is genuine.

use std::collections::BTreeMap;

use fabric_msp::NodeOu;
use fabric_msp::block::{Block, ChannelConfig, Header, verify_orderers};

use super::anchors::Anchors;

/// A header with its orderers' signatures and the number of the configuration that they name.
pub(super) struct Signed<'a> {
    pub(super) header: &'a Header,
    pub(super) signatures: &'a [u8],
    pub(super) config: u64,
}

impl<'a> Signed<'a> {
    pub(super) fn block(block: &'a Block, config: u64) -> Self {
        Self {
            header: block.header(),
            signatures: block.signatures(),
            config,
        }
    }
}

/// The genuine headers among `run`, which is known to be a chain, and the blocks signed.
#[derive(Debug)]
pub(super) struct Genuine {
    /// Number to hash.
    hashes: BTreeMap<u64, [u8; 32]>,
}

impl Genuine {
    pub(super) fn contains(&self, header: &Header) -> bool {
        self.hashes.get(&header.number()) == Some(&header.hash())
    }

    pub(super) fn find(
        anchors: &Anchors,
        run: &[Header],
        signed: &[Signed<'_>],
        configs: &BTreeMap<u64, (Header, ChannelConfig)>,
    ) -> Self {
        let mut genuine = Self {
            hashes: BTreeMap::new(),
        };
        let headers = || {
            let blocks = signed.iter().map(|signed| signed.header);
            let configs = configs.values().map(|(header, _)| header);
            run.iter().chain(blocks).chain(configs)
        };
        for header in headers() {
            if anchors.pins(&header.hash()) {
                genuine.add(header, run);
            }
        }
        // A configuration that becomes trusted may show further headers to be genuine, and these
        // another configuration: there are as many rounds as configurations, at most.
        for _ in 0..=configs.len() {
            for signed in signed {
                if !genuine.contains(signed.header) && genuine.signed(anchors, signed, configs) {
                    genuine.add(signed.header, run);
                }
            }
        }
        genuine
    }

    /// Adds a header, and those before it if it stands in the run.
    fn add(&mut self, header: &Header, run: &[Header]) {
        let stands = run.iter().any(|other| other == header);
        let before = run.iter().filter(|other| other.number() < header.number());
        for header in before.filter(|_| stands).chain([header]) {
            self.hashes.insert(header.number(), header.hash());
        }
    }

    fn signed(
        &self,
        anchors: &Anchors,
        signed: &Signed<'_>,
        configs: &BTreeMap<u64, (Header, ChannelConfig)>,
    ) -> bool {
        let verify = |config| verify_orderers(signed.header, signed.signatures, config);
        // Under the configuration that they name, by those whom a trusted organisation vouches for.
        let by_anchor = configs.get(&signed.config).is_some_and(|(_, config)| {
            let vouched = |signer: &_| anchors.vouch_for(signer, NodeOu::Orderer, config);
            verify(config).is_ok_and(|found| found.valid.iter().any(vouched))
        });
        // Under a trusted configuration: the own one, or for a new configuration an earlier one.
        let by_config = configs.values().any(|(header, config)| {
            let fits = config.number() == signed.config
                || (signed.config == signed.header.number() && config.number() < signed.config);
            fits && self.contains(header) && verify(config).is_ok()
        });
        by_anchor || by_config
    }
}
