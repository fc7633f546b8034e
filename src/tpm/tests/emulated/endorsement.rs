//! Which EK is found: certificates, chains, nonces and templates in NV, persistent keys, files.

use evidence::{Attributes, EkTemplate, Hash, Public, SubjectKey, encode_pem};
use rcgen::{CertificateParams, Issuer, KeyPair, SubjectPublicKeyInfo};
use tpm::{Attestor, Auth, CertificateOrigin, CommandCode, EkChoice, Error, Options};

use crate::emulator::{Emulator, credential_for, soon};
use crate::raw::{ENDORSEMENT, OWNER, READ_BY_ALL, READ_BY_OWNER, READ_BY_PLATFORM};

const RSA_CERTIFICATE: u32 = 0x01C0_0002;
const P256_CERTIFICATE: u32 = 0x01C0_000A;
const P384_CERTIFICATE: u32 = 0x01C0_0016;
const NONCE: u32 = 0x01C0_000B;
const TEMPLATE: u32 = 0x01C0_000C;

/// A certificate for any key, as only its key matters here.
fn certificate_for(key: &SubjectKey) -> Vec<u8> {
    let params = || CertificateParams::new(Vec::new()).unwrap();
    let issuer = Issuer::new(params(), KeyPair::generate().unwrap());
    let spki = SubjectPublicKeyInfo::from_der(&key.spki()).unwrap();
    params().signed_by(&spki, &issuer).unwrap().der().to_vec()
}

fn without_certificates() -> Emulator {
    let emulator = Emulator::start();
    let mut raw = emulator.raw();
    raw.undefine(RSA_CERTIFICATE);
    raw.undefine(P384_CERTIFICATE);
    drop(raw);
    emulator
}

fn options(ek: EkChoice) -> Options {
    Options {
        ek,
        ..Options::default()
    }
}

fn key_of(attestor: &Attestor) -> SubjectKey {
    attestor.endorsement().key.public.subject_key().unwrap()
}

fn refused(emulator: &Emulator, options: Options) -> Error {
    let (native, _record) = emulator.recorded();
    let error = Attestor::open(Box::new(native), options, soon())
        .err()
        .unwrap();
    let left = emulator.raw().handles(0x8000_0000);
    assert_eq!(left, Vec::<u32>::new(), "objects after {error}");
    error
}

fn activates(attestor: &mut Attestor) {
    let (credential, secret) = credential_for(attestor);
    let opened = attestor.activate(&credential, soon()).unwrap();
    assert_eq!(opened.expose(), secret.expose());
}

/// All emulators of this program have the same seeds: a key of one is the key of all.
///
/// The key that the L-2 template gives with a nonce or another template in NV.
fn key_with(index: u32, contents: &[u8]) -> SubjectKey {
    let emulator = without_certificates();
    emulator.raw().store(index, contents);
    let (attestor, _record) = emulator.attestor(options(EkChoice::Ecc));
    key_of(&attestor)
}

fn default_key() -> SubjectKey {
    let (attestor, _record) = without_certificates().attestor(options(EkChoice::Ecc));
    key_of(&attestor)
}

#[test]
fn without_certificates_the_template_gives_the_key() {
    let emulator = without_certificates();
    let (mut attestor, record) = emulator.attestor(Options::default());
    let endorsement = attestor.endorsement();
    assert_eq!(endorsement.template, EkTemplate::L1);
    assert_eq!(
        (&endorsement.certificate, endorsement.persistent),
        (&None, None)
    );
    let commands = record.take();
    assert!(
        !commands.contains(&CommandCode::READ_PUBLIC),
        "no handle says that a key is the EK"
    );
    activates(&mut attestor);
    let made = key_of(&attestor);
    drop(attestor);
    // Its maker has kept the same key where the TCG says.
    let (attestor, _record) = Emulator::start().attestor(Options::default());
    assert_eq!(attestor.endorsement().persistent, Some(0x8101_0001));
    assert_eq!(made, key_of(&attestor));
}

