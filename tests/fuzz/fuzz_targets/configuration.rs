//! Fuzzes configuration.
#![no_main]

fuzz::target!(configuration);
