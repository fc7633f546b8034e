//! Whole exchanges with the verifier: nobody gets in whom another reading of the same bytes would keep out.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use evidence::{
    AkTemplate, Attest, AttestationKey, Attributes, Capability, Challenge, Creation,
    EndorsementKey, Evidence, Hash, Offer, OfferExtension, Proof, Public, Response, Secret,
    Transcript, VERSION, limits,
};
use softtpm::{Generation, KeyKind, Lies, Prover};
use tpm2_protocol::TpmField;
use tpm2_protocol::data::{TpmsAttest, TpmuAttestView};
use verify::{EkTrust, LegacyAgents, Method, Pending, Policy, Reason, Request, begin};

use crate::certificates::refused;
use crate::der::signed_part;
use crate::exchange_keys::{
    can_be_certified, certification, certified, keys_begun, offer_keys, sha256,
};
use crate::machine::{ANCHORS, Counter, NOW, PKI, TRUST_DOMAIN, give_keys, policy, prover};
use crate::parts::Parts;

/// A payload as SPIRE hands it over, or one that is well formed with any contents.
pub(crate) fn first_message(data: &[u8]) {
    begin_with(data);
}

/// Why it is refused, if it is.
pub(crate) fn begin_with(data: &[u8]) -> Option<Reason> {
    let mut parts = Parts::of(data);
    let (choice, raw) = (parts.byte(), parts.byte());
    let payload = if raw & 1 == 0 {
        parts.rest().to_vec()
    } else {
        offer(parts).encode()
    };
    let policy = policy(choice);
    let judge = || begin(&payload, &policy, &ANCHORS, NOW, &mut Counter(0));
    let read = Request::read(payload.clone(), &policy).map(|request| request.is_costly(&ANCHORS));
    match judge() {
        Ok((challenge, pending)) => {
            assert!(read.is_ok());
            let offer = Offer::decode(&payload).expect("it was read before");
            begun(&offer, &policy, &challenge, &pending);
            None
        }
        Err(rejection) => {
            assert_eq!(judge().err(), Some(rejection.clone()), "the same twice");
            refused(&rejection);
            Some(rejection.reason)
        }
    }
}

/// An offer of parts, empty ones absent.
fn offer(mut parts: Parts<'_>) -> Offer {
    let shape = parts.byte();
    let mut part = || parts.next().to_vec();
    let mut offer = Offer {
        ek: EndorsementKey {
            certificate: some(part()),
            public_key: some(part()),
        },
        ak: AttestationKey {
            public: part(),
            creation: (shape & 1 == 0).then(|| Creation {
                data: part(),
                attestation: part(),
                signature: part(),
            }),
        },
        extension: (shape & 2 == 0).then(|| OfferExtension {
            min_version: VERSION - u32::from(shape & 4 != 0),
            max_version: VERSION + u32::from(shape & 8 != 0),
            evidence: if shape & 16 == 0 {
                vec![Capability::Quote]
            } else {
                Vec::new()
            },
            ek_intermediates: (0..shape >> 5).map(|_| part()).collect(),
            svid_keys: Vec::new(),
            svid_parent: None,
            log_sha256: None,
            boot_id: None,
        }),
    };
    if let Some(extension) = &mut offer.extension {
        offer_keys(extension, &mut parts);
    }
    offer
}

pub(crate) fn some(bytes: Vec<u8>) -> Option<Vec<u8>> {
    (!bytes.is_empty()).then_some(bytes)
}

/// What is true of every offer that gets a challenge.
fn begun(offer: &Offer, policy: &Policy, challenge: &[u8], pending: &Pending) {
    let key = offer.ek.public_key.as_deref().map(verify::parse_public_key);
    if let Some(key) = key {
        assert_eq!(key.map(|key| key.ek_hash()), Ok(pending.claimed_ek()));
    }
    assert!(challenge.len() <= limits::CHALLENGE);
    let challenge = Challenge::decode(challenge).expect("what we write we read");
    assert_eq!(challenge.extension.is_some(), offer.extension.is_some());
    assert!(offer.extension.is_some() || policy.legacy_agents == LegacyAgents::Allow);
    if let Some(extension) = challenge.extension {
        assert_eq!(extension.pcrs, policy.pcrs);
        assert!(extension.nonce.iter().any(|byte| *byte != 0));
        let offered = offer.extension.as_ref().expect("both or none");
        assert_eq!(extension.certify, can_be_certified(offered));
    }
    keys_begun(offer, policy, pending);
    let ak = Public::parse(&offer.ak.public).expect("a public area");
    let needed = Attributes::FIXED_TPM | Attributes::FIXED_PARENT | Attributes::RESTRICTED;
    assert!(
        ak.attributes
            .has(needed | Attributes::SIGN | Attributes::SENSITIVE_DATA_ORIGIN)
    );
    assert!(!ak.attributes.has_any(Attributes::DECRYPT));
    assert!(ak.auth_policy.len() <= 64 && ak.name().is_some());
    assert_ne!(
        ak.subject_key().map(|key| key.ek_hash()),
        Some(pending.claimed_ek())
    );
    if matches!(policy.ek_trust, EkTrust::Certificate | EkTrust::Both) {
        let sent = offer
            .ek
            .certificate
            .as_deref()
            .expect("a certificate is needed");
        let sent = verify::EkCertificate::parse(sent).expect("it was read before");
        let issued = PKI.certify(sent.key());
        assert_eq!(
            signed_part(sent.der()),
            signed_part(&issued),
            "never issued"
        );
        assert_eq!(sent.key().ek_hash(), pending.claimed_ek());
    }
}

