//! Fuzzes offer.
#![no_main]

fuzz::target!(offer);
