//! HCL version 1 and JSON configuration with positions
