//! Holds the generated code to `proto/`, and `proto/` to the official bindings.

mod bootstrap;
mod golden;
