//! SVID keys in exchanges with the verifier: those that are offered, and those that count as certified.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use evidence::{
    Algorithm, Attest, Attested as Body, Capability, Evidence, Hash, KeyCertification, Name, Offer,
    OfferExtension, PcrSelection, Public, limits,
};
use softtpm::{Generation, Key, KeyKind, Prover, Role, SvidKey};
use tpm2_protocol::TpmField;
use tpm2_protocol::data::{TpmsAttest, TpmuAttestView};
use verify::{Attested, Denials, Enrolment, History, Pending, Policy, SvidKeys, decide};

use crate::exchange::{Machine, bound, some};
use crate::machine::policy;
use crate::parts::{Parts, part};

/// SVID keys of parts, more than an offer may have, and their parent.
pub(crate) fn offer_keys(extension: &mut OfferExtension, parts: &mut Parts<'_>) {
    let shape = parts.byte();
    if shape & 16 != 0 {
        extension.evidence.push(Capability::Certify);
    }
    extension.svid_parent = some(parts.next().to_vec());
    let count = usize::from(shape & 7);
    extension.svid_keys = (0..count).map(|_| parts.next().to_vec()).collect();
}

pub(crate) fn can_be_certified(offered: &OfferExtension) -> bool {
    offered.evidence.contains(&Capability::Certify) && !offered.svid_keys.is_empty()
}

/// What is true of every SVID key whose certification is asked for.
pub(crate) fn keys_begun(offer: &Offer, policy: &Policy, pending: &Pending) {
    let offered = offer.extension.as_ref();
    assert!(policy.svid_keys == SvidKeys::Observe || offered.is_some_and(can_be_certified));
    let Some(offered) = offered.filter(|offered| !offered.svid_keys.is_empty()) else {
        return;
    };
    assert!(offered.svid_keys.len() <= limits::SVID_KEYS);
    let parent = offered.svid_parent.as_deref().expect("a parent is needed");
    assert_eq!(attributes(parent) & (STORAGE | SIGN), STORAGE);
    let ak = Public::parse(&offer.ak.public).expect("it was read before");
    let mut seen = vec![pending.claimed_ek()];
    seen.extend(ak.subject_key().map(|key| key.ek_hash()));
    for key in &offered.svid_keys {
        assert_eq!(attributes(key) & (SET | CLEAR), SET);
        let key = Public::parse(key).expect("a public area");
        let hash = key.subject_key().expect("a key").ek_hash();
        assert!(!seen.contains(&hash), "each is a key of its own");
        seen.push(hash);
    }
}

/// A certification of whatever the parts say, with the signature of the AK, of the key itself, of another TPM's AK or of no key.
pub(crate) fn certification(
    prover: &Prover,
    index: usize,
    binding: &[u8; 32],
    parts: &mut Parts<'_>,
) -> KeyCertification {
    let tpm = &prover.tpm;
    let signer = parts.byte();
    let attest = bound(binding, parts.next());
    let signature = match (signer & 3, tpm.svid_keys.get(index)) {
        (BY_ITSELF, Some(key)) => key.sign(&attest),
        (BY_ANOTHER, _) => OTHER_AK.sign(Algorithm::ECDSA, Hash::Sha256, &attest),
        _ => tpm.sign(&attest),
    };
    let signature = match signer & 3 {
        BY_NOBODY => parts.next().to_vec(),
        _ => signature.expect("a signature").encode(),
    };
    KeyCertification { attest, signature }
}

const BY_ITSELF: u8 = 1;
const BY_ANOTHER: u8 = 2;
const BY_NOBODY: u8 = 3;

static OTHER_AK: LazyLock<Key> =
    LazyLock::new(|| Key::sample(Role::Other, KeyKind::P256).expect("a sample"));

