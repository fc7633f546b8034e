//! A machine with a certified EK, and the server's side of its exchanges: what inputs are made from and judged with.

use std::sync::LazyLock;

use evidence::{AkTemplate, Hash, SubjectKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, SubjectPublicKeyInfo, date_time_ymd,
};
use softtpm::{Generation, Key, KeyKind, Prover, Role, SoftTpm, SvidKey};
use verify::{
    Anchors, CrlPolicy, EkKind, EkTrust, Entropy, LegacyAgents, Policy, StatePolicy, SvidKeys,
};

use crate::der::{element, integer};

/// 2026-11-24 in Unix seconds.
pub(crate) const NOW: i64 = 1_795_478_400;
pub(crate) const TRUST_DOMAIN: &str = "example.org";

/// A root that is the anchor, a CA below it that the agent offers, and EK certificates of that CA.
pub(crate) struct Pki {
    pub(crate) root: Vec<u8>,
    pub(crate) ca: Vec<u8>,
    /// A list of the root's that revokes nothing.
    pub(crate) root_list: Vec<u8>,
    root_key: Key,
    ca_key: Key,
    issuer: Issuer<'static, KeyPair>,
}

/// Who signs what a target made up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signer {
    Root,
    Ca,
}

/// The PKI that all targets use.
pub(crate) static PKI: LazyLock<Pki> = LazyLock::new(Pki::new);

/// The root, and the CA as what helps to build chains; nothing is revoked.
pub(crate) static ANCHORS: LazyLock<Anchors> =
    LazyLock::new(|| Anchors::new([PKI.root.clone()], [PKI.ca.clone()]).0);

impl Pki {
    fn new() -> Self {
        let key = |role| Key::sample(role, KeyKind::P256).expect("a sample");
        let (root_key, ca_key) = (key(Role::Ak), key(Role::Other));
        let (root_pair, ca_pair) = (pair(&root_key), pair(&ca_key));
        let (root, ca) = (authority("Root", 1), authority("CA", 2));
        let root_der = root.self_signed(&root_pair).expect("a root").der().to_vec();
        let root_issuer = Issuer::new(root, root_pair);
        let ca_der = ca
            .signed_by(&ca_pair, &root_issuer)
            .expect("a CA")
            .der()
            .to_vec();
        Self {
            root: root_der,
            ca: ca_der,
            root_list: list(&root_issuer, &[]),
            root_key,
            ca_key,
            issuer: Issuer::new(ca, ca_pair),
        }
    }

    /// An EK certificate (TCG EK Credential Profile 2.6, section 3) in DER.
    pub(crate) fn certify(&self, ek: &SubjectKey) -> Vec<u8> {
        self.certify_bent(ek, |_| {})
    }

    /// The same, but for one thing.
    fn certify_bent(&self, ek: &SubjectKey, bend: fn(&mut CertificateParams)) -> Vec<u8> {
        let usage = match ek {
            SubjectKey::Rsa { .. } => KeyUsagePurpose::KeyEncipherment,
            SubjectKey::Ec { .. } => KeyUsagePurpose::KeyAgreement,
        };
        let mut parameters = parameters("EK", LEAF_SERIAL);
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![usage];
        parameters.extended_key_usages = vec![purpose(1)];
        parameters.custom_extensions = vec![CustomExtension::from_oid_content(
            &ALTERNATIVE_NAME,
            alternative_name(),
        )];
        bend(&mut parameters);
        let key = SubjectPublicKeyInfo::from_der(&ek.spki()).expect("an EK");
        let certificate = parameters.signed_by(&key, &self.issuer);
        certificate.expect("a certificate").der().to_vec()
    }

