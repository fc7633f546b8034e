//! Fuzzes crl.
#![no_main]

fuzz::target!(crl);
