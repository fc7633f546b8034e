//! What a whole text makes of whom to trust: defaults, every key, and every slip.

use std::fs;
use std::path::{Path, PathBuf};

use evidence::Hash;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;
use verify::{CrlPolicy, EkKind, EkTrust, LegacyAgents};

use crate::{Configuration, SCHEMA};

fn read(text: &str, defaults: [&Path; 2]) -> Result<Configuration, Vec<String>> {
    let (values, mut problems) = SCHEMA.read(text);
    let read = Configuration::read(&values, "example.org", defaults, &mut problems);
    if problems.is_empty() {
        return Ok(read);
    }
    problems.sort();
    Err(problems.iter().map(ToString::to_string).collect())
}

/// Replaces `CA` and `HASH` by directories that exist.
fn build(text: &str) -> Result<Configuration, Vec<String>> {
    let dir = TempDir::new().unwrap();
    for name in ["ca", "hash"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let path = |name: &str| format!("\"{}\"", dir.path().join(name).display());
    let text = text
        .replace("CA", &path("ca"))
        .replace("HASH", &path("hash"));
    let defaults = [dir.path().join("no-ca"), dir.path().join("no-hash")];
    read(&text, defaults.each_ref().map(PathBuf::as_path))
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let read = build("ca_path = CA").unwrap();
    assert_eq!(read.policy.trust_domain, "example.org");
    assert_eq!(read.policy.ek_trust, EkTrust::Certificate);
    assert_eq!(read.policy.ek_kinds, EkKind::ALL);
    assert_eq!(read.policy.legacy_agents, LegacyAgents::Allow);
    assert_eq!(read.policy.pcrs, [(Hash::Sha256, (0..8).collect())]);
    assert!(!read.policy.accept_expired_ek);
    assert_eq!(read.policy.vendors, None);
    assert_eq!(read.policy.crl_policy, CrlPolicy::Use);
    assert!(read.anchors.is_some() && read.hashes.is_none() && read.denials.is_none());
}

#[test]
fn every_key_takes_effect() {
    let read = build(
        "\"hash_path\" = HASH\n\n\"ek_profiles\" = [\"p-256\"]\n\"legacy_agents\" = \"deny\"\n\
         \"pcrs\" = [7, 0, 7]\n\"pcr_bank\" = \"sha384\"\n\"accept_expired_ek\" = true",
    )
    .unwrap();
    assert_eq!(read.policy.ek_kinds, [EkKind::P256]);
    assert_eq!(read.policy.legacy_agents, LegacyAgents::Deny);
    assert_eq!(read.policy.pcrs, [(Hash::Sha384, vec![0, 7])]);
    assert!(read.policy.accept_expired_ek);
    assert!(read.anchors.is_none() && read.hashes.is_some());
}

#[test]
fn every_problem_has_its_place_and_its_words() {
    for (text, expect) in [
        (
            "",
            "1:1: ca_path or hash_path is required: without either no machine can be trusted",
        ),
        ("ca_path = \"\"", "1:11: ca_path is empty"),
        ("hash_path = \"\"", "1:13: hash_path is empty"),
        (
            "ca_path = CA\nintermediates_path = \"\"",
            "2:22: intermediates_path is empty",
        ),
        (
            "hash_path = HASH\nek_trust = \"both\"",
            "2:12: ek_trust = \"both\" needs ca_path and hash_path",
        ),
        (
            "hash_path = HASH\nintermediates_path = CA",
            "2:22: intermediates_path needs ca_path",
        ),
        (
            "hash_path = HASH\nek_profiles = []",
            "2:15: ek_profiles must not be empty",
        ),
        ("hash_path = HASH\npcrs = []", "2:8: pcrs must not be empty"),
        (
            "hash_path = HASH\nprofile \"p\" { ek_cert = true }",
            "2:25: ek_cert needs ca_path",
        ),
        (
            "ca_path = CA\npcr_selectors = [16]",
            "2:18: pcr_selectors must not have 16: software can reset it at any time",
        ),
    ] {
        let problems = build(text).unwrap_err();
        assert!(
            problems.contains(&expect.to_owned()),
            "{text}: {problems:?}"
        );
    }
    for (text, place, part) in [
        (
            "ca_pth = CA\nhash_path = HASH",
            "1:1: ",
            "did you mean \"ca_path\"",
        ),
        (
            "ca_path = \"/does/not/exist\"",
            "1:11: ",
            "unable to load ca_path",
        ),
        (
            "ca_path = CA\nintermediates_path = \"/does/not/exist\"",
            "2:22: ",
            "unable to load intermediates_path",
        ),
        (
            "hash_path = \"/does/not/exist\"",
            "1:13: ",
            "unable to read hash_path",
        ),
        ("hash_path = HASH\npcrs = [24]", "2:9: ", "24"),
        ("hash_path = HASH\npcr_bank = \"sha1\"", "2:12: ", "sha256"),
        (
            "hash_path = HASH\nek_profiles = [\"rsa\\n\"]",
            "2:16: ",
            "unknown EK profile \"rsa\\n\"",
        ),
        ("hash_path = HASH\ntpm_path = \"/x\"", "2:1: ", "`device`"),
        ("hash_path = HASH\naws = {}", "2:1: ", "hash_path"),
    ] {
        let problems = build(text).unwrap_err();
        let found = problems
            .iter()
            .any(|problem| problem.starts_with(place) && problem.contains(part));
        assert!(found, "{text}: {problems:?}");
    }
}

#[test]
fn what_is_odd_about_the_directories_is_told() {
    let dir = TempDir::new().unwrap();
    let (ca, hash) = (dir.path().join("ca"), dir.path().join("hash"));
    for path in [&ca, &hash] {
        fs::create_dir(path).unwrap();
    }
    fs::write(ca.join("README"), "no certificate").unwrap();
    fs::write(hash.join("notes"), "").unwrap();
    let text = format!("crl_path = \"{}\"", dir.path().join("crls").display());
    fs::create_dir(dir.path().join("crls")).unwrap();
    let skipped = "skipped \"README\": neither PEM nor DER".to_owned();
    let nothing = format!("{} holds no certificate yet", ca.display());
    let no_lists = "crl_path holds no list of these CAs yet".to_owned();
    let odd = "hash_path: \"notes\" is no EK's hash".to_owned();
    let warnings = |text: &str| read(text, [&ca, &hash]).unwrap().warnings;
    assert_eq!(warnings(""), [&skipped, &nothing, &odd].map(Clone::clone));
    assert_eq!(warnings(&text), [skipped, nothing, no_lists, odd]);
    let (certificate, list) = authority();
    fs::write(ca.join("README"), certificate).unwrap();
    fs::write(dir.path().join("crls/list"), list).unwrap();
    fs::remove_file(hash.join("notes")).unwrap();
    assert_eq!(warnings(&text), [""; 0]);
}

/// A CA's certificate, and its list of nothing.
fn authority() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2090, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&Issuer::from_params(&params, &key)).unwrap();
    (certificate.pem(), list.pem().unwrap())
}

