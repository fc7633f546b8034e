//! Which processes a plugin serves, by the kernel's word on who connects.

use rustix::process::{Pid, geteuid, getppid};
use tokio::net::UnixStream;

/// Whom a plugin serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guests {
    /// Processes of this user, of root, and of the group that the operator named.
    Users,
    /// The process that started this one. A group that the operator named changes nothing about it.
    Parent(Pid),
}

/// Which processes are served: this user's, root's, and those of the group the operator named; or only one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    users: [u32; 2],
    group: Option<u32>,
    guests: Guests,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error("connection by another user refused")]
    User,
    #[error(
        "connection by another process refused: only the process that started this plugin may connect"
    )]
    Process,
    #[error("connection by an unknown process refused")]
    Unknown,
}

impl Admission {
    pub(crate) fn new(guests: Guests, group: Option<u32>) -> Self {
        Self {
            users: [0, geteuid().as_raw()],
            group,
            guests,
        }
    }

    /// Looks at who connected.
    pub(crate) fn admit(self, stream: &UnixStream) -> Result<(), NotAdmitted> {
        let peer = stream.peer_cred().map_err(|_error| NotAdmitted::Unknown)?;
        let peer = Peer {
            uid: peer.uid(),
            gid: peer.gid(),
            pid: peer.pid().and_then(Pid::from_raw),
        };
        self.check(peer, getppid())
    }

    /// `parent` is the parent of this process now: when the one that started it has ended, its number means nothing.
    fn check(self, peer: Peer, parent: Option<Pid>) -> Result<(), NotAdmitted> {
        if !self.users.contains(&peer.uid) && self.group != Some(peer.gid) {
            return Err(NotAdmitted::User);
        }
        match self.guests {
            Guests::Users => Ok(()),
            Guests::Parent(host) if peer.pid == Some(host) && parent == Some(host) => Ok(()),
            Guests::Parent(_) => Err(NotAdmitted::Process),
        }
    }
}

/// Who connects: the kernel's word (SO_PEERCRED), not the peer's.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: u32,
    gid: u32,
    /// Absent if it is of another PID namespace.
    pid: Option<Pid>,
}

#[cfg(test)]
impl Admission {
    pub(crate) fn nobody() -> Self {
        Self {
            users: [u32::MAX; 2],
            group: None,
            guests: Guests::Users,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission() {
        let own = Admission {
            users: [0, 1000],
            group: None,
            guests: Guests::Users,
        };
        let check = |admission: Admission, uid, gid| {
            let peer = Peer {
                uid,
                gid,
                pid: None,
            };
            admission.check(peer, None)
        };
        assert_eq!(check(own, 1000, 5), Ok(()));
        assert_eq!(check(own, 0, 0), Ok(()));
        assert_eq!(check(own, 1001, 1000), Err(NotAdmitted::User));
        let shared = Admission {
            group: Some(7),
            ..own
        };
        assert_eq!(check(shared, 1001, 7), Ok(()));
        assert_eq!(check(shared, 1001, 8), Err(NotAdmitted::User));
    }

    #[test]
    fn admission_of_the_parent_only() {
        let [host, other] = [2, 3].map(Pid::from_raw);
        let admission = Admission {
            users: [0, 1000],
            group: None,
            guests: Guests::Parent(host.unwrap()),
        };
        let check = |uid, pid, parent| admission.check(Peer { uid, gid: 0, pid }, parent);
        assert_eq!(check(1000, host, host), Ok(()));
        assert_eq!(check(0, host, host), Ok(()));
        for pid in [other, None] {
            assert_eq!(check(1000, pid, host), Err(NotAdmitted::Process));
            assert_eq!(check(0, pid, host), Err(NotAdmitted::Process));
        }
        assert_eq!(check(1001, host, host), Err(NotAdmitted::User));
        // The one that started us is gone, and its number is somebody else's.
        for parent in [other, None] {
            assert_eq!(check(1000, host, parent), Err(NotAdmitted::Process));
        }
    }
}
