//! The directory of the keys: who may have it, what is in it, and what a crash leaves.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use evidence::{Curve, Hash, Name, Public, PublicKey, Scheme, SvidKeyTemplate, Symmetric};
use tempfile::TempDir;
use tpm::WrappedKey;

use crate::key_directory::{KeyDirectory, Problem, trusted};
use crate::key_file::{Damage, KeyFile, MAX_FILE, file_name};
use crate::key_store::KeyStore;

const ID: &str = "agent-svid-A";
const NAME: &str = "agent-svid-A.json";

/// A public area as a TPM fills it in.
pub(crate) fn public(template: SvidKeyTemplate, seed: u8) -> Public {
    let blank = template.public();
    let key = match blank.key {
        PublicKey::Rsa { bits, exponent, .. } => PublicKey::Rsa {
            bits,
            exponent,
            modulus: vec![seed; usize::from(bits / 8)],
        },
        PublicKey::Ecc { curve, kdf, .. } => {
            let size = Curve::from_id(curve).unwrap().field_size();
            let (x, y) = (vec![seed; size], vec![seed; size]);
            PublicKey::Ecc { curve, kdf, x, y }
        }
    };
    with_key(blank.attributes.0, Scheme::Null, key)
}

fn with_key(attributes: u32, scheme: Scheme, key: PublicKey) -> Public {
    Public::new(Hash::Sha256, attributes, &[], Symmetric::Null, scheme, key)
}

pub(crate) fn key(id: &str, seed: u8) -> KeyFile {
    let template = SvidKeyTemplate::EccP256;
    KeyFile {
        id: id.to_owned(),
        template,
        key: WrappedKey {
            public: public(template, seed),
            private: vec![seed; 150],
        },
        parent: Name::from_bytes(&[&[0, 0x0B][..], &[4; 32]].concat()),
        reset_count: 5,
    }
}

fn owned(mode: u32) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();
    directory
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_key_comes_back_as_it_was_written() {
    for template in SvidKeyTemplate::ALL {
        let written = KeyFile {
            template,
            key: WrappedKey {
                public: public(template, 7),
                private: vec![1; tpm::limits::PRIVATE],
            },
            ..key(ID, 1)
        };
        let bytes = written.encode().unwrap();
        assert_eq!(KeyFile::decode(NAME, &bytes), Ok(written));
    }
}

#[test]
fn everything_else_is_damage() {
    let text = String::from_utf8(key(ID, 1).encode().unwrap()).unwrap();
    let kept = |public: Public| {
        let mut other = key(ID, 1);
        other.key.public = public;
        String::from_utf8(other.encode().unwrap()).unwrap()
    };
    let template = SvidKeyTemplate::EccP256.public();
    let point = public(SvidKeyTemplate::EccP256, 7).key;
    let ecdsa = evidence::AkTemplate::EccP256.public().scheme;
    let private = |size| {
        let mut other = key(ID, 1);
        other.key.private = vec![1; size];
        String::from_utf8(other.encode().unwrap()).unwrap()
    };
    let attributes = template.attributes.0;
    let mut table = vec![
        (String::new(), Damage::Malformed),
        ("{".to_owned(), Damage::Malformed),
        ("[]".to_owned(), Damage::Malformed),
        (text.replace('}', ""), Damage::Malformed),
        (format!("{text}{{}}"), Damage::Malformed),
        (
            text.replace("\"id\"", "\"other\": 1, \"id\""),
            Damage::Malformed,
        ),
        (
            text.replace("\"id\"", "\"version\": 1, \"id\""),
            Damage::Malformed,
        ),
        (
            text.replace("\"reset_count\": 5", "\"reset_count\": -1"),
            Damage::Malformed,
        ),
        (
            text.replace("\"reset_count\": 5", "\"reset_count\": 4294967296"),
            Damage::Malformed,
        ),
        (
            text.replace("\"version\": 1", "\"version\": 2"),
            Damage::Version,
        ),
        (
            text.replace("\"version\": 1", "\"version\": 0"),
            Damage::Version,
        ),
        (text.replace(ID, "agent-svid-B"), Damage::OtherName),
        (
            text.replace("ec-p256", "ec-p384"),
            Damage::Field("key_type"),
        ),
        (
            text.replace("\"public\": \"", "\"public\": \"?"),
            Damage::Field("public"),
        ),
        (
            text.replace("\"public\": \"", "\"public\": \"AAAA"),
            Damage::Field("public"),
        ),
        (
            text.replace("\"private\": \"", "\"private\": \"?"),
            Damage::Field("private"),
        ),
        (private(0), Damage::Field("private")),
        (private(tpm::limits::PRIVATE + 1), Damage::Field("private")),
        (
            text.replace("\"parent\": \"00", "\"parent\": \"?0"),
            Damage::Field("parent"),
        ),
        (
            text.replace("\"parent\": \"00", "\"parent\": \"ff"),
            Damage::Field("parent"),
        ),
        (
            text.replace("\"parent\": \"000b", "\"parent\": \"000b04"),
            Damage::Field("parent"),
        ),
        (
            text.replace("\"parent\": \"000b", "\"parent\": \"000c"),
            Damage::Field("parent"),
        ),
        // Keys that could leave the TPM, sign for it, or have no numbers.
        (
            kept(with_key(attributes & !2, Scheme::Null, point.clone())),
            Damage::OtherKind,
        ),
        (
            kept(with_key(attributes | 1 << 16, Scheme::Null, point.clone())),
            Damage::OtherKind,
        ),
        (kept(with_key(attributes, ecdsa, point)), Damage::OtherKind),
        (kept(template), Damage::OtherKind),
    ];
    table.push((" ".repeat(MAX_FILE + 1), Damage::TooLong));
    for (damaged, expect) in table {
        assert_ne!(damaged, text, "{expect:?}");
        assert_eq!(
            KeyFile::decode(NAME, damaged.as_bytes()),
            Err(expect),
            "{damaged}"
        );
    }
}