/// What is true of every key that counts as certified: Names, attributes and signatures by the bytes that travelled, without
/// the reader that the verifier has.
pub(crate) fn certified(
    offer: &Offer,
    evidence: &Evidence,
    binding: &[u8; 32],
    attested: &Attested,
) {
    let extension = offer.extension.as_ref().expect("it quotes");
    let (keys, offered) = (attested.svid_keys(), &extension.svid_keys);
    assert_eq!(
        (keys.len(), evidence.certifications.len()),
        (offered.len(), offered.len()),
        "all or none"
    );
    let policy = Policy {
        svid_keys: SvidKeys::Require,
        ..policy(3)
    };
    let denials = Denials::default();
    let history = History::NotKept;
    let granted = decide(
        attested,
        Enrolment::Enrolled,
        &denials,
        &policy,
        &history,
        0,
        0,
    );
    assert_eq!(granted.is_ok(), !keys.is_empty(), "{granted:?}");
    if keys.is_empty() {
        assert_eq!(attested.storage_root(), None);
        return;
    }
    let root = name(extension.svid_parent.as_ref().expect("a parent"));
    assert_eq!(attested.storage_root().map(Name::as_bytes), Some(&*root));
    // TPM_RH_OWNER is 0x40000001.
    let above = qualified(&[0x40, 0, 0, 1], &root);
    let signer = qualified(&[0x40, 0, 0, 0x0B], &name(&offer.ak.public));
    let ak = Public::parse(&offer.ak.public).expect("it was read before");
    let point = ak.subject_key().and_then(|key| key.point()).expect("P-256");
    let ak = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    for ((key, area), certification) in keys.iter().zip(offered).zip(&evidence.certifications) {
        assert_eq!(key.name().as_bytes(), name(area));
        assert_eq!(attributes(area) & (SET | CLEAR), SET);
        let statement = &certification.attest;
        let (attest, rest) = TpmsAttest::cast_prefix_field(statement).expect("a structure");
        assert!(rest.is_empty() && statement.starts_with(b"\xFFTCG\x80\x17"));
        assert_eq!(attest.extra_data.data(), binding);
        assert_eq!(attest.qualified_signer.data(), signer);
        let TpmuAttestView::Certify(certify) = attest.attested else {
            panic!("no certification")
        };
        let below = qualified(&above, &name(area));
        let names = [part(&name(area)), part(&below)].concat();
        assert_eq!(certify.as_bytes(), names);
        let signature = fixed_ecdsa(&certification.signature);
        assert!(ak.verify(statement, &signature).is_ok(), "nobody signed it");
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// TPM library part 1, section 16.1: nameAlg and the hash of the public area.
fn name(area: &[u8]) -> Vec<u8> {
    assert_eq!(area[2..4], SHA256_ID, "all keys here have SHA-256");
    [&SHA256_ID, &*sha256(area)].concat()
}

/// Section 16.3: nameAlg and the hash of what is above and the Name.
fn qualified(above: &[u8], name: &[u8]) -> Vec<u8> {
    [&SHA256_ID, &*sha256(&[above, name].concat())].concat()
}

/// TPM_ALG_SHA256.
const SHA256_ID: [u8; 2] = [0, 0x0B];

fn attributes(area: &[u8]) -> u32 {
    let bytes = area[4..8].try_into().expect("four bytes");
    u32::from_be_bytes(bytes)
}

/// fixedTPM, fixedParent, sensitiveDataOrigin, sign.
const SET: u32 = 0x0004_0032;
/// encryptedDuplication, restricted, decrypt, x509sign.
const CLEAR: u32 = 0x000B_0800;
/// Of a storage root key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, decrypt.
const STORAGE: u32 = 0x0003_0072;
const SIGN: u32 = 0x0004_0000;

/// Both numbers of a TPMT_SIGNATURE in 32 bytes each.
fn fixed_ecdsa(signature: &[u8]) -> Vec<u8> {
    let mut parts = Parts::of(&signature[4..]);
    assert_eq!(signature[..4], [0, 0x18, 0, 0x0B], "ECDSA with SHA-256");
    let numbers = [parts.next(), parts.next()].map(|number| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros..];
        [vec![0; 32 - number.len()], number.to_vec()].concat()
    });
    numbers.concat()
}

/// Offers of SVID keys, good ones first, and then ones with something wrong with one.
pub(crate) fn near_keys() -> Vec<Vec<u8>> {
    use evidence::Attributes as A;
    let machine = Machine::new(Generation::Current, 2);
    let tpm = &machine.prover.tpm;
    let root = tpm.storage_root().expect("a storage root key");
    let offer = |policy: u8, shape: u8, parent: &Public, keys: &[&Public]| {
        let head = [
            part(&[]),
            part(&tpm.ek_key().spki()),
            part(tpm.ak.public.as_bytes()),
        ];
        let keys = keys.iter().map(|key| part(key.as_bytes()));
        let keys: Vec<_> = [vec![shape], part(parent.as_bytes())]
            .into_iter()
            .chain(keys)
            .collect();
        [&[policy, 1, 1][..], &head.concat(), &keys.concat()].concat()
    };
    let [one, other] = [0, 1].map(|index: usize| &tpm.svid_keys[index].public);
    let ak = Key::sample(Role::Ak, KeyKind::P256).expect("a sample");
    let reused = SvidKey::new(ak, tpm.storage_parent().expect("a parent"));
    let mut seeds = vec![
        offer(3, 16 + 2, &root, &[one, other]),
        offer(3 + 32, 16 + 1, &root, &[one]),
        offer(3 + 32, 1, &root, &[one]),
        offer(3 + 32, 16, &root, &[]),
        offer(3, 16 + 2, &root, &[one, one]),
        offer(3, 16 + 1, &root, &[&reused.public]),
        offer(3, 16 + 1, one, &[other]),
        offer(3, 16 + 5, &root, &[one, other, one, other, one]),
    ];
    for bits in [
        A::FIXED_TPM,
        A::FIXED_PARENT,
        A::SENSITIVE_DATA_ORIGIN,
        A::RESTRICTED,
        A::SIGN,
        A::DECRYPT,
        A::X509_SIGN,
    ] {
        let flip = |public: &mut Public| public.attributes.0 ^= bits;
        let key = tpm.svid_keys[1].clone().altered(flip).expect("a key");
        seeds.push(offer(3, 16 + 2, &root, &[one, &key.public]));
    }
    seeds
}

