//! The verification of a bundle, step by step.
//!
//! Every step is made as far as it can be, so that a report names each thing that is wrong and
//! not only the first; what depends on something unreadable is skipped.

use std::collections::BTreeMap;

use contract_interface::evidence::{
    BLOCK_BYTES_MAX, CONFIGURATIONS_MAX, ChainHeader, Evidence, FORMAT, HEADERS_MAX,
    public_record_key,
};
use contract_interface::{RecordId, RecordState, RecordStatus};
use fabric_msp::NodeOu;
use fabric_msp::block::{
    Block, ChaincodeDefinition, ChannelConfig, Header, Transaction, check_chain, last_config,
    verify_orderers,
};

use super::anchors::Anchors;
use super::chain::{Genuine, Signed};
use super::content;
use super::report::{Check, Report};

/// What the bundle is expected to be about.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The record, if it is known.
    pub record_id: Option<RecordId>,
    /// The channel, if it is known.
    pub channel: Option<&'a str>,
    /// The chaincode: on the same channel another one, with a policy of its own, could write what
    /// looks like a record.
    pub chaincode: &'a str,
}

/// A step's result with what it found, or why it fails.
type Step<T> = Result<(T, String), String>;

/// The configurations of a bundle with their blocks' headers, by number.
type Configs = BTreeMap<u64, (Header, ChannelConfig)>;

/// What the bundle's blocks say, as far as they can be read.
struct Parts<'a> {
    evidence: &'a Evidence,
    registration: Block,
    definition: Option<Block>,
    configurations: Vec<Block>,
    run: Vec<Header>,
}

/// Checks evidence against what is trusted. Nothing else is asked: no clock, no network, no file.
#[must_use]
pub fn verify(evidence: &Evidence, expected: &Expected<'_>, anchors: &Anchors) -> Report {
    let mut report = Report::default();
    report.judge(Check::Format, format(evidence, expected));
    report.judge(Check::Commitment, commitment(evidence));
    if let Some(manifest) = &evidence.record.metadata.manifest {
        let signed = content::signed_manifest(evidence, manifest);
        let signed = signed.map(|certificate| ((), format!("signed by {}", certificate.subject())));
        report.judge(Check::Manifest, signed);
    }
    let registration = report.judge(Check::Block, block(&evidence.registration.0));
    let run = report.judge(Check::Chain, run(evidence, registration.as_ref()));
    let configs = report.judge(Check::Configuration, configurations(evidence));
    let (Some(registration), Some(run), Some((configurations, configs))) =
        (registration, run, configs)
    else {
        let reason = "the blocks, headers or configurations cannot be read";
        for check in [
            Check::Orderers,
            Check::Transaction,
            Check::State,
            Check::Definition,
            Check::Endorsements,
        ] {
            report.skipped(check, reason);
        }
        report.failed_with(Check::Anchor, reason);
        return report;
    };
    let parts = Parts {
        evidence,
        registration,
        definition: evidence
            .definition
            .as_ref()
            .and_then(|block| Block::decode(&block.0).ok()),
        configurations,
        run,
    };
    report.judge(Check::Orderers, orderers(&parts, &configs));
    match config_of(&configs, parts.registration.last_config()) {
        Ok(config) => transaction_steps(&parts, &configs, config, anchors, &mut report),
        Err(reason) => {
            report.skipped(Check::Transaction, reason.clone());
            report.failed_with(Check::Anchor, reason);
        }
    }
    report
}

/// The steps that need the transaction and the configuration in force.
fn transaction_steps(
    parts: &Parts<'_>,
    configs: &Configs,
    config: &ChannelConfig,
    anchors: &Anchors,
    report: &mut Report,
) {
    let transaction = report.judge(Check::Transaction, transaction(parts, config));
    let Some(transaction) = transaction else {
        let reason = "the transaction cannot be relied on";
        for check in [Check::State, Check::Definition, Check::Endorsements] {
            report.skipped(check, reason);
        }
        report.failed_with(Check::Anchor, reason);
        return;
    };
    report.judge(Check::State, state(parts.evidence, &transaction));
    let definition = report.judge(Check::Definition, definition(parts, configs, &transaction));
    match definition {
        Some(definition) => {
            let endorsed = endorsements(config, &definition, &transaction);
            report.judge(Check::Endorsements, endorsed);
        }
        None => report.skipped(Check::Endorsements, "it is not known which policy applies"),
    }
    report.judge(
        Check::Anchor,
        anchor(parts, configs, config, &transaction, anchors),
    );
}

