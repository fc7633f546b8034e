//! Both back ends see the same TPM: same keys, same answers.

use evidence::{
    Attest, Attested, Hash, Hierarchy, PcrSelection, StorageTemplate, SvidKeyTemplate, pcr_digest,
};
use tpm::{
    Attestor, Auth, EkChoice, Error, Keyring, OfferParts, Options, SignatureScheme, WrappedKey,
    open,
};

use crate::attestation::verifies;
use crate::emulator::{Emulator, credential_for, soon};
use crate::keyring::{kept_key, provision};

fn open_by(address: &str, options: &Options) -> Attestor {
    let tpm = open(address, soon()).unwrap();
    Attestor::open(tpm, options.clone(), soon()).unwrap()
}

fn check(options: &Options) {
    let emulator = Emulator::start_on_tcp();
    let tss = format!("tss:{}", emulator.tcti.clone().unwrap());
    let native = emulator.address().to_string();
    let mut seen: Option<(OfferParts, Vec<_>)> = None;
    for address in [native, tss] {
        let mut attestor = open_by(&address, options);
        let (credential, secret) = credential_for(&attestor);
        let opened = attestor.activate(&credential, soon()).unwrap();
        assert_eq!(opened.expose(), secret.expose(), "{address}");
        let again = attestor.activate(&credential, soon()).unwrap();
        assert_eq!(again.expose(), secret.expose(), "{address}");
        let selections = [PcrSelection::new(
            Hash::Sha256,
            &(0..24).collect::<Vec<_>>(),
        )];
        let quoted = attestor.quote(&[3; 32], &selections, soon()).unwrap();
        let attest = Attest::parse(&quoted.signed.attest).unwrap();
        assert_eq!(attest.extra_data, [3; 32]);
        let digest = pcr_digest(Hash::Sha256, &selections, &quoted.pcrs).unwrap();
        let expect = Attested::Quote {
            selections: selections.to_vec(),
            digest,
        };
        assert_eq!(attest.attested, expect);
        let offer = OfferParts {
            creation: None,
            ..attestor.offer()
        };
        let (first, pcrs) = seen.get_or_insert_with(|| (offer.clone(), quoted.pcrs.clone()));
        assert_eq!((&*first, &*pcrs), (&offer, &quoted.pcrs), "{address}");
        drop(attestor);
        let mut raw = emulator.raw();
        assert_eq!(raw.handles(0x8000_0000), Vec::<u32>::new(), "{address}");
        assert_eq!(raw.handles(0x0200_0000), Vec::<u32>::new(), "{address}");
    }
}

#[test]
fn the_same_keys_and_answers() {
    for ek in [EkChoice::Rsa, EkChoice::Ecc] {
        for salted in [false, true] {
            check(&Options {
                ek,
                salted,
                ..Options::default()
            });
        }
    }
}

/// A key that one has made is the other's too, and both say the same of the TPM.
#[test]
fn the_same_svid_keys() {
    for provisioned in [true, false] {
        let emulator = Emulator::start_on_tcp();
        emulator.raw().evict(0x8101_0001);
        if provisioned {
            provision(&emulator);
        }
        let tss = format!("tss:{}", emulator.tcti.clone().unwrap());
        let native = emulator.address().to_string();
        let mut keys: Vec<WrappedKey> = Vec::new();
        let mut roots = Vec::new();
        for address in [&native, &tss, &native, &tss] {
            let tpm = open(address, soon()).unwrap();
            let mut keyring = Keyring::open(tpm, Auth::default(), soon()).unwrap();
            for template in SvidKeyTemplate::ALL {
                assert!(keyring.is_supported(template, soon()).unwrap());
                keys.push(keyring.generate(template, soon()).unwrap());
            }
            for key in &keys {
                sign_all(&mut keyring, key);
            }
            roots.push((keyring.parent().clone(), counters(&mut keyring)));
            drop(keyring);
            let mut attestor = open_by(address, &Options::default());
            assert_eq!(attestor.storage_root(soon()).unwrap(), roots[0].0);
            for _ in 0..2 {
                let signed = attestor.certify(&keys, &[5; 32], soon()).unwrap();
                for (key, signed) in keys.iter().zip(&signed) {
                    assert!(verifies(attestor.ak(), signed), "{address}");
                    let attest = Attest::parse(&signed.attest).unwrap();
                    assert_eq!(attest.extra_data, [5; 32]);
                    let certified = matches!(attest.attested, Attested::Certify { name, .. } if name == key.name().unwrap());
                    assert!(certified, "{address}");
                }
            }
            let (credential, secret) = credential_for(&attestor);
            let opened = attestor.activate(&credential, soon()).unwrap();
            assert_eq!(opened.expose(), secret.expose(), "{address}");
            drop(attestor);
            let mut raw = emulator.raw();
            assert_eq!(raw.handles(0x8000_0000), Vec::<u32>::new(), "{address}");
        }
        assert!(roots.iter().all(|root| *root == roots[0]), "{roots:?}");
    }
}

