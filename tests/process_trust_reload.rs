//! What a server trusts by, changed under its hands: taken over when it is whole, left as it was when it is not.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{Entry, Loaded, Measured, Side};
use evidence::encode_pem;
use softtpm::Prover;
use verify::Reason;

use crate::process_certificates::Authority;
use crate::process_grants::{certified, machine};
use crate::process_plugin::{LIMIT, attest, configured, unload};
use crate::process_trust::{Trust, certificate, sha256};

const OFTEN: &str = "reload_interval = \"100ms\"";

/// How often a reload ended so, once it has `count` times.
async fn counted(server: &Loaded, name: &str, status: &str, count: u16) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let measured = server.measurements();
        let times: f32 = measured
            .iter()
            .filter(|recorded| recorded.key == ["node_attestor", "tpm", name])
            .filter(|recorded| recorded.labels == [("status".to_owned(), status.to_owned())])
            .map(|recorded| match recorded.measured {
                Measured::Counter(by) => by,
                _ => 0.0,
            })
            .sum();
        if times >= f32::from(count) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} {status}: {times}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn errors<'a>(log: &'a [Entry], message: &str) -> Vec<&'a Entry> {
    log.iter()
        .filter(|entry| entry.level == "error" && entry.message.starts_with(message))
        .collect()
}

/// What the server says to the machine: nothing, or why not.
async fn verdict(server: &Loaded, prover: &mut Prover) -> Option<String> {
    let outcome = attest(server, prover).await;
    outcome.err().map(|status| status.message().to_owned())
}