/// The certifications of two keys, and some that prove less, each in one way.
pub(crate) fn near_certifications() -> Vec<Vec<u8>> {
    let mut tpm = Machine::new(Generation::Current, 2).prover.tpm;
    let wanted = [PcrSelection::new(Hash::Sha256, &[0, 4, 7])];
    let quote = tpm.quote_structure(&[7; 32], &wanted).expect("a quote");
    let values = Evidence {
        quote: Vec::new(),
        signature: Vec::new(),
        pcrs: tpm.read_pcrs(&wanted),
        certifications: Vec::new(),
    };
    let keys = tpm.svid_keys.clone();
    let mut certify = |index: usize| {
        let structure = tpm.certify_structure(&keys[index], &[7; 32]);
        structure.expect("a certification")
    };
    let (first, second) = (certify(0), certify(1));
    let signed = |choice: u8, signer: u8, certifications: &[&Attest]| {
        let quote = part(&quote.encode());
        let parts = certifications.iter().map(|attest| {
            let (attest, raw) = (part(&attest.encode()), part(&some_signature()));
            let raw = if signer == BY_NOBODY { &*raw } else { &[] };
            [&[signer], &*attest, raw].concat()
        });
        let parts: Vec<_> = parts.collect();
        let values = part(&values.encode());
        [&[choice + 2], &*quote, &*values, &*parts.concat()].concat()
    };
    let message = |certifications: [&Attest; 2]| signed(4, 0, &certifications);
    let bends: [fn(&mut Attest); 9] = [
        |_| {},
        |attest| attest.magic += 1,
        |attest| attest.kind -= 1,
        |attest| attest.extra_data = vec![7; 31],
        |attest| attest.qualified_signer = Name::from_bytes(&[0, 11]),
        |attest| attest.clock.reset_count += 1,
        |attest| attest.clock.restart_count += 1,
        |attest| attest.firmware += 1,
        |attest| {
            if let Body::Certify { qualified_name, .. } = &mut attest.attested {
                *qualified_name = attest.qualified_signer.clone();
            }
        },
    ];
    let bent = bends.map(|bend| {
        let mut second = second.clone();
        bend(&mut second);
        message([&first, &second])
    });
    let other = [
        message([&second, &first]),
        message([&first, &first]),
        signed(4 + 8, 0, &[&first]),
        signed(4 + 16, 0, &[&first, &second, &first]),
        signed(16, 0, &[&first]),
        signed(4, BY_ITSELF, &[&first, &second]),
        signed(4, BY_ANOTHER, &[&first, &second]),
        signed(4, BY_NOBODY, &[&first, &second]),
    ];
    bent.into_iter().chain(other).collect()
}

/// Well formed ECDSA with SHA-256.
fn some_signature() -> Vec<u8> {
    let number = part(&[1; 32]);
    [&[0, 0x18, 0, 0x0B], &*number, &*number].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{begin_with, finish_with};
    use verify::Reason;

    #[test]
    fn seeds_get_as_far_as_the_keys_and_are_refused_for_one_thing() {
        use Reason::{
            BadMagic, BadSignature, CertifyAttributes, CertifyMissing, CertifyName, CertifyParent,
            InconsistentEvidence, KeyReuse, MalformedSvidKey, NonceMismatch, PayloadTooLarge,
            QualifiedSigner, SignatureScheme, SvidKeyUncertified, UnsolicitedEvidence,
            WrongAttestType,
        };
        let offered = near_keys();
        let offered: Vec<_> = offered.iter().map(|seed| begin_with(seed)).collect();
        let expected = [
            None,
            None,
            Some(SvidKeyUncertified),
            Some(SvidKeyUncertified),
            Some(MalformedSvidKey),
            Some(KeyReuse),
            Some(MalformedSvidKey),
            Some(PayloadTooLarge),
        ];
        assert_eq!(offered[..8], expected);
        assert_eq!(offered[8..], [Some(CertifyAttributes); 7]);
        let certified = near_certifications();
        let certified: Vec<_> = certified.iter().map(|seed| finish_with(seed)).collect();
        let expected = [
            None,
            Some(BadMagic),
            Some(WrongAttestType),
            Some(NonceMismatch),
            Some(QualifiedSigner),
            Some(InconsistentEvidence),
            Some(InconsistentEvidence),
            Some(InconsistentEvidence),
            Some(CertifyParent),
            Some(CertifyName),
            Some(CertifyName),
            Some(CertifyMissing),
            Some(CertifyMissing),
            Some(UnsolicitedEvidence),
            Some(SignatureScheme),
            Some(BadSignature),
            Some(BadSignature),
        ];
        assert_eq!(certified, expected);
    }
}
