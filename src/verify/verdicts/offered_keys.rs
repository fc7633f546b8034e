//! What an SVID key or its parent may not be, by their public areas.

use evidence::{Algorithm, Attributes, Hash, Offer, Public, PublicKey, Scheme, Symmetric};
use softtpm::{Key, KeyKind, Lies, Role, SvidKey};

use super::certifications::with_keys;
use super::{Counter, attest, machine, policy, prover, refused};
use crate::{Anchors, Reason, Request, begin};

/// A machine whose one SVID key has an altered public area; the TPM certifies it as it is.
fn altered(change: impl FnOnce(&mut Public)) -> Option<Reason> {
    let mut tpm = machine();
    let key = Key::sample(Role::Other, KeyKind::P256).unwrap();
    let key = SvidKey::new(key, tpm.storage_parent().unwrap());
    tpm.svid_keys.push(key.altered(change).unwrap());
    refused(prover(tpm))
}

fn offering(change: impl Fn(&mut Offer) + Send + Sync + 'static) -> Option<Reason> {
    let mut prover = prover(with_keys());
    prover.lies = Lies::none().offer(change);
    let outcome = attest(&mut prover, &policy());
    outcome.err().map(|rejection| rejection.reason)
}

fn set(bits: u32) -> Option<Reason> {
    altered(|public| public.attributes = Attributes(public.attributes.0 | bits))
}

fn clear(bits: u32) -> Option<Reason> {
    altered(|public| public.attributes = Attributes(public.attributes.0 & !bits))
}

#[test]
fn each_attribute_is_checked() {
    let wrong = Some(Reason::CertifyAttributes);
    for (name, outcome) in [
        ("tpm/G03", clear(Attributes::FIXED_TPM)),
        ("tpm/G03 fixedParent", clear(Attributes::FIXED_PARENT)),
        (
            "tpm/G02 sensitiveDataOrigin",
            clear(Attributes::SENSITIVE_DATA_ORIGIN),
        ),
        ("sign", clear(Attributes::SIGN)),
        ("tpm/G04", set(Attributes::RESTRICTED)),
        ("decrypt", set(Attributes::DECRYPT)),
        ("x509sign", set(Attributes::X509_SIGN)),
        (
            "encryptedDuplication",
            set(Attributes::ENCRYPTED_DUPLICATION),
        ),
    ] {
        assert_eq!(outcome, wrong, "{name}");
    }
    for (name, outcome) in [
        ("userWithAuth", clear(Attributes::USER_WITH_AUTH)),
        ("adminWithPolicy", set(Attributes::ADMIN_WITH_POLICY)),
        ("noDA", clear(Attributes::NO_DA)),
        ("stClear", set(Attributes::ST_CLEAR)),
    ] {
        assert_eq!(outcome, None, "{name} is the owner's affair");
    }
}

fn scheme(algorithm: Algorithm, hash: Algorithm) -> Option<Reason> {
    altered(|public| {
        public.scheme = Scheme::Of {
            algorithm,
            hash: Some(hash),
            count: None,
        };
    })
}

#[test]
fn a_scheme_is_left_open_or_fits() {
    let wrong = Some(Reason::CertifyAttributes);
    assert_eq!(scheme(Algorithm::ECDSA, Algorithm::SHA256), None);
    assert_eq!(scheme(Algorithm::ECDSA, Algorithm::SHA1), wrong);
    assert_eq!(scheme(Algorithm::ECDSA, Algorithm::SHA384), wrong);
    assert_eq!(scheme(Algorithm::RSASSA, Algorithm::SHA256), wrong);
    let encrypting = altered(|public| {
        public.symmetric = Symmetric::Cipher {
            algorithm: Algorithm::AES,
            bits: 128,
            mode: Algorithm::CFB,
        };
    });
    assert_eq!(encrypting, wrong);
    let deriving = altered(|public| {
        if let PublicKey::Ecc { kdf, .. } = &mut public.key {
            *kdf = Some((Algorithm(0x0020), Algorithm::SHA256));
        }
    });
    assert_eq!(deriving, wrong);
}

#[test]
fn the_name_is_by_a_sound_hash() {
    let by = |algorithm| altered(|public| public.name_alg = algorithm);
    for hash in [Hash::Sha256, Hash::Sha384, Hash::Sha512] {
        assert_eq!(by(hash.algorithm()), None, "{hash:?}");
    }
    assert_eq!(by(Algorithm::SHA1), Some(Reason::MalformedSvidKey));
}

#[test]
fn weak_and_unknown_keys_are_refused() {
    let with = |key: PublicKey| altered(|public| public.key = key);
    let point = |curve, x: Vec<u8>, y: Vec<u8>| PublicKey::Ecc {
        curve,
        kdf: None,
        x,
        y,
    };
    let off = with(point(3, vec![1; 32], vec![1; 32]));
    assert_eq!(off, Some(Reason::InvalidPoint));
    let other_curve = with(point(0x10, vec![1; 32], vec![1; 32]));
    assert_eq!(other_curve, Some(Reason::UnsupportedKey));
    let template = with(point(3, Vec::new(), Vec::new()));
    assert_eq!(template, Some(Reason::UnsupportedKey));
    let rsa = |bits: u16, exponent, last: u8| {
        let mut modulus = vec![0xFF; usize::from(bits / 8)];
        *modulus.last_mut().unwrap() = last;
        with(PublicKey::Rsa {
            bits,
            exponent,
            modulus,
        })
    };
    assert_eq!(rsa(1024, 0, 0xFF), Some(Reason::WeakKey));
    assert_eq!(rsa(2048, 3, 0xFF), Some(Reason::WeakKey));
    assert_eq!(rsa(2048, 0, 0xFE), Some(Reason::WeakKey));
}

