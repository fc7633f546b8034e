//! The settings of the CredentialComposer, made of the text that SPIRE passes on.

use hcl::{Key, Kind, Problem, Schema};
use plugin::Purpose;
use policy::STORE;

use crate::keeping::Keeping;

/// The keys of the CredentialComposer's `plugin_data`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        Key {
            default: "none: it is required",
            ..STORE
        },
        Key {
            name: "svid_keys",
            kind: Kind::Choice(&["require", "observe"]),
            default: "`\"require\"`",
            doc: "What becomes of an agent that asks for an SVID with a key that its attestation just now did not certify. `require`: it gets none (`svid_key_mismatch`). `observe`: it gets one, with a warning in the log. Only IDs under `/spire/agent/tpm/` are judged.",
        },
    ],
    moved: &[],
};

/// The settings of the CredentialComposer.
#[derive(Debug)]
pub struct Settings {
    pub(crate) trust_domain: String,
    /// Whether a key that was not certified is refused.
    pub(crate) enforces: bool,
    /// The store; absent from what is only validated.
    pub(crate) keeping: Option<Keeping>,
}

impl Settings {
    /// Builds settings from the text that SPIRE passes on, or lists everything wrong with it.
    pub fn build(trust_domain: &str, text: &str, purpose: Purpose) -> Result<Self, Vec<Problem>> {
        let (values, mut problems) = SCHEMA.read(text);
        if values.text("store").is_none() && problems.is_empty() {
            let message = "store is required: the one that the attestor names";
            problems.push(values.problem("store", message));
        }
        let observes = values
            .choice("svid_keys")
            .is_some_and(|choice| choice.value == "observe");
        let settings = Self {
            trust_domain: trust_domain.to_owned(),
            enforces: !observes,
            keeping: Keeping::open(&values, purpose, &mut problems),
        };
        problems.sort();
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(problems)
        }
    }
}
