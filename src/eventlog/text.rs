//! Text in a log, made fit for claims, selectors and errors: printable ASCII of bounded length, or none at all.

use crate::limits;

/// UTF-16, little-endian, with or without one terminator. `None` for what is no text: half a unit, a lone surrogate, a
/// NUL inside; and for what is longer than [`limits::TEXT`] once escaped, since a part would be taken for the whole.
pub(crate) fn utf16(bytes: &[u8]) -> Option<String> {
    let (units, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let units = units.strip_suffix(&[[0; 2]]).unwrap_or(units);
    let units = units.iter().copied().map(u16::from_le_bytes);
    escaped(char::decode_utf16(units).map(Result::ok))
}

/// UTF-8, of which ASCII is a part, under the same rules.
pub(crate) fn utf8(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()?;
    escaped(text.chars().map(Some))
}

/// The text in printable ASCII and at most `limit` characters; what does not fit is left off.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for char in text.chars() {
        let before = out.len();
        push(&mut out, char);
        if out.len() > limit {
            out.truncate(before);
            break;
        }
    }
    out
}

fn escaped(chars: impl Iterator<Item = Option<char>>) -> Option<String> {
    let mut out = String::new();
    for char in chars {
        push(&mut out, char.filter(|char| *char != '\0')?);
        if out.len() > limits::TEXT {
            return None;
        }
    }
    Some(out)
}

/// A backslash, a quotation mark and all that is not printable ASCII is written `\u{…}`, so that no two texts look alike.
fn push(out: &mut String, char: char) {
    match char {
        '\\' | '"' => out.extend(char.escape_unicode()),
        ' '..='~' => out.push(char),
        _ => out.extend(char.escape_unicode()),
    }
}

#[cfg(test)]
mod tests {
    use softtpm::utf16 as encode;

    use super::*;

    #[test]
    fn texts_come_out_printable_or_not_at_all() {
        let both = [
            ("", Some("")),
            ("root=/dev/vda2 ro", Some("root=/dev/vda2 ro")),
            ("ends\0", Some("ends")),
            ("ends\0\0", None),
            ("\0", Some("")),
            ("in\0side", None),
            ("line\nfeed", Some("line\\u{a}feed")),
            ("\\u{a}", Some("\\u{5c}u{a}")),
            ("\u{202E}\"\u{1F600}", Some("\\u{202e}\\u{22}\\u{1f600}")),
        ];
        for (text, expected) in both {
            let expected = expected.map(str::to_owned);
            assert_eq!(utf16(&encode(text)), expected, "tpm/F30: {text:?}");
            assert_eq!(utf8(text.as_bytes()), expected, "tpm/F30: {text:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_opaque() {
        let wide: [&[u8]; 5] = [
            b"a",
            b"a\0b",
            &[0x00, 0xD8],
            &[0x00, 0xDC, 0x41, 0x00],
            &[0x00, 0xD8, 0x41, 0x00],
        ];
        for bytes in wide {
            assert_eq!(utf16(bytes), None, "tpm/F30: {bytes:?}");
        }
        for bytes in [&[0xFF][..], &[0xC3], &[0xED, 0xA0, 0x80]] {
            assert_eq!(utf8(bytes), None, "tpm/F30: {bytes:?}");
        }
    }

    #[test]
    fn the_limit_counts_what_comes_out() {
        let longest = "x".repeat(limits::TEXT);
        let bell = "\\u{7}".len();
        for (text, is_one) in [
            (longest.clone(), true),
            (format!("{longest}x"), false),
            (format!("{}\u{7}", "x".repeat(limits::TEXT - bell)), true),
            (
                format!("{}\u{7}", "x".repeat(limits::TEXT - bell + 1)),
                false,
            ),
        ] {
            assert_eq!(utf8(text.as_bytes()).is_some(), is_one, "{text}");
            assert_eq!(utf16(&encode(&text)).is_some(), is_one, "{text}");
        }
        assert_eq!(printable("abcde", 4), "abcd");
        assert_eq!(printable("abc\u{7}", 7), "abc");
        assert_eq!(printable("abc\u{7}", 8), "abc\\u{7}");
        assert_eq!(printable("nul\0", 64), "nul\\u{0}");
    }
}
