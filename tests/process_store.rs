//! A server that keeps what machines show: its store, its two plugins, and a look into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use conformance::{Entry, Loaded, Side, Subject};
use evidence::{EkHash, SvidKeyTemplate};
use softtpm::{Prover, SoftTpm};
use store::{Database, DatabaseAddress, StoredMachine};
use tempfile::TempDir;
use tests::{binary, run};

use crate::process_plugin::{Records, TRUST_DOMAIN, configured, field, host, name};

/// Enrolment and a store in a file, and this process's own way into it.
pub(crate) struct Kept {
    pub(crate) records: Records,
    pub(crate) database: Database,
    directory: TempDir,
}

impl Kept {
    pub(crate) async fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("store");
        let address = DatabaseAddress::parse(path.to_str().unwrap(), |_name| None).unwrap();
        Self {
            records: Records::new(),
            database: Database::open(&address).await.unwrap(),
            directory,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// The line of a configuration that names the store, and more lines.
    pub(crate) fn store(&self, more: &str) -> String {
        format!("store = \"{}\"\n{more}", self.path().display())
    }

    /// What an attestor is told.
    pub(crate) fn data(&self, more: &str) -> String {
        self.records.enrolment(&self.store(more))
    }

    pub(crate) async fn server(&self, more: &str) -> Loaded {
        configured(Side::Server, &self.data(more)).await
    }

    pub(crate) async fn composer(&self, more: &str) -> Loaded {
        let loaded = loaded_composer().await;
        let text = self.store(more);
        loaded.configure(Some(TRUST_DOMAIN), &text).await.unwrap();
        loaded
    }

    /// What is known of a machine.
    pub(crate) async fn of(&self, machine: &Prover) -> Option<StoredMachine> {
        self.database.machine(&machine.tpm.ek_hash()).await.unwrap()
    }

    /// Ends the quarantine that the machine with this EK is in.
    pub(crate) async fn accept(&self, machine: &EkHash) {
        let stored = self.database.machine(machine).await.unwrap().unwrap();
        let accepted = self.database.accept(machine, stored.revision).await;
        assert!(accepted.unwrap(), "{machine} is in quarantine");
    }

    /// Removes what is known of the machine with this EK.
    pub(crate) async fn forget(&self, machine: &EkHash) {
        assert!(self.database.forget(machine, None).await.unwrap());
    }

    /// Whether the next SVID of this machine may be for this key; it may be so once.
    pub(crate) async fn takes(&self, machine: &Prover, key: usize) -> bool {
        let digest = spki_sha256(machine, key);
        let id = agent_id(machine.tpm.ek_hash());
        let taken = self.database.consume_key(&id, &digest, now_ms()).await;
        taken.unwrap()
    }

    /// Has another program change or show the store; what it says.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let path = self.path().display().to_string();
        let arguments = ["-cmd", ".timeout 10000", &path, statements];
        run("sqlite3", &arguments, &[])
    }

    /// All rows of all tables as they are, each value as a literal.
    pub(crate) fn dump(&self) -> String {
        self.sql(".dump")
    }

    /// A machine with one SVID key, which is enrolled.
    pub(crate) fn keyed(&self) -> Prover {
        let mut machine = crate::process_grants::machine();
        make_key(&mut machine.tpm);
        self.records.enrol(machine.tpm.ek_hash());
        machine
    }
}

/// The composer before Configure.
pub(crate) async fn loaded_composer() -> Loaded {
    let subject = Subject::credential_composer(binary(name(Side::Server)));
    host().load(&subject).await.unwrap()
}

pub(crate) fn make_key(tpm: &mut SoftTpm) {
    tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
}

pub(crate) fn agent_id(machine: EkHash) -> String {
    format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm/{}", machine.hex())
}

pub(crate) fn spki_sha256(machine: &Prover, key: usize) -> [u8; 32] {
    let pkix = machine.tpm.svid_keys[key].pkix();
    evidence::Hash::Sha256.digest(&[&pkix]).try_into().unwrap()
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The lines at a level that give this reason.
pub(crate) fn told<'a>(log: &'a [Entry], level: &str, reason: &str) -> Vec<&'a Entry> {
    let of_it = |entry: &&Entry| {
        entry.level == level
            && entry.fields.contains_key("reason")
            && field(entry, "reason") == reason
    };
    log.iter().filter(of_it).collect()
}

/// The files of a database, with what they hold.
pub(crate) fn remove_store(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("{}{suffix}", path.display());
        // What is not there needs no removal.
        drop(fs::remove_file(file));
    }
}
