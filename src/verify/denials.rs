//! The operator's list of EKs and certificates that get no identity, whatever they prove.

use std::collections::HashSet;

use evidence::EkHash;

/// Which machines are denied. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denials {
    eks: HashSet<EkHash>,
    certificates: HashSet<[u8; 32]>,
    serials: HashSet<(IssuerHash, Vec<u8>)>,
}

/// SHA-256 of an issuer's name in DER.
type IssuerHash = [u8; 32];

/// A line that is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct DenialProblem {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What a certificate is denied by, if one came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) fingerprint: [u8; 32],
    pub(crate) issuer: IssuerHash,
    pub(crate) serial: Vec<u8>,
}

impl Denials {
    /// Reads a list, one entry a line: `ek:` and the hash of an EK, or that alone; `cert:` and the
    /// SHA-256 of a certificate in DER; `serial:`, the SHA-256 of the issuer's name in DER, `:` and the
    /// serial number's octets as they stand in it; all in hex digits. What follows a `#` is a comment.
    /// The latter two hold where a certificate is needed: a machine that is trusted by enrolment may
    /// leave its certificate out.
    ///
    /// A line that cannot be read makes the whole list invalid: it may be the one that matters.
    pub fn parse(text: &str) -> Result<Self, DenialProblem> {
        let mut denials = Self::default();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let at = |problem| DenialProblem {
                line: index.saturating_add(1),
                problem,
            };
            if index >= MAX_LINES {
                return Err(at("the list has too many lines"));
            }
            denials.add(entry).map_err(at)?;
        }
        Ok(denials)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.eks.len() + self.certificates.len() + self.serials.len()
    }

    /// Whether nothing is denied.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        match entry.split_once(':') {
            None => self.add_ek(entry),
            Some(("ek", hash)) => self.add_ek(hash),
            Some(("cert", hash)) => {
                self.certificates.insert(digest(hash)?);
                Ok(())
            }
            Some(("serial", rest)) => {
                let (issuer, serial) = rest
                    .split_once(':')
                    .ok_or("an issuer's hash, `:` and a serial number are expected")?;
                let serial = hex::decode(serial)
                    .ok()
                    .filter(|serial| !serial.is_empty())
                    .ok_or("the serial number is no octets in hex digits")?;
                self.serials.insert((digest(issuer)?, serial));
                Ok(())
            }
            Some(_) => Err("the entry begins with neither `ek:`, `cert:` nor `serial:`"),
        }
    }

    fn add_ek(&mut self, hash: &str) -> Result<(), &'static str> {
        self.eks.insert(EkHash::from_hex(hash).ok_or(NO_DIGEST)?);
        Ok(())
    }

    pub(crate) fn cover(&self, ek: &EkHash, presented: Option<&Presented>) -> bool {
        let by_certificate = |presented: &Presented| {
            self.certificates.contains(&presented.fingerprint)
                || self
                    .serials
                    .contains(&(presented.issuer, presented.serial.clone()))
        };
        self.eks.contains(ek) || presented.is_some_and(by_certificate)
    }
}

fn digest(hex_digits: &str) -> Result<[u8; 32], &'static str> {
    let bytes = hex::decode(hex_digits).map_err(|_bad| NO_DIGEST)?;
    bytes.try_into().map_err(|_length| NO_DIGEST)
}

const NO_DIGEST: &str = "64 hex digits are expected";

/// Far more than any vendor's recall; bounds the memory.
const MAX_LINES: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn hash(text: &str) -> EkHash {
        EkHash::from_hex(text).unwrap()
    }

    #[test]
    fn every_form_of_entry_denies_what_it_names_and_nothing_else() {
        let presented = Presented {
            fingerprint: [0xAA; 32],
            issuer: [0xBB; 32],
            serial: vec![0, 1],
        };
        for (text, ek, certificate) in [
            (A.to_owned(), true, false),
            (format!("ek:{A}"), true, false),
            (
                format!("  ek:{}  # recalled", A.to_uppercase()),
                true,
                false,
            ),
            (format!("ek:{B}"), false, false),
            (format!("cert:{A}"), false, true),
            (format!("cert:{B}"), false, false),
            (format!("serial:{B}:0001"), false, true),
            (format!("serial:{B}:01"), false, false),
            (format!("serial:{A}:0001"), false, false),
            (String::new(), false, false),
            (format!("# {A}\n\n"), false, false),
            (format!("cert:{B}\n{A}\n"), true, false),
        ] {
            let denials = Denials::parse(&text).unwrap();
            assert_eq!(denials.cover(&hash(A), None), ek, "{text}");
            assert_eq!(
                denials.cover(&hash(A), Some(&presented)),
                ek || certificate,
                "{text}"
            );
            assert_eq!(
                denials.is_empty(),
                !text.contains(['a', 'b', 'A']) || text.starts_with('#')
            );
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_makes_the_list_invalid() {
        for (text, line) in [
            ("x".to_owned(), 1),
            (format!("{A}\nek:{}", A.get(1..).unwrap()), 2),
            (format!("{A}\n\n{A}{A}"), 3),
            (format!("cert:{}", A.replace('a', "g")), 1),
            ("serial:01".to_owned(), 1),
            (format!("serial:{A}:"), 1),
            (format!("serial:{A}:1"), 1),
            (format!("EK:{A}"), 1),
            (format!("{A} {B}"), 1),
        ] {
            assert_eq!(Denials::parse(&text).unwrap_err().line, line, "{text}");
        }
        let longest = "#\n".repeat(MAX_LINES - 1) + A;
        assert_eq!(Denials::parse(&longest).map(|denials| denials.len()), Ok(1));
        let long = "#\n".repeat(MAX_LINES) + A;
        assert_eq!(Denials::parse(&long).unwrap_err().line, MAX_LINES + 1);
    }
}
