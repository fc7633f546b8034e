//! What a server makes of a machine that it knows (group H): copies, old states, resets and clears, and who is told of them.

use std::time::Duration;

use conformance::{Loaded, Measured};
use evidence::AkTemplate;
use softtpm::{KeyKind, Lies, Prover, SoftTpm};
use verify::Reason;

use crate::process_plugin::{LIMIT, TRUST_DOMAIN, attest, configure, decisions, field, unload};
use crate::process_store::{Kept, make_key, now_ms, told};

/// More than two attestations at once may lag behind each other.
pub(crate) const LONG: u64 = 60_000;

type Event = fn(&mut SoftTpm);

/// Another machine with all that this one has.
fn copy_of(machine: &Prover) -> Prover {
    let mut copy = Prover::new(machine.tpm.clone(), TRUST_DOMAIN);
    copy.certificate.clone_from(&machine.certificate);
    copy
}

pub(crate) async fn refused(server: &Loaded, machine: &mut Prover, reason: Reason, case: &str) {
    let status = attest(server, machine).await.unwrap_err();
    let code = server::status::code(reason.fault());
    let sentence = reason.to_string();
    assert_eq!(
        (status.code(), status.message()),
        (code, sentence.as_str()),
        "{case}"
    );
}

/// A refusal that leaves everything as it was.
pub(crate) async fn refused_for_now(
    kept: &Kept,
    server: &Loaded,
    machine: &mut Prover,
    reason: Reason,
    case: &str,
) {
    let before = kept.dump();
    refused(server, machine, reason, case).await;
    assert_eq!(kept.dump(), before, "{case}");
}

/// A refusal that keeps the machine out until somebody has looked at it; what was known of it stays.
async fn quarantined(
    kept: &Kept,
    server: &Loaded,
    machine: &mut Prover,
    reason: Reason,
    case: &str,
) {
    let before = kept.of(machine).await.unwrap();
    refused(server, machine, reason, case).await;
    let after = kept.of(machine).await.unwrap();
    assert_eq!(after.state, before.state, "{case}");
    let quarantine = after.quarantine.clone().unwrap();
    assert_eq!(quarantine.reason, reason, "{case}");
    assert!((now_ms() - quarantine.since_ms).abs() < 60_000, "{case}");
    let observed = quarantine.observed.clock.unwrap();
    assert_eq!(
        observed.reset_count, machine.tpm.clock.reset_count,
        "{case}"
    );
    // From now on it is refused for that, and nothing is written.
    refused_for_now(kept, server, machine, Reason::Quarantined, case).await;
}

#[tokio::test]
async fn a_machine_is_known_from_its_first_attestation_on() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = kept.keyed();
    assert_eq!(kept.of(&machine).await, None);
    let first = attest(&server, &mut machine).await.unwrap();
    let known = kept.of(&machine).await.unwrap();
    let clock = known.state.clock.unwrap();
    assert_eq!(clock.reset_count, machine.tpm.clock.reset_count);
    assert_eq!(known.state.ak, machine.tpm.ak.name().unwrap());
    let root = machine.tpm.storage_root().unwrap().name();
    assert_eq!(known.state.storage_root, root);
    assert_eq!(known.quarantine, None);
    assert!(kept.takes(&machine, 0).await && !kept.takes(&machine, 0).await);

    // A life without surprises: time, sleep, reboots, a loss of power.
    let events: [(&str, Event); 6] = [
        ("time", |tpm| tpm.advance_clock(LONG)),
        ("sleep", SoftTpm::restart),
        ("reboot", |tpm| tpm.reboot().unwrap()),
        ("loss of power", |tpm| tpm.lose_power().unwrap()),
        ("more time", |tpm| tpm.advance_clock(1 << 23)),
        ("another key", make_key),
    ];
    for (event, happens) in events {
        happens(&mut machine.tpm);
        let again = attest(&server, &mut machine).await;
        assert_eq!(again.unwrap(), first, "{event}");
    }
    let now = kept.of(&machine).await.unwrap();
    assert_eq!(now.state.boot_ids.len(), 3);
    assert_eq!(now.state.boot_ids.last(), machine.tpm.boot_id.as_ref());
    assert!(kept.takes(&machine, 1).await);
    let log = unload(server).await;
    assert!(decisions(&log).iter().all(|line| line.level == "info"));
    assert_eq!(decisions(&log)[0].fields["svid_keys"], 1);
    assert_eq!(decisions(&log)[6].fields["svid_keys"], 2);
}

