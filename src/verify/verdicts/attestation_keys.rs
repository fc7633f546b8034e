//! What an AK may not be.

use evidence::{
    Algorithm, Attributes, Challenge, Hash, Hierarchy, Public, PublicKey, Scheme, SubjectKey,
    Symmetric,
};
use softtpm::{Ak, Key, KeyKind, Lies, Parent, Role, SoftTpm, TpmError};

use super::{Counter, liar, machine, policy, prover, refused};
use crate::{Anchors, Reason, begin};

fn with_ak(ak: Ak) -> SoftTpm {
    let mut tpm = machine();
    tpm.ak = ak;
    tpm
}

fn altered(change: impl FnOnce(&mut Public)) -> Option<Reason> {
    let ak = machine().ak.altered(change).unwrap();
    refused(prover(with_ak(ak)))
}

#[test]
fn every_attribute_is_needed_or_forbidden_or_free() {
    let all = machine().ak.public.attributes.0;
    let refused = Some(Reason::AkAttributes);
    for (case, bit, expect) in [
        ("tpm/C05", Attributes::FIXED_TPM, refused),
        ("tpm/C06", Attributes::FIXED_PARENT, refused),
        ("tpm/C07", Attributes::SENSITIVE_DATA_ORIGIN, refused),
        ("tpm/C04", Attributes::RESTRICTED, refused),
        ("no signing", Attributes::SIGN, refused),
        ("tpm/C08", Attributes::DECRYPT, refused),
        ("tpm/C09 x509sign", Attributes::X509_SIGN, refused),
        (
            "tpm/C09 encryptedDuplication",
            Attributes::ENCRYPTED_DUPLICATION,
            refused,
        ),
        ("tpm/C11", Attributes::SIGN | Attributes::DECRYPT, refused),
        ("noDA", Attributes::NO_DA, None),
        ("userWithAuth", Attributes::USER_WITH_AUTH, None),
        ("adminWithPolicy", Attributes::ADMIN_WITH_POLICY, None),
        ("stClear", Attributes::ST_CLEAR, None),
    ] {
        assert_eq!(
            altered(|public| public.attributes = Attributes(all ^ bit)),
            expect,
            "{case}: {bit:#x}"
        );
    }
}

/// A storage key is a key of the same TPM, and a perfect one, but it signs nothing.
#[test]
fn a_storage_key_is_no_ak() {
    let Parent::Primary { public: srk, .. } = Parent::srk().unwrap() else {
        unreachable!("an SRK is a primary")
    };
    let lie = Lies::none().offer(move |offer| offer.ak.public = srk.as_bytes().to_vec());
    assert_eq!(refused(liar(lie)), Some(Reason::AkAttributes), "tpm/C11");
}

/// The owner decides who may use the AK; what it signs is the same.
#[test]
fn who_may_use_the_ak_is_the_owner_s_affair() {
    let or_of_nothing = Hash::Sha256.digest(&[&[0; 32], &0x0171_u32.to_be_bytes()]);
    for (case, policy, attributes) in [
        ("tpm/C30", or_of_nothing, Attributes::USER_WITH_AUTH),
        ("tpm/C30 any digest", vec![0xEE; 32], 0),
    ] {
        let lenient = |public: &mut Public| {
            public.auth_policy.clone_from(&policy);
            public.attributes.0 &= !attributes;
        };
        assert_eq!(altered(lenient), None, "{case}");
    }
}

