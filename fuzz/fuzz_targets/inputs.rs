//! The target `inputs`: bytes from libFuzzer to [`noctule_fuzz::inputs`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| noctule_fuzz::inputs(data));
