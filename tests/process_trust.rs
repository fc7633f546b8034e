//! Whom a server trusts beyond an anchor: revocation lists, the deny list, vendors, waivers and the pinned bundle.

use std::fs;
use std::path::PathBuf;

use conformance::{Entry, Loaded, Side};
use evidence::{Hash, encode_pem};
use plugin::Code;
use softtpm::{Lies, Prover};
use tempfile::{NamedTempFile, TempDir};
use tests::{Secrets, Tool, binary};
use verify::Reason;

use crate::process_certificates::{Authority, Described, ORDINARY};
use crate::process_grants::{certified, machine};
use crate::process_plugin::{Records, TRUST_DOMAIN, attest, configure, configured, load, unload};
use crate::process_refusal_cases::lying;

pub(crate) const INFINEON: Described = Described {
    manufacturer: "id:49465800",
    model: "SLB9672",
};

/// A server's files: CAs, hashes, revocation lists and a deny list.
pub(crate) struct Trust {
    pub(crate) records: Records,
}

impl Trust {
    pub(crate) fn new() -> Self {
        let trust = Self {
            records: Records::new(),
        };
        fs::create_dir(trust.crls()).unwrap();
        trust
    }

    pub(crate) fn crls(&self) -> PathBuf {
        self.records.cas().with_file_name("crls")
    }

    pub(crate) fn denied(&self) -> PathBuf {
        self.records.cas().with_file_name("denied")
    }

    /// The configuration lines for revocation lists and the deny list.
    pub(crate) fn lines(&self, more: &str) -> String {
        let (crls, denied) = (self.crls(), self.denied());
        let mut lines = vec![format!("crl_path = \"{}\"", crls.display())];
        if denied.exists() {
            lines.push(format!("ek_deny_path = \"{}\"", denied.display()));
        }
        lines.push(more.to_owned());
        lines.join(
            "
",
        )
    }
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Hash::Sha256.digest(&[bytes]))
}

/// A machine whose certificate comes with that of an authority between it and the anchor.
pub(crate) fn machine_below(intermediate: &Authority) -> Prover {
    let mut prover = certified(machine(), intermediate);
    prover.intermediates = vec![intermediate.certificate.clone()];
    prover
}

pub(crate) fn certificate(prover: &Prover) -> &[u8] {
    prover.certificate.as_deref().unwrap()
}

/// The server refuses the machine for this reason and tells it no more.
pub(crate) async fn refused(server: &Loaded, prover: &mut Prover, reason: Reason, case: &str) {
    let status = attest(server, prover).await.unwrap_err();
    assert_eq!(status.message(), reason.to_string(), "{case}");
}

pub(crate) fn warnings<'a>(log: &'a [Entry], part: &str) -> Vec<&'a Entry> {
    log.iter()
        .filter(|entry| entry.level == "warn" && entry.message.contains(part))
        .collect()
}

#[tokio::test]
async fn what_a_list_revokes_is_refused_and_its_neighbours_are_not() {
    let root = Authority::new("Root");
    let (good, bad) = (root.below("Good"), root.below("Bad"));
    let mut revoked = machine_below(&good);
    let (mut neighbour, mut below_revoked) = (machine_below(&good), machine_below(&bad));
    let trust = Trust::new();
    trust.records.trust(&root.certificate);
    let intermediates = trust.records.cas().with_file_name("intermediates");
    fs::create_dir(&intermediates).unwrap();
    fs::write(intermediates.join("good.der"), &good.certificate).unwrap();
    let more = format!("intermediates_path = \"{}\"", intermediates.display());
    let text = trust.records.anchors(&trust.lines(&more));
    let server = configured(Side::Server, &text).await;
    for prover in [&mut revoked, &mut neighbour, &mut below_revoked] {
        attest(&server, prover).await.unwrap();
    }
    // A list may also be of an intermediate, and in PEM.
    let list = good.revoke(&[certificate(&revoked)], 1);
    fs::write(trust.crls().join("good.pem"), encode_pem("X509 CRL", &list)).unwrap();
    let list = root.revoke(&[&bad.certificate], 1);
    fs::write(trust.crls().join("root.crl"), list).unwrap();
    configure(&server, &text).await;
    refused(&server, &mut revoked, Reason::EkRevoked, "tpm/B24").await;
    refused(&server, &mut below_revoked, Reason::CaRevoked, "tpm/B25").await;
    attest(&server, &mut neighbour).await.unwrap();
    unload(server).await;
}

