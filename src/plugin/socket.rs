//! The private place of the plugin's socket, and who may connect to it.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    rand::{GetRandomFlags, getrandom},
};
use tokio::{
    net::UnixListener,
    sync::{Semaphore, mpsc},
    time::sleep,
};

use crate::{
    admission::{Admission, Guests},
    connection::Connection,
    environment::SocketPlace,
    limits::{CONNECTIONS, SOCKET_PATH},
    stale,
};

/// What the name of every directory of ours begins with.
pub(crate) const PREFIX: &str = "spire-plugin-";

/// The only file in it.
pub(crate) const SOCKET: &str = "s";

/// A directory with the socket in it. It is locked while it is in use, so that others can tell it from one that a
/// killed process left, and removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketDirectory {
    path: PathBuf,
    guests: Guests,
    group: Option<u32>,
    _lock: File,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSocket {
    #[error(
        "cannot create a directory for the plugin socket in {0}: {1}; set TMPDIR to a writable directory"
    )]
    Directory(String, #[source] io::Error),
    #[error(
        "the path of the plugin socket would be {0} bytes long, more than {SOCKET_PATH}; set TMPDIR to a shorter one"
    )]
    PathLength(usize),
    #[error("PLUGIN_UNIX_SOCKET_GROUP names no group of this system")]
    Group,
    #[error("cannot give the plugin socket to its group: {0}")]
    Ownership(#[source] io::Error),
    #[error("cannot listen on the plugin socket: {0}")]
    Listen(#[source] io::Error),
}

impl SocketDirectory {
    /// Removes what dead predecessors left, and makes a directory that only this user may enter.
    pub(crate) fn create(place: &SocketPlace, guests: Guests) -> Result<Self, NoSocket> {
        let named = place.group.as_deref().map(group_id).transpose()?;
        let group = named.filter(|_| guests == Guests::Users);
        let base = std::path::absolute(&place.base).unwrap_or_else(|_| place.base.clone());
        let length = base.as_os_str().len() + PREFIX.len() + 2 * RANDOM + SOCKET.len() + 2;
        if length > SOCKET_PATH {
            return Err(NoSocket::PathLength(length));
        }
        stale::remove_left_behind(&base);
        let failed = |error| NoSocket::Directory(base.display().to_string(), error);
        for _ in 0..ATTEMPTS {
            let path = base.join(name().map_err(failed)?);
            DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(failed)?;
            if let Some(lock) = lock(&path) {
                return Ok(Self {
                    path,
                    guests,
                    group,
                    _lock: lock,
                });
            }
            // Another process took it for left behind in the instant before the lock; it removes it.
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }

    /// Binds; the socket accepts connections when this returns.
    pub(crate) fn listen(&self) -> Result<UnixListener, NoSocket> {
        let socket = self.socket();
        let listener = UnixListener::bind(&socket).map_err(NoSocket::Listen)?;
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        if self.group.is_some() {
            let owned = |path: &Path| std::os::unix::fs::chown(path, None, self.group);
            owned(&socket)
                .and_then(|()| owned(&self.path))
                .and_then(|()| mode(&socket, 0o660))
                .and_then(|()| mode(&self.path, 0o710))
                .map_err(NoSocket::Ownership)?;
        } else {
            mode(&socket, 0o600).map_err(NoSocket::Listen)?;
        }
        Ok(listener)
    }

    /// The socket's absolute path.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Who may connect.
    pub(crate) fn admission(&self) -> Admission {
        Admission::new(self.guests, self.group)
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next process, which finds it unlocked.
        fs::remove_file(self.socket()).ok();
        fs::remove_dir(&self.path).ok();
    }
}

/// Accepts for as long as anybody takes the connections.
pub(crate) async fn accept(
    listener: UnixListener,
    admission: Admission,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _unnamed)) => {
                if let Err(refusal) = admission.admit(&stream) {
                    tracing::warn!("{refusal}");
                    continue;
                }
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    tracing::warn!("too many connections, one refused");
                    continue;
                };
                match stream.into_std().and_then(Connection::new) {
                    Ok(connection) => {
                        if accepted.send(Ok(connection.holding(place))).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot take over a connection"),
                }
            }
            Err(error) => {
                // Out of files or memory: the connection waits in the queue meanwhile.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

const ATTEMPTS: u32 = 8;
const RANDOM: usize = 6;

fn name() -> io::Result<String> {
    let mut random = [0; RANDOM];
    getrandom(&mut random, GetRandomFlags::empty())?;
    Ok(random
        .iter()
        .fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}")))
}

/// The lock on a directory that is still at its path.
pub(crate) fn lock(path: &Path) -> Option<File> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let directory = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    flock(&directory, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (held, there) = (directory.metadata().ok()?, fs::symlink_metadata(path).ok()?);
    (held.ino() == there.ino() && held.dev() == there.dev()).then_some(directory)
}

/// The number of a group given by number or by name.
fn group_id(group: &str) -> Result<u32, NoSocket> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    let table = fs::read("/etc/group").map_err(|_unreadable| NoSocket::Group)?;
    group_in(&table, group).ok_or(NoSocket::Group)
}

fn group_in(table: &[u8], group: &str) -> Option<u32> {
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        (fields.next()? == std::ffi::OsStr::new(group).as_bytes()).then(|| {
            fields
                .nth(1)
                .and_then(|id| str::from_utf8(id).ok()?.parse().ok())
        })?
    })
}

