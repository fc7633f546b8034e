//! The store of a server that fails, is damaged, or is used by two at once: no identity without a record of it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use conformance::{Loaded, Side};
use plugin::Code;
use softtpm::Prover;
use tests::run;
use verify::Reason;

use crate::process_composer::svid;
use crate::process_plugin::{LIMIT, TRUST_DOMAIN, attest, decisions, field, load, unload};
use crate::process_store::{Kept, remove_store};

async fn unavailable(server: &Loaded, machine: &mut Prover, case: &str) {
    let status = attest(server, machine).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{case}");
    let sentence = Reason::DatabaseUnavailable.to_string();
    assert_eq!(status.message(), sentence, "{case}");
}

/// Another program holds the store for itself, as a backup does that hangs.
struct Holder(std::process::Child);

impl Holder {
    fn of(kept: &Kept) -> Self {
        let mut child = Command::new("sqlite3")
            .arg(kept.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.as_mut().unwrap();
        input
            .write_all(b".timeout 10000\nBEGIN EXCLUSIVE;\nSELECT 'held';\n")
            .unwrap();
        let mut said = [0; 4];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!(&said, b"held");
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_store_that_is_held_by_another_grants_nothing_and_recovers() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    let before = kept.of(&machine).await;
    let holder = Holder::of(&kept);
    let begun = Instant::now();
    unavailable(&server, &mut machine, "tpm/H07 held").await;
    assert!(begun.elapsed() < LIMIT / 3, "tpm/H07: it waits a while");
    drop(holder);
    assert_eq!(kept.of(&machine).await, before);
    attest(&server, &mut machine)
        .await
        .expect("tpm/H07 free again");
    let log = unload(server).await;
    let lines = decisions(&log);
    assert_eq!(field(lines[1], "reason"), "database_unavailable");
    assert!(!field(lines[1], "detail").is_empty());
    assert_eq!(field(lines[1], "evidence"), "quote", "the proof held");
}

/// What cannot be read is not absent: the machine does not count as a new one.
#[tokio::test]
async fn a_damaged_row_grants_nothing() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let (mut machine, mut other) = (kept.keyed(), kept.keyed());
    attest(&server, &mut machine).await.unwrap();
    let row = kept.of(&machine).await.unwrap();
    let hash = machine.tpm.ek_hash().hex();
    for damage in [
        "ak = x'00'",
        "boot_ids = x'ffff'",
        "storage_root = x'000b'",
        "quarantine_reason = 'clone_suspected'",
    ] {
        let copy =
            format!("CREATE TABLE kept AS SELECT * FROM machines WHERE ek_hash = x'{hash}';");
        let damaged = format!("UPDATE machines SET {damage} WHERE ek_hash = x'{hash}';");
        kept.sql(&format!("{copy}{damaged}"));
        let before = kept.dump();
        unavailable(&server, &mut machine, damage).await;
        assert_eq!(kept.dump(), before, "tpm/H07 {damage}");
        attest(&server, &mut other)
            .await
            .expect("another machine's is whole");
        kept.sql(&format!(
            "DELETE FROM machines WHERE ek_hash = x'{hash}'; INSERT INTO machines SELECT * FROM kept; DROP TABLE kept;"
        ));
        attest(&server, &mut machine).await.expect("tpm/H07 mended");
    }
    assert!(kept.of(&machine).await.unwrap().revision > row.revision);
    unload(server).await;
}

#[tokio::test]
async fn a_table_that_is_gone_grants_nothing() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    kept.sql("ALTER TABLE machines RENAME TO elsewhere;");
    unavailable(&server, &mut machine, "tpm/H07 no table").await;
    kept.sql("ALTER TABLE elsewhere RENAME TO machines;");
    attest(&server, &mut machine).await.expect("tpm/H07 back");
    kept.sql("ALTER TABLE svid_keys RENAME TO elsewhere;");
    unavailable(&server, &mut machine, "tpm/H07 no table of keys").await;
    unload(server).await;
}

/// A file that is no store, or is of somebody else, is none to begin with.
#[tokio::test]
async fn a_file_that_is_no_store_is_refused_at_configure() {
    type Damage = fn(&Kept);
    let damages: [(&str, Damage); 4] = [
        ("garbage", |kept| {
            remove_store(&kept.path());
            fs::write(kept.path(), vec![7; 8192]).unwrap();
        }),
        ("overwritten", |kept| {
            kept.sql("PRAGMA wal_checkpoint(TRUNCATE);");
            let file = OpenOptions::new().write(true).open(kept.path()).unwrap();
            file.write_all_at(&[7; 100], 0).unwrap();
        }),
        ("another application's", |kept| {
            kept.sql("PRAGMA application_id = 7;");
        }),
        ("newer", |kept| {
            kept.sql("PRAGMA user_version = 99;");
        }),
    ];
    for (case, damage) in damages {
        let kept = Kept::new().await;
        damage(&kept);
        let before = fs::read(kept.path()).unwrap();
        let server = load(Side::Server).await;
        let text = kept.data("");
        let status = server.configure(Some(TRUST_DOMAIN), &text).await;
        let status = status.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "tpm/H07 {case}");
        let message = status.message();
        assert!(
            message.contains("unable to open store: "),
            "{case}: {message}"
        );
        assert!(!message.contains(char::is_control), "{message}");
        unload(server).await;
        assert_eq!(fs::read(kept.path()).unwrap(), before, "{case}");
    }
}

