//! Why there is no result: a stable reason, a sentence, and what to do about it.

use std::io;
use std::path::Path;

use serde::Serialize;
use store::NotLoaded;

use crate::exit::Exit;
use crate::output::Format;
use crate::text::printable;

/// A failure. Its texts are printable.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    pub(crate) exit: Exit,
    /// Stable, snake case.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, reason: &'static str, message: impl AsRef<str>) -> Self {
        Self {
            exit,
            reason,
            message: printable(message.as_ref()),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file or directory that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        let message = format!("cannot read {}: {error}", path.display());
        Self::new(Exit::Environment, "file_unreadable", message)
    }

    /// The text for stderr, with a newline at its end.
    pub(crate) fn render(&self, format: Format) -> String {
        match format {
            Format::Json => {
                let json = serde_json::to_string(self).unwrap_or_default();
                format!("{json}\n")
            }
            Format::Table => {
                let hint = self.hint.as_deref();
                let hint = hint.map(|hint| format!("hint: {hint}\n"));
                format!("error: {}\n{}", self.message, hint.unwrap_or_default())
            }
        }
    }
}

impl From<tpm::Error> for Failure {
    fn from(error: tpm::Error) -> Self {
        use tpm::Error;
        let (exit, reason) = match &error {
            Error::Address(_) => (Exit::Usage, "bad_address"),
            Error::Open { .. } => (Exit::Environment, "tpm_not_opened"),
            Error::Deadline { .. } => (Exit::Environment, "tpm_timeout"),
            Error::BadCertificate { .. } => (Exit::Environment, "ek_cert_unusable"),
            Error::OtherKey { .. } => (Exit::Environment, "ek_cert_other_key"),
            _ => (Exit::Environment, "tpm_failed"),
        };
        let failure = Self::new(exit, reason, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<NotLoaded> for Failure {
    fn from(error: NotLoaded) -> Self {
        Self::new(Exit::Environment, "anchors_unreadable", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_one_json_object_or_two_lines() {
        let failure = Failure::new(Exit::Environment, "tpm_failed", "odd\u{1b}[31m").hint("look");
        assert_eq!(
            failure.render(Format::Json),
            "{\"reason\":\"tpm_failed\",\"message\":\"odd\\\\u{1b}[31m\",\"hint\":\"look\"}\n"
        );
        assert_eq!(
            failure.render(Format::Table),
            "error: odd\\u{1b}[31m\nhint: look\n"
        );
    }

    #[test]
    fn a_wrong_address_is_the_caller_s_fault_and_an_absent_device_is_not() {
        let soon = || std::time::Instant::now() + std::time::Duration::from_secs(1);
        for (address, exit, reason) in [
            ("tpm0", Exit::Usage, "bad_address"),
            ("/dev/absent-tpm", Exit::Environment, "tpm_not_opened"),
        ] {
            let Err(error) = tpm::open(address, soon()) else {
                panic!("{address} opened")
            };
            let failure = Failure::from(error);
            assert_eq!((failure.exit, failure.reason), (exit, reason));
        }
    }
}
