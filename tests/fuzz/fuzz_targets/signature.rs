//! Fuzzes signature.
#![no_main]

fuzz::target!(signature);
