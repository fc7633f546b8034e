//! The cases of the profile spire-plugin-core: Init, Configure, Validate and Deinit, as SPIRE calls them.

mod before;
mod configure;
mod init;
mod texts;
mod validate;

use crate::case::{Case, cases};

pub(super) const CASES: &[Case] = cases! {
    "SPC-001" => |trial| init::names_its_service(trial),
    "SPC-002" => |trial| init::names_config(trial),
    "SPC-003" => |trial| init::names_nothing_else(trial),
    "SPC-004" => |trial| init::waits_for_no_host_service(trial),
    "SPC-005" => |trial| init::answers_without_host_services(trial),
    "SPC-006" => |trial| init::minds_no_unknown_service(trial),
    "SPC-007" => |trial| init::calls_nobody(trial),
    "SPC-008" => |trial| init::ends_well(trial),
    "SPC-009" => |trial| init::ends_well_unconfigured(trial),
    "SPC-010" => |trial| before::answers_in_time(trial),
    "SPC-011" => |trial| before::says_that_it_is_not_configured(trial),
    "SPC-012" => |trial| before::validate_configures_nothing(trial),
    "SPC-013" => |trial| configure::takes_each_good_text(trial),
    "SPC-014" => |trial| configure::takes_a_text_again(trial),
    "SPC-015" => |trial| configure::takes_one_text_after_the_other(trial),
    "SPC-016" => |trial| configure::takes_many_at_once(trial),
    "SPC-017" => |trial| configure::refuses_each_bad_text(trial),
    "SPC-018" => |trial| configure::refuses_as_an_invalid_argument(trial),
    "SPC-019" => |trial| configure::names_what_is_wrong(trial),
    "SPC-020" => |trial| configure::refuses_without_a_prefix(trial),
    "SPC-021" => |trial| configure::refuses_shortly(trial),
    "SPC-022" => |trial| configure::keeps_the_good_one(trial),
    "SPC-023" => |trial| configure::takes_a_good_one_after_a_bad_one(trial),
    "SPC-024" => |trial| configure::wants_a_core_configuration(trial, None),
    "SPC-025" => |trial| configure::wants_a_core_configuration(trial, Some("")),
    "SPC-026" => |trial| configure::wants_a_core_configuration(trial, Some("spiffe://Not A Domain/")),
    "SPC-027" => |trial| texts::refused(trial, "= {"),
    "SPC-028" => |trial| texts::refused(trial, "key = \"no end"),
    "SPC-029" => |trial| texts::refused(trial, "block {"),
    "SPC-030" => |trial| texts::refused_beside_a_good_one(trial, "no_such_key_of_any_attestor = 1"),
    "SPC-031" => |trial| texts::taken(trial, Form::Comments),
    "SPC-032" => |trial| texts::taken(trial, Form::BlankLines),
    "SPC-033" => |trial| texts::taken(trial, Form::QuotedKeys),
    "SPC-034" => |trial| texts::taken(trial, Form::Json),
    "SPC-035" => |trial| texts::taken(trial, Form::NoEnd),
    "SPC-036" => |trial| texts::survived(trial, Hostile::Nul),
    "SPC-037" => |trial| texts::survived(trial, Hostile::Long),
    "SPC-038" => |trial| texts::survived(trial, Hostile::Nested),
    "SPC-039" => |trial| texts::survived(trial, Hostile::Noise),
    "SPC-040" => |trial| validate::finds_nothing_in_good_texts(trial),
    "SPC-041" => |trial| validate::says_that_good_texts_are_valid(trial),
    "SPC-042" => |trial| validate::finds_something_in_bad_texts(trial),
    "SPC-043" => |trial| validate::tells_by_notes(trial),
    "SPC-044" => |trial| validate::names_what_is_wrong(trial),
    "SPC-045" => |trial| validate::changes_nothing(trial),
    "SPC-046" => |trial| validate::wants_a_core_configuration(trial),
    "SPC-047" => |trial| validate::answers_many_at_once(trial),
};

use texts::{Form, Hostile};
