//! The agent plugin as a key manager: what it costs to sign, to make a key, and to have keys certified.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use conformance::{Loaded, LoadedKeyManager, Side, Subject};
use evidence::Hash;
use plugin::proto::key_manager::PublicKey;
use plugin::{HashAlgorithm, KeyType, SignerOptions};
use tempfile::TempDir;

use crate::bench::KeysArguments;
use crate::bench_agent::{Many, configuration, proved, tap};
use crate::bench_agent_report::Warm;
use crate::bench_facts::{Facts, PluginFile};
use crate::bench_key_manager_report::{KeysReport, KeysRun};
use crate::bench_keys::progress;
use crate::bench_load::refused;
use crate::bench_server::{
    Started, cpu, ended, memory, on_driver_core, plugin_failed, quoted, runtime, start_as,
};
use crate::bench_statistics::microseconds;
use crate::bench_tap::{Tap, Timed};
use crate::cli::TpmArguments;
use crate::exit::Exit;
use crate::failure::Failure;

/// Measures the plugin with the TPM that the arguments name.
pub(crate) fn measure(
    arguments: &KeysArguments,
    tpm: &TpmArguments,
) -> Result<KeysReport, Failure> {
    let plugin = PluginFile::of(&arguments.common.plugin)?;
    let runtime = runtime()?;
    let bar = progress("runs", arguments.common.runs);
    let mut runs = Vec::new();
    for _ in 0..arguments.common.runs {
        let _pinned = on_driver_core(&arguments.common)?;
        runs.push(runtime.block_on(run(arguments, tpm))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let facts = Facts::gather();
    Ok(KeysReport::new(arguments, tpm, facts, plugin, runs))
}

async fn run(arguments: &KeysArguments, tpm: &TpmArguments) -> Result<KeysRun, Failure> {
    let directory = TempDir::with_prefix("tpm-attestor-bench-").and_then(|directory| {
        fs::create_dir(directory.path().join(KEYS))?;
        Ok(directory)
    });
    let directory = directory
        .map_err(|error| Failure::new(Exit::Environment, "output_failed", error.to_string()))?;
    let bench = Bench {
        arguments,
        tpm,
        tap: tap(arguments.direct, tpm)?,
        keys_path: directory.path().join(KEYS).display().to_string(),
    };
    let mut failures = BTreeMap::new();
    let managed = bench.key_manager(&mut failures).await?;
    let (attestation, certified) = bench.attestor(&mut failures).await?;
    Ok(KeysRun {
        configured: microseconds(managed.started.configured),
        first: microseconds(managed.first),
        signature: managed.signature,
        rotation: managed.rotation,
        attestation,
        certified,
        after: managed.after,
        failures,
    })
}

/// One run of both roles.
struct Bench<'a> {
    arguments: &'a KeysArguments,
    tpm: &'a TpmArguments,
    tap: Option<Tap>,
    keys_path: String,
}

/// What was measured of the key manager.
struct Managed {
    started: Started,
    /// Making the first key, for which the SRK is looked for.
    first: Duration,
    signature: Warm,
    rotation: Warm,
    after: crate::bench_process::Memory,
}

impl Bench<'_> {
    async fn key_manager(
        &self,
        failures: &mut BTreeMap<String, usize>,
    ) -> Result<Managed, Failure> {
        let common = &self.arguments.common;
        let subject = Subject::key_manager(&common.plugin);
        let configuration = self.configuration(&KEY_MANAGER) + &common.config + "\n";
        let (mut plugin, started) = start_as(common, subject, &configuration).await?;
        let manager = plugin.key_manager();
        let begun = Instant::now();
        let mut key = generated(&manager, IDS[0]).await?;
        let first = begun.elapsed();
        for id in IDS {
            key = generated(&manager, id).await?;
        }
        let mut calls = Calls::begin(self, started)?;
        for id in IDS.into_iter().cycle().take(self.arguments.rotations) {
            let begun = Instant::now();
            let made = manager.generate_key(id, KeyType::EcP256).await;
            let took = begun.elapsed();
            match made {
                Ok(made) => {
                    key = made;
                    calls.record(took);
                }
                Err(status) => calls.failed(refused(status), failures),
            }
        }
        let rotation = calls.end()?;
        let signature = self.signatures(&manager, &key, started, failures).await?;
        if !plugin.process().runs() {
            return Err(ended(plugin.process()).await);
        }
        let after = memory(started.watched)?;
        plugin.unload().await;
        Ok(Managed {
            started,
            first,
            signature,
            rotation,
            after,
        })
    }

    async fn signatures(
        &self,
        manager: &LoadedKeyManager,
        key: &PublicKey,
        started: Started,
        failures: &mut BTreeMap<String, usize>,
    ) -> Result<Warm, Failure> {
        let digest = Hash::Sha256.digest(&[b"a TLS handshake"]);
        let options = SignerOptions::Hash(HashAlgorithm::Sha256);
        for _ in 0..self.arguments.signatures.div_ceil(10) {
            manager.sign(key, &digest, options).await.ok();
        }
        let mut calls = Calls::begin(self, started)?;
        for _ in 0..self.arguments.signatures {
            let begun = Instant::now();
            let signed = manager.sign(key, &digest, options).await;
            let took = begun.elapsed();
            match signed {
                Ok(_signature) => calls.record(took),
                Err(status) => calls.failed(refused(status), failures),
            }
        }
        calls.end()
    }

    /// Attestations after the first, and how many keys each had certified.
    async fn attestor(
        &self,
        failures: &mut BTreeMap<String, usize>,
    ) -> Result<(Warm, usize), Failure> {
        let common = &self.arguments.common;
        let subject = Subject::node_attestor(&common.plugin, Side::Agent);
        let (mut plugin, started) =
            start_as(common, subject, &self.configuration(&NODE_ATTESTOR)).await?;
        let first = proved(&plugin).await;
        let (_, attested) = first.map_err(|reason| plugin_failed(&reason))?;
        let certified = attested.svid_keys().len();
        let calls = self.attestations(&plugin, started, certified, failures);
        let attestation = calls.await?;
        if !plugin.process().runs() {
            return Err(ended(plugin.process()).await);
        }
        plugin.unload().await;
        Ok((attestation, certified))
    }

    async fn attestations(
        &self,
        plugin: &Loaded,
        started: Started,
        certified: usize,
        failures: &mut BTreeMap<String, usize>,
    ) -> Result<Warm, Failure> {
        let mut calls = Calls::begin(self, started)?;
        for _ in 0..self.arguments.attestations {
            match proved(plugin).await {
                Ok((took, attested)) if attested.svid_keys().len() == certified => {
                    calls.record(took);
                }
                Ok(_) => calls.failed("another number of keys certified".to_owned(), failures),
                Err(reason) => calls.failed(reason, failures),
            }
        }
        calls.end()
    }

    /// Of the command line's TPM what a role takes, and the directory that both share.
    fn configuration(&self, keys: &[&str]) -> String {
        let all = configuration(self.tpm, self.tap.as_ref());
        let mut lines: Vec<_> = all
            .lines()
            .filter(|line| keys.iter().any(|key| line.starts_with(key)))
            .map(str::to_owned)
            .collect();
        lines.push(format!("keys_path = {}", quoted(&self.keys_path)));
        lines.join("\n") + "\n"
    }

    fn taken(&self) -> Vec<Timed> {
        self.tap.as_ref().map(Tap::take).unwrap_or_default()
    }
}

