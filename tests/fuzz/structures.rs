//! TPM structures: one encoding each, nothing behind it, and read as `tpm2-protocol` reads them.

use evidence::{
    Attest, Attested, Hash, Hierarchy, Malformed, PcrBank, PcrSelection, Public, PublicError,
    Reader, Signature, SignatureValue, limits, pcr_digest,
};

use crate::oracle;

/// TPMT_PUBLIC.
pub(crate) fn public(data: &[u8]) {
    let outcome = Public::parse(data);
    assert_eq!(outcome, Public::parse(data), "the same twice");
    oracle::compare_public(data, outcome.as_ref().ok());
    let Ok(public) = outcome else {
        return;
    };
    assert!(data.len() <= limits::PUBLIC);
    assert_eq!(public.as_bytes(), data);
    let malformed = |outcome: Result<Public, PublicError>| match outcome {
        Err(PublicError::Malformed(malformed)) => malformed,
        other => panic!("{other:?}"),
    };
    nothing_else(data, limits::PUBLIC, |bytes| {
        Err(malformed(Public::parse(bytes)))
    });
    let hash = Hash::from_algorithm(public.name_alg);
    assert_eq!(public.name().is_some(), hash.is_some());
    if let (Some(hash), Some(name)) = (hash, public.name()) {
        assert_eq!(name.as_bytes().len(), 2 + hash.size());
        assert_eq!(name.as_bytes()[..2], data[2..4], "nameAlg");
        assert_ne!(public.qualified_name(Hierarchy::Endorsement), Some(name));
        let (attributes, policy) = (public.attributes.0, &public.auth_policy);
        let (symmetric, scheme) = (public.symmetric, public.scheme);
        let again = Public::new(
            hash,
            attributes,
            policy,
            symmetric,
            scheme,
            public.key.clone(),
        );
        assert_eq!(again.as_bytes(), data, "the fields say everything");
    }
    if let Some(key) = public.subject_key() {
        // The verifier of certificates is stricter about numbers, and sees no other key.
        if let Ok(read) = verify::parse_public_key(&key.spki()) {
            assert_eq!(read, key);
            assert_eq!(read.ek_hash(), key.ek_hash());
        }
    }
}

/// TPMS_ATTEST.
pub(crate) fn attest(data: &[u8]) {
    let outcome = Attest::parse(data);
    assert_eq!(outcome, Attest::parse(data), "the same twice");
    oracle::compare_attest(data, outcome.as_ref().ok());
    let Ok(attest) = outcome else {
        return;
    };
    assert!(data.len() <= limits::ATTEST);
    assert_eq!(attest.encode(), data);
    // What is not read has no end of its own.
    if !matches!(attest.attested, Attested::Other(_)) {
        nothing_else(data, limits::ATTEST, |bytes| Attest::parse(bytes).map(drop));
    }
}

/// TPMT_SIGNATURE.
pub(crate) fn signature(data: &[u8]) {
    let outcome = Signature::parse(data);
    assert_eq!(outcome, Signature::parse(data), "the same twice");
    oracle::compare_signature(data, outcome.as_ref().ok());
    let Ok(signature) = outcome else {
        return;
    };
    assert_eq!(signature.encode(), data);
    match &signature.value {
        SignatureValue::Rsa(value) => assert!(value.len() <= limits::RSA_MODULUS),
        SignatureValue::Ecdsa { r, s } => assert!(r.len() <= 66 && s.len() <= 66),
    }
    nothing_else(data, limits::SIGNATURE, |bytes| {
        Signature::parse(bytes).map(drop)
    });
}

/// TPML_PCR_SELECTION, and the digest over what it selects.
pub(crate) fn pcr_selection(data: &[u8]) {
    let parse = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        let selections = PcrSelection::parse_list(&mut reader)?;
        reader.end()?;
        Ok(selections)
    };
    let outcome: Result<Vec<_>, Malformed> = parse(data);
    assert_eq!(outcome, parse(data), "the same twice");
    oracle::compare_selections(data, outcome.as_deref().ok());
    let Ok(selections) = outcome else {
        return;
    };
    assert_eq!(PcrSelection::encode_list(&selections), data);
    nothing_else(data, usize::MAX, |bytes| parse(bytes).map(drop));
    let banks = Hash::ALL.map(softtpm::booted_bank);
    for selection in &selections {
        let bits: u32 = selection.bitmap.iter().map(|byte| byte.count_ones()).sum();
        let Some(pcrs) = selection.pcrs() else {
            assert!(
                selection.bitmap[limits::PCRS / 8..]
                    .iter()
                    .any(|byte| *byte != 0)
            );
            continue;
        };
        assert_eq!(u32::try_from(pcrs.len()), Ok(bits), "a bit, a PCR");
        for pcr in pcrs {
            assert!(selection.bitmap[usize::from(pcr / 8)] & 1 << (pcr % 8) != 0);
        }
    }
    let digest = pcr_digest(Hash::Sha256, &selections, &banks);
    assert_eq!(digest, digest_by_hand(&selections, &banks));
    let empty: [PcrBank; 0] = [];
    let any = selections
        .iter()
        .any(|selection| selection.bitmap.iter().any(|byte| *byte != 0));
    assert!(
        !any || pcr_digest(Hash::Sha256, &selections, &empty).is_none(),
        "no value, no digest"
    );
}

