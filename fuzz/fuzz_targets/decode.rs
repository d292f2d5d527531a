//! The target `decode`: bytes from libFuzzer to [`noctule_fuzz::decode`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| noctule_fuzz::decode(data));
