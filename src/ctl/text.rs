//! Text that others chose, made fit for a terminal, and times as people write them.

use x509_parser::time::ASN1Time;

/// The text with control characters, and everything else that is no printable ASCII, written as
/// `\u{…}`; what does not fit into [`MAX_TEXT`] characters is left off.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        let before = out.len();
        match char {
            ' '..='~' => out.push(char),
            _ => out.extend(char.escape_unicode()),
        }
        if out.len() > MAX_TEXT {
            out.truncate(before);
            break;
        }
    }
    out
}

/// A time in UTC as RFC 3339 writes it, to the second.
pub(crate) fn rfc3339(time: ASN1Time) -> String {
    let time = time.to_datetime();
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

const MAX_TEXT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor_or_the_direction_of_writing() {
        for (text, expected) in [
            ("CN=swtpm-localca", "CN=swtpm-localca"),
            ("a\u{1b}[2Jb\n", "a\\u{1b}[2Jb\\u{a}"),
            ("\u{202E}x\u{9b}", "\\u{202e}x\\u{9b}"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable(&"x".repeat(5000)).len(), MAX_TEXT);
    }

    #[test]
    fn times_are_in_utc() {
        let time = ASN1Time::from_timestamp(253_402_300_799).unwrap();
        assert_eq!(rfc3339(time), "9999-12-31T23:59:59Z");
        assert_eq!(
            rfc3339(ASN1Time::from_timestamp(0).unwrap()),
            "1970-01-01T00:00:00Z"
        );
    }
}
