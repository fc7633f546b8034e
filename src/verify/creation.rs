//! The creation attestation that an agent of the first generation sends with its AK.

use evidence::{Attest, Attested, Creation, TPM_GENERATED, tag};

use crate::attestation_key::AttestationKey;
use crate::quote::read_signature;
use crate::signature::verify_signature;
use crate::{Reason, Rejection};

/// TPM library part 3, section 18.3: the AK certifies its own creation. The structure has no nonce,
/// so it proves no presence (the credential does), only that a TPM made this very key.
pub(crate) fn check_creation(
    creation: Option<&Creation>,
    ak: &AttestationKey,
) -> Result<(), Rejection> {
    let creation = creation.ok_or(Reason::CreationMismatch)?;
    let attest = Attest::parse(&creation.attestation).map_err(|_bad| Reason::MalformedPayload)?;
    let Attested::Creation { name, hash } = &attest.attested else {
        return Err(Reason::CreationMismatch.into());
    };
    let generated = attest.magic == TPM_GENERATED && attest.kind == tag::ATTEST_CREATION;
    let same_key = name == ak.name();
    let same_data = ak.name_hash().digest(&[&creation.data]) == *hash;
    if !generated || !same_key || !same_data {
        return Err(Reason::CreationMismatch.into());
    }
    let signature = read_signature(&creation.signature).map_err(|_bad| Reason::CreationMismatch)?;
    verify_signature(ak.key(), ak.scheme(), &creation.attestation, &signature)
        .map_err(|_bad| Reason::CreationMismatch)?;
    Ok(())
}
