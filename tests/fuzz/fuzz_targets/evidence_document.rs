//! Fuzzes evidence_document.
#![no_main]

fuzz::target!(evidence_document);
