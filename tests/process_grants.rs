//! Honest machines: what each becomes, and the one line and the one count that tell it.

use conformance::Side;
use evidence::AkTemplate;
use plugin::AgentAttributes;
use softtpm::{Generation, KeyKind, Prover, SoftTpm};

use crate::process_certificates::{Authority, ORDINARY};
use crate::process_plugin::{
    Records, TRUST_DOMAIN, attest, challenge, configure, configured, counted, decisions, field,
    unload, verdict,
};

/// A machine of its own.
pub(crate) fn machine() -> Prover {
    Prover::new(SoftTpm::generate().unwrap(), TRUST_DOMAIN)
}

/// A machine whose agent is of the first generation.
pub(crate) fn old_machine() -> Prover {
    let tpm = SoftTpm::first_generation(KeyKind::Rsa2048).unwrap();
    let mut prover = Prover::new(tpm, TRUST_DOMAIN);
    prover.generation = Generation::First;
    prover
}

pub(crate) fn certified(mut prover: Prover, by: &Authority) -> Prover {
    let spki = prover.tpm.ek_key().spki();
    prover.certificate = Some(by.certify(&spki, &ORDINARY));
    prover
}

/// What a machine becomes: the last selectors are those that depend on how it is trusted.
fn attributes(prover: &Prover, last: &[&str]) -> AgentAttributes {
    let hash = prover.tpm.ek_hash();
    let mut selector_values = vec![
        format!("pub_hash:{}", hash.hex()),
        format!("device:{}", hash.device()),
    ];
    selector_values.extend(last.iter().map(|&selector| selector.to_owned()));
    AgentAttributes {
        spiffe_id: format!("spiffe://{TRUST_DOMAIN}/spire/agent/tpm/{}", hash.hex()),
        selector_values,
        can_reattest: true,
    }
}

#[tokio::test]
async fn machines_are_granted_what_they_proved_and_no_more() {
    let authority = Authority::new("Maker");
    let records = Records::new();
    records.trust(&authority.certificate);
    let stranger = Authority::new("Stranger");
    let verified = ["ek_cert:verified", "vendor:STM", "kind:discrete"];
    let quote = |more: &[&'static str]| [&["attestation:quote"], more].concat();
    let credential = |more: &[&'static str]| [&["attestation:credential"], more].concat();
    let rsa = || {
        let tpm = SoftTpm::sample(KeyKind::Rsa2048, AkTemplate::Rsa2048).unwrap();
        Prover::new(tpm, TRUST_DOMAIN)
    };
    // The machine, whether it is enrolled, its selectors, and ek_trust and vendor in the log.
    let table = [
        (
            certified(machine(), &authority),
            false,
            quote(&verified),
            "certificate",
            "STM",
        ),
        (
            certified(machine(), &authority),
            true,
            quote(&verified),
            "both",
            "STM",
        ),
        (
            certified(machine(), &stranger),
            true,
            quote(&["ek_cert:none"]),
            "enrolment",
            "",
        ),
        (machine(), true, quote(&["ek_cert:none"]), "enrolment", ""),
        (
            certified(rsa(), &authority),
            false,
            quote(&verified),
            "certificate",
            "STM",
        ),
        (
            certified(old_machine(), &authority),
            false,
            credential(&verified),
            "certificate",
            "STM",
        ),
        (
            old_machine(),
            true,
            credential(&["ek_cert:none"]),
            "enrolment",
            "",
        ),
    ];
    let server = configured(Side::Server, &records.both("")).await;
    let mut expected = Vec::new();
    for (mut prover, enrolled, selectors, trust, vendor) in table {
        if enrolled {
            records.enrol(prover.tpm.ek_hash());
        }
        let granted = attest(&server, &mut prover).await.unwrap();
        assert_eq!(granted, attributes(&prover, &selectors));
        let method = selectors[0].strip_prefix("attestation:").unwrap();
        expected.push((
            granted.spiffe_id,
            prover.tpm.ek_hash().hex(),
            trust,
            vendor,
            method,
        ));
    }
    let counts = counted(&server, expected.len()).await;
    let log = unload(server).await;
    let lines = decisions(&log);
    assert_eq!(
        (lines.len(), counts.len()),
        (expected.len(), expected.len())
    );
    let mut told = Vec::new();
    for (line, (id, hash, trust, vendor, method)) in lines.iter().zip(&expected) {
        assert_eq!(
            (line.level.as_str(), line.message.as_str()),
            ("info", "attestation granted")
        );
        let mut names: Vec<_> = line.fields.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, GRANTED_FIELDS);
        let texts = [
            "outcome", "reason", "ek_hash", "ek_trust", "vendor", "evidence", "agent_id",
        ];
        assert_eq!(
            texts.map(|name| field(line, name)),
            ["granted", "", hash, *trust, *vendor, *method, id]
        );
        assert_eq!(field(line, "client_ip_unverified"), "");
        assert!(line.fields["duration_ms"].is_u64());
        told.push(["granted", "none", *method].map(str::to_owned));
    }
    told.sort();
    assert_eq!(counts, told);
}

const GRANTED_FIELDS: [&str; 13] = [
    "advisories",
    "agent_id",
    "client_ip_unverified",
    "duration_ms",
    "ek_hash",
    "ek_trust",
    "evidence",
    "measured",
    "outcome",
    "reason",
    "secure_boot",
    "svid_keys",
    "vendor",
];

#[tokio::test]
async fn a_machine_attests_again_with_the_same_identity() {
    let records = Records::new();
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment("")).await;
    let first = attest(&server, &mut prover).await.unwrap();
    prover.tpm.reboot().unwrap();
    assert_eq!(attest(&server, &mut prover).await.unwrap(), first);
}

