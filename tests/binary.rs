//! Finds the workspace's own binaries beside the running test.

use std::env;
use std::path::PathBuf;

/// The path of a binary of this workspace, as in `binary("tpm-attestor-agent")`, of the same profile as the running test.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the running test has a path");
    // Test executables lie in <profile>/deps, binaries in <profile>.
    let profile = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("a test executable lies in a target directory");
    let path = profile.join(name);
    assert!(
        path.is_file(),
        "{} is not built: run tests/run, which builds everything first",
        path.display()
    );
    path
}
