//! SVID keys and the storage key above them (TCG Provisioning Guidance 1.0, section 7.5; TPM library part 2, section 8.3).

use crate::{
    Algorithm, Attributes, Curve, Hash, Hierarchy, Name, Public, PublicKey, Scheme, Symmetric,
    Writer,
};

/// The keys that an agent may make for its SVIDs: they sign whatever digest they are given, and never leave their TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the algorithms'")]
pub enum SvidKeyTemplate {
    EccP256,
    EccP384,
    Rsa2048,
}

/// The storage root keys that an agent may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the algorithms'")]
pub enum StorageTemplate {
    EccP256,
    Rsa2048,
}

impl SvidKeyTemplate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::EccP256, Self::EccP384, Self::Rsa2048];

    /// The public area to create the key from: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign.
    pub fn public(self) -> Public {
        let key = match self {
            Self::EccP256 => ecc(Curve::P256),
            Self::EccP384 => ecc(Curve::P384),
            Self::Rsa2048 => rsa_2048(),
        };
        Public::new(
            Hash::Sha256,
            SVID_KEY,
            &[],
            Symmetric::Null,
            Scheme::Null,
            key,
        )
    }
}

impl StorageTemplate {
    /// The public area to create the key from: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA,
    /// restricted, decrypt.
    pub fn public(self) -> Public {
        let key = match self {
            Self::EccP256 => ecc(Curve::P256),
            Self::Rsa2048 => rsa_2048(),
        };
        let symmetric = Symmetric::Cipher {
            algorithm: Algorithm::AES,
            bits: 128,
            mode: Algorithm::CFB,
        };
        Public::new(
            Hash::Sha256,
            STORAGE_ROOT,
            &[],
            symmetric,
            Scheme::Null,
            key,
        )
    }
}

impl Public {
    /// Whether keys can be made under it that stay in its TPM, with an empty password: what a storage root key is.
    pub fn is_storage_root(&self) -> bool {
        const REQUIRED: u32 = Attributes::FIXED_TPM
            | Attributes::FIXED_PARENT
            | Attributes::SENSITIVE_DATA_ORIGIN
            | Attributes::USER_WITH_AUTH
            | Attributes::RESTRICTED
            | Attributes::DECRYPT;
        let name_alg = Hash::from_algorithm(self.name_alg);
        self.attributes.has(REQUIRED)
            && !self.attributes.has_any(Attributes::SIGN)
            && name_alg.is_some_and(|hash| hash != Hash::Sha1)
            && matches!(self.symmetric, Symmetric::Cipher { .. })
    }

    /// The qualified name of a key below a primary key of a hierarchy: nameAlg ‖ H(QN(parent) ‖ Name) (TPM library
    /// part 1, section 16.3). `None` for an unknown name algorithm.
    pub fn qualified_name_below(&self, parent: &Self, hierarchy: Hierarchy) -> Option<Name> {
        let hash = Hash::from_algorithm(self.name_alg)?;
        let (above, name) = (parent.qualified_name(hierarchy)?, self.name()?);
        let digest = hash.digest(&[above.as_bytes(), name.as_bytes()]);
        Some(Name::from_bytes(
            &Writer::new().u16(self.name_alg.0).raw(&digest).finish(),
        ))
    }
}

fn ecc(curve: Curve) -> PublicKey {
    PublicKey::Ecc {
        curve: curve.id(),
        kdf: None,
        x: Vec::new(),
        y: Vec::new(),
    }
}

