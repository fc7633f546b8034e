//! The commands over records: what was recorded is judged, explained, compared and turned into profiles.
#![expect(clippy::unwrap_used, reason = "what a test cannot do fails the test")]

mod boots;
mod explanations;
mod recorded;

use evidence::{Hash, Record, SvidKeyTemplate};
use recorded::{Desk, booted, record, record_of};
use serde_json::{Value, json};
use softtpm::{BootLog, Generation, Prover, SoftTpm};

fn sample() -> SoftTpm {
    booted(&BootLog::sample(&[Hash::Sha256]).unwrap())
}

#[test]
fn a_record_gets_the_verdict_that_the_server_gave() {
    let desk = Desk::new();
    desk.configure("");
    desk.keep("granted.json", &record(sample(), &[0, 7]));
    let hash = sample().ek_hash().hex();
    let verdicts = desk.json(0, &["verify", "granted.json", "--config", "rules.hcl"]);
    let verdict = &verdicts[0];
    assert_eq!(verdict["verdict"], "granted");
    assert_eq!(verdict["recorded"], "granted");
    assert_eq!(verdict["same"], true);
    assert_eq!(verdict["enrolment"], "enrolled");
    assert_eq!(verdict["time"], "2026-11-24T12:00:00Z");
    assert_eq!(verdict["ek_hash"], hash.as_str());
    let grant = &verdict["grant"];
    assert_eq!(
        grant["agent_id"],
        format!("spiffe://example.org/spire/agent/tpm/{hash}")
    );
    let expect = json!([
        format!("pub_hash:{hash}"),
        format!("device:{}", sample().ek_hash().device()),
        "attestation:quote",
        "ek_cert:none",
        "secure_boot:on",
    ]);
    assert_eq!(grant["selectors"], expect);

    // The rules have changed since.
    desk.configure(
        "profile \"none\" { pcr \"7\" { values = [\"00\"] } }"
            .replace("00", &"00".repeat(32))
            .as_str(),
    );
    let verdicts = desk.json(1, &["verify", "granted.json", "--config", "rules.hcl"]);
    assert_eq!(verdicts[0]["verdict"], "pcr_policy");
    assert_eq!(verdicts[0]["same"], false);
    assert_eq!(verdicts[0]["grant"], Value::Null);
    let table = desk.table(1, &["verify", "granted.json", "--config", "rules.hcl"]);
    assert!(table.contains("\nverdict    pcr_policy\n"), "{table}");
    assert!(
        table.contains("\nrecorded   granted (another verdict)\n"),
        "{table}"
    );
}