#[test]
fn what_is_no_public_area_is_malformed() {
    type Change = fn(&mut evidence::OfferExtension);
    let cases: [(&str, Change); 9] = [
        ("key cut", |offer| {
            offer.svid_keys[1].pop();
        }),
        ("key trailing", |offer| offer.svid_keys[1].push(0)),
        ("key empty", |offer| offer.svid_keys[1].clear()),
        ("HMAC key", |offer| offer.svid_keys[1][1] = 8),
        ("parent cut", |offer| {
            offer.svid_parent.as_mut().unwrap().pop();
        }),
        ("parent of another type", |offer| {
            offer.svid_parent.as_mut().unwrap()[1] = 8;
        }),
        ("no parent", |offer| offer.svid_parent = None),
        ("the same key twice", |offer| {
            offer.svid_keys[1] = offer.svid_keys[0].clone();
        }),
        ("a key for a parent", |offer| {
            offer.svid_parent = Some(offer.svid_keys[0].clone());
        }),
    ];
    for (name, change) in cases {
        let outcome = offering(move |offer| change(offer.extension.as_mut().unwrap()));
        assert_eq!(outcome, Some(Reason::MalformedSvidKey), "{name}");
    }
    assert_eq!(offering(|_offer| {}), None);
    // One key is one key, whatever attributes it is said to have.
    let renamed = offering(|offer| {
        let extension = offer.extension.as_mut().unwrap();
        let mut again = extension.svid_keys[0].clone();
        again[7] ^= 0x40;
        assert_ne!(Public::parse(&again).unwrap().attributes.0 & 0x40, 0x40);
        extension.svid_keys[1] = again;
    });
    assert_eq!(renamed, Some(Reason::MalformedSvidKey));
    let parent_alone = offering(|offer| {
        offer.extension.as_mut().unwrap().svid_keys.clear();
    });
    assert_eq!(parent_alone, None);
    let bad_parent_alone = offering(|offer| {
        let extension = offer.extension.as_mut().unwrap();
        extension.svid_keys.clear();
        extension.svid_parent = Some(vec![1]);
    });
    assert_eq!(bad_parent_alone, Some(Reason::MalformedSvidKey));
}

#[test]
fn a_parent_is_a_storage_root_key() {
    let parent = |change: fn(&mut u32)| {
        offering(move |offer| {
            let extension = offer.extension.as_mut().unwrap();
            let encoded = extension.svid_parent.as_mut().unwrap();
            let mut attributes = u32::from_be_bytes(encoded[4..8].try_into().unwrap());
            change(&mut attributes);
            encoded[4..8].copy_from_slice(&attributes.to_be_bytes());
        })
    };
    let malformed = Some(Reason::MalformedSvidKey);
    assert_eq!(parent(|all| *all &= !Attributes::RESTRICTED), malformed);
    assert_eq!(parent(|all| *all &= !Attributes::FIXED_TPM), malformed);
    assert_eq!(parent(|all| *all |= Attributes::SIGN), malformed);
    // A storage root key that is not the one above the key.
    let other = parent(|all| *all &= !Attributes::NO_DA);
    assert_eq!(other, Some(Reason::CertifyParent));
    let unnamed = offering(|offer| {
        let extension = offer.extension.as_mut().unwrap();
        extension.svid_parent.as_mut().unwrap()[3] = 0x12;
    });
    assert_eq!(unnamed, malformed, "SM3");
}

#[test]
fn an_svid_key_is_neither_ek_nor_ak() {
    let tpm = machine();
    for (name, key) in [("EK", tpm.ek.clone()), ("AK", tpm.ak.key.clone())] {
        let mut tpm = with_keys();
        let parent = tpm.storage_parent().unwrap();
        tpm.svid_keys.push(SvidKey::new(key, parent));
        assert_eq!(refused(prover(tpm)), Some(Reason::KeyReuse), "{name}");
    }
}

#[test]
fn a_refusal_of_a_key_names_the_machine() {
    let mut prover = prover(with_keys());
    prover.lies = Lies::none().offer(|offer| {
        offer.extension.as_mut().unwrap().svid_keys[0].clear();
    });
    let payload = prover.payload().unwrap();
    let refused = begin(&payload, &policy(), &Anchors::default(), 0, &mut Counter(0)).unwrap_err();
    assert_eq!(refused.ek_hash, Some(machine().ek_hash()));
}

#[test]
fn large_curves_among_svid_keys_are_costly() {
    for (kind, expect) in [
        (KeyKind::P256, false),
        (KeyKind::Rsa2048, false),
        (KeyKind::P384, true),
        (KeyKind::P521, true),
    ] {
        let mut tpm = with_keys();
        let key = Key::sample(Role::Other, kind).unwrap();
        tpm.svid_keys
            .push(SvidKey::new(key, tpm.storage_parent().unwrap()));
        let payload = prover(tpm).payload().unwrap();
        let request = Request::read(payload, &policy()).unwrap();
        assert_eq!(request.is_costly(&Anchors::default()), expect, "{kind:?}");
    }
}
