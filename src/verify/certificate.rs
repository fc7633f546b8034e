//! One X.509 certificate, read strictly and owned; nothing is judged here.

use evidence::{Hash, SubjectKey, limits};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{X509Name, X509Version};

use crate::certificate_signature::CertificateSignature;
use crate::denials::Presented;
use crate::der::{self, Element};
use crate::distinguished_name::DistinguishedName;
use crate::extensions::Extensions;
use crate::key::{RSAES_OAEP, parse_public_key};
use crate::tpm_description::TpmDescription;
use crate::{Reason, Rejection};

/// An EK certificate whose structure and key are sound in form. Only [`crate::Anchors::verify`]
/// says whether it is one that anybody should believe.
#[derive(Debug, Clone)]
pub struct EkCertificate {
    certificate: Certificate,
}

impl EkCertificate {
    /// Reads a certificate as it lies in an NV index: DER, and behind it nothing, all zeros or all
    /// ones: an index is often larger than the certificate in it, and how the rest is filled is
    /// the vendor's choice.
    pub fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.len() > limits::CERTIFICATE {
            return Err(Reason::CertTooLarge.into());
        }
        let (element, padding) =
            Element::first(bytes).ok_or_else(|| malformed("not one DER element"))?;
        if !(padding.iter().all(|byte| *byte == 0x00) || padding.iter().all(|byte| *byte == 0xFF)) {
            return Err(malformed("something other than padding follows"));
        }
        Ok(Self {
            certificate: Certificate::read(element.whole)?,
        })
    }

    /// The subject's public key.
    pub fn key(&self) -> &SubjectKey {
        &self.certificate.key
    }

    /// The certificate without padding.
    pub fn der(&self) -> &[u8] {
        &self.certificate.der
    }

    /// The issuer's name; printable ASCII, at most 256 characters.
    pub fn issuer_text(&self) -> &str {
        self.certificate.issuer.text()
    }

    /// The TPM that the certificate claims to describe, if it does so in the right form.
    pub fn description(&self) -> Option<&TpmDescription> {
        self.certificate
            .extensions
            .alternative_name
            .as_ref()?
            .value
            .as_ref()
            .ok()
    }

    /// Where the issuer's certificate may be had, as the certificate claims; printable ASCII, at
    /// most 256 characters.
    pub fn authority_info(&self) -> Option<&str> {
        self.certificate.extensions.authority_info.as_deref()
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// A certificate of any place in a chain.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    signed: Vec<u8>,
    signature: Vec<u8>,
    pub(crate) is_version_3: bool,
    /// The contents octets, as they stand.
    pub(crate) serial: Vec<u8>,
    /// SHA-256 of the issuer's name in DER.
    issuer_hash: [u8; 32],
    pub(crate) issuer: DistinguishedName,
    pub(crate) subject: DistinguishedName,
    /// Unix seconds.
    pub(crate) not_before: i64,
    /// Unix seconds.
    pub(crate) not_after: i64,
    pub(crate) key: SubjectKey,
    /// Whether the key is given as one for RSAES-OAEP (RFC 4055, 4.1) and for nothing else.
    pub(crate) is_oaep_key: bool,
    /// How it is signed, or why that will not do.
    pub(crate) signature_algorithm: Result<CertificateSignature, Reason>,
    pub(crate) extensions: Extensions,
}

impl Certificate {
    /// Reads a certificate that is all of `der`.
    pub(crate) fn read(der: &[u8]) -> Result<Self, Rejection> {
        if der.len() > limits::CERTIFICATE {
            return Err(Reason::CertTooLarge.into());
        }
        // RFC 5280, 4.1: certificates are DER. What has several encodings has several hashes.
        if !der::is_der(der) {
            return Err(malformed("not DER"));
        }
        let signed = check_shape(der).map_err(malformed)?;
        let Ok(([], x509)) = X509Certificate::from_der(der) else {
            return Err(malformed("not an X.509 certificate"));
        };
        if x509.signature_value.unused_bits != 0 {
            return Err(malformed("the signature is not whole octets"));
        }
        Ok(Self {
            signed: signed.to_vec(),
            signature: x509.signature_value.data.to_vec(),
            is_version_3: x509.version() == X509Version::V3,
            serial: x509.raw_serial().to_vec(),
            issuer_hash: sha_256(x509.issuer().as_raw()),
            issuer: name(x509.issuer())?,
            subject: name(x509.subject())?,
            not_before: x509.validity().not_before.timestamp(),
            not_after: x509.validity().not_after.timestamp(),
            key: parse_public_key(x509.public_key().raw)?,
            is_oaep_key: x509.public_key().algorithm.algorithm.as_bytes() == RSAES_OAEP,
            signature_algorithm: CertificateSignature::read(&x509.signature_algorithm),
            extensions: Extensions::read(x509.extensions()).map_err(malformed)?,
            der: der.to_vec(),
        })
    }

