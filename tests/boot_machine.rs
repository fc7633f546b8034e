//! One machine, booted five times in four states, with a policy that was recorded from the two good ones.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tests::{
    AttestedAgent, Channel, Disk, Guest, Kernel, Manufacturer, Model, Plugin, SecureBoot, Server,
    ServerOptions, Software, Spire, Swtpm, binary, run, until_some,
};

const LIMIT: Duration = Duration::from_secs(90);
/// What an entry asks for, so that only machines in an approved state serve the workload.
pub(crate) const APPROVED: [&str; 2] = ["tpm:measured:production", "tpm:secure_boot:on"];
pub(crate) const WORKLOAD: &str = "spiffe://example.org/workload";
const LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// What came of all of it.
pub(crate) struct Boots {
    /// The CA certificates of the TPM's maker, PEM.
    pub(crate) anchors: String,
    /// The recorded profile, with which both servers were started.
    pub(crate) profile: String,
    /// The recorded good state, booted again.
    pub(crate) good: Boot,
    /// The other kernel with its initramfs, which was recorded, too.
    pub(crate) updated: Boot,
    /// As `good`, with another command line and another initramfs.
    pub(crate) changed: Boot,
    /// As `good`, with Secure Boot off.
    pub(crate) insecure: Boot,
}

/// One boot.
pub(crate) struct Boot {
    /// The firmware's event log.
    pub(crate) log: Vec<u8>,
    /// What the kernel says of all PCRs: `bank index value`.
    pub(crate) pcrs: String,
    /// The exchange with the server that refuses, as it stored it.
    pub(crate) record: String,
    /// With the server that refuses.
    pub(crate) enforced: Outcome,
    /// With the one that does not.
    pub(crate) monitored: Outcome,
}

/// One attestation.
pub(crate) struct Outcome {
    /// The agent's log.
    pub(crate) agent_log: String,
    /// The agent as the server knows it, if it got an SVID.
    pub(crate) agent: Option<AttestedAgent>,
    /// What our plugin in the server logged.
    pub(crate) server_log: Vec<Value>,
    /// The SVIDs of a workload on the machine, if the agent got one.
    pub(crate) workload: Vec<String>,
}

/// Boots everything once for all tests.
pub(crate) fn boots() -> &'static Boots {
    static BOOTS: LazyLock<Boots> = LazyLock::new(|| Site::new().play());
    &BOOTS
}

struct Site {
    spire: Spire,
    tpm: Swtpm,
    files: TempDir,
}

impl Site {
    fn new() -> Self {
        let manufacturer = Manufacturer::new();
        let tpm = manufacturer.make(&Model {
            pcr_banks: "sha256,sha384".to_owned(),
            channel: Channel::Machine,
            ..Model::default()
        });
        let files = TempDir::new().unwrap();
        fs::create_dir(files.path().join("cas")).unwrap();
        for (name, file) in [
            ("root", manufacturer.root()),
            ("issuer", manufacturer.issuer()),
        ] {
            fs::copy(file, files.path().join(format!("cas/{name}.pem"))).unwrap();
        }
        Self {
            spire: Spire::version(Spire::CURRENT),
            tpm,
            files,
        }
    }

    fn play(mut self) -> Boots {
        let previous = Software::attesting(&self.spire, Kernel::Previous);
        let newest = Software::attesting(&self.spire, Kernel::Newest);
        let notice = self.files.path().join("notice");
        fs::write(&notice, "not what was approved\n").unwrap();
        let mut altered = previous.clone();
        altered.options.push_str("init=/bin/sh");
        altered.files.push(("etc/notice".to_owned(), notice));
        let [good, updated, changed] =
            [previous, newest, altered].map(|software| Disk::new(&software));

        let learning = self.server("learning", "");
        let mut guest = Guest::boot(&good, &mut self.tpm, SecureBoot::On);
        let first = self.record(&learning, &mut guest);
        guest.power_off();
        let mut guest = Guest::boot(&updated, &mut self.tpm, SecureBoot::On);
        let second = self.record(&learning, &mut guest);
        drop(learning);
        let profile = recorded_profile(&[first, second]);

        let enforcing = self.server("enforcing", &format!("mode = \"enforce\"\n{profile}"));
        let monitoring = self.server("monitoring", &format!("mode = \"monitor\"\n{profile}"));
        let anchors = self.anchors();
        let updated = self.judge(guest, &enforcing, &monitoring);
        let mut boot = |disk, secure_boot| {
            let guest = Guest::boot(disk, &mut self.tpm, secure_boot);
            self.judge(guest, &enforcing, &monitoring)
        };
        Boots {
            anchors,
            updated,
            changed: boot(&changed, SecureBoot::On),
            insecure: boot(&good, SecureBoot::Off),
            good: boot(&good, SecureBoot::On),
            profile,
        }
    }

