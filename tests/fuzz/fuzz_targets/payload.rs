//! A message's payload.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::fuzzing::payload(data));
