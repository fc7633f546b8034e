//! The rules in a configuration that are a matter of its text alone.

use std::collections::BTreeSet;
use std::time::Duration;

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
    let bytes = hex::decode(text.value).ok();
    let digest = bytes.and_then(|bytes| bytes.try_into().ok());
    if digest.is_none() {
        let shown = hcl::shown(text.value);
        let message = format!("{what} must be a SHA-256 in 64 hex digits, not {shown}");
        problems.push(Problem::new(text.position, message));
    }
    digest
}

/// The PCRs that a quote must cover.
pub(crate) fn pcrs(values: &Values, problems: &mut Vec<Problem>) -> Vec<(Hash, Vec<u8>)> {
    let bank = values
        .choice("pcr_bank")
        .and_then(|choice| Hash::from_name(choice.value));
    let mut pcrs: Vec<u8> = match values.integers("pcrs") {
        None => (0..8).collect(),
        Some(pcrs) => pcrs
            .iter()
            .filter_map(|pcr| u8::try_from(pcr.value).ok())
            .collect(),
    };
    pcrs.sort_unstable();
    pcrs.dedup();
    if pcrs.is_empty() {
        problems.push(values.problem("pcrs", "pcrs must not be empty"));
    }
    vec![(bank.unwrap_or(Hash::Sha256), pcrs)]
}

/// A duration; the default is in seconds.
pub(crate) fn duration(
    values: &Values,
    key: &str,
    default: u64,
    problems: &mut Vec<Problem>,
) -> Duration {
    let Some(duration) = values.duration(key) else {
        return Duration::from_secs(default);
    };
    if !(MIN_DURATION..=MAX_DURATION).contains(&duration.value) {
        problems.push(values.problem(key, format!("{key} must be between 100ms and 10m")));
    }
    duration.value
}

/// A number of things.
pub(crate) fn count(values: &Values, key: &str, default: usize) -> usize {
    let configured = values
        .integer(key)
        .and_then(|integer| usize::try_from(integer.value).ok());
    configured.unwrap_or(default)
}

/// What a list names, each by its exact name. An empty list would accept nothing, and is an error.
fn listed<T>(
    values: &Values,
    key: &str,
    what: &str,
    by_name: impl Fn(&str) -> Option<T>,
    names: impl Fn() -> Vec<String>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<T>> {
    let written = values.texts(key)?;
    if written.is_empty() {
        problems.push(values.problem(key, format!("{key} must not be empty")));
    }
    let mut found = Vec::new();
    for name in written {
        let known = by_name(&name.value);
        if known.is_none() {
            let names = names();
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let hint = hcl::hint(&name.value, &names);
            let hint = hint.unwrap_or_else(|| format!("one of {}", names.join(", ")));
            let message = format!("unknown {what} {}; {hint}", hcl::shown(&name.value));
            problems.push(Problem::new(name.position, message));
        }
        found.extend(known);
    }
    Some(found)
}

const MIN_DURATION: Duration = Duration::from_millis(100);
const MAX_DURATION: Duration = Duration::from_secs(600);
