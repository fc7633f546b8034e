//! One certificate revocation list: read strictly, and of use only once its issuer's key is known to have signed it.

use std::collections::{HashMap, HashSet};

use evidence::SubjectKey;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::Certificate;
use crate::certificate_signature::CertificateSignature;
use crate::crl_scope::{Scope, read_extension};
use crate::der::{self, Element};
use crate::distinguished_name::DistinguishedName;

/// A list as it came (RFC 5280, section 5). What it says is not to be had before [`Self::verify`].
#[derive(Debug)]
pub(crate) struct UnverifiedCrl<'a> {
    signed: &'a [u8],
    signature: &'a [u8],
    algorithm: AlgorithmIdentifier<'a>,
    pub(crate) issuer: DistinguishedName,
    is_version_2: bool,
    /// What follows the issuer.
    rest: Vec<Element<'a>>,
}

/// A list whose signature is verified. Only [`UnverifiedCrl::verify`] makes one.
#[derive(Debug)]
pub(crate) struct Crl {
    pub(crate) issuer: DistinguishedName,
    /// Unix seconds.
    this_update: i64,
    /// Unix seconds; without it nobody knows how long the list may be relied on.
    next_update: Option<i64>,
    scope: Scope,
    revoked: Revoked,
    entries: usize,
}

/// Revoked serial numbers by the issuer of their certificates. Octets as they stand, nothing removed: an
/// issuer copies its own octets into its list, and a number that it wrote with a leading zero is not
/// the one that it wrote without.
type Revoked = HashMap<DistinguishedName, HashSet<Box<[u8]>>>;

/// What a list says about how far it can be relied on for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coverage {
    /// It is about others.
    Missing,
    /// It was to be replaced by now, or is not to be used yet.
    Stale,
    /// It holds.
    Current,
}

impl<'a> UnverifiedCrl<'a> {
    /// Reads the shape of a list that is all of `der`, and who issued it.
    pub(crate) fn read(der: &'a [u8]) -> Result<Self, &'static str> {
        if der.len() > MAX_BYTES {
            return Err("the list is too large");
        }
        if !der::is_der(der) {
            return Err("not DER");
        }
        // RFC 5280, 5.1.
        let members = Element::only(der).and_then(|list| list.members(der::SEQUENCE));
        let Some([signed, algorithm, signature]) = members.as_deref() else {
            return Err("not a signed part, an algorithm and a signature");
        };
        let Some(fields) = signed.members(der::SEQUENCE) else {
            return Err("the signed part is no sequence");
        };
        // RFC 5280, 5.1.2.1: a version that is there is 2, which is written as 1.
        let (is_version_2, fields) = match fields.as_slice() {
            [version, fields @ ..] if (version.tag, version.contents) == (der::INTEGER, &[1]) => {
                (true, fields)
            }
            fields => (false, fields),
        };
        let [inner_algorithm, issuer, rest @ ..] = fields else {
            return Err("the signed part lacks fields");
        };
        // RFC 5280, 5.1.1.2: the algorithm outside, which nobody signed, is the one inside.
        if inner_algorithm.whole != algorithm.whole {
            return Err("two signature algorithms are named");
        }
        let Ok(([], algorithm)) = AlgorithmIdentifier::from_der(algorithm.whole) else {
            return Err("the signature algorithm is malformed");
        };
        Ok(Self {
            signed: signed.whole,
            signature: whole_octets(signature).ok_or("the signature is malformed")?,
            algorithm,
            issuer: DistinguishedName::parse(issuer.whole).ok_or("the issuer is malformed")?,
            is_version_2,
            rest: rest.to_vec(),
        })
    }

    /// What the list says, if one of the keys signed it, over the octets as received; with each key comes
    /// whether a weak hash is waived for it. At most `limit` entries.
    pub(crate) fn verify(
        &self,
        signers: &[(&SubjectKey, bool)],
        limit: usize,
    ) -> Result<Crl, &'static str> {
        let Ok(algorithm) = CertificateSignature::read(&self.algorithm) else {
            return Err("signed with a weak or unknown algorithm");
        };
        let mut signers = signers
            .iter()
            .filter(|(key, _)| algorithm.is_by(key, self.signed, self.signature))
            .peekable();
        if signers.peek().is_none() {
            return Err("no certificate of its issuer that may sign lists signed it");
        }
        if algorithm.is_weak() && !signers.any(|(_, is_waived)| *is_waived) {
            return Err("signed with a weak algorithm");
        }
        self.contents(limit)
    }

