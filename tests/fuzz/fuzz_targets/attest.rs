//! Fuzzes attest.
#![no_main]

fuzz::target!(attest);