#[test]
fn automatic_choice_prefers_rsa_with_a_certificate_then_ecc_with_one() {
    let emulator = Emulator::start();
    for (ek, template) in [
        (EkChoice::Auto, EkTemplate::L1),
        (EkChoice::Rsa, EkTemplate::L1),
        (EkChoice::Ecc, EkTemplate::H3),
        (EkChoice::Template(EkTemplate::H3), EkTemplate::H3),
        (EkChoice::Template(EkTemplate::L2), EkTemplate::L2),
    ] {
        let (attestor, _record) = emulator.attestor(options(ek));
        assert_eq!(attestor.endorsement().template, template, "{ek:?}");
    }
    emulator.raw().undefine(RSA_CERTIFICATE);
    let (attestor, _record) = emulator.attestor(Options::default());
    assert_eq!(attestor.endorsement().template, EkTemplate::H3);
    assert_eq!(attestor.endorsement().persistent, Some(0x8101_0016));
}

#[test]
fn wrapped_and_padded_certificates_are_found() {
    let emulator = Emulator::start();
    let (attestor, _record) = emulator.attestor(Options::default());
    let der = attestor.offer().certificate.unwrap();
    drop(attestor);
    let length = u16::try_from(der.len()).unwrap().to_be_bytes();
    let wrapped = [&[0x10, 0x01, 0x00], &length[..], &der, &[0xFF; 431]].concat();
    let mut raw = emulator.raw();
    raw.undefine(RSA_CERTIFICATE);
    raw.store(RSA_CERTIFICATE, &wrapped);
    drop(raw);
    let (attestor, _record) = emulator.attestor(Options::default());
    assert_eq!(attestor.offer().certificate, Some(der));
    let origin = attestor.endorsement().certificate_origin;
    assert_eq!(origin, Some(CertificateOrigin::Index(RSA_CERTIFICATE)));
}

#[test]
fn an_index_without_a_certificate_in_it_is_an_error() {
    let emulator = without_certificates();
    emulator.raw().store(RSA_CERTIFICATE, &[0xFF; 900]);
    let error = refused(&emulator, Options::default());
    assert!(matches!(error, Error::BadCertificate { .. }), "{error}");
    assert!(error.to_string().contains("0x01c00002"), "{error}");
}

#[test]
fn a_chain_may_straddle_indices() {
    let emulator = Emulator::start();
    let first = certificate_for(&default_key());
    let second = certificate_for(&key_with(NONCE, &[1; 32]));
    let chain = [first.clone(), second.clone(), vec![0xFF; 40]].concat();
    let (left, right) = chain.split_at(first.len() + 20);
    let mut raw = emulator.raw();
    raw.store(0x01C0_0100, left);
    raw.store(0x01C0_0101, right);
    drop(raw);
    let (attestor, _record) = emulator.attestor(Options::default());
    assert_eq!(attestor.offer().intermediates, [first, second]);
}

#[test]
fn a_nonce_gives_the_key_that_its_certificate_is_for() {
    let key = key_with(NONCE, &[7; 32]);
    assert_ne!(key, default_key());
    let emulator = without_certificates();
    let mut raw = emulator.raw();
    raw.store(NONCE, &[7; 32]);
    raw.store(P256_CERTIFICATE, &certificate_for(&key));
    drop(raw);
    let (mut attestor, record) = emulator.attestor(options(EkChoice::Ecc));
    assert_eq!(key_of(&attestor), key);
    assert_eq!(attestor.endorsement().template, EkTemplate::L2);
    let makings = [CommandCode::CREATE_PRIMARY, CommandCode::FLUSH_CONTEXT];
    let made: Vec<_> = record
        .take()
        .into_iter()
        .filter(|one| makings.contains(one))
        .collect();
    let [create, flush] = makings;
    assert_eq!(
        made,
        [create, flush, create, create],
        "the default, the EK, the AK"
    );
    activates(&mut attestor);
}