#[test]
fn schemes_are_named_and_strong() {
    let of = |algorithm, hash| Scheme::Of {
        algorithm,
        hash: Some(hash),
        count: None,
    };
    for (case, scheme) in [
        ("tpm/C12", Scheme::Null),
        ("tpm/C13", of(Algorithm::ECDSA, Algorithm::SHA1)),
        (
            "a hash of another size",
            of(Algorithm::ECDSA, Algorithm::SHA384),
        ),
        ("for RSA", of(Algorithm::RSASSA, Algorithm::SHA256)),
        ("tpm/C14 SM2", of(Algorithm::SM2, Algorithm::SHA256)),
        (
            "tpm/C14 ECSchnorr",
            of(Algorithm::ECSCHNORR, Algorithm::SHA256),
        ),
        (
            "tpm/C14 ECDAA",
            Scheme::Of {
                algorithm: Algorithm::ECDAA,
                hash: Some(Algorithm::SHA256),
                count: Some(1),
            },
        ),
    ] {
        assert_eq!(
            altered(|public| public.scheme = scheme),
            Some(Reason::AkScheme),
            "{case}: {scheme:?}"
        );
    }
    for (case, scheme) in [
        ("tpm/C13", of(Algorithm::RSASSA, Algorithm::SHA1)),
        ("tpm/C13", of(Algorithm::RSAPSS, Algorithm::SHA1)),
        ("tpm/C12", Scheme::Null),
        ("encryption", of(Algorithm::OAEP, Algorithm::SHA256)),
        ("for ECC", of(Algorithm::ECDSA, Algorithm::SHA256)),
        (
            "encryption",
            Scheme::Of {
                algorithm: Algorithm::RSAES,
                hash: None,
                count: None,
            },
        ),
    ] {
        let key = Key::sample(Role::Ak, KeyKind::Rsa2048).unwrap();
        let ak = Ak::new(key, Algorithm::RSASSA, Hash::Sha256);
        let ak = ak.altered(|public| public.scheme = scheme).unwrap();
        assert_eq!(
            refused(prover(with_ak(ak))),
            Some(Reason::AkScheme),
            "{case}: RSA {scheme:?}"
        );
    }
    let symmetric = Symmetric::Cipher {
        algorithm: Algorithm::AES,
        bits: 128,
        mode: Algorithm::CFB,
    };
    assert_eq!(
        altered(|public| public.symmetric = symmetric),
        Some(Reason::AkScheme)
    );
    let with_kdf = |public: &mut Public| {
        if let PublicKey::Ecc { kdf, .. } = &mut public.key {
            *kdf = Some((Algorithm(0x20), Algorithm::SHA256));
        }
    };
    assert_eq!(altered(with_kdf), Some(Reason::AkScheme));
}

#[test]
fn schemes_of_other_strengths_are_accepted() {
    for (kind, algorithm, hash) in [
        (KeyKind::P384, Algorithm::ECDSA, Hash::Sha384),
        (KeyKind::P521, Algorithm::ECDSA, Hash::Sha512),
        (KeyKind::P521, Algorithm::ECDSA, Hash::Sha256),
        (KeyKind::P521, Algorithm::ECDSA, Hash::Sha384),
        (KeyKind::Rsa2048, Algorithm::RSASSA, Hash::Sha384),
        (KeyKind::Rsa3072, Algorithm::RSASSA, Hash::Sha512),
        (KeyKind::Rsa2048, Algorithm::RSAPSS, Hash::Sha256),
        (KeyKind::Rsa2048, Algorithm::RSAPSS, Hash::Sha384),
        (KeyKind::Rsa2048, Algorithm::RSAPSS, Hash::Sha512),
    ] {
        let ak = Ak::new(Key::sample(Role::Ak, kind).unwrap(), algorithm, hash);
        assert_eq!(
            refused(prover(with_ak(ak))),
            None,
            "{kind:?} {algorithm:?} {hash:?}"
        );
    }
}

#[test]
fn name_algorithms_are_strong() {
    assert_eq!(
        altered(|public| public.name_alg = Algorithm::SHA1),
        Some(Reason::AkNameAlg)
    );
    assert_eq!(altered(|public| public.name_alg = Algorithm::SHA384), None);
    let bytes = machine().ak.public.as_bytes().to_vec();
    let sm3 = [&bytes[..2], &[0x00, 0x12], &bytes[4..]].concat();
    let lie = Lies::none().offer(move |offer| offer.ak.public.clone_from(&sm3));
    assert_eq!(refused(liar(lie)), Some(Reason::AkNameAlg));
}

