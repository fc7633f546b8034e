//! What would have to change so that a machine meets a requirement, in words to act on.

use std::collections::BTreeSet;

use eventlog::{BootClaims, SignatureEntry};
use verify::{
    Attested, Certification, CommandLineRule, FirmwareVersion, Method, Quoted, Reason, Rejection,
    Requirement, TpmDescription, TpmKind, Vendor,
};

use crate::profile_block::quoted as text;

/// What would have to change. Where nothing better is known, the remedy of the reason.
pub(crate) fn change(
    requirement: &Requirement,
    rejection: &Rejection,
    attested: &Attested,
) -> String {
    let machine = Machine { attested };
    let specific = match requirement {
        Requirement::Vendors(_) => machine.vendor().map(|vendor| adding("vendors", &[vendor.to_string()])),
        Requirement::Kinds(_) => machine.kind().map(|kind| adding("tpm_kinds", &[kind.name().to_owned()])),
        Requirement::Firmware(_) => machine.firmware(),
        Requirement::Pcr { pcr, .. } => machine.pcr(*pcr, rejection.reason),
        Requirement::Quote => Some(
            "upgrade the agent to one that gives a quote, or set legacy_agents = \"allow\" in the profile"
                .to_owned(),
        ),
        about_the_log => machine.claims().and_then(|claims| by_claims(about_the_log, claims)),
    };
    specific.unwrap_or_else(|| rejection.reason.remedy().to_owned())
}

/// What a machine proved, as far as the rules ask for it.
struct Machine<'a> {
    attested: &'a Attested,
}

impl Machine<'_> {
    fn vendor(&self) -> Option<Vendor> {
        match self.attested.certification() {
            Certification::Verified(ek) => ek.description().map(TpmDescription::vendor),
            Certification::Refused(_) | Certification::Absent => None,
        }
    }

    fn kind(&self) -> Option<TpmKind> {
        self.vendor().and_then(TpmKind::of)
    }

    fn quoted(&self) -> Option<&Quoted> {
        match self.attested.method() {
            Method::Quote(quoted) => Some(quoted),
            Method::Credential => None,
        }
    }

    fn claims(&self) -> Option<&BootClaims> {
        match self.attested.boot() {
            verify::Boot::Verified(claims) => Some(claims),
            verify::Boot::Refused(_) | verify::Boot::Absent => None,
        }
    }

    fn firmware(&self) -> Option<String> {
        let version = FirmwareVersion(self.quoted()?.firmware());
        let label = self
            .vendor()
            .map_or_else(|| "any".to_owned(), |vendor| vendor.to_string());
        Some(format!(
            "update the TPM's firmware, or add firmware \"{label}\" {{ from = \"{version}\" to = \"{version}\" }}"
        ))
    }

    fn pcr(&self, pcr: u8, reason: Reason) -> Option<String> {
        if reason != Reason::PcrPolicy {
            return None;
        }
        let bank = self.quoted()?.banks().first()?;
        Some(match bank.values.get(&pcr) {
            Some(value) => format!(
                "add \"{}\" to the values of pcr \"{pcr}\", or boot an approved state; `tpm-attestor profile diff` with a record of one says what differs",
                hex::encode(value)
            ),
            None => "attest again: the server did not ask for this PCR then".to_owned(),
        })
    }
}

fn by_claims(requirement: &Requirement, claims: &BootClaims) -> Option<String> {
    let boot = &claims.secure_boot;
    match requirement {
        Requirement::Db(allowed) => {
            let unlisted = unlisted(&boot.db.iter().collect::<Vec<_>>(), allowed);
            Some(format!(
                "{}, or remove it from db in the firmware",
                adding("db", &unlisted)
            ))
        }
        Requirement::Authorities(allowed) if boot.enabled => {
            let used = boot.authorities.iter();
            let used: Vec<_> = used.filter_map(|used| used.entry.as_ref()).collect();
            let unlisted = unlisted(&used, allowed);
            let other = "or boot what an approved key has signed";
            Some(format!("{}, {other}", adding("authorities", &unlisted)))
        }
        Requirement::BootImages(allowed) => {
            let images = claims.images.iter().map(|image| &image.digest);
            let unlisted: BTreeSet<_> =
                images.filter(|digest| !allowed.contains(*digest)).collect();
            let unlisted: Vec<_> = unlisted.into_iter().map(hex::encode).collect();
            (!unlisted.is_empty()).then(|| {
                format!(
                    "{}, or boot an approved program",
                    adding("boot_images", &unlisted)
                )
            })
        }
        Requirement::CommandLine(rule) => command_line(claims, rule),
        _ => None,
    }
}

fn unlisted(entries: &[&SignatureEntry], allowed: &BTreeSet<[u8; 32]>) -> Vec<String> {
    let other: BTreeSet<_> = entries
        .iter()
        .map(|entry| entry.fingerprint())
        .filter(|fingerprint| !allowed.contains(*fingerprint))
        .collect();
    other.into_iter().map(hex::encode).collect()
}

fn command_line(claims: &BootClaims, rule: &CommandLineRule) -> Option<String> {
    let lines = claims.command_lines.iter().map(|line| line.text.trim());
    let lines: BTreeSet<_> = lines.collect();
    if lines.is_empty() {
        return None;
    }
    let others: Vec<_> = lines
        .into_iter()
        .filter(|line| !rule.allow.contains(*line))
        .collect();
    if !rule.allow.is_empty() && !others.is_empty() {
        let others: Vec<_> = others.into_iter().map(str::to_owned).collect();
        let what = adding("allow in command_line", &others);
        return Some(format!("{what}, or boot with a line that is there"));
    }
    Some("change the line of the boot entry, or `require` and `forbid` in command_line".to_owned())
}

fn adding(key: &str, values: &[String]) -> String {
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    format!("add {} to {key}", values.join(", "))
}