    /// Whether `key` signed this certificate: over the octets as received, since an encoding made
    /// anew could differ from what was signed.
    pub(crate) fn is_signed_by(&self, key: &SubjectKey) -> bool {
        self.signature_algorithm
            .is_ok_and(|algorithm| algorithm.is_by(key, &self.signed, &self.signature))
    }

    /// Whether issuer and subject have one name; such certificates do not count in path lengths.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// SHA-256 of the DER.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        sha_256(&self.der)
    }

    /// What an operator may deny the certificate by.
    pub(crate) fn presented(&self) -> Presented {
        Presented {
            fingerprint: self.fingerprint(),
            issuer: self.issuer_hash,
            serial: self.serial.clone(),
        }
    }
}

fn name(name: &X509Name<'_>) -> Result<DistinguishedName, Rejection> {
    DistinguishedName::parse(name.as_raw()).ok_or_else(|| malformed("a name is malformed"))
}

fn sha_256(bytes: &[u8]) -> [u8; 32] {
    Hash::Sha256.digest(&[bytes]).try_into().unwrap_or_default()
}

/// The members that a certificate has and no others, which the X.509 reader leaves open. Returns
/// the signed part.
fn check_shape(der: &[u8]) -> Result<&[u8], &'static str> {
    let members = Element::only(der).and_then(|certificate| certificate.members(der::SEQUENCE));
    // RFC 5280, 4.1.1.
    let Some([signed, algorithm, signature]) = members.as_deref() else {
        return Err("not a signed part, an algorithm and a signature");
    };
    let fields = signed
        .members(der::SEQUENCE)
        .ok_or("the signed part is no sequence")?;
    let fields = match fields.as_slice() {
        [version, fields @ ..] if version.tag == VERSION => fields,
        fields => fields,
    };
    // RFC 5280, 4.1.2: serial, algorithm, issuer, validity, subject, key, and optional ones.
    let [_, inner_algorithm, _, validity, _, _, optional @ ..] = fields else {
        return Err("the signed part lacks fields");
    };
    // RFC 5280, 4.1.1.2: the algorithm outside, which nobody signed, is the one inside.
    if inner_algorithm.whole != algorithm.whole {
        return Err("two signature algorithms are named");
    }
    if signature.tag != der::BIT_STRING
        || validity
            .members(der::SEQUENCE)
            .is_none_or(|all| all.len() != 2)
    {
        return Err("the validity or the signature is malformed");
    }
    if let Some(extensions) = optional.last().filter(|field| field.tag == EXTENSIONS) {
        check_extensions(extensions).ok_or("an extension has a wrong form")?;
    }
    Ok(signed.whole)
}

/// RFC 5280, 4.1: one sequence of extensions, each an identifier, perhaps a flag, and a value.
fn check_extensions(field: &Element<'_>) -> Option<()> {
    for extension in Element::only(field.contents)?.members(der::SEQUENCE)? {
        match extension.members(der::SEQUENCE)?.as_slice() {
            [_, _] => {}
            [_, flag, _] if flag.tag == der::BOOLEAN => {}
            _ => return None,
        }
    }
    Some(())
}

fn malformed(detail: &str) -> Rejection {
    Rejection::because(Reason::MalformedCert, detail)
}

const VERSION: u8 = 0xA0;
const EXTENSIONS: u8 = 0xA3;
