//! The target `round_trip`: bytes from libFuzzer to [`noctule_fuzz::round_trip`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| noctule_fuzz::round_trip(data));
