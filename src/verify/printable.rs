//! Text that others chose, made fit for logs, selectors and errors.

/// The text in printable ASCII and at most `limit` characters: a backslash, a quotation mark and
/// everything else is written `\u{…}`, and what does not fit is left off.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for char in text.chars() {
        let before = out.len();
        match char {
            '\\' | '"' => out.extend(char.escape_unicode()),
            ' '..='~' => out.push(char),
            _ => out.extend(char.escape_unicode()),
        }
        if out.len() > limit {
            out.truncate(before);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_printable_ascii_comes_out() {
        for (text, expected) in [
            ("SLB9670 v1.2", "SLB9670 v1.2"),
            ("a\n selector:b", "a\\u{a} selector:b"),
            ("nul\0", "nul\\u{0}"),
            (
                "back\\slash \"quoted\"",
                "back\\u{5c}slash \\u{22}quoted\\u{22}",
            ),
            ("\u{202E}bidi", "\\u{202e}bidi"),
            ("é", "\\u{e9}"),
        ] {
            assert_eq!(printable(text, 64), expected);
        }
    }

    #[test]
    fn the_limit_counts_what_comes_out_and_splits_no_escape() {
        assert_eq!(printable(&"x".repeat(200), 128).len(), 128);
        assert_eq!(printable("abc\n", 7), "abc");
        assert_eq!(printable("abc\n", 8), "abc\\u{a}");
    }
}
