//! A whole Hyperledger Fabric network in one process, for development
