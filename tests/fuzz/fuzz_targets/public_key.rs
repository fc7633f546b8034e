//! Fuzzes public_key.
#![no_main]

fuzz::target!(public_key);