/// A response to the challenge: as it came, or made by somebody who knows the secret.
pub(crate) fn last_message(data: &[u8]) {
    finish_with(data);
}

/// Why it is refused, if it is.
pub(crate) fn finish_with(data: &[u8]) -> Option<Reason> {
    let mut parts = Parts::of(data);
    let choice = parts.byte();
    let machine = match (choice & 3, choice & 4) {
        (3, _) => &*OLD,
        (_, 0) => &*CURRENT,
        _ => &*KEYED,
    };
    let policy = policy(3);
    let begun = begin(&machine.payload, &policy, &ANCHORS, NOW, &mut Counter(0));
    let (challenge, pending) = begun.expect("an honest machine");
    let transcript = Transcript::new(TRUST_DOMAIN, &machine.payload, &challenge);
    let secret = secret();
    let bindings = Bindings {
        quote: secret.quote_binding(&transcript),
        keys: secret.certify_binding(&transcript),
    };
    let prove = |evidence: Vec<u8>| {
        let proof = secret.proof(&transcript, &evidence, &[]);
        let proof = Proof {
            evidence,
            log: None,
            proof,
        };
        Response::Proof(proof).encode().to_vec()
    };
    let (response, evidence) = match choice & 3 {
        // Whoever sends it, once to a server that expects the secret itself.
        0 | 3 => (parts.rest().to_vec(), None),
        // The EK's holder sends any document.
        1 => {
            let document = parts.rest().to_vec();
            (prove(document.clone()), Some(document))
        }
        // A TPM that signs anything, over any values.
        _ => {
            let document = quoted(&machine.prover, &bindings, choice, &mut parts).encode();
            (prove(document.clone()), Some(document))
        }
    };
    let outcome = pending.finish(&response);
    let reason = outcome.as_ref().err().map(|rejection| rejection.reason);
    let hash = machine.prover.tpm.ek_hash();
    match (outcome, choice & 3) {
        (Ok(attested), 3) => {
            assert!(matches!(attested.method(), Method::Credential));
            assert_eq!(Response::decode(&response), Ok(Response::Secret(secret)));
            assert_eq!(attested.ek_hash(), hash);
        }
        (Ok(attested), 2) => {
            assert_eq!(attested.ek_hash(), hash);
            let evidence = Evidence::decode(&evidence.expect("a document")).expect("a document");
            proven(&evidence, &machine.prover, &bindings.quote);
            let offer = Offer::decode(&machine.payload).expect("an honest payload");
            certified(&offer, &evidence, &bindings.keys, &attested);
            let keys = machine.prover.tpm.svid_keys.iter();
            let pkix = keys.map(|key| sha256(&key.pkix()));
            assert!(
                pkix.eq(attested
                    .svid_keys()
                    .iter()
                    .map(|key| key.spki_sha256().to_vec()))
            );
        }
        (Ok(_), _) => panic!("nobody signed that"),
        (Err(rejection), _) => {
            refused(&rejection);
            let is_proven = evidence.is_some() && response.len() <= limits::RESPONSE;
            assert!(!is_proven || rejection.reason != Reason::ProofMismatch);
        }
    }
    reason
}

/// What quotes and certifications of an exchange are bound to it by.
struct Bindings {
    quote: [u8; 32],
    keys: [u8; 32],
}

