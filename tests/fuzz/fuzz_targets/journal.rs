//! The journal's files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::fuzzing::journal(data));