#[test]
fn every_id_has_a_file_of_its_own_inside_the_directory() {
    let table = [
        ("agent-svid-A", Some("agent-svid-A.json")),
        ("agent-svid-a", Some("agent-svid-a.json")),
        ("agent_svid_A", Some("agent_svid_A.json")),
        ("..", Some("%2E%2E.json")),
        (
            "../../etc/passwd",
            Some("%2E%2E%2F%2E%2E%2Fetc%2Fpasswd.json"),
        ),
        ("/", Some("%2F.json")),
        ("%2F", Some("%252F.json")),
        ("a.json", Some("a%2Ejson.json")),
        (".new", Some("%2Enew.json")),
        ("a\0b", Some("a%00b.json")),
        ("ä", Some("%C3%A4.json")),
        ("A ", Some("A%20.json")),
        ("", None),
    ];
    for (id, expect) in table {
        assert_eq!(file_name(id).as_deref(), expect, "{id:?}");
    }
    let longest = 255 - ".json.damaged".len();
    assert!(file_name(&"a".repeat(longest)).is_some());
    assert!(file_name(&"a".repeat(longest + 1)).is_none());
    assert!(key(&"a".repeat(longest + 1), 1).encode().is_none());
    let directory = owned(0o700);
    let store = KeyStore::open(directory.path()).unwrap();
    let ids = table.iter().map(|(id, _)| *id).filter(|id| !id.is_empty());
    ids.clone().for_each(|id| store.keep(&key(id, 1)).unwrap());
    let mut found: Vec<_> = store.keys().unwrap();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    let mut expect: Vec<_> = ids.map(|id| key(id, 1)).collect();
    expect.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(found, expect);
}

#[test]
fn the_directory_is_its_owner_s_alone() {
    let above = owned(0o755);
    let path = above.path().join("keys");
    assert!(KeyDirectory::open(&path).unwrap().is_none());
    drop(KeyStore::open(&path).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o700);
    let store = KeyStore::open(&path).unwrap();
    store.keep(&key(ID, 1)).unwrap();
    assert_eq!(mode(&path.join(NAME)), 0o600);
    drop(store);
    for (refused, mode) in [
        (false, 0o700),
        (false, 0o750),
        (false, 0o755),
        (true, 0o770),
        (true, 0o702),
        (true, 0o1777),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        for problem in [KeyStore::open(&path).err(), KeyDirectory::open(&path).err()] {
            let is_refused =
                problem.is_some_and(|error| matches!(error.problem, Problem::OpenToOthers));
            assert_eq!(is_refused, refused, "{mode:o}");
        }
    }
    for (owner, me, is_trusted) in [
        (0, 0, true),
        (0, 7, true),
        (7, 7, true),
        (7, 0, false),
        (8, 7, false),
    ] {
        assert_eq!(
            trusted(owner, 0o40700, me).is_ok(),
            is_trusted,
            "{owner} {me}"
        );
    }
}

#[test]
fn what_is_no_directory_for_keys_is_an_error() {
    let above = owned(0o755);
    let file = above.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [
        above.path().join("absent/keys"),
        file.clone(),
        file.join("keys"),
        "/proc/keys-of-an-agent".into(),
    ] {
        let error = KeyStore::open(&path).unwrap_err();
        assert!(matches!(error.problem, Problem::Io(_)), "{error:?}");
        assert!(
            error.to_string().starts_with(path.to_str().unwrap()),
            "{error}"
        );
    }
    // The attestor tells one that is not there from one that cannot be read.
    assert!(
        KeyDirectory::open(&above.path().join("absent/keys"))
            .unwrap()
            .is_none()
    );
    assert!(KeyDirectory::open(&file).is_err());
    let shown = KeyStore::open(&above.path().join("a\nb/c"))
        .unwrap_err()
        .to_string();
    assert!(shown.contains("a\\nb") && !shown.contains('\n'), "{shown}");
}

