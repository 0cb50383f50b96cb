//! One IPFS store behind Kubo's RPC, for development
