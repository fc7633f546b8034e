//! The state of a TPM: keys, PCR banks, clock and firmware, all of it open to change.

use std::collections::BTreeMap;

use evidence::{
    AkTemplate, ClockInfo, EkHash, EkTemplate, Hash, PcrBank, Public, PublicKey, SubjectKey, limits,
};

use crate::boot_log::reset_values;
use crate::{Ak, BootLog, Key, KeyKind, Parent, Role, SvidKey, TpmError};

/// A TPM in software, and what an agent sees of the machine around it. Two clones are a machine and its copy; a clone put
/// back later is a restored snapshot.
#[derive(Debug, Clone)]
pub struct SoftTpm {
    /// The endorsement key.
    pub ek: Key,
    /// The attestation key.
    pub ak: Ak,
    /// The PCR banks that are allocated.
    pub pcrs: Vec<PcrBank>,
    /// The SVID keys that are there, in the order in which they are offered.
    pub svid_keys: Vec<SvidKey>,
    /// The clock: advances by a millisecond with each structure that the TPM signs, and as it is told.
    pub clock: ClockInfo,
    /// firmwareVersion.
    pub firmware: u64,
    /// The boot event log that goes with the PCR values.
    pub log: Option<Vec<u8>>,
    /// The kernel's id of this boot, as the machine says.
    pub boot_id: Option<String>,
    /// What the machine boots, if it was said.
    pub(crate) boots: Option<BootLog>,
    /// What the last TPM2_Clear put into the seed of the owner hierarchy; empty before the first.
    pub(crate) owner_seed: Vec<u8>,
}

impl SoftTpm {
    /// A booted TPM with these keys: banks SHA-256 and SHA-384, a safe clock.
    pub fn new(ek: Key, ak: Ak) -> Self {
        Self {
            ek,
            ak,
            pcrs: vec![booted_bank(Hash::Sha256), booted_bank(Hash::Sha384)],
            svid_keys: Vec::new(),
            clock: ClockInfo {
                clock: 86_400_000,
                reset_count: 7,
                restart_count: 2,
                safe: true,
            },
            firmware: 0x2019_1023_0016_3636,
            log: None,
            boot_id: Some("7d9e9b1c-8f4e-4a57-9d0b-0f6c2b6a4c11".to_owned()),
            boots: None,
            owner_seed: Vec::new(),
        }
    }

    /// A TPM with sample keys: the same machine in every process.
    pub fn sample(ek: KeyKind, ak: AkTemplate) -> Result<Self, TpmError> {
        Ok(Self::new(Key::sample(Role::Ek, ek)?, Ak::of(ak)?))
    }

    /// A machine of its own, with new P-256 keys: cheap enough for thousands.
    pub fn generate() -> Result<Self, TpmError> {
        let mut tpm = Self::sample(KeyKind::P256, AkTemplate::EccP256)?;
        tpm.ek = Key::generate(KeyKind::P256)?;
        let (algorithm, hash) = (tpm.ak.algorithm, tpm.ak.hash);
        tpm.ak = Ak::new(Key::generate(KeyKind::P256)?, algorithm, hash);
        Ok(tpm)
    }

    /// A TPM as agents of the first generation use it: the AK is RSA-2048 and hangs under the SRK.
    pub fn first_generation(ek: KeyKind) -> Result<Self, TpmError> {
        let mut tpm = Self::sample(ek, AkTemplate::Rsa2048)?;
        tpm.ak = tpm.ak.under(Parent::srk()?);
        Ok(tpm)
    }

    /// The EK as numbers.
    pub fn ek_key(&self) -> &SubjectKey {
        self.ek.subject_key()
    }

    /// The identity of the machine.
    pub fn ek_hash(&self) -> EkHash {
        self.ek_key().ek_hash()
    }

    /// The public area of the EK, by the template that its type and size have first.
    pub fn ek_public(&self) -> Result<Public, TpmError> {
        let key = self.ek.public_key();
        EkTemplate::ALL
            .map(|template| template.public(&[]))
            .into_iter()
            .find(|template| same_type(template, &key))
            .and_then(|template| {
                Some(Public::new(
                    Hash::from_algorithm(template.name_alg)?,
                    template.attributes.0,
                    &template.auth_policy,
                    template.symmetric,
                    template.scheme,
                    key,
                ))
            })
            .ok_or(TpmError::Key)
    }

