//! The server against a peer that follows a script, over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; clippy.toml allows it in test functions only"
)]

mod calls;
mod ends;
mod logs;
mod peer;
mod probe;
mod tls;
