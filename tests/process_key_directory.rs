//! The directory of the agent's keys: what the KeyManager writes there, cannot write, and finds there.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use conformance::{Entry, Handshake, Loaded, Side, Subject};
use plugin::{Code, KeyType};
use tempfile::TempDir;
use tests::binary;

use crate::process_key_machine::{
    IDS, KeyMachine, data, field_of, files, generate, list, loaded_key_manager, named, signs,
};
use crate::process_plugin::{TRUST_DOMAIN, field, host, name, unload};

/// A file system in memory of these options on a directory that only the plugin sees, and tests through its process.
async fn on_its_own_file_system(at: &Path, options: &str) -> Loaded {
    let script = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && exec \"$3\"";
    let mut subject = Subject::key_manager("/usr/bin/unshare");
    let mut arguments = vec!["--mount", "--propagation", "private"];
    if !rustix::process::geteuid().is_root() {
        arguments.push("--map-root-user");
    }
    arguments.extend(["sh", "-c", script, "sh", options]);
    for argument in arguments {
        subject = subject.argument(argument);
    }
    let plugin = binary(name(Side::Agent));
    let subject = subject.argument(at).argument(plugin);
    host().load(&subject).await.unwrap()
}

/// Where a path of the plugin's is for this process.
fn seen_from_here(loaded: &mut Loaded, path: &Path) -> PathBuf {
    let pid = loaded.process().pid().unwrap();
    let root = format!("/proc/{pid}/root");
    Path::new(&root).join(path.strip_prefix("/").unwrap())
}

/// The lines that give this reason.
fn reasons<'a>(log: &'a [Entry], reason: &str) -> Vec<&'a Entry> {
    let of_it = |entry: &&Entry| {
        entry
            .fields
            .get("reason")
            .is_some_and(|found| found == reason)
    };
    log.iter().filter(of_it).collect()
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_to_is_no_place_for_keys() {
    let (machine, place) = (KeyMachine::new(), TempDir::new().unwrap());
    let read_only = on_its_own_file_system(place.path(), "ro,mode=0755").await;
    for keys in [place.path().to_owned(), place.path().join("keys")] {
        let text = data(machine.manager.socket(), &keys, "");
        let status = read_only.configure(Some(TRUST_DOMAIN), &text).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "spire/M45");
        let message = status.message();
        assert!(message.starts_with("key_directory_failed: "), "{message}");
        assert!(message.contains("Read-only file system"), "{message}");
    }
    unload(read_only).await;

    let keys = loaded_key_manager().await;
    let below_nothing = place.path().join("a/keys");
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let open_to_others = place.path().join("open");
    fs::create_dir(&open_to_others).unwrap();
    fs::set_permissions(&open_to_others, fs::Permissions::from_mode(0o777)).unwrap();
    for (path, why) in [
        (below_nothing, "No such file"),
        (file, "Not a directory"),
        (open_to_others, "others than its owner may write to it"),
    ] {
        let text = data(machine.manager.socket(), &path, "");
        let status = keys.configure(Some(TRUST_DOMAIN), &text).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{why}");
        assert!(status.message().contains(why), "{}", status.message());
    }
    unload(keys).await;
}

#[tokio::test]
async fn a_full_disk_costs_no_key() {
    let (machine, place) = (KeyMachine::new(), TempDir::new().unwrap());
    let mut keys = on_its_own_file_system(place.path(), "size=64k,mode=0755").await;
    let directory = place.path().join("keys");
    let text = data(machine.manager.socket(), &directory, "");
    keys.configure(Some(TRUST_DOMAIN), &text).await.unwrap();
    let old = [generate(&keys, IDS[0]).await, generate(&keys, IDS[1]).await];
    let seen = seen_from_here(&mut keys, place.path());
    let contents = |id: &str| fs::read(seen.join("keys").join(format!("{id}.json"))).unwrap();
    let before = IDS.map(contents);

    let filler = seen.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    for id in IDS.into_iter().chain(["third"]) {
        let manager = keys.key_manager();
        let made = manager.generate_key(id, KeyType::EcP256).await;
        let status = made.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "spire/M47: {status}");
        assert!(status.message().starts_with("key_not_kept: "), "{status}");
        assert_eq!(IDS.map(contents), before, "spire/M47");
        let expected = named([&old[0], &old[1]]);
        assert_eq!(list(&keys).await, expected, "spire/M47");
        for key in &old {
            signs(&keys, key).await;
        }
    }
    // Its pages are free once nobody has it open.
    drop(file);
    fs::remove_file(&filler).unwrap();
    let new = generate(&keys, IDS[0]).await;
    assert_ne!(new.fingerprint, old[0].fingerprint);
    signs(&keys, &new).await;
    assert_eq!(list(&keys).await, named([&new, &old[1]]));
    assert_eq!(
        files(&seen.join("keys")),
        IDS.map(|id| format!("{id}.json"))
    );
    unload(keys).await;
    machine.leaves_nothing_in_the_tpm();
}