fn rsa_2048() -> PublicKey {
    PublicKey::Rsa {
        bits: 2048,
        exponent: 0,
        modulus: Vec::new(),
    }
}

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign.
const SVID_KEY: u32 = 0x0004_0472;

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
const STORAGE_ROOT: u32 = 0x0003_0472;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_canonical_and_differ() {
        for template in SvidKeyTemplate::ALL {
            let public = template.public();
            assert_eq!(Public::parse(public.as_bytes()), Ok(public.clone()));
            assert!(
                public
                    .attributes
                    .has(Attributes::SIGN | Attributes::FIXED_TPM)
            );
            assert!(
                !public
                    .attributes
                    .has_any(Attributes::RESTRICTED | Attributes::DECRYPT)
            );
            assert!(!public.is_storage_root());
        }
        for template in [StorageTemplate::EccP256, StorageTemplate::Rsa2048] {
            let public = template.public();
            assert_eq!(Public::parse(public.as_bytes()), Ok(public.clone()));
            assert!(public.is_storage_root());
        }
    }

    /// By hand, from TPM library part 2, section 12.2.4: any other byte makes another key.
    #[test]
    fn templates_are_these_bytes() {
        let keys = SvidKeyTemplate::ALL.map(SvidKeyTemplate::public);
        let roots = [StorageTemplate::EccP256, StorageTemplate::Rsa2048];
        let all = keys.into_iter().chain(roots.map(StorageTemplate::public));
        let expected = [
            "0023000b00040472 0000 0010 0010 00030010 00000000",
            "0023000b00040472 0000 0010 0010 00040010 00000000",
            "0001000b00040472 0000 0010 0010 080000000000 0000",
            "0023000b00030472 0000 000600800043 0010 00030010 00000000",
            "0001000b00030472 0000 000600800043 0010 080000000000 0000",
        ];
        let encoded: Vec<_> = all.map(|public| hex::encode(public.as_bytes())).collect();
        assert_eq!(encoded, expected.map(|bytes| bytes.replace(' ', "")));
    }

    #[test]
    fn every_attribute_makes_a_storage_root() {
        let with = |hash, attributes: u32, symmetric| {
            let (scheme, key) = (Scheme::Null, ecc(Curve::P256));
            Public::new(hash, attributes, &[], symmetric, scheme, key).is_storage_root()
        };
        let aes = StorageTemplate::EccP256.public().symmetric;
        assert!(with(Hash::Sha256, STORAGE_ROOT, aes));
        assert!(with(Hash::Sha384, STORAGE_ROOT & !Attributes::NO_DA, aes));
        for bit in [
            Attributes::FIXED_TPM,
            Attributes::FIXED_PARENT,
            Attributes::SENSITIVE_DATA_ORIGIN,
            Attributes::USER_WITH_AUTH,
            Attributes::RESTRICTED,
            Attributes::DECRYPT,
        ] {
            assert!(!with(Hash::Sha256, STORAGE_ROOT & !bit, aes), "{bit:#x}");
        }
        assert!(!with(Hash::Sha256, STORAGE_ROOT | Attributes::SIGN, aes));
        assert!(!with(Hash::Sha1, STORAGE_ROOT, aes));
        assert!(!with(Hash::Sha256, STORAGE_ROOT, Symmetric::Null));
    }

    /// By hand: a primary's qualified name is over the handle and its Name, a child's over that and its own.
    #[test]
    fn a_child_s_qualified_name_covers_its_parent_and_hierarchy() {
        let (parent, child) = (
            StorageTemplate::EccP256.public(),
            SvidKeyTemplate::EccP256.public(),
        );
        let hash = |parts: &[&[u8]]| [&[0, 0x0B], &Hash::Sha256.digest(parts)[..]].concat();
        let above = hash(&[&[0x40, 0, 0, 1], &hash(&[parent.as_bytes()])]);
        let expect = hash(&[&above, &hash(&[child.as_bytes()])]);
        let name = child
            .qualified_name_below(&parent, Hierarchy::Owner)
            .unwrap();
        assert_eq!(name.as_bytes(), expect);
        assert_ne!(
            child.qualified_name_below(&parent, Hierarchy::Endorsement),
            Some(name.clone())
        );
        let other = StorageTemplate::Rsa2048.public();
        assert_ne!(
            child.qualified_name_below(&other, Hierarchy::Owner),
            Some(name)
        );
    }
}
