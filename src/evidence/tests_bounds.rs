//! Every bound and every constant of the vocabulary, on both sides of its value.

use proptest::prelude::*;

use crate::json::base64;
use crate::pcr::parse_selections;
use crate::*;

fn offer() -> Offer {
    Offer {
        ek: EndorsementKey {
            certificate: Some(vec![1; 3]),
            public_key: None,
        },
        ak: AttestationKey {
            public: vec![2],
            creation: None,
        },
        extension: Some(OfferExtension {
            min_version: 1,
            max_version: 1,
            evidence: vec![Capability::Quote],
            ek_intermediates: Vec::new(),
            svid_keys: Vec::new(),
            svid_parent: None,
            log_sha256: None,
            boot_id: None,
        }),
    }
}

fn challenge(pcrs: Vec<u8>) -> Challenge {
    Challenge {
        credential: Credential::from_wire(vec![0, 1, 9], vec![0, 1, 8]).unwrap(),
        extension: Some(ChallengeExtension {
            version: 1,
            nonce: [5; 32],
            pcrs: vec![(Hash::Sha256, pcrs)],
            log: false,
            certify: false,
            known_pcrs: None,
        }),
    }
}

fn evidence() -> Evidence {
    Evidence {
        quote: vec![6],
        signature: vec![7],
        pcrs: vec![PcrBank {
            hash: Hash::Sha256,
            values: [(0, vec![4; 32])].into(),
        }],
        certifications: Vec::new(),
    }
}

/// A JSON text with white space after it, so that it has `size` bytes.
fn padded(text: &[u8], size: usize) -> Vec<u8> {
    let mut text = text.to_vec();
    text.resize(size, b' ');
    text
}

/// A text with one part replaced that must be there.
fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = str::from_utf8(text).unwrap();
    assert!(text.contains(from), "{from}");
    text.replace(from, to).into_bytes()
}

#[test]
fn a_message_may_be_as_long_as_its_limit() {
    let offer = |size| Offer::decode(&padded(&offer().encode(), size)).map(drop);
    assert_eq!(offer(limits::PAYLOAD), Ok(()));
    assert_eq!(offer(limits::PAYLOAD + 1), Err(Malformed::TooLong));
    let challenge = |size| Challenge::decode(&padded(&challenge(vec![0]).encode(), size)).map(drop);
    assert_eq!(challenge(limits::CHALLENGE), Ok(()));
    assert_eq!(challenge(limits::CHALLENGE + 1), Err(Malformed::TooLong));
    let response = Response::Secret(Secret::new(vec![1; 32])).encode();
    let response = |size| Response::decode(&padded(&response, size)).map(drop);
    assert_eq!(response(limits::RESPONSE), Ok(()));
    assert_eq!(response(limits::RESPONSE + 1), Err(Malformed::TooLong));
}

#[test]
fn a_structure_may_be_as_long_as_its_limit() {
    let attest = |size| {
        let head = Writer::new()
            .u32(TPM_GENERATED)
            .u16(tag::ATTEST_TIME)
            .sized(&[])
            .sized(&[])
            .raw(&[0; 8 + 4 + 4 + 1 + 8])
            .finish();
        let mut bytes = head;
        bytes.resize(size, 0);
        Attest::parse(&bytes).map(|attest| attest.clock.safe)
    };
    assert_eq!(attest(limits::ATTEST), Ok(false));
    assert_eq!(attest(limits::ATTEST + 1), Err(Malformed::TooLong));
    // No structure of these types fills its limit: what is no structure is told from what is too long.
    let signature = |size| Signature::parse(&vec![0; size]);
    assert_eq!(signature(limits::SIGNATURE), Err(Malformed::Value));
    assert_eq!(signature(limits::SIGNATURE + 1), Err(Malformed::TooLong));
    let public = |size| Public::parse(&vec![0; size]);
    assert_eq!(public(limits::PUBLIC), Err(PublicError::UnsupportedType(0)));
    assert_eq!(public(limits::PUBLIC + 1), Err(Malformed::TooLong.into()));
}

