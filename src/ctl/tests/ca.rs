//! `ca import` and `ca show` over collections in the form in which they are published.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use evidence::Hash;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use store::{AnchorStore, Collection, Sources};
use tempfile::TempDir;

use crate::software_tpm::tool;
use crate::{error, good, good_json, negative, negative_json, text};

fn ca(name: &str, year: i32, usage: KeyUsagePurpose) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![usage];
    params.not_after = date_time_ymd(year, 1, 1);
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

fn usable(name: &str, year: i32) -> String {
    ca(name, year, KeyUsagePurpose::KeyCertSign)
}

/// A certificate as collections have it.
fn published(name: &str, owner: &str, pem: &str) -> String {
    format!("#\n# Certificate: {name}\n# Owner: {owner}\n#\n# Issuer: CN={name}\n{pem}\n")
}

/// The parts of a collection: three of use, one expired, one that may sign nothing, one with a slip.
fn collection() -> Vec<String> {
    let mute = ca("Mute", 2090, KeyUsagePurpose::DigitalSignature);
    vec![
        published("B", "STM", &usable("B", 2090)),
        published("A", "STM", &usable("A\u{1b}[31m", 2080)),
        published("C", "IFX", &usable("C", 2085)),
        published("D", "IFX", &usable("D", 2020)),
        published("E", "IFX", &mute),
        published("F", "INFX", &usable("F", 2090)),
        KeyPair::generate().unwrap().serialize_pem(),
    ]
}

const HEADER: &str = "##\n## collection.pem\n##\n## Date: 2026-11-24\n##\n\n";

fn written(directory: &TempDir, name: &str, parts: &[String]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, HEADER.to_owned() + &parts.concat()).unwrap();
    path
}

fn sha256(path: &Path) -> String {
    hex::encode(Hash::Sha256.digest(&[&fs::read(path).unwrap()]))
}

#[test]
fn a_collection_becomes_a_bundle_that_a_server_takes() {
    let directory = TempDir::new().unwrap();
    let parts = collection();
    let path = written(&directory, "collection.pem", &parts);
    let lower = [published("G", "STM", &usable("G", 2070))];
    let lower = text(&written(&directory, "lower.pem", &lower));
    let out = directory.path().join("made/of/it");
    let arguments = [
        "ca",
        "import",
        &text(&path),
        "--out",
        &text(&out),
        "--intermediates",
    ];
    let json = [&arguments[..], &[lower.as_str(), "-o", "json"]].concat();
    let report = good_json(&tool(&json));
    let bundle = out.join("ca-bundle.pem");
    let canonical = fs::canonicalize(&bundle).unwrap();
    assert_eq!(report["ca_path"], text(&canonical));
    assert_eq!(report["sha256"], sha256(&bundle));
    let vendors = report["vendors"].as_array().unwrap();
    let summary: Vec<_> = vendors
        .iter()
        .map(|one| {
            let number = |key: &str| one[key].as_u64().unwrap();
            let name = one["vendor"].as_str().unwrap();
            let first = one["first_expires"].as_str().unwrap();
            assert_eq!(
                one["keys"]["p-256"],
                number("anchors") + number("intermediates")
            );
            (
                name,
                number("anchors"),
                number("intermediates"),
                first.get(..4).unwrap(),
            )
        })
        .collect();
    assert_eq!(summary, [("IFX", 1, 0, "2085"), ("STM", 2, 1, "2070")]);
    let left: Vec<_> = report["left_out"].as_array().unwrap().iter().collect();
    let mut whys: Vec<_> = left
        .iter()
        .map(|one| one["why"].as_str().unwrap())
        .collect();
    whys.sort_unstable();
    assert_eq!(whys, ["ca_expired", "issuer_key_usage"]);
    assert_eq!(report["skipped"].as_array().unwrap().len(), 2, "{report}");

    // As the configuration says it, for the server.
    let configuration = report["configuration"].as_str().unwrap();
    assert!(configuration.contains(&format!("ca_bundle_sha256 = \"{}\"\n", sha256(&bundle))));
    let sources = Sources {
        anchors: bundle.clone(),
        intermediates: Some(out.join("intermediates.pem")),
        digest: hex::decode(sha256(&bundle)).unwrap().try_into().ok(),
        ..Sources::default()
    };
    let (_, loaded) = AnchorStore::open(sources).unwrap();
    assert_eq!((loaded.anchors, loaded.skipped.len()), (3, 0));
    let owners = Collection::read(&bundle).unwrap().certificates;
    let owners = owners
        .iter()
        .map(|(_, found)| found.owner.unwrap().to_string());
    assert_eq!(owners.collect::<Vec<_>>(), ["IFX", "STM", "STM"]);
    let made = fs::read_to_string(&bundle).unwrap();
    assert!(
        made.is_ascii() && made.contains("# Subject: CN=A\\u{1b}[31m\n"),
        "{made}"
    );
    assert!(!made.contains("PRIVATE KEY"));
    for name in ["ca-bundle.pem", "intermediates.pem"] {
        let mode = fs::metadata(out.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
    }
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        2,
        "nothing else is left"
    );
    let table = good(&tool(&[&arguments[..], &[lower.as_str()]].concat()));
    for line in [
        "VENDOR  ANCHORS  INTERMEDIATES  KEYS     FIRST EXPIRES\n",
        "STM     2        1              3 p-256  2070-01-01T00:00:00Z\n",
        "CN=D      IFX     ca_expired\n",
        &format!("sha256         {}\n", sha256(&bundle)),
        "a private key, which does not belong here\n",
        configuration,
    ] {
        assert!(table.contains(line), "no {line:?} in\n{table}");
    }
}

