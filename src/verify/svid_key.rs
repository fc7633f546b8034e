//! The SVID keys that an agent offers, and the statements of its TPM that they are in it.

use evidence::{
    Attest, Attested, Attributes, ClockInfo, Hash, Hierarchy, KeyCertification, Name,
    OfferExtension, Public, PublicError, Scheme, SubjectKey, tag,
};

use crate::attestation_key::AttestationKey;
use crate::key::sound_key;
use crate::quote::{Quoted, check_origin, read_signature};
use crate::signature::{SigningScheme, signs_only, verify_signature};
use crate::{Reason, Rejection};

/// A key that was made in the attested TPM, cannot leave it and is loaded there now. Only the checks of its certification
/// make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedKey {
    name: Name,
    spki_sha256: [u8; 32],
}

/// The SVID keys of an offer and the storage root key above them. Whether a TPM has them is for certifications to show.
#[derive(Debug)]
pub(crate) struct OfferedKeys {
    keys: Vec<OfferedKey>,
    parent: Option<Name>,
}

#[derive(Debug)]
struct OfferedKey {
    key: SubjectKey,
    name: Name,
    qualified_name: Name,
}

impl CertifiedKey {
    /// The Name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// SHA-256 of the canonical SubjectPublicKeyInfo in DER, as [`SubjectKey::spki`] has it.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// Checks a certification of `key` as made by `ak` with extraData `binding`, by the TPM that gave the quote.
    fn check(
        key: &OfferedKey,
        certification: &KeyCertification,
        ak: &AttestationKey,
        binding: &[u8; 32],
        quoted: &Quoted,
    ) -> Result<Self, Rejection> {
        let attest =
            Attest::parse(&certification.attest).map_err(|_bad| Reason::MalformedAttest)?;
        check_origin(&attest, tag::ATTEST_CERTIFY, ak, binding)?;
        let Attested::Certify {
            name,
            qualified_name,
        } = &attest.attested
        else {
            return Err(Reason::WrongAttestType.into());
        };
        if *name != key.name {
            return Err(Reason::CertifyName.into());
        }
        // TPM library part 1, section 16.3: the qualified name covers the ancestors, so this one exists only below that
        // storage root key of the owner hierarchy.
        if *qualified_name != key.qualified_name {
            return Err(Reason::CertifyParent.into());
        }
        check_same_boot(&attest, quoted)?;
        let signature = read_signature(&certification.signature)?;
        verify_signature(ak.key(), ak.scheme(), &certification.attest, &signature)?;
        let digest = Hash::Sha256.digest(&[&key.key.spki()]);
        Ok(Self {
            name: key.name.clone(),
            spki_sha256: digest.try_into().unwrap_or_default(),
        })
    }
}

impl OfferedKeys {
    /// Parses and checks the public areas of an offer.
    pub(crate) fn check(
        offer: Option<&OfferExtension>,
        ek: &SubjectKey,
        ak: &AttestationKey,
    ) -> Result<Self, Rejection> {
        let none: &[Vec<u8>] = &[];
        let (encoded, parent) = offer.map_or((none, None), |offer| {
            (offer.svid_keys.as_slice(), offer.svid_parent.as_deref())
        });
        let parent = parent.map(check_parent).transpose()?;
        let mut keys: Vec<OfferedKey> = Vec::with_capacity(encoded.len());
        for bytes in encoded {
            let parent = parent.as_ref().ok_or_else(|| malformed("no parent"))?;
            let offered = OfferedKey::check(bytes, parent)?;
            if offered.key == *ek || offered.key == *ak.key() {
                return Err(Reason::KeyReuse.into());
            }
            if keys.iter().any(|other| other.key == offered.key) {
                return Err(malformed("the same key twice"));
            }
            keys.push(offered);
        }
        Ok(Self {
            keys,
            parent: parent.as_ref().and_then(Public::name),
        })
    }

    /// Checks that there is one certification for each key, in their order. What is not asked for must not come.
    pub(crate) fn certified(
        &self,
        certifications: &[KeyCertification],
        ak: &AttestationKey,
        binding: &[u8; 32],
        quoted: &Quoted,
    ) -> Result<Vec<CertifiedKey>, Rejection> {
        if certifications.len() != self.keys.len() {
            return Err(Reason::CertifyMissing.into());
        }
        let pairs = self.keys.iter().zip(certifications);
        pairs
            .map(|(key, certification)| {
                CertifiedKey::check(key, certification, ak, binding, quoted)
            })
            .collect()
    }

