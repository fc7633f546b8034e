//! Trouble with what a server has around it: descriptors, disks, files and the clock.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use conformance::{Host, LogLine, NotLoaded, Side};
use plugin::Code;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;
use tokio::time::sleep;
use verify::Reason;

use crate::process_abuse::{Scene, scripted};
use crate::process_abuse_wire::Wire;
use crate::process_certificates::{Authority, ORDINARY};
use crate::process_grants::{certified, machine};
use crate::process_plugin::{
    LIMIT, Records, attest, configure, configured, decisions, field, unload,
};

#[tokio::test]
async fn without_descriptors_the_host_is_still_served() {
    let mut scene = Scene::new("").await;
    let held = fs::read_dir(format!("/proc/{}/fd", scene.pid))
        .unwrap()
        .count();
    let most = u64::try_from(held).unwrap() + 4;
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    let pid = Pid::from_raw(i32::try_from(scene.pid).unwrap());
    prlimit(pid, Resource::Nofile, limit).unwrap();
    let connections: Vec<_> = {
        let mut connections = Vec::new();
        for _ in 0..20 {
            connections.push(Wire::silent(&scene.server).await);
        }
        connections
    };
    sleep(Duration::from_millis(300)).await;
    for _ in 0..20 {
        scene.serves("descriptors ran out").await;
    }
    drop(connections);
    scene.unharmed("descriptors ran out").await;
    let log = scene.unload().await;
    assert!(
        log.iter()
            .any(|entry| entry.message == "cannot accept a connection")
    );
}

/// How a file system of its own can be had here, without leaving it behind.
fn own_mounts() -> Option<&'static str> {
    let ways = ["unshare --mount", "unshare --user --map-root-user --mount"];
    let works = |way: &&str| {
        let try_it = format!("{way} mount -t tmpfs tmpfs /mnt");
        let output = Command::new("sh").args(["-c", &try_it]).output().unwrap();
        output.status.success()
    };
    let way = ways.into_iter().find(works);
    if way.is_none() {
        eprintln!("no file system of one's own can be mounted here: full ones are not tested");
    }
    way
}

#[tokio::test]
async fn a_full_disk_stops_nothing() {
    let Some(way) = own_mounts() else { return };
    let directory = TempDir::new().unwrap();
    let mut prover = machine();
    // Its log is on the full disk too: lines are lost.
    let script = format!(
        "exec {way} sh -c '
            mount -t tmpfs -o size=64k tmpfs \"$1\" && mkdir \"$1/hashes\" && : >\"$1/hashes/$2\" || exit 9
            cat /dev/zero >\"$1/full\" 2>/dev/null
            exec \"$0\" 2>\"$1/log\"
        ' \"$0\" \"$@\""
    );
    let subject = scripted(&script)
        .argument(directory.path())
        .argument(prover.tpm.ek_hash().hex());
    let server = Host::new().load(&subject).await.unwrap();
    configure(
        &server,
        &format!("hash_path = \"{}/hashes\"", directory.path().display()),
    )
    .await;
    for _ in 0..10 {
        attest(&server, &mut prover).await.unwrap();
        let stranger = attest(&server, &mut machine()).await.unwrap_err();
        assert_eq!(stranger.message(), Reason::EkNotAllowed.to_string());
    }
    unload(server).await;
}

