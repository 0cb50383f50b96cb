//! Certificates for the tests of this crate.
