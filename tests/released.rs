//! The released files of this checkout, built once by each test process, or found unchanged.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Where plugin-manifest/release has written.
pub fn released() -> &'static Path {
    static OUT: OnceLock<PathBuf> = OnceLock::new();
    OUT.get_or_init(|| {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("the tests are a member of the workspace");
        let test = std::env::current_exe().expect("the running test has a path");
        let target = test
            .ancestors()
            .nth(3)
            .expect("a test executable lies in a target directory");
        let out = target.join("dist");
        let status = Command::new(top.join("plugin-manifest/release"))
            .args(["--out", &out.display().to_string()])
            .env("CARGO_TARGET_DIR", target)
            .stdout(Stdio::null())
            .status()
            .expect("the release script can be run");
        assert!(status.success(), "the release does not build");
        out
    })
}