#[test]
fn the_same_certificates_give_the_same_bundle() {
    let directory = TempDir::new().unwrap();
    let mut parts = collection();
    let made = |parts: &[String], name: &str| {
        let path = written(&directory, name, parts);
        let out = directory.path().join("out");
        good(&tool(&["ca", "import", &text(&path), "--out", &text(&out)]));
        fs::read(out.join("ca-bundle.pem")).unwrap()
    };
    let first = made(&parts, "one.pem");
    parts.reverse();
    // A certificate that comes again without its owner stays bound.
    let again = parts[4].split_once("-----BEGIN").unwrap().1;
    parts.insert(0, format!("-----BEGIN{again}"));
    assert_eq!(made(&parts, "another.pem"), first);
    // A bundle is a collection, too.
    let bundle = fs::read_to_string(directory.path().join("out/ca-bundle.pem")).unwrap();
    assert_eq!(made(&[bundle], "again.pem"), first);
}

#[test]
fn only_the_vendors_asked_for_are_imported() {
    let directory = TempDir::new().unwrap();
    let mut parts = collection();
    parts.push(usable("nobody's", 2090));
    let path = written(&directory, "collection.pem", &parts);
    let out = directory.path().join("out");
    let arguments = [
        "ca",
        "import",
        &text(&path),
        "--out",
        &text(&out),
        "-o",
        "json",
        "--vendors",
    ];
    let report = good_json(&tool(&[&arguments[..], &["IFX,INTC"]].concat()));
    let vendors = report["vendors"].as_array().unwrap();
    assert_eq!((vendors.len(), &vendors[0]["vendor"]), (1, &"IFX".into()));
    let others = report["left_out"].as_array().unwrap().iter();
    assert_eq!(others.filter(|one| one["why"] == "other_vendor").count(), 3);
    let configuration = report["configuration"].as_str().unwrap();
    assert!(
        configuration.ends_with("vendors = [\"IFX\", \"INTC\"]\n"),
        "{configuration}"
    );
    let unknown = tool(&[&arguments[..], &["INFX"]].concat());
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(error(&unknown)["reason"], "usage");
}

#[test]
fn another_collection_than_the_one_named_is_not_imported() {
    let directory = TempDir::new().unwrap();
    let path = written(&directory, "collection.pem", &collection());
    let (file, out) = (text(&path), directory.path().join("out"));
    let pinned = |collection: &str, digest: &str| {
        let out = text(&out);
        tool(&[
            "ca", "import", collection, "--out", &out, "--sha256", digest, "-o", "json",
        ])
    };
    let other = pinned(&file, &"ab".repeat(32));
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(error(&other)["reason"], "other_digest");
    let whole = pinned(&text(directory.path()), &sha256(&path));
    assert_eq!(whole.status.code(), Some(2));
    assert_eq!(error(&whole)["reason"], "not_one_file");
    assert!(!out.exists(), "nothing was written");
    good_json(&pinned(&file, &sha256(&path)));
    assert!(out.exists());
}

#[test]
fn what_cannot_be_read_or_written_or_used_is_told_apart() {
    let directory = TempDir::new().unwrap();
    let expired = written(&directory, "expired.pem", &[usable("old", 2020)]);
    let out = directory.path().join("out");
    let import = |from: &Path, to: &Path| {
        tool(&[
            "ca",
            "import",
            &text(from),
            "--out",
            &text(to),
            "-o",
            "json",
        ])
    };
    let report = negative_json(&import(&expired, &out));
    assert_eq!(report["left_out"][0]["why"], "ca_expired");
    assert!(report.get("ca_path").is_none() && !out.exists());
    let absent = import(Path::new("/absent"), &out);
    assert_eq!(absent.status.code(), Some(3));
    assert_eq!(error(&absent)["reason"], "anchors_unreadable");
    let good = written(&directory, "good.pem", &[usable("good", 2090)]);
    let nowhere = import(&good, Path::new("/dev/null/out"));
    assert_eq!(nowhere.status.code(), Some(3));
    assert_eq!(error(&nowhere)["reason"], "output_failed");
}

#[test]
fn a_ca_path_is_shown_as_a_server_sees_it() {
    let directory = TempDir::new().unwrap();
    let path = written(&directory, "collection.pem", &collection());
    let report = good_json(&tool(&["ca", "show", &text(&path), "-o", "json"]));
    assert_eq!(report["sha256"], sha256(&path));
    let certificates = report["certificates"].as_array().unwrap();
    let summary: Vec<_> = certificates
        .iter()
        .map(|one| (one["vendor"].as_str().unwrap(), one["reason"].as_str()))
        .collect();
    assert_eq!(
        summary,
        [
            ("STM", None),
            ("STM", None),
            ("IFX", None),
            ("IFX", Some("ca_expired")),
            ("IFX", Some("issuer_key_usage")),
        ]
    );
    assert_eq!(certificates[0]["file"], "collection.pem");
    fs::write(&path, usable("any", 2090)).unwrap();
    fs::write(directory.path().join("README"), "text").unwrap();
    let table = good(&tool(&["ca", "show", &text(directory.path())]));
    let lines: Vec<_> = table.lines().collect();
    assert!(
        lines[0].starts_with("SHA-256 ") && lines[0].ends_with("SUBJECT"),
        "{table}"
    );
    assert!(
        lines[1].contains("  any     p-256  2090-01-01T00:00:00Z  usable  CN=any"),
        "{table}"
    );
    assert!(
        table.contains("SKIPPED  WHY\nREADME   neither PEM nor DER\n"),
        "{table}"
    );
    let empty = TempDir::new().unwrap();
    negative(&tool(&["ca", "show", &text(empty.path())]));
}
