//! The fuzzer's binary: one for all targets, of which it runs the one that `FUZZ_TARGET` names.
#![no_main]

libfuzzer_sys::fuzz_target!(init: fuzz::chosen().plant(), |data: &[u8]| (fuzz::chosen().check)(data));
