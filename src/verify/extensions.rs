//! The extensions of a certificate that its use as an EK certificate or an issuer depends on.

use std::collections::BTreeSet;

use x509_parser::extensions::{
    DistributionPointName, ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, X509Extension,
};

use crate::der;
use crate::distinguished_name::DistinguishedName;
use crate::printable::printable;
use crate::tpm_description::TpmDescription;

/// What the extensions of one certificate say (RFC 5280, 4.2). Read, not judged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extensions {
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) key_usage: Option<Critical<KeyUsage>>,
    pub(crate) purposes: Option<Critical<Purposes>>,
    /// The TPM that the subject alternative name describes, or what is wrong with that name.
    pub(crate) alternative_name: Option<Critical<Result<TpmDescription, &'static str>>>,
    pub(crate) subject_key_id: Option<Vec<u8>>,
    pub(crate) authority_key_id: Option<Vec<u8>>,
    /// Where the issuer's certificate may be had; printable.
    pub(crate) authority_info: Option<String>,
    /// The names of the distribution points of revocation lists.
    pub(crate) crl_points: Vec<String>,
    /// Who issues the revocation lists of this certificate, where that is not its issuer.
    pub(crate) crl_issuers: Vec<DistinguishedName>,
    /// A critical extension that nothing here evaluates; printable.
    pub(crate) unknown_critical: Option<String>,
}

/// An extension's value and whether the extension is critical.
#[derive(Debug, Clone)]
pub(crate) struct Critical<T> {
    pub(crate) critical: bool,
    pub(crate) value: T,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct BasicConstraints {
    pub(crate) ca: bool,
    /// How many intermediates may follow.
    pub(crate) path_len: Option<u32>,
}

/// The extended key usages that matter here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purposes {
    /// tcg-kp-EKCertificate.
    pub(crate) endorsement: bool,
    /// tcg-kp-AIKCertificate.
    pub(crate) attestation: bool,
    /// anyExtendedKeyUsage.
    pub(crate) any: bool,
}

impl Extensions {
    /// Reads the extensions, or says what is malformed.
    pub(crate) fn read(extensions: &[X509Extension<'_>]) -> Result<Self, &'static str> {
        let mut out = Self::default();
        let mut seen = BTreeSet::new();
        for extension in extensions {
            // RFC 5280, 4.2: no extension occurs twice. Otherwise two readers could see two values.
            if !seen.insert(extension.oid.as_bytes()) {
                return Err("an extension occurs twice");
            }
            out.add(extension)?;
        }
        Ok(out)
    }

    fn add(&mut self, extension: &X509Extension<'_>) -> Result<(), &'static str> {
        let critical = extension.critical;
        match extension.parsed_extension() {
            ParsedExtension::BasicConstraints(value) => {
                self.basic_constraints = Some(BasicConstraints {
                    ca: value.ca,
                    path_len: value.path_len_constraint,
                });
            }
            ParsedExtension::KeyUsage(value) => {
                self.key_usage = Some(Critical {
                    critical,
                    value: *value,
                });
            }
            ParsedExtension::ExtendedKeyUsage(value) => {
                self.purposes = Some(Critical {
                    critical,
                    value: Purposes::of(value),
                });
            }
            ParsedExtension::SubjectAlternativeName(value) => {
                self.alternative_name = Some(Critical {
                    critical,
                    value: TpmDescription::read(value),
                });
            }
            // RFC 5280, 4.2.1.4: policies bind only those who ask for one, and nothing here does.
            ParsedExtension::CertificatePolicies(_) => return Ok(()),
            parsed => {
                self.add_informative(parsed, critical)?;
                if critical && extension.oid.to_id_string() != SUBJECT_DIRECTORY_ATTRIBUTES {
                    self.unknown_critical = Some(printable(&extension.oid.to_id_string(), MAX_OID));
                }
                return Ok(());
            }
        }
        if der::is_der(extension.value) {
            Ok(())
        } else {
            Err("an extension is not DER")
        }
    }

    /// What helps to find an issuer, and decides nothing.
    fn add_informative(
        &mut self,
        parsed: &ParsedExtension<'_>,
        critical: bool,
    ) -> Result<(), &'static str> {
        match parsed {
            ParsedExtension::ParseError { .. } if critical => {
                return Err("a critical extension is malformed");
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                for point in points.iter().take(MAX_POINTS) {
                    if let Some(DistributionPointName::FullName(names)) = &point.distribution_point
                    {
                        self.crl_points.extend(point_names(names));
                    }
                    let issuers = point.crl_issuer.iter().flatten();
                    self.crl_issuers
                        .extend(issuers.filter_map(|name| match name {
                            GeneralName::DirectoryName(name) => {
                                DistinguishedName::parse(name.as_raw())
                            }
                            _ => None,
                        }));
                }
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                self.authority_info = access
                    .iter()
                    .filter(|description| description.access_method.to_id_string() == CA_ISSUERS)
                    .find_map(|description| match description.access_location {
                        GeneralName::URI(uri) => Some(printable(uri, MAX_URI)),
                        _ => None,
                    });
            }
            _ => {}
        }
        Ok(())
    }
}

/// The names of a distribution point, comparable.
pub(crate) fn point_names(names: &[GeneralName<'_>]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

impl Purposes {
    fn of(usage: &ExtendedKeyUsage<'_>) -> Self {
        let has = |oid: &str| usage.other.iter().any(|other| other.to_id_string() == oid);
        Self {
            endorsement: has(EK_CERTIFICATE),
            attestation: has(AIK_CERTIFICATE),
            any: usage.any,
        }
    }
}

/// tcg-kp-EKCertificate (TCG EK Credential Profile 2.6, section 3).
const EK_CERTIFICATE: &str = "2.23.133.8.1";
/// tcg-kp-AIKCertificate.
const AIK_CERTIFICATE: &str = "2.23.133.8.3";
/// RFC 5280, 4.2.1.8; TPM specification and security assertions, sometimes critical.
const SUBJECT_DIRECTORY_ATTRIBUTES: &str = "2.5.29.9";
/// id-ad-caIssuers (RFC 5280, 4.2.2.1).
const CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";
/// Distribution points looked at; certificates have one or two.
const MAX_POINTS: usize = 8;
const MAX_OID: usize = 128;
const MAX_URI: usize = 256;
