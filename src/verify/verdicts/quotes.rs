//! What a quote may not be.

use evidence::{Algorithm, Attested, Hash, Name, PcrBank, PcrSelection, SignatureValue, tag};
use softtpm::{Ak, Key, KeyKind, Lies, Role};

use super::{liar, machine, policy, prover, refused};
use crate::{Method, Reason};

fn lies() -> Lies {
    Lies::none()
}

fn select(pcrs: &[(Hash, &[u8])]) -> Lies {
    let list: Vec<_> = pcrs
        .iter()
        .map(|(hash, pcrs)| PcrSelection::new(*hash, pcrs))
        .collect();
    lies().selections(move |selections| selections.clone_from(&list))
}

fn scalar(change: fn(&mut Vec<u8>, &mut Vec<u8>)) -> Lies {
    lies().signature(move |signature| {
        if let SignatureValue::Ecdsa { r, s } = &mut signature.value {
            change(r, s);
        }
    })
}

#[test]
fn each_field_of_the_quote_is_checked() {
    for (name, lie, expect) in [
        (
            "magic",
            lies().attest(|attest| attest.magic = 0xFF54_4346),
            Reason::BadMagic,
        ),
        ("type TIME", lies().attest(time), Reason::WrongAttestType),
        (
            "type CERTIFY",
            lies().attest(certify),
            Reason::WrongAttestType,
        ),
        (
            "type CREATION",
            lies().attest(creation),
            Reason::WrongAttestType,
        ),
        (
            "signer's name",
            lies().attest(|attest| attest.qualified_signer = Name::from_bytes(&[0, 11, 1])),
            Reason::QualifiedSigner,
        ),
        (
            "no nonce",
            lies().attest(|attest| attest.extra_data.clear()),
            Reason::NonceMismatch,
        ),
        (
            "half a nonce",
            lies().attest(|attest| attest.extra_data.truncate(16)),
            Reason::NonceMismatch,
        ),
        (
            "other nonce",
            lies().attest(|attest| attest.extra_data[0] ^= 1),
            Reason::NonceMismatch,
        ),
        (
            "truncated",
            lies().signed(|bytes| bytes.truncate(bytes.len() - 1)),
            Reason::MalformedAttest,
        ),
        (
            "trailing",
            lies().signed(|bytes| bytes.push(0)),
            Reason::MalformedAttest,
        ),
        ("empty", lies().signed(Vec::clear), Reason::MalformedAttest),
        ("digest", lies().attest(flip_digest), Reason::PcrDigest),
    ] {
        assert_eq!(refused(liar(lie)), Some(expect), "{name}");
    }
}

#[test]
fn every_prefix_of_a_quote_is_malformed() {
    let length = 145;
    for keep in 0..length {
        let lie = lies().evidence(move |evidence| evidence.quote.truncate(keep));
        let full = lies().evidence(move |evidence| assert_eq!(evidence.quote.len(), length));
        assert_eq!(
            refused(liar(lie)),
            Some(Reason::MalformedAttest),
            "prefix of {keep}"
        );
        if keep == 0 {
            assert_eq!(refused(liar(full)), None);
        }
    }
}

#[test]
fn the_selection_is_exactly_the_one_asked_for() {
    let all: Vec<u8> = (0..24).collect();
    for (name, lie) in [
        ("shrunk", select(&[(Hash::Sha256, &[7])])),
        ("grown", select(&[(Hash::Sha256, &all)])),
        ("empty", select(&[])),
        ("empty bitmap", select(&[(Hash::Sha256, &[])])),
        ("an unallocated bank", select(&[(Hash::Sha1, &[])])),
        ("other bank", select(&[(Hash::Sha384, &[0, 4, 7])])),
        (
            "second bank",
            select(&[(Hash::Sha256, &[0, 4, 7]), (Hash::Sha384, &[0])]),
        ),
        (
            "bank twice",
            select(&[(Hash::Sha256, &[0, 4, 7]), (Hash::Sha256, &[0, 4, 7])]),
        ),
        ("resettable", select(&[(Hash::Sha256, &[16, 17, 23])])),
    ] {
        assert_eq!(refused(liar(lie)), Some(Reason::PcrSelection), "{name}");
    }
    let relabelled = select(&[(Hash::Sha256, &[16, 22, 23])]).values(|banks| {
        let values = [0, 4, 7]
            .into_iter()
            .zip(banks[0].values.values().cloned())
            .collect();
        banks[0].values = values;
    });
    assert_eq!(refused(liar(relabelled)), Some(Reason::PcrSelection));
}

