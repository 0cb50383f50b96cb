//! A device's bytes on a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: oracle::fuzzing::let_codecs_panic(),
    |data: &[u8]| oracle::fuzzing::mqtt(data)
);
