//! Fuzzes last_message.
#![no_main]

fuzz::target!(last_message);