#[tokio::test]
async fn a_required_list_must_be_there_and_in_date() {
    let maker = Authority::new("Maker");
    let mut prover = certified(machine(), &maker);
    let trust = Trust::new();
    trust.records.trust(&maker.certificate);
    let uses = trust.records.anchors(&trust.lines(""));
    let requires = trust
        .records
        .anchors(&trust.lines("crl_policy = \"require\""));
    let server = configured(Side::Server, &requires).await;
    refused(&server, &mut prover, Reason::CrlMissing, "no list").await;
    let list = trust.crls().join("maker.crl");
    fs::write(&list, maker.revoke(&[], -1)).unwrap();
    configure(&server, &requires).await;
    refused(&server, &mut prover, Reason::CrlStale, "tpm/B27").await;
    configure(&server, &uses).await;
    attest(&server, &mut prover).await.unwrap();
    // Out of date, it still revokes.
    fs::write(&list, maker.revoke(&[certificate(&prover)], -1)).unwrap();
    configure(&server, &uses).await;
    refused(&server, &mut prover, Reason::EkRevoked, "an old list").await;
    fs::write(&list, maker.revoke(&[], 1)).unwrap();
    configure(&server, &requires).await;
    attest(&server, &mut prover).await.unwrap();
    let log = unload(server).await;
    // At each of the three times that one came into force.
    let overdue = warnings(&log, "a revocation list is out of date");
    assert_eq!(overdue.len(), 3, "{overdue:?}");
    assert_eq!(overdue[0].fields["issuer"], "CN=Maker");
    assert_eq!(warnings(&log, "holds no list of these CAs yet").len(), 1);
}

#[tokio::test]
async fn lists_that_cannot_be_relied_on_fail_the_configuration() {
    let (maker, forger) = (Authority::new("Maker"), Authority::new("Maker"));
    let trust = Trust::new();
    trust.records.trust(&maker.certificate);
    let text = trust.records.anchors(&trust.lines(""));
    let server = load(Side::Server).await;
    let good = maker.revoke(&[], 1);
    for (name, list) in [
        ("forged", forger.revoke(&[], 1)),
        ("half", good[..good.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("page", b"<html>not found</html>".to_vec()),
    ] {
        let path = trust.crls().join(name);
        fs::write(&path, list).unwrap();
        let status = server
            .configure(Some(TRUST_DOMAIN), &text)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "tpm/B26: {name}");
        let expected = format!("2:12: unable to load crl_path: {name}: crl_invalid: ");
        let message = status.message();
        assert!(message.starts_with(&expected), "tpm/B26: {message}");
        fs::remove_file(&path).unwrap();
    }
    let stranger = Authority::new("Stranger");
    fs::write(trust.crls().join("other"), stranger.revoke(&[], 1)).unwrap();
    configure(&server, &text).await;
    let log = unload(server).await;
    assert_eq!(warnings(&log, "not used: \"other\"").len(), 1);
}

/// The entry that denies by issuer and serial number, as the tool shows it.
fn deny_entry(certificate: &[u8]) -> String {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), certificate).unwrap();
    let tool = binary("tpm-attestor").display().to_string();
    let path = file.path().display().to_string();
    let said = Tool::run(tool, &["inspect", "ek", "-o", "json", "--cert", &path], &[]);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let entry = report["certificates"][0]["deny_entry"].as_str();
    entry.unwrap().to_owned()
}

#[tokio::test]
async fn denied_machines_are_refused_whatever_vouches_for_them() {
    let maker = Authority::new("Maker");
    let mut provers = [0; 4].map(|_| certified(machine(), &maker));
    let trust = Trust::new();
    trust.records.trust(&maker.certificate);
    for prover in &provers {
        trust.records.enrol(prover.tpm.ek_hash());
    }
    let entries = [
        format!("ek:{}", provers[0].tpm.ek_hash().hex()),
        format!("cert:{}", sha256(certificate(&provers[1]))),
        deny_entry(certificate(&provers[2])),
    ];
    fs::write(
        trust.denied(),
        format!("# recalled\n{}\n", entries.join("\n")),
    )
    .unwrap();
    let text = trust.records.both(&trust.lines(""));
    let server = configured(Side::Server, &text).await;
    for (index, prover) in provers.iter_mut().enumerate() {
        if index < entries.len() {
            refused(&server, prover, Reason::EkDenied, "tpm/B29").await;
        } else {
            attest(&server, prover).await.unwrap();
        }
    }
    // Who does not prove that it is that machine does not learn what is said about it.
    let [denied, ..] = provers;
    let mut liar = lying(denied, Lies::none().guess(&[1; 32]));
    refused(&server, &mut liar, Reason::ProofMismatch, "tpm/B29").await;
    unload(server).await;
}