#[tokio::test]
async fn two_key_managers_do_not_share_a_directory() {
    let machine = KeyMachine::new();
    let first = machine.key_manager("").await;
    let key = generate(&first, IDS[0]).await;
    let second = loaded_key_manager().await;
    let text = machine.data("");
    let status = second.configure(Some(TRUST_DOMAIN), &text).await;
    let status = status.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let message = status.message();
    assert!(message.ends_with("another KeyManager uses it"), "{message}");
    signs(&first, &key).await;
    unload(first).await;
    second.configure(Some(TRUST_DOMAIN), &text).await.unwrap();
    assert_eq!(list(&second).await, named([&key]));
    unload(second).await;
}

/// Everything that is wrong with a file costs its key, and no other.
#[tokio::test]
async fn a_file_that_is_damaged_is_set_aside_and_told() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 8] = [
        ("empty", |file| fs::write(file, "").unwrap()),
        ("half", |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("zeros", |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, vec![0; bytes.len()]).unwrap();
        }),
        ("huge", |file| fs::write(file, vec![b' '; 1 << 20]).unwrap()),
        ("newer", |file| {
            altered(file, "\"version\": 1", "\"version\": 2");
        }),
        ("other name", |file| altered(file, IDS[1], IDS[0])),
        ("directory", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("link", |file| {
            fs::remove_file(file).unwrap();
            symlink("/etc/hostname", file).unwrap();
        }),
    ];
    let machine = KeyMachine::new();
    let mut keys = machine.key_manager("").await;
    let kept = generate(&keys, IDS[0]).await;
    for (what, damage) in damages {
        let lost = generate(&keys, IDS[1]).await;
        unload(keys).await;
        damage(&machine.file(IDS[1]));
        keys = machine.key_manager("").await;
        assert_eq!(list(&keys).await, named([&kept]), "{what}");
        signs(&keys, &kept).await;
        let aside = machine.file(&format!("{}.json.damaged", IDS[1]));
        let aside = aside.with_extension("");
        assert!(fs::symlink_metadata(&aside).is_ok(), "{what}");
        let next = generate(&keys, IDS[1]).await;
        assert_ne!(next.fingerprint, lost.fingerprint, "{what}");
        let log = unload(keys).await;
        let told = reasons(&log, "key_damaged");
        assert_eq!(told.len(), 1, "{what}");
        assert_eq!(told[0].level, "error", "{what}");
        assert_eq!(field(told[0], "path"), aside.display().to_string());
        if aside.is_dir() {
            fs::remove_dir(&aside).unwrap();
        } else {
            fs::remove_file(&aside).unwrap();
        }
        keys = machine.key_manager("").await;
        assert_eq!(list(&keys).await, named([&kept, &next]), "{what}");
    }
    unload(keys).await;
}

fn altered(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

#[tokio::test]
async fn an_id_of_any_characters_is_one_file_in_the_directory() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let long = "k".repeat(242);
    let ids = [
        "../../evil",
        "/etc/evil",
        "..",
        ".",
        ".new",
        "a/b",
        "a%2Fb",
        "A",
        "a",
        "a.json",
        "a b\n\u{1b}[31m\u{202e}",
        "nul\0nul",
        "schlüssel",
        long.as_str(),
    ];
    let mut made = std::collections::BTreeMap::new();
    for id in ids {
        let key = generate(&keys, id).await;
        made.insert(id.to_owned(), key);
    }
    assert_eq!(list(&keys).await, made);
    let names = files(&machine.keys());
    assert_eq!(names.len(), ids.len(), "{names:?}");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_%.".contains(c);
    assert!(
        names.iter().all(|name| name.chars().all(plain)),
        "{names:?}"
    );
    assert_eq!(files(machine.keys().parent().unwrap()), ["keys"]);
    for too_long in ["k".repeat(255), "/".repeat(90)] {
        let manager = keys.key_manager();
        let made = manager.generate_key(&too_long, KeyType::EcP256).await;
        let status = made.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().starts_with("key_id_unsuitable: "),
            "{status}"
        );
    }
    unload(keys).await;
    let keys = machine.key_manager("").await;
    assert_eq!(list(&keys).await, made);
    for key in made.values() {
        signs(&keys, key).await;
    }
    unload(keys).await;
}

