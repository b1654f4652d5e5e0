#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| shape_meta_fuzz_bodies::definition(bytes));