/// Part 3, section 18.4: H(values in the order of the selections, ascending).
fn digest_by_hand(selections: &[PcrSelection], banks: &[PcrBank]) -> Option<Vec<u8>> {
    let mut values = Vec::new();
    for selection in selections {
        for (index, byte) in (0u8..).zip(&selection.bitmap) {
            for bit in 0..8 {
                if byte & 1 << bit != 0 {
                    let bank = banks
                        .iter()
                        .find(|bank| bank.hash.algorithm() == selection.bank);
                    values.extend(bank?.values.get(&(index * 8 + bit))?);
                }
            }
        }
    }
    Some(Hash::Sha256.digest(&[&values]))
}

/// A structure ends where it ends: no beginning of it is one, and nothing may follow.
fn nothing_else(data: &[u8], limit: usize, parse: impl Fn(&[u8]) -> Result<(), Malformed>) {
    for kept in [0, data.len() / 3, data.len() / 2, data.len() - 1] {
        assert_eq!(parse(&data[..kept]), Err(Malformed::Truncated), "{kept}");
    }
    let longer = [data, &[0]].concat();
    let expect = if longer.len() > limit {
        Malformed::TooLong
    } else {
        Malformed::Trailing
    };
    assert_eq!(parse(&longer), Err(expect));
}

/// What soft TPMs make.
pub(crate) mod seeds {
    use evidence::{AkTemplate, EkTemplate, Hash, PcrSelection, Writer, tag};
    use evidence::{Attested, Public};
    use softtpm::{KeyKind, SoftTpm};

    fn machines() -> Vec<SoftTpm> {
        let machine = |ek, ak| SoftTpm::sample(ek, ak).expect("samples");
        vec![
            machine(KeyKind::P256, AkTemplate::EccP256),
            machine(KeyKind::Rsa2048, AkTemplate::Rsa2048),
            machine(KeyKind::P521, AkTemplate::EccP256),
        ]
    }

    pub(crate) fn public() -> Vec<Vec<u8>> {
        let templates = EkTemplate::ALL.map(|template| template.public(&[]));
        let eks = machines()
            .into_iter()
            .map(|tpm| tpm.ek_public().expect("a template"));
        let aks = machines().into_iter().map(|tpm| tpm.ak_public().clone());
        let bytes = |public: Public| public.as_bytes().to_vec();
        let all = templates.into_iter().chain(eks).chain(aks);
        all.map(bytes).chain(near()).collect()
    }

    /// Coordinates of 31 bytes, where the field has 32: one that may be, and one with a zero too many.
    fn near() -> Vec<Vec<u8>> {
        let template = AkTemplate::EccP256.public();
        // Both coordinates are empty there.
        let head = &template.as_bytes()[..template.as_bytes().len() - 4];
        let with = |first| [&[first][..], &[7; 30]].concat();
        let near = |x: Vec<u8>| Writer::new().raw(head).sized(&x).sized(&[7; 32]).finish();
        vec![near(with(1)), near(with(0))]
    }

    pub(crate) fn attest() -> Vec<Vec<u8>> {
        let mut tpm = machines().remove(0);
        let selections =
            [Hash::Sha256, Hash::Sha384].map(|hash| PcrSelection::new(hash, &[0, 7, 16]));
        let quote = tpm.quote_structure(&[7; 32], &selections).expect("a quote");
        let name = tpm.ak.name().expect("a Name");
        let certified = Attested::Certify {
            name: name.clone(),
            qualified_name: name,
        };
        let certify = tpm
            .attest(tag::ATTEST_CERTIFY, &[1; 20], certified)
            .expect("a structure");
        // TPMS_TIME_ATTEST_INFO: time, clock info, firmware.
        let time = Writer::new().raw(&[0; 8 + 8 + 4 + 4 + 1 + 8]).finish();
        let time = tpm
            .attest(tag::ATTEST_TIME, &[], Attested::Other(time))
            .expect("a structure");
        let creation = tpm.certify_creation().expect("a creation").attestation;
        vec![quote.encode(), certify.encode(), time.encode(), creation]
    }

    pub(crate) fn signature() -> Vec<Vec<u8>> {
        let sign = |tpm: SoftTpm| tpm.sign(b"signed").expect("a signature").encode();
        machines().into_iter().take(2).map(sign).collect()
    }

    pub(crate) fn pcr_selection() -> Vec<Vec<u8>> {
        let of = |hash, pcrs: &[u8]| PcrSelection::new(hash, pcrs);
        let several = [
            of(Hash::Sha1, &[0, 23]),
            of(Hash::Sha256, &[0, 4, 7]),
            of(Hash::Sha384, &[]),
        ];
        vec![
            PcrSelection::encode_list(&[]),
            PcrSelection::encode_list(&several[1..2]),
            PcrSelection::encode_list(&several),
        ]
    }
}
