//! A distinguished name: compared as RFC 5280 says, printed for operators.

use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::der::{self, Element};
use crate::printable::printable;

/// An issuer or subject. Two are equal when their attributes are (RFC 5280, 7.1): letter case, runs
/// of spaces and the string type do not count, nor does the order inside a multi-valued RDN.
///
/// Equality only selects candidates for an issuer. What binds a certificate to its issuer is the
/// signature.
#[derive(Debug, Clone, Eq)]
pub(crate) struct DistinguishedName {
    rdns: Vec<Vec<Attribute>>,
    text: String,
}

/// Type and value; values that are no text keep their tag.
type Attribute = (Vec<u8>, Option<u32>, Vec<u8>);

impl DistinguishedName {
    /// Reads a name that is all of `der`, and every attribute in it: what a reader passes over, two names
    /// could differ in.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let rdns = Element::only(der)?.members(der::SEQUENCE)?;
        for rdn in rdns {
            for attribute in rdn.members(der::SET)? {
                let [kind, _] = attribute.members(der::SEQUENCE)?[..] else {
                    return None;
                };
                if kind.tag != der::OBJECT_IDENTIFIER {
                    return None;
                }
            }
        }
        match X509Name::from_der(der) {
            Ok(([], name)) => Some(Self::read(&name)),
            _ => None,
        }
    }

    fn read(name: &X509Name<'_>) -> Self {
        let rdns = name.iter().map(|rdn| {
            let mut attributes: Vec<_> = rdn.iter().map(comparable).collect();
            attributes.sort();
            attributes
        });
        Self {
            rdns: rdns.collect(),
            text: printable(&name.to_string(), MAX_TEXT),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// Printable ASCII, at most 256 characters.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.rdns == other.rdns
    }
}

impl std::hash::Hash for DistinguishedName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.rdns.hash(state);
    }
}

fn comparable(attribute: &AttributeTypeAndValue<'_>) -> Attribute {
    let kind = attribute.attr_type().as_bytes().to_vec();
    let tag = attribute.attr_value().tag().0;
    match attribute.as_str() {
        Ok(text) => {
            let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
            (
                kind,
                None,
                words.join(" ").to_ascii_lowercase().into_bytes(),
            )
        }
        Err(_) => (kind, Some(tag), attribute.as_slice().to_vec()),
    }
}

const MAX_TEXT: usize = 256;