/// A quote by the AK over what the parts say, and what they say of keys: of each, or, by the choice, of one less or a few
/// more.
fn quoted(prover: &Prover, bindings: &Bindings, choice: u8, parts: &mut Parts<'_>) -> Evidence {
    let (quote, signature) = signed(prover, &bindings.quote, parts.next());
    let values = parts.next();
    let pcrs = Evidence::decode(values).map(|evidence| evidence.pcrs);
    let count = prover.tpm.svid_keys.len() + usize::from(choice >> 4 & 3);
    let certifications = (0..count.saturating_sub(usize::from(choice >> 3 & 1)))
        .map(|index| certification(prover, index, &bindings.keys, parts));
    Evidence {
        quote,
        signature,
        pcrs: pcrs.unwrap_or_default(),
        certifications: certifications.collect(),
    }
}

/// Whatever it says, by the AK. The binding is put in where an attestation structure has one of its size: nobody guesses it.
fn signed(prover: &Prover, binding: &[u8; 32], structure: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let bytes = bound(binding, structure);
    let signature = prover.tpm.sign(&bytes).expect("a signature").encode();
    (bytes, signature)
}

pub(crate) fn bound(binding: &[u8; 32], structure: &[u8]) -> Vec<u8> {
    match Attest::parse(structure) {
        Ok(mut attest) if attest.extra_data.len() == binding.len() => {
            attest.extra_data = binding.to_vec();
            attest.encode()
        }
        _ => structure.to_vec(),
    }
}

/// What is true of every quote that is accepted, as another reader of TPM structures sees it.
fn proven(evidence: &Evidence, prover: &Prover, binding: &[u8; 32]) {
    let (attest, rest) = TpmsAttest::cast_prefix_field(&evidence.quote).expect("a structure");
    assert!(rest.is_empty());
    assert_eq!(attest.extra_data.data(), binding);
    let signer = prover.tpm.ak.qualified_name().expect("a Name");
    assert_eq!(attest.qualified_signer.data(), signer.as_bytes());
    let TpmuAttestView::Quote(quote) = attest.attested else {
        panic!("no quote")
    };
    let wanted = policy(3).pcrs;
    let [bank] = evidence.pcrs.as_slice() else {
        panic!("one bank was asked for")
    };
    let indices: BTreeSet<u8> = bank.values.keys().copied().collect();
    assert_eq!(
        (bank.hash, indices),
        (wanted[0].0, wanted[0].1.iter().copied().collect())
    );
    let values: Vec<_> = bank.values.values().map(Vec::as_slice).collect();
    assert!(quote.as_bytes().ends_with(&Hash::Sha256.digest(&values)));
}

/// The first bytes of [`Counter`].
fn secret() -> Secret {
    let mut bytes = vec![0; 32];
    verify::Entropy::fill(&mut Counter(0), &mut bytes);
    Secret::new(bytes)
}

/// A machine, and its payload.
pub(crate) struct Machine {
    pub(crate) prover: Prover,
    payload: Vec<u8>,
}

impl Machine {
    pub(crate) fn new(generation: Generation, keys: usize) -> Self {
        let mut prover = prover(KeyKind::Rsa2048, AkTemplate::EccP256, generation);
        give_keys(&mut prover, keys);
        // To judge it is not the point here.
        prover.certificate = None;
        // A storage root key that no key hangs under proves nothing.
        let root = prover.tpm.storage_root().expect("a storage root key");
        prover.lies = Lies::none().offer(move |offer| {
            if let Some(extension) = &mut offer.extension {
                extension.svid_parent = Some(root.as_bytes().to_vec());
            }
        });
        let payload = prover.payload().expect("a payload");
        Self { prover, payload }
    }
}

static CURRENT: LazyLock<Machine> = LazyLock::new(|| Machine::new(Generation::Current, 0));
static KEYED: LazyLock<Machine> = LazyLock::new(|| Machine::new(Generation::Current, 2));
static OLD: LazyLock<Machine> = LazyLock::new(|| Machine::new(Generation::First, 0));

/// Honest exchanges.
pub(crate) mod seeds {
    use evidence::{
        AkTemplate, Attest, Evidence, Hash, Name, PcrSelection, Public, Response, Scheme,
    };
    use softtpm::{Ak, Generation, KeyKind, SoftTpm};

    use super::{Machine, secret};
    use crate::exchange_keys::{near_certifications, near_keys};
    use crate::machine::{PKI, exchanges};
    use crate::parts::part;

