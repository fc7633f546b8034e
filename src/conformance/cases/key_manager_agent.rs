//! The cases of the profile key-manager-agent: the keys of SPIRE Agent.

mod generate;
mod hostile;
mod keys;
mod list;
mod rotate;
mod sign;

use plugin::KeyType;

use crate::case::{Case, cases};

pub(super) const CASES: &[Case] = cases! {
    "KMA-001" => |trial| generate::a_p256_key(trial),
    "KMA-002" => |trial| generate::under_the_given_id(trial),
    "KMA-003" => |trial| generate::of_the_given_type(trial),
    "KMA-004" => |trial| generate::with_a_fingerprint(trial),
    "KMA-005" => |trial| generate::or_refuses(trial, KeyType::EcP384),
    "KMA-006" => |trial| generate::or_refuses(trial, KeyType::Rsa2048),
    "KMA-007" => |trial| generate::or_refuses(trial, KeyType::Rsa4096),
    "KMA-008" => |trial| generate::nothing_without_an_id(trial),
    "KMA-009" => |trial| generate::nothing_of_type(trial, 0),
    "KMA-010" => |trial| generate::nothing_of_type(trial, 99),
    "KMA-011" => |trial| generate::another_key_each_time(trial),
    "KMA-012" => |trial| generate::with_another_fingerprint_each_time(trial),
    "KMA-013" => |trial| list::nothing_at_first(trial),
    "KMA-014" => |trial| list::each_key_once(trial),
    "KMA-015" => |trial| list::the_new_key_after_an_overwrite(trial),
    "KMA-016" => |trial| list::a_key_by_its_id(trial),
    "KMA-017" => |trial| list::not_found_for_an_unknown_id(trial),
    "KMA-018" => |trial| list::invalid_for_an_empty_id(trial),
    "KMA-019" => |trial| list::the_same_fingerprint_each_time(trial),
    "KMA-020" => |trial| sign::ecdsa(trial, Digest::Sha256),
    "KMA-021" => |trial| sign::ecdsa(trial, Digest::Sha384),
    "KMA-022" => |trial| sign::ecdsa(trial, Digest::Sha512),
    "KMA-023" => |trial| sign::in_der(trial),
    "KMA-024" => |trial| sign::rsa(trial, false),
    "KMA-025" => |trial| sign::rsa(trial, true),
    "KMA-026" => |trial| sign::with_the_key_s_fingerprint(trial),
    "KMA-027" => |trial| sign::nothing_for_an_unknown_key(trial),
    "KMA-028" => |trial| sign::nothing_without_options(trial),
    "KMA-029" => |trial| sign::nothing_without_a_hash(trial),
    "KMA-030" => |trial| sign::nothing_with_an_unknown_hash(trial),
    "KMA-031" => |trial| sign::nothing_of_another_length(trial),
    "KMA-032" => |trial| sign::no_pss_with_an_ec_key(trial),
    "KMA-033" => |trial| sign::many_at_once(trial),
    "KMA-034" => |trial| rotate::between_two_slots(trial),
    "KMA-035" => |trial| rotate::the_old_key_no_longer_signs_as_itself(trial),
    "KMA-036" => |trial| rotate::while_the_other_signs(trial),
    "KMA-037" => |trial| rotate::two_at_once(trial),
    "KMA-038" => |trial| rotate::beside_a_configuration(trial),
    "KMA-039" => |trial| rotate::and_a_restart_keeps_the_keys(trial),
    "KMA-040" => |trial| rotate::and_a_crash_keeps_the_keys(trial),
    "KMA-041" => |trial| hostile::survived(trial, "../../../../tmp/conformance"),
    "KMA-042" => |trial| hostile::survived(trial, "/etc/conformance"),
    "KMA-043" => |trial| hostile::survived(trial, "a\nb\u{202e}\u{1b}[31m"),
    "KMA-044" => |trial| hostile::survived(trial, "a\0b"),
    "KMA-045" => |trial| hostile::a_long_id(trial),
    "KMA-046" => |trial| hostile::a_restart_after_them(trial),
};

use sign::Digest;
