//! Machines with software TPMs, their agent's plugin, and a verifier in this process that judges what it says.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use conformance::{Loaded, Side};
use evidence::{Attest, Evidence, Hash, Offer, Response, parse_pem};
use plugin::Status;
use tests::{Manufacturer, ResourceManager, Secrets, Swtpm};
use verify::{
    Anchors, CrlPolicy, Denials, EkKind, EkTrust, Enrolment, Entropy, Grant, LegacyAgents, Pending,
    Policy, Rejection, begin, decide,
};

use crate::process_plugin::{TRUST_DOMAIN, configured};

/// Distinct bytes, and all that was taken: first of each attestation its secret.
#[derive(Default)]
pub(crate) struct Recorder {
    count: u64,
    pub(crate) taken: Vec<Vec<u8>>,
}

impl Entropy for Recorder {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        self.count += 1;
        let block = |index: u8| Hash::Sha256.digest(&[&self.count.to_be_bytes(), &[index]]);
        let stream = (0..=u8::MAX).flat_map(block);
        for (byte, random) in out.iter_mut().zip(stream) {
            *byte = random;
        }
        Secrets::known().learn("a verifier's entropy", out);
        self.taken.push(out.to_vec());
        true
    }
}

/// What a server's plugin decides with, without the plugin.
pub(crate) struct Verifier {
    policy: Policy,
    anchors: Anchors,
    enrolment: Enrolment,
    pub(crate) entropy: Recorder,
}

impl Verifier {
    /// Everybody is enrolled.
    pub(crate) fn open() -> Self {
        Self {
            policy: policy(EkTrust::Enrolment),
            anchors: Anchors::default(),
            enrolment: Enrolment::Enrolled,
            entropy: Recorder::default(),
        }
    }

    /// Only EKs with a certificate that leads to one of these, in DER.
    pub(crate) fn strict(anchors: Vec<Vec<u8>>) -> Self {
        Self {
            policy: policy(EkTrust::Certificate),
            anchors: Anchors::new(anchors, []).0,
            enrolment: Enrolment::NotKept,
            entropy: Recorder::default(),
        }
    }

    pub(crate) fn begin(&mut self, payload: &[u8]) -> (Vec<u8>, Pending) {
        begin(
            payload,
            &self.policy,
            &self.anchors,
            now(),
            &mut self.entropy,
        )
        .unwrap()
    }

    pub(crate) fn decide(&self, pending: Pending, response: &[u8]) -> Result<Grant, Rejection> {
        learn(response);
        let attested = pending.finish(response)?;
        let history = verify::History::NotKept;
        let (denials, policy) = (Denials::default(), &self.policy);
        decide(&attested, self.enrolment, &denials, policy, &history, 0, 0)
    }

    /// A challenge of the first generation for the machine that made the offer, and what waits for its answer.
    pub(crate) fn old_challenge(&mut self, payload: &[u8]) -> (Vec<u8>, Pending) {
        let mut offer = Offer::decode(payload).unwrap();
        offer.extension = None;
        self.begin(&offer.encode())
    }

    /// A whole attestation by an agent's plugin.
    pub(crate) async fn attest(&mut self, agent: &Loaded) -> Result<Grant, Status> {
        let mut exchange = agent.aid().await?;
        let payload = exchange.payload().await?;
        let (challenge, pending) = self.begin(&payload);
        let response = exchange.challenge(&challenge).await?;
        assert_eq!(exchange.answer().await?, None);
        Ok(self.decide(pending, &response).unwrap())
    }
}

/// What is secret in a response: the secret itself, or the HMACs by it.
pub(crate) fn learn(response: &[u8]) {
    match Response::decode(response).unwrap() {
        Response::Secret(secret) => Secrets::known().learn("a bare secret", secret.expose()),
        Response::Proof(proof) => {
            Secrets::known().learn("a proof", &proof.proof);
            let evidence = Evidence::decode(&proof.evidence).unwrap();
            let binding = |attest: &[u8]| Attest::parse(attest).unwrap().extra_data;
            Secrets::known().learn("a quote's binding", &binding(&evidence.quote));
            for certification in &evidence.certifications {
                let binding = binding(&certification.attest);
                Secrets::known().learn("a certification's binding", &binding);
            }
        }
    }
}

/// The certificates of a maker's authorities, in DER.
pub(crate) fn authorities(maker: &Manufacturer) -> Vec<Vec<u8>> {
    [maker.root(), maker.issuer()]
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            // swtpm's tools write a description before the PEM.
            let (_, pem) = text.split_once("-----BEGIN").unwrap();
            let blocks = parse_pem(&format!("-----BEGIN{pem}"), 8).unwrap();
            blocks.into_iter().map(|block| block.contents)
        })
        .collect()
}

/// Configuration for a TPM behind a unix socket.
pub(crate) fn on(socket: &std::path::Path, more: &str) -> String {
    format!("device = \"unix:{}\"\n{more}", socket.display())
}

/// An agent's plugin with this TPM alone.
pub(crate) async fn agent(tpm: &Swtpm, more: &str) -> Loaded {
    configured(Side::Agent, &on(tpm.socket(), more)).await
}

/// An agent's plugin with a TPM that keeps a journal.
pub(crate) async fn watched_agent(manager: &ResourceManager, more: &str) -> Loaded {
    configured(Side::Agent, &on(manager.socket(), more)).await
}

fn policy(ek_trust: EkTrust) -> Policy {
    Policy {
        trust_domain: TRUST_DOMAIN.to_owned(),
        ek_trust,
        ek_kinds: EkKind::ALL.to_vec(),
        accept_expired_ek: false,
        crl_policy: CrlPolicy::Use,
        legacy_agents: LegacyAgents::Allow,
        vendors: None,
        pcrs: vec![(Hash::Sha256, (0..8).collect())],
        state: verify::StatePolicy::default(),
        svid_keys: verify::SvidKeys::default(),
        tpm_clear: verify::OnChange::default(),
        ak_change: verify::OnChange::default(),
        unexpected_reset: verify::OnReset::default(),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
