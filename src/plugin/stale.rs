//! Removal of what a killed predecessor left in the temporary directory.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::process::geteuid;

use crate::{
    limits::STALE_SCAN,
    socket::{self, PREFIX, SOCKET},
};

/// Removes directories of ours that nobody holds the lock of. A process number would not tell: containers that share the
/// directory do not share the numbers.
pub(crate) fn remove_left_behind(base: &Path) {
    // A directory that cannot be listed cannot be cleaned; creating the new one says what is wrong with it.
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.take(STALE_SCAN).flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        if ours {
            remove_if_dead(&entry.path());
        }
    }
}

fn remove_if_dead(path: &Path) {
    let own = fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
    if !own {
        return;
    }
    // Held until removed, so that no two processes clean the same place.
    if let Some(_lock) = socket::lock(path) {
        fs::remove_file(path.join(SOCKET)).ok();
        // Refuses a directory with anything else in it.
        fs::remove_dir(path).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;
    use crate::{admission::Guests, environment::SocketPlace, socket::SocketDirectory};

    #[test]
    fn only_dead_directories_of_ours_go() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let place = SocketPlace {
            base: base.path().to_owned(),
            group: None,
        };
        let living = SocketDirectory::create(&place, Guests::Users).unwrap();
        for name in ["spire-plugin-dead", "spire-plugin-full", "other"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join(SOCKET), "").unwrap();
        }
        fs::write(at("spire-plugin-full").join("more"), "").unwrap();
        fs::write(at("spire-plugin-file"), "").unwrap();
        symlink(at("other"), at("spire-plugin-link")).unwrap();

        // Only root can give a directory away; for anybody else it is one more dead one.
        fs::create_dir(at("spire-plugin-theirs")).unwrap();
        let theirs = chown(at("spire-plugin-theirs"), Some(1), None).is_ok();

        remove_left_behind(base.path());

        assert!(!theirs || at("spire-plugin-theirs").exists());

        assert!(!at("spire-plugin-dead").exists());
        assert!(living.socket().parent().unwrap().exists());
        assert!(at("other").join(SOCKET).exists());
        assert!(at("spire-plugin-full").join("more").exists());
        assert!(at("spire-plugin-file").exists());
        assert!(at("spire-plugin-link").exists());
    }
}
