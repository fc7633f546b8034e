//! The one thread that owns the TPM: it opens it once, keeps its keys, and answers one at a time.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use evidence::{
    Capability, Credential, Evidence, Hash, KeyCertification, Offer, OfferExtension, PcrBank,
    PcrSelection, Proof, Response, Secret, Transcript, pcr_digest,
};
use tpm::{Options, WrappedKey};

use crate::config::{Settings, TpmSettings};
use crate::event_log::{EventLog, Offered};
use crate::failure::Failure;
use crate::svid_keys::{self, Unloadable};
use crate::tpm_thread::{Opened, TpmThread};

/// Hands jobs to the thread.
#[derive(Debug)]
pub(crate) struct Worker(TpmThread<Machine>);

/// What the attestor's thread owns.
#[derive(Default)]
struct Machine {
    tpm: OpenTpm,
    unloadable: Unloadable,
}

/// The TPM, once it is open.
type OpenTpm = Option<Opened<TpmSettings, tpm::Attestor>>;

/// The first message, and what it speaks of.
pub(crate) struct Introduction {
    pub(crate) offer: Offer,
    /// The SVID keys of the offer, in its order.
    pub(crate) svid_keys: Vec<WrappedKey>,
}

/// A challenge, and how to answer it.
pub(crate) struct Question {
    pub(crate) credential: Credential,
    pub(crate) quote: Option<QuoteWanted>,
}

/// A quote that proves the transcript.
pub(crate) struct QuoteWanted {
    pub(crate) transcript: Transcript,
    pub(crate) selections: Vec<PcrSelection>,
    /// The boot event log that goes with it.
    pub(crate) log: Option<LogWanted>,
    /// The keys that are certified beside it.
    pub(crate) certify: Vec<WrappedKey>,
}

/// The boot event log, and when it may be left out.
pub(crate) struct LogWanted {
    pub(crate) file: EventLog,
    /// SHA-256 of the PCR values with which the server knows what the log proves.
    pub(crate) known_pcrs: Option<[u8; 32]>,
}

impl LogWanted {
    /// Whether the server knows what the log proves with these values.
    fn is_known(&self, selections: &[PcrSelection], quoted: &[PcrBank]) -> bool {
        self.known_pcrs.is_some_and(|known| {
            let values = pcr_digest(Hash::Sha256, selections, quoted);
            values.is_some_and(|values| values == known)
        })
    }

    fn read(&self) -> Result<Vec<u8>, Failure> {
        self.file.read().map_err(|error| self.file.failure(error))
    }
}

impl Worker {
    /// Starts the thread; it ends when the last handle is dropped.
    pub(crate) fn start() -> io::Result<Self> {
        TpmThread::start(QUEUE).map(Self)
    }

    /// Drops what is in the TPM.
    pub(crate) async fn let_go(&self) {
        self.0.let_go().await;
    }

    /// Opens the TPM and makes the keys ahead of the first attestation. A full queue means that
    /// attestations wait, which prepare the TPM themselves.
    pub(crate) fn prepare(&self, settings: Arc<Settings>) {
        self.0.tell(move |machine| {
            let deadline = Instant::now() + settings.tpm_timeout;
            if let Err(error) = attestor(&mut machine.tpm, &settings, deadline) {
                let hint = error.hint().unwrap_or_default();
                tracing::warn!(%error, hint, "the TPM is not ready yet");
            }
        });
    }

    /// What the machine offers.
    pub(crate) async fn introduce(&self, settings: Arc<Settings>) -> Result<Introduction, Failure> {
        let introduce = move |machine: &mut Machine| {
            let deadline = Instant::now() + settings.tpm_timeout;
            introduction(machine, &settings, deadline)
        };
        self.0.ask(introduce).await
    }

    /// The answer to a challenge.
    pub(crate) async fn answer(
        &self,
        settings: Arc<Settings>,
        question: Question,
    ) -> Result<Response, Failure> {
        let answer = move |machine: &mut Machine| {
            let deadline = Instant::now() + settings.tpm_timeout;
            answer(machine, &settings, &question, deadline)
        };
        self.0.ask(answer).await
    }
}

