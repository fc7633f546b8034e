//! What SVID keys sign verifies, by every scheme that SPIRE may ask for.

use aws_lc_rs::rsa::RsaPssSaltLength;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use evidence::SvidKeyTemplate::{EccP256, EccP384, Rsa2048};
use evidence::{Hash, Signature, SignatureValue, SubjectKey, SvidKeyTemplate};
use tpm::SignatureScheme::{Ecdsa, Rsapss, Rsassa};
use tpm::{Auth, Error, Keyring, SignatureScheme, WrappedKey};

use crate::emulator::{Emulator, soon};

const MESSAGE: &[u8] = b"to be signed";

fn made(emulator: &Emulator, template: SvidKeyTemplate) -> (Keyring, WrappedKey) {
    let (native, _record) = emulator.recorded();
    let mut keyring = Keyring::open(Box::new(native), Auth::default(), soon()).unwrap();
    let key = keyring.generate(template, soon()).unwrap();
    (keyring, key)
}

fn sign(keyring: &mut Keyring, key: &WrappedKey, scheme: SignatureScheme) -> Signature {
    let digest = scheme.hash().digest(&[MESSAGE]);
    keyring.sign(key, &digest, scheme, soon()).unwrap()
}

type Algorithm = &'static EcdsaVerificationAlgorithm;

/// SEQUENCE { r INTEGER, s INTEGER }, short enough for sizes of one byte.
fn der(signature: &Signature) -> Vec<u8> {
    let SignatureValue::Ecdsa { r, s } = &signature.value else {
        panic!("{signature:?}");
    };
    let integer = |value: &[u8]| {
        let start = value.iter().take_while(|byte| **byte == 0).count();
        let mut value = value[start..].to_vec();
        if value[0] & 0x80 != 0 {
            value.insert(0, 0);
        }
        [&[2, u8::try_from(value.len()).unwrap()], &value[..]].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], &both[..]].concat()
}

#[test]
fn ecdsa_with_every_hash() {
    let emulator = Emulator::start();
    let cases: [(SvidKeyTemplate, [(Hash, Algorithm); 3]); 2] = [
        (
            EccP256,
            [
                (Hash::Sha256, &ECDSA_P256_SHA256_ASN1),
                (Hash::Sha384, &ECDSA_P256_SHA384_ASN1),
                (Hash::Sha512, &ECDSA_P256_SHA512_ASN1),
            ],
        ),
        (
            EccP384,
            [
                (Hash::Sha256, &ECDSA_P384_SHA256_ASN1),
                (Hash::Sha384, &ECDSA_P384_SHA384_ASN1),
                (Hash::Sha512, &ECDSA_P384_SHA512_ASN1),
            ],
        ),
    ];
    for (template, schemes) in cases {
        let (mut keyring, key) = made(&emulator, template);
        let point = key.public.subject_key().unwrap().point().unwrap();
        for (hash, algorithm) in schemes {
            let signature = der(&sign(&mut keyring, &key, Ecdsa(hash)));
            let verifier = UnparsedPublicKey::new(algorithm, &point);
            verifier.verify(MESSAGE, &signature).unwrap();
            assert!(verifier.verify(b"another", &signature).is_err(), "{hash:?}");
        }
    }
}

/// The salt is as long as the digest; a verifier that expects another one refuses.
#[test]
fn rsa_with_every_hash_and_a_salt_of_its_size() {
    let emulator = Emulator::start();
    let (mut keyring, key) = made(&emulator, Rsa2048);
    let SubjectKey::Rsa { modulus, .. } = key.public.subject_key().unwrap() else {
        panic!("not RSA");
    };
    let public = RsaPublicKeyComponents {
        n: modulus.as_slice(),
        e: &[1, 0, 1][..],
    };
    let cases: [(Hash, &RsaParameters); 3] = [
        (Hash::Sha256, &RSA_PKCS1_2048_8192_SHA256),
        (Hash::Sha384, &RSA_PKCS1_2048_8192_SHA384),
        (Hash::Sha512, &RSA_PKCS1_2048_8192_SHA512),
    ];
    let value = |signature: Signature| match signature.value {
        SignatureValue::Rsa(value) => value,
        other @ SignatureValue::Ecdsa { .. } => panic!("{other:?}"),
    };
    for (hash, pkcs1) in cases {
        let signature = value(sign(&mut keyring, &key, Rsassa(hash)));
        public.verify(pkcs1, MESSAGE, &signature).unwrap();
        assert!(public.verify(pkcs1, b"another", &signature).is_err());
        let signature = value(sign(&mut keyring, &key, Rsapss(hash)));
        let verifies = |salt, message| public.verify(&pss(hash, salt), message, &signature);
        verifies(hash.size(), MESSAGE).unwrap();
        assert!(verifies(hash.size(), b"another").is_err());
        for other in [0, hash.size() - 1, 256 - hash.size() - 2] {
            assert!(verifies(other, MESSAGE).is_err(), "{hash:?}, {other}");
        }
    }
}

fn pss(hash: Hash, salt: usize) -> RsaParameters {
    let parameters = match hash {
        Hash::Sha384 => RSA_PSS_2048_8192_SHA384,
        Hash::Sha512 => RSA_PSS_2048_8192_SHA512,
        _ => RSA_PSS_2048_8192_SHA256,
    };
    parameters.with_pss_salt_length(RsaPssSaltLength::Custom(salt.try_into().unwrap()))
}

#[test]
fn what_does_not_fit_is_refused_before_the_tpm_is_asked() {
    let emulator = Emulator::start();
    let (native, record) = emulator.recorded();
    let mut keyring = Keyring::open(Box::new(native), Auth::default(), soon()).unwrap();
    let key = keyring.generate(EccP256, soon()).unwrap();
    record.take();
    let scheme = keyring.sign(&key, &[0; 32], Rsapss(Hash::Sha256), soon());
    assert!(matches!(scheme, Err(Error::UnsuitableScheme)));
    let digest = keyring.sign(&key, &[0; 31], Ecdsa(Hash::Sha256), soon());
    assert!(matches!(digest, Err(Error::DigestSize)));
    assert_eq!(record.take(), []);
}
