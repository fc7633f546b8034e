//! Another reader of TPM structures, `tpm2-protocol`, and every rule by which it and ours differ.
//!
//! Where one of the two accepts what the other refuses, a rule must say why, and the input must be
//! one that the rule is about. Where both accept, they must see the same fields.

use evidence::{Algorithm, Attest, Attested, Curve, PcrSelection, Public, PublicKey, Scheme};
use evidence::{Signature, Symmetric, Writer, limits, tag};
use tpm2_protocol::TpmField;
use tpm2_protocol::data::{
    TpmAlgId, TpmEccCurve, TpmlPcrSelection, TpmsAttest, TpmsAttestView, TpmtPublic,
    TpmtPublicView, TpmtSignature, TpmuAttestView, TpmuPublicIdView, TpmuPublicParmsView,
    TpmuSignatureView,
};

/// Why ours refuses what the other reader accepts: on purpose, each for what a verifier can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stricter {
    /// Our limit on the whole structure.
    Long,
    /// Reserved attributes are zero (TPM library part 2, section 8.3).
    ReservedAttributes,
    /// Only RSA and ECC keys have a use here.
    Type,
    /// A modulus is as wide as the key says.
    ModulusWidth,
    /// A coordinate is as wide as the field, or has no leading zeros.
    CoordinateWidth,
    /// A scheme that no key here may have: EC-MQV.
    Scheme,
    /// ECDAA has a counter behind its hash (part 2, section 11.2.1.4), which the other does not read.
    EcdaaCounter,
    /// extraData is at most a digest with its algorithm (part 2, section 10.4.3).
    ExtraData,
    /// Signatures other than RSASSA, RSAPSS and ECDSA have no use here.
    SignatureScheme,
}

/// Why ours accepts what the other reader refuses: judged later, by a check that has its own reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    /// An identifier that the registry of the other does not have.
    UnknownAlgorithm,
    /// The same for a curve.
    UnknownCurve,
    /// A symmetric algorithm, or a key derivation, of another kind than belongs here.
    OtherKind,
    /// ECDAA, whose counter the other takes for what follows.
    EcdaaCounter,
    /// A coordinate for a curve that is wider than those the other knows.
    WideCurve,
    /// Magic and type are reported, not judged.
    Magic,
    /// The body of a structure that is not used here is not read.
    OtherBody,
    /// A digest may be as long as a Name; it is compared as a whole.
    DigestLength,
    /// More banks, or wider bitmaps; they are compared as a whole.
    Selection,
}

/// TPMT_PUBLIC.
pub(crate) fn compare_public(data: &[u8], ours: Option<&Public>) {
    let theirs = all_of::<TpmtPublic>(data);
    match (ours, theirs) {
        (None, None) => {}
        (Some(ours), Some(theirs)) => match stricter_public(data, &theirs) {
            // One of them reads the counter as what follows it.
            Some(Stricter::EcdaaCounter) => {}
            rule => {
                unbroken(rule, data);
                same_public(ours, &theirs);
            }
        },
        (None, Some(theirs)) => {
            explained(stricter_public(data, &theirs), data);
        }
        (Some(ours), None) => {
            explained(later_public(ours), data);
        }
    }
}

fn same_public(ours: &Public, theirs: &TpmtPublicView<'_>) {
    assert_eq!(ours.name_alg.0, theirs.name_alg.value());
    assert_eq!(ours.attributes.0, theirs.object_attributes.bits());
    assert_eq!(ours.auth_policy, theirs.auth_policy.data());
    match (&ours.key, &theirs.unique) {
        (PublicKey::Rsa { modulus, .. }, TpmuPublicIdView::Rsa(unique)) => {
            assert_eq!(modulus, unique.data());
        }
        (PublicKey::Ecc { x, y, .. }, TpmuPublicIdView::Ecc(point)) => {
            let sized =
                |bytes: &[u8]| [&[0], [bytes.len().to_be_bytes()[7]].as_slice(), bytes].concat();
            assert_eq!([sized(x), sized(y)].concat(), point.as_bytes());
        }
        _ => panic!("{ours:?} is of another type"),
    }
}

