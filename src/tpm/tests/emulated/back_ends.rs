//! Both back ends see the same TPM: same keys, same answers.

use evidence::{Attest, Attested, Hash, PcrSelection, pcr_digest};
use tpm::{Attestor, Auth, EkChoice, Error, OfferParts, Options, open};

use crate::emulator::{Emulator, credential_for, soon};

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