#[test]
fn one_refusal_among_many_is_told_by_the_exit_code() {
    let desk = Desk::new();
    desk.configure("");
    let mut refused = record(sample(), &[0, 7]);
    refused.enrolment = "absent".to_owned();
    refused.verdict = "ek_not_allowed".to_owned();
    desk.keep("a.json", &record(sample(), &[0, 7]));
    desk.keep("b.json", &refused);
    let run = |rest: &[&str], code| {
        let arguments = [
            &["verify", "a.json", "b.json", "--config", "rules.hcl"],
            rest,
        ]
        .concat();
        let verdicts = desk.json(code, &arguments);
        let verdicts = verdicts.as_array().unwrap().clone();
        let each = verdicts
            .iter()
            .map(|of| of["verdict"].as_str().unwrap().to_owned());
        let same: Vec<_> = verdicts
            .iter()
            .map(|of| of["same"].as_bool().unwrap())
            .collect();
        (each.collect::<Vec<_>>(), same)
    };
    let texts = |list: &[&str]| {
        list.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let (granted, refused) = ("granted", "ek_not_allowed");
    assert_eq!(run(&[], 1), (texts(&[granted, refused]), vec![true, true]));
    assert_eq!(
        run(&["--enrolled"], 0),
        (texts(&[granted, granted]), vec![true, false])
    );
    assert_eq!(
        run(&["--not-enrolled"], 1),
        (texts(&[refused, refused]), vec![false, true])
    );
}

#[test]
fn a_record_that_was_altered_proves_nothing() {
    let desk = Desk::new();
    desk.configure("");
    let good = record(sample(), &[0, 7]);
    let log_of_another = {
        let mut prover = Prover::new(sample(), "example.org");
        prover.tpm.log = Some(BootLog::sample_insecure(&[Hash::Sha256]).unwrap().encode());
        record_of(&mut prover, &[0, 7])
    };
    let mut other_domain = good.clone();
    other_domain.trust_domain = "example.com".to_owned();
    let mut other_secret = good.clone();
    other_secret.secret = evidence::Secret::new(vec![1; 32]);
    for (altered, reason) in [
        (other_domain, "proof_mismatch"),
        (other_secret, "proof_mismatch"),
    ] {
        desk.keep("altered.json", &altered);
        let verdicts = desk.json(1, &["verify", "altered.json", "--config", "rules.hcl"]);
        assert_eq!(verdicts[0]["verdict"], reason);
        let shown = desk.json(1, &["inspect", "evidence", "altered.json"]);
        assert_eq!(shown["refusal"]["reason"], reason);
        assert_eq!(
            (&shown["quote"], &shown["pcrs"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(
            desk.failure(1, &["profile", "record", "altered.json"])["reason"],
            reason
        );
    }
    // The quote holds, and the log is another boot's.
    desk.keep("log.json", &log_of_another);
    let shown = desk.json(0, &["inspect", "evidence", "log.json"]);
    assert_eq!(shown["log"]["refusal"]["reason"], "eventlog_replay");
    let block = desk.table(0, &["profile", "record", "log.json"]);
    assert!(!block.contains("secure_boot"), "{block}");
    assert!(
        block.contains("log.json has a log that is not believed: eventlog_replay: "),
        "{block}"
    );
    for pcr in ["0", "2", "4", "7"] {
        assert!(
            block.contains(&format!("    pcr \"{pcr}\" {{\n")),
            "{block}"
        );
    }
}

#[test]
fn evidence_is_shown_with_what_is_proved() {
    let desk = Desk::new();
    desk.keep("good.json", &record(sample(), &[0, 7]));
    let shown = desk.json(0, &["inspect", "evidence", "good.json"]);
    let hash = sample().ek_hash().hex();
    assert_eq!(shown["ek"]["ek_hash"], hash.as_str());
    assert_eq!(
        shown["agent"],
        json!({
            "versions": [1, 1],
            "offers": ["quote", "log"],
            "boot_id": "7d9e9b1c-8f4e-4a57-9d0b-0f6c2b6a4c11",
        })
    );
    assert_eq!(shown["asked"]["log"], true);
    assert_eq!(shown["answer"]["form"], "evidence");
    assert_eq!(shown["quote"]["type"], "TPM_ST_ATTEST_QUOTE");
    assert_eq!(shown["quote"]["reset_count"], 7);
    assert_eq!(shown["log"]["claims"]["secure_boot"], true);
    assert_eq!(shown["pcrs"].as_array().unwrap().len(), 14);
    let table = desk.table(0, &["inspect", "evidence", "good.json"]);
    for line in [
        "file          good.json\n",
        "time          2026-11-24T12:00:00Z\n",
        "proof         holds\n",
        "agent         speaks versions 1 to 1, offers quote, log\n",
        "counters          7 resets, 2 restarts\n",
        "secure_boot         on\n",
        "db                  certificate ",
        "dbx                 2 entries\n",
        "command_line        PCR 8: /vmlinuz root=/dev/vda2 ro\n",
    ] {
        assert!(table.contains(line), "no {line:?} in\n{table}");
    }

    let mut old = Prover::new(sample(), "example.org");
    old.generation = Generation::First;
    desk.keep("old.json", &record_of(&mut old, &[0, 7]));
    let table = desk.table(0, &["inspect", "evidence", "old.json"]);
    assert!(
        table.contains("agent         of the first generation\n"),
        "{table}"
    );
    assert!(table.contains("answer        secret\n"), "{table}");
    assert!(table.ends_with("\nno boot event log came\n"), "{table}");
    let failure = desk.failure(1, &["profile", "record", "old.json"]);
    assert_eq!(failure["reason"], "policy_requires_quote");
}

#[test]
fn quotes_are_shown_out_of_records_and_out_of_tools() {
    let desk = Desk::new();
    let kept = record(sample(), &[0, 7]);
    desk.keep("good.json", &kept);
    let of_record = desk.json(0, &["inspect", "quote", "good.json"]);
    assert_eq!(of_record["firmware"], "8217.4131.22.13878");
    assert_eq!(of_record["is_generated"], true);
    let pcrs = json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]);
    assert_eq!(
        of_record["quote"]["selections"],
        json!([{"bank": "sha256", "pcrs": pcrs}])
    );

    let evidence::Response::Proof(proof) = evidence::Response::decode(&kept.response).unwrap()
    else {
        unreachable!("the agent proves")
    };
    let mut quote = evidence::Evidence::decode(&proof.evidence).unwrap().quote;
    desk.write("quote.bin", &quote);
    let mut of_tool = desk.json(0, &["inspect", "quote", "quote.bin"]);
    of_tool["source"] = "good.json".into();
    assert_eq!(of_tool, of_record);
    let table = desk.table(0, &["inspect", "quote", "quote.bin"]);
    assert!(
        table.contains("\nmagic             ff544347 (TPM_GENERATED)\n"),
        "{table}"
    );
    assert!(
        table.contains("\nPCRs              sha256: 0, 1, 2, "),
        "{table}"
    );

    quote[0] = 0;
    desk.write("quote.bin", &quote);
    let table = desk.table(1, &["inspect", "quote", "quote.bin"]);
    assert!(table.contains("(no TPM makes this)\n"), "{table}");
    for (contents, reason) in [
        (&b"{}"[..], "malformed_record"),
        (b"\xFF\x54", "malformed_attest"),
    ] {
        desk.write("quote.bin", contents);
        assert_eq!(
            desk.failure(3, &["inspect", "quote", "quote.bin"])["reason"],
            reason
        );
    }
}

#[test]
fn what_is_no_record_is_told_with_its_file() {
    let desk = Desk::new();
    desk.configure("");
    desk.write("no.json", "{\"format\": \"tpm-attestor/record/9\"}");
    for arguments in [
        &["inspect", "evidence", "no.json"][..],
        &["verify", "no.json", "--config", "rules.hcl"],
        &["policy", "explain", "no.json", "--config", "rules.hcl"],
        &["profile", "record", "no.json"],
        &["profile", "diff", "no.json", "no.json"],
    ] {
        let failure = desk.failure(3, arguments);
        assert_eq!(failure["reason"], "malformed_record", "{arguments:?}");
        assert!(
            failure["message"].as_str().unwrap().starts_with("no.json "),
            "{failure}"
        );
    }
    assert_eq!(
        desk.failure(3, &["inspect", "evidence", "absent"])["reason"],
        "file_unreadable"
    );
}

#[test]
fn svid_keys_are_shown_with_what_is_proved_of_them() {
    let desk = Desk::new();
    desk.configure("");
    let mut prover = Prover::new(sample(), "example.org");
    let key = prover.tpm.make_svid_key(SvidKeyTemplate::EccP256).unwrap();
    let of_name = |name: evidence::Name| hex::encode(name.as_bytes());
    let name = of_name(key.name().unwrap());
    let parent = of_name(prover.tpm.storage_root().unwrap().name().unwrap());
    let spki = hex::encode(Hash::Sha256.digest(&[&key.pkix()]));
    let good = record_of(&mut prover, &[0, 7]);
    desk.keep("keys.json", &good);
    let shown = desk.json(0, &["inspect", "evidence", "keys.json"]);
    assert_eq!(
        shown["svid"],
        json!({
            "keys": [{"key": "p-256", "name": name, "spki_sha256": spki, "certified": true}],
            "parent": {"name": parent, "proved": true},
        })
    );
    assert_eq!(shown["asked"]["certify"], true);
    let table = desk.table(0, &["inspect", "evidence", "keys.json"]);
    for line in [
        "asked for     sha256 PCRs ",
        "; the boot event log; certified SVID keys\n",
        "offers quote, log, certify\n",
        &format!("svid key     p-256, certified\n             name {name}\n"),
        &format!("svid parent  {parent}\n             proved\n"),
    ] {
        assert!(table.contains(line), "no {line:?} in\n{table}");
    }
    let verdicts = desk.json(0, &["verify", "keys.json", "--config", "rules.hcl"]);
    assert_eq!(verdicts[0]["svid_keys"], 1);

    // What is not proved is still shown, as such.
    let altered = Record {
        trust_domain: "example.com".to_owned(),
        ..good
    };
    desk.keep("altered.json", &altered);
    let shown = desk.json(1, &["inspect", "evidence", "altered.json"]);
    assert_eq!(shown["svid"]["keys"][0]["name"], name.as_str());
    assert_eq!(shown["svid"]["keys"][0]["certified"], false);
    assert_eq!(shown["svid"]["parent"]["proved"], false);

    desk.keep("none.json", &record(sample(), &[0, 7]));
    let shown = desk.json(0, &["inspect", "evidence", "none.json"]);
    assert_eq!(
        (&shown["svid"], &shown["asked"]["certify"]),
        (&Value::Null, &json!(false))
    );
    let verdicts = desk.json(0, &["verify", "none.json", "--config", "rules.hcl"]);
    assert_eq!(verdicts[0]["svid_keys"], 0);
}
