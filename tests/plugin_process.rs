//! Finds the processes of the plugins that a SPIRE server or agent runs.

use std::fs;

use crate::process::run;

/// The process ID of the plugin of a type, as in `CredentialComposer`, that runs under this process of SPIRE's.
///
/// Two plugins in one file are told apart by the cookie in their environment, which is how they know what to be.
pub fn plugin_process(parent: u32, kind: &str) -> u32 {
    let children = run("pgrep", &["-P", &parent.to_string()], &[]);
    let cookie = format!("{kind}={kind}");
    let is_it = |child: &&str| {
        let environment = fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == cookie.as_bytes())
    };
    let found = children.split_whitespace().find(is_it);
    let found = found.unwrap_or_else(|| panic!("no {kind} among {children:?}"));
    found.parse().expect("a process ID")
}
