//! The limits on a configuration text and on what is said about it, each with its reason.

/// Longest text read, in bytes: far above any configuration written by people, small enough to hold several times.
pub const TEXT_BYTES: usize = 1024 * 1024;

/// Deepest nesting of blocks, objects, lists and labels: keeps the recursive readers inside any thread's stack.
pub const NESTING: usize = 64;

/// Most entries and list elements that are blocks, in one text: flattening copies the labels of each.
pub const ENTRIES: usize = 16_384;

/// Most problems reported for one text; the rest are counted.
pub const PROBLEMS: usize = 100;

/// Longest piece of the input repeated in a message, in characters before escaping.
pub const SHOWN_CHARS: usize = 64;

/// Longest message, in bytes.
pub const MESSAGE_BYTES: usize = 1024;
