//! On what machine, and with what files, something was measured.

use std::fs;
use std::path::Path;
use std::thread;

use evidence::Hash;
use serde::Serialize;

use crate::failure::Failure;
use crate::text::printable;

/// The machine and this tool.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Facts {
    /// The version of this tool.
    pub(crate) version: &'static str,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    pub(crate) architecture: &'static str,
}

/// The plugin's binary.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PluginFile {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Facts {
    /// What /proc says; empty where it says nothing.
    pub(crate) fn gather() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(':'));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cpu: printable(model.map_or("", |(_, model)| model.trim())),
            cpus: thread::available_parallelism().map_or(1, usize::from),
            kernel: printable(read("/proc/sys/kernel/osrelease").trim()),
            architecture: std::env::consts::ARCH,
        }
    }
}

impl PluginFile {
    /// Reads the file.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let contents = fs::read(path).map_err(|error| Failure::unreadable(path, &error))?;
        Ok(Self {
            path: printable(&path.display().to_string()),
            bytes: u64::try_from(contents.len()).unwrap_or(u64::MAX),
            sha256: hex::encode(Hash::Sha256.digest(&[&contents])),
        })
    }
}
