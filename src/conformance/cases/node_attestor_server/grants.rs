//! Good attestations, and what they give.

use std::collections::BTreeSet;

use globset::Glob;
use plugin::AgentAttributes;
use tokio::task::JoinSet;

use crate::{
    attestation::{Held, verdict},
    case::{Stop, environment, failed, hold, skip},
    loaded::Loaded,
    role::Role,
    trial::Trial,
};

/// A good attestation with a new process.
async fn held(trial: &mut Trial) -> Result<(Loaded, Held), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let held = trial.attest(&server).await?;
    Ok((server, held))
}

async fn granted(trial: &mut Trial) -> Result<AgentAttributes, Stop> {
    Ok(held(trial).await?.1.attributes)
}

/// `Trial::attest` wants the attributes once and then the end.
pub(super) async fn ends_with_a_verdict(trial: &mut Trial) -> Result<(), Stop> {
    granted(trial).await.map(drop)
}

pub(super) async fn names_an_agent(trial: &mut Trial) -> Result<(), Stop> {
    let id = granted(trial).await?.spiffe_id;
    hold(
        !id.is_empty(),
        || "an empty ID".to_owned(),
        "the agent's ID",
    )
}

/// Trust domain and path, if they are what SPIFFE allows.
fn parts(id: &str) -> Option<(&str, &str)> {
    let rest = id.strip_prefix("spiffe://")?;
    let (domain, path) = rest.split_at_checked(rest.find('/')?)?;
    let in_domain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    let in_segment = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(in_segment);
    let is_good = !domain.is_empty()
        && domain.bytes().all(in_domain)
        && path.split('/').skip(1).all(is_segment);
    is_good.then_some((domain, path))
}

pub(super) async fn names_it_by_a_spiffe_id(trial: &mut Trial) -> Result<(), Stop> {
    let id = granted(trial).await?.spiffe_id;
    hold(
        parts(&id).is_some(),
        || format!("{id:?}"),
        "a SPIFFE ID: lower-case trust domain, path of segments of letters, digits, `-`, `.` and `_`",
    )
}

pub(super) async fn names_it_in_its_trust_domain(trial: &mut Trial) -> Result<(), Stop> {
    let id = granted(trial).await?.spiffe_id;
    let domain = trial.candidate().trust_domain();
    hold(
        parts(&id).is_some_and(|(found, _)| found == domain),
        || format!("{id:?}"),
        format!("an ID in the trust domain {domain}"),
    )
}

pub(super) async fn names_it_below_its_own_name(trial: &mut Trial) -> Result<(), Stop> {
    let id = granted(trial).await?.spiffe_id;
    let below = format!("/spire/agent/{}/", trial.candidate().plugin_name());
    hold(
        parts(&id).is_some_and(|(_, path)| path.starts_with(&below)),
        || format!("{id:?}"),
        format!("an ID below {below}"),
    )
}

pub(super) async fn names_it_as_expected(trial: &mut Trial) -> Result<(), Stop> {
    let Some(expected) = trial.candidate().expect.agent_id.clone() else {
        return Err(skip("the subject file does not say which ID is right"));
    };
    let id = granted(trial).await?.spiffe_id;
    hold(matches(&expected, &id)?, || format!("{id:?}"), expected)
}

pub(super) async fn names_it_not_as_the_server(trial: &mut Trial) -> Result<(), Stop> {
    let id = granted(trial).await?.spiffe_id;
    hold(
        parts(&id).is_none_or(|(_, path)| path != "/spire/server"),
        || format!("{id:?}"),
        "not the server's own ID",
    )
}

pub(super) async fn names_it_shortly(trial: &mut Trial) -> Result<(), Stop> {
    let id = granted(trial).await?.spiffe_id;
    hold(
        id.len() <= 255,
        || format!("{} bytes", id.len()),
        "at most 255 bytes",
    )
}

pub(super) async fn names_it_in_another_trust_domain(trial: &mut Trial) -> Result<(), Stop> {
    const OTHER: &str = "other.example";
    let text = trial.good_text(Role::Server).await?;
    let server = trial.load_role(Role::Server).await?;
    let taken = server.configure(Some(OTHER), &text).await;
    taken.map_err(|status| {
        failed(
            status.to_string(),
            "a configuration with another trust domain",
        )
    })?;
    let mut exchange = trial.open(&server).await?;
    let mut agent = trial.agent_part_in(OTHER).await?;
    exchange.payload(&agent.payload().await?).await;
    let attributes = verdict(&mut exchange, &mut agent).await?;
    let id = attributes.spiffe_id;
    hold(
        parts(&id).is_some_and(|(domain, _)| domain == OTHER),
        || format!("{id:?}"),
        format!("an ID in the trust domain {OTHER}"),
    )
}

pub(super) async fn selects_as_expected(trial: &mut Trial) -> Result<(), Stop> {
    let expected = trial.candidate().expect.selectors.clone();
    if expected.is_empty() {
        return Err(skip(
            "the subject file does not say which selectors are right",
        ));
    }
    let selectors = granted(trial).await?.selector_values;
    for pattern in expected {
        let mut found = false;
        for selector in &selectors {
            found |= matches(&pattern, selector)?;
        }
        hold(
            found,
            || format!("{selectors:?}"),
            format!("a selector {pattern}"),
        )?;
    }
    Ok(())
}

