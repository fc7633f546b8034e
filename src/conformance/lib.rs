//! The host's side of SPIRE's plugin contract
