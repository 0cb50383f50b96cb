//! Hyperledger Fabric chaincode in Rust: contracts, state, chaincode as a service