#[tokio::test]
async fn vendors_are_those_that_the_operator_and_the_anchor_admit() {
    let maker = Authority::new("Maker");
    let other = Authority::new("Other");
    let mut st = certified(machine(), &maker);
    let mut infineon = machine();
    let spki = infineon.tpm.ek_key().spki();
    infineon.certificate = Some(maker.certify(&spki, &INFINEON));
    let trust = Trust::new();
    let records = &trust.records;
    records.trust(&other.certificate);
    let bundle = |comment: &str| {
        let text = comment.to_owned() + &encode_pem("CERTIFICATE", &maker.certificate);
        fs::write(records.cas().join("bundle.pem"), text).unwrap();
    };
    let block = |line: &str| format!("anchor \"{}\" {{ {line} }}", sha256(&maker.certificate));
    let server = load(Side::Server).await;
    let (denied, mismatch) = (
        Some(Reason::VendorDenied),
        Some(Reason::VendorAnchorMismatch),
    );
    let unknown = Some(Reason::UntrustedChain);
    for (comment, line, of_st, of_infineon, case) in [
        ("", String::new(), None, None, "no rule"),
        ("", "vendors = [\"IFX\"]".into(), denied, None, "tpm/B20"),
        (
            "",
            block("vendors = [\"IFX\"]"),
            mismatch,
            None,
            "tpm/B19 by the configuration",
        ),
        (
            "# Owner: STM\n",
            String::new(),
            None,
            mismatch,
            "tpm/B19 by the bundle",
        ),
        (
            "# Owner: STM\n",
            block("vendors = [\"IFX\"]"),
            mismatch,
            None,
            "the block counts",
        ),
        (
            "# Owner: STM\n",
            block("waive = [\"sha1\"]"),
            None,
            mismatch,
            "the bundle still counts",
        ),
        (
            "# Owner: Nobody\n",
            String::new(),
            unknown,
            unknown,
            "a malformed owner",
        ),
    ] {
        bundle(comment);
        configure(&server, &records.anchors(&line)).await;
        for (prover, reason) in [(&mut st, of_st), (&mut infineon, of_infineon)] {
            match reason {
                Some(reason) => refused(&server, prover, reason, case).await,
                None => drop(attest(&server, prover).await.expect(case)),
            }
        }
    }
    let log = unload(server).await;
    let skipped = warnings(
        &log,
        "skipped \"bundle.pem\": a certificate whose Owner line is malformed",
    );
    assert_eq!(skipped.len(), 1);
}

#[tokio::test]
async fn a_waiver_holds_for_its_anchor_alone() {
    let (maker, other) = (Authority::new("Maker"), Authority::new("Other"));
    let without_purpose = |by: &Authority| {
        let mut prover = machine();
        let spki = prover.tpm.ek_key().spki();
        let certificate = by.certify_with(&spki, &ORDINARY, |parameters| {
            parameters.extended_key_usages.clear();
        });
        prover.certificate = Some(certificate);
        prover
    };
    let (mut odd, mut odd_elsewhere) = (without_purpose(&maker), without_purpose(&other));
    let trust = Trust::new();
    trust.records.trust(&maker.certificate);
    trust.records.trust(&other.certificate);
    let server = configured(Side::Server, &trust.records.anchors("")).await;
    refused(&server, &mut odd, Reason::EkEku, "nothing is waived").await;
    let waiver = format!(
        "anchor \"{}\" {{ waive = [\"extended_key_usage\"] }}",
        sha256(&maker.certificate).to_uppercase()
    );
    configure(&server, &trust.records.anchors(&waiver)).await;
    attest(&server, &mut odd).await.unwrap();
    refused(&server, &mut odd_elsewhere, Reason::EkEku, "another anchor").await;
    let absent = format!("anchor \"{}\" {{}}", "0".repeat(64));
    configure(&server, &trust.records.anchors(&absent)).await;
    let log = unload(server).await;
    assert_eq!(
        warnings(&log, "there is no such certificate in ca_path").len(),
        1
    );
}

