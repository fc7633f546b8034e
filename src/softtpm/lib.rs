//! A TPM in software that can lie in every field, for tests and conformance
