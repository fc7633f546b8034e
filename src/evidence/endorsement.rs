//! Wrapping a secret to an EK: TPM2_MakeCredential in software (TPM library part 1, section 24 and annexes B.10, C.6).

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepPublicEncryptingKey, PublicEncryptingKey,
};
use zeroize::Zeroizing;

use crate::{
    Curve, EkProfile, Hash, Malformed, Name, Reader, Secret, SubjectKey, Writer, cfb_encrypt, kdfa,
    kdfe, limits,
};

/// Labels of seeds, without the NUL that each use appends.
pub mod seed_label {
    /// For a credential.
    pub const IDENTITY: &str = "IDENTITY";
    /// For the salt of a session.
    pub const SECRET: &str = "SECRET";
}

/// A secret that only one TPM opens, and only for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    id_object: Vec<u8>,
    encrypted_secret: Vec<u8>,
}

/// A key that cannot be wrapped to: its numbers are no valid public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the EK is no valid public key")]
pub struct BadCredential;

/// A seed and its form for the TPM.
pub struct Encapsulated {
    /// The seed.
    pub seed: Zeroizing<Vec<u8>>,
    /// TPM2B_ENCRYPTED_SECRET without its size.
    pub encrypted: Vec<u8>,
}

impl Credential {
    /// Makes a credential for the object `name` under the EK `key`.
    ///
    /// `seed` is as long as the digest of `profile`; it is used for an RSA EK, an ECC EK derives
    /// its own. The point of an ECC key must be on its curve, or this fails.
    pub fn make(
        key: &SubjectKey,
        profile: EkProfile,
        name: &Name,
        secret: &Secret,
        seed: &[u8],
    ) -> Result<Self, BadCredential> {
        let wrapped = Encapsulated::new(key, profile.hash, seed_label::IDENTITY, seed)?;
        let bits = digest_bits(profile.hash);
        let aes = u32::from(profile.aes_bits);
        let storage = kdfa(
            profile.hash,
            &wrapped.seed,
            "STORAGE",
            name.as_bytes(),
            &[],
            aes,
        );
        let integrity = kdfa(profile.hash, &wrapped.seed, "INTEGRITY", &[], &[], bits);
        let mut identity = Writer::new().sized(secret.expose()).finish();
        if !cfb_encrypt(&storage, [0; 16], &mut identity) {
            return Err(BadCredential);
        }
        let hmac = profile.hash.hmac(&integrity, &[&identity, name.as_bytes()]);
        Ok(Self {
            id_object: Writer::new()
                .sized(&Writer::new().sized(&hmac).raw(&identity).finish())
                .finish(),
            encrypted_secret: Writer::new().sized(&wrapped.encrypted).finish(),
        })
    }

    /// From the two structures of a challenge, each with its size.
    pub fn from_wire(id_object: Vec<u8>, encrypted_secret: Vec<u8>) -> Result<Self, Malformed> {
        for part in [&id_object, &encrypted_secret] {
            let mut reader = Reader::new(part);
            reader.sized(limits::CHALLENGE)?;
            reader.end()?;
        }
        Ok(Self {
            id_object,
            encrypted_secret,
        })
    }

    /// TPM2B_ID_OBJECT with its size.
    pub fn id_object(&self) -> &[u8] {
        &self.id_object
    }

    /// TPM2B_ENCRYPTED_SECRET with its size.
    pub fn encrypted_secret(&self) -> &[u8] {
        &self.encrypted_secret
    }
}

impl Encapsulated {
    /// Wraps `seed` to an RSA key by OAEP, or derives one by ECDH with an ephemeral key.
    pub fn new(
        key: &SubjectKey,
        hash: Hash,
        label: &str,
        seed: &[u8],
    ) -> Result<Self, BadCredential> {
        match key {
            SubjectKey::Rsa { .. } => Self::rsa(key, hash, label, seed),
            SubjectKey::Ec { curve, x, .. } => Self::ecc(key, *curve, x, hash, label),
        }
    }

