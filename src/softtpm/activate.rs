//! TPM2_ActivateCredential (TPM library part 1, section 24): what a credential made by the server meets.

use evidence::{
    Credential, EkProfile, Hash, Name, Reader, Secret, cfb_decrypt, kdfa, limits, seed_label,
};

use crate::{SoftTpm, TpmError, witness};

impl SoftTpm {
    /// Opens a credential for the AK.
    pub fn activate(&self, credential: &Credential) -> Result<Secret, TpmError> {
        self.activate_as(credential, &self.ak.name()?)
    }

    /// Opens a credential as if the object `name` were loaded, which no TPM would do.
    pub fn activate_as(&self, credential: &Credential, name: &Name) -> Result<Secret, TpmError> {
        let profile = EkProfile::of(self.ek_key()).ok_or(TpmError::Key)?;
        let encrypted = whole(credential.encrypted_secret())?;
        let seed = self
            .ek
            .open_seed(profile.hash, seed_label::IDENTITY, encrypted)?;

        let mut object = Reader::new(whole(credential.id_object())?);
        let integrity = object.sized(profile.hash.size())?;
        let mut identity = object.rest().to_vec();
        if integrity != outer_hmac(profile.hash, &seed, &identity, name) {
            return Err(TpmError::Integrity);
        }

        let bits = u32::from(profile.aes_bits);
        let key = kdfa(profile.hash, &seed, "STORAGE", name.as_bytes(), &[], bits);
        if !cfb_decrypt(&key, [0; 16], &mut identity) {
            return Err(TpmError::Key);
        }
        let mut reader = Reader::new(&identity);
        let secret = Secret::new(reader.sized(LARGEST_DIGEST)?.to_vec());
        reader.end()?;
        witness::tell("an activated secret", secret.expose());
        Ok(secret)
    }
}

/// certInfo is a TPM2B_DIGEST.
const LARGEST_DIGEST: usize = 64;

/// The contents of a TPM2B that is all of `bytes`.
fn whole(bytes: &[u8]) -> Result<&[u8], TpmError> {
    let mut reader = Reader::new(bytes);
    let contents = reader.sized(limits::CHALLENGE)?;
    reader.end()?;
    Ok(contents)
}

fn outer_hmac(hash: Hash, seed: &[u8], identity: &[u8], name: &Name) -> Vec<u8> {
    let bits = u32::try_from(hash.size() * 8).unwrap_or_default();
    let key = kdfa(hash, seed, "INTEGRITY", &[], &[], bits);
    hash.hmac(&key, &[identity, name.as_bytes()])
}

#[cfg(test)]
mod tests {
    use evidence::{AkTemplate, Malformed, Writer};

    use super::*;
    use crate::{Key, KeyKind, Role};

    fn tpm(kind: KeyKind) -> SoftTpm {
        SoftTpm::sample(kind, AkTemplate::EccP256).unwrap()
    }

    fn credential(tpm: &SoftTpm, name: &Name, seed_size: Option<usize>) -> Credential {
        let profile = EkProfile::of(tpm.ek_key()).unwrap();
        let seed = vec![9; seed_size.unwrap_or(profile.hash.size())];
        let secret = Secret::new(vec![7; 32]);
        Credential::make(tpm.ek_key(), profile, name, &secret, &seed).unwrap()
    }

