//! Attestations that the kit's software TPM holds with a server's plugin, with a lie in them.

use plugin::AgentAttributes;
use softtpm::{Ak, Lies, Prover};
use tokio::time::timeout;
use tonic::{Code, Status};
use verify::{Fault, Reason};

use crate::{
    case::{Stop, environment, failed, hold, skip},
    loaded::Loaded,
    role::Role,
    server::Reply,
    status::{code_name, told},
    trial::{PATIENCE, Trial},
};

/// The server with its first good configuration.
pub(super) async fn configured(trial: &mut Trial) -> Result<Loaded, Stop> {
    trial.configured_role(Role::Server).await
}

/// The server with the variant of its configuration that the subject file has under that name.
pub(super) async fn variant(trial: &mut Trial, name: &str) -> Result<Loaded, Stop> {
    let text = trial.plugin(Role::Server)?.variants.get(name).cloned();
    let text = text.ok_or_else(|| skip(format!("the subject file has no variant {name:?}")))?;
    let text = trial.filled(Role::Server, &text).await?;
    let server = trial.load_role(Role::Server).await?;
    trial.configure(&server, &text).await?;
    Ok(server)
}

/// A whole attestation, to its verdict.
pub(super) async fn attest(
    trial: &Trial,
    server: &Loaded,
    prover: &mut Prover,
) -> Result<Result<AgentAttributes, Status>, Stop> {
    let mut exchange = trial.open(server).await?;
    let payload = prover
        .payload()
        .map_err(|error| environment("the software TPM", error))?;
    exchange.payload(&payload).await;
    loop {
        let reply = timeout(PATIENCE, exchange.reply()).await;
        match reply.map_err(|_elapsed| failed("nothing", "a verdict or a refusal"))? {
            Err(status) => return Ok(Err(status)),
            Ok(Reply::Attributes(attributes)) => return Ok(Ok(attributes)),
            Ok(Reply::Challenge(challenge)) => {
                let answer = prover.answer(&payload, &challenge);
                let answer = answer.map_err(|error| environment("the software TPM", error))?;
                exchange.respond(&answer).await;
            }
            Ok(other) => return Err(failed(format!("{other:?}"), "a verdict or a refusal")),
        }
    }
}

/// The machine of the trial tells a lie, and is refused for that reason.
pub(super) async fn lie(trial: &mut Trial, lies: Lies, reason: Reason) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    prover.lies = lies;
    refused(trial, &server, &mut prover, reason).await
}

/// The machine of the trial has another AK, and is refused for that reason.
pub(super) async fn with_ak(
    trial: &mut Trial,
    ak: impl FnOnce(Ak) -> Result<Ak, softtpm::TpmError>,
    reason: Reason,
) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    prover.tpm.ak =
        ak(prover.tpm.ak.clone()).map_err(|error| environment("the software TPM", error))?;
    refused(trial, &server, &mut prover, reason).await
}

/// It is refused for that reason, and an honest machine is not.
pub(super) async fn refused(
    trial: &mut Trial,
    server: &Loaded,
    prover: &mut Prover,
    reason: Reason,
) -> Result<(), Stop> {
    let answer = attest(trial, server, prover).await?;
    is_refusal(trial, answer, reason)?;
    Ok(())
}

/// Code and message, as far as the subject file says that they are ours.
pub(super) fn is_refusal<T: std::fmt::Debug>(
    trial: &Trial,
    answer: Result<T, Status>,
    reason: Reason,
) -> Result<(), Stop> {
    let exact = trial.candidate().expect.reason_codes;
    let code = code_of(reason.fault());
    let right = if exact {
        format!("{}: {}: …", code_name(code), reason.code())
    } else {
        format!("a refusal: {}", reason.sentence())
    };
    match answer {
        Ok(granted) => Err(failed(format!("{granted:?}"), right)),
        Err(status) if status.code() == Code::Unavailable => Err(failed(told(&status), right)),
        Err(status) => {
            let same = status.code() == code
                && status
                    .message()
                    .starts_with(&format!("{}: ", reason.code()));
            hold(!exact || same, || told(&status), right)
        }
    }
}

fn code_of(fault: Fault) -> Code {
    match fault {
        Fault::Malformed => Code::InvalidArgument,
        Fault::Misbehaved | Fault::Untrusted | Fault::Denied => Code::PermissionDenied,
        Fault::Limit => Code::ResourceExhausted,
        Fault::Deadline => Code::DeadlineExceeded,
        Fault::Unavailable => Code::Unavailable,
        Fault::Bug => Code::Internal,
    }
}

/// These bytes as the payload are refused for that reason.
pub(super) async fn payload(trial: &mut Trial, bytes: Vec<u8>, reason: Reason) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut exchange = trial.open(&server).await?;
    exchange.payload(&bytes).await;
    let reply = timeout(PATIENCE, exchange.reply()).await;
    let reply = reply.map_err(|_elapsed| failed("nothing", "a refusal"))?;
    is_refusal(trial, reply, reason)
}

/// An honest machine is granted what it proved.
pub(super) async fn granted(
    trial: &mut Trial,
    server: &Loaded,
    prover: &mut Prover,
) -> Result<AgentAttributes, Stop> {
    let hash = prover.tpm.ek_hash();
    let answer = attest(trial, server, prover).await?;
    let attributes = answer.map_err(|status| failed(told(&status), "a verdict"))?;
    let domain = trial.candidate().trust_domain();
    let id = format!("spiffe://{domain}/spire/agent/tpm/{}", hash.hex());
    hold(
        attributes.spiffe_id == id,
        || attributes.spiffe_id.clone(),
        id,
    )?;
    Ok(attributes)
}