    pub(crate) fn first_message() -> Vec<Vec<u8>> {
        let raw = exchanges()
            .into_iter()
            .map(|[payload, ..]| [&[0, 0], payload.as_slice()].concat());
        let offer = |kind, ak, shape: u8| {
            let mut tpm = SoftTpm::sample(kind, ak).expect("samples");
            let certificate = PKI.certify(tpm.ek_key());
            let offer = tpm.offer(Some(&certificate)).expect("an offer");
            let creation = offer.ak.creation.expect("a creation");
            let parts = [
                part(&certificate),
                part(&tpm.ek_key().spki()),
                part(&offer.ak.public),
                part(&creation.data),
                part(&creation.attestation),
                part(&creation.signature),
                part(&PKI.ca),
            ];
            [&[0, 1, shape][..], &parts.concat()].concat()
        };
        let built = [
            offer(KeyKind::P256, AkTemplate::EccP256, 0x20),
            offer(KeyKind::Rsa2048, AkTemplate::Rsa2048, 0x02),
            offer(KeyKind::P384, AkTemplate::EccP256, 0x02),
        ];
        raw.chain(built)
            .chain(near_aks())
            .chain(near_keys())
            .collect()
    }

    /// Offers of an enrolled EK with AKs that are none, each for one reason.
    fn near_aks() -> Vec<Vec<u8>> {
        use evidence::Attributes as A;
        let tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).expect("samples");
        let bits = [
            0,
            A::FIXED_TPM,
            A::FIXED_PARENT,
            A::SENSITIVE_DATA_ORIGIN,
            A::RESTRICTED,
            A::SIGN,
            A::DECRYPT,
            A::X509_SIGN,
        ];
        let attributes = bits.map(|bits| {
            let flip = |public: &mut Public| public.attributes.0 ^= bits;
            tpm.ak.clone().altered(flip).expect("an AK")
        });
        let scheme = |public: &mut Public| public.scheme = Scheme::Null;
        let scheme = tpm.ak.clone().altered(scheme).expect("an AK");
        let offer = |ak: Ak| {
            let key = part(&tpm.ek_key().spki());
            let parts = [part(&[]), key, part(ak.public.as_bytes())];
            [&[3, 1, 1][..], &parts.concat()].concat()
        };
        attributes.into_iter().chain([scheme]).map(offer).collect()
    }

    pub(crate) fn last_message() -> Vec<Vec<u8>> {
        let mut tpm = Machine::new(Generation::Current, 0).prover.tpm;
        let selections = [PcrSelection::new(Hash::Sha256, &[0, 4, 7])];
        let evidence = tpm.quote(&[7; 32], &selections).expect("a quote");
        let revealed = Response::Secret(secret()).encode();
        let honest = exchanges()
            .into_iter()
            .map(|[.., response]| [&[0], response.as_slice()].concat());
        let made = [
            [&[1], evidence.encode().as_slice()].concat(),
            [&[3], revealed.as_slice()].concat(),
        ];
        honest
            .chain(made)
            .chain(near_quotes(&mut tpm))
            .chain(near_certifications())
            .collect()
    }

    /// A quote, and some that prove less, each in one way.
    fn near_quotes(tpm: &mut SoftTpm) -> Vec<Vec<u8>> {
        let wanted = [PcrSelection::new(Hash::Sha256, &[0, 4, 7])];
        let fewer = [PcrSelection::new(Hash::Sha256, &[0, 4])];
        let other = [PcrSelection::new(Hash::Sha384, &[0, 4, 7])];
        let values = |tpm: &SoftTpm, selections: &[PcrSelection]| Evidence {
            quote: Vec::new(),
            signature: Vec::new(),
            pcrs: tpm.read_pcrs(selections),
            certifications: Vec::new(),
        };
        let quoted = |quote: Attest, values: Evidence| {
            [
                &[2],
                [part(&quote.encode()), part(&values.encode())]
                    .concat()
                    .as_slice(),
            ]
            .concat()
        };
        let quote = tpm.quote_structure(&[7; 32], &wanted).expect("a quote");
        let bends: [fn(&mut Attest); 5] = [
            |_| {},
            |quote| quote.magic += 1,
            |quote| quote.kind += 1,
            |quote| quote.extra_data = vec![7; 31],
            |quote| quote.qualified_signer = Name::from_bytes(&[0, 11]),
        ];
        let bent = bends.map(|bend| {
            let mut quote = quote.clone();
            bend(&mut quote);
            quoted(quote, values(tpm, &wanted))
        });
        let less = [&fewer, &other].map(|selections| {
            let quote = tpm.quote_structure(&[7; 32], selections).expect("a quote");
            quoted(quote, values(tpm, selections))
        });
        let mut lie = values(tpm, &wanted);
        lie.pcrs[0].values.insert(4, vec![0; 32]);
        let lie = quoted(quote, lie);
        bent.into_iter().chain(less).chain([lie]).collect()
    }
}
