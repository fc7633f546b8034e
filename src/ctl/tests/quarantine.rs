//! Machines in quarantine, in an SQLite file as a server would have left it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use evidence::{ClockInfo, EkHash, Name};
use serde_json::{Value, json};
use store::{Database, DatabaseAddress, StoredMachine};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use verify::{MachineState, Quarantine, Reason};

use crate::software_tpm::{succeed, tool};
use crate::{error, good, good_json};

/// The file and the servers' way to it, which stays open while the tool works.
struct Store {
    directory: TempDir,
    runtime: Runtime,
    database: Database,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let file = directory.path().join("store.sqlite3");
        let address = DatabaseAddress::parse(file.to_str().unwrap(), |_| None).unwrap();
        let database = runtime.block_on(Database::open(&address)).unwrap();
        Self {
            directory,
            runtime,
            database,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn address(&self) -> String {
        crate::text(&self.path("store.sqlite3"))
    }

    fn keep(&self, ek: &EkHash, state: &MachineState, quarantine: Option<&Quarantine>) {
        let kept = self.database.replace(ek, None, state, quarantine);
        assert!(self.runtime.block_on(kept).unwrap());
    }

    fn machine(&self, ek: &EkHash) -> Option<StoredMachine> {
        self.runtime.block_on(self.database.machine(ek)).unwrap()
    }

    /// `quarantine COMMAND --store …` as JSON.
    fn run(&self, arguments: &[&str]) -> Output {
        let address = self.address();
        let store = ["-o", "json", "--store", &address];
        tool(&[&["quarantine"], arguments, &store].concat())
    }

    /// The exit code and the reason of a failure.
    fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.run(arguments);
        let error = error(&output);
        let reason = error.get("reason").and_then(Value::as_str).unwrap();
        let reason = reason.to_owned();
        (output.status.code(), reason)
    }
}

fn ek(byte: u8) -> EkHash {
    EkHash::from_hex(&hex::encode([byte; 32])).unwrap()
}

fn state(reset_count: u32) -> MachineState {
    let name = |byte| Name::from_bytes(&[&[0, 0x0B][..], &[byte; 32]].concat());
    MachineState {
        ak: name(1),
        storage_root: Some(name(2)),
        clock: Some(ClockInfo {
            clock: 90_061_000,
            reset_count,
            restart_count: 0,
            safe: true,
        }),
        boot_ids: vec!["6a8e".to_owned()],
        seen_ms: 1_700_000_000_000,
    }
}

/// A copy was seen in a state that the machine had left behind.
fn cloned() -> Quarantine {
    Quarantine {
        reason: Reason::CloneSuspected,
        since_ms: 1_700_000_360_000,
        observed: state(5),
    }
}

#[test]
fn machines_in_quarantine_are_listed_with_what_was_seen() {
    let store = Store::new();
    assert_eq!(good_json(&store.run(&["list"])), json!([]));
    store.keep(&ek(1), &state(7), None);
    store.keep(&ek(2), &state(7), Some(&cloned()));
    let listed = good_json(&store.run(&["list"]));
    let machines = listed.as_array().unwrap();
    assert_eq!(machines.len(), 1);
    assert_eq!(machines[0]["ek_hash"], ek(2).hex());
    assert_eq!(machines[0]["device"], ek(2).device());
    let quarantine = &machines[0]["quarantine"];
    assert_eq!(quarantine["reason"], "clone_suspected");
    assert_eq!(quarantine["since"], "2023-11-14T22:19:20Z");
    assert_eq!(quarantine["observed"]["clock"]["reset_count"], 5);
    assert_eq!(machines[0]["known"]["clock"]["reset_count"], 7);
    let address = store.address();
    let table = good(&tool(&["quarantine", "list", "--store", &address]));
    assert_eq!(
        table.lines().next_back().unwrap(),
        format!(
            "{}  clone_suspected  2023-11-14T22:19:20Z  the TPM's resets went back from 7 to 5",
            ek(2).hex()
        )
    );
}

#[test]
fn more_machines_than_a_page_are_listed() {
    let store = Store::new();
    let count = usize::try_from(Database::PAGE).unwrap() + 3;
    for number in 0..count {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        let ek = EkHash::from_hex(&hex::encode(hash)).unwrap();
        store.keep(&ek, &state(7), Some(&cloned()));
    }
    let listed = good_json(&store.run(&["list"]));
    assert_eq!(listed.as_array().unwrap().len(), count);
}

