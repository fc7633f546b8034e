//! The line a plugin prints when it is ready, read by the host's rules.

use std::{net::SocketAddr, path::PathBuf};

/// Where the plugin serves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handshake {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

/// Why a host would not take the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHandshake {
    /// Fewer than four fields.
    #[error("unrecognized message instead of a handshake: {0:?}")]
    Unrecognized(String),
    /// The first field is not 1.
    #[error("core protocol version is not 1: {0:?}")]
    CoreVersion(String),
    /// The second field is not 1.
    #[error("application protocol version is not 1: {0:?}")]
    AppVersion(String),
    /// The third or fourth field cannot be resolved.
    #[error("address cannot be used: {0:?} {1:?}")]
    Address(String, String),
    /// The fifth field is not `grpc`.
    #[error("protocol is not grpc: {0:?}")]
    Protocol(String),
}

impl Handshake {
    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, BadHandshake> {
        let fields: Vec<_> = line.trim().split('|').collect();
        let [core, app, network, address, rest @ ..] = fields.as_slice() else {
            return Err(BadHandshake::Unrecognized(line.to_owned()));
        };
        if *core != "1" {
            return Err(BadHandshake::CoreVersion((*core).to_owned()));
        }
        if *app != "1" {
            return Err(BadHandshake::AppVersion((*app).to_owned()));
        }
        // Absent means Go's own RPC, which SPIRE does not allow.
        let protocol = rest.first().copied().unwrap_or("netrpc");
        if protocol != "grpc" {
            return Err(BadHandshake::Protocol(protocol.to_owned()));
        }
        let unusable = || BadHandshake::Address((*network).to_owned(), (*address).to_owned());
        match *network {
            "unix" if address.starts_with('/') => Ok(Self::Unix(address.into())),
            "tcp" => address
                .parse()
                .map(Self::Tcp)
                .map_err(|_not_an_address| unusable()),
            _ => Err(unusable()),
        }
    }

    /// The target to dial.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix://{}", path.display()),
            Self::Tcp(address) => format!("http://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let unix = Handshake::Unix("/t/s".into());
        assert_eq!(
            Handshake::parse("1|1|unix|/t/s|grpc|\n").as_ref(),
            Ok(&unix)
        );
        assert_eq!(Handshake::parse("1|1|unix|/t/s|grpc").as_ref(), Ok(&unix));
        assert_eq!(
            Handshake::parse(" 1|1|unix|/t/s|grpc||true ").as_ref(),
            Ok(&unix)
        );
        let tcp = Handshake::Tcp("127.0.0.1:10000".parse().unwrap());
        assert_eq!(Handshake::parse("1|1|tcp|127.0.0.1:10000|grpc|"), Ok(tcp));
    }

    #[test]
    fn refused_lines() {
        use BadHandshake as Bad;
        let text = str::to_owned;
        let table = [
            ("hello", Bad::Unrecognized(text("hello"))),
            ("1|1|unix", Bad::Unrecognized(text("1|1|unix"))),
            ("2|1|unix|/t|grpc|", Bad::CoreVersion(text("2"))),
            ("1|2|unix|/t|grpc|", Bad::AppVersion(text("2"))),
            ("1|1|unix|/t", Bad::Protocol(text("netrpc"))),
            ("1|1|unix|/t|netrpc|", Bad::Protocol(text("netrpc"))),
            ("1|1|udp|/t|grpc|", Bad::Address(text("udp"), text("/t"))),
            ("1|1|unix|t|grpc|", Bad::Address(text("unix"), text("t"))),
            ("1|1|tcp|x|grpc|", Bad::Address(text("tcp"), text("x"))),
        ];
        for (line, bad) in table {
            assert_eq!(Handshake::parse(line), Err(bad), "{line}");
        }
    }
}
