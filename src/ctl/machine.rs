//! The TPM of this machine, opened as the command line says.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use evidence::EkTemplate;
use tpm::{Address, Attestor, Auth, Options, Tpm};

use crate::cli::TpmArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;

/// An open TPM and everything that is needed to use it.
pub(crate) struct Machine {
    pub(crate) tpm: Box<dyn Tpm>,
    pub(crate) deadline: Instant,
    options: Options,
}

/// A certificate that an NV index holds, or why it cannot be read.
pub(crate) struct Stored {
    pub(crate) template: EkTemplate,
    pub(crate) contents: Result<Vec<u8>, tpm::Error>,
}

impl Machine {
    /// Reads the files that the arguments name, and opens the TPM.
    pub(crate) fn open(arguments: &TpmArguments) -> Result<Self, Failure> {
        let options = options(arguments)?;
        refuse_files(&arguments.device)?;
        let deadline = Instant::now() + arguments.timeout;
        let tpm = tpm::open(&arguments.device, deadline)?;
        Ok(Self {
            tpm,
            deadline,
            options,
        })
    }

    /// The EK certificates in the TPM, in the order of the templates.
    ///
    /// # Errors
    /// Only when the TPM does not work. An index that may not be read is told as such.
    pub(crate) fn certificates(&mut self) -> Result<Vec<Stored>, tpm::Error> {
        let mut found = Vec::new();
        for template in EkTemplate::ALL {
            let index = template.certificate_index();
            let contents = match self.read(index) {
                Ok(None) => continue,
                Ok(Some(contents)) => Ok(contents),
                Err(error) if is_refusal(&error) => Err(error),
                Err(error) => return Err(error),
            };
            found.push(Stored { template, contents });
        }
        Ok(found)
    }

    /// Does what the agent does before its first attestation: finds the EK, makes the AK.
    pub(crate) fn attestor(self) -> Result<Attestor, tpm::Error> {
        Attestor::open(self.tpm, self.options, self.deadline)
    }

    /// The TPM, and the owner hierarchy's authorisation.
    pub(crate) fn into_parts(self) -> (Box<dyn Tpm>, Auth) {
        (self.tpm, self.options.owner_auth)
    }

    fn read(&mut self, index: u32) -> Result<Option<Vec<u8>>, tpm::Error> {
        let owner: &Auth = &self.options.owner_auth;
        self.tpm.read_nv(index, owner, self.deadline)
    }
}

/// A command must not be written into a file that somebody named by mistake.
fn refuse_files(address: &str) -> Result<(), Failure> {
    let Ok(Address::Device(path)) = address.parse() else {
        return Ok(());
    };
    match fs::metadata(&path) {
        Ok(metadata) if !metadata.file_type().is_char_device() => {
            let message = format!("{} is no character device", path.display());
            let failure = Failure::new(Exit::Usage, "not_a_device", message);
            Err(failure.hint("name the TPM's device, or its socket with unix: before the path"))
        }
        // What keeps it from being looked at keeps it from being opened, and is told then.
        _ => Ok(()),
    }
}

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn options(arguments: &TpmArguments) -> Result<Options, Failure> {
    let certificate = arguments.ek_cert.as_deref().map(files::certificate_file);
    Ok(Options {
        ek: arguments.choice(),
        ek_certificate: certificate.transpose()?,
        endorsement_auth: files::authorisation(arguments.endorsement_auth_file.as_deref())?,
        owner_auth: files::authorisation(arguments.owner_auth_file.as_deref())?,
        ..Options::default()
    })
}

fn is_refusal(error: &tpm::Error) -> bool {
    match error {
        tpm::Error::NvUnreadable { .. } | tpm::Error::NvTooLong { .. } => true,
        other => other.code().is_some_and(tpm::ResponseCode::is_wrong_auth),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_character_device_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "kept").unwrap();
        for path in [file.as_path(), directory.path()] {
            let failure = refuse_files(&path.display().to_string()).unwrap_err();
            assert_eq!(
                (failure.exit, failure.reason),
                (Exit::Usage, "not_a_device")
            );
        }
        for address in ["/dev/null", "/absent", "unix:/absent", "tcp:127.0.0.1:1"] {
            assert!(refuse_files(address).is_ok(), "{address}");
        }
    }
}
