//! HCL version 1 and JSON configuration with positions.
//!
//! [`parse`] turns a text into an [`Object`] in which every key and value keeps its line and column. [`Schema`] is a
//! configuration described as data: one source for the reader, the check for unknown keys and the documentation.
//!
//! # Guarantees
//! - No input panics; size, nesting and the number of entries have named limits in [`limits`].
//! - A [`Problem`] is printable ASCII of bounded length, whatever the text held.
//! - A JSON document and the HCL that HCL 1 prints for it give the same [`Object`], positions aside.
//!
//! # Differences from HCL 1
//! A key without a value, a repeated key that is not a block, an empty list item and text that touches a number are
//! errors here. The two halves of a surrogate pair, which HCL 1 copies out of JSON, are one character. Booleans and lists
//! may stand in lists, and a heredoc may be closed by the last line of a text that does not end in a line end.
//!
//! # Example
//! ```
//! use hcl::{Key, Kind, Schema};
//!
//! static CONFIGURATION: Schema = Schema {
//!     keys: &[
//!         Key { name: "ca_path", kind: Kind::Text, default: "required", doc: "Where the certificates are." },
//!         Key { name: "timeout", kind: Kind::Duration, default: "`30s`", doc: "How long to wait." },
//!     ],
//!     moved: &[],
//! };
//!
//! let (values, problems) = CONFIGURATION.read("\"ca_path\" = \"/certificates\"");
//! assert!(problems.is_empty() && values.text("ca_path").is_some_and(|path| path.value == "/certificates"));
//!
//! let (_, problems) = CONFIGURATION.read("ca_pth = \"/certificates\"\ntimeout = 30");
//! assert_eq!(problems[0].to_string(), "1:1: unknown key \"ca_pth\"; did you mean \"ca_path\"?");
//! assert_eq!(problems[1].line, 2);
//! ```

mod blocks;
mod cursor;
mod duration;
mod flatten;
mod hcl;
mod json;
mod lexer;
pub mod limits;
mod markdown;
mod problem;
mod read;
mod schema;
mod single;
mod suggest;
mod value;
mod values;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod reading;

pub use problem::{Position, Problem, shown};
pub use schema::{Key, Kind, Moved, Schema};
pub use suggest::hint;
pub use value::{Entry, Object, Spanned, Value};
pub use values::Values;

/// Reads HCL 1, or JSON when the first character that is not white space is `{`. Empty text is an empty object.
///
/// A key may be repeated only if every occurrence is a block.
///
/// # Errors
/// The first thing wrong with the text, with its position.
pub fn parse(text: &str) -> Result<Object, Problem> {
    let object = syntax(text)?;
    match flatten::repeated_key(&object) {
        Some(problem) => Err(problem),
        None => Ok(object),
    }
}

/// [`parse`] without the check for repeated keys, so that a schema can report all of them.
fn syntax(text: &str) -> Result<Object, Problem> {
    if text.len() > limits::TEXT_BYTES {
        return Err(Problem::new(
            Position::START,
            format!("configuration is larger than {} bytes", limits::TEXT_BYTES),
        ));
    }
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
    {
        json::document(text).map(flatten::flatten)
    } else {
        // HCL 1 reads both line endings as one, also inside a heredoc.
        hcl::document(&text.replace("\r\n", "\n"))
    }
}
