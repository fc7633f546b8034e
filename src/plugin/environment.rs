//! What the host asks of this process: the role, the socket's place, the protocol version.

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use rustix::process::Pid;

use crate::{
    broker::HostServices,
    log,
    metrics::{Measurements, Metrics},
};

/// The type of plugin a host loads a binary as. Its name is go-plugin's magic cookie: key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Attests a node, on the agent's or on the server's side.
    NodeAttestor,
    /// Keeps the agent's keys.
    KeyManager,
    /// Has a say in what the server signs.
    CredentialComposer,
}

impl Role {
    /// SPIRE's name of the plugin type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeAttestor => "NodeAttestor",
            Self::KeyManager => "KeyManager",
            Self::CredentialComposer => "CredentialComposer",
        }
    }
}

/// A process started by a host, before it serves.
#[derive(Debug)]
pub struct Launch {
    pub(crate) role: Role,
    pub(crate) socket: SocketPlace,
    pub(crate) parent: Option<Pid>,
    pub(crate) host: HostServices,
    pub(crate) metrics: Metrics,
    pub(crate) measurements: Measurements,
}

/// Where the socket goes and who besides the owner may use it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SocketPlace {
    pub(crate) base: PathBuf,
    pub(crate) group: Option<String>,
}

impl Launch {
    /// Reads the environment. Call it first thing: it also notes which process is the parent.
    ///
    /// # Errors
    /// A [`Refusal`] if nobody asks for one of the `offered` roles, or asks for something that is not spoken here.
    pub fn from_environment(offered: &[Role]) -> Result<Self, Refusal> {
        let (role, socket) = read(offered, |name| env::var_os(name))?;
        let (metrics, measurements) = Metrics::queue();
        Ok(Self {
            role,
            socket,
            parent: rustix::process::getppid(),
            host: HostServices::default(),
            metrics,
            measurements,
        })
    }

    /// The role the host asks for; one of those offered.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Reports measurements to the host.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// The services the host offers in return.
    pub fn host_services(&self) -> HostServices {
        self.host.clone()
    }
}

/// Why this process does not serve.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No magic cookie: started by hand, or as a type of plugin that this binary is not.
    #[error(
        "This program is a SPIRE plugin ({0}). SPIRE starts it from the plugin_cmd of a plugin block of that type; \
         it does nothing on its own."
    )]
    NoCookie(String),
    /// More than one role is asked for.
    #[error("the environment asks for several plugin types at once")]
    SeveralCookies,
    /// The host wants mutual TLS.
    #[error(
        "PLUGIN_CLIENT_CERT is set: the host asks for mutual TLS on the plugin socket, which this plugin does not speak"
    )]
    MutualTls,
    /// The host does not know protocol version 1.
    #[error(
        "PLUGIN_PROTOCOL_VERSIONS does not contain 1, the only plugin protocol version spoken here"
    )]
    Version,
}

impl Refusal {
    /// Says why on stderr, and gives the exit code: always 1, as go-plugin's own.
    ///
    /// A human reads the sentence on the missing cookie; the rest is read by a host, which wants a log line.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::NoCookie(_) => log::sentence(&self.to_string()),
            _ => log::error(&self.to_string()),
        }
        ExitCode::FAILURE
    }
}

fn read(
    offered: &[Role],
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<(Role, SocketPlace), Refusal> {
    let mut asked = offered
        .iter()
        .copied()
        .filter(|role| lookup(role.name()).is_some_and(|value| value == role.name()));
    let role = asked.next().ok_or_else(|| {
        Refusal::NoCookie(
            offered
                .iter()
                .map(|role| role.name())
                .collect::<Vec<_>>()
                .join(", "),
        )
    })?;
    if asked.next().is_some() {
        return Err(Refusal::SeveralCookies);
    }
    let set = |name| lookup(name).filter(|value| !value.is_empty());
    if set("PLUGIN_CLIENT_CERT").is_some() {
        return Err(Refusal::MutualTls);
    }
    if let Some(versions) = set("PLUGIN_PROTOCOL_VERSIONS")
        && !versions
            .to_string_lossy()
            .split(',')
            .any(|version| version.trim() == "1")
    {
        return Err(Refusal::Version);
    }
    let base = set("PLUGIN_UNIX_SOCKET_DIR")
        .or_else(|| set("TMPDIR"))
        .unwrap_or_else(|| "/tmp".into());
    let group = set("PLUGIN_UNIX_SOCKET_GROUP").map(|group| group.to_string_lossy().into_owned());
    Ok((
        role,
        SocketPlace {
            base: base.into(),
            group,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)]) -> Result<(Role, SocketPlace), Refusal> {
        read(&[Role::NodeAttestor, Role::KeyManager], |name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).into())
        })
    }

    const COOKIE: (&str, &str) = ("NodeAttestor", "NodeAttestor");

    #[test]
    fn role_is_the_cookie() {
        assert_eq!(check(&[COOKIE]).unwrap().0, Role::NodeAttestor);
        assert_eq!(
            check(&[("KeyManager", "KeyManager")]).unwrap().0,
            Role::KeyManager
        );
    }

    #[test]
    fn refusals() {
        let no_cookie = Refusal::NoCookie("NodeAttestor, KeyManager".into());
        let table: [(&[(&str, &str)], &Refusal); 7] = [
            (&[], &no_cookie),
            (&[("NodeAttestor", "1")], &no_cookie),
            (&[("CredentialComposer", "CredentialComposer")], &no_cookie),
            (
                &[COOKIE, ("KeyManager", "KeyManager")],
                &Refusal::SeveralCookies,
            ),
            (
                &[COOKIE, ("PLUGIN_CLIENT_CERT", "-----BEGIN")],
                &Refusal::MutualTls,
            ),
            (
                &[COOKIE, ("PLUGIN_PROTOCOL_VERSIONS", "2,11")],
                &Refusal::Version,
            ),
            (&[("PLUGIN_CLIENT_CERT", "x")], &no_cookie),
        ];
        for (variables, refusal) in table {
            assert_eq!(check(variables).as_ref(), Err(refusal), "{variables:?}");
        }
    }

    #[test]
    fn socket_place() {
        let base = |variables: &[(&str, &str)]| check(variables).unwrap().1.base;
        assert_eq!(base(&[COOKIE]), PathBuf::from("/tmp"));
        assert_eq!(
            base(&[COOKIE, ("TMPDIR", "/a"), ("PLUGIN_CLIENT_CERT", "")]),
            PathBuf::from("/a")
        );
        let both = [
            COOKIE,
            ("TMPDIR", "/a"),
            ("PLUGIN_UNIX_SOCKET_DIR", "/b"),
            ("PLUGIN_PROTOCOL_VERSIONS", "2, 1"),
        ];
        assert_eq!(base(&both), PathBuf::from("/b"));
        let group = check(&[COOKIE, ("PLUGIN_UNIX_SOCKET_GROUP", "spire")])
            .unwrap()
            .1
            .group;
        assert_eq!(group.as_deref(), Some("spire"));
    }
}
