//! The only code that talks to a TPM: one trait, two back ends