fn matches(pattern: &str, text: &str) -> Result<bool, Stop> {
    let glob =
        Glob::new(pattern).map_err(|error| environment("a glob of the subject file", error))?;
    Ok(glob.compile_matcher().is_match(text))
}

pub(super) async fn selects_by_something(trial: &mut Trial) -> Result<(), Stop> {
    selectors_are(
        trial,
        |selector| !selector.is_empty(),
        "selectors that are not empty",
    )
    .await
}

pub(super) async fn selects_by_printable_text(trial: &mut Trial) -> Result<(), Stop> {
    let printable = |selector: &str| !selector.chars().any(char::is_control);
    selectors_are(trial, printable, "selectors without control characters").await
}

pub(super) async fn selects_shortly(trial: &mut Trial) -> Result<(), Stop> {
    selectors_are(
        trial,
        |selector| selector.len() <= 255,
        "selectors of at most 255 bytes",
    )
    .await
}

async fn selectors_are(trial: &mut Trial, good: fn(&str) -> bool, right: &str) -> Result<(), Stop> {
    let selectors = granted(trial).await?.selector_values;
    let bad = selectors.iter().find(|selector| !good(selector));
    hold(bad.is_none(), || format!("{bad:?}"), right)
}

pub(super) async fn selects_by_each_once(trial: &mut Trial) -> Result<(), Stop> {
    let selectors = granted(trial).await?.selector_values;
    let distinct: BTreeSet<_> = selectors.iter().collect();
    hold(
        distinct.len() == selectors.len(),
        || format!("{selectors:?}"),
        "each selector once",
    )
}

pub(super) async fn says_whether_it_may_attest_again(trial: &mut Trial) -> Result<(), Stop> {
    let Some(expected) = trial.candidate().expect.can_reattest else {
        return Err(skip("the subject file does not say what is right"));
    };
    let said = granted(trial).await?.can_reattest;
    hold(
        said == expected,
        || format!("can_reattest = {said}"),
        format!("can_reattest = {expected}"),
    )
}

pub(super) async fn grants_the_same_again(trial: &mut Trial) -> Result<(), Stop> {
    let (server, first) = held(trial).await?;
    let second = trial.attest(&server).await?;
    same(&first.attributes, &second.attributes)
}

pub(super) async fn grants_the_same_after_a_restart(trial: &mut Trial) -> Result<(), Stop> {
    let (server, first) = held(trial).await?;
    server.unload().await;
    let second = granted(trial).await?;
    same(&first.attributes, &second)
}

fn same(first: &AgentAttributes, second: &AgentAttributes) -> Result<(), Stop> {
    hold(
        first == second,
        || format!("first {first:?}, then {second:?}"),
        "the same for the same machine",
    )
}

pub(super) async fn challenges_as_often_as_expected(trial: &mut Trial) -> Result<(), Stop> {
    let Some(expected) = trial.candidate().expect.challenges else {
        return Err(skip(
            "the subject file does not say how many challenges there are",
        ));
    };
    let rounds = held(trial).await?.1.rounds.len();
    hold(
        rounds == expected,
        || format!("{rounds} challenges"),
        format!("{expected} challenges"),
    )
}

pub(super) async fn challenges_with_something(trial: &mut Trial) -> Result<(), Stop> {
    let rounds = held(trial).await?.1.rounds;
    let empty = rounds.iter().any(|(challenge, _)| challenge.is_empty());
    hold(
        !empty,
        || "an empty challenge".to_owned(),
        "challenges that are not empty",
    )
}

/// The second stream is left at its challenge: what is fresh shows there.
pub(super) async fn challenges_with_something_new(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut seen = BTreeSet::new();
    for _stream in 0..3 {
        let mut exchange = trial.open(&server).await?;
        let mut agent = trial.agent_part().await?;
        exchange.payload(&agent.payload().await?).await;
        let challenge = trial.challenge(&mut exchange).await?;
        hold(
            seen.insert(challenge),
            || "the same challenge twice".to_owned(),
            "a new challenge for each stream",
        )?;
    }
    Ok(())
}

pub(super) async fn grants_many_at_once(trial: &mut Trial) -> Result<(), Stop> {
    let server = trial.configured_role(Role::Server).await?;
    let mut under_way = Vec::new();
    for _stream in 0..16 {
        let mut exchange = trial.open(&server).await?;
        let mut agent = trial.agent_part().await?;
        exchange.payload(&agent.payload().await?).await;
        under_way.push((exchange, agent));
    }
    let mut ends = JoinSet::new();
    for (mut exchange, mut agent) in under_way {
        ends.spawn(async move { verdict(&mut exchange, &mut agent).await });
    }
    while let Some(end) = ends.join_next().await {
        end.map_err(|error| environment("a task", error))??;
    }
    Ok(())
}