    /// The Name of the parent, which is as good as the certification of a key below it.
    pub(crate) fn into_parent(self) -> Option<Name> {
        self.parent
    }
}

impl OfferedKey {
    fn check(bytes: &[u8], parent: &Public) -> Result<Self, Rejection> {
        let public = parse(bytes)?;
        check_attributes(&public)?;
        let key = public.subject_key().ok_or(Reason::UnsupportedKey)?;
        sound_key(&key)?;
        check_scheme(&public, &key)?;
        let sound_name = Hash::from_algorithm(public.name_alg).filter(|hash| *hash != Hash::Sha1);
        let names = sound_name.and_then(|_hash| {
            let qualified_name = public.qualified_name_below(parent, Hierarchy::Owner)?;
            Some((public.name()?, qualified_name))
        });
        let (name, qualified_name) = names.ok_or_else(|| malformed("the name algorithm"))?;
        Ok(Self {
            key,
            name,
            qualified_name,
        })
    }
}

/// The numeric keys of an offer, as far as they are any.
pub(crate) fn numeric_keys(offer: &OfferExtension) -> impl Iterator<Item = SubjectKey> {
    let publics = offer.svid_keys.iter().map(|bytes| Public::parse(bytes));
    publics.filter_map(|public| public.ok()?.subject_key())
}

fn parse(bytes: &[u8]) -> Result<Public, Rejection> {
    Public::parse(bytes).map_err(|error| match error {
        PublicError::Malformed(_) => malformed("no TPMT_PUBLIC"),
        PublicError::UnsupportedType(_) => malformed("neither RSA nor ECC"),
    })
}

/// A storage root key, so that its Name tells one TPM from another and from itself before a clear.
fn check_parent(bytes: &[u8]) -> Result<Public, Rejection> {
    let parent = parse(bytes)?;
    if !parent.is_storage_root() {
        return Err(malformed("the parent is no storage root key"));
    }
    Ok(parent)
}

/// TPM library part 2, section 8.3: fixedTPM, fixedParent and sensitiveDataOrigin say that the key was made by its TPM and
/// never leaves it. A restricted key signs no TLS handshake; one that decrypts or signs X.509 certificates has other uses
/// than an SVID's; encryptedDuplication is for keys that leave. The remaining attributes are the owner's affair.
fn check_attributes(public: &Public) -> Result<(), Reason> {
    const REQUIRED: u32 = Attributes::FIXED_TPM
        | Attributes::FIXED_PARENT
        | Attributes::SENSITIVE_DATA_ORIGIN
        | Attributes::SIGN;
    const FORBIDDEN: u32 = Attributes::RESTRICTED
        | Attributes::DECRYPT
        | Attributes::X509_SIGN
        | Attributes::ENCRYPTED_DUPLICATION;
    let attributes = public.attributes;
    if !attributes.has(REQUIRED) || attributes.has_any(FORBIDDEN) || !signs_only(public) {
        return Err(Reason::CertifyAttributes);
    }
    Ok(())
}

/// Whoever uses the key chooses its scheme; one that it is bound to must be one that others can verify.
fn check_scheme(public: &Public, key: &SubjectKey) -> Result<(), Reason> {
    let is_open = public.scheme == Scheme::Null;
    let fits = |scheme: SigningScheme| scheme.fits(key);
    if is_open || SigningScheme::of(public).is_some_and(fits) {
        Ok(())
    } else {
        Err(Reason::CertifyAttributes)
    }
}

/// TPM library part 1, section 36: the counters change when the TPM starts, so one boot has them in all its structures; of
/// another TPM or another boot they differ.
fn check_same_boot(attest: &Attest, quoted: &Quoted) -> Result<(), Rejection> {
    let of = |clock: ClockInfo| (clock.reset_count, clock.restart_count);
    if of(attest.clock) != of(quoted.clock()) {
        return Err(Rejection::because(
            Reason::InconsistentEvidence,
            "the counters",
        ));
    }
    if attest.firmware != quoted.firmware() {
        return Err(Rejection::because(
            Reason::InconsistentEvidence,
            "the firmware version",
        ));
    }
    Ok(())
}

fn malformed(detail: &str) -> Rejection {
    Rejection::because(Reason::MalformedSvidKey, detail)
}
