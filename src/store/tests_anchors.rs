//! How the anchors in force follow their files, and on what terms they count.

use std::fs;
use std::path::Path;
use std::time::Duration;

use evidence::Hash;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use verify::Terms;

use crate::{AnchorStore, NotLoaded, Part, Refresh, Report, Skipped, Sources};

fn ca(name: &str) -> (String, Vec<u8>) {
    let certificate = expiring(name, 2040);
    (certificate.pem(), certificate.der().to_vec())
}

fn expiring(name: &str, year: i32) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(year, 1, 1);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap()
}

fn sources(anchors: &Path, intermediates: Option<&Path>) -> Sources {
    Sources {
        anchors: anchors.to_owned(),
        intermediates: intermediates.map(Path::to_owned),
        ..Sources::default()
    }
}

/// The store, and what it skipped.
fn open(anchors: &Path, intermediates: Option<&Path>) -> (AnchorStore, Vec<Skipped>) {
    let (store, report) = AnchorStore::open(sources(anchors, intermediates)).unwrap();
    (store, report.skipped)
}

fn opened(dir: &TempDir) -> AnchorStore {
    open(dir.path(), None).0
}

/// The number of anchors that a change brought into force, if it did.
fn reloaded(store: &AnchorStore) -> Option<usize> {
    match store.refresh() {
        Ok(Refresh::Reloaded(report)) => Some(report.anchors),
        _ => None,
    }
}

#[test]
fn pem_der_bundles_and_config_maps_load() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.pem"), ca("a").0 + &ca("b").0).unwrap();
    fs::write(dir.path().join("c.der"), ca("c").1).unwrap();
    fs::create_dir(dir.path().join("..2026_11_24")).unwrap();
    fs::write(dir.path().join("..2026_11_24/d.pem"), ca("d").0).unwrap();
    std::os::unix::fs::symlink("..2026_11_24", dir.path().join("..data")).unwrap();
    std::os::unix::fs::symlink("..data/d.pem", dir.path().join("d.pem")).unwrap();
    std::os::unix::fs::symlink("..2026_11_24", dir.path().join("linked")).unwrap();
    fs::write(dir.path().join("README"), "no certificate").unwrap();
    let (store, skipped) = open(dir.path(), None);
    assert_eq!(store.current().len(), 4);
    assert_eq!(
        skipped,
        [Skipped {
            file: "README".into(),
            why: "neither PEM nor DER"
        }]
    );
}

#[test]
fn a_change_is_taken_over_and_damage_is_not() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.pem");
    fs::write(&file, ca("a").0).unwrap();
    let store = opened(&dir);
    assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)));
    fs::write(dir.path().join("b.pem"), ca("b").0).unwrap();
    assert_eq!(reloaded(&store), Some(2));
    for damage in ["", "-----BEGIN CERTIFICATE-----\nMII"] {
        fs::write(&file, damage).unwrap();
        assert!(
            matches!(store.refresh(), Err(NotLoaded::Damaged { .. })),
            "{damage:?}"
        );
        assert_eq!(store.current().len(), 2, "last good kept");
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(reloaded(&store), Some(1));
    fs::remove_file(dir.path().join("b.pem")).unwrap();
    assert!(matches!(store.refresh(), Err(NotLoaded::Emptied { .. })));
    assert_eq!(store.current().len(), 1, "last good kept");
    dir.close().unwrap();
    assert!(matches!(store.refresh(), Err(NotLoaded::Unreadable { .. })));
    assert_eq!(store.current().len(), 1, "last good kept");
}

#[test]
fn a_dangling_link_is_unreadable_not_absent() {
    let dir = TempDir::new().unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("a.pem")).unwrap();
    assert!(matches!(
        AnchorStore::open(sources(dir.path(), None)),
        Err(NotLoaded::Unreadable { .. })
    ));
}

#[test]
fn intermediates_are_no_anchors() {
    let (anchors, intermediates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(anchors.path().join("a.pem"), ca("a").0).unwrap();
    fs::write(intermediates.path().join("b.pem"), ca("b").0).unwrap();
    let (store, _) = open(anchors.path(), Some(intermediates.path()));
    assert_eq!(store.current().len(), 1);
}

#[test]
fn intermediates_are_followed_like_anchors() {
    let (anchors, intermediates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(anchors.path().join("a.pem"), ca("a").0).unwrap();
    let (store, _) = open(anchors.path(), Some(intermediates.path()));
    let expiry = store.current().earliest_expiry();
    let (file, note) = (
        intermediates.path().join("b.pem"),
        intermediates.path().join("note"),
    );
    fs::write(&file, expiring("b", 2030).pem()).unwrap();
    fs::write(&note, "no certificate").unwrap();
    let Ok(Refresh::Reloaded(Report { skipped, .. })) = store.refresh() else {
        panic!("a change of the intermediates alone")
    };
    assert_eq!(names(&skipped), ["note"]);
    assert!(store.current().earliest_expiry() < expiry, "in use");
    assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)));
    fs::write(&file, "half").unwrap();
    assert!(
        matches!(store.refresh(), Err(NotLoaded::Damaged { file, part: Part::Intermediates }) if file == "b.pem")
    );
}

