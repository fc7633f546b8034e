//! SVID keys, and the storage root key that they are made under.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use evidence::{
    Algorithm, Attributes, Curve, Hash, Hierarchy, Name, Public, PublicKey, Signature,
    StorageTemplate, SubjectKey, SvidKeyTemplate,
};

use crate::ak::altered;
use crate::{Key, KeyKind, Parent, SoftTpm, TpmError};

/// A key for SVIDs: real key material under a public area that may claim anything.
#[derive(Debug, Clone)]
pub struct SvidKey {
    /// The key that signs.
    pub key: Key,
    /// The public area that is offered and named.
    pub public: Public,
    /// Where the key hangs.
    pub parent: Parent,
}

impl SoftTpm {
    /// TPM2_Create and TPM2_Load of a new key under the storage root key: it is offered from now on, and certified when a
    /// server asks. RSA takes a while.
    pub fn make_svid_key(&mut self, template: SvidKeyTemplate) -> Result<SvidKey, TpmError> {
        let kind = match template {
            SvidKeyTemplate::EccP256 => KeyKind::P256,
            SvidKeyTemplate::EccP384 => KeyKind::P384,
            SvidKeyTemplate::Rsa2048 => KeyKind::Rsa2048,
        };
        let key = SvidKey::new(Key::generate(kind)?, self.storage_parent()?);
        self.svid_keys.push(key.clone());
        Ok(key)
    }

    /// The public area of the storage root key: P-256, of the owner hierarchy. It follows from the EK, so that no two TPMs
    /// have the same, until a clear gives it another seed.
    pub fn storage_root(&self) -> Result<Public, TpmError> {
        match self.storage_parent()? {
            Parent::Primary { public, .. } => Ok(*public),
            Parent::Hierarchy(_) => Err(TpmError::Key),
        }
    }

    /// The storage root key as a parent of other keys.
    pub fn storage_parent(&self) -> Result<Parent, TpmError> {
        let scalar = Hash::Sha256.digest(&[b"storage root", &self.owner_seed, self.ek.pkcs8()]);
        Ok(Parent::storage_root(
            StorageTemplate::EccP256,
            p256_of(&scalar)?,
        ))
    }
}

impl SvidKey {
    /// A key with the public area that the template of an SVID key gives it, under any parent.
    pub fn new(key: Key, parent: Parent) -> Self {
        Self::with_attributes(key, SvidKeyTemplate::EccP256.public().attributes, parent)
    }

    /// What TPM2_LoadExternal makes of a key in software: an object of the null hierarchy without the attributes that only
    /// a TPM's own keys have (TPM library part 3, section 12.3).
    pub fn external(key: Key) -> Self {
        const OWN: u32 = Attributes::FIXED_TPM
            | Attributes::FIXED_PARENT
            | Attributes::SENSITIVE_DATA_ORIGIN
            | Attributes::RESTRICTED;
        let Attributes(template) = SvidKeyTemplate::EccP256.public().attributes;
        let parent = Parent::Hierarchy(Hierarchy::Null);
        Self::with_attributes(key, Attributes(template & !OWN), parent)
    }

    /// The same key under another parent: its qualified name changes, nothing else.
    #[must_use]
    pub fn under(self, parent: Parent) -> Self {
        Self { parent, ..self }
    }

    /// Alters the public area, as [`Ak::altered`](crate::Ak::altered) does.
    pub fn altered(self, change: impl FnOnce(&mut Public)) -> Result<Self, TpmError> {
        let public = altered(&self.public, change)?;
        Ok(Self { public, ..self })
    }

    /// The Name of the public area.
    pub fn name(&self) -> Result<Name, TpmError> {
        self.public.name().ok_or(TpmError::Unnamed)
    }

    /// The qualified name: over the parent's, and that over the hierarchy (part 1, section 16.3).
    pub fn qualified_name(&self) -> Result<Name, TpmError> {
        self.parent.qualified_name_of(&self.public)
    }

    /// The SubjectPublicKeyInfo of the key itself in DER, the PKIX form in which SPIRE hands it on.
    pub fn pkix(&self) -> Vec<u8> {
        self.key.subject_key().spki()
    }

    /// Signs any bytes, as the holder of an SVID does: ECDSA with the hash of the curve's size, RSA by RSASSA with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, TpmError> {
        let (algorithm, hash) = self.scheme();
        self.key.sign(algorithm, hash, message)
    }

    /// The scheme and hash that [`SvidKey::sign`] uses.
    pub fn scheme(&self) -> (Algorithm, Hash) {
        match self.key.subject_key() {
            SubjectKey::Rsa { .. } => (Algorithm::RSASSA, Hash::Sha256),
            SubjectKey::Ec { curve, .. } => match curve {
                Curve::P256 => (Algorithm::ECDSA, Hash::Sha256),
                Curve::P384 => (Algorithm::ECDSA, Hash::Sha384),
                Curve::P521 => (Algorithm::ECDSA, Hash::Sha512),
            },
        }
    }

    fn with_attributes(key: Key, Attributes(attributes): Attributes, parent: Parent) -> Self {
        let template = SvidKeyTemplate::EccP256.public();
        let public = Public::new(
            Hash::Sha256,
            attributes,
            &template.auth_policy,
            template.symmetric,
            template.scheme,
            key.public_key(),
        );
        Self {
            key,
            public,
            parent,
        }
    }
}