#[test]
fn fields_of_messages_may_be_as_long_as_their_limits() {
    let text = offer().encode();
    let named = |size| {
        let capability = format!("\"{}\"", "q".repeat(size));
        Offer::decode(&replaced(&text, "\"quote\"", &capability)).map(drop)
    };
    assert_eq!(named(limits::TEXT), Ok(()));
    assert_eq!(named(limits::TEXT + 1), Err(Malformed::TooLong));
    let blocks = |count| {
        let pem = encode_pem("PUBLIC KEY", &[1]).repeat(count);
        let ek = base64(&[1, 1, 1]);
        let old = base64(encode_pem("CERTIFICATE", &[1; 3]).as_bytes());
        assert_ne!(ek, old);
        Offer::decode(&replaced(&text, &old, &base64(pem.as_bytes()))).map(drop)
    };
    assert_eq!(blocks(1), Ok(()));
    assert_eq!(blocks(2), Err(Malformed::Value));
    assert_eq!(blocks(3), Err(Malformed::TooLong));

    let all: Vec<u8> = (0..24).collect();
    let asked = challenge(all);
    assert_eq!(Challenge::decode(&asked.encode()), Ok(asked.clone()));
    let nonce = |size| {
        let to = base64(&vec![5; size]);
        Challenge::decode(&replaced(&asked.encode(), &base64(&[5; 32]), &to)).map(drop)
    };
    assert_eq!(nonce(limits::NONCE), Ok(()));
    assert_eq!(nonce(limits::NONCE - 1), Err(Malformed::Value));
    assert_eq!(nonce(limits::NONCE + 1), Err(Malformed::TooLong));
    let hash = |size| "h".repeat(size);
    for (size, expect) in [
        (limits::TEXT, Malformed::Value),
        (limits::TEXT + 1, Malformed::TooLong),
    ] {
        let bytes = replaced(&asked.encode(), "sha256", &hash(size));
        assert_eq!(Challenge::decode(&bytes), Err(expect));
        let bytes = replaced(&evidence().encode(), "sha256", &hash(size));
        assert_eq!(Evidence::decode(&bytes), Err(expect));
    }
    let value = |digits| {
        let to = "0".repeat(digits);
        Evidence::decode(&replaced(&evidence().encode(), &"04".repeat(32), &to)).map(drop)
    };
    assert_eq!(value(64), Ok(()));
    assert_eq!(value(62), Err(Malformed::Value));
    assert_eq!(value(66), Err(Malformed::TooLong));
}

