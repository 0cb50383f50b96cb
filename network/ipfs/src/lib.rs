//! One IPFS store behind Kubo's RPC, for development and tests.
//!
//! [`Server`] answers the part of Kubo's HTTP RPC that this workspace and its users call, over a
//! store of blocks on disk. The same bytes with the same options get the same CIDs as from Kubo;
//! `tests/conformance.rs` holds both to one suite. It is no IPFS node: it has no peers, and a
//! block that is not here is nowhere. Production runs Kubo; only the address changes.
//!
//! The code in layers, from pure to edge:
//!
//! - `block`: codecs, links and hashes of one block; `car`: CAR version 1 as bytes;
//! - `import`, `read`: UnixFS trees from bytes and back, on rust-unixfs;
//! - `store`: blocks and pins on disk, durable before anything is acknowledged;
//! - `rpc`: one module per command group, from parsed request to answer;
//! - `server`: sockets, limits, shutdown.

mod block;
mod car;
mod error;
mod import;
mod path;
mod read;
mod rpc;
mod server;
mod store;

pub use error::StoreError;
pub use server::{BindError, Server, ServerConfig};
pub use store::Store;