#[cfg(test)]
mod tests {
    use rustix::process::{getpid, getppid};
    use tokio::net::UnixStream;

    use super::*;

    fn place(base: &Path) -> SocketPlace {
        SocketPlace {
            base: base.to_owned(),
            group: None,
        }
    }

    #[tokio::test]
    async fn only_admitted_peers_are_served() {
        let base = tempfile::tempdir().unwrap();
        let directory = SocketDirectory::create(&place(base.path()), Guests::Users).unwrap();
        // This process talks to itself here, and is not its own parent.
        let [itself, parent] =
            [getpid(), getppid().unwrap()].map(|pid| Admission::new(Guests::Parent(pid), None));
        for (admission, served) in [
            (directory.admission(), true),
            (Admission::nobody(), false),
            (itself, false),
            (parent, false),
        ] {
            let listener = directory.listen().unwrap();
            let (sender, mut accepted) = mpsc::channel(1);
            let accepting = tokio::spawn(accept(listener, admission, sender));
            let stream = UnixStream::connect(directory.socket()).await.unwrap();
            let taken = tokio::select! {
                Some(_) = accepted.recv() => true,
                _ = stream.readable() => false,
            };
            assert_eq!(taken, served);
            accepting.abort();
            fs::remove_file(directory.socket()).unwrap();
        }
    }

    #[tokio::test]
    async fn connections_are_few_and_their_places_come_back() {
        let base = tempfile::tempdir().unwrap();
        let directory = SocketDirectory::create(&place(base.path()), Guests::Users).unwrap();
        let (sender, mut accepted) = mpsc::channel(CONNECTIONS + 1);
        let accepting = accept(directory.listen().unwrap(), directory.admission(), sender);
        let accepting = tokio::spawn(accepting);
        let mut streams = Vec::new();
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(UnixStream::connect(directory.socket()).await.unwrap());
            held.push(accepted.recv().await.unwrap().unwrap());
        }
        let refused = UnixStream::connect(directory.socket()).await.unwrap();
        refused.readable().await.unwrap();
        assert_eq!(refused.try_read(&mut [0]).unwrap(), 0);
        held.pop();
        let _stream = UnixStream::connect(directory.socket()).await.unwrap();
        accepted.recv().await.unwrap().unwrap();
        accepting.abort();
    }

    #[tokio::test]
    async fn modes_and_removal() {
        let base = tempfile::tempdir().unwrap();
        let directory = SocketDirectory::create(&place(base.path()), Guests::Users).unwrap();
        let _listener = directory.listen().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&directory.path), 0o700);
        assert_eq!(mode(&directory.socket()), 0o600);
        assert!(UnixStream::connect(directory.socket()).await.is_ok());
        let path = directory.path.clone();
        drop(directory);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn group_modes() {
        let base = tempfile::tempdir().unwrap();
        let group = rustix::process::getegid().as_raw();
        let place = SocketPlace {
            group: Some(group.to_string()),
            ..place(base.path())
        };
        let directory = SocketDirectory::create(&place, Guests::Users).unwrap();
        let _listener = directory.listen().unwrap();
        let look = |path: &Path| fs::metadata(path).unwrap();
        assert_eq!(look(&directory.path).permissions().mode() & 0o7777, 0o710);
        assert_eq!(
            look(&directory.socket()).permissions().mode() & 0o7777,
            0o660
        );
        assert_eq!(look(&directory.socket()).gid(), group);
    }

    #[tokio::test]
    async fn a_group_is_kept_from_what_is_for_the_parent() {
        let base = tempfile::tempdir().unwrap();
        let place = |group: &str| SocketPlace {
            group: Some(group.to_owned()),
            ..place(base.path())
        };
        let guests = Guests::Parent(getpid());
        let directory = SocketDirectory::create(&place("7"), guests).unwrap();
        let _listener = directory.listen().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&directory.path), 0o700);
        assert_eq!(mode(&directory.socket()), 0o600);
        let unknown = SocketDirectory::create(&place("no such group"), guests);
        assert!(matches!(unknown, Err(NoSocket::Group)));
    }

    #[test]
    fn a_long_path_is_refused_with_its_length() {
        let base = PathBuf::from(format!("/{}", "a".repeat(90)));
        let error = SocketDirectory::create(&place(&base), Guests::Users).unwrap_err();
        assert!(matches!(error, NoSocket::PathLength(119)), "{error}");
    }

    #[test]
    fn an_unknown_group_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let place = SocketPlace {
            group: Some("no such group".into()),
            ..place(base.path())
        };
        assert!(matches!(
            SocketDirectory::create(&place, Guests::Users),
            Err(NoSocket::Group)
        ));
    }

    #[test]
    fn groups_by_name() {
        let table = b"root:x:0:\nspire:x:998:a,b\nodd\nbad:x:y:\n";
        assert_eq!(group_in(table, "root"), Some(0));
        assert_eq!(group_in(table, "spire"), Some(998));
        assert_eq!(group_in(table, "bad"), None);
        assert_eq!(group_in(table, "odd"), None);
        assert_eq!(group_in(table, "spir"), None);
    }
}
