//! The operator's hand tool
