//! The one thread that owns the TPM: it opens it once, keeps its keys, and answers one at a time.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use evidence::{
    Capability, Credential, Evidence, Hash, Offer, PcrBank, PcrSelection, Proof, Response,
    Transcript, pcr_digest,
};
use tokio::sync::oneshot;
use tpm::Options;

use crate::config::{Settings, TpmSettings};
use crate::event_log::{EventLog, Offered};
use crate::failure::Failure;

/// Hands jobs to the thread.
#[derive(Debug, Clone)]
pub(crate) struct Worker(SyncSender<Job>);

/// What the thread does.
struct Job {
    settings: Arc<Settings>,
    task: Task,
}

enum Task {
    Prepare,
    Offer(oneshot::Sender<Result<Offer, Failure>>),
    Answer(Box<Question>, oneshot::Sender<Result<Response, Failure>>),
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
        let (sender, receiver) = sync_channel(QUEUE);
        thread::Builder::new()
            .name("tpm".to_owned())
            .spawn(move || run(&receiver))?;
        Ok(Self(sender))
    }

    /// Opens the TPM and makes the keys ahead of the first attestation.
    pub(crate) fn prepare(&self, settings: Arc<Settings>) {
        // Full means that attestations wait, which prepare the TPM themselves.
        self.0
            .try_send(Job {
                settings,
                task: Task::Prepare,
            })
            .ok();
    }

    /// What the machine offers.
    pub(crate) async fn offer(&self, settings: Arc<Settings>) -> Result<Offer, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(settings, Task::Offer(reply))?;
        answer.await.map_err(|_gone| Failure::NoWorker)?
    }

    /// The answer to a challenge.
    pub(crate) async fn answer(
        &self,
        settings: Arc<Settings>,
        question: Question,
    ) -> Result<Response, Failure> {
        let (reply, answer) = oneshot::channel();
        self.send(settings, Task::Answer(Box::new(question), reply))?;
        answer.await.map_err(|_gone| Failure::NoWorker)?
    }

    fn send(&self, settings: Arc<Settings>, task: Task) -> Result<(), Failure> {
        self.0
            .try_send(Job { settings, task })
            .map_err(|_full| Failure::NoWorker)
    }
}

/// The TPM and the settings it was opened with.
struct Opened {
    settings: TpmSettings,
    attestor: tpm::Attestor,
}

fn run(jobs: &Receiver<Job>) {
    let mut opened = None;
    while let Ok(Job { settings, task }) = jobs.recv() {
        let deadline = Instant::now() + settings.tpm_timeout;
        match task {
            Task::Prepare => {
                if let Err(error) = attestor(&mut opened, &settings, deadline) {
                    let hint = error.hint().unwrap_or_default();
                    tracing::warn!(%error, hint, "the TPM is not ready yet");
                }
            }
            // A caller that is gone wants no answer, and the TPM no work.
            Task::Offer(reply) if reply.is_closed() => {}
            Task::Answer(_, reply) if reply.is_closed() => {}
            Task::Offer(reply) => {
                reply.send(offer(&mut opened, &settings, deadline)).ok();
            }
            Task::Answer(question, reply) => {
                reply
                    .send(answer(&mut opened, &settings, &question, deadline))
                    .ok();
            }
        }
    }
}

fn offer(
    opened: &mut Option<Opened>,
    settings: &Settings,
    deadline: Instant,
) -> Result<Offer, Failure> {
    let log = match &settings.event_log {
        Some(log) => log.offered().map_err(|error| log.failure(error))?,
        None => Offered::Nothing,
    };
    let mut evidence = vec![Capability::Quote];
    if log != Offered::Nothing {
        evidence.push(Capability::Log);
    }
    let parts = attestor(opened, settings, deadline)?.offer();
    let mut offer = parts.into_offer(evidence, boot_id());
    if let (Offered::Log(sha256), Some(extension)) = (log, &mut offer.extension) {
        extension.log_sha256 = Some(sha256);
    }
    Ok(offer)
}

fn answer(
    opened: &mut Option<Opened>,
    settings: &Settings,
    question: &Question,
    deadline: Instant,
) -> Result<Response, Failure> {
    let attestor = attestor(opened, settings, deadline)?;
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

/// The open TPM; another one when the settings name another.
fn attestor<'a>(
    opened: &'a mut Option<Opened>,
    settings: &Settings,
    deadline: Instant,
) -> Result<&'a mut tpm::Attestor, tpm::Error> {
    let current = match opened.take() {
        Some(current) if current.settings == settings.tpm => current,
        other => {
            // A raw device and a software TPM take one connection at a time.
            drop(other);
            open(&settings.tpm, deadline)?
        }
    };
    Ok(&mut opened.insert(current).attestor)
}

fn open(settings: &TpmSettings, deadline: Instant) -> Result<Opened, tpm::Error> {
    let tpm = tpm::open(&settings.device, deadline)?;
    let options = Options {
        ek: settings.ek,
        ek_certificate: settings.certificate.clone(),
        ak: settings.ak,
        endorsement_auth: settings.endorsement_auth.clone(),
        owner_auth: settings.owner_auth.clone(),
        ..Options::default()
    };
    let attestor = tpm::Attestor::open(tpm, options, deadline)?;
    Ok(Opened {
        settings: settings.clone(),
        attestor,
    })
}

/// The kernel's id of this boot, where /proc has it.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| id.len() <= evidence::limits::TEXT)
}

/// Jobs that may wait for the TPM.
const QUEUE: usize = 64;