#[test]
fn keys_are_sound() {
    let rsa = |bits: u16, exponent: u32, byte: u8| {
        let ak = Ak::new(
            Key::sample(Role::Ak, KeyKind::Rsa2048).unwrap(),
            Algorithm::RSASSA,
            Hash::Sha256,
        );
        let mut modulus = vec![byte; usize::from(bits) / 8];
        modulus[0] |= 0x80;
        let key = PublicKey::Rsa {
            bits,
            exponent,
            modulus,
        };
        refused(prover(with_ak(
            ak.altered(|public| public.key = key).unwrap(),
        )))
    };
    assert_eq!(rsa(1024, 0, 0xC1), Some(Reason::WeakKey), "tpm/C16");
    assert_eq!(rsa(2048, 3, 0xC1), Some(Reason::WeakKey), "tpm/C17: 3");
    assert_eq!(
        rsa(2048, 0x8000_0001, 0xC1),
        Some(Reason::WeakKey),
        "tpm/C17: 2³¹ + 1"
    );
    assert_eq!(rsa(2048, 0, 0xC2), Some(Reason::WeakKey), "even modulus");
    let ecc = |curve: u16, x: u8| {
        altered(move |public| {
            public.key = PublicKey::Ecc {
                curve,
                kdf: None,
                x: vec![x; 32],
                y: vec![x; 32],
            };
        })
    };
    assert_eq!(
        ecc(0x0003, 1),
        Some(Reason::InvalidPoint),
        "tpm/C18: not on the curve"
    );
    assert_eq!(
        ecc(0x0003, 0xFF),
        Some(Reason::InvalidPoint),
        "tpm/C18: above the prime"
    );
    assert_eq!(ecc(0x0010, 1), Some(Reason::UnsupportedKey), "tpm/C15");
    assert_eq!(ecc(0x0020, 1), Some(Reason::UnsupportedKey), "SM2 P-256");
}

#[test]
fn roca_moduli_are_refused() {
    let modulus = crate::roca::tests::flawed_modulus(41);
    let ak = Ak::new(
        Key::sample(Role::Ak, KeyKind::Rsa2048).unwrap(),
        Algorithm::RSASSA,
        Hash::Sha256,
    );
    let key = PublicKey::Rsa {
        bits: 2048,
        exponent: 0,
        modulus,
    };
    let ak = ak.altered(|public| public.key = key).unwrap();
    assert_eq!(
        refused(prover(with_ak(ak))),
        Some(Reason::RocaKey),
        "tpm/C19"
    );
}

#[test]
fn the_ak_is_not_the_ek() {
    let mut tpm = machine();
    tpm.ak = Ak::new(tpm.ek.clone(), Algorithm::ECDSA, Hash::Sha256);
    assert_eq!(refused(prover(tpm)), Some(Reason::KeyReuse), "tpm/C20");
}

