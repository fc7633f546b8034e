//! Reads what a profile requires.

use std::collections::BTreeSet;

use evidence::Hash;
use hcl::{Problem, Spanned, Values};
use verify::{FirmwareRange, Requirement, TpmKind};

use crate::command_line::command_line;
use crate::firmware::{range, vendor_of};
use crate::rules::{self, hashed, is_set, listed, texts, untrustworthy};

/// What else the configuration says that profiles depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    /// EK certificates can be verified.
    pub(crate) has_anchors: bool,
    /// The bank of every PCR value and image digest.
    pub(crate) bank: Hash,
}

/// What the keys of a profile require, but for a quote by itself.
pub(crate) fn requirements(
    block: &Values,
    given: Given,
    problems: &mut Vec<Problem>,
) -> BTreeSet<Requirement> {
    let mut found = of_the_tpm(block, problems);
    found.extend(pcrs(block, given.bank, problems));
    found.extend(of_the_boot(block, given.bank, problems));
    if !given.has_anchors {
        need_anchors(block, problems);
    }
    found
}

/// Whether agents without a quote fail it.
pub(crate) fn needs_quote(requirement: &Requirement) -> bool {
    !matches!(
        requirement,
        Requirement::EkCertificate | Requirement::Vendors(_) | Requirement::Kinds(_)
    )
}

fn of_the_tpm(block: &Values, problems: &mut Vec<Problem>) -> BTreeSet<Requirement> {
    let kinds = || TpmKind::ALL.map(|kind| kind.name().to_owned()).to_vec();
    let kinds = listed(
        block,
        "tpm_kinds",
        "kind of TPM",
        TpmKind::from_name,
        kinds,
        problems,
    );
    let vendors = rules::vendors(block, problems);
    let ranges = firmware(block, problems);
    let found = [
        is_set(block, "ek_cert").then_some(Requirement::EkCertificate),
        vendors.map(|vendors| Requirement::Vendors(vendors.into_iter().collect())),
        kinds.map(|kinds| Requirement::Kinds(kinds.into_iter().collect())),
        (!ranges.is_empty()).then_some(Requirement::Firmware(ranges)),
        is_set(block, "clock_safe").then_some(Requirement::ClockSafe),
    ];
    found.into_iter().flatten().collect()
}

fn firmware(block: &Values, problems: &mut Vec<Problem>) -> Vec<FirmwareRange> {
    let mut ranges = Vec::new();
    for block in block.blocks("firmware") {
        let vendor = match block.label() {
            Some(label) if label.value == ANY => Some(None),
            Some(label) => vendor_of(label, problems).map(Some),
            None => {
                let message = "a firmware block needs a label: a TPM vendor, or \"any\"";
                problems.push(Problem::new(block.start(), message));
                None
            }
        };
        let range = range(block, vendor.flatten(), problems);
        ranges.extend(vendor.and(range));
    }
    ranges
}

fn pcrs(block: &Values, bank: Hash, problems: &mut Vec<Problem>) -> Vec<Requirement> {
    let mut found = Vec::new();
    for block in block.blocks("pcr") {
        let pcr = pcr(block, problems);
        if block.is_sound() && block.texts("values").is_none() {
            let message = "a pcr block needs values";
            problems.push(Problem::new(block.start(), message));
        }
        let values = digests(block, "values", bank, problems);
        if let (Some(pcr), Some(values)) = (pcr, values) {
            found.push(Requirement::Pcr { pcr, values });
        }
    }
    found
}

/// The number in the label of a `pcr` block: one way to write it, so that no PCR has two blocks.
fn pcr(block: &Values, problems: &mut Vec<Problem>) -> Option<u8> {
    let Some(label) = block.label() else {
        let message = "a pcr block needs a label: the number of the PCR";
        problems.push(Problem::new(block.start(), message));
        return None;
    };
    let pcr = label.value.parse().ok();
    let pcr = pcr.filter(|pcr: &u8| *pcr <= MAX_PCR && pcr.to_string() == label.value);
    let message = match pcr {
        None => {
            let shown = hcl::shown(label.value);
            format!("the label of a pcr block is a number from 0 to {MAX_PCR}, not {shown}")
        }
        Some(pcr) => match untrustworthy(pcr) {
            None => return Some(pcr),
            Some(why) => format!("PCR {pcr} has no place in a profile: {why}"),
        },
    };
    problems.push(Problem::new(label.position, message));
    None
}