    /// RFC 5280, 5.1.2: when it was issued, perhaps when the next will be, perhaps entries, and perhaps
    /// extensions, those in version 2 alone.
    fn contents(&self, limit: usize) -> Result<Crl, &'static str> {
        let mut rest = self.rest.iter().peekable();
        let this_update = rest.next().and_then(read_time);
        let next_update = rest.next_if(|field| TIMES.contains(&field.tag));
        let entries = rest.next_if(|field| field.tag == der::SEQUENCE);
        let extensions = rest.next_if(|field| field.tag == EXTENSIONS);
        let next_update = next_update.map(|time| read_time(time).ok_or(MALFORMED_TIME));
        if rest.next().is_some() {
            return Err("the signed part has other fields than a list");
        }
        let extensions = extensions.map(|field| extensions_of(field.contents));
        let extensions = extensions.unwrap_or_else(|| Some(Vec::new()));
        let extensions = extensions.ok_or("the extensions are malformed")?;
        if !extensions.is_empty() && !self.is_version_2 {
            return Err(OLD_VERSION);
        }
        let scope = Scope::read(&extensions)?;
        let entries = entries.map(|field| field.members(der::SEQUENCE));
        let entries = entries.unwrap_or_else(|| Some(Vec::new()));
        let entries = entries.ok_or("the entries are malformed")?;
        if entries.len() > limit {
            return Err("the lists have too many entries in all");
        }
        Ok(Crl {
            this_update: this_update.ok_or(MALFORMED_TIME)?,
            next_update: next_update.transpose()?,
            entries: entries.len(),
            revoked: self.revoked(&entries, scope.is_indirect)?,
            issuer: self.issuer.clone(),
            scope,
        })
    }

    /// RFC 5280, 5.3: each entry is about a certificate of the list's issuer, or in an indirect list of
    /// the issuer that this or the last entry before it names.
    fn revoked(&self, entries: &[Element<'_>], is_indirect: bool) -> Result<Revoked, &'static str> {
        let mut revoked = Revoked::new();
        let mut current = self.issuer.clone();
        for entry in entries {
            let (serial, extensions) = read_entry(entry).ok_or("an entry is malformed")?;
            if !extensions.is_empty() && !self.is_version_2 {
                return Err(OLD_VERSION);
            }
            if let Some(issuer) = entry_issuer(&extensions)? {
                if !is_indirect {
                    return Err("an entry names an issuer though the list is not indirect");
                }
                current = issuer;
            }
            match revoked.get_mut(&current) {
                Some(serials) => drop(serials.insert(serial.into())),
                None => drop(revoked.insert(current.clone(), HashSet::from([serial.into()]))),
            }
        }
        Ok(revoked)
    }
}

impl Crl {
    /// How many certificates it revokes.
    pub(crate) fn entries(&self) -> usize {
        self.entries
    }

    /// When it was to be replaced, in Unix seconds.
    pub(crate) fn next_update(&self) -> Option<i64> {
        self.next_update
    }

    /// Whether the list revokes a certificate, whose issuer or issuer of lists issued it.
    pub(crate) fn revokes(&self, certificate: &Certificate) -> bool {
        self.revoked
            .get(&certificate.issuer)
            .is_some_and(|serials| serials.contains(certificate.serial.as_slice()))
    }

    /// Whether such a certificate, if the list does not revoke it, can be relied on for that reason.
    /// `now` is in Unix seconds.
    pub(crate) fn coverage(&self, certificate: &Certificate, now: i64) -> Coverage {
        let is_included = self.scope.includes(&self.issuer, certificate);
        let holds = self.this_update <= now && self.next_update.is_some_and(|next| now <= next);
        match (is_included, holds) {
            (false, _) => Coverage::Missing,
            (true, false) => Coverage::Stale,
            (true, true) => Coverage::Current,
        }
    }
}

/// The serial number's octets and the extensions of an entry (RFC 5280, 5.1.2.6).
fn read_entry<'a>(entry: &Element<'a>) -> Option<(&'a [u8], Vec<Element<'a>>)> {
    let members = entry.members(der::SEQUENCE)?;
    let (serial, date, extensions) = match members.as_slice() {
        [serial, date] => (serial, date, Vec::new()),
        [serial, date, extensions] => (serial, date, extensions.members(der::SEQUENCE)?),
        _ => return None,
    };
    let is_entry = serial.tag == der::INTEGER && TIMES.contains(&date.tag);
    is_entry.then_some((serial.contents, extensions))
}

/// The issuer that an entry names, if it does (RFC 5280, 5.3.3).
fn entry_issuer(extensions: &[Element<'_>]) -> Result<Option<DistinguishedName>, &'static str> {
    let mut issuer = None;
    for extension in extensions {
        let (kind, is_critical, value) =
            read_extension(extension).ok_or("an entry's extension is malformed")?;
        if kind == CERTIFICATE_ISSUER {
            let named = read_issuer(value).ok_or("an entry's issuer is malformed")?;
            if issuer.replace(named).is_some() {
                return Err("an entry names two issuers");
            }
        } else if is_critical {
            return Err("an entry has a critical extension that is not evaluated");
        }
    }
    Ok(issuer)
}

/// The one distinguished name among general names.
fn read_issuer(value: &[u8]) -> Option<DistinguishedName> {
    let names = Element::only(value)?.members(der::SEQUENCE)?;
    let mut names = names.iter().filter(|name| name.tag == DIRECTORY_NAME);
    let name = names.next()?;
    match names.next() {
        None => DistinguishedName::parse(name.contents),
        Some(_) => None,
    }
}

fn read_time(time: &Element<'_>) -> Option<i64> {
    match ASN1Time::from_der(time.whole) {
        Ok(([], time)) => Some(time.timestamp()),
        _ => None,
    }
}

fn extensions_of(contents: &[u8]) -> Option<Vec<Element<'_>>> {
    Element::only(contents)?.members(der::SEQUENCE)
}

/// The contents of a BIT STRING of whole octets.
fn whole_octets<'a>(element: &Element<'a>) -> Option<&'a [u8]> {
    match element.contents.split_first()? {
        (0, octets) if element.tag == der::BIT_STRING => Some(octets),
        _ => None,
    }
}

/// The largest length that this reader of DER takes; a vendor's list has some hundred entries.
const MAX_BYTES: usize = 16 << 20;
const EXTENSIONS: u8 = 0xA0;
const DIRECTORY_NAME: u8 = 0xA4;
/// UTCTime and GeneralizedTime.
const TIMES: [u8; 2] = [0x17, 0x18];
/// id-ce-certificateIssuer.
const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1D, 29];
const MALFORMED_TIME: &str = "the time of this or the next update is malformed";
const OLD_VERSION: &str = "it has extensions and is not of version 2";
