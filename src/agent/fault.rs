//! Places where a test can make the process crash; in a build without the feature `fault-points` there are none.

#[cfg(all(feature = "fault-points", not(debug_assertions)))]
compile_error!("fault points are for tests: no optimised build has them");

/// Ends the process at once where the file that `TPM_ATTESTOR_FAULT` names holds the name of this point. The file goes first,
/// so that one fault is had once.
#[cfg(feature = "fault-points")]
pub(crate) fn point(name: &str) {
    let Some(path) = std::env::var_os("TPM_ATTESTOR_FAULT") else {
        return;
    };
    if std::fs::read_to_string(&path).is_ok_and(|wanted| wanted.trim() == name) {
        std::fs::remove_file(&path).ok();
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(feature = "fault-points"))]
pub(crate) fn point(_name: &str) {}
