//! What a guest boots from: a disk with a boot loader, a kernel and an initramfs.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::run;

/// Which of two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// The newest one.
    Newest,
    /// The one before.
    Previous,
}

/// The software of a guest.
#[derive(Clone, Debug)]
pub struct Software {
    /// Its kernel.
    pub kernel: Kernel,
    /// Further words of the kernel's command line.
    pub options: String,
    /// Files in the initramfs: where, as in `bin/spire-agent`, and what. A program is static.
    pub files: Vec<(String, PathBuf)>,
}

/// A disk, which a guest only reads; it is removed on drop.
#[derive(Debug)]
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    /// Writes a disk whose programs are signed with the snakeoil key. The kernel is fetched if it is not in the cache.
    pub fn new(software: &Software) -> Self {
        let disk = Self {
            directory: TempDir::with_prefix("disk-").expect("a temporary directory"),
        };
        let kernel = match software.kernel {
            Kernel::Newest => "newest",
            Kernel::Previous => "previous",
        };
        let mut arguments = vec![
            disk.image().display().to_string(),
            kernel.to_owned(),
            software.options.clone(),
        ];
        let files = software.files.iter();
        arguments.extend(files.map(|(path, file)| format!("{path}={}", file.display())));
        run(script("disk"), &arguments, &[]);
        disk
    }

    /// The image.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.path().join("disk")
    }
}

/// One of the scripts that guests are made with.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("guest")
        .join(name)
}
