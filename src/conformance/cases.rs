//! The cases of all profiles.

mod credential_composer;
mod go_plugin_core;
mod key_manager_agent;
mod node_attestor_agent;
mod node_attestor_server;
mod spire_plugin_core;
mod tpm_attestor;

use crate::case::Case;

const TABLES: [&[Case]; 7] = [
    go_plugin_core::CASES,
    spire_plugin_core::CASES,
    node_attestor_server::CASES,
    node_attestor_agent::CASES,
    key_manager_agent::CASES,
    credential_composer::CASES,
    tpm_attestor::CASES,
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    TABLES.into_iter().flatten()
}

/// The case with that ID.
pub(crate) fn find(id: &str) -> Option<&'static Case> {
    all().find(|case| case.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::profile::Profile;

    #[test]
    fn every_case_has_words_and_code_once() {
        let code: Vec<_> = all().map(|case| case.id.to_owned()).collect();
        let profiles = Profile::all().unwrap();
        let words: Vec<_> = profiles.iter().flat_map(|profile| &profile.cases).collect();
        let words: Vec<_> = words.iter().map(|case| case.id.clone()).collect();
        let distinct = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(distinct(&code).len(), code.len(), "an ID is used twice");
        assert_eq!(
            distinct(&words).len(),
            words.len(),
            "an ID is described twice"
        );
        assert_eq!(distinct(&code), distinct(&words));
    }
}
