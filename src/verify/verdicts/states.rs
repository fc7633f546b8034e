//! Profiles over what a quote and a certificate say: which machine matches, and for which reason another does not.

use evidence::Hash;
use softtpm::{Lies, SoftTpm};

use super::{Counter, attest, decide, liar, machine, old_agent, policy, prover};
use crate::tests_chain::{Chain, NOW};
use crate::{
    Anchors, Attested, Denials, EkTrust, Enrolment, FirmwareRange, FirmwareVersion, Grant, Policy,
    Profile, Reason, Rejection, Requirement, StatePolicy, TpmKind, Vendor, begin,
};

pub(super) fn profile(name: &str, requirements: impl IntoIterator<Item = Requirement>) -> Profile {
    Profile {
        name: name.to_owned(),
        requirements: requirements.into_iter().collect(),
    }
}

pub(super) fn with(state: StatePolicy) -> Policy {
    Policy { state, ..policy() }
}

pub(super) fn requiring(requirement: Requirement) -> Policy {
    with(StatePolicy {
        profiles: vec![profile("one", [requirement])],
        ..StatePolicy::default()
    })
}

pub(super) fn decided(attested: &Attested, policy: &Policy) -> Result<Grant, Rejection> {
    decide(attested, Enrolment::Enrolled, &Denials::default(), policy)
}

/// A machine with an EK certificate of the vendor in the test chains, which says STM.
pub(super) fn certified(policy: &Policy) -> Attested {
    let chain = Chain::of(machine().ek_key());
    let mut prover = prover(machine());
    prover.certificate = Some(chain.leaf.clone());
    prover.intermediates = vec![chain.ca.clone()];
    let payload = prover.payload().unwrap();
    let anchors = chain.anchors();
    let (challenge, pending) = begin(&payload, policy, &anchors, NOW, &mut Counter(0)).unwrap();
    pending
        .finish(&prover.answer(&payload, &challenge).unwrap())
        .unwrap()
}

fn of(vendor: &str) -> Vendor {
    Vendor::from_name(vendor).unwrap()
}

/// The version that the soft TPM has, and ranges around it.
pub(super) fn range(vendor: Option<&str>, from: u64, to: u64) -> FirmwareRange {
    FirmwareRange {
        vendor: vendor.map(of),
        from: FirmwareVersion(from),
        to: FirmwareVersion(to),
    }
}

pub(super) const FIRMWARE: u64 = 0x2019_1023_0016_3636;

pub(super) fn pcr(pcr: u8, values: impl IntoIterator<Item = Vec<u8>>) -> Requirement {
    Requirement::Pcr {
        pcr,
        values: values.into_iter().collect(),
    }
}

pub(super) fn value_of(tpm: &SoftTpm, pcr: u8) -> Vec<u8> {
    let bank = tpm.pcrs.iter().find(|bank| bank.hash == Hash::Sha256);
    bank.unwrap().values[&pcr].clone()
}

fn reset(hash: Hash, pcr: u8, byte: u8) -> SoftTpm {
    let mut tpm = machine();
    tpm.set_pcr(hash, pcr, &[byte; 32]);
    tpm
}

