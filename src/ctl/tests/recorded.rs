//! Records of exchanges with soft TPMs that booted something, as a server would have kept them.
#![expect(
    clippy::unwrap_used,
    reason = "a test bed that does not come up fails the test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use evidence::{AkTemplate, Hash, PcrBank, Record};
use serde_json::Value;
use softtpm::{BootLog, KeyKind, Prover, SoftTpm};
use tempfile::TempDir;
use verify::{
    Anchors, CrlPolicy, EkKind, EkTrust, Entropy, LegacyAgents, Policy, StatePolicy, begin,
};

/// A directory with records, in which the tool runs, so that reports name files without a path.
pub(crate) struct Desk {
    directory: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("hashes")).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    /// Keeps the record of an exchange.
    pub(crate) fn keep(&self, name: &str, record: &Record) {
        self.write(name, record.encode());
    }

    /// A configuration that enrols by hash.
    pub(crate) fn configure(&self, rules: &str) {
        self.write("rules.hcl", format!("hash_path = \"hashes\"\n{rules}"));
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tpm-attestor"));
        command.args(arguments).current_dir(self.directory.path());
        command.output().unwrap()
    }

    /// What the tool prints when it ends with this code, and nothing on stderr.
    pub(crate) fn table(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            (output.status.code(), err.as_str()),
            (Some(code), ""),
            "{out}"
        );
        out
    }

    /// The same as JSON.
    pub(crate) fn json(&self, code: i32, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        serde_json::from_str(&self.table(code, &arguments)).unwrap()
    }

    /// The failure that the tool tells when it ends with this code.
    pub(crate) fn failure(&self, code: i32, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        let output = self.run(&arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(
            (output.status.code(), out.as_str()),
            (Some(code), ""),
            "{err}"
        );
        serde_json::from_str(&err).unwrap()
    }
}

/// The sample machine after a boot that the forge tells.
pub(crate) fn booted(log: &BootLog) -> SoftTpm {
    let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
    tpm.boot(log);
    tpm
}

/// The sample machine after a boot that was captured.
pub(crate) fn captured(name: &str) -> SoftTpm {
    let mut tpm = SoftTpm::sample(KeyKind::P256, AkTemplate::EccP256).unwrap();
    let directory = captures().join(name);
    let mut banks: BTreeMap<Hash, BTreeMap<u8, Vec<u8>>> = BTreeMap::new();
    for line in fs::read_to_string(directory.join("pcrs.txt"))
        .unwrap()
        .lines()
    {
        let mut words = line.split(' ');
        let hash = words.next().and_then(Hash::from_name).unwrap();
        let pcr = words.next().unwrap().parse().unwrap();
        let value = hex::decode(words.next().unwrap()).unwrap();
        banks.entry(hash).or_default().insert(pcr, value);
    }
    let bank = |(hash, values)| PcrBank { hash, values };
    tpm.pcrs = banks.into_iter().map(bank).collect();
    tpm.log = Some(fs::read(directory.join("eventlog.bin")).unwrap());
    tpm
}

/// Where the captured boots are.
pub(crate) fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/boots")
}

/// An exchange with a server that asks for the log and these SHA-256 PCRs beside those of the log.
pub(crate) fn record(tpm: SoftTpm, pcrs: &[u8]) -> Record {
    record_of(&mut Prover::new(tpm, TRUST_DOMAIN), pcrs)
}

/// The same of another bank.
pub(crate) fn record_in(bank: Hash, tpm: SoftTpm) -> Record {
    exchange(&mut Prover::new(tpm, TRUST_DOMAIN), (bank, vec![0]))
}

/// The same with an agent that may be another one.
pub(crate) fn record_of(prover: &mut Prover, pcrs: &[u8]) -> Record {
    exchange(prover, (Hash::Sha256, pcrs.to_vec()))
}

fn exchange(prover: &mut Prover, pcrs: (Hash, Vec<u8>)) -> Record {
    let policy = Policy {
        trust_domain: TRUST_DOMAIN.to_owned(),
        ek_trust: EkTrust::Enrolment,
        ek_kinds: EkKind::ALL.to_vec(),
        accept_expired_ek: false,
        vendors: None,
        crl_policy: CrlPolicy::Use,
        legacy_agents: LegacyAgents::Allow,
        pcrs: vec![pcrs],
        state: StatePolicy {
            ask_for_log: true,
            ..StatePolicy::default()
        },
        svid_keys: verify::SvidKeys::default(),
        tpm_clear: verify::OnChange::default(),
        ak_change: verify::OnChange::default(),
        unexpected_reset: verify::OnReset::default(),
    };
    let payload = prover.payload().unwrap();
    let anchors = Anchors::default();
    let (challenge, pending) = begin(&payload, &policy, &anchors, NOON, &mut Counter(0)).unwrap();
    Record {
        trust_domain: TRUST_DOMAIN.to_owned(),
        time: u64::try_from(NOON).unwrap(),
        response: prover.answer(&payload, &challenge).unwrap(),
        payload,
        challenge,
        secret: pending.secret().clone(),
        enrolment: "enrolled".to_owned(),
        verdict: "granted".to_owned(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Distinct bytes, never zero.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) -> bool {
        for byte in out {
            self.0 = self.0.wrapping_add(1).max(1);
            *byte = self.0;
        }
        true
    }
}

pub(crate) const TRUST_DOMAIN: &str = "example.org";
/// 2026-11-24T12:00:00Z.
const NOON: i64 = 1_795_521_600;