#[test]
fn a_context_belongs_to_the_back_end_that_saved_it() {
    let emulator = Emulator::start_on_tcp();
    let tss = format!("tss:{}", emulator.tcti.clone().unwrap());
    let native = emulator.address().to_string();
    let mut contexts = Vec::new();
    for address in [&native, &tss] {
        let mut tpm = open(address, soon()).unwrap();
        let template = StorageTemplate::EccP256.public();
        let auth = Auth::default();
        let made = tpm.create_primary(Hierarchy::Owner, &template, &auth, soon());
        let key = made.unwrap().key;
        let context = tpm.save_context(&key, soon()).unwrap();
        tpm.flush(key.handle, soon()).unwrap();
        let again = tpm.load_context(&context, soon()).unwrap();
        tpm.flush(again, soon()).unwrap();
        contexts.push(context);
    }
    for (address, context) in [(&tss, &contexts[0]), (&native, &contexts[1])] {
        let mut tpm = open(address, soon()).unwrap();
        let error = tpm.load_context(context, soon()).unwrap_err();
        assert!(matches!(error, Error::OtherContext), "{error}");
    }
}

fn sign_all(keyring: &mut Keyring, key: &WrappedKey) {
    let schemes: [fn(Hash) -> SignatureScheme; 3] = [
        SignatureScheme::Ecdsa,
        SignatureScheme::Rsassa,
        SignatureScheme::Rsapss,
    ];
    let mut made = 0;
    for scheme in schemes {
        for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            match keyring.sign(key, &vec![7; hash.size()], scheme(hash), soon()) {
                Ok(_) => made += 1,
                Err(error) => assert!(matches!(error, Error::UnsuitableScheme), "{error}"),
            }
        }
    }
    assert!(made == 3 || made == 6, "{made}");
}

fn counters(keyring: &mut Keyring) -> (u32, u32, bool) {
    let clock = keyring.clock(soon()).unwrap();
    assert!(clock.clock > 0);
    (clock.reset_count, clock.restart_count, clock.safe)
}

#[test]
fn the_same_refusals_of_svid_keys() {
    let stolen = kept_key(&Emulator::start());
    let emulator = Emulator::start_on_tcp();
    emulator.raw().clear();
    let address = format!("tss:{}", emulator.tcti.clone().unwrap());
    let tpm = open(&address, soon()).unwrap();
    let mut keyring = Keyring::open(tpm, Auth::default(), soon()).unwrap();
    let error = keyring.load(&stolen, soon()).unwrap_err();
    assert!(matches!(error, Error::ForeignKey), "{error}");
    drop(keyring);
    let mut attestor = open_by(&address, &Options::default());
    let error = attestor.certify(&[stolen], &[5; 32], soon()).unwrap_err();
    assert!(matches!(error, Error::ForeignKey), "{error}");
    drop(attestor);
    let mut raw = emulator.raw();
    raw.set_password(crate::raw::OWNER, b"a password");
    raw.set_password(crate::raw::ENDORSEMENT, b"another");
    drop(raw);
    let keyring = |auth: &[u8]| {
        let tpm = open(&address, soon()).unwrap();
        Keyring::open(tpm, Auth::new(auth.to_vec()), soon())
    };
    let error = keyring(b"").err().unwrap();
    assert!(matches!(error, Error::OwnerAuth { .. }), "{error}");
    let mut keyring = keyring(b"a password").unwrap();
    // TPM2_GetTime in place of TPM2_ReadClock, which the library lacks.
    let error = keyring.clock(soon()).unwrap_err();
    assert!(error.hint().unwrap().contains("endorsement"), "{error}");
}

#[test]
fn the_same_refusals() {
    let emulator = Emulator::start_on_tcp();
    let mut raw = emulator.raw();
    raw.set_password(crate::raw::ENDORSEMENT, b"a password");
    drop(raw);
    let address = format!("tss:{}", emulator.tcti.clone().unwrap());
    let tpm = open(&address, soon()).unwrap();
    let error = Attestor::open(tpm, Options::default(), soon())
        .err()
        .unwrap();
    assert!(error.hint().unwrap().contains("endorsement"), "{error}");
    let options = Options {
        endorsement_auth: Auth::new(b"a password".to_vec()),
        ..Options::default()
    };
    let mut attestor = open_by(&address, &options);
    let selections = [PcrSelection::new(Hash::Sha384, &[3])];
    let error = attestor.quote(&[1; 32], &selections, soon()).unwrap_err();
    assert!(matches!(error, Error::PcrAbsent { pcr: 3, .. }), "{error}");
}

#[test]
fn other_libraries_are_not_loaded() {
    for tcti in [
        "",
        "/tmp/evil.so",
        "libtss2-tcti-cmd.so.0:sh",
        "cmd:sh",
        "pcap:device",
    ] {
        let error = open(&format!("tss:{tcti}"), soon()).err().unwrap();
        assert!(matches!(error, Error::Address(_)), "{tcti}: {error}");
    }
    let error = open("tss:swtpm:host=127.0.0.1,port=1", soon())
        .err()
        .unwrap();
    assert!(matches!(error, Error::TssOpen { .. }), "{error}");
}