    fn outcome(result: Result<Secret, TpmError>) -> Result<Vec<u8>, TpmError> {
        result.map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn every_ek_opens_what_was_made_for_it_and_its_object() {
        for kind in KeyKind::ALL {
            let tpm = tpm(kind);
            let name = tpm.ak.name().unwrap();
            let made = credential(&tpm, &name, None);
            assert_eq!(outcome(tpm.activate(&made)), Ok(vec![7; 32]), "{kind:?}");
            let stranger = Name::from_bytes(&[3; 34]);
            assert_eq!(
                outcome(tpm.activate_as(&made, &stranger)),
                Err(TpmError::Integrity),
                "{kind:?}"
            );
            let lie = credential(&tpm, &stranger, None);
            assert_eq!(outcome(tpm.activate(&lie)), Err(TpmError::Integrity));
            assert_eq!(outcome(tpm.activate_as(&lie, &stranger)), Ok(vec![7; 32]));
        }
    }

    /// Credentials of tpm2-tools: nothing of their making is shared with this project.
    #[test]
    fn credentials_made_elsewhere_open() {
        for (case, kind, vector) in [
            ("tpm/D08", KeyKind::Rsa2048, RSA2048),
            ("tpm/D08", KeyKind::Rsa3072, RSA3072),
            (
                "P-256",
                KeyKind::P256,
                include_str!("vectors/credential-p256.hex"),
            ),
            (
                "tpm/D06",
                KeyKind::P384,
                include_str!("vectors/credential-p384.hex"),
            ),
            (
                "tpm/D06",
                KeyKind::P521,
                include_str!("vectors/credential-p521.hex"),
            ),
        ] {
            assert_eq!(
                outcome(tpm(kind).activate_as(&elsewhere(vector), &name_elsewhere())),
                Ok(SECRET_ELSEWHERE.to_vec()),
                "{case}: {kind:?}"
            );
        }
    }

    /// From the same seed, which an RSA EK opens, comes the same credential, to the byte.
    #[test]
    fn what_is_made_here_is_what_was_made_elsewhere() {
        for (case, kind, vector) in [
            ("SHA-256", KeyKind::Rsa2048, RSA2048),
            ("tpm/D06", KeyKind::Rsa3072, RSA3072),
        ] {
            let tpm = tpm(kind);
            let profile = EkProfile::of(tpm.ek_key()).unwrap();
            let given = elsewhere(vector);
            let encrypted = whole(given.encrypted_secret()).unwrap();
            let seed = tpm
                .ek
                .open_seed(profile.hash, seed_label::IDENTITY, encrypted)
                .unwrap();
            let secret = Secret::new(SECRET_ELSEWHERE.to_vec());
            let made =
                Credential::make(tpm.ek_key(), profile, &name_elsewhere(), &secret, &seed).unwrap();
            assert_eq!(made.id_object(), given.id_object(), "{case}");
        }
    }

    const RSA2048: &str = include_str!("vectors/credential-rsa2048.hex");
    const RSA3072: &str = include_str!("vectors/credential-rsa3072.hex");
    const SECRET_ELSEWHERE: &[u8] = b"a secret of thirty-two bytes !!!";

    fn name_elsewhere() -> Name {
        Name::from_bytes(&[&[0, 11][..], &[0x5A; 32]].concat())
    }

    /// A credential as tpm2-tools write it: eight bytes, and the two structures.
    fn elsewhere(vector: &str) -> Credential {
        let bytes = hex::decode(vector.split_whitespace().collect::<String>()).unwrap();
        let mut reader = Reader::new(&bytes);
        reader.take(8).unwrap();
        let object = reader.sized(limits::CHALLENGE).unwrap();
        let encrypted = reader.sized(limits::CHALLENGE).unwrap();
        let sized = |bytes| Writer::new().sized(bytes).finish();
        Credential::from_wire(sized(object), sized(encrypted)).unwrap()
    }

    #[test]
    fn no_other_ek_opens_it() {
        for kind in KeyKind::ALL {
            let mut tpm = tpm(kind);
            let made = credential(&tpm, &tpm.ak.name().unwrap(), None);
            tpm.ek = Key::sample(Role::Other, kind).unwrap();
            assert!(tpm.activate(&made).is_err(), "{kind:?}");
        }
    }

    /// The top byte of an x coordinate of P-521 is 0 or 1, so both widths come up at once.
    #[test]
    fn leading_zeros_of_p521_change_nothing() {
        let tpm = tpm(KeyKind::P521);
        let name = tpm.ak.name().unwrap();
        let mut leading_zero = 0;
        for _ in 0..48 {
            let made = credential(&tpm, &name, None);
            leading_zero += usize::from(made.encrypted_secret()[4] == 0);
            assert_eq!(outcome(tpm.activate(&made)), Ok(vec![7; 32]), "tpm/D07");
        }
        assert!((1..48).contains(&leading_zero), "{leading_zero}");
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let tpm = tpm(KeyKind::P256);
        let made = credential(&tpm, &tpm.ak.name().unwrap(), None);
        for at in 2..made.id_object().len() {
            let mut object = made.id_object().to_vec();
            object[at] ^= 1;
            let altered = Credential::from_wire(object, made.encrypted_secret().to_vec()).unwrap();
            assert!(tpm.activate(&altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn seeds_are_as_long_as_the_digest_at_most() {
        let tpm = tpm(KeyKind::Rsa2048);
        let name = tpm.ak.name().unwrap();
        for (size, expect) in [
            (16, Ok(vec![7; 32])),
            (32, Ok(vec![7; 32])),
            (33, Err(TpmError::Value)),
        ] {
            let made = credential(&tpm, &name, Some(size));
            assert_eq!(outcome(tpm.activate(&made)), expect, "{size}");
        }
    }

    #[test]
    fn stripped_coordinates_are_refused() {
        let tpm = tpm(KeyKind::P256);
        let made = credential(&tpm, &tpm.ak.name().unwrap(), None);
        let point = &made.encrypted_secret()[2..];
        let stripped = Writer::new()
            .sized(&point[3..34])
            .raw(&point[34..])
            .finish();
        let stripped = Writer::new().sized(&stripped).finish();
        let altered = Credential::from_wire(made.id_object().to_vec(), stripped).unwrap();
        assert_eq!(
            outcome(tpm.activate(&altered)),
            Err(Malformed::Value.into())
        );
    }
}
