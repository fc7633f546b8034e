//! Lies about the AK.

use evidence::{Algorithm, Attributes, Hash, PublicKey, Scheme};
use softtpm::{Ak, Key, KeyKind, Lies, Parent, Role};
use verify::Reason;

use super::{
    exchange::{configured, lie, refused, with_ak},
    machines::old_machine,
};
use crate::{
    case::{Stop, environment},
    trial::Trial,
};

/// One bit of the attributes is the other way round.
pub(super) async fn attribute(trial: &mut Trial, bit: u32) -> Result<(), Stop> {
    let flip =
        |ak: Ak| ak.altered(|public| public.attributes = Attributes(public.attributes.0 ^ bit));
    with_ak(trial, flip, Reason::AkAttributes).await
}

pub(super) async fn no_scheme(trial: &mut Trial) -> Result<(), Stop> {
    let null = |ak: Ak| ak.altered(|public| public.scheme = Scheme::Null);
    with_ak(trial, null, Reason::AkScheme).await
}

pub(super) async fn scheme(
    trial: &mut Trial,
    algorithm: Algorithm,
    hash: Algorithm,
) -> Result<(), Stop> {
    let scheme = Scheme::Of {
        algorithm,
        hash: Some(hash),
        count: None,
    };
    with_ak(
        trial,
        |ak| ak.altered(|public| public.scheme = scheme),
        Reason::AkScheme,
    )
    .await
}

pub(super) async fn name_algorithm(trial: &mut Trial) -> Result<(), Stop> {
    let weak = |ak: Ak| ak.altered(|public| public.name_alg = Algorithm::SHA1);
    with_ak(trial, weak, Reason::AkNameAlg).await
}

/// A point that is on no curve.
pub(super) async fn curve(trial: &mut Trial, curve: u16, reason: Reason) -> Result<(), Stop> {
    let key = PublicKey::Ecc {
        curve,
        kdf: None,
        x: vec![1; 32],
        y: vec![1; 32],
    };
    with_ak(trial, |ak| ak.altered(|public| public.key = key), reason).await
}

pub(super) async fn rsa(trial: &mut Trial, bits: u16, exponent: u32) -> Result<(), Stop> {
    let modulus = vec![0xC1; usize::from(bits) / 8];
    let key = PublicKey::Rsa {
        bits,
        exponent,
        modulus,
    };
    let weak = |_: Ak| {
        let sample = Key::sample(Role::Ak, KeyKind::Rsa2048)?;
        Ak::new(sample, Algorithm::RSASSA, Hash::Sha256).altered(|public| public.key = key)
    };
    with_ak(trial, weak, Reason::WeakKey).await
}

pub(super) async fn is_the_ek(trial: &mut Trial) -> Result<(), Stop> {
    let ek = trial.prover()?.tpm.ek.clone();
    let same = |_: Ak| Ok(Ak::new(ek, Algorithm::ECDSA, Hash::Sha256));
    with_ak(trial, same, Reason::KeyReuse).await
}

/// The bytes of the public area.
pub(super) async fn area(
    trial: &mut Trial,
    change: fn(&mut Vec<u8>),
    reason: Reason,
) -> Result<(), Stop> {
    lie(
        trial,
        Lies::none().offer(move |offer| change(&mut offer.ak.public)),
        reason,
    )
    .await
}

/// Bit 31 of the attributes (TPM 2.0 Library, part 2, section 8.3).
pub(super) fn reserved_bit(area: &mut [u8]) {
    if let Some(byte) = area.get_mut(4) {
        *byte |= 0x80;
    }
}

/// TPM_ALG_SYMCIPHER in place of the type.
pub(super) fn symmetric(area: &mut [u8]) {
    if let Some(byte) = area.get_mut(1) {
        *byte = 0x25;
    }
}

pub(super) async fn is_a_subject_public_key(trial: &mut Trial) -> Result<(), Stop> {
    let spki = trial.prover()?.tpm.ak.key.subject_key().spki();
    let lies = Lies::none().offer(move |offer| offer.ak.public.clone_from(&spki));
    lie(trial, lies, Reason::MalformedPublic).await
}

/// A perfect key in the wrong hierarchy: what it signs has its counters masked.
pub(super) async fn is_below_the_storage_root(trial: &mut Trial) -> Result<(), Stop> {
    let below = |ak: Ak| Ok(ak.under(Parent::srk()?));
    with_ak(trial, below, Reason::QualifiedSigner).await
}

/// Its TPM has the AK and not the EK: it can only guess.
pub(super) async fn is_of_another_tpm(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = trial.prover()?;
    let other = softtpm::SoftTpm::generate();
    let other = other.map_err(|error| environment("the software TPM", error))?;
    prover.tpm.ak = other.ak;
    prover.lies = Lies::none().guess(&[9; 32]);
    refused(trial, &server, &mut prover, Reason::ProofMismatch).await
}

pub(super) async fn creation_of_old_agents(trial: &mut Trial) -> Result<(), Stop> {
    let server = configured(trial).await?;
    let mut prover = old_machine(trial)?;
    prover.lies = Lies::none().creation(|attest| attest.magic = 0);
    refused(trial, &server, &mut prover, Reason::CreationMismatch).await
}
