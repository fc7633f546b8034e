//! The checks of a quote: that this AK signed, for this exchange, exactly the PCRs asked for.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{
    Algorithm, Attest, Attested, ClockInfo, Evidence, Hash, Malformed, PcrBank, PcrSelection,
    Signature, TPM_GENERATED, pcr_digest, tag,
};
use subtle::ConstantTimeEq;

use crate::attestation_key::AttestationKey;
use crate::signature::verify_signature;
use crate::{Reason, Rejection};

/// A quote that passed every check.
#[derive(Debug, Clone)]
pub struct Quoted {
    banks: Vec<PcrBank>,
    clock: ClockInfo,
    firmware: u64,
}

impl Quoted {
    /// The PCR values that the TPM vouches for.
    pub fn banks(&self) -> &[PcrBank] {
        &self.banks
    }

    /// The TPM's clock, reset and restart counters.
    pub fn clock(&self) -> ClockInfo {
        self.clock
    }

    /// The TPM's firmware version.
    pub fn firmware(&self) -> u64 {
        self.firmware
    }

    /// Checks `evidence` as made by `ak` with extraData `binding` over the PCRs `wanted`.
    pub(crate) fn check(
        evidence: Evidence,
        ak: &AttestationKey,
        binding: &[u8; 32],
        wanted: &[(Hash, Vec<u8>)],
    ) -> Result<Self, Rejection> {
        let attest = Attest::parse(&evidence.quote).map_err(|_bad| Reason::MalformedAttest)?;
        check_origin(&attest, tag::ATTEST_QUOTE, ak, binding)?;
        let Attested::Quote { selections, digest } = &attest.attested else {
            return Err(Reason::WrongAttestType.into());
        };
        check_selections(selections, wanted)?;
        check_values(&evidence.pcrs, wanted)?;
        check_digest(ak.scheme().hash, selections, &evidence.pcrs, digest)?;
        let signature = read_signature(&evidence.signature)?;
        verify_signature(ak.key(), ak.scheme(), &evidence.quote, &signature)?;
        Ok(Self {
            banks: evidence.pcrs,
            clock: attest.clock,
            firmware: attest.firmware,
        })
    }
}

/// That `ak` says so, in this exchange, and of the `kind` of thing that was asked for; whether it signed that is for the
/// signature to show.
pub(crate) fn check_origin(
    attest: &Attest,
    kind: u16,
    ak: &AttestationKey,
    binding: &[u8; 32],
) -> Result<(), Reason> {
    // TPM library part 2, section 10.12.12: only a TPM makes structures with this magic, since a
    // restricted key does not sign external data that starts with it (CVE-2024-29038).
    if attest.magic != TPM_GENERATED {
        return Err(Reason::BadMagic);
    }
    // Part 2, section 10.12.12: the type says what was attested; a certification of a key is no
    // statement about PCRs.
    if attest.kind != kind {
        return Err(Reason::WrongAttestType);
    }
    // Part 1, section 16.3: the qualified name covers the ancestors; this one exists only for a
    // primary key of the endorsement hierarchy, whose counters a TPM does not mask.
    if Some(&attest.qualified_signer) != ak.qualified_name().as_ref() {
        return Err(Reason::QualifiedSigner);
    }
    // RFC 9683, section 5: evidence is fresh when it carries the verifier's nonce. Ours is an HMAC
    // over the transcript by the secret in the credential.
    if !bool::from(attest.extra_data.as_slice().ct_eq(binding)) {
        return Err(Reason::NonceMismatch);
    }
    Ok(())
}

/// TPM library part 3, section 18.4: a TPM leaves out PCRs and banks that it does not have, and
/// equal values have equal digests, so the selection must be the one asked for, as a set of banks
/// with their PCRs, each bank once (CVE-2024-29039).
fn check_selections(selections: &[PcrSelection], wanted: &[(Hash, Vec<u8>)]) -> Result<(), Reason> {
    let mut quoted: BTreeMap<Algorithm, BTreeSet<u8>> = BTreeMap::new();
    for selection in selections {
        let pcrs = selection.pcrs().ok_or(Reason::PcrSelection)?;
        if quoted.insert(selection.bank, pcrs).is_some() {
            return Err(Reason::PcrSelection);
        }
    }
    if quoted != as_sets(wanted) {
        return Err(Reason::PcrSelection);
    }
    Ok(())
}

/// The values are exactly those of the PCRs asked for, so that nobody reads one that the digest
/// does not cover.
fn check_values(banks: &[PcrBank], wanted: &[(Hash, Vec<u8>)]) -> Result<(), Reason> {
    let mut sent: BTreeMap<Algorithm, BTreeSet<u8>> = BTreeMap::new();
    for bank in banks {
        let pcrs = bank.values.keys().copied().collect();
        if sent.insert(bank.hash.algorithm(), pcrs).is_some() {
            return Err(Reason::MalformedResponse);
        }
    }
    if sent != as_sets(wanted) {
        return Err(Reason::MalformedResponse);
    }
    Ok(())
}

/// TPM library part 3, section 18.4: pcrDigest is over the values in the order of the selections,
/// with the hash of the signing scheme, whatever the banks' hash is.
fn check_digest(
    hash: Hash,
    selections: &[PcrSelection],
    banks: &[PcrBank],
    digest: &[u8],
) -> Result<(), Reason> {
    if pcr_digest(hash, selections, banks).as_deref() != Some(digest) {
        return Err(Reason::PcrDigest);
    }
    Ok(())
}

/// A signature of an algorithm that no AK may have is a scheme mismatch, anything else malformed.
pub(crate) fn read_signature(bytes: &[u8]) -> Result<Signature, Reason> {
    Signature::parse(bytes).map_err(|error| match error {
        Malformed::Value => Reason::SignatureScheme,
        _ => Reason::MalformedResponse,
    })
}

fn as_sets(wanted: &[(Hash, Vec<u8>)]) -> BTreeMap<Algorithm, BTreeSet<u8>> {
    wanted
        .iter()
        .map(|(hash, pcrs)| (hash.algorithm(), pcrs.iter().copied().collect()))
        .collect()
}
