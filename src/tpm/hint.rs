//! What an operator can do about a failure.

use std::io;

use crate::{CommandCode, Error, ResponseCode};

impl Error {
    /// One sentence for the operator's log, where there is something to do.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Tpm { command, code } => of_code(*command, *code),
            Self::Failure { broken: true, .. } => Some(
                "the TPM is in failure mode: power the machine off and on; if that does not help, replace it",
            ),
            Self::Failure { broken: false, .. } => Some(
                "the TPM itself is sound: the credential was made in a way that it cannot read",
            ),
            Self::Open { source, .. } | Self::Exchange { source, .. } => of_io(source),
            Self::Deadline { .. } => {
                Some("the TPM is slow or another program holds it: look who has the device open")
            }
            Self::Tpm12 => {
                Some("a TPM 2.0 is needed: look for a firmware setting that switches it")
            }
            Self::NvUnreadable { .. } => {
                Some("give the EK certificate as a file, or name another EK")
            }
            Self::BadCertificate { .. } => {
                Some("name another EK, or give the certificate as a file")
            }
            Self::OtherKey { .. } => Some(
                "the endorsement seed was changed, or the certificate is another machine's: name another EK or give the right certificate",
            ),
            Self::PcrAbsent { .. } => Some(
                "the server asks for a PCR bank that is not active: activate it in the firmware, or change the server's selection",
            ),
            Self::TssOpen { .. } => {
                Some("is the library of this TCTI installed, and may the user open what it names?")
            }
            Self::OwnerAuth { .. } => {
                Some("the owner hierarchy has a password: configure the owner authorisation")
            }
            Self::ForeignKey => Some(
                "keys do not move between TPMs: remove the files of the keys, and new ones are made",
            ),
            Self::KeysChanged => {
                Some("the TPM was replaced or its seed changed: restart the agent")
            }
            _ => None,
        }
    }
}

fn of_code(command: CommandCode, code: ResponseCode) -> Option<&'static str> {
    match code {
        ResponseCode::INITIALIZE => {
            return Some(
                "nobody has started the TPM (TPM2_Startup): the firmware does that, or the emulator's option startup-clear",
            );
        }
        ResponseCode::LOCKOUT => {
            return Some(
                "the TPM is in dictionary-attack lockout: another program gave wrong passwords; wait, or reset it with the lockout authorisation",
            );
        }
        ResponseCode::NV_RATE | ResponseCode::NV_UNAVAILABLE => {
            return Some("the TPM protects its flash from wear: try again in a minute");
        }
        _ => {}
    }
    if code.is_exhaustion() {
        return Some(
            "the TPM is full: use the resource manager, /dev/tpmrm0, or flush what other programs left in it",
        );
    }
    if code.is_wrong_auth() {
        return Some(match command {
            CommandCode::NV_READ => {
                "the owner hierarchy has a password: configure the owner authorisation"
            }
            CommandCode::CREATE | CommandCode::LOAD => {
                "the storage root key has a password: it must be made without one"
            }
            _ => {
                "the endorsement hierarchy has a password: configure the endorsement authorisation"
            }
        });
    }
    if code.is_integrity() && command == CommandCode::ACTIVATE_CREDENTIAL {
        return Some(
            "the server made the credential for another EK or AK: the EK's template and its certificate do not belong together",
        );
    }
    code.is_transient()
        .then_some("the TPM stayed busy until the deadline: allow more time")
}

fn of_io(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::NotFound => Some(
            "there is no such device or socket: is the TPM enabled in the firmware and its driver loaded (tpm_tis, tpm_crb)? Use /dev/tpmrm0",
        ),
        io::ErrorKind::ResourceBusy => {
            Some("another program has the device open: use the resource manager, /dev/tpmrm0")
        }
        io::ErrorKind::InvalidInput => {
            Some("name the TPM's device, or its socket with unix: before the path")
        }
        io::ErrorKind::ConnectionRefused => Some("nothing listens there: is the emulator running?"),
        // EACCES and EPERM have one kind, but different causes.
        io::ErrorKind::PermissionDenied
            if error.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) =>
        {
            Some(
                "the device cgroup forbids it: a container needs the device in its list, not only a mount",
            )
        }
        io::ErrorKind::PermissionDenied => {
            Some("the user may not open it: add it to the device's group, usually tss")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_and_absence_have_their_own_hints() {
        for (errno, word) in [
            (rustix::io::Errno::ACCESS, "group"),
            (rustix::io::Errno::PERM, "cgroup"),
            (rustix::io::Errno::NOENT, "/dev/tpmrm0"),
            (rustix::io::Errno::BUSY, "resource manager"),
            (rustix::io::Errno::CONNREFUSED, "emulator"),
        ] {
            let error = Error::Open {
                address: "/dev/tpmrm0".into(),
                source: errno.into(),
            };
            assert!(error.hint().unwrap().contains(word), "{errno}");
        }
    }

    #[test]
    fn codes_have_hints_that_depend_on_the_command() {
        for (command, code, word) in [
            (CommandCode::NV_READ, 0x98E, "owner"),
            (CommandCode::CREATE_PRIMARY, 0x9A2, "endorsement"),
            (CommandCode::CREATE, 0x98E, "storage root"),
            (CommandCode::LOAD, 0x9A2, "storage root"),
            (CommandCode::ACTIVATE_CREDENTIAL, 0x1DF, "template"),
            (CommandCode::QUOTE, 0x921, "lockout"),
            (CommandCode::QUOTE, 0x902, "/dev/tpmrm0"),
            (CommandCode::QUOTE, 0x922, "busy"),
            (CommandCode::QUOTE, 0x100, "started"),
            (CommandCode::NV_READ, 0x920, "wear"),
        ] {
            let error = Error::Tpm {
                command,
                code: ResponseCode(code),
            };
            assert!(error.hint().unwrap().contains(word), "{error}");
        }
        let other = Error::Tpm {
            command: CommandCode::QUOTE,
            code: ResponseCode(0x1DF),
        };
        assert_eq!(other.hint(), None);
    }
}