#[test]
fn a_machine_is_shown_by_every_form_of_its_hash() {
    let store = Store::new();
    store.keep(&ek(0xA1), &state(7), Some(&cloned()));
    store.keep(&ek(0xA2), &state(7), Some(&cloned()));
    store.keep(&ek(0xB1), &state(7), None);
    for (form, expected) in [
        (ek(0xA1).hex(), ek(0xA1)),
        (ek(0xA1).hex().to_uppercase(), ek(0xA1)),
        ("a1a1".to_owned(), ek(0xA1)),
        (format!("device:{}", ek(0xA2).device()), ek(0xA2)),
        (ek(0xA2).device().get(..6).unwrap().to_owned(), ek(0xA2)),
        (
            format!("spiffe://example.org/spire/agent/tpm/{}", ek(0xB1).hex()),
            ek(0xB1),
        ),
        (ek(0xB1).device(), ek(0xB1)),
    ] {
        let shown = good_json(&store.run(&["show", &form]));
        assert_eq!(shown["ek_hash"], expected.hex(), "{form}");
    }
    for (form, code, reason) in [
        ("a", 2, "ambiguous_hash"),
        // Not in quarantine: only the whole of it is enough.
        ("b1", 1, "unknown_machine"),
        ("", 1, "unknown_machine"),
        ("zzz", 1, "unknown_machine"),
        (ek(0xC1).hex().as_str(), 1, "unknown_machine"),
    ] {
        let refused = store.refused(&["show", form]);
        assert_eq!(refused, (Some(code), reason.to_owned()), "{form:?}");
    }
    let address = store.address();
    let arguments = ["quarantine", "show", "a1", "--store", &address];
    let table = good(&tool(&arguments));
    for line in [
        "quarantine  clone_suspected: ",
        "changed     the TPM's resets went back from 7 to 5\n",
        "WHAT              KNOWN                 SEEN\n",
        "TPM resets        7                     5\n",
        "TPM clock         1 d 1 h 1 min         1 d 1 h 1 min\n",
        "storage root key  0202020202020202      0202020202020202\n",
    ] {
        assert!(table.contains(line), "no {line:?} in\n{table}");
    }
    let table = good(&tool(&[
        "quarantine",
        "show",
        &ek(0xB1).hex(),
        "--store",
        &address,
    ]));
    assert!(table.contains("quarantine  none\n"), "{table}");
    assert!(!table.contains("SEEN"), "{table}");
}

#[test]
fn what_was_seen_is_accepted_and_what_is_known_is_forgotten() {
    let store = Store::new();
    store.keep(&ek(1), &state(7), Some(&cloned()));
    store.keep(&ek(2), &state(7), None);
    // Nobody is there to be asked.
    for command in ["accept", "forget"] {
        let refused = store.refused(&[command, &ek(1).hex()]);
        assert_eq!(refused, (Some(2), "not_confirmed".to_owned()));
    }
    assert_eq!(store.machine(&ek(1)).unwrap().quarantine, Some(cloned()));
    let accepted = good_json(&store.run(&["accept", "01", "--yes"]));
    assert_eq!(
        accepted,
        json!({"ek_hash": ek(1).hex(), "device": ek(1).device(), "done": "accepted"})
    );
    let stored = store.machine(&ek(1)).unwrap();
    assert_eq!((stored.state, stored.quarantine), (state(5), None));
    for (arguments, reason) in [
        (["accept", &ek(1).hex(), "--yes"], "not_in_quarantine"),
        (["accept", &ek(2).hex(), "--yes"], "not_in_quarantine"),
        (["accept", &ek(3).hex(), "--yes"], "unknown_machine"),
        (["forget", &ek(3).hex(), "--yes"], "unknown_machine"),
    ] {
        let refused = store.refused(&arguments);
        assert_eq!(refused, (Some(1), reason.to_owned()), "{arguments:?}");
    }
    let forgotten = good_json(&store.run(&["forget", &ek(2).hex(), "--yes"]));
    assert_eq!(forgotten["done"], "forgotten");
    assert_eq!(store.machine(&ek(2)), None);
    assert!(store.machine(&ek(1)).is_some());
}

