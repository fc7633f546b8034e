//! The boot event log: offered where it can be read, sent when it is asked for and not known, and otherwise a clear error.

use std::fs;
use std::path::{Path, PathBuf};

use conformance::{Loaded, Side};
use evidence::{
    Attest, Capability, Challenge, ChallengeExtension, Evidence, Hash, Offer, Proof, Response,
    Secret, Transcript, limits,
};
use plugin::{Code, Status};
use tempfile::TempDir;
use tests::{Manufacturer, Model, ResourceManager, Swtpm, TpmSocket};

use crate::process_machine::{Verifier, agent, learn, on, watched_agent};
use crate::process_plugin::{TRUST_DOMAIN, configure, configured, load, unload};

/// A machine whose agent has been told where a log is.
struct Machine {
    tpm: Swtpm,
    directory: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self::of(&Model::default())
    }

    fn of(model: &Model) -> Self {
        Self {
            tpm: Manufacturer::new().make(model),
            directory: TempDir::new().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn write(&self, log: &[u8]) {
        fs::write(self.path(), log).unwrap();
    }

    fn configuration(&self, path: &Path) -> String {
        let key = format!("event_log_path = \"{}\"", path.display());
        on(self.tpm.socket(), &key)
    }

    async fn agent(&self) -> Loaded {
        configured(Side::Agent, &self.configuration(&self.path())).await
    }
}

/// Bytes that no pattern betrays.
fn events(size: usize, seed: usize) -> Vec<u8> {
    let byte = |index: usize| (index * 31 + index / 251 + seed).to_le_bytes()[0];
    (0..size).map(byte).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Hash::Sha256.digest(&[bytes]).try_into().unwrap()
}

/// What an agent offers, and the SHA-256 of its log.
fn offered(payload: &[u8]) -> (Vec<Capability>, Option<[u8; 32]>) {
    let extension = Offer::decode(payload).unwrap().extension.unwrap();
    (extension.evidence, extension.log_sha256)
}

/// The challenge of a server that wants the log, perhaps changed, and its secret.
fn asking(payload: &[u8], change: impl FnOnce(&mut ChallengeExtension)) -> (Vec<u8>, Secret) {
    let mut verifier = Verifier::open();
    let (challenge, _) = verifier.begin(payload);
    let mut challenge = Challenge::decode(&challenge).unwrap();
    let extension = challenge.extension.as_mut().unwrap();
    extension.log = true;
    change(extension);
    let secret = Secret::new(verifier.entropy.taken[0].clone());
    (challenge.encode(), secret)
}

/// The answer to a server that wants the log; it must be bound to the exchange and covered by the proof.
async fn proof(agent: &Loaded) -> Result<Proof, Status> {
    answer(agent, |_| (), || ()).await
}

/// The same to a changed challenge, with something that happens between offer and answer.
async fn answer(
    agent: &Loaded,
    change: impl FnOnce(&mut ChallengeExtension),
    meanwhile: impl FnOnce(),
) -> Result<Proof, Status> {
    let mut exchange = agent.aid().await?;
    let payload = exchange.payload().await?;
    let (challenge, secret) = asking(&payload, change);
    meanwhile();
    let response = exchange.challenge(&challenge).await?;
    learn(&response);
    let Response::Proof(proof) = Response::decode(&response).unwrap() else {
        panic!("a bare secret")
    };
    let transcript = Transcript::new(TRUST_DOMAIN, &payload, &challenge);
    let log = proof.log.as_deref().unwrap_or_default();
    let expect = secret.proof(&transcript, &proof.evidence, log);
    assert!(proof.proof == expect, "the proof covers what was sent");
    let quote = Evidence::decode(&proof.evidence).unwrap().quote;
    let binding = Attest::parse(&quote).unwrap().extra_data;
    assert!(binding == secret.quote_binding(&transcript), "bound");
    Ok(proof)
}

/// The status of a failure that comes of the file.
fn failed<T: std::fmt::Debug>(outcome: Result<T, Status>, parts: &[&str]) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let message = status.message();
    assert!(message.starts_with("event_log_failed: "), "{message}");
    for part in parts {
        assert!(message.contains(part), "{part} in {message}");
    }
}

#[tokio::test]
async fn a_log_is_sent_as_it_is_in_the_file_when_it_is_asked_for() {
    let machine = Machine::new();
    machine.write(&events(60_000, 0));
    let agent = machine.agent().await;
    // The file is read for each offer and each answer; the largest log fits.
    for (size, seed) in [(60_000, 0), (1, 1), (limits::LOG, 2), (60_000, 3)] {
        let log = events(size, seed);
        machine.write(&log);
        let payload = agent.aid().await.unwrap().payload().await.unwrap();
        let (evidence, digest) = offered(&payload);
        assert_eq!(evidence, [Capability::Quote, Capability::Log]);
        assert_eq!(digest, Some(sha256(&log)), "{size} {seed}");
        let sent = proof(&agent).await.unwrap().log;
        assert!(sent == Some(log), "{size} {seed}");
        // Unasked it stays where it is, or this would be refused.
        Verifier::open().attest(&agent).await.unwrap();
    }
    unload(agent).await;
}