#[tokio::test]
async fn a_bundle_is_the_pinned_one_or_none() {
    let maker = Authority::new("Maker");
    let trust = Trust::new();
    let bundle = trust.records.cas().join("bundle.pem");
    let text = encode_pem("CERTIFICATE", &maker.certificate);
    fs::write(&bundle, &text).unwrap();
    let pinned = |path: &std::path::Path, digest: &str| {
        let path = path.display();
        format!("ca_path = \"{path}\"\nca_bundle_sha256 = \"{digest}\"")
    };
    let digest = sha256(text.as_bytes());
    let server = configured(Side::Server, &pinned(&bundle, &digest)).await;
    let mut prover = certified(machine(), &maker);
    attest(&server, &mut prover).await.unwrap();
    let (cas, other) = (trust.records.cas(), sha256(b""));
    for (path, pin) in [(&bundle, &other), (&cas, &digest)] {
        let refused = server
            .configure(Some(TRUST_DOMAIN), &pinned(path, pin))
            .await;
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "tpm/J05");
        let message = status.message();
        assert!(
            message.starts_with("2:20: unable to load ca_bundle_sha256: "),
            "tpm/J05: {message}"
        );
    }
    attest(&server, &mut prover).await.unwrap();
    unload(server).await;
}

/// What the tool prints is a configuration, of files that it wrote.
#[tokio::test]
async fn what_is_imported_can_be_pasted() {
    let (root, other) = (Authority::new("Root"), Authority::new("Other"));
    let issuer = root.below("Issuer");
    let mut prover = certified(machine(), &issuer);
    let mut foreign = certified(machine(), &other);
    let directory = TempDir::new().unwrap();
    let file = |name: &str, owned: &[(&str, &Authority)]| {
        let pem = |by: &Authority| encode_pem("CERTIFICATE", &by.certificate);
        let blocks = owned.iter();
        let blocks = blocks.map(|(owner, by)| format!("# Owner: {owner}\n{}", pem(by)));
        let path = directory.path().join(name);
        fs::write(&path, blocks.collect::<String>()).unwrap();
        path.display().to_string()
    };
    let roots = file("roots.pem", &[("STM", &root), ("IFX", &other)]);
    let issuers = file("issuers.pem", &[("STM", &issuer)]);
    let out = directory.path().join("made \"here\"").display().to_string();
    let arguments = [
        "ca",
        "import",
        &roots,
        "--intermediates",
        &issuers,
        "--out",
        &out,
    ];
    let tool = binary("tpm-attestor").display().to_string();
    let said = Tool::run(
        tool,
        &[&arguments[..], &["-o", "json", "--vendors", "STM,IFX"]].concat(),
        &[],
    );
    assert!(said.success, "{}", said.stderr);
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let configuration = report["configuration"].as_str().unwrap();
    let server = configured(Side::Server, configuration).await;
    attest(&server, &mut prover).await.unwrap();
    refused(
        &server,
        &mut foreign,
        Reason::VendorAnchorMismatch,
        "tpm/B19",
    )
    .await;
    unload(server).await;
}

#[tokio::test]
async fn a_private_key_among_cas_is_ignored_and_never_shown() {
    let maker = Authority::new("Maker");
    let trust = Trust::new();
    let key = maker.key();
    let body: Vec<_> = key.lines().filter(|line| !line.contains("-----")).collect();
    for line in &body {
        Secrets::known().learn("a CA's private key", line.as_bytes());
    }
    let certificate = encode_pem("CERTIFICATE", &maker.certificate);
    fs::write(
        trust.records.cas().join("pair.pem"),
        key.clone() + &certificate,
    )
    .unwrap();
    let server = configured(Side::Server, &trust.records.anchors("")).await;
    let mut prover = certified(machine(), &maker);
    attest(&server, &mut prover).await.unwrap();
    let log = unload(server).await;
    let told = warnings(
        &log,
        "skipped \"pair.pem\": a private key, which does not belong here",
    );
    assert_eq!(told.len(), 1, "tpm/B56");
    let shown = format!("{log:?}");
    assert!(body.iter().all(|line| !shown.contains(line)), "tpm/B56");
}

#[tokio::test]
async fn names_that_are_no_hash_enrol_nobody_and_are_told() {
    let trust = Trust::new();
    let mut prover = machine();
    let hash = prover.tpm.ek_hash().hex();
    let names = [
        hash.to_uppercase(),
        hash.get(..63).unwrap().to_owned(),
        format!("{hash} "),
    ];
    for name in &names {
        fs::write(trust.records.hashes().join(name), "").unwrap();
    }
    let server = configured(Side::Server, &trust.records.enrolment("")).await;
    refused(&server, &mut prover, Reason::EkNotAllowed, "tpm/B58").await;
    let log = unload(server).await;
    assert_eq!(
        warnings(&log, "is no EK's hash").len(),
        names.len(),
        "tpm/B58"
    );
}
