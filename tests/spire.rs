//! SPIRE itself: the built server and agent of one version, and the plugin blocks of their configuration files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::run;

/// The server and agent of one SPIRE version.
#[derive(Clone, Debug)]
pub struct Spire {
    directory: PathBuf,
}

impl Spire {
    /// The version that everything runs on.
    pub const CURRENT: &str = "v1.15.3";
    /// The older version that the life-cycle tests run on too.
    pub const OLDER: &str = "v1.13.3";

    /// Finds a version in the cache; builds it there if it is missing, which takes minutes.
    pub fn version(version: &str) -> Self {
        Self {
            directory: built("spire/build", &[version]),
        }
    }

    /// The server's file, static.
    pub fn server(&self) -> PathBuf {
        self.directory.join("spire-server")
    }

    /// The agent's file, static.
    pub fn agent(&self) -> PathBuf {
        self.directory.join("spire-agent")
    }
}

/// One plugin block.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The plugin type, as in `NodeAttestor`.
    pub kind: String,
    /// The plugin name, as in `tpm`.
    pub name: String,
    /// The file to run, for one that is not built in; its checksum goes into the block.
    pub command: Option<PathBuf>,
    /// Its configuration.
    pub data: PluginData,
}

/// Where a plugin's configuration is.
#[derive(Clone, Debug)]
pub enum PluginData {
    /// In the block: HCL.
    Inline(String),
    /// In a file, which SPIRE reads again on SIGUSR1.
    File(PathBuf),
    /// Not only the configuration but the whole block, as published.
    Block(String),
}

impl Plugin {
    /// A plugin of SPIRE's own, with its configuration as HCL.
    pub fn built_in(kind: &str, name: &str, data: &str) -> Self {
        let data = PluginData::Inline(data.to_owned());
        Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            command: None,
            data,
        }
    }

    /// A plugin in a file of its own, with its configuration as HCL.
    pub fn external(kind: &str, name: &str, command: &Path, data: &str) -> Self {
        Self {
            command: Some(command.to_owned()),
            ..Self::built_in(kind, name, data)
        }
    }

    /// A block of `plugin-manifest`, with the words between at signs replaced.
    pub fn published(file: &str, words: &[(&str, &str)]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../plugin-manifest")
            .join(file);
        let block =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let block = words
            .iter()
            .fold(block, |block, (word, value)| block.replace(word, value));
        Self {
            data: PluginData::Block(block),
            ..Self::built_in("NodeAttestor", "tpm", "")
        }
    }

    /// The same plugin with its configuration in a file.
    #[must_use]
    pub fn with_data_file(self, file: &Path) -> Self {
        Self {
            data: PluginData::File(file.to_owned()),
            ..self
        }
    }

    fn block(&self) -> String {
        let (kind, name) = (&self.kind, quoted(&self.name));
        let command = self
            .command
            .as_deref()
            .map(command_lines)
            .unwrap_or_default();
        let data = match &self.data {
            PluginData::Inline(data) => format!("plugin_data {{\n{data}\n    }}"),
            PluginData::File(file) => {
                format!("plugin_data_file = {}", quoted(&file.display().to_string()))
            }
            PluginData::Block(block) => return block.clone(),
        };
        format!("  {kind} {name} {{\n{command}    {data}\n  }}\n")
    }
}

/// SHA-256 of a file, as `plugin_checksum` has it.
pub fn checksum(file: &Path) -> String {
    let line = run("sha256sum", &["--", &file.display().to_string()], &[]);
    let checksum = line.split_whitespace().next();
    checksum.expect("sha256sum prints the sum first").to_owned()
}

fn command_lines(command: &Path) -> String {
    let checksum = checksum(command);
    let command = quoted(&command.display().to_string());
    format!("    plugin_cmd = {command}\n    plugin_checksum = \"{checksum}\"\n")
}

/// Runs one of the build scripts beside this file, which prints the directory that it has built into.
pub(crate) fn built(script: &str, arguments: &[&str]) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let mut command = Command::new(&script);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        output.status.success(),
        "{} failed: its messages are above",
        script.display()
    );
    let directory = String::from_utf8(output.stdout).expect("a path in UTF-8");
    directory.trim_end().into()
}

/// Writes a configuration file: one section (`server` or `agent`) and the plugins in order.
pub(crate) fn write_config(file: &Path, section: &str, settings: &str, plugins: &[Plugin]) {
    let blocks: String = plugins.iter().map(Plugin::block).collect();
    let text = format!("{section} {{\n{settings}}}\nplugins {{\n{blocks}}}\n");
    fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// A string as HCL and JSON both write it.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
