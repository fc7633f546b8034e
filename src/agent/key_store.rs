//! The directory of the SVID keys as the KeyManager writes it: locked, and each key replaced as a whole.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::fault;
use crate::key_directory::{KeyDirectory, Problem, Unusable, unusable};
use crate::key_file::{DAMAGED, Damage, KeyFile, file_name};

/// A directory that no other KeyManager writes to. The lock goes with the process.
#[derive(Debug)]
pub(crate) struct KeyStore {
    directory: KeyDirectory,
}

impl KeyStore {
    /// Takes over the directory, makes it if only its last part is missing, and removes what a crash left half-written.
    pub(crate) fn open(path: &Path) -> Result<Self, Unusable> {
        let store = Self {
            directory: open_or_make(path)?,
        };
        let problem = store.directory.unusable("");
        store.lock().map_err(&problem)?;
        // Writing is tried now, when an operator is looking.
        store.new_file().map_err(&problem)?;
        store.remove_new_file().map_err(&problem)?;
        Ok(store)
    }

    /// Whether the path still leads here.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.directory.is_at(path)
    }

    /// The keys. A file that holds none is set aside, so that a key can be made in its place.
    pub(crate) fn keys(&self) -> Result<Vec<KeyFile>, Unusable> {
        let mut keys = Vec::new();
        for entry in self.directory.entries()? {
            match entry.key {
                Ok(key) => keys.push(key),
                Err(damage) => self.set_aside(&entry.name, damage)?,
            }
        }
        Ok(keys)
    }

    /// Writes the file of a key over the one that may be there. After a failure that one is there as before.
    pub(crate) fn keep(&self, key: &KeyFile) -> Result<(), Unusable> {
        let (Some(name), Some(contents)) = (file_name(&key.id), key.encode()) else {
            let problem = Problem::Io(Errno::NAMETOOLONG.into());
            return Err(self.directory.unusable("")(problem));
        };
        fault::point("before_persist");
        let kept = self.replace(&name, &contents);
        if kept.is_err() {
            // What cannot be removed now goes before the next key is written.
            self.remove_new_file().ok();
        }
        kept.map_err(self.directory.unusable(&name))
    }

    /// Moves the file of a key out of the way. It is kept for an operator to look at, until there is another.
    pub(crate) fn set_aside(&self, name: &str, damage: Damage) -> Result<(), Unusable> {
        let place = &self.directory.handle;
        let aside = format!("{name}{DAMAGED}");
        let problem = self.directory.unusable(name);
        rustix::fs::renameat(place, name, place, &aside).map_err(|error| problem(error.into()))?;
        tracing::error!(
            path = %self.directory.path_of(&aside).display(),
            reason = "key_damaged",
            detail = %damage,
            "the file of an SVID key cannot be used: it was renamed, and a new key will be made"
        );
        Ok(())
    }

    fn replace(&self, name: &str, contents: &[u8]) -> Result<(), Problem> {
        let place = &self.directory.handle;
        let mut file = self.new_file()?;
        file.write_all(contents)?;
        file.sync_all()?;
        fault::point("before_rename");
        rustix::fs::renameat(place, NEW, place, name)?;
        if let Err(error) = rustix::fs::fsync(place) {
            // The key is in its place for everybody who looks; only a loss of power may bring the old one back, which
            // costs the agent an attestation.
            tracing::error!(%error, "the directory of the SVID keys could not be written out");
        }
        fault::point("before_reply");
        Ok(())
    }

    /// The one file that is being written.
    fn new_file(&self) -> Result<File, Problem> {
        self.remove_new_file()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.directory.handle, NEW, flags, mode)?.into())
    }

    fn remove_new_file(&self) -> Result<(), Problem> {
        match rustix::fs::unlinkat(&self.directory.handle, NEW, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for a predecessor that is about to end.
    fn lock(&self) -> Result<(), Problem> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            let lock = FlockOperation::NonBlockingLockExclusive;
            match rustix::fs::flock(&self.directory.handle, lock) {
                Ok(()) => return Ok(()),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(Errno::WOULDBLOCK) => return Err(Problem::InUse),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A directory that is made here is its owner's alone. One above it that is missing is a slip in the configuration.
fn open_or_make(path: &Path) -> Result<KeyDirectory, Unusable> {
    if let Some(directory) = KeyDirectory::open(path)? {
        return Ok(directory);
    }
    let problem = unusable(path);
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| problem(error.into()))?;
    if let Some(parent) = path.parent() {
        let written = File::open(parent).and_then(|parent| parent.sync_all());
        written.map_err(|error| problem(error.into()))?;
    }
    KeyDirectory::open(path)?.ok_or_else(|| problem(Errno::NOENT.into()))
}

/// The name of a key's file until it is complete. No id has it.
const NEW: &str = ".new";

/// How long a predecessor, whose host may have been killed, is given to end.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