#[test]
fn public_areas_are_strict() {
    let honest = machine().ak.public.as_bytes().to_vec();
    let spki = match machine().ak.key.subject_key() {
        key @ SubjectKey::Ec { .. } => key.spki(),
        SubjectKey::Rsa { .. } => unreachable!("the sample AK is ECC"),
    };
    let typed = |kind: u16| [&kind.to_be_bytes()[..], &honest[2..]].concat();
    let mut reserved = honest.clone();
    reserved[4] |= 0x80;
    // The size of the policy, of x, and of y; the point ends the area.
    let sized = |at: usize, by: fn(u8) -> u8| {
        let mut bytes = honest.clone();
        bytes[at] = by(bytes[at]);
        bytes
    };
    let (x, y) = (honest.len() - 68, honest.len() - 34);
    let mut wide = honest.clone();
    wide.splice(x..x + 2, [0, 33, 0]);
    for (case, public, expect) in [
        (
            "tpm/C21",
            [&honest[..], &[0]].concat(),
            Reason::MalformedPublic,
        ),
        ("tpm/C21: zero before x", wide, Reason::MalformedPublic),
        (
            "tpm/C22",
            honest[..honest.len() - 1].to_vec(),
            Reason::MalformedPublic,
        ),
        (
            "tpm/C22: policy",
            sized(9, |_| 0xFF),
            Reason::MalformedPublic,
        ),
        (
            "tpm/C22: longer x",
            sized(x + 1, |size| size + 1),
            Reason::MalformedPublic,
        ),
        (
            "tpm/C22: shorter y",
            sized(y + 1, |size| size - 1),
            Reason::MalformedPublic,
        ),
        ("tpm/C10", reserved, Reason::MalformedPublic),
        ("tpm/C28", spki, Reason::MalformedPublic),
        ("tpm/C14 HMAC", typed(0x0008), Reason::UnsupportedKey),
        ("tpm/C29", typed(0x0008), Reason::UnsupportedKey),
        ("tpm/C29", typed(0x0025), Reason::UnsupportedKey),
        ("tpm/C29", typed(0xFFFF), Reason::UnsupportedKey),
    ] {
        let lie = Lies::none().offer(move |offer| offer.ak.public.clone_from(&public));
        assert_eq!(refused(liar(lie)), Some(expect), "{case}");
    }
}

/// What a TPM does with a credential for an object that it has not loaded, and what is left then: to guess.
#[test]
fn an_ak_outside_the_tpm_of_the_ek_opens_nothing() {
    let software = Key::generate(KeyKind::P256).unwrap();
    let claimed = Ak::new(software.clone(), Algorithm::ECDSA, Hash::Sha256);
    let elsewhere = SoftTpm::generate().unwrap();
    for (case, foreign, other) in [
        ("tpm/C23", claimed.clone(), None),
        ("tpm/C24", elsewhere.ak.clone(), Some(&elsewhere)),
        ("tpm/C27", claimed, None),
    ] {
        let public = foreign.public.as_bytes().to_vec();
        let lie = Lies::none().offer(move |offer| offer.ak.public.clone_from(&public));
        let payload = liar(lie).payload().unwrap();
        let (challenge, _) =
            begin(&payload, &policy(), &Anchors::default(), 0, &mut Counter(0)).unwrap();
        let credential = Challenge::decode(&challenge).unwrap().credential;
        let opened = machine().activate(&credential);
        assert_eq!(opened.unwrap_err(), TpmError::Integrity, "{case}");
        if let Some(other) = other {
            assert!(other.activate(&credential).is_err(), "{case}");
        }
        // The guesser holds the AK: everything but the secret is as it should be.
        let public = foreign.public.as_bytes().to_vec();
        let mut guesser = machine();
        guesser.ak = foreign;
        let mut guesser = prover(guesser);
        guesser.lies = Lies::none()
            .offer(move |offer| offer.ak.public.clone_from(&public))
            .guess(&[7; 32]);
        assert_eq!(refused(guesser), Some(Reason::ProofMismatch), "{case}");
    }
}

#[test]
fn the_ak_is_a_primary_of_the_endorsement_hierarchy() {
    let ek = Box::new(machine().ek_public().unwrap());
    for (case, parent) in [
        ("tpm/C25", Parent::srk().unwrap()),
        ("tpm/C25: a primary", Parent::Hierarchy(Hierarchy::Owner)),
        ("tpm/C26", Parent::Hierarchy(Hierarchy::Null)),
        ("the firmware's", Parent::Hierarchy(Hierarchy::Platform)),
        (
            "below the EK",
            Parent::Primary {
                public: ek,
                hierarchy: Hierarchy::Endorsement,
            },
        ),
    ] {
        let ak = machine().ak.under(parent);
        assert_eq!(
            refused(prover(with_ak(ak))),
            Some(Reason::QualifiedSigner),
            "{case}"
        );
    }
}
