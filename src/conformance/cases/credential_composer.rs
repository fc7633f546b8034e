//! The cases of the profile credential-composer: what becomes of an agent's SVID before it is signed.

mod compose;

use crate::case::{Case, cases};

pub(super) const CASES: &[Case] = cases! {
    "CCO-001" => |trial| compose::composes(trial),
    "CCO-002" => |trial| compose::has_a_subject(trial),
    "CCO-003" => |trial| compose::keeps_the_dns_names(trial),
    "CCO-004" => |trial| compose::adds_good_extensions(trial),
    "CCO-005" => |trial| compose::adds_nothing_critical(trial),
    "CCO-006" => |trial| compose::does_the_same_again(trial),
    "CCO-007" => |trial| compose::composes_many_at_once(trial),
    "CCO-008" => |trial| compose::composes_in_time(trial),
    "CCO-009" => |trial| compose::leaves_alone(trial, "ComposeServerX509CA"),
    "CCO-010" => |trial| compose::leaves_alone(trial, "ComposeServerX509SVID"),
    "CCO-011" => |trial| compose::leaves_alone(trial, "ComposeWorkloadX509SVID"),
    "CCO-012" => |trial| compose::leaves_alone(trial, "ComposeWorkloadJWTSVID"),
    "CCO-013" => |trial| compose::survives(trial, "", &[]),
    "CCO-014" => |trial| compose::survives(trial, "not an ID", b"not a key"),
    "CCO-015" => |trial| compose::survives(trial, "spiffe://example.org/../spire/server", &[0x30, 0x80]),
    "CCO-016" => |trial| compose::survives(trial, "spiffe://example.org/a\n{\"@level\":\"error\"}", &[0; 64]),
    "CCO-017" => |trial| compose::survives_at_length(trial),
    "CCO-018" => |trial| compose::survives_no_attributes(trial),
    "CCO-019" => |trial| compose::refuses_in_one_line(trial),
    "CCO-020" => |trial| compose::outlives_a_configuration(trial),
};