#[test]
fn one_key_manager_has_the_directory_and_its_successor_waits() {
    let directory = owned(0o700);
    let first = KeyStore::open(directory.path()).unwrap();
    let started = Instant::now();
    let refused = KeyStore::open(directory.path()).unwrap_err();
    assert!(matches!(refused.problem, Problem::InUse), "{refused}");
    assert!(started.elapsed() >= Duration::from_secs(5));
    // The attestor reads meanwhile.
    assert!(KeyDirectory::open(directory.path()).unwrap().is_some());
    let ending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(first);
    });
    KeyStore::open(directory.path()).unwrap();
    ending.join().unwrap();
}

#[test]
fn what_a_crash_left_half_written_goes_and_the_key_stays() {
    let directory = owned(0o700);
    let store = KeyStore::open(directory.path()).unwrap();
    store.keep(&key(ID, 1)).unwrap();
    drop(store);
    fs::write(directory.path().join(".new"), "{\"ver").unwrap();
    let reader = KeyDirectory::open(directory.path()).unwrap().unwrap();
    assert_eq!(reader.entries().unwrap().len(), 1);
    let store = KeyStore::open(directory.path()).unwrap();
    assert_eq!(names(directory.path()), [NAME]);
    assert_eq!(store.keys().unwrap(), [key(ID, 1)]);
}

#[test]
fn a_key_is_replaced_as_a_whole_or_not_at_all() {
    let directory = owned(0o700);
    let store = KeyStore::open(directory.path()).unwrap();
    for seed in 1..4 {
        store.keep(&key(ID, seed)).unwrap();
        assert_eq!(store.keys().unwrap(), [key(ID, seed)]);
        assert_eq!(names(directory.path()), [NAME]);
    }
    // Neither can the new file be made, nor take the place of a directory.
    let obstacle = directory.path().join(".new");
    fs::create_dir(&obstacle).unwrap();
    store.keep(&key(ID, 9)).unwrap_err();
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(store.keys().unwrap(), [key(ID, 3)]);
    let other = directory.path().join("other.json");
    fs::create_dir_all(other.join("below")).unwrap();
    let refused = store.keep(&key("other", 9)).unwrap_err();
    assert_eq!(refused.path, other);
    assert_eq!(
        names(directory.path()),
        [NAME, "other.json"],
        "nothing is left half-written"
    );
    store.keep(&key(&"/".repeat(99), 1)).unwrap_err();
}

#[test]
fn what_is_no_key_is_set_aside_and_kept() {
    let directory = owned(0o700);
    let path = |name: &str| directory.path().join(name);
    let store = KeyStore::open(directory.path()).unwrap();
    store.keep(&key(ID, 1)).unwrap();
    let elsewhere = owned(0o700);
    fs::write(
        elsewhere.path().join("key"),
        key("link", 1).encode().unwrap(),
    )
    .unwrap();
    fs::write(path("a.json"), "half of a k").unwrap();
    symlink(elsewhere.path().join("key"), path("link.json")).unwrap();
    fs::create_dir(path("directory.json")).unwrap();
    let pipe = path("pipe.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    fs::write(path("note.txt"), "an operator's").unwrap();
    fs::write(path("a.json.damaged"), "an earlier one").unwrap();

    // The attestor tells them apart and touches none.
    let reader = KeyDirectory::open(directory.path()).unwrap().unwrap();
    let entries = reader.entries().unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.key.as_ref().err().copied()))
        .collect();
    let irregular = Some(Damage::Irregular);
    assert_eq!(
        found,
        [
            ("a.json", Some(Damage::Malformed)),
            (NAME, None),
            ("directory.json", irregular),
            ("link.json", irregular),
            ("pipe.json", irregular),
        ]
    );
    assert_eq!(names(directory.path()).len(), 7);

    assert_eq!(store.keys().unwrap(), [key(ID, 1)]);
    assert_eq!(
        names(directory.path()),
        [
            "a.json.damaged",
            NAME,
            "directory.json.damaged",
            "link.json.damaged",
            "note.txt",
            "pipe.json.damaged",
        ]
    );
    let kept = fs::read_to_string(path("a.json.damaged")).unwrap();
    assert_eq!(kept, "half of a k");
    assert_eq!(store.keys().unwrap(), [key(ID, 1)]);
}

#[test]
fn a_directory_has_a_limit() {
    let directory = owned(0o700);
    let store = KeyStore::open(directory.path()).unwrap();
    for number in 0..1024 {
        fs::write(directory.path().join(number.to_string()), "").unwrap();
    }
    let refused = store.keys().unwrap_err();
    assert!(matches!(refused.problem, Problem::TooMany), "{refused}");
}