    /// Certificates each of which breaks one rule of an EK certificate's.
    pub(crate) fn near_eks(&self, ek: &SubjectKey) -> Vec<Vec<u8>> {
        let bends: [fn(&mut CertificateParams); 11] = [
            |leaf| leaf.key_usages.push(KeyUsagePurpose::DigitalSignature),
            |leaf| leaf.key_usages.push(KeyUsagePurpose::KeyCertSign),
            |leaf| leaf.key_usages.clear(),
            |leaf| leaf.key_usages = vec![KeyUsagePurpose::DataEncipherment],
            |leaf| leaf.extended_key_usages.push(purpose(3)),
            |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
            |leaf| leaf.extended_key_usages.clear(),
            |leaf| leaf.custom_extensions.clear(),
            |leaf| leaf.is_ca = IsCa::NoCa,
            |leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            |leaf| leaf.not_after = date_time_ymd(2025, 1, 1),
        ];
        bends.map(|bend| self.certify_bent(ek, bend)).to_vec()
    }

    /// Certificates each of which breaks one rule of a CA's.
    pub(crate) fn near_cas(&self) -> Vec<Vec<u8>> {
        let bends: [fn(&mut CertificateParams); 4] = [
            |ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign],
            |ca| ca.is_ca = IsCa::ExplicitNoCa,
            |ca| ca.is_ca = IsCa::NoCa,
            |ca| ca.not_after = date_time_ymd(2025, 1, 1),
        ];
        let root = Issuer::new(authority("Root", 1), pair(&self.root_key));
        let near = |bend: fn(&mut CertificateParams)| {
            let mut ca = authority("CA", 2);
            bend(&mut ca);
            let certificate = ca.signed_by(&pair(&self.ca_key), &root);
            certificate.expect("a certificate").der().to_vec()
        };
        bends.map(near).to_vec()
    }

    /// A list of the CA's that revokes these serial numbers.
    pub(crate) fn list(&self, serials: &[u8]) -> Vec<u8> {
        list(&self.issuer, serials)
    }
}

fn list(issuer: &Issuer<'static, KeyPair>, serials: &[u8]) -> Vec<u8> {
    let revoked = |serial: &u8| RevokedCertParams {
        serial_number: SerialNumber::from(vec![*serial]),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let parameters = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 11, 1),
        next_update: date_time_ymd(2026, 12, 1),
        crl_number: SerialNumber::from(vec![1]),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    parameters.signed_by(issuer).expect("a list").der().to_vec()
}

/// The serial number of every EK certificate here.
pub(crate) const LEAF_SERIAL: u8 = 0x42;

/// Distinct bytes, never zero: the secret is its first 32.
pub(crate) struct Counter(pub(crate) u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        for byte in out {
            self.0 = self.0.wrapping_add(1).max(1);
            *byte = self.0;
        }
        true
    }
}

/// What an operator may have configured, by the bits of a choice.
pub(crate) fn policy(choice: u8) -> Policy {
    let trusts = [
        EkTrust::Certificate,
        EkTrust::Either,
        EkTrust::Both,
        EkTrust::Enrolment,
    ];
    let when = |bit: u8| choice & bit != 0;
    Policy {
        trust_domain: TRUST_DOMAIN.to_owned(),
        ek_trust: trusts[usize::from(choice & 3)],
        ek_kinds: EkKind::ALL.to_vec(),
        accept_expired_ek: when(4),
        vendors: None,
        crl_policy: if when(8) {
            CrlPolicy::Require
        } else {
            CrlPolicy::Use
        },
        legacy_agents: if when(16) {
            LegacyAgents::Deny
        } else {
            LegacyAgents::Allow
        },
        pcrs: vec![(Hash::Sha256, vec![0, 4, 7])],
        state: StatePolicy::default(),
        svid_keys: if when(32) {
            SvidKeys::Require
        } else {
            SvidKeys::Observe
        },
        tpm_clear: verify::OnChange::default(),
        ak_change: verify::OnChange::default(),
        unexpected_reset: verify::OnReset::default(),
    }
}

/// A machine, with its certificate and the CA's.
pub(crate) fn prover(ek: KeyKind, ak: AkTemplate, generation: Generation) -> Prover {
    let tpm = SoftTpm::sample(ek, ak).expect("samples");
    let certificate = PKI.certify(tpm.ek_key());
    let mut prover = Prover::new(tpm, TRUST_DOMAIN);
    prover.certificate = Some(certificate);
    prover.intermediates = vec![PKI.ca.clone()];
    prover.generation = generation;
    prover
}

