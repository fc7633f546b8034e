//! The checks of an attestation key's public area.

use evidence::{Attributes, Hash, Hierarchy, Name, Public, PublicError, SubjectKey};

use crate::key::sound_key;
use crate::signature::{SigningScheme, signs_only};
use crate::{Reason, Rejection};

/// An AK whose public area passed every check. Whether it is in a TPM is for the credential to show.
#[derive(Debug, Clone)]
pub(crate) struct AttestationKey {
    public: Public,
    key: SubjectKey,
    name: Name,
    name_hash: Hash,
    scheme: SigningScheme,
}

impl AttestationKey {
    /// Parses and checks a TPMT_PUBLIC.
    pub(crate) fn check(bytes: &[u8]) -> Result<Self, Rejection> {
        let public = Public::parse(bytes).map_err(|error| match error {
            PublicError::Malformed(_) => Reason::MalformedPublic,
            PublicError::UnsupportedType(_) => Reason::UnsupportedKey,
        })?;
        check_attributes(public.attributes)?;
        let (name_hash, name) = check_name_alg(&public)?;
        let scheme = check_scheme(&public)?;
        let key = public.subject_key().ok_or(Reason::UnsupportedKey)?;
        sound_key(&key)?;
        if !scheme.fits(&key) {
            return Err(Reason::AkScheme.into());
        }
        Ok(Self {
            public,
            key,
            name,
            name_hash,
            scheme,
        })
    }

    /// TPM library part 1, section 25.1: the EK decrypts and the AK signs; one key that did both
    /// could be made to sign what its owner only meant to decrypt.
    pub(crate) fn differs_from(&self, ek: &SubjectKey) -> Result<(), Rejection> {
        if &self.key == ek {
            return Err(Reason::KeyReuse.into());
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// The hash of the Name, and of everything that the TPM digests about this key.
    pub(crate) fn name_hash(&self) -> Hash {
        self.name_hash
    }

    pub(crate) fn key(&self) -> &SubjectKey {
        &self.key
    }

    pub(crate) fn scheme(&self) -> SigningScheme {
        self.scheme
    }

    /// The qualified name of the AK as a primary key of the endorsement hierarchy.
    pub(crate) fn qualified_name(&self) -> Option<Name> {
        self.public.qualified_name(Hierarchy::Endorsement)
    }
}

/// TPM library part 2, section 8.3: fixedTPM, fixedParent and sensitiveDataOrigin say that the key
/// was made by its TPM and never leaves it; restricted and sign, that it signs only what the TPM
/// itself made. A key that may decrypt too, or sign X.509 certificates, has other uses than
/// attestation; encryptedDuplication is for keys that leave. The remaining attributes are the
/// owner's affair.
fn check_attributes(attributes: Attributes) -> Result<(), Reason> {
    const REQUIRED: u32 = Attributes::FIXED_TPM
        | Attributes::FIXED_PARENT
        | Attributes::SENSITIVE_DATA_ORIGIN
        | Attributes::RESTRICTED
        | Attributes::SIGN;
    const FORBIDDEN: u32 =
        Attributes::DECRYPT | Attributes::X509_SIGN | Attributes::ENCRYPTED_DUPLICATION;
    if !attributes.has(REQUIRED) || attributes.has_any(FORBIDDEN) {
        return Err(Reason::AkAttributes);
    }
    Ok(())
}

/// TPM library part 1, section 16: the Name stands for the whole public area in the credential, so
/// its hash must resist second preimages; SHA-1 is not accepted.
fn check_name_alg(public: &Public) -> Result<(Hash, Name), Reason> {
    match Hash::from_algorithm(public.name_alg) {
        None | Some(Hash::Sha1) => Err(Reason::AkNameAlg),
        Some(hash) => Ok((hash, public.name().ok_or(Reason::AkNameAlg)?)),
    }
}

/// TPM library part 2, section 12.2.3: a restricted signing key has one scheme for life. The
/// signature must not choose, so a key without scheme is refused, and so is any scheme that this
/// verifier does not verify.
fn check_scheme(public: &Public) -> Result<SigningScheme, Reason> {
    if !signs_only(public) {
        return Err(Reason::AkScheme);
    }
    SigningScheme::of(public).ok_or(Reason::AkScheme)
}
