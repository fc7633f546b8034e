//! PEM blocks (RFC 7468), the strict subset that STP's `EK` field carries.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Malformed;

/// One PEM block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemBlock {
    /// The label, `CERTIFICATE` say.
    pub label: String,
    /// The contents.
    pub contents: Vec<u8>,
}

/// Parses a text that consists of PEM blocks and white space, at most `limit` blocks.
pub fn parse_pem(text: &str, limit: usize) -> Result<Vec<PemBlock>, Malformed> {
    let mut blocks = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if blocks.len() >= limit {
            return Err(Malformed::TooLong);
        }
        let (block, after) = parse_block(rest)?;
        blocks.push(block);
        rest = after.trim_start();
    }
    Ok(blocks)
}

/// A PEM block with lines of 64 characters and a final newline.
pub fn encode_pem(label: &str, contents: &[u8]) -> String {
    let body = STANDARD.encode(contents);
    let mut out = format!("-----BEGIN {label}-----\n");
    for (index, character) in body.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            out.push('\n');
        }
        out.push(character);
    }
    out + "\n-----END " + label + "-----\n"
}

fn parse_block(text: &str) -> Result<(PemBlock, &str), Malformed> {
    let text = text.strip_prefix("-----BEGIN ").ok_or(Malformed::Value)?;
    let (label, text) = text.split_once("-----").ok_or(Malformed::Truncated)?;
    let known = |character: char| {
        character.is_ascii_uppercase() || character.is_ascii_digit() || character == ' '
    };
    if label.is_empty() || !label.chars().all(known) {
        return Err(Malformed::Value);
    }
    let end = format!("-----END {label}-----");
    let (body, rest) = text.split_once(end.as_str()).ok_or(Malformed::Truncated)?;
    let body: String = body
        .chars()
        .filter(|character| !character.is_ascii_whitespace())
        .collect();
    let contents = STANDARD.decode(body).map_err(|_bad| Malformed::Value)?;
    Ok((
        PemBlock {
            label: label.to_owned(),
            contents,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_trip() {
        let text = encode_pem("CERTIFICATE", &[1; 100]) + &encode_pem("PUBLIC KEY", &[2; 48]);
        assert!(text.lines().all(|line| line.len() <= 64));
        let blocks = parse_pem(&text, 2).unwrap();
        assert_eq!(
            blocks[0],
            PemBlock {
                label: "CERTIFICATE".into(),
                contents: vec![1; 100]
            }
        );
        assert_eq!(
            blocks[1],
            PemBlock {
                label: "PUBLIC KEY".into(),
                contents: vec![2; 48]
            }
        );
        assert_eq!(parse_pem(&text, 1), Err(Malformed::TooLong));
    }

    #[test]
    fn anything_else_is_malformed() {
        for (text, expect) in [
            ("garbage", Malformed::Value),
            ("-----BEGIN X-----\nAA==\n", Malformed::Truncated),
            ("-----BEGIN X", Malformed::Truncated),
            ("-----BEGIN x-----\nAA==\n-----END x-----", Malformed::Value),
            ("-----BEGIN -----\nAA==\n-----END -----", Malformed::Value),
            ("-----BEGIN X-----\n!!\n-----END X-----", Malformed::Value),
            (
                "-----BEGIN X-----\nAA==\n-----END X-----\ntail",
                Malformed::Value,
            ),
        ] {
            assert_eq!(parse_pem(text, 4), Err(expect), "{text}");
        }
    }
}