#[tokio::test]
async fn without_a_log_none_is_offered_and_none_is_given() {
    let machine = Machine::new();
    // What the host's firmware has measured has nothing to do with a TPM behind a socket.
    let agent = agent(&machine.tpm, "").await;
    let payload = agent.aid().await.unwrap().payload().await.unwrap();
    assert_eq!(offered(&payload), (vec![Capability::Quote], None));
    let status = proof(&agent).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "log_not_offered: the server asks for a boot event log that this agent did not offer"
    );
    Verifier::open().attest(&agent).await.unwrap();
    // Another configuration does not change what was offered.
    let mut exchange = agent.aid().await.unwrap();
    let payload = exchange.payload().await.unwrap();
    machine.write(&events(9, 0));
    configure(&agent, &machine.configuration(&machine.path())).await;
    let challenge = asking(&payload, |_| ()).0;
    let status = exchange.challenge(&challenge).await.unwrap_err();
    assert!(
        status.message().starts_with("log_not_offered: "),
        "{status}"
    );
    assert_eq!(proof(&agent).await.unwrap().log, Some(events(9, 0)));
    unload(agent).await;
}

#[tokio::test]
async fn a_log_that_is_too_long_is_an_error_that_names_the_limit() {
    let machine = Machine::new();
    machine.write(&events(9, 0));
    let agent = machine.agent().await;
    machine.write(&events(limits::LOG + 1, 0));
    let payload = agent.aid().await.unwrap().payload().await.unwrap();
    let (evidence, digest) = offered(&payload);
    assert_eq!(evidence, [Capability::Quote, Capability::Log]);
    assert_eq!(digest, None, "nobody can know a log that was never sent");
    let path = machine.path().display().to_string();
    let parts = [
        path.as_str(),
        "it is longer than 720896 bytes, the most that can be sent; ",
        "let the server's policy ask for no log",
    ];
    failed(proof(&agent).await, &parts);
    // Who does not ask for it is none the worse.
    Verifier::open().attest(&agent).await.unwrap();
    let text = machine.configuration(&machine.path());
    let status = agent.configure(Some(TRUST_DOMAIN), &text).await;
    let message = status.unwrap_err().message().to_owned();
    let begin = "2:18: unable to read event_log_path: it is longer than 720896 bytes";
    assert!(message.starts_with(begin), "{message}");
    machine.write(&events(limits::LOG, 0));
    assert!(proof(&agent).await.unwrap().log == Some(events(limits::LOG, 0)));
    unload(agent).await;
}

#[tokio::test]
async fn a_named_log_that_cannot_be_read_is_an_error_when_configured_and_later() {
    let machine = Machine::new();
    let agent = load(Side::Agent).await;
    for (path, part) in [
        (machine.path().as_path(), "No such file"),
        (machine.directory.path(), "it is no regular file"),
        (Path::new("/dev/null"), "it is no regular file"),
        (Path::new("log"), "must be an absolute path"),
    ] {
        let text = machine.configuration(path);
        let status = agent.configure(Some(TRUST_DOMAIN), &text).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("2:18: "), "{status}");
        assert!(status.message().contains(part), "{status}");
        // Nothing is read to validate.
        let answer = agent.validate(Some(TRUST_DOMAIN), &text).await.unwrap();
        assert_eq!(answer.valid, path.is_absolute(), "{answer:?}");
    }
    machine.write(&events(9, 0));
    configure(&agent, &machine.configuration(&machine.path())).await;
    Verifier::open().attest(&agent).await.unwrap();

    let mut exchange = agent.aid().await.unwrap();
    let payload = exchange.payload().await.unwrap();
    fs::remove_file(machine.path()).unwrap();
    let path = machine.path().display().to_string();
    let parts = [path.as_str(), "No such file", "is securityfs mounted"];
    let challenge = asking(&payload, |_| ()).0;
    failed(exchange.challenge(&challenge).await, &parts);
    // Not even offered: the operator has said that it is there.
    failed(agent.aid().await.unwrap().payload().await, &parts);
    machine.write(b"");
    failed(agent.aid().await.unwrap().payload().await, &["it is empty"]);
    machine.write(&events(9, 1));
    assert_eq!(proof(&agent).await.unwrap().log, Some(events(9, 1)));
    unload(agent).await;
}

