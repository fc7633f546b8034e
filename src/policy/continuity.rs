//! Reads the rules about what changes on a machine from one attestation to the next.

use hcl::{Problem, Values};
use verify::{OnChange, OnReset, SvidKeys};

use crate::rules::chooses;

/// The rules that need to know what a machine showed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Continuity {
    pub(crate) svid_keys: SvidKeys,
    pub(crate) tpm_clear: OnChange,
    pub(crate) ak_change: OnChange,
    pub(crate) unexpected_reset: OnReset,
}

/// Without a store nothing is known, and a rule about it would hold for no machine.
pub(crate) fn continuity(values: &Values, problems: &mut Vec<Problem>) -> Continuity {
    let require = chooses(values, "svid_keys", "require");
    if values.text("store").is_none() {
        if require {
            problems.push(values.problem("svid_keys", "svid_keys = \"require\" needs store"));
        }
        for key in ["tpm_clear", "ak_change", "unexpected_reset"] {
            if values.choice(key).is_some() {
                problems.push(values.problem(key, format!("{key} needs store")));
            }
        }
    }
    Continuity {
        svid_keys: if require {
            SvidKeys::Require
        } else {
            SvidKeys::Observe
        },
        tpm_clear: on_change(values, "tpm_clear"),
        ak_change: on_change(values, "ak_change"),
        unexpected_reset: if chooses(values, "unexpected_reset", "refuse") {
            OnReset::Refuse
        } else {
            OnReset::Warn
        },
    }
}

fn on_change(values: &Values, key: &str) -> OnChange {
    if chooses(values, key, "quarantine") {
        OnChange::Quarantine
    } else {
        OnChange::Accept
    }
}