#[test]
fn bytes_are_bounded_before_they_are_decoded() {
    let proof = |proof: &str| {
        let text = format!(r#"{{"tpm_attestor":{{"evidence":"AQ==","proof":"{proof}"}}}}"#);
        Response::decode(text.as_bytes()).map(drop)
    };
    assert_eq!(proof(&base64(&[3; 32])), Ok(()));
    assert_eq!(proof(&base64(&[3; 31])), Err(Malformed::Value));
    // Sizes that fit a short text are no proof, larger ones too long.
    assert_eq!(proof(&base64(&[3; 33])), Err(Malformed::Value));
    assert_eq!(proof(&base64(&[3; limits::TEXT])), Err(Malformed::Value));
    let longer = base64(&[3; limits::TEXT + 1]);
    assert_eq!(proof(&longer), Err(Malformed::TooLong));
    // What is no base64 is only told where it is short enough.
    assert_eq!(longer.len(), 88);
    assert_eq!(proof(&"!".repeat(88)), Err(Malformed::Value));
    assert_eq!(proof(&"!".repeat(89)), Err(Malformed::TooLong));
}

#[test]
fn credentials_are_bounded_by_the_challenge() {
    let part = |size| Writer::new().sized(&vec![0; size]).finish();
    let credential = |size| Credential::from_wire(part(size), part(1)).map(drop);
    assert_eq!(credential(limits::CHALLENGE), Ok(()));
    assert_eq!(credential(limits::CHALLENGE + 1), Err(Malformed::TooLong));
}

#[test]
fn selections_are_bounded() {
    let selections = |count: u32, size: u8| {
        let mut out = Writer::new().u32(count);
        for _ in 0..count {
            out = out.u16(11).u8(size).raw(&vec![0; usize::from(size)]);
        }
        let bytes = out.finish();
        parse_selections(&mut Reader::new(&bytes)).map(|all| all.len())
    };
    assert_eq!(selections(16, 32), Ok(16));
    assert_eq!(selections(17, 32), Err(Malformed::TooLong));
    assert_eq!(selections(1, 33), Err(Malformed::TooLong));
}

#[test]
fn coordinates_and_scalars_are_bounded() {
    let point = |curve: u16, size: usize| {
        let key = PublicKey::Ecc {
            curve,
            kdf: None,
            x: vec![1; size],
            y: vec![1; size],
        };
        let public = Public::new(Hash::Sha256, 0, &[], Symmetric::Null, Scheme::Null, key);
        Public::parse(public.as_bytes()).map(drop)
    };
    // 0x0020 is SM2, a curve that is not known here.
    for (curve, most) in [(3, 32), (4, 48), (5, 66), (0x20, 128)] {
        assert_eq!(point(curve, most), Ok(()));
        assert_eq!(point(curve, most + 1), Err(Malformed::TooLong.into()));
    }
    let ecdsa = |r, s| {
        let value = SignatureValue::Ecdsa {
            r: vec![1; r],
            s: vec![1; s],
        };
        let signature = Signature {
            algorithm: Algorithm::ECDSA,
            hash: Algorithm::SHA256,
            value,
        };
        Signature::parse(&signature.encode()).map(drop)
    };
    assert_eq!(ecdsa(66, 66), Ok(()));
    assert_eq!(ecdsa(67, 66), Err(Malformed::TooLong));
    assert_eq!(ecdsa(66, 67), Err(Malformed::TooLong));
}

#[test]
fn keys_have_one_form_however_wide_their_numbers_come() {
    let narrow = SubjectKey::ec(Curve::P256, &[1], &[2; 32]);
    let wide = SubjectKey::ec(Curve::P256, &[&[0; 40][..], &[1]].concat(), &[2; 32]);
    assert_eq!(narrow, wide);
    // Lengths take another octet at 128 and at 256, and a first bit that is set takes one for the sign.
    for (first, size, expect) in [
        (0x7F, 64, 93),
        (0x7F, 127, 159),
        (0x7F, 128, 161),
        (0x7F, 129, 162),
        (0x7F, 256, 293),
        (0x80, 256, 294),
        (0x81, 256, 294),
        (0x7F, 512, 549),
    ] {
        let modulus = [&[first][..], &vec![1; size - 1]].concat();
        let key = SubjectKey::rsa(&modulus, 65_537).unwrap();
        assert_eq!(key.spki().len(), expect, "{first} {size}");
    }
}

#[test]
fn pem_has_lines_of_64_and_labels_of_capitals_digits_and_spaces() {
    let text = encode_pem("X509 CRL", &[1; 100]);
    let lines: Vec<_> = text.lines().map(str::len).collect();
    assert_eq!(lines[1..4], [64, 64, 8]);
    assert_eq!(parse_pem(&text, 1).unwrap()[0].label, "X509 CRL");
}

#[test]
fn old_servers_are_told_that_no_tcsd_form_is_used() {
    let text = String::from_utf8(offer().encode()).unwrap();
    assert!(text.contains("\"UseTCSDActivationFormat\":false"), "{text}");
}

#[test]
fn constants_are_those_of_the_registry() {
    let handles = [
        (Hierarchy::Owner, 0x4000_0001),
        (Hierarchy::Null, 0x4000_0007),
        (Hierarchy::Endorsement, 0x4000_000B),
        (Hierarchy::Platform, 0x4000_000C),
    ];
    for (hierarchy, handle) in handles {
        assert_eq!(hierarchy.handle(), handle);
    }
    assert_eq!(Curve::ALL.map(Curve::id), [3, 4, 5]);
    for hash in Hash::ALL {
        assert_eq!(hash.digest(&[]).len(), hash.size());
    }
    for size in [0, 15, 17, 31, 33] {
        assert!(!cfb_encrypt(&vec![0; size], [0; 16], &mut [0]), "{size}");
        assert!(!cfb_decrypt(&vec![0; size], [0; 16], &mut [0]), "{size}");
    }
}

/// TCG EK Credential Profile 2.6: NV indices in 2.2.1.4 and 2.2.1.5, templates in annex B.
#[test]
fn templates_are_those_of_the_profile() {
    const A: &str = "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa";
    const B256: &str = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0";
    const B384: &str = "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca\
                        cb47ba09699646150f9fc000f3f80e12";
    const B512: &str = "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a4\
                        29c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea";
    let zeros = |size: usize| "00".repeat(size);
    let rsa =
        |bits: u16, unique: usize| format!("0010{bits:04x}00000000{unique:04x}{}", zeros(unique));
    let ecc = |curve: u16, unique: usize| {
        let part = format!("{unique:04x}{}", zeros(unique));
        format!("0010{curve:04x}0010{part}{part}")
    };
    for (template, index, nonce, replaced, head, policy, aes, rest) in [
        (
            EkTemplate::L1,
            0x02,
            Some(0x03),
            0x04,
            "0001000b000300b2",
            A,
            "80",
            rsa(2048, 256),
        ),
        (
            EkTemplate::L2,
            0x0A,
            Some(0x0B),
            0x0C,
            "0023000b000300b2",
            A,
            "80",
            ecc(3, 32),
        ),
        (
            EkTemplate::H1,
            0x12,
            None,
            0x13,
            "0001000b000300f2",
            B256,
            "80",
            rsa(2048, 0),
        ),
        (
            EkTemplate::H2,
            0x14,
            None,
            0x15,
            "0023000b000300f2",
            B256,
            "80",
            ecc(3, 0),
        ),
        (
            EkTemplate::H3,
            0x16,
            None,
            0x17,
            "0023000c000300f2",
            B384,
            "100",
            ecc(4, 0),
        ),
        (
            EkTemplate::H4,
            0x18,
            None,
            0x19,
            "0023000d000300f2",
            B512,
            "100",
            ecc(5, 0),
        ),
        (
            EkTemplate::H6,
            0x1C,
            None,
            0x1D,
            "0001000c000300f2",
            B384,
            "100",
            rsa(3072, 0),
        ),
        (
            EkTemplate::H7,
            0x1E,
            None,
            0x1F,
            "0001000c000300f2",
            B384,
            "100",
            rsa(4096, 0),
        ),
    ] {
        let name = template.name();
        assert_eq!(template.certificate_index(), 0x01C0_0000 + index, "{name}");
        assert_eq!(
            template.nonce_index(),
            nonce.map(|low| 0x01C0_0000 + low),
            "{name}"
        );
        assert_eq!(template.template_index(), 0x01C0_0000 + replaced, "{name}");
        let expect = format!(
            "{head}{:04x}{policy}0006{aes:0>4}0043{rest}",
            policy.len() / 2
        );
        assert_eq!(
            hex::encode(template.public(&[]).as_bytes()),
            expect,
            "{name}"
        );
    }
    for (template, expect) in [
        (
            AkTemplate::EccP256,
            "0023000b000504720000001000180 00b00030010 00000000",
        ),
        (
            AkTemplate::Rsa2048,
            "0001000b0005047200000010001 4000b0800 00000000 0000",
        ),
    ] {
        assert_eq!(
            hex::encode(template.public().as_bytes()),
            expect.replace(' ', ""),
            "{template:?}"
        );
    }
}

proptest! {
    #[test]
    fn device_is_the_base32_of_the_hash(bytes in any::<[u8; 32]>()) {
        let hash = EkHash::from_hex(&hex::encode(bytes)).unwrap();
        let bit = |index: usize| match bytes.get(index / 8) {
            Some(byte) => usize::from(byte >> (7 - index % 8) & 1),
            None => 0,
        };
        let character = |first: usize| (first..first + 5).fold(0, |value, index| value * 2 + bit(index));
        let alphabet = b"abcdefghijklmnopqrstuvwxyz234567";
        let expect: String = (0..256)
            .step_by(5)
            .map(|first| char::from(alphabet[character(first)]))
            .collect();
        prop_assert_eq!(hash.device(), expect);
    }
}
