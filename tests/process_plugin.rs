//! A plugin of this project in the hands of the conformance host, and what a server's plugin says of its decisions.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use conformance::{
    AttestExchange, Entry, Host, Loaded, LogLine, Measured, Recorded, Reply, Side, Subject,
    Unloaded,
};
use evidence::{Challenge, EkHash};
use plugin::{AgentAttributes, Status};
use softtpm::Prover;
use tempfile::TempDir;
use tests::{Secrets, binary};

pub(crate) const TRUST_DOMAIN: &str = "example.org";

/// Longer than anything takes on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// The name of the binary.
pub(crate) fn name(side: Side) -> &'static str {
    match side {
        Side::Agent => "tpm-attestor-agent",
        Side::Server => "tpm-attestor-server",
    }
}

/// A host that finds no secret in the log of a plugin, or fails the test.
pub(crate) fn host() -> Host {
    softtpm::witness_secrets(|what, secret| Secrets::known().learn(what, secret));
    Host::new().at_end(|log| Secrets::known().must_not_be_in("a plugin", &text_of(log)))
}

/// A log as it was read: each entry in JSON again, with its strings as they were.
pub(crate) fn text_of(log: &[LogLine]) -> String {
    let line = |line: &LogLine| match line {
        LogLine::Entry(entry) => serde_json::json!({
            "@message": entry.message,
            "@module": entry.module,
            "fields": entry.fields,
        })
        .to_string(),
        LogLine::Text(text) => text.clone(),
    };
    log.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A plugin after Init.
pub(crate) async fn load(side: Side) -> Loaded {
    let subject = Subject::node_attestor(binary(name(side)), side);
    host().load(&subject).await.unwrap()
}

/// A plugin after Configure.
pub(crate) async fn configured(side: Side, text: &str) -> Loaded {
    let loaded = load(side).await;
    configure(&loaded, text).await;
    loaded
}

pub(crate) async fn configure(loaded: &Loaded, text: &str) {
    loaded.configure(Some(TRUST_DOMAIN), text).await.unwrap();
}

/// The files that a server reads: anchors, and a file for each enrolled machine.
pub(crate) struct Records(TempDir);

impl Records {
    pub(crate) fn new() -> Self {
        let records = Self(TempDir::new().unwrap());
        fs::create_dir(records.cas()).unwrap();
        fs::create_dir(records.hashes()).unwrap();
        records
    }

    pub(crate) fn cas(&self) -> PathBuf {
        self.0.path().join("cas")
    }

    pub(crate) fn hashes(&self) -> PathBuf {
        self.0.path().join("hashes")
    }

    /// A certificate becomes an anchor, once the server is configured.
    pub(crate) fn trust(&self, certificate: &[u8]) {
        let number = fs::read_dir(self.cas()).unwrap().count();
        fs::write(self.cas().join(format!("{number}.der")), certificate).unwrap();
    }

    pub(crate) fn enrol(&self, machine: EkHash) {
        fs::write(self.hashes().join(machine.hex()), "").unwrap();
    }

    /// Configuration with anchors only.
    pub(crate) fn anchors(&self, more: &str) -> String {
        format!("ca_path = \"{}\"\n{more}", self.cas().display())
    }

    /// Configuration with enrolment only.
    pub(crate) fn enrolment(&self, more: &str) -> String {
        format!("hash_path = \"{}\"\n{more}", self.hashes().display())
    }

    /// Configuration with both.
    pub(crate) fn both(&self, more: &str) -> String {
        self.anchors(&self.enrolment(more))
    }
}

/// A whole attestation: one payload, one challenge, one response, the verdict, and the end.
pub(crate) async fn attest(
    server: &Loaded,
    prover: &mut Prover,
) -> Result<AgentAttributes, Status> {
    let mut exchange = server.attest(&[]).await?;
    let payload = prover.payload().unwrap();
    exchange.payload(&payload).await;
    let challenge = challenge(&mut exchange).await?;
    let response = prover.answer(&payload, &challenge).unwrap();
    exchange.respond(&response).await;
    verdict(&mut exchange).await
}

/// The challenge that must come next.
pub(crate) async fn challenge(exchange: &mut AttestExchange) -> Result<Vec<u8>, Status> {
    match exchange.reply().await? {
        Reply::Challenge(challenge) => {
            let extension = Challenge::decode(&challenge).unwrap().extension;
            if let Some(extension) = extension {
                Secrets::known().learn("a nonce", &extension.nonce);
            }
            Ok(challenge)
        }
        other => panic!("{other:?} instead of a challenge"),
    }
}

/// The verdict that must come next, and last.
pub(crate) async fn verdict(exchange: &mut AttestExchange) -> Result<AgentAttributes, Status> {
    match exchange.reply().await? {
        Reply::Attributes(attributes) => {
            assert_eq!(exchange.reply().await.unwrap(), Reply::End);
            Ok(attributes)
        }
        other => panic!("{other:?} instead of a verdict"),
    }
}

/// Unloads a plugin that must not have said anything out of form, and gives all that it logged.
pub(crate) async fn unload(loaded: Loaded) -> Vec<Entry> {
    let unloaded = loaded.unload().await;
    assert!(unloaded.exit.is_some_and(|status| status.success()));
    well_formed(&unloaded)
}

/// The log of a plugin that wrote nothing on stdout and only log lines on stderr.
pub(crate) fn well_formed(unloaded: &Unloaded) -> Vec<Entry> {
    assert_eq!(unloaded.stdout_noise, b"");
    let entry = |line: &LogLine| match line {
        LogLine::Entry(entry) => entry.clone(),
        LogLine::Text(text) => panic!("not a log line: {text:?}"),
    };
    unloaded.log.iter().map(entry).collect()
}

/// The lines that tell a decision.
pub(crate) fn decisions(log: &[Entry]) -> Vec<&Entry> {
    log.iter()
        .filter(|entry| entry.fields.contains_key("outcome"))
        .collect()
}

/// The text of a field.
pub(crate) fn field<'a>(entry: &'a Entry, name: &str) -> &'a str {
    entry.fields[name].as_str().unwrap()
}

/// Status, reason and evidence of the attestations counted, in order of their names, once there are `count` of them. The
/// host is told sums, and the times of some.
pub(crate) async fn counted(server: &Loaded, count: usize) -> Vec<[String; 3]> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let measured = server.measurements();
        let of = |name| {
            measured
                .iter()
                .filter(move |recorded| recorded.key[2] == name)
        };
        let mut counts: Vec<_> = of("attest").flat_map(labels).collect();
        let times: Vec<_> = of("attest_elapsed_time").flat_map(labels).collect();
        if counts.len() >= count && !times.is_empty() {
            assert!(times.iter().all(|time| counts.contains(time)), "{times:?}");
            counts.sort();
            return counts;
        }
        assert!(Instant::now() < deadline, "{counts:?} and not {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As often as they were counted.
fn labels(recorded: &Recorded) -> Vec<[String; 3]> {
    assert_eq!(recorded.key[..2], ["node_attestor", "tpm"]);
    let times = match recorded.measured {
        Measured::Counter(by) if recorded.key[2] == "attest" => {
            (1..=u16::MAX).take_while(|n| f32::from(*n) <= by).count()
        }
        Measured::Since(start) if start > 0 => 1,
        ref other => panic!("{other:?}"),
    };
    let names = recorded.labels.iter().map(|(name, _)| name.as_str());
    assert!(names.eq(["status", "reason", "evidence"]), "{recorded:?}");
    vec![[0, 1, 2].map(|index| recorded.labels[index].1.clone()); times]
}
