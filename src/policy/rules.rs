//! The rules in a configuration that are a matter of its text alone.

use std::collections::BTreeSet;

use evidence::Hash;
use hcl::{Problem, Spanned, Values};
use store::{vendor, vendor_names};
use verify::{EkKind, Vendor, Waiver};

/// The kinds of EK in `ek_profiles`.
pub(crate) fn ek_kinds(values: &Values, problems: &mut Vec<Problem>) -> Vec<EkKind> {
    let names = || {
        EkKind::ALL
            .iter()
            .map(|kind| kind.name().to_owned())
            .collect()
    };
    let by_name = |name: &str| EkKind::ALL.into_iter().find(|kind| kind.name() == name);
    listed(
        values,
        "ek_profiles",
        "EK profile",
        by_name,
        names,
        problems,
    )
    .unwrap_or_else(|| EkKind::ALL.to_vec())
}

/// The vendors in `vendors`, of the whole or of a block.
pub(crate) fn vendors(values: &Values, problems: &mut Vec<Problem>) -> Option<Vec<Vendor>> {
    listed(
        values,
        "vendors",
        "TPM vendor",
        vendor,
        vendor_names,
        problems,
    )
}

/// The waivers in `waive` of a block.
pub(crate) fn waivers(values: &Values, problems: &mut Vec<Problem>) -> BTreeSet<Waiver> {
    let names = || {
        Waiver::ALL
            .iter()
            .map(|waiver| waiver.name().to_owned())
            .collect()
    };
    let waivers = listed(
        values,
        "waive",
        "waiver",
        Waiver::from_name,
        names,
        problems,
    );
    waivers.unwrap_or_default().into_iter().collect()
}

/// A SHA-256 in 64 hex digits.
pub(crate) fn digest(
    text: Spanned<&str>,
    what: &str,
    problems: &mut Vec<Problem>,
) -> Option<[u8; 32]> {
    hashed(text, what, Hash::Sha256, problems)?.try_into().ok()
}

/// A digest in hex.
pub(crate) fn hashed(
    text: Spanned<&str>,
    what: &str,
    hash: Hash,
    problems: &mut Vec<Problem>,
) -> Option<Vec<u8>> {
    let digest = hex::decode(text.value).ok();
    let digest = digest.filter(|digest| digest.len() == hash.size());
    if digest.is_none() {
        let (shown, digits) = (hcl::shown(text.value), hash.size().saturating_mul(2));
        let name = hash.name().to_uppercase().replace("SHA", "SHA-");
        let message = format!("{what} must be a {name} in {digits} hex digits, not {shown}");
        problems.push(Problem::new(text.position, message));
    }
    digest
}

/// The bank and the PCRs in it that a quote must cover.
pub(crate) fn pcrs(values: &Values, problems: &mut Vec<Problem>) -> (Hash, BTreeSet<u8>) {
    let bank = values
        .choice("pcr_bank")
        .and_then(|choice| Hash::from_name(choice.value));
    let pcrs: BTreeSet<u8> = match values.integers("pcrs") {
        None => (0..8).collect(),
        Some(pcrs) => pcrs
            .iter()
            .filter_map(|pcr| u8::try_from(pcr.value).ok())
            .collect(),
    };
    if pcrs.is_empty() {
        problems.push(values.problem("pcrs", "pcrs must not be empty"));
    }
    (bank.unwrap_or(Hash::Sha256), pcrs)
}

/// Why the value of a PCR says nothing about the boot, for those of which it does not (PFP 1.06, section 3.3.4; TPM
/// library part 1, section 17.4).
pub(crate) fn untrustworthy(pcr: u8) -> Option<&'static str> {
    match pcr {
        10 => Some("it grows while the machine runs, with each file that IMA measures"),
        16 | 23 => Some("software can reset it at any time"),
        _ => None,
    }
}

/// Whether a flag is there and true.
pub(crate) fn is_set(values: &Values, key: &str) -> bool {
    values.flag(key).is_some_and(|flag| flag.value)
}

/// Whether this choice was made.
pub(crate) fn chooses(values: &Values, key: &str, choice: &str) -> bool {
    values
        .choice(key)
        .is_some_and(|chosen| chosen.value == choice)
}

/// What a list names. An empty list would accept nothing, and is an error.
pub(crate) fn listed<T>(
    values: &Values,
    key: &str,
    what: &str,
    by_name: impl Fn(&str) -> Option<T>,
    names: impl Fn() -> Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<T>> {
    texts(values, key, problems)?;
    named(values, key, what, by_name, names, problems)
}

/// A list of strings that must not be empty.
pub(crate) fn texts<'a>(
    values: &'a Values,
    key: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'a [Spanned<String>]> {
    let written = values.texts(key)?;
    if written.is_empty() {
        problems.push(values.problem(key, format!("{key} must not be empty")));
    }
    Some(written)
}

/// What a list names, each by its exact name.
pub(crate) fn named<T>(
    values: &Values,
    key: &str,
    what: &str,
    by_name: impl Fn(&str) -> Option<T>,
    names: impl Fn() -> Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<T>> {
    let mut found = Vec::new();
    for name in values.texts(key)? {
        let known = by_name(&name.value);
        if known.is_none() {
            let message = unknown(what, &name.value, &names());
            problems.push(Problem::new(name.position, message));
        }
        found.extend(known);
    }
    Some(found)
}

/// Says that a name is unknown, and which was probably meant.
pub(crate) fn unknown(what: &str, written: &str, names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let hint = hcl::hint(written, &names);
    let hint = hint.unwrap_or_else(|| format!("one of {}", names.join(", ")));
    format!("unknown {what} {}; {hint}", hcl::shown(written))
}