/// A copied directory is of no use elsewhere, and is not harmed by the attempt.
#[tokio::test]
async fn keys_of_another_tpm_are_not_listed_and_not_offered() {
    let (theirs, ours) = (KeyMachine::new(), KeyMachine::new());
    let keys = theirs.key_manager("").await;
    let key = generate(&keys, IDS[0]).await;
    unload(keys).await;
    fs::create_dir(ours.keys()).unwrap();
    fs::copy(theirs.file(IDS[0]), ours.file(IDS[0])).unwrap();
    let keys = ours.key_manager("after_reboot = \"keep\"").await;
    for _ in 0..2 {
        assert!(list(&keys).await.is_empty());
    }
    let manager = keys.key_manager();
    let signed = manager.sign(&key, &[7; 32], crate::process_key_machine::SHA256);
    assert_eq!(signed.await.unwrap_err().code(), Code::NotFound);
    let log = unload(keys).await;
    let told = reasons(&log, "key_of_another_tpm");
    assert_eq!(told.len(), 1, "once");
    assert_eq!(
        (told[0].level.as_str(), field(told[0], "key_id")),
        ("warn", IDS[0])
    );
    assert_eq!(files(&ours.keys()), ["agent-svid-A.json"]);

    let attestor = ours.attestor("").await;
    let payload = attestor.aid().await.unwrap().payload().await.unwrap();
    let offer = evidence::Offer::decode(&payload)
        .unwrap()
        .extension
        .unwrap();
    assert!(offer.svid_keys.is_empty() && offer.svid_parent.is_none());
    let log = unload(attestor).await;
    assert_eq!(reasons(&log, "key_of_another_tpm").len(), 1);
    assert_ne!(
        field_of(&ours.file(IDS[0]), "parent"),
        serde_json::Value::Null
    );
}

/// Whoever runs as the agent's user could otherwise have its keys sign.
#[tokio::test]
async fn another_process_of_the_same_user_cannot_use_the_keys() {
    let machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let key = generate(&keys, IDS[0]).await;
    let Handshake::Unix(socket) = keys.handshake() else {
        panic!("a unix socket")
    };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(socket), 0o600);
    assert_eq!(mode(socket.parent().unwrap()), 0o700);
    let mut other = Command::new("socat")
        .args(["-T5", "-u"])
        .arg(format!("UNIX-CONNECT:{}", socket.display()))
        .arg("-")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut heard = Vec::new();
    let mut output = other.stdout.take().unwrap();
    // A server of HTTP/2 speaks at once.
    let read = tokio::task::spawn_blocking(move || output.read_to_end(&mut heard).unwrap());
    assert_eq!(read.await.unwrap(), 0, "it was served");
    other.wait().unwrap();
    signs(&keys, &key).await;
    let log = unload(keys).await;
    let refused = "connection by another process refused";
    let told = log.iter().filter(|entry| entry.message.contains(refused));
    assert_eq!(told.count(), 1);
}

/// An agent that was told that it has no keys would make new ones.
#[tokio::test]
async fn a_tpm_that_does_not_answer_is_an_error_and_no_empty_list() {
    let mut machine = KeyMachine::new();
    let text = "tpm_timeout = \"2s\"\nafter_reboot = \"keep\"";
    let keys = machine.key_manager(text).await;
    let key = generate(&keys, IDS[0]).await;
    unload(keys).await;
    machine.tpm.power_off();
    machine.manager.disconnect();
    let keys = machine.key_manager(text).await;
    let status = keys.key_manager().public_keys().await.unwrap_err();
    assert!(status.message().starts_with("tpm_failed: "), "{status}");
    assert_ne!(status.code(), Code::NotFound);
    machine.tpm.restart();
    let deadline = std::time::Instant::now() + crate::process_plugin::LIMIT;
    while keys.key_manager().public_keys().await.is_err() {
        assert!(std::time::Instant::now() < deadline, "it comes back");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(list(&keys).await, named([&key]));
    signs(&keys, &key).await;
    unload(keys).await;
}

#[tokio::test]
async fn a_reboot_hides_the_keys_of_before_unless_they_are_to_be_kept() {
    let mut machine = KeyMachine::new();
    let keys = machine.key_manager("").await;
    let old = generate(&keys, IDS[0]).await;
    unload(keys).await;
    machine.tpm.restart();
    let keys = machine.key_manager("").await;
    assert!(list(&keys).await.is_empty());
    let status = keys.key_manager().public_key(IDS[0]).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let log = unload(keys).await;
    assert_eq!(reasons(&log, "key_before_reboot").len(), 1);
    let keys = machine.key_manager("after_reboot = \"keep\"").await;
    assert_eq!(list(&keys).await, named([&old]));
    signs(&keys, &old).await;
    unload(keys).await;
}