    /// The OAEP label includes its NUL (part 1, annex B.4).
    fn rsa(key: &SubjectKey, hash: Hash, label: &str, seed: &[u8]) -> Result<Self, BadCredential> {
        let key = PublicEncryptingKey::from_der(&key.spki()).map_err(|_bad| BadCredential)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_bad| BadCredential)?;
        let label = [label.as_bytes(), &[0]].concat();
        let mut encrypted = vec![0; key.ciphertext_size()];
        let algorithm = match hash {
            Hash::Sha1 => &OAEP_SHA1_MGF1SHA1,
            Hash::Sha256 => &OAEP_SHA256_MGF1SHA256,
            Hash::Sha384 => &OAEP_SHA384_MGF1SHA384,
            Hash::Sha512 => &OAEP_SHA512_MGF1SHA512,
        };
        let encrypted = key
            .encrypt(algorithm, seed, &mut encrypted, Some(&label))
            .map_err(|_bad| BadCredential)?
            .to_vec();
        Ok(Self {
            seed: Zeroizing::new(seed.to_vec()),
            encrypted,
        })
    }

    /// Coordinates and the shared secret stand at the field's width (part 1, annex C.6.1).
    fn ecc(
        key: &SubjectKey,
        curve: Curve,
        static_x: &[u8],
        hash: Hash,
        label: &str,
    ) -> Result<Self, BadCredential> {
        let algorithm = match curve {
            Curve::P256 => &agreement::ECDH_P256,
            Curve::P384 => &agreement::ECDH_P384,
            Curve::P521 => &agreement::ECDH_P521,
        };
        let ephemeral = PrivateKey::generate(algorithm).map_err(|_bad| BadCredential)?;
        let public = ephemeral
            .compute_public_key()
            .map_err(|_bad| BadCredential)?;
        let coordinates = public.as_ref().get(1..).unwrap_or_default();
        let (x, y) = coordinates
            .split_at_checked(curve.field_size())
            .ok_or(BadCredential)?;
        let point = key.point().unwrap_or_default();
        let peer = UnparsedPublicKey::new(algorithm, point);
        let seed = agreement::agree(&ephemeral, peer, BadCredential, |z| {
            Ok(kdfe(hash, z, label, x, static_x, digest_bits(hash)))
        })?;
        Ok(Self {
            seed,
            encrypted: Writer::new().sized(x).sized(y).finish(),
        })
    }
}

fn digest_bits(hash: Hash) -> u32 {
    u32::try_from(hash.size() * 8).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_forms_have_the_sizes_that_old_agents_cut() {
        let name = Name::from_bytes(&[[0, 11].as_slice(), &[1; 32]].concat());
        let key = SubjectKey::ec(
            Curve::P256,
            &hex::decode("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
                .unwrap(),
            &hex::decode("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
                .unwrap(),
        )
        .unwrap();
        let profile = EkProfile::of(&key).unwrap();
        let secret = Secret::new(vec![7; 32]);
        let credential = Credential::make(&key, profile, &name, &secret, &[]).unwrap();
        assert_eq!(credential.id_object().len(), 70);
        assert_eq!(credential.encrypted_secret().len(), 2 + 2 + 32 + 2 + 32);
        let wire = (
            credential.id_object().to_vec(),
            credential.encrypted_secret().to_vec(),
        );
        assert_eq!(Credential::from_wire(wire.0, wire.1), Ok(credential));
    }

    #[test]
    fn a_point_off_its_curve_is_refused() {
        let key = SubjectKey::ec(Curve::P256, &[1; 32], &[1; 32]).unwrap();
        let profile = EkProfile::of(&key).unwrap();
        let made = Credential::make(
            &key,
            profile,
            &Name::from_bytes(&[0; 34]),
            &Secret::new(vec![1]),
            &[],
        );
        assert_eq!(made, Err(BadCredential));
    }

    #[test]
    fn wire_forms_are_two_sized_structures() {
        let sized = |bytes: &[u8]| Writer::new().sized(bytes).finish();
        let good = || sized(&[1, 2]);
        assert!(Credential::from_wire(good(), good()).is_ok());
        for (bad, expect) in [
            ([good(), vec![0]].concat(), Malformed::Trailing),
            (vec![0, 9, 1], Malformed::Truncated),
            (sized(&vec![0; limits::CHALLENGE + 1]), Malformed::TooLong),
        ] {
            assert_eq!(Credential::from_wire(bad.clone(), good()), Err(expect));
            assert_eq!(Credential::from_wire(good(), bad), Err(expect));
        }
    }
}
