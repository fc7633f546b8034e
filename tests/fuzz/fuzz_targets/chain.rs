//! Fuzzes chain.
#![no_main]

fuzz::target!(chain);
