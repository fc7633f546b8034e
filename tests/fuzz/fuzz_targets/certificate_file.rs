//! Fuzzes certificate_file.
#![no_main]

fuzz::target!(certificate_file);
