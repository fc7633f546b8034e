//! Fuzzes certificate.
#![no_main]

fuzz::target!(certificate);
