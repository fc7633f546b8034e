//! How revocation lists get in force with their CAs, and how they follow their files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, date_time_ymd,
};
use tempfile::TempDir;

use crate::{AnchorStore, NotLoaded, Overdue, Part, Refresh, Report, Sources};

struct Maker {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Maker {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    /// A list that is good until a year, with these serial numbers, in PEM.
    fn list(&self, year: i32, revoked: &[u64]) -> String {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&self.params, &self.key);
        list.signed_by(&issuer).unwrap().pem().unwrap()
    }
}

/// A CA directory and a CRL directory.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        fs::create_dir(files.path("cas")).unwrap();
        fs::create_dir(files.path("crls")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).unwrap();
    }

    fn sources(&self) -> Sources {
        Sources {
            anchors: self.path("cas"),
            crls: Some(self.path("crls")),
            ..Sources::default()
        }
    }

    fn open(&self) -> (AnchorStore, Report) {
        AnchorStore::open(self.sources()).unwrap()
    }
}

fn reloaded(store: &AnchorStore) -> Report {
    match store.refresh().unwrap() {
        Refresh::Reloaded(report) => report,
        Refresh::Unchanged => panic!("nothing has changed"),
    }
}

fn is_invalid(refused: &NotLoaded, name: &str) -> bool {
    matches!(refused, NotLoaded::InvalidCrl { file, .. } if file == name)
        && refused.part() == Part::Crls
        && refused.to_string().contains("crl_invalid")
}

#[test]
fn lists_of_the_operators_cas_are_in_force_and_foreign_ones_are_told() {
    let (maker, stranger, files) = (Maker::new("a"), Maker::new("b"), Files::new());
    files.write("cas/a.pem", &maker.pem);
    files.write(
        "crls/a.pem",
        maker.list(2040, &[1]) + &maker.list(2041, &[]),
    );
    files.write("crls/b.pem", stranger.list(2040, &[2]));
    let (store, report) = files.open();
    assert_eq!((report.crls, store.current().crls()), (2, 2));
    assert_eq!(report.foreign, ["b.pem"]);
    assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)));
    // A list is foreign until its CA is there: both are read again with either.
    files.write("cas/b.pem", &stranger.pem);
    let report = reloaded(&store);
    assert_eq!((report.anchors, report.crls), (2, 3));
    assert!(report.foreign.is_empty());
}

#[test]
fn lists_that_cannot_be_relied_on_are_refused_at_the_start() {
    let (maker, forger, files) = (Maker::new("a"), Maker::new("a"), Files::new());
    files.write("cas/a.pem", &maker.pem);
    let good = maker.list(2040, &[1]);
    for bad in [
        forger.list(2040, &[]).as_str(),
        good.get(..good.len() - 40).unwrap(),
        "",
        "not found",
        &maker.pem,
        "\x30\x03abc",
    ] {
        files.write("crls/good.pem", &good);
        files.write("crls/bad.pem", bad);
        let refused = AnchorStore::open(files.sources()).unwrap_err();
        assert!(is_invalid(&refused, "bad.pem"), "tpm/B26: {refused}");
    }
    let absent = Sources {
        crls: Some(files.path("absent")),
        ..files.sources()
    };
    let refused = AnchorStore::open(absent).unwrap_err();
    assert!(matches!(
        refused,
        NotLoaded::Unreadable {
            part: Part::Crls,
            ..
        }
    ));
}

#[test]
fn a_bad_change_leaves_cas_and_lists_as_they_were() {
    let (maker, forger, files) = (Maker::new("a"), Maker::new("a"), Files::new());
    files.write("cas/a.pem", &maker.pem);
    files.write("crls/a.pem", maker.list(2040, &[1]));
    let (store, _) = files.open();
    let forged = forger.list(2040, &[]);
    for bad in [forged.as_str(), forged.get(..200).unwrap(), ""] {
        files.write("crls/a.pem", bad);
        // A good change beside a bad one waits for it.
        files.write("cas/b.pem", Maker::new("b").pem);
        let before = store.current();
        let refused = store.refresh().unwrap_err();
        assert!(is_invalid(&refused, "a.pem"), "tpm/B26: {refused}");
        assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)), "told");
        assert!(std::sync::Arc::ptr_eq(&before, &store.current()));
        assert_eq!((store.current().len(), store.current().crls()), (1, 1));
    }
    fs::remove_file(files.path("crls/a.pem")).unwrap();
    let refused = store.refresh().unwrap_err();
    assert!(matches!(
        refused,
        NotLoaded::Emptied {
            part: Part::Crls,
            ..
        }
    ));
    files.write("crls/a.pem", maker.list(2041, &[]));
    assert_eq!(reloaded(&store).anchors, 2);
}

/// A list goes with its CA: that is no loss.
#[test]
fn a_list_may_become_foreign() {
    let (maker, other, files) = (Maker::new("a"), Maker::new("b"), Files::new());
    files.write("cas/a.pem", &maker.pem);
    files.write("cas/b.pem", &other.pem);
    files.write("crls/a.pem", maker.list(2040, &[1]));
    let (store, _) = files.open();
    fs::remove_file(files.path("cas/a.pem")).unwrap();
    let report = reloaded(&store);
    assert_eq!((report.crls, report.foreign.len()), (0, 1));
}

#[test]
fn overdue_lists_are_told_once() {
    let (maker, files) = (Maker::new("a"), Files::new());
    files.write("cas/a.pem", &maker.pem);
    files.write("crls/a.pem", maker.list(2040, &[]));
    let (store, _) = files.open();
    let end = date_time_ymd(2040, 1, 1).unix_timestamp();
    assert_eq!(store.newly_overdue(end), []);
    let expected = Overdue {
        issuer: "CN=a".to_owned(),
        since: end,
    };
    assert_eq!(store.newly_overdue(end + 1), [expected]);
    assert_eq!(store.newly_overdue(end + 2), []);
    files.write("crls/a.pem", maker.list(2041, &[]));
    reloaded(&store);
    assert_eq!(store.newly_overdue(end + 3), []);
    let later = date_time_ymd(2042, 1, 1).unix_timestamp();
    assert_eq!(store.newly_overdue(later).len(), 1);
}

#[test]
fn a_directory_without_lists_is_good_until_it_had_some() {
    let (maker, files) = (Maker::new("a"), Files::new());
    files.write("cas/a.pem", &maker.pem);
    let (store, report) = files.open();
    assert_eq!(report.crls, 0);
    files.write("crls/a.pem", maker.list(2040, &[]));
    assert_eq!(reloaded(&store).crls, 1);
    fs::remove_file(files.path("crls/a.pem")).unwrap();
    let refused = store.refresh().unwrap_err();
    assert!(matches!(refused, NotLoaded::Emptied { .. }), "{refused}");
}

/// One file will do.
#[test]
fn a_list_may_be_named_itself() {
    let (maker, files) = (Maker::new("a"), Files::new());
    files.write("cas/a.pem", &maker.pem);
    files.write("list", maker.list(2040, &[]));
    let one = |path: &Path| Sources {
        crls: Some(path.to_owned()),
        ..files.sources()
    };
    let (_, report) = AnchorStore::open(one(&files.path("list"))).unwrap();
    assert_eq!(report.crls, 1);
}