fn introduction(
    machine: &mut Machine,
    settings: &Settings,
    deadline: Instant,
) -> Result<Introduction, Failure> {
    let log = match &settings.event_log {
        Some(log) => log.offered().map_err(|error| log.failure(error))?,
        None => Offered::Nothing,
    };
    let keys = match &settings.keys_path {
        Some(path) => svid_keys::read(path)?,
        None => Vec::new(),
    };
    machine.unloadable.forget_all_but(&keys);
    let mut evidence = vec![Capability::Quote];
    if log != Offered::Nothing {
        evidence.push(Capability::Log);
    }
    let attestor = attestor(&mut machine.tpm, settings, deadline)?;
    let mut offer = attestor.offer().into_offer(evidence, boot_id());
    let mut svid_keys = Vec::new();
    if let Some(extension) = &mut offer.extension {
        if let Offered::Log(sha256) = log {
            extension.log_sha256 = Some(sha256);
        }
        if !keys.is_empty() {
            let parent = attestor.storage_root(deadline)?;
            let below = parent.name();
            let keys = machine.unloadable.leave_out(below.as_ref(), keys);
            svid_keys = svid_keys::below(below.as_ref(), keys);
            add_keys(extension, parent.as_bytes(), &svid_keys);
        }
    }
    Ok(Introduction { offer, svid_keys })
}

fn add_keys(extension: &mut OfferExtension, parent: &[u8], keys: &[WrappedKey]) {
    if !keys.is_empty() {
        extension.evidence.push(Capability::Certify);
        extension.svid_parent = Some(parent.to_vec());
        extension.svid_keys = keys
            .iter()
            .map(|key| key.public.as_bytes().to_vec())
            .collect();
    }
}

fn answer(
    machine: &mut Machine,
    settings: &Settings,
    question: &Question,
    deadline: Instant,
) -> Result<Response, Failure> {
    let attestor = attestor(&mut machine.tpm, settings, deadline)?;
    let Some(wanted) = &question.quote else {
        let secret = attestor.activate(&question.credential, deadline)?;
        return Ok(Response::Secret(secret));
    };
    // First where it is needed for certain, so that the TPM does not work in vain. The firmware's log does not grow any more.
    let certain = wanted.log.as_ref().filter(|log| log.known_pcrs.is_none());
    let mut log = certain.map(LogWanted::read).transpose()?;
    let secret = attestor.activate(&question.credential, deadline)?;
    let binding = secret.quote_binding(&wanted.transcript);
    let quoted = attestor.quote(&binding, &wanted.selections, deadline)?;
    if let (None, Some(asked)) = (&log, &wanted.log)
        && !asked.is_known(&wanted.selections, &quoted.pcrs)
    {
        log = Some(asked.read()?);
    }
    let evidence = Evidence {
        quote: quoted.signed.attest,
        signature: quoted.signed.signature,
        pcrs: quoted.pcrs,
        certifications: certifications(
            attestor,
            &mut machine.unloadable,
            wanted,
            &secret,
            deadline,
        )?,
    }
    .encode();
    let covered = log.as_deref().unwrap_or_default();
    let proof = secret.proof(&wanted.transcript, &evidence, covered);
    Ok(Response::Proof(Proof {
        evidence,
        log,
        proof,
    }))
}

/// One for each key that was offered, if the server asks for them. A key that the TPM does not load fails this attestation
/// and no other.
fn certifications(
    attestor: &mut tpm::Attestor,
    unloadable: &mut Unloadable,
    wanted: &QuoteWanted,
    secret: &Secret,
    deadline: Instant,
) -> Result<Vec<KeyCertification>, Failure> {
    let binding = secret.certify_binding(&wanted.transcript);
    let signed = attestor.certify(&wanted.certify, &binding, deadline);
    if let Err(tpm::Error::ForeignKey) = &signed {
        unloadable.find(attestor, &wanted.certify, &binding, deadline);
    }
    let certifications = signed?.into_iter().map(|signed| KeyCertification {
        attest: signed.attest,
        signature: signed.signature,
    });
    Ok(certifications.collect())
}

/// The open TPM; another one when the settings name another.
fn attestor<'a>(
    opened: &'a mut OpenTpm,
    settings: &Settings,
    deadline: Instant,
) -> Result<&'a mut tpm::Attestor, tpm::Error> {
    let tpm = &settings.tpm;
    Opened::with(opened, tpm, || open(tpm, deadline))
}

fn open(settings: &TpmSettings, deadline: Instant) -> Result<tpm::Attestor, tpm::Error> {
    let tpm = tpm::open(&settings.device, deadline)?;
    let options = Options {
        ek: settings.ek,
        ek_certificate: settings.certificate.clone(),
        ak: settings.ak,
        endorsement_auth: settings.endorsement_auth.clone(),
        owner_auth: settings.owner_auth.clone(),
        ..Options::default()
    };
    tpm::Attestor::open(tpm, options, deadline)
}

/// The kernel's id of this boot, where /proc has it.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| id.len() <= evidence::limits::TEXT)
}

/// Jobs that may wait for the TPM.
const QUEUE: usize = 64;