#[tokio::test]
async fn a_copy_that_falls_behind_is_noticed_and_neither_goes_on() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    for (case, reboots, reason) in [
        ("tpm/H01", true, Reason::CloneSuspected),
        ("tpm/H02", false, Reason::ClockRegressed),
    ] {
        let mut machine = kept.keyed();
        attest(&server, &mut machine).await.unwrap();
        let mut copy = copy_of(&machine);
        machine.tpm.advance_clock(LONG);
        if reboots {
            machine.tpm.reboot().unwrap();
        }
        attest(&server, &mut machine).await.unwrap();
        quarantined(&kept, &server, &mut copy, reason, case).await;
        refused(&server, &mut machine, Reason::Quarantined, case).await;
        // Who knows better says so, and what was seen then counts.
        let hash = machine.tpm.ek_hash();
        kept.accept(&hash).await;
        attest(&server, &mut machine).await.unwrap();
        quarantined(&kept, &server, &mut copy, reason, case).await;
        kept.forget(&hash).await;
        attest(&server, &mut copy).await.unwrap();
    }
    let log = unload(server).await;
    for reason in ["clone_suspected", "clock_regressed"] {
        let told = told(&log, "error", reason);
        assert_eq!(told.len(), 2, "{reason}");
        assert_eq!(field(told[0], "ek_hash").len(), 64);
    }
}

/// Its SVID keys are below another primary key of the owner hierarchy, as whoever has a copy of a TPM's state can make them;
/// clock and counters stay as they are.
fn replace_storage_root(machine: &mut Prover) {
    let root = SoftTpm::generate().unwrap();
    let parent = root.storage_parent().unwrap();
    for key in &mut machine.tpm.svid_keys {
        *key = key.clone().under(parent.clone());
    }
    let root = root.storage_root().unwrap().as_bytes().to_vec();
    machine.lies = Lies::none().offer(move |offer| {
        offer.extension.as_mut().unwrap().svid_parent = Some(root.clone());
    });
}

/// A copy with another storage root key that was not cleared.
#[tokio::test]
async fn a_copy_with_another_storage_root_key_is_no_cleared_tpm() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    let mut copy = copy_of(&machine);
    machine.tpm.reboot().unwrap();
    machine.tpm.advance_clock(LONG);
    attest(&server, &mut machine).await.unwrap();
    replace_storage_root(&mut copy);
    let case = "tpm/H01 another root";
    quarantined(&kept, &server, &mut copy, Reason::CloneSuspected, case).await;
    refused(&server, &mut machine, Reason::Quarantined, case).await;

    // The machine itself may replace its root: that is told, and it goes on.
    let hash = machine.tpm.ek_hash();
    kept.forget(&hash).await;
    attest(&server, &mut machine).await.expect(case);
    replace_storage_root(&mut machine);
    attest(&server, &mut machine).await.expect(case);
    assert_eq!(changes(&server, 1).await, ["tpm_cleared"], "{case}");
    unload(server).await;
}

/// A copy that runs ahead cannot be told from the machine; the machine itself gives it away then.
#[tokio::test]
async fn of_a_copy_that_runs_ahead_the_machine_tells() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    let mut copy = copy_of(&machine);
    copy.tpm.reboot().unwrap();
    copy.tpm.advance_clock(LONG);
    attest(&server, &mut copy).await.unwrap();
    let case = "tpm/H01 ahead";
    quarantined(&kept, &server, &mut machine, Reason::CloneSuspected, case).await;
    refused(&server, &mut copy, Reason::Quarantined, case).await;
    // A boot that is over does not come back, whatever the counters say.
    let hash = machine.tpm.ek_hash();
    kept.forget(&hash).await;
    let boots = machine.tpm.boot_id.clone();
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.reboot().unwrap();
    machine.tpm.advance_clock(LONG);
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.reboot().unwrap();
    machine.tpm.advance_clock(LONG);
    machine.tpm.boot_id = boots;
    let case = "tpm/H01 an old boot";
    quarantined(&kept, &server, &mut machine, Reason::CloneSuspected, case).await;
    unload(server).await;
}

