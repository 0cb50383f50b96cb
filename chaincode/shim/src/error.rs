//! What can go wrong between a contract, its peer and this library.

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key is the empty string.
    #[error("key is empty")]
    Empty,
    /// A simple key, or the bound of a range over simple keys, starts with U+0000, which is kept
    /// for composite keys.
    #[error("key starts with U+0000, which only a composite key may do")]
    LeadingNul,
    /// A part of a composite key holds a character that separates or ends composite keys.
    #[error("character {character:?} at byte {position} is not allowed in a composite key")]
    ForbiddenCharacter {
        /// U+0000 or U+10FFFF.
        character: char,
        /// Byte offset in the part.
        position: usize,
    },
    /// The key does not have the form of a composite key.
    #[error("key is not a composite key")]
    NotComposite,
    /// The key after which a scan should go on lies outside that scan.
    #[error("key lies outside the scanned range")]
    OutsideRange,
}

/// A ledger call that did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StubError {
    /// The peer answered the request with an error.
    #[error("{message}")]
    Refused {
        /// The peer's text; it starts with the request's name and holds the transaction ID.
        message: String,
    },
    /// The peer no longer knows the transaction: its execution timeout has passed, or the client
    /// went away. Nothing this transaction does can have an effect any more, so end it.
    #[error("the peer has given up transaction {tx_id}")]
    TransactionGone {
        /// The transaction.
        tx_id: String,
    },
    /// The stream to the peer ended while the request was waiting, or before it was sent.
    #[error("the stream to the peer ended")]
    StreamLost,
    /// One transaction has more requests waiting than it may have.
    #[error("more than {limit} ledger requests wait in transaction {tx_id}")]
    TooManyRequests {
        /// The transaction.
        tx_id: String,
        /// How many may wait.
        limit: usize,
    },
    /// A key breaks the rules.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The name of a private data collection is empty.
    #[error("collection name is empty")]
    EmptyCollection,
    /// An event without a name.
    #[error("event name is empty")]
    EmptyEventName,
    /// A portion of a query's results was asked for and not awaited, so records are missing.
    #[error("the query was interrupted while results were on their way")]
    QueryInterrupted,
    /// A page size that is not positive.
    #[error("page size {page_size} is not positive")]
    PageSize {
        /// What was asked for, in records.
        page_size: i32,
    },
    /// A transaction marked evaluate tried to change something.
    #[error("a transaction marked evaluate called {operation}")]
    WriteInEvaluate {
        /// The call.
        operation: &'static str,
    },
    /// The peer's reply is not the message that the protocol states.
    #[error("the peer's reply to {request} cannot be decoded")]
    MalformedReply {
        /// What was asked.
        request: &'static str,
        /// Where decoding failed.
        #[source]
        source: prost::DecodeError,
    },
    /// The peer's reply decodes, but answers something else.
    #[error("the peer's reply to {request} has {found} values instead of {expected}")]
    ReplyCount {
        /// What was asked.
        request: &'static str,
        /// How many values should be there.
        expected: usize,
        /// How many are.
        found: usize,
    },
    /// The caller's identity cannot be read.
    #[error(transparent)]
    Identity(#[from] ClientIdentityError),
}

/// The creator of a transaction, or one of its attributes, is not what is needed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIdentityError {
    /// The creator is not a serialised identity with an X.509 certificate.
    #[error("the creator of the transaction cannot be read: {reason}")]
    Unreadable {
        /// What the decoder says.
        reason: String,
    },
    /// An attribute is absent or has another value.
    #[error("the caller does not have attribute {name} with the required value")]
    AttributeMismatch {
        /// The attribute's name.
        name: String,
    },
}

/// A proposal that a transaction cannot be started from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// A part of the proposal is not the message it should be.
    #[error("{part} cannot be decoded")]
    Undecodable {
        /// Which part.
        part: &'static str,
        /// Where decoding failed.
        #[source]
        source: prost::DecodeError,
    },
    /// A part of the proposal is absent.
    #[error("{part} is missing")]
    Missing {
        /// Which part.
        part: &'static str,
    },
    /// The channel header has a type that no transaction has.
    #[error("channel header type {found} is not a transaction's")]
    HeaderType {
        /// The type found.
        found: i32,
    },
}

/// The server cannot be set up or has ended badly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address is taken, or is not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Certificate, key or client roots are not usable.
    #[error("TLS is not usable")]
    Tls {
        /// What is wrong.
        #[source]
        source: tonic::transport::Error,
    },
    /// The contracts cannot be served together.
    #[error(transparent)]
    Chaincode(#[from] ChaincodeError),
    /// The gRPC server ended with an error.
    #[error("the gRPC server ended")]
    Transport {
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

/// A setting of the server that is missing or wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// None of the variables that may carry a setting is set.
    #[error("none of {names} is set")]
    Missing {
        /// The names looked for.
        names: &'static str,
    },
    /// A variable has a value that cannot be used.
    #[error("{name} has the value {value:?}, which is not {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A file that a variable names cannot be read.
    #[error("{name} names the file {path}, which cannot be read")]
    File {
        /// The variable.
        name: &'static str,
        /// The file.
        path: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Several contracts that cannot live in one chaincode, or metadata that is not JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChaincodeError {
    /// Two contracts have the same name.
    #[error("two contracts are named {name}")]
    DuplicateContract {
        /// The name.
        name: String,
    },
    /// The given metadata is not a JSON object.
    #[error("the given metadata is not a JSON object")]
    Metadata {
        /// Where parsing failed.
        #[source]
        source: serde_json::Error,
    },
}
