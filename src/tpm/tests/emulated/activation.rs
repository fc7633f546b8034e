//! Credentials that a TPM opens, and those that it does not: what a server's trust in an activation rests on.

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use evidence::{AkTemplate, Credential, EkProfile, Hash, Public, PublicKey, Secret, Writer};
use tpm::{EkChoice, Options};

use crate::emulator::{Emulator, credential_for, soon};
use crate::raw::{ENDORSEMENT, Raw};

const EK: u32 = 0x8101_0001;
const AK: u32 = 0x8101_0010;
const AUTH_UNAVAILABLE: u32 = 0x12F;

/// An AK's public area in every detail, with a key that was made outside.
fn software_ak() -> Public {
    let key = PrivateKey::generate(&ECDH_P256).unwrap();
    let point = key.compute_public_key().unwrap();
    let (x, y) = point.as_ref()[1..].split_at(32);
    let template = AkTemplate::EccP256.public();
    let key = PublicKey::Ecc {
        curve: 0x0003,
        kdf: None,
        x: x.to_vec(),
        y: y.to_vec(),
    };
    Public::new(
        Hash::Sha256,
        template.attributes.0,
        &[],
        template.symmetric,
        template.scheme,
        key,
    )
}

/// TPM2_ActivateCredential by hand, with a policy session for the EK; the response code.
fn activate(raw: &mut Raw<tpm::Connection>, object: u32, credential: &Credential) -> u32 {
    let null = 0x4000_0007;
    let start = Writer::new().u32(null).u32(null).sized(&[7; 32]).sized(&[]);
    let started = raw.plain(0x0176, start.u8(1).u16(0x0010).u16(0x000B));
    let session = u32::from_be_bytes(started[10..14].try_into().unwrap());
    raw.authorized(0x0151, &[ENDORSEMENT, session], Writer::new().raw(&[0; 10]));
    let area = Writer::new().u32(0x4000_0009).u16(0).u8(1).u16(0);
    let area = area.u32(session).u16(0).u8(0).u16(0).finish();
    let body = Writer::new()
        .u32(object)
        .u32(EK)
        .u32(u32::try_from(area.len()).unwrap())
        .raw(&area)
        .raw(credential.id_object())
        .raw(credential.encrypted_secret())
        .finish();
    let response = raw.answer(0x8002, 0x0147, &body);
    let code = u32::from_be_bytes(response[6..10].try_into().unwrap());
    if code != 0 {
        raw.plain(0x0165, Writer::new().u32(session));
    }
    code
}

/// A relay may load any public area, but no credential opens for it (TPM library part 3, section 12.3).
#[test]
fn a_public_area_alone_activates_nothing() {
    let emulator = Emulator::start();
    let (attestor, _record) = emulator.attestor(Options::default());
    let (own, _secret) = credential_for(&attestor);
    let ek = attestor.endorsement().key.public.subject_key().unwrap();
    drop(attestor);

    let software = software_ak();
    let profile = EkProfile::of(&ek).unwrap();
    let secret = Secret::new(vec![9; 32]);
    let name = software.name().unwrap();
    let foreign = Credential::make(&ek, profile, &name, &secret, &[5; 32]).unwrap();
    let mut raw = emulator.raw();
    let public = Writer::new().u16(0).sized(software.as_bytes());
    let loaded = raw.plain(0x0167, public.u32(ENDORSEMENT));
    let loaded = u32::from_be_bytes(loaded[10..14].try_into().unwrap());
    let code = activate(&mut raw, loaded, &foreign);
    assert_eq!(code, AUTH_UNAVAILABLE, "tpm/C27");
    // The same commands with a key of the TPM's own.
    raw.make_persistent(ENDORSEMENT, &AkTemplate::EccP256.public(), AK);
    assert_eq!(activate(&mut raw, AK, &own), 0);
}

/// The top byte of an x coordinate of P-521 is 0 or 1, so both come up soon; some firmware fails on one of them.
#[test]
fn leading_zeros_of_p521_activate() {
    let emulator = Emulator::start();
    let options = Options {
        ek: EkChoice::from_name("H-4").unwrap(),
        ..Options::default()
    };
    let (mut attestor, _record) = emulator.attestor(options);
    let mut seen = [false; 2];
    for round in 0..64 {
        if seen == [true; 2] {
            break;
        }
        let (credential, secret) = credential_for(&attestor);
        let opened = attestor.activate(&credential, soon()).unwrap();
        assert!(opened == secret, "tpm/D07: {round}");
        seen[usize::from(credential.encrypted_secret()[4] == 0)] = true;
    }
    assert_eq!(seen, [true; 2], "tpm/D07");
}
