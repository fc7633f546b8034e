//! Boots that were judged before: a machine that attests again with the same PCR values need not send its log again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventlog::{BootClaims, Quirk, SecureBoot};
use evidence::{EkHash, Hash, PcrBank, PcrSelection, pcr_digest};

/// What a boot event log proved, and the quoted values that it led to. Only [`crate::Attested::known_boot`] makes one.
///
/// A log's claims follow from it and from the values; the values are the TPM's. With the same values the same was
/// measured, whoever shows the log.
#[derive(Debug, Clone)]
pub struct KnownBoot {
    pcrs: Vec<(Hash, Vec<u8>)>,
    values: [u8; 32],
    tolerated: BTreeSet<Quirk>,
    claims: Arc<BootClaims>,
}

/// The last boot of each of a bounded number of machines; those not seen for longest go first.
#[derive(Debug)]
pub struct KnownBoots {
    machines: BTreeMap<EkHash, Entry>,
    /// Secure Boot policies, the large part of claims, which fleets share.
    policies: Vec<Arc<SecureBoot>>,
    capacity: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    log: [u8; 32],
    boot: KnownBoot,
    used: u64,
}

impl KnownBoot {
    pub(crate) fn new(
        pcrs: &[(Hash, Vec<u8>)],
        banks: &[PcrBank],
        tolerated: &BTreeSet<Quirk>,
        claims: &Arc<BootClaims>,
    ) -> Option<Self> {
        Some(Self {
            pcrs: pcrs.to_vec(),
            values: digest(pcrs, banks)?,
            tolerated: tolerated.clone(),
            claims: Arc::clone(claims),
        })
    }

    /// Whether it was judged as the operator wants it now. Whether it is about the PCRs that are asked for, their values will
    /// show.
    pub(crate) fn is_judged_by(&self, tolerated: &BTreeSet<Quirk>) -> bool {
        self.tolerated == *tolerated
    }

    /// SHA-256 of the values, as the challenge has it.
    pub(crate) fn values(&self) -> [u8; 32] {
        self.values
    }

    /// What the log proved, if these are the values that it led to.
    pub(crate) fn claims(&self, banks: &[PcrBank]) -> Option<Arc<BootClaims>> {
        (digest(&self.pcrs, banks) == Some(self.values)).then(|| Arc::clone(&self.claims))
    }
}

impl KnownBoots {
    /// Room for this number of machines.
    pub fn new(capacity: usize) -> Self {
        Self {
            machines: BTreeMap::new(),
            policies: Vec::new(),
            capacity,
            clock: 0,
        }
    }

    /// The last boot of a machine, for who knows the SHA-256 of its log: nobody else is to learn that this machine was here.
    pub fn of(&mut self, machine: &EkHash, log: &[u8; 32]) -> Option<KnownBoot> {
        self.clock = self.clock.saturating_add(1);
        let entry = self.machines.get_mut(machine)?;
        if entry.log != *log {
            return None;
        }
        entry.used = self.clock;
        Some(entry.boot.clone())
    }

    /// Remembers a boot of a machine that was granted an identity.
    pub fn remember(&mut self, machine: EkHash, log: [u8; 32], mut boot: KnownBoot) {
        let Some(policy) = self.shared(&boot.claims.secure_boot) else {
            return;
        };
        let mut claims = BootClaims::clone(&boot.claims);
        claims.secure_boot = policy;
        boot.claims = Arc::new(claims);
        self.clock = self.clock.saturating_add(1);
        let used = self.clock;
        self.machines.insert(machine, Entry { log, boot, used });
        if self.machines.len() > self.capacity {
            let oldest = self.machines.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(machine, _)| *machine) {
                self.machines.remove(&oldest);
            }
        }
    }

    /// The same policy as other machines have; `None` where there is no room for one more.
    fn shared(&mut self, policy: &Arc<SecureBoot>) -> Option<Arc<SecureBoot>> {
        if let Some(known) = self.policies.iter().find(|known| *known == policy) {
            return Some(Arc::clone(known));
        }
        self.policies.retain(|known| Arc::strong_count(known) > 1);
        if self.policies.len() >= POLICIES {
            return None;
        }
        self.policies.push(Arc::clone(policy));
        Some(Arc::clone(policy))
    }
}

