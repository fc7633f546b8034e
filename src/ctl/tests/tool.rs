//! The tool against a real software TPM: results, exit codes, and what goes to which stream.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test cannot do fails the test"
)]

mod bench;
mod ca;
mod machine;
mod quarantine;
mod software_tpm;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use software_tpm::{SoftwareTpm, succeed, tool};

#[test]
fn the_fingerprint_is_the_hash_of_the_certificate_s_key() {
    let tpm = SoftwareTpm::certified();
    let expected = hash_by_openssl(&tpm.certificate("rsa2048"));
    let hex = tool(&["fingerprint", "--device", &tpm.address()]);
    assert_eq!(good(&hex), format!("{expected}\n"));
    let json = good_json(&tool(&[
        "fingerprint",
        "-o",
        "json",
        "--device",
        &tpm.address(),
    ]));
    assert_eq!(json["ek_hash"], expected);
    assert_eq!(json["key"], "rsa-2048");
    let device = good(&tool(&[
        "fingerprint",
        "--format",
        "device",
        "--device",
        &tpm.address(),
    ]));
    assert_eq!(json["device"], device.trim_end());
    assert_eq!(device.len(), 53);
    let other = tool(&["--ek", "ecc", "fingerprint", "--device", &tpm.address()]);
    assert_eq!(
        good(&other).trim_end(),
        hash_by_openssl(&tpm.certificate("secp384r1"))
    );
}

#[test]
fn by_its_other_name_the_tool_prints_one_line() {
    let tpm = SoftwareTpm::certified();
    let expected = hash_by_openssl(&tpm.certificate("rsa2048"));
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("get_tpm_pubhash");
    symlink(env!("CARGO_BIN_EXE_tpm-attestor"), &link).unwrap();
    let called = |arguments: &[&str]| {
        let mut command = Command::new(&link);
        command
            .args(arguments)
            .args(["--device", &tpm.address()])
            .output()
            .unwrap()
    };
    assert_eq!(good(&called(&[])), format!("{expected}\n"));
    let verbose = good(&called(&["--verbose"]));
    let (pem, hash) = verbose.rsplit_once("-----END PUBLIC KEY-----\n").unwrap();
    assert_eq!(hash, format!("{expected}\n"));
    assert!(
        pem.starts_with("EndorsementKey[0]:\n-----BEGIN PUBLIC KEY-----\n"),
        "{pem}"
    );
    let pem = verbose.strip_prefix("EndorsementKey[0]:\n").unwrap();
    assert_eq!(
        hash_of_pem(&directory.path().join("key.pem"), pem),
        expected
    );
    let by_command = tool(&["get-tpm-pubhash", "--device", &tpm.address()]);
    assert_eq!(good(&by_command), format!("{expected}\n"));
}

#[test]
fn inspection_says_what_a_server_would() {
    let (tpm, other) = (SoftwareTpm::certified(), SoftwareTpm::certified());
    let address = tpm.address();
    let (root, issuer) = (text(&tpm.root()), text(&tpm.issuer()));
    let trusted = tool(&[
        "inspect",
        "ek",
        "-o",
        "json",
        "--device",
        &address,
        "--ca",
        &root,
        "--intermediates",
        &issuer,
    ]);
    let report = good_json(&trusted);
    assert_eq!(report["presented"]["certificate"], "NV index 0x01c00002");
    assert_eq!(report["presented"]["template"], "L-1");
    let certificates = report["certificates"].as_array().unwrap();
    let summary: Vec<_> = certificates
        .iter()
        .map(|one| {
            (
                one["template"].as_str(),
                one["key"].as_str(),
                one["presented"].as_bool(),
            )
        })
        .collect();
    let expected = [("L-1", "rsa-2048", true), ("H-3", "p-384", false)];
    assert_eq!(
        summary,
        expected.map(|(a, b, c)| (Some(a), Some(b), Some(c)))
    );
    for certificate in certificates {
        assert_eq!(
            certificate["judgement"]["verdict"], "accepted",
            "{certificate}"
        );
        assert_eq!(certificate["tpm"]["model"], "swtpm");
    }
    // The root is no help without the certificate in between.
    let broken = tool(&[
        "inspect", "ek", "-o", "json", "--device", &address, "--ca", &root,
    ]);
    let report = negative_json(&broken);
    assert_eq!(
        report["certificates"][0]["judgement"]["reason"],
        "untrusted_chain"
    );
    // Another maker's authority has the same name and another key.
    let foreign = text(&other.issuer());
    let foreign = tool(&["inspect", "ek", "--device", &address, "--ca", &foreign]);
    let shown = negative(&foreign);
    assert!(shown.contains("refused: bad_cert_signature: "), "{shown}");
    assert!(shown.contains("→ The chain is forged"), "{shown}");
    let without = good(&tool(&["inspect", "ek", "--device", &address]));
    assert!(without.contains("name the anchors with --ca"), "{without}");
}