fn format(evidence: &Evidence, expected: &Expected<'_>) -> Step<()> {
    let metadata = &evidence.record.metadata;
    let blocks = [&evidence.registration].into_iter();
    let mut blocks = blocks
        .chain(&evidence.definition)
        .chain(&evidence.configurations);
    if evidence.format != FORMAT {
        return Err(format!("the bundle is not of the format {FORMAT}"));
    }
    if expected
        .record_id
        .is_some_and(|id| id != metadata.record_id)
    {
        return Err(format!("the bundle is about record {}", metadata.record_id));
    }
    if expected
        .channel
        .is_some_and(|name| name != evidence.channel)
    {
        return Err(format!("the bundle is of channel {}", evidence.channel));
    }
    if evidence.chaincode != expected.chaincode {
        return Err(format!(
            "the bundle is of chaincode {}, not {}",
            evidence.chaincode, expected.chaincode
        ));
    }
    if blocks.any(|block| block.0.len() > BLOCK_BYTES_MAX) {
        return Err(format!("a block is longer than {BLOCK_BYTES_MAX} bytes"));
    }
    metadata.validate().map_err(|error| error.to_string())?;
    let found = format!(
        "record {} on channel {}, chaincode {}",
        metadata.record_id, evidence.channel, evidence.chaincode
    );
    Ok(((), found))
}

fn commitment(evidence: &Evidence) -> Step<()> {
    let record = &evidence.record;
    if record.metadata.commitment() == record.state.commitment {
        Ok((
            (),
            format!("the metadata commits to {}", record.state.commitment),
        ))
    } else {
        Err("the metadata is not what the public state commits to".to_owned())
    }
}

fn block(bytes: &[u8]) -> Step<Block> {
    let block = Block::decode(bytes).map_err(|error| error.to_string())?;
    block.check_data().map_err(|error| error.to_string())?;
    let found = format!(
        "block {} with {} transactions",
        block.number(),
        block.envelopes().len()
    );
    Ok((block, found))
}

fn run(evidence: &Evidence, registration: Option<&Block>) -> Step<Vec<Header>> {
    if !(1..=HEADERS_MAX).contains(&evidence.headers.len()) {
        return Err(format!("there are not 1 to {HEADERS_MAX} headers"));
    }
    let headers: Result<Vec<Header>, _> = evidence.headers.iter().map(header).collect();
    let headers = headers.map_err(|error| error.to_string())?;
    check_chain(&headers).map_err(|error| error.to_string())?;
    let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
        return Err("there are no headers".to_owned());
    };
    if let Some(block) = registration
        && !headers.contains(block.header())
    {
        return Err(format!("block {} is not among the headers", block.number()));
    }
    let found = format!(
        "headers {} to {} without gap; the last is {}",
        first.number(),
        last.number(),
        contract_interface::Digest::from_bytes(last.hash())
    );
    Ok((headers, found))
}

fn header(header: &ChainHeader) -> Result<Header, fabric_msp::block::BlockError> {
    let previous = header.previous_hash.as_ref();
    let previous = previous.map_or(&[][..], |hash| hash.as_bytes());
    Header::new(header.number, previous, header.data_hash.as_bytes())
}

fn configurations(evidence: &Evidence) -> Step<(Vec<Block>, Configs)> {
    if !(1..=CONFIGURATIONS_MAX).contains(&evidence.configurations.len()) {
        return Err(format!(
            "there are not 1 to {CONFIGURATIONS_MAX} configuration blocks"
        ));
    }
    let (mut blocks, mut configs) = (Vec::new(), Configs::new());
    for bytes in &evidence.configurations {
        let (block, _) = block(&bytes.0)?;
        let config = ChannelConfig::from_block(&block).map_err(|error| error.to_string())?;
        if config.channel_id() != evidence.channel {
            return Err(format!(
                "block {} configures channel {}",
                block.number(),
                config.channel_id()
            ));
        }
        configs.insert(block.number(), (block.header().clone(), config));
        blocks.push(block);
    }
    let listed: Vec<String> = configs
        .values()
        .map(|(header, config)| {
            let msps = config.msps().msps();
            let msps: Vec<&str> = msps.map(|msp| msp.msp_id().as_str()).collect();
            format!(
                "block {}, hash {}, with {}",
                header.number(),
                contract_interface::Digest::from_bytes(header.hash()),
                msps.join(", ")
            )
        })
        .collect();
    Ok(((blocks, configs), listed.join("; ")))
}

