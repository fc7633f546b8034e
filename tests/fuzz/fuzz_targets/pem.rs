//! Fuzzes pem.
#![no_main]

fuzz::target!(pem);