#[test]
fn default_directories_count_each_by_itself() {
    let dir = TempDir::new().unwrap();
    let (there, absent) = (dir.path(), dir.path().join("absent"));
    for (text, defaults, expect) in [
        ("", [there, there], Some(EkTrust::Either)),
        ("", [there, &absent], Some(EkTrust::Certificate)),
        ("", [&absent, there], Some(EkTrust::Enrolment)),
        ("", [&absent, &absent], None),
        ("ca_path = \"/\"", [&absent, there], Some(EkTrust::Either)),
    ] {
        let text = text.replace('/', &there.display().to_string());
        let built = read(&text, defaults);
        assert_eq!(
            built.ok().map(|read| read.policy.ek_trust),
            expect,
            "{text}"
        );
    }
}

#[test]
fn trust_follows_from_what_is_configured() {
    for (text, expect) in [
        ("ca_path = CA", EkTrust::Certificate),
        ("hash_path = HASH", EkTrust::Enrolment),
        ("ca_path = CA\nhash_path = HASH", EkTrust::Either),
        (
            "ca_path = CA\nhash_path = HASH\nek_trust = \"both\"",
            EkTrust::Both,
        ),
    ] {
        assert_eq!(build(text).unwrap().policy.ek_trust, expect, "{text}");
    }
}

#[test]
fn what_is_said_at_length_is_what_is_meant_in_brief() {
    let read = build(
        "ca_path = CA\nhash_path = HASH\nek_trust = \"either\"\naccept_expired_ek = false\n\
         legacy_agents = \"allow\"",
    )
    .unwrap();
    assert_eq!(read.policy.ek_trust, EkTrust::Either);
    assert!(!read.policy.accept_expired_ek);
    assert_eq!(read.policy.vendors, None);
    assert_eq!(read.policy.crl_policy, CrlPolicy::Use);
    assert_eq!(read.policy.legacy_agents, LegacyAgents::Allow);
}

#[test]
fn nothing_is_said_of_missing_directories_beside_another_problem() {
    let problems = build("ca_pth = CA").unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
}
