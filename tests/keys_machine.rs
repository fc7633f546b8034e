//! A machine of the tests with keys: its TPM behind a resource manager, and the directory in which its keys are.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::Public;
use serde_json::Value;
use tempfile::TempDir;
use tests::{Agent, AgentOptions, Plugin, ResourceManager, Swtpm, TpmSocket, binary};
use x509_parser::parse_x509_certificate;

/// A TPM, shared by the two plugins of an agent as Linux lets them share one.
pub(crate) struct Machine {
    /// Ends before the TPM behind it.
    manager: ResourceManager,
    tpm: Swtpm,
    directory: TempDir,
}

impl Machine {
    pub(crate) fn new(tpm: Swtpm) -> Self {
        Self {
            manager: ResourceManager::start(tpm.socket()),
            tpm,
            directory: TempDir::new().unwrap(),
        }
    }

    /// What an agent on this machine is told; `more` is for the KeyManager.
    pub(crate) fn options(&self, more: &str) -> AgentOptions {
        let data = self.key_manager_data();
        AgentOptions {
            key_manager: external("KeyManager", &format!("{data}{more}")),
            ..self.options_with_keys_elsewhere()
        }
    }

    /// The same attestor, which offers the keys of this machine, beside SPIRE's KeyManager in memory.
    pub(crate) fn options_with_keys_elsewhere(&self) -> AgentOptions {
        AgentOptions {
            node_attestor: external("NodeAttestor", &self.key_manager_data()),
            ..AgentOptions::default()
        }
    }

    /// An attestor that knows of no keys, beside SPIRE's KeyManager in memory.
    pub(crate) fn options_without_keys(&self) -> AgentOptions {
        AgentOptions {
            node_attestor: external("NodeAttestor", &self.device()),
            ..AgentOptions::default()
        }
    }

    /// A second machine with a copy of all that this one keeps without power, its keys among it.
    pub(crate) fn duplicate(&self) -> Self {
        let copy = Self::new(self.tpm.duplicate());
        copy.steal_keys(self);
        copy
    }

    /// Takes the key files of another machine.
    pub(crate) fn steal_keys(&self, from: &Self) {
        fs::create_dir_all(self.keys()).unwrap();
        for file in from.key_files() {
            fs::copy(&file, self.keys().join(file.file_name().unwrap())).unwrap();
        }
    }

    /// As when the machine boots: the TPM is reset, and counts it.
    pub(crate) fn reboot(&mut self) {
        self.tpm.restart();
        self.wait_started();
    }

    /// Everything that the TPM keeps without power is as it was on that copy of it.
    pub(crate) fn roll_back(&mut self, to: &Self) {
        self.tpm.roll_back(&to.tpm);
        self.wait_started();
    }

    /// A TPM takes connections before it has counted its reset, but answers nothing.
    fn wait_started(&self) {
        /// `TPM2_ReadClock`
        const READ_CLOCK: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x81];
        let mut socket = TpmSocket::connect(self.manager.socket()).unwrap();
        let answer = socket.transmit(&READ_CLOCK).unwrap();
        assert_eq!(answer[6..10], [0; 4], "{answer:?}");
    }

    /// `TPM2_Clear`, as firmware does it.
    pub(crate) fn clear(&self) {
        TpmSocket::connect(self.manager.socket()).unwrap().clear();
    }

    /// The directory that both plugins name.
    pub(crate) fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// The files in it, none before there is a key.
    pub(crate) fn key_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.keys()).into_iter().flatten();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The id of the key that an agent's own SVID is for, if it is one of this machine's.
    pub(crate) fn slot(&self, agent: &Agent) -> Option<String> {
        let svid = agent.svid()?;
        let (_, svid) = parse_x509_certificate(&svid).unwrap();
        let files = self.key_files().into_iter().map(|file| read_key(&file));
        files
            .filter(|key| spki(key) == svid.public_key().raw)
            .map(|key| key["id"].as_str().unwrap().to_owned())
            .next()
    }

    fn key_manager_data(&self) -> String {
        format!(
            "{}keys_path = \"{}\"\n",
            self.device(),
            self.keys().display()
        )
    }

    fn device(&self) -> String {
        format!("device = \"unix:{}\"\n", self.manager.socket().display())
    }
}

/// One file of a directory of keys.
pub(crate) fn read_key(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn spki(key: &Value) -> Vec<u8> {
    let public = STANDARD.decode(key["public"].as_str().unwrap()).unwrap();
    Public::parse(&public)
        .unwrap()
        .subject_key()
        .unwrap()
        .spki()
}

fn external(kind: &str, data: &str) -> Plugin {
    Plugin::external(kind, "tpm", &binary("tpm-attestor-agent"), data)
}