#[test]
fn a_certificate_for_the_default_key_leaves_nonces_unread() {
    let emulator = without_certificates();
    let mut raw = emulator.raw();
    raw.store_with(NONCE, &[7; 32], READ_BY_PLATFORM);
    raw.store(P256_CERTIFICATE, &certificate_for(&default_key()));
    drop(raw);
    let (attestor, _record) = emulator.attestor(options(EkChoice::Ecc));
    assert_eq!(key_of(&attestor), default_key());
}

/// The template of L-2 with another value in its unique field.
fn other_template() -> Public {
    EkTemplate::L2.public(&[9; 20])
}

#[test]
fn a_template_replaces_the_default_even_where_the_nonce_should_be() {
    for index in [NONCE, TEMPLATE] {
        let key = key_with(index, other_template().as_bytes());
        assert_ne!(key, default_key());
        let emulator = without_certificates();
        let mut raw = emulator.raw();
        raw.store(index, other_template().as_bytes());
        raw.store(P256_CERTIFICATE, &certificate_for(&key));
        drop(raw);
        let (mut attestor, _record) = emulator.attestor(options(EkChoice::Ecc));
        assert_eq!(key_of(&attestor), key, "{index:#x}");
        activates(&mut attestor);
    }
}

/// A template of another form, whose key has dictionary-attack protection off.
fn reformed(template: &Public) -> Public {
    Public::new(
        Hash::Sha256,
        template.attributes.0 | Attributes::NO_DA,
        &template.auth_policy,
        template.symmetric,
        template.scheme,
        template.key.clone(),
    )
}

#[test]
fn a_nonce_fills_the_stored_template() {
    let emulator = without_certificates();
    let mut raw = emulator.raw();
    raw.store(TEMPLATE, reformed(&EkTemplate::L2.public(&[])).as_bytes());
    raw.store(NONCE, &[7; 32]);
    drop(raw);
    let (attestor, _record) = emulator.attestor(options(EkChoice::Ecc));
    let filled = reformed(&EkTemplate::L2.public(&[7; 32]));
    assert_eq!(key_of(&attestor), key_with(TEMPLATE, filled.as_bytes()));
    assert_ne!(key_of(&attestor), key_with(NONCE, &[7; 32]));
}

/// Nothing is made that could not be the certificate's key: that takes seconds on a chip.
#[test]
fn a_certificate_for_another_kind_of_key_makes_none() {
    let emulator = without_certificates();
    let der = certificate_for(&default_key());
    emulator.raw().store(RSA_CERTIFICATE, &der);
    let (native, record) = emulator.recorded();
    let error = Attestor::open(Box::new(native), Options::default(), soon()).err();
    assert!(matches!(error, Some(Error::OtherKey { .. })));
    assert!(!record.take().contains(&CommandCode::CREATE_PRIMARY));
}

#[test]
fn what_is_neither_template_nor_nonce_is_an_error() {
    for (index, length) in [(NONCE, 33), (TEMPLATE, 32)] {
        let emulator = without_certificates();
        emulator.raw().store(index, &vec![7; length]);
        let error = refused(&emulator, options(EkChoice::Ecc));
        assert!(
            matches!(error, Error::BadTemplate { index: at } if at == index),
            "{error}"
        );
    }
}

#[test]
fn another_key_at_the_persistent_handle_is_not_taken() {
    let emulator = Emulator::start();
    let mut raw = emulator.raw();
    raw.evict(0x8101_0001);
    raw.make_persistent(OWNER, &EkTemplate::L1.public(&[]), 0x8101_0001);
    drop(raw);
    let (mut attestor, _record) = emulator.attestor(Options::default());
    assert_eq!(attestor.endorsement().persistent, None);
    activates(&mut attestor);
}

