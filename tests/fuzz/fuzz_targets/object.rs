//! Manifests and files of large objects.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oracle::fuzzing::object(data));
