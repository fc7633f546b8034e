//! Attestation keys: real key material under a public area that may claim anything.

use evidence::{
    AkTemplate, Algorithm, Hash, Hierarchy, Name, Public, PublicKey, Scheme, StorageTemplate,
    Symmetric, Writer,
};

use crate::{Key, KeyKind, Role, TpmError};

/// An attestation key.
#[derive(Debug, Clone)]
pub struct Ak {
    /// The key that signs.
    pub key: Key,
    /// The public area that is shown and named.
    pub public: Public,
    /// RSASSA, RSAPSS or ECDSA: how `key` signs, whatever `public` claims.
    pub algorithm: Algorithm,
    /// The hash of the signature and of pcrDigest.
    pub hash: Hash,
    /// Where the key hangs.
    pub parent: Parent,
}

/// What a key was created under.
#[derive(Debug, Clone)]
pub enum Parent {
    /// A hierarchy: the key is a primary.
    Hierarchy(Hierarchy),
    /// A primary storage key: an SRK, or the EK.
    Primary {
        /// The storage key.
        public: Box<Public>,
        /// The hierarchy of the storage key.
        hierarchy: Hierarchy,
    },
}

impl Ak {
    /// What an agent of this project makes: a primary of the endorsement hierarchy, with a sample
    /// key.
    pub fn of(template: AkTemplate) -> Result<Self, TpmError> {
        let (kind, algorithm) = match template {
            AkTemplate::EccP256 => (KeyKind::P256, Algorithm::ECDSA),
            AkTemplate::Rsa2048 => (KeyKind::Rsa2048, Algorithm::RSASSA),
        };
        let key = Key::sample(Role::Ak, kind)?;
        Ok(Self::new(key, algorithm, Hash::Sha256))
    }

    /// The same for any key and scheme: nameAlg SHA-256, attributes and parent as the templates
    /// have them.
    pub fn new(key: Key, algorithm: Algorithm, hash: Hash) -> Self {
        let template = AkTemplate::EccP256.public();
        let scheme = Scheme::Of {
            algorithm,
            hash: Some(hash.algorithm()),
            count: None,
        };
        let public = Public::new(
            Hash::Sha256,
            template.attributes.0,
            &[],
            Symmetric::Null,
            scheme,
            key.public_key(),
        );
        Self {
            key,
            public,
            algorithm,
            hash,
            parent: Parent::Hierarchy(Hierarchy::Endorsement),
        }
    }

    /// The same key under another parent.
    #[must_use]
    pub fn under(self, parent: Parent) -> Self {
        Self { parent, ..self }
    }

    /// Alters the public area and encodes it anew; the key signs as before.
    ///
    /// Fails for what no strict parser reads, such as reserved attributes: for these, alter the
    /// bytes in the offer. An unknown nameAlg is possible, but leaves the key without a Name.
    pub fn altered(self, change: impl FnOnce(&mut Public)) -> Result<Self, TpmError> {
        let public = altered(&self.public, change)?;
        Ok(Self { public, ..self })
    }

    /// The Name of the public area.
    pub fn name(&self) -> Result<Name, TpmError> {
        self.public.name().ok_or(TpmError::Unnamed)
    }

    /// The qualified name, the qualifiedSigner of what the key signs: for a primary
    /// nameAlg ‖ H(hierarchy handle ‖ Name), else nameAlg ‖ H(QN(parent) ‖ Name), by the nameAlg
    /// of the key itself (part 1, section 16.3).
    pub fn qualified_name(&self) -> Result<Name, TpmError> {
        self.parent.qualified_name_of(&self.public)
    }
}

impl Parent {
    /// The storage root key of the owner hierarchy that agents of the first generation use, RSA-2048, with a sample key.
    pub fn srk() -> Result<Self, TpmError> {
        let key = Key::sample(Role::Other, KeyKind::Rsa2048)?;
        Ok(Self::storage_root(
            StorageTemplate::Rsa2048,
            key.public_key(),
        ))
    }

    /// A storage root key of the owner hierarchy.
    pub(crate) fn storage_root(template: StorageTemplate, key: PublicKey) -> Self {
        let template = template.public();
        let public = Public::new(
            Hash::Sha256,
            template.attributes.0,
            &template.auth_policy,
            template.symmetric,
            template.scheme,
            key,
        );
        Self::Primary {
            public: Box::new(public),
            hierarchy: Hierarchy::Owner,
        }
    }

