//! The server against a peer that follows a script, over real sockets.

mod calls;
mod ends;
mod logs;
mod peer;
mod probe;
mod tls;
