//! Blocks made here, and their single faults.
