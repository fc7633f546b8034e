//! What an operator configures about machines: the policy, and the files that it rests on, opened.

use std::path::Path;

use hcl::{Problem, Values};
use store::{AnchorStore, DenialStore, HashDirectory};
use verify::{CrlPolicy, LegacyAgents, Policy};

use crate::trust::Paths;
use crate::{continuity, rules, state, trust};

/// Where CAs and hashes are if nothing else is configured.
pub const DEFAULT_PATHS: [&str; 2] = ["/opt/spire/.data/certs", "/opt/spire/.data/hashes"];

/// What an operator configures about machines.
#[derive(Debug)]
pub struct Configuration {
    /// The rules.
    pub policy: Policy,
    /// The CAs, if there are any, with their revocation lists.
    pub anchors: Option<AnchorStore>,
    /// The allow-list, if one is kept.
    pub hashes: Option<HashDirectory>,
    /// The deny list, if there is one.
    pub denials: Option<DenialStore>,
    /// What is odd about the files, one sentence each.
    pub warnings: Vec<String>,
}

impl Configuration {
    /// Reads what [`SCHEMA`](crate::SCHEMA) made of a text, and opens the files that it names; `defaults` are those of
    /// CAs and of hashes if none are named. What is wrong is added to `problems`, in no order, and the configuration
    /// is to be used only if there is nothing in them, from the schema or from here.
    pub fn read(
        values: &Values,
        trust_domain: &str,
        defaults: [&Path; 2],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut warnings = Vec::new();
        let paths = Paths::of(values, defaults, problems);
        let anchors = trust::anchors(&paths, values, problems, &mut warnings);
        let hashes = trust::hashes(&paths, values, problems, &mut warnings);
        let denials = trust::denials(values, problems);
        let (bank, mut pcrs) = rules::pcrs(values, problems);
        let state = state::state(values, paths.has_anchors(), bank, problems);
        pcrs.extend(state::named_pcrs(&state));
        let continuity = continuity::continuity(values, problems);
        let policy = Policy {
            trust_domain: trust_domain.to_owned(),
            ek_trust: trust::ek_trust(values, &paths, problems),
            ek_kinds: rules::ek_kinds(values, problems),
            accept_expired_ek: rules::is_set(values, "accept_expired_ek"),
            vendors: rules::vendors(values, problems),
            crl_policy: match values.choice("crl_policy").map(|choice| choice.value) {
                Some("require") => CrlPolicy::Require,
                _ => CrlPolicy::Use,
            },
            legacy_agents: match values.choice("legacy_agents").map(|choice| choice.value) {
                Some("deny") => LegacyAgents::Deny,
                _ => LegacyAgents::Allow,
            },
            pcrs: vec![(bank, pcrs.into_iter().collect())],
            state,
            svid_keys: continuity.svid_keys,
            tpm_clear: continuity.tpm_clear,
            ak_change: continuity.ak_change,
            unexpected_reset: continuity.unexpected_reset,
        };
        Self {
            policy,
            anchors,
            hashes,
            denials,
            warnings,
        }
    }
}