fn config_of<E: ToString>(
    configs: &Configs,
    number: Result<u64, E>,
) -> Result<&ChannelConfig, String> {
    let number = number.map_err(|error| error.to_string())?;
    let found = configs.get(&number).map(|(_, config)| config);
    found.ok_or_else(|| format!("configuration block {number} is missing"))
}

fn orderers(parts: &Parts<'_>, configs: &Configs) -> Step<()> {
    let mut names = Vec::new();
    for signed in signed(parts)? {
        let config = config_of::<String>(configs, Ok(signed.config))?;
        // A new configuration is signed under the one before, which the bundle need not hold.
        if signed.config == signed.header.number() {
            continue;
        }
        let found = verify_orderers(signed.header, signed.signatures, config);
        let found = found.map_err(|error| format!("block {}: {error}", signed.header.number()))?;
        let signers = found.valid.iter();
        let signers =
            signers.map(|signer| format!("{} of {}", signer.certificate.subject(), signer.msp_id));
        names = signers.collect();
    }
    Ok(((), format!("signed by {}", names.join(" and "))))
}

/// Everything in the bundle that orderers signed, the newest header last.
fn signed<'a>(parts: &'a Parts<'_>) -> Result<Vec<Signed<'a>>, String> {
    let blocks = parts.configurations.iter().chain(&parts.definition);
    let blocks = blocks.chain([&parts.registration]);
    let mut signed = Vec::new();
    for block in blocks.filter(|block| block.number() > 0) {
        let config = block.last_config().map_err(|error| error.to_string())?;
        signed.push(Signed::block(block, config));
    }
    let signatures = &parts.evidence.tip_signatures.0;
    signed.push(Signed {
        header: parts.run.last().ok_or("there are no headers")?,
        signatures,
        config: last_config(signatures).map_err(|error| error.to_string())?,
    });
    Ok(signed)
}

fn transaction(parts: &Parts<'_>, config: &ChannelConfig) -> Step<Transaction> {
    let tx_id = &parts.evidence.record.state.tx_id;
    let block = &parts.registration;
    let place = block
        .position(tx_id)
        .ok_or_else(|| format!("block {} has no transaction {tx_id}", block.number()))?;
    let transaction = block
        .transaction(place)
        .map_err(|error| error.to_string())?;
    if transaction.channel_id() != parts.evidence.channel
        || transaction.chaincode() != parts.evidence.chaincode
    {
        return Err("the transaction is for another channel or chaincode".to_owned());
    }
    let creator = transaction.verify_creator(config.msps());
    let creator = creator.map_err(|error| error.to_string())?;
    if creator.msp_id.as_str() != parts.evidence.record.state.msp_id.as_str() {
        return Err(format!("{} made the transaction", creator.msp_id));
    }
    if !block.is_valid(place) {
        let code = block.code(place);
        return Err(format!(
            "the peer found the transaction not valid, {code:?}"
        ));
    }
    let found = format!(
        "{tx_id} by {} of {}; that no other was in conflict with it is the peer's word",
        creator.certificate.subject(),
        creator.msp_id
    );
    Ok((transaction, found))
}

fn state(evidence: &Evidence, transaction: &Transaction) -> Step<()> {
    let key = public_record_key(&evidence.record.metadata.record_id);
    let written = transaction.public_write(&evidence.chaincode, &key);
    let written = written.ok_or("the transaction does not write the record's state")?;
    let written: RecordState = serde_json::from_slice(written)
        .map_err(|_| "the transaction writes a malformed state".to_owned())?;
    let claimed = &evidence.record.state;
    let registered = RecordState {
        status: RecordStatus::Active,
        ..claimed.clone()
    };
    if written != registered {
        return Err("the transaction writes another state than the bundle has".to_owned());
    }
    let now = match claimed.status {
        RecordStatus::Active => "",
        RecordStatus::Amended => "; amended since, as the oracle says",
        RecordStatus::Erased => "; erased since, as the oracle says",
    };
    let found = format!(
        "registered by {}, version {}{now}",
        written.msp_id, written.version
    );
    Ok(((), found))
}