/// The point of a scalar, which is in range but for one in 2³² of them.
fn p256_of(scalar: &[u8]) -> Result<PublicKey, TpmError> {
    let key =
        PrivateKey::from_private_key(&ECDH_P256, scalar).map_err(|_rejected| TpmError::Key)?;
    let point = key.compute_public_key().map_err(|_failed| TpmError::Key)?;
    let (x, y) = point
        .as_ref()
        .get(1..)
        .and_then(|point| point.split_at_checked(Curve::P256.field_size()))
        .ok_or(TpmError::Key)?;
    Ok(PublicKey::Ecc {
        curve: Curve::P256.id(),
        kdf: None,
        x: x.to_vec(),
        y: y.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature as lc;
    use evidence::{AkTemplate, SignatureValue};

    use super::*;
    use crate::Role;

    fn tpm() -> SoftTpm {
        SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap()
    }

    #[test]
    fn honest_keys_differ_from_their_templates_in_the_key_alone() {
        let mut tpm = tpm();
        for template in SvidKeyTemplate::ALL {
            let made = tpm.make_svid_key(template).unwrap();
            let again = tpm.make_svid_key(template).unwrap();
            assert_ne!(made.public, again.public);
            assert_eq!(
                made.public.subject_key().as_ref(),
                Some(made.key.subject_key())
            );
            assert_eq!(made.pkix(), made.public.subject_key().unwrap().spki());
            let bare = made
                .altered(|public| public.key = template.public().key)
                .unwrap();
            assert_eq!(bare.public, template.public());
        }
        assert_eq!(tpm.svid_keys.len(), 6);
    }

    #[test]
    fn every_tpm_has_a_storage_root_key_of_its_own() {
        let (one, other) = (tpm(), SoftTpm::generate().unwrap());
        let root = one.storage_root().unwrap();
        assert!(root.is_storage_root());
        assert_eq!(Public::parse(root.as_bytes()), Ok(root.clone()));
        assert_eq!(tpm().storage_root().unwrap(), root);
        assert_ne!(other.storage_root().unwrap(), root);
        let mut swapped = tpm();
        swapped.ek = Key::sample(Role::Other, KeyKind::P256).unwrap();
        assert_ne!(swapped.storage_root().unwrap(), root);
        let point = root.subject_key().unwrap().point().unwrap();
        let key = lc::UnparsedPublicKey::new(&lc::ECDSA_P256_SHA256_FIXED, point);
        assert!(key.parse().is_ok(), "a point of the curve");
    }

    #[test]
    fn qualified_names_follow_the_tree() {
        let key = tpm().make_svid_key(SvidKeyTemplate::EccP256).unwrap();
        let root = tpm().storage_root().unwrap();
        let below = |hierarchy| key.public.qualified_name_below(&root, hierarchy);
        assert_eq!(key.qualified_name().ok(), below(Hierarchy::Owner));
        let platform = Parent::Primary {
            public: Box::new(root.clone()),
            hierarchy: Hierarchy::Platform,
        };
        let moved = key.clone().under(platform);
        assert_eq!(moved.name(), key.name());
        assert_eq!(moved.qualified_name().ok(), below(Hierarchy::Platform));
    }

    #[test]
    fn external_keys_can_leave_and_hang_nowhere() {
        let key = SvidKey::external(Key::sample(Role::Other, KeyKind::P256).unwrap());
        assert_eq!(key.public.attributes, Attributes(0x0004_0440));
        assert_eq!(
            key.qualified_name().ok(),
            key.public.qualified_name(Hierarchy::Null)
        );
    }

    #[test]
    fn holders_of_svids_sign_with_them() {
        let cases: [(_, &'static dyn lc::VerificationAlgorithm); 3] = [
            (SvidKeyTemplate::EccP256, &lc::ECDSA_P256_SHA256_FIXED),
            (SvidKeyTemplate::EccP384, &lc::ECDSA_P384_SHA384_FIXED),
            (SvidKeyTemplate::Rsa2048, &lc::RSA_PKCS1_2048_8192_SHA256),
        ];
        for (template, verification) in cases {
            let key = tpm().make_svid_key(template).unwrap();
            let signature = match key.sign(b"a request").unwrap().value {
                SignatureValue::Rsa(value) => value,
                SignatureValue::Ecdsa { r, s } => [r, s].concat(),
            };
            let public = lc::UnparsedPublicKey::new(verification, key.pkix());
            assert!(public.verify(b"a request", &signature).is_ok());
            assert!(public.verify(b"another", &signature).is_err());
        }
    }
}
