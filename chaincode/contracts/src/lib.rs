//! Salus's smart contracts: record-registry and access-control
