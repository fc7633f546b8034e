//! The cases of the profile node-attestor-agent: what an agent's attestor offers and answers.

mod answers;
mod challenges;
mod offers;
mod streams;

use crate::case::{Case, cases};

pub(super) const CASES: &[Case] = cases! {
    "NAA-001" => |trial| offers::without_being_asked(trial),
    "NAA-002" => |trial| offers::as_a_payload(trial),
    "NAA-003" => |trial| offers::something(trial),
    "NAA-004" => |trial| offers::once(trial),
    "NAA-005" => |trial| offers::and_waits(trial),
    "NAA-006" => |trial| offers::what_fits(trial),
    "NAA-007" => |trial| offers::no_secret(trial),
    "NAA-008" => |trial| answers::well(trial),
    "NAA-009" => |trial| answers::well_again(trial),
    "NAA-010" => |trial| answers::well_after_a_restart(trial),
    "NAA-011" => |trial| answers::as_responses(trial),
    "NAA-012" => |trial| answers::something_new(trial),
    "NAA-013" => |trial| answers::a_server_that_thinks(trial),
    "NAA-014" => |trial| answers::many_at_once(trial),
    "NAA-015" => |trial| answers::two_in_turn(trial),
    "NAA-016" => |trial| challenges::survived(trial, Challenge::Empty),
    "NAA-017" => |trial| challenges::survived(trial, Challenge::Noise(64)),
    "NAA-018" => |trial| challenges::survived(trial, Challenge::Noise(1 << 20)),
    "NAA-019" => |trial| challenges::survived(trial, Challenge::Text("{}")),
    "NAA-020" => |trial| challenges::survived(trial, Challenge::Text("null")),
    "NAA-021" => |trial| challenges::survived(trial, Challenge::Zeros),
    "NAA-022" => |trial| challenges::survived(trial, Challenge::Nested),
    "NAA-023" => |trial| challenges::one_too_many(trial),
    "NAA-024" => |trial| challenges::refusals_have_no_prefix(trial),
    "NAA-025" => |trial| challenges::refusals_are_one_short_line(trial),
    "NAA-026" => |trial| challenges::refusals_have_a_meaning(trial),
    "NAA-027" => |trial| streams::cancelled_at_once(trial),
    "NAA-028" => |trial| streams::cancelled_after_the_payload(trial),
    "NAA-029" => |trial| streams::cancelled_after_the_challenge(trial),
    "NAA-030" => |trial| streams::ended_after_the_payload(trial),
    "NAA-031" => |trial| streams::ended_when_all_is_said(trial),
    "NAA-032" => |trial| streams::beside_a_configuration(trial),
    "NAA-033" => |trial| streams::without_metrics(trial),
    "NAA-034" => |trial| streams::many_in_a_row(trial),
};

use challenges::Challenge;
