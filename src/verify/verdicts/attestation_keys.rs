//! What an AK may not be.

use evidence::{
    Algorithm, Attributes, Hash, Hierarchy, Public, PublicKey, Scheme, SubjectKey, Symmetric,
};
use softtpm::{Ak, Key, KeyKind, Lies, Parent, Role, SoftTpm};

use super::{liar, machine, prover, refused};
use crate::Reason;

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
    for (bit, expect) in [
        (Attributes::FIXED_TPM, Some(Reason::AkAttributes)),
        (Attributes::FIXED_PARENT, Some(Reason::AkAttributes)),
        (
            Attributes::SENSITIVE_DATA_ORIGIN,
            Some(Reason::AkAttributes),
        ),
        (Attributes::RESTRICTED, Some(Reason::AkAttributes)),
        (Attributes::SIGN, Some(Reason::AkAttributes)),
        (Attributes::DECRYPT, Some(Reason::AkAttributes)),
        (Attributes::X509_SIGN, Some(Reason::AkAttributes)),
        (
            Attributes::ENCRYPTED_DUPLICATION,
            Some(Reason::AkAttributes),
        ),
        (Attributes::NO_DA, None),
        (Attributes::USER_WITH_AUTH, None),
        (Attributes::ADMIN_WITH_POLICY, None),
        (Attributes::ST_CLEAR, None),
    ] {
        assert_eq!(
            altered(|public| public.attributes = Attributes(all ^ bit)),
            expect,
            "{bit:#x}"
        );
    }
}

#[test]
fn schemes_are_named_and_strong() {
    let of = |algorithm, hash| Scheme::Of {
        algorithm,
        hash: Some(hash),
        count: None,
    };
    for scheme in [
        Scheme::Null,
        of(Algorithm::ECDSA, Algorithm::SHA1),
        of(Algorithm::ECDSA, Algorithm::SHA384),
        of(Algorithm::RSASSA, Algorithm::SHA256),
        of(Algorithm::SM2, Algorithm::SHA256),
        of(Algorithm::ECSCHNORR, Algorithm::SHA256),
        Scheme::Of {
            algorithm: Algorithm::ECDAA,
            hash: Some(Algorithm::SHA256),
            count: Some(1),
        },
    ] {
        assert_eq!(
            altered(|public| public.scheme = scheme),
            Some(Reason::AkScheme),
            "{scheme:?}"
        );
    }
    for scheme in [
        of(Algorithm::RSASSA, Algorithm::SHA1),
        of(Algorithm::RSAPSS, Algorithm::SHA1),
        of(Algorithm::OAEP, Algorithm::SHA256),
        of(Algorithm::ECDSA, Algorithm::SHA256),
        Scheme::Of {
            algorithm: Algorithm::RSAES,
            hash: None,
            count: None,
        },
    ] {
        let key = Key::sample(Role::Ak, KeyKind::Rsa2048).unwrap();
        let ak = Ak::new(key, Algorithm::RSASSA, Hash::Sha256);
        let ak = ak.altered(|public| public.scheme = scheme).unwrap();
        assert_eq!(
            refused(prover(with_ak(ak))),
            Some(Reason::AkScheme),
            "RSA {scheme:?}"
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
    assert_eq!(rsa(1024, 0, 0xC1), Some(Reason::WeakKey), "1,024 bits");
    assert_eq!(rsa(2048, 3, 0xC1), Some(Reason::WeakKey), "exponent 3");
    assert_eq!(
        rsa(2048, 0x8000_0001, 0xC1),
        Some(Reason::WeakKey),
        "exponent 2³¹ + 1"
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
        "not on the curve"
    );
    assert_eq!(
        ecc(0x0003, 0xFF),
        Some(Reason::InvalidPoint),
        "above the prime"
    );
    assert_eq!(ecc(0x0010, 1), Some(Reason::UnsupportedKey), "BN-256");
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
    assert_eq!(refused(prover(with_ak(ak))), Some(Reason::RocaKey));
}

#[test]
fn the_ak_is_not_the_ek() {
    let mut tpm = machine();
    tpm.ak = Ak::new(tpm.ek.clone(), Algorithm::ECDSA, Hash::Sha256);
    assert_eq!(refused(prover(tpm)), Some(Reason::KeyReuse));
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
    let mut size = honest.clone();
    size[9] = 0xFF;
    for (public, expect) in [
        ([&honest[..], &[0]].concat(), Reason::MalformedPublic),
        (honest[..honest.len() - 1].to_vec(), Reason::MalformedPublic),
        (reserved, Reason::MalformedPublic),
        (size, Reason::MalformedPublic),
        (spki, Reason::MalformedPublic),
        (typed(0x0008), Reason::UnsupportedKey),
        (typed(0x0025), Reason::UnsupportedKey),
        (typed(0xFFFF), Reason::UnsupportedKey),
    ] {
        let lie = Lies::none().offer(move |offer| offer.ak.public.clone_from(&public));
        assert_eq!(refused(liar(lie)), Some(expect));
    }
}

#[test]
fn the_ak_is_a_primary_of_the_endorsement_hierarchy() {
    let ek = Box::new(machine().ek_public().unwrap());
    for parent in [
        Parent::srk().unwrap(),
        Parent::Hierarchy(Hierarchy::Owner),
        Parent::Hierarchy(Hierarchy::Null),
        Parent::Hierarchy(Hierarchy::Platform),
        Parent::Primary {
            public: ek,
            hierarchy: Hierarchy::Endorsement,
        },
    ] {
        let ak = machine().ak.under(parent);
        assert_eq!(refused(prover(with_ak(ak))), Some(Reason::QualifiedSigner));
    }
}
