//! The KeyManager's keys in real software TPMs: made, kept, lost and found again.

use std::fs;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::Hash;
use plugin::{Code, HashAlgorithm, KeyType, PublicKey, Purpose, SignerOptions, Status};
use tempfile::TempDir;
use tests::{Manufacturer, Model, ResourceManager, Swtpm};

use crate::failure::Failure;
use crate::keeper::Keeper;
use crate::key_config::KeySettings;
use crate::tests_log::logged;

/// TPM library part 2, section 6.5.2.
pub(crate) const CREATE: u32 = 0x153;
pub(crate) const CREATE_PRIMARY: u32 = 0x131;
const SIGN: u32 = 0x15D;

pub(crate) const IDS: [&str; 2] = ["agent-svid-A", "agent-svid-B"];

pub(crate) fn deadline() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

fn tpm() -> Swtpm {
    let bare = Model {
        certificates: Vec::new(),
        ..Model::default()
    };
    Manufacturer::new().make(&bare)
}

/// An agent with one TPM and one directory.
pub(crate) struct Site {
    directory: TempDir,
    pub(crate) manager: ResourceManager,
}

impl Site {
    pub(crate) fn new(tpm: &Swtpm) -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            manager: ResourceManager::start(tpm.socket()),
        }
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    pub(crate) fn file(&self, id: &str) -> PathBuf {
        self.keys().join(format!("{id}.json"))
    }

    pub(crate) fn settings(&self, more: &str) -> Arc<KeySettings> {
        let text = format!(
            "device = \"unix:{}\"\nkeys_path = \"{}\"\n{more}",
            self.manager.socket().display(),
            self.keys().display()
        );
        Arc::new(KeySettings::build(&text, Purpose::Configure).unwrap())
    }

    /// As after a start of the process.
    pub(crate) fn keeper(&self, more: &str) -> Keeper {
        let mut keeper = Keeper::default();
        keeper.configure(self.settings(more)).unwrap();
        keeper
    }
}

pub(crate) fn generate(keeper: &mut Keeper, id: &str) -> PublicKey {
    keeper
        .generate(id.to_owned(), KeyType::EcP256, deadline())
        .unwrap()
}

/// Makes the file of a key one that the TPM does not load: a bit of its private area is another one.
pub(crate) fn damage_private(path: &Path) {
    let mut file: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut private = STANDARD.decode(file["private"].as_str().unwrap()).unwrap();
    *private.last_mut().unwrap() ^= 1;
    file["private"] = STANDARD.encode(private).into();
    fs::write(path, file.to_string()).unwrap();
}

fn list(keeper: &mut Keeper) -> Vec<PublicKey> {
    keeper.public_keys(deadline()).unwrap()
}

fn code(failure: Failure) -> (Code, String) {
    let status = Status::from(failure);
    (status.code(), status.message().to_owned())
}

const SHA256: SignerOptions = SignerOptions::Hash(HashAlgorithm::Sha256);

/// The key of an id signs, and it is this key.
fn signs(keeper: &mut Keeper, key: &PublicKey) {
    let digest = Hash::Sha256.digest(&[b"message"]);
    let signed = keeper.sign(&key.id, &digest, SHA256, deadline()).unwrap();
    assert_eq!(signed.fingerprint, key.fingerprint);
    verify(&signature::ECDSA_P256_SHA256_ASN1, key, &signed.signature);
}