/// Calls of one kind under way.
struct Calls<'a> {
    bench: &'a Bench<'a>,
    started: Started,
    before: Duration,
    many: Many,
}

impl<'a> Calls<'a> {
    fn begin(bench: &'a Bench<'a>, started: Started) -> Result<Self, Failure> {
        bench.taken();
        Ok(Self {
            bench,
            started,
            before: cpu(started.watched)?,
            many: Many::default(),
        })
    }

    fn record(&mut self, took: Duration) {
        self.many.record(took, &self.bench.taken());
    }

    fn failed(&mut self, reason: String, failures: &mut BTreeMap<String, usize>) {
        self.bench.taken();
        *failures.entry(reason).or_default() += 1;
    }

    fn end(self) -> Result<Warm, Failure> {
        let used = cpu(self.started.watched)?.saturating_sub(self.before);
        Ok(self.many.summed_up(used, self.bench.tap.is_some()))
    }
}

/// A key without which there is nothing to measure.
async fn generated(manager: &LoadedKeyManager, id: &str) -> Result<PublicKey, Failure> {
    let made = manager.generate_key(id, KeyType::EcP256).await;
    made.map_err(|status| plugin_failed(&refused(status)))
}

/// SPIRE Agent's.
const IDS: [&str; 2] = ["agent-svid-A", "agent-svid-B"];
/// The directory.
const KEYS: &str = "keys";
/// What each role's configuration has of the command line's TPM.
const KEY_MANAGER: [&str; 2] = ["device ", "owner_auth_path "];
const NODE_ATTESTOR: [&str; 5] = [
    "device ",
    "ek ",
    "ek_cert_path ",
    "endorsement_auth_path ",
    "owner_auth_path ",
];
