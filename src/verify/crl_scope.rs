//! Which certificates a revocation list is about: its issuing distribution point.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::certificate::Certificate;
use crate::der::{self, Element};
use crate::distinguished_name::DistinguishedName;
use crate::extensions::point_names;

/// What the extensions of a list say about its scope (RFC 5280, 5.2.5).
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) is_indirect: bool,
    only_some_reasons: bool,
    kind: Option<Kind>,
    /// The names of the distribution point that the list is for; `None` when it is for all.
    point: Option<Vec<String>>,
}

/// The one kind of certificates that a list is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Users,
    Authorities,
    Attributes,
}

impl Scope {
    /// Reads the extensions of a list. RFC 5280, 5.2: with a critical one that is not understood it must
    /// not be used, and what a delta list leaves out says nothing.
    pub(crate) fn read(extensions: &[Element<'_>]) -> Result<Self, &'static str> {
        let mut scope = Self::default();
        let mut seen = Vec::new();
        for extension in extensions {
            let (kind, is_critical, value) =
                read_extension(extension).ok_or("an extension is malformed")?;
            if seen.contains(&kind) {
                return Err("an extension occurs twice");
            }
            seen.push(kind);
            match kind {
                ISSUING_DISTRIBUTION_POINT => {
                    scope = Self::of(value).ok_or("the issuing distribution point is malformed")?;
                }
                DELTA_INDICATOR => return Err("a delta list"),
                _ if is_critical => return Err("a critical extension that is not evaluated"),
                _ => {}
            }
        }
        Ok(scope)
    }

    /// Whether the list of `issuer` says everything about a certificate that names this issuer as its own
    /// or as that of its lists. RFC 5280, 6.3.3 (b): those of others only in an indirect list, and of the
    /// kind and at the distribution point that it is limited to.
    pub(crate) fn includes(&self, issuer: &DistinguishedName, certificate: &Certificate) -> bool {
        let is_own = certificate.issuer == *issuer;
        let constraints = certificate.extensions.basic_constraints;
        let kind = if constraints.is_some_and(|constraints| constraints.ca) {
            Kind::Authorities
        } else {
            Kind::Users
        };
        let is_kind = self.kind.is_none_or(|only| only == kind);
        let points = &certificate.extensions.crl_points;
        let is_at_point = self
            .point
            .as_ref()
            .is_none_or(|names| points.iter().any(|point| names.contains(point)));
        (is_own || self.is_indirect) && is_kind && is_at_point && !self.only_some_reasons
    }

    fn of(value: &[u8]) -> Option<Self> {
        let mut scope = Self::default();
        let mut next = 0;
        for member in Element::only(value)?.members(der::SEQUENCE)? {
            // Each at most once, and in the order of their numbers.
            let number = member.tag & 0x1F;
            if number < next {
                return None;
            }
            next = number.saturating_add(1);
            match (member.tag, member.contents) {
                (0x81, [flag]) => scope.limit(*flag, Kind::Users)?,
                (0x82, [flag]) => scope.limit(*flag, Kind::Authorities)?,
                (0x83, _) => scope.only_some_reasons = true,
                (0x84, [flag]) => scope.is_indirect = *flag != 0,
                (0x85, [flag]) => scope.limit(*flag, Kind::Attributes)?,
                (POINT, name) => scope.point = Some(read_point(name)?),
                _ => return None,
            }
        }
        Some(scope)
    }

    /// At most one of the flags is set.
    fn limit(&mut self, flag: u8, kind: Kind) -> Option<()> {
        match flag {
            0 => Some(()),
            _ => self.kind.replace(kind).is_none().then_some(()),
        }
    }
}

/// RFC 5280, 4.2.1.13: names in full, or one relative to the issuer's. Certificates of TPMs have no
/// relative ones, so that such a list includes none of them.
fn read_point(contents: &[u8]) -> Option<Vec<String>> {
    let name = Element::only(contents)?;
    match name.tag {
        FULL_NAME => {
            let names = Element::list(name.contents)?;
            let names = names
                .iter()
                .map(|name| match GeneralName::from_der(name.whole) {
                    Ok(([], name)) => Some(name),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()?;
            Some(point_names(&names))
        }
        RELATIVE_NAME => Some(Vec::new()),
        _ => None,
    }
}

/// The identifier's octets, whether it is critical, and the value (RFC 5280, 4.1).
pub(crate) fn read_extension<'a>(extension: &Element<'a>) -> Option<(&'a [u8], bool, &'a [u8])> {
    match extension.members(der::SEQUENCE)?.as_slice() {
        [kind, value] => Some((identifier(kind)?, false, octets(value)?)),
        [kind, flag, value] if flag.tag == der::BOOLEAN => {
            Some((identifier(kind)?, flag.contents != [0], octets(value)?))
        }
        _ => None,
    }
}

fn identifier<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    (element.tag == der::OBJECT_IDENTIFIER).then_some(element.contents)
}

fn octets<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    (element.tag == der::OCTET_STRING).then_some(element.contents)
}

const POINT: u8 = 0xA0;
const FULL_NAME: u8 = 0xA0;
const RELATIVE_NAME: u8 = 0xA1;
/// id-ce-issuingDistributionPoint.
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1D, 28];
/// id-ce-deltaCRLIndicator.
const DELTA_INDICATOR: &[u8] = &[0x55, 0x1D, 27];
