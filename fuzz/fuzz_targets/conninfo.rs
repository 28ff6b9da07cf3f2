#![no_main]

#[allow(dead_code, reason = "one of several bodies")]
#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::conninfo(data));
