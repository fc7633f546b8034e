//! Keys by the thousand: made on all CPUs, and kept in a directory for the next time.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use evidence::{encode_pem, parse_pem};
use indicatif::{ProgressBar, ProgressStyle};
use softtpm::{Key, KeyKind};

use crate::exit::Exit;
use crate::failure::Failure;

/// Where keys are kept, if anywhere.
#[derive(Debug)]
pub(crate) struct Keys {
    directory: Option<PathBuf>,
}

impl Keys {
    /// Keys are kept in `directory`, which is made if need be.
    pub(crate) fn in_directory(directory: Option<&Path>) -> Result<Self, Failure> {
        if let Some(directory) = directory {
            fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
        }
        Ok(Self {
            directory: directory.map(Path::to_owned),
        })
    }

    /// `count` keys for a use, distinct: those that are kept, and new ones, which are kept as well.
    pub(crate) fn of(&self, name: &str, kind: KeyKind, count: usize) -> Result<Vec<Key>, Failure> {
        let file = self
            .directory
            .as_ref()
            .map(|directory| directory.join(format!("{name}-{}.pem", self::kind(kind))));
        let kept = match file.as_deref() {
            Some(file) => kept(file)?,
            None => Vec::new(),
        };
        let wanted = kept.len().min(count);
        let mut keys = in_parallel(&format!("{name} keys read"), wanted, |index| {
            kept.get(index).and_then(|der| Key::from_pkcs8(der).ok())
        })?;
        let more = in_parallel(&format!("{name} keys made"), count - wanted, |_| {
            Key::generate(kind).ok()
        })?;
        keys.extend(more);
        if let Some(file) = file.filter(|_| count > wanted) {
            let texts = keys.iter().map(|key| encode_pem(LABEL, key.pkcs8()));
            keep(&file, &texts.collect::<String>())?;
        }
        Ok(keys)
    }
}

/// What `make` makes of 0 to `count`, in order, on all CPUs, with a bar on stderr while it lasts.
pub(crate) fn in_parallel<T: Send>(
    what: &str,
    count: usize,
    make: impl Fn(usize) -> Option<T> + Sync,
) -> Result<Vec<T>, Failure> {
    let bar = progress(what, count);
    let made = Mutex::new(Vec::with_capacity(count));
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    let Some(one) = make(index) else { break };
                    made.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((index, one));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    if made.len() != count {
        let message = format!("{} of {count} {what}, then one failed", made.len());
        return Err(Failure::new(Exit::Internal, "bench_failed", message));
    }
    made.sort_unstable_by_key(|(index, _)| *index);
    Ok(made.into_iter().map(|(_, one)| one).collect())
}

/// A bar on stderr; nothing where stderr is no terminal.
pub(crate) fn progress(what: &str, count: usize) -> ProgressBar {
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta})");
    bar.set_style(style.unwrap_or_else(|_fixed| ProgressStyle::default_bar()));
    bar.set_message(what.to_owned());
    bar
}

fn kept(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(file).map_err(|error| Failure::unreadable(file, &error))?;
    let blocks = parse_pem(&text, usize::MAX).map_err(|error| {
        let message = format!("{} holds no keys: {error}", file.display());
        Failure::new(Exit::Environment, "file_unreadable", message).hint("delete it")
    })?;
    Ok(blocks.into_iter().map(|block| block.contents).collect())
}

/// The whole file or nothing: another run may read it.
fn keep(file: &Path, text: &str) -> Result<(), Failure> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut new| {
        new.write_all(text.as_bytes())?;
        Ok(new.persist(file)?)
    });
    written.map(drop).map_err(|error| unwritable(file, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::new(Exit::Environment, "output_failed", message)
}

/// The names of the configuration's `ek_profiles`.
pub(crate) fn kind(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Rsa2048 => "rsa-2048",
        KeyKind::Rsa3072 => "rsa-3072",
        KeyKind::Rsa4096 => "rsa-4096",
        KeyKind::P256 => "p-256",
        KeyKind::P384 => "p-384",
        KeyKind::P521 => "p-521",
    }
}

const LABEL: &str = "PRIVATE KEY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct_and_the_same_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let keys = |count| {
            let keys = Keys::in_directory(Some(&directory.path().join("new"))).unwrap();
            let keys = keys.of("ek", KeyKind::P256, count).unwrap();
            keys.iter()
                .map(|key| key.subject_key().ek_hash().hex())
                .collect::<Vec<_>>()
        };
        let first = keys(3);
        assert_eq!(keys(2), first[..2]);
        let more = keys(5);
        assert_eq!(more[..3], first);
        assert_eq!(keys(5), more);
        let distinct: std::collections::HashSet<_> = more.iter().collect();
        assert_eq!(distinct.len(), 5);
    }

    #[test]
    fn a_damaged_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("ek-p-256.pem"), "nothing").unwrap();
        let keys = Keys::in_directory(Some(directory.path())).unwrap();
        let failure = keys.of("ek", KeyKind::P256, 1).unwrap_err();
        assert_eq!(failure.reason, "file_unreadable");
    }

    #[test]
    fn results_are_in_order_and_a_failure_is_no_short_list() {
        let squares = in_parallel("squares", 100, |index| Some(index * index)).unwrap();
        assert!(
            squares
                .iter()
                .enumerate()
                .all(|(index, square)| index * index == *square)
        );
        let failure = in_parallel("squares", 100, |index| (index != 50).then_some(index));
        assert_eq!(failure.unwrap_err().exit, Exit::Internal);
    }
}