#[test]
fn each_requirement_of_a_quote_has_its_reason() {
    let good = value_of(&machine(), 7);
    let (zero, ones) = (vec![0; 32], vec![0xFF; 32]);
    let unsafe_clock = || liar(Lies::none().attest(|attest| attest.clock.safe = false));
    for (name, mut prover, requirement, expect) in vec![
        ("quote", prover(machine()), Requirement::Quote, None),
        (
            "old agent",
            old_agent(machine()),
            Requirement::Quote,
            Some(Reason::PolicyRequiresQuote),
        ),
        ("clock", prover(machine()), Requirement::ClockSafe, None),
        (
            "tpm/E30",
            unsafe_clock(),
            Requirement::ClockSafe,
            Some(Reason::ClockUnsafe),
        ),
        (
            "old agent, clock",
            old_agent(machine()),
            Requirement::ClockSafe,
            Some(Reason::PolicyRequiresQuote),
        ),
        ("listed", prover(machine()), pcr(7, [good.clone()]), None),
        (
            "one of several",
            prover(machine()),
            pcr(7, [vec![1; 32], good.clone()]),
            None,
        ),
        (
            "tpm/E32",
            prover(machine()),
            pcr(7, [vec![1; 32]]),
            Some(Reason::PcrPolicy),
        ),
        (
            "value of another PCR",
            prover(machine()),
            pcr(4, [good.clone()]),
            Some(Reason::PcrPolicy),
        ),
        (
            "not quoted",
            prover(machine()),
            pcr(12, [zero.clone()]),
            Some(Reason::PcrPolicy),
        ),
        (
            "tpm/E31",
            prover(reset(Hash::Sha256, 0, 0)),
            pcr(7, [good.clone()]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "tpm/E31 ones",
            prover(reset(Hash::Sha256, 0, 0xFF)),
            pcr(7, [good.clone()]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "tpm/E31 listed",
            prover(reset(Hash::Sha256, 7, 0)),
            pcr(7, [zero]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "tpm/E31 ones listed",
            prover(reset(Hash::Sha256, 4, 0xFF)),
            pcr(4, [ones]),
            Some(Reason::PcrBankInactive),
        ),
        (
            "another bank",
            prover(reset(Hash::Sha384, 0, 0)),
            pcr(7, [good]),
            None,
        ),
        (
            "in range",
            prover(machine()),
            Requirement::Firmware(vec![range(None, FIRMWARE, FIRMWARE)]),
            None,
        ),
        (
            "second range",
            prover(machine()),
            Requirement::Firmware(vec![range(None, 0, 1), range(None, 2, u64::MAX)]),
            None,
        ),
        (
            "below",
            prover(machine()),
            Requirement::Firmware(vec![range(None, FIRMWARE + 1, u64::MAX)]),
            Some(Reason::FirmwareDenied),
        ),
        (
            "above",
            prover(machine()),
            Requirement::Firmware(vec![range(None, 0, FIRMWARE - 1)]),
            Some(Reason::FirmwareDenied),
        ),
        (
            "of a vendor that nobody certified",
            prover(machine()),
            Requirement::Firmware(vec![range(Some("STM"), 0, u64::MAX)]),
            Some(Reason::FirmwareDenied),
        ),
        (
            "old agent, firmware",
            old_agent(machine()),
            Requirement::Firmware(vec![range(None, 0, u64::MAX)]),
            Some(Reason::PolicyRequiresQuote),
        ),
        (
            "no certificate",
            prover(machine()),
            Requirement::EkCertificate,
            Some(Reason::EkCertMissing),
        ),
        (
            "no vendor",
            prover(machine()),
            Requirement::Vendors([of("STM")].into()),
            Some(Reason::VendorDenied),
        ),
        (
            "no kind",
            prover(machine()),
            Requirement::Kinds(TpmKind::ALL.into()),
            Some(Reason::TpmKindDenied),
        ),
        (
            "no log",
            prover(machine()),
            Requirement::EventLog,
            Some(Reason::EventlogMissing),
        ),
    ] {
        let policy = requiring(requirement);
        let attested = attest(&mut prover, &policy).unwrap();
        let refused = decided(&attested, &policy).err();
        assert_eq!(refused.map(|rejection| rejection.reason), expect, "{name}");
    }
}

#[test]
fn each_requirement_of_a_certificate_has_its_reason() {
    for (name, requirement, expect) in [
        ("certificate", Requirement::EkCertificate, None),
        (
            "vendor",
            Requirement::Vendors([of("IFX"), of("STM")].into()),
            None,
        ),
        (
            "another vendor",
            Requirement::Vendors([of("IFX")].into()),
            Some(Reason::VendorDenied),
        ),
        ("kind", Requirement::Kinds([TpmKind::Discrete].into()), None),
        (
            "another kind",
            Requirement::Kinds([TpmKind::Firmware, TpmKind::Virtual].into()),
            Some(Reason::TpmKindDenied),
        ),
        (
            "firmware",
            Requirement::Firmware(vec![range(Some("STM"), 0, u64::MAX)]),
            None,
        ),
        (
            "another's firmware",
            Requirement::Firmware(vec![range(Some("IFX"), 0, u64::MAX)]),
            Some(Reason::FirmwareDenied),
        ),
    ] {
        let policy = Policy {
            ek_trust: EkTrust::Either,
            ..requiring(requirement)
        };
        let refused = decided(&certified(&policy), &policy).err();
        assert_eq!(refused.map(|rejection| rejection.reason), expect, "{name}");
    }
    // A certificate that leads nowhere vouches for no vendor, also where the machine is enrolled.
    let policy = Policy {
        ek_trust: EkTrust::Either,
        ..requiring(Requirement::EkCertificate)
    };
    let chain = Chain::of(machine().ek_key());
    let mut prover = prover(machine());
    prover.certificate = Some(chain.leaf);
    let payload = prover.payload().unwrap();
    let nobody = Anchors::default();
    let (challenge, pending) = begin(&payload, &policy, &nobody, NOW, &mut Counter(0)).unwrap();
    let attested = pending
        .finish(&prover.answer(&payload, &challenge).unwrap())
        .unwrap();
    let refused = decided(&attested, &policy).unwrap_err();
    assert_eq!(refused.reason, Reason::UntrustedChain);
}

pub(super) fn impossible() -> Requirement {
    pcr(7, [vec![1; 32]])
}

/// What loaders and kernels extend may be as after a reset, where nothing was measured.
#[test]
fn only_the_firmware_s_pcrs_must_have_been_extended() {
    for (pcr_index, expect) in [(7, Some(Reason::PcrBankInactive)), (8, None), (12, None)] {
        let mut policy = requiring(pcr(pcr_index, [vec![0; 32]]));
        policy.pcrs[0].1 = vec![0, pcr_index];
        let mut prover = prover(reset(Hash::Sha256, pcr_index, 0));
        let attested = attest(&mut prover, &policy).unwrap();
        let refused = decided(&attested, &policy).err();
        assert_eq!(
            refused.map(|rejection| rejection.reason),
            expect,
            "PCR {pcr_index}"
        );
    }
}

#[test]
fn only_requirements_about_the_log_need_it() {
    let fingerprints = || [[0; 32]].into();
    for (requirement, expect) in [
        (Requirement::Quote, false),
        (Requirement::EkCertificate, false),
        (Requirement::ClockSafe, false),
        (Requirement::EventLog, true),
        (Requirement::SecureBoot, true),
        (Requirement::Db(fingerprints()), true),
        (
            Requirement::CommandLine(crate::CommandLineRule::default()),
            true,
        ),
        (Requirement::NoOptionRoms, true),
        (Requirement::DmaProtection, true),
        (impossible(), false),
    ] {
        assert_eq!(
            requiring(requirement.clone()).state.needs_log(),
            expect,
            "{requirement:?}"
        );
    }
    assert!(!StatePolicy::default().needs_log());
}
