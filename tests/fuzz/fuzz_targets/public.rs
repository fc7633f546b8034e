//! Fuzzes public.
#![no_main]

fuzz::target!(public);
