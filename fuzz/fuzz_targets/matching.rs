//! The target `matching`: bytes from libFuzzer to [`noctule_fuzz::matching`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| noctule_fuzz::matching(data));