#[tokio::test]
async fn enrolment_counts_at_once_and_anchors_without_a_restart() {
    let authority = Authority::new("Maker");
    let records = Records::new();
    let text = records.both("reload_interval = \"100ms\"");
    let server = configured(Side::Server, &text).await;
    let (mut bare, mut other) = (machine(), certified(machine(), &authority));
    let refused = attest(&server, &mut bare).await.unwrap_err();
    assert_eq!(refused.message(), "ek_not_allowed: could not validate EK");
    records.enrol(bare.tpm.ek_hash());
    attest(&server, &mut bare).await.unwrap();

    let refused = attest(&server, &mut other).await.unwrap_err();
    assert_eq!(refused.message(), "untrusted_chain: could not verify cert");
    records.trust(&authority.certificate);
    let deadline = std::time::Instant::now() + crate::process_plugin::LIMIT;
    while attest(&server, &mut other).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the anchor is in force"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_attestation_ends_under_the_settings_it_began_with() {
    let records = Records::new();
    let mut prover = machine();
    records.enrol(prover.tpm.ek_hash());
    let server = configured(Side::Server, &records.enrolment("")).await;
    let payload = prover.payload().unwrap();
    let mut exchange = server.attest(&[]).await.unwrap();
    exchange.payload(&payload).await;
    let asked = challenge(&mut exchange).await.unwrap();
    configure(&server, &records.enrolment("ek_profiles = [\"rsa-2048\"]")).await;
    exchange
        .respond(&prover.answer(&payload, &asked).unwrap())
        .await;
    verdict(&mut exchange).await.expect("tpm/J12");
    let refused = attest(&server, &mut prover).await.unwrap_err();
    assert_eq!(
        refused.message(),
        "ek_profile_denied: this kind of EK is not accepted"
    );
}

#[tokio::test]
async fn configuring_again_disturbs_no_attestation() {
    let records = Records::new();
    let server = configured(Side::Server, &records.enrolment("")).await;
    let attestations = async {
        for _ in 0..20 {
            let mut prover = machine();
            records.enrol(prover.tpm.ek_hash());
            attest(&server, &mut prover).await.unwrap();
        }
    };
    let configurations = async {
        for number in 0..20 {
            configure(&server, &records.enrolment(&format!("pcrs = [{number}]"))).await;
        }
    };
    tokio::join!(attestations, configurations);
    let log = unload(server).await;
    assert_eq!(decisions(&log).len(), 20);
}
