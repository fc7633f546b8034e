//! The kit itself: it runs its profiles against the echoing attestor, and says rightly where that falls short.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc};

use conformance::{Candidate, Profile, Role, Run, Selection, Silence, Verdict};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-attestor");

fn candidate() -> Candidate {
    let mut candidate: Candidate = toml::from_str(include_str!("../subjects/echo.toml")).unwrap();
    for role in [Role::Server, Role::Agent] {
        candidate.plugin_mut(role).path = Some(ECHO.into());
    }
    candidate
}

/// IDs of cases, by how they went.
async fn tried(only: &[&str]) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut run = Run::new(candidate(), Profile::all().unwrap());
    let only: Vec<_> = only.iter().map(|&id| id.to_owned()).collect();
    run.selection = Selection::new(&only, &[]).unwrap();
    let results = run.run(Arc::new(Silence)).await.unwrap();
    let (mut passed, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for case in results.into_iter().flat_map(|profile| profile.cases) {
        match case.verdict {
            Verdict::Passed => passed.insert(case.id),
            Verdict::Skipped { .. } => false,
            Verdict::Failed { .. } | Verdict::Errored { .. } => failed.insert(case.id),
        };
    }
    (passed, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_and_a_plugin_of_spire_pass() {
    let (passed, failed) = tried(&["GPC-*", "SPC-*"]).await;
    assert_eq!(failed, BTreeSet::new());
    assert!(passed.len() > 70, "{}", passed.len());
}

/// It proves nothing, and its challenge is never new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attestor_without_freshness_is_found_out() {
    let (passed, failed) = tried(&["NAS-*", "NAA-*"]).await;
    let due = ["NAS-020", "NAS-045", "NAS-046"].map(str::to_owned);
    assert_eq!(failed, BTreeSet::from(due));
    assert!(passed.len() > 80, "{}", passed.len());
}

#[test]
fn patterns_select_cases() {
    let of = |only: &[&str], skip: &[&str]| {
        let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>();
        Selection::new(&owned(only), &owned(skip)).unwrap()
    };
    for (only, skip, id, expect) in [
        (&[][..], &[][..], "NAS-001", true),
        (&["NAS-*"], &[], "NAS-001", true),
        (&["NAS-*"], &["NAS-001"], "NAS-001", false),
        (&["GPC-*"], &[], "NAS-001", false),
    ] {
        assert_eq!(of(only, skip).takes(id), expect, "{only:?} {skip:?} {id}");
    }
}
