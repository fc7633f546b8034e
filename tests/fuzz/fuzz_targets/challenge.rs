//! Fuzzes challenge.
#![no_main]

fuzz::target!(challenge);
