//! Tests of the whole system with real processes. One binary, since linking is what costs.

mod dependencies;
mod network;
