//! Tests of the whole system with real processes. One binary, since linking is what costs.

mod bad_input;
mod clients;
mod dependencies;
mod kills;
mod network;
mod secrecy;
mod stories;
mod support;