#[test]
fn a_wider_bitmap_counts_by_what_it_selects() {
    let wide = |last: u8| {
        lies().attest(move |attest| {
            if let Attested::Quote { selections, .. } = &mut attest.attested {
                selections[0].bitmap.push(last);
            }
        })
    };
    assert_eq!(refused(liar(wide(0))), None);
    assert_eq!(refused(liar(wide(1))), Some(Reason::PcrSelection));
}

#[test]
fn values_are_the_quoted_ones() {
    let values = |change: fn(&mut Vec<PcrBank>)| lies().values(change);
    for (name, lie, expect) in [
        (
            "altered",
            values(|banks| banks[0].values.get_mut(&0).unwrap()[0] ^= 1),
            Reason::PcrDigest,
        ),
        (
            "permuted",
            values(|banks| {
                let first = banks[0].values[&0].clone();
                let last = banks[0].values.insert(7, first).unwrap();
                banks[0].values.insert(0, last);
            }),
            Reason::PcrDigest,
        ),
        (
            "one missing",
            values(|banks| drop(banks[0].values.remove(&7))),
            Reason::MalformedResponse,
        ),
        (
            "one more",
            values(|banks| drop(banks[0].values.insert(9, vec![0; 32]))),
            Reason::MalformedResponse,
        ),
        (
            "wrong length",
            values(|banks| drop(banks[0].values.insert(7, vec![0; 31]))),
            Reason::MalformedResponse,
        ),
        ("none", values(Vec::clear), Reason::MalformedResponse),
        (
            "other bank",
            values(|banks| banks[0].hash = Hash::Sha384),
            Reason::MalformedResponse,
        ),
        (
            "bank twice",
            values(|banks| banks.push(banks[0].clone())),
            Reason::MalformedResponse,
        ),
    ] {
        assert_eq!(refused(liar(lie)), Some(expect), "{name}");
    }
}

#[test]
fn the_digest_is_by_the_hash_of_the_scheme() {
    let p384 = || {
        let mut tpm = machine();
        let key = Key::sample(Role::Ak, KeyKind::P384).unwrap();
        tpm.ak = Ak::new(key, Algorithm::ECDSA, Hash::Sha384);
        prover(tpm)
    };
    assert_eq!(refused(p384()), None);
    let mut by_bank = p384();
    by_bank.lies = lies().attest(|attest| {
        if let Attested::Quote { digest, .. } = &mut attest.attested {
            digest.truncate(32);
        }
    });
    assert_eq!(refused(by_bank), Some(Reason::PcrDigest));
}