/// Two servers of one trust domain, one store, and machines that come to both at once.
#[tokio::test]
async fn two_servers_that_race_lose_no_update() {
    const ROUNDS: usize = 12;
    let kept = Kept::new().await;
    let servers = [
        Arc::new(kept.server("").await),
        Arc::new(kept.server("").await),
    ];
    let mut machine = kept.keyed();
    attest(&servers[0], &mut machine).await.unwrap();
    let first = kept.of(&machine).await.unwrap().revision;
    let mut granted = 0;
    for _ in 0..ROUNDS {
        let at_once: Vec<_> = [0, 1, 0, 1]
            .into_iter()
            .map(|index: usize| {
                let server = Arc::clone(&servers[index]);
                let mut one = Prover::new(machine.tpm.clone(), TRUST_DOMAIN);
                tokio::spawn(async move { attest(&server, &mut one).await.map(drop) })
            })
            .collect();
        for attested in at_once {
            match attested.await.unwrap() {
                Ok(()) => granted += 1,
                // Overtaken too often, and nothing was written.
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "tpm/H06");
                    let conflict = Reason::StateConflict.to_string();
                    assert_eq!(status.message(), conflict, "tpm/H06");
                }
            }
        }
    }
    assert!(granted >= ROUNDS * 3, "tpm/H06: {granted}");
    let known = kept.of(&machine).await.unwrap();
    let writes = usize::try_from(known.revision - first).unwrap();
    assert_eq!(writes, granted, "tpm/H06: every identity is written down");
    assert_eq!(known.quarantine, None, "tpm/H06");
    for server in servers {
        unload(Arc::into_inner(server).unwrap()).await;
    }
}

/// Of a machine and its copy at two servers, one is admitted to what the other has left.
#[tokio::test]
async fn a_copy_at_another_server_is_noticed_there() {
    let kept = Kept::new().await;
    let (one, other) = (kept.server("").await, kept.server("").await);
    let mut machine = kept.keyed();
    attest(&one, &mut machine).await.unwrap();
    let mut copy = Prover::new(machine.tpm.clone(), TRUST_DOMAIN);
    machine.tpm.advance_clock(60_000);
    attest(&one, &mut machine).await.unwrap();
    let status = attest(&other, &mut copy).await.unwrap_err();
    assert_eq!(status.message(), Reason::ClockRegressed.to_string());
    let status = attest(&one, &mut machine).await.unwrap_err();
    assert_eq!(status.message(), Reason::Quarantined.to_string());
    unload(one).await;
    unload(other).await;
}

/// A server does not go on with a file that nobody else finds.
#[tokio::test]
async fn a_store_that_was_removed_grants_nothing_until_it_is_there_again() {
    let kept = Kept::new().await;
    let (server, composer) = (kept.server("").await, kept.composer("").await);
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    let backup = kept.path().with_extension("backup");
    kept.sql(&format!(".backup {}", backup.display()));
    let before = kept.of(&machine).await;
    remove_store(&kept.path());
    for _ in 0..2 {
        unavailable(&server, &mut machine, "tpm/H07 removed").await;
        let status = svid(&composer, &machine, 0).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "tpm/H07 removed");
        assert!(!kept.path().exists(), "tpm/H07: no new one is made");
    }
    fs::rename(&backup, kept.path()).unwrap();
    svid(&composer, &machine, 0).await.expect("tpm/H07 back");
    assert_eq!(kept.of(&machine).await, before);
    attest(&server, &mut machine).await.expect("tpm/H07 back");
    // Another file in its place is looked at as at the start.
    kept.sql(&format!(".backup {}", backup.display()));
    let foreign = format!("{}.foreign", kept.path().display());
    run(
        "sqlite3",
        &[
            &foreign,
            "PRAGMA application_id = 7; CREATE TABLE machines (a);",
        ],
        &[],
    );
    remove_store(&kept.path());
    fs::rename(&foreign, kept.path()).unwrap();
    unavailable(&server, &mut machine, "tpm/H07 foreign").await;
    remove_store(&kept.path());
    fs::rename(&backup, kept.path()).unwrap();
    attest(&server, &mut machine).await.expect("tpm/H07 back");
    unload(composer).await;
    unload(server).await;
}
