//! What `doctor` finds on the machine around the TPM.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use x509_parser::time::ASN1Time;

use crate::doctor::Finding;
use crate::elf::{Linkage, linkage};
use crate::machine;
use crate::text::{printable, rfc3339};

/// All findings that need no TPM.
pub(crate) fn findings() -> Vec<Finding> {
    let base = env::var_os("TMPDIR").filter(|base| !base.is_empty());
    let base = base.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    vec![
        binary(Path::new("/proc/self/exe")),
        socket_directory(&base),
        clock(machine::now()),
    ]
}

/// The plugins come out of the same build.
fn binary(program: &Path) -> Finding {
    let mut start = Vec::new();
    let read =
        fs::File::open(program).and_then(|file| file.take(ELF_START).read_to_end(&mut start));
    match read.ok().and_then(|_| linkage(&start)) {
        Some(Linkage::Static) => Finding::ok("binary", "this file is statically linked"),
        Some(Linkage::Dynamic) => Finding::warning(
            "binary",
            "this file needs a dynamic linker and a C library",
            "a SPIRE image has neither: install the files of a release there",
        ),
        None => Finding::warning(
            "binary",
            "this file cannot be examined",
            "check with ldd that the plugin is statically linked",
        ),
    }
}

/// Does what a plugin does at its start: a private directory, and a socket in it.
fn socket_directory(base: &Path) -> Finding {
    let shown = printable(&base.display().to_string());
    // As long as the name that the plugin uses.
    let made = tempfile::Builder::new()
        .prefix("tpm-attestor-")
        .rand_bytes(12)
        .tempdir_in(base);
    let directory = match made {
        Ok(directory) => directory,
        Err(error) => {
            return Finding::problem(
                SOCKET,
                format!("cannot create a directory in {shown}: {}", error.kind()),
                "set TMPDIR of SPIRE to a directory that its user may write to; in a container, mount one at /tmp",
            );
        }
    };
    match serve(&directory.path().join("s")) {
        Ok(()) => Finding::ok(SOCKET, format!("a plugin can make its socket in {shown}")),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Finding::problem(
            SOCKET,
            format!("{shown} is too long a path for a socket in it"),
            "set TMPDIR of SPIRE to a shorter path",
        ),
        Err(error) => Finding::problem(
            SOCKET,
            format!("cannot make a socket in {shown}: {}", error.kind()),
            "set TMPDIR of SPIRE to a directory on a file system that takes sockets",
        ),
    }
}

fn serve(path: &Path) -> io::Result<()> {
    let _listener = UnixListener::bind(path)?;
    UnixStream::connect(path).map(drop)
}

/// A certificate is judged by the server's clock, an SVID by everybody's.
fn clock(now: i64) -> Finding {
    let Ok(time) = ASN1Time::from_timestamp(now) else {
        return clock_is_wrong("the clock is out of range");
    };
    if now < FIRST_RELEASE {
        return clock_is_wrong(&format!(
            "the clock says {}, before this program",
            rfc3339(time)
        ));
    }
    Finding::ok("clock", format!("it is {}", rfc3339(time)))
}

fn clock_is_wrong(finding: &str) -> Finding {
    Finding::problem(
        "clock",
        finding,
        "set the clock, and keep it right with NTP: SVIDs expire by it",
    )
}

const SOCKET: &str = "socket-directory";
/// 2026-01-01: no release is older.
const FIRST_RELEASE: i64 = 1_767_225_600;
/// Bytes in which the program headers are, in every linker's output.
const ELF_START: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn sockets_need_a_directory_that_is_there_and_short() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("x".repeat(100));
        fs::create_dir(&long).unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        for (base, level, word) in [
            (directory.path(), Level::Ok, "can make"),
            (
                &directory.path().join("absent"),
                Level::Problem,
                "cannot create",
            ),
            (&file, Level::Problem, "cannot create"),
            (&long, Level::Problem, "too long"),
        ] {
            let finding = socket_directory(base);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.summary.contains(word), "{finding:?}");
        }
        // Nothing is left behind.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_clock_before_the_first_release_is_wrong() {
        for (now, level) in [
            (0, Level::Problem),
            (FIRST_RELEASE - 1, Level::Problem),
            (FIRST_RELEASE, Level::Ok),
            (i64::MAX, Level::Problem),
        ] {
            assert_eq!(clock(now).level, level, "{now}");
        }
    }

    #[test]
    fn only_a_program_can_be_static() {
        let finding = binary(Path::new("/proc/self/status"));
        assert_eq!(finding.level, Level::Warning);
        assert!(finding.summary.contains("cannot be examined"));
    }
}
