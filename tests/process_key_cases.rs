//! What each refusal about an SVID key takes (group G), as [`crate::process_refusal_cases`] has it.

use evidence::{Attest, Attested, Attributes, Name, Public, SvidKeyTemplate, tag};
use plugin::Code;
use softtpm::{Key, KeyKind, Lies, Prover, Role, SvidKey};
use verify::Reason;

use crate::process_grants::machine;
use crate::process_refusal_cases::Case;
use crate::process_refusal_cases::Move::{Answer, Challenge, Offer};
use crate::process_store::make_key;

/// All of them.
pub(crate) fn key_cases() -> Vec<Case> {
    offered().into_iter().chain(certified()).collect()
}

/// A machine with two SVID keys, as an agent has while it rotates.
fn keyed() -> Prover {
    let mut prover = machine();
    make_key(&mut prover.tpm);
    make_key(&mut prover.tpm);
    prover
}

fn case(name: &'static str, reason: Reason, prover: Prover, is_judged: bool) -> Case {
    let code = if reason.fault() == verify::Fault::Malformed {
        Code::InvalidArgument
    } else {
        Code::PermissionDenied
    };
    let mut moves = vec![Offer];
    if is_judged {
        moves.extend([Challenge, Answer]);
    }
    Case {
        name,
        reason,
        code,
        more: "",
        prover,
        moves,
    }
}

/// A machine whose second key is another one.
fn with_key(change: impl FnOnce(SvidKey) -> SvidKey) -> Prover {
    let mut prover = keyed();
    let key = prover.tpm.svid_keys.pop().unwrap();
    prover.tpm.svid_keys.push(change(key));
    prover
}

fn altered(change: impl FnOnce(&mut Public)) -> Prover {
    with_key(|key| key.altered(change).unwrap())
}

/// The AK's numbers under the attributes of an SVID key.
fn the_ak() -> Prover {
    let mut prover = keyed();
    let key = prover.tpm.svid_keys.pop().unwrap();
    let ak = prover.tpm.ak.key.clone();
    prover.tpm.svid_keys.push(SvidKey::new(ak, key.parent));
    prover
}

/// Keys that are refused as they are offered.
fn offered() -> Vec<Case> {
    let other = || Key::sample(Role::Other, KeyKind::P256).unwrap();
    let offer = |change: fn(&mut evidence::OfferExtension)| {
        let mut prover = keyed();
        prover.lies = Lies::none().offer(move |offer| change(offer.extension.as_mut().unwrap()));
        prover
    };
    let attributes = Reason::CertifyAttributes;
    let malformed = Reason::MalformedSvidKey;
    vec![
        case(
            "tpm/G02 made in software",
            attributes,
            with_key(|_key| SvidKey::external(other())),
            false,
        ),
        case(
            "tpm/G03 may leave the TPM",
            attributes,
            altered(|public| public.attributes.0 &= !Attributes::FIXED_TPM),
            false,
        ),
        case(
            "tpm/G04 restricted",
            attributes,
            altered(|public| public.attributes.0 |= Attributes::RESTRICTED),
            false,
        ),
        case(
            "decrypts",
            attributes,
            altered(|public| public.attributes.0 |= Attributes::DECRYPT),
            false,
        ),
        case(
            "no key",
            malformed,
            offer(|extension| extension.svid_keys[1].truncate(7)),
            false,
        ),
        case(
            "no parent",
            malformed,
            offer(|extension| extension.svid_parent = None),
            false,
        ),
        case(
            "twice",
            malformed,
            offer(|extension| extension.svid_keys[1] = extension.svid_keys[0].clone()),
            false,
        ),
        case("the AK", Reason::KeyReuse, the_ak(), false),
    ]
}

fn lying(lies: Lies) -> Prover {
    let mut prover = keyed();
    prover.lies = lies.only_certification(1);
    prover
}

fn told(change: fn(&mut Attest)) -> Prover {
    lying(Lies::none().certification(change))
}

fn other_name(attest: &mut Attest) {
    if let Attested::Certify { name, .. } = &mut attest.attested {
        *name = SvidKeyTemplate::EccP256.public().name().unwrap();
    }
}

fn creation(attest: &mut Attest) {
    attest.kind = tag::ATTEST_CREATION;
    attest.attested = Attested::Creation {
        name: Name::from_bytes(&[0, 11]),
        hash: vec![0; 32],
    };
}

/// Keys whose certification is none.
fn certified() -> Vec<Case> {
    let judged = |name, reason, prover| case(name, reason, prover, true);
    let itself = || {
        let mut prover = keyed();
        let key = prover.tpm.svid_keys[1].clone();
        let (algorithm, hash) = key.scheme();
        let lies = Lies::none().certifier(key.key, algorithm, hash);
        prover.lies = lies.only_certification(1);
        prover
    };
    let elsewhere = || {
        let parent = machine().tpm.storage_parent().unwrap();
        with_key(|key| key.under(parent))
    };
    let list = |change: fn(&mut Vec<evidence::KeyCertification>)| {
        let mut prover = keyed();
        prover.lies = Lies::none().certifications(change);
        prover
    };
    let unasked = || {
        let mut prover = keyed();
        prover.lies = Lies::none()
            .offer(|offer| offer.extension.as_mut().unwrap().evidence.truncate(1))
            .asked(|asked| asked.certify = true);
        prover
    };
    let nonce = Reason::NonceMismatch;
    let inconsistent = Reason::InconsistentEvidence;
    vec![
        judged("tpm/G01", Reason::CertifyName, told(other_name)),
        judged("tpm/G05", nonce, told(|attest| attest.extra_data.clear())),
        judged("tpm/G07", Reason::BadSignature, itself()),
        judged("tpm/G08", Reason::WrongAttestType, told(creation)),
        judged(
            "no structure",
            Reason::MalformedAttest,
            lying(Lies::none().certified(|bytes| bytes.push(0))),
        ),
        judged(
            "no TPM's",
            Reason::BadMagic,
            told(|attest| attest.magic ^= 1),
        ),
        judged(
            "another signer's name",
            Reason::QualifiedSigner,
            told(|attest| attest.qualified_signer = Name::from_bytes(&[0, 11])),
        ),
        judged("below another key", Reason::CertifyParent, elsewhere()),
        judged(
            "one less",
            Reason::CertifyMissing,
            list(|all| all.truncate(1)),
        ),
        judged("swapped", Reason::CertifyName, list(|all| all.swap(0, 1))),
        judged("unasked", Reason::UnsolicitedEvidence, unasked()),
        judged("tpm/E28", inconsistent, told(|attest| attest.firmware += 1)),
        judged(
            "tpm/E29",
            inconsistent,
            told(|attest| attest.clock.reset_count += 1),
        ),
        judged(
            "another hash",
            Reason::SignatureScheme,
            lying(Lies::none().certification_signature(|signature| {
                signature.hash = evidence::Algorithm::SHA384;
            })),
        ),
    ]
}
