//! The client against a peer that answers by script, over real TLS connections.

mod events;
mod fake_peer;
mod transactions;