fn stricter_public(data: &[u8], theirs: &TpmtPublicView<'_>) -> Option<Stricter> {
    let reserved = theirs.object_attributes.bits() & !DEFINED_ATTRIBUTES;
    match (&theirs.parameters, &theirs.unique) {
        _ if data.len() > limits::PUBLIC => Some(Stricter::Long),
        _ if reserved != 0 => Some(Stricter::ReservedAttributes),
        (TpmuPublicParmsView::Rsa(parameters), TpmuPublicIdView::Rsa(modulus)) => {
            let parameters = parameters.as_bytes();
            let [.., high, low, _, _, _, _] = parameters else {
                return None;
            };
            let bits = usize::from(u16::from_be_bytes([*high, *low]));
            let odd = !modulus.is_empty() && modulus.data().len() != bits.div_ceil(8);
            scheme(parameters).or(odd.then_some(Stricter::ModulusWidth))
        }
        (TpmuPublicParmsView::Ecc(parameters), TpmuPublicIdView::Ecc(point)) => {
            let odd = odd_coordinates(parameters.as_bytes(), point.as_bytes());
            scheme(parameters.as_bytes()).or(odd.then_some(Stricter::CoordinateWidth))
        }
        (TpmuPublicParmsView::Rsa(_) | TpmuPublicParmsView::Ecc(_), _) => None,
        _ => Some(Stricter::Type),
    }
}

/// The scheme behind the symmetric algorithm, if it is one of those that are read differently.
fn scheme(parameters: &[u8]) -> Option<Stricter> {
    match word(parameters, scheme_offset(parameters)) {
        ECMQV => Some(Stricter::Scheme),
        scheme if scheme == Algorithm::ECDAA.0 => Some(Stricter::EcdaaCounter),
        _ => None,
    }
}

/// Whether a coordinate is wider than the field of its curve, or shorter with leading zeros.
fn odd_coordinates(parameters: &[u8], point: &[u8]) -> bool {
    let scheme = scheme_offset(parameters);
    let has_hash = ![Algorithm::NULL.0, Algorithm::RSAES.0].contains(&word(parameters, scheme));
    let curve = word(parameters, scheme + if has_hash { 4 } else { 2 });
    let field = Curve::from_id(curve).map_or(128, Curve::field_size);
    let (x, rest) = point
        .get(2..)
        .unwrap_or_default()
        .split_at(usize::from(word(point, 0)));
    let y = rest.get(2..).unwrap_or_default();
    [x, y]
        .iter()
        .any(|part| part.len() > field || part.len() < field && part.first() == Some(&0))
}

fn scheme_offset(parameters: &[u8]) -> usize {
    if word(parameters, 0) == Algorithm::NULL.0 {
        2
    } else {
        6
    }
}

fn later_public(ours: &Public) -> Option<Later> {
    let unknown = |algorithm: Algorithm| TpmAlgId::try_from(algorithm.0).is_err();
    let hash = match ours.scheme {
        Scheme::Of { hash, .. } => hash,
        Scheme::Null => None,
    };
    let symmetric = match ours.symmetric {
        Symmetric::Cipher {
            algorithm, mode, ..
        } => Some((algorithm, mode)),
        Symmetric::Null => None,
    };
    let kdf = match &ours.key {
        PublicKey::Ecc { kdf, .. } => *kdf,
        PublicKey::Rsa { .. } => None,
    };
    if let PublicKey::Ecc { curve, x, y, .. } = &ours.key {
        if TpmEccCurve::try_from(*curve).is_err() {
            return Some(Later::UnknownCurve);
        }
        if Curve::from_id(*curve).is_none() && x.len().max(y.len()) > Curve::P521.field_size() {
            return Some(Later::WideCurve);
        }
    }
    let named = [
        Some(ours.name_alg),
        hash,
        symmetric.map(|(_, mode)| mode),
        kdf.map(|(_, hash)| hash),
    ];
    if matches!(ours.scheme, Scheme::Of { count: Some(_), .. }) {
        Some(Later::EcdaaCounter)
    } else if named.into_iter().flatten().any(unknown) {
        Some(Later::UnknownAlgorithm)
    } else if symmetric.is_some_and(|(cipher, _)| !CIPHERS.contains(&cipher.0))
        || kdf.is_some_and(|(kdf, _)| !KEY_DERIVATIONS.contains(&kdf.0))
    {
        Some(Later::OtherKind)
    } else {
        // XOR has a hash where ciphers have a size.
        match ours.symmetric {
            Symmetric::Cipher {
                algorithm: XOR,
                bits,
                ..
            } if unknown(Algorithm(bits)) => Some(Later::UnknownAlgorithm),
            _ => None,
        }
    }
}

