//! Fuzzes first_message.
#![no_main]

fuzz::target!(first_message);