    /// A server with a policy, and an entry for a workload on any machine in an approved state.
    fn server(&self, name: &str, policy: &str) -> Server {
        let evidence = self.evidence(name);
        fs::create_dir(&evidence).unwrap();
        let data = format!(
            "ca_path = \"{}\"\nevidence_path = \"{}\"\n{policy}",
            self.files.path().join("cas").display(),
            evidence.display()
        );
        let plugin = Plugin::external("NodeAttestor", "tpm", &binary("tpm-attestor-server"), &data);
        let server = Server::start(
            &self.spire,
            ServerOptions {
                plugins: vec![plugin],
                ..ServerOptions::default()
            },
        );
        let approved = "spiffe://example.org/approved";
        server.create_node_entry(approved, &APPROVED);
        server.create_entry(approved, WORKLOAD, &["unix:uid:0"]);
        server
    }

    fn anchors(&self) -> String {
        let file = |name| fs::read_to_string(self.files.path().join("cas").join(name)).unwrap();
        ["root.pem", "issuer.pem"].map(file).concat()
    }

    fn evidence(&self, server: &str) -> PathBuf {
        self.files.path().join(server)
    }

    /// Keeps what a machine proves in a state that is good by decision.
    fn record(&self, learning: &Server, guest: &mut Guest) -> String {
        let attestation = guest.attest(learning);
        assert!(attestation.success, "{}", attestation.log);
        guest.end_agent();
        self.last_record("learning")
    }

    /// Lets a machine attest to both servers, and switches it off.
    fn judge(&self, mut guest: Guest, enforcing: &Server, monitoring: &Server) -> Boot {
        let log = guest.read(LOG);
        let pcrs = guest.run(
            "cd /sys/class/tpm/tpm0; for bank in sha256 sha384; do for pcr in $(seq 0 23); do \
             echo $bank $pcr $(cat pcr-$bank/$pcr); done; done",
        );
        let enforced = attest(&mut guest, enforcing);
        let monitored = attest(&mut guest, monitoring);
        guest.power_off();
        Boot {
            log,
            pcrs: pcrs.to_lowercase(),
            record: self.last_record("enforcing"),
            enforced,
            monitored,
        }
    }

    /// The last exchange that a server stored.
    fn last_record(&self, server: &str) -> String {
        let files = fs::read_dir(self.evidence(server)).unwrap();
        let mut files = files.map(|file| file.unwrap().path());
        let last = files.find(|path| !path.to_string_lossy().contains("previous"));
        fs::read_to_string(last.unwrap()).unwrap()
    }
}

/// One attestation, and what a workload on the machine gets then.
fn attest(guest: &mut Guest, server: &Server) -> Outcome {
    let said = || server.process.log_records().into_iter().filter(is_ours);
    let before = said().count();
    let attestation = guest.attest(server);
    let agent = attestation.success.then(|| server.agents().remove(0));
    let workload = match &agent {
        Some(agent) if has(agent, &APPROVED) => guest.fetch_x509(LIMIT),
        // SPIRE takes some seconds to see that the agent's selectors are others than before the machine was booted anew.
        Some(_) => until_some("the workload has no identity", LIMIT, || {
            guest.try_fetch_x509().is_none().then(Vec::new)
        }),
        None => Vec::new(),
    };
    guest.end_agent();
    let server_log = until_some("the server's word on it", LIMIT, || {
        let said: Vec<_> = said().skip(before).collect();
        let is_verdict = |record: &Value| record["outcome"].is_string();
        said.iter().any(is_verdict).then_some(said)
    });
    Outcome {
        agent,
        agent_log: attestation.log,
        server_log,
        workload,
    }
}

/// Whether our plugin logged it.
fn is_ours(record: &Value) -> bool {
    let subsystem = record["subsystem_name"].as_str().unwrap_or_default();
    subsystem.contains("tpm-attestor-server")
}

/// Whether an agent has all of these selectors.
pub(crate) fn has(agent: &AttestedAgent, selectors: &[&str]) -> bool {
    let has = |wanted: &&str| agent.selectors.iter().any(|selector| selector == wanted);
    selectors.iter().all(has)
}

/// The profile that the tool writes from what was recorded.
fn recorded_profile(records: &[String]) -> String {
    let files = Files::new();
    let mut arguments = ["profile", "record", "--name", "production"]
        .map(str::to_owned)
        .to_vec();
    for (index, record) in records.iter().enumerate() {
        arguments.push(files.write(&format!("{index}.json"), record.as_bytes()));
    }
    run(binary("tpm-attestor"), &arguments, &[])
}

/// Files for the operator's tool.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}