/// What never was a usable certificate cannot be damaged.
#[test]
fn unusable_certificates_are_told_by_their_files() {
    let (anchors, intermediates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(anchors.path().join("a.pem"), ca("a").0).unwrap();
    fs::write(anchors.path().join("b.der"), [0x30, 0]).unwrap();
    fs::write(intermediates.path().join("c.der"), [0x30, 0]).unwrap();
    let (store, skipped) = open(anchors.path(), Some(intermediates.path()));
    assert_eq!(names(&skipped), ["b.der", "c.der"]);
    fs::write(anchors.path().join("d.pem"), ca("d").0).unwrap();
    assert_eq!(reloaded(&store), Some(2));
}

/// Size and inode stay: only the time of the change tells.
#[test]
fn a_change_in_place_shows() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.der");
    let (one, mut two) = (ca("a").1, ca("b").1);
    two.resize(one.len(), 0);
    fs::write(&file, one).unwrap();
    let store = opened(&dir);
    std::thread::sleep(Duration::from_millis(50));
    fs::write(&file, two).unwrap();
    assert!(!matches!(store.refresh(), Ok(Refresh::Unchanged)));
}

/// A bundle with a part that was never of use is damaged when more of it is lost, and only then.
#[test]
fn damage_shows_beside_what_was_never_usable() {
    let dir = TempDir::new().unwrap();
    let bundle = dir.path().join("bundle.pem");
    let unusable = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let whole = ca("a").0 + unusable + &ca("b").0;
    fs::write(&bundle, &whole).unwrap();
    fs::write(dir.path().join("c.pem"), ca("c").0).unwrap();
    let store = opened(&dir);
    for damage in [
        whole.get(..300).unwrap(),
        unusable,
        &(whole.clone() + unusable),
        "text",
    ] {
        fs::write(&bundle, damage).unwrap();
        let refused = store.refresh();
        assert!(
            matches!(&refused, Err(NotLoaded::Damaged { file, .. }) if file == "bundle.pem"),
            "tpm/J04: {damage:?} {refused:?}"
        );
        assert_eq!(store.current().len(), 3, "last good kept");
    }
    fs::write(&bundle, ca("d").0 + unusable).unwrap();
    assert_eq!(reloaded(&store), Some(2));
}

#[test]
fn a_private_key_beside_a_certificate_is_told_and_harms_nothing() {
    let dir = TempDir::new().unwrap();
    let key = KeyPair::generate().unwrap().serialize_pem();
    let file = dir.path().join("a.pem");
    fs::write(&file, ca("a").0 + &key).unwrap();
    let (store, skipped) = open(dir.path(), None);
    assert_eq!(skipped.len(), 1, "tpm/B56");
    assert!(skipped[0].why.starts_with("a private key"), "{skipped:?}");
    fs::write(&file, key + &ca("b").0 + &ca("c").0).unwrap();
    assert_eq!(reloaded(&store), Some(2), "tpm/B56");
}

#[test]
fn an_error_is_told_once_for_each_change() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("a.pem");
    let good = ca("a").0;
    fs::write(&file, &good).unwrap();
    let store = opened(&dir);
    for damage in ["", "half"] {
        fs::write(&file, damage).unwrap();
        assert!(store.refresh().is_err(), "{damage:?}");
        for _ in 0..3 {
            assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)), "told");
        }
    }
    fs::write(&file, good).unwrap();
    assert_eq!(reloaded(&store), Some(1));
}

/// Gone, back as it was, and gone again: two errors.
#[test]
fn an_error_that_comes_again_is_told_again() {
    let dir = TempDir::new().unwrap();
    let (path, away) = (dir.path().join("cas"), dir.path().join("away"));
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.pem"), ca("a").0).unwrap();
    let (store, _) = open(&path, None);
    for _ in 0..2 {
        fs::rename(&path, &away).unwrap();
        assert!(store.refresh().is_err());
        assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)), "told");
        fs::rename(&away, &path).unwrap();
        assert!(matches!(store.refresh(), Ok(Refresh::Unchanged)));
    }
}

#[test]
fn a_pinned_bundle_is_that_file_or_none() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("bundle.pem");
    let (text, other) = (ca("a").0, ca("b").0);
    fs::write(&file, &text).unwrap();
    let digest = Hash::Sha256.digest(&[text.as_bytes()]).try_into().ok();
    let pinned = |path: &Path| Sources {
        digest,
        ..sources(path, None)
    };
    let (store, _) = AnchorStore::open(pinned(&file)).unwrap();
    let in_directory = AnchorStore::open(pinned(dir.path())).unwrap_err();
    assert!(matches!(in_directory, NotLoaded::NotOneFile(_)), "tpm/J05");
    assert_eq!(in_directory.part(), Part::Digest);
    for changed in [other, text.clone() + "\n", String::new()] {
        fs::write(&file, changed).unwrap();
        let refused = store.refresh().unwrap_err();
        assert!(matches!(refused, NotLoaded::OtherDigest { .. }), "tpm/J05");
        assert_eq!(store.current().len(), 1, "last good kept");
        let opened = AnchorStore::open(pinned(&file)).unwrap_err();
        assert!(matches!(opened, NotLoaded::OtherDigest { .. }), "tpm/J05");
        assert_eq!(opened.part(), Part::Digest);
    }
    fs::write(&file, text).unwrap();
    assert_eq!(reloaded(&store), Some(1));
}

#[test]
fn terms_without_their_anchor_are_told() {
    let dir = TempDir::new().unwrap();
    let (pem, der) = ca("a");
    fs::write(dir.path().join("a.pem"), pem).unwrap();
    let there: [u8; 32] = Hash::Sha256.digest(&[&der]).try_into().unwrap();
    let terms = [there, [7; 32]].map(|digest| (digest, Terms::default()));
    let sources = Sources {
        terms: terms.into(),
        ..sources(dir.path(), None)
    };
    let (_, report) = AnchorStore::open(sources).unwrap();
    assert_eq!(report.unmatched, [[7; 32]]);
}

fn names(skipped: &[Skipped]) -> Vec<&str> {
    let files = skipped.iter().map(|skipped| &skipped.file);
    files.filter_map(|file| file.to_str()).collect()
}
