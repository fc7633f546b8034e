//! Reads the rules about the state of machines.

use std::collections::BTreeSet;

use eventlog::Quirk;
use evidence::Hash;
use hcl::{Problem, Values};
use verify::{
    Matching, Mode, OptionalSelector, OptionalSelectors, Profile, Requirement, StatePolicy,
    VulnerableTpms,
};

use crate::advisories;
use crate::profiles::profiles;
use crate::requirements::Given;
use crate::rules::{chooses, named, untrustworthy};

/// The rules about the state of machines. `has_anchors`: EK certificates can be verified.
pub(crate) fn state(
    values: &Values,
    has_anchors: bool,
    bank: Hash,
    problems: &mut Vec<Problem>,
) -> StatePolicy {
    let given = Given { has_anchors, bank };
    let profiles = profiles(values, given, problems);
    let selectors = OptionalSelectors {
        kinds: extra_selectors(values, problems),
        pcrs: pcr_selectors(values, problems),
    };
    StatePolicy {
        ask_for_log: asks_for_log(values, &profiles, &selectors, problems),
        tolerated: tolerated(values, problems),
        profiles,
        matching: if chooses(values, "profile_match", "all") {
            Matching::All
        } else {
            Matching::First
        },
        mode: if chooses(values, "mode", "monitor") {
            Mode::Monitor
        } else {
            Mode::Enforce
        },
        advisories: advisories::all(values, problems),
        vulnerable_tpms: if chooses(values, "vulnerable_tpms", "reject") {
            VulnerableTpms::Reject
        } else {
            VulnerableTpms::Warn
        },
        selectors,
    }
}

/// The PCRs that must be quoted for these rules. PCR 0 with every other: that it was extended shows that the firmware
/// uses the bank at all. Those of the boot event log are added where it is asked for.
pub(crate) fn named_pcrs(state: &StatePolicy) -> impl Iterator<Item = u8> {
    let required = state
        .profiles
        .iter()
        .flat_map(|profile| &profile.requirements);
    let required = required.filter_map(|requirement| match requirement {
        Requirement::Pcr { pcr, .. } => Some([0, *pcr]),
        _ => None,
    });
    required
        .flatten()
        .chain(state.selectors.pcrs.iter().copied())
}

fn tolerated(values: &Values, problems: &mut Vec<Problem>) -> BTreeSet<Quirk> {
    let names = || Quirk::ALL.map(|quirk| quirk.name().to_owned()).to_vec();
    let quirks = named(
        values,
        "tolerate",
        "departure",
        Quirk::from_name,
        names,
        problems,
    );
    quirks.map_or_else(
        || TOLERATED.into_iter().collect(),
        |quirks| quirks.into_iter().collect(),
    )
}

/// In the order of the documentation, each once.
fn extra_selectors(values: &Values, problems: &mut Vec<Problem>) -> Vec<OptionalSelector> {
    let names = || {
        OptionalSelector::ALL
            .map(|kind| kind.name().to_owned())
            .to_vec()
    };
    let kinds = named(
        values,
        "extra_selectors",
        "selector",
        OptionalSelector::from_name,
        names,
        problems,
    );
    let kinds: BTreeSet<_> = kinds.unwrap_or_default().into_iter().collect();
    kinds.into_iter().collect()
}

fn pcr_selectors(values: &Values, problems: &mut Vec<Problem>) -> Vec<u8> {
    let mut pcrs = BTreeSet::new();
    for index in values.integers("pcr_selectors").unwrap_or_default() {
        let Ok(pcr) = u8::try_from(index.value) else {
            continue;
        };
        if let Some(why) = untrustworthy(pcr) {
            let message = format!("pcr_selectors must not have {pcr}: {why}");
            problems.push(Problem::new(index.position, message));
        }
        pcrs.insert(pcr);
    }
    pcrs.into_iter().collect()
}

/// Whether agents are asked for the boot event log.
fn asks_for_log(
    values: &Values,
    profiles: &[Profile],
    selectors: &OptionalSelectors,
    problems: &mut Vec<Problem>,
) -> bool {
    let needs_log = |profile: &&Profile| profile.requirements.iter().any(Requirement::needs_log);
    let wants = || match profiles.iter().find(needs_log) {
        Some(profile) => Some(format!("profile \"{}\"", profile.name)),
        None => selectors
            .kinds
            .contains(&OptionalSelector::BootChain)
            .then(|| "boot_chain in extra_selectors".to_owned()),
    };
    match values.choice("event_log").map(|choice| choice.value) {
        None | Some("ask") => true,
        Some("policy") => wants().is_some(),
        Some(_never) => {
            if let Some(who) = wants() {
                let message = format!("event_log = \"never\", but {who} needs the boot event log");
                problems.push(values.problem("event_log", message));
            }
            false
        }
    }
}

/// Departures that are tolerated if nothing is configured: those that leave no measurement unexplained.
const TOLERATED: [Quirk; 3] = [
    Quirk::ShimVariables,
    Quirk::ShimExtraByte,
    Quirk::EmptySecureBoot,
];