fn digest(pcrs: &[(Hash, Vec<u8>)], banks: &[PcrBank]) -> Option<[u8; 32]> {
    let selections: Vec<_> = pcrs
        .iter()
        .map(|(hash, pcrs)| PcrSelection::new(*hash, pcrs))
        .collect();
    let digest = pcr_digest(Hash::Sha256, &selections, banks)?;
    digest.try_into().ok()
}

/// Secure Boot policies of some 30 kB each that are kept.
const POLICIES: usize = 64;

#[cfg(test)]
mod tests {
    use evidence::SubjectKey;

    use super::*;

    fn machine(number: u8) -> EkHash {
        let key = SubjectKey::rsa(&[0xC1, number], 65537);
        key.unwrap().ek_hash()
    }

    /// A boot under a Secure Boot policy of its own for each number.
    fn boot(policy: u16) -> KnownBoot {
        let entry = eventlog::SignatureEntry::Other {
            kind: policy.to_string(),
            sha256: [0; 32],
        };
        let secure_boot = SecureBoot {
            db: vec![entry],
            ..SecureBoot::default()
        };
        let claims = BootClaims {
            bank: eventlog::Bank::Sha256,
            replayed: BTreeSet::new(),
            firmware_version: None,
            secure_boot: Arc::new(secure_boot),
            images: Vec::new(),
            drivers: Vec::new(),
            option_rom_events: 0,
            command_lines: Vec::new(),
            kernel_inputs: Vec::new(),
            unread: BTreeSet::new(),
            boot_chain: Vec::new(),
            actions: Vec::new(),
            quirks: BTreeSet::new(),
        };
        KnownBoot {
            pcrs: Vec::new(),
            values: [0; 32],
            tolerated: BTreeSet::new(),
            claims: Arc::new(claims),
        }
    }

    #[test]
    fn the_machine_that_was_longest_away_is_forgotten() {
        for [first, second, third] in [[1, 2, 3], [2, 1, 3], [3, 2, 1], [1, 3, 2]] {
            for seen_again in [false, true] {
                let mut boots = KnownBoots::new(2);
                let remember = |boots: &mut KnownBoots, number: u8| {
                    boots.remember(machine(number), [number; 32], boot(0));
                };
                let known = |boots: &mut KnownBoots, number: u8| {
                    boots.of(&machine(number), &[number; 32]).is_some()
                };
                remember(&mut boots, first);
                remember(&mut boots, second);
                assert!(!seen_again || known(&mut boots, first));
                remember(&mut boots, third);
                let kept = [first, second, third].map(|number| known(&mut boots, number));
                assert_eq!(kept, [seen_again, !seen_again, true]);
            }
        }
    }

    #[test]
    fn a_machine_has_one_boot_and_who_asks_must_know_its_log() {
        let mut boots = KnownBoots::new(2);
        boots.remember(machine(1), [1; 32], boot(0));
        assert!(boots.of(&machine(1), &[2; 32]).is_none());
        assert!(boots.of(&machine(2), &[1; 32]).is_none());
        boots.remember(machine(1), [2; 32], boot(0));
        assert!(boots.of(&machine(1), &[1; 32]).is_none());
        assert!(boots.of(&machine(1), &[2; 32]).is_some());
    }

    #[test]
    fn policies_are_shared_and_few() {
        let policies = u16::try_from(POLICIES).unwrap();
        let mut boots = KnownBoots::new(2 * POLICIES);
        for number in 0..policies {
            boots.remember(
                machine(u8::try_from(number).unwrap()),
                [0; 32],
                boot(number),
            );
        }
        assert!(boots.of(&machine(63), &[0; 32]).is_some(), "the last");
        boots.remember(machine(200), [0; 32], boot(policies));
        assert!(boots.of(&machine(200), &[0; 32]).is_none(), "one too many");
        boots.remember(machine(201), [0; 32], boot(7));
        let shared = boots.of(&machine(201), &[0; 32]).unwrap();
        let own = boots.of(&machine(7), &[0; 32]).unwrap();
        let policy = |boot: &KnownBoot| Arc::clone(&boot.claims.secure_boot);
        assert!(Arc::ptr_eq(&policy(&shared), &policy(&own)));
        drop((shared, own));
        // One that no machine has any more makes room.
        boots.remember(machine(0), [0; 32], boot(7));
        boots.remember(machine(200), [0; 32], boot(policies));
        assert!(boots.of(&machine(200), &[0; 32]).is_some());
    }
}
