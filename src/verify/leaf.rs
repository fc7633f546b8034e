//! Which certificates are EK certificates.
//!
//! Credential activation proves that somebody can decrypt with a key. That this somebody is a TPM
//! is what the certificate says, and vendors run secure elements, management engines and AKs below
//! the same roots as their EKs. Each rule here keeps one of those out.

use std::collections::BTreeSet;

use evidence::SubjectKey;
use x509_parser::extensions::KeyUsage;

use crate::certificate::{Certificate, EkCertificate};
use crate::key::sound_key;
use crate::terms::{Terms, Waiver};
use crate::tpm_description::TpmDescription;
use crate::{Reason, Rejection};

/// What a certificate proves of itself once every rule of an EK certificate holds, but for those
/// that an anchor may waive.
#[derive(Debug)]
pub(crate) struct EkLeaf {
    /// `None` only where the rule about it is to be waived.
    pub(crate) description: Option<TpmDescription>,
    /// Whether it has expired and that was accepted, or is to be waived.
    pub(crate) is_expired: bool,
    /// The rules that the anchor has to waive, each with the refusal if it does not.
    pub(crate) broken: Vec<(Waiver, Rejection)>,
}

impl EkLeaf {
    /// Checks every rule that the certificate alone can break; those of `waivers` are left to
    /// [`Self::fits`]. `now` is in Unix seconds.
    pub(crate) fn check(
        leaf: &EkCertificate,
        now: i64,
        accept_expired: bool,
        waivers: &BTreeSet<Waiver>,
    ) -> Result<Self, Rejection> {
        let certificate = leaf.certificate();
        let mut broken = Broken {
            waivers,
            rules: Vec::new(),
        };
        check_form(certificate, &mut broken)?;
        check_extended_key_usage(certificate, &mut broken)?;
        check_key_usage(certificate)?;
        sound_key(&certificate.key)?;
        check_key_algorithm(certificate, &mut broken)?;
        let description = check_alternative_name(certificate, &mut broken)?;
        let is_expired = check_validity(certificate, now)?;
        if is_expired && !accept_expired {
            broken.add(Waiver::Expired, Reason::EkCertExpired)?;
        }
        Ok(Self {
            description,
            is_expired,
            broken: broken.rules,
        })
    }

    /// Whether an anchor on these terms may end a chain of this certificate. With a name waived the
    /// vendor is unknown, and whoever waived it for this anchor said that it may be.
    pub(crate) fn fits(&self, terms: &Terms) -> Result<(), Rejection> {
        for (waiver, rejection) in &self.broken {
            if !terms.waivers.contains(waiver) {
                return Err(rejection.clone());
            }
        }
        match &self.description {
            Some(tpm) if !terms.admit(tpm.vendor()) => Err(Rejection::because(
                Reason::VendorAnchorMismatch,
                format!("a TPM of {}", tpm.vendor()),
            )),
            _ => Ok(()),
        }
    }
}

/// Rules that are broken and that some anchor waives.
struct Broken<'a> {
    waivers: &'a BTreeSet<Waiver>,
    rules: Vec<(Waiver, Rejection)>,
}

impl Broken<'_> {
    /// A rule that no anchor waives is broken whatever the chain.
    fn add(&mut self, waiver: Waiver, rejection: impl Into<Rejection>) -> Result<(), Rejection> {
        let rejection = rejection.into();
        if !self.waivers.contains(&waiver) {
            return Err(rejection);
        }
        self.rules.push((waiver, rejection));
        Ok(())
    }
}

fn check_form(leaf: &Certificate, broken: &mut Broken<'_>) -> Result<(), Rejection> {
    // TCG EK Credential Profile 2.6, section 3: an EK certificate is of X.509 version 3.
    if !leaf.is_version_3 {
        return Err(Reason::EkVersion.into());
    }
    // Same section: basicConstraints is there and says that the subject is no CA. The key of a CA
    // signs, and its owner decides what.
    match leaf.extensions.basic_constraints {
        Some(constraints) if constraints.ca => return Err(Reason::EkIsCa.into()),
        Some(_) => {}
        None => broken.add(Waiver::BasicConstraints, Reason::EkIsCa)?,
    }
    known_extensions(leaf)
}

