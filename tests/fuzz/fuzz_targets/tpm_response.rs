//! Fuzzes tpm_response.
#![no_main]

fuzz::target!(tpm_response);
