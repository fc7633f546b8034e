//! Fuzzes hcl.
#![no_main]

fuzz::target!(hcl);