#[tokio::test]
async fn without_room_for_its_socket_it_says_so_and_ends() {
    let Some(way) = own_mounts() else { return };
    let directory = TempDir::new().unwrap();
    let script = format!(
        "exec {way} sh -c '
            mount -t tmpfs -o size=64k,nr_inodes=1 tmpfs \"$1\" || exit 9
            TMPDIR=$1 exec \"$0\"
        ' \"$0\" \"$@\""
    );
    let outcome = Host::new()
        .load(&scripted(&script).argument(directory.path()))
        .await;
    let Err(NotLoaded::Exited { status, log }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(status.unwrap().code(), Some(1));
    let [LogLine::Entry(entry)] = log.as_slice() else {
        panic!("{log:?}")
    };
    assert_eq!(entry.level, "error");
    assert!(
        entry.message.contains("No space left") && entry.message.contains("TMPDIR"),
        "{}",
        entry.message
    );
}

#[tokio::test]
async fn a_log_on_a_full_device_stops_nothing() {
    let server = Host::new()
        .load(&scripted("exec \"$0\" 2>/dev/full"))
        .await
        .unwrap();
    let records = Records::new();
    configure(&server, &records.enrolment("")).await;
    let mut scene = Scene::of(records, server).await;
    scene.unharmed("a full device").await;
    assert!(scene.unload().await.is_empty());
}

/// tpm/J04: files of CAs that are cut short, emptied or gone while the server runs.
#[tokio::test]
async fn damaged_ca_files_leave_the_last_good_ones_in_force() {
    let (maker, other) = (Authority::new("Maker"), Authority::new("Other"));
    let records = Records::new();
    records.trust(&maker.certificate);
    records.trust(&other.certificate);
    let server = configured(
        Side::Server,
        &records.anchors("reload_interval = \"100ms\""),
    )
    .await;
    let file = records.cas().join("0.der");
    let aside = records.cas().join("..0.der");
    let elsewhere = TempDir::new().unwrap();
    let write = |bytes: &[u8]| fs::write(&file, bytes).unwrap();
    let damages: [(&str, &dyn Fn()); 5] = [
        ("tpm/J04 half of it", &|| {
            write(&maker.certificate[..maker.certificate.len() / 2]);
        }),
        ("tpm/J04 nothing in it", &|| write(b"")),
        ("tpm/J04 something else", &|| {
            write(b"-----BEGIN CERTIFICATE-----\nAAAA");
        }),
        ("tpm/J04 a link to nowhere", &|| {
            // In one step: a file that is gone is a certificate that was taken out.
            std::os::unix::fs::symlink("/does/not/exist", &aside).unwrap();
            fs::rename(&aside, &file).unwrap();
        }),
        ("tpm/J04 no directory", &|| {
            fs::rename(records.cas(), elsewhere.path().join("cas")).unwrap();
        }),
    ];
    for (name, damage) in damages {
        damage();
        sleep(Duration::from_millis(400)).await;
        for authority in [&maker, &other] {
            let granted = attest(&server, &mut certified(machine(), authority)).await;
            granted.unwrap_or_else(|status| panic!("{name}: {status}"));
        }
    }
    // As soon as they are whole again they are looked at again.
    let third = Authority::new("Third");
    fs::create_dir(records.cas()).unwrap();
    records.trust(&third.certificate);
    let begin = Instant::now();
    while attest(&server, &mut certified(machine(), &third))
        .await
        .is_err()
    {
        assert!(
            begin.elapsed() < LIMIT,
            "tpm/J04: the new certificate is in force"
        );
        sleep(Duration::from_millis(50)).await;
    }
    let log = unload(server).await;
    let told = |level: &str| {
        log.iter()
            .filter(|entry| entry.level == level && !entry.fields.contains_key("outcome"))
            .count()
    };
    assert!(told("error") > 0, "tpm/J04: damage is told");
}

#[tokio::test]
async fn a_configuration_that_says_too_little_or_too_much_is_refused() {
    let records = Records::new();
    let good = records.enrolment("");
    let mut scene = Scene::new("").await;
    for (name, text, part) in [
        (
            "tpm/J06 a typing error",
            good.replace("hash_path", "hash_pth"),
            "hash_path",
        ),
        (
            "tpm/J06 an unknown key",
            format!("{good}\naccept_all = true"),
            "accept_all",
        ),
        (
            "tpm/J07 nothing",
            String::new(),
            "no machine can be trusted",
        ),
        (
            "tpm/J07 no source of trust",
            "pcrs = [0]".to_owned(),
            "no machine can be trusted",
        ),
    ] {
        let status = scene
            .server
            .configure(Some("example.org"), &text)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{name}");
        assert!(status.message().contains(part), "{name}: {status}");
        let notes = scene
            .server
            .validate(Some("example.org"), &text)
            .await
            .unwrap()
            .notes;
        assert!(
            notes.iter().any(|note| note.contains(part)),
            "{name}: {notes:?}"
        );
        scene.serves(name).await;
    }
}

/// Certificates are judged by the clock, which may be wrong by years either way (tpm/J08).
#[tokio::test]
async fn a_clock_that_is_years_wrong_refuses_and_harms_nothing() {
    let maker = Authority::new("Maker");
    let records = Records::new();
    records.trust(&maker.certificate);
    let server = configured(Side::Server, &records.anchors("")).await;
    for (name, from, to, reason) in [
        (
            "tpm/J08 two years slow",
            2,
            20,
            Some(Reason::EkCertNotYetValid),
        ),
        ("tpm/J08 right", -2, 20, None),
        (
            "tpm/J08 two years fast",
            -20,
            -2,
            Some(Reason::EkCertExpired),
        ),
        ("tpm/J08 at the end of time", -2, 7900, None),
    ] {
        let mut prover = machine();
        let spki = prover.tpm.ek_key().spki();
        prover.certificate = Some(maker.certify_for_years(&spki, &ORDINARY, from..to));
        let outcome = attest(&server, &mut prover).await;
        match reason {
            None => drop(outcome.unwrap_or_else(|status| panic!("{name}: {status}"))),
            Some(reason) => {
                let status = outcome.unwrap_err();
                assert_eq!(status.code(), Code::PermissionDenied, "{name}");
                assert_eq!(status.message(), reason.to_string(), "{name}");
            }
        }
    }
    let log = unload(server).await;
    let reasons: Vec<_> = decisions(&log)
        .iter()
        .map(|line| field(line, "reason"))
        .collect();
    assert_eq!(
        reasons,
        ["ek_cert_not_yet_valid", "", "ek_cert_expired", ""]
    );
}
