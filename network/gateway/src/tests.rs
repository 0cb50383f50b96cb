//! The client against a peer that answers by script, over real TLS connections, and its bytes
//! against those of the official client.

mod events;
mod fake_peer;
mod golden;
mod transactions;
