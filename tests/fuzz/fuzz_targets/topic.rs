//! Topics, filters and property bags.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::fuzzing::topic(data));
