//! What goes into the state machine and what comes out of it.

use fabric_protos::protos::{
    ChaincodeAdditionalParams, ChaincodeEvent, ChaincodeMessage, Response, SignedProposal,
    chaincode_message::Type,
};
use prost::Message as _;

/// The least batch size that a peer can state; smaller values mean this one.
const BATCH_SIZE_MIN: usize = 100;

/// Who waits for a reply. `is_abandoned` tells whether anybody still does.
pub(crate) trait Waiter {
    /// Whether the caller has stopped waiting.
    fn is_abandoned(&self) -> bool;
}

/// What a transaction is known by on the stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TransactionKey {
    /// The channel; empty for calls outside any channel.
    pub(crate) channel_id: String,
    /// The transaction ID.
    pub(crate) tx_id: String,
}

/// One run of a transaction. The serial tells two runs of the same transaction apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RunId {
    pub(crate) key: TransactionKey,
    pub(crate) serial: u64,
}

/// What the peer can do beyond the first protocol, as its READY message says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Writes per batch, when the peer takes batches.
    pub(crate) write_batch: Option<usize>,
    /// Keys per read, when the peer takes several.
    pub(crate) get_multiple: Option<usize>,
}

impl Capabilities {
    /// Reads READY's payload. Peers before 3.1 send none; what cannot be decoded counts as none.
    pub(super) fn decode(payload: &[u8]) -> Self {
        let params = ChaincodeAdditionalParams::decode(payload).unwrap_or_default();
        let size = |enabled: bool, size: u32| {
            enabled.then(|| {
                usize::try_from(size)
                    .unwrap_or(usize::MAX)
                    .max(BATCH_SIZE_MIN)
            })
        };
        Self {
            write_batch: size(params.use_write_batch, params.max_size_write_batch),
            get_multiple: size(
                params.use_get_multiple_keys,
                params.max_size_get_multiple_keys,
            ),
        }
    }
}

/// Whether the peer asks for initialisation or for an ordinary transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Init,
    Transaction,
}

/// A transaction to run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Invocation {
    pub(crate) run: RunId,
    pub(crate) stage: Stage,
    /// An encoded `ChaincodeInput`.
    pub(crate) input: Vec<u8>,
    pub(crate) proposal: Option<SignedProposal>,
    pub(crate) capabilities: Capabilities,
}

/// A question for the peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) kind: Type,
    pub(crate) payload: Vec<u8>,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The contract answered, with success or failure.
    Completed {
        response: Response,
        event: Option<ChaincodeEvent>,
    },
    /// There is no answer of the contract's.
    Failed { message: String },
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The peer's error text.
    Peer(String),
    /// The peer no longer knows the transaction.
    TransactionGone,
    /// The stream has ended.
    StreamLost,
    /// Too many requests of this transaction wait already.
    TooMany { limit: usize },
}

/// What the adapter has to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Action<W> {
    /// Write to the stream.
    Send(ChaincodeMessage),
    /// Run a transaction.
    Start(Invocation),
    /// Stop a run; nobody takes its result.
    Abort(RunId),
    /// Tell a caller.
    Answer {
        waiter: W,
        outcome: Result<Vec<u8>, Refusal>,
    },
    /// Write to the log.
    Note(Notice),
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The peer knows this chaincode.
    Registered,
    /// Transactions may come.
    Ready(Capabilities),
    /// REGISTERED has not come for a while.
    RegistrationSlow,
    /// A reply that nobody asked for was dropped.
    StrayReply { kind: Type, key: TransactionKey },
    /// A message that means nothing in this state was dropped.
    Ignored { kind: i32 },
    /// A proposal came again while its first run was going.
    Repeated { key: TransactionKey },
    /// A transaction was refused because too many wait.
    Overloaded { key: TransactionKey },
}

/// The peer broke the protocol; the stream cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("message of type {kind} came before {awaited}")]
    Unexpected { kind: i32, awaited: &'static str },
    #[error("the peer refused the registration: {message}")]
    RegistrationRefused { message: String },
}

/// How much may be going on at once on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandlerLimits {
    /// Transactions that run at the same time.
    pub(crate) running: usize,
    /// Transactions that wait for a place.
    pub(crate) waiting: usize,
    /// Requests that wait inside one transaction.
    pub(crate) requests: usize,
}