#[test]
fn the_signature_is_the_ak_s_by_its_scheme() {
    let other = Key::sample(Role::Other, KeyKind::P256).unwrap();
    let rsa = Key::sample(Role::Other, KeyKind::Rsa2048).unwrap();
    for (name, lie, expect) in [
        (
            "other key",
            lies().signer(other, Algorithm::ECDSA, Hash::Sha256),
            Reason::BadSignature,
        ),
        (
            "RSA header",
            lies().signer(rsa, Algorithm::RSASSA, Hash::Sha256),
            Reason::SignatureScheme,
        ),
        (
            "SHA-1",
            lies().signature(|signature| signature.hash = Algorithm::SHA1),
            Reason::SignatureScheme,
        ),
        ("bit of s", scalar(|_r, s| s[7] ^= 1), Reason::BadSignature),
        ("r = 0", scalar(|r, _s| r.fill(0)), Reason::BadSignature),
        ("s empty", scalar(|_r, s| s.clear()), Reason::BadSignature),
        (
            "s = 2²⁵⁶ − 1",
            scalar(|_r, s| s.fill(0xFF)),
            Reason::BadSignature,
        ),
        (
            "r of 66 bytes",
            scalar(|r, _s| *r = vec![1; 66]),
            Reason::BadSignature,
        ),
        (
            "r of 100 bytes",
            scalar(|r, _s| *r = vec![1; 100]),
            Reason::MalformedResponse,
        ),
        (
            "trailing",
            lies().evidence(|evidence| evidence.signature.push(0)),
            Reason::MalformedResponse,
        ),
        (
            "empty",
            lies().evidence(|evidence| evidence.signature.clear()),
            Reason::MalformedResponse,
        ),
        (
            "ECDAA header",
            lies().evidence(|evidence| evidence.signature[1] = 0x1A),
            Reason::SignatureScheme,
        ),
    ] {
        assert_eq!(refused(liar(lie)), Some(expect), "{name}");
    }
    let padded = scalar(|r, _s| r.insert(0, 0));
    assert_eq!(
        refused(liar(padded)),
        None,
        "a leading zero is the same number"
    );
}

#[test]
fn rsa_signatures_have_the_modulus_length() {
    for (kind, algorithm, change, expect) in [
        (KeyKind::Rsa2048, Algorithm::RSASSA, 0, None),
        (
            KeyKind::Rsa2048,
            Algorithm::RSASSA,
            1,
            Some(Reason::BadSignature),
        ),
        (
            KeyKind::Rsa2048,
            Algorithm::RSAPSS,
            1,
            Some(Reason::BadSignature),
        ),
    ] {
        let mut tpm = machine();
        tpm.ak = Ak::new(
            Key::sample(Role::Ak, kind).unwrap(),
            algorithm,
            Hash::Sha256,
        );
        let mut prover = prover(tpm);
        prover.lies = lies().signature(move |signature| {
            if let SignatureValue::Rsa(value) = &mut signature.value {
                value.truncate(value.len() - change);
            }
        });
        assert_eq!(refused(prover), expect);
    }
}

#[test]
fn a_quote_tells_clock_and_values() {
    let mut prover = prover(machine());
    let attested = super::attest(&mut prover, &policy()).unwrap();
    let Method::Quote(quoted) = attested.method() else {
        panic!("a quote")
    };
    assert_eq!(quoted.clock().reset_count, prover.tpm.clock.reset_count);
    assert_eq!(quoted.firmware(), prover.tpm.firmware);
    assert_eq!(
        quoted.banks()[0].values.keys().copied().collect::<Vec<_>>(),
        [0, 4, 7]
    );
    assert_eq!(attested.ak_name(), &prover.tpm.ak.name().unwrap());
}

fn time(attest: &mut evidence::Attest) {
    attest.kind = tag::ATTEST_TIME;
    attest.attested = Attested::Other(vec![0; 33]);
}

fn certify(attest: &mut evidence::Attest) {
    attest.kind = tag::ATTEST_CERTIFY;
    let name = Name::from_bytes(&[0, 11]);
    attest.attested = Attested::Certify {
        name: name.clone(),
        qualified_name: name,
    };
}

fn creation(attest: &mut evidence::Attest) {
    attest.kind = tag::ATTEST_CREATION;
    attest.attested = Attested::Creation {
        name: Name::from_bytes(&[0, 11]),
        hash: vec![0; 32],
    };
}

fn flip_digest(attest: &mut evidence::Attest) {
    if let Attested::Quote { digest, .. } = &mut attest.attested {
        digest[0] ^= 1;
    }
}
