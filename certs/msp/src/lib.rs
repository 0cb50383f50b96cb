//! Fabric MSP identities: reading, verifying and signing