    /// The qualified name of a key that was created here.
    pub(crate) fn qualified_name_of(&self, key: &Public) -> Result<Name, TpmError> {
        match self {
            Self::Hierarchy(hierarchy) => key.qualified_name(*hierarchy),
            Self::Primary { public, hierarchy } => key.qualified_name_below(public, *hierarchy),
        }
        .ok_or(TpmError::Unnamed)
    }

    /// Where the tree ends.
    pub(crate) fn hierarchy(&self) -> Hierarchy {
        match self {
            Self::Hierarchy(hierarchy) | Self::Primary { hierarchy, .. } => *hierarchy,
        }
    }
}

/// A public area that differs in what `change` alters, encoded anew, whatever nameAlg it then has.
pub(crate) fn altered(
    public: &Public,
    change: impl FnOnce(&mut Public),
) -> Result<Public, TpmError> {
    let mut wanted = public.clone();
    change(&mut wanted);
    let public = Public::new(
        Hash::from_algorithm(wanted.name_alg).unwrap_or(Hash::Sha256),
        wanted.attributes.0,
        &wanted.auth_policy,
        wanted.symmetric,
        wanted.scheme,
        wanted.key,
    );
    let bytes = public.as_bytes();
    let (kind, rest) = bytes.split_at_checked(2).unwrap_or_default();
    let rest = rest.get(2..).unwrap_or_default();
    let bytes = Writer::new()
        .raw(kind)
        .u16(wanted.name_alg.0)
        .raw(rest)
        .finish();
    Public::parse(&bytes).map_err(|_refused| TpmError::Key)
}

#[cfg(test)]
mod tests {
    use evidence::{Attributes, Curve};

    use super::*;

    #[test]
    fn honest_keys_differ_from_their_templates_in_the_key_alone() {
        for template in [AkTemplate::EccP256, AkTemplate::Rsa2048] {
            let ak = Ak::of(template).unwrap();
            let key = template.public().key;
            let bare = ak.clone().altered(|public| public.key = key).unwrap();
            assert_eq!(bare.public, template.public());
            assert_eq!(ak.public.subject_key().as_ref(), Some(ak.key.subject_key()));
        }
    }

    #[test]
    fn any_field_of_the_public_area_can_lie() {
        let ak = Ak::of(AkTemplate::EccP256).unwrap();
        let lie = |change: fn(&mut Public)| ak.clone().altered(change).unwrap();
        let unrestricted = lie(|public| public.attributes.0 &= !Attributes::RESTRICTED);
        assert!(!unrestricted.public.attributes.has(Attributes::RESTRICTED));
        assert_ne!(unrestricted.name().unwrap(), ak.name().unwrap());
        let unknown = lie(|public| public.name_alg = Algorithm(0x0012));
        assert_eq!(unknown.public.name_alg, Algorithm(0x0012));
        assert_eq!(unknown.name(), Err(TpmError::Unnamed));
        let sha384 = lie(|public| public.name_alg = Algorithm::SHA384);
        assert_eq!(sha384.qualified_name().unwrap().as_bytes().len(), 50);
        let curve = lie(|public| {
            if let PublicKey::Ecc { curve, .. } = &mut public.key {
                *curve = Curve::P384.id();
            }
        });
        assert_eq!(
            Public::parse(curve.public.as_bytes()),
            Ok(curve.public.clone())
        );
        assert_eq!(
            curve.sign_for_test(b"m").algorithm,
            Algorithm::ECDSA,
            "the key material stays real"
        );
        let reserved = ak.altered(|public| public.attributes.0 |= 1 << 31);
        assert_eq!(reserved.unwrap_err(), TpmError::Key);
    }

    #[test]
    fn qualified_names_follow_the_tree() {
        let ak = Ak::of(AkTemplate::Rsa2048).unwrap();
        let name = ak.name().unwrap();
        let primary = Hash::Sha256.digest(&[&[0x40, 0, 0, 0x0B], name.as_bytes()]);
        assert_eq!(ak.qualified_name().unwrap().as_bytes()[2..], primary);

        let parent = Parent::srk().unwrap();
        let Parent::Primary { public: srk, .. } = &parent else {
            panic!("an SRK is a primary")
        };
        let srk = Hash::Sha256.digest(&[&[0x40, 0, 0, 1], srk.name().unwrap().as_bytes()]);
        let child = Hash::Sha256.digest(&[&[0, 0x0B], &srk, name.as_bytes()]);
        let under = ak.under(parent).qualified_name().unwrap();
        assert_eq!(under.as_bytes()[2..], child);
    }

    impl Ak {
        fn sign_for_test(&self, message: &[u8]) -> evidence::Signature {
            self.key.sign(self.algorithm, self.hash, message).unwrap()
        }
    }
}
