//! Machines and keys to write, each told by a number.

use evidence::{ClockInfo, EkHash, Name};
use store::{Database, DatabaseAddress, KeyRecords};
use tempfile::TempDir;
use verify::{BOOT_IDS, MachineState, Quarantine, Reason};

/// When everything here happens.
pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) fn ek(number: u32) -> EkHash {
    EkHash::from_hex(&format!("{number:064x}")).unwrap()
}

pub(crate) fn key(number: u32) -> [u8; 32] {
    *ek(number).as_bytes()
}

/// A state that an ordinary machine has after so many resets.
pub(crate) fn state(resets: u32) -> MachineState {
    MachineState {
        ak: name(1),
        storage_root: Some(name(2)),
        clock: Some(ClockInfo {
            clock: 1000,
            reset_count: resets,
            restart_count: 0,
            safe: true,
        }),
        boot_ids: vec!["7b5f4bd0-ec06-4f9a-8f3b-4ee8c9d1a6b1".to_owned()],
        seen_ms: NOW,
    }
}

/// States with everything and nothing in them.
pub(crate) fn odd_states() -> [MachineState; 3] {
    let bare = MachineState {
        storage_root: None,
        clock: None,
        boot_ids: Vec::new(),
        seen_ms: 0,
        ..state(0)
    };
    let full = MachineState {
        ak: Name::from_bytes(&[&[0x00, 0x0D][..], &[7; 64]].concat()),
        clock: Some(ClockInfo {
            clock: u64::MAX,
            reset_count: u32::MAX,
            restart_count: u32::MAX,
            safe: false,
        }),
        boot_ids: (0..BOOT_IDS).map(|_| "\0'ü\"".repeat(16)).collect(),
        seen_ms: i64::MAX / 2,
        ..state(0)
    };
    let empty_ids = MachineState {
        boot_ids: vec![String::new(); 3],
        ..state(0)
    };
    [bare, full, empty_ids]
}

pub(crate) fn quarantine(reason: Reason) -> Quarantine {
    Quarantine {
        reason,
        since_ms: NOW + 5,
        observed: MachineState {
            ak: name(9),
            seen_ms: NOW + 5,
            ..state(77)
        },
    }
}

pub(crate) fn records<'a>(agent_id: &'a str, keys: &'a [[u8; 32]]) -> KeyRecords<'a> {
    KeyRecords {
        agent_id,
        spki_sha256: keys,
        expires_ms: NOW + 1,
    }
}

pub(crate) fn file(directory: &TempDir) -> DatabaseAddress {
    let path = directory.path().join("store.sqlite3");
    DatabaseAddress::parse(path.to_str().unwrap(), |_| None).unwrap()
}

/// The resets that a machine's state says.
pub(crate) async fn resets(database: &Database, ek: &EkHash) -> u32 {
    let machine = database.machine(ek).await.unwrap().unwrap();
    machine.state.clock.unwrap().reset_count
}

fn name(byte: u8) -> Name {
    Name::from_bytes(&[&[0x00, 0x0B][..], &[byte; 32]].concat())
}