#[test]
fn a_file_is_inspected_without_any_tpm() {
    let tpm = SoftwareTpm::certified();
    let certificate = text(&tpm.certificate("secp384r1"));
    let (root, issuer) = (text(&tpm.root()), text(&tpm.issuer()));
    let file = |rest: &[&str]| {
        let arguments = [
            "inspect", "ek", "-o", "json", "--device", "/absent", "--cert",
        ];
        tool(&[arguments.as_slice(), rest].concat())
    };
    let report = good_json(&file(&[
        &certificate,
        "--ca",
        &root,
        "--intermediates",
        &issuer,
    ]));
    assert_eq!(
        report["certificates"][0]["ek_hash"],
        hash_by_openssl(Path::new(&certificate))
    );
    assert_eq!(
        report["certificates"][0]["judgement"]["verdict"],
        "accepted"
    );
    // A certificate authority's own certificate is no EK's.
    let report = negative_json(&file(&[&issuer]));
    assert_eq!(report["certificates"][0]["judgement"]["reason"], "ek_is_ca");
    let absent = file(&["/absent"]);
    assert_eq!(absent.status.code(), Some(3));
    assert_eq!(error(&absent)["reason"], "file_unreadable");
    let absent = file(&[&certificate, "--ca", "/absent"]);
    assert_eq!(absent.status.code(), Some(3));
    assert_eq!(error(&absent)["reason"], "anchors_unreadable");
}

#[test]
fn a_machine_without_certificate_is_told_so() {
    let tpm = SoftwareTpm::set_up(&["--pcr-banks", "sha256"]);
    let certified = SoftwareTpm::certified();
    let address = tpm.address();
    let report = good_json(&tool(&[
        "inspect", "ek", "-o", "json", "--device", &address,
    ]));
    assert_eq!(report["certificates"], Value::Array(Vec::new()));
    assert_eq!(report["presented"]["key"], "rsa-2048");
    let ca = text(&certified.root());
    negative(&tool(&["inspect", "ek", "--device", &address, "--ca", &ca]));
    // Another machine's certificate does not help: the TPM has not its key.
    let foreign = text(&certified.certificate("rsa2048"));
    let arguments = [
        "inspect",
        "ek",
        "-o",
        "json",
        "--device",
        &address,
        "--ek-cert",
        &foreign,
    ];
    let report = negative_json(&tool(&arguments));
    assert_eq!(report["failure"]["reason"], "ek_cert_other_key");
    let diagnosis = good_json(&tool(&["doctor", "-o", "json", "--device", &address]));
    assert_eq!(level(&diagnosis, "ek-certificate"), "warning");
    assert_eq!(level(&diagnosis, "attestation"), "ok");
}