#[tokio::test]
async fn a_reset_within_a_boot_is_told_or_refused() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.reset();
    attest(&server, &mut machine).await.expect("tpm/H03");
    configure(&server, &kept.data("unexpected_reset = \"refuse\"")).await;
    attest(&server, &mut machine)
        .await
        .expect("it was told once");
    machine.tpm.reset();
    let (reason, case) = (Reason::ResetUnexpected, "tpm/H03");
    refused_for_now(&kept, &server, &mut machine, reason, case).await;
    machine.tpm.reboot().unwrap();
    attest(&server, &mut machine).await.unwrap();
    let changed = changes(&server, 1).await;
    assert_eq!(changed, ["reset_unexpected"]);
    let log = unload(server).await;
    let hash = machine.tpm.ek_hash().hex();
    let told = told(&log, "warn", "reset_unexpected");
    let of_change = |entry: &&&conformance::Entry| entry.message == "the machine has changed";
    let told: Vec<_> = told.iter().filter(of_change).collect();
    assert_eq!((told.len(), field(told[0], "ek_hash")), (1, hash.as_str()));
}

/// The reasons of the changes that were counted, once there are so many.
async fn changes(server: &Loaded, count: usize) -> Vec<String> {
    reasons_of(server, "changed", count).await
}

async fn reasons_of(server: &Loaded, key: &str, count: usize) -> Vec<String> {
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let measured = server.measurements();
        let mut reasons = Vec::new();
        for one in measured.iter().filter(|one| one.key[2] == key) {
            assert!(matches!(one.measured, Measured::Counter(by) if by > 0.0));
            let [(name, reason)] = one.labels.as_slice() else {
                panic!("{one:?}")
            };
            assert_eq!(name, "reason");
            reasons.push(reason.clone());
        }
        if reasons.len() >= count {
            reasons.sort();
            return reasons;
        }
        assert!(std::time::Instant::now() < deadline, "{reasons:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_clear_is_told_or_waits_for_the_operator() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let case = "tpm/H04";
    let mut machine = kept.keyed();
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.clear().unwrap();
    make_key(&mut machine.tpm);
    attest(&server, &mut machine).await.expect(case);
    let known = kept.of(&machine).await.unwrap().state;
    let root = machine.tpm.storage_root().unwrap().name();
    assert_eq!(known.storage_root, root, "{case}");

    configure(&server, &kept.data("tpm_clear = \"quarantine\"")).await;
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.clear().unwrap();
    make_key(&mut machine.tpm);
    quarantined(&kept, &server, &mut machine, Reason::TpmCleared, case).await;
    kept.accept(&machine.tpm.ek_hash()).await;
    attest(&server, &mut machine).await.expect(case);
    configure(&server, &kept.data("")).await;

    // Without a key below the new root nobody can tell a clear from a copy.
    machine.tpm.advance_clock(LONG);
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.reboot().unwrap();
    attest(&server, &mut machine).await.unwrap();
    machine.tpm.clear().unwrap();
    let reason = Reason::CloneSuspected;
    quarantined(&kept, &server, &mut machine, reason, "tpm/H04 no key").await;
    assert_eq!(changes(&server, 1).await, ["tpm_cleared"]);
    let quarantines = reasons_of(&server, "quarantined", 2).await;
    assert_eq!(quarantines, ["clone_suspected", "tpm_cleared"]);
    let log = unload(server).await;
    assert_eq!(
        told(&log, "warn", "tpm_cleared").len(),
        1 + 1,
        "a change, a refusal"
    );
}

#[tokio::test]
async fn another_ak_is_told_or_waits_for_the_operator() {
    let kept = Kept::new().await;
    let server = kept.server("").await;
    let of = |ak| {
        let tpm = SoftTpm::sample(KeyKind::P256, ak).unwrap();
        Prover::new(tpm, TRUST_DOMAIN)
    };
    let (mut ecc, mut rsa) = (of(AkTemplate::EccP256), of(AkTemplate::Rsa2048));
    assert_eq!(ecc.tpm.ek_hash(), rsa.tpm.ek_hash());
    kept.records.enrol(ecc.tpm.ek_hash());
    let first = attest(&server, &mut ecc).await.unwrap();
    let again = attest(&server, &mut rsa).await.expect("tpm/H04 told");
    assert_eq!(again, first);
    configure(&server, &kept.data("ak_change = \"quarantine\"")).await;
    attest(&server, &mut rsa).await.unwrap();
    let (reason, case) = (Reason::AkChanged, "tpm/H04 another AK");
    quarantined(&kept, &server, &mut ecc, reason, case).await;
    refused(&server, &mut rsa, Reason::Quarantined, case).await;
    kept.accept(&ecc.tpm.ek_hash()).await;
    attest(&server, &mut ecc).await.unwrap();
    assert_eq!(changes(&server, 1).await, ["ak_changed"]);
    unload(server).await;
}