fn definition(
    parts: &Parts<'_>,
    configs: &Configs,
    transaction: &Transaction,
) -> Step<ChaincodeDefinition> {
    let text = |error: fabric_msp::block::BlockError| error.to_string();
    let place = ChaincodeDefinition::read_by(transaction)
        .ok_or("the transaction does not say under which definition it was endorsed")?;
    let bytes = parts.evidence.definition.as_ref();
    let bytes = bytes.ok_or("the block of the chaincode's definition is missing")?;
    let (block, _) = block(&bytes.0)?;
    if block.number() != place.block {
        return Err(format!("the definition stands in block {}", place.block));
    }
    let stands = parts
        .run
        .iter()
        .find(|header| header.number() == block.number());
    if stands.is_some_and(|header| header != block.header()) {
        return Err("the block of the definition is not the one of the chain".to_owned());
    }
    let index = usize::try_from(place.transaction).unwrap_or(usize::MAX);
    let commit = block.transaction(index).map_err(text)?;
    let config = config_of(configs, block.last_config())?;
    commit.verify_creator(config.msps()).map_err(text)?;
    let endorsers = commit.valid_endorsers(config.msps());
    config.evaluate_lifecycle(&endorsers).map_err(text)?;
    let definition = ChaincodeDefinition::committed_by(&commit).map_err(text)?;
    if definition.name != parts.evidence.chaincode || !block.is_valid(index) {
        return Err("the definition is another chaincode's, or was not valid".to_owned());
    }
    let found = format!(
        "version {}, sequence {}, committed in block {}",
        definition.version,
        definition.sequence,
        block.number()
    );
    Ok((definition, found))
}

fn endorsements(
    config: &ChannelConfig,
    definition: &ChaincodeDefinition,
    transaction: &Transaction,
) -> Step<()> {
    let endorsers = transaction.valid_endorsers(config.msps());
    let policy = config.evaluate_endorsement(&definition.validation_parameter, &endorsers);
    let policy = policy.map_err(|error| {
        let all = transaction.verify_endorsers(config.msps());
        let refused: Vec<String> = all
            .into_iter()
            .filter_map(Result::err)
            .map(|e| e.to_string())
            .collect();
        match refused.is_empty() {
            true => error.to_string(),
            false => format!("{error} ({})", refused.join("; ")),
        }
    })?;
    let names: Vec<String> = endorsers
        .iter()
        .map(|peer| format!("{} of {}", peer.certificate.subject(), peer.msp_id))
        .collect();
    Ok((
        (),
        format!("{} satisfy policy {policy}", names.join(" and ")),
    ))
}

/// What vouches for the registration: its block by the chain and its signatures, or at least the
/// transaction by a peer of a trusted organisation.
fn anchor(
    parts: &Parts<'_>,
    configs: &Configs,
    config: &ChannelConfig,
    transaction: &Transaction,
    anchors: &Anchors,
) -> Step<()> {
    if anchors.all().is_empty() {
        return Err("nothing is trusted: name a configuration block or a CA".to_owned());
    }
    let genuine = Genuine::find(anchors, &parts.run, &signed(parts)?, configs);
    let is_trusted = configs
        .values()
        .any(|(header, own)| own.number() == config.number() && genuine.contains(header));
    if is_trusted && genuine.contains(parts.registration.header()) {
        return Ok((
            (),
            "the channel's configuration, and with it the whole block".to_owned(),
        ));
    }
    let endorsers = transaction.valid_endorsers(config.msps());
    let vouching = endorsers
        .iter()
        .find(|peer| anchors.vouch_for(peer, NodeOu::Peer, config));
    let header = parts.registration.header();
    match vouching {
        Some(peer) if genuine.contains(header) => Ok((
            (),
            format!(
                "a trusted orderer vouches for the block, and a peer of {} for the transaction; \
                 the policies are the bundle's",
                peer.msp_id
            ),
        )),
        Some(peer) => Ok((
            (),
            format!(
                "a peer of {} vouches for the transaction; other organisations' certificates and \
                 the policies are the bundle's. For the whole, trust the configuration block",
                peer.msp_id
            ),
        )),
        None => Err(
            "nothing that is trusted vouches for the configuration or the transaction".to_owned(),
        ),
    }
}