#[test]
fn the_doctor_attests_and_finds_what_is_wrong() {
    let tpm = SoftwareTpm::certified();
    let address = tpm.address();
    let (root, issuer) = (text(&tpm.root()), text(&tpm.issuer()));
    let trust = ["--ca", &root, "--intermediates", &issuer];
    let arguments = ["doctor", "-o", "json", "--device", &address];
    let before = [TRANSIENT, PERSISTENT].map(|first| tpm.handles(first));
    let healthy = good_json(&tool(&[arguments.as_slice(), &trust].concat()));
    for check in [
        "socket-directory",
        "clock",
        "device",
        "tpm",
        "lockout",
        "hierarchy",
        "pcr-banks",
        "transient-objects",
        "storage-root",
        "svid-key-types",
        "svid-key",
        "certification",
    ] {
        assert_eq!(level(&healthy, check), "ok", "{healthy}");
    }
    assert_eq!(level(&healthy, "measured-boot"), "warning");
    let accepted = finding(&healthy, "attestation");
    assert!(
        accepted["summary"].as_str().unwrap().contains("accepts"),
        "{accepted}"
    );
    for finding in healthy["findings"].as_array().unwrap() {
        assert_eq!(
            finding["level"] == "ok",
            finding["remedy"].is_null(),
            "{finding}"
        );
    }
    let untrusted = negative_json(&tool(&[arguments.as_slice(), &["--ca", &root]].concat()));
    let refused = finding(&untrusted, "attestation");
    assert_eq!(refused["level"], "problem");
    assert!(
        refused["summary"]
            .as_str()
            .unwrap()
            .contains("untrusted_chain"),
        "{refused}"
    );
    let after = [TRANSIENT, PERSISTENT].map(|first| tpm.handles(first));
    assert_eq!(after, before, "nothing stays in the TPM");
    for _ in 0..4 {
        let again = tool(&[arguments.as_slice(), &trust].concat());
        assert_eq!(level(&good_json(&again), "attestation"), "ok");
    }
}

/// The first handles of their kinds (TPM library part 2, section 7.2).
const TRANSIENT: u32 = 0x8000_0000;
const PERSISTENT: u32 = 0x8100_0000;

#[test]
fn a_password_on_the_hierarchy_is_named_and_can_be_given() {
    let tpm = SoftwareTpm::certified();
    tpm.set_endorsement_password(b"secret");
    let address = tpm.address();
    let arguments = ["doctor", "-o", "json", "--device", &address];
    let diagnosis = negative_json(&tool(&arguments));
    assert_eq!(level(&diagnosis, "hierarchy"), "problem");
    assert_eq!(level(&diagnosis, "attestation"), "problem");
    let refused = tool(&["fingerprint", "-o", "json", "--device", &address]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        error(&refused)["hint"]
            .as_str()
            .unwrap()
            .contains("endorsement")
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "secret\n").unwrap();
    let path = text(file.path());
    let given = [arguments.as_slice(), &["--endorsement-auth-file", &path]].concat();
    let diagnosis = good_json(&tool(&given));
    assert_eq!(level(&diagnosis, "hierarchy"), "ok");
    assert_eq!(level(&diagnosis, "attestation"), "ok");
}

#[test]
fn svid_keys_need_the_owner_s_password_and_attestation_does_not() {
    let tpm = SoftwareTpm::certified();
    tpm.set_owner_password(b"secret");
    let address = tpm.address();
    let arguments = ["doctor", "-o", "json", "--device", &address];
    let diagnosis = good_json(&tool(&arguments));
    let key = finding(&diagnosis, "svid-key");
    assert_eq!(key["level"], "warning");
    assert!(key["remedy"].as_str().unwrap().contains("owner"), "{key}");
    assert_eq!(level(&diagnosis, "attestation"), "ok");
    let findings = diagnosis["findings"].as_array().unwrap();
    assert!(
        !findings
            .iter()
            .any(|finding| finding["check"] == "certification")
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "secret\n").unwrap();
    let path = text(file.path());
    let given = [arguments.as_slice(), &["--owner-auth-file", &path]].concat();
    let diagnosis = good_json(&tool(&given));
    for check in ["svid-key", "attestation", "certification"] {
        assert_eq!(level(&diagnosis, check), "ok", "{diagnosis}");
    }
}

