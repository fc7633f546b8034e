//! What happens to a TPM as time goes by: its clock, resets, restarts, losses of power and TPM2_Clear.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use evidence::ClockInfo;

use crate::{SoftTpm, TpmError, booted_bank};

impl SoftTpm {
    /// Time in milliseconds goes by. The clock is safe again once the TPM has saved it after a loss of power.
    pub fn advance_clock(&mut self, milliseconds: u64) {
        let saved = self.clock.clock / SAVE_INTERVAL_MS;
        self.clock.clock = self.clock.clock.saturating_add(milliseconds);
        self.clock.safe |= self.clock.clock / SAVE_INTERVAL_MS != saved;
    }

    /// A reboot: a TPM reset, and a boot id that no machine had before.
    pub fn reboot(&mut self) -> Result<(), TpmError> {
        self.boot_id = Some(boot_id(random()?));
        self.reset();
        Ok(())
    }

    /// A TPM reset, after which the PCRs are as the same software leaves them. Alone it is what happens to a machine that
    /// runs on while its TPM is reset and the measurements of its boot are replayed: the boot id stays.
    pub fn reset(&mut self) {
        self.clock.reset_count = self.clock.reset_count.wrapping_add(1);
        self.clock.restart_count = 0;
        if let Some(log) = self.boots.take() {
            self.boot(&log);
            return;
        }
        for bank in &mut self.pcrs {
            *bank = booted_bank(bank.hash);
        }
    }

    /// A TPM restart or resume: the machine slept, and PCRs and boot id stay.
    pub fn restart(&mut self) {
        self.clock.restart_count = self.clock.restart_count.wrapping_add(1);
    }

    /// A reboot without TPM2_Shutdown before it: the clock goes on from where it was saved last, and is not safe until it
    /// has been saved again (TPM library part 1, section 36).
    pub fn lose_power(&mut self) -> Result<(), TpmError> {
        self.clock.clock -= self.clock.clock % SAVE_INTERVAL_MS;
        self.clock.safe = false;
        self.reboot()
    }

    /// TPM2_Clear (part 3, section 24.6): clock and counters fall to zero, the owner hierarchy has another seed, so that its
    /// storage root key is another and no SVID key loads any more; EK and AK, both of the endorsement hierarchy, stay as
    /// they are.
    pub fn clear(&mut self) -> Result<(), TpmError> {
        self.owner_seed = random::<32>()?.to_vec();
        self.svid_keys.clear();
        self.clock = ClockInfo {
            clock: 0,
            reset_count: 0,
            restart_count: 0,
            safe: true,
        };
        Ok(())
    }
}

/// How long a TPM may leave its clock unsaved (TPM library part 1, section 36.3): about 70 minutes.
const SAVE_INTERVAL_MS: u64 = 1 << 22;

fn random<const SIZE: usize>() -> Result<[u8; SIZE], TpmError> {
    let mut bytes = [0; SIZE];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_failed| TpmError::Key)?;
    Ok(bytes)
}

/// A random UUID as Linux writes it (RFC 9562, section 5.4).
fn boot_id(bytes: [u8; 16]) -> String {
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xF << 76) & !(3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{number:032x}");
    let mut out = String::with_capacity(36);
    for (at, digit) in hex.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use evidence::SvidKeyTemplate;

    use super::*;

    /// Clock, resetCount, restartCount, safe.
    type Counters = (u64, u32, u32, bool);

    fn counters(tpm: &SoftTpm) -> Counters {
        let clock = tpm.clock;
        (
            clock.clock,
            clock.reset_count,
            clock.restart_count,
            clock.safe,
        )
    }

    fn at(clock: u64) -> SoftTpm {
        let mut tpm = SoftTpm::generate().unwrap();
        tpm.clock.clock = clock;
        tpm
    }

    #[test]
    fn every_event_of_a_life_shows_in_clock_and_counters() {
        const SAVED: u64 = 5 * SAVE_INTERVAL_MS;
        type Event = fn(&mut SoftTpm);
        let cases: [(&str, Event, Counters); 7] = [
            ("nothing", |_tpm| {}, (SAVED + 9, 7, 2, true)),
            (
                "time",
                |tpm| tpm.advance_clock(11),
                (SAVED + 20, 7, 2, true),
            ),
            ("sleep", SoftTpm::restart, (SAVED + 9, 7, 3, true)),
            ("reset", SoftTpm::reset, (SAVED + 9, 8, 0, true)),
            (
                "reboot",
                |tpm| tpm.reboot().unwrap(),
                (SAVED + 9, 8, 0, true),
            ),
            (
                "power",
                |tpm| tpm.lose_power().unwrap(),
                (SAVED, 8, 0, false),
            ),
            ("clear", |tpm| tpm.clear().unwrap(), (0, 0, 0, true)),
        ];
        for (case, event, expect) in cases {
            let mut tpm = at(SAVED + 9);
            event(&mut tpm);
            assert_eq!(counters(&tpm), expect, "{case}");
        }
    }

    #[test]
    fn boots_have_ids_of_their_own_and_resets_alone_have_none() {
        let mut tpm = at(5);
        let (first, pcrs) = (tpm.boot_id.clone(), tpm.pcrs.clone());
        tpm.set_pcr(evidence::Hash::Sha256, 7, &[1; 32]);
        tpm.restart();
        assert_eq!(tpm.pcrs[0].values[&7], [1; 32]);
        tpm.reset();
        assert_eq!((&tpm.boot_id, &tpm.pcrs), (&first, &pcrs));
        let mut copy = tpm.clone();
        tpm.reboot().unwrap();
        copy.reboot().unwrap();
        assert_eq!(tpm.clock, copy.clock);
        assert!(tpm.boot_id != first && copy.boot_id != first && tpm.boot_id != copy.boot_id);
        let offered = tpm.offer(None).unwrap().extension.unwrap().boot_id;
        assert_eq!(offered, tpm.boot_id);
    }

    #[test]
    fn boot_ids_are_random_uuids() {
        for (bytes, expect) in [
            ([0; 16], "00000000-0000-4000-8000-000000000000"),
            ([0xFF; 16], "ffffffff-ffff-4fff-bfff-ffffffffffff"),
        ] {
            assert_eq!(boot_id(bytes), expect);
        }
    }

    #[test]
    fn a_clock_that_lost_time_is_safe_once_it_is_saved() {
        let mut tpm = at(3 * SAVE_INTERVAL_MS - 1);
        tpm.lose_power().unwrap();
        tpm.advance_clock(SAVE_INTERVAL_MS - 1);
        assert!(!tpm.clock.safe);
        tpm.advance_clock(1);
        assert_eq!(counters(&tpm), (3 * SAVE_INTERVAL_MS, 8, 0, true));
    }

    #[test]
    fn a_clear_changes_the_owner_hierarchy_alone() {
        let mut tpm = at(5);
        let before = tpm.clone();
        tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
        let roots = [0; 2].map(|_nth| {
            tpm.clear().unwrap();
            tpm.storage_root().unwrap()
        });
        assert!(tpm.svid_keys.is_empty());
        assert_ne!(roots[0], roots[1]);
        assert!(!roots.contains(&before.storage_root().unwrap()));
        assert_eq!(tpm.ek_hash(), before.ek_hash());
        assert_eq!(tpm.ak_public(), before.ak_public());
        assert_eq!(tpm.boot_id, before.boot_id);
    }
}
