//! Reads profiles: what machines may look like.

use hcl::{Problem, Values};
use verify::{Profile, Requirement};

use crate::requirements::{Given, needs_quote, requirements};
use crate::rules::chooses;

/// The profiles in the order of the text.
pub(crate) fn profiles(values: &Values, given: Given, problems: &mut Vec<Problem>) -> Vec<Profile> {
    let blocks = values.blocks("profile");
    if let Some(first) = blocks.get(MAX_PROFILES) {
        let message = format!("there are more than {MAX_PROFILES} profiles");
        problems.push(Problem::new(first.start(), message));
    }
    let blocks = blocks.iter().take(MAX_PROFILES);
    blocks
        .filter_map(|block| profile(block, given, problems))
        .collect()
}

fn profile(block: &Values, given: Given, problems: &mut Vec<Problem>) -> Option<Profile> {
    let name = name(block, problems);
    let before = problems.len();
    let mut requirements = requirements(block, given, problems);
    if chooses(block, "legacy_agents", "allow") {
        if let Some(quoted) = requirements.iter().find(|each| needs_quote(each)) {
            let message = format!(
                "legacy_agents = \"allow\" cannot go with {}: agents without a quote never meet it",
                quoted.name()
            );
            problems.push(block.problem("legacy_agents", message));
        }
    } else if !requirements.is_empty() || chooses(block, "legacy_agents", "deny") {
        requirements.insert(Requirement::Quote);
    }
    // Where something else is wrong, this may be only its consequence.
    if requirements.is_empty() && block.is_sound() && problems.len() == before {
        let message = "a profile without requirements would match every machine";
        problems.push(Problem::new(block.start(), message));
    }
    name.map(|name| Profile { name, requirements })
}

fn name(block: &Values, problems: &mut Vec<Problem>) -> Option<String> {
    let Some(label) = block.label() else {
        let message = "a profile block needs a label: its name";
        problems.push(Problem::new(block.start(), message));
        return None;
    };
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if (1..=MAX_NAME).contains(&label.value.len()) && label.value.bytes().all(is_plain) {
        return Some(label.value.to_owned());
    }
    let shown = hcl::shown(label.value);
    let message = format!("the name of a profile is 1 to {MAX_NAME} of a-z 0-9 . _ -, not {shown}");
    problems.push(Problem::new(label.position, message));
    None
}

/// Characters of a name, which goes into a selector.
const MAX_NAME: usize = 32;

/// Profiles of one configuration: each costs its part of every attestation, and may be a selector.
const MAX_PROFILES: usize = 64;
