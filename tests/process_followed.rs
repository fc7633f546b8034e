//! What a server says is in force, and how it follows its files: told in its log, counted, and not before its time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use conformance::{Entry, Loaded, Measured, Side};

use crate::process_certificates::Authority;
use crate::process_grants::{certified, machine};
use crate::process_plugin::{LIMIT, Records, attest, configured, field, unload};

/// The lines with this message.
fn told<'a>(log: &'a [Entry], message: &str) -> Vec<&'a Entry> {
    log.iter()
        .filter(|entry| entry.message.starts_with(message))
        .collect()
}

/// How often a reload of this kind was counted with this status.
fn reloads(server: &Loaded, kind: &str, status: &str) -> usize {
    let measured = server.measurements();
    let of_status = measured.iter().filter(|recorded| {
        recorded.key == ["node_attestor", "tpm", kind]
            && recorded.labels == [("status".to_owned(), status.to_owned())]
            && matches!(recorded.measured, Measured::Counter(by) if by > 0.0)
    });
    of_status.count()
}

async fn reloaded(server: &Loaded, kind: &str, status: &str) {
    let deadline = Instant::now() + LIMIT;
    while reloads(server, kind, status) == 0 {
        assert!(
            Instant::now() < deadline,
            "no reload was counted as {status}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_is_in_force_and_what_was_skipped_is_told() {
    let records = Records::new();
    records.trust(&Authority::new("Maker").certificate);
    fs::write(records.cas().join("README"), "no certificate").unwrap();
    let server = configured(Side::Server, &records.both("ek_trust = \"both\"")).await;
    let log = unload(server).await;
    let lines = told(&log, "configured");
    let configured = lines
        .iter()
        .find(|entry| entry.module.as_deref() == Some("server.config"))
        .unwrap();
    assert_eq!(configured.level, "info");
    assert_eq!(configured.fields["anchors"], 1);
    assert_eq!(configured.fields["allow_list"], true);
    assert_eq!(field(configured, "ek_trust"), "Both");
    assert_eq!(field(configured, "legacy_agents"), "Allow");
    let skipped = told(&log, "skipped \"README\"");
    assert_eq!((skipped.len(), skipped[0].level.as_str()), (1, "warn"));
    let is_empty = |entry: &Entry| entry.message.ends_with("holds no certificate yet");
    assert!(!log.iter().any(is_empty));
}

#[tokio::test]
async fn changed_files_are_taken_over_told_and_counted() {
    let (first, second) = (Authority::new("One"), Authority::new("Two"));
    let records = Records::new();
    records.trust(&first.certificate);
    let server = configured(
        Side::Server,
        &records.anchors("reload_interval = \"100ms\""),
    )
    .await;
    let mut prover = certified(machine(), &second);
    let refused = attest(&server, &mut prover).await.unwrap_err();
    assert_eq!(refused.message(), "untrusted_chain: could not verify cert");

    records.trust(&second.certificate);
    fs::write(records.cas().join("README"), "no certificate").unwrap();
    reloaded(&server, "anchors_reload", "ok").await;
    attest(&server, &mut prover).await.unwrap();

    fs::remove_dir_all(records.cas()).unwrap();
    reloaded(&server, "anchors_reload", "failed").await;
    // The last good ones stay in force.
    attest(&server, &mut prover).await.unwrap();

    let log = unload(server).await;
    let taken = told(&log, "took over changed CA certificates");
    assert!(taken.iter().any(|entry| entry.fields["anchors"] == 2));
    let failed = told(&log, "cannot take over CA certificates");
    assert!(failed.iter().all(|entry| entry.level == "error"));
    assert!(!failed.is_empty() && !field(failed[0], "error").is_empty());
    assert!(!told(&log, "skipped \"README\"").is_empty());
}

#[tokio::test]
async fn a_changed_deny_list_is_taken_over_told_and_counted() {
    let records = Records::new();
    let denied = records.cas().with_file_name("denied");
    fs::write(&denied, "").unwrap();
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    // Without anchors: the deny list alone is followed.
    let text = format!(
        "ek_deny_path = \"{}\"\nreload_interval = \"100ms\"",
        denied.display()
    );
    let server = configured(Side::Server, &records.enrolment(&text)).await;
    attest(&server, &mut prover).await.unwrap();

    fs::write(&denied, prover.tpm.ek_hash().hex()).unwrap();
    reloaded(&server, "denials_reload", "ok").await;
    assert!(attest(&server, &mut prover).await.is_err());

    fs::write(&denied, "no entry").unwrap();
    reloaded(&server, "denials_reload", "failed").await;
    // The last good one stays in force.
    assert!(attest(&server, &mut prover).await.is_err());

    let log = unload(server).await;
    let taken = told(&log, "took over the changed deny list");
    assert!(taken.iter().any(|entry| entry.fields["entries"] == 1));
    let failed = told(&log, "cannot take over the deny list");
    assert!(failed.iter().all(|entry| entry.level == "error"));
    assert!(!failed.is_empty() && !field(failed[0], "error").is_empty());
}

#[tokio::test]
async fn a_list_that_is_taken_over_out_of_date_is_told() {
    let maker = Authority::new("Maker");
    let records = Records::new();
    records.trust(&maker.certificate);
    let lists = records.cas().with_file_name("lists");
    fs::create_dir(&lists).unwrap();
    let text = format!(
        "crl_path = \"{}\"\nreload_interval = \"100ms\"",
        lists.display()
    );
    let server = configured(Side::Server, &records.anchors(&text)).await;
    fs::write(lists.join("maker.crl"), maker.revoke(&[], -1)).unwrap();
    reloaded(&server, "anchors_reload", "ok").await;
    // Told with the look that took it over.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = unload(server).await;
    let overdue = told(&log, "a revocation list is out of date");
    assert_eq!((overdue.len(), overdue[0].level.as_str()), (1, "warn"));
    assert_eq!(field(overdue[0], "issuer"), "CN=Maker");
}

#[tokio::test]
async fn files_are_not_looked_at_before_their_time() {
    let records = Records::new();
    let server = configured(Side::Server, &records.anchors("reload_interval = \"10m\"")).await;
    change(&records.cas());
    tokio::time::sleep(Duration::from_secs(1)).await;
    for status in ["ok", "failed"] {
        assert_eq!(reloads(&server, "anchors_reload", status), 0, "{status}");
    }
    let log = unload(server).await;
    assert!(told(&log, "took over").is_empty());
}

fn change(directory: &Path) {
    let authority = Authority::new("Later");
    fs::write(directory.join("later.der"), &authority.certificate).unwrap();
}