/// RFC 5280, 4.2: a critical extension that is not understood makes a certificate unusable.
pub(crate) fn known_extensions(certificate: &Certificate) -> Result<(), Rejection> {
    match &certificate.extensions.unknown_critical {
        Some(oid) => Err(Rejection::because(
            Reason::UnhandledCriticalExt,
            format!("extension {oid} of \"{}\"", certificate.subject.text()),
        )),
        None => Ok(()),
    }
}

/// TCG EK Credential Profile 2.6, section 3: the extended key usage names tcg-kp-EKCertificate.
/// anyExtendedKeyUsage does not stand for it, and a certificate that names tcg-kp-AIKCertificate
/// too is of a key that signs.
fn check_extended_key_usage(leaf: &Certificate, broken: &mut Broken<'_>) -> Result<(), Rejection> {
    match &leaf.extensions.purposes {
        Some(purposes) if purposes.value.endorsement && !purposes.value.attestation => {}
        Some(_) => return Err(Reason::EkEku.into()),
        None => broken.add(Waiver::ExtendedKeyUsage, Reason::EkEku)?,
    }
    Ok(())
}

/// TCG EK Credential Profile 2.6, section 3: keyUsage is there and critical; keyEncipherment for
/// RSA, keyAgreement for ECC. A bit that lets the key sign tells the AKs from the EKs where one CA
/// issues both with the same extended key usage.
fn check_key_usage(leaf: &Certificate) -> Result<(), Rejection> {
    let usage = match &leaf.extensions.key_usage {
        Some(usage) if usage.critical => usage.value,
        _ => {
            return Err(Rejection::because(
                Reason::EkKeyUsage,
                "absent or not critical",
            ));
        }
    };
    if signs(usage) {
        return Err(Rejection::because(Reason::EkKeyUsage, "allows signing"));
    }
    let decrypts = match leaf.key {
        SubjectKey::Rsa { .. } => usage.key_encipherment(),
        SubjectKey::Ec { .. } => usage.key_agreement(),
    };
    if decrypts {
        Ok(())
    } else {
        Err(Rejection::because(
            Reason::EkKeyUsage,
            "lacks the bit that the key's type needs",
        ))
    }
}

/// TCG EK Credential Profile 2.6, section 3: an RSA key is given under rsaEncryption. Certificates of
/// before the profile name RSAES-OAEP instead, some with parameters that no TPM 2.0 goes by.
fn check_key_algorithm(leaf: &Certificate, broken: &mut Broken<'_>) -> Result<(), Rejection> {
    if leaf.is_oaep_key {
        let rejection = Rejection::because(Reason::UnsupportedKey, "given under RSAES-OAEP");
        broken.add(Waiver::RsaesOaep, rejection)?;
    }
    Ok(())
}

fn signs(usage: KeyUsage) -> bool {
    usage.digital_signature()
        || usage.non_repudiation()
        || usage.key_cert_sign()
        || usage.crl_sign()
}

/// TCG EK Credential Profile 2.6, section 3: the subject alternative name gives manufacturer, model
/// and version. RFC 5280, 4.2.1.6: it is critical when the subject is empty.
fn check_alternative_name(
    leaf: &Certificate,
    broken: &mut Broken<'_>,
) -> Result<Option<TpmDescription>, Rejection> {
    let Some(name) = leaf.extensions.alternative_name.as_ref() else {
        broken.add(Waiver::AlternativeName, no_tpm("is absent"))?;
        return Ok(None);
    };
    if leaf.subject.is_empty() && !name.critical {
        return Err(no_tpm("is not critical though the subject is empty"));
    }
    name.value.clone().map(Some).map_err(no_tpm)
}

fn no_tpm(problem: &str) -> Rejection {
    Rejection::because(
        Reason::EkSan,
        format!("the subject alternative name {problem}"),
    )
}

/// RFC 5280, 4.1.2.5: both ends of the validity belong to it. A TPM outlives its certificate, whose
/// key cannot be replaced, so expiry alone may be accepted; returns whether it has expired.
fn check_validity(leaf: &Certificate, now: i64) -> Result<bool, Rejection> {
    if now < leaf.not_before {
        return Err(Reason::EkCertNotYetValid.into());
    }
    Ok(now > leaf.not_after)
}
