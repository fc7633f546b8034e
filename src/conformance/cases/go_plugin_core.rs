//! The cases of the profile go-plugin-core: a process that a host of go-plugin can start, talk to and end.

mod ends;
mod line;
mod process;
mod services;

use crate::case::{Case, cases};

pub(super) const CASES: &[Case] = cases! {
    "GPC-001" => |trial| line::is_a_handshake(trial),
    "GPC-002" => |trial| line::leads_to_a_local_socket(trial),
    "GPC-003" => |trial| line::has_no_certificate(trial),
    "GPC-004" => |trial| line::is_short_and_printable(trial),
    "GPC-005" => |trial| line::comes_when_the_socket_accepts(trial),
    "GPC-006" => |trial| line::comes_soon(trial),
    "GPC-007" => |trial| line::is_all_that_stdout_gets(trial),
    "GPC-008" => |trial| process::refuses_without_the_cookie(trial),
    "GPC-009" => |trial| process::tells_a_human_what_it_is(trial),
    "GPC-010" => |trial| process::refuses_another_cookie(trial),
    "GPC-011" => |trial| process::needs_no_ports(trial),
    "GPC-012" => |trial| process::minds_no_foreign_variables(trial),
    "GPC-013" => |trial| process::puts_its_socket_where_it_is_told(trial),
    "GPC-014" => |trial| process::puts_its_socket_into_tmpdir(trial),
    "GPC-015" => |trial| process::keeps_its_socket_private(trial),
    "GPC-016" => |trial| process::runs_beside_itself(trial),
    "GPC-017" => |trial| process::starts_after_a_crash(trial),
    "GPC-018" => |trial| process::listens_on_loopback_only(trial),
    "GPC-019" => |trial| process::serves_no_plaintext_where_a_certificate_is_given(trial),
    "GPC-020" => |trial| services::holds_the_broker_stream(trial),
    "GPC-021" => |trial| services::serves_standard_output_or_says_not(trial),
    "GPC-022" => |trial| services::is_healthy(trial),
    "GPC-023" => |trial| services::knows_no_other_health(trial),
    "GPC-024" => |trial| services::does_not_know_unknown_services(trial),
    "GPC-025" => |trial| services::does_not_know_unknown_methods(trial),
    "GPC-026" => |trial| services::shows_no_reflection(trial),
    "GPC-027" => |trial| services::takes_a_second_connection(trial),
    "GPC-028" => |trial| services::answers_many_calls_at_once(trial),
    "GPC-029" => |trial| services::survives_a_connection_that_breaks(trial),
    "GPC-030" => |trial| ends::survives(trial, Signal::INT),
    "GPC-031" => |trial| ends::survives(trial, Signal::TERM),
    "GPC-032" => |trial| ends::survives(trial, Signal::USR1),
    "GPC-033" => |trial| ends::survives(trial, Signal::USR2),
    "GPC-034" => |trial| ends::in_time(trial),
    "GPC-035" => |trial| ends::well(trial),
    "GPC-036" => |trial| ends::with_calls_under_way(trial),
    "GPC-037" => |trial| ends::without_its_host(trial),
    "GPC-038" => |trial| ends::without_its_socket(trial),
    "GPC-039" => |trial| ends::without_children(trial),
    "GPC-040" => |trial| ends::without_deinit(trial),
};

use rustix::process::Signal;
