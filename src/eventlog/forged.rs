//! Forged boots and what becomes of their logs: what the tests of the judgement share.

use std::collections::BTreeSet;

use evidence::Hash;
use softtpm::{BootLog, GLOBAL_VARIABLE, variable_data};

use crate::{Bank, BootClaims, EventLog, LogReason, PcrValues, Quirk, Refusal, appraise};

pub(crate) const SEPARATOR: u32 = 0x4;
pub(crate) const IPL: u32 = 0xD;
pub(crate) const S_CRTM_VERSION: u32 = 0x8;
pub(crate) const NO_ACTION: u32 = 0x3;
pub(crate) const DRIVER_CONFIG: u32 = 0x8000_0001;
pub(crate) const APPLICATION: u32 = 0x8000_0003;
pub(crate) const EFI_ACTION: u32 = 0x8000_0007;
pub(crate) const AUTHORITY: u32 = 0x8000_00E0;
pub(crate) const SPDM_POLICY: u32 = 0x8000_00E3;
pub(crate) const SPDM_AUTHORITY: u32 = 0x8000_00E4;

/// A boot with Secure Boot on.
pub(crate) fn sample() -> BootLog {
    BootLog::sample(&[Hash::Sha256, Hash::Sha384]).unwrap()
}

/// The values of the SHA-256 bank that a boot leads to.
pub(crate) fn pcrs(boot: &BootLog) -> PcrValues {
    boot.pcrs().remove(&Hash::Sha256).unwrap()
}

/// What is made of the log that is told after a boot, with no quirk tolerated.
pub(crate) fn judge(boot: &BootLog, told: &BootLog) -> Result<BootClaims, Refusal> {
    judge_bytes(&pcrs(boot), &told.encode(), &[])
}

/// What is made of an honest log.
pub(crate) fn honest(boot: &BootLog) -> Result<BootClaims, Refusal> {
    judge(boot, boot)
}

/// What is made of a log beside quoted values.
pub(crate) fn judge_bytes(
    quoted: &PcrValues,
    log: &[u8],
    tolerated: &[Quirk],
) -> Result<BootClaims, Refusal> {
    let tolerated: BTreeSet<_> = tolerated.iter().copied().collect();
    let log = EventLog::parse(log)?;
    appraise(&log, Bank::Sha256, quoted, &tolerated)
}

/// The log is refused for this reason, in words that hold `detail`.
pub(crate) fn assert_refused(
    verdict: Result<BootClaims, Refusal>,
    (reason, detail): (LogReason, &str),
    case: &str,
) {
    let refusal = verdict.expect_err(case);
    assert_eq!(refusal.reason, reason, "{case}: {refusal}");
    assert!(refusal.to_string().contains(detail), "{case}: {refusal}");
    assert!(refusal.detail.len() <= crate::limits::TEXT, "{case}");
}

/// The place of an event.
pub(crate) fn place(log: &BootLog, pcr: u32, kind: u32) -> usize {
    log.position(|entry| (entry.pcr, entry.kind) == (pcr, kind))
        .unwrap()
}

/// The place of a variable of PCR 7.
pub(crate) fn variable(log: &BootLog, name: &str) -> usize {
    let name = softtpm::utf16(name);
    let has_name = |data: &[u8]| {
        let size = u8::try_from(name.len() / 2).unwrap();
        data.get(16) == Some(&size) && data.get(32..32 + name.len()) == Some(&name)
    };
    log.position(|entry| entry.pcr == 7 && has_name(&entry.data))
        .unwrap()
}

/// The place of the first event of leaving the boot services.
pub(crate) fn exit(log: &BootLog) -> usize {
    log.position(|entry| entry.data.starts_with(b"Exit Boot"))
        .unwrap()
}

/// Puts the last entry elsewhere.
pub(crate) fn move_last(log: &mut BootLog, to: usize) {
    let entry = log.entries.pop().unwrap();
    log.entries.insert(to, entry);
}

/// Has the variable SecureBoot measured with other data.
pub(crate) fn set_secure_boot(log: &mut BootLog, data: &[u8]) {
    let at = variable(log, "SecureBoot");
    log.entries[at].rewrite(&variable_data(GLOBAL_VARIABLE, "SecureBoot", data));
}
