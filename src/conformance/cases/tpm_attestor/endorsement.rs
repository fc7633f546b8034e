//! Lies about the EK and its certificate, and machines that nobody vouches for.

use softtpm::{Lies, Prover};
use verify::Reason;

use super::{
    authority::{Authority, Flaw},
    exchange::{refused, variant},
};
use crate::{
    case::{Stop, environment, skip},
    loaded::Loaded,
    role::Role,
    status::refused as must_refuse,
    trial::Trial,
};

/// A server that trusts one maker, and a machine without a certificate.
async fn strict(trial: &mut Trial) -> Result<(Loaded, Authority, Prover), Stop> {
    let maker = Authority::new("Maker")?;
    trial.trust("maker", maker.certificate())?;
    let server = variant(trial, "certificates").await?;
    let prover = trial.prover()?;
    Ok((server, maker, prover))
}

pub(super) async fn none(trial: &mut Trial) -> Result<(), Stop> {
    let (server, _maker, mut prover) = strict(trial).await?;
    refused(trial, &server, &mut prover, Reason::EkCertMissing).await
}

pub(super) async fn of_a_stranger(trial: &mut Trial) -> Result<(), Stop> {
    let (server, _maker, mut prover) = strict(trial).await?;
    let stranger = Authority::new("Stranger")?;
    prover.certificate = Some(stranger.certify(&prover.tpm.ek_key().spki(), |_| ())?);
    refused(trial, &server, &mut prover, Reason::UntrustedChain).await
}

/// Another CA of the same name.
pub(super) async fn of_a_namesake(trial: &mut Trial) -> Result<(), Stop> {
    let (server, _maker, mut prover) = strict(trial).await?;
    let namesake = Authority::new("Maker")?;
    prover.certificate = Some(namesake.certify(&prover.tpm.ek_key().spki(), |_| ())?);
    refused(trial, &server, &mut prover, Reason::BadCertSignature).await
}

/// The certificate of a TPM that is somewhere else.
pub(super) async fn of_another_tpm(trial: &mut Trial) -> Result<(), Stop> {
    let (server, maker, mut prover) = strict(trial).await?;
    let other = softtpm::SoftTpm::generate();
    let other = other.map_err(|error| environment("the software TPM", error))?;
    prover.certificate = Some(maker.certify(&other.ek_key().spki(), |_| ())?);
    refused(trial, &server, &mut prover, Reason::EkKeyMismatch).await
}

/// What an agent brings along ends no chain.
pub(super) async fn with_the_strangers_root(trial: &mut Trial) -> Result<(), Stop> {
    let (server, _maker, mut prover) = strict(trial).await?;
    let stranger = Authority::new("Stranger")?;
    prover.certificate = Some(stranger.certify(&prover.tpm.ek_key().spki(), |_| ())?);
    prover.intermediates = vec![stranger.certificate().to_vec()];
    refused(trial, &server, &mut prover, Reason::UntrustedChain).await
}

pub(super) async fn flawed(trial: &mut Trial, flaw: Flaw, reason: Reason) -> Result<(), Stop> {
    let (server, maker, mut prover) = strict(trial).await?;
    let spki = prover.tpm.ek_key().spki();
    prover.certificate = Some(maker.certify(&spki, |parameters| flaw.put_into(parameters))?);
    refused(trial, &server, &mut prover, reason).await
}

pub(super) async fn bytes(
    trial: &mut Trial,
    change: fn(&mut Vec<u8>),
    reason: Reason,
) -> Result<(), Stop> {
    let (server, maker, mut prover) = strict(trial).await?;
    prover.certificate = Some(maker.certify(&prover.tpm.ek_key().spki(), |_| ())?);
    prover.lies = Lies::none().offer(move |offer| {
        if let Some(certificate) = &mut offer.ek.certificate {
            change(certificate);
        }
    });
    refused(trial, &server, &mut prover, reason).await
}

pub(super) async fn of_another_kind(trial: &mut Trial) -> Result<(), Stop> {
    let server = variant(trial, "RSA EKs").await?;
    let mut prover = trial.prover()?;
    refused(trial, &server, &mut prover, Reason::EkProfileDenied).await
}

/// Secure Boot cannot be told without a log of what was booted.
pub(super) async fn no_boot_log(trial: &mut Trial) -> Result<(), Stop> {
    let server = variant(trial, "Secure Boot").await?;
    let mut prover = trial.prover()?;
    refused(trial, &server, &mut prover, Reason::EventlogMissing).await
}

/// A server that is told of nobody whom it may trust must not trust everybody.
pub(super) async fn trusts_nobody_by_default(trial: &mut Trial) -> Result<(), Stop> {
    let good = trial.good_text(Role::Server).await?;
    if good.trim().is_empty() {
        return Err(skip("its good configuration is empty"));
    }
    let server = trial.load_role(Role::Server).await?;
    let answer = server
        .configure(Some(trial.candidate().trust_domain()), "")
        .await;
    must_refuse(answer, &[]).map(drop)
}
