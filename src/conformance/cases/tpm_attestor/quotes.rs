//! Lies about the quote.

use evidence::{Attest, Attested, Hash, Name, PcrBank, PcrSelection, SignatureValue, tag};
use softtpm::{Key, KeyKind, Lies, Role};
use verify::Reason;

use super::exchange::lie;
use crate::{
    case::{Stop, environment},
    trial::Trial,
};

/// Something in the attest structure, before it is signed.
pub(super) async fn attest(
    trial: &mut Trial,
    change: fn(&mut Attest),
    reason: Reason,
) -> Result<(), Stop> {
    lie(trial, Lies::none().attest(change), reason).await
}

/// Something in its bytes, before they are signed.
pub(super) async fn signed(
    trial: &mut Trial,
    change: fn(&mut Vec<u8>),
    reason: Reason,
) -> Result<(), Stop> {
    lie(trial, Lies::none().signed(change), reason).await
}

/// Other PCRs than those asked for.
pub(super) async fn selected(trial: &mut Trial, selection: &[(Hash, &[u8])]) -> Result<(), Stop> {
    let select = |(hash, pcrs): &(Hash, &[u8])| PcrSelection::new(*hash, pcrs);
    let list: Vec<_> = selection.iter().map(select).collect();
    let lies = Lies::none().selections(move |selections| selections.clone_from(&list));
    lie(trial, lies, Reason::PcrSelection).await
}

/// Other values than those quoted.
pub(super) async fn values(
    trial: &mut Trial,
    change: fn(&mut Vec<PcrBank>),
    reason: Reason,
) -> Result<(), Stop> {
    lie(trial, Lies::none().values(change), reason).await
}

/// The numbers of an ECDSA signature.
pub(super) async fn numbers(
    trial: &mut Trial,
    change: fn(&mut Vec<u8>, &mut Vec<u8>),
    reason: Reason,
) -> Result<(), Stop> {
    let lies = Lies::none().signature(move |signature| {
        if let SignatureValue::Ecdsa { r, s } = &mut signature.value {
            change(r, s);
        }
    });
    lie(trial, lies, reason).await
}

/// A signature by a key that is not the AK.
pub(super) async fn by_another(
    trial: &mut Trial,
    kind: KeyKind,
    algorithm: evidence::Algorithm,
    reason: Reason,
) -> Result<(), Stop> {
    let key = Key::sample(Role::Other, kind);
    let key = key.map_err(|error| environment("the software TPM", error))?;
    lie(
        trial,
        Lies::none().signer(key, algorithm, Hash::Sha256),
        reason,
    )
    .await
}

pub(super) fn is_a_time(attest: &mut Attest) {
    attest.kind = tag::ATTEST_TIME;
    attest.attested = Attested::Other(vec![0; 33]);
}

pub(super) fn certifies(attest: &mut Attest) {
    attest.kind = tag::ATTEST_CERTIFY;
    let name = Name::from_bytes(&[0, 11]);
    attest.attested = Attested::Certify {
        name: name.clone(),
        qualified_name: name,
    };
}

pub(super) fn tells_a_creation(attest: &mut Attest) {
    attest.kind = tag::ATTEST_CREATION;
    attest.attested = Attested::Creation {
        name: Name::from_bytes(&[0, 11]),
        hash: vec![0; 32],
    };
}

pub(super) fn tells_an_index(attest: &mut Attest) {
    attest.kind = tag::ATTEST_NV;
    attest.attested = Attested::Other(vec![0; 40]);
}

pub(super) fn is_of_another_digest(attest: &mut Attest) {
    if let Attested::Quote { digest, .. } = &mut attest.attested
        && let Some(first) = digest.first_mut()
    {
        *first ^= 1;
    }
}

/// The values of the first bank.
pub(super) fn first(banks: &mut [PcrBank], change: fn(&mut PcrBank)) {
    if let Some(bank) = banks.first_mut() {
        change(bank);
    }
}

pub(super) fn flip_one(bank: &mut PcrBank) {
    if let Some(byte) = bank
        .values
        .values_mut()
        .next()
        .and_then(|value| value.first_mut())
    {
        *byte ^= 1;
    }
}

pub(super) fn swap_two(bank: &mut PcrBank) {
    let mut values = bank.values.values_mut();
    if let (Some(one), Some(other)) = (values.next(), values.next()) {
        // Machines whose PCRs are alike would not differ.
        if one == other {
            one.fill(0xA5);
        }
        std::mem::swap(one, other);
    }
}

/// The order of P-256 (SP 800-186, section 3.2.1.3).
pub(super) const ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];