/// TPMS_ATTEST.
pub(crate) fn compare_attest(data: &[u8], ours: Option<&Attest>) {
    let theirs = all_of::<TpmsAttest>(data);
    match (ours, theirs) {
        (None, None) => {}
        (Some(ours), Some(theirs)) => {
            assert_eq!(ours.kind, theirs.attest_type.value());
            assert_eq!(
                ours.qualified_signer.as_bytes(),
                theirs.qualified_signer.data()
            );
            assert_eq!(ours.extra_data, theirs.extra_data.data());
            assert_eq!(ours.firmware, theirs.firmware_version);
            let clock = Writer::new()
                .u64(ours.clock.clock)
                .u32(ours.clock.reset_count)
                .u32(ours.clock.restart_count)
                .u8(u8::from(ours.clock.safe));
            assert_eq!(clock.finish(), theirs.clock_info.as_bytes());
            same_body(ours, &theirs.attested);
            unbroken(stricter_attest(data, &theirs), data);
        }
        (None, Some(theirs)) => explained(stricter_attest(data, &theirs), data),
        (Some(ours), None) => {
            explained(later_attest(ours), data);
        }
    }
}

fn stricter_attest(data: &[u8], theirs: &TpmsAttestView<'_>) -> Option<Stricter> {
    let extra = theirs.extra_data.data().len() > MAX_DATA;
    let long = data.len() > limits::ATTEST;
    let long = long.then_some(Stricter::Long);
    long.or(extra.then_some(Stricter::ExtraData))
}

fn same_body(ours: &Attest, theirs: &TpmuAttestView<'_>) {
    let bytes = match theirs {
        TpmuAttestView::Certify(body) => body.as_bytes(),
        TpmuAttestView::Creation(body) => body.as_bytes(),
        TpmuAttestView::Quote(body) => body.as_bytes(),
        TpmuAttestView::CommandAudit(body) => body.as_bytes(),
        TpmuAttestView::SessionAudit(body) => body.as_bytes(),
        TpmuAttestView::Time(body) => body.as_bytes(),
        TpmuAttestView::Nv(body) => body.as_bytes(),
        TpmuAttestView::NvDigest(body) => body.as_bytes(),
    };
    assert!(ours.encode().ends_with(bytes));
    match (&ours.attested, theirs) {
        (Attested::Quote { digest, .. }, TpmuAttestView::Quote(_)) => {
            assert!(bytes.ends_with(digest));
        }
        (Attested::Creation { hash, .. }, TpmuAttestView::Creation(_)) => {
            assert!(bytes.ends_with(hash));
        }
        (Attested::Certify { qualified_name, .. }, TpmuAttestView::Certify(_)) => {
            assert!(bytes.ends_with(qualified_name.as_bytes()));
        }
        (Attested::Other(body), _) => assert_eq!(body, bytes),
        _ => panic!("{ours:?} is of another type"),
    }
}

fn later_attest(ours: &Attest) -> Option<Later> {
    let digest = match &ours.attested {
        _ if ours.magic != evidence::TPM_GENERATED => return Some(Later::Magic),
        Attested::Other(_) if !READ.contains(&ours.kind) => return Some(Later::OtherBody),
        Attested::Quote { selections, digest } => {
            if let Some(rule) = later_selections(selections) {
                return Some(rule);
            }
            digest
        }
        Attested::Creation { hash, .. } => hash,
        _ => return None,
    };
    (digest.len() > MAX_DIGEST).then_some(Later::DigestLength)
}

