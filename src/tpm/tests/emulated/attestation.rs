//! Attestations: what is opened is the secret, and what is signed verifies.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use evidence::{
    AkTemplate, Attest, Attested, Hash, Hierarchy, PcrSelection, Signature, SignatureValue,
    SubjectKey, pcr_digest,
};
use tpm::{Attestor, Auth, EkChoice, Error, Key, Options, Signed};

use crate::emulator::{Disturbance, Emulator, credential_for, soon};
use crate::raw::ENDORSEMENT;

/// Whether the key signed the structure.
pub(crate) fn verifies(key: &Key, signed: &Signed) -> bool {
    let signature = Signature::parse(&signed.signature).unwrap();
    match (key.public.subject_key().unwrap(), signature.value) {
        (SubjectKey::Rsa { modulus, exponent }, SignatureValue::Rsa(value)) => {
            assert_eq!(exponent, 65_537);
            let key = RsaPublicKeyComponents {
                n: &modulus,
                e: &vec![1, 0, 1],
            };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, &signed.attest, &value)
                .is_ok()
        }
        (key, SignatureValue::Ecdsa { r, s }) => {
            let mut fixed = vec![0; 64];
            fixed[32 - r.len()..32].copy_from_slice(&r);
            fixed[64 - s.len()..].copy_from_slice(&s);
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point().unwrap())
                .verify(&signed.attest, &fixed)
                .is_ok()
        }
        _ => false,
    }
}

#[test]
fn every_pair_of_keys_activates_and_quotes() {
    for ek in [EkChoice::Rsa, EkChoice::Ecc] {
        for ak in [AkTemplate::EccP256, AkTemplate::Rsa2048] {
            check_pair(ek, ak);
        }
    }
}

fn check_pair(ek: EkChoice, ak: AkTemplate) {
    let emulator = Emulator::start();
    let options = Options {
        ek,
        ak,
        ..Options::default()
    };
    let (mut attestor, _record) = emulator.attestor(options);
    let (credential, secret) = credential_for(&attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose(), "tpm/D08");

    let selections = [PcrSelection::new(Hash::Sha256, &[0, 7, 16])];
    let quoted = attestor.quote(&[7; 32], &selections, soon()).unwrap();
    assert!(verifies(attestor.ak(), &quoted.signed));
    let mut forged = quoted.signed.clone();
    forged.attest[20] ^= 1;
    assert!(!verifies(attestor.ak(), &forged));
    let attest = Attest::parse(&quoted.signed.attest).unwrap();
    assert_eq!(attest.extra_data, [7; 32]);
    let qualified = attestor.ak().public.qualified_name(Hierarchy::Endorsement);
    assert_eq!(Some(attest.qualified_signer), qualified);
    let digest = pcr_digest(Hash::Sha256, &selections, &quoted.pcrs).unwrap();
    assert_eq!(
        attest.attested,
        Attested::Quote {
            selections: selections.to_vec(),
            digest
        }
    );
}

#[test]
fn the_offer_holds_the_certificate_its_key_and_the_creation() {
    let emulator = Emulator::start();
    let (attestor, _record) = emulator.attestor(Options::default());
    let offer = attestor.offer();
    let certificate = offer.certificate.unwrap();
    let spki = offer.public_key;
    assert!(certificate.windows(spki.len()).any(|part| part == spki));
    assert_eq!(offer.ak_public, attestor.ak().public.as_bytes());
    let creation = offer.creation.unwrap();
    let signed = Signed {
        attest: creation.attestation,
        signature: creation.signature,
    };
    assert!(verifies(attestor.ak(), &signed));
    let hash = Hash::Sha256.digest(&[&creation.data]);
    let name = attestor.ak().name.clone();
    let attested = Attest::parse(&signed.attest).unwrap().attested;
    assert_eq!(attested, Attested::Creation { name, hash });
    assert_eq!(offer.intermediates, Vec::<Vec<u8>>::new());
}

#[test]
fn a_pcr_that_changes_between_quote_and_reading_is_quoted_again() {
    let emulator = Emulator::start();
    let extended =
        |times| emulator.disturbed_attestor(Options::default(), Disturbance::Extend(times));
    let (mut attestor, record) = extended(1);
    let selections = [PcrSelection::new(Hash::Sha256, &[16])];
    let quoted = attestor.quote(&[1; 32], &selections, soon()).unwrap();
    let attest = Attest::parse(&quoted.signed.attest).unwrap();
    let digest = pcr_digest(Hash::Sha256, &selections, &quoted.pcrs).unwrap();
    assert!(matches!(attest.attested, Attested::Quote { digest: signed, .. } if signed == digest));
    assert_ne!(quoted.pcrs[0].values[&16], [0; 32]);
    drop((attestor, record));
    let (mut attestor, _record) = extended(usize::MAX);
    let outcome = attestor.quote(&[1; 32], &selections, soon());
    assert!(matches!(outcome, Err(Error::PcrsChanging)));
}

#[test]
fn a_bank_that_is_not_active_is_named() {
    let emulator = Emulator::start();
    let (mut attestor, _record) = emulator.attestor(Options::default());
    let selections = [PcrSelection::new(Hash::Sha384, &[3])];
    let error = attestor.quote(&[1; 32], &selections, soon()).unwrap_err();
    assert!(matches!(error, Error::PcrAbsent { pcr: 3, .. }), "{error}");
    assert!(error.hint().unwrap().contains("bank"));
}

#[test]
fn the_endorsement_password_is_needed_where_one_is_set() {
    let emulator = Emulator::start();
    let mut raw = emulator.raw();
    raw.set_password(ENDORSEMENT, b"a password");
    raw.evict(0x8101_0001);
    drop(raw);
    let (native, _record) = emulator.recorded();
    let refused = Attestor::open(Box::new(native), Options::default(), soon());
    let error = refused.err().unwrap();
    assert!(error.hint().unwrap().contains("endorsement"), "{error}");
    assert!(!error.to_string().contains("password"));
    let options = Options {
        endorsement_auth: Auth::new(b"a password".to_vec()),
        ..Options::default()
    };
    let (mut attestor, _record) = emulator.attestor(options);
    let (credential, secret) = credential_for(&attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
}

#[test]
fn a_credential_for_another_ak_is_refused_and_leaves_no_session() {
    let emulator = Emulator::start();
    let rsa = Options {
        ak: AkTemplate::Rsa2048,
        ..Options::default()
    };
    let (attestor, _record) = emulator.attestor(rsa);
    let (credential, _secret) = credential_for(&attestor);
    drop(attestor);
    let (mut attestor, _record) = emulator.attestor(Options::default());
    let error = attestor.activate(&credential, soon()).err().unwrap();
    assert!(error.code().unwrap().is_integrity(), "{error}");
    assert!(error.hint().unwrap().contains("another EK or AK"));
    drop(attestor);
    let mut raw = emulator.raw();
    assert_eq!(raw.handles(0x0200_0000), Vec::<u32>::new(), "sessions");
    assert_eq!(raw.handles(0x8000_0000), Vec::<u32>::new(), "objects");
}