fn of_the_boot(block: &Values, bank: Hash, problems: &mut Vec<Problem>) -> BTreeSet<Requirement> {
    let db = fingerprints(block, "db", problems).map(Requirement::Db);
    let dbx = fingerprints(block, "dbx", problems).map(Requirement::Dbx);
    let authorities = fingerprints(block, "authorities", problems).map(Requirement::Authorities);
    let images = digests(block, "boot_images", bank, problems).map(Requirement::BootImages);
    let denies_roms = rules::chooses(block, "option_roms", "deny");
    let rule = block.block("command_line").map(|inner| {
        if !pins_who_measures(block) {
            let message = "command_line needs pcr \"4\" or pcr \"9\" in the same profile: else a \
                           kernel that was started without its loader shows no line";
            problems.push(Problem::new(inner.start(), message));
        }
        Requirement::CommandLine(command_line(inner, problems))
    });
    let found = [
        is_set(block, "event_log").then_some(Requirement::EventLog),
        is_set(block, "secure_boot").then_some(Requirement::SecureBoot),
        db,
        dbx,
        authorities,
        images,
        rule,
        denies_roms.then_some(Requirement::NoOptionRoms),
        is_set(block, "dma_protection").then_some(Requirement::DmaProtection),
    ];
    found.into_iter().flatten().collect()
}

/// Whether a profile pins, by its order, which programs ran and so measured the kernel's command line (PCR 4), or the command
/// line itself (PCR 9). Who signed the kernel does not: firmware starts a signed kernel without its loader, too, with a line
/// of which no text is measured.
fn pins_who_measures(block: &Values) -> bool {
    let mut pcrs = block.blocks("pcr").iter();
    let label = |pcr: &Values| pcr.label().map(|label| label.value.to_owned());
    pcrs.any(|pcr| matches!(label(pcr).as_deref(), Some("4" | "9")))
}

/// Keys about certificates match nothing where none can be verified.
fn need_anchors(block: &Values, problems: &mut Vec<Problem>) {
    let mut needs = |key: &str, is_there: bool| {
        if is_there {
            problems.push(block.problem(key, format!("{key} needs ca_path")));
        }
    };
    needs("ek_cert", is_set(block, "ek_cert"));
    needs("vendors", block.texts("vendors").is_some());
    needs("tpm_kinds", block.texts("tpm_kinds").is_some());
    for block in block.blocks("firmware") {
        if let Some(label) = block.label().filter(|label| label.value != ANY) {
            let message = "firmware of a vendor needs ca_path: write \"any\"";
            problems.push(Problem::new(label.position, message));
        }
    }
}

/// SHA-256s in hex.
fn fingerprints(
    block: &Values,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<BTreeSet<[u8; 32]>> {
    let digests = digests(block, key, Hash::Sha256, problems)?;
    let sized = digests.into_iter().map(TryInto::try_into);
    Some(sized.filter_map(Result::ok).collect())
}

fn digests(
    block: &Values,
    key: &str,
    hash: Hash,
    problems: &mut Vec<Problem>,
) -> Option<BTreeSet<Vec<u8>>> {
    let written = texts(block, key, problems)?;
    let what = format!("an item of {key}");
    let read = |text: &Spanned<String>| {
        let text = Spanned {
            value: text.value.as_str(),
            position: text.position,
        };
        hashed(text, &what, hash, problems)
    };
    Some(written.iter().filter_map(read).collect())
}

/// The label of firmware blocks about every vendor.
const ANY: &str = "any";

/// The last PCR of a PC (PFP 1.06, section 3.3.3).
const MAX_PCR: u8 = 23;