fn verify(algorithm: &'static dyn VerificationAlgorithm, key: &PublicKey, signature: &[u8]) {
    let verified = UnparsedPublicKey::new(algorithm, &key.pkix).verify(b"message", signature);
    assert!(verified.is_ok(), "{algorithm:?}");
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn keys_are_kept_over_a_restart_and_rotate() {
    let (tpm, mut made) = (tpm(), Vec::new());
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    assert_eq!(list(&mut keeper), []);
    for round in 0..3 {
        for id in IDS {
            site.manager.clear();
            let key = generate(&mut keeper, id);
            let sent: Vec<u32> = site.manager.connections().concat();
            let count = |command| sent.iter().filter(|sent| **sent == command).count();
            assert_eq!(
                (count(CREATE), count(SIGN)),
                (1, 0),
                "round {round}: {sent:x?}"
            );
            assert!(!made.contains(&key), "a new key");
            made.push(key.clone());
            // The other one still signs: SPIRE uses it until the new SVID is there.
            let current: Vec<_> = made.iter().rev().take(2).cloned().collect();
            for key in &current {
                signs(&mut keeper, key);
            }
            assert_eq!(keeper.public_key(id, deadline()).unwrap(), key);
        }
        let current = &made[made.len() - 2..];
        assert_eq!(list(&mut keeper), current);
        drop(keeper);
        site.manager.clear();
        keeper = site.keeper("");
        assert_eq!(list(&mut keeper), current, "after a restart");
        let sent: Vec<u32> = site.manager.connections().concat();
        assert!(!sent.contains(&CREATE), "{sent:x?}");
        for key in current {
            signs(&mut keeper, key);
        }
    }
    assert_eq!(
        files(&site.keys()),
        ["agent-svid-A.json", "agent-svid-B.json"]
    );
}

#[test]
fn a_warm_signature_is_one_command() {
    let tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    let key = generate(&mut keeper, IDS[0]);
    signs(&mut keeper, &key);
    site.manager.clear();
    signs(&mut keeper, &key);
    assert_eq!(site.manager.connections(), [[SIGN]]);
}

/// spire/M05–M10: what SPIRE's contract asks of a key manager, as far as a TPM has it.
#[test]
fn every_signature_that_is_asked_for_verifies_or_is_refused() {
    use HashAlgorithm::{Sha3_256, Sha224, Sha256, Sha384, Sha512};
    use KeyType::{EcP256, EcP384, Rsa2048};
    use SignerOptions::Hash as By;
    let pss = |hash, salt_length| SignerOptions::Pss { hash, salt_length };
    let tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    let table: [(KeyType, SignerOptions, Option<&dyn VerificationAlgorithm>); 22] = [
        (EcP256, By(Sha256), Some(&signature::ECDSA_P256_SHA256_ASN1)),
        (EcP256, By(Sha384), Some(&signature::ECDSA_P256_SHA384_ASN1)),
        (EcP256, By(Sha512), Some(&signature::ECDSA_P256_SHA512_ASN1)),
        (EcP256, By(Sha224), None),
        (EcP256, By(Sha3_256), None),
        (EcP256, pss(Sha256, -1), None),
        (EcP384, By(Sha256), Some(&signature::ECDSA_P384_SHA256_ASN1)),
        (EcP384, By(Sha384), Some(&signature::ECDSA_P384_SHA384_ASN1)),
        (EcP384, By(Sha512), Some(&signature::ECDSA_P384_SHA512_ASN1)),
        (EcP384, pss(Sha384, 0), None),
        (
            Rsa2048,
            By(Sha256),
            Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        ),
        (
            Rsa2048,
            By(Sha384),
            Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        ),
        (
            Rsa2048,
            By(Sha512),
            Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        ),
        (Rsa2048, By(Sha3_256), None),
        // aws-lc-rs takes a salt as long as the digest and no other.
        (
            Rsa2048,
            pss(Sha256, -1),
            Some(&signature::RSA_PSS_2048_8192_SHA256),
        ),
        (
            Rsa2048,
            pss(Sha256, 0),
            Some(&signature::RSA_PSS_2048_8192_SHA256),
        ),
        (
            Rsa2048,
            pss(Sha256, 32),
            Some(&signature::RSA_PSS_2048_8192_SHA256),
        ),
        (
            Rsa2048,
            pss(Sha384, -1),
            Some(&signature::RSA_PSS_2048_8192_SHA384),
        ),
        (
            Rsa2048,
            pss(Sha512, -1),
            Some(&signature::RSA_PSS_2048_8192_SHA512),
        ),
        (Rsa2048, pss(Sha512, 32), None),
        (Rsa2048, pss(Sha256, 20), None),
        (Rsa2048, pss(Sha224, -1), None),
    ];
    let keys = [EcP256, EcP384, Rsa2048].map(|key_type| {
        let id = format!("{key_type:?}");
        keeper.generate(id, key_type, deadline()).unwrap()
    });
    for (key_type, options, algorithm) in table {
        let key = keys.iter().find(|key| key.key_type == key_type).unwrap();
        let hash = match options.hash() {
            Sha384 => Hash::Sha384,
            Sha512 => Hash::Sha512,
            _ => Hash::Sha256,
        };
        let digest = hash.digest(&[b"message"]);
        let outcome = keeper.sign(&key.id, &digest, options, deadline());
        let Some(algorithm) = algorithm else {
            let (code, message) = code(outcome.unwrap_err());
            assert_eq!(code, Code::InvalidArgument, "{key_type:?} {options:?}");
            assert!(message.starts_with("signature_unsupported: "), "{message}");
            continue;
        };
        let signed = outcome.unwrap();
        assert_eq!(signed.fingerprint, key.fingerprint);
        let verified =
            UnparsedPublicKey::new(algorithm, &key.pkix).verify(b"message", &signed.signature);
        assert!(verified.is_ok(), "{key_type:?} {options:?}");
    }
}

#[test]
fn what_cannot_be_made_or_found_is_told() {
    let tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    let mut refused = |id: &str, key_type| {
        let made = keeper.generate(id.to_owned(), key_type, deadline());
        code(made.unwrap_err())
    };
    let message = "key_type_unsupported: the TPM makes no RSA-4096 key";
    let rsa_4096 = refused("a", KeyType::Rsa4096);
    assert_eq!(rsa_4096, (Code::InvalidArgument, message.to_owned()));
    let (long, message) = refused(&"/".repeat(100), KeyType::EcP256);
    assert_eq!(long, Code::InvalidArgument);
    assert!(message.starts_with("key_id_unsuitable: "), "{message}");
    let unknown = [
        keeper.public_key("a\n", deadline()).unwrap_err(),
        keeper
            .sign("a\n", &[0; 32], SHA256, deadline())
            .unwrap_err(),
    ];
    for failure in unknown {
        let message = "no such key \"a\\n\"".to_owned();
        assert_eq!(code(failure), (Code::NotFound, message));
    }
    assert_eq!(files(&site.keys()), [""; 0]);
    for number in 0..64 {
        generate(&mut keeper, &number.to_string());
    }
    let one_more = keeper.generate("64".to_owned(), KeyType::EcP256, deadline());
    let (one_more, message) = code(one_more.unwrap_err());
    assert_eq!(one_more, Code::ResourceExhausted, "{message}");
    generate(&mut keeper, "63");
    assert_eq!(list(&mut site_restarted(&site, keeper)).len(), 64);
}

fn site_restarted(site: &Site, keeper: Keeper) -> Keeper {
    drop(keeper);
    site.keeper("")
}

/// spire/M47.
#[test]
fn a_key_that_cannot_be_written_down_leaves_the_old_one_in_use() {
    let tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    let old = generate(&mut keeper, IDS[0]);
    let before = fs::read(site.file(IDS[0])).unwrap();
    // Stands where the new file would be written.
    let obstacle = site.keys().join(".new");
    fs::create_dir(&obstacle).unwrap();
    let failed = keeper.generate(IDS[0].to_owned(), KeyType::EcP256, deadline());
    let (code, message) = code(failed.unwrap_err());
    assert_eq!(code, Code::Internal);
    assert!(message.starts_with("key_not_kept: "), "{message}");
    assert_eq!(fs::read(site.file(IDS[0])).unwrap(), before);
    signs(&mut keeper, &old);
    assert_eq!(list(&mut keeper), slice::from_ref(&old));
    fs::remove_dir(&obstacle).unwrap();
    let new = generate(&mut keeper, IDS[0]);
    assert_ne!(new.fingerprint, old.fingerprint);
    signs(&mut keeper, &new);
}

#[test]
fn keys_of_before_a_reboot_are_shown_only_where_they_are_to_be_kept() {
    let mut tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    let old = generate(&mut keeper, IDS[0]);
    drop(keeper);
    tpm.restart();
    let mut keeper = site.keeper("");
    assert_eq!(list(&mut keeper), []);
    let hidden = keeper.public_key(IDS[0], deadline()).unwrap_err();
    assert_eq!(code(hidden).0, Code::NotFound);
    let hidden = keeper.sign(IDS[0], &[0; 32], SHA256, deadline());
    assert_eq!(code(hidden.unwrap_err()).0, Code::NotFound);
    // The same process, configured anew, and back.
    keeper
        .configure(site.settings("after_reboot = \"keep\""))
        .unwrap();
    assert_eq!(list(&mut keeper), slice::from_ref(&old));
    signs(&mut keeper, &old);
    keeper.configure(site.settings("")).unwrap();
    assert_eq!(list(&mut keeper), []);
    let new = generate(&mut keeper, IDS[1]);
    assert_eq!(list(&mut keeper), slice::from_ref(&new));
    let mut keeper = site_restarted(&site, keeper);
    assert_eq!(list(&mut keeper), [new]);
}

/// SPIRE Agent is told that there is none, and the attestor would offer it.
#[test]
fn a_key_of_before_a_reboot_that_cannot_be_loaded_is_set_aside() {
    let mut tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    for id in IDS {
        generate(&mut keeper, id);
    }
    drop(keeper);
    damage_private(&site.file(IDS[1]));
    tpm.restart();
    let mut keeper = site.keeper("");
    assert_eq!(list(&mut keeper), []);
    assert_eq!(
        files(&site.keys()),
        ["agent-svid-A.json", "agent-svid-B.json.damaged"]
    );
    let new = generate(&mut keeper, IDS[0]);
    assert_eq!(list(&mut keeper), slice::from_ref(&new));
    signs(&mut keeper, &new);
}

#[test]
fn a_reset_under_a_running_process_costs_no_key() {
    let mut tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    let key = generate(&mut keeper, IDS[0]);
    signs(&mut keeper, &key);
    tpm.restart();
    signs(&mut keeper, &key);
}

#[test]
fn keys_of_another_tpm_are_not_shown_and_stay() {
    let (one, other) = (tpm(), tpm());
    let (theirs, ours) = (Site::new(&one), Site::new(&other));
    let mut keeper = theirs.keeper("");
    for id in IDS {
        generate(&mut keeper, id);
    }
    fs::create_dir(ours.keys()).unwrap();
    fs::set_permissions(
        ours.keys(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    for id in IDS {
        fs::copy(theirs.file(id), ours.file(id)).unwrap();
    }
    for more in ["", "after_reboot = \"keep\""] {
        let mut keeper = ours.keeper(more);
        assert_eq!(list(&mut keeper), [], "{more}");
        assert_eq!(files(&ours.keys()).len(), 2, "{more}");
        let hidden = keeper.sign(IDS[0], &[0; 32], SHA256, deadline());
        assert_eq!(code(hidden.unwrap_err()).0, Code::NotFound);
    }
    let mut keeper = ours.keeper("");
    let new = generate(&mut keeper, IDS[0]);
    assert_eq!(list(&mut keeper), slice::from_ref(&new));
    signs(&mut keeper, &new);

    // Their parent's Name does not make them ours; they are out of the way then.
    let name = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let parent = text.split("\"parent\": \"").nth(1).unwrap();
        parent.split('"').next().unwrap().to_owned()
    };
    let forged = fs::read_to_string(ours.file(IDS[1]))
        .unwrap()
        .replace(&name(ours.file(IDS[1])), &name(ours.file(IDS[0])));
    drop(keeper);
    fs::write(ours.file(IDS[1]), forged).unwrap();
    let mut keeper = ours.keeper("after_reboot = \"keep\"");
    assert_eq!(list(&mut keeper), [new]);
    assert_eq!(
        files(&ours.keys()),
        ["agent-svid-A.json", "agent-svid-B.json.damaged"]
    );
}

/// The keeper's lines above debug; a library's own are not looked for.
fn told(action: impl FnOnce()) -> Vec<String> {
    let mut lines = logged(action);
    lines.retain(|line| line.contains("reason="));
    lines
}

#[test]
fn why_a_key_is_not_shown_is_told_once() {
    let (mut machine, other) = (tpm(), tpm());
    let (site, elsewhere) = (Site::new(&machine), Site::new(&other));
    generate(&mut elsewhere.keeper(""), "foreign");
    generate(&mut site.keeper(""), "old");
    machine.restart();
    fs::copy(elsewhere.file("foreign"), site.file("foreign")).unwrap();
    fs::write(site.file("damaged"), "{").unwrap();
    let mut keeper = Keeper::default();
    let lines = told(|| keeper.configure(site.settings("")).unwrap());
    let [damaged] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    for part in [
        "ERROR",
        "key_damaged",
        "damaged.json.damaged",
        "not the JSON",
    ] {
        assert!(damaged.contains(part), "{damaged}");
    }
    let lines = told(|| assert_eq!(list(&mut keeper), []));
    let [foreign, old] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    for part in ["WARN", "key_of_another_tpm", "key_id=\"foreign\""] {
        assert!(foreign.contains(part), "{foreign}");
    }
    for part in ["INFO", "key_before_reboot", "key_id=\"old\""] {
        assert!(old.contains(part), "{old}");
    }
    let lines = told(|| assert_eq!(list(&mut keeper), []));
    assert_eq!(lines, [""; 0], "once");
}

#[test]
fn a_tpm_that_does_not_answer_has_no_empty_list() {
    const KEEP: &str = "after_reboot = \"keep\"\ntpm_timeout = \"500ms\"";
    let mut tpm = tpm();
    let site = Site::new(&tpm);
    let key = generate(&mut site.keeper(KEEP), IDS[0]);
    for keys in [vec![key], Vec::new()] {
        if keys.is_empty() {
            fs::remove_file(site.file(IDS[0])).unwrap();
        }
        tpm.power_off();
        // Neither is a start without it, nor one that goes away.
        let mut keeper = site.keeper(KEEP);
        keeper.prepare();
        let soon = || Instant::now() + Duration::from_secs(1);
        let absent = keeper.public_keys(soon()).unwrap_err();
        tpm.restart();
        assert_eq!(list(&mut keeper), keys);
        tpm.power_off();
        let gone = keeper.public_keys(soon()).unwrap_err();
        for failure in [absent, gone] {
            let (code, message) = code(failure);
            assert!(message.starts_with("tpm_failed: "), "{message}");
            assert_ne!(code, Code::NotFound);
        }
        tpm.restart();
        assert_eq!(list(&mut keeper), keys);
    }
}

#[test]
fn the_storage_root_key_is_made_once_where_there_is_none() {
    let tpm = tpm();
    let site = Site::new(&tpm);
    let mut keeper = site.keeper("");
    generate(&mut keeper, IDS[0]);
    site.manager.clear();
    for id in IDS {
        generate(&mut keeper, id);
    }
    let sent: Vec<u32> = site.manager.connections().concat();
    assert!(!sent.contains(&CREATE_PRIMARY), "{sent:x?}");
}
