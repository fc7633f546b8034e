//! What a quote may not be.

use evidence::{
    Algorithm, Attested, Hash, Name, PcrBank, PcrSelection, Signature, SignatureValue, tag,
};
use softtpm::{Ak, Key, KeyKind, Lies, Role};

use super::{Counter, liar, machine, policy, prover, refused};
use crate::signature::{SigningScheme, verify_signature};
use crate::{Anchors, Method, Reason, begin};

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
            "tpm/E01",
            lies().attest(|attest| attest.magic = 0xFF54_4346),
            Reason::BadMagic,
        ),
        ("tpm/E02 TIME", lies().attest(time), Reason::WrongAttestType),
        (
            "tpm/A18, tpm/E02 CERTIFY",
            lies().attest(certify),
            Reason::WrongAttestType,
        ),
        (
            "tpm/E02 CREATION",
            lies().attest(creation),
            Reason::WrongAttestType,
        ),
        ("tpm/E02 NV", lies().attest(nv), Reason::WrongAttestType),
        (
            "tpm/E26",
            lies().attest(|attest| attest.qualified_signer = Name::from_bytes(&[0, 11, 1])),
            Reason::QualifiedSigner,
        ),
        (
            "tpm/E06",
            lies().attest(|attest| attest.extra_data.clear()),
            Reason::NonceMismatch,
        ),
        (
            "tpm/E07",
            lies().attest(|attest| attest.extra_data.truncate(16)),
            Reason::NonceMismatch,
        ),
        (
            "other nonce",
            lies().attest(|attest| attest.extra_data[0] ^= 1),
            Reason::NonceMismatch,
        ),
        (
            "tpm/E03",
            lies().signed(|bytes| bytes.truncate(bytes.len() - 1)),
            Reason::MalformedAttest,
        ),
        (
            "tpm/E04",
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
            "tpm/E03: prefix of {keep}"
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
        ("tpm/E08", select(&[(Hash::Sha256, &[7])])),
        ("tpm/E09", select(&[(Hash::Sha256, &all)])),
        ("tpm/E10", select(&[])),
        ("tpm/E11", select(&[(Hash::Sha256, &[])])),
        (
            "tpm/E11: a bank that is not there",
            select(&[(Hash::Sha1, &[])]),
        ),
        (
            "tpm/E12: a better bank",
            select(&[(Hash::Sha384, &[0, 4, 7])]),
        ),
        (
            "second bank",
            select(&[(Hash::Sha256, &[0, 4, 7]), (Hash::Sha384, &[0])]),
        ),
        (
            "tpm/E13",
            select(&[(Hash::Sha256, &[0, 4, 7]), (Hash::Sha256, &[0, 4, 7])]),
        ),
        (
            "tpm/E13: in two halves",
            select(&[(Hash::Sha256, &[0, 4]), (Hash::Sha256, &[7])]),
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
    assert_eq!(
        refused(liar(relabelled)),
        Some(Reason::PcrSelection),
        "tpm/E14"
    );
}

/// A TPM with active SHA-1 PCRs quotes them gladly.
#[test]
fn a_weaker_bank_does_not_stand_for_the_one_asked_for() {
    for (case, selection) in [
        ("tpm/E12", vec![PcrSelection::new(Hash::Sha1, &[0, 4, 7])]),
        (
            "tpm/E12: beside it",
            vec![
                PcrSelection::new(Hash::Sha256, &[0, 4, 7]),
                PcrSelection::new(Hash::Sha1, &[0, 4, 7]),
            ],
        ),
    ] {
        let mut tpm = machine();
        for pcr in 0..8 {
            tpm.set_pcr(Hash::Sha1, pcr, &[pcr; 20]);
        }
        let mut prover = prover(tpm);
        prover.lies = lies().selections(move |asked| asked.clone_from(&selection));
        assert_eq!(refused(prover), Some(Reason::PcrSelection), "{case}");
    }
}

/// What the AK signed in another exchange, or before the nonce was there; the proof is right.
#[test]
fn a_quote_of_another_exchange_is_refused() {
    let mut prover = prover(machine());
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keep = std::sync::Arc::clone(&kept);
    prover.lies = lies().evidence(move |evidence| {
        *keep.lock().unwrap() = Some(evidence.clone());
    });
    let exchange = |prover: &mut softtpm::Prover, seed| {
        let payload = prover.payload().unwrap();
        let mut entropy = Counter(seed);
        let (challenge, pending) =
            begin(&payload, &policy(), &Anchors::default(), 0, &mut entropy).unwrap();
        pending.finish(&prover.answer(&payload, &challenge).unwrap())
    };
    assert!(exchange(&mut prover, 0).is_ok());
    let earlier = kept.lock().unwrap().take().unwrap();
    for (case, seed) in [("tpm/E05", 100), ("tpm/E34", 200)] {
        let stale = earlier.clone();
        prover.lies = lies().evidence(move |evidence| evidence.clone_from(&stale));
        let refused = exchange(&mut prover, seed).unwrap_err().reason;
        assert_eq!(refused, Reason::NonceMismatch, "{case}");
    }
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
            "tpm/E15",
            values(|banks| banks[0].values.get_mut(&0).unwrap()[0] ^= 1),
            Reason::PcrDigest,
        ),
        (
            "tpm/E16",
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
            "tpm/E18",
            values(|banks| drop(banks[0].values.insert(9, vec![0; 32]))),
            Reason::MalformedResponse,
        ),
        (
            "tpm/E17",
            values(|banks| drop(banks[0].values.insert(7, vec![0; 31]))),
            Reason::MalformedResponse,
        ),
        (
            "tpm/E17: of SHA-1",
            values(|banks| drop(banks[0].values.insert(7, vec![0; 20]))),
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
    let values = [0, 4, 7].map(|pcr| by_bank.tpm.pcrs[0].values[&pcr].clone());
    let parts: Vec<_> = values.iter().map(Vec::as_slice).collect();
    let sha256 = Hash::Sha256.digest(&parts);
    by_bank.lies = lies().attest(move |attest| {
        if let Attested::Quote { digest, .. } = &mut attest.attested {
            digest.clone_from(&sha256);
        }
    });
    assert_eq!(refused(by_bank), Some(Reason::PcrDigest), "tpm/E19");
}

#[test]
fn the_signature_is_the_ak_s_by_its_scheme() {
    let other = Key::sample(Role::Other, KeyKind::P256).unwrap();
    let rsa = Key::sample(Role::Other, KeyKind::Rsa2048).unwrap();
    for (name, lie, expect) in [
        (
            "tpm/E21",
            lies().signer(other, Algorithm::ECDSA, Hash::Sha256),
            Reason::BadSignature,
        ),
        (
            "tpm/E22: RSA header",
            lies().signer(rsa, Algorithm::RSASSA, Hash::Sha256),
            Reason::SignatureScheme,
        ),
        (
            "tpm/E22: SHA-1",
            lies().signature(|signature| signature.hash = Algorithm::SHA1),
            Reason::SignatureScheme,
        ),
        ("tpm/E20", scalar(|_r, s| s[7] ^= 1), Reason::BadSignature),
        (
            "tpm/E23: r = 0",
            scalar(|r, _s| r.fill(0)),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: s = 0",
            scalar(|_r, s| s.fill(0)),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: r = n",
            scalar(|r, _s| r.clone_from(&order())),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: s = n",
            scalar(|_r, s| s.clone_from(&order())),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: s + n",
            scalar(|_r, s| *s = plus(s, &order())),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: s empty",
            scalar(|_r, s| s.clear()),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: s = 2²⁵⁶ − 1",
            scalar(|_r, s| s.fill(0xFF)),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: r of 66 bytes",
            scalar(|r, _s| *r = vec![1; 66]),
            Reason::BadSignature,
        ),
        (
            "tpm/E23: r of 100 bytes",
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

/// A key that the AK certified, in the same TPM, quotes as well as the AK.
#[test]
fn a_quote_is_the_ak_s_own() {
    let other = Key::sample(Role::Other, KeyKind::P256).unwrap();
    let own = Ak::new(other.clone(), Algorithm::ECDSA, Hash::Sha256);
    let name = own.qualified_name().unwrap();
    let signed = || lies().signer(other.clone(), Algorithm::ECDSA, Hash::Sha256);
    for (case, lie, expect) in [
        (
            "tpm/E25: under its own name",
            signed().attest(move |attest| attest.qualified_signer = name.clone()),
            Reason::QualifiedSigner,
        ),
        (
            "tpm/E25: under the AK's name",
            signed(),
            Reason::BadSignature,
        ),
    ] {
        assert_eq!(refused(liar(lie)), Some(expect), "{case}");
    }
}

/// The salt is as long as the digest, and the mask is by the same hash (FIPS 186-5, section 5.4).
#[test]
fn pss_has_one_salt_length_and_one_mask() {
    let key = Key::sample(Role::Ak, KeyKind::Rsa2048).unwrap();
    let scheme = SigningScheme {
        algorithm: Algorithm::RSAPSS,
        hash: Hash::Sha256,
    };
    for (case, hex, expect) in [
        (
            "as it should be",
            include_str!("vectors/pss-right.hex"),
            Ok(()),
        ),
        (
            "tpm/E24: no salt",
            include_str!("vectors/pss-salt-0.hex"),
            Err(Reason::BadSignature),
        ),
        (
            "tpm/E24: the longest salt",
            include_str!("vectors/pss-salt-max.hex"),
            Err(Reason::BadSignature),
        ),
        (
            "tpm/E24: a mask by SHA-1",
            include_str!("vectors/pss-mgf-sha1.hex"),
            Err(Reason::BadSignature),
        ),
    ] {
        let signature = Signature {
            algorithm: Algorithm::RSAPSS,
            hash: Algorithm::SHA256,
            value: SignatureValue::Rsa(
                hex::decode(hex.split_whitespace().collect::<String>()).unwrap(),
            ),
        };
        let outcome = verify_signature(key.subject_key(), scheme, b"a quote", &signature);
        assert_eq!(outcome, expect, "{case}");
    }
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

fn nv(attest: &mut evidence::Attest) {
    attest.kind = tag::ATTEST_NV;
    attest.attested = Attested::Other(vec![0; 40]);
}

/// The order of P-256 (FIPS 186-5 and SP 800-186, section 3.2.1.3).
fn order() -> Vec<u8> {
    hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap()
}

/// The sum of two big-endian numbers of one width, with a byte more if it needs one.
fn plus(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut carry = 0_u16;
    let mut sum: Vec<u8> = one
        .iter()
        .zip(other)
        .rev()
        .map(|(a, b)| {
            carry += u16::from(*a) + u16::from(*b);
            let [high, low] = carry.to_be_bytes();
            carry = u16::from(high);
            low
        })
        .collect();
    sum.extend((carry > 0).then_some(1));
    sum.reverse();
    sum
}

fn flip_digest(attest: &mut evidence::Attest) {
    if let Attested::Quote { digest, .. } = &mut attest.attested {
        digest[0] ^= 1;
    }
}