/// Writes a file beside its place and puts it there at once.
fn replace(path: &Path, contents: impl AsRef<[u8]>) {
    let beside = path.with_file_name("..new");
    fs::write(&beside, contents).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn a_list_is_followed_and_a_damaged_one_is_not() {
    let (maker, forger) = (Authority::new("Maker"), Authority::new("Maker"));
    let mut prover = certified(machine(), &maker);
    let trust = Trust::new();
    trust.records.trust(&maker.certificate);
    let list = trust.crls().join("maker.crl");
    fs::write(&list, maker.revoke(&[], 1)).unwrap();
    let text = trust.records.anchors(&trust.lines(OFTEN));
    let server = configured(Side::Server, &text).await;
    assert_eq!(verdict(&server, &mut prover).await, None);

    let revoking = maker.revoke(&[certificate(&prover)], 1);
    replace(&list, &revoking);
    counted(&server, "anchors_reload", "ok", 1).await;
    let revoked = Some(Reason::EkRevoked.to_string());
    assert_eq!(verdict(&server, &mut prover).await, revoked, "tpm/B24");

    // What would set it free again: a forged list, half a list, no list, no directory.
    let damages = [forger.revoke(&[], 1), revoking[..99].to_vec(), Vec::new()];
    for (count, damage) in (1..).zip(&damages) {
        replace(&list, damage);
        counted(&server, "anchors_reload", "failed", count).await;
        assert_eq!(verdict(&server, &mut prover).await, revoked, "tpm/B26");
    }
    let away = trust.crls().with_file_name("away");
    fs::rename(trust.crls(), &away).unwrap();
    counted(&server, "anchors_reload", "failed", 4).await;
    assert_eq!(verdict(&server, &mut prover).await, revoked, "tpm/B26");
    // Told once each, however often it is looked at.
    tokio::time::sleep(Duration::from_millis(500)).await;
    fs::rename(&away, trust.crls()).unwrap();
    replace(&list, maker.revoke(&[], 1));
    counted(&server, "anchors_reload", "ok", 2).await;
    assert_eq!(verdict(&server, &mut prover).await, None);
    let log = unload(server).await;
    let told = errors(
        &log,
        "cannot take over CA certificates and revocation lists",
    );
    assert!(
        told[0].fields["error"]
            .as_str()
            .unwrap()
            .contains("maker.crl: crl_invalid")
    );
    // Moving a directory changes it twice at most.
    assert!((4..=6).contains(&told.len()), "{told:?}");
}

#[tokio::test]
async fn a_list_and_its_ca_come_into_force_together() {
    let (first, second) = (Authority::new("First"), Authority::new("Second"));
    let mut prover = certified(machine(), &second);
    let trust = Trust::new();
    trust.records.trust(&first.certificate);
    fs::write(trust.crls().join("first.crl"), first.revoke(&[], 1)).unwrap();
    let requires = format!("crl_policy = \"require\"\n{OFTEN}");
    let text = trust.records.anchors(&trust.lines(&requires));
    let server = configured(Side::Server, &text).await;
    let list = second.revoke(&[certificate(&prover)], 1);
    fs::write(trust.crls().join("second.crl"), list).unwrap();
    counted(&server, "anchors_reload", "ok", 1).await;
    let unknown = Some(Reason::UntrustedChain.to_string());
    assert_eq!(verdict(&server, &mut prover).await, unknown);
    // The list that was foreign until now counts from the moment that its CA does.
    trust.records.trust(&second.certificate);
    counted(&server, "anchors_reload", "ok", 2).await;
    let revoked = Some(Reason::EkRevoked.to_string());
    assert_eq!(verdict(&server, &mut prover).await, revoked);
    unload(server).await;
}

#[tokio::test]
async fn a_deny_list_is_followed_and_a_damaged_one_is_not() {
    let trust = Trust::new();
    let mut prover = machine();
    let hash = prover.tpm.ek_hash().hex();
    trust.records.enrol(prover.tpm.ek_hash());
    fs::write(trust.denied(), "# nobody\n").unwrap();
    let line = format!("ek_deny_path = \"{}\"\n{OFTEN}", trust.denied().display());
    let server = configured(Side::Server, &trust.records.enrolment(&line)).await;
    assert_eq!(verdict(&server, &mut prover).await, None);

    replace(&trust.denied(), format!("{hash}\n"));
    counted(&server, "denials_reload", "ok", 1).await;
    let denied = Some(Reason::EkDenied.to_string());
    assert_eq!(verdict(&server, &mut prover).await, denied, "tpm/B29");

    let half = hash.get(..40).unwrap();
    for (count, damage) in (1..).zip([half, "", "nonsense\n"]) {
        replace(&trust.denied(), damage);
        counted(&server, "denials_reload", "failed", count).await;
        assert_eq!(verdict(&server, &mut prover).await, denied, "tpm/B29");
    }
    fs::remove_file(trust.denied()).unwrap();
    counted(&server, "denials_reload", "failed", 4).await;
    assert_eq!(verdict(&server, &mut prover).await, denied, "tpm/B29");
    tokio::time::sleep(Duration::from_millis(500)).await;
    replace(&trust.denied(), "# nobody\n");
    counted(&server, "denials_reload", "ok", 2).await;
    assert_eq!(verdict(&server, &mut prover).await, None);
    let log = unload(server).await;
    let told = errors(&log, "cannot take over the deny list");
    assert_eq!(told.len(), 4, "once for each: {told:?}");
    let problem = told[0].fields["error"].as_str().unwrap();
    assert!(problem.contains("line 1: "), "{problem}");
    assert!(!problem.contains(half), "what it says stays there");
}

#[tokio::test]
async fn another_bundle_than_the_pinned_one_changes_nothing() {
    let (maker, intruder) = (Authority::new("Maker"), Authority::new("Intruder"));
    let (mut prover, mut other) = (
        certified(machine(), &maker),
        certified(machine(), &intruder),
    );
    let trust = Trust::new();
    let bundle = trust.records.cas().join("bundle.pem");
    let text = encode_pem("CERTIFICATE", &maker.certificate);
    fs::write(&bundle, &text).unwrap();
    let configuration = format!(
        "ca_path = \"{}\"\nca_bundle_sha256 = \"{}\"\n{OFTEN}",
        bundle.display(),
        sha256(text.as_bytes())
    );
    let server = configured(Side::Server, &configuration).await;
    let added = text.clone() + &encode_pem("CERTIFICATE", &intruder.certificate);
    let unknown = Some(Reason::UntrustedChain.to_string());
    for (count, damage) in (1..).zip([added.as_str(), "", text.get(..200).unwrap()]) {
        replace(&bundle, damage);
        counted(&server, "anchors_reload", "failed", count).await;
        assert_eq!(verdict(&server, &mut prover).await, None, "tpm/J04");
        assert_eq!(verdict(&server, &mut other).await, unknown, "tpm/J05");
    }
    replace(&bundle, &text);
    counted(&server, "anchors_reload", "ok", 1).await;
    let log = unload(server).await;
    let told = errors(&log, "cannot take over CA certificates");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[tokio::test]
async fn an_owner_is_followed_and_a_malformed_one_is_damage() {
    let maker = Authority::new("Maker");
    let mut prover = certified(machine(), &maker);
    let trust = Trust::new();
    let bundle = trust.records.cas().join("bundle.pem");
    let pem = encode_pem("CERTIFICATE", &maker.certificate);
    fs::write(&bundle, format!("# Owner: IFX\n{pem}")).unwrap();
    let server = configured(Side::Server, &trust.records.anchors(OFTEN)).await;
    let mismatch = Some(Reason::VendorAnchorMismatch.to_string());
    assert_eq!(verdict(&server, &mut prover).await, mismatch, "tpm/B19");
    // Not set free by a slip of the pen.
    replace(&bundle, format!("# Owner: IFXX\n{pem}"));
    counted(&server, "anchors_reload", "failed", 1).await;
    assert_eq!(verdict(&server, &mut prover).await, mismatch, "tpm/B19");
    replace(&bundle, format!("# Owner: STM\n{pem}"));
    counted(&server, "anchors_reload", "ok", 1).await;
    assert_eq!(verdict(&server, &mut prover).await, None, "tpm/B19");
    unload(server).await;
}
