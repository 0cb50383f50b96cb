//! Holds the generated code to `proto/`, and `proto/` to the official bindings.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod bootstrap;
mod golden;
