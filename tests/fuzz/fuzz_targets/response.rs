//! Fuzzes response.
#![no_main]

fuzz::target!(response);
