//! The files of a Fabric peer's data bases.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fabric_compact::fuzzing::leveldb(data));
