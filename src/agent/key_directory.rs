//! The directory of the SVID keys as the attestor reads it: one file for each key.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::key_file::{Damage, KeyFile, MAX_FILE, SUFFIX};

/// An open directory: a rename of it does not lead elsewhere.
#[derive(Debug)]
pub(crate) struct KeyDirectory {
    path: PathBuf,
    pub(crate) handle: OwnedFd,
}

/// One file of the directory.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// When it was written.
    pub(crate) modified: SystemTime,
    /// What it holds.
    pub(crate) key: Result<KeyFile, Damage>,
}

/// The directory, or a file of it, cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.to_string_lossy().escape_debug())]
pub(crate) struct Unusable {
    pub(crate) path: PathBuf,
    pub(crate) problem: Problem,
}

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The operating system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Somebody else could put keys there.
    #[error("others than its owner may write to it: chmod go-w")]
    OpenToOthers,
    /// Somebody else owns it.
    #[error("it belongs to another user")]
    Foreign,
    /// Another process keeps its keys there.
    #[error("another KeyManager uses it")]
    InUse,
    /// More than any agent has.
    #[error("it has more than {MAX_ENTRIES} entries")]
    TooMany,
}

impl From<Errno> for Problem {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

impl KeyDirectory {
    /// Opens a directory that is there; `None` where there is none.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, Unusable> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(unusable(path)(error.into())),
        };
        let directory = Self {
            path: path.to_owned(),
            handle,
        };
        directory.check_owner().map_err(directory.unusable(""))?;
        Ok(Some(directory))
    }

    /// Every key of the directory. One that is replaced meanwhile is the old one or the new one.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Unusable> {
        let names = self.names().map_err(self.unusable(""))?;
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            let read = self.read(&name);
            entries.extend(read.map_err(self.unusable(&name))?);
        }
        Ok(entries)
    }

    /// Whether the path still leads here.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let place = |stat: Stat| (stat.st_dev, stat.st_ino);
        let here = rustix::fs::fstat(&self.handle).map(place);
        here.is_ok() && here == rustix::fs::stat(path).map(place)
    }

    /// Puts a problem in its place: a file of the directory, or the directory itself.
    pub(crate) fn unusable(&self, name: &str) -> impl Fn(Problem) -> Unusable + use<> {
        unusable(&self.path_of(name))
    }

    /// Where a file of the directory, or the directory itself, is.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        match name {
            "" => self.path.clone(),
            name => self.path.join(name),
        }
    }

    fn check_owner(&self) -> Result<(), Problem> {
        let stat = rustix::fs::fstat(&self.handle)?;
        let me = rustix::process::geteuid().as_raw();
        trusted(stat.st_uid, stat.st_mode, me)
    }

    fn names(&self) -> Result<Vec<String>, Problem> {
        let mut names = Vec::new();
        for (count, entry) in Dir::read_from(&self.handle)?.enumerate() {
            if count >= MAX_ENTRIES {
                return Err(Problem::TooMany);
            }
            // What is no text is no name that is written here.
            let name = entry?.file_name().to_str().map(str::to_owned);
            names.extend(name.ok().filter(|name| name.ends_with(SUFFIX)));
        }
        names.sort();
        Ok(names)
    }

    /// `None` where the file has gone meanwhile.
    fn read(&self, name: &str) -> Result<Option<Entry>, Problem> {
        // Neither a link elsewhere nor a pipe that nobody writes to.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut modified = SystemTime::UNIX_EPOCH;
        let key = match rustix::fs::openat(&self.handle, name, flags, Mode::empty()) {
            Ok(handle) => {
                let stat = rustix::fs::fstat(&handle)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                    let file = File::from(handle);
                    modified = file.metadata()?.modified()?;
                    KeyFile::decode(name, &at_most(file, MAX_FILE + 1)?)
                } else {
                    Err(Damage::Irregular)
                }
            }
            Err(Errno::NOENT) => return Ok(None),
            // A link; a socket.
            Err(Errno::LOOP | Errno::NXIO) => Err(Damage::Irregular),
            Err(error) => return Err(error.into()),
        };
        let name = name.to_owned();
        Ok(Some(Entry {
            name,
            modified,
            key,
        }))
    }
}

/// Whoever may write to a directory decides which keys this machine vouches for.
pub(crate) fn trusted(owner: u32, mode: u32, me: u32) -> Result<(), Problem> {
    if owner != 0 && owner != me {
        return Err(Problem::Foreign);
    }
    if Mode::from_raw_mode(mode).intersects(Mode::WGRP | Mode::WOTH) {
        return Err(Problem::OpenToOthers);
    }
    Ok(())
}

fn at_most(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn unusable(path: &Path) -> impl Fn(Problem) -> Unusable + use<> {
    let path = path.to_owned();
    move |problem| Unusable {
        path: path.clone(),
        problem,
    }
}

/// Entries that are looked at: two keys, and what was set aside of them.
const MAX_ENTRIES: usize = 1024;