    /// The public area of the AK.
    pub fn ak_public(&self) -> &Public {
        &self.ak.public
    }

    /// Sets a PCR, to any bytes; allocates the bank if need be.
    pub fn set_pcr(&mut self, hash: Hash, pcr: u8, value: &[u8]) {
        match self.pcrs.iter_mut().find(|bank| bank.hash == hash) {
            Some(bank) => {
                bank.values.insert(pcr, value.to_vec());
            }
            None => self.pcrs.push(PcrBank {
                hash,
                values: [(pcr, value.to_vec())].into(),
            }),
        }
    }

    /// TPM2_PCR_Event: extends a PCR of every bank by the digest of `event` in that bank.
    pub fn extend(&mut self, pcr: u8, event: &[u8]) {
        for bank in &mut self.pcrs {
            let digest = bank.hash.digest(&[event]);
            if let Some(value) = bank.values.get_mut(&pcr) {
                *value = bank.hash.digest(&[value, &digest]);
            }
        }
    }

    /// Has booted what the log tells: its entries are in the PCRs of the banks that it measures, the other banks are as
    /// after a reset, and the log is at hand. The counters stay.
    pub fn boot(&mut self, log: &BootLog) {
        let (bytes, mut banks) = log.finish();
        for bank in &mut self.pcrs {
            let measured = banks.remove(&bank.hash);
            bank.values = measured.unwrap_or_else(|| reset_values(bank.hash));
        }
        self.log = Some(bytes);
        self.boots = Some(log.clone());
    }
}

/// A bank after a boot: PCR 0 to 15 measured, 16 and 23 zero, 17 to 22 all ones.
pub fn booted_bank(hash: Hash) -> PcrBank {
    let last = u8::try_from(limits::PCRS).unwrap_or_default();
    let values: BTreeMap<u8, Vec<u8>> = (0..last)
        .map(|pcr| {
            let value = match pcr {
                0..=15 => hash.digest(&[b"booted", &[pcr]]),
                17..=22 => vec![0xFF; hash.size()],
                _ => vec![0; hash.size()],
            };
            (pcr, value)
        })
        .collect();
    PcrBank { hash, values }
}

fn same_type(template: &Public, key: &PublicKey) -> bool {
    match (&template.key, key) {
        (PublicKey::Rsa { bits: size, .. }, PublicKey::Rsa { bits: own, .. })
        | (PublicKey::Ecc { curve: size, .. }, PublicKey::Ecc { curve: own, .. }) => size == own,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use evidence::EkProfile;

    use super::*;

    #[test]
    fn every_ek_has_a_public_area_by_its_profile() {
        for kind in KeyKind::ALL {
            let tpm = SoftTpm::sample(kind, AkTemplate::EccP256).unwrap();
            let public = tpm.ek_public().unwrap();
            let profile = EkProfile::of(tpm.ek_key()).unwrap();
            assert_eq!(public.name_alg, profile.hash.algorithm(), "{kind:?}");
            assert_eq!(public.subject_key().as_ref(), Some(tpm.ek_key()));
            assert_eq!(public.subject_key().unwrap().ek_hash(), tpm.ek_hash());
        }
    }

    #[test]
    fn samples_are_one_machine_and_generated_ones_are_not() {
        let sample = || SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
        assert_eq!(sample().ek_hash(), sample().ek_hash());
        let generated = SoftTpm::generate().unwrap();
        assert_ne!(generated.ek_hash(), sample().ek_hash());
        assert_ne!(generated.ek_hash(), SoftTpm::generate().unwrap().ek_hash());
        assert_ne!(generated.ak_public(), sample().ak_public());
    }

    #[test]
    fn pcrs_are_set_extended_and_lost_by_a_reset() {
        let mut tpm = SoftTpm::generate().unwrap();
        let before = tpm.pcrs.clone();
        tpm.extend(7, b"event");
        for (bank, before) in tpm.pcrs.iter().zip(&before) {
            let digest = bank.hash.digest(&[b"event"]);
            assert_eq!(
                bank.values[&7],
                bank.hash.digest(&[&before.values[&7], &digest])
            );
            assert_eq!(bank.values[&8], before.values[&8]);
        }
        tpm.set_pcr(Hash::Sha1, 0, &[1; 20]);
        assert_eq!(tpm.pcrs[2].values[&0], [1; 20]);
        tpm.reset();
        assert_eq!(tpm.pcrs[..2], before);
    }
}