/// A payload, the challenge to it and the response: of the kinds of machine that inputs are made from.
pub(crate) fn exchanges() -> Vec<[Vec<u8>; 3]> {
    let kinds = [
        (KeyKind::P256, AkTemplate::EccP256, Generation::Current, 0),
        (
            KeyKind::Rsa2048,
            AkTemplate::Rsa2048,
            Generation::Current,
            0,
        ),
        (KeyKind::P384, AkTemplate::Rsa2048, Generation::First, 0),
        (KeyKind::P256, AkTemplate::EccP256, Generation::Current, 2),
    ];
    let exchange = |kind| {
        let (ek, ak, generation, keys) = kind;
        let mut prover = prover(ek, ak, generation);
        give_keys(&mut prover, keys);
        let payload = prover.payload().expect("an honest payload");
        let begun = verify::begin(&payload, &policy(0), &ANCHORS, NOW, &mut Counter(0));
        let challenge = begun
            .unwrap_or_else(|refusal| panic!("{kind:?}: {refusal:?}"))
            .0;
        let response = prover
            .answer(&payload, &challenge)
            .expect("an honest answer");
        [payload, challenge, response]
    };
    kinds.map(exchange).to_vec()
}

/// The kinds of keys that agents have for their SVIDs, always the same ones.
pub(crate) fn give_keys(prover: &mut Prover, count: usize) {
    let parent = prover.tpm.storage_parent().expect("a storage root key");
    let kinds = [KeyKind::P384, KeyKind::Rsa2048, KeyKind::P521];
    for kind in kinds.into_iter().take(count) {
        let key = Key::sample(Role::Other, kind).expect("a sample");
        prover.tpm.svid_keys.push(SvidKey::new(key, parent.clone()));
    }
}

fn pair(key: &Key) -> KeyPair {
    KeyPair::try_from(key.pkcs8()).expect("a sample key")
}

fn parameters(name: &str, serial: u8) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.serial_number = Some(SerialNumber::from(vec![serial]));
    parameters.use_authority_key_identifier_extension = true;
    (parameters.not_before, parameters.not_after) =
        (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    parameters
}

fn authority(name: &str, serial: u8) -> CertificateParams {
    let mut parameters = parameters(name, serial);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// tcg-kp-EKCertificate is 1, tcg-kp-AIKCertificate 3.
fn purpose(number: u64) -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, number])
}

/// subjectAltName.
const ALTERNATIVE_NAME: [u64; 4] = [2, 5, 29, 17];

/// A GeneralNames of one directory name with a TPM's manufacturer, model and version.
fn alternative_name() -> Vec<u8> {
    let attribute = |number: u8, value: &str| {
        let oid = element(0x06, &[0x67, 0x81, 0x05, 0x02, number]);
        let value = element(0x0C, value.as_bytes());
        element(0x31, &element(0x30, &[oid, value].concat()))
    };
    let names = [
        attribute(1, "id:53544D20"),
        attribute(2, "ST33HTPH"),
        attribute(3, "id:00010102"),
    ];
    element(0x30, &element(0xA4, &element(0x30, &names.concat())))
}

/// `signed` with a good signature: a certificate or a list, whatever it says.
pub(crate) fn sign(signer: Signer, signed: &[u8]) -> Vec<u8> {
    let key = match signer {
        Signer::Root => &PKI.root_key,
        Signer::Ca => &PKI.ca_key,
    };
    let algorithm = evidence::Algorithm::ECDSA;
    let signature = key
        .sign(algorithm, Hash::Sha256, signed)
        .expect("a signature");
    let evidence::SignatureValue::Ecdsa { r, s } = signature.value else {
        unreachable!("both keys are on a curve")
    };
    let value = element(0x30, &[integer(&r), integer(&s)].concat());
    let bits = element(0x03, &[&[0], value.as_slice()].concat());
    element(0x30, &[signed, &ECDSA_WITH_SHA256, &bits].concat())
}

/// AlgorithmIdentifier of ecdsa-with-SHA256.
const ECDSA_WITH_SHA256: [u8; 12] = [
    0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02,
];