#[test]
fn on_a_terminal_the_operator_is_asked() {
    let store = Store::new();
    store.keep(&ek(1), &state(7), Some(&cloned()));
    let on_a_terminal = |answer: &str| {
        let tool = env!("CARGO_BIN_EXE_tpm-attestor");
        let (hash, address) = (ek(1).hex(), store.address());
        let command = format!("{tool} quarantine accept {hash} --store {address}");
        // The pause: what is typed before the terminal is ready is lost.
        let script =
            format!("(sleep 1; echo {answer}; sleep 1) | script -qc '{command}' /dev/null");
        let mut shell = Command::new("sh");
        String::from_utf8(succeed(shell.args(["-c", &script]))).unwrap()
    };
    let said = on_a_terminal("no");
    assert!(
        said.contains("the TPM's resets went back from 7 to 5"),
        "{said}"
    );
    assert!(said.contains("rightful state? [y/N] "), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert!(store.machine(&ek(1)).unwrap().quarantine.is_some());
    let said = on_a_terminal("y");
    assert!(said.contains("is out of quarantine"), "{said}");
    assert_eq!(store.machine(&ek(1)).unwrap().quarantine, None);
}

/// Who answers about what was shown does not answer about what has come since.
#[test]
fn a_word_about_what_has_changed_since_does_nothing() {
    for command in ["accept", "forget"] {
        let store = Store::new();
        store.keep(&ek(1), &state(7), Some(&cloned()));
        let shown = store.machine(&ek(1)).unwrap();
        let tool = env!("CARGO_BIN_EXE_tpm-attestor");
        let (hash, address) = (ek(1).hex(), store.address());
        let command_line = format!("{tool} quarantine {command} {hash} --store {address}");
        let mut terminal = Command::new("script")
            .args(["-qec", &command_line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut output = terminal.stdout.take().unwrap();
        let mut until = |end: &str| {
            let mut byte = [0];
            while !said.ends_with(end) && output.read(&mut byte).unwrap() == 1 {
                said.push(char::from(byte[0]));
            }
            said.clone()
        };
        assert!(until("[y/N] ").ends_with("[y/N] "), "{command}");
        let other = Quarantine {
            observed: state(4),
            ..cloned()
        };
        let (machine, known) = (ek(1), state(7));
        let written = store
            .database
            .replace(&machine, Some(shown.revision), &known, Some(&other));
        assert!(store.runtime.block_on(written).unwrap());
        let mut input = terminal.stdin.take().unwrap();
        input.write_all(b"y\n").unwrap();
        let said = until("\0");
        assert_eq!(terminal.wait().unwrap().code(), Some(1), "{said}");
        assert!(
            said.contains("has changed since it was looked at"),
            "{said}"
        );
        let kept = store.machine(&ek(1)).unwrap().quarantine;
        assert_eq!(kept, Some(other), "{command}");
    }
}

#[test]
fn a_machine_that_cannot_be_read_can_be_forgotten() {
    let store = Store::new();
    store.keep(&ek(1), &state(7), Some(&cloned()));
    let damage = "UPDATE machines SET ak = x'00'";
    succeed(Command::new("sqlite3").args([store.address().as_str(), damage]));
    let hash = ek(1).hex();
    let refused = store.refused(&["accept", &hash, "--yes"]);
    assert_eq!(refused, (Some(3), "database_damaged".to_owned()));
    let forgotten = good_json(&store.run(&["forget", &hash, "--yes"]));
    assert_eq!(forgotten["done"], "forgotten");
    assert_eq!(store.machine(&ek(1)), None);
}

#[test]
fn the_store_is_found_in_the_server_s_configuration() {
    let store = Store::new();
    store.keep(&ek(1), &state(7), Some(&cloned()));
    let configuration = store.path("server.hcl");
    let run = |text: &str| {
        fs::write(&configuration, text).unwrap();
        let file = crate::text(&configuration);
        tool(&["quarantine", "list", "-o", "json", "--config", &file])
    };
    let text = format!("hash_path = \"/absent\"\nstore = \"{}\"\n", store.address());
    let listed = good_json(&run(&text));
    assert_eq!(listed[0]["ek_hash"], ek(1).hex());
    for (text, reason) in [
        ("hash_path = \"/absent\"\n", "bad_configuration"),
        ("store = 7\n", "bad_configuration"),
        ("store = \"relative\"\n", "bad_store"),
    ] {
        let output = run(text);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(error(&output)["reason"], reason, "{text}");
    }
}

#[test]
fn a_store_that_cannot_be_used_is_told_and_none_is_made() {
    let store = Store::new();
    let damaged = store.path("damaged");
    fs::write(
        &damaged,
        "this is no database, but it is long enough to be one",
    )
    .unwrap();
    let absent = store.path("absent");
    for (address, code, reason) in [
        (crate::text(&absent), 3, "no_database"),
        (crate::text(&damaged), 3, "database_damaged"),
        (
            "postgres://u@127.0.0.1:1/d".to_owned(),
            3,
            "database_unavailable",
        ),
        (
            "postgres://u:${H8_IS_NOT_SET}@h/d".to_owned(),
            2,
            "bad_store",
        ),
        ("relative".to_owned(), 2, "bad_store"),
    ] {
        let arguments = ["quarantine", "list", "-o", "json", "--store", &address];
        let output = tool(&arguments);
        assert_eq!(output.status.code(), Some(code), "{address}");
        assert_eq!(error(&output)["reason"], reason, "{address}");
    }
    assert!(!absent.exists());
    for arguments in [
        &["quarantine", "list"][..],
        &["quarantine", "list", "--store", "/a", "--config", "/b"],
        &["quarantine", "show", "--store", "/a"],
    ] {
        assert_eq!(tool(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let address = "postgres://user:hidden-secret@127.0.0.1:1/d";
    let output = tool(&["quarantine", "list", "--store", address]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("127.0.0.1"), "{said}");
    assert!(!said.contains("hidden-secret"), "{said}");
}

#[test]
fn text_of_a_machine_moves_no_cursor() {
    let store = Store::new();
    let mut seen = state(5);
    seen.boot_ids = vec!["\u{1b}[2J".to_owned()];
    let quarantine = Quarantine {
        observed: seen,
        ..cloned()
    };
    store.keep(&ek(1), &state(7), Some(&quarantine));
    let address = store.address();
    let table = good(&tool(&["quarantine", "show", "01", "--store", &address]));
    assert!(table.contains("\\u{1b}[2J"), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
    let shown: Value = good_json(&store.run(&["show", "01"]));
    assert_eq!(shown["quarantine"]["observed"]["boot_ids"][0], "\\u{1b}[2J");
}
