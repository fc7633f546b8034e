//! Fuzzes pcr_selection.
#![no_main]

fuzz::target!(pcr_selection);
