//! The cases of the profile node-attestor-server: what a server's attestor says, and how it takes what agents say.

mod grants;
mod hosts;
mod order;
mod payloads;
mod responses;

use crate::case::{Case, cases};

pub(super) const CASES: &[Case] = cases! {
    "NAS-001" => |trial| grants::ends_with_a_verdict(trial),
    "NAS-002" => |trial| grants::names_an_agent(trial),
    "NAS-003" => |trial| grants::names_it_by_a_spiffe_id(trial),
    "NAS-004" => |trial| grants::names_it_in_its_trust_domain(trial),
    "NAS-005" => |trial| grants::names_it_below_its_own_name(trial),
    "NAS-006" => |trial| grants::names_it_as_expected(trial),
    "NAS-007" => |trial| grants::names_it_not_as_the_server(trial),
    "NAS-008" => |trial| grants::names_it_shortly(trial),
    "NAS-009" => |trial| grants::names_it_in_another_trust_domain(trial),
    "NAS-010" => |trial| grants::selects_as_expected(trial),
    "NAS-011" => |trial| grants::selects_by_something(trial),
    "NAS-012" => |trial| grants::selects_by_printable_text(trial),
    "NAS-013" => |trial| grants::selects_shortly(trial),
    "NAS-014" => |trial| grants::selects_by_each_once(trial),
    "NAS-015" => |trial| grants::says_whether_it_may_attest_again(trial),
    "NAS-016" => |trial| grants::grants_the_same_again(trial),
    "NAS-017" => |trial| grants::grants_the_same_after_a_restart(trial),
    "NAS-018" => |trial| grants::challenges_as_often_as_expected(trial),
    "NAS-019" => |trial| grants::challenges_with_something(trial),
    "NAS-020" => |trial| grants::challenges_with_something_new(trial),
    "NAS-021" => |trial| grants::grants_many_at_once(trial),
    "NAS-022" => |trial| payloads::refused(trial, Payload::Empty),
    "NAS-023" => |trial| payloads::refused(trial, Payload::Neither),
    "NAS-024" => |trial| payloads::refused(trial, Payload::Noise(1)),
    "NAS-025" => |trial| payloads::refused(trial, Payload::Noise(64)),
    "NAS-026" => |trial| payloads::refused(trial, Payload::Noise(16 << 10)),
    "NAS-027" => |trial| payloads::refused(trial, Payload::Zeros(32)),
    "NAS-028" => |trial| payloads::refused(trial, Payload::Text("{}")),
    "NAS-029" => |trial| payloads::refused(trial, Payload::Text("[]")),
    "NAS-030" => |trial| payloads::refused(trial, Payload::Text("null")),
    "NAS-031" => |trial| payloads::refused(trial, Payload::Text(payloads::CERTIFICATES)),
    "NAS-032" => |trial| payloads::refused(trial, Payload::Half),
    "NAS-033" => |trial| payloads::of_the_subject_file(trial),
    "NAS-034" => |trial| payloads::refusals_have_a_known_code(trial),
    "NAS-035" => |trial| payloads::refusals_are_one_short_line(trial),
    "NAS-036" => |trial| payloads::refusals_have_no_prefix(trial),
    "NAS-037" => |trial| payloads::a_good_one_follows_bad_ones(trial),
    "NAS-038" => |trial| responses::refused(trial, Response::Empty),
    "NAS-039" => |trial| responses::refused(trial, Response::Noise),
    "NAS-040" => |trial| responses::refused(trial, Response::Half),
    "NAS-041" => |trial| responses::refused(trial, Response::Text("{}")),
    "NAS-042" => |trial| responses::refused(trial, Response::Challenge),
    "NAS-043" => |trial| responses::refused(trial, Response::Neither),
    "NAS-044" => |trial| responses::refused(trial, Response::Close),
    "NAS-045" => |trial| responses::of_another_stream(trial),
    "NAS-046" => |trial| responses::of_before(trial),
    "NAS-047" => |trial| responses::a_second_chance_is_none(trial),
    "NAS-048" => |trial| order::waits_for_the_payload(trial),
    "NAS-049" => |trial| order::a_response_comes_first(trial),
    "NAS-050" => |trial| order::a_payload_comes_twice(trial),
    "NAS-051" => |trial| order::the_stream_ends_at_once(trial),
    "NAS-052" => |trial| order::the_stream_is_cancelled(trial, 0),
    "NAS-053" => |trial| order::the_stream_is_cancelled(trial, 1),
    "NAS-054" => |trial| order::the_stream_is_cancelled(trial, 2),
    "NAS-055" => |trial| order::streams_do_not_mix(trial),
    "NAS-056" => |trial| order::an_exchange_outlives_a_configuration(trial),
    "NAS-057" => |trial| hosts::headers_decide_nothing(trial),
    "NAS-058" => |trial| hosts::headers_may_be_absent(trial),
    "NAS-059" => |trial| hosts::an_agent_that_is_known(trial),
    "NAS-060" => |trial| hosts::nothing_but_the_needed_services(trial),
};

use payloads::Payload;
use responses::Response;
