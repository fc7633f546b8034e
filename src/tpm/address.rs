//! Where a TPM is, as an operator writes it, and how it is opened.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use crate::{Connection, Error, Native, Tpm, limits};

/// Where the native back end finds a TPM.
///
/// Written as an absolute path or `device:PATH` (a character device), `unix:PATH` (a socket with
/// raw commands, as swtpm serves with `--server type=unixio`), or `tcp:IP:PORT` (the same over TCP).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A character device.
    Device(PathBuf),
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

/// Text that names no TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not one of the known forms.
    #[error("a TPM is an absolute path, device:PATH, unix:PATH, tcp:IP:PORT or tss:TCTI")]
    Form,
    /// A TCTI that is not among those allowed: a configuration must not load any library.
    #[error("a TCTI is one of device, swtpm, mssim and tabrmd")]
    Tcti,
    /// `tss:` in a build without that back end.
    #[error("this build has no tss back end")]
    NoTss,
}

/// Opens a TPM by an [`Address`], or by `tss:` and a TCTI such as `tss:device:/dev/tpmrm0` where
/// the feature `tss` is built in.
pub fn open(text: &str, deadline: Instant) -> Result<Box<dyn Tpm>, Error> {
    if let Some(tcti) = text.strip_prefix("tss:") {
        return open_tss(tcti);
    }
    let connection = Connection::open(text.parse()?, deadline)?;
    Ok(Box::new(Native::new(connection)))
}

#[cfg(feature = "tss")]
fn open_tss(tcti: &str) -> Result<Box<dyn Tpm>, Error> {
    Ok(Box::new(crate::Tss::open(tcti)?))
}

#[cfg(not(feature = "tss"))]
fn open_tss(_tcti: &str) -> Result<Box<dyn Tpm>, Error> {
    Err(BadAddress::NoTss.into())
}

impl Address {
    /// Linux's resource manager of the first TPM, the default.
    pub const DEFAULT: &str = "/dev/tpmrm0";
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if text.len() > limits::ADDRESS {
            return Err(BadAddress::Form);
        }
        let path = |path: &str| {
            let absolute = path.starts_with('/') && !path.contains(char::is_control);
            absolute
                .then(|| PathBuf::from(path))
                .ok_or(BadAddress::Form)
        };
        match text.split_once(':') {
            _ if text.starts_with('/') => path(text).map(Self::Device),
            Some(("device", rest)) => path(rest).map(Self::Device),
            Some(("unix", rest)) => path(rest).map(Self::Unix),
            Some(("tcp", rest)) => match rest.parse() {
                Ok(to) => Ok(Self::Tcp(to)),
                Err(_not_numeric) => Err(BadAddress::Form),
            },
            _ => Err(BadAddress::Form),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(out, "{}", path.display()),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Tcp(to) => write!(out, "tcp:{to}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, expect) in [
            ("/dev/tpmrm0", Address::Device("/dev/tpmrm0".into())),
            ("device:/dev/tpm0", Address::Device("/dev/tpm0".into())),
            ("/odd:name", Address::Device("/odd:name".into())),
            ("unix:/run/swtpm", Address::Unix("/run/swtpm".into())),
            (
                "tcp:127.0.0.1:2321",
                Address::Tcp(([127, 0, 0, 1], 2321).into()),
            ),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address, expect);
            assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "tpmrm0",
            "device:tpm0",
            "unix:",
            "unix:relative",
            "tcp:localhost:1",
            "tcp:127.0.0.1",
            "swtpm:/run/x",
            "/dev/tpm\n0",
            &format!("/{}", "x".repeat(limits::ADDRESS)),
        ] {
            assert_eq!(text.parse::<Address>(), Err(BadAddress::Form), "{text:?}");
        }
    }
}
