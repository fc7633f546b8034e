//! Policies over the state of machines, in the server's process: who is refused, what is told, and what is kept.

use std::fs;

use conformance::{Entry, Loaded, Measured, Side};
use evidence::{Challenge, Hash, Record, Response};
use plugin::AgentAttributes;
use softtpm::{BootLog, Lies, Prover};
use tempfile::TempDir;
use verify::Reason;

use crate::process_grants::machine;
use crate::process_plugin::{
    LIMIT, Records, TRUST_DOMAIN, attest, challenge, configure, configured, decisions, field,
    unload, verdict,
};

const HASHES: [Hash; 1] = [Hash::Sha256];

const PROFILE: &str = "profile \"production\" {\n  secure_boot = true\n}\n";

/// A machine that booted what a log says.
fn booted(log: &BootLog) -> Prover {
    let mut machine = machine();
    machine.tpm.boot(log);
    machine
}

fn secure() -> Prover {
    booted(&BootLog::sample(&HASHES).unwrap())
}

fn insecure() -> Prover {
    booted(&BootLog::sample_insecure(&HASHES).unwrap())
}

/// A machine whose log leaves out an event.
fn lying() -> Prover {
    let mut machine = secure();
    let mut told = BootLog::sample(&HASHES).unwrap();
    told.entries.remove(3);
    machine.tpm.log = Some(told.encode());
    machine
}

/// What became of one machine, by a server with this policy, and what the server says of it.
async fn judged(
    mut machine: Prover,
    policy: &str,
) -> (Result<AgentAttributes, String>, Vec<Entry>) {
    let records = Records::new();
    records.enrol(machine.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment(policy)).await;
    let outcome = attest(&server, &mut machine).await;
    let outcome = outcome.map_err(|status| status.message().to_owned());
    (outcome, unload(server).await)
}

fn state(attributes: &AgentAttributes) -> Vec<&str> {
    let about = |selector: &&str| {
        ["secure_boot:", "measured:"]
            .iter()
            .any(|key| selector.starts_with(key))
    };
    let selectors = attributes.selector_values.iter().map(String::as_str);
    selectors.filter(about).collect()
}

fn warning<'a>(log: &'a [Entry], message: &str) -> Option<&'a Entry> {
    log.iter()
        .find(|entry| entry.message == message && entry.level == "warn")
}

const WOULD_BE_REFUSED: &str = "attestation would be refused";
const PROVES_NOTHING: &str = "the boot event log proves nothing";
const VULNERABLE: &str = "the TPM's firmware is known to be vulnerable";

#[tokio::test]
async fn an_enforced_profile_admits_who_matches_and_nobody_else() {
    let (outcome, log) = judged(secure(), PROFILE).await;
    let expected = ["secure_boot:on", "measured:production"];
    assert_eq!(state(&outcome.unwrap()), expected);
    let line = decisions(&log)[0];
    assert_eq!(
        (field(line, "secure_boot"), field(line, "measured")),
        ("on", "production")
    );

    for (machine, reason, secure_boot) in [
        (insecure(), Reason::SecureBootDisabled, "off"),
        (lying(), Reason::EventlogReplay, ""),
        (machine(), Reason::EventlogMissing, ""),
    ] {
        let (outcome, log) = judged(machine, PROFILE).await;
        assert_eq!(outcome.unwrap_err(), reason.to_string());
        let line = decisions(&log)[0];
        assert_eq!(field(line, "reason"), reason.code());
        assert_eq!(field(line, "secure_boot"), secure_boot);
        assert!(warning(&log, WOULD_BE_REFUSED).is_none(), "it was");
    }
}

#[tokio::test]
async fn a_monitored_profile_admits_all_and_tells_whom_it_would_refuse() {
    let monitored = format!("mode = \"monitor\"\n{PROFILE}");
    let (outcome, log) = judged(secure(), &monitored).await;
    let expected = ["secure_boot:on", "measured:production"];
    assert_eq!(state(&outcome.unwrap()), expected);
    assert!(warning(&log, WOULD_BE_REFUSED).is_none());

    for (machine, reason, selectors) in [
        (
            insecure(),
            Reason::SecureBootDisabled,
            &["secure_boot:off"][..],
        ),
        (lying(), Reason::EventlogReplay, &[]),
    ] {
        let hash = machine.tpm.ek_hash().hex();
        let (outcome, log) = judged(machine, &monitored).await;
        assert_eq!(state(&outcome.unwrap()), selectors);
        let told = warning(&log, WOULD_BE_REFUSED).unwrap();
        assert_eq!(
            (field(told, "reason"), field(told, "ek_hash")),
            (reason.code(), &*hash)
        );
        assert!(warning(&log, PROVES_NOTHING).is_none(), "it is said once");
    }
}

