//! `doctor`: whether the boot event log is there, can be read, and says what the PCRs say.

use std::path::Path;

use eventlog::{Bank, EventLog, PcrValues, appraise};
use verify::Reason;

use crate::boot::tolerated;
use crate::doctor::Finding;
use crate::eventlog_source as source;
use crate::text::printable;

/// What there is to say of the log that goes with the TPM at `device`.
pub(crate) fn findings(device: &str) -> Option<Finding> {
    // Behind a socket there is a TPM that no firmware measured into.
    let path = source::path_of(device).ok()?;
    let values = Bank::ALL.map(|bank| (bank, source::values_of_machine(device, bank)));
    let quoted = values
        .into_iter()
        .find_map(|(bank, values)| Some((bank, values?)));
    Some(finding(&path, quoted))
}

fn finding(path: &Path, values: Option<(Bank, PcrValues)>) -> Finding {
    let shown = path.display();
    match path.try_exists() {
        Ok(false) => {
            return Finding::ok(
                CHECK,
                format!("there is none at {shown}; profiles about the boot will not match"),
            );
        }
        Ok(true) => {}
        Err(error) => return unreadable(&format!("{shown}: {error}")),
    }
    let bytes = match source::read(path) {
        Ok(bytes) => bytes,
        Err(failure) => return unreadable(&failure.message),
    };
    let log = match EventLog::parse(&bytes) {
        Ok(log) => log,
        Err(refusal) => return unbelievable(refusal.reason.into(), &refusal.to_string()),
    };
    let events = log.events.len();
    let Some((bank, values)) = values else {
        return Finding::ok(CHECK, format!("{events} events in {shown}"));
    };
    match appraise(&log, bank, &values, &tolerated()) {
        Ok(claims) => {
            let state = if claims.secure_boot.enabled {
                "on"
            } else {
                "off"
            };
            let summary =
                format!("{events} events lead to the PCRs; Secure Boot is {state}, as they say");
            Finding::ok(CHECK, summary)
        }
        Err(refusal) => unbelievable(refusal.reason.into(), &refusal.to_string()),
    }
}

fn unreadable(problem: &str) -> Finding {
    Finding::warning(
        CHECK,
        printable(problem),
        "run SPIRE Agent as root, or give its user read access to the file at each boot; else profiles about the boot will not match",
    )
}

fn unbelievable(reason: Reason, detail: &str) -> Finding {
    let summary = format!("servers will say {}: {}", reason.code(), printable(detail));
    Finding::warning(CHECK, summary, reason.remedy())
}

const CHECK: &str = "boot-event-log";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::Level;

    fn captured(boot: &str) -> (std::path::PathBuf, PcrValues) {
        let boots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/boots");
        let values = source::values_of_file(&boots.join(boot).join("pcrs.txt"), Bank::Sha256);
        (boots.join(boot).join("eventlog.bin"), values.unwrap())
    }

    #[test]
    fn a_log_that_leads_to_the_pcrs_is_as_it_should_be() {
        let (good, values) = captured("good");
        let found = finding(&good, Some((Bank::Sha256, values.clone())));
        assert_eq!(found.level, Level::Ok);
        assert!(
            found.summary.ends_with("Secure Boot is on, as they say"),
            "{found:?}"
        );
        let (insecure, other) = captured("insecure");
        let found = finding(&insecure, Some((Bank::Sha256, other)));
        assert!(found.summary.contains("Secure Boot is off"), "{found:?}");
        let found = finding(&insecure, Some((Bank::Sha256, values)));
        assert_eq!(found.level, Level::Warning);
        assert!(found.summary.contains("eventlog_replay"), "{found:?}");
        assert_eq!(
            finding(&good, None).level,
            Level::Ok,
            "nothing to compare with"
        );
    }

    #[test]
    fn a_log_that_is_not_there_is_no_fault_and_one_that_is_none_is() {
        let directory = tempfile::tempdir().unwrap();
        let absent = finding(&directory.path().join("absent"), None);
        assert_eq!(absent.level, Level::Ok);
        let noise = directory.path().join("noise");
        fs::write(&noise, "no log").unwrap();
        let found = finding(&noise, None);
        assert_eq!(found.level, Level::Warning);
        assert!(found.summary.contains("eventlog_malformed"), "{found:?}");
        let found = finding(directory.path(), None);
        assert_eq!(
            (found.level, found.remedy.is_some()),
            (Level::Warning, true)
        );
        assert_eq!(
            findings("unix:/run/swtpm.sock"),
            None,
            "no firmware wrote it one"
        );
    }
}
