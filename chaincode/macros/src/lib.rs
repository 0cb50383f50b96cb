//! Attribute and derive macros of fabric-shim