/// TPMT_SIGNATURE.
pub(crate) fn compare_signature(data: &[u8], ours: Option<&Signature>) {
    let theirs = all_of::<TpmtSignature>(data);
    match (ours, theirs) {
        (None, None) => {}
        (Some(ours), Some((algorithm, theirs))) => {
            assert_eq!(ours.algorithm.0, algorithm.value());
            let bytes = match theirs {
                TpmuSignatureView::Rsassa(value) | TpmuSignatureView::Rsapss(value) => {
                    value.as_bytes()
                }
                TpmuSignatureView::Ecdsa(value) => value.as_bytes(),
                _ => panic!("{ours:?} is of another scheme"),
            };
            assert_eq!(ours.encode()[2..], *bytes);
        }
        (None, Some((algorithm, _))) => {
            let used = [Algorithm::RSASSA.0, Algorithm::RSAPSS.0, Algorithm::ECDSA.0];
            let unused = !used.contains(&algorithm.value());
            explained(unused.then_some(Stricter::SignatureScheme), data);
        }
        (Some(ours), None) => {
            let unknown = TpmAlgId::try_from(ours.hash.0).is_err();
            explained(unknown.then_some(Later::UnknownAlgorithm), data);
        }
    }
}

/// TPML_PCR_SELECTION.
pub(crate) fn compare_selections(data: &[u8], ours: Option<&[PcrSelection]>) {
    let theirs = all_of::<TpmlPcrSelection>(data);
    match (ours, theirs) {
        (None, None) => {}
        (Some(ours), Some(theirs)) => {
            let count = u32::from_be_bytes(data[..4].try_into().expect("four bytes"));
            assert_eq!(u32::try_from(ours.len()), Ok(count));
            assert_eq!(theirs.as_bytes(), data);
        }
        (None, Some(_)) => explained(None::<Stricter>, data),
        (Some(ours), None) => explained(later_selections(ours), data),
    }
}

fn later_selections(ours: &[PcrSelection]) -> Option<Later> {
    let unknown = ours
        .iter()
        .any(|one| TpmAlgId::try_from(one.bank.0).is_err());
    let wide = ours.iter().any(|one| one.bitmap.len() > 4);
    if unknown {
        Some(Later::UnknownAlgorithm)
    } else {
        (wide || ours.len() > 8).then_some(Later::Selection)
    }
}

/// Where ours is stricter on purpose it does refuse.
fn unbroken(rule: Option<Stricter>, data: &[u8]) {
    assert_eq!(
        rule,
        None,
        "a rule is not enforced on {}",
        hex::encode(data)
    );
}

fn explained<R: Copy>(rule: Option<R>, data: &[u8]) {
    assert!(
        rule.is_some(),
        "no rule says why the two readers differ about {}",
        hex::encode(data)
    );
}

/// What the other reader sees in `data`, if that is one structure and nothing else.
fn all_of<'a, T: TpmField<'a>>(data: &'a [u8]) -> Option<T::View> {
    match T::cast_prefix_field(data) {
        Ok((view, [])) => Some(view),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    let word = bytes.get(at..at + 2).and_then(|word| word.try_into().ok());
    word.map_or(0, u16::from_be_bytes)
}

/// TPMA_OBJECT in revision 1.84 of the library.
const DEFINED_ATTRIBUTES: u32 = 0x000F_0FF6;
/// TPM_ALG_ECMQV.
const ECMQV: u16 = 0x001D;
const XOR: Algorithm = Algorithm(0x000A);
/// AES, SM4, Camellia, XOR.
const CIPHERS: [u16; 4] = [0x0006, 0x0013, 0x0026, 0x000A];
/// MGF1, KDF1-SP800-56A, KDF2, KDF1-SP800-108.
const KEY_DERIVATIONS: [u16; 4] = [0x0007, 0x0020, 0x0021, 0x0022];
/// The types whose bodies are read here.
const READ: [u16; 3] = [tag::ATTEST_QUOTE, tag::ATTEST_CREATION, tag::ATTEST_CERTIFY];
/// TPM2B_DATA: a TPMT_HA.
const MAX_DATA: usize = 66;
/// TPM2B_DIGEST.
const MAX_DIGEST: usize = 64;
