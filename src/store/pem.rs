//! PEM as operators' files have it: blocks, and the comments before each (RFC 7468).

use std::io::Cursor;

use x509_parser::pem::Pem;

/// One block of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// The text since the block before it, or since the beginning.
    pub(crate) before: &'a [u8],
    /// What it says it holds, as in `CERTIFICATE`.
    pub(crate) label: &'a [u8],
    whole: &'a [u8],
}

/// A block that is cut off, or that is no base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damaged;

impl Block<'_> {
    /// What the block holds.
    pub(crate) fn contents(&self) -> Result<Vec<u8>, Damaged> {
        let (block, _) = Pem::read(Cursor::new(self.whole)).map_err(|_bad| Damaged)?;
        Ok(block.contents)
    }
}

/// The blocks of a text; none where it is no PEM. What is no whole block, from a line that begins it to
/// one that ends it, makes the text damaged: it may have been cut there.
pub(crate) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, Damaged> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &[u8])> = None;
    let (mut at, mut last_end) = (0_usize, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        match (open, label(line, BEGIN)?, label(line, END)?) {
            (None, Some(label), _) => open = Some((start, label)),
            (Some((begin, label)), None, Some(ended)) if label == ended => {
                blocks.push(Block {
                    before: text.get(last_end..begin).unwrap_or_default(),
                    label,
                    whole: text.get(begin..end).unwrap_or_default(),
                });
                (open, last_end) = (None, end);
            }
            (_, None, None) => {}
            _ => return Err(Damaged),
        }
    }
    if open.is_some() {
        return Err(Damaged);
    }
    Ok(blocks)
}

/// The label of a line that begins or ends a block; nothing may follow it.
fn label<'a>(line: &'a [u8], mark: &[u8]) -> Result<Option<&'a [u8]>, Damaged> {
    let Some(rest) = line.strip_prefix(mark) else {
        return Ok(None);
    };
    let label = rest
        .strip_prefix(b" ")
        .and_then(|rest| rest.trim_ascii_end().strip_suffix(b"-----"));
    match label {
        Some(label) if !label.contains(&b'-') => Ok(Some(label)),
        _ => Err(Damaged),
    }
}

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, Vec<u8>)>, Damaged> {
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        blocks(text.as_bytes())?
            .iter()
            .map(|block| {
                Ok((
                    text_of(block.before),
                    text_of(block.label),
                    block.contents()?,
                ))
            })
            .collect()
    }

    fn found(before: &str, label: &str, contents: &[u8]) -> (String, String, Vec<u8>) {
        (before.to_owned(), label.to_owned(), contents.to_vec())
    }

    #[test]
    fn blocks_have_the_text_before_them() {
        let one = "-----BEGIN A-----\nMAA=\n-----END A-----\n";
        let two = "-----BEGIN X509 CRL-----\r\nMAEB\r\n-----END X509 CRL-----";
        for (text, expect) in [
            ("", vec![]),
            ("text\n", vec![]),
            (one, vec![found("", "A", &[0x30, 0])]),
            (&format!("\u{FEFF}{one}"), vec![found("", "A", &[0x30, 0])]),
            (
                &format!("# a\n{one}# b\n# c\n{two}"),
                vec![
                    found("# a\n", "A", &[0x30, 0]),
                    found("# b\n# c\n", "X509 CRL", &[0x30, 1, 1]),
                ],
            ),
        ] {
            assert_eq!(read(text).unwrap(), expect, "{text}");
        }
    }

    #[test]
    fn what_is_cut_is_damaged() {
        let whole = "-----BEGIN A-----\nMAA=\n-----END A-----\n";
        for (from, to) in [(0, 10), (0, 18), (0, 23), (0, 33), (18, 39), (23, 39)] {
            let cut = whole.get(from..to).unwrap();
            assert_eq!(read(cut), Err(Damaged), "{cut}");
        }
        for text in [
            "-----BEGIN A-----\nMAA=\n-----END B-----\n",
            "-----BEGIN A-----\n-----BEGIN A-----\n-----END A-----\n",
            "-----BEGIN A-----\nMAA=\n-----END A----------BEGIN A-----\nMAA=\n-----END A-----\n",
            "-----BEGIN A-----\n!!\n-----END A-----\n",
        ] {
            assert_eq!(read(text), Err(Damaged), "{text}");
        }
    }
}
