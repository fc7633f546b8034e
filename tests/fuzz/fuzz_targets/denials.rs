//! Fuzzes denials.
#![no_main]

fuzz::target!(denials);