#[test]
fn the_doctor_misses_the_bank_that_servers_ask_for() {
    let tpm = SoftwareTpm::set_up(&["--create-ek-cert", "--pcr-banks", "sha1"]);
    let address = tpm.address();
    let diagnosis = negative_json(&tool(&["doctor", "-o", "json", "--device", &address]));
    assert_eq!(level(&diagnosis, "pcr-banks"), "problem");
    assert_eq!(level(&diagnosis, "attestation"), "problem");
}

#[test]
fn the_doctor_explains_a_missing_device() {
    let diagnosis = negative_json(&tool(&["doctor", "-o", "json", "--device", "/dev/absent"]));
    let device = finding(&diagnosis, "device");
    assert_eq!(device["level"], "problem");
    assert!(
        device["remedy"].as_str().unwrap().contains("driver"),
        "{device}"
    );
    let shown = negative(&tool(&["doctor", "--device", "unix:/absent"]));
    assert!(shown.starts_with("LEVEL "), "{shown}");
    assert!(shown.contains("\nproblem  device "), "{shown}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let diagnosis = tool(&["doctor", "-o", "json", "--device", &text(file.path())]);
    assert_eq!(level(&negative_json(&diagnosis), "device"), "problem");
    assert_eq!(fs::read(file.path()).unwrap(), b"");
}

#[test]
fn exit_codes_tell_who_must_act() {
    for (arguments, code) in [
        (&["reasons"][..], 0),
        (&["reasons", "untrusted_chain"], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
        (&["reasons", "nonsense"], 2),
        (&["fingerprint", "--device", "tpm0"], 2),
        (&["fingerprint", "--device", "/dev/absent"], 3),
        (
            &[
                "fingerprint",
                "--device",
                "/dev/null",
                "--owner-auth-file",
                "/absent",
            ],
            3,
        ),
        (&["man", "--dir", "/absent"], 3),
    ] {
        let output = tool(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{arguments:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{arguments:?}");
    }
}

/// What openssl makes of a certificate in DER, or in PEM.
fn hash_by_openssl(certificate: &Path) -> String {
    let is_pem = fs::read(certificate).unwrap().starts_with(b"-----");
    let form = if is_pem { "PEM" } else { "DER" };
    let mut command = Command::new("openssl");
    command
        .args(["x509", "-noout", "-pubkey", "-inform", form, "-in"])
        .arg(certificate);
    let pem = String::from_utf8(succeed(&mut command)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    hash_of_pem(&directory.path().join("key.pem"), &pem)
}

fn hash_of_pem(file: &Path, pem: &str) -> String {
    fs::write(file, pem).unwrap();
    let der = file.with_extension("der");
    let mut convert = Command::new("openssl");
    convert
        .args(["pkey", "-pubin", "-outform", "DER", "-in"])
        .arg(file)
        .arg("-out")
        .arg(&der);
    succeed(&mut convert);
    let digest = succeed(Command::new("sha256sum").arg(&der));
    String::from_utf8(digest)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn good(output: &Output) -> String {
    ended(output, 0)
}

fn negative(output: &Output) -> String {
    ended(output, 1)
}

fn ended(output: &Output, code: i32) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!((output.status.code(), &*err), (Some(code), ""), "{out}");
    out.into_owned()
}

fn good_json(output: &Output) -> Value {
    serde_json::from_str(&good(output)).unwrap()
}

fn negative_json(output: &Output) -> Value {
    serde_json::from_str(&negative(output)).unwrap()
}

fn error(output: &Output) -> Value {
    assert_eq!(output.stdout, b"");
    serde_json::from_slice(&output.stderr).unwrap()
}

fn finding<'a>(diagnosis: &'a Value, check: &str) -> &'a Value {
    let findings = diagnosis["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {diagnosis}"))
}

fn level<'a>(diagnosis: &'a Value, check: &str) -> &'a str {
    finding(diagnosis, check)["level"].as_str().unwrap()
}