#[test]
fn a_p256_ek_is_found_at_its_handles() {
    for handle in [0x8101_000A, 0x8101_0002] {
        let emulator = without_certificates();
        let mut raw = emulator.raw();
        raw.store(P256_CERTIFICATE, &certificate_for(&default_key()));
        raw.make_persistent(ENDORSEMENT, &EkTemplate::L2.public(&[]), handle);
        drop(raw);
        let (mut attestor, _record) = emulator.attestor(options(EkChoice::Ecc));
        assert_eq!(attestor.endorsement().persistent, Some(handle));
        activates(&mut attestor);
    }
}

#[test]
fn a_certificate_of_the_operator_s_is_used_instead() {
    let emulator = without_certificates();
    let der = certificate_for(&default_key());
    let intermediate = certificate_for(&key_with(NONCE, &[1; 32]));
    let pem = encode_pem("CERTIFICATE", &der) + &encode_pem("CERTIFICATE", &intermediate);
    for (file, intermediates) in [
        (der.clone(), vec![]),
        (pem.into_bytes(), vec![intermediate]),
    ] {
        let (mut attestor, _record) = emulator.attestor(Options {
            ek_certificate: Some(file),
            ..Options::default()
        });
        let endorsement = attestor.endorsement();
        assert_eq!(endorsement.template, EkTemplate::L2);
        assert_eq!(
            endorsement.certificate_origin,
            Some(CertificateOrigin::File)
        );
        assert_eq!(attestor.offer().certificate, Some(der.clone()));
        assert_eq!(attestor.offer().intermediates, intermediates);
        activates(&mut attestor);
    }
}

#[test]
fn a_certificate_for_a_key_of_another_machine_is_an_error() {
    let emulator = Emulator::start();
    let foreign = SubjectKey::rsa(&[0xC1; 256], 65_537).unwrap();
    let error = refused(
        &emulator,
        Options {
            ek_certificate: Some(certificate_for(&foreign)),
            ..Options::default()
        },
    );
    let from_file = matches!(
        error,
        Error::OtherKey {
            from: CertificateOrigin::File
        }
    );
    assert!(from_file, "{error}");
    let mut raw = emulator.raw();
    raw.undefine(RSA_CERTIFICATE);
    raw.store(RSA_CERTIFICATE, &certificate_for(&foreign));
    drop(raw);
    let error = refused(&emulator, Options::default());
    assert!(matches!(error, Error::OtherKey { .. }), "{error}");
    assert!(error.hint().unwrap().contains("another machine"));
}

#[test]
fn an_index_of_the_owner_s_takes_the_owner_s_password() {
    let emulator = without_certificates();
    let mut raw = emulator.raw();
    raw.store_with(
        P256_CERTIFICATE,
        &certificate_for(&default_key()),
        READ_BY_OWNER,
    );
    raw.set_password(OWNER, b"a password");
    drop(raw);
    let error = refused(&emulator, options(EkChoice::Ecc));
    assert!(error.hint().unwrap().contains("owner"), "{error}");
    let (attestor, _record) = emulator.attestor(Options {
        owner_auth: Auth::new(b"a password".to_vec()),
        ..options(EkChoice::Ecc)
    });
    assert!(attestor.offer().certificate.is_some());
}

#[test]
fn unreadable_and_absent_are_different_and_unwritten_is_absent() {
    let emulator = without_certificates();
    let der = certificate_for(&default_key());
    emulator
        .raw()
        .store_with(RSA_CERTIFICATE, &der, READ_BY_PLATFORM);
    let error = refused(&emulator, Options::default());
    let unreadable = matches!(
        error,
        Error::NvUnreadable {
            index: RSA_CERTIFICATE
        }
    );
    assert!(unreadable, "{error}");
    let mut raw = emulator.raw();
    raw.undefine(RSA_CERTIFICATE);
    raw.define(RSA_CERTIFICATE, 100, READ_BY_ALL);
    drop(raw);
    let (attestor, _record) = emulator.attestor(Options::default());
    assert_eq!(attestor.offer().certificate, None);
}
