//! The go-plugin runtime and SPIRE's plugin services as traits