/// Asks for PCR 4 of one bank, then for two of another that are not in order, and names values.
fn knowing(values: [u8; 32]) -> impl FnOnce(&mut ChallengeExtension) {
    move |extension| {
        extension.pcrs = vec![(Hash::Sha384, vec![4]), (Hash::Sha256, vec![17, 0])];
        extension.known_pcrs = Some(values);
    }
}

/// A machine with the PCRs that [`knowing`] asks for, and a manager that lets others at its TPM too.
fn shared() -> (Machine, ResourceManager) {
    let machine = Machine::of(&Model {
        pcr_banks: "sha256,sha384".to_owned(),
        ..Model::default()
    });
    let manager = ResourceManager::start(machine.tpm.socket());
    machine.write(&events(60_000, 0));
    (machine, manager)
}

async fn agent_behind(manager: &ResourceManager, machine: &Machine) -> Loaded {
    let key = format!("event_log_path = \"{}\"", machine.path().display());
    watched_agent(manager, &key).await
}

/// The values after a reset: banks in the challenge's order, ascending in each.
fn after_reset() -> [u8; 32] {
    sha256(&[&[0; 48][..], &[0; 32], &[0xFF; 32]].concat())
}

#[tokio::test]
async fn a_log_is_left_out_where_the_server_knows_the_quoted_values() {
    let (machine, manager) = shared();
    let agent = agent_behind(&manager, &machine).await;
    let log = Some(events(60_000, 0));
    let fits = answer(&agent, knowing(after_reset()), || ()).await.unwrap();
    assert!(fits.log.is_none());
    // Others, and the same in other orders.
    for values in [
        [0; 32],
        sha256(b""),
        sha256(&[&[0; 48][..], &[0xFF; 32], &[0; 32]].concat()),
        sha256(&[&[0; 32][..], &[0xFF; 32], &[0; 48]].concat()),
    ] {
        let proof = answer(&agent, knowing(values), || ()).await.unwrap();
        assert!(proof.log == log, "{values:?}");
    }
    // Who asks for no log gets none, whatever is known.
    for values in [after_reset(), [0; 32]] {
        let unasked = |extension: &mut ChallengeExtension| {
            knowing(values)(extension);
            extension.log = false;
        };
        assert!(answer(&agent, unasked, || ()).await.unwrap().log.is_none());
    }
    // What counts is what was quoted, not what it was when the agent offered.
    let extend = || {
        let mut tpm = TpmSocket::connect(manager.socket()).unwrap();
        tpm.extend_pcr(0, [7; 32]);
    };
    let moved = answer(&agent, knowing(after_reset()), extend).await;
    assert!(moved.unwrap().log == log);
    let extended = sha256(&[[0; 32], [7; 32]].concat());
    let values = sha256(&[&[0; 48][..], &extended, &[0xFF; 32]].concat());
    let proof = answer(&agent, knowing(values), || ()).await.unwrap();
    assert!(proof.log.is_none());
    unload(agent).await;
}

#[tokio::test]
async fn a_log_that_is_left_out_need_not_be_there_any_more() {
    let (machine, manager) = shared();
    let agent = agent_behind(&manager, &machine).await;
    let path = machine.path();
    let remove = || fs::remove_file(&path).unwrap();
    let proof = answer(&agent, knowing(after_reset()), remove).await;
    assert!(proof.unwrap().log.is_none());
    machine.write(&events(9, 0));
    let rewrite = || machine.write(&events(limits::LOG + 1, 0));
    let proof = answer(&agent, knowing(after_reset()), rewrite).await;
    assert!(proof.unwrap().log.is_none());
    // One that is needed after all is read then: what is in the file now, or a failure.
    machine.write(&events(9, 0));
    let rewrite = || machine.write(&events(9, 1));
    let proof = answer(&agent, knowing([0; 32]), rewrite).await;
    assert!(proof.unwrap().log == Some(events(9, 1)));
    let failure = answer(&agent, knowing([0; 32]), remove).await;
    failed(failure, &["No such file"]);
    // Where it is needed for certain the TPM does not work in vain.
    machine.write(&events(9, 0));
    let gone = || {
        remove();
        manager.clear();
    };
    failed(answer(&agent, |_| (), gone).await, &["No such file"]);
    assert!(manager.connections().concat().is_empty());
    unload(agent).await;
}

#[tokio::test]
async fn a_machine_that_shows_no_log_says_so_when_it_is_configured() {
    // No machine has so many TPMs.
    let agent = configured(Side::Agent, "device = \"/dev/tpmrm65535\"").await;
    let log = unload(agent).await;
    let lines: Vec<_> = log
        .iter()
        .filter(|line| line.message.contains("boot event log"))
        .collect();
    let [line] = lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(line.level, "info");
    assert_eq!(
        line.fields["path"],
        "/sys/kernel/security/tpm65535/binary_bios_measurements"
    );
}
