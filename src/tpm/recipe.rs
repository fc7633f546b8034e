//! What an EK is made from, and what makes a key the EK of a certificate (EK Credential Profile 2.6, annex B).

use std::time::Instant;

use evidence::{Attributes, EkProfile, EkTemplate, Hash, Public, PublicKey, SubjectKey, Symmetric};

use crate::{Auth, Error, Tpm};

/// What NV says instead of the default template, best first. swtpm keeps a template where the
/// nonce of L-2 should be.
pub(crate) fn stored_recipes(
    tpm: &mut dyn Tpm,
    template: EkTemplate,
    owner: &Auth,
    deadline: Instant,
) -> Result<Vec<Public>, Error> {
    let mut recipes = Vec::new();
    let mut stored = None;
    let index = template.template_index();
    if let Some(contents) = tpm.read_nv(index, owner, deadline)? {
        let public = Public::parse(&contents).map_err(|_bad| Error::BadTemplate { index })?;
        stored = Some(public);
    }
    if let Some(index) = template.nonce_index()
        && let Some(contents) = tpm.read_nv(index, owner, deadline)?
    {
        let base = stored.clone().unwrap_or_else(|| template.public(&[]));
        let recipe = match Public::parse(&contents) {
            Ok(public) => Some(public),
            Err(_no_template) => with_nonce(&base, &contents),
        };
        recipes.push(recipe.ok_or(Error::BadTemplate { index })?);
    }
    recipes.extend(stored);
    Ok(recipes)
}

/// Whether a key is the certificate's, and of the form that servers wrap credentials for.
pub(crate) fn belongs(public: &Public, key: &SubjectKey) -> bool {
    let Some(profile) = EkProfile::of(key) else {
        return false;
    };
    let storage = Attributes::FIXED_TPM | Attributes::RESTRICTED | Attributes::DECRYPT;
    let wraps =
        matches!(public.symmetric, Symmetric::Cipher { bits, .. } if bits == profile.aes_bits);
    public.subject_key().as_ref() == Some(key)
        && public.name_alg == profile.hash.algorithm()
        && public.attributes.has(storage)
        && wraps
}

/// Whether a template gives keys of this type and size.
pub(crate) fn makes_keys_like(template: EkTemplate, key: &SubjectKey) -> bool {
    match (template.public(&[]).key, key) {
        (PublicKey::Rsa { bits, .. }, SubjectKey::Rsa { modulus, .. }) => {
            usize::from(bits) == modulus.len() * 8
        }
        (PublicKey::Ecc { curve, .. }, SubjectKey::Ec { curve: of, .. }) => curve == of.id(),
        _ => false,
    }
}

/// A template with a nonce in its unique field, filled up with zeros (annex B.3.2).
fn with_nonce(template: &Public, nonce: &[u8]) -> Option<Public> {
    let fill = |width: usize| {
        let mut unique = nonce.to_vec();
        unique.resize(width, 0);
        (nonce.len() <= width).then_some(unique)
    };
    let key = match &template.key {
        PublicKey::Rsa { bits, exponent, .. } => PublicKey::Rsa {
            bits: *bits,
            exponent: *exponent,
            modulus: fill(usize::from(bits / 8))?,
        },
        PublicKey::Ecc { curve, kdf, .. } => {
            let width = evidence::Curve::from_id(*curve)?.field_size();
            PublicKey::Ecc {
                curve: *curve,
                kdf: *kdf,
                x: fill(width)?,
                y: vec![0; width],
            }
        }
    };
    Some(Public::new(
        Hash::from_algorithm(template.name_alg)?,
        template.attributes.0,
        &template.auth_policy,
        template.symmetric,
        template.scheme,
        key,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_fill_the_unique_field_from_the_left() {
        for template in [EkTemplate::L1, EkTemplate::L2] {
            let expect = template.public(&[7; 20]);
            assert_eq!(with_nonce(&template.public(&[]), &[7; 20]), Some(expect));
        }
        assert_eq!(with_nonce(&EkTemplate::L2.public(&[]), &[7; 33]), None);
    }

    #[test]
    fn only_an_ek_by_the_profile_belongs_to_a_certificate() {
        let modulus = vec![0x80; 256];
        let key = SubjectKey::rsa(&modulus, 65_537).unwrap();
        let public = |hash, attributes, bits, modulus: &[u8]| {
            let symmetric = Symmetric::Cipher {
                algorithm: evidence::Algorithm::AES,
                bits,
                mode: evidence::Algorithm::CFB,
            };
            let rsa = PublicKey::Rsa {
                bits: 2048,
                exponent: 0,
                modulus: modulus.to_vec(),
            };
            Public::new(
                hash,
                attributes,
                &[],
                symmetric,
                evidence::Scheme::Null,
                rsa,
            )
        };
        let ek = 0x0003_00B2;
        assert!(belongs(&public(Hash::Sha256, ek, 128, &modulus), &key));
        for other in [
            public(Hash::Sha384, ek, 128, &modulus),
            public(Hash::Sha256, ek, 256, &modulus),
            public(Hash::Sha256, ek, 128, &[0x81; 256]),
            public(Hash::Sha256, ek & !Attributes::FIXED_TPM, 128, &modulus),
            public(Hash::Sha256, ek & !Attributes::RESTRICTED, 128, &modulus),
            public(Hash::Sha256, ek & !Attributes::DECRYPT, 128, &modulus),
        ] {
            assert!(!belongs(&other, &key), "{other:?}");
        }
    }
}