#[tokio::test]
async fn what_would_be_refused_is_counted() {
    let records = Records::new();
    let mut machine = insecure();
    records.enrol(machine.tpm.ek_hash());
    let monitored = format!("mode = \"monitor\"\n{PROFILE}");
    let server = configured(Side::Server, &records.enrolment(&monitored)).await;
    attest(&server, &mut machine).await.unwrap();
    let deadline = std::time::Instant::now() + LIMIT;
    let counted = loop {
        let measured = server.measurements();
        let tolerated = measured.into_iter().find(|one| one.key[2] == "tolerated");
        if let Some(tolerated) = tolerated {
            break tolerated;
        }
        assert!(std::time::Instant::now() < deadline, "it is never counted");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(matches!(counted.measured, Measured::Counter(by) if by > 0.0));
    let expected = ("reason".to_owned(), "secure_boot_disabled".to_owned());
    assert_eq!(counted.labels, [expected]);
    unload(server).await;
}

#[tokio::test]
async fn without_a_policy_the_state_is_told_and_a_bad_log_is_warned_of() {
    for (machine, selectors, warns) in [
        (secure(), &["secure_boot:on"][..], false),
        (insecure(), &["secure_boot:off"], false),
        (lying(), &[], true),
        (machine(), &[], false),
    ] {
        let (outcome, log) = judged(machine, "").await;
        assert_eq!(state(&outcome.unwrap()), selectors);
        assert_eq!(warning(&log, PROVES_NOTHING).is_some(), warns);
    }
    let (outcome, _) = judged(secure(), "event_log = \"never\"").await;
    assert_eq!(state(&outcome.unwrap()), [""; 0]);
    let (outcome, _) = judged(secure(), "event_log = \"policy\"").await;
    assert_eq!(state(&outcome.unwrap()), [""; 0]);
}

#[tokio::test]
async fn vulnerable_firmware_is_warned_of_or_refused() {
    // The soft TPM says what swtpm says.
    let advisory = "advisory \"site-1\" {\n from = \"8217.4131\"\n to = \"8217.4131\"\n source = \"here\"\n}\n";
    let (outcome, log) = judged(machine(), advisory).await;
    outcome.unwrap();
    let told = warning(&log, VULNERABLE).unwrap();
    assert_eq!(field(told, "advisories"), "site-1");
    let rejecting = format!("vulnerable_tpms = \"reject\"\n{advisory}");
    let (outcome, log) = judged(machine(), &rejecting).await;
    assert_eq!(
        outcome.unwrap_err(),
        Reason::FirmwareDenied.to_string(),
        "tpm/E27"
    );
    assert!(field(decisions(&log)[0], "detail").contains("site-1"));
    let (outcome, _) = judged(machine(), "vulnerable_tpms = \"reject\"").await;
    outcome.unwrap();
}

#[tokio::test]
async fn what_trusted_machines_sent_is_kept_whatever_came_of_it() {
    let kept = TempDir::new().unwrap();
    let records = Records::new();
    let (mut good, mut bad, mut stranger) = (secure(), insecure(), secure());
    records.enrol(good.tpm.ek_hash());
    records.enrol(bad.tpm.ek_hash());
    let policy = format!("evidence_path = \"{}\"\n{PROFILE}", kept.path().display());
    let server = configured(Side::Server, &records.enrolment(&policy)).await;
    attest(&server, &mut good).await.unwrap();
    attest(&server, &mut bad).await.unwrap_err();
    attest(&server, &mut stranger).await.unwrap_err();
    unload(server).await;

    let read = |machine: &Prover| {
        let name = format!("{}.json", machine.tpm.ek_hash().hex());
        let bytes = fs::read(kept.path().join(name)).ok()?;
        Some(Record::decode(&bytes).unwrap())
    };
    let of_good = read(&good).unwrap();
    assert_eq!(
        (of_good.verdict.as_str(), of_good.enrolment.as_str()),
        ("granted", "enrolled")
    );
    assert_eq!(read(&bad).unwrap().verdict, "secure_boot_disabled");
    assert_eq!(read(&stranger), None, "nobody vouches for it");
    assert_eq!(fs::read_dir(kept.path()).unwrap().count(), 2);
}

#[tokio::test]
async fn a_record_that_cannot_be_kept_changes_no_verdict() {
    let kept = TempDir::new().unwrap();
    let records = Records::new();
    let mut machine = secure();
    records.enrol(machine.tpm.ek_hash());
    let policy = format!("evidence_path = \"{}\"\n{PROFILE}", kept.path().display());
    let server = configured(Side::Server, &records.enrolment(&policy)).await;
    drop(kept);
    attest(&server, &mut machine).await.unwrap();
    let log = unload(server).await;
    let told = warning(&log, "the evidence of an attestation was not kept").unwrap();
    assert!(field(told, "error").contains("No such file"), "{told:?}");
}

/// A whole attestation; whether the log came with it, and the selectors.
async fn exchanged(server: &Loaded, machine: &mut Prover) -> (bool, Vec<String>) {
    let mut exchange = server.attest(&[]).await.unwrap();
    let payload = machine.payload().unwrap();
    exchange.payload(&payload).await;
    let challenge = challenge(&mut exchange).await.unwrap();
    let response = machine.answer(&payload, &challenge).unwrap();
    let Ok(Response::Proof(proof)) = Response::decode(&response) else {
        panic!("a proof")
    };
    exchange.respond(&response).await;
    let attributes = verdict(&mut exchange).await.unwrap();
    (proof.log.is_some(), attributes.selector_values)
}

#[tokio::test]
async fn a_machine_sends_its_log_once_for_each_boot() {
    let records = Records::new();
    let (mut machine, mut other) = (secure(), secure());
    records.enrol(machine.tpm.ek_hash());
    records.enrol(other.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment(PROFILE)).await;
    let (sent, first) = exchanged(&server, &mut machine).await;
    assert!(sent && first.contains(&"measured:production".to_owned()));
    assert_eq!(
        exchanged(&server, &mut machine).await,
        (false, first.clone())
    );
    assert!(exchanged(&server, &mut other).await.0, "each for itself");
    machine.tpm.extend(8, b"while it runs");
    assert_eq!(
        exchanged(&server, &mut machine).await,
        (true, first.clone())
    );
    assert_eq!(exchanged(&server, &mut machine).await, (false, first));

    // It is not remembered in place of a policy.
    let strict = format!(
        "profile \"production\" {{ pcr \"8\" {{ values = [\"{}\"] }} }}",
        "00".repeat(32)
    );
    configure(&server, &records.enrolment(&strict)).await;
    let refused = attest(&server, &mut machine).await.unwrap_err();
    assert_eq!(refused.message(), Reason::PcrPolicy.to_string());
    unload(server).await;
}

#[tokio::test]
async fn records_are_whole() {
    let kept = TempDir::new().unwrap();
    let records = Records::new();
    let mut machine = secure();
    records.enrol(machine.tpm.ek_hash());
    let policy = format!("evidence_path = \"{}\"\n{PROFILE}", kept.path().display());
    let server = configured(Side::Server, &records.enrolment(&policy)).await;
    for _ in 0..2 {
        assert!(exchanged(&server, &mut machine).await.0);
    }
    unload(server).await;
}

#[tokio::test]
async fn nothing_is_remembered_of_who_was_refused() {
    let records = Records::new();
    let mut machine = secure();
    let server = configured(Side::Server, &records.enrolment(PROFILE)).await;
    let refused = attest(&server, &mut machine).await.unwrap_err();
    assert_eq!(refused.message(), Reason::EkNotAllowed.to_string());
    records.enrol(machine.tpm.ek_hash());
    assert!(exchanged(&server, &mut machine).await.0, "its log comes");
    assert!(
        !exchanged(&server, &mut machine).await.0,
        "and is known now"
    );
    unload(server).await;
}

/// Who passes for another machine, and does not know its log, is told nothing of it.
#[tokio::test]
async fn a_stranger_does_not_learn_that_a_machine_was_here() {
    let records = Records::new();
    let mut machine = secure();
    records.enrol(machine.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment(PROFILE)).await;
    assert!(exchanged(&server, &mut machine).await.0);
    let told = async |lies: Lies| {
        let mut stranger = Prover::new(machine.tpm.clone(), TRUST_DOMAIN);
        stranger.lies = lies;
        let mut exchange = server.attest(&[]).await.unwrap();
        exchange.payload(&stranger.payload().unwrap()).await;
        let asked = Challenge::decode(&challenge(&mut exchange).await.unwrap()).unwrap();
        asked.extension.unwrap().known_pcrs.is_some()
    };
    assert!(told(Lies::none()).await, "to the machine itself");
    for digest in [None, Some([0; 32])] {
        let lie = Lies::none().offer(move |offer| {
            offer.extension.as_mut().unwrap().log_sha256 = digest;
        });
        assert!(!told(lie).await, "{digest:?}");
    }
    unload(server).await;
}
